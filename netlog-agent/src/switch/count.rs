//! What the switch has counted of log flows and meters: when to ask, and what the answers mean.
//! Nothing here does I/O or reads a clock.
//!
//! A counter of the switch begins at 0 whenever its flow is added, and ends when the flow goes or
//! `ovs-vswitchd` does. Log flows ask for `OFPT_FLOW_REMOVED`, which Open vSwitch sends once no
//! packet can be added to the counter any more: some hundred milliseconds after the flow is gone,
//! when another may have taken its place. Here each counter is followed from its beginning to its
//! end, so that what is told is always how many packets there are more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use netlog_core::flow::{Cookie, FlowProfile};
use netlog_ofp::multipart::{FlowStats, MultipartReply, MultipartRequest};
use netlog_ofp::{Event as LinkEvent, FlowRemoved, MeterId, Xid};

use super::{Event, Harm, flows, meters};

/// How often the switch is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// The switch is asked so rarely that it answers for at most one part in so many of the time.
const SHARE: u32 = 100;

/// How rarely it is asked at most.
const RAREST: Duration = Duration::from_secs(30);

/// How long after log flows are in force again what was lost is worked out: the switch collects
/// what the datapath counted twice a second.
const SETTLED: Duration = Duration::from_millis(1500);

/// How many rounds of readings are remembered.
const ROUNDS: usize = 4;

/// How long the last count of a flow that is gone is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far the switch may be off when it says how old something is: it looks at the clock once a
/// turn.
const SLACK: Duration = Duration::from_millis(250);

/// What the switch has counted since it was told last. What is not named has not changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whether the switch was asked for all counters; otherwise some have ended meanwhile.
    pub whole: bool,
    /// The packets that log flows matched, cut by a meter or not.
    pub flows: Vec<Count<Cookie>>,
    /// The packets that the meters of log flows cut.
    pub meters: Vec<Count<Cookie>>,
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

/// What was lost while log flows were harmed.
///
/// Shown, it is a phrase such as `at most 12 packets passed tables 91, 93 unlogged`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The tables of these log flows.
    pub tables: BTreeSet<u8>,
    /// How many packets at most passed these tables and were not reported, by what the tables and
    /// the flows in them counted from the last look before the harm to the first after the repair.
    /// Packets of ports that nobody logs are among them. `None` if there was no look before.
    pub packets: Option<u64>,
    /// How many flows there were that did something else, and whose packets of that time nobody
    /// can tell.
    pub altered: usize,
    /// If the switch itself was gone: how long before that its counters were read for the last
    /// time. What it matched since then is not known, reported or not.
    pub uncounted: Option<Duration>,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.packets {
            Some(0) => f.write_str("no packet")?,
            Some(1) => f.write_str("at most 1 packet")?,
            Some(packets) => write!(f, "at most {packets} packets")?,
            None => f.write_str("an unknown number of packets")?,
        }
        let tables: Vec<_> = self.tables.iter().map(u8::to_string).collect();
        let noun = if tables.len() == 1 { "table" } else { "tables" };
        write!(f, " passed {noun} {} unlogged", tables.join(", "))?;
        if self.altered > 0 {
            write!(f, ", and what {} changed flows matched", self.altered)?;
        }
        if let Some(uncounted) = self.uncounted {
            write!(
                f,
                "; of the last {} ms before, what was matched is not known",
                uncounted.as_millis()
            )?;
        }
        Ok(())
    }
}

/// A counter that was told of.
#[derive(Debug)]
struct Told {
    /// What was told last, when that was, and what was told before.
    packets: u64,
    heard: Duration,
    packets_before: u64,
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
    /// Says who counted more. Gives how many of those that were running still are.
    fn read(
        &mut self,
        counts: impl Iterator<Item = (K, u64, Duration)>,
        asked: Duration,
        now: Duration,
        mut counted: impl FnMut(K, u64),
    ) -> usize {
        let mut running = 0;
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
            running += usize::from(!is_new);
            let packets_before = same.as_ref().map_or(0, |told| told.packets);
            let more = packets - packets_before;
            if more > 0 || is_new {
                counted(of, more);
                let counter = CounterState::Running { packets, age };
                self.tell.push(Count { of, more, counter });
            }
            let told = Told {
                packets,
                heard: now,
                packets_before,
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
        running
    }

    /// A counter has ended with this count, after it had been there for that long. Gives how much
    /// of it was not told.
    ///
    /// Counters of one flow come to their ends in the order in which they began, so it is the first
    /// that it may be. Its age tells only which it cannot be: the news may have waited for us.
    fn end(&mut self, of: K, packets: u64, age: Duration, now: Duration) -> u64 {
        // It began at this time or earlier.
        let latest = now.saturating_sub(age);
        let may_be = |told: &Told| packets >= told.packets && told.born[0] <= latest + SLACK;
        let is_first = |(whose, told, _): &(K, Told, Duration)| *whose == of && may_be(told);
        let told = match self.ended.iter().position(is_first) {
            Some(at) => Some(self.ended.remove(at).1),
            None if self.running.get(&of).is_some_and(may_be) => self.running.remove(&of),
            // It began and ended since the last reading.
            None => None,
        };
        let more = packets - told.map_or(0, |told| told.packets);
        let counter = CounterState::Ended;
        self.tell.push(Count { of, more, counter });
        more
    }
}

/// What is asked, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// What the tables had counted before the flows were read, for what they count after that may
    /// be of packets that the flows have not counted yet.
    TablesBefore,
    Flows,
    Meters,
    TablesAfter,
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

/// How many packets had passed each log table without matching a log flow.
type Unlogged = BTreeMap<u8, u64>;

/// Log flows were harmed: what was lost is to be worked out.
#[derive(Debug)]
struct Loss {
    /// The tables of the flows.
    tables: BTreeSet<u8>,
    /// What had passed them unlogged before, at least; `None` if nobody looked.
    before: Option<Unlogged>,
    /// What flows that were there, but did not report, had matched before.
    altered: BTreeMap<Cookie, u64>,
    /// How many packets such flows matched since.
    matched: u64,
    /// For how long before the switch was gone nobody had asked what it had counted.
    uncounted: Option<Duration>,
    /// When the connection was lost, if it was.
    detached_at: Option<Duration>,
    due: Duration,
}

/// Asks the switch what it has counted.
#[derive(Debug)]
pub(super) struct Counter {
    phase: Phase,
    flows: Tally<Cookie>,
    meters: Tally<Cookie>,
    /// The log tables: how many packets were looked up in each before and after the flows were
    /// read, and how many of them log flows have matched.
    profile: FlowProfile,
    looked_up: [BTreeMap<u8, u64>; 2],
    matched: BTreeMap<u8, u64>,
    /// What passed unlogged, at least, when that was read.
    rounds: VecDeque<(Duration, Unlogged)>,
    /// When the flows were read last.
    read_at: Duration,
    loss: Option<Loss>,
    /// Whether all was read since that was asked last.
    has_read: bool,
}

impl Counter {
    pub(super) fn new(profile: FlowProfile) -> Self {
        Self {
            phase: Phase::Detached,
            flows: Tally::default(),
            meters: Tally::default(),
            profile,
            looked_up: Default::default(),
            matched: BTreeMap::new(),
            rounds: VecDeque::new(),
            read_at: Duration::ZERO,
            loss: None,
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

    /// Log flows that were harmed are in force again. What was lost is told when the switch has
    /// counted it.
    pub(super) fn healed(&mut self, harm: &Harm, gap: Duration, now: Duration) {
        if harm.flows() == 0 {
            return;
        }
        let since = now.saturating_sub(gap);
        let rounds = &self.rounds;
        let loss = self.loss.get_or_insert_with(|| {
            // What is heard before the news of harm was said before it.
            let before = rounds.iter().rfind(|(heard, _)| *heard <= since);
            Loss {
                tables: BTreeSet::new(),
                before: before.map(|(_, unlogged)| unlogged.clone()),
                altered: BTreeMap::new(),
                matched: 0,
                uncounted: None,
                detached_at: None,
                due: now,
            }
        });
        let harmed = harm.missing.iter().chain(&harm.altered);
        let tables = harmed.map(|cookie| self.profile.table(cookie.kind));
        loss.tables.extend(tables);
        for cookie in &harm.altered {
            if let Some(told) = self.flows.running.get(cookie) {
                let is_before = told.heard <= since;
                let packets = if is_before {
                    told.packets
                } else {
                    told.packets_before
                };
                loss.altered.entry(*cookie).or_insert(packets);
            }
        }
        if harm.detached {
            loss.detached_at = Some(since);
        }
        loss.due = now + SETTLED;
        if let Phase::Waiting(until) = &mut self.phase {
            *until = loss.due.min(*until);
        }
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
            Phase::Waiting(until) if until <= now => (Part::TablesBefore, now),
            Phase::Next(part, began) => (part, began),
            _ => return Ok(()),
        };
        let request = match part {
            Part::TablesBefore | Part::TablesAfter => MultipartRequest::Table,
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
            self.tell(false, tell);
        }
    }

    fn hear_removed(&mut self, removed: &FlowRemoved, now: Duration) {
        if let Some(cookie) = Cookie::from_bits(removed.cookie) {
            let packets = removed.packet_count;
            let more = self.flows.end(cookie, packets, removed.duration, now);
            *self.matched.entry(removed.table_id).or_default() += more;
            if let Some(loss) = &mut self.loss
                && let Some(before) = loss.altered.remove(&cookie)
            {
                loss.matched += packets.saturating_sub(before);
            }
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
            MultipartReply::Table(found) => {
                let after = usize::from(part == Part::TablesAfter);
                let tables = flows::log_tables(&self.profile);
                let ours = found
                    .iter()
                    .filter(|table| tables.contains(&table.table_id));
                self.looked_up[after] = ours
                    .map(|table| (table.table_id, table.lookup_count))
                    .collect();
            }
            MultipartReply::Flow(found) => self.hear_flows(found, asked, now),
            MultipartReply::Meter(found) => {
                let counts = found.iter().filter_map(|meter| {
                    let cookie = meters::cookie(meter.meter_id)?;
                    let cut = meter.bands.iter().map(|band| band.packet_count).sum();
                    Some((cookie, cut, meter.duration))
                });
                self.meters.read(counts, asked, now, |_, _| {});
            }
            _ => {}
        }
        self.end_part(part, began, now, tell);
    }

    fn hear_flows(&mut self, found: &[FlowStats], asked: Duration, now: Duration) {
        let table = |cookie: Cookie| self.profile.table(cookie.kind);
        let counts = found.iter().filter_map(|flow| {
            let cookie = Cookie::from_bits(flow.cookie)?;
            let counts = flow.table_id == table(cookie);
            counts.then_some((cookie, flow.packet_count, flow.duration))
        });
        let (blind, before) = (self.flows.blind, self.flows.running.len());
        let mut matched: BTreeMap<u8, u64> = BTreeMap::new();
        let running = self.flows.read(counts, asked, now, |cookie, more| {
            *matched.entry(table(cookie)).or_default() += more;
        });
        if blind && before > 0 && running == 0 {
            // The switch is another one, which has counted nothing before it had these flows.
            self.matched.clear();
            self.rounds.clear();
            if let Some(loss) = &mut self.loss {
                loss.before = Some(Unlogged::new());
                let gone = loss.detached_at.unwrap_or(now);
                loss.uncounted = Some(gone.saturating_sub(self.read_at));
            }
        }
        for (table, more) in matched {
            *self.matched.entry(table).or_default() += more;
        }
        self.read_at = now;
    }

    /// Works out what passed the log tables without matching a log flow, and what was lost.
    fn end_round(&mut self, began: Duration, now: Duration, tell: &mut impl FnMut(Event)) {
        let unlogged = |looked_up: &BTreeMap<u8, u64>| -> Unlogged {
            let unlogged = |(table, count): (&u8, &u64)| {
                let matched = self.matched.get(table).copied().unwrap_or(0);
                (*table, count.saturating_sub(matched))
            };
            looked_up.iter().map(unlogged).collect()
        };
        let [at_least, at_most] = [0, 1].map(|at| unlogged(&self.looked_up[at]));
        let waits = !self.flows.ended.is_empty();
        if let Some(loss) = self
            .loss
            .take_if(|loss| loss.due <= began && (!waits || loss.due + PATIENCE <= now))
        {
            let passed = |before: &Unlogged| {
                let more = |table| {
                    let now = at_most.get(table).copied().unwrap_or(0);
                    now.saturating_sub(before.get(table).copied().unwrap_or(0))
                };
                loss.tables.iter().map(more).sum::<u64>() + loss.matched
            };
            tell(Event::Missed(Missed {
                tables: loss.tables.clone(),
                packets: loss.before.as_ref().map(passed),
                altered: loss.altered.len(),
                uncounted: loss.uncounted,
            }));
        }
        self.rounds.push_back((self.read_at, at_least));
        if self.rounds.len() > ROUNDS {
            self.rounds.pop_front();
        }
    }

    fn end_part(
        &mut self,
        part: Part,
        began: Duration,
        now: Duration,
        tell: &mut impl FnMut(Event),
    ) {
        match part {
            Part::TablesBefore => self.phase = Phase::Next(Part::Flows, began),
            Part::Flows => self.phase = Phase::Next(Part::Meters, began),
            Part::Meters => self.phase = Phase::Next(Part::TablesAfter, began),
            Part::TablesAfter => {
                let took = now.saturating_sub(began);
                let wait = (took * SHARE).clamp(INTERVAL, RAREST);
                let next = began + wait;
                let due = self.loss.as_ref().map_or(next, |loss| loss.due.max(now));
                self.phase = Phase::Waiting(next.min(due));
                self.has_read = true;
                self.tell(true, tell);
                self.end_round(began, now, tell);
            }
        }
    }

    fn tell(&mut self, whole: bool, tell: &mut impl FnMut(Event)) {
        tell(Event::Counted(Counts {
            whole,
            flows: std::mem::take(&mut self.flows.tell),
            meters: std::mem::take(&mut self.meters.tell),
        }));
    }
}

#[cfg(test)]
mod tests;
