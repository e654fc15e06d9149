//! The ledger: what became of everything that reached a log flow.
//!
//! Each packet-in that is received gives events, or is counted as one that nobody wanted or that
//! no log flow of ours sent. Each event ends in exactly one counter:
//!
//! ```text
//! events = recorded + folded + suppressed + log_limited + still queued in the limiter
//! recorded = written + failed + still on its way to the sink
//! ```
//!
//! A [`Counter`] has one writer and any number of readers: the thread that reads the bridge's
//! packet-ins, and for records that are delivered the sink's. That a record is not delivered more
//! than one thread may tell: a [`Tally`] takes any number.
//!
//! Both are counted twice over: for the event's port, and for its [`Audience`](audience::Audience), the log objects that
//! want it, so that the law holds for each port and for each log object.
//!
//! What came before, from the switch's count of a packet to the packet-in, is [`balance`]'s; how
//! losses are told, [`gap`]'s.

pub mod audience;
pub mod balance;
pub mod gap;
mod ports;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use serde::{Deserialize, Serialize};

use self::audience::{Audiences, Known};
pub use self::ports::{PortCounters, Ports, SharedPort};
use crate::flow::Slot;
use crate::prefetch::prefetch;

/// A number that only grows, with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the counter's one writer may call this.
    pub fn add(&self, n: u64) {
        self.0.store(self.get().wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes over a number that is counted elsewhere. Only the counter's one writer may call
    /// this.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that only grows, with any number of writers.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What became of events that some log object wants. What is counted for every event comes first.
#[derive(Debug, Default)]
#[repr(C)]
pub struct EventCounters {
    /// All of them.
    pub total: Counter,
    /// Events that became a record.
    pub recorded: Counter,
    /// Events that repeated an accepted session that was already recorded.
    pub folded: Counter,
    /// Events that the rate limit refused because the queue was full.
    pub suppressed: Counter,
    /// Events that were over the limit of every log object that wants them.
    pub log_limited: Counter,
    /// Records that the sink delivered. The writer is the sink's thread.
    pub written: Counter,
    /// Records that it did not.
    pub failed: Tally,
}

impl EventCounters {
    /// The numbers now.
    pub fn read(&self) -> EventFigures {
        // How events ended is read before how many there were, so that there are never fewer.
        let mut figures = EventFigures {
            written: self.written.get(),
            failed: self.failed.get(),
            folded: self.folded.get(),
            suppressed: self.suppressed.get(),
            log_limited: self.log_limited.get(),
            events: 0,
        };
        figures.events = self.total.get();
        figures
    }

    /// Goes on from these figures, where nothing is counted yet. Events whose fate was not known
    /// count as failed.
    pub fn restore(&self, figures: EventFigures) {
        let figures = figures.closed();
        self.total.set(figures.events);
        self.recorded.set(figures.written + figures.failed);
        self.folded.set(figures.folded);
        self.suppressed.set(figures.suppressed);
        self.log_limited.set(figures.log_limited);
        self.written.add(figures.written);
        self.failed.add(figures.failed);
    }
}

/// What became of events, as it stood at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventFigures {
    /// Events that some log object wants.
    pub events: u64,
    /// Of these, those that repeated a session that was already recorded.
    pub folded: u64,
    /// Those that the host's limit refused.
    pub suppressed: u64,
    /// Those over the limit of every log object that wants them.
    pub log_limited: u64,
    /// Those whose record was delivered.
    pub written: u64,
    /// Those whose record was not.
    pub failed: u64,
}

impl EventFigures {
    /// Events that a limit refused.
    pub fn refused(&self) -> u64 {
        self.suppressed + self.log_limited
    }

    /// Events whose fate is not known yet: they wait in the limiter's queue or for the sink.
    pub fn pending(&self) -> u64 {
        let ended = self.folded + self.refused() + self.written + self.failed;
        self.events.saturating_sub(ended)
    }

    /// The figures once nobody can tell any more what became of pending events: they failed.
    #[must_use]
    pub fn closed(mut self) -> Self {
        self.failed += self.pending();
        self
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            folded: self.folded + other.folded,
            suppressed: self.suppressed + other.suppressed,
            log_limited: self.log_limited + other.log_limited,
            written: self.written + other.written,
            failed: self.failed + other.failed,
        }
    }
}

/// What became of packet-ins and events, of several ports together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packet-ins that log flows sent.
    pub received: u64,
    /// Events that became a record.
    pub recorded: u64,
    /// Events that the known rules did not explain.
    pub drifted: u64,
    /// What became of all events.
    pub events: EventFigures,
}

/// Whose an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its port.
    pub slot: Slot,
    /// The number of its [`Audience`](audience::Audience).
    pub audience: u32,
}

impl Account {
    /// As one number, which goes with the event's record.
    pub fn to_bits(self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.audience)
    }

    /// The account with this number.
    #[expect(clippy::cast_possible_truncation, reason = "each half is a number")]
    pub fn from_bits(bits: u64) -> Self {
        Self {
            slot: (bits >> 32) as Slot,
            audience: bits as u32,
        }
    }
}

/// The counters of a bridge.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Packet-ins received.
    pub received: Counter,
    /// Packet-ins that no log flow of ours sent, or of a flow that is not known any more.
    pub unknown_flow: Counter,
    /// Packet-ins that could not be read.
    pub malformed: Counter,
    /// Packet-ins that no log object wants.
    pub unwanted: Counter,
    /// Sessions that were forgotten because the session table was full.
    pub sessions_evicted: Counter,
    /// Events that the known rules did not explain, and that were never judged, because too many
    /// of them came at once.
    pub drift_unjudged: Counter,
    /// Events that wait in the limiter's queue. This one also shrinks.
    pub queued: Counter,
    /// The counters by the log objects that want the events.
    pub audiences: Arc<Audiences>,
    ports: RwLock<Ports>,
}

impl Ledger {
    /// The counters of the port with this slot, made for it and for every lower one where there are
    /// none.
    pub fn port(&self, slot: Slot) -> SharedPort {
        if let Some(port) = self.known_port(slot) {
            return port;
        }
        let mut ports = self.ports.write().unwrap_or_else(PoisonError::into_inner);
        ports.make(slot)
    }

    /// The counters of the port with this slot, if it ever had any.
    pub fn known_port(&self, slot: Slot) -> Option<SharedPort> {
        self.ports().share(slot)
    }

    /// The counters by account, for as long as no port and no audience is new.
    pub fn by_account(&self) -> ByAccount<'_> {
        ByAccount {
            ports: self.ports(),
            audiences: self.audiences.known(),
        }
    }

    /// What became of packet-ins and events, of all ports together.
    pub fn totals(&self) -> Totals {
        let ports = self.ports();
        ports.iter().fold(Totals::default(), |totals, port| {
            let events = port.events.read();
            Totals {
                received: totals.received + port.received_total(),
                recorded: totals.recorded + port.events.recorded.get(),
                drifted: totals.drifted + port.drifted.get(),
                events: totals.events.plus(events),
            }
        })
    }

    /// The counters of all ports, for as long as no port is new.
    pub fn ports(&self) -> RwLockReadGuard<'_, Ports> {
        // A thread that panicked while it held the lock left a vector that is still whole.
        self.ports.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counters by account, to count events that are not at hand any more.
#[derive(Debug)]
pub struct ByAccount<'a> {
    ports: RwLockReadGuard<'a, Ports>,
    audiences: RwLockReadGuard<'a, Known>,
}

impl ByAccount<'_> {
    /// Has the processor fetch what [`count`](Self::count) will write of the account.
    #[inline]
    pub fn prefetch(&self, account: Account) {
        if let Some(port) = self.ports.get(account.slot) {
            prefetch(&port.events.written);
        }
    }

    /// Counts something of an account, for its port and for its audience. Both are there for as long
    /// as events of theirs are on their way.
    #[inline]
    pub fn count(&self, account: Account, count: impl Fn(&EventCounters)) {
        if let Some(port) = self.ports.get(account.slot) {
            count(&port.events);
        }
        if let Some(audience) = self.audiences.get(account.audience) {
            count(audience.counters());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowKind;

    /// Else the packet-ins of a flow that somebody left behind would be counted as a port's.
    #[test]
    fn a_slot_that_no_port_had_has_no_counters() {
        let ledger = Ledger::default();
        ledger.port(7);
        assert!(ledger.known_port(7).is_some());
        assert!(ledger.known_port(8).is_none());
        assert_eq!(ledger.ports().iter().count(), 8);
    }

    #[test]
    fn a_port_keeps_its_counters_while_others_come() {
        let ledger = Ledger::default();
        let seventh = ledger.port(7);
        seventh.events.total.add(2);
        ledger.port(1000).events.total.add(3);
        assert_eq!(ledger.port(7).events.total.get(), 2);
        ledger.port(7).received(FlowKind::Drop).add(4);
        let expected = Totals {
            received: 4,
            events: EventFigures {
                events: 5,
                ..EventFigures::default()
            },
            ..Totals::default()
        };
        assert_eq!(ledger.totals(), expected);
    }
}
