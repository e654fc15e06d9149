//! Log flows as OpenFlow, and the smallest change from what a switch has to what it should have.

use std::collections::BTreeMap;

use netlog_core::flow::{Cookie, FlowMatch, FlowProfile, LogFlow};
use netlog_ofp::multipart::{FlowStats, FlowStatsRequest};
use netlog_ofp::{Action, Controller, FlowCommand, FlowMod, Instruction, Match, PortNo};

/// The id of the connections that log flows report to. The switch sends packet-ins of our flows
/// only to connections that set it, and they get no others.
pub(super) const CONTROLLER_ID: u16 = 0x6e4c;

/// Asks for all flows that are ours.
pub(super) fn ours() -> FlowStatsRequest {
    FlowStatsRequest::by_cookie(Cookie::OWNER, Cookie::OWNER_MASK)
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
    cookie: u64,
    matches: Match,
    actions: Vec<Action>,
}

fn wanted(profile: &FlowProfile, flow: &LogFlow) -> Wanted {
    let matches = match flow.matches {
        FlowMatch::PortRegister(ofport) => Match::any().reg(profile.port_register, ofport),
        FlowMatch::InPort(ofport) => Match::any().in_port(PortNo(ofport)),
    };
    // The report comes first: behind the resubmit the packet may have been changed for the wire.
    let report = Controller {
        controller_id: CONTROLLER_ID,
        ..Controller::default()
    };
    let mut actions = vec![Action::from(report)];
    actions.extend(flow.resubmit.map(Action::resubmit));
    Wanted {
        cookie: flow.cookie.to_bits(),
        matches,
        actions,
    }
}

/// A flow of ours that the switch has.
#[derive(Clone, Debug)]
struct Present {
    cookie: u64,
    matches: Match,
    /// Its actions; `None` where it has something besides that we would not have written.
    actions: Option<Vec<Action>>,
}

/// The flows of ours that the switch has.
#[derive(Clone, Debug, Default)]
pub(super) struct Flows(BTreeMap<Place, Present>);

impl Flows {
    /// What the switch said that it has.
    pub(super) fn found(stats: &[FlowStats]) -> Self {
        let present = |flow: &FlowStats| {
            let for_good = flow.idle_timeout == 0 && flow.hard_timeout == 0;
            let matches = flow.r#match.clone();
            let actions = for_good.then(|| only_actions(&flow.instructions)).flatten();
            (
                place(flow.table_id, flow.priority, &matches),
                Present {
                    cookie: flow.cookie,
                    matches,
                    actions,
                },
            )
        };
        Self(stats.iter().map(present).collect())
    }

    /// Takes note of changes that the switch has made.
    pub(super) fn apply(&mut self, changes: &[FlowMod]) {
        for change in changes {
            let place = place(change.table_id, change.priority, &change.r#match);
            if change.command == FlowCommand::ADD {
                let present = Present {
                    cookie: change.cookie,
                    matches: change.r#match.clone(),
                    actions: only_actions(&change.instructions),
                };
                self.0.insert(place, present);
            } else {
                self.0.remove(&place);
            }
        }
    }

    /// The flow-mods that turn these flows into those that are wanted.
    ///
    /// Deletions name table, priority, match and cookie, so that they cannot touch a flow of
    /// anyone else; a flow that is already right is left alone, with its counters.
    pub(super) fn changes_to(&self, profile: &FlowProfile, log_flows: &[LogFlow]) -> Vec<FlowMod> {
        let mut missing: BTreeMap<Place, Wanted> = log_flows
            .iter()
            .map(|flow| (flow, wanted(profile, flow)))
            .map(|(flow, wanted)| (place(flow.table, flow.priority, &wanted.matches), wanted))
            .collect();
        let mut changes = Vec::new();
        for (place, present) in &self.0 {
            match missing.get(place) {
                Some(wanted)
                    if present.cookie == wanted.cookie
                        && present.actions.as_ref() == Some(&wanted.actions) =>
                {
                    missing.remove(place);
                }
                // An addition at the same place replaces what is there.
                Some(_) => {}
                None => {
                    let (table, priority, _) = *place;
                    changes.push(FlowMod {
                        cookie: present.cookie,
                        cookie_mask: u64::MAX,
                        ..FlowMod::delete_strict(table, priority, present.matches.clone())
                    });
                }
            }
        }
        changes.extend(missing.into_iter().map(|((table, priority, _), wanted)| {
            FlowMod::add(
                table,
                priority,
                wanted.cookie,
                wanted.matches,
                wanted.actions,
            )
        }));
        changes
    }
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
    use netlog_core::plan::{AcceptScope, PortPlan};
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
        };
        FlowProfile::default().log_flows(&plan, slot, ofport)
    }

    fn changes(flows: &Flows, wanted: &[LogFlow]) -> Vec<FlowMod> {
        let changes = flows.changes_to(&FlowProfile::default(), wanted);
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

    /// What a switch has after these changes, as it would say itself.
    fn stats(flows: &Flows) -> Vec<FlowStats> {
        let stats = |(place, present): (&Place, &Present)| FlowStats {
            table_id: place.0,
            duration: Duration::ZERO,
            priority: place.1,
            idle_timeout: 0,
            hard_timeout: 0,
            flags: FlowFlags::NONE,
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
        assert!(changes(&Flows::found(&found), &wanted).is_empty());

        found[2].instructions.clear();
        found[4].idle_timeout = 10;
        let mended = changes(&Flows::found(&found), &wanted);
        assert_eq!(mended.len(), 2);
        assert!(
            mended
                .iter()
                .all(|change| change.command == FlowCommand::ADD)
        );
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
            let needed = changes(&Flows::found(&stats(&flows)), &after);
            prop_assert!(needed.len() <= before.len() + after.len());
            flows.apply(&needed);
            prop_assert!(changes(&flows, &after).is_empty());
            let mut fresh = Flows::default();
            fresh.apply(&changes(&fresh, &after));
            prop_assert_eq!(stats(&flows), stats(&fresh));
        }
    }
}
