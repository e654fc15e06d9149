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
//!
//! A log object can have a limit of its own, inside the host's. Each log object decides for itself,
//! as if there were no other: an event is held back only if every log object that wants it is over
//! its limit, so that the limit of one never silences what another asks for.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use netlog_ratelimit::{Quota, Throttle};
use uuid::Uuid;

use crate::inventory::{Inventory, Port};
use crate::log::LogObject;

/// The resource type that this plan is about.
pub const SECURITY_GROUP: &str = "security_group";

/// A log object that wants accepted sessions of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    /// Those of them that have a limit.
    pub limits: LogLimits,
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

/// The limits of log objects that want the same port's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogLimits(
    /// In the order of the log objects' ids.
    Vec<(Uuid, Throttle)>,
);

impl LogLimits {
    /// Whether an event that these log objects want, in the order of their ids, is within the
    /// limit of any of them. Those that have no limit always have room; those that have one count
    /// the event against it. Takes the time on the monotonic clock.
    pub fn admit(&self, logs: &[Uuid], now: Duration) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let mut limits = self.0.iter().peekable();
        let mut room = false;
        for log in logs {
            while limits.next_if(|(other, _)| other < log).is_some() {}
            room |= limits
                .next_if(|(other, _)| other == log)
                .is_none_or(|(_, throttle)| throttle.pass(now));
        }
        room
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

/// What a log object selects ports by, in the order of the truth table's precedence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Scope {
    Target(Uuid),
    Group(Uuid),
    Project(String),
}

impl Scope {
    fn of_log(log: &LogObject) -> Self {
        match (log.target_id, log.resource_id) {
            (Some(target), _) => Self::Target(target),
            (None, Some(group)) => Self::Group(group),
            (None, None) => Self::Project(log.project_id.clone()),
        }
    }

    /// The scopes that a port is in.
    fn of_port(port: &Port) -> impl Iterator<Item = Self> + '_ {
        let groups: BTreeSet<Uuid> = port.security_groups.iter().copied().collect();
        [
            Self::Target(port.id),
            Self::Project(port.project_id.clone()),
        ]
        .into_iter()
        .chain(groups.into_iter().map(Self::Group))
    }
}

/// Log objects or ports, by scope.
#[derive(Debug, Default)]
struct ByScope(HashMap<Scope, BTreeSet<Uuid>>);

impl ByScope {
    fn get<'a>(&'a self, scope: &Scope) -> impl Iterator<Item = Uuid> + use<'a> {
        self.0.get(scope).into_iter().flatten().copied()
    }

    fn add(&mut self, scope: Scope, id: Uuid) {
        self.0.entry(scope).or_default().insert(id);
    }

    fn remove(&mut self, scope: Scope, id: Uuid) {
        if let Entry::Occupied(mut ids) = self.0.entry(scope) {
            ids.get_mut().remove(&id);
            if ids.get().is_empty() {
                ids.remove();
            }
        }
    }
}

/// Log objects, so that a port is compared with few of them.
#[derive(Debug, Default)]
struct Logs {
    by_id: BTreeMap<Uuid, LogObject>,
    by_scope: ByScope,
    throttles: BTreeMap<Uuid, Throttle>,
}

impl Logs {
    /// Takes a log object in, in place of the one with its id, which is returned.
    fn insert(&mut self, log: LogObject) -> Option<LogObject> {
        let old = self.remove(log.id);
        self.by_scope.add(Scope::of_log(&log), log.id);
        self.by_id.insert(log.id, log);
        old
    }

    fn remove(&mut self, id: Uuid) -> Option<LogObject> {
        let old = self.by_id.remove(&id)?;
        self.by_scope.remove(Scope::of_log(&old), id);
        Some(old)
    }

    /// What is wanted of this port; `None` if nothing is.
    fn port_plan(&self, port: &Port) -> Option<PortPlan> {
        let mut plan = PortPlan {
            port: port.id,
            accept: Vec::new(),
            drop: Vec::new(),
            limits: LogLimits::default(),
        };
        for scope in Scope::of_port(port) {
            let candidates = self.by_scope.get(&scope);
            for log in candidates.filter_map(|id| self.by_id.get(&id)) {
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
                let throttle = self.throttles.get(&log.id);
                let limit = throttle.map(|throttle| (log.id, throttle.clone()));
                plan.limits.0.extend(limit);
            }
        }
        plan.accept.sort_unstable();
        plan.drop.sort_unstable();
        plan.limits.0.sort_unstable_by_key(|(log, _)| *log);
        (plan.logs_accept() || plan.logs_drop()).then_some(plan)
    }
}

/// Works out the plan for these log objects and this inventory.
///
/// Disabled log objects and other resource types select nothing.
pub fn plan<'a>(logs: impl IntoIterator<Item = &'a LogObject>, inventory: &Inventory) -> Plan {
    let mut known = Logs::default();
    for log in logs {
        known.insert(log.clone());
    }
    inventory
        .ports()
        .filter_map(|port| Some((port.id, Arc::new(known.port_plan(port)?))))
        .collect()
}

/// Keeps a plan up to date: works out anew only what a change can have touched.
///
/// What a change of a log object costs depends on the ports that it selects and on their other log
/// objects, not on how many log objects and ports there are.
///
/// ```
/// # use std::sync::Arc;
/// # use netlog_core::inventory::Inventory;
/// use netlog_core::plan::Planner;
/// let mut planner = Planner::default();
/// let plan = planner.update(&Arc::new(Inventory::default()));
/// assert!(plan.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Planner {
    logs: Logs,
    inventory: Arc<Inventory>,
    /// The inventory's ports.
    ports: ByScope,
    /// The ports whose plan may not be that of `plan` any more.
    touched: BTreeSet<Uuid>,
    plan: Plan,
}

impl Planner {
    /// The log objects, in the order of their ids.
    pub fn logs(&self) -> impl ExactSizeIterator<Item = &LogObject> {
        self.logs.by_id.values()
    }

    /// A log object.
    pub fn log(&self, id: Uuid) -> Option<&LogObject> {
        self.logs.by_id.get(&id)
    }

    /// Says what a log object is now, `None` if it is gone, and returns what it was.
    pub fn set_log(&mut self, id: Uuid, log: Option<LogObject>) -> Option<LogObject> {
        let differs = match (self.logs.by_id.get(&id), &log) {
            (Some(old), Some(new)) => selection(old) != selection(new),
            _ => true,
        };
        let touches = log
            .as_ref()
            .filter(|_| differs)
            .map(|log| self.selects(log));
        let old = match log {
            Some(log) => self.logs.insert(log),
            None => self.logs.remove(id),
        };
        let touched = old
            .as_ref()
            .filter(|_| differs)
            .map(|log| self.selects(log));
        self.touched
            .extend(touched.into_iter().chain(touches).flatten());
        old
    }

    /// Says what all log objects are now.
    pub fn set_logs(&mut self, logs: impl IntoIterator<Item = LogObject>) {
        let mut gone: BTreeSet<Uuid> = self.logs.by_id.keys().copied().collect();
        for log in logs {
            gone.remove(&log.id);
            self.set_log(log.id, Some(log));
        }
        for id in gone {
            self.set_log(id, None);
        }
    }

    /// Sets the limit of a log object, or takes it away. What the log object has used up of its
    /// limit stays so when the limit changes.
    pub fn set_limit(&mut self, log: Uuid, quota: Option<Quota>) {
        let throttles = &mut self.logs.throttles;
        let old = throttles.get(&log);
        if old.map(Throttle::quota) == quota {
            return;
        }
        match (old, quota) {
            (_, None) => throttles.remove(&log),
            (None, Some(quota)) => throttles.insert(log, Throttle::new(quota)),
            (Some(old), Some(quota)) => {
                let throttle = old.with_quota(quota);
                throttles.insert(log, throttle)
            }
        };
        if let Some(log) = self.logs.by_id.get(&log) {
            let touched = self.selects(log);
            self.touched.extend(touched);
        }
    }

    /// Whether a log object has changed what is wanted of any port since the last update.
    pub fn is_behind(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The plan for the log objects and this inventory.
    ///
    /// The plan of a port that did not change, and that no changed log object selects or
    /// selected, is the one that the last call gave, as the same [`Arc`].
    pub fn update(&mut self, inventory: &Arc<Inventory>) -> &Plan {
        if !Arc::ptr_eq(&self.inventory, inventory) {
            let old = mem::replace(&mut self.inventory, Arc::clone(inventory));
            for port in differing(&old, inventory) {
                self.touched.insert(port.id);
                Scope::of_port(port).for_each(|scope| self.ports.remove(scope, port.id));
            }
            for port in differing(inventory, &old) {
                self.touched.insert(port.id);
                Scope::of_port(port).for_each(|scope| self.ports.add(scope, port.id));
            }
        }
        for id in mem::take(&mut self.touched) {
            let port = inventory.port(id);
            match port.and_then(|port| self.logs.port_plan(port)) {
                // What is wanted may be the same, for another reason.
                Some(plan) if self.plan.get(&id).is_some_and(|old| **old == plan) => {}
                Some(plan) => {
                    self.plan.insert(id, Arc::new(plan));
                }
                None => {
                    self.plan.remove(&id);
                }
            }
        }
        &self.plan
    }

    /// The ports that a log object selects.
    fn selects(&self, log: &LogObject) -> Vec<Uuid> {
        let selects = |id: &Uuid| {
            let port = self.inventory.port(*id);
            port.is_some_and(|port| wanted(log, port).is_some())
        };
        let candidates = self.ports.get(&Scope::of_log(log));
        candidates.filter(selects).collect()
    }
}

/// The ports of `some` that are not the same in `others`.
fn differing<'a>(some: &'a Inventory, others: &'a Inventory) -> impl Iterator<Item = &'a Port> {
    some.ports()
        .filter(|port| others.port(port.id) != Some(*port))
}

/// All of a log object that says what it wants of which port.
fn selection(log: &LogObject) -> impl PartialEq + '_ {
    (
        (log.enabled, log.event, &log.resource_type),
        (&log.project_id, log.resource_id, log.target_id),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LoggedEvent;
    use proptest::prelude::*;

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
            resource_id: resource,
            target_id: target,
            ..LogObject::new(Uuid::from_u128(1), project)
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

    /// The rows of the reference's table of what was measured, with its column "intended"; where
    /// its two ways of selecting ports disagree, the column's rule decides.
    #[test]
    fn every_row_of_the_measured_table() {
        // What is wanted: accepted sessions, dropped packets.
        const NO: (bool, bool) = (false, false);
        const DROP: (bool, bool) = (false, true);
        const LOG: (bool, bool) = (true, true);

        // Of project A: p in group 1 of A, r in no group, t in group 2 of B. Of B: q in group 1.
        let inventory = Inventory::parse(
            r#"{"ports": [
            {"id": "00000000-0000-0000-0000-000000000001", "project_id": "A",
             "security_groups": ["00000000-0000-0000-0000-0000000000a1"]},
            {"id": "00000000-0000-0000-0000-000000000002", "project_id": "B",
             "security_groups": ["00000000-0000-0000-0000-0000000000a1"]},
            {"id": "00000000-0000-0000-0000-000000000003", "project_id": "A"},
            {"id": "00000000-0000-0000-0000-000000000004", "project_id": "A",
             "security_groups": ["00000000-0000-0000-0000-0000000000b2"]},
            {"id": "00000000-0000-0000-0000-000000000005", "project_id": "A",
             "port_security_enabled": false}]}"#,
        )
        .unwrap();
        let [p, q, r, t, open] = [1, 2, 3, 4, 5].map(Uuid::from_u128);
        let sg = Some(Uuid::from_u128(0xa1));
        for (what, log, port, expected) in [
            ("- -, in a group", log("A", None, None), p, LOG),
            ("- -, in no group", log("A", None, None), r, LOG),
            ("- -, port security off", log("A", None, None), open, NO),
            ("- p", log("A", None, Some(p)), p, LOG),
            ("- q", log("A", None, Some(q)), p, NO),
            ("sg -, member", log("A", sg, None), p, LOG),
            ("sg -, not member", log("A", sg, None), t, NO),
            ("sg p, member", log("A", sg, Some(p)), p, LOG),
            ("sg p, not member", log("A", sg, Some(t)), t, DROP),
            ("sg q, member", log("A", sg, Some(q)), p, NO),
            ("sg q, not member", log("A", sg, Some(q)), t, NO),
            (
                "- - of A, port of B in a group of A",
                log("A", None, None),
                q,
                NO,
            ),
            (
                "- - of A, port of A in a group of B",
                log("A", None, None),
                t,
                LOG,
            ),
            ("sg of A, port of B", log("A", sg, None), q, LOG),
            ("sg of A for B, port of A", log("B", sg, None), p, LOG),
            ("- q of B, log of A", log("A", None, Some(q)), q, LOG),
        ] {
            let plan = plan([&log], &inventory);
            let found = plan
                .get(&port)
                .map_or(NO, |plan| (plan.logs_accept(), plan.logs_drop()));
            assert_eq!(found, expected, "{what}");
            if let Some(scope) = plan.get(&port).and_then(|plan| plan.accept.first()) {
                assert_eq!(scope.group, log.resource_id, "{what}: whose rules");
            }
            for event in [LoggedEvent::Accept, LoggedEvent::Drop] {
                let log = LogObject {
                    event,
                    ..log.clone()
                };
                let narrowed = super::plan([&log], &inventory);
                let found = narrowed
                    .get(&port)
                    .map_or(NO, |plan| (plan.logs_accept(), plan.logs_drop()));
                let asked = (event.accept(), event.drop());
                assert_eq!(
                    found,
                    (expected.0 && asked.0, expected.1 && asked.1),
                    "{what}, {event}"
                );
            }
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

    #[test]
    fn a_limit_reaches_the_ports_of_its_log_and_outlives_other_changes() {
        let inventory = Inventory::parse(include_str!("../tests/fixtures/inventory.json")).unwrap();
        let inventory = Arc::new(inventory);
        let limited = log(A, None, None);
        let other = LogObject {
            id: Uuid::from_u128(2),
            ..log(B, None, None)
        };
        let quota = |rate| Quota::new(rate, 1).unwrap();
        let mut planner = Planner::default();
        planner.set_logs([limited.clone(), other.clone()]);
        let plan = planner.update(&inventory);
        let (vm1, vm3) = (Arc::clone(&plan[&port(1)]), Arc::clone(&plan[&port(3)]));
        assert!((0..99).all(|_| vm1.limits.admit(&vm1.drop, Duration::ZERO)));

        planner.set_limit(limited.id, Some(quota(1)));
        let plan = planner.update(&inventory);
        assert!(Arc::ptr_eq(&plan[&port(3)], &vm3), "nothing changed for it");
        let vm1 = Arc::clone(&plan[&port(1)]);
        assert!(vm1.limits.admit(&vm1.drop, Duration::ZERO));
        let vm2 = &plan[&port(2)];
        assert!(
            !vm2.limits.admit(&vm2.drop, Duration::ZERO),
            "one limit for all its ports"
        );

        // What is used up stays so, when others change and when the limit does.
        let renamed = LogObject {
            name: "renamed".to_owned(),
            ..limited.clone()
        };
        planner.set_limit(limited.id, Some(quota(2)));
        planner.set_logs([renamed]);
        let plan = planner.update(&inventory);
        let vm1 = Arc::clone(&plan[&port(1)]);
        assert!(!vm1.limits.admit(&vm1.drop, Duration::ZERO));
        assert!(!vm1.limits.admit(&vm1.drop, Duration::from_millis(499)));
        assert!(vm1.limits.admit(&vm1.drop, Duration::from_millis(500)));

        planner.set_limit(limited.id, None);
        let plan = planner.update(&inventory);
        assert_eq!(plan[&port(1)].limits, LogLimits::default());
    }

    #[test]
    fn a_new_name_touches_no_port() {
        let inventory = Inventory::parse(include_str!("../tests/fixtures/inventory.json")).unwrap();
        let inventory = Arc::new(inventory);
        let mut planner = Planner::default();
        planner.update(&inventory);
        let first = log(A, None, None);
        planner.set_log(first.id, Some(first.clone()));
        assert!(planner.is_behind());
        planner.update(&inventory);
        let renamed = LogObject {
            name: "renamed".to_owned(),
            ..first.clone()
        };
        let before = planner.set_log(first.id, Some(renamed.clone()));
        assert_eq!(before, Some(first.clone()));
        assert!(planner.logs().eq([&renamed]));
        assert!(!planner.is_behind());
        // Nor does what selects nothing.
        let off = LogObject {
            id: Uuid::from_u128(2),
            enabled: false,
            ..first
        };
        planner.set_log(off.id, Some(off.clone()));
        planner.set_log(off.id, None);
        assert!(!planner.is_behind());
    }

    /// A log object of the world that sequences of changes are about.
    fn any_log() -> impl Strategy<Value = LogObject> {
        let group = prop::sample::select(vec![None, Some(0xa1), Some(0xa2)]);
        let target = prop::sample::select(vec![None, None, Some(1), Some(2), Some(9)]);
        let event = prop::sample::select(vec![
            LoggedEvent::All,
            LoggedEvent::Accept,
            LoggedEvent::Drop,
        ]);
        let project = prop::sample::select(vec!["A", "B"]);
        (0_u128..6, project, group, target, event, 0..4).prop_map(
            |(id, project, group, target, event, off)| LogObject {
                resource_id: group.map(Uuid::from_u128),
                target_id: target.map(Uuid::from_u128),
                event,
                enabled: off != 0,
                ..LogObject::new(Uuid::from_u128(0x100 + id), project)
            },
        )
    }

    fn any_inventory() -> impl Strategy<Value = Arc<Inventory>> {
        let groups = prop::sample::subsequence(vec![0xa1_u128, 0xa2], 0..=2);
        let port = (prop::sample::select(vec!["A", "B"]), groups, 0..5);
        prop::collection::btree_map(1_u128..6, port, 0..6).prop_map(|ports| {
            let port = |(id, (project, groups, open)): (&u128, &(&str, Vec<u128>, i32))| {
                let groups: Vec<Uuid> = groups.iter().copied().map(Uuid::from_u128).collect();
                serde_json::json!({"id": Uuid::from_u128(*id), "project_id": project,
                    "security_groups": groups, "port_security_enabled": *open != 0})
            };
            let ports: Vec<_> = ports.iter().map(port).collect();
            let written = serde_json::json!({ "ports": ports }).to_string();
            Arc::new(Inventory::parse(&written).unwrap())
        })
    }

    #[derive(Clone, Debug)]
    enum Change {
        Log(LogObject),
        Gone(u128),
        Limit(u128, Option<u64>),
        Inventory(Arc<Inventory>),
    }

    fn any_change() -> impl Strategy<Value = Change> {
        prop_oneof![
            6 => any_log().prop_map(Change::Log),
            2 => (0x100_u128..0x106).prop_map(Change::Gone),
            2 => (0x100_u128..0x106, prop::option::of(1_u64..4))
                .prop_map(|(log, rate)| Change::Limit(log, rate)),
            2 => any_inventory().prop_map(Change::Inventory),
        ]
    }

    proptest! {
        /// Whatever changes between two updates, the plan is the one that is made from scratch, and
        /// a port that nothing changed for keeps the plan it has.
        #[test]
        fn changes_one_by_one_give_the_plan_from_scratch(
            steps in prop::collection::vec(prop::collection::vec(any_change(), 0..4), 1..20),
        ) {
            let mut planner = Planner::default();
            let mut logs: BTreeMap<Uuid, LogObject> = BTreeMap::new();
            let mut limits: BTreeMap<Uuid, Quota> = BTreeMap::new();
            let mut inventory = Arc::<Inventory>::default();
            let mut before = Plan::new();
            for changes in steps {
                for change in changes {
                    match change {
                        Change::Log(log) => {
                            let old = logs.insert(log.id, log.clone());
                            prop_assert_eq!(planner.set_log(log.id, Some(log)), old);
                        }
                        Change::Gone(log) => {
                            let log = Uuid::from_u128(log);
                            prop_assert_eq!(planner.set_log(log, None), logs.remove(&log));
                        }
                        Change::Limit(log, rate) => {
                            let log = Uuid::from_u128(log);
                            let quota = rate.map(|rate| Quota::new(rate, 1).unwrap());
                            match quota {
                                Some(quota) => limits.insert(log, quota),
                                None => limits.remove(&log),
                            };
                            planner.set_limit(log, quota);
                        }
                        Change::Inventory(new) => inventory = new,
                    }
                }
                let found = planner.update(&inventory).clone();
                prop_assert!(!planner.is_behind());
                let fresh = plan(logs.values(), &inventory);
                prop_assert!(found.keys().eq(fresh.keys()));
                for (port, plan) in &found {
                    prop_assert_eq!(&plan.accept, &fresh[port].accept);
                    prop_assert_eq!(&plan.drop, &fresh[port].drop);
                    let accept = plan.accept.iter().map(|scope| scope.log);
                    let wanting: BTreeSet<Uuid> = accept.chain(plan.drop.clone()).collect();
                    let quota = |log: &Uuid| Some((*log, *limits.get(log)?));
                    let expected: Vec<_> = wanting.iter().filter_map(quota).collect();
                    let quotas = plan.limits.0.iter().map(|(log, limit)| (*log, limit.quota()));
                    prop_assert_eq!(quotas.collect::<Vec<_>>(), expected);
                    let old = before.get(port).filter(|old| *old == plan);
                    prop_assert!(old.is_none_or(|old| Arc::ptr_eq(old, plan)));
                }
                prop_assert!(planner.logs().eq(logs.values()));
                before = found;
            }
        }
    }

    proptest! {
        /// Each log object decides for itself, and one that has room is enough.
        #[test]
        fn an_event_is_held_back_only_when_every_log_is_over_its_limit(
            quotas in proptest::collection::vec(
                proptest::option::of((1_u64..50, 1_u64..5)), 1..6),
            events in proptest::collection::vec(
                (0_u64..50, proptest::collection::vec(any::<bool>(), 6)), 1..200),
        ) {
            let ids: Vec<Uuid> = (1..=quotas.len() as u128).map(Uuid::from_u128).collect();
            let throttle = |(rate, burst)| Throttle::new(Quota::new(rate, burst).unwrap());
            let limited = ids.iter().zip(&quotas).filter_map(|(id, q)| Some((*id, (*q)?)));
            let limits = LogLimits(limited.map(|(id, q)| (id, throttle(q))).collect());
            // Each log object by itself.
            let alone: Vec<Option<Throttle>> = quotas.iter().map(|q| q.map(throttle)).collect();
            let mut now = Duration::ZERO;
            for (gap, wanted) in events {
                now += Duration::from_millis(gap);
                let wants = |n: &usize| wanted[*n];
                let logs: Vec<Uuid> = (0..ids.len()).filter(wants).map(|n| ids[n]).collect();
                if logs.is_empty() {
                    continue;
                }
                let room: Vec<bool> = (0..ids.len())
                    .filter(wants)
                    .map(|n| alone[n].as_ref().is_none_or(|throttle| throttle.pass(now)))
                    .collect();
                prop_assert_eq!(limits.admit(&logs, now), room.contains(&true));
            }
        }
    }
}
