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
use std::sync::Arc;

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
pub type Plan = BTreeMap<Uuid, Arc<PortPlan>>;

/// What one log object wants of one port.
struct Wanted {
    accept: bool,
    drop: bool,
}

/// Whether a log object selects a port, and for what: the truth table above.
fn wanted(log: &LogObject, port: &Port) -> Option<Wanted> {
    if !log.enabled || log.resource_type != SECURITY_GROUP || !port.port_security_enabled {
        return None;
    }
    let member = || {
        let is_in = |group| port.security_groups.contains(&group);
        log.resource_id.is_none_or(is_in)
    };
    let selected = match (log.target_id, log.resource_id) {
        (Some(target), _) => target == port.id,
        (None, Some(_)) => member(),
        (None, None) => log.project_id == port.project_id,
    };
    let wanted = Wanted {
        accept: selected && log.event.accept() && member(),
        drop: selected && log.event.drop(),
    };
    (wanted.accept || wanted.drop).then_some(wanted)
}

/// Log objects by what makes them select a port, so that a port is compared with few of them.
#[derive(Default)]
struct LogIndex<'a> {
    targets: HashMap<Uuid, Vec<&'a LogObject>>,
    groups: HashMap<Uuid, Vec<&'a LogObject>>,
    projects: HashMap<&'a str, Vec<&'a LogObject>>,
}

impl<'a> LogIndex<'a> {
    fn new(logs: impl IntoIterator<Item = &'a LogObject>) -> Self {
        let mut index = Self::default();
        for log in logs {
            let place = match (log.target_id, log.resource_id) {
                (Some(target), _) => index.targets.entry(target).or_default(),
                (None, Some(group)) => index.groups.entry(group).or_default(),
                (None, None) => index.projects.entry(&log.project_id).or_default(),
            };
            place.push(log);
        }
        index
    }

    /// What is wanted of this port; `None` if nothing is.
    fn port_plan(&self, port: &Port) -> Option<PortPlan> {
        let mut plan = PortPlan {
            port: port.id,
            accept: Vec::new(),
            drop: Vec::new(),
        };
        let groups = port.security_groups.iter();
        let candidates = [
            self.targets.get(&port.id),
            self.projects.get(port.project_id.as_str()),
        ];
        let candidates = candidates
            .into_iter()
            .chain(groups.map(|group| self.groups.get(group)));
        for log in candidates.flatten().flatten() {
            let Some(wanted) = wanted(log, port) else {
                continue;
            };
            if wanted.accept {
                plan.accept.push(AcceptScope {
                    log: log.id,
                    group: log.resource_id,
                });
            }
            if wanted.drop {
                plan.drop.push(log.id);
            }
        }
        plan.accept.sort_unstable();
        plan.drop.sort_unstable();
        (plan.logs_accept() || plan.logs_drop()).then_some(plan)
    }
}

/// Works out the plan for these log objects and this inventory.
///
/// Disabled log objects and other resource types select nothing.
pub fn plan<'a>(logs: impl IntoIterator<Item = &'a LogObject>, inventory: &Inventory) -> Plan {
    let logs = LogIndex::new(logs);
    inventory
        .ports()
        .filter_map(|port| Some((port.id, Arc::new(logs.port_plan(port)?))))
        .collect()
}

/// Keeps a plan up to date: works out anew only what a change can have touched.
///
/// ```
/// # use std::sync::Arc;
/// # use netlog_core::inventory::Inventory;
/// use netlog_core::plan::Planner;
/// let mut planner = Planner::default();
/// let plan = planner.update(&[], &Arc::new(Inventory::default()));
/// assert!(plan.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Planner {
    logs: BTreeMap<Uuid, LogObject>,
    inventory: Arc<Inventory>,
    plan: Plan,
}

impl Planner {
    /// The plan for these log objects and this inventory.
    ///
    /// The plan of a port that did not change, and that no changed log object selects or
    /// selected, is the one that the last call gave, as the same [`Arc`].
    pub fn update(&mut self, logs: &[LogObject], inventory: &Arc<Inventory>) -> &Plan {
        let logs: BTreeMap<Uuid, LogObject> =
            logs.iter().map(|log| (log.id, log.clone())).collect();
        // Both what a changed log object was and what it is now.
        let changed: Vec<&LogObject> = differing(&self.logs, &logs)
            .chain(differing(&logs, &self.logs))
            .collect();
        let same_inventory = Arc::ptr_eq(&self.inventory, inventory);
        if changed.is_empty() && same_inventory {
            return &self.plan;
        }
        let index = LogIndex::new(logs.values());
        if !same_inventory {
            self.plan.retain(|id, _| inventory.port(*id).is_some());
        }
        for port in inventory.ports() {
            let touched = changed.iter().any(|log| wanted(log, port).is_some())
                || !same_inventory && self.inventory.port(port.id) != Some(port);
            if !touched {
                continue;
            }
            match index.port_plan(port) {
                // What is wanted may be the same, for another reason.
                Some(plan) if self.plan.get(&port.id).is_some_and(|old| **old == plan) => {}
                Some(plan) => {
                    self.plan.insert(port.id, Arc::new(plan));
                }
                None => {
                    self.plan.remove(&port.id);
                }
            }
        }
        self.logs = logs;
        self.inventory = Arc::clone(inventory);
        &self.plan
    }
}

/// The log objects of `some` that are not the same in `others`.
fn differing<'a>(
    some: &'a BTreeMap<Uuid, LogObject>,
    others: &BTreeMap<Uuid, LogObject>,
) -> impl Iterator<Item = &'a LogObject> {
    some.values()
        .filter(|log| others.get(&log.id) != Some(*log))
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
                .filter(|n| plan.get(&port(*n)).is_some_and(|plan| wanted(plan)))
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
