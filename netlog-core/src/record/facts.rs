//! What JSON layouts tell of a packet.

use std::net::IpAddr;

use netlog_packet::room::Room;
use netlog_packet::{Header, Network, Packet, Summary, Transport, protocol};

/// Source and destination address; of ARP the sender's and the target's.
#[inline]
pub(super) fn addresses(packet: &Summary) -> Option<(IpAddr, IpAddr)> {
    match packet.network {
        Network::None => None,
        Network::Ipv4 { src, dst } => Some((src.into(), dst.into())),
        Network::Ipv6 { src, dst } => Some((src.into(), dst.into())),
        Network::Arp { spa, tpa, .. } => Some((spa.into(), tpa.into())),
    }
}

/// Source and destination port.
#[inline]
pub(super) fn ports(packet: &Summary) -> Option<(u16, u16)> {
    match packet.transport {
        Transport::Tcp {
            src_port, dst_port, ..
        }
        | Transport::Udp { src_port, dst_port }
        | Transport::Sctp {
            src_port, dst_port, ..
        } => Some((src_port, dst_port)),
        Transport::None | Transport::Icmp { .. } | Transport::Icmpv6 { .. } => None,
    }
}

/// Type and code.
#[inline]
pub(super) fn icmp(packet: &Summary) -> Option<(u8, u8)> {
    match packet.transport {
        Transport::Icmp { kind, code, .. } | Transport::Icmpv6 { kind, code, .. } => {
            Some((kind, code))
        }
        _ => None,
    }
}

/// What the packet carries behind its headers.
pub(super) fn payload<'a>(packet: &Packet<'a>) -> &'a [u8] {
    match packet.headers().last() {
        Some(Header::Icmp(icmp)) => icmp.body,
        Some(Header::Icmpv6(icmp)) => icmp.body,
        _ => packet.rest(),
    }
}

/// Appends the names of TCP's control bits as a JSON array, from the lowest.
pub(super) fn tcp_flags(flags: u8, out: &mut Room<'_>) {
    const NAMES: [&str; 6] = [
        r#""FIN""#, r#""SYN""#, r#""RST""#, r#""PSH""#, r#""ACK""#, r#""URG""#,
    ];
    let mut separator = "[";
    for (bit, name) in NAMES.into_iter().enumerate() {
        if flags >> bit & 1 != 0 {
            out.put(separator);
            out.put(name);
            separator = ",";
        }
    }
    out.put(if separator == "[" { "[]" } else { "]" });
}

/// The name of a protocol as IANA has it ("Assigned Internet Protocol Numbers"), in lower case.
pub(super) const fn keyword(number: u8) -> Option<&'static str> {
    Some(match number {
        protocol::ICMP => "icmp",
        protocol::IGMP => "igmp",
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        47 => "gre",
        50 => "esp",
        protocol::AH => "ah",
        protocol::ICMPV6 => "ipv6-icmp",
        89 => "ospfigp",
        103 => "pim",
        112 => "vrrp",
        protocol::SCTP => "sctp",
        136 => "udplite",
        _ => return None,
    })
}
