//! A thread that does nothing but read, so that the socket of the packet-ins never fills.
//!
//! Open vSwitch sends up to 1,024 packet-ins in one turn of its main thread. Once the socket is full
//! in such a turn it tries no further, keeps a hundred messages and drops the rest, whatever is read
//! meanwhile. So the socket is read into memory of ours at once, and the work is another thread's.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

use super::Priority;
use super::input::Input;
use super::link::{Lost, Woken, wait};
use crate::clock;

/// How long packet-ins are let gather after the last were read: many are read at once for less than
/// one at a time. At its fastest, Open vSwitch sends about sixty meanwhile, and the socket keeps
/// three times as many.
const GATHER: Duration = Duration::from_micros(250);

/// Inputs that there can be. In real time 20 MiB, some 100,000 packet-ins, so that the switch loses
/// none while the taker has no processor. At an ordinary priority the reader has none sooner than the
/// taker, and what is read ahead only leaves the caches before it is taken.
const fn most_inputs(priority: Priority) -> usize {
    match priority {
        Priority::RealTime => 64,
        Priority::Ordinary => 2,
    }
}

/// The thread was told to stop.
pub(super) struct Stopped;

/// The end that reads.
pub(super) struct Reader<'a> {
    socket: &'a UnixStream,
    /// Has something, or ends, when the thread is to stop.
    woken: &'a UnixStream,
    priority: Priority,
    full: SyncSender<Input>,
    used: Receiver<Input>,
    /// How many are on their way.
    waiting: Arc<AtomicUsize>,
    /// How many there are.
    inputs: usize,
    /// How many there can be.
    most: usize,
}

/// The end that takes what was read.
#[derive(Debug)]
pub(super) struct Inputs {
    full: Receiver<Input>,
    home: SyncSender<Input>,
    waiting: Arc<AtomicUsize>,
}

/// Both ends.
pub(super) fn reader<'a>(
    socket: &'a UnixStream,
    woken: &'a UnixStream,
    priority: Priority,
) -> (Reader<'a>, Inputs) {
    let most = most_inputs(priority);
    let (sender, full) = mpsc::sync_channel(most);
    let (home, used) = mpsc::sync_channel(most);
    let waiting = Arc::default();
    let reader = Reader {
        socket,
        woken,
        priority,
        full: sender,
        used,
        waiting: Arc::clone(&waiting),
        inputs: 0,
        most,
    };
    let inputs = Inputs {
        full,
        home,
        waiting,
    };
    (reader, inputs)
}

impl Inputs {
    /// The next input; waits for it until `until`.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Disconnected`] when the reader has ended and all is taken.
    pub(super) fn next(&self, until: Option<Duration>) -> Result<Input, RecvTimeoutError> {
        let input = match until {
            Some(until) => {
                let left = until.saturating_sub(clock::monotonic());
                self.full.recv_timeout(left)?
            }
            None => self
                .full
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected)?,
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(input)
    }

    /// Gives the memory of an input back.
    pub(super) fn give_back(&self, mut input: Input) {
        input.clear();
        // There is room for all of them, and a reader that has ended needs none.
        let _ = self.home.try_send(input);
    }
}

impl Reader<'_> {
    /// Reads until the connection ends or the thread is told to stop.
    pub(super) fn run(mut self) -> Result<Stopped, Lost> {
        if self.priority == Priority::RealTime {
            go_first();
        }
        let mut input = Input::new();
        self.inputs = 1;
        loop {
            let found = match input.read(self.socket) {
                Ok(found) => found,
                Err(lost) => {
                    self.hand_over(&mut input);
                    return Err(lost);
                }
            };
            // One that waits already is joined by more, so that a taker who is late finds few.
            let late = self.waiting.load(Ordering::Relaxed) > 1;
            if (!late || !found || input.is_full()) && !self.hand_over(&mut input) {
                return Ok(Stopped);
            }
            let woken = if found {
                wait(self.woken, Some(clock::monotonic() + GATHER))
            } else {
                self.wait()?
            };
            if woken == Woken::Other {
                self.hand_over(&mut input);
                return Ok(Stopped);
            }
        }
    }

    /// Hands over what was read and takes memory for more, for which it waits if all there may be
    /// is on its way; false when nobody takes it any more.
    fn hand_over(&mut self, input: &mut Input) -> bool {
        if input.is_empty() {
            return true;
        }
        let next = match self.used.try_recv() {
            Ok(next) => next,
            Err(_) if self.inputs < self.most => {
                self.inputs += 1;
                Input::new()
            }
            Err(_) => match self.used.recv() {
                Ok(next) => next,
                Err(_) => return false,
            },
        };
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.full.send(std::mem::replace(input, next)).is_ok()
    }

    /// Waits until there is something to read, or the thread is to stop.
    fn wait(&self) -> Result<Woken, Lost> {
        let mut ready = [
            PollFd::new(self.socket, PollFlags::IN),
            PollFd::new(self.woken, PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(if ready[1].revents().is_empty() {
            Woken::Socket
        } else {
            Woken::Other
        })
    }
}

/// Has this thread run in real time, at the least such priority, where the system allows it.
fn go_first() {
    let real_time = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let least = ThreadPriority::Min;
    if let Err(refused) = set_thread_priority_and_policy(thread_native_id(), least, real_time) {
        tracing::info!("packet-ins are read at an ordinary priority: {refused:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Shutdown;
    use std::thread;

    use super::*;

    /// More than all inputs hold.
    const WORDS: u32 = 1 << 20;

    /// Writes ascending numbers.
    fn count_up(mut to: UnixStream) {
        let words: Vec<u32> = (0..WORDS).collect();
        for words in words.chunks(10_001) {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            to.write_all(&bytes).unwrap();
        }
        to.shutdown(Shutdown::Both).unwrap();
    }

    #[test]
    fn what_is_read_comes_in_order_and_then_the_end() {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let (_wake, woken) = UnixStream::pair().unwrap();
        let (reader, inputs) = reader(&ours, &woken, Priority::Ordinary);
        thread::scope(|scope| {
            scope.spawn(|| count_up(theirs));
            let reader = scope.spawn(|| reader.run());
            let (mut next, mut kept) = (0_u32, Vec::new());
            while let Ok(mut input) = inputs.next(None) {
                let bytes = input.behind(&kept);
                let (words, rest) = bytes.as_chunks();
                for word in words {
                    assert_eq!(u32::from_le_bytes(*word), next);
                    next += 1;
                }
                kept = rest.to_vec();
                inputs.give_back(input);
            }
            assert_eq!((next, kept), (WORDS, Vec::new()));
            assert!(matches!(reader.join().unwrap(), Err(Lost::Closed)));
        });
    }

    #[test]
    fn a_taker_that_goes_ends_a_reader_that_waits_for_memory() {
        let (theirs, ours) = UnixStream::pair().unwrap();
        let (_wake, woken) = UnixStream::pair().unwrap();
        let (reader, inputs) = reader(&ours, &woken, Priority::Ordinary);
        thread::scope(|scope| {
            let (waiting, most) = (Arc::clone(&inputs.waiting), reader.most);
            scope.spawn(|| {
                let bytes = [0; 1 << 14];
                // Until nobody reads.
                while (&theirs).write_all(&bytes).is_ok() {}
            });
            let reader = scope.spawn(|| reader.run());
            // All but the one that is being filled.
            while waiting.load(Ordering::Relaxed) < most - 1 {
                thread::yield_now();
            }
            drop(inputs);
            assert!(matches!(reader.join().unwrap(), Ok(Stopped)));
            ours.shutdown(Shutdown::Both).unwrap();
        });
    }

    #[test]
    fn it_stops_when_told_and_hands_over_what_it_has() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let (wake, woken) = UnixStream::pair().unwrap();
        let (reader, inputs) = reader(&ours, &woken, Priority::Ordinary);
        thread::scope(|scope| {
            let reader = scope.spawn(|| reader.run());
            theirs.write_all(b"first").unwrap();
            let mut input = inputs.next(None).unwrap();
            assert_eq!(input.behind(b"the "), b"the first");
            drop(wake);
            assert!(matches!(reader.join().unwrap(), Ok(Stopped)));
            let end = inputs.next(None);
            assert!(matches!(end, Err(RecvTimeoutError::Disconnected)));
        });
    }
}
