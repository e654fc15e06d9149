//! What must be logged, worked out from the rules by hand: every rule is tried on every packet.
//!
//! This knows the inventory as JSON only, and nothing of netlog's code, so that it can disagree.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlog_lab::{Host, Topology};
use serde_json::Value;

/// A packet that opens a session, or tries to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) from: &'static Host,
    pub(crate) to: &'static Host,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_mac: [u8; 6],
    pub(crate) probe: Probe,
}

/// What of a packet rules look at beside its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Tcp(u16),
    Udp(u16),
    Sctp(u16),
    /// Type and code.
    Icmp(u8, u8),
    Icmpv6(u8, u8),
    Other(u8),
}

impl Probe {
    pub(crate) const fn protocol(self) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp(_) => 17,
            Self::Sctp(_) => 132,
            Self::Icmp(..) => 1,
            Self::Icmpv6(..) => 58,
            Self::Other(number) => number,
        }
    }

    /// Whether connection tracking takes it for the beginning of a session; of ICMP, only
    /// requests are.
    const fn opens_a_session(self) -> bool {
        match self {
            Self::Icmp(kind, _) => matches!(kind, 8 | 13 | 15 | 17),
            Self::Icmpv6(kind, _) => kind == 128,
            _ => true,
        }
    }
}

/// A log object of the test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    pub(crate) name: &'static str,
    pub(crate) project: &'static str,
    pub(crate) resource: Option<&'static str>,
    pub(crate) target: Option<&'static str>,
    pub(crate) event: &'static str,
    pub(crate) enabled: bool,
}

/// An event: what, where, whose, by which log objects, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    /// `ACCEPT:web1:in`.
    pub(crate) what: String,
    pub(crate) project: String,
    /// Names, in order.
    pub(crate) logs: BTreeSet<String>,
    /// A rule's id, or a reason.
    pub(crate) cause: String,
}

/// An inventory and log objects.
pub(crate) struct Site<'a> {
    pub(crate) topology: &'static Topology,
    pub(crate) inventory: Value,
    pub(crate) logs: &'a [Log],
}

/// What the firewall does with a packet at a port.
struct Verdict<'a> {
    port: &'a Value,
    action: &'static str,
    direction: &'static str,
    /// The rules that allow it, or the reason of the drop.
    cause: Result<Vec<Match<'a>>, &'static str>,
}

impl<'a> Verdict<'a> {
    fn new(
        port: &'a Value,
        direction: &'static str,
        cause: Result<Vec<Match<'a>>, &'static str>,
    ) -> Self {
        Self {
            port,
            action: if cause.is_ok() { "ACCEPT" } else { "DROP" },
            direction,
            cause,
        }
    }
}

/// How specific a rule is that allows a packet, and which it is. The least comes first.
type Match<'a> = ((u8, bool, u32, String), &'a str);

impl Site<'_> {
    fn list(&self, kind: &str) -> &[Value] {
        self.inventory[kind].as_array().unwrap()
    }

    fn port(&self, name: &str) -> Option<&Value> {
        self.list("ports")
            .iter()
            .find(|port| port["name"] == name && self.topology.host(name).is_ok())
    }

    pub(crate) fn id_of(&self, kind: &str, name: &str) -> &str {
        let object = self.list(kind).iter().find(|object| object["name"] == name);
        object.unwrap()["id"].as_str().unwrap()
    }

    /// The events of a packet, in order.
    pub(crate) fn events(&self, packet: &Packet) -> Vec<Event> {
        let verdicts = self.verdicts(packet);
        let mut events: Vec<Event> = verdicts
            .iter()
            .filter_map(|verdict| self.event(verdict))
            .collect();
        events.sort();
        events
    }

    /// The log flow that a packet passes: its table, and what it matches. A packet passes one at
    /// most, though it may be two events.
    pub(crate) fn log_flow(&self, packet: &Packet) -> Option<(u8, String)> {
        let logs = |port: &Value, action: &str| {
            let mut logs = self.logs.iter();
            logs.any(|log| self.selects(log, port, action))
        };
        let register = |port: &Value| format!("reg5={:#x}", self.host(port).ofport);
        let in_port = |port: &Value| format!("in_port={}", self.host(port).ofport);
        match &self.verdicts(packet)[..] {
            [] => None,
            [
                Verdict {
                    port,
                    action: "ACCEPT",
                    direction: "out",
                    ..
                },
            ] => logs(port, "ACCEPT").then(|| (91, register(port))),
            [rest @ .., last] => {
                let table = if last.action == "ACCEPT" { 92 } else { 93 };
                // Whose packet was let out, or may have been: the flow cannot tell.
                let leaves = (last.direction == "out").then_some(last);
                let source = rest.first().or(leaves);
                if logs(last.port, last.action) {
                    Some((table, register(last.port)))
                } else {
                    let source = source.filter(|source| logs(source.port, "ACCEPT"))?;
                    Some((table, in_port(source.port)))
                }
            }
        }
    }

    fn host(&self, port: &Value) -> &'static Host {
        self.topology.host(port["name"].as_str().unwrap()).unwrap()
    }

    /// What the firewall does with a packet at the ports that it passes.
    fn verdicts(&self, packet: &Packet) -> Vec<Verdict<'_>> {
        let secured = |host: &Host| {
            self.port(host.name)
                .filter(|port| port["port_security_enabled"] == true)
        };
        let new = packet.probe.opens_a_session();
        let mut verdicts = Vec::new();
        if let Some(port) = secured(packet.from) {
            let matches = self.matches(port, "egress", packet);
            let cause = if !owns(port, packet.source, packet.source_mac) {
                Err("anti-spoof")
            } else if !new {
                Err("invalid-state")
            } else if matches.is_empty() {
                Err("no-rule")
            } else {
                Ok(matches)
            };
            verdicts.push(Verdict::new(port, "out", cause));
            if verdicts[0].action == "DROP" {
                return verdicts;
            }
        }
        if let Some(port) = secured(packet.to) {
            let matches = self.matches(port, "ingress", packet);
            let cause = if !new {
                Err("invalid-state")
            } else if matches.is_empty() {
                Err("no-rule")
            } else {
                Ok(matches)
            };
            verdicts.push(Verdict::new(port, "in", cause));
        }
        verdicts
    }

    /// Whether a log object wants events of this action of a port, of some rule at least.
    fn selects(&self, log: &Log, port: &Value, action: &str) -> bool {
        let group = log.resource.map(|name| self.id_of("security_groups", name));
        let selected = match (log.target, group) {
            (Some(target), _) => port["name"] == target,
            (None, Some(group)) => is_member(port, group),
            (None, None) => port["project_id"] == log.project,
        };
        let may_occur = action == "DROP" || group.is_none_or(|group| is_member(port, group));
        log.enabled && selected && may_occur && ["ALL", action].contains(&log.event)
    }

    /// The event that a verdict is, if some log object wants it.
    fn event(&self, verdict: &Verdict<'_>) -> Option<Event> {
        let Verdict {
            port,
            action,
            direction,
            cause,
        } = verdict;
        let in_scope = |log: &Log| match (log.resource, cause) {
            (Some(name), Ok(matches)) => {
                let group = self.id_of("security_groups", name);
                matches.iter().any(|(_, of)| *of == group)
            }
            _ => true,
        };
        let wants = |log: &&Log| self.selects(log, port, action) && in_scope(log);
        let logs: BTreeSet<String> = self
            .logs
            .iter()
            .filter(wants)
            .map(|log| log.name.to_owned())
            .collect();
        (!logs.is_empty()).then(|| Event {
            what: format!("{action}:{}:{direction}", port["name"].as_str().unwrap()),
            project: port["project_id"].as_str().unwrap().to_owned(),
            logs,
            cause: match cause {
                Ok(matches) => matches.iter().min().unwrap().0.3.clone(),
                Err(reason) => (*reason).to_owned(),
            },
        })
    }

    /// The rules of a port that allow a packet, each with its group.
    fn matches(&self, port: &Value, direction: &str, packet: &Packet) -> Vec<Match<'_>> {
        let mut matches = Vec::new();
        for group in self.list("security_groups") {
            let id = group["id"].as_str().unwrap();
            if !is_member(port, id) {
                continue;
            }
            for rule in group["security_group_rules"].as_array().unwrap() {
                if rule["direction"] != direction {
                    continue;
                }
                if let Some(specificity) = self.allows(rule, direction, packet) {
                    matches.push((specificity, id));
                }
            }
        }
        matches
    }

    fn allows(
        &self,
        rule: &Value,
        direction: &str,
        packet: &Packet,
    ) -> Option<(u8, bool, u32, String)> {
        let family = if packet.source.is_ipv4() {
            "IPv4"
        } else {
            "IPv6"
        };
        let remote = match direction {
            "ingress" => packet.source,
            _ => packet.destination,
        };
        if rule["ethertype"] != family {
            return None;
        }
        let protocol = protocol_of(rule);
        if protocol.is_some_and(|number| number != packet.probe.protocol()) {
            return None;
        }
        let bound = |key: &str| {
            rule[key]
                .as_u64()
                .map(|bound| u32::try_from(bound).unwrap())
        };
        let (low, high) = (bound("port_range_min"), bound("port_range_max"));
        let width = match (packet.probe, low, high) {
            _ if protocol.is_none() => 65536,
            (Probe::Tcp(port) | Probe::Udp(port) | Probe::Sctp(port), Some(low), Some(high)) => {
                (low..=high)
                    .contains(&port.into())
                    .then_some(high - low + 1)?
            }
            (Probe::Icmp(kind, code) | Probe::Icmpv6(kind, code), Some(low), high) => {
                let (kind, code) = (u32::from(kind), u32::from(code));
                let fits = low == kind && high.is_none_or(|high| high == code);
                fits.then_some(if high.is_some() { 1 } else { 256 })?
            }
            _ => 65536,
        };
        let length = if let Some(prefix) = rule["remote_ip_prefix"].as_str() {
            length_if_in(prefix, remote)?
        } else if let Some(group) = rule["remote_group_id"].as_str() {
            self.list("ports")
                .iter()
                .filter(|port| is_member(port, group))
                .flat_map(addresses)
                .filter_map(|(address, mac)| {
                    let length = length_if_in(address, remote)?;
                    // Whoever may use any address is told by the MAC address.
                    (length > 0 || mac == netlog_lab::mac_text(packet.source_mac)).then_some(length)
                })
                .max()?
        } else if let Some(group) = rule["remote_address_group_id"].as_str() {
            let groups = self.list("address_groups");
            let group = groups.iter().find(|known| known["id"] == group).unwrap();
            let prefixes = group["addresses"].as_array().unwrap().iter();
            prefixes
                .filter_map(|prefix| length_if_in(prefix.as_str().unwrap(), remote))
                .max()?
        } else {
            0
        };
        // The longest prefix, a given protocol, the narrowest range, the smallest id.
        Some((
            u8::MAX - length,
            protocol.is_none(),
            width,
            rule["id"].as_str().unwrap().to_owned(),
        ))
    }
}

fn is_member(port: &Value, group: &str) -> bool {
    let groups = port["security_groups"].as_array().unwrap();
    groups.iter().any(|own| own == group)
}

/// A port's addresses, each with its MAC address.
fn addresses(port: &Value) -> Vec<(&str, &str)> {
    let mac = port["mac_address"].as_str().unwrap();
    let fixed = port["fixed_ips"].as_array().unwrap().iter();
    let pairs = port["allowed_address_pairs"].as_array().unwrap().iter();
    fixed
        .map(|fixed| (fixed["ip_address"].as_str().unwrap(), mac))
        .chain(pairs.map(|pair| {
            (
                pair["ip_address"].as_str().unwrap(),
                pair["mac_address"].as_str().unwrap(),
            )
        }))
        .collect()
}

/// Whether a port may send from this address.
fn owns(port: &Value, address: IpAddr, mac: [u8; 6]) -> bool {
    let mac = netlog_lab::mac_text(mac);
    addresses(port)
        .into_iter()
        .any(|(prefix, owner)| owner == mac && length_if_in(prefix, address).is_some())
}

/// The protocol number of a rule; none for any.
fn protocol_of(rule: &Value) -> Option<u8> {
    let text = rule["protocol"].as_str()?;
    Some(match (text, rule["ethertype"].as_str()?) {
        ("any", _) => return None,
        ("icmp", "IPv4") => 1,
        ("icmp" | "icmpv6" | "ipv6-icmp", _) => 58,
        ("igmp", _) => 2,
        ("ipip", _) => 4,
        ("tcp", _) => 6,
        ("udp", _) => 17,
        ("dccp", _) => 33,
        ("esp", _) => 50,
        ("ah", _) => 51,
        ("ospf", _) => 89,
        ("vrrp", _) => 112,
        ("pgm", _) => 113,
        ("sctp", _) => 132,
        ("udplite", _) => 136,
        (number, _) => number.parse().unwrap(),
    })
}

/// The length of a prefix if the address is in it.
fn length_if_in(prefix: &str, address: IpAddr) -> Option<u8> {
    let (network, length) = prefix.split_once('/').unwrap_or((prefix, ""));
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let network: IpAddr = network.parse().unwrap();
    let ((network_bits, all), (address_bits, of)) = (bits(network), bits(address));
    let length: u8 = if length.is_empty() {
        all
    } else {
        length.parse().unwrap()
    };
    let differing = network_bits ^ address_bits;
    (all == of && differing.leading_zeros() >= length.into()).then_some(length)
}
