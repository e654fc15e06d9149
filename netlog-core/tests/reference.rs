//! The classifier against a reference that evaluates everything from scratch, straight from the
//! JSON of the inventory: which port, which direction, which rule, which log objects.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use netlog_core::classify::{Cause, Observation, Scratch, Tables};
use netlog_core::explain::{self, Outcome};
use netlog_core::flow::{AttachedPort, Cookie, FlowKind};
use netlog_core::inventory::Inventory;
use netlog_core::ledger::Ledger;
use netlog_core::log::{LogObject, LoggedEvent};
use netlog_core::plan::{self, Planner};
use netlog_core::record::{Action, Format, Reason};
use netlog_core::rule::Direction;
use netlog_packet::{Fragment, MacAddr, Network, Summary, Transport};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

/// A small generator of numbers (SplitMix64): one seed gives one world.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn small(&mut self, end: u8) -> u8 {
        u8::try_from(self.below(end.into())).unwrap()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()].clone()
    }
}

fn id(kind: u32, number: u64) -> Uuid {
    Uuid::from_u64_pair(u64::from(kind) << 32, number)
}

const GROUP: u32 = 0x5e;
const RULE: u32 = 0x4e;
const ADDRESSES: u32 = 0xad;
const PORT: u32 = 0x11;
const LOG: u32 = 0x10;

const PROJECTS: [&str; 3] = ["a", "b", "c"];
const DST_PORTS: [u16; 8] = [1, 22, 80, 443, 8000, 8005, 9000, 65535];
/// Neutron's names (`neutron_lib.constants.IP_PROTOCOL_MAP`) with their numbers.
const NAMES: [(&str, u8); 25] = [
    ("ah", 51),
    ("dccp", 33),
    ("egp", 8),
    ("esp", 50),
    ("gre", 47),
    ("hopopt", 0),
    ("icmp", 1),
    ("icmpv6", 58),
    ("igmp", 2),
    ("ip", 0),
    ("ipip", 4),
    ("ipv6-encap", 41),
    ("ipv6-frag", 44),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("ipv6-route", 43),
    ("ospf", 89),
    ("pgm", 113),
    ("rsvp", 46),
    ("sctp", 132),
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("vrrp", 112),
];

/// A protocol as a rule gives it: often one that packets have, else any of Neutron's names, a
/// number as text, or any.
fn protocol(dice: &mut Dice) -> String {
    match dice.below(10) {
        0..5 => dice.pick(&["tcp", "udp", "sctp", "icmp", "ipv6-icmp"]),
        5..7 => dice.pick(&NAMES).0,
        7..9 => return dice.pick(&NAMES).1.to_string(),
        _ => "any",
    }
    .to_owned()
}

/// Addresses are few, so that prefixes, members and packets meet, and subnets overlap.
fn v4(dice: &mut Dice) -> Ipv4Addr {
    let nets = [[10, 0, 0], [10, 0, 1], [172, 20, 5]];
    let [a, b, c] = dice.pick(&nets);
    Ipv4Addr::new(a, b, c, dice.small(8) + 192)
}

fn v6(dice: &mut Dice) -> Ipv6Addr {
    let high = dice.pick(&[0xfd00_u16, 0xfd01, 0xfe80]);
    Ipv6Addr::new(high, 0, 0, 0, 0, 0, 0, dice.small(8).into())
}

fn prefix(dice: &mut Dice, ipv6: bool) -> String {
    if ipv6 {
        let length = dice.pick(&[0, 16, 64, 126, 127, 128]);
        format!("{}/{length}", v6(dice))
    } else if dice.chance(10) {
        v4(dice).to_string()
    } else {
        // With host bits, as often as not.
        let length = dice.pick(&[0, 8, 16, 24, 26, 30, 31, 32]);
        format!("{}/{length}", v4(dice))
    }
}

fn mac(dice: &mut Dice) -> String {
    format!("fa:16:3e:00:00:{:02x}", dice.below(12))
}

fn rule(dice: &mut Dice, number: u64) -> Value {
    let ipv6 = dice.chance(40);
    let protocol = protocol(dice);
    let icmp = ["icmp", "1", "58", "ipv6-icmp", "icmpv6"].contains(&&*protocol);
    let (mut min, mut max) = (Value::Null, Value::Null);
    if icmp && dice.chance(60) {
        min = dice.pick(&[0, 3, 8, 128]).into();
        if dice.chance(50) {
            max = dice.small(3).into();
        }
    } else if dice.chance(75) {
        let (one, other) = (dice.pick(&DST_PORTS), dice.pick(&DST_PORTS));
        let zero = dice.chance(3);
        min = if zero { 0 } else { one.min(other) }.into();
        max = one.max(other).into();
    }
    let mut rule = json!({
        "id": id(RULE, number),
        "direction": dice.pick(&["ingress", "egress"]),
        "ethertype": if ipv6 { "IPv6" } else { "IPv4" },
        "protocol": match dice.below(10) {
            0 => Value::Null,
            1 => protocol.parse::<u8>().map_or_else(|_| protocol.into(), Into::into),
            _ => protocol.into(),
        },
        "port_range_min": min,
        "port_range_max": max,
    });
    match dice.below(10) {
        0..3 => rule["remote_ip_prefix"] = prefix(dice, ipv6).into(),
        3..6 => rule["remote_group_id"] = json!(id(GROUP, dice.below(7))),
        6 => rule["remote_address_group_id"] = json!(id(ADDRESSES, dice.below(4))),
        _ => {}
    }
    rule
}

fn port(dice: &mut Dice, number: u64) -> Value {
    let mut groups: Vec<Uuid> = (0..6)
        .filter(|_| dice.chance(30))
        .map(|n| id(GROUP, n))
        .collect();
    // One that the inventory may not know.
    if dice.chance(10) {
        groups.push(id(GROUP, 6));
    }
    let mut fixed = vec![json!({"ip_address": v4(dice)})];
    if dice.chance(60) {
        fixed.push(json!({"ip_address": v6(dice)}));
    }
    let pairs: Vec<Value> = (0..dice.below(3))
        .map(|_| {
            let ipv6 = dice.chance(30);
            let mut pair = json!({"ip_address": prefix(dice, ipv6)});
            if dice.chance(50) {
                pair["mac_address"] = mac(dice).into();
            }
            pair
        })
        .collect();
    json!({
        "id": id(PORT, number),
        "project_id": dice.pick(&PROJECTS),
        "mac_address": mac(dice),
        "port_security_enabled": dice.chance(90),
        "security_groups": groups,
        "fixed_ips": fixed,
        "allowed_address_pairs": pairs,
    })
}

fn world(dice: &mut Dice) -> Value {
    let mut rules = 0;
    let groups: Vec<Value> = (0..6)
        .filter_map(|n| {
            let known = dice.chance(95);
            // Some groups have many rules that differ in the remote prefix only.
            let wide = dice.chance(15);
            let own: Vec<Value> = (0..if wide { 40 } else { dice.below(12) })
                .map(|_| {
                    rules += 1;
                    let mut rule = rule(dice, rules);
                    if wide {
                        rule = json!({
                            "id": rule["id"],
                            "direction": rule["direction"],
                            "ethertype": "IPv4",
                            "remote_ip_prefix": prefix(dice, false),
                        });
                    }
                    rule
                })
                .collect();
            known.then(|| {
                json!({
                    "id": id(GROUP, n),
                    "project_id": dice.pick(&PROJECTS),
                    "security_group_rules": own,
                })
            })
        })
        .collect();
    let addresses: Vec<Value> = (0..3)
        .map(|n| {
            let addresses: Vec<String> = (0..dice.below(4))
                .map(|_| {
                    let ipv6 = dice.chance(40);
                    prefix(dice, ipv6)
                })
                .collect();
            json!({"id": id(ADDRESSES, n), "addresses": addresses})
        })
        .collect();
    let ports: Vec<Value> = (0..10).map(|n| port(dice, n)).collect();
    json!({"security_groups": groups, "address_groups": addresses, "ports": ports})
}

fn log(dice: &mut Dice, number: u64) -> LogObject {
    LogObject {
        resource_type: dice
            .pick(&[
                "security_group",
                "security_group",
                "security_group",
                "firewall",
            ])
            .to_owned(),
        resource_id: dice.chance(50).then(|| id(GROUP, dice.below(7))),
        target_id: dice.chance(40).then(|| id(PORT, dice.below(11))),
        event: dice.pick(&[LoggedEvent::All, LoggedEvent::Accept, LoggedEvent::Drop]),
        enabled: dice.chance(85),
        ..LogObject::new(id(LOG, number), dice.pick(&PROJECTS))
    }
}

/// Some of the ports on the bridge, in any order of ofports. The slot of a port is its number.
fn attach(dice: &mut Dice) -> Vec<AttachedPort> {
    let mut ofports: Vec<u32> = (1..=10).collect();
    (0..10)
        .filter_map(|n| {
            let at = usize::try_from(dice.below(ofports.len() as u64)).unwrap();
            let ofport = ofports.swap_remove(at);
            dice.chance(80).then(|| AttachedPort {
                id: id(PORT, n),
                slot: u32::try_from(n).unwrap(),
                ofport,
            })
        })
        .collect()
}

fn packet(dice: &mut Dice) -> Summary {
    let network = match dice.below(20) {
        0 => Network::None,
        1..8 => Network::Ipv6 {
            src: v6(dice),
            dst: v6(dice),
        },
        _ => Network::Ipv4 {
            src: v4(dice),
            dst: v4(dice),
        },
    };
    let fragment = dice.pick(&[
        Fragment::None,
        Fragment::None,
        Fragment::None,
        Fragment::First,
        Fragment::Later,
    ]);
    let (src_port, dst_port) = (dice.pick(&[67, 68, 547, 4000]), {
        let near = u16::from(dice.small(3));
        dice.pick(&DST_PORTS).wrapping_add(near).wrapping_sub(1)
    });
    let (kind, code) = (dice.pick(&[0, 3, 8, 128, 134]), dice.small(3));
    let (protocol, transport) = match dice.below(7) {
        0 | 1 => (
            6,
            Transport::Tcp {
                src_port,
                dst_port,
                seq: 1,
                flags: 2,
            },
        ),
        2 => (17, Transport::Udp { src_port, dst_port }),
        3 => (
            132,
            Transport::Sctp {
                src_port,
                dst_port,
                tag: 0,
            },
        ),
        4 => (
            1,
            Transport::Icmp {
                kind,
                code,
                id: None,
            },
        ),
        5 => (
            58,
            Transport::Icmpv6 {
                kind,
                code,
                id: None,
            },
        ),
        _ => (dice.pick(&NAMES).1, Transport::None),
    };
    let later = fragment == Fragment::Later;
    Summary {
        dl_src: MacAddr([0xfa, 0x16, 0x3e, 0, 0, dice.small(12)]),
        network,
        protocol: (network != Network::None).then_some(protocol),
        fragment,
        transport: if later || network == Network::None {
            Transport::None
        } else {
            transport
        },
        ..Summary::default()
    }
}

fn observation(dice: &mut Dice) -> Observation {
    let in_port = u32::from(dice.small(12));
    Observation {
        cookie: Cookie {
            kind: dice.pick(&FlowKind::ALL),
            slot: u32::from(dice.small(10)),
        },
        in_port,
        port_register: match dice.below(12) {
            0 => None,
            1..5 => Some(in_port),
            _ => Some(u32::from(dice.small(12))),
        },
        ct_state: dice.pick(&[
            None,
            Some(0x21),
            Some(0x21),
            Some(0x30),
            Some(0x22),
            Some(0x20),
        ]),
        ct_mark: dice.pick(&[None, Some(0), Some(1)]),
    }
}

// The reference. It knows no index and no table, and reads the JSON itself.

/// An address or prefix as text, as numbers: family, network, length.
fn read_prefix(text: &str) -> (bool, u128, u32) {
    let (address, length) = text.split_once('/').unwrap_or((text, ""));
    let address: IpAddr = address.parse().unwrap();
    let bits = if address.is_ipv6() { 128 } else { 32 };
    (
        address.is_ipv6(),
        number(address),
        length.parse().unwrap_or(bits),
    )
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// The length of the prefix, if it holds the address.
fn holds(prefix: &str, address: IpAddr) -> Option<u32> {
    let (ipv6, network, length) = read_prefix(prefix);
    if ipv6 != address.is_ipv6() {
        return None;
    }
    let bits = if ipv6 { 128 } else { 32 };
    let agree = (0..length).all(|bit| {
        let at = bits - 1 - bit;
        (network >> at) & 1 == (number(address) >> at) & 1
    });
    agree.then_some(length)
}

fn array<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn protocol_number(rule: &Value) -> Option<u8> {
    let ipv6 = rule["ethertype"] == "IPv6";
    let name = match &rule["protocol"] {
        Value::Null => return None,
        Value::String(name) => name.clone(),
        other => other.to_string(),
    };
    match name.as_str() {
        "any" => None,
        "icmp" if ipv6 => Some(58),
        name => {
            let known = NAMES.iter().find(|(known, _)| *known == name);
            Some(known.map_or_else(|| name.parse().unwrap(), |(_, number)| *number))
        }
    }
}

/// How specifically a rule allows a packet.
fn allows(
    world: &Value,
    rule: &Value,
    direction: &str,
    packet: &Summary,
) -> Option<(u32, bool, i64, std::cmp::Reverse<String>)> {
    let (src, dst): (IpAddr, IpAddr) = match packet.network {
        Network::Ipv4 { src, dst } => (src.into(), dst.into()),
        Network::Ipv6 { src, dst } => (src.into(), dst.into()),
        _ => return None,
    };
    let remote = if direction == "ingress" { src } else { dst };
    if rule["direction"] != direction || (rule["ethertype"] == "IPv6") != remote.is_ipv6() {
        return None;
    }
    let protocol = protocol_number(rule);
    if protocol.is_some() && protocol != packet.protocol {
        return None;
    }
    let (min, max) = (
        rule["port_range_min"].as_u64(),
        rule["port_range_max"].as_u64(),
    );
    let mut width = 65536;
    match (protocol, min, max) {
        (Some(6 | 17 | 132), Some(min @ 1..), Some(max @ 1..)) => {
            let (Transport::Tcp { dst_port, .. }
            | Transport::Udp { dst_port, .. }
            | Transport::Sctp { dst_port, .. }) = packet.transport
            else {
                return None;
            };
            if !(min..=max).contains(&u64::from(dst_port)) {
                return None;
            }
            width = i64::try_from(max - min + 1).unwrap();
        }
        (Some(1 | 58), Some(wanted), wanted_code) => {
            let (Transport::Icmp { kind, code, .. } | Transport::Icmpv6 { kind, code, .. }) =
                packet.transport
            else {
                return None;
            };
            if u64::from(kind) != wanted || wanted_code.is_some_and(|c| c != u64::from(code)) {
                return None;
            }
            width = if wanted_code.is_some() { 1 } else { 256 };
        }
        _ => {}
    }
    let length = if rule["remote_group_id"].is_string() {
        let mut longest = None;
        for port in array(world, "ports") {
            if !array(port, "security_groups").contains(&rule["remote_group_id"]) {
                continue;
            }
            let own_mac = port["mac_address"].as_str().unwrap();
            let addresses = array(port, "fixed_ips")
                .iter()
                .map(|fixed| (fixed, own_mac));
            let pairs = array(port, "allowed_address_pairs")
                .iter()
                .map(|pair| (pair, pair["mac_address"].as_str().unwrap_or(own_mac)));
            for (address, mac) in addresses.chain(pairs) {
                let prefix = address["ip_address"].as_str().unwrap();
                let (ipv6, network, length) = read_prefix(prefix);
                if length == 0 && mac != packet.dl_src.to_string() {
                    continue;
                }
                if ipv6 && length >= 10 && network >> 118 == 0xfe80 >> 6 {
                    continue;
                }
                longest = longest.max(holds(prefix, remote));
            }
        }
        longest?
    } else if rule["remote_address_group_id"].is_string() {
        array(world, "address_groups")
            .iter()
            .filter(|group| group["id"] == rule["remote_address_group_id"])
            .flat_map(|group| array(group, "addresses"))
            .filter_map(|prefix| holds(prefix.as_str().unwrap(), remote))
            .max()?
    } else if let Some(prefix) = rule["remote_ip_prefix"].as_str() {
        holds(prefix, remote)?
    } else {
        0
    };
    let id = std::cmp::Reverse(rule["id"].as_str().unwrap().to_owned());
    Some((length, protocol.is_some(), -width, id))
}

/// One event, as text and ids.
type Told = (&'static str, String, &'static str, String, BTreeSet<String>);

/// Whether a log object wants events of a port, and by which rule (`None` for a drop or a
/// session that no rule allows).
fn wants(log: &LogObject, port: &Value, accept: bool, groups: &BTreeSet<String>) -> bool {
    let text = |id: Option<Uuid>| id.map(|id| id.to_string());
    let event = match log.event {
        LoggedEvent::All => true,
        LoggedEvent::Accept => accept,
        LoggedEvent::Drop => !accept,
    };
    let member = |group: &String| array(port, "security_groups").iter().any(|g| g == group);
    let (resource, target) = (text(log.resource_id), text(log.target_id));
    let selected = match (&resource, &target) {
        (None, None) => port["project_id"] == log.project_id.as_str(),
        (Some(group), None) => member(group),
        (_, Some(target)) => port["id"] == target.as_str(),
    };
    let in_scope = resource.as_ref().is_none_or(|group| groups.contains(group));
    log.enabled
        && log.resource_type == "security_group"
        && port["port_security_enabled"] == true
        && event
        && selected
        && (!accept || in_scope)
}

struct Reference<'a> {
    world: &'a Value,
    logs: &'a [LogObject],
    attached: &'a [AttachedPort],
}

impl<'a> Reference<'a> {
    /// A port that is on the bridge and that some enabled log object selects.
    fn table(&self, at: impl Fn(&AttachedPort) -> bool) -> Option<(&'a Value, &'a AttachedPort)> {
        let attached = self.attached.iter().find(|port| at(port))?;
        let id = attached.id.to_string();
        let port = array(self.world, "ports").iter().find(|p| p["id"] == id)?;
        (self.logs_of(port, true) || self.logs_of(port, false)).then_some((port, attached))
    }

    /// Whether any log object may want accepts (or drops) of the port.
    fn logs_of(&self, port: &Value, accept: bool) -> bool {
        let groups = array(port, "security_groups").iter();
        let groups = groups.map(|g| g.as_str().unwrap().to_owned()).collect();
        self.logs
            .iter()
            .any(|log| wants(log, port, accept, &groups))
    }

    /// Groups that allow the packet, and the rule that names the event.
    fn judge(
        &self,
        port: &Value,
        direction: &str,
        packet: &Summary,
    ) -> (BTreeSet<String>, Option<String>) {
        let mut groups = BTreeSet::new();
        let mut best = None;
        for group in array(self.world, "security_groups") {
            if !array(port, "security_groups").contains(&group["id"]) {
                continue;
            }
            for rule in array(group, "security_group_rules") {
                if let Some(how) = allows(self.world, rule, direction, packet) {
                    groups.insert(group["id"].as_str().unwrap().to_owned());
                    best = best.max(Some(how));
                }
            }
        }
        (groups, best.map(|(.., id)| id.0))
    }

    fn event(
        &self,
        action: &'static str,
        port: &Value,
        direction: &'static str,
        cause: String,
        groups: &BTreeSet<String>,
    ) -> Option<Told> {
        let accept = action == "ACCEPT";
        let logs: BTreeSet<String> = self
            .logs
            .iter()
            .filter(|log| wants(log, port, accept, groups))
            .map(|log| log.id.to_string())
            .collect();
        let id = port["id"].as_str().unwrap().to_owned();
        (!logs.is_empty()).then_some((action, id, direction, cause, logs))
    }

    fn accepted(
        &self,
        port: &Value,
        direction: &'static str,
        packet: &Summary,
        drift: &mut usize,
    ) -> Option<Told> {
        if !self.logs_of(port, true) {
            return None;
        }
        let (groups, rule) = self.judge(port, direction, packet);
        *drift += usize::from(rule.is_none());
        let rule = rule.unwrap_or_else(|| "none".to_owned());
        self.event("ACCEPT", port, direction, rule, &groups)
    }

    /// The events of a packet-in, and how many of them the rules do not explain.
    fn events(&self, seen: &Observation, packet: &Summary) -> (Vec<Told>, usize) {
        use FlowKind::{Drop, EgressAccept, IngressAccept, SameHostAccept, SameHostDrop};
        let (mut told, mut drift) = (Vec::new(), 0);
        let Some(owner) = self.table(|port| port.slot == seen.cookie.slot) else {
            return (told, drift);
        };
        let kind = seen.cookie.kind;
        let subject = match seen.port_register {
            Some(register) => self.table(|port| port.ofport == register),
            None => Some(owner).filter(|_| !matches!(kind, SameHostAccept | SameHostDrop)),
        };
        let source = self.table(|port| port.ofport == seen.in_port);
        let leaves = seen
            .port_register
            .is_none_or(|register| register == seen.in_port);
        let new = seen.ct_state.is_some_and(|state| state & 1 == 1);
        match kind {
            EgressAccept => told.extend(
                subject.and_then(|(port, _)| self.accepted(port, "egress", packet, &mut drift)),
            ),
            IngressAccept | SameHostAccept => {
                let out =
                    source.and_then(|(port, _)| self.accepted(port, "egress", packet, &mut drift));
                let inward = subject
                    .and_then(|(port, _)| self.accepted(port, "ingress", packet, &mut drift));
                told.extend(out.into_iter().chain(inward));
            }
            Drop | SameHostDrop => {
                if new && !leaves {
                    told.extend(
                        source.and_then(|(port, _)| {
                            self.accepted(port, "egress", packet, &mut drift)
                        }),
                    );
                }
                let direction = if leaves { "egress" } else { "ingress" };
                if let Some((port, _)) = subject.filter(|(port, _)| self.logs_of(port, false)) {
                    let reason = self.reason(seen, port, direction, packet);
                    drift += usize::from(reason == "rule-not-applied");
                    told.extend(self.event("DROP", port, direction, reason, &BTreeSet::new()));
                }
            }
        }
        (told, drift)
    }

    fn reason(
        &self,
        seen: &Observation,
        port: &Value,
        direction: &str,
        packet: &Summary,
    ) -> String {
        let server = matches!(
            packet.transport,
            Transport::Udp {
                src_port: 67,
                dst_port: 68
            } | Transport::Udp {
                src_port: 547,
                dst_port: 546
            } | Transport::Icmpv6 { kind: 134, .. }
        );
        match (seen.ct_state, seen.ct_mark) {
            (None, _) if server => "dhcp-or-ra-server",
            (None, _) => "anti-spoof",
            (Some(state), _) if state & 0x10 != 0 => "invalid-state",
            (_, Some(1)) => "rule-withdrawn",
            (Some(state), _) if state & 1 != 0 => {
                if self.judge(port, direction, packet).1.is_some() {
                    "rule-not-applied"
                } else {
                    "no-rule"
                }
            }
            (Some(state), _) if state & 2 != 0 => "rule-withdrawn",
            _ => "unknown",
        }
        .to_owned()
    }
}

/// What the classifier says, in the words of the reference.
fn classified(tables: &Tables, seen: &Observation, packet: &Summary) -> (Vec<Told>, usize) {
    let mut told = Vec::new();
    let mut scratch = Scratch::default();
    tables.classify(seen, packet, &mut scratch, |event| {
        event.count(|events| &events.total);
        event.count(|events| &events.folded);
        let record = event.prefix.to_vec();
        let record = String::from_utf8(record).unwrap();
        let cause = match event.cause {
            Cause::Rule(id) => id.to_string(),
            Cause::NoKnownRule => "none".to_owned(),
            Cause::Reason(reason) => reason.to_string(),
        };
        // The record says what the event says.
        assert!(record.contains(&format!("action={} ", event.action.as_str())));
        assert!(record.contains(&format!("project_id={} ", event.project_id)));
        assert!(record.contains(&format!("vm_port={} ", event.port)));
        assert!(record.ends_with(&format!("={cause}")), "{record} {cause}");
        let logs: Vec<String> = event.logs().iter().map(|log| format!("'{log}'")).collect();
        assert!(record.contains(&format!("log_resource_ids=[{}]", logs.join(", "))));
        told.push((
            event.action.as_str(),
            event.port.to_string(),
            event.direction.as_str(),
            cause,
            event.logs().iter().map(Uuid::to_string).collect(),
        ));
    });
    (told, scratch.suspects().len())
}

/// Counts each event for each log object that wants it.
fn count_by_log(events: &(Vec<Told>, usize), by_log: &mut BTreeMap<String, u64>) {
    for log in events.0.iter().flat_map(|event| &event.4) {
        *by_log.entry(log.clone()).or_default() += 1;
    }
}

/// What the ledger counted for each log object.
fn counted_by_log(ledger: &Ledger) -> BTreeMap<String, u64> {
    let logs = ledger.audiences.logs().into_iter();
    logs.filter(|(_, figures)| figures.events > 0)
        .map(|(log, figures)| (log.to_string(), figures.events))
        .collect()
}

fn inventory(world: &Value) -> Arc<Inventory> {
    Arc::new(Inventory::parse(&world.to_string()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400, failure_persistence: None, ..ProptestConfig::default()
    })]

    /// 400 worlds with 250 packets each: 100,000.
    #[test]
    fn events_agree_with_evaluating_everything(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let world = world(dice);
        let logs: Vec<LogObject> = (0..dice.below(8)).map(|n| log(dice, n)).collect();
        let attached = attach(dice);
        let inventory = inventory(&world);
        let plan = plan::plan(&logs, &inventory);
        let ledger = Ledger::default();
        let tables = Tables::new(&plan, &inventory, &attached, Format::default(), &ledger);
        let reference = Reference { world: &world, logs: &logs, attached: &attached };
        let mut wanted = BTreeMap::new();
        for _ in 0..250 {
            let (seen, packet) = (observation(dice), packet(dice));
            let expected = reference.events(&seen, &packet);
            prop_assert_eq!(
                &classified(&tables, &seen, &packet),
                &expected,
                "{:?} {:?}", seen, packet
            );
            count_by_log(&expected, &mut wanted);
        }
        prop_assert_eq!(counted_by_log(&ledger), wanted);
    }

    /// The same for the slow evaluation that explains itself.
    #[test]
    fn explanations_agree_with_evaluating_everything(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let world = world(dice);
        let inventory = inventory(&world);
        let reference = Reference { world: &world, logs: &[], attached: &[] };
        for _ in 0..25 {
            let packet = packet(dice);
            for (port, written) in inventory.ports().zip(inventory.written_ports()) {
                for direction in [Direction::Ingress, Direction::Egress] {
                    let explanation = explain::explain(&inventory, port, direction, &packet);
                    let rule = explanation
                        .rules
                        .first()
                        .filter(|rule| rule.mismatches.is_empty())
                        .map(|rule| rule.rule.id.to_string());
                    let (_, expected) = reference.judge(written, direction.as_str(), &packet);
                    prop_assert_eq!(&rule, &expected);
                    match explanation.outcome {
                        Outcome::Allowed => prop_assert!(rule.is_some()),
                        Outcome::Dropped(Reason::NoRule) => prop_assert!(rule.is_none()),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Tables and plans that follow one change after the other are the same as new ones.
    #[test]
    fn changes_one_by_one_give_what_a_fresh_start_gives(seed in any::<u64>()) {
        let dice = &mut Dice(seed);
        let mut written = world(dice);
        let mut logs: Vec<LogObject> = (0..4).map(|n| log(dice, n)).collect();
        let mut attached = attach(dice);
        let mut known = inventory(&written);
        let mut planner = Planner::default();
        let ledger = Ledger::default();
        let mut tables = Tables::empty(Format::default());
        let mut wanted = BTreeMap::new();
        for step in 0..12 {
            match dice.below(6) {
                0 => logs = (0..dice.below(6)).map(|n| log(dice, n)).collect(),
                1 if !logs.is_empty() => {
                    let at = usize::try_from(dice.below(logs.len() as u64)).unwrap();
                    logs[at].enabled = !logs[at].enabled;
                }
                2 => attached = attach(dice),
                3 => {
                    // A port is changed, comes or goes.
                    let n = dice.below(12);
                    let ports = written["ports"].as_array_mut().unwrap();
                    ports.retain(|port| port["id"] != id(PORT, n).to_string());
                    if dice.chance(80) {
                        ports.push(port(dice, n));
                    }
                }
                4 => {
                    let groups = written["security_groups"].as_array_mut().unwrap();
                    if let Some(group) = groups.first_mut() {
                        group["security_group_rules"] =
                            json!([rule(dice, 1000 + step), rule(dice, 2000 + step)]);
                    }
                    groups.rotate_left(1);
                }
                _ => {
                    let ipv6 = dice.chance(40);
                    written["address_groups"][0]["addresses"] = json!([prefix(dice, ipv6)]);
                }
            }
            if dice.chance(80) {
                known = inventory(&written);
            }
            planner.set_logs(logs.iter().cloned());
            let plan = planner.update(&known);
            let fresh_plan = plan::plan(&logs, &known);
            prop_assert_eq!(plan, &fresh_plan);
            tables = tables.renew(plan, &known, &attached, &ledger);
            let fresh = Tables::new(&fresh_plan, &known, &attached, Format::default(), &ledger);
            for _ in 0..40 {
                let (seen, packet) = (observation(dice), packet(dice));
                let events = classified(&tables, &seen, &packet);
                prop_assert_eq!(&events, &classified(&fresh, &seen, &packet));
                count_by_log(&events, &mut wanted);
                count_by_log(&events, &mut wanted);
            }
            drop(fresh);
            ledger.audiences.tidy(|_| true);
            prop_assert_eq!(counted_by_log(&ledger), wanted.clone());
        }
    }
}

#[test]
fn the_worlds_are_worth_it() {
    // A comparison where nothing ever happens would prove nothing.
    let (mut accepts, mut drops, mut two, mut drift) = (0, 0, 0, 0);
    for seed in 0..100 {
        let dice = &mut Dice(seed);
        let world = world(dice);
        let logs: Vec<LogObject> = (0..4).map(|n| log(dice, n)).collect();
        let attached = attach(dice);
        let reference = Reference {
            world: &world,
            logs: &logs,
            attached: &attached,
        };
        for _ in 0..250 {
            let (told, suspects) = reference.events(&observation(dice), &packet(dice));
            let of = |action: Action| told.iter().filter(|told| told.0 == action.as_str()).count();
            accepts += told
                .iter()
                .filter(|told| told.0 == "ACCEPT" && told.3 != "none")
                .count();
            drops += of(Action::Drop);
            two += usize::from(told.len() == 2);
            drift += suspects;
        }
    }
    let enough = accepts > 200 && drops > 200 && two > 50 && drift > 50;
    assert!(enough, "{accepts} {drops} {two} {drift}");
}
