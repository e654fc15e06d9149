//! Security group rules: what Neutron allows, in the words of its API.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::prefix::{Ethertype, IpPrefix};

/// Seen from the port: packets to it, or packets from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Towards the port.
    Ingress,
    /// From the port.
    Egress,
}

impl Direction {
    /// Neutron's word: `ingress` or `egress`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The protocol of a rule: a number, or any.
///
/// Neutron takes names and numbers; both become the number here
/// (`neutron_lib.constants.IP_PROTOCOL_MAP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Neutron's `null` or `any`.
    Any,
    /// An IP protocol number.
    Number(u8),
}

impl Protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// Transmission Control Protocol.
    pub const TCP: u8 = 6;
    /// User Datagram Protocol.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// Stream Control Transmission Protocol.
    pub const SCTP: u8 = 132;

    /// Neutron's protocol names with their numbers.
    const NAMES: [(&'static str, u8); 25] = [
        ("ah", 51),
        ("dccp", 33),
        ("egp", 8),
        ("esp", 50),
        ("gre", 47),
        ("hopopt", 0),
        ("icmp", Self::ICMP),
        ("icmpv6", Self::ICMPV6),
        ("igmp", 2),
        ("ip", 0),
        ("ipip", 4),
        ("ipv6-encap", 41),
        ("ipv6-frag", 44),
        ("ipv6-icmp", Self::ICMPV6),
        ("ipv6-nonxt", 59),
        ("ipv6-opts", 60),
        ("ipv6-route", 43),
        ("ospf", 89),
        ("pgm", 113),
        ("rsvp", 46),
        ("sctp", Self::SCTP),
        ("tcp", Self::TCP),
        ("udp", Self::UDP),
        ("udplite", 136),
        ("vrrp", 112),
    ];

    /// A protocol by Neutron's name, by number, or `any`; `None` for other words.
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("any") {
            return Some(Self::Any);
        }
        if let Ok(number) = text.parse() {
            return Some(Self::Number(number));
        }
        Self::NAMES
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|&(_, number)| Self::Number(number))
    }

    /// Neutron's name of a protocol number, where it has one.
    pub fn name(number: u8) -> Option<&'static str> {
        match number {
            // Two names each; these are the ones Neutron prints.
            0 => Some("ip"),
            Self::ICMPV6 => Some("ipv6-icmp"),
            _ => Self::NAMES
                .iter()
                .find(|(_, n)| *n == number)
                .map(|(name, _)| *name),
        }
    }

    /// Whether the Open vSwitch firewall driver matches ports of this protocol.
    ///
    /// It does for TCP, UDP and SCTP; a port range on any other protocol has no effect.
    pub const fn has_ports(number: u8) -> bool {
        matches!(number, Self::TCP | Self::UDP | Self::SCTP)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Any => f.write_str("any"),
            Self::Number(number) => match Self::name(number) {
                Some(name) => f.write_str(name),
                None => write!(f, "{number}"),
            },
        }
    }
}

/// One allow rule of a security group.
///
/// The fields are those of Neutron's API (`/v2.0/security-group-rules`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecurityGroupRule {
    /// The rule's id, which records name.
    pub id: Uuid,
    /// Whether it allows packets to or from the port.
    pub direction: Direction,
    /// The address family it allows.
    pub ethertype: Ethertype,
    /// The protocol it allows.
    #[serde(default, deserialize_with = "protocol_name")]
    protocol: Option<String>,
    /// Lowest destination port, or the ICMP type.
    #[serde(default)]
    pub port_range_min: Option<u16>,
    /// Highest destination port, or the ICMP code.
    #[serde(default)]
    pub port_range_max: Option<u16>,
    /// The remote addresses it allows.
    #[serde(default)]
    pub remote_ip_prefix: Option<IpPrefix>,
    /// The security group whose members are allowed as the remote side.
    #[serde(default)]
    pub remote_group_id: Option<Uuid>,
    /// The address group that is allowed as the remote side.
    #[serde(default)]
    pub remote_address_group_id: Option<Uuid>,
}

impl SecurityGroupRule {
    /// The protocol that the rule allows on the wire.
    ///
    /// `icmp` on an IPv6 rule means ICMPv6, as Neutron's agent reads it; by number it stays as
    /// it is.
    pub fn protocol(&self) -> Protocol {
        match (self.ethertype, self.protocol.as_deref()) {
            (_, None) => Protocol::Any,
            (Ethertype::IPv6, Some(name)) if name.eq_ignore_ascii_case("icmp") => {
                Protocol::Number(Protocol::ICMPV6)
            }
            // `protocol_name` let only known words in.
            (_, Some(name)) => Protocol::parse(name).unwrap_or(Protocol::Any),
        }
    }

    /// Whether it allows the same as another rule, as Neutron tells: a prefix of no bits is no
    /// prefix.
    pub fn allows_as(&self, other: &Self) -> bool {
        let key = |rule: &Self| {
            (
                (rule.direction, rule.ethertype, rule.protocol()),
                (rule.port_range_min, rule.port_range_max),
                rule.remote_ip_prefix.filter(|prefix| prefix.length() > 0),
                (rule.remote_group_id, rule.remote_address_group_id),
            )
        };
        key(self) == key(other)
    }
}

/// Reads the `protocol` of a rule: null, a number, or one of Neutron's names.
fn protocol_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let name = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(None),
        Value::String(name) => name,
        other => other.to_string(),
    };
    if Protocol::parse(&name).is_none() {
        return Err(serde::de::Error::custom(format_args!(
            "protocol {name:?} is neither a number from 0 to 255 nor one of Neutron's names"
        )));
    }
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> SecurityGroupRule {
        let base = r#""id":"4e000000-0000-4000-8000-000000000001","direction":"ingress""#;
        serde_json::from_str(&format!("{{{base},{json}}}")).unwrap()
    }

    #[test]
    fn protocols_by_name_and_number_mean_the_same() {
        for (name, number) in Protocol::NAMES {
            assert_eq!(Protocol::parse(name), Some(Protocol::Number(number)));
            assert_eq!(
                Protocol::parse(&number.to_string()),
                Some(Protocol::Number(number))
            );
        }
        assert_eq!(Protocol::parse("any"), Some(Protocol::Any));
        assert_eq!(Protocol::parse("ANY"), Some(Protocol::Any));
        for word in ["", "256", "-1", "quic"] {
            assert_eq!(Protocol::parse(word), None, "{word}");
        }
    }

    #[test]
    fn icmp_on_an_ipv6_rule_is_icmpv6() {
        let named = rule(r#""ethertype":"IPv6","protocol":"icmp""#);
        assert_eq!(named.protocol(), Protocol::Number(58));
        assert_eq!(
            rule(r#""ethertype":"IPv6","protocol":"1""#).protocol(),
            Protocol::Number(1)
        );
        assert_eq!(
            rule(r#""ethertype":"IPv4","protocol":1"#).protocol(),
            Protocol::Number(1)
        );
        assert_eq!(
            rule(r#""ethertype":"IPv4","protocol":null"#).protocol(),
            Protocol::Any
        );
        assert_eq!(rule(r#""ethertype":"IPv4""#).protocol(), Protocol::Any);
    }
}
