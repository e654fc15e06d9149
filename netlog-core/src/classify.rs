//! Classification: what a packet-in from a log flow means.
//!
//! The log table, the port where the packet came in and the port register give the port, the
//! direction and the action; connection tracking gives the reason of a drop; the port's rules
//! give the rule of an accept. One packet can be two events: a session between two ports of the
//! same host is reported once, and both of them see it.
//!
//! [`Tables`] is an immutable snapshot, swapped in whole. When log objects, inventory or attached
//! ports change, [`Tables::renew`] makes the next one, which shares with the last everything that
//! did not change: the compiled rules of a group, the addresses of a remote group, the table of a
//! port. Rules are compiled once for each group and shared by its ports. What a port's events are
//! judged by is shared by all ports of the same project and groups that the same log objects want;
//! a port has only its numbers and its id for itself, in one cache line, and its counters in
//! another, so that ten thousand ports cost hardly more than ten.

mod ports;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use netlog_packet::{MacAddr, Summary};
use uuid::Uuid;

use self::ports::{PortTable, Ports, Seat};
use crate::flow::{AttachedPort, Cookie, FlowKind, Slot};
use crate::inventory::{Inventory, Port};
use crate::ledger::audience::{Audience, Audiences};
use crate::ledger::{Account, Counter, EventCounters, Ledger, PortCounters};
use crate::plan::{AcceptScope, LogLimits, Plan, PortPlan};
use crate::prefetch::prefetch;
use crate::record::{Action, Format, Prefix, Reason, Scope, Verdict, port_text};
use crate::rule::Direction;
use crate::ruleset::{
    AddressSet, GroupRules, Match, Question, RemoteGroup, Specificity, is_dhcp_or_ra_server,
};

/// Connection state bits as the switch reports them (`ovs-fields(7)`, `ct_state`).
mod ct_state {
    pub(super) const NEW: u32 = 0x01;
    pub(super) const ESTABLISHED: u32 = 0x02;
    pub(super) const INVALID: u32 = 0x10;
}

/// What the switch says of a packet that reached a log flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The log flow that it reached.
    pub cookie: Cookie,
    /// The ofport where it came in.
    pub in_port: u32,
    /// The ofport that the lookup was about: the profile's port register.
    pub port_register: Option<u32>,
    /// The connection state, where the packet was tracked.
    pub ct_state: Option<u32>,
    /// The connection's mark; the firewall marks connections whose rule is gone with 1.
    pub ct_mark: Option<u32>,
}

/// Why the firewall did what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause<'a> {
    /// This rule allows the session; of several, it is the most specific.
    Rule(&'a Uuid),
    /// No known rule allows the session, which was accepted nevertheless.
    NoKnownRule,
    /// The packet was dropped for this reason.
    Reason(Reason),
}

/// A security event that some log object wants.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The port's number.
    pub slot: Slot,
    /// The port.
    pub port: &'a Uuid,
    /// The port's project.
    pub project_id: &'a str,
    /// The port's counters.
    pub counters: &'a PortCounters,
    /// What the firewall did.
    pub action: Action,
    /// Seen from the port.
    pub direction: Direction,
    /// Why the firewall did it.
    pub cause: Cause<'a>,
    /// The log objects whose scope holds the event, with their counters.
    pub audience: &'a Audience,
    /// The limits that they have.
    pub limits: &'a LogLimits,
    /// What its record says before the packet's headers.
    pub prefix: Prefix<'a>,
}

impl Event<'_> {
    /// The log objects whose scope holds the event, in the order of their ids.
    pub fn logs(&self) -> &[Uuid] {
        self.audience.logs()
    }

    /// Whose it is.
    pub fn account(&self) -> Account {
        Account {
            slot: self.slot,
            audience: self.audience.number(),
        }
    }

    /// Counts it for its port and for its log objects.
    pub fn count(&self, counter: impl Fn(&EventCounters) -> &Counter) {
        counter(&self.counters.events).add(1);
        counter(self.audience.counters()).add(1);
    }
}

/// An event that the known rules do not explain: an accepted session that no rule allows, or a
/// dropped packet that a rule allows.
///
/// Either somebody changed the switch behind the API, or the inventory is not up to date; time
/// tells ([`drift`](crate::drift)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The port's number.
    pub slot: Slot,
    /// The port.
    pub port: Uuid,
    /// What the firewall did.
    pub action: Action,
    /// Seen from the port.
    pub direction: Direction,
    /// The packet.
    pub packet: Summary,
}

/// What became of a packet-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classified {
    /// So many events were handed on: one or two.
    Events(u8),
    /// No log object wants what it reports.
    Unwanted,
    /// Its log flow belongs to no port that is logged.
    UnknownFlow,
}

/// Log objects that want an event, and the head of its record, rendered for them.
#[derive(Clone, Debug)]
struct Heading {
    audience: Arc<Audience>,
    head: Arc<[u8]>,
}

/// One of a port's groups: its rules, and who logs the sessions that they allow.
#[derive(Debug)]
struct PortGroup {
    id: Uuid,
    rules: Arc<RenderedRules>,
    /// Groups whose sessions the same log objects want share its parts.
    heading: Heading,
}

/// A group's rules with the record tail of each.
#[derive(Debug)]
struct RenderedRules {
    rules: GroupRules,
    ingress_tails: RuleTails,
    egress_tails: RuleTails,
    /// The groups that the rules name as remote sides.
    remote: Vec<RemoteGroup>,
}

impl RenderedRules {
    fn tail(&self, direction: Direction, by: Match) -> &[u8] {
        match direction {
            Direction::Ingress => self.ingress_tails.of(by.rule()),
            Direction::Egress => self.egress_tails.of(by.rule()),
        }
    }
}

/// The record tails of rules, one behind the other.
#[derive(Debug, Default)]
struct RuleTails {
    text: Box<[u8]>,
    /// All are as long: they differ in the rule's id only.
    each: usize,
}

impl RuleTails {
    fn new(direction: Direction, rules: impl Iterator<Item = Uuid>, format: Format) -> Self {
        let (mut text, mut each) = (Vec::new(), 0);
        for rule in rules {
            let start = text.len();
            format.tail(direction, &Verdict::Rules(&[rule]), &mut text);
            each = text.len() - start;
        }
        Self {
            text: text.into(),
            each,
        }
    }

    fn of(&self, rule: u32) -> &[u8] {
        let start = rule as usize * self.each;
        self.text.get(start..start + self.each).unwrap_or(&[])
    }
}

/// The addresses of a remote group, under a number that compiled rules know it by.
#[derive(Clone, Debug)]
struct NumberedSet {
    group: RemoteGroup,
    /// Empty while no rule in force names the group.
    addresses: Arc<AddressSet>,
    in_use: bool,
}

impl AsRef<AddressSet> for NumberedSet {
    fn as_ref(&self) -> &AddressSet {
        &self.addresses
    }
}

/// What an event of a port is judged by, shared by all ports of which it is the same.
#[derive(Debug)]
struct PortClass {
    project_id: String,
    /// The ports' groups, those that the inventory does not know included.
    group_ids: Vec<Uuid>,
    accept: Vec<AcceptScope>,
    groups: Vec<PortGroup>,
    /// For sessions that no known rule allows: the log objects that name no group want them.
    unattributed: Heading,
    drop: Heading,
    logs_accept: bool,
    logs_drop: bool,
    limits: LogLimits,
}

/// What makes two ports one class, as long as inventory and limits are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ClassKey<'a> {
    project_id: &'a str,
    groups: &'a [Uuid],
    accept: &'a [AcceptScope],
    drop: &'a [Uuid],
}

impl<'a> ClassKey<'a> {
    fn of(port: &'a Port, plan: &'a PortPlan) -> Self {
        Self {
            project_id: &port.project_id,
            groups: &port.security_groups,
            accept: &plan.accept,
            drop: &plan.drop,
        }
    }
}

impl PortClass {
    fn new(
        key: ClassKey<'_>,
        limits: &LogLimits,
        rules: &RulesById,
        format: Format,
        audiences: &Audiences,
    ) -> Self {
        let heading = |action, logs: Vec<Uuid>| {
            let mut head = Vec::new();
            if !logs.is_empty() {
                let scope = Scope {
                    action,
                    project_id: key.project_id,
                    logs: &logs,
                };
                format.head(&scope, &mut head);
            }
            Heading {
                audience: audiences.of(&logs),
                head: head.into(),
            }
        };
        let mut headings: Vec<Heading> = Vec::new();
        let mut accept = |group: Option<Uuid>| {
            let wants = |scope: Option<Uuid>| scope.is_none() || scope == group;
            let scopes = key.accept.iter().filter(|scope| wants(scope.group));
            let logs: Vec<Uuid> = scopes.map(|scope| scope.log).collect();
            if let Some(same) = headings.iter().find(|it| it.audience.logs() == logs) {
                return same.clone();
            }
            let heading = heading(Action::Accept, logs);
            headings.push(heading.clone());
            heading
        };
        let groups = key.groups.iter().filter_map(|group| {
            Some(PortGroup {
                id: *group,
                rules: Arc::clone(rules.get(group)?),
                heading: accept(Some(*group)),
            })
        });
        Self {
            project_id: key.project_id.to_owned(),
            group_ids: key.groups.to_vec(),
            accept: key.accept.to_vec(),
            groups: groups.collect(),
            unattributed: accept(None),
            drop: heading(Action::Drop, key.drop.to_vec()),
            logs_accept: !key.accept.is_empty(),
            logs_drop: !key.drop.is_empty(),
            limits: limits.clone(),
        }
    }

    fn key(&self) -> ClassKey<'_> {
        ClassKey {
            project_id: &self.project_id,
            groups: &self.group_ids,
            accept: &self.accept,
            drop: self.drop.audience.logs(),
        }
    }

    /// Whether it suits a port, its plan and the rules of its groups apart.
    fn is_of(&self, port: &Port) -> bool {
        self.project_id == port.project_id && self.group_ids == port.security_groups
    }

    /// Whether the rules of its groups are these.
    fn has(&self, rules: &RulesById) -> bool {
        let mut known = self
            .group_ids
            .iter()
            .filter_map(|group| Some((group, rules.get(group)?)));
        self.groups.iter().all(|own| {
            known
                .next()
                .is_some_and(|(id, rules)| own.id == *id && Arc::ptr_eq(&own.rules, rules))
        }) && known.next().is_none()
    }

    /// How the rules of the groups allow a packet.
    #[inline]
    fn allows(
        &self,
        asked: &Question,
        direction: Direction,
        sets: &[NumberedSet],
    ) -> Option<Allowed<'_>> {
        let mut allowing = self.groups.iter().filter_map(|group| {
            Some(Allowed {
                group,
                by: group.rules.rules.of(direction).best(asked, sets)?,
                agreed: true,
            })
        });
        let first = allowing.next()?;
        Some(allowing.fold(first, |best, found| best.and(found, direction)))
    }
}

/// The classes that the next tables can have.
struct Classes<'a> {
    by_key: HashMap<ClassKey<'a>, Arc<PortClass>, FixedState>,
    /// Those of the last tables, and whether their rules are still the same.
    known: HashMap<*const PortClass, bool, FixedState>,
}

impl<'a> Classes<'a> {
    /// Those of the last tables that have these rules.
    fn of(ports: &'a Ports, rules: &RulesById) -> Self {
        let mut classes = Self {
            by_key: HashMap::default(),
            known: HashMap::default(),
        };
        for class in ports.iter().map(|port| port.class()) {
            if let Entry::Vacant(place) = classes.known.entry(Arc::as_ptr(class)) {
                let same = *place.insert(class.has(rules));
                if same {
                    classes.by_key.insert(class.key(), Arc::clone(class));
                }
            }
        }
        classes
    }

    /// Whether a class of the last tables can stay.
    fn hold(&self, class: &Arc<PortClass>) -> bool {
        self.known.get(&Arc::as_ptr(class)) == Some(&true)
    }

    /// The class of a port, which is made where there is none.
    fn get(&mut self, port: &'a Port, plan: &'a PortPlan, next: &Tables) -> Arc<PortClass> {
        let key = ClassKey::of(port, plan);
        let make = || {
            let (rules, audiences) = (&next.rules, &next.audiences);
            Arc::new(PortClass::new(
                key,
                &plan.limits,
                rules,
                next.format,
                audiences,
            ))
        };
        let class = self.by_key.entry(key).or_insert_with(make);
        if class.limits != plan.limits {
            *class = make();
        }
        Arc::clone(class)
    }
}

/// How the rules of a port allow a packet.
#[derive(Clone, Copy, Debug)]
struct Allowed<'a> {
    /// The group of the most specific rule.
    group: &'a PortGroup,
    /// This rule.
    by: Match,
    /// Whether the same log objects want the sessions of all groups that allow the packet.
    agreed: bool,
}

impl Allowed<'_> {
    /// Of two groups that allow a packet, the one with the more specific rule.
    fn and(self, other: Self, direction: Direction) -> Self {
        let audience = |allowed: &Self| Arc::as_ptr(&allowed.group.heading.audience);
        let agreed = self.agreed && other.agreed && std::ptr::eq(audience(&self), audience(&other));
        let specificity = |it: &Self| it.group.rules.rules.of(direction).specificity(it.by);
        let more = if specificity(&other) > specificity(&self) {
            other
        } else {
            self
        };
        Self { agreed, ..more }
    }
}

/// What the table of a port is made from.
enum Source<'a> {
    /// The table that it has, where nothing that it depends on has changed.
    Table(PortTable<'a>),
    Port(&'a Port),
}

impl<'a> Source<'a> {
    fn groups(&self) -> &'a [Uuid] {
        match self {
            Self::Table(table) => &table.class().group_ids,
            Self::Port(port) => &port.security_groups,
        }
    }
}

/// Tails of records that name no rule, for one direction.
#[derive(Debug)]
struct Tails {
    no_known_rule: Vec<u8>,
    /// In the order of [`Reason::ALL`].
    reasons: [Vec<u8>; Reason::ALL.len()],
}

impl Tails {
    fn new(direction: Direction, format: Format) -> Self {
        let tail = |verdict: Verdict<'_>| {
            let mut tail = Vec::new();
            format.tail(direction, &verdict, &mut tail);
            tail
        };
        Self {
            no_known_rule: tail(Verdict::Rules(&[])),
            reasons: Reason::ALL.map(|reason| tail(Verdict::Reason(reason))),
        }
    }
}

/// Reusable room for what [`Tables::classify`] works out.
#[derive(Debug, Default)]
pub struct Scratch {
    suspects: Vec<Suspect>,
    matches: Vec<Specificity>,
    logs: Vec<Uuid>,
    ids: Vec<Uuid>,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Scratch {
    /// What the last packet-in showed that the known rules do not explain, whether some log
    /// object wants it or not.
    pub fn suspects(&self) -> &[Suspect] {
        &self.suspects
    }
}

/// Compiled rules by the id of their group.
type RulesById = HashMap<Uuid, Arc<RenderedRules>, FixedState>;

/// Everything that classification needs, as a snapshot.
#[derive(Debug)]
pub struct Tables {
    format: Format,
    inventory: Arc<Inventory>,
    rules: RulesById,
    sets: Vec<NumberedSet>,
    ports: Ports,
    ingress: Arc<Tails>,
    egress: Arc<Tails>,
    audiences: Arc<Audiences>,
}

impl Tables {
    /// Tables in which nothing is logged.
    pub fn empty(format: Format) -> Self {
        Self {
            format,
            inventory: Arc::default(),
            rules: RulesById::default(),
            sets: Vec::new(),
            ports: Ports::default(),
            ingress: Arc::new(Tails::new(Direction::Ingress, format)),
            egress: Arc::new(Tails::new(Direction::Egress, format)),
            audiences: Arc::default(),
        }
    }

    /// Builds the tables for a plan from scratch; [`renew`](Self::renew) says how.
    pub fn new(
        plan: &Plan,
        inventory: &Arc<Inventory>,
        attached: &[AttachedPort],
        format: Format,
        ledger: &Ledger,
    ) -> Self {
        Self::empty(format).renew(plan, inventory, attached, ledger)
    }

    /// The tables that follow on these, for another plan, inventory or attached ports.
    ///
    /// `attached` lists the logged ports that are on the bridge; ports of the plan that are not
    /// there have no table. What did not change is shared with these tables. A set of
    /// addresses is built anew when a port of the group changed, rules when the group changed.
    #[must_use]
    pub fn renew(
        &self,
        plan: &Plan,
        inventory: &Arc<Inventory>,
        attached: &[AttachedPort],
        ledger: &Ledger,
    ) -> Self {
        // Looking ports up in a large inventory is most of what a small change costs.
        let same_inventory = Arc::ptr_eq(&self.inventory, inventory);
        let source = |at: &AttachedPort, plan: &Arc<PortPlan>| {
            let old = self.ports.get(at.slot).filter(|_| same_inventory);
            match old.filter(|old| old.is_for(at, plan)) {
                Some(old) => Some(Source::Table(old)),
                None => inventory.port(at.id).map(Source::Port),
            }
        };
        let ports: Vec<(&AttachedPort, &Arc<PortPlan>, Source<'_>)> = attached
            .iter()
            .filter_map(|at| {
                let plan = plan.get(&at.id)?;
                Some((at, plan, source(at, plan)?))
            })
            .collect();
        let mut next = Self {
            format: self.format,
            inventory: Arc::clone(inventory),
            rules: RulesById::default(),
            sets: self.sets.clone(),
            ports: self
                .ports
                .with_room(attached.iter().map(|at| at.slot), ledger),
            ingress: Arc::clone(&self.ingress),
            egress: Arc::clone(&self.egress),
            audiences: Arc::clone(&ledger.audiences),
        };
        next.renew_rules(self, ports.iter().flat_map(|(.., source)| source.groups()));
        next.renew_sets(&self.inventory);

        let mut classes = Classes::of(&self.ports, &next.rules);
        for (attached, plan, source) in &ports {
            let Source::Port(port) = source else {
                continue;
            };
            let stays = |old: PortTable<'_>| {
                old.is_for(attached, plan) && old.class().is_of(port) && classes.hold(old.class())
            };
            if !self.ports.get(attached.slot).is_some_and(stays) {
                let seat = Seat {
                    class: classes.get(port, plan, &next),
                    slot: attached.slot,
                    ofport: attached.ofport,
                    text: port_text(port.id),
                };
                next.ports.put(seat, port.id, plan);
            }
        }
        next.ports
            .keep(ports.iter().map(|(attached, ..)| *attached));
        next
    }

    /// Takes over or compiles the rules of these groups.
    fn renew_rules<'a>(&mut self, old: &Self, groups: impl Iterator<Item = &'a Uuid>) {
        let same_inventory = Arc::ptr_eq(&old.inventory, &self.inventory);
        let mut numbers: HashMap<RemoteGroup, u32, FixedState> =
            self.sets.iter().map(|set| set.group).zip(0..).collect();
        let inventory = Arc::clone(&self.inventory);
        for id in groups {
            let Some(group) = inventory.security_group(*id) else {
                continue;
            };
            if self.rules.contains_key(id) {
                continue;
            }
            let unchanged = || {
                let rules = &old.inventory.security_group(*id)?.security_group_rules;
                (*rules == group.security_group_rules).then_some(())
            };
            let rules = match old.rules.get(id) {
                Some(rules) if same_inventory || unchanged().is_some() => Arc::clone(rules),
                _ => {
                    let mut remote = Vec::new();
                    let rules = GroupRules::new(&group.security_group_rules, |group| {
                        remote.push(group);
                        let sets = &mut self.sets;
                        *numbers.entry(group).or_insert_with(|| {
                            sets.push(NumberedSet {
                                group,
                                addresses: Arc::default(),
                                in_use: false,
                            });
                            u32::try_from(sets.len() - 1).unwrap_or(u32::MAX)
                        })
                    });
                    remote.sort_unstable();
                    remote.dedup();
                    let tails = |direction| {
                        RuleTails::new(direction, rules.of(direction).ids(), self.format)
                    };
                    Arc::new(RenderedRules {
                        ingress_tails: tails(Direction::Ingress),
                        egress_tails: tails(Direction::Egress),
                        rules,
                        remote,
                    })
                }
            };
            self.rules.insert(*id, rules);
        }
    }

    /// Brings the address sets up to date that the rules in force name, and empties the others.
    fn renew_sets(&mut self, old: &Inventory) {
        let inventory = Arc::clone(&self.inventory);
        let named: HashSet<RemoteGroup> = self
            .rules
            .values()
            .flat_map(|rules| &rules.remote)
            .copied()
            .collect();
        let moved = changed_members(old, &inventory);
        let stale = |set: &NumberedSet| {
            !set.in_use
                || match set.group {
                    RemoteGroup::Members(id) => moved.contains(&id),
                    RemoteGroup::Addresses(id) => {
                        old.address_group(id).map(|group| &group.addresses)
                            != inventory.address_group(id).map(|group| &group.addresses)
                    }
                }
        };
        for set in &mut self.sets {
            if !named.contains(&set.group) {
                if set.in_use {
                    (set.addresses, set.in_use) = (Arc::default(), false);
                }
            } else if stale(set) {
                set.in_use = true;
                set.addresses = Arc::new(match set.group {
                    RemoteGroup::Members(id) => AddressSet::of_members(inventory.members(id)),
                    RemoteGroup::Addresses(id) => {
                        let listed = inventory.address_group(id).map(|group| &group.addresses);
                        listed.into_iter().flatten().copied().collect()
                    }
                });
            }
        }
    }

    /// So many packet-ins are best looked up together: as many as a processor fetches cache lines
    /// at once.
    pub const GROUP: usize = 16;

    /// Has the processor fetch the ports that a packet-in is about, before [`prefetch`](Self::prefetch).
    #[inline]
    pub fn prefetch_ports(&self, seen: &Observation) {
        self.ports.prefetch(seen.cookie.slot);
        if seen.cookie.kind != FlowKind::EgressAccept {
            self.ports.prefetch_at(seen.in_port);
        }
    }

    /// Has the processor fetch what else [`classify`](Self::classify) will have to wait for with each
    /// of these, a [`GROUP`](Self::GROUP) of them at most.
    pub fn prefetch<'a>(&self, packets: impl Iterator<Item = (&'a Observation, &'a Summary)>) {
        for (seen, packet) in packets {
            let late = seen.cookie.kind.accepts().and_then(|direction| {
                let owner = self.ports.get(seen.cookie.slot)?;
                let group = owner.class().groups.first()?;
                group.rules.rules.of(direction).late(packet, direction)
            });
            if let Some(late) = late {
                prefetch(late);
            }
        }
    }

    /// Works out the events of one packet-in, and hands those that a log object wants to `emit`.
    /// [`Scratch::suspects`] tells afterwards what the known rules do not explain.
    pub fn classify(
        &self,
        seen: &Observation,
        packet: &Summary,
        scratch: &mut Scratch,
        mut emit: impl FnMut(&Event<'_>),
    ) -> Classified {
        scratch.suspects.clear();
        let Some(owner) = self.ports.get(seen.cookie.slot) else {
            return Classified::UnknownFlow;
        };
        owner.counters.received(seen.cookie.kind).add(1);

        // The port that the lookup was about. Its ofport says, not the flow: it follows the
        // switch while the flows of ports that swapped ofports are still being put right.
        let subject = match seen.port_register {
            Some(ofport) if ofport == owner.seat.ofport => Some(owner),
            Some(ofport) => self.ports.at(ofport),
            None => match seen.cookie.kind {
                FlowKind::EgressAccept | FlowKind::IngressAccept | FlowKind::Drop => Some(owner),
                FlowKind::SameHostAccept | FlowKind::SameHostDrop => None,
            },
        };
        let leaves_subject = seen
            .port_register
            .is_none_or(|register| register == seen.in_port);

        let mut events = 0;
        let mut emit = |event: &Event<'_>| {
            events += 1;
            emit(event);
        };
        let mut accept = |port: Option<PortTable<'_>>, direction| {
            if let Some(port) = port.filter(|port| port.class().logs_accept) {
                self.accept(&port, direction, packet, scratch, &mut emit);
            }
        };
        match seen.cookie.kind {
            FlowKind::EgressAccept => accept(subject, Direction::Egress),
            FlowKind::IngressAccept | FlowKind::SameHostAccept => {
                accept(self.ports.at(seen.in_port), Direction::Egress);
                accept(subject, Direction::Ingress);
            }
            FlowKind::Drop | FlowKind::SameHostDrop => {
                // Only a new session was let out of its source by a rule; other packets were
                // let out because their connection is known.
                let new = seen
                    .ct_state
                    .is_some_and(|state| state & ct_state::NEW != 0);
                if new && !leaves_subject {
                    accept(self.ports.at(seen.in_port), Direction::Egress);
                }
                if let Some(port) = subject.filter(|port| port.class().logs_drop) {
                    let direction = if leaves_subject {
                        Direction::Egress
                    } else {
                        Direction::Ingress
                    };
                    self.drop(&port, direction, seen, packet, scratch, &mut emit);
                }
            }
        }
        if events == 0 {
            Classified::Unwanted
        } else {
            Classified::Events(events)
        }
    }

    /// Whether the rules in these tables explain what the firewall did; `None` where they do not
    /// know the port.
    pub fn explains(&self, suspect: &Suspect) -> Option<bool> {
        let port = self.ports.get(suspect.slot)?;
        let allowed = self.allows(port.class(), suspect.direction, &suspect.packet);
        Some(allowed == (suspect.action == Action::Accept))
    }

    fn allows(&self, class: &PortClass, direction: Direction, packet: &Summary) -> bool {
        Question::new(packet, direction)
            .is_some_and(|asked| class.allows(&asked, direction, &self.sets).is_some())
    }

    fn is_own(&self, port: &PortTable<'_>, mac: MacAddr) -> bool {
        let port = self.inventory.port(*port.id());
        port.is_some_and(|port| port.mac_addresses().any(|own| own == mac))
    }

    fn tails(&self, direction: Direction) -> &Tails {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }

    /// A new session that the port's rules accepted.
    fn accept(
        &self,
        port: &PortTable<'_>,
        direction: Direction,
        packet: &Summary,
        scratch: &mut Scratch,
        emit: &mut impl FnMut(&Event<'_>),
    ) {
        let class = port.class();
        let asked = Question::new(packet, direction);
        let allowed = asked
            .as_ref()
            .and_then(|asked| Some((asked, class.allows(asked, direction, &self.sets)?)));
        let Some((asked, allowed)) = allowed else {
            scratch.suspects.push(Suspect {
                slot: port.seat.slot,
                port: *port.id(),
                action: Action::Accept,
                direction,
                packet: *packet,
            });
            let told = Told {
                action: Action::Accept,
                direction,
                cause: Cause::NoKnownRule,
                tail: &self.tails(direction).no_known_rule,
            };
            let heading = &class.unattributed;
            return port.emit(&told, &heading.audience, &heading.head, emit);
        };
        let Allowed { group, by, agreed } = allowed;
        let rules = group.rules.rules.of(direction);
        let Some(rule) = rules.id(by) else {
            return;
        };
        let Scratch {
            matches,
            logs,
            ids,
            head: head_room,
            tail: tail_room,
            ..
        } = scratch;
        let mut tail = group.rules.tail(direction, by);
        if self.format.names_every_rule() {
            matches.clear();
            for group in &class.groups {
                let rules = group.rules.rules.of(direction);
                rules.all(asked, &self.sets, matches);
            }
            if matches.len() > 1 {
                matches.sort_unstable_by(|one, other| other.cmp(one));
                ids.clear();
                ids.extend(matches.iter().map(|specificity| specificity.3.0));
                tail_room.clear();
                self.format.tail(direction, &Verdict::Rules(ids), tail_room);
                tail = tail_room;
            }
        }
        let told = Told {
            action: Action::Accept,
            direction,
            cause: Cause::Rule(rule),
            tail,
        };
        if agreed {
            let heading = &group.heading;
            return port.emit(&told, &heading.audience, &heading.head, emit);
        }
        // Several groups allow the session, and not the same log objects want them.
        let allow = |group: &&PortGroup| {
            let rules = group.rules.rules.of(direction);
            rules.best(asked, &self.sets).is_some()
        };
        let wanting = class.groups.iter().filter(allow);
        logs.clear();
        logs.extend(wanting.flat_map(|group| group.heading.audience.logs()));
        logs.sort_unstable();
        logs.dedup();
        head_room.clear();
        let scope = Scope {
            action: Action::Accept,
            project_id: &class.project_id,
            logs,
        };
        self.format.head(&scope, head_room);
        // The lock is one that only new audiences contend for.
        port.emit(&told, &self.audiences.of(logs), head_room, emit);
    }

    /// A packet that was dropped on its way out of the port or into it.
    fn drop(
        &self,
        port: &PortTable<'_>,
        direction: Direction,
        seen: &Observation,
        packet: &Summary,
        scratch: &mut Scratch,
        emit: &mut impl FnMut(&Event<'_>),
    ) {
        let mut reason = drop_reason(seen, packet);
        if reason == Reason::NoRule && self.allows(port.class(), direction, packet) {
            if direction == Direction::Egress && self.is_own(port, packet.dl_dst) {
                // The port sent it to itself, and only then was it dropped.
                if port.class().logs_accept {
                    self.accept(port, direction, packet, scratch, emit);
                }
                return self.drop(port, Direction::Ingress, seen, packet, scratch, emit);
            }
            reason = Reason::RuleNotApplied;
            scratch.suspects.push(Suspect {
                slot: port.seat.slot,
                port: *port.id(),
                action: Action::Drop,
                direction,
                packet: *packet,
            });
        }
        let told = Told {
            action: Action::Drop,
            direction,
            cause: Cause::Reason(reason),
            tail: &self.tails(direction).reasons[reason as usize],
        };
        let heading = &port.class().drop;
        port.emit(&told, &heading.audience, &heading.head, emit);
    }
}

/// What an event tells, whoever wants to know.
struct Told<'a> {
    action: Action,
    direction: Direction,
    cause: Cause<'a>,
    tail: &'a [u8],
}

impl PortTable<'_> {
    /// Hands an event on, if any log object wants it.
    fn emit(
        &self,
        told: &Told<'_>,
        audience: &Audience,
        head: &[u8],
        emit: &mut impl FnMut(&Event<'_>),
    ) {
        if !audience.logs().is_empty() {
            emit(&Event {
                slot: self.seat.slot,
                port: self.id(),
                project_id: &self.class().project_id,
                counters: self.counters,
                action: told.action,
                direction: told.direction,
                cause: told.cause,
                audience,
                limits: &self.class().limits,
                prefix: Prefix {
                    head,
                    port: &self.seat.text,
                    tail: told.tail,
                },
            });
        }
    }
}

/// The security groups that have other members, or members with other addresses.
fn changed_members(old: &Inventory, new: &Inventory) -> HashSet<Uuid> {
    if std::ptr::eq(old, new) {
        return HashSet::new();
    }
    let groups = |port: Option<&Port>| port.map_or_else(Vec::new, |p| p.security_groups.clone());
    let gone = old.ports().filter(|port| new.port(port.id).is_none());
    let mut changed: HashSet<Uuid> = gone.flat_map(|port| groups(Some(port))).collect();
    for port in new.ports() {
        let before = old.port(port.id);
        if before != Some(port) {
            changed.extend(groups(before));
            changed.extend(groups(Some(port)));
        }
    }
    changed
}

/// Why a packet in the dropped table is there.
fn drop_reason(seen: &Observation, packet: &Summary) -> Reason {
    let Some(state) = seen.ct_state.filter(|state| *state != 0) else {
        return if is_dhcp_or_ra_server(packet) {
            Reason::DhcpOrRaServer
        } else {
            Reason::AntiSpoof
        };
    };
    if state & ct_state::INVALID != 0 {
        Reason::InvalidState
    } else if seen.ct_mark.is_some_and(|mark| mark != 0) {
        Reason::RuleWithdrawn
    } else if state & ct_state::NEW != 0 {
        Reason::NoRule
    } else if state & ct_state::ESTABLISHED != 0 {
        Reason::RuleWithdrawn
    } else {
        Reason::Unknown
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! The recorded inventory and log objects, for tests here and elsewhere.

    use std::net::Ipv4Addr;

    use netlog_packet::{Network, Transport};
    use serde_json::Value;

    use super::*;
    use crate::log::LogObject;
    use crate::plan::plan;

    /// The recorded inventory as it is written.
    pub(crate) fn fixture() -> Value {
        serde_json::from_str(include_str!("../tests/fixtures/inventory.json")).unwrap()
    }

    /// The recorded log objects.
    pub(crate) fn logs() -> Vec<LogObject> {
        let logs: Value =
            serde_json::from_str(include_str!("../tests/fixtures/logs.json")).unwrap();
        let id = |value: &Value| value.as_str().map(|id| id.parse().unwrap());
        let log = |log: &Value| LogObject {
            resource_type: log["resource_type"].as_str().unwrap().to_owned(),
            resource_id: id(&log["resource_id"]),
            target_id: id(&log["target_id"]),
            event: log["event"].as_str().unwrap().parse().unwrap(),
            enabled: log["enabled"].as_bool().unwrap(),
            ..LogObject::new(id(&log["id"]).unwrap(), log["project_id"].as_str().unwrap())
        };
        logs["logs"].as_array().unwrap().iter().map(log).collect()
    }

    /// The inventory's ports at slots and ofports from 1 on.
    pub(crate) fn attached(inventory: &Inventory) -> Vec<AttachedPort> {
        let attach = |(port, n): (&Port, u32)| AttachedPort {
            id: port.id,
            slot: n,
            ofport: n,
        };
        inventory.ports().zip(1..).map(attach).collect()
    }

    /// Tables for the recorded log objects.
    pub(crate) fn tables_of(inventory: &Arc<Inventory>) -> Tables {
        tables(inventory, &logs())
    }

    pub(crate) fn tables(inventory: &Arc<Inventory>, logs: &[LogObject]) -> Tables {
        tables_for(Format::default(), inventory, logs)
    }

    pub(crate) fn tables_for(
        format: Format,
        inventory: &Arc<Inventory>,
        logs: &[LogObject],
    ) -> Tables {
        Tables::new(
            &plan(logs, inventory),
            inventory,
            &attached(inventory),
            format,
            &Ledger::default(),
        )
    }

    pub(crate) fn tcp(src: [u8; 4], dst: [u8; 4], dst_port: u16) -> Summary {
        Summary {
            network: Network::Ipv4 {
                src: Ipv4Addr::from(src),
                dst: Ipv4Addr::from(dst),
            },
            protocol: Some(6),
            transport: Transport::Tcp {
                src_port: 40000,
                dst_port,
                seq: 1,
                flags: 2,
            },
            ..Summary::default()
        }
    }

    /// What the firewall did with a TCP session from ext1 to vm1.
    pub(crate) fn session(action: Action, dst_port: u16) -> Suspect {
        Suspect {
            slot: 1,
            port: uuid::uuid!("11111111-0000-4000-8000-000000000001"),
            action,
            direction: Direction::Ingress,
            packet: tcp([10, 1, 0, 100], [10, 1, 0, 11], dst_port),
        }
    }
}

#[cfg(test)]
mod tests {
    use netlog_packet::Transport;
    use serde_json::Value;

    use super::testing::{fixture, logs, tables, tables_for, tcp};
    use super::*;
    use crate::log::{LogObject, LoggedEvent};
    use crate::plan::plan;
    use crate::record::Layout;

    /// The recorded inventory and log objects; ports vm1 to vm5 are at slots and ofports 1 to 5.
    fn recorded() -> (Arc<Inventory>, Vec<LogObject>) {
        let inventory = Inventory::parse(&fixture().to_string()).unwrap();
        (Arc::new(inventory), logs())
    }

    fn seen(kind: FlowKind, slot: Slot, in_port: u32, register: u32) -> Observation {
        Observation {
            cookie: Cookie { kind, slot },
            in_port,
            port_register: Some(register),
            ct_state: None,
            ct_mark: None,
        }
    }

    /// The events as short texts: action, vm, direction, last digits of the logs, rule or reason.
    fn events(tables: &Tables, seen: &Observation, packet: &Summary) -> Vec<String> {
        let mut events = Vec::new();
        tables.classify(seen, packet, &mut Scratch::default(), |event| {
            let record = event.prefix.to_vec();
            let record = String::from_utf8(record).unwrap();
            let part = |start: &str, end: &str| {
                let from = record
                    .find(start)
                    .map_or(record.len(), |at| at + start.len());
                record[from..].split(end).next().unwrap_or("").to_owned()
            };
            let logs: String = part("log_resource_ids=[", "]")
                .split(", ")
                .map(|log| log[36..37].to_owned())
                .collect();
            let rule = part(
                "security_group_rule_id=4e000000-0000-4000-8000-0000000000",
                " ",
            );
            let why = if rule.is_empty() {
                part("reason=", " ")
            } else {
                rule
            };
            let (vm, direction) = (event.slot, event.direction);
            events.push(format!(
                "{}:vm{vm}:{direction}:{logs}:{why}",
                event.action.as_str()
            ));
        });
        events
    }

    const EXT1: [u8; 4] = [10, 1, 0, 100];
    const VM1: [u8; 4] = [10, 1, 0, 11];
    const VM2: [u8; 4] = [10, 1, 0, 12];
    const VM3: [u8; 4] = [10, 1, 0, 13];
    /// The ofport of the patch port to the outside.
    const PATCH: u32 = 6;
    const NEW: Option<u32> = Some(0x21);

    #[test]
    fn sessions_and_drops_of_the_recorded_pipeline() {
        use FlowKind::{Drop, EgressAccept, IngressAccept, SameHostAccept, SameHostDrop};
        let (inventory, logs) = recorded();
        let tables = tables(&inventory, &logs);
        let cases: [(&str, Observation, Summary, &[&str]); 11] = [
            (
                "north-south in",
                seen(IngressAccept, 1, PATCH, 1),
                tcp(EXT1, VM1, 22),
                &["ACCEPT:vm1:ingress:1:01"],
            ),
            (
                "the longer prefix",
                seen(IngressAccept, 1, PATCH, 1),
                tcp(EXT1, VM1, 9000),
                &["ACCEPT:vm1:ingress:1:05"],
            ),
            (
                "north-south out",
                seen(EgressAccept, 1, 1, 1),
                tcp(VM1, EXT1, 443),
                &["ACCEPT:vm1:egress:1:08"],
            ),
            (
                "east-west",
                seen(IngressAccept, 2, 1, 2),
                tcp(VM1, VM2, 5432),
                &["ACCEPT:vm1:egress:1:08", "ACCEPT:vm2:ingress:2:0a"],
            ),
            (
                "east-west to a port that is not logged",
                seen(SameHostAccept, 1, 1, 4),
                tcp(VM1, [10, 1, 0, 14], 1),
                &["ACCEPT:vm1:egress:1:08"],
            ),
            (
                "east-west, dropped at the destination",
                Observation {
                    ct_state: NEW,
                    ..seen(Drop, 1, 2, 1)
                },
                tcp(VM2, VM1, 80),
                &["ACCEPT:vm2:egress:2:10", "DROP:vm1:ingress:1:no-rule"],
            ),
            (
                "east-west, dropped at a destination that is not logged",
                Observation {
                    ct_state: NEW,
                    ..seen(SameHostDrop, 2, 2, 4)
                },
                tcp(VM2, VM1, 80),
                &["ACCEPT:vm2:egress:2:10"],
            ),
            (
                "dropped going out",
                Observation {
                    ct_state: NEW,
                    ..seen(Drop, 3, 3, 3)
                },
                tcp(VM3, EXT1, 443),
                &["DROP:vm3:egress:4:no-rule"],
            ),
            (
                "spoofed",
                seen(Drop, 3, 3, 3),
                tcp(EXT1, VM1, 443),
                &["DROP:vm3:egress:4:anti-spoof"],
            ),
            (
                "an ACCEPT-only port's own drop",
                Observation {
                    ct_state: NEW,
                    ..seen(SameHostDrop, 1, 1, 1)
                },
                tcp(VM1, EXT1, 443),
                &["DROP:vm1:egress:1:rule-not-applied"],
            ),
            (
                "a port that logs only drops",
                seen(IngressAccept, 5, PATCH, 5),
                tcp(EXT1, VM1, 80),
                &[],
            ),
        ];
        for (what, seen, packet, expected) in cases {
            assert_eq!(events(&tables, &seen, &packet), expected, "{what}");
        }
    }

    #[test]
    fn every_rule_is_named_where_the_layout_does_so() {
        let (inventory, mut logs) = recorded();
        for log in &mut logs {
            log.event = LoggedEvent::All;
        }
        let format = Format {
            layout: Layout::Json,
            ..Format::default()
        };
        let tables = tables_for(format, &inventory, &logs);
        let seen = seen(FlowKind::IngressAccept, 3, 1, 3);
        let mut tails = Vec::new();
        tables.classify(
            &seen,
            &tcp(VM1, VM3, 80),
            &mut Scratch::default(),
            |event| tails.push(str::from_utf8(event.prefix.tail).unwrap().to_owned()),
        );
        // The remote group is closer than any address.
        assert_eq!(
            tails.last().unwrap(),
            "\",\"direction\":\"ingress\",\
             \"security_group_rule_id\":\"4e000000-0000-4000-8000-000000000016\",\
             \"security_group_rule_ids\":[\"4e000000-0000-4000-8000-000000000016\",\
             \"4e000000-0000-4000-8000-000000000012\"],"
        );
    }

    #[test]
    fn an_accept_only_port_does_not_log_its_drops() {
        let (inventory, mut logs) = recorded();
        logs.truncate(1);
        logs[0].event = LoggedEvent::Accept;
        let tables = tables(&inventory, &logs);
        let own = Observation {
            ct_state: NEW,
            ..seen(FlowKind::SameHostDrop, 1, 1, 1)
        };
        assert!(events(&tables, &own, &tcp(VM1, EXT1, 443)).is_empty());
    }

    #[test]
    fn reasons_of_drops() {
        let (inventory, logs) = recorded();
        let tables = tables(&inventory, &logs);
        let dhcp = Summary {
            transport: Transport::Udp {
                src_port: 67,
                dst_port: 68,
            },
            protocol: Some(17),
            ..tcp(VM1, EXT1, 0)
        };
        let plain = tcp(VM1, EXT1, 443);
        let not_ip = Summary::default();
        for (ct_state, ct_mark, packet, reason) in [
            (None, None, plain, "anti-spoof"),
            (None, None, dhcp, "dhcp-or-ra-server"),
            (Some(0x21), None, not_ip, "no-rule"),
            // vm1's rules allow everything out.
            (Some(0x21), None, plain, "rule-not-applied"),
            (Some(0x21), None, dhcp, "rule-not-applied"),
            (Some(0x30), None, plain, "invalid-state"),
            (Some(0x22), Some(1), plain, "rule-withdrawn"),
            (Some(0x20), None, plain, "unknown"),
        ] {
            let seen = Observation {
                ct_state,
                ct_mark,
                ..seen(FlowKind::Drop, 1, 1, 1)
            };
            assert_eq!(
                events(&tables, &seen, &packet),
                [format!("DROP:vm1:egress:1:{reason}")],
                "{ct_state:?}"
            );
        }
    }

    #[test]
    fn what_a_port_sends_to_itself_is_dropped_on_its_way_in() {
        let (inventory, logs) = recorded();
        let tables = tables(&inventory, &logs);
        let mac = inventory.ports().next().unwrap().mac_address.unwrap();
        let to_itself = Summary {
            dl_dst: mac,
            ..tcp(VM1, VM1, 81)
        };
        let seen = Observation {
            ct_state: NEW,
            ..seen(FlowKind::Drop, 1, 1, 1)
        };
        let mut scratch = Scratch::default();
        let rule = uuid::uuid!("4e000000-0000-4000-8000-000000000008");
        let no_rule = Cause::Reason(Reason::NoRule);
        let mut expected = [
            (Action::Accept, Direction::Egress, Cause::Rule(&rule)),
            (Action::Drop, Direction::Ingress, no_rule),
        ]
        .into_iter();
        tables.classify(&seen, &to_itself, &mut scratch, |event| {
            let told = (event.action, event.direction, event.cause);
            assert_eq!(Some(told), expected.next());
        });
        assert_eq!(expected.next(), None);
        assert!(scratch.suspects().is_empty());
    }

    #[test]
    fn only_new_sessions_count_as_let_out_when_the_destination_drops() {
        let (inventory, logs) = recorded();
        let tables = tables(&inventory, &logs);
        for (ct_state, count) in [(0x21, 2), (0x22, 1), (0x30, 1)] {
            let seen = Observation {
                ct_state: Some(ct_state),
                ..seen(FlowKind::Drop, 1, 2, 1)
            };
            assert_eq!(
                events(&tables, &seen, &tcp(VM2, VM1, 80)).len(),
                count,
                "{ct_state:#x}"
            );
        }
    }

    #[test]
    fn ports_that_swapped_ofports_are_told_by_the_ofport() {
        let (inventory, logs) = recorded();
        let attached = |vm1, vm2| {
            let port = |n: u32, ofport| AttachedPort {
                id: inventory.ports().nth(n as usize - 1).unwrap().id,
                slot: n,
                ofport,
            };
            [port(1, vm1), port(2, vm2)]
        };
        let plan = plan(&logs, &inventory);
        let tables = Tables::new(
            &plan,
            &inventory,
            &attached(2, 1),
            Format::default(),
            &Ledger::default(),
        );
        // The flow is still the one that was made for vm1 at ofport 1.
        let seen = seen(FlowKind::IngressAccept, 1, PATCH, 1);
        assert_eq!(
            events(&tables, &seen, &tcp(EXT1, VM2, 22)),
            ["ACCEPT:vm2:ingress:2:0c"]
        );
    }

    #[test]
    fn sessions_that_several_groups_allow_name_every_log_that_wants_them() {
        let both = r#""security_groups": ["5e000000-0000-4000-8000-0000000000a1", "5e000000-0000-4000-8000-0000000000a2"]"#;
        let mut document = fixture();
        let groups: Value = serde_json::from_str(&format!("{{{both}}}")).unwrap();
        document["ports"][0]["security_groups"] = groups["security_groups"].clone();
        let inventory = Arc::new(Inventory::parse(&document.to_string()).unwrap());
        let (_, logs) = recorded();

        // web allows tcp/22 from anywhere, app from ext1: the longer prefix names the event.
        let seen = seen(FlowKind::IngressAccept, 1, PATCH, 1);
        let wanted_by_both = tables(&inventory, &logs);
        assert_eq!(
            events(&wanted_by_both, &seen, &tcp(EXT1, VM1, 22)),
            ["ACCEPT:vm1:ingress:12:0c"]
        );
        assert_eq!(
            events(&wanted_by_both, &seen, &tcp([9, 9, 9, 9], VM1, 22)),
            ["ACCEPT:vm1:ingress:1:01"]
        );
        let wanted_by_web = tables(&inventory, &logs[..1]);
        assert_eq!(
            events(&wanted_by_web, &seen, &tcp(EXT1, VM1, 22)),
            ["ACCEPT:vm1:ingress:1:0c"]
        );
        assert!(events(&wanted_by_web, &seen, &tcp(EXT1, VM1, 6000)).is_empty());
    }

    #[test]
    fn a_session_that_no_rule_allows_is_drift() {
        let (inventory, mut logs) = recorded();
        let ledger = Ledger::default();
        let port = inventory.ports().next().unwrap();
        let attached = [AttachedPort {
            id: port.id,
            slot: 1,
            ofport: 1,
        }];
        let seen = seen(FlowKind::IngressAccept, 1, PATCH, 1);
        let packet = tcp(EXT1, VM1, 4444);

        let build = |logs: &[LogObject]| {
            let plan = plan(logs, &inventory);
            Tables::new(&plan, &inventory, &attached, Format::default(), &ledger)
        };
        assert!(
            events(&build(&logs), &seen, &packet).is_empty(),
            "no log names no group"
        );
        logs[0].resource_id = None;
        assert_eq!(
            events(&build(&logs), &seen, &packet),
            ["ACCEPT:vm1:ingress:1:"]
        );
    }

    #[test]
    fn flows_of_ports_that_are_not_logged_are_told() {
        let (inventory, logs) = recorded();
        let tables = tables(&inventory, &logs);
        let classify = |slot| {
            tables.classify(
                &seen(FlowKind::IngressAccept, slot, PATCH, slot),
                &tcp(EXT1, VM1, 22),
                &mut Scratch::default(),
                |_| {},
            )
        };
        assert_eq!(classify(1), Classified::Events(1));
        assert_eq!(classify(5), Classified::Unwanted);
        assert_eq!(classify(99), Classified::UnknownFlow);
    }
}
