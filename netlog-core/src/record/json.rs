//! [`Layout::Json`](super::Layout::Json): one flat object a line.
//!
//! ```
//! # use netlog_core::record::{
//! #     Action, Format, Layout, Prefix, Reason, Recorder, Scope, Timestamp, Verdict, port_text,
//! # };
//! # use netlog_core::rule::Direction;
//! # let format = Format { layout: Layout::Json, ..Format::default() };
//! # let (mut head, mut tail, mut line) = (Vec::new(), Vec::new(), Vec::new());
//! # let scope = Scope {
//! #     action: Action::Accept,
//! #     project_id: "736672c700cd43e1bd321aeaf940365c",
//! #     logs: &["4522efdf-8d44-4e19-b237-64cafc49469b".parse().unwrap()],
//! # };
//! # let rules = ["85c3a9a1-9d5c-4f5e-8f4a-2c41d0a7e1b2".parse().unwrap()];
//! # format.head(&scope, &mut head);
//! # format.tail(Direction::Ingress, &Verdict::Rules(&rules), &mut tail);
//! # let port = port_text("e0259ade-86de-482e-a717-f58258f7173f".parse().unwrap());
//! # let prefix = Prefix { head: &head, port: &port, tail: &tail };
//! # let time = Timestamp { unix_nanos: 1_525_511_107_000_123_456, utc_offset: 0 };
//! # let packet = netlog_packet::Packet::decode(
//! #     b"\xfa\x16\x3e\xec\x36\x32\xfa\x16\x3e\x50\xaa\xb5\x08\x00\
//! #       \x45\x00\x00\x28\x8f\x1e\x40\x00\x3f\x06\xf2\x8b\xac\x18\x04\x0a\x0a\x00\x00\x04\
//! #       \xba\xd1\x00\x50\xc3\xcb\xbc\x2a\x00\x00\x00\x00\x50\x02\x39\x08\x00\x00\x00\x00",
//! # );
//! # Recorder::new(format).write(time, &prefix, &packet, &mut line);
//! assert_eq!(
//!     str::from_utf8(&line).unwrap().replace(",\"", ",\n\""),
//!     r#"{"time":"2018-05-05T09:05:07.000123456Z",
//! "action":"ACCEPT",
//! "project_id":"736672c700cd43e1bd321aeaf940365c",
//! "log_resource_ids":["4522efdf-8d44-4e19-b237-64cafc49469b"],
//! "port_id":"e0259ade-86de-482e-a717-f58258f7173f",
//! "direction":"ingress",
//! "security_group_rule_id":"85c3a9a1-9d5c-4f5e-8f4a-2c41d0a7e1b2",
//! "security_group_rule_ids":["85c3a9a1-9d5c-4f5e-8f4a-2c41d0a7e1b2"],
//! "eth_src":"fa:16:3e:50:aa:b5",
//! "eth_dst":"fa:16:3e:ec:36:32",
//! "eth_type":2048,
//! "src_ip":"172.24.4.10",
//! "dst_ip":"10.0.0.4",
//! "ip_length":40,
//! "protocol":"tcp",
//! "protocol_number":6,
//! "src_port":47825,
//! "dst_port":80,
//! "tcp_flags":["SYN"],
//! "tcp_seq":3284909098}
//! "#
//! );
//! ```
//!
//! # Fields
//!
//! They always come in this order. What a packet does not have is left out.
//!
//! | Field | Type | Meaning |
//! |---|---|---|
//! | `time` | string | RFC 3339, UTC, nanoseconds |
//! | `action` | string | `ACCEPT` or `DROP` |
//! | `project_id` | string | the port's project |
//! | `log_resource_ids` | array of strings | the log objects that want the event |
//! | `port_id` | string | the port |
//! | `direction` | string | `ingress` or `egress`, seen from the port |
//! | `security_group_rule_id` | string | of an accept: the rule that allows the session; the most specific one where several do; absent where no known rule does |
//! | `security_group_rule_ids` | array of strings | of an accept: all rules that allow the session, the most specific first |
//! | `reason` | string | of a drop: a word of [`Reason`](super::Reason) |
//! | `eth_src`, `eth_dst` | string | hardware addresses |
//! | `eth_type` | number | EtherType, behind VLAN tags |
//! | `vlan_id` | number | of the outermost VLAN tag |
//! | `src_ip`, `dst_ip` | string | addresses; of ARP those of the sender and the target |
//! | `arp_op` | number | 1 is a request, 2 a reply |
//! | `arp_sha` | string | hardware address of the sender of an ARP message |
//! | `ip_length` | number | bytes of the packet, as its IP header says |
//! | `protocol` | string | `icmp`, `igmp`, `tcp`, `udp`, `icmpv6` or `sctp`; absent for others |
//! | `protocol_number` | number | IANA's number, behind IPv6 extension headers |
//! | `fragment` | string | `first` or `later`; only the first has what follows |
//! | `src_port`, `dst_port` | number | of TCP, UDP and SCTP |
//! | `tcp_flags` | array of strings | of `FIN`, `SYN`, `RST`, `PSH`, `ACK`, `URG`, those that are set, in this order |
//! | `tcp_seq` | number | sequence number |
//! | `sctp_tag` | number | verification tag |
//! | `icmp_type`, `icmp_code` | number | of ICMP and ICMPv6 |
//! | `icmp_id` | number | identifier of an echo request or reply |
//! | `payload` | string | if [asked for](super::Format::payload): what follows the headers, in hex |

use netlog_packet::room::Room;
use netlog_packet::{Fragment, Network, Packet, Payload, Transport, protocol};

use super::put::Put;
use super::{Scope, Verdict, facts};
use crate::rule::Direction;

/// `"action":…,"project_id":…,"log_resource_ids":[…],"port_id":…,`
pub(super) fn head(scope: &Scope<'_>, out: &mut Room<'_>) {
    out.put(r#""action":""#);
    out.put(scope.action.as_str());
    out.put(r#"","project_id":"#);
    out.string(scope.project_id);
    out.put(r#","log_resource_ids":"#);
    out.ids(scope.logs);
    out.put(r#","port_id":""#);
}

/// `"direction":…,"security_group_rule_id":…,"security_group_rule_ids":[…],` or
/// `"direction":…,"reason":…,`
pub(super) fn tail(direction: Direction, verdict: &Verdict<'_>, out: &mut Room<'_>) {
    out.put(r#"","direction":""#);
    out.put(direction.as_str());
    match verdict {
        Verdict::Rules(rules) => {
            out.put("\"");
            if let Some(rule) = rules.first() {
                out.put(r#","security_group_rule_id":"#);
                out.id(rule);
            }
            out.put(r#","security_group_rule_ids":"#);
            out.ids(rules);
            out.put(",");
        }
        Verdict::Reason(reason) => {
            out.put(r#"","reason":""#);
            out.put(reason.as_str());
            out.put(r#"","#);
        }
    }
}

/// `"eth_src":…,"eth_dst":…,…`
pub(super) fn packet(packet: &Packet<'_>, payload: Payload, out: &mut Room<'_>) {
    let summary = packet.summary();
    out.mac(r#""eth_src":"#, "\"", summary.dl_src);
    out.mac(r#","eth_dst":"#, "\"", summary.dl_dst);
    out.number(r#","eth_type":"#, summary.dl_type.into());
    if let Some(vlan) = summary.vlan {
        out.number(r#","vlan_id":"#, vlan.into());
    }
    if let Some((src, dst)) = facts::addresses(&summary) {
        out.ip(r#","src_ip":"#, src);
        out.ip(r#","dst_ip":"#, dst);
    }
    match summary.network {
        Network::None => {}
        Network::Arp { opcode, sha, .. } => {
            out.number(r#","arp_op":"#, opcode.into());
            out.mac(r#","arp_sha":"#, "\"", sha);
        }
        Network::Ipv4 { .. } | Network::Ipv6 { .. } => {
            out.number(r#","ip_length":"#, summary.length);
        }
    }
    if let Some(number) = summary.protocol {
        if let Some(name) = protocol_name(number) {
            out.put(r#","protocol":""#);
            out.put(name);
            out.put("\"");
        }
        out.number(r#","protocol_number":"#, number.into());
    }
    match summary.fragment {
        Fragment::None => {}
        Fragment::First => out.put(r#","fragment":"first""#),
        Fragment::Later => out.put(r#","fragment":"later""#),
    }
    if let Some((src, dst)) = facts::ports(&summary) {
        out.number(r#","src_port":"#, src.into());
        out.number(r#","dst_port":"#, dst.into());
    }
    match summary.transport {
        Transport::None | Transport::Udp { .. } => {}
        Transport::Tcp { flags, seq, .. } => {
            out.put(r#","tcp_flags":"#);
            facts::tcp_flags(flags, out);
            out.number(r#","tcp_seq":"#, seq);
        }
        Transport::Sctp { tag, .. } => {
            out.number(r#","sctp_tag":"#, tag);
        }
        Transport::Icmp { kind, code, id } | Transport::Icmpv6 { kind, code, id } => {
            out.number(r#","icmp_type":"#, kind.into());
            out.number(r#","icmp_code":"#, code.into());
            if let Some(id) = id {
                out.number(r#","icmp_id":"#, id.into());
            }
        }
    }
    if payload == Payload::Include {
        out.put(r#","payload":""#);
        out.hex(facts::payload(packet));
        out.put("\"");
    }
}

/// The name of a protocol in Neutron's API.
const fn protocol_name(number: u8) -> Option<&'static str> {
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
