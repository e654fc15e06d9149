//! Security group rules compiled for matching.
//!
//! The question is always the same: which rules of a group allow this packet, and which of them
//! is the most specific? The answer must cost the same with ten rules and with a thousand, and
//! the same whether a remote group has ten members or ten thousand. So the rules of a group are
//! sorted into *cells*, and a packet looks into three of them at most:
//!
//! 1. rules for any protocol,
//! 2. rules for its protocol and any port,
//! 3. rules for its protocol and its destination port (or ICMP type and code): port ranges are
//!    cut where one of them begins or ends, so that each piece has the same rules throughout.
//!
//! In a cell, rules with a remote prefix are found by hash, one probe for each prefix length that
//! the cell has; rules with a remote group or address group by asking the set of its addresses,
//! which is a hash again. A set is shared by all rules that name it, and changes without the
//! rules being compiled anew.
//!
//! Many ranges that overlap each other cut each other to pieces: a thousand random ones take some
//! megabytes. Rules with single ports or ranges apart take a few hundred bytes each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use foldhash::fast::FixedState;
use netlog_packet::{Fragment, MacAddr, Network, Summary, Transport};
use uuid::Uuid;

use crate::inventory::Port;
use crate::prefix::{Ethertype, IpPrefix, address_bits};
use crate::rule::{Direction, Protocol, SecurityGroupRule};

/// A set of addresses made of prefixes, asked for the longest that holds an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// Per family and prefix length, longest first: the networks.
    lengths: Vec<(Ethertype, u8, HashSet<u128, FixedState>)>,
    /// Members that may use any address, by family, told by their hardware address.
    by_mac: Vec<(Ethertype, MacAddr)>,
}

impl AddressSet {
    /// The addresses of these members of a security group.
    ///
    /// These are the fixed addresses and the allowed address pairs. An IPv6 link-local address
    /// is neither, so that it is left out. A pair that is all addresses (`0.0.0.0/0`) allows only
    /// frames that come from its hardware address, as Neutron's firewall has it
    /// (`create_flows_for_ip_address_and_mac`).
    pub fn of_members<'a>(members: impl IntoIterator<Item = &'a Port>) -> Self {
        let mut prefixes = Vec::new();
        let mut by_mac = Vec::new();
        for (prefix, mac) in members.into_iter().flat_map(Port::addresses_with_mac) {
            if prefix.length() == 0
                && let Some(mac) = mac
            {
                by_mac.push((prefix.family(), mac));
            } else if !is_link_local(&prefix) {
                prefixes.push(prefix);
            }
        }
        by_mac.sort_unstable();
        by_mac.dedup();
        Self {
            by_mac,
            ..prefixes.into_iter().collect()
        }
    }

    /// The length of the longest prefix of the set that holds `address`.
    pub fn longest_match(&self, address: IpAddr) -> Option<u8> {
        let family = Ethertype::of(address);
        let bits = address_bits(address);
        self.lengths
            .iter()
            .filter(|(of, ..)| *of == family)
            .find(|(_, length, networks)| networks.contains(&network(family, bits, *length)))
            .map(|(_, length, _)| *length)
    }

    /// The length of the longest prefix of the set that allows a frame to or from `address`.
    pub fn allows(&self, address: IpAddr, dl_src: MacAddr) -> Option<u8> {
        self.longest_match(address).or_else(|| {
            let family = Ethertype::of(address);
            self.by_mac.contains(&(family, dl_src)).then_some(0)
        })
    }
}

impl FromIterator<IpPrefix> for AddressSet {
    fn from_iter<I: IntoIterator<Item = IpPrefix>>(prefixes: I) -> Self {
        let mut by_length: BTreeMap<(Reverse<u8>, Ethertype), HashSet<u128, FixedState>> =
            BTreeMap::new();
        for prefix in prefixes {
            let key = (Reverse(prefix.length()), prefix.family());
            by_length.entry(key).or_default().insert(prefix.bits());
        }
        let lengths = by_length
            .into_iter()
            .map(|((Reverse(length), family), networks)| (family, length, networks));
        Self {
            lengths: lengths.collect(),
            by_mac: Vec::new(),
        }
    }
}

fn is_link_local(prefix: &IpPrefix) -> bool {
    matches!(prefix.network(), IpAddr::V6(address) if address.is_unicast_link_local())
}

/// The leading `length` bits of an address.
fn network(family: Ethertype, bits: u128, length: u8) -> u128 {
    let host_bits = u32::from(family.bits() - length);
    let leading = bits.checked_shr(host_bits).unwrap_or(0);
    leading.checked_shl(host_bits).unwrap_or(0)
}

/// What a rule asks of the transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Nothing.
    Any,
    /// A destination port from the first to the last of these.
    Range(u16, u16),
    /// An ICMP type, and its code where given.
    Icmp(u8, Option<u8>),
    /// An ICMP type or code that does not exist: Neutron refuses such a rule, and no flow can
    /// match it.
    Impossible,
}

impl Ports {
    /// What this rule asks, as the Open vSwitch firewall driver reads it.
    pub fn of(rule: &SecurityGroupRule) -> Self {
        let Protocol::Number(protocol) = rule.protocol() else {
            return Self::Any;
        };
        match (protocol, rule.port_range_min, rule.port_range_max) {
            (Protocol::ICMP | Protocol::ICMPV6, Some(kind), code) => {
                match (u8::try_from(kind), code.map(u8::try_from).transpose()) {
                    (Ok(kind), Ok(code)) => Self::Icmp(kind, code),
                    _ => Self::Impossible,
                }
            }
            // The firewall driver takes a zero for "not given".
            (_, Some(min @ 1..), Some(max @ 1..)) if Protocol::has_ports(protocol) => {
                Self::Range(min, max)
            }
            _ => Self::Any,
        }
    }

    /// Whether the packet's transport header fits. A fragment without one fits only `Any`.
    pub fn allow(self, packet: &Summary) -> bool {
        self == Self::Any
            || selector(packet).is_some_and(|selector| {
                self.interval()
                    .is_some_and(|(first, last)| (first..=last).contains(&selector))
            })
    }

    /// How many values it allows: the fewer, the more specific.
    pub const fn width(self) -> u32 {
        match self {
            Self::Any => 1 << 16,
            Self::Range(min, max) => max.saturating_sub(min) as u32 + 1,
            Self::Icmp(_, None) => 1 << 8,
            Self::Icmp(_, Some(_)) => 1,
            Self::Impossible => 0,
        }
    }

    /// The [selectors](selector) that fit; `None` where all do, or none can.
    const fn interval(self) -> Option<(u16, u16)> {
        match self {
            Self::Any | Self::Impossible => None,
            Self::Range(min, max) => Some((min, max)),
            Self::Icmp(kind, None) => Some(((kind as u16) << 8, (kind as u16) << 8 | 0xff)),
            Self::Icmp(kind, Some(code)) => {
                let both = (kind as u16) << 8 | code as u16;
                Some((both, both))
            }
        }
    }
}

/// What port ranges look at: the destination port, or the ICMP type and code in one number.
fn selector(packet: &Summary) -> Option<u16> {
    if packet.fragment == Fragment::Later {
        return None;
    }
    match packet.transport {
        Transport::Tcp { dst_port, .. }
        | Transport::Udp { dst_port, .. }
        | Transport::Sctp { dst_port, .. } => Some(dst_port),
        Transport::Icmp { kind, code, .. } | Transport::Icmpv6 { kind, code, .. } => {
            Some(u16::from_be_bytes([kind, code]))
        }
        Transport::None => None,
    }
}

/// The address of the other side, seen from the port; `None` for packets that are not IP.
pub const fn remote_address(packet: &Summary, direction: Direction) -> Option<IpAddr> {
    match (packet.network, direction) {
        (Network::Ipv4 { src, .. }, Direction::Ingress) => Some(IpAddr::V4(src)),
        (Network::Ipv4 { dst, .. }, Direction::Egress) => Some(IpAddr::V4(dst)),
        (Network::Ipv6 { src, .. }, Direction::Ingress) => Some(IpAddr::V6(src)),
        (Network::Ipv6 { dst, .. }, Direction::Egress) => Some(IpAddr::V6(dst)),
        _ => None,
    }
}

/// What only DHCP servers (RFC 2131, RFC 8415) and routers (RFC 4861, section 4.2) send.
pub(crate) const fn is_dhcp_or_ra_server(packet: &Summary) -> bool {
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

/// How specific a match is; the greatest names the event.
///
/// The longest remote prefix wins, then a given protocol, then the narrowest port range or ICMP
/// type, then the smallest id.
pub type Specificity = (u8, bool, Reverse<u32>, Reverse<Uuid>);

/// How specific a rule is that allows a packet by a remote prefix of this length.
pub fn specificity(rule: &SecurityGroupRule, length: u8) -> Specificity {
    let given = rule.protocol() != Protocol::Any;
    (
        length,
        given,
        Reverse(Ports::of(rule).width()),
        Reverse(rule.id),
    )
}

/// Whose addresses an [`AddressSet`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RemoteGroup {
    /// The members of this security group.
    Members(Uuid),
    /// What this address group lists.
    Addresses(Uuid),
}

impl RemoteGroup {
    /// The group that a rule names as its remote side.
    pub fn of(rule: &SecurityGroupRule) -> Option<Self> {
        let members = rule.remote_group_id.map(Self::Members);
        members.or_else(|| rule.remote_address_group_id.map(Self::Addresses))
    }
}

/// The remote side that a rule asks for, as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Remote {
    Any,
    Prefix(IpPrefix),
    /// The number of an [`AddressSet`].
    Set(u32),
}

/// A range of entries of a vector.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of<T>(self, all: &[T]) -> &[T] {
        // Spans are made together with their vector, and point into it.
        all.get(self.start as usize..self.end as usize)
            .unwrap_or(&[])
    }

    /// Appends `items` and tells where they are.
    fn append<T>(all: &mut Vec<T>, items: impl IntoIterator<Item = T>) -> Self {
        let start = position(all.len());
        all.extend(items);
        Self {
            start,
            end: position(all.len()),
        }
    }
}

/// A position in one of the vectors here, which hold far fewer entries than 2³².
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Rules that differ in what they ask of the remote side only.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Rules for any remote side.
    any: Span,
    /// The lengths of remote prefixes, longest first.
    lengths: Span,
    /// The address sets.
    sets: Span,
}

/// The rules of one family and protocol.
#[derive(Clone, Debug)]
struct Bucket {
    family: Ethertype,
    protocol: Protocol,
    /// Rules for any port.
    bare: u32,
    /// Where the pieces of port ranges begin, and the cell of each; what comes before the first
    /// has no rules.
    pieces: Vec<(u16, u32)>,
}

/// A rule as far as a packet that is already known to match needs it.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: Uuid,
    width: u32,
    given: bool,
}

/// The rules of one direction of one security group, ready for matching.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    rules: Vec<Candidate>,
    /// Sorted by family and protocol.
    buckets: Vec<Bucket>,
    cells: Vec<Cell>,
    lengths: Vec<u8>,
    sets: Vec<u32>,
    /// Positions in `rules`, most specific first within each span.
    order: Vec<u32>,
    /// By cell and remote side: rules.
    by_remote: HashMap<(u32, Remote), Span, FixedState>,
}

/// What is asked of a rule index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    packet: &'a Summary,
    remote: IpAddr,
    family: Ethertype,
    selector: Option<u16>,
}

impl<'a> Question<'a> {
    /// Which rules of a port allow this packet in this direction? `None` for packets that are
    /// not IP, which no rule allows.
    pub(crate) fn new(packet: &'a Summary, direction: Direction) -> Option<Self> {
        let remote = remote_address(packet, direction)?;
        Some(Self {
            packet,
            remote,
            family: Ethertype::of(remote),
            selector: selector(packet),
        })
    }
}

impl RuleIndex {
    /// Compiles rules. `set` gives the number of the address set of a remote group or address
    /// group.
    fn new<'a>(
        rules: impl Iterator<Item = &'a SecurityGroupRule>,
        mut set: impl FnMut(RemoteGroup) -> u32,
    ) -> Self {
        type ByProtocol = BTreeMap<(Ethertype, Protocol), Vec<(u32, Ports, Remote)>>;
        let mut index = Self::default();
        let mut by_protocol = ByProtocol::new();
        for rule in rules {
            let (protocol, ports) = (rule.protocol(), Ports::of(rule));
            let remote = match RemoteGroup::of(rule) {
                Some(group) => Remote::Set(set(group)),
                None => rule.remote_ip_prefix.map_or(Remote::Any, Remote::Prefix),
            };
            let at = position(index.rules.len());
            index.rules.push(Candidate {
                id: rule.id,
                width: ports.width(),
                given: protocol != Protocol::Any,
            });
            let bucket = by_protocol.entry((rule.ethertype, protocol)).or_default();
            bucket.push((at, ports, remote));
        }
        for ((family, protocol), mut rules) in by_protocol {
            // Most specific first, which every cell inherits.
            rules.sort_unstable_by_key(|(at, ..)| {
                let rule = &index.rules[*at as usize];
                (rule.width, rule.id)
            });
            let bare = rules.iter().filter(|(_, ports, _)| *ports == Ports::Any);
            let bare = index.add_cell(bare.map(|(at, _, remote)| (*at, *remote)));
            let mut edges: Vec<u16> = rules
                .iter()
                .filter_map(|(_, ports, _)| ports.interval())
                .flat_map(|(first, last)| [Some(first), last.checked_add(1)])
                .flatten()
                .collect();
            edges.sort_unstable();
            edges.dedup();
            let mut pieces = Vec::with_capacity(edges.len());
            for edge in edges {
                let here = rules.iter().filter(|(_, ports, _)| {
                    let interval = ports.interval();
                    interval.is_some_and(|(first, last)| (first..=last).contains(&edge))
                });
                let cell = index.add_cell(here.map(|(at, _, remote)| (*at, *remote)));
                pieces.push((edge, cell));
            }
            index.buckets.push(Bucket {
                family,
                protocol,
                bare,
                pieces,
            });
        }
        index
    }

    /// Makes a cell of rules that come most specific first.
    fn add_cell(&mut self, rules: impl Iterator<Item = (u32, Remote)>) -> u32 {
        let mut by_remote: BTreeMap<Remote, Vec<u32>> = BTreeMap::new();
        for (at, remote) in rules {
            by_remote.entry(remote).or_default().push(at);
        }
        let number = position(self.cells.len());
        let mut cell = Cell::default();
        let (mut lengths, mut sets) = (Vec::new(), Vec::new());
        for (remote, rules) in by_remote {
            let span = Span::append(&mut self.order, rules);
            match remote {
                Remote::Any => {
                    cell.any = span;
                    continue;
                }
                Remote::Prefix(prefix) => lengths.push(prefix.length()),
                Remote::Set(set) => sets.push(set),
            }
            self.by_remote.insert((number, remote), span);
        }
        lengths.sort_unstable_by_key(|length| Reverse(*length));
        lengths.dedup();
        cell.lengths = Span::append(&mut self.lengths, lengths);
        cell.sets = Span::append(&mut self.sets, sets);
        self.cells.push(cell);
        number
    }

    /// The cells whose rules fit the packet in all but the remote side.
    fn cells(&self, asked: &Question<'_>) -> impl Iterator<Item = (u32, Cell)> {
        let bucket = |protocol| {
            let key = |bucket: &Bucket| (bucket.family, bucket.protocol);
            let at = self
                .buckets
                .binary_search_by_key(&(asked.family, protocol), key);
            at.ok().and_then(|at| self.buckets.get(at))
        };
        let of_any = bucket(Protocol::Any).map(|bucket| bucket.bare);
        let of_protocol = asked
            .packet
            .protocol
            .and_then(|protocol| bucket(Protocol::Number(protocol)));
        let of_port = of_protocol
            .zip(asked.selector)
            .and_then(|(bucket, selector)| {
                let after = bucket
                    .pieces
                    .partition_point(|(start, _)| *start <= selector);
                Some(bucket.pieces.get(after.checked_sub(1)?)?.1)
            });
        [of_any, of_protocol.map(|bucket| bucket.bare), of_port]
            .into_iter()
            .flatten()
            .filter_map(|number| Some((number, *self.cells.get(number as usize)?)))
    }

    /// Calls `found` with each span of rules that allow the packet, and the length of the remote
    /// prefix by which they do.
    fn each_span(
        &self,
        asked: &Question<'_>,
        sets: &[impl AsRef<AddressSet>],
        mut found: impl FnMut(Span, u8),
    ) {
        for (number, cell) in self.cells(asked) {
            if cell.any.start != cell.any.end {
                found(cell.any, 0);
            }
            for length in cell.lengths.of(&self.lengths) {
                if let Some(prefix) = IpPrefix::new(asked.remote, *length)
                    && let Some(span) = self.by_remote.get(&(number, Remote::Prefix(prefix)))
                {
                    found(*span, *length);
                }
            }
            for set in cell.sets.of(&self.sets) {
                if let Some(addresses) = sets.get(*set as usize)
                    && let Some(length) =
                        addresses.as_ref().allows(asked.remote, asked.packet.dl_src)
                    && let Some(span) = self.by_remote.get(&(number, Remote::Set(*set)))
                {
                    found(*span, length);
                }
            }
        }
    }

    fn specificity(&self, at: u32, length: u8) -> Option<Specificity> {
        let rule = self.rules.get(at as usize)?;
        Some((length, rule.given, Reverse(rule.width), Reverse(rule.id)))
    }

    /// The most specific rule that allows the packet: its position, and how specifically.
    pub(crate) fn best(
        &self,
        asked: &Question<'_>,
        sets: &[impl AsRef<AddressSet>],
    ) -> Option<(u32, Specificity)> {
        let mut best: Option<(u32, Specificity)> = None;
        self.each_span(asked, sets, |span, length| {
            // The first of a span is its most specific.
            if let Some(&at) = span.of(&self.order).first()
                && let Some(specificity) = self.specificity(at, length)
                && best.is_none_or(|(_, other)| specificity > other)
            {
                best = Some((at, specificity));
            }
        });
        best
    }

    /// Appends every rule that allows the packet: how specifically, its id in it.
    pub(crate) fn all(
        &self,
        asked: &Question<'_>,
        sets: &[impl AsRef<AddressSet>],
        matches: &mut Vec<Specificity>,
    ) {
        self.each_span(asked, sets, |span, length| {
            let rules = span.of(&self.order).iter();
            matches.extend(rules.filter_map(|at| self.specificity(*at, length)));
        });
    }

    /// The ids of the rules, by position.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.rules.iter().map(|rule| rule.id)
    }
}

/// The compiled rules of one security group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupRules {
    ingress: RuleIndex,
    egress: RuleIndex,
}

impl GroupRules {
    /// Compiles a group's rules. `set` gives the number of the address set of a remote group or
    /// address group.
    pub(crate) fn new(
        rules: &[SecurityGroupRule],
        mut set: impl FnMut(RemoteGroup) -> u32,
    ) -> Self {
        let of = |direction| rules.iter().filter(move |rule| rule.direction == direction);
        Self {
            ingress: RuleIndex::new(of(Direction::Ingress), &mut set),
            egress: RuleIndex::new(of(Direction::Egress), &mut set),
        }
    }

    /// The rules of one direction.
    pub(crate) const fn of(&self, direction: Direction) -> &RuleIndex {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes() -> impl Strategy<Value = IpPrefix> {
        // Few distinct bits, so that prefixes overlap and addresses hit them.
        prop_oneof![
            (0u32..64, 26u8..=32).prop_map(|(low, length)| {
                IpPrefix::new(std::net::Ipv4Addr::from(0x0a00_0000 + low).into(), length).unwrap()
            }),
            (0u128..64, 120u8..=128).prop_map(|(low, length)| {
                IpPrefix::new(std::net::Ipv6Addr::from(low).into(), length).unwrap()
            }),
            Just("0.0.0.0/0".parse().unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn longest_match_agrees_with_trying_every_prefix(
            prefixes in prop::collection::vec(prefixes(), 0..12),
            low in 0u32..64,
        ) {
            let set: AddressSet = prefixes.iter().copied().collect();
            for address in [
                IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + low)),
                IpAddr::from(std::net::Ipv6Addr::from(u128::from(low))),
            ] {
                let naive =
                    prefixes.iter().filter(|p| p.contains(address)).map(IpPrefix::length).max();
                prop_assert_eq!(set.longest_match(address), naive);
            }
        }
    }
}
