//! The flows of a switch that matter to us, and the smallest change from what it has to what it
//! should have.

use std::collections::{BTreeMap, BTreeSet, btree_map};

use netlog_core::flow::{Cookie, FlowMatch, FlowProfile, LogFlow};
use netlog_ofp::multipart::{FlowStats, FlowStatsRequest, FlowUpdateEvent, FullFlowUpdate};
use netlog_ofp::{
    Action, Controller, FlowCommand, FlowFlags, FlowMod, Instruction, Match, Oxm, PortNo,
};

use super::harm::{Obstacle, Obstruction};
use super::meters;

/// The id of the connections that log flows report to. The switch sends packet-ins of our flows
/// only to connections that set it, and they get no others.
pub(super) const CONTROLLER_ID: u16 = 0x6e4c;

/// Asks for all flows that are ours.
pub(super) fn ours() -> FlowStatsRequest {
    FlowStatsRequest::by_cookie(Cookie::OWNER, Cookie::OWNER_MASK)
}

/// Asks for all flows of a table.
pub(super) fn of_table(table: u8) -> FlowStatsRequest {
    FlowStatsRequest {
        table_id: table,
        ..FlowStatsRequest::default()
    }
}

/// Whether a flow with this cookie is ours.
const fn is_ours(cookie: u64) -> bool {
    cookie & Cookie::OWNER_MASK == Cookie::OWNER
}

/// The tables that log flows are in.
pub(super) fn log_tables(profile: &FlowProfile) -> [u8; 3] {
    [
        profile.accepted_egress_table,
        profile.accepted_ingress_table,
        profile.dropped_table,
    ]
}

/// Where a flow stands: no two flows of a switch have the same place.
type Place = (u8, u16, Packets);

/// Which packets a flow matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Packets {
    /// Those of a port, as log flows do.
    OfPort(FlowMatch),
    /// Others.
    Other(Match),
}

impl Packets {
    /// The first in their order.
    const FIRST: Self = Self::OfPort(FlowMatch::PortRegister(0));

    fn of(matches: &Match, profile: &FlowProfile) -> Self {
        let of_port = || {
            let [field] = matches.0.as_slice() else {
                return None;
            };
            let ofport = u32::from_be_bytes(field.value().try_into().ok()?);
            let of_port = [FlowMatch::PortRegister(ofport), FlowMatch::InPort(ofport)];
            let of_port = of_port.map(Self::OfPort);
            of_port
                .into_iter()
                .find(|it| it.to_match(profile) == *matches)
        };
        of_port().unwrap_or_else(|| Self::Other(matches.clone()))
    }

    fn to_match(&self, profile: &FlowProfile) -> Match {
        match self {
            Self::OfPort(FlowMatch::PortRegister(ofport)) => {
                Match::any().reg(profile.port_register, *ofport)
            }
            Self::OfPort(FlowMatch::InPort(ofport)) => Match::any().in_port(PortNo(*ofport)),
            Self::Other(matches) => matches.clone(),
        }
    }
}

/// What a log flow does: it reports, and may hand the packet on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Report {
    /// The meter that the report goes through.
    meter: Option<u32>,
    /// The table that the packet goes on to.
    resubmit: Option<u8>,
}

impl Report {
    /// What a flow does, if it is what a log flow does and no more.
    fn of(does: &[Instruction]) -> Option<Self> {
        let [Instruction::ApplyActions(actions)] = does else {
            return None;
        };
        let Some(Action::Controller(controller)) = actions.first() else {
            return None;
        };
        let resubmit = match actions.get(1) {
            Some(Action::Resubmit { table, .. }) => *table,
            _ => None,
        };
        let report = Self {
            meter: controller.meter_id,
            resubmit,
        };
        (report.actions() == *actions).then_some(report)
    }

    fn actions(self) -> Vec<Action> {
        // The report comes first: behind the resubmit the packet may have been changed for the wire.
        let report = Controller {
            controller_id: CONTROLLER_ID,
            meter_id: self.meter,
            ..Controller::default()
        };
        let mut actions = vec![Action::from(report)];
        actions.extend(self.resubmit.map(Action::resubmit));
        actions
    }
}

/// Log flows that are wanted, by their places.
#[derive(Debug, Default)]
pub(super) struct LogFlows(BTreeMap<Place, LogFlow>);

impl FromIterator<LogFlow> for LogFlows {
    fn from_iter<I: IntoIterator<Item = LogFlow>>(flows: I) -> Self {
        let place = |flow: &LogFlow| (flow.table, flow.priority, Packets::OfPort(flow.matches));
        Self(flows.into_iter().map(|flow| (place(&flow), flow)).collect())
    }
}

impl LogFlows {
    pub(super) fn iter(&self) -> impl Iterator<Item = &LogFlow> {
        self.0.values()
    }

    /// Whether this one is among them.
    pub(super) fn contains(&self, flow: &LogFlow) -> bool {
        let place = (flow.table, flow.priority, Packets::OfPort(flow.matches));
        self.0.get(&place) == Some(flow)
    }
}

/// A flow that the switch has.
#[derive(Clone, Copy, Debug)]
struct Present {
    cookie: u64,
    /// What it does; `None` if that is anything but what a log flow does for good.
    report: Option<Report>,
    /// Whether the switch tells its last count when it goes.
    tells_end: bool,
}

impl Present {
    fn new(cookie: u64, timeouts: [u16; 2], does: &[Instruction], tells_end: bool) -> Self {
        let for_good = timeouts == [0, 0];
        Self {
            cookie,
            report: for_good.then(|| Report::of(does)).flatten(),
            tells_end,
        }
    }

    /// Whether it is a log flow with this cookie that does this, but perhaps for the meter.
    fn is_but_for_meter(&self, cookie: Cookie, report: Report) -> bool {
        self.cookie == cookie.to_bits()
            && self.tells_end
            && self
                .report
                .is_some_and(|own| own.resubmit == report.resubmit)
    }
}

/// The flows that the switch has: everyone's in the log tables, and ours in all others.
#[derive(Clone, Debug)]
pub(super) struct Flows {
    profile: FlowProfile,
    present: BTreeMap<Place, Present>,
}

/// What stands between the flows that a switch has and those that are wanted.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// The flow-mods that turn the ones into the others.
    pub(super) changes: Vec<FlowMod>,
    /// Log flows that are not there.
    pub(super) missing: Vec<Cookie>,
    /// Log flows that are there, but not as they should be.
    pub(super) altered: Vec<Cookie>,
    /// Flows of others that are in the way.
    pub(super) obstacles: Vec<Obstacle>,
}

impl Flows {
    /// None yet.
    pub(super) const fn new(profile: FlowProfile) -> Self {
        Self {
            profile,
            present: BTreeMap::new(),
        }
    }

    fn place(&self, table: u8, priority: u16, matches: &Match) -> Place {
        (table, priority, Packets::of(matches, &self.profile))
    }

    /// Takes note of flows that the switch has.
    pub(super) fn found(&mut self, stats: &[FlowStats]) {
        for flow in stats {
            let place = self.place(flow.table_id, flow.priority, &flow.r#match);
            let timeouts = [flow.idle_timeout, flow.hard_timeout];
            let tells_end = flow.flags.contains(FlowFlags::SEND_FLOW_REM);
            let flow = Present::new(flow.cookie, timeouts, &flow.instructions, tells_end);
            self.present.insert(place, flow);
        }
    }

    /// Takes note of what someone did to a flow. Says whether that may matter to us: whether the
    /// flow was ours or is now, or may stand before one of ours.
    pub(super) fn note(&mut self, update: &FullFlowUpdate) -> bool {
        let place = self.place(update.table_id, update.priority, &update.r#match);
        let lowest = self.lowest();
        let may_matter = |flow: Present| is_ours(flow.cookie) || update.priority >= lowest;
        if update.event == FlowUpdateEvent::REMOVED {
            return self.present.remove(&place).is_some_and(may_matter);
        }
        let timeouts = [update.idle_timeout, update.hard_timeout];
        // A flow keeps its flags when it is modified. Those of a new one are not told.
        let tells_end = update.event == FlowUpdateEvent::MODIFIED
            && self.present.get(&place).is_some_and(|flow| flow.tells_end);
        let flow = Present::new(update.cookie, timeouts, &update.instructions, tells_end);
        may_matter(flow) | self.present.insert(place, flow).is_some_and(may_matter)
    }

    /// The lowest priority of log flows.
    fn lowest(&self) -> u16 {
        self.profile.priority.min(self.profile.same_host_priority)
    }

    /// Takes note of changes that the switch has made.
    pub(super) fn apply(&mut self, changes: &[FlowMod]) {
        for change in changes {
            let place = self.place(change.table_id, change.priority, &change.r#match);
            if change.command == FlowCommand::MODIFY_STRICT {
                if let Some(flow) = self.present.get_mut(&place)
                    && flow.cookie == change.cookie
                {
                    flow.report = Report::of(&change.instructions);
                }
            } else if change.command == FlowCommand::ADD {
                let flow = Present::new(change.cookie, [0, 0], &change.instructions, true);
                self.present.insert(place, flow);
            } else if let btree_map::Entry::Occupied(flow) = self.present.entry(place)
                && flow.get().cookie == change.cookie
            {
                flow.remove();
            }
        }
    }

    /// Whether nobody has a flow in this table.
    pub(super) fn is_empty(&self, table: u8) -> bool {
        let first = self.present.range((table, 0, Packets::FIRST)..).next();
        first.is_none_or(|((found, ..), _)| *found != table)
    }

    /// Compares with the log flows that are wanted, of which those in `metered` are to
    /// report through their meters. A meter is looked up when a flow is written, so that the flows
    /// in `rebind`, whose meters are not those of then, are written again.
    ///
    /// Deletions name table, priority, match and cookie, so that they cannot touch a flow of
    /// anyone else; no addition is made at the place of someone else's flow, which it would
    /// replace; and a flow that is already right is left alone, with its counters.
    pub(super) fn compare(
        &self,
        wanted: &LogFlows,
        metered: &BTreeSet<Cookie>,
        rebind: &BTreeSet<Cookie>,
    ) -> Comparison {
        let mut comparison = Comparison {
            obstacles: self.obstacles(wanted),
            ..Comparison::default()
        };
        let Comparison {
            changes,
            missing,
            altered,
            ..
        } = &mut comparison;
        let report = |flow: &LogFlow| {
            let meter = metered.contains(&flow.cookie).then_some(flow.cookie);
            Report {
                meter: meter.and_then(meters::meter).map(|meter| meter.0),
                resubmit: flow.resubmit,
            }
        };
        let mut additions = Vec::new();
        let mut lack = |flow: &LogFlow| additions.push(self.addition(flow, report(flow)));
        // Both are in the order of their places.
        let mut wanted = wanted.0.iter().peekable();
        for (place, present) in &self.present {
            while let Some((_, flow)) = wanted.next_if(|(other, _)| *other < place) {
                missing.push(flow.cookie);
                lack(flow);
            }
            let flow = wanted.next_if(|(other, _)| *other == place);
            if !is_ours(present.cookie) {
                continue;
            }
            let Some((_, flow)) = flow else {
                changes.push(self.deletion(place, present));
                continue;
            };
            let report = report(flow);
            if !present.is_but_for_meter(flow.cookie, report) {
                // An addition at the same place would replace what is there without a word of what
                // it counted.
                altered.push(flow.cookie);
                changes.push(self.deletion(place, present));
                lack(flow);
            } else if present.report != Some(report) {
                altered.push(flow.cookie);
                changes.push(self.modification(flow, report));
            } else if rebind.contains(&flow.cookie) {
                changes.push(self.modification(flow, report));
            }
        }
        for (_, flow) in wanted {
            missing.push(flow.cookie);
            lack(flow);
        }
        changes.append(&mut additions);
        comparison
    }

    /// What adds a log flow.
    fn addition(&self, flow: &LogFlow, report: Report) -> FlowMod {
        let matches = Packets::OfPort(flow.matches).to_match(&self.profile);
        let cookie = flow.cookie.to_bits();
        FlowMod {
            flags: FlowFlags::SEND_FLOW_REM,
            ..FlowMod::add(flow.table, flow.priority, cookie, matches, report.actions())
        }
    }

    /// What changes what a log flow that is there does. It goes on counting.
    fn modification(&self, flow: &LogFlow, report: Report) -> FlowMod {
        FlowMod {
            cookie_mask: u64::MAX,
            command: FlowCommand::MODIFY_STRICT,
            flags: FlowFlags::NONE,
            ..self.addition(flow, report)
        }
    }

    /// What deletes this flow and no other.
    fn deletion(&self, (table, priority, packets): &Place, flow: &Present) -> FlowMod {
        FlowMod {
            cookie: flow.cookie,
            cookie_mask: u64::MAX,
            ..FlowMod::delete_strict(*table, *priority, packets.to_match(&self.profile))
        }
    }

    /// Flows of others that take the place of a wanted one, or may see its packets first.
    fn obstacles(&self, wanted: &LogFlows) -> Vec<Obstacle> {
        let lowest = self.lowest();
        let theirs = { self.present.iter() }
            .filter(|((_, priority, _), flow)| *priority >= lowest && !is_ours(flow.cookie));
        let obstacle = |(at, flow): (&Place, &Present)| {
            let (table, priority, packets) = at;
            let matches = packets.to_match(&self.profile);
            let overlaps = |ours: &Packets| may_overlap(&ours.to_match(&self.profile), &matches);
            let obstruction = if wanted.0.contains_key(at) {
                Obstruction::TakesPlace
            } else if wanted
                .0
                .range((*table, 0, Packets::FIRST)..)
                .take_while(|((found, below, _), _)| found == table && below <= priority)
                .any(|((.., ours), _)| overlaps(ours))
            {
                Obstruction::ComesFirst
            } else {
                return None;
            };
            Some(Obstacle {
                obstruction,
                table: *table,
                priority: *priority,
                cookie: flow.cookie,
                matches,
            })
        };
        theirs.filter_map(obstacle).collect()
    }
}

/// Whether some packet may match both: no field says that none does.
fn may_overlap(ours: &Match, theirs: &Match) -> bool {
    let disjoint = |(a, b): (&Oxm, &Oxm)| {
        let mask = |oxm: &Oxm, at: usize| oxm.mask().and_then(|mask| mask.get(at).copied());
        let differ = |(at, (x, y)): (usize, (&u8, &u8))| {
            (x ^ y) & mask(a, at).unwrap_or(0xff) & mask(b, at).unwrap_or(0xff) != 0
        };
        a.field() == b.field() && a.value().iter().zip(b.value()).enumerate().any(differ)
    };
    let pairs = |a| theirs.0.iter().map(move |b| (a, b));
    !ours.0.iter().flat_map(pairs).any(disjoint)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netlog_core::flow::FlowKind;
    use netlog_core::plan::{AcceptScope, LogLimits, PortPlan};
    use netlog_ofp::FlowFlags;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn log_flows(slot: u32, ofport: u32, accept: bool, drop: bool) -> Vec<LogFlow> {
        let plan = PortPlan {
            port: Uuid::nil(),
            accept: accept
                .then_some(AcceptScope {
                    log: Uuid::nil(),
                    group: None,
                })
                .into_iter()
                .collect(),
            drop: drop.then_some(Uuid::nil()).into_iter().collect(),
            limits: LogLimits::default(),
        };
        FlowProfile::default().log_flows(&plan, slot, ofport)
    }

    fn changes(flows: &Flows, wanted: &[LogFlow]) -> Vec<FlowMod> {
        let none = BTreeSet::new();
        let wanted = wanted.iter().copied().collect();
        let changes = flows.compare(&wanted, &none, &none).changes;
        for change in changes
            .iter()
            .filter(|change| change.command != FlowCommand::ADD)
        {
            assert_eq!(change.command, FlowCommand::DELETE_STRICT);
            assert_eq!(change.cookie & Cookie::OWNER_MASK, Cookie::OWNER);
            assert_eq!(change.cookie_mask, u64::MAX);
        }
        changes
    }

    fn nothing() -> Flows {
        Flows::new(FlowProfile::default())
    }

    fn having(stats: &[FlowStats]) -> Flows {
        let mut flows = nothing();
        flows.found(stats);
        flows
    }

    /// What a switch has after these changes, as it would say itself.
    fn stats(flows: &Flows) -> Vec<FlowStats> {
        let stats = |(place, present): (&Place, &Present)| FlowStats {
            table_id: place.0,
            duration: Duration::ZERO,
            priority: place.1,
            idle_timeout: 0,
            hard_timeout: 0,
            flags: FlowFlags::SEND_FLOW_REM,
            importance: 0,
            cookie: present.cookie,
            packet_count: 0,
            byte_count: 0,
            r#match: place.2.to_match(&flows.profile),
            instructions: vec![Instruction::ApplyActions(present.report.unwrap().actions())],
        };
        flows.present.iter().map(stats).collect()
    }

    #[test]
    fn the_flows_of_a_port_are_those_tested_on_the_pipeline() {
        let flows = changes(&nothing(), &log_flows(1, 7, true, true));
        let shown: Vec<_> = flows
            .iter()
            .map(|flow| {
                let matches = &flow.r#match;
                let [Instruction::ApplyActions(actions)] = flow.instructions.as_slice() else {
                    panic!("{flow:?}");
                };
                let Action::Controller(report) = &actions[0] else {
                    panic!("{actions:?}")
                };
                assert_eq!(report.controller_id, CONTROLLER_ID);
                let kind = Cookie::from_bits(flow.cookie).unwrap().kind;
                let in_port = *matches == Match::any().in_port(PortNo(7));
                assert!(in_port || *matches == Match::any().reg(5, 7));
                (
                    flow.table_id,
                    flow.priority,
                    in_port,
                    kind,
                    actions[1..].to_vec(),
                )
            })
            .collect();
        let expected = [
            (
                91,
                100,
                false,
                FlowKind::EgressAccept,
                vec![Action::resubmit(94)],
            ),
            (92, 90, true, FlowKind::SameHostAccept, vec![]),
            (92, 100, false, FlowKind::IngressAccept, vec![]),
            (93, 90, true, FlowKind::SameHostDrop, vec![]),
            (93, 100, false, FlowKind::Drop, vec![]),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_match_is_kept_whole_and_those_of_log_flows_are_known() {
        let profile = FlowProfile::default();
        let register = FlowMatch::PortRegister(7);
        let in_port = FlowMatch::InPort(7);
        for (matches, of_port) in [
            (Match::any().reg(5, 7), Some(register)),
            (Match::any().in_port(PortNo(7)), Some(in_port)),
            (Match::any(), None),
            (Match::any().reg(6, 7), None),
            (Match::any().reg_masked(5, 7, 0xff), None),
            (Match::any().eth_type(0x0800), None),
            (Match::any().reg(5, 7).eth_type(0x0800), None),
            (Match::any().in_port(PortNo(7)).reg(5, 7), None),
        ] {
            let packets = Packets::of(&matches, &profile);
            assert_eq!(packets.to_match(&profile), matches);
            let found = match packets {
                Packets::OfPort(found) => Some(found),
                Packets::Other(_) => None,
            };
            assert_eq!(found, of_port, "{matches:?}");
        }
    }

    #[test]
    fn only_what_a_log_flow_does_is_taken_for_it() {
        let ours = Controller {
            controller_id: CONTROLLER_ID,
            ..Controller::default()
        };
        let metered = Controller {
            meter_id: Some(3),
            ..ours.clone()
        };
        let short = Controller {
            max_len: 64,
            ..ours.clone()
        };
        let from_elsewhere = Action::Resubmit {
            in_port: PortNo(1),
            table: Some(94),
        };
        let [ours, metered, short] = [ours, metered, short].map(Action::from);
        let report = |meter, resubmit| Some(Report { meter, resubmit });
        for (actions, expected) in [
            (vec![ours.clone()], report(None, None)),
            (
                vec![metered, Action::resubmit(94)],
                report(Some(3), Some(94)),
            ),
            (vec![], None),
            (vec![short], None),
            (vec![Action::resubmit(94)], None),
            (vec![Action::resubmit(94), ours.clone()], None),
            (vec![ours.clone(), from_elsewhere], None),
            (vec![ours.clone(), ours.clone()], None),
            (vec![ours, Action::resubmit(94), Action::resubmit(94)], None),
        ] {
            let does = [Instruction::ApplyActions(actions)];
            assert_eq!(Report::of(&does), expected, "{does:?}");
            assert_eq!(Report::of(&[does[0].clone(), does[0].clone()]), None);
        }
        assert_eq!(Report::of(&[]), None);
    }

    #[test]
    fn what_is_already_right_is_left_alone() {
        let wanted = log_flows(1, 7, true, true);
        let mut flows = nothing();
        flows.apply(&changes(&flows, &wanted));
        let mut found = stats(&flows);
        assert!(changes(&having(&found), &wanted).is_empty());

        found[2].instructions.clear();
        found[3].flags = FlowFlags::NONE;
        found[4].idle_timeout = 10;
        let mended = changes(&having(&found), &wanted);
        let commands: Vec<_> = mended.iter().map(|change| change.command).collect();
        let [delete, add] = [FlowCommand::DELETE_STRICT, FlowCommand::ADD];
        assert_eq!(commands, [delete, delete, delete, add, add, add]);
    }

    proptest! {
        /// Any set of ports turns into any other, and every change was needed.
        #[test]
        fn changes_lead_from_any_state_to_the_wanted_one(
            before in prop::collection::btree_map(1u32..8, (1u32..8, any::<bool>(), any::<bool>()), 0..6),
            after in prop::collection::btree_map(1u32..8, (1u32..8, any::<bool>(), any::<bool>()), 0..6),
        ) {
            let of = |ports: &BTreeMap<u32, (u32, bool, bool)>| -> Vec<LogFlow> {
                // One port an ofport, as on a bridge.
                let by_ofport: BTreeMap<_, _> =
                    ports.iter().map(|(slot, (ofport, accept, drop))| (ofport, (slot, accept, drop))).collect();
                by_ofport
                    .into_iter()
                    .flat_map(|(ofport, (slot, accept, drop))| log_flows(*slot, *ofport, *accept, *drop))
                    .collect()
            };
            let (before, after) = (of(&before), of(&after));
            let mut flows = nothing();
            flows.apply(&changes(&flows, &before));
            let needed = changes(&having(&stats(&flows)), &after);
            prop_assert!(needed.len() <= before.len() + after.len());
            flows.apply(&needed);
            prop_assert!(changes(&flows, &after).is_empty());
            let mut fresh = nothing();
            fresh.apply(&changes(&fresh, &after));
            prop_assert_eq!(stats(&flows), stats(&fresh));
        }
    }
}
