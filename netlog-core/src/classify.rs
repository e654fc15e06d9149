//! Classification: what a packet-in from a log flow means.
//!
//! The log table, the port where the packet came in and the port register give the port, the
//! direction and the action; connection tracking gives the reason of a drop; the port's rules
//! give the rule of an accept. One packet can be two events: a session between two ports of the
//! same host is reported once, and both of them see it.
//!
//! [`Tables`] is an immutable snapshot: it is built when log objects, inventory or attached ports
//! change, and swapped in whole.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use netlog_packet::{Summary, Transport};
use uuid::Uuid;

use crate::flow::{AttachedPort, Cookie, FlowKind, Slot};
use crate::inventory::{Inventory, Port};
use crate::ledger::{Ledger, PortCounters};
use crate::plan::{Plan, PortPlan};
use crate::record::{Action, Format, Reason, Scope, Verdict};
use crate::rule::Direction;
use crate::ruleset::{self, GroupRules, Specificity};

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

/// A security event that some log object wants.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// The port's number.
    pub slot: Slot,
    /// The port's counters.
    pub counters: &'a PortCounters,
    /// What the firewall did.
    pub action: Action,
    /// Seen from the port.
    pub direction: Direction,
    /// The rendered [head](Format::head) of its record.
    pub head: &'a [u8],
    /// The rendered [tail](Format::tail) of its record.
    pub tail: &'a [u8],
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

/// One of a port's groups: its rules, and who logs the sessions that they allow.
#[derive(Debug)]
struct PortGroup {
    rules: Arc<RenderedRules>,
    /// Log objects that want a session that this group allows, in the order of their ids.
    logs: Vec<Uuid>,
    head: Vec<u8>,
}

/// A group's rules with the record tail of each.
#[derive(Debug)]
struct RenderedRules {
    rules: Arc<GroupRules>,
    ingress_tails: Vec<Vec<u8>>,
    egress_tails: Vec<Vec<u8>>,
}

impl RenderedRules {
    fn new(rules: Arc<GroupRules>, format: Format) -> Self {
        let tails = |direction| {
            let tail = |rule: &ruleset::CompiledRule| {
                let mut tail = Vec::new();
                format.tail(direction, &Verdict::Rules(&[rule.id()]), &mut tail);
                tail
            };
            rules.of(direction).iter().map(tail).collect()
        };
        Self {
            ingress_tails: tails(Direction::Ingress),
            egress_tails: tails(Direction::Egress),
            rules,
        }
    }

    fn tails(&self, direction: Direction) -> &[Vec<u8>] {
        match direction {
            Direction::Ingress => &self.ingress_tails,
            Direction::Egress => &self.egress_tails,
        }
    }
}

/// One logged port.
#[derive(Debug)]
struct PortTable {
    slot: Slot,
    counters: Arc<PortCounters>,
    id: Uuid,
    project_id: String,
    groups: Vec<PortGroup>,
    /// For sessions that no known rule allows: the log objects that name no group want them.
    unattributed_head: Vec<u8>,
    /// Empty when drops are not logged.
    drop_head: Vec<u8>,
    logs_accept: bool,
}

impl PortTable {
    fn new(
        slot: Slot,
        port: &Port,
        plan: &PortPlan,
        rules: &HashMap<Uuid, Arc<RenderedRules>>,
        format: Format,
        counters: Arc<PortCounters>,
    ) -> Self {
        let head = |action, logs: &[Uuid]| {
            let mut head = Vec::new();
            if !logs.is_empty() {
                let scope = Scope {
                    action,
                    project_id: &port.project_id,
                    logs,
                    port: port.id,
                };
                format.head(&scope, &mut head);
            }
            head
        };
        let accept_logs = |group: Option<Uuid>| -> Vec<Uuid> {
            let wants = |scope: &Option<Uuid>| scope.is_none() || *scope == group;
            plan.accept
                .iter()
                .filter(|scope| wants(&scope.group))
                .map(|scope| scope.log)
                .collect()
        };
        let groups = port.security_groups.iter().filter_map(|group| {
            let rules = Arc::clone(rules.get(group)?);
            let logs = accept_logs(Some(*group));
            Some(PortGroup {
                rules,
                head: head(Action::Accept, &logs),
                logs,
            })
        });
        Self {
            slot,
            counters,
            id: port.id,
            project_id: port.project_id.clone(),
            groups: groups.collect(),
            unattributed_head: head(Action::Accept, &accept_logs(None)),
            drop_head: head(Action::Drop, &plan.drop),
            logs_accept: plan.logs_accept(),
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

/// Reusable room for events whose text was not rendered in advance.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The rules that allow a session: group, rule within it, how specifically.
    matches: Vec<(usize, usize, Specificity)>,
    logs: Vec<Uuid>,
    ids: Vec<Uuid>,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// Everything that classification needs, as a snapshot.
#[derive(Debug)]
pub struct Tables {
    format: Format,
    ports: HashMap<Slot, PortTable>,
    /// Per ofport, the slot of the logged port that has it.
    by_ofport: Vec<Option<Slot>>,
    ingress: Tails,
    egress: Tails,
}

impl Tables {
    /// The most that an ofport can be (`OFPP_MAX` of OpenFlow 1.0, which Open vSwitch keeps to).
    const MAX_OFPORT: u32 = 0xff00;

    /// Builds the tables for a plan.
    ///
    /// `attached` lists the logged ports that are on the bridge; ports of the plan that are not
    /// there have no table.
    pub fn new(
        plan: &Plan,
        inventory: &Inventory,
        attached: &[AttachedPort],
        format: Format,
        ledger: &Ledger,
    ) -> Self {
        let rules: HashMap<Uuid, Arc<RenderedRules>> = ruleset::compile(inventory)
            .into_iter()
            .map(|(group, rules)| (group, Arc::new(RenderedRules::new(rules, format))))
            .collect();
        let mut ports = HashMap::new();
        let mut by_ofport = Vec::new();
        for attachment in attached {
            let (Some(port_plan), Some(port)) =
                (plan.get(&attachment.id), inventory.port(attachment.id))
            else {
                continue;
            };
            let counters = ledger.port(attachment.slot);
            let table = PortTable::new(attachment.slot, port, port_plan, &rules, format, counters);
            ports.insert(attachment.slot, table);
            if attachment.ofport <= Self::MAX_OFPORT {
                let at = attachment.ofport as usize;
                if by_ofport.len() <= at {
                    by_ofport.resize(at + 1, None);
                }
                by_ofport[at] = Some(attachment.slot);
            }
        }
        Self {
            format,
            ports,
            by_ofport,
            ingress: Tails::new(Direction::Ingress, format),
            egress: Tails::new(Direction::Egress, format),
        }
    }

    /// Tables in which nothing is logged.
    pub fn empty(format: Format) -> Self {
        Self::new(
            &Plan::new(),
            &Inventory::default(),
            &[],
            format,
            &Ledger::default(),
        )
    }

    /// Works out the events of one packet-in, and hands those that a log object wants to `emit`.
    pub fn classify(
        &self,
        seen: &Observation,
        packet: &Summary,
        scratch: &mut Scratch,
        mut emit: impl FnMut(&Event<'_>),
    ) -> Classified {
        let Some(owner) = self.ports.get(&seen.cookie.slot) else {
            return Classified::UnknownFlow;
        };
        owner.counters.received.add(1);

        // The port that the lookup was about. Its ofport is asked first: it follows the switch
        // while the flows of two ports that swapped ofports are still being put right.
        let subject = self.at(seen.port_register).or(match seen.cookie.kind {
            FlowKind::EgressAccept | FlowKind::IngressAccept | FlowKind::Drop => Some(owner),
            FlowKind::SameHostAccept | FlowKind::SameHostDrop => None,
        });
        let source = self.at(Some(seen.in_port));
        let leaves_subject = seen
            .port_register
            .is_none_or(|register| register == seen.in_port);

        let mut events = 0;
        let mut emit = |event: &Event<'_>| {
            events += 1;
            emit(event);
        };
        let mut accept = |port: Option<&PortTable>, direction| {
            if let Some(port) = port.filter(|port| port.logs_accept) {
                self.accept(port, direction, packet, scratch, &mut emit);
            }
        };
        match seen.cookie.kind {
            FlowKind::EgressAccept => accept(subject, Direction::Egress),
            FlowKind::IngressAccept | FlowKind::SameHostAccept => {
                accept(source, Direction::Egress);
                accept(subject, Direction::Ingress);
            }
            FlowKind::Drop | FlowKind::SameHostDrop => {
                // Only a new session was let out of its source by a rule; other packets were
                // let out because their connection is known.
                let new = seen
                    .ct_state
                    .is_some_and(|state| state & ct_state::NEW != 0);
                if new && !leaves_subject {
                    accept(source, Direction::Egress);
                }
                if let Some(port) = subject.filter(|port| !port.drop_head.is_empty()) {
                    let (direction, tails) = if leaves_subject {
                        (Direction::Egress, &self.egress)
                    } else {
                        (Direction::Ingress, &self.ingress)
                    };
                    emit(&Event {
                        slot: port.slot,
                        counters: &port.counters,
                        action: Action::Drop,
                        direction,
                        head: &port.drop_head,
                        tail: &tails.reasons[drop_reason(seen, packet) as usize],
                    });
                }
            }
        }
        if events == 0 {
            Classified::Unwanted
        } else {
            Classified::Events(events)
        }
    }

    fn at(&self, ofport: Option<u32>) -> Option<&PortTable> {
        let slot = (*self.by_ofport.get(usize::try_from(ofport?).ok()?)?)?;
        self.ports.get(&slot)
    }

    /// A new session that the port's rules accepted.
    fn accept(
        &self,
        port: &PortTable,
        direction: Direction,
        packet: &Summary,
        scratch: &mut Scratch,
        emit: &mut impl FnMut(&Event<'_>),
    ) {
        let Scratch {
            matches,
            logs,
            ids,
            head: head_room,
            tail: tail_room,
        } = scratch;
        matches.clear();
        if let Some(remote) = ruleset::remote_address(packet, direction) {
            for (group_at, group) in port.groups.iter().enumerate() {
                for (rule_at, rule) in group.rules.rules.of(direction).iter().enumerate() {
                    if let Some(specificity) = rule.allows(packet, remote) {
                        matches.push((group_at, rule_at, specificity));
                    }
                }
            }
        }
        let best = matches
            .iter()
            .max_by_key(|(.., specificity)| *specificity)
            .copied();
        let (head, tail): (&[u8], &[u8]) = match best {
            None => {
                port.counters.drifted.add(1);
                let tails = match direction {
                    Direction::Ingress => &self.ingress,
                    Direction::Egress => &self.egress,
                };
                (&port.unattributed_head, &tails.no_known_rule)
            }
            Some((group_at, rule_at, _)) => {
                let group = &port.groups[group_at];
                let agreed = matches
                    .iter()
                    .all(|(other, ..)| port.groups[*other].logs == group.logs);
                let head = if agreed {
                    &group.head
                } else {
                    // Several groups allow the session, and not the same log objects want them.
                    logs.clear();
                    logs.extend(
                        matches
                            .iter()
                            .flat_map(|(other, ..)| &port.groups[*other].logs),
                    );
                    logs.sort_unstable();
                    logs.dedup();
                    head_room.clear();
                    let scope = Scope {
                        action: Action::Accept,
                        project_id: &port.project_id,
                        logs,
                        port: port.id,
                    };
                    self.format.head(&scope, head_room);
                    head_room
                };
                let tail = if matches.len() == 1 || !self.format.names_every_rule() {
                    &group.rules.tails(direction)[rule_at]
                } else {
                    matches.sort_unstable_by_key(|(.., specificity)| Reverse(*specificity));
                    ids.clear();
                    ids.extend(matches.iter().map(|(.., specificity)| specificity.3.0));
                    tail_room.clear();
                    self.format.tail(direction, &Verdict::Rules(ids), tail_room);
                    tail_room
                };
                (head, tail)
            }
        };
        if head.is_empty() {
            return;
        }
        emit(&Event {
            slot: port.slot,
            counters: &port.counters,
            action: Action::Accept,
            direction,
            head,
            tail,
        });
    }
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

/// What only DHCP servers (RFC 2131, RFC 8415) and routers (RFC 4861, section 4.2) send.
const fn is_dhcp_or_ra_server(packet: &Summary) -> bool {
    matches!(
        packet.transport,
        Transport::Udp {
            src_port: 67,
            dst_port: 68
        } | Transport::Udp {
            src_port: 547,
            dst_port: 546
        } | Transport::Icmpv6 { kind: 134, .. }
    )
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use netlog_packet::Network;
    use serde_json::Value;
    use time::UtcDateTime;

    use super::*;
    use crate::log::{LogObject, LoggedEvent};
    use crate::plan::plan;
    use crate::record::Layout;

    /// The recorded inventory and log objects, with ports vm1 to vm5 at slots and ofports 1 to 5.
    fn recorded() -> (Inventory, Vec<LogObject>) {
        let inventory = Inventory::parse(include_str!("../tests/fixtures/inventory.json")).unwrap();
        let logs: Value =
            serde_json::from_str(include_str!("../tests/fixtures/logs.json")).unwrap();
        let id = |value: &Value| value.as_str().map(|id| id.parse().unwrap());
        let log = |log: &Value| LogObject {
            id: id(&log["id"]).unwrap(),
            project_id: log["project_id"].as_str().unwrap().to_owned(),
            name: String::new(),
            description: String::new(),
            resource_type: log["resource_type"].as_str().unwrap().to_owned(),
            resource_id: id(&log["resource_id"]),
            target_id: id(&log["target_id"]),
            event: log["event"].as_str().unwrap().parse().unwrap(),
            enabled: log["enabled"].as_bool().unwrap(),
            revision_number: 0,
            created_at: UtcDateTime::UNIX_EPOCH,
            updated_at: UtcDateTime::UNIX_EPOCH,
        };
        (
            inventory,
            logs["logs"].as_array().unwrap().iter().map(log).collect(),
        )
    }

    fn tables(inventory: &Inventory, logs: &[LogObject]) -> Tables {
        tables_for(Format::default(), inventory, logs)
    }

    fn tables_for(format: Format, inventory: &Inventory, logs: &[LogObject]) -> Tables {
        let attached: Vec<AttachedPort> = inventory
            .ports()
            .zip(1..)
            .map(|(port, n)| AttachedPort {
                id: port.id,
                slot: n,
                ofport: n,
            })
            .collect();
        let plan = plan(logs, inventory);
        Tables::new(&plan, inventory, &attached, format, &Ledger::default())
    }

    fn tcp(src: [u8; 4], dst: [u8; 4], dst_port: u16) -> Summary {
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
            let record = [event.head, event.tail].concat();
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
                &["DROP:vm1:egress:1:no-rule"],
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
            |event| tails.push(str::from_utf8(event.tail).unwrap().to_owned()),
        );
        // The remote group is closer than any address.
        assert_eq!(
            tails.last().unwrap(),
            "\"direction\":\"ingress\",\
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
        for (ct_state, ct_mark, packet, reason) in [
            (None, None, plain, "anti-spoof"),
            (None, None, dhcp, "dhcp-or-ra-server"),
            (Some(0x21), None, plain, "no-rule"),
            (Some(0x21), None, dhcp, "no-rule"),
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
        let document = include_str!("../tests/fixtures/inventory.json");
        let both = r#""security_groups": ["5e000000-0000-4000-8000-0000000000a1", "5e000000-0000-4000-8000-0000000000a2"]"#;
        let mut document: Value = serde_json::from_str(document).unwrap();
        let groups: Value = serde_json::from_str(&format!("{{{both}}}")).unwrap();
        document["ports"][0]["security_groups"] = groups["security_groups"].clone();
        let inventory = Inventory::parse(&document.to_string()).unwrap();
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
        assert_eq!(ledger.port(1).drifted.get(), 2);
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
