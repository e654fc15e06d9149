//! The local syslog service.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::syslog::{Formatter3164, LogFormat};
use rustix::io::Errno;

use crate::{Batch, Facility, Sink, SinkError};

/// Sends each record as one RFC 3164 message, severity `info`, to a local syslog socket.
///
/// The message carries priority, time, tag `netlog` and process id. So the record itself comes
/// without a timestamp: the record formatter leaves it out for this sink. (The time in the message
/// is in UTC; rsyslog and journald put their own in its place.)
///
/// A message that is longer than the socket takes is an error of that record, never cut. When the
/// service restarts the socket is connected anew, once for each message that finds it gone.
/// A service that hangs delays a message by one second at most; then it is an error.
#[derive(Debug)]
pub struct SyslogSink {
    path: PathBuf,
    formatter: Formatter3164,
    socket: Option<UnixDatagram>,
    message: Vec<u8>,
}

impl SyslogSink {
    /// Where syslog services listen.
    pub const PATH: &str = "/dev/log";
    /// How long one message may take.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// A sink for the service at `path`, usually [`Self::PATH`], that names `tag` as the program.
    ///
    /// It connects with the first record, so that the agent may start before the service; call
    /// [`Sink::reopen`] to find out at once.
    pub fn new(path: impl Into<PathBuf>, facility: Facility, tag: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            formatter: Formatter3164 {
                facility,
                hostname: None,
                process: tag.into(),
                pid: std::process::id(),
            },
            socket: None,
            message: Vec::new(),
        }
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connect(&self) -> Result<UnixDatagram, SinkError> {
        UnixDatagram::unbound()
            .and_then(|socket| {
                socket.connect(&self.path)?;
                socket.set_write_timeout(Some(Self::PATIENCE))?;
                Ok(socket)
            })
            .map_err(|source| SinkError::Connect {
                path: self.path.clone(),
                source,
            })
    }

    /// Sends the message, connecting if need be.
    fn send(&mut self) -> Result<(), SinkError> {
        if let Some(socket) = &self.socket {
            match socket.send(&self.message) {
                Err(error) if is_gone(&error) => self.socket = None,
                result => return self.sent(result),
            }
        }
        let socket = self.connect()?;
        let result = socket.send(&self.message);
        if !result.as_ref().is_err_and(is_gone) {
            self.socket = Some(socket);
        }
        self.sent(result)
    }

    fn sent(&self, result: io::Result<usize>) -> Result<(), SinkError> {
        let path = || self.path.clone();
        match result {
            Ok(_) => Ok(()),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) => {
                Err(SinkError::TooLong {
                    path: path(),
                    len: self.message.len(),
                })
            }
            Err(source) => Err(SinkError::Send {
                path: path(),
                source,
            }),
        }
    }
}

impl Sink for SyslogSink {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn write(&mut self, batch: &mut Batch) -> Result<(), SinkError> {
        while let Some(line) = batch.line() {
            let len = line.len();
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
            self.message.clear();
            // Writing to memory does not fail.
            let _ = self.formatter.info(&mut self.message, text);
            self.send()?;
            batch.advance(len);
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        self.socket = Some(self.connect()?);
        Ok(())
    }
}

/// Whether the service that the socket was connected to is no longer there.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
    )
}
