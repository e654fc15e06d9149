//! One flat JSON object a record ([`Layout::Json`](super::Layout::Json)).

use netlog_packet::{Fragment, Header, Network, Packet, Payload, Summary, Transport, protocol};
use uuid::Uuid;

use super::put::Put;
use super::{Scope, Verdict};
use crate::rule::Direction;

/// `"action":…,"project_id":…,"log_resource_ids":[…],"port_id":…`
pub(super) fn head(scope: &Scope<'_>, out: &mut Vec<u8>) {
    out.put("\"action\":\"");
    out.put(scope.action.as_str());
    out.put("\",\"project_id\":");
    out.string(scope.project_id);
    out.put(",\"log_resource_ids\":");
    ids(scope.logs, out);
    out.put(",\"port_id\":");
    id(&scope.port, out);
}

/// `,"direction":…,"security_group_rule_id":…,"security_group_rule_ids":[…]` or
/// `,"direction":…,"reason":…`
pub(super) fn tail(direction: Direction, verdict: &Verdict<'_>, out: &mut Vec<u8>) {
    out.put(",\"direction\":\"");
    out.put(direction.as_str());
    out.push(b'"');
    match verdict {
        Verdict::Rules(rules) => {
            if let Some(rule) = rules.first() {
                out.put(",\"security_group_rule_id\":");
                id(rule, out);
            }
            out.put(",\"security_group_rule_ids\":");
            ids(rules, out);
        }
        Verdict::Reason(reason) => {
            out.put(",\"reason\":\"");
            out.put(reason.as_str());
            out.push(b'"');
        }
    }
}

pub(super) fn ids(list: &[Uuid], out: &mut Vec<u8>) {
    out.push(b'[');
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        id(item, out);
    }
    out.push(b']');
}

pub(super) fn id(id: &Uuid, out: &mut Vec<u8>) {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    out.push(b'"');
    out.put(id.hyphenated().encode_lower(&mut text));
    out.push(b'"');
}

/// `"eth_src":…,"eth_dst":…,…`
pub(super) fn packet(packet: &Packet<'_>, payload: Payload, out: &mut Vec<u8>) {
    let Summary {
        dl_src,
        dl_dst,
        vlan,
        dl_type,
        network,
        protocol,
        fragment,
        transport,
        length,
        ..
    } = packet.summary();
    out.put("\"eth_src\":\"");
    out.mac(dl_src);
    out.put("\",\"eth_dst\":\"");
    out.mac(dl_dst);
    out.put("\",\"eth_type\":");
    out.number(dl_type.into());
    if let Some(vlan) = vlan {
        out.put(",\"vlan_id\":");
        out.number(vlan.into());
    }
    match network {
        Network::None => {}
        Network::Ipv4 { src, dst } => {
            out.put(",\"src_ip\":\"");
            out.ipv4(src);
            out.put("\",\"dst_ip\":\"");
            out.ipv4(dst);
            out.push(b'"');
        }
        Network::Ipv6 { src, dst } => {
            out.put(",\"src_ip\":\"");
            out.ipv6(src);
            out.put("\",\"dst_ip\":\"");
            out.ipv6(dst);
            out.push(b'"');
        }
        Network::Arp {
            opcode,
            sha,
            spa,
            tpa,
        } => {
            out.put(",\"src_ip\":\"");
            out.ipv4(spa);
            out.put("\",\"dst_ip\":\"");
            out.ipv4(tpa);
            out.put("\",\"arp_op\":");
            out.number(opcode.into());
            out.put(",\"arp_sha\":\"");
            out.mac(sha);
            out.push(b'"');
        }
    }
    if let Some(protocol) = protocol {
        out.put(",\"ip_length\":");
        out.number(length.into());
        if let Some(name) = protocol_name(protocol) {
            out.put(",\"protocol\":\"");
            out.put(name);
            out.push(b'"');
        }
        out.put(",\"protocol_number\":");
        out.number(protocol.into());
    }
    match fragment {
        Fragment::None => {}
        Fragment::First => out.put(",\"fragment\":\"first\""),
        Fragment::Later => out.put(",\"fragment\":\"later\""),
    }
    let mut ports = |src: u16, dst: u16| {
        out.put(",\"src_port\":");
        out.number(src.into());
        out.put(",\"dst_port\":");
        out.number(dst.into());
    };
    match transport {
        Transport::None => {}
        Transport::Tcp {
            src_port,
            dst_port,
            seq,
            flags,
        } => {
            ports(src_port, dst_port);
            out.put(",\"tcp_flags\":[");
            let mut comma = "\"";
            for (bit, name) in TCP_FLAGS.iter().enumerate() {
                if flags & 1 << bit != 0 {
                    out.put(comma);
                    out.put(name);
                    out.push(b'"');
                    comma = ",\"";
                }
            }
            out.put("],\"tcp_seq\":");
            out.number(seq.into());
        }
        Transport::Udp { src_port, dst_port } => ports(src_port, dst_port),
        Transport::Sctp {
            src_port,
            dst_port,
            tag,
        } => {
            ports(src_port, dst_port);
            out.put(",\"sctp_tag\":");
            out.number(tag.into());
        }
        Transport::Icmp { kind, code, id } | Transport::Icmpv6 { kind, code, id } => {
            out.put(",\"icmp_type\":");
            out.number(kind.into());
            out.put(",\"icmp_code\":");
            out.number(code.into());
            if let Some(id) = id {
                out.put(",\"icmp_id\":");
                out.number(id.into());
            }
        }
    }
    if payload == Payload::Include {
        out.put(",\"payload\":\"");
        out.hex(payload_of(packet));
        out.push(b'"');
    }
}

/// What a packet carries behind its headers.
fn payload_of<'a>(packet: &Packet<'a>) -> &'a [u8] {
    match packet.headers().last() {
        Some(Header::Icmp(icmp)) => icmp.body,
        Some(Header::Icmpv6(icmp)) => icmp.body,
        _ => packet.rest(),
    }
}

/// Names of the control bits of TCP, from the lowest.
const TCP_FLAGS: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];

/// The names that security group rules use.
pub(super) const fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        protocol::ICMP => "icmp",
        protocol::IGMP => "igmp",
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::ICMPV6 => "icmpv6",
        protocol::SCTP => "sctp",
        _ => return None,
    })
}
