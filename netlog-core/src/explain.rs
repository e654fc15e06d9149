//! Explanations: what the firewall would do with the first packet of a session, and why.
//!
//! Every rule of the port is tried, one after the other, straight from the inventory, and each
//! that does not allow the packet says what in it fails to match. This is slow and simple on
//! purpose: it shares with the [classifier](crate::classify) only the meaning of single rules, and
//! the tests compare the two.
//!
//! Before any rule, the firewall looks at who speaks: a port may send only from its own
//! addresses, may not act as a DHCP server or a router, and some traffic needs no rule at all
//! (ARP, neighbour discovery, DHCP clients). That is decided here too, as Neutron's driver does in
//! its tables 71 and 81. Connection tracking is not: an answer to an accepted session always
//! passes, and an invalid packet never does.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use netlog_packet::{Fragment, MacAddr, Network, Summary, Transport};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::inventory::{Inventory, Port, SecurityGroup};
use crate::prefix::{Ethertype, IpPrefix};
use crate::record::Reason;
use crate::rule::{Direction, Protocol, SecurityGroupRule};
use crate::ruleset::{
    AddressSet, Ports, RemoteGroup, Specificity, is_dhcp_or_ra_server, remote_address, specificity,
};

/// What fails to match in a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mismatch {
    /// The remote address.
    Remote,
    /// The destination port, or the ICMP type or code.
    Ports,
    /// The protocol.
    Protocol,
    /// The address family.
    Ethertype,
}

impl Mismatch {
    /// The field of a rule in Neutron's API that says it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Ports => "port_range",
            Self::Protocol => "protocol",
            Self::Ethertype => "ethertype",
        }
    }
}

/// A rule, and what it says to a packet.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    /// The group that the rule is in.
    pub group: &'a SecurityGroup,
    /// The rule.
    pub rule: &'a SecurityGroupRule,
    /// What fails to match; empty for a rule that allows the packet.
    pub mismatches: Vec<Mismatch>,
    /// How specifically it allows the packet.
    pub specificity: Option<Specificity>,
}

/// Traffic that no rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bypass {
    /// The port has no firewall (`port_security_enabled` is false).
    NoPortSecurity,
    /// ARP and RARP.
    Arp,
    /// Neighbour discovery and multicast listener queries.
    NeighbourDiscovery,
    /// DHCP between this port as a client and a server.
    Dhcp,
}

impl Bypass {
    /// What the firewall does, in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoPortSecurity => "the port has no port security, so that nothing is filtered",
            Self::Arp => "ARP passes without a rule",
            Self::NeighbourDiscovery => "neighbour discovery passes without a rule",
            Self::Dhcp => "DHCP of a client passes without a rule",
        }
    }
}

/// What the firewall would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It lets the session pass, by the first of [`Explanation::rules`].
    Allowed,
    /// It lets the packet pass, without asking rules.
    Passes(Bypass),
    /// It drops the packet.
    Dropped(Reason),
    /// It drops the packet in a table that cannot be logged: something that is neither IP nor
    /// ARP, towards the port.
    DroppedSilently,
}

/// What the firewall would do with a packet of a port, and why.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// The port.
    pub port: &'a Port,
    /// Seen from the port.
    pub direction: Direction,
    /// The packet.
    pub packet: Summary,
    /// What the firewall would do.
    pub outcome: Outcome,
    /// The port's rules of this direction: those that allow the packet, the most specific
    /// first; then the others, the nearest first.
    pub rules: Vec<Judged<'a>>,
}

/// Explains what becomes of `packet`, the first of a session, to or from a port.
///
/// A packet whose source hardware address is not known (all zero) is taken to have the right
/// one.
pub fn explain<'a>(
    inventory: &'a Inventory,
    port: &'a Port,
    direction: Direction,
    packet: &Summary,
) -> Explanation<'a> {
    let mut rules: Vec<Judged<'a>> = port
        .security_groups
        .iter()
        .filter_map(|group| inventory.security_group(*group))
        .flat_map(|group| {
            group
                .security_group_rules
                .iter()
                .map(move |rule| (group, rule))
        })
        .filter(|(_, rule)| rule.direction == direction)
        .map(|(group, rule)| judge(inventory, group, rule, packet))
        .collect();
    rules.sort_by_cached_key(|judged| {
        (
            Reverse(judged.specificity),
            judged.mismatches.len(),
            judged.mismatches.iter().max().copied(),
            judged.rule.id,
        )
    });
    let allowed = rules.first().is_some_and(|rule| rule.mismatches.is_empty());
    let outcome = before_rules(port, direction, packet).unwrap_or(if allowed {
        Outcome::Allowed
    } else {
        Outcome::Dropped(Reason::NoRule)
    });
    Explanation {
        port,
        direction,
        packet: *packet,
        outcome,
        rules,
    }
}

/// What one rule says to a packet.
fn judge<'a>(
    inventory: &Inventory,
    group: &'a SecurityGroup,
    rule: &'a SecurityGroupRule,
    packet: &Summary,
) -> Judged<'a> {
    let mut mismatches = Vec::new();
    let remote = remote_address(packet, rule.direction);
    if remote.map(Ethertype::of) != Some(rule.ethertype) {
        mismatches.push(Mismatch::Ethertype);
    }
    let protocol_fits = match rule.protocol() {
        Protocol::Any => true,
        Protocol::Number(number) => packet.protocol == Some(number),
    };
    if !protocol_fits {
        mismatches.push(Mismatch::Protocol);
    } else if !Ports::of(rule).allow(packet) {
        mismatches.push(Mismatch::Ports);
    }
    let length = remote.and_then(|remote| match RemoteGroup::of(rule) {
        Some(RemoteGroup::Members(id)) => {
            AddressSet::of_members(inventory.members(id)).allows(remote, packet.dl_src)
        }
        Some(RemoteGroup::Addresses(id)) => inventory
            .address_group(id)?
            .addresses
            .iter()
            .filter(|prefix| prefix.contains(remote))
            .map(IpPrefix::length)
            .max(),
        None => match rule.remote_ip_prefix {
            Some(prefix) => prefix.contains(remote).then_some(prefix.length()),
            None => Some(0),
        },
    });
    // An address of the other family is no further reason.
    if length.is_none() && !mismatches.contains(&Mismatch::Ethertype) {
        mismatches.push(Mismatch::Remote);
    }
    let specificity = length
        .filter(|_| mismatches.is_empty())
        .map(|length| specificity(rule, length));
    Judged {
        group,
        rule,
        mismatches,
        specificity,
    }
}

/// What the firewall decides before it looks at rules; `None` if rules decide.
fn before_rules(port: &Port, direction: Direction, packet: &Summary) -> Option<Outcome> {
    if !port.port_security_enabled {
        return Some(Outcome::Passes(Bypass::NoPortSecurity));
    }
    match direction {
        Direction::Egress => before_egress_rules(port, packet),
        Direction::Ingress => before_ingress_rules(packet),
    }
}

/// Neutron's table 71, `BASE_EGRESS`.
fn before_egress_rules(port: &Port, packet: &Summary) -> Option<Outcome> {
    const RARP: u16 = 0x8035;
    let spoofed = Some(Outcome::Dropped(Reason::AntiSpoof));
    let source = match packet.network {
        Network::Ipv4 { src, .. } => IpAddr::V4(src),
        Network::Ipv6 { src, .. } => IpAddr::V6(src),
        Network::Arp { spa, .. } => {
            return if may_send_from(port, packet.dl_src, spa.into()) {
                Some(Outcome::Passes(Bypass::Arp))
            } else {
                spoofed
            };
        }
        Network::None if packet.dl_type == RARP => {
            return if port.mac_addresses().any(|mac| is_mac(packet.dl_src, mac)) {
                Some(Outcome::Passes(Bypass::Arp))
            } else {
                spoofed
            };
        }
        Network::None => return spoofed,
    };
    let own = may_send_from(port, packet.dl_src, source);
    match packet.transport {
        // Multicast listener query, router and neighbour solicitation, neighbour advertisement.
        // (An advertisement is judged by its target, which is not looked at here.)
        Transport::Icmpv6 {
            kind: 130 | 133 | 135,
            ..
        } if own => return Some(Outcome::Passes(Bypass::NeighbourDiscovery)),
        Transport::Icmpv6 { kind: 136, .. } => {
            return Some(Outcome::Passes(Bypass::NeighbourDiscovery));
        }
        Transport::Udp {
            src_port: 68,
            dst_port: 67,
        } if own || source.is_unspecified() => return Some(Outcome::Passes(Bypass::Dhcp)),
        Transport::Udp {
            src_port: 546,
            dst_port: 547,
        } if own => return Some(Outcome::Passes(Bypass::Dhcp)),
        _ => {}
    }
    if is_dhcp_or_ra_server(packet) {
        return Some(Outcome::Dropped(Reason::DhcpOrRaServer));
    }
    if own { None } else { spoofed }
}

/// Neutron's table 81, `BASE_INGRESS`.
const fn before_ingress_rules(packet: &Summary) -> Option<Outcome> {
    match (packet.network, packet.transport) {
        (Network::Arp { .. }, _) => Some(Outcome::Passes(Bypass::Arp)),
        (Network::None, _) => Some(Outcome::DroppedSilently),
        (
            _,
            Transport::Icmpv6 {
                kind: 130 | 134 | 135 | 136,
                ..
            },
        ) => Some(Outcome::Passes(Bypass::NeighbourDiscovery)),
        (
            _,
            Transport::Udp {
                src_port: 67,
                dst_port: 68,
            }
            | Transport::Udp {
                src_port: 547,
                dst_port: 546,
            },
        ) => Some(Outcome::Passes(Bypass::Dhcp)),
        _ => None,
    }
}

/// Whether a frame may come from the port with these source addresses.
fn may_send_from(port: &Port, dl_src: MacAddr, source: IpAddr) -> bool {
    let link_local = port.mac_address.map(|mac| (link_local(mac).into(), mac));
    link_local.is_some_and(|(address, mac): (IpAddr, _)| address == source && is_mac(dl_src, mac))
        || port.addresses_with_mac().any(|(prefix, mac)| {
            prefix.contains(source) && mac.is_none_or(|mac| is_mac(dl_src, mac))
        })
}

/// Whether a source hardware address, if it is known, is this one.
fn is_mac(dl_src: MacAddr, mac: MacAddr) -> bool {
    dl_src == MacAddr::default() || dl_src == mac
}

/// The link-local address that goes with a hardware address (RFC 4291, appendix A).
fn link_local(mac: MacAddr) -> Ipv6Addr {
    let mac = mac.0.map(u16::from);
    let pair = |high, low| high << 8 | low;
    Ipv6Addr::from([
        0xfe80,
        0,
        0,
        0,
        pair(mac[0] ^ 2, mac[1]),
        pair(mac[2], 0xff),
        pair(0xfe, mac[3]),
        pair(mac[4], mac[5]),
    ])
}

impl Explanation<'_> {
    /// The rule that decides.
    pub fn deciding_rule(&self) -> Option<&Judged<'_>> {
        self.rules
            .first()
            .filter(|_| self.outcome == Outcome::Allowed)
    }

    /// The rules that do not allow the packet, nearest first.
    pub fn nearest(&self) -> impl Iterator<Item = &Judged<'_>> {
        self.rules.iter().filter(|rule| !rule.mismatches.is_empty())
    }

    /// The explanation as a JSON object, with at most `nearest` of the rules that do not match.
    pub fn to_json(&self, nearest: usize) -> Value {
        let (action, reason) = match self.outcome {
            Outcome::Allowed => ("ACCEPT", Value::Null),
            Outcome::Passes(bypass) => ("PASS", bypass.as_str().into()),
            Outcome::Dropped(reason) => ("DROP", reason.as_str().into()),
            Outcome::DroppedSilently => ("DROP", "not-ip".into()),
        };
        let packet = Shown(&self.packet);
        let mut allowing = self.rules.iter().filter(|rule| rule.mismatches.is_empty());
        let rules = |rules: &mut dyn Iterator<Item = &Judged<'_>>| -> Vec<Value> {
            rules.map(|judged| judged.to_json(&packet)).collect()
        };
        json!({
            "port_id": self.port.id,
            "port_name": self.port.name,
            "direction": self.direction,
            "packet": packet.to_string(),
            "action": action,
            "reason": reason,
            "security_group_rule_id": self.deciding_rule().map(|judged| judged.rule.id),
            "allowed_by": rules(&mut allowing),
            "nearest": rules(&mut self.nearest().take(nearest)),
        })
    }

    /// The explanation as text of several lines, with at most `nearest` of the rules that do not
    /// match.
    pub fn to_text(&self, nearest: usize) -> String {
        let Self {
            port, direction, ..
        } = self;
        let packet = Shown(&self.packet);
        let name = if port.name.is_empty() {
            String::new()
        } else {
            format!(" ({})", port.name.escape_debug())
        };
        let outcome = match (self.outcome, self.deciding_rule()) {
            (Outcome::Allowed, Some(judged)) => format!("ACCEPT by {}", judged.sentence(&packet)),
            (Outcome::Allowed, None) => "ACCEPT".to_owned(),
            (Outcome::Passes(bypass), _) => format!("passes: {}", bypass.as_str()),
            (Outcome::Dropped(reason), _) => format!("DROP, reason {reason}"),
            (Outcome::DroppedSilently, _) => {
                "DROP, and no log can show it: neither IP nor ARP".to_owned()
            }
        };
        let mut lines = vec![
            format!("port {}{name}, {direction}, {packet}", port.id),
            outcome,
        ];
        match self.outcome {
            Outcome::Allowed => {
                let others = self.rules.iter().skip(1);
                let others = others.filter(|judged| judged.mismatches.is_empty());
                lines.extend(
                    others.map(|judged| format!("also allowed by {}", judged.sentence(&packet))),
                );
            }
            Outcome::Dropped(Reason::NoRule) if self.rules.is_empty() => {
                lines.push(format!("the port has no {direction} rules"));
            }
            Outcome::Dropped(Reason::NoRule) => {
                let others = self.nearest().take(nearest);
                lines.extend(others.map(|judged| format!("not by {}", judged.sentence(&packet))));
            }
            _ => {}
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

impl Judged<'_> {
    /// `rule 4e… of web (5e…): allows tcp/22 from 10.0.0.0/8; this is tcp/443`
    fn sentence(&self, packet: &Shown<'_>) -> String {
        let Self { group, rule, .. } = self;
        let mut text = format!(
            "rule {} of {} ({}): allows {}",
            rule.id,
            if group.name.is_empty() {
                "a group without a name".into()
            } else {
                group.name.escape_debug().to_string()
            },
            group.id,
            ShownRule(rule)
        );
        let differs: Vec<String> = self
            .mismatches
            .iter()
            .map(|mismatch| packet.part(*mismatch, rule.direction))
            .collect();
        if !differs.is_empty() {
            text.push_str("; this is ");
            text.push_str(&differs.join(", "));
        }
        text
    }

    fn to_json(&self, packet: &Shown<'_>) -> Value {
        let Self { group, rule, .. } = self;
        let shown = ShownRule(rule);
        let mismatch = |mismatch: &Mismatch| {
            json!({
                "field": mismatch.as_str(),
                "allows": shown.part(*mismatch),
                "packet": packet.part(*mismatch, rule.direction),
            })
        };
        json!({
            "security_group_rule_id": rule.id,
            "security_group_id": group.id,
            "security_group_name": group.name,
            "allows": shown.to_string(),
            "mismatches": self.mismatches.iter().map(mismatch).collect::<Vec<_>>(),
        })
    }
}

/// What a rule allows, in short: `tcp/22 from 10.0.0.0/8`.
struct ShownRule<'a>(&'a SecurityGroupRule);

impl ShownRule<'_> {
    /// What it allows where a packet does not fit.
    fn part(&self, mismatch: Mismatch) -> String {
        match mismatch {
            Mismatch::Remote => self.remote(),
            Mismatch::Ports | Mismatch::Protocol => self.transport(),
            Mismatch::Ethertype => self.0.ethertype.to_string(),
        }
    }

    fn transport(&self) -> String {
        let protocol = match self.0.protocol() {
            Protocol::Any => "any protocol".to_owned(),
            protocol @ Protocol::Number(_) => protocol.to_string(),
        };
        match Ports::of(self.0) {
            Ports::Any => protocol,
            Ports::Range(min, max) if min == max => format!("{protocol}/{min}"),
            Ports::Range(min, max) => format!("{protocol}/{min}-{max}"),
            Ports::Icmp(kind, None) => format!("{protocol} type {kind}"),
            Ports::Icmp(kind, Some(code)) => format!("{protocol} type {kind} code {code}"),
            Ports::Impossible => format!("{protocol} of a type or code that does not exist"),
        }
    }

    fn remote(&self) -> String {
        let preposition = preposition(self.0.direction);
        match (RemoteGroup::of(self.0), self.0.remote_ip_prefix) {
            (Some(RemoteGroup::Members(id)), _) => format!("{preposition} members of group {id}"),
            (Some(RemoteGroup::Addresses(id)), _) => format!("{preposition} address group {id}"),
            (None, Some(prefix)) => format!("{preposition} {prefix}"),
            (None, None) => format!("{preposition} any {} address", self.0.ethertype),
        }
    }
}

impl fmt::Display for ShownRule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport(), self.remote())
    }
}

const fn preposition(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "from",
        Direction::Egress => "to",
    }
}

/// A packet in short: `tcp/443 from 10.1.0.100 to 10.1.0.11`.
pub(crate) struct Shown<'a>(pub(crate) &'a Summary);

impl Shown<'_> {
    /// What of the packet does not fit a rule.
    fn part(&self, mismatch: Mismatch, direction: Direction) -> String {
        match mismatch {
            Mismatch::Remote => match remote_address(self.0, direction) {
                Some(address) => format!("{} {address}", preposition(direction)),
                None => "not IP".to_owned(),
            },
            Mismatch::Ports | Mismatch::Protocol => self.transport(),
            Mismatch::Ethertype => match self.0.network {
                Network::Ipv4 { .. } => "IPv4".to_owned(),
                Network::Ipv6 { .. } => "IPv6".to_owned(),
                Network::Arp { .. } | Network::None => "not IP".to_owned(),
            },
        }
    }

    fn transport(&self) -> String {
        let protocol = self.0.protocol.map_or_else(
            || format!("EtherType {:#06x}", self.0.dl_type),
            |number| Protocol::Number(number).to_string(),
        );
        if self.0.fragment == Fragment::Later {
            return format!("{protocol}, a later fragment without ports");
        }
        match self.0.transport {
            Transport::Tcp { dst_port, .. }
            | Transport::Udp { dst_port, .. }
            | Transport::Sctp { dst_port, .. } => format!("{protocol}/{dst_port}"),
            Transport::Icmp { kind, code, .. } | Transport::Icmpv6 { kind, code, .. } => {
                format!("{protocol} type {kind} code {code}")
            }
            Transport::None => protocol,
        }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.transport())?;
        match self.0.network {
            Network::Ipv4 { src, dst } => write!(f, " from {src} to {dst}"),
            Network::Ipv6 { src, dst } => write!(f, " from {src} to {dst}"),
            Network::Arp { spa, tpa, .. } => write!(f, ", ARP from {spa} for {tpa}"),
            Network::None => Ok(()),
        }
    }
}

/// The ports that a text names: an id, or a name.
pub fn find_ports<'a>(inventory: &'a Inventory, name: &str) -> Vec<&'a Port> {
    let id: Option<Uuid> = name.parse().ok();
    inventory
        .ports()
        .filter(|port| Some(port.id) == id || port.name == name)
        .collect()
}
