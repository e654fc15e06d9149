//! [`Layout::Ocsf`](super::Layout::Ocsf): Open Cybersecurity Schema Framework, version 1.8.0.
//!
//! A record is an event of the class Network Activity (4001) with the profiles `cloud`,
//! `datetime`, `host` and `security_control`.
//!
//! ```
//! # use netlog_core::record::{
//! #     Action, Format, Layout, Prefix, Reason, Recorder, Scope, Timestamp, Verdict, port_text,
//! # };
//! # use netlog_core::rule::Direction;
//! # let format = Format { layout: Layout::Ocsf, ..Format::default() };
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
//! # let version = env!("CARGO_PKG_VERSION");
//! assert_eq!(
//!     str::from_utf8(&line).unwrap().replace(",\"", ",\n\"").replace(version, "x.y.z"),
//!     r#"{"time":1525511107000,
//! "time_dt":"2018-05-05T09:05:07.000123456Z",
//! "category_uid":4,
//! "class_uid":4001,
//! "severity_id":1,
//! "activity_id":1,
//! "type_uid":400101,
//! "action_id":1,
//! "disposition_id":1,
//! "cloud":{"provider":"OpenStack",
//! "project_uid":"736672c700cd43e1bd321aeaf940365c"},
//! "metadata":{"version":"1.8.0",
//! "product":{"name":"netlog",
//! "vendor_name":"netlog",
//! "version":"x.y.z"},
//! "profiles":["cloud",
//! "datetime",
//! "host",
//! "security_control"],
//! "tags":[{"name":"log_resource_ids",
//! "values":["4522efdf-8d44-4e19-b237-64cafc49469b"]}]},
//! "device":{"type_id":6,
//! "interface_uid":"e0259ade-86de-482e-a717-f58258f7173f"},
//! "firewall_rule":{"uid":"85c3a9a1-9d5c-4f5e-8f4a-2c41d0a7e1b2"},
//! "observation_point_id":2,
//! "connection_info":{"direction_id":1,
//! "protocol_ver_id":4,
//! "protocol_num":6,
//! "protocol_name":"tcp",
//! "tcp_flags":2},
//! "src_endpoint":{"mac":"fa:16:3e:50:aa:b5",
//! "ip":"172.24.4.10",
//! "port":47825},
//! "dst_endpoint":{"mac":"fa:16:3e:ec:36:32",
//! "ip":"10.0.0.4",
//! "port":80},
//! "traffic":{"bytes":40,
//! "packets":1}}
//! "#
//! );
//! ```
//!
//! # Attributes
//!
//! They always come in this order. What a packet does not have is left out. The meaning of each
//! attribute is the schema's; these are the choices that it leaves:
//!
//! - An accept has the activity Open (1), the action Allowed (1) and the disposition Allowed (1);
//!   a drop has Refuse (5), Denied (2) and Dropped (6). A packet without a verdict has the
//!   activity Traffic (6) and no action.
//! - `cloud.project_uid` is the port's project, `device` the virtual machine and
//!   `device.interface_uid` the port; `metadata.tags` has the log objects.
//! - The direction is seen from the port: ingress is Inbound (1), observed at the destination
//!   (2), and egress is Outbound (2), observed at the source (1).
//! - `firewall_rule.uid`, of an accept, is the security group rule that allows the session, the
//!   most specific one where several do. `status_detail`, of a drop, is a word of
//!   [`Reason`](super::Reason).
//! - An endpoint without an IP address has its hardware address as `uid`; both have the
//!   identifier of the outermost VLAN tag as `vlan_uid`. Of ARP, addresses are the sender's and
//!   the target's.
//! - `packet_list`, if [asked for](super::Format::payload), has the frame in hex.
//! - `unmapped` has what the schema has no attribute for: `eth_type` of packets that are not IP,
//!   `fragment` (`first` or `later`), `icmp_type` and `icmp_code`.

use std::net::IpAddr;

use netlog_packet::room::Room;
use netlog_packet::{Fragment, MacAddr, Network, Packet, Payload, Summary, Transport};

use super::put::Put;
use super::{Action, Scope, Verdict, facts};
use crate::rule::Direction;

/// What all records have in common.
const COMMON: &str = r#""category_uid":4,"class_uid":4001,"severity_id":1,"#;

/// The start of `metadata`; the profiles follow.
const METADATA: &str = concat!(
    r#""metadata":{"version":"1.8.0","product":{"name":"netlog","vendor_name":"netlog","#,
    r#""version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""},"profiles":"#,
);

pub(super) fn head(scope: &Scope<'_>, out: &mut Room<'_>) {
    out.put(COMMON);
    out.put(match scope.action {
        Action::Accept => r#""activity_id":1,"type_uid":400101,"action_id":1,"disposition_id":1,"#,
        Action::Drop => r#""activity_id":5,"type_uid":400105,"action_id":2,"disposition_id":6,"#,
    });
    out.put(r#""cloud":{"provider":"OpenStack","project_uid":"#);
    out.string(scope.project_id);
    out.put("},");
    out.put(METADATA);
    out.put(r#"["cloud","datetime","host","security_control"],"#);
    out.put(r#""tags":[{"name":"log_resource_ids","values":"#);
    out.ids(scope.logs);
    out.put(r#"}]},"device":{"type_id":6,"interface_uid":""#);
}

/// It ends inside `connection_info`.
pub(super) fn tail(direction: Direction, verdict: &Verdict<'_>, out: &mut Room<'_>) {
    out.put(r#""},"#);
    match verdict {
        Verdict::Rules([]) => {}
        Verdict::Rules([rule, ..]) => {
            out.put(r#""firewall_rule":{"uid":"#);
            out.id(rule);
            out.put("},");
        }
        Verdict::Reason(reason) => {
            out.put(r#""status_detail":""#);
            out.put(reason.as_str());
            out.put(r#"","#);
        }
    }
    out.put(match direction {
        Direction::Ingress => r#""observation_point_id":2,"connection_info":{"direction_id":1"#,
        Direction::Egress => r#""observation_point_id":1,"connection_info":{"direction_id":2"#,
    });
}

/// Stands for head and tail where there is no verdict.
pub(super) fn no_verdict(out: &mut Room<'_>) {
    out.put(COMMON);
    out.put(r#""activity_id":6,"type_uid":400106,"#);
    out.put(METADATA);
    out.put(r#"["datetime"]},"connection_info":{"direction_id":0"#);
}

/// It starts inside `connection_info`.
pub(super) fn packet(packet: &Packet<'_>, payload: Payload, out: &mut Room<'_>) {
    let summary = packet.summary();
    match summary.network {
        Network::Ipv4 { .. } => out.put(r#","protocol_ver_id":4"#),
        Network::Ipv6 { .. } => out.put(r#","protocol_ver_id":6"#),
        Network::Arp { .. } | Network::None => {}
    }
    if let Some(number) = summary.protocol {
        out.number(r#","protocol_num":"#, number.into());
        if let Some(keyword) = facts::keyword(number) {
            out.put(r#","protocol_name":""#);
            out.put(keyword);
            out.put("\"");
        }
    }
    if let Transport::Tcp { flags, .. } = summary.transport {
        out.number(r#","tcp_flags":"#, flags.into());
    }
    let (src_ip, dst_ip) = facts::addresses(&summary).unzip();
    let (src_port, dst_port) = facts::ports(&summary).unzip();
    out.put(r#"},"src_endpoint":{"#);
    endpoint(summary.dl_src, src_ip, src_port, summary.vlan, out);
    out.put(r#"},"dst_endpoint":{"#);
    endpoint(summary.dl_dst, dst_ip, dst_port, summary.vlan, out);
    out.put("}");
    if summary.length > 0 {
        out.number(r#","traffic":{"bytes":"#, summary.length);
        out.put(r#","packets":1}"#);
    }
    if payload == Payload::Include {
        // In hex (2), taken from a virtual switch (7).
        out.put(r#","packet_list":[{"encoding_id":2,"source_id":7,"value":""#);
        out.hex(packet.frame());
        out.put(r#""}]"#);
    }
    unmapped(&summary, out);
}

fn endpoint(
    mac: MacAddr,
    ip: Option<IpAddr>,
    port: Option<u16>,
    vlan: Option<u16>,
    out: &mut Room<'_>,
) {
    out.mac(r#""mac":"#, "\"", mac);
    if let Some(ip) = ip {
        out.ip(r#","ip":"#, ip);
    } else {
        out.mac(r#","uid":"#, "\"", mac);
    }
    if let Some(port) = port {
        out.number(r#","port":"#, port.into());
    }
    if let Some(vlan) = vlan {
        out.number(r#","vlan_uid":""#, vlan.into());
        out.put("\"");
    }
}

/// What the schema has no attribute for.
fn unmapped(summary: &Summary, out: &mut Room<'_>) {
    let mut open = r#","unmapped":{"#;
    let mut item = |name: &str, out: &mut Room<'_>| {
        out.put(open);
        out.put(name);
        open = ",";
    };
    if matches!(summary.network, Network::None | Network::Arp { .. }) {
        item(r#""eth_type":"#, out);
        out.number("", summary.dl_type.into());
    }
    match summary.fragment {
        Fragment::None => {}
        Fragment::First => item(r#""fragment":"first""#, out),
        Fragment::Later => item(r#""fragment":"later""#, out),
    }
    if let Some((kind, code)) = facts::icmp(summary) {
        item(r#""icmp_type":"#, out);
        out.number("", kind.into());
        item(r#""icmp_code":"#, out);
        out.number("", code.into());
    }
    if open == "," {
        out.put("}");
    }
}
