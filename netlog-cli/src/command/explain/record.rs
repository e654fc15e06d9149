//! A line of the security event log, read back as far as rules look at it.

use std::collections::HashMap;
use std::net::IpAddr;

use netlog_core::rule::{Direction, Protocol};
use netlog_packet::{Fragment, MacAddr, Network, Summary, Transport};
use serde_json::Value;

/// What a record says.
pub(super) struct Record {
    pub(super) packet: Summary,
    pub(super) port: Option<String>,
    pub(super) direction: Option<Direction>,
}

impl Record {
    /// Reads a record in the layouts `text`, `neutron` and `json`.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        let facts = if line.starts_with('{') {
            Facts::of_json(line)
        } else {
            Facts::of_text(line)
        };
        let facts = facts.ok_or(
            "--record: not a line of the security event log in the layout text, neutron or json",
        )?;
        Ok(Self {
            packet: facts.summary(),
            port: facts.0.get("port_id").cloned(),
            direction: match facts.text("direction") {
                Some("ingress") => Some(Direction::Ingress),
                Some("egress") => Some(Direction::Egress),
                _ => None,
            },
        })
    }
}

/// The fields of a record, by their names in the layout `json`.
struct Facts(HashMap<&'static str, String>);

impl Facts {
    const NAMES: [&'static str; 15] = [
        "port_id",
        "direction",
        "eth_src",
        "eth_type",
        "src_ip",
        "dst_ip",
        "protocol_number",
        "fragment",
        "src_port",
        "dst_port",
        "icmp_type",
        "icmp_code",
        "arp_op",
        "eth_dst",
        "action",
    ];

    fn of_json(line: &str) -> Option<Self> {
        let record: Value = serde_json::from_str(line).ok()?;
        let text = |name: &'static str| match record.get(name)? {
            Value::String(text) => Some((name, text.clone())),
            Value::Number(number) => Some((name, number.to_string())),
            _ => None,
        };
        let facts: HashMap<_, _> = Self::NAMES.into_iter().filter_map(text).collect();
        facts.contains_key("action").then_some(Self(facts))
    }

    /// `… vm_port=… direction=… ethernet(…), ipv4(…), tcp(…)`, or with `pkt=` before the headers.
    fn of_text(line: &str) -> Option<Self> {
        let (before, headers) = line.split_at(line.find("ethernet(")?);
        let mut facts = HashMap::new();
        for word in before.split_whitespace() {
            match word.split_once('=') {
                Some(("vm_port", id)) => drop(facts.insert("port_id", id.to_owned())),
                Some(("direction", way)) => drop(facts.insert("direction", way.to_owned())),
                _ => {}
            }
        }
        let mut rest = headers;
        while let Some((name, after)) = rest.split_once('(') {
            let name = name.trim_start_matches([',', ' ']);
            let (fields, after) = fields(after);
            for (key, value) in fields {
                let known = match (name, key) {
                    ("ethernet", "src") => "eth_src",
                    ("ethernet" | "vlan" | "svlan", "ethertype") => "eth_type",
                    ("ipv4" | "ipv6", "src") | ("arp", "src_ip") => "src_ip",
                    ("ipv4" | "ipv6", "dst") | ("arp", "dst_ip") => "dst_ip",
                    ("ipv4", "proto") | ("ipv6", "nxt") => "protocol_number",
                    ("ipv4", "offset") if value != "0" => "fragment",
                    ("tcp" | "udp" | "sctp", "src_port") => "src_port",
                    ("tcp" | "udp" | "sctp", "dst_port") => "dst_port",
                    ("icmp" | "icmpv6", "type" | "type_") => "icmp_type",
                    ("icmp" | "icmpv6", "code") => "icmp_code",
                    _ => continue,
                };
                let value = if known == "fragment" { "later" } else { value };
                facts.insert(known, value.trim_matches('\'').to_owned());
            }
            // What follows IPv6 extension headers tells the protocol.
            let number = match name {
                "arp" => {
                    facts.insert("arp_op", String::new());
                    None
                }
                "tcp" => Some(Protocol::TCP),
                "udp" => Some(Protocol::UDP),
                "sctp" => Some(Protocol::SCTP),
                "icmpv6" => Some(Protocol::ICMPV6),
                _ => None,
            };
            if let Some(number) = number {
                facts.insert("protocol_number", number.to_string());
            }
            rest = after;
        }
        Some(Self(facts))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn summary(&self) -> Summary {
        let address = |name| self.number::<IpAddr>(name);
        let network = match (address("src_ip"), address("dst_ip")) {
            (Some(IpAddr::V4(spa)), Some(IpAddr::V4(tpa))) if self.0.contains_key("arp_op") => {
                Network::Arp {
                    opcode: 1,
                    sha: MacAddr::default(),
                    spa,
                    tpa,
                }
            }
            (Some(IpAddr::V4(src)), Some(IpAddr::V4(dst))) => Network::Ipv4 { src, dst },
            (Some(IpAddr::V6(src)), Some(IpAddr::V6(dst))) => Network::Ipv6 { src, dst },
            _ => Network::None,
        };
        let protocol = self.number("protocol_number");
        let fragment = match self.text("fragment") {
            Some("first") => Fragment::First,
            Some("later") => Fragment::Later,
            _ => Fragment::None,
        };
        Summary {
            dl_src: self.text("eth_src").and_then(mac).unwrap_or_default(),
            dl_type: self.number("eth_type").unwrap_or_default(),
            network,
            protocol,
            fragment,
            transport: self.transport(protocol, fragment).unwrap_or_default(),
            ..Summary::default()
        }
    }

    fn transport(&self, protocol: Option<u8>, fragment: Fragment) -> Option<Transport> {
        if fragment == Fragment::Later {
            return None;
        }
        let ports = || Some((self.number("src_port")?, self.number("dst_port")?));
        let icmp = || Some((self.number("icmp_type")?, self.number("icmp_code")?));
        Some(match protocol? {
            Protocol::TCP => {
                let (src_port, dst_port) = ports()?;
                Transport::Tcp {
                    src_port,
                    dst_port,
                    seq: 0,
                    flags: 2,
                }
            }
            Protocol::UDP => {
                let (src_port, dst_port) = ports()?;
                Transport::Udp { src_port, dst_port }
            }
            Protocol::SCTP => {
                let (src_port, dst_port) = ports()?;
                Transport::Sctp {
                    src_port,
                    dst_port,
                    tag: 0,
                }
            }
            Protocol::ICMP => {
                let (kind, code) = icmp()?;
                Transport::Icmp {
                    kind,
                    code,
                    id: None,
                }
            }
            Protocol::ICMPV6 => {
                let (kind, code) = icmp()?;
                Transport::Icmpv6 {
                    kind,
                    code,
                    id: None,
                }
            }
            _ => return None,
        })
    }
}

fn mac(text: &str) -> Option<MacAddr> {
    let mut parts = text.split(':').map(|part| u8::from_str_radix(part, 16));
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = parts.next()?.ok()?;
    }
    Some(MacAddr(mac))
}

/// The fields of one header, up to its closing parenthesis, and what follows it.
fn fields(text: &str) -> (Vec<(&str, &str)>, &str) {
    let mut fields = Vec::new();
    let (mut depth, mut quote, mut start, mut equals) = (0_u32, None, 0, None);
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if let Some(end) = quote {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == end => quote = None,
                _ => {}
            }
            continue;
        }
        let ends = depth == 0 && matches!(c, ',' | ')');
        if ends && let Some(equals) = equals.take() {
            fields.push((&text[start..equals], &text[equals + 1..at]));
        }
        match c {
            '\'' | '"' => quote = Some(c),
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => return (fields, &text[at + 1..]),
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => start = at + 1,
            '=' if depth == 0 && equals.is_none() => equals = Some(at),
            _ => {}
        }
    }
    (fields, "")
}
