//! What the switch has counted of log flows and meters: when to ask, and what the answers mean.
//! Nothing here does I/O or reads a clock.
//!
//! A counter of the switch begins at 0 whenever its flow is added, and ends when the flow goes or
//! `ovs-vswitchd` does. Log flows ask for `OFPT_FLOW_REMOVED`, which Open vSwitch sends once no
//! packet can be added to the counter any more: some hundred milliseconds after the flow is gone,
//! when another may have taken its place. Here each counter is followed from its beginning to its
//! end, so that what is told is always how many packets there are more.

use std::collections::BTreeMap;
use std::time::Duration;

use netlog_core::flow::{Cookie, Slot};
use netlog_ofp::multipart::{MultipartReply, MultipartRequest};
use netlog_ofp::{Event as LinkEvent, FlowRemoved, MeterId, Xid};

use super::{Event, flows, meters};

/// How often the switch is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// The switch is asked so rarely that it answers for at most one part in so many of the time.
const SHARE: u32 = 100;

/// How rarely it is asked at most.
const RAREST: Duration = Duration::from_secs(30);

/// How long the last count of a flow that is gone is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far the switch may be off when it says how old something is: it looks at the clock once a
/// turn.
const SLACK: Duration = Duration::from_millis(250);

/// What the switch has counted since it was told last. What is not named has not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The packets that log flows matched, cut by a meter or not.
    pub flows: Vec<Count<Cookie>>,
    /// The packets that the meters of ports cut.
    pub meters: Vec<Count<Slot>>,
}

/// What a counter says.
///
/// Those of one flow follow each other when it is deleted and added again; all that it matched is
/// the sum of all that is told of it. Only a flow that comes and goes between two readings, and
/// whose end is not heard since the connection is lost, is never told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<K> {
    /// Whose it is.
    pub of: K,
    /// How many packets it has counted that were not told before.
    pub more: u64,
    /// How it stands with it.
    pub counter: CounterState,
}

/// How it stands with a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CounterState {
    /// It goes on.
    Running {
        /// How many packets it has counted since it began. When a counter is told of for the first
        /// time, all of them are [`more`](Count::more), though it may have begun before the agent
        /// did.
        packets: u64,
        /// How long ago it began.
        age: Duration,
    },
    /// It has ended, and all that it counted is told.
    Ended,
    /// It has ended, and nobody can say what it counted beyond that which is told.
    Lost,
}

/// A counter that was told of.
#[derive(Debug)]
struct Told {
    /// What was told last.
    packets: u64,
    /// It began at the first of these times at the earliest, at the second at the latest.
    born: [Duration; 2],
    /// Whether it was seen in the last reading.
    seen: bool,
}

impl Told {
    fn is_born(&self, born: [Duration; 2]) -> bool {
        born[0] <= self.born[1] + SLACK && self.born[0] <= born[1] + SLACK
    }
}

/// One kind of counter.
#[derive(Debug)]
struct Tally<K> {
    running: BTreeMap<K, Told>,
    /// Counters that have ended, and until when their last counts are waited for.
    ended: Vec<(K, Told, Duration)>,
    /// What there is to tell.
    tell: Vec<Count<K>>,
    /// Whether no last count will come for what ends before the next reading.
    blind: bool,
}

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self {
            running: BTreeMap::new(),
            ended: Vec::new(),
            tell: Vec::new(),
            blind: false,
        }
    }
}

impl<K: Copy + Ord> Tally<K> {
    /// Takes what the switch says of all counters: whose it is, how many packets, and its age.
    fn read(
        &mut self,
        counts: impl Iterator<Item = (K, u64, Duration)>,
        asked: Duration,
        now: Duration,
    ) {
        let until = if self.blind { now } else { now + PATIENCE };
        for (of, packets, age) in counts {
            let born = [asked.saturating_sub(age), now.saturating_sub(age)];
            let before = self.running.remove(&of);
            let (same, other) = match before {
                Some(told) if packets >= told.packets && told.is_born(born) => (Some(told), None),
                other => (None, other),
            };
            self.ended.extend(other.map(|told| (of, told, until)));
            let is_new = same.is_none();
            let more = packets - same.map_or(0, |told| told.packets);
            if more > 0 || is_new {
                let counter = CounterState::Running { packets, age };
                self.tell.push(Count { of, more, counter });
            }
            let told = Told {
                packets,
                born,
                seen: true,
            };
            self.running.insert(of, told);
        }
        let is_gone =
            |(of, told): (&K, &mut Told)| (!std::mem::take(&mut told.seen)).then_some(*of);
        let gone: Vec<K> = self.running.iter_mut().filter_map(is_gone).collect();
        let gone = gone
            .into_iter()
            .filter_map(|of| self.running.remove_entry(&of));
        self.ended.extend(gone.map(|(of, told)| (of, told, until)));
        self.blind = false;
        for (of, ..) in self.ended.extract_if(.., |(.., until)| *until <= now) {
            let counter = CounterState::Lost;
            self.tell.push(Count {
                of,
                more: 0,
                counter,
            });
        }
    }

    /// A counter has ended with this count, after it had been there for that long.
    fn end(&mut self, of: K, packets: u64, age: Duration, now: Duration) {
        let born = [now.saturating_sub(age); 2];
        let is_it = |told: &Told| packets >= told.packets && told.is_born(born);
        let before = self
            .ended
            .iter()
            .position(|(whose, told, _)| *whose == of && is_it(told));
        let told = match before {
            Some(at) => Some(self.ended.swap_remove(at).1),
            None if self.running.get(&of).is_some_and(is_it) => self.running.remove(&of),
            // It began and ended since the last reading.
            None => None,
        };
        let more = packets - told.map_or(0, |told| told.packets);
        let counter = CounterState::Ended;
        self.tell.push(Count { of, more, counter });
    }
}

/// What is asked, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Flows,
    Meters,
}

#[derive(Debug)]
enum Phase {
    Detached,
    /// Asked again at that time.
    Waiting(Duration),
    /// To be asked for a part of what was begun to be read at that time.
    Next(Part, Duration),
    /// Asked for it.
    Reading {
        part: Part,
        xid: Xid,
        asked: Duration,
        began: Duration,
    },
}

/// Asks the switch what it has counted.
#[derive(Debug)]
pub(super) struct Counter {
    phase: Phase,
    flows: Tally<Cookie>,
    meters: Tally<Slot>,
    /// Whether all was read since that was asked last.
    has_read: bool,
}

impl Counter {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Detached,
            flows: Tally::default(),
            meters: Tally::default(),
            has_read: false,
        }
    }

    /// There is a new connection.
    pub(super) fn attach(&mut self, now: Duration) {
        self.phase = Phase::Waiting(now);
    }

    /// The connection is lost, and with it every last count.
    pub(super) fn detach(&mut self) {
        self.phase = Phase::Detached;
        self.flows.blind = true;
        self.meters.blind = true;
    }

    /// Whether everything was read since this was called last.
    pub(super) fn has_read(&mut self) -> bool {
        std::mem::take(&mut self.has_read)
    }

    /// When [`advance`](Self::advance) has something to do though nothing is heard.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.phase {
            Phase::Waiting(until) => Some(until),
            Phase::Next(_, began) => Some(began),
            Phase::Detached | Phase::Reading { .. } => None,
        }
    }

    /// Asks for one thing at most. To be called while nothing else is asked of the switch.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(super) fn advance<E>(
        &mut self,
        now: Duration,
        ask: impl FnOnce(MultipartRequest) -> Result<Xid, E>,
    ) -> Result<(), E> {
        let (part, began) = match self.phase {
            Phase::Waiting(until) if until <= now => (Part::Flows, now),
            Phase::Next(part, began) => (part, began),
            _ => return Ok(()),
        };
        let request = match part {
            Part::Flows => MultipartRequest::Flow(flows::ours()),
            Part::Meters => MultipartRequest::Meter(MeterId::ALL),
        };
        self.phase = Phase::Reading {
            part,
            xid: ask(request)?,
            asked: now,
            began,
        };
        Ok(())
    }

    /// Takes note of what the switch says.
    pub(super) fn hear(&mut self, event: &LinkEvent, now: Duration, tell: &mut impl FnMut(Event)) {
        match event {
            LinkEvent::FlowRemoved(removed) => self.hear_removed(removed, now),
            LinkEvent::Multipart { xid, reply } => self.hear_answer(*xid, reply, now, tell),
            LinkEvent::Failed { xid, .. } => {
                if let Phase::Reading {
                    part,
                    xid: awaited,
                    began,
                    ..
                } = self.phase
                    && *xid == awaited
                {
                    self.end_part(part, began, now, tell);
                }
            }
            _ => {}
        }
    }

    /// Tells what counters that ended have counted, without waiting for the others.
    pub(super) fn tell_ends(&mut self, tell: &mut impl FnMut(Event)) {
        if !matches!(self.phase, Phase::Next(..) | Phase::Reading { .. }) {
            self.tell(tell);
        }
    }

    fn hear_removed(&mut self, removed: &FlowRemoved, now: Duration) {
        if let Some(cookie) = Cookie::from_bits(removed.cookie) {
            self.flows
                .end(cookie, removed.packet_count, removed.duration, now);
        }
    }

    fn hear_answer(
        &mut self,
        xid: Xid,
        reply: &MultipartReply,
        now: Duration,
        tell: &mut impl FnMut(Event),
    ) {
        let Phase::Reading {
            part,
            xid: awaited,
            asked,
            began,
        } = self.phase
        else {
            return;
        };
        if xid != awaited {
            return;
        }
        match reply {
            MultipartReply::Flow(found) => {
                let counts = found.iter().filter_map(|flow| {
                    let cookie = Cookie::from_bits(flow.cookie)?;
                    Some((cookie, flow.packet_count, flow.duration))
                });
                self.flows.read(counts, asked, now);
            }
            MultipartReply::Meter(found) => {
                let counts = found.iter().filter_map(|meter| {
                    let slot = meters::slot(meter.meter_id)?;
                    let cut = meter.bands.iter().map(|band| band.packet_count).sum();
                    Some((slot, cut, meter.duration))
                });
                self.meters.read(counts, asked, now);
            }
            _ => {}
        }
        self.end_part(part, began, now, tell);
    }

    fn end_part(
        &mut self,
        part: Part,
        began: Duration,
        now: Duration,
        tell: &mut impl FnMut(Event),
    ) {
        match part {
            Part::Flows => self.phase = Phase::Next(Part::Meters, began),
            Part::Meters => {
                let took = now.saturating_sub(began);
                let wait = (took * SHARE).clamp(INTERVAL, RAREST);
                self.phase = Phase::Waiting(began + wait);
                self.has_read = true;
                self.tell(tell);
            }
        }
    }

    fn tell(&mut self, tell: &mut impl FnMut(Event)) {
        tell(Event::Counted(Counts {
            flows: std::mem::take(&mut self.flows.tell),
            meters: std::mem::take(&mut self.meters.tell),
        }));
    }
}

#[cfg(test)]
mod tests;
