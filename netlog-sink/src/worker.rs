//! A sink on its own thread, behind a bounded queue.

use std::collections::VecDeque;
use std::io;
use std::mem;
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
#[derive(Debug)]
pub struct Handle(Arc<Shared>);

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
        let shared = Arc::new(Shared {
            sink: sink.name(),
            capacity: capacity.max(1),
            counters: Arc::default(),
            accounts,
            state: Mutex::default(),
            asked: Condvar::new(),
            changed: Condvar::new(),
        });
        let handle = Handle::new(&shared);
        let thread = thread::Builder::new()
            .name(format!("sink-{}", sink.name()))
            .spawn(move || {
                let end = End(shared);
                run(sink, &end.0, retry);
            })?;
        Ok(Self { handle, thread })
    }

    /// An end of the queue for one more producer.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The counts, to be read from anywhere and after the worker is gone.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.handle.0.counters)
    }

    /// Why the sink fails at present; `None` while it works.
    pub fn error(&self) -> Option<Arc<SinkError>> {
        self.handle.0.state().error.clone()
    }

    /// Makes the sink open its file or socket anew, before it writes the next batch.
    pub fn reopen(&self) {
        self.handle.0.ask(|state| state.reopen.asked += 1);
    }

    /// Waits until the fate of all batches that were sent before is known.
    ///
    /// # Errors
    /// When that takes longer than `timeout`.
    pub fn flush(&self, timeout: Duration) -> Result<(), WorkerError> {
        let shared = &self.handle.0;
        let (batches, reopen) = {
            let state = shared.state();
            (state.batches.asked, state.reopen.asked)
        };
        let flushed = |state: &State| state.batches.done >= batches && state.reopen.done >= reopen;
        let state = shared.wait(timeout, |state| {
            flushed(state) || state.phase == Phase::Ended
        });
        if flushed(&state) {
            Ok(())
        } else if state.phase == Phase::Ended {
            Err(WorkerError::Panicked { sink: shared.sink })
        } else {
            Err(shared.deadline())
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
        let shared = &self.handle.0;
        shared.ask(|state| state.reach(Phase::Closing));
        let ended = |state: &State| state.phase == Phase::Ended;
        if !ended(&shared.wait(timeout, ended)) {
            let error = shared.deadline();
            shared.change(|state| state.reach(Phase::Abandoned));
            return Err(error);
        }
        let sink = shared.sink;
        self.thread
            .join()
            .map_err(|_| WorkerError::Panicked { sink })
    }
}

impl Handle {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.state().handles += 1;
        Self(Arc::clone(shared))
    }

    /// An empty batch: the one that was used last, with its memory, if there is one.
    pub fn batch(&self) -> Batch {
        self.0.state().used.pop().unwrap_or_default()
    }

    /// Puts `batch` into the queue; never waits for the sink.
    ///
    /// # Errors
    /// Hands the batch back when the queue is full or the worker closed. Its records are then
    /// counted as failed, so it is to be cleared and not to be sent again.
    pub fn try_send(&self, mut batch: Batch) -> Result<(), Batch> {
        let shared = &*self.0;
        let records = batch.records();
        shared.counters.offer(records);
        let reason = {
            let mut state = shared.state();
            if state.phase > Phase::Open {
                Reason::Closed
            } else if state.queue.len() >= shared.capacity {
                Reason::QueueFull
            } else {
                state.queue.push_back(batch);
                state.batches.asked += 1;
                shared.wake(state);
                return Ok(());
            }
        };
        shared.fail(reason, &mut batch, records);
        Err(batch)
    }
}

impl Clone for Handle {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.ask(|state| state.handles -= 1);
    }
}

/// What the thread, the worker and the handles share.
#[derive(Debug)]
struct Shared {
    sink: &'static str,
    /// Batches that the queue has room for.
    capacity: usize,
    counters: Arc<Counters>,
    accounts: Arc<dyn Accounts>,
    /// Never held while the sink works.
    state: Mutex<State>,
    /// Notified when the thread waits and is asked for something.
    asked: Condvar,
    /// Notified when somebody waits and `state` changes.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Batch>,
    /// Batches done with, for their memory. The last used comes back first: caches still hold most
    /// of it.
    used: Vec<Batch>,
    /// Batches put into the queue.
    batches: Progress,
    /// How often the sink is to open its file or socket anew.
    reopen: Progress,
    /// Why the sink fails at present.
    error: Option<Arc<SinkError>>,
    /// How many handles there are. Without any, the thread ends when the queue is empty.
    handles: usize,
    phase: Phase,
    /// The thread waits to be asked, and nobody has woken it yet: a wake costs more than all else
    /// here.
    sleeps: bool,
    /// How many wait for a change.
    watched: usize,
}

/// How far a worker is, in the order in which it gets there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Open,
    /// Handles take no more batches, and the thread ends when the queue is empty.
    Closing,
    /// Nobody waits for the thread any more: it is to give up.
    Abandoned,
    /// The thread has ended.
    Ended,
}

/// How much was asked for, and how much of it is done.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    asked: u64,
    done: u64,
}

/// What the thread is to do next.
struct Task {
    /// How often the sink was to be opened anew so far, if it is to be now.
    reopen: Option<u64>,
    batch: Option<Batch>,
}

impl State {
    fn reach(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }
}

impl Shared {
    /// A panic elsewhere leaves nothing half done in it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn wait(&self, timeout: Duration, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state();
        state.watched += 1;
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, timeout, |state| !condition(state))
            .unwrap_or_else(PoisonError::into_inner);
        state.watched -= 1;
        state
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        if state.watched > 0 {
            self.changed.notify_all();
        }
    }

    /// Asks the thread for something.
    fn ask(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        self.wake(state);
    }

    /// Wakes the thread if it sleeps, once the state is free for it.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let sleeps = mem::take(&mut state.sleeps);
        drop(state);
        if sleeps {
            self.asked.notify_one();
        }
    }

    /// What there is to do for the thread, for which it waits; `None` when it is to end.
    fn next(&self) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.phase >= Phase::Abandoned {
                return None;
            }
            let Progress { asked, done } = state.reopen;
            let reopen = (done < asked).then_some(asked);
            let batch = state.queue.pop_front();
            if reopen.is_some() || batch.is_some() {
                return Some(Task { reopen, batch });
            }
            if state.phase > Phase::Open || state.handles == 0 {
                return None;
            }
            state.sleeps = true;
            state = self
                .asked
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn deadline(&self) -> WorkerError {
        WorkerError::Deadline {
            sink: self.sink,
            pending: self.counters.read().pending(),
        }
    }
}

/// The batch that the thread has in hand. However that ends, its records are accounted for.
struct InHand<'a> {
    batch: Batch,
    shared: &'a Shared,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let records = self.batch.rest_records();
        if records > 0 {
            self.shared.fail(Reason::Closed, &mut self.batch, records);
        }
    }
}

/// Announces the end of the thread, however it comes, when what is left in the queue is counted.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let Self(shared) = self;
        let left = {
            let mut state = shared.state();
            state.reach(Phase::Closing);
            mem::take(&mut state.queue)
        };
        for batch in left {
            drop(InHand { batch, shared });
        }
        shared.change(|state| state.reach(Phase::Ended));
    }
}

/// The thread: delivers batch after batch.
fn run(mut sink: impl Sink, shared: &Shared, retry: Retry) {
    let mut failing = false;
    while let Some(Task { reopen, batch }) = shared.next() {
        if reopen.is_some()
            && let Err(error) = sink.reopen()
        {
            shared.state().error = Some(Arc::new(error));
        }
        let used = batch.map(|batch| {
            let mut hand = InHand { batch, shared };
            failing = !deliver(&mut sink, &mut hand.batch, shared, retry, failing);
            hand.batch.clear();
            mem::take(&mut hand.batch)
        });
        shared.change(|state| {
            state.reopen.done = reopen.unwrap_or(state.reopen.done);
            state.batches.done += u64::from(used.is_some());
            state.used.extend(used);
        });
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
            shared.state().error = None;
            return true;
        };
        let reason = error.reason();
        if error.is_of_record() {
            batch.skip_line();
            shared.fail(reason, batch, 1);
            continue;
        }
        shared.state().error = Some(Arc::new(error));
        let abandoned = |state: &State| state.phase >= Phase::Abandoned;
        if attempts_left > 0 && !abandoned(&shared.wait(pause, abandoned)) {
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
