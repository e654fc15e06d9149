//! Security group rules compiled for matching.
//!
//! The rules of a group are compiled once and shared by the group's ports. Remote groups and
//! address groups become sets of addresses, shared by all rules that name them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use netlog_packet::{Fragment, Network, Summary, Transport};
use uuid::Uuid;

use crate::inventory::Inventory;
use crate::prefix::{Ethertype, IpPrefix, address_bits};
use crate::rule::{Direction, Protocol, SecurityGroupRule};

/// A set of addresses made of prefixes, asked for the longest that holds an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// Per family and prefix length, longest first: the networks, sorted.
    lengths: Vec<(Ethertype, u8, Vec<u128>)>,
}

impl AddressSet {
    /// The length of the longest prefix of the set that holds `address`.
    pub fn longest_match(&self, address: IpAddr) -> Option<u8> {
        let family = Ethertype::of(address);
        let bits = address_bits(address);
        self.lengths
            .iter()
            .filter(|(of, ..)| *of == family)
            .find(|(_, length, networks)| {
                let host_bits = u32::from(family.bits() - length);
                let network = bits
                    .checked_shr(host_bits)
                    .unwrap_or(0)
                    .checked_shl(host_bits)
                    .unwrap_or(0);
                networks.binary_search(&network).is_ok()
            })
            .map(|(_, length, _)| *length)
    }
}

impl FromIterator<IpPrefix> for AddressSet {
    fn from_iter<I: IntoIterator<Item = IpPrefix>>(prefixes: I) -> Self {
        let mut by_length: BTreeMap<(Reverse<u8>, Ethertype), Vec<u128>> = BTreeMap::new();
        for prefix in prefixes {
            let key = (Reverse(prefix.length()), prefix.family());
            by_length.entry(key).or_default().push(prefix.bits());
        }
        let lengths = by_length
            .into_iter()
            .map(|((Reverse(length), family), mut networks)| {
                networks.sort_unstable();
                networks.dedup();
                (family, length, networks)
            });
        Self {
            lengths: lengths.collect(),
        }
    }
}

/// What a rule asks of the remote side.
#[derive(Clone, Debug)]
enum Remote {
    Any,
    Prefix(IpPrefix),
    Set(Arc<AddressSet>),
}

impl Remote {
    /// The length of the prefix that allows `address`; 0 where any is allowed.
    fn allows(&self, address: IpAddr) -> Option<u8> {
        match self {
            Self::Any => Some(0),
            Self::Prefix(prefix) => prefix.contains(address).then_some(prefix.length()),
            Self::Set(set) => set.longest_match(address),
        }
    }
}

/// What a rule asks of the transport header.
#[derive(Clone, Copy, Debug)]
enum Ports {
    Any,
    /// Destination ports, both ends included.
    Range(u16, u16),
    /// An ICMP type, and its code where given.
    Icmp(u8, Option<u8>),
}

impl Ports {
    fn of(rule: &SecurityGroupRule, protocol: Protocol) -> Self {
        let Protocol::Number(protocol) = protocol else {
            return Self::Any;
        };
        match (protocol, rule.port_range_min, rule.port_range_max) {
            (Protocol::ICMP | Protocol::ICMPV6, Some(kind), code) => match u8::try_from(kind) {
                Ok(kind) => Self::Icmp(kind, code.and_then(|code| u8::try_from(code).ok())),
                Err(_) => Self::Any,
            },
            // The firewall driver takes a zero for "not given".
            (_, Some(min @ 1..), Some(max @ 1..)) if Protocol::has_ports(protocol) => {
                Self::Range(min, max)
            }
            _ => Self::Any,
        }
    }

    /// Whether the packet's transport header fits. A fragment without one fits only `Any`.
    fn allow(self, packet: &Summary) -> bool {
        match (self, packet.transport) {
            (Self::Any, _) => true,
            (_, _) if packet.fragment == Fragment::Later => false,
            (
                Self::Range(min, max),
                Transport::Tcp { dst_port, .. }
                | Transport::Udp { dst_port, .. }
                | Transport::Sctp { dst_port, .. },
            ) => (min..=max).contains(&dst_port),
            (
                Self::Icmp(kind, code),
                Transport::Icmp {
                    kind: found,
                    code: with,
                    ..
                }
                | Transport::Icmpv6 {
                    kind: found,
                    code: with,
                    ..
                },
            ) => kind == found && code.is_none_or(|code| code == with),
            _ => false,
        }
    }

    /// How many values it allows: the fewer, the more specific.
    const fn width(self) -> u32 {
        match self {
            Self::Any => 1 << 16,
            Self::Range(min, max) => max.saturating_sub(min) as u32 + 1,
            Self::Icmp(_, None) => 1 << 8,
            Self::Icmp(_, Some(_)) => 1,
        }
    }
}

/// How specific a match is; the greatest names the event.
///
/// The longest remote prefix wins, then a given protocol, then the narrowest port range or ICMP
/// type, then the smallest id.
pub(crate) type Specificity = (u8, bool, Reverse<u32>, Reverse<Uuid>);

/// A rule made ready for matching.
#[derive(Clone, Debug)]
pub(crate) struct CompiledRule {
    id: Uuid,
    ethertype: Ethertype,
    protocol: Protocol,
    ports: Ports,
    remote: Remote,
}

impl CompiledRule {
    /// The rule's id.
    pub(crate) const fn id(&self) -> Uuid {
        self.id
    }

    /// How specifically the rule allows this packet to or from `remote`; `None` if it does not.
    pub(crate) fn allows(&self, packet: &Summary, remote: IpAddr) -> Option<Specificity> {
        if self.ethertype != Ethertype::of(remote) {
            return None;
        }
        if let Protocol::Number(protocol) = self.protocol
            && packet.protocol != Some(protocol)
        {
            return None;
        }
        if !self.ports.allow(packet) {
            return None;
        }
        let length = self.remote.allows(remote)?;
        let given = self.protocol != Protocol::Any;
        Some((length, given, Reverse(self.ports.width()), Reverse(self.id)))
    }
}

/// The address of the other side, seen from the port; `None` for packets that are not IP.
pub(crate) const fn remote_address(packet: &Summary, direction: Direction) -> Option<IpAddr> {
    match (packet.network, direction) {
        (Network::Ipv4 { src, .. }, Direction::Ingress) => Some(IpAddr::V4(src)),
        (Network::Ipv4 { dst, .. }, Direction::Egress) => Some(IpAddr::V4(dst)),
        (Network::Ipv6 { src, .. }, Direction::Ingress) => Some(IpAddr::V6(src)),
        (Network::Ipv6 { dst, .. }, Direction::Egress) => Some(IpAddr::V6(dst)),
        _ => None,
    }
}

/// The compiled rules of one security group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupRules {
    ingress: Vec<CompiledRule>,
    egress: Vec<CompiledRule>,
}

impl GroupRules {
    /// The rules of one direction.
    pub(crate) fn of(&self, direction: Direction) -> &[CompiledRule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// Compiles every security group of the inventory.
pub(crate) fn compile(inventory: &Inventory) -> HashMap<Uuid, Arc<GroupRules>> {
    let mut members: HashMap<Uuid, Vec<IpPrefix>> = HashMap::new();
    for port in inventory.ports() {
        for group in &port.security_groups {
            // Neutron tells members by fixed addresses and allowed address pairs; an IPv6
            // link-local address is neither.
            members
                .entry(*group)
                .or_default()
                .extend(port.addresses().filter(|address| !is_link_local(address)));
        }
    }
    let mut groups: HashMap<Uuid, Arc<AddressSet>> = HashMap::new();
    let mut address_groups: HashMap<Uuid, Arc<AddressSet>> = HashMap::new();
    let mut remote = |rule: &SecurityGroupRule| {
        if let Some(id) = rule.remote_group_id {
            let set = groups.entry(id).or_insert_with(|| {
                Arc::new(members.get(&id).into_iter().flatten().copied().collect())
            });
            Remote::Set(Arc::clone(set))
        } else if let Some(id) = rule.remote_address_group_id {
            let set = address_groups.entry(id).or_insert_with(|| {
                let group = inventory.address_group(id);
                Arc::new(
                    group
                        .into_iter()
                        .flat_map(|g| &g.addresses)
                        .copied()
                        .collect(),
                )
            });
            Remote::Set(Arc::clone(set))
        } else {
            rule.remote_ip_prefix.map_or(Remote::Any, Remote::Prefix)
        }
    };
    inventory
        .security_groups()
        .map(|group| {
            let mut rules = GroupRules::default();
            for rule in &group.security_group_rules {
                let protocol = rule.protocol();
                let compiled = CompiledRule {
                    id: rule.id,
                    ethertype: rule.ethertype,
                    protocol,
                    ports: Ports::of(rule, protocol),
                    remote: remote(rule),
                };
                match rule.direction {
                    Direction::Ingress => rules.ingress.push(compiled),
                    Direction::Egress => rules.egress.push(compiled),
                }
            }
            (group.id, Arc::new(rules))
        })
        .collect()
}

fn is_link_local(prefix: &IpPrefix) -> bool {
    matches!(prefix.network(), IpAddr::V6(address) if address.is_unicast_link_local())
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
