//! The switch: log flows go one way, packet-ins come the other.
//!
//! There are two connections to the bridge's management socket. The one for packet-ins does nothing
//! else, so that neither a reply with ten thousand flows nor a large change delays them; it carries
//! the id that our log flows report to. One thread only reads it, another takes what was read. The
//! connection for control has a thread that reads the flows that are ours and changes them. Log
//! flows are put in force only while packet-ins are being read.
//!
//! A flow monitor on the control connection tells when others change the tables that log flows
//! are in. What they took from us is put back at once and reported ([`Event::Healed`]); what is
//! theirs is never touched, and reported where it is in our way ([`Event::Obstructed`]).

mod control;
mod count;
mod flows;
mod harm;
mod input;
mod link;
mod meters;
mod packets;
mod reader;
mod reconcile;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use netlog_core::flow::{FlowProfile, LogFlow};
use netlog_ratelimit::Limits;

pub use self::count::{Count, CounterState, Counts, Missed};
pub use self::harm::{Harm, Obstacle, Obstruction};
use crate::pipeline::Pipeline;

/// What happens between us and the switch.
#[derive(Debug)]
pub enum Event {
    /// Packet-ins are being read, and log flows can be put in force.
    Attached {
        /// The OpenFlow version that is spoken, such as `1.4`.
        version: String,
    },
    /// There is no connection. Another attempt follows.
    Detached {
        /// Why.
        reason: String,
    },
    /// The log flows of this ticket, or of a later one, are in force.
    InForce {
        /// What [`Switch::want`] was given with them.
        ticket: u64,
        /// How many flows had to be added, changed or deleted for it.
        changes: usize,
    },
    /// The switch did not take the log flows. Further attempts follow, and are reported only if
    /// they fail in another way.
    Refused {
        /// Why.
        reason: String,
    },
    /// Others deleted or changed log flows or meters, which are in force again.
    Healed {
        /// What was done to them.
        harm: Harm,
        /// For how long at most events of these flows were lost: from the first news of it, from
        /// the end of the connection, or from the last look at the meters, until the switch
        /// confirmed the repair.
        gap: Duration,
    },
    /// What was lost by harm that was [`Healed`](Self::Healed), once the switch has counted it.
    Missed(Missed),
    /// The switch does not meter the packet-ins of some or all log flows, though there are limits.
    /// They are in force all the same.
    Unmetered {
        /// Why.
        reason: String,
    },
    /// Other flows of someone else's than before are in the way of log flows.
    Obstructed {
        /// All that are now; none when the way is free again.
        obstacles: Vec<Obstacle>,
    },
    /// What the switch has counted since it was told last: about once a second, less often where
    /// the switch takes long to say, and at once when flows are gone.
    ///
    /// Packets are counted up to half a second after their packet-ins.
    Counted(Counts),
    /// The switch does not tell of changes to flows, so that they are noticed with a delay.
    Unmonitored {
        /// Why.
        reason: String,
    },
}

/// When the thread that reads packet-ins gets a processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// In its turn, like any other thread.
    #[default]
    Ordinary,
    /// As soon as it has something to do, in real time (`SCHED_RR`); in its turn where the system
    /// does not allow that.
    ///
    /// Open vSwitch sends up to a thousand packet-ins in one turn. The socket and its own queue
    /// keep a few hundred of them, and it drops the others if nobody reads within a millisecond or
    /// so. The thread does nothing but read, which costs a fraction of what Open vSwitch does for
    /// each packet-in, so that it cannot keep a processor from others.
    RealTime,
}

/// What the two threads and the agent share.
#[derive(Debug, Default)]
struct Shared {
    /// The log flows to put in force, with their ticket.
    wanted: Option<Wanted>,
    /// Whether packet-ins are being read, or why not.
    packets: Packets,
    stop: bool,
}

/// What the switch should have.
#[derive(Debug)]
struct Wanted {
    ticket: u64,
    flows: Vec<LogFlow>,
    /// What the meter of each log flow is set by.
    limits: Option<Limits>,
}

/// The state of the connection for packet-ins.
#[derive(Debug, Default, Clone)]
enum Packets {
    #[default]
    Connecting,
    Ready,
    Lost(String),
}

/// A board where the threads leave notes for the control thread, and ring.
#[derive(Debug)]
struct Board {
    shared: Mutex<Shared>,
    bell: UnixStream,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Every note is written in one step, so that a panic elsewhere leaves none half written.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the control thread.
    fn ring(&self) {
        // A full socket has rung already; a closed one has nobody to wake.
        let _ = rustix::io::write(&self.bell, b"!");
    }
}

/// The threads that serve a bridge. Dropping it stops them.
#[derive(Debug)]
pub struct Switch {
    board: Arc<Board>,
    /// A byte lets the thread that reads packet-ins begin, closing it stops that thread.
    wake: Option<UnixStream>,
    begun: AtomicBool,
    threads: Vec<JoinHandle<()>>,
}

impl Switch {
    /// Starts serving the bridge with this management socket, which need not exist yet.
    ///
    /// Nothing is read before [`want`](Self::want) is called for the first time: log flows that
    /// are still there from before would report packets that nobody can tell yet.
    ///
    /// # Errors
    /// When the system gives no thread or socket.
    pub fn start(
        socket: PathBuf,
        profile: FlowProfile,
        pipeline: Pipeline,
        priority: Priority,
        tell: impl FnMut(Event) + Send + 'static,
    ) -> io::Result<Self> {
        let (bell, rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let (wake, woken) = UnixStream::pair()?;
        let board = Arc::new(Board {
            shared: Mutex::default(),
            bell,
        });
        let packets = packets::Thread::new(
            socket.clone(),
            pipeline,
            priority,
            Arc::clone(&board),
            woken,
        );
        let control = control::Thread::new(socket, profile, Arc::clone(&board), rung, tell);
        let mut switch = Self {
            board,
            wake: Some(wake),
            begun: AtomicBool::new(false),
            threads: Vec::new(),
        };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        switch
            .threads
            .push(named("packets").spawn(move || packets.run())?);
        switch
            .threads
            .push(named("control").spawn(move || control.run())?);
        Ok(switch)
    }

    /// Says which log flows the switch should have, in place of what was said before, and by which
    /// limits the packet-ins of each log flow are metered.
    pub fn want(&self, ticket: u64, flows: Vec<LogFlow>, limits: Option<Limits>) {
        let wanted = Wanted {
            ticket,
            flows,
            limits,
        };
        self.board.lock().wanted = Some(wanted);
        self.board.ring();
        if let Some(wake) = self
            .wake
            .as_ref()
            .filter(|_| !self.begun.swap(true, Ordering::Relaxed))
        {
            // One byte always fits into an empty socket.
            let _ = rustix::io::write(wake, b"!");
        }
    }

    /// Stops: everything that was read is handed to the sink. Log flows stay in the switch, where
    /// they go on counting.
    pub fn stop(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.board.lock().stop = true;
        self.board.ring();
        self.wake = None;
        for thread in self.threads.drain(..) {
            // A panic was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.join();
    }
}
