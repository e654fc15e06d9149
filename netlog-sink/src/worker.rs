//! A sink on its own thread, behind a bounded queue.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;

use crate::{Accounts, Batch, Counters, Fate, NoAccounts, Reason, Sink, SinkError};

/// How often a failed write is repeated, and how long the pauses are.
///
/// Only the first batch that fails is repeated. While the sink goes on failing each batch gets one
/// attempt, so that a sink that is out of order does not hold up the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all; 1 never repeats.
    pub attempts: u32,
    /// The pause before the second attempt. Each further one is twice as long.
    pub pause: Duration,
}

impl Default for Retry {
    /// Four attempts within 350 ms.
    fn default() -> Self {
        Self {
            attempts: 4,
            pause: Duration::from_millis(50),
        }
    }
}

/// A [`Sink`] on a thread of its own.
///
/// Producers hand it batches through [`Handle`]s. A worker that is dropped without
/// [`close`](Self::close) goes on until the last handle is gone and everything is written.
#[derive(Debug)]
pub struct Worker {
    handle: Handle,
    thread: JoinHandle<()>,
}

/// A producer's end of a [`Worker`]'s queue.
///
/// A clone has its own supply of used batches, so that each producer gets its own memory back.
#[derive(Debug)]
pub struct Handle {
    queue: SyncSender<Parcel>,
    capacity: usize,
    home: SyncSender<Batch>,
    used: Receiver<Batch>,
    shared: Arc<Shared>,
}

/// Why [`Worker::close`] or [`Worker::flush`] did not end well.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerError {
    /// The time is up.
    #[error("the {sink} sink did not finish in time: {pending} records are not written")]
    Deadline {
        /// The name of the sink.
        sink: &'static str,
        /// Records whose fate was open when the time was up.
        pending: u64,
    },
    /// The thread of the sink has ended by a panic.
    #[error("the thread of the {sink} sink has panicked; this is a bug")]
    Panicked {
        /// The name of the sink.
        sink: &'static str,
    },
}

impl Worker {
    /// Starts a thread for `sink` with a queue of `capacity` batches, at least one.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(sink: impl Sink + 'static, capacity: usize, retry: Retry) -> io::Result<Self> {
        Self::spawn_for(sink, capacity, retry, Arc::new(NoAccounts))
    }

    /// Starts a thread for `sink` like [`spawn`](Self::spawn), that tells `accounts` what became
    /// of their records.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn_for(
        sink: impl Sink + 'static,
        capacity: usize,
        retry: Retry,
        accounts: Arc<dyn Accounts>,
    ) -> io::Result<Self> {
        let capacity = capacity.max(1);
        let (queue, parcels) = mpsc::sync_channel(capacity);
        let shared = Arc::new(Shared::new(sink.name(), accounts));
        let handle = Handle::new(queue, capacity, Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name(format!("sink-{}", sink.name()))
            .spawn(move || {
                let end = End(shared);
                // Dropped before the end is announced, also when the sink panics: so what is left
                // in the queue is counted by then.
                let parcels = parcels;
                run(sink, &parcels, &end.0, retry);
            })?;
        Ok(Self { handle, thread })
    }

    /// An end of the queue for one more producer.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The counts, to be read from anywhere and after the worker is gone.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.handle.shared.counters)
    }

    /// Why the sink fails at present; `None` while it works.
    pub fn error(&self) -> Option<Arc<SinkError>> {
        lock(&self.handle.shared.error).clone()
    }

    /// Makes the sink open its file or socket anew, before it writes the next batch.
    pub fn reopen(&self) {
        self.handle.shared.reopen.store(true, Ordering::Release);
        self.handle.wake();
    }

    /// Waits until the fate of all batches that were sent before is known.
    ///
    /// # Errors
    /// When that takes longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> Result<(), WorkerError> {
        let shared = &self.handle.shared;
        let sent = shared.sent.load(Ordering::Acquire);
        let state = shared.wait(timeout, |state| state.settled >= sent || state.ended);
        match state {
            State { settled, .. } if settled >= sent => Ok(()),
            State { ended: true, .. } => Err(WorkerError::Panicked { sink: shared.sink }),
            _ => Err(shared.deadline()),
        }
    }

    /// Takes no more batches, writes those in the queue, and ends the thread.
    ///
    /// When that takes longer than `timeout`, retries end, and what is left is counted as failed
    /// ([`Reason::Closed`]) as soon as the sink returns from what it is doing.
    ///
    /// # Errors
    /// When the time is up, or the thread has panicked.
    pub fn close(self, timeout: Duration) -> Result<(), WorkerError> {
        let shared = &self.handle.shared;
        shared.closing.store(true, Ordering::Release);
        self.handle.wake();
        if !shared.wait(timeout, |state| state.ended).ended {
            let error = shared.deadline();
            lock(&shared.state).abandoned = true;
            shared.changed.notify_all();
            return Err(error);
        }
        let sink = shared.sink;
        self.thread
            .join()
            .map_err(|_| WorkerError::Panicked { sink })
    }
}

impl Handle {
    fn new(queue: SyncSender<Parcel>, capacity: usize, shared: Arc<Shared>) -> Self {
        // All batches that can be on their way, one being written and one being filled.
        let (home, used) = mpsc::sync_channel(capacity + 2);
        Self {
            queue,
            capacity,
            home,
            used,
            shared,
        }
    }

    /// An empty batch: a used one if there is one, with its memory.
    pub fn batch(&self) -> Batch {
        self.used.try_recv().unwrap_or_default()
    }

    /// Puts `batch` into the queue; never waits.
    ///
    /// # Errors
    /// Hands the batch back when the queue is full or the worker closed. Its records are then
    /// counted as failed, so it is to be cleared and not to be sent again.
    pub fn try_send(&self, batch: Batch) -> Result<(), Batch> {
        let shared = &self.shared;
        shared.counters.offer(batch.records());
        let refused = if shared.closing.load(Ordering::Acquire) {
            Err((Reason::Closed, batch))
        } else {
            self.enqueue(batch)
        };
        refused.map_err(|(reason, mut batch)| {
            let records = batch.records();
            shared.fail(reason, &mut batch, records);
            batch
        })
    }

    fn enqueue(&self, batch: Batch) -> Result<(), (Reason, Batch)> {
        let parcel = Parcel {
            batch,
            home: self.home.clone(),
            shared: Arc::clone(&self.shared),
        };
        let (reason, parcel) = match self.queue.try_send(parcel) {
            Ok(()) => {
                self.shared.sent.fetch_add(1, Ordering::Release);
                return Ok(());
            }
            Err(TrySendError::Full(parcel)) => (Reason::QueueFull, parcel),
            Err(TrySendError::Disconnected(parcel)) => (Reason::Closed, parcel),
        };
        Err((reason, parcel.open()))
    }

    /// Makes the thread look around if it waits for a batch. If the queue is full, it does not.
    fn wake(&self) {
        let _ = self.enqueue(Batch::default());
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(self.queue.clone(), self.capacity, Arc::clone(&self.shared))
    }
}

/// A batch on its way. However it ends, its records are accounted for.
struct Parcel {
    batch: Batch,
    home: SyncSender<Batch>,
    shared: Arc<Shared>,
}

impl Parcel {
    /// Takes the batch out; the caller accounts for it.
    fn open(mut self) -> Batch {
        mem::take(&mut self.batch)
    }

    /// Sends the memory of the batch back to where it came from.
    fn recycle(self) {
        let home = self.home.clone();
        let mut batch = self.open();
        if !batch.is_empty() {
            batch.clear();
            // If its producer is gone, or has enough, the memory is freed.
            let _ = home.try_send(batch);
        }
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        let records = self.batch.rest_records();
        if records > 0 {
            self.shared.fail(Reason::Closed, &mut self.batch, records);
        }
    }
}

/// What the thread, the worker and the handles share.
#[derive(Debug)]
struct Shared {
    sink: &'static str,
    counters: Arc<Counters>,
    accounts: Arc<dyn Accounts>,
    /// Batches put into the queue.
    sent: AtomicU64,
    /// Handles take no more batches, and the thread ends when the queue is empty.
    closing: AtomicBool,
    /// The sink is to open its file or socket anew.
    reopen: AtomicBool,
    error: Mutex<Option<Arc<SinkError>>>,
    state: Mutex<State>,
    /// Notified when `state` changes.
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Batches taken from the queue and done with.
    settled: u64,
    /// Nobody waits for the thread any more: it is to give up.
    abandoned: bool,
    /// The thread has ended.
    ended: bool,
}

impl Shared {
    fn new(sink: &'static str, accounts: Arc<dyn Accounts>) -> Self {
        Self {
            sink,
            counters: Arc::default(),
            accounts,
            sent: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            error: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// The next so many records of the batch are delivered.
    fn write(&self, batch: &mut Batch, records: u64, bytes: usize) {
        self.counters.write(records, bytes);
        self.accounts.settle(Fate::Written, batch.settle(records));
    }

    /// The next so many records of the batch are not.
    fn fail(&self, reason: Reason, batch: &mut Batch, records: u64) {
        self.counters.fail(reason, records);
        self.accounts
            .settle(Fate::Failed(reason), batch.settle(records));
    }

    /// Waits until `condition` holds or the time is up; the state as it is then.
    fn wait(&self, timeout: Duration, condition: impl Fn(&State) -> bool) -> State {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, timeout, |state| !condition(state))
            .unwrap_or_else(PoisonError::into_inner);
        *state
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
        self.changed.notify_all();
    }

    fn deadline(&self) -> WorkerError {
        WorkerError::Deadline {
            sink: self.sink,
            pending: self.counters.read().pending(),
        }
    }
}

/// Announces the end of the thread, however it comes.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.change(|state| state.ended = true);
    }
}

/// A panic elsewhere leaves nothing half done in what is locked here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread: delivers parcel after parcel.
fn run(mut sink: impl Sink, parcels: &Receiver<Parcel>, shared: &Shared, retry: Retry) {
    let mut failing = false;
    loop {
        let parcel = if shared.closing.load(Ordering::Acquire) {
            parcels.try_recv().ok()
        } else {
            parcels.recv().ok()
        };
        let Some(mut parcel) = parcel else { return };
        if lock(&shared.state).abandoned {
            return;
        }
        if shared.reopen.swap(false, Ordering::AcqRel)
            && let Err(error) = sink.reopen()
        {
            *lock(&shared.error) = Some(Arc::new(error));
        }
        if !parcel.batch.is_empty() {
            failing = !deliver(&mut sink, &mut parcel.batch, shared, retry, failing);
        }
        parcel.recycle();
        shared.change(|state| state.settled += 1);
    }
}

/// Delivers a batch and accounts for all of its records. Returns whether the sink works.
fn deliver(
    sink: &mut impl Sink,
    batch: &mut Batch,
    shared: &Shared,
    retry: Retry,
    failing: bool,
) -> bool {
    let counters = &shared.counters;
    let mut attempts_left = if failing {
        0
    } else {
        retry.attempts.saturating_sub(1)
    };
    let mut pause = retry.pause;
    loop {
        let (records, whole) = (batch.rest_records(), batch.whole());
        let result = sink.write(batch);
        if batch.is_torn() {
            counters.tear();
            batch.rewind_line();
        }
        let (records, bytes) = (records - batch.rest_records(), batch.whole() - whole);
        shared.write(batch, records, bytes);
        let Err(error) = result else {
            *lock(&shared.error) = None;
            return true;
        };
        let reason = error.reason();
        if error.is_of_record() {
            batch.skip_line();
            shared.fail(reason, batch, 1);
            continue;
        }
        *lock(&shared.error) = Some(Arc::new(error));
        if attempts_left > 0 && !shared.wait(pause, |state| state.abandoned).abandoned {
            counters.retry();
            attempts_left -= 1;
            pause = pause.saturating_mul(2);
        } else {
            let records = batch.rest_records();
            shared.fail(reason, batch, records);
            return false;
        }
    }
}
