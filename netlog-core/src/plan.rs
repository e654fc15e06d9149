//! The plan: which events of which port are wanted by which log objects.
//!
//! The rules are the column "intended" of the reference's truth table:
//!
//! | log names | port is selected when | ACCEPT by rules of | DROP |
//! |---|---|---|---|
//! | nothing | it is in the log's project | all its groups | yes |
//! | a target | it is the target | all its groups | yes |
//! | a group | it is a member | that group | yes |
//! | a group and a target | it is the target | that group, while it is a member | yes |
//!
//! Ports without port security have no firewall, so that they have nothing to log.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::inventory::{Inventory, Port};
use crate::log::LogObject;

/// The resource type that this plan is about.
pub const SECURITY_GROUP: &str = "security_group";

/// A log object that wants accepted sessions of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AcceptScope {
    /// The log object.
    pub log: Uuid,
    /// The group whose rules have to allow the session; `None` for any.
    pub group: Option<Uuid>,
}

/// What is wanted of one port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// The port.
    pub port: Uuid,
    /// Log objects that want its accepted sessions, in the order of their ids.
    pub accept: Vec<AcceptScope>,
    /// Log objects that want its dropped packets, in the order of their ids.
    pub drop: Vec<Uuid>,
}

impl PortPlan {
    /// Whether any accepted session may have to be logged.
    pub fn logs_accept(&self) -> bool {
        !self.accept.is_empty()
    }

    /// Whether dropped packets are logged.
    pub fn logs_drop(&self) -> bool {
        !self.drop.is_empty()
    }
}

/// What is wanted of each port, by port id. Ports that nobody wants to log are left out.
pub type Plan = BTreeMap<Uuid, PortPlan>;

/// Works out the plan for these log objects and this inventory.
///
/// Disabled log objects and other resource types select nothing.
pub fn plan<'a>(logs: impl IntoIterator<Item = &'a LogObject>, inventory: &Inventory) -> Plan {
    let firewalled = || inventory.ports().filter(|port| port.port_security_enabled);
    let mut by_project: HashMap<&str, Vec<&Port>> = HashMap::new();
    let mut by_group: HashMap<Uuid, Vec<&Port>> = HashMap::new();
    for port in firewalled() {
        by_project.entry(&port.project_id).or_default().push(port);
        for group in &port.security_groups {
            by_group.entry(*group).or_default().push(port);
        }
    }

    let mut plan = Plan::new();
    for log in logs {
        if !log.enabled || log.resource_type != SECURITY_GROUP {
            continue;
        }
        let target;
        let selected: &[&Port] = match (log.target_id, log.resource_id) {
            (Some(id), _) => {
                target = inventory.port(id).filter(|port| port.port_security_enabled);
                target.as_slice()
            }
            (None, Some(group)) => by_group.get(&group).map_or(&[], Vec::as_slice),
            (None, None) => by_project
                .get(log.project_id.as_str())
                .map_or(&[], Vec::as_slice),
        };
        for port in selected {
            let in_scope = log
                .resource_id
                .is_none_or(|group| port.security_groups.contains(&group));
            let accept = log.event.accept() && in_scope;
            if !accept && !log.event.drop() {
                continue;
            }
            let port_plan = plan.entry(port.id).or_insert_with(|| PortPlan {
                port: port.id,
                accept: Vec::new(),
                drop: Vec::new(),
            });
            if accept {
                port_plan.accept.push(AcceptScope {
                    log: log.id,
                    group: log.resource_id,
                });
            }
            if log.event.drop() {
                port_plan.drop.push(log.id);
            }
        }
    }
    for port_plan in plan.values_mut() {
        port_plan.accept.sort_unstable();
        port_plan.drop.sort_unstable();
    }
    plan
}

#[cfg(test)]
mod tests {
    use time::UtcDateTime;

    use super::*;
    use crate::log::LoggedEvent;

    const A: &str = "aaaaaaaa-0000-4000-8000-00000000000a";
    const B: &str = "bbbbbbbb-0000-4000-8000-00000000000b";

    fn group(last: &str) -> Uuid {
        format!("5e000000-0000-4000-8000-0000000000{last}")
            .parse()
            .unwrap()
    }

    fn port(number: u8) -> Uuid {
        format!("11111111-0000-4000-8000-00000000000{number}")
            .parse()
            .unwrap()
    }

    fn log(project: &str, resource: Option<Uuid>, target: Option<Uuid>) -> LogObject {
        LogObject {
            id: Uuid::from_u128(1),
            project_id: project.to_owned(),
            name: String::new(),
            description: String::new(),
            resource_type: SECURITY_GROUP.to_owned(),
            resource_id: resource,
            target_id: target,
            event: LoggedEvent::All,
            enabled: true,
            revision_number: 0,
            created_at: UtcDateTime::UNIX_EPOCH,
            updated_at: UtcDateTime::UNIX_EPOCH,
        }
    }

    /// The ports that a log selects, as vm numbers: those of ACCEPT and those of DROP.
    fn selected(log: &LogObject) -> (Vec<u8>, Vec<u8>) {
        let inventory = Inventory::parse(include_str!("../tests/fixtures/inventory.json")).unwrap();
        let plan = plan([log], &inventory);
        let numbers = |wanted: &dyn Fn(&PortPlan) -> bool| {
            (1..=9)
                .filter(|n| plan.get(&port(*n)).is_some_and(wanted))
                .collect()
        };
        (
            numbers(&PortPlan::logs_accept),
            numbers(&PortPlan::logs_drop),
        )
    }

    #[test]
    fn every_row_of_the_truth_table() {
        let (web, app) = (Some(group("a1")), Some(group("a2")));
        for (what, log, accept, drop) in [
            ("project", log(A, None, None), vec![1, 2], vec![1, 2]),
            // vm4 has port security off: there is nothing to log on it.
            (
                "project with an open port",
                log(B, None, None),
                vec![3, 5],
                vec![3, 5],
            ),
            ("other project", log("c", None, None), vec![], vec![]),
            ("target", log(A, None, Some(port(1))), vec![1], vec![1]),
            (
                "target of another project",
                log(A, None, Some(port(3))),
                vec![3],
                vec![3],
            ),
            ("open target", log(B, None, Some(port(4))), vec![], vec![]),
            (
                "unknown target",
                log(A, None, Some(port(9))),
                vec![],
                vec![],
            ),
            ("group", log(A, web, None), vec![1], vec![1]),
            (
                "group of another project",
                log(B, web, None),
                vec![1],
                vec![1],
            ),
            (
                "unknown group",
                log(A, Some(group("ff")), None),
                vec![],
                vec![],
            ),
            (
                "group and member",
                log(A, web, Some(port(1))),
                vec![1],
                vec![1],
            ),
            (
                "group and a port that left it",
                log(A, app, Some(port(1))),
                vec![],
                vec![1],
            ),
        ] {
            assert_eq!(selected(&log), (accept, drop), "{what}");
        }
    }

    #[test]
    fn events_and_enabled_narrow_the_selection() {
        let all = log(A, None, None);
        let accept = LogObject {
            event: LoggedEvent::Accept,
            ..all.clone()
        };
        let drop = LogObject {
            event: LoggedEvent::Drop,
            ..all.clone()
        };
        let off = LogObject {
            enabled: false,
            ..all.clone()
        };
        let other = LogObject {
            resource_type: "firewall_group".to_owned(),
            ..all.clone()
        };
        assert_eq!(selected(&accept), (vec![1, 2], vec![]));
        assert_eq!(selected(&drop), (vec![], vec![1, 2]));
        assert_eq!(selected(&off), (vec![], vec![]));
        assert_eq!(selected(&other), (vec![], vec![]));
    }

    #[test]
    fn several_logs_share_a_port_in_the_order_of_their_ids() {
        let inventory = Inventory::parse(include_str!("../tests/fixtures/inventory.json")).unwrap();
        let second = LogObject {
            id: Uuid::from_u128(2),
            ..log(A, Some(group("a1")), None)
        };
        let first = LogObject {
            event: LoggedEvent::Drop,
            ..log(A, None, None)
        };
        let plan = plan([&second, &first], &inventory);
        let vm1 = &plan[&port(1)];
        assert_eq!(vm1.drop, [Uuid::from_u128(1), Uuid::from_u128(2)]);
        assert_eq!(
            vm1.accept,
            [AcceptScope {
                log: Uuid::from_u128(2),
                group: Some(group("a1"))
            }]
        );
    }
}
