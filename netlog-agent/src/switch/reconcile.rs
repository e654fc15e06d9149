//! Keeping a bridge's log flows as they are wanted: what to ask of the switch next, and what its
//! answers mean. Nothing here does I/O or reads a clock.
//!
//! The switch is read once after each connect, behind a flow monitor on the log tables; from then
//! on the monitor keeps our picture of these tables up to date. Open vSwitch sends news of a
//! change before the answer to any later request on the same connection, and a change of our own
//! counts from the moment its bundle is confirmed: so what is heard, taken in the order in which
//! it comes, is what the switch has.
//!
//! One thing cannot be known in time: a flow that someone adds at the very place of a log flow while
//! the bundle that adds ours is on its way. Open vSwitch takes an addition for a replacement where a
//! flow with the same table, priority and match stands, whatever its cookie, and
//! `OFPFF_CHECK_OVERLAP` does not look at that one (`add_flow_start` of `ofproto.c`). Nothing in
//! OpenFlow makes an addition depend on the place being free.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use netlog_core::flow::{Cookie, FlowProfile, LogFlow};
use netlog_ofp::multipart::{
    FlowMonitorFlags, FlowMonitorRequest, FlowStatsRequest, FlowUpdate, FlowUpdateEvent,
    MultipartReply,
};
use netlog_ofp::{
    Backoff, Body, Event as LinkEvent, FlowMod, MeterCommand, MeterMod, RequestError, Xid,
};
use netlog_ratelimit::Limits;

use super::flows::{self, Comparison, Flows, LogFlows};
use super::harm::{Harm, Obstacle};
use super::meters::{self, Meters};
use super::{Event, Wanted};

/// How long after a refusal the log flows are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long after a refusal of meters they are tried again.
const METER_RETRY: Duration = Duration::from_secs(30);

/// How long after the first news of harm it is repaired: whoever deletes many flows takes as long
/// to tell, and shall be reported once.
const GATHER: Duration = Duration::from_millis(10);

/// How soon and how rarely a repair may follow another: whoever removes our flows again and again
/// shall not keep the switch busy with us.
const REPAIR: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// After this long without a repair, the next two follow each other as soon as may be.
const CALM: Duration = Duration::from_secs(5);

/// How often a switch without flow monitors is read.
const REREAD: Duration = Duration::from_secs(5);

/// What the switch is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// To tell of changes.
    Monitor(Vec<FlowMonitorRequest>),
    /// Which flows it has.
    Read(FlowStatsRequest),
    /// What meters it can have.
    MeterFeatures,
    /// How its meters are set.
    ReadMeters,
    /// To change meters, one after the other: Open vSwitch takes none into a bundle.
    SetMeters(Vec<MeterMod>),
    /// To change flows, all or none.
    Change(Vec<FlowMod>),
}

/// A set of log flows and its ticket.
#[derive(Clone, Debug)]
struct Set {
    ticket: u64,
    flows: Arc<LogFlows>,
    /// The log flows that should have meters, and what these are set by.
    to_meter: Arc<BTreeSet<Cookie>>,
    limits: Option<Limits>,
    /// Those that report through a meter.
    metered: Arc<BTreeSet<Cookie>>,
}

/// What there is to do.
enum Change {
    Meters(Vec<MeterMod>),
    /// With these changes, this set is in force.
    Flows(Set, Vec<FlowMod>),
}

/// What the switch has been asked, and has not answered.
#[derive(Debug)]
enum Phase {
    /// There is no connection.
    Detached,
    /// Nothing.
    Idle,
    /// To tell of changes.
    Subscribing(Xid),
    /// For that part of its flows.
    Reading { xid: Xid, part: usize },
    /// For what its meters can do, or how they are set.
    ReadingMeters(Xid),
    /// To make these changes to meters.
    SettingMeters { xid: Xid, changes: Vec<MeterMod> },
    /// To make these changes, with which this set is in force.
    Changing {
        xid: Xid,
        set: Set,
        changes: Vec<FlowMod>,
    },
    /// Nothing, because it refused something; nothing happens until then.
    Resting(Duration),
}

/// Whether the switch tells of changes.
#[derive(Debug)]
enum Monitor {
    /// It was not asked to.
    Unasked,
    /// It does.
    Running,
    /// It has no room for more news, and will tell when it has again.
    Paused,
    /// It cannot, so that its flows are read again at that time.
    Missing { reread: Duration },
}

/// Whether the switch has meters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Support {
    Unasked,
    Missing,
    There,
}

/// The meters of our log flows.
#[derive(Debug)]
struct Metering {
    support: Support,
    /// How many the switch has room for.
    room: u32,
    /// What the switch has, if it was read.
    present: Meters,
    is_read: bool,
    /// When it was read last.
    read_at: Duration,
    /// Those that are there, set by the limits in force, if nobody has interfered.
    expected: BTreeSet<Cookie>,
    /// The log flows whose meters were made since they were written.
    rebind: BTreeSet<Cookie>,
    /// Whether there are some that nothing needs.
    surplus: bool,
    /// When meters are set again after a refusal; none are before.
    retry: Option<Duration>,
    /// Why there are fewer meters than there should be.
    lack: Option<String>,
    /// What of that was told.
    told: Option<String>,
}

/// Keeps log flows as they are wanted.
#[derive(Debug)]
pub(super) struct Reconciler {
    profile: FlowProfile,
    phase: Phase,
    monitor: Monitor,
    /// What the switch has, as far as it is read.
    flows: Flows,
    /// How many parts of the flows are read.
    read: usize,
    metering: Metering,
    /// What the switch should have.
    wanted: Option<Set>,
    /// What was in force last, and would be still if nobody had interfered.
    in_force: Option<Set>,
    /// Whether something changed since the flows were compared.
    stale: bool,
    /// What was done to the flows in force and is not put right yet, and since when.
    harm: Harm,
    harmed_at: Option<Duration>,
    /// Tables that had no flow at some time since the flows were compared.
    emptied: BTreeSet<u8>,
    /// When the connection was lost, if the flows were not compared since.
    detached_at: Option<Duration>,
    /// When flows were repaired last, and may be again.
    repaired_at: Duration,
    repair_at: Duration,
    backoff: Backoff,
    /// What was told last.
    obstacles: Vec<Obstacle>,
    refusal: Option<String>,
}

impl Reconciler {
    pub(super) fn new(profile: FlowProfile) -> Self {
        Self {
            profile,
            phase: Phase::Detached,
            monitor: Monitor::Unasked,
            flows: Flows::new(profile),
            read: 0,
            metering: Metering {
                support: Support::Unasked,
                room: 0,
                present: Meters::default(),
                is_read: false,
                read_at: Duration::ZERO,
                expected: BTreeSet::new(),
                rebind: BTreeSet::new(),
                surplus: false,
                retry: None,
                lack: None,
                told: None,
            },
            wanted: None,
            in_force: None,
            stale: true,
            harm: Harm::default(),
            harmed_at: None,
            emptied: BTreeSet::new(),
            detached_at: None,
            repaired_at: Duration::ZERO,
            repair_at: Duration::ZERO,
            backoff: Backoff::new(REPAIR.0, REPAIR.1),
            obstacles: Vec::new(),
            refusal: None,
        }
    }

    /// These log flows are wanted, in place of those before.
    pub(super) fn want(&mut self, wanted: Wanted) {
        let cookies = wanted.flows.iter().map(|flow| flow.cookie);
        let to_meter = wanted.limits.map(|_| cookies.collect());
        self.wanted = Some(Set {
            ticket: wanted.ticket,
            to_meter: Arc::new(to_meter.unwrap_or_default()),
            flows: Arc::new(wanted.flows.into_iter().collect()),
            limits: wanted.limits,
            // It is known once the meters are there.
            metered: Arc::default(),
        });
        self.stale = true;
    }

    /// Reads the meters again, if there are any of ours.
    pub(super) fn look_at_meters(&mut self) {
        self.metering.is_read &= self.metering.expected.is_empty();
    }

    /// There is a new connection.
    pub(super) fn attach(&mut self) {
        self.phase = Phase::Idle;
        self.monitor = Monitor::Unasked;
        self.read = 0;
        self.metering.support = Support::Unasked;
        self.metering.is_read = false;
        self.metering.retry = None;
    }

    /// The connection is lost.
    pub(super) fn detach(&mut self, now: Duration) {
        match std::mem::replace(&mut self.phase, Phase::Detached) {
            Phase::Detached => return,
            Phase::Changing { set, .. } => self.doubt(&set),
            _ => {}
        }
        self.detached_at.get_or_insert(now);
    }

    /// When [`advance`](Self::advance) has something to do though nothing is heard.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match (&self.phase, &self.monitor) {
            (Phase::Resting(until), _) => Some(*until),
            (Phase::Idle, _) if self.stale && self.wanted.is_some() => Some(self.repair_at),
            (Phase::Idle, Monitor::Missing { reread }) => Some(
                self.metering
                    .retry
                    .map_or(*reread, |retry| retry.min(*reread)),
            ),
            (Phase::Idle, _) => self.metering.retry,
            _ => None,
        }
    }

    /// Whether nothing is asked of the switch, nor is about to be.
    pub(super) fn is_quiet(&self) -> bool {
        match self.phase {
            Phase::Idle => {
                !(self.stale && self.wanted.is_some())
                    && self.is_metering_known()
                    && !self.metering.surplus
            }
            Phase::Resting(_) => true,
            _ => false,
        }
    }

    /// Does what there is to do: asks for one thing at most.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(super) fn advance<E>(
        &mut self,
        now: Duration,
        ask: impl FnOnce(Request) -> Result<Xid, E>,
        tell: &mut impl FnMut(Event),
    ) -> Result<(), E> {
        match self.phase {
            Phase::Idle => {}
            Phase::Resting(until) if until <= now => self.phase = Phase::Idle,
            _ => return Ok(()),
        }
        if self.metering.retry.is_some_and(|retry| retry <= now) {
            self.metering.retry = None;
            self.metering.is_read = false;
            self.stale = true;
        }
        let parts = self.parts();
        match self.monitor {
            Monitor::Unasked => {
                let monitors = Request::Monitor(self.monitors());
                self.phase = Phase::Subscribing(ask(monitors)?);
                return Ok(());
            }
            Monitor::Paused => return Ok(()),
            Monitor::Missing { reread } if reread <= now && self.read == parts.len() => {
                self.read = 0;
            }
            Monitor::Missing { .. } | Monitor::Running => {}
        }
        if let Some(part) = parts.get(self.read) {
            if self.read == 0 {
                self.flows = Flows::new(self.profile);
            }
            self.phase = Phase::Reading {
                xid: ask(Request::Read(part.clone()))?,
                part: self.read,
            };
        } else if !self.is_metering_known() {
            let request = match self.metering.support {
                Support::Unasked => Request::MeterFeatures,
                Support::Missing | Support::There => Request::ReadMeters,
            };
            self.phase = Phase::ReadingMeters(ask(request)?);
        } else if self.stale {
            match self.compare(now, tell) {
                Some(Change::Meters(changes)) => self.set_meters(changes, ask)?,
                Some(Change::Flows(set, changes)) => {
                    let xid = ask(Request::Change(changes.clone()))?;
                    self.phase = Phase::Changing { xid, set, changes };
                }
                None => {}
            }
        } else if std::mem::take(&mut self.metering.surplus)
            && let Some(set) = &self.in_force
        {
            let changes = self.metering.present.clearing(&set.to_meter);
            self.set_meters(changes, ask)?;
        }
        Ok(())
    }

    fn set_meters<E>(
        &mut self,
        changes: Vec<MeterMod>,
        ask: impl FnOnce(Request) -> Result<Xid, E>,
    ) -> Result<(), E> {
        // Until it is confirmed nobody knows how they are set.
        for cookie in changes
            .iter()
            .filter_map(|change| meters::cookie(change.meter_id))
        {
            self.metering.expected.remove(&cookie);
        }
        let xid = ask(Request::SetMeters(changes.clone()))?;
        self.phase = Phase::SettingMeters { xid, changes };
        Ok(())
    }

    /// Whether it is known what meters the switch has, as far as that matters.
    fn is_metering_known(&self) -> bool {
        match self.metering.support {
            Support::Unasked => false,
            Support::Missing => true,
            Support::There => self.metering.is_read,
        }
    }

    /// Takes note of what the switch says.
    pub(super) fn hear(&mut self, event: LinkEvent, now: Duration, tell: &mut impl FnMut(Event)) {
        match event {
            LinkEvent::FlowUpdates(updates) => {
                for update in &updates {
                    self.hear_update(update, now);
                }
            }
            LinkEvent::Message(message) => {
                if let Body::RequestForward(forward) = &message.body
                    && meters::may_touch(&forward.request)
                {
                    self.metering.is_read = false;
                }
            }
            LinkEvent::Done { xid }
            | LinkEvent::Multipart { xid, .. }
            | LinkEvent::Failed { xid, .. }
                if self.awaited() == Some(xid) =>
            {
                self.hear_answer(event, now, tell);
            }
            _ => {}
        }
    }

    fn hear_update(&mut self, update: &FlowUpdate, now: Duration) {
        match update {
            FlowUpdate::Full(update) => {
                if self.flows.note(update) {
                    self.stale = true;
                    if self.harmed_at.is_none() {
                        self.harmed_at = Some(now);
                        self.repair_at = self.repair_at.max(now + GATHER);
                    }
                }
                if update.event == FlowUpdateEvent::REMOVED && self.flows.is_empty(update.table_id)
                {
                    self.emptied.insert(update.table_id);
                }
            }
            FlowUpdate::Paused => self.monitor = Monitor::Paused,
            FlowUpdate::Resumed => {
                self.monitor = Monitor::Running;
                self.read = 0;
            }
            FlowUpdate::Abbrev(_) | FlowUpdate::Other { .. } => {}
        }
    }

    fn awaited(&self) -> Option<Xid> {
        match self.phase {
            Phase::Subscribing(xid)
            | Phase::Reading { xid, .. }
            | Phase::ReadingMeters(xid)
            | Phase::SettingMeters { xid, .. }
            | Phase::Changing { xid, .. } => Some(xid),
            Phase::Detached | Phase::Idle | Phase::Resting(_) => None,
        }
    }

    fn hear_answer(&mut self, answer: LinkEvent, now: Duration, tell: &mut impl FnMut(Event)) {
        match (std::mem::replace(&mut self.phase, Phase::Idle), answer) {
            (Phase::Subscribing(_), LinkEvent::Failed { error, .. }) => {
                self.monitor = Monitor::Missing { reread: now };
                tell(Event::Unmonitored {
                    reason: error.to_string(),
                });
            }
            (Phase::Subscribing(_), _) => self.monitor = Monitor::Running,
            (Phase::ReadingMeters(_), LinkEvent::Failed { error, .. }) => {
                self.metering.lack = Some(error.to_string());
                self.metering.support = Support::Missing;
            }
            (Phase::ReadingMeters(_), LinkEvent::Multipart { reply, .. }) => {
                self.hear_meters(&reply, now);
            }
            (Phase::SettingMeters { .. }, LinkEvent::Failed { error, .. }) => {
                // Some may be set.
                self.metering.lack = Some(explain(&error));
                self.metering.retry = Some(now + METER_RETRY);
                self.metering.is_read = false;
                self.stale = true;
            }
            (Phase::SettingMeters { changes, .. }, _) => {
                let is_new = |change: &&MeterMod| change.command == MeterCommand::ADD;
                let new = changes.iter().filter(is_new);
                let new = new.filter_map(|change| meters::cookie(change.meter_id));
                self.metering.rebind.extend(new);
                self.metering.present.apply(&changes);
                // The flows that use them come next.
                self.stale = true;
            }
            (phase, LinkEvent::Failed { error, .. }) => {
                if let Phase::Changing { set, .. } = phase {
                    self.doubt(&set);
                }
                self.phase = Phase::Resting(now + RETRY);
                self.read = 0;
                let reason = explain(&error);
                if self.refusal.as_ref() != Some(&reason) {
                    self.refusal = Some(reason.clone());
                    tell(Event::Refused { reason });
                }
            }
            (
                Phase::Reading { part, .. },
                LinkEvent::Multipart {
                    reply: MultipartReply::Flow(found),
                    ..
                },
            ) if part == self.read => {
                self.flows.found(&found);
                self.read += 1;
                if self.read == self.parts().len() {
                    self.hear_end_of_reading(now);
                }
            }
            (Phase::Changing { set, changes, .. }, _) => {
                self.flows.apply(&changes);
                self.settle(set, changes.len(), now, tell);
            }
            _ => {}
        }
    }

    fn hear_meters(&mut self, reply: &MultipartReply, now: Duration) {
        let metering = &mut self.metering;
        match reply {
            MultipartReply::MeterFeatures(features) => {
                metering.support = if meters::suffice(features) {
                    Support::There
                } else {
                    metering.lack = Some("it has no meters that count packets".to_owned());
                    Support::Missing
                };
                metering.room = features.max_meter;
                metering.present = Meters::default();
            }
            MultipartReply::MeterConfig(found) => {
                metering.present = Meters::found(found);
                metering.is_read = true;
                if let Some(limits) = self.in_force.as_ref().and_then(|set| set.limits) {
                    let [missing, altered] = metering.present.differ(&metering.expected, limits);
                    if !missing.is_empty() || !altered.is_empty() {
                        let since = self.harmed_at.unwrap_or(metering.read_at);
                        self.harmed_at = Some(since.min(metering.read_at));
                        let gone = |of: &Cookie| missing.contains(of) || altered.contains(of);
                        metering.expected.retain(|of| !gone(of));
                        self.harm.unmetered.extend(missing);
                        self.harm.remetered.extend(altered);
                        self.stale = true;
                    }
                }
                metering.read_at = now;
            }
            _ => {}
        }
    }

    fn hear_end_of_reading(&mut self, now: Duration) {
        if let Monitor::Missing { reread } = &mut self.monitor {
            *reread = now + REREAD;
        }
        let empty = |table: &u8| self.flows.is_empty(*table);
        self.emptied.extend(
            flows::log_tables(&self.profile)
                .iter()
                .filter(|table| empty(table)),
        );
        self.stale = true;
    }

    /// Compares what the switch has with what it should have. Gives the changes that are needed
    /// now and what will be in force with them.
    fn compare(&mut self, now: Duration, tell: &mut impl FnMut(Event)) -> Option<Change> {
        let mut wanted = self.wanted.clone()?;
        let before = self.in_force.as_ref();
        let is_repair = before.is_some_and(|before| before.ticket == wanted.ticket);
        if is_repair && now < self.repair_at {
            return None;
        }
        self.stale = false;
        let detached_at = self.detached_at.take();
        let emptied = std::mem::take(&mut self.emptied);
        let none = BTreeSet::new();
        let mut found = before.map_or_else(Comparison::default, |before| {
            self.flows.compare(&before.flows, &before.metered, &none)
        });
        if !found.missing.is_empty() || !found.altered.is_empty() {
            self.harm.missing.extend(&found.missing);
            self.harm.altered.extend(&found.altered);
            self.harm.emptied.extend(emptied);
            self.harm.detached |= detached_at.is_some();
            let since = self
                .harmed_at
                .unwrap_or(now)
                .min(detached_at.unwrap_or(now));
            self.harmed_at = Some(since);
        }
        let metering = &mut self.metering;
        if metering.support == Support::There {
            if let Some(limits) = wanted.limits.filter(|_| metering.retry.is_none()) {
                let Metering { present, room, .. } = metering;
                let changes = present.setting(&wanted.to_meter, limits, *room);
                if !changes.is_empty() {
                    return Some(Change::Meters(changes));
                }
            }
            let metered = wanted.to_meter.iter().copied();
            let metered = metered.filter(|cookie| metering.present.contains(*cookie));
            wanted.metered = Arc::new(metered.collect());
        }
        let (metered, rebind) = (&wanted.metered, &metering.rebind);
        let is_compared = is_repair
            && rebind.is_empty()
            && before.is_some_and(|before| before.metered == *metered);
        if !is_compared {
            found = self.flows.compare(&wanted.flows, metered, rebind);
        }
        if self.obstacles != found.obstacles {
            self.obstacles.clone_from(&found.obstacles);
            tell(Event::Obstructed {
                obstacles: found.obstacles,
            });
        }
        if found.changes.is_empty() {
            self.settle(wanted, 0, now, tell);
            return None;
        }
        Some(Change::Flows(wanted, found.changes))
    }

    /// These log flows are in force.
    fn settle(&mut self, set: Set, changes: usize, now: Duration, tell: &mut impl FnMut(Event)) {
        let ticket = set.ticket;
        let mut harm = std::mem::take(&mut self.harm);
        if !harm.is_none() {
            // What is not wanted any more is not in force again.
            let cookies: BTreeSet<_> = set.flows.iter().map(|flow| flow.cookie).collect();
            harm.missing.retain(|cookie| cookies.contains(cookie));
            harm.altered.retain(|cookie| cookies.contains(cookie));
            harm.unmetered.retain(|cookie| set.metered.contains(cookie));
            harm.remetered.retain(|cookie| set.metered.contains(cookie));
        }
        self.settle_meters(&set, tell);
        let before = self.in_force.replace(set);
        self.refusal = None;
        if before.is_none_or(|before| before.ticket < ticket) {
            tell(Event::InForce { ticket, changes });
        }
        // News that came meanwhile belongs to the next repair.
        let harmed_at = if self.stale {
            self.harmed_at.replace(now)
        } else {
            self.harmed_at.take()
        };
        if harm.is_none() {
            return;
        }
        if now >= self.repaired_at + CALM {
            self.backoff.reset();
        }
        self.repaired_at = now;
        self.repair_at = now + self.backoff.next_wait();
        tell(Event::Healed {
            harm,
            gap: now.saturating_sub(harmed_at.unwrap_or(now)),
        });
    }

    /// The flows of this set are in force, and whatever meters could be had.
    fn settle_meters(&mut self, set: &Set, tell: &mut impl FnMut(Event)) {
        let metering = &mut self.metering;
        metering.rebind.clear();
        metering.surplus = !metering.present.clearing(&set.to_meter).is_empty();
        let altered = |limits| metering.present.differ(&set.metered, limits)[1].clone();
        let altered = set.limits.map(altered).unwrap_or_default();
        metering.expected = set.metered.difference(&altered).copied().collect();
        let (expected, all) = (metering.expected.len(), set.to_meter.len());
        let lack = (expected < all).then(|| match &metering.lack {
            Some(lack) => lack.clone(),
            None => format!(
                "it has room for {} meters, so that {} of {all} log flows have none",
                metering.room,
                all - expected
            ),
        });
        if metering.told != lack {
            metering.told.clone_from(&lack);
            if let Some(reason) = lack {
                tell(Event::Unmetered { reason });
            }
        }
    }

    /// Nobody knows whether the change to this set was made: only what is the same before and
    /// after it can be counted on.
    fn doubt(&mut self, set: &Set) {
        if let Some(in_force) = &mut self.in_force {
            let metered = |of: &Set, flow: &LogFlow| of.metered.contains(&flow.cookie);
            let stays = |flow: &&LogFlow| {
                set.flows.contains(flow) && metered(in_force, flow) == metered(set, flow)
            };
            let both = in_force.flows.iter().filter(stays).copied().collect();
            in_force.flows = Arc::new(both);
        }
    }

    /// What is monitored: the log tables.
    fn monitors(&self) -> Vec<FlowMonitorRequest> {
        let flags = FlowMonitorFlags::ADD
            | FlowMonitorFlags::REMOVED
            | FlowMonitorFlags::MODIFY
            | FlowMonitorFlags::INSTRUCTIONS;
        (1..)
            .zip(flows::log_tables(&self.profile))
            .map(|(id, table)| FlowMonitorRequest::new(id, table, flags))
            .collect()
    }

    /// What is read: the log tables, for there the flows of others matter too, and what may be
    /// left of ours in other tables from another profile.
    fn parts(&self) -> [FlowStatsRequest; 4] {
        let [first, second, third] = flows::log_tables(&self.profile).map(flows::of_table);
        [first, second, third, flows::ours()]
    }
}

/// Why a request failed, and which flow or meter was the one refused.
fn explain(error: &RequestError) -> String {
    if let RequestError::Refused {
        culprit: Some((_, body)),
        ..
    } = error
        && let Body::FlowMod(flow) = &**body
    {
        return format!(
            "{error} (flow table={}, priority={}, cookie={:#x}, match {:?})",
            flow.table_id, flow.priority, flow.cookie, flow.r#match
        );
    }
    if let RequestError::Refused {
        culprit: Some((_, body)),
        ..
    } = error
        && let Body::MeterMod(change) = &**body
    {
        return format!("{error} (meter {})", change.meter_id.0);
    }
    error.to_string()
}

#[cfg(test)]
mod tests;
