//! Where finished records go.
//!
//! The pipeline formats records into a [`Batch`] and hands it on; from there to the disk or the
//! socket is this crate's business. It is built so that a sink can fail in every way a sink can
//! fail without stopping the pipeline, and without a record going missing uncounted.
//!
//! - A [`Sink`] delivers batches: [`FileSink`] to a file that may be rotated under it,
//!   [`SyslogSink`] to the local syslog service.
//! - A [`Worker`] runs a sink on its own thread behind a bounded queue. Its [`Handle`]s never
//!   wait: what the queue cannot take is refused and counted. Batches come back for reuse, so that
//!   nothing is allocated once they have grown to their size.
//! - [`Counters`] hold the balance. At any time, of the records *offered* each one is *written*,
//!   has *failed* for a [`Reason`], or is *pending*; after [`Worker::close`] none is pending.
//! - [`Accounts`] hear the same of the producer's own divisions, such as ports.
//!
//! # Who decides what
//!
//! A sink delivers what it can, marks in the batch how far that came, and returns the first
//! [`SinkError`]. What to do about it is decided in one place, the worker: it skips a record that
//! cannot be delivered ([`SinkError::is_of_record`]), repeats what may pass ([`Retry`]), and gives
//! up on the rest of a batch when that is of no use. So no sink has a retry loop or a counter.
//!
//! A line is never torn silently: a part of a line that a failed write left behind is ended by a
//! newline, counted ([`Counts::torn`]), and its record is written again whole or counted as failed.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use netlog_sink::{FileSink, Retry, Worker};
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("security.log");
//! let worker = Worker::spawn(FileSink::open(&path)?, 64, Retry::default())?;
//!
//! let producer = worker.handle();
//! let mut batch = producer.batch();
//! batch.push(|line| line.extend_from_slice(b"action=ACCEPT"));
//! batch.push(|line| line.extend_from_slice(b"action=DROP"));
//! producer.try_send(batch).expect("an empty queue has room");
//!
//! let counters = worker.counters();
//! worker.close(Duration::from_secs(5))?;
//! assert_eq!(std::fs::read(&path)?, b"action=ACCEPT\naction=DROP\n");
//! assert_eq!((counters.read().written, counters.read().pending()), (2, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accounts;
mod batch;
mod counters;
mod error;
mod file;
mod syslog;
mod worker;

pub use ::syslog::Facility;
pub use accounts::{Accounts, Fate, NoAccounts};
pub use batch::{Batch, Settled};
pub use counters::{Counters, Counts};
pub use error::{Reason, SinkError};
pub use file::FileSink;
pub use syslog::SyslogSink;
pub use worker::{Handle, Retry, Worker, WorkerError};

/// A place that takes batches of lines.
pub trait Sink: Send {
    /// The name in metrics, in the ledger and of its thread.
    fn name(&self) -> &'static str;

    /// Delivers what is left of `batch`, in order, and notes in it how far that came.
    ///
    /// # Errors
    /// At the first record that cannot be delivered. The records before it are delivered.
    fn write(&mut self, batch: &mut Batch) -> Result<(), SinkError>;

    /// Opens the file or socket anew.
    ///
    /// # Errors
    /// When that fails. The next [`write`](Self::write) tries again if need be.
    fn reopen(&mut self) -> Result<(), SinkError>;
}
