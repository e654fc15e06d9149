//! [`Layout::Ecs`](super::Layout::Ecs): Elastic Common Schema, version 9.4.0.
//!
//! Names are dotted, which Elasticsearch reads as nested objects.
//!
//! ```
//! # use netlog_core::record::{
//! #     Action, Format, Layout, Prefix, Reason, Recorder, Scope, Timestamp, Verdict, port_text,
//! # };
//! # use netlog_core::rule::Direction;
//! # let format = Format { layout: Layout::Ecs, ..Format::default() };
//! # let (mut head, mut tail, mut line) = (Vec::new(), Vec::new(), Vec::new());
//! # let scope = Scope {
//! #     action: Action::Drop,
//! #     project_id: "736672c700cd43e1bd321aeaf940365c",
//! #     logs: &["4522efdf-8d44-4e19-b237-64cafc49469b".parse().unwrap()],
//! # };
//! # format.head(&scope, &mut head);
//! # format.tail(Direction::Ingress, &Verdict::Reason(Reason::NoRule), &mut tail);
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
//!     r#"{"@timestamp":"2018-05-05T09:05:07.000123456Z",
//! "ecs.version":"9.4.0",
//! "event.kind":"event",
//! "event.module":"netlog",
//! "event.dataset":"netlog.security_group",
//! "observer.type":"firewall",
//! "observer.product":"netlog",
//! "event.category":["network"],
//! "event.type":["connection",
//! "denied"],
//! "event.action":"drop",
//! "event.outcome":"success",
//! "cloud.provider":"openstack",
//! "cloud.project.id":"736672c700cd43e1bd321aeaf940365c",
//! "labels.log_resource_ids":["4522efdf-8d44-4e19-b237-64cafc49469b"],
//! "labels.port_id":"e0259ade-86de-482e-a717-f58258f7173f",
//! "network.direction":"ingress",
//! "event.reason":"no-rule",
//! "source.mac":"FA-16-3E-50-AA-B5",
//! "destination.mac":"FA-16-3E-EC-36-32",
//! "network.type":"ipv4",
//! "source.ip":"172.24.4.10",
//! "destination.ip":"10.0.0.4",
//! "network.bytes":40,
//! "network.transport":"tcp",
//! "network.iana_number":"6",
//! "source.port":47825,
//! "destination.port":80,
//! "labels.tcp_flags":["SYN"]}
//! "#
//! );
//! ```
//!
//! # Fields
//!
//! They always come in this order. What a packet does not have is left out. The meaning of each
//! field is the schema's; these are the choices that it leaves:
//!
//! - A security event is of the types `connection` and either `allowed`, with `start`, as it is
//!   a new session, or `denied`. `event.outcome` is `success` for both: the firewall did what it
//!   is there for, and the schema says what it did in `event.type`.
//! - `event.action` is `accept` or `drop`; `event.reason`, of a drop, is a word of
//!   [`Reason`](super::Reason).
//! - `rule.id`, of an accept, is the security group rule that allows the session, the most
//!   specific one where several do; `labels.security_group_rule_ids` has all of them.
//! - `network.direction` is seen from the port: `ingress` or `egress`.
//! - `network.type` is `ipv4`, `ipv6` or `arp`; of other packets `labels.eth_type` has the
//!   EtherType. Of ARP, `source.ip` is the sender's address and `destination.ip` the target's.
//! - `network.vlan.id` is of the outermost tag.
//! - What the schema has no field for is in `labels`: `log_resource_ids`, `port_id`, `fragment`
//!   (`first` or `later`), `tcp_flags`, `icmp_type` and `icmp_code` and, if
//!   [asked for](super::Format::payload), `payload` in hex.

use netlog_packet::room::Room;
use netlog_packet::{Fragment, Network, Packet, Payload, Transport};

use super::put::Put;
use super::{Action, Scope, Verdict, facts};
use crate::rule::Direction;

/// What all records have in common.
const COMMON: &str = concat!(
    r#""ecs.version":"9.4.0","event.kind":"event","event.module":"netlog","#,
    r#""event.dataset":"netlog.security_group","#,
    r#""observer.type":"firewall","observer.product":"netlog","event.category":["network"],"#,
);

pub(super) fn head(scope: &Scope<'_>, out: &mut Room<'_>) {
    out.put(COMMON);
    out.put(match scope.action {
        Action::Accept => {
            r#""event.type":["connection","start","allowed"],"event.action":"accept","#
        }
        Action::Drop => r#""event.type":["connection","denied"],"event.action":"drop","#,
    });
    out.put(r#""event.outcome":"success","cloud.provider":"openstack","cloud.project.id":"#);
    out.string(scope.project_id);
    out.put(r#","labels.log_resource_ids":"#);
    out.ids(scope.logs);
    out.put(r#","labels.port_id":""#);
}

pub(super) fn tail(direction: Direction, verdict: &Verdict<'_>, out: &mut Room<'_>) {
    out.put(r#"","network.direction":""#);
    out.put(direction.as_str());
    out.put(r#"","#);
    match verdict {
        Verdict::Rules(rules) => {
            if let Some(rule) = rules.first() {
                out.put(r#""rule.id":"#);
                out.id(rule);
                out.put(",");
            }
            out.put(r#""labels.security_group_rule_ids":"#);
            out.ids(rules);
            out.put(",");
        }
        Verdict::Reason(reason) => {
            out.put(r#""event.reason":""#);
            out.put(reason.as_str());
            out.put(r#"","#);
        }
    }
}

/// Stands for head and tail where there is no verdict.
pub(super) fn no_verdict(out: &mut Room<'_>) {
    out.put(COMMON);
    out.put(r#""event.type":["info"],"#);
}

pub(super) fn packet(packet: &Packet<'_>, payload: Payload, out: &mut Room<'_>) {
    let summary = packet.summary();
    out.ieee_mac(r#""source.mac":"#, summary.dl_src);
    out.ieee_mac(r#","destination.mac":"#, summary.dl_dst);
    if let Some(vlan) = summary.vlan {
        out.number(r#","network.vlan.id":""#, vlan.into());
        out.put("\"");
    }
    match summary.network {
        Network::None => {
            out.number(r#","labels.eth_type":""#, summary.dl_type.into());
            out.put("\"");
        }
        Network::Ipv4 { .. } => out.put(r#","network.type":"ipv4""#),
        Network::Ipv6 { .. } => out.put(r#","network.type":"ipv6""#),
        Network::Arp { .. } => out.put(r#","network.type":"arp""#),
    }
    if let Some((src, dst)) = facts::addresses(&summary) {
        out.ip(r#","source.ip":"#, src);
        out.ip(r#","destination.ip":"#, dst);
    }
    if summary.length > 0 {
        out.number(r#","network.bytes":"#, summary.length);
    }
    if let Some(number) = summary.protocol {
        if let Some(keyword) = facts::keyword(number) {
            out.put(r#","network.transport":""#);
            out.put(keyword);
            out.put("\"");
        }
        out.number(r#","network.iana_number":""#, number.into());
        out.put("\"");
    }
    match summary.fragment {
        Fragment::None => {}
        Fragment::First => out.put(r#","labels.fragment":"first""#),
        Fragment::Later => out.put(r#","labels.fragment":"later""#),
    }
    if let Some((src, dst)) = facts::ports(&summary) {
        out.number(r#","source.port":"#, src.into());
        out.number(r#","destination.port":"#, dst.into());
    }
    if let Transport::Tcp { flags, .. } = summary.transport {
        out.put(r#","labels.tcp_flags":"#);
        facts::tcp_flags(flags, out);
    }
    if let Some((kind, code)) = facts::icmp(&summary) {
        out.number(r#","labels.icmp_type":""#, kind.into());
        out.number(r#"","labels.icmp_code":""#, code.into());
        out.put("\"");
    }
    if payload == Payload::Include {
        out.put(r#","labels.payload":""#);
        out.hex(facts::payload(packet));
        out.put("\"");
    }
}
