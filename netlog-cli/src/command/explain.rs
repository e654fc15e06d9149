//! `netlog explain`: which rule decides, or what in the nearest rules fails to match.

mod record;

use std::fs;
use std::io::{BufRead as _, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use netlog_core::explain::{Outcome, explain, find_ports};
use netlog_core::inventory::{Inventory, Port};
use netlog_core::rule::{Direction, Protocol};
use netlog_packet::{Network, Packet, Summary, Transport};
use serde_json::{Value, json};

use crate::Streams;
use crate::capture::Capture;
use crate::client::Client;
use crate::error::Error;
use record::Record;

/// The arguments of `netlog explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The port, by name or ID; a record says it itself
    #[arg(long, value_name = "PORT", required_unless_present = "record")]
    pub port: Option<String>,
    /// Towards the port (ingress) or from it (egress); told from the addresses if left out
    #[arg(long, value_enum)]
    pub direction: Option<Way>,
    /// A file with the inventory, as the agent reads it, in place of asking the agent
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// How to print the explanation
    #[arg(short, long, value_enum, default_value_t = Layout::Text)]
    pub format: Layout,
    /// How many rules that do not match to show, the nearest first
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    pub nearest: usize,
    /// The packet.
    #[command(flatten)]
    pub packet: PacketArgs,
}

/// The packet: a 5-tuple, a frame, or a line of the log.
#[derive(Args, Debug)]
#[command(next_help_heading = "Packet")]
pub struct PacketArgs {
    /// Protocol, by Neutron's name or by number
    #[arg(long, value_name = "PROTOCOL", requires = "src", requires = "dst")]
    #[arg(required_unless_present_any = ["hex", "record"])]
    pub proto: Option<String>,
    /// Source address
    #[arg(long, value_name = "ADDRESS", requires = "proto")]
    pub src: Option<IpAddr>,
    /// Destination address
    #[arg(long, value_name = "ADDRESS", requires = "proto")]
    pub dst: Option<IpAddr>,
    /// Source port
    #[arg(long, value_name = "PORT", requires = "proto", default_value_t = 0)]
    #[arg(hide_default_value = true)]
    pub sport: u16,
    /// Destination port
    #[arg(long, value_name = "PORT", requires = "proto")]
    pub dport: Option<u16>,
    /// ICMP type
    #[arg(long, value_name = "TYPE", requires = "proto")]
    pub icmp_type: Option<u8>,
    /// ICMP code
    #[arg(long, value_name = "CODE", requires = "icmp_type", default_value_t = 0)]
    #[arg(hide_default_value = true)]
    pub icmp_code: u8,
    /// A whole frame in hex digits, from the destination hardware address on
    #[arg(long, value_name = "FRAME", conflicts_with_all = ["proto", "record"])]
    pub hex: Option<String>,
    /// A line of the security event log (text, Neutron's or JSON), or '-' for one from
    /// standard input
    #[arg(long, value_name = "LINE", conflicts_with = "proto")]
    pub record: Option<String>,
}

/// A direction on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Way {
    /// Towards the port
    Ingress,
    /// From the port
    Egress,
}

/// How an explanation is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

/// Where the inventory comes from.
#[derive(Debug)]
pub enum Source {
    /// The agent's API.
    Agent(Client),
    /// A file.
    File(PathBuf),
}

/// Explains what the firewall does with a packet. Fails with exit code 1 when it drops it.
pub fn run(args: &ExplainArgs, source: &Source, streams: &mut Streams<'_>) -> Result<(), Error> {
    let told = Told::read(&args.packet, streams)?;
    let inventory = match source {
        Source::Agent(client) => from_agent(client)?,
        Source::File(path) => from_file(path)?,
    };
    let name = args.port.as_deref().or(told.port.as_deref());
    let port = the_port(&inventory, name)?;
    let direction = match args.direction {
        Some(Way::Ingress) => Direction::Ingress,
        Some(Way::Egress) => Direction::Egress,
        None => told
            .direction
            .unwrap_or_else(|| direction_of(port, &told.packet)),
    };
    let explanation = explain(&inventory, port, direction, &told.packet);
    match args.format {
        Layout::Text => write!(streams.stdout, "{}", explanation.to_text(args.nearest))?,
        Layout::Json => writeln!(streams.stdout, "{}", explanation.to_json(args.nearest))?,
    }
    match explanation.outcome {
        Outcome::Allowed | Outcome::Passes(_) => Ok(()),
        Outcome::Dropped(_) | Outcome::DroppedSilently => {
            Err(Error::No("the firewall drops it".to_owned()))
        }
    }
}

/// A packet, with what a record says besides.
struct Told {
    packet: Summary,
    port: Option<String>,
    direction: Option<Direction>,
}

impl Told {
    fn read(args: &PacketArgs, streams: &mut Streams<'_>) -> Result<Self, Error> {
        if let Some(line) = &args.record {
            let mut read = String::new();
            let line = if line == "-" {
                streams
                    .stdin
                    .take(1 << 20)
                    .read_line(&mut read)
                    .map_err(|cause| Error::File {
                        path: "standard input".into(),
                        cause: cause.to_string(),
                    })?;
                &read
            } else {
                line
            };
            let Record {
                packet,
                port,
                direction,
            } = Record::parse(line).map_err(Error::Usage)?;
            return Ok(Self {
                packet,
                port,
                direction,
            });
        }
        let packet = match &args.hex {
            Some(hex) => frame(hex)?,
            None => tuple(args).map_err(Error::Usage)?,
        };
        Ok(Self {
            packet,
            port: None,
            direction: None,
        })
    }
}

fn frame(hex: &str) -> Result<Summary, Error> {
    let mut capture = Capture::open_hex(hex.as_bytes());
    let frame = capture
        .next_frame()
        .map_err(|cause| Error::Usage(format!("--hex: {cause}")))?
        .ok_or_else(|| Error::Usage("--hex: no digits".to_owned()))?;
    Ok(Packet::decode(frame.data).summary())
}

/// The first packet of a session with this 5-tuple.
fn tuple(args: &PacketArgs) -> Result<Summary, String> {
    let (Some(proto), Some(src), Some(dst)) = (&args.proto, args.src, args.dst) else {
        return Err("--proto, --src and --dst go together".to_owned());
    };
    let network = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => Network::Ipv4 { src, dst },
        (IpAddr::V6(src), IpAddr::V6(dst)) => Network::Ipv6 { src, dst },
        _ => return Err("--src and --dst must be of one address family".to_owned()),
    };
    let protocol = match (Protocol::parse(proto), network) {
        (Some(Protocol::Number(Protocol::ICMP)), Network::Ipv6 { .. }) => Protocol::ICMPV6,
        (Some(Protocol::Number(number)), _) => number,
        (Some(Protocol::Any) | None, _) => {
            return Err(format!(
                "--proto: {proto:?} is neither a number from 0 to 255 nor one of Neutron's names"
            ));
        }
    };
    let (src_port, kind, code) = (args.sport, args.icmp_type, args.icmp_code);
    let dst_port = || {
        args.dport
            .ok_or_else(|| format!("--dport: {proto} has ports"))
    };
    let kind = |usual| kind.unwrap_or(usual);
    let transport = match protocol {
        Protocol::TCP => Transport::Tcp {
            src_port,
            dst_port: dst_port()?,
            seq: 0,
            flags: 2,
        },
        Protocol::UDP => Transport::Udp {
            src_port,
            dst_port: dst_port()?,
        },
        Protocol::SCTP => Transport::Sctp {
            src_port,
            dst_port: dst_port()?,
            tag: 0,
        },
        // An echo request, where nothing else is said.
        Protocol::ICMP => Transport::Icmp {
            kind: kind(8),
            code,
            id: None,
        },
        Protocol::ICMPV6 => Transport::Icmpv6 {
            kind: kind(128),
            code,
            id: None,
        },
        _ => Transport::None,
    };
    Ok(Summary {
        network,
        protocol: Some(protocol),
        transport,
        ..Summary::default()
    })
}

/// Egress, if the packet comes from an address of the port.
fn direction_of(port: &Port, packet: &Summary) -> Direction {
    let source: IpAddr = match packet.network {
        Network::Ipv4 { src, .. } => src.into(),
        Network::Ipv6 { src, .. } => src.into(),
        Network::Arp { spa, .. } => spa.into(),
        Network::None => return Direction::Ingress,
    };
    if port.addresses().any(|address| address.contains(source)) {
        Direction::Egress
    } else {
        Direction::Ingress
    }
}

fn the_port<'a>(inventory: &'a Inventory, name: Option<&str>) -> Result<&'a Port, Error> {
    let name = name.ok_or_else(|| Error::Usage("--port: which port?".to_owned()))?;
    match find_ports(inventory, name)[..] {
        [port] => Ok(port),
        [] => Err(Error::No(format!("No Port found for {name}"))),
        _ => Err(Error::No(format!(
            "More than one Port exists with the name '{name}'."
        ))),
    }
}

fn from_file(path: &Path) -> Result<Inventory, Error> {
    let failed = |cause: String| Error::File {
        path: path.to_owned(),
        cause,
    };
    let text = fs::read_to_string(path).map_err(|cause| failed(cause.to_string()))?;
    Inventory::parse(&text).map_err(|cause| failed(cause.to_string()))
}

/// The inventory that the agent works with.
fn from_agent(client: &Client) -> Result<Inventory, Error> {
    let list = |path: &str, key: &str| -> Result<Value, Error> {
        let mut answer = client.get(path, &[])?;
        match answer.get_mut(key).map(Value::take) {
            Some(list) if list.is_array() => Ok(list),
            _ => Err(client.foreign(format_args!("no {key}"))),
        }
    };
    let document = json!({
        "security_groups": list("/v2.0/security-groups", "security_groups")?,
        "address_groups": list("/v2.0/address-groups", "address_groups")?,
        "ports": list("/v2.0/ports", "ports")?,
    });
    Inventory::parse(&document.to_string()).map_err(|cause| client.foreign(cause))
}
