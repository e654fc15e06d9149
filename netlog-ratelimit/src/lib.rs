//! Rate and burst limit for events that come from many ports.
//!
//! A packet costs the sender nothing to send, and costs us a line to log. So the operator sets
//! two limits for a host:
//!
//! - `rate_limit`: how many events a second are logged. What comes faster is queued.
//! - `burst_limit`: how many events are queued. What finds no room is refused.
//!
//! [`Limiter`] is that rule as a plain data structure. It reads no clock, spawns no thread and
//! throws nothing away: time is an argument, and whatever it will not keep is handed back, with
//! its port, so that the caller can count it.
//!
//! # The rate
//!
//! The rate is GCRA with a tolerance of zero ([`governor`] decides): each event has a *due time*,
//! due times lie at least one period (1 / `rate_limit`, rounded up to a nanosecond) apart, and no
//! event leaves before its due time. Idle time earns no credit, because the queue already absorbs
//! bursts. For a caller that asks for events as they fall due, any window of length *W* therefore
//! sees at most `rate_limit` × *W* + 1 of them.
//!
//! A caller that comes late, because its thread was not scheduled, gets what has fallen due since,
//! at once, and the schedule goes on as if it had been on time: lateness costs no throughput. Those
//! events were all in the queue before, so any window sees at most
//! `rate_limit` × *W* + `burst_limit` + 1, whatever the caller does.
//!
//! # Fairness
//!
//! Ports take turns. An event that is the first its port has queued, with *n* other ports in the
//! queue, leaves among the next *n* + 1, no matter how many events those ports have: a flood on one
//! port delays the others by one period each. When the queue is full, the port that has most in it,
//! counting the event that comes, loses its newest; between equals, the one that comes yields.
//! So a flood is refused its own events, and a quiet port still gets in.
//!
//! # Inside the limits
//!
//! Within what the host may log, some may be given less: a [`Throttle`] has a rate and a burst of
//! its own and no queue. It decides what may ask for admission at all.
//!
//! # Cost
//!
//! All memory is allocated when limits are set, in proportion to `burst_limit` (or to what is
//! queued at that time, if that is more) and independent of the number of ports; every operation
//! takes constant time. Without limits an event passes after two comparisons, and nothing is
//! allocated at all.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use netlog_ratelimit::{Admission, Limiter, Limits};
//!
//! let mut limiter = Limiter::new(Some(Limits::new(100, 25)?));
//! let now = Duration::from_secs(1);
//!
//! // The first event passes, the second has to wait 10 ms for its turn.
//! assert_eq!(limiter.admit(7, "first", now), Admission::Pass("first"));
//! assert_eq!(limiter.admit(7, "second", now), Admission::Queued);
//! assert_eq!(limiter.release(now), None);
//!
//! let due = limiter.next_release().expect("an event is queued");
//! assert_eq!(due, now + Duration::from_millis(10));
//! assert_eq!(limiter.release(due), Some((7, "second")));
//! # Ok::<(), netlog_ratelimit::LimitError>(())
//! ```

mod gate;
mod limits;
mod queue;
mod slab;
#[cfg(test)]
mod tests;
mod throttle;

use std::fmt;
use std::time::Duration;

use gate::Gate;
pub use limits::{Bounded, LimitError, Limits, Quota};
use queue::FairQueue;
pub use throttle::Throttle;

/// Limits the rate of events of type `T` from many ports.
///
/// Call [`release`](Self::release) until it returns `None` before each [`admit`](Self::admit):
/// what has fallen due leaves first and makes room. Time is a [`Duration`] since any epoch the
/// caller likes, as long as it is always the same one; a clock that steps back delays events by
/// the step and does no other harm.
pub struct Limiter<T> {
    /// `None`: no limits.
    gate: Option<Gate>,
    queue: FairQueue<T>,
    /// When the next queued event may leave; of no meaning while nothing is queued.
    due: Duration,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an event that is handed back must be counted"]
pub enum Admission<T> {
    /// It is within the rate: log it now.
    Pass(T),
    /// It waits for its turn: [`Limiter::release`] will return it.
    Queued,
    /// It waits for its turn, in a place that another had to give up.
    QueuedEvicting {
        /// The port with most in the queue.
        port: u32,
        /// That port's newest event, which is refused.
        event: T,
    },
    /// It is refused: the queue is full, and its port has most in it.
    Refused(T),
}

impl<T> Limiter<T> {
    /// A limiter with an empty queue. `None` lets everything pass.
    pub fn new(limits: Option<Limits>) -> Self {
        Self {
            gate: limits.map(Gate::new),
            queue: FairQueue::new(limits.map_or(0, Limits::burst)),
            due: Duration::ZERO,
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Option<Limits> {
        self.gate.as_ref().map(Gate::limits)
    }

    /// Decides on an event of `port` that arrives at `now`.
    ///
    /// It passes only when nothing is queued, so that it never overtakes.
    #[inline]
    pub fn admit(&mut self, port: u32, event: T, now: Duration) -> Admission<T> {
        if let Some(gate) = &self.gate {
            if self.queue.is_empty() {
                match gate.pass(now) {
                    Ok(()) => return Admission::Pass(event),
                    Err(due) => self.due = due,
                }
            } else if self.due < now {
                // Overdue events must not lend this one a due time before it came.
                let overdue = gate.period().saturating_mul(self.queue.len());
                self.due = self.due.max(now.saturating_sub(overdue));
            }
        } else if self.queue.is_empty() {
            return Admission::Pass(event);
        }
        self.queue.offer(port, event)
    }

    /// The next queued event that has fallen due by `now`, with its port.
    pub fn release(&mut self, now: Duration) -> Option<(u32, T)> {
        if self.queue.is_empty() || now < self.due {
            return None;
        }
        if let Some(gate) = &self.gate {
            // At its due time, not at `now`: coming late must not delay the next one.
            if let Err(due) = gate.pass(self.due) {
                self.due = due;
                return None;
            }
            self.due = self.due.saturating_add(gate.period());
        }
        self.queue.pop()
    }

    /// When [`release`](Self::release) will next return an event; `None` while nothing is queued.
    ///
    /// The value may change after any call that takes `&mut self`.
    pub fn next_release(&self) -> Option<Duration> {
        (!self.queue.is_empty()).then_some(self.due)
    }

    /// How many events are queued.
    pub fn queued(&self) -> usize {
        self.queue.len() as usize
    }

    /// Puts other limits in force. Nothing that is queued is lost: what a smaller `burst_limit`
    /// has no room for leaves at the rate like the rest, and until then the queue is full. Without
    /// limits, all of it is due at once.
    pub fn set_limits(&mut self, limits: Option<Limits>, now: Duration) {
        self.gate = match (self.gate.take(), limits) {
            (Some(gate), Some(limits)) => Some(gate.change(limits)),
            (_, limits) => {
                self.due = now;
                limits.map(Gate::new)
            }
        };
        if let Some(limits) = limits {
            self.queue.set_capacity(limits.burst());
        }
    }

    /// Empties the queue, in the order in which its events would have been released.
    pub fn drain(&mut self) -> impl Iterator<Item = (u32, T)> {
        std::iter::from_fn(|| self.queue.pop())
    }
}

impl<T> fmt::Debug for Limiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("limits", &self.limits())
            .field("queued", &self.queued())
            .field("next_release", &self.next_release())
            .finish()
    }
}
