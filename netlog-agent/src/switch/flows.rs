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
///
/// The match stands as its bytes, which have an order.
type Place = (u8, u16, Vec<u8>);

fn place(table: u8, priority: u16, matches: &Match) -> Place {
    (table, priority, matches.to_bytes())
}

/// A flow that we want, ready to be sent.
#[derive(Debug)]
struct Wanted {
    cookie: Cookie,
    matches: Match,
    actions: Vec<Action>,
}

fn wanted(profile: &FlowProfile, flow: &LogFlow, metered: &BTreeSet<Cookie>) -> Wanted {
    let matches = match flow.matches {
        FlowMatch::PortRegister(ofport) => Match::any().reg(profile.port_register, ofport),
        FlowMatch::InPort(ofport) => Match::any().in_port(PortNo(ofport)),
    };
    // The report comes first: behind the resubmit the packet may have been changed for the wire.
    let cookie = flow.cookie;
    let meter = metered.contains(&cookie).then(|| meters::meter(cookie));
    let report = Controller {
        controller_id: CONTROLLER_ID,
        meter_id: meter.flatten().map(|meter| meter.0),
        ..Controller::default()
    };
    let mut actions = vec![Action::from(report)];
    actions.extend(flow.resubmit.map(Action::resubmit));
    Wanted {
        cookie,
        matches,
        actions,
    }
}

impl Wanted {
    /// What changes what a flow of ours at this place does. It goes on counting.
    fn modification(self, (table, priority, _): &Place) -> FlowMod {
        let cookie = self.cookie.to_bits();
        FlowMod {
            cookie_mask: u64::MAX,
            command: FlowCommand::MODIFY_STRICT,
            ..FlowMod::add(*table, *priority, cookie, self.matches, self.actions)
        }
    }
}

/// A flow that the switch has.
#[derive(Clone, Debug)]
struct Present {
    cookie: u64,
    matches: Match,
    /// Its actions; `None` where it has something besides that we would not have written.
    actions: Option<Vec<Action>>,
    /// Whether the switch tells its last count when it goes.
    tells_end: bool,
}

impl Present {
    fn new(
        cookie: u64,
        matches: &Match,
        timeouts: [u16; 2],
        does: &[Instruction],
        tells_end: bool,
    ) -> Self {
        let for_good = timeouts == [0, 0];
        Self {
            cookie,
            matches: matches.clone(),
            actions: for_good.then(|| only_actions(does)).flatten(),
            tells_end,
        }
    }

    fn is(&self, wanted: &Wanted) -> bool {
        self.cookie == wanted.cookie.to_bits()
            && self.actions.as_ref() == Some(&wanted.actions)
            && self.tells_end
    }

    /// Whether it is the wanted one but for the meter that it reports through.
    fn is_but_for_meter(&self, wanted: &Wanted) -> bool {
        let unmetered = |action: &Action| match action {
            Action::Controller(report) => Action::from(Controller {
                meter_id: None,
                ..report.clone()
            }),
            action => action.clone(),
        };
        let differ = |(ours, theirs)| unmetered(ours) != unmetered(theirs);
        self.cookie == wanted.cookie.to_bits()
            && self.tells_end
            && self.actions.as_ref().is_some_and(|actions| {
                actions.len() == wanted.actions.len()
                    && !actions.iter().zip(&wanted.actions).any(differ)
            })
    }

    /// What deletes this flow and no other.
    fn deletion(&self, (table, priority, _): &Place) -> FlowMod {
        FlowMod {
            cookie: self.cookie,
            cookie_mask: u64::MAX,
            ..FlowMod::delete_strict(*table, *priority, self.matches.clone())
        }
    }
}

/// The flows that the switch has: everyone's in the log tables, and ours in all others.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows(BTreeMap<Place, Present>);

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
    /// Takes note of flows that the switch has.
    pub(super) fn found(&mut self, stats: &[FlowStats]) {
        self.0.extend(stats.iter().map(|flow| {
            let timeouts = [flow.idle_timeout, flow.hard_timeout];
            (
                place(flow.table_id, flow.priority, &flow.r#match),
                Present::new(
                    flow.cookie,
                    &flow.r#match,
                    timeouts,
                    &flow.instructions,
                    flow.flags.contains(FlowFlags::SEND_FLOW_REM),
                ),
            )
        }));
    }

    /// Takes note of what someone did to a flow. Says whether that may matter to us: whether the
    /// flow was ours or is now, or may stand before one of ours.
    pub(super) fn note(&mut self, update: &FullFlowUpdate, profile: &FlowProfile) -> bool {
        let place = place(update.table_id, update.priority, &update.r#match);
        let lowest = profile.priority.min(profile.same_host_priority);
        let may_matter = |cookie| is_ours(cookie) || update.priority >= lowest;
        if update.event == FlowUpdateEvent::REMOVED {
            return self
                .0
                .remove(&place)
                .is_some_and(|flow| may_matter(flow.cookie));
        }
        let timeouts = [update.idle_timeout, update.hard_timeout];
        // A flow keeps its flags when it is modified. Those of a new one are not told.
        let tells_end = update.event == FlowUpdateEvent::MODIFIED
            && self.0.get(&place).is_some_and(|flow| flow.tells_end);
        let flow = Present::new(
            update.cookie,
            &update.r#match,
            timeouts,
            &update.instructions,
            tells_end,
        );
        let before = self.0.insert(place, flow);
        may_matter(update.cookie) || before.is_some_and(|flow| may_matter(flow.cookie))
    }

    /// Takes note of changes that the switch has made.
    pub(super) fn apply(&mut self, changes: &[FlowMod]) {
        for change in changes {
            let place = place(change.table_id, change.priority, &change.r#match);
            if change.command == FlowCommand::MODIFY_STRICT {
                if let Some(flow) = self.0.get_mut(&place)
                    && flow.cookie == change.cookie
                {
                    flow.actions = only_actions(&change.instructions);
                }
            } else if change.command == FlowCommand::ADD {
                let flow = Present::new(
                    change.cookie,
                    &change.r#match,
                    [0, 0],
                    &change.instructions,
                    true,
                );
                self.0.insert(place, flow);
            } else if let btree_map::Entry::Occupied(flow) = self.0.entry(place)
                && flow.get().cookie == change.cookie
            {
                flow.remove();
            }
        }
    }

    /// Whether nobody has a flow in this table.
    pub(super) fn is_empty(&self, table: u8) -> bool {
        let first = self.0.range((table, 0, Vec::new())..).next();
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
        profile: &FlowProfile,
        log_flows: &[LogFlow],
        metered: &BTreeSet<Cookie>,
        rebind: &BTreeSet<Cookie>,
    ) -> Comparison {
        let mut lacking: BTreeMap<Place, Wanted> = log_flows
            .iter()
            .map(|flow| (flow, wanted(profile, flow, metered)))
            .map(|(flow, wanted)| (place(flow.table, flow.priority, &wanted.matches), wanted))
            .collect();
        let mut comparison = Comparison {
            obstacles: self.obstacles(&lacking),
            ..Comparison::default()
        };
        for (place, present) in &self.0 {
            match lacking.get(place) {
                Some(wanted) if present.is(wanted) => {
                    let rebind = rebind.contains(&wanted.cookie);
                    let modify = lacking.remove(place).filter(|_| rebind);
                    let modify = modify.map(|wanted| wanted.modification(place));
                    comparison.changes.extend(modify);
                }
                Some(wanted) if present.is_but_for_meter(wanted) => {
                    comparison.altered.push(wanted.cookie);
                    let modify = lacking.remove(place);
                    let modify = modify.map(|wanted| wanted.modification(place));
                    comparison.changes.extend(modify);
                }
                // An addition at the same place would replace what is there without a word of what
                // it counted.
                Some(wanted) if is_ours(present.cookie) => {
                    comparison.altered.push(wanted.cookie);
                    comparison.changes.push(present.deletion(place));
                }
                Some(_) => {
                    lacking.remove(place);
                }
                None if is_ours(present.cookie) => {
                    comparison.changes.push(present.deletion(place));
                }
                None => {}
            }
        }
        for (place, wanted) in lacking {
            if !self.0.contains_key(&place) {
                comparison.missing.push(wanted.cookie);
            }
            let (table, priority, _) = place;
            let cookie = wanted.cookie.to_bits();
            comparison.changes.push(FlowMod {
                flags: FlowFlags::SEND_FLOW_REM,
                ..FlowMod::add(table, priority, cookie, wanted.matches, wanted.actions)
            });
        }
        comparison
    }

    /// Flows of others that take the place of a wanted one, or may see its packets first.
    fn obstacles(&self, wanted: &BTreeMap<Place, Wanted>) -> Vec<Obstacle> {
        let Some(lowest) = wanted.keys().map(|(_, priority, _)| *priority).min() else {
            return Vec::new();
        };
        let theirs = self
            .0
            .iter()
            .filter(|((_, priority, _), flow)| *priority >= lowest && !is_ours(flow.cookie));
        let obstacle = |(at, flow): (&Place, &Present)| {
            let (table, priority, _) = *at;
            let obstruction = if wanted.contains_key(at) {
                Obstruction::TakesPlace
            } else if wanted
                .range((table, 0, Vec::new())..)
                .take_while(|((found, below, _), _)| *found == table && *below <= priority)
                .any(|(_, ours)| may_overlap(&ours.matches, &flow.matches))
            {
                Obstruction::ComesFirst
            } else {
                return None;
            };
            Some(Obstacle {
                obstruction,
                table,
                priority,
                cookie: flow.cookie,
                matches: flow.matches.clone(),
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

fn only_actions(instructions: &[Instruction]) -> Option<Vec<Action>> {
    match instructions {
        [Instruction::ApplyActions(actions)] => Some(actions.clone()),
        _ => None,
    }
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
        let changes = flows
            .compare(&FlowProfile::default(), wanted, &none, &none)
            .changes;
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

    fn having(stats: &[FlowStats]) -> Flows {
        let mut flows = Flows::default();
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
            r#match: present.matches.clone(),
            instructions: vec![Instruction::ApplyActions(present.actions.clone().unwrap())],
        };
        flows.0.iter().map(stats).collect()
    }

    #[test]
    fn the_flows_of_a_port_are_those_tested_on_the_pipeline() {
        let flows = changes(&Flows::default(), &log_flows(1, 7, true, true));
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
    fn what_is_already_right_is_left_alone() {
        let wanted = log_flows(1, 7, true, true);
        let mut flows = Flows::default();
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
            let mut flows = Flows::default();
            flows.apply(&changes(&flows, &before));
            let needed = changes(&having(&stats(&flows)), &after);
            prop_assert!(needed.len() <= before.len() + after.len());
            flows.apply(&needed);
            prop_assert!(changes(&flows, &after).is_empty());
            let mut fresh = Flows::default();
            fresh.apply(&changes(&fresh, &after));
            prop_assert_eq!(stats(&flows), stats(&fresh));
        }
    }
}
