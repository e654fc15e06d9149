//! Keeping a bridge's log flows as they are wanted: what to ask of the switch next, and what its
//! answers mean. Nothing here does I/O or reads a clock.
//!
//! The switch is read once after each connect, behind a flow monitor on the log tables; from then
//! on the monitor keeps our picture of these tables up to date. Open vSwitch sends news of a
//! change before the answer to any later request on the same connection, and a change of our own
//! counts from the moment its bundle is confirmed: so what is heard, taken in the order in which
//! it comes, is what the switch has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use netlog_core::flow::{FlowProfile, LogFlow};
use netlog_ofp::multipart::{
    FlowMonitorFlags, FlowMonitorRequest, FlowStatsRequest, FlowUpdate, FlowUpdateEvent,
    MultipartReply,
};
use netlog_ofp::{Backoff, Body, Event as LinkEvent, FlowMod, RequestError, Xid};

use super::Event;
use super::flows::{self, Flows};
use super::harm::{Harm, Obstacle};

/// How long after a refusal the log flows are tried again.
const RETRY: Duration = Duration::from_secs(1);

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
    /// To change flows, all or none.
    Change(Vec<FlowMod>),
}

/// A set of log flows and its ticket.
#[derive(Clone, Debug)]
struct Set {
    ticket: u64,
    flows: Arc<[LogFlow]>,
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
            flows: Flows::default(),
            read: 0,
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
    pub(super) fn want(&mut self, ticket: u64, flows: Vec<LogFlow>) {
        let flows = flows.into();
        self.wanted = Some(Set { ticket, flows });
        self.stale = true;
    }

    /// There is a new connection.
    pub(super) fn attach(&mut self) {
        self.phase = Phase::Idle;
        self.monitor = Monitor::Unasked;
        self.read = 0;
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
            (Phase::Idle, Monitor::Missing { reread }) => Some(*reread),
            _ => None,
        }
    }

    /// Whether nothing is asked of the switch, nor is about to be.
    pub(super) fn is_quiet(&self) -> bool {
        match self.phase {
            Phase::Idle => !(self.stale && self.wanted.is_some()),
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
                self.flows = Flows::default();
            }
            self.phase = Phase::Reading {
                xid: ask(Request::Read(part.clone()))?,
                part: self.read,
            };
        } else if self.stale
            && let Some((set, changes)) = self.compare(now, tell)
        {
            let xid = ask(Request::Change(changes.clone()))?;
            self.phase = Phase::Changing { xid, set, changes };
        }
        Ok(())
    }

    /// Takes note of what the switch says.
    pub(super) fn hear(&mut self, event: LinkEvent, now: Duration, tell: &mut impl FnMut(Event)) {
        match event {
            LinkEvent::FlowUpdates(updates) => {
                for update in &updates {
                    self.hear_update(update, now);
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
                if self.flows.note(update, &self.profile) {
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
            Phase::Subscribing(xid) | Phase::Reading { xid, .. } | Phase::Changing { xid, .. } => {
                Some(xid)
            }
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
    fn compare(
        &mut self,
        now: Duration,
        tell: &mut impl FnMut(Event),
    ) -> Option<(Set, Vec<FlowMod>)> {
        let wanted = self.wanted.clone()?;
        let before = self.in_force.as_ref();
        let is_repair = before.is_some_and(|before| before.ticket == wanted.ticket);
        if is_repair && now < self.repair_at {
            return None;
        }
        self.stale = false;
        let detached_at = self.detached_at.take();
        let emptied = std::mem::take(&mut self.emptied);
        let mut found = self
            .flows
            .compare(&self.profile, before.map_or(&[], |set| &set.flows));
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
        if !is_repair {
            found = self.flows.compare(&self.profile, &wanted.flows);
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
        Some((wanted, found.changes))
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
        }
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

    /// Nobody knows whether the change to this set was made: only what is the same before and
    /// after it can be counted on.
    fn doubt(&mut self, set: &Set) {
        if let Some(in_force) = &mut self.in_force {
            let both: BTreeSet<&LogFlow> = set.flows.iter().collect();
            in_force.flows = in_force
                .flows
                .iter()
                .filter(|flow| both.contains(flow))
                .copied()
                .collect();
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

/// Why a request failed, and which flow was the one refused.
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
    error.to_string()
}

#[cfg(test)]
mod tests;
