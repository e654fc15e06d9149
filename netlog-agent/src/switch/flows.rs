//! Log flows as OpenFlow, and the smallest change from what a switch has to what it should have.

use std::collections::BTreeMap;

use netlog_core::flow::{Cookie, FlowMatch, FlowProfile, LogFlow};
use netlog_ofp::multipart::{FlowStats, FlowStatsRequest};
use netlog_ofp::{Action, Controller, FlowMod, Instruction, Match, PortNo};

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
    let report = Controller { controller_id: CONTROLLER_ID, ..Controller::default() };
    let mut actions = vec![Action::from(report)];
    actions.extend(flow.resubmit.map(Action::resubmit));
    Wanted { cookie: flow.cookie.to_bits(), matches, actions }
}

/// The flow-mods that turn the flows of ours that the switch has into those that are wanted.
///
/// Deletions name table, priority, match and cookie, so that they cannot touch a flow of anyone
/// else; a flow that is already right is left alone, with its counters.
pub(super) fn changes(
    profile: &FlowProfile,
    wanted_flows: &[LogFlow],
    found: &[FlowStats],
) -> Vec<FlowMod> {
    let mut missing: BTreeMap<Place, Wanted> = wanted_flows
        .iter()
        .map(|flow| (flow, wanted(profile, flow)))
        .map(|(flow, wanted)| (place(flow.table, flow.priority, &wanted.matches), wanted))
        .collect();
    let mut changes = Vec::new();
    for flow in found {
        let place = place(flow.table_id, flow.priority, &flow.r#match);
        match missing.get(&place) {
            Some(wanted) if is_right(flow, wanted) => {
                missing.remove(&place);
            }
            // An addition at the same place replaces what is there.
            Some(_) => {}
            None => changes.push(FlowMod {
                cookie: flow.cookie,
                cookie_mask: u64::MAX,
                ..FlowMod::delete_strict(flow.table_id, flow.priority, flow.r#match.clone())
            }),
        }
    }
    changes.extend(missing.into_iter().map(|((table, priority, _), wanted)| {
        FlowMod::add(table, priority, wanted.cookie, wanted.matches, wanted.actions)
    }));
    changes
}

fn is_right(flow: &FlowStats, wanted: &Wanted) -> bool {
    flow.cookie == wanted.cookie
        && flow.idle_timeout == 0
        && flow.hard_timeout == 0
        && matches!(
            flow.instructions.as_slice(),
            [Instruction::ApplyActions(actions)] if *actions == wanted.actions
        )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use netlog_core::flow::FlowKind;
    use netlog_core::plan::{AcceptScope, PortPlan};
    use netlog_ofp::{FlowCommand, FlowFlags};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn log_flows(slot: u32, ofport: u32, accept: bool, drop: bool) -> Vec<LogFlow> {
        let plan = PortPlan {
            port: Uuid::nil(),
            accept: accept
                .then_some(AcceptScope { log: Uuid::nil(), group: None })
                .into_iter()
                .collect(),
            drop: drop.then_some(Uuid::nil()).into_iter().collect(),
        };
        FlowProfile::default().log_flows(&plan, slot, ofport)
    }

    /// What a switch has after these flow-mods.
    fn apply(flows: &mut Vec<FlowStats>, changes: &[FlowMod]) {
        for change in changes {
            flows.retain(|flow| {
                (flow.table_id, flow.priority, &flow.r#match)
                    != (change.table_id, change.priority, &change.r#match)
            });
            if change.command == FlowCommand::ADD {
                flows.push(FlowStats {
                    table_id: change.table_id,
                    duration: Duration::ZERO,
                    priority: change.priority,
                    idle_timeout: 0,
                    hard_timeout: 0,
                    flags: FlowFlags::NONE,
                    importance: 0,
                    cookie: change.cookie,
                    packet_count: 0,
                    byte_count: 0,
                    r#match: change.r#match.clone(),
                    instructions: change.instructions.clone(),
                });
            } else {
                assert_eq!(change.command, FlowCommand::DELETE_STRICT);
                assert_eq!(change.cookie & Cookie::OWNER_MASK, Cookie::OWNER);
                assert_eq!(change.cookie_mask, u64::MAX);
            }
        }
    }

    fn sorted(flows: &[FlowStats]) -> Vec<(u8, u16, Vec<u8>, u64)> {
        let mut places: Vec<_> = flows
            .iter()
            .map(|flow| (flow.table_id, flow.priority, flow.r#match.to_bytes(), flow.cookie))
            .collect();
        places.sort();
        places
    }

    #[test]
    fn the_flows_of_a_port_are_those_tested_on_the_pipeline() {
        let flows = changes(&FlowProfile::default(), &log_flows(1, 7, true, true), &[]);
        let shown: Vec<_> = flows
            .iter()
            .map(|flow| {
                let matches = &flow.r#match;
                let [Instruction::ApplyActions(actions)] = flow.instructions.as_slice() else {
                    panic!("{flow:?}");
                };
                let Action::Controller(report) = &actions[0] else { panic!("{actions:?}") };
                assert_eq!(report.controller_id, CONTROLLER_ID);
                let kind = Cookie::from_bits(flow.cookie).unwrap().kind;
                let in_port = *matches == Match::any().in_port(PortNo(7));
                assert!(in_port || *matches == Match::any().reg(5, 7));
                (flow.table_id, flow.priority, in_port, kind, actions[1..].to_vec())
            })
            .collect();
        let expected = [
            (91, 100, false, FlowKind::EgressAccept, vec![Action::resubmit(94)]),
            (92, 90, true, FlowKind::SameHostAccept, vec![]),
            (92, 100, false, FlowKind::IngressAccept, vec![]),
            (93, 90, true, FlowKind::SameHostDrop, vec![]),
            (93, 100, false, FlowKind::Drop, vec![]),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_already_right_is_left_alone() {
        let profile = FlowProfile::default();
        let wanted = log_flows(1, 7, true, true);
        let mut found = Vec::new();
        apply(&mut found, &changes(&profile, &wanted, &found));
        assert!(changes(&profile, &wanted, &found).is_empty());

        found[2].instructions.clear();
        let mended = changes(&profile, &wanted, &found);
        assert_eq!(mended.len(), 1);
        assert_eq!(mended[0].command, FlowCommand::ADD);
    }

    proptest! {
        /// Any set of ports turns into any other, and every change was needed.
        #[test]
        fn changes_lead_from_any_state_to_the_wanted_one(
            before in prop::collection::btree_map(1u32..8, (1u32..8, any::<bool>(), any::<bool>()), 0..6),
            after in prop::collection::btree_map(1u32..8, (1u32..8, any::<bool>(), any::<bool>()), 0..6),
        ) {
            let profile = FlowProfile::default();
            let flows = |ports: &BTreeMap<u32, (u32, bool, bool)>| -> Vec<LogFlow> {
                // One port an ofport, as on a bridge.
                let by_ofport: BTreeMap<_, _> =
                    ports.iter().map(|(slot, (ofport, accept, drop))| (ofport, (slot, accept, drop))).collect();
                by_ofport
                    .into_iter()
                    .flat_map(|(ofport, (slot, accept, drop))| log_flows(*slot, *ofport, *accept, *drop))
                    .collect()
            };
            let (before, after) = (flows(&before), flows(&after));
            let mut found = Vec::new();
            apply(&mut found, &changes(&profile, &before, &[]));
            let needed = changes(&profile, &after, &found);
            apply(&mut found, &needed);
            let mut fresh = Vec::new();
            apply(&mut fresh, &changes(&profile, &after, &[]));
            prop_assert_eq!(sorted(&found), sorted(&fresh));
            prop_assert!(needed.len() <= before.len() + after.len());
            prop_assert!(changes(&profile, &after, &found).is_empty());
        }
    }
}
