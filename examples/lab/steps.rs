//! The 54 steps: traffic for every path through the pipeline, and the events
//! that it must give.
//!
//! The expectations hold for the log objects of [`LOGS`](crate::LOGS): vm1,
//! vm2 and vm3 log ACCEPT and DROP, vm5 DROP only, vm4 nothing.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use etherparse::TcpHeader;

use crate::frames::{self, BROADCAST, Ends, SEQUENCE, arp_request, link_local, multicast_mac};
use crate::hosts::Family::{self, V4, V6};
use crate::hosts::{VM3_OTHER_PAIR, VM3_PAIR, host};
use crate::traffic::any_port;
use crate::{LabError, Site};
use Direction::{In, Out};
use Verdict::{Accept, Drop};

/// What the firewall did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It let the packet pass.
    Accept,
    /// It did not.
    Drop,
}

/// The VM's point of view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Ingress: to the VM.
    In,
    /// Egress: from the VM.
    Out,
}

/// What the events of one kind, port and direction have in common. Shown as
/// `ACCEPT:vm1:in`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Event {
    /// What the firewall did.
    pub verdict: Verdict,
    /// Whose port.
    pub vm: &'static str,
    /// Which way.
    pub direction: Direction,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Accept => "ACCEPT",
            Drop => "DROP",
        };
        let direction = match self.direction {
            In => "in",
            Out => "out",
        };
        write!(f, "{verdict}:{}:{direction}", self.vm)
    }
}

/// An event that a step must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The event.
    pub event: Event,
    /// How many packets pass its log flow: for an ACCEPT more than one if the
    /// session's first packet is repeated before an answer.
    pub packets: u32,
}

impl Expected {
    /// How many events must be logged: one for each dropped packet, one for
    /// each accepted session.
    pub const fn events(&self) -> u32 {
        match self.event.verdict {
            Accept => 1,
            Drop => self.packets,
        }
    }

    const fn packets(self, packets: u32) -> Self {
        Self { packets, ..self }
    }
}

const fn expected(verdict: Verdict, vm: &'static str, direction: Direction) -> Expected {
    let event = Event {
        verdict,
        vm,
        direction,
    };
    Expected { event, packets: 1 }
}

const fn accept(vm: &'static str, direction: Direction) -> Expected {
    expected(Accept, vm, direction)
}

const fn drop(vm: &'static str, direction: Direction) -> Expected {
    expected(Drop, vm, direction)
}

/// One of the 54 steps.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// `S01` to `S54`.
    pub id: &'static str,
    /// Who sends.
    pub from: &'static str,
    /// What.
    pub title: &'static str,
    /// The events that must be logged.
    pub expected: &'static [Expected],
    /// Whether the events can be relied on. Fragments cannot: the userspace
    /// datapath drops them one by one, or holds them back for 15 s.
    pub asserted: bool,
    run: fn(&Site) -> Result<(), LabError>,
}

impl Step {
    /// Sends the traffic, and returns when the hosts have sent and received
    /// everything that belongs to it.
    pub fn run(&self, site: &Site) -> Result<(), LabError> {
        (self.run)(site)
    }

    /// The step of that id.
    pub fn by_id(id: &str) -> Option<&'static Self> {
        STEPS.iter().find(|step| step.id == id)
    }
}

const fn step(
    id: &'static str,
    from: &'static str,
    title: &'static str,
    expected: &'static [Expected],
    run: fn(&Site) -> Result<(), LabError>,
) -> Step {
    Step {
        id,
        from,
        title,
        expected,
        asserted: true,
        run,
    }
}

impl Step {
    const fn not_asserted(self) -> Self {
        Self {
            asserted: false,
            ..self
        }
    }
}

/// A port on which nothing listens anywhere.
const CLOSED: u16 = 9;

/// Every step, in the order of the table in which their events were recorded.
#[rustfmt::skip]
pub static STEPS: [Step; 54] = [
    step("S01", "ext1", "tcp/22 to vm1, 3 rounds of data", &[accept("vm1", In)],
        |lab| lab.tcp_exchange("ext1", "vm1", V4, 22, 3)),
    step("S02", "ext1", "tcp/8005 to vm1: within a port range", &[accept("vm1", In)],
        |lab| lab.tcp_exchange("ext1", "vm1", V4, 8005, 1)),
    step("S03", "ext1", "udp/53 to vm1, 3 requests and replies on one 5-tuple", &[accept("vm1", In)],
        |lab| lab.udp_exchange("ext1", "vm1", V4, 53, 3)),
    step("S04", "ext1", "3 pings of vm1 with one identifier", &[accept("vm1", In)],
        |lab| lab.ping("ext1", "vm1", V4, 3)),
    step("S05", "ext1", "SYN to vm1 tcp/80: no rule", &[drop("vm1", In)],
        |lab| lab.syn("ext1", "vm1", V4, 80, 1)),
    step("S06", "ext1", "SYN to vm1 tcp/81 and 2 retransmissions: no rule", &[drop("vm1", In).packets(3)],
        |lab| lab.syn("ext1", "vm1", V4, 81, 3)),
    step("S07", "ext1", "tcp/9000 to vm1: remote prefix matches", &[accept("vm1", In)],
        |lab| lab.tcp_exchange("ext1", "vm1", V4, 9000, 1)),
    step("S08", "vm2", "SYN to vm1 tcp/9000: leaves vm2, another remote prefix at vm1", &[accept("vm2", Out), drop("vm1", In)],
        |lab| lab.syn("vm2", "vm1", V4, 9000, 1)),
    step("S09", "ext1", "IPv6 tcp/22 to vm1", &[accept("vm1", In)],
        |lab| lab.tcp_exchange("ext1", "vm1", V6, 22, 1)),
    step("S10", "ext1", "IPv6 SYN to vm1 tcp/80: no rule", &[drop("vm1", In)],
        |lab| lab.syn("ext1", "vm1", V6, 80, 1)),
    step("S11", "ext1", "2 IPv6 pings of vm1", &[accept("vm1", In)],
        |lab| lab.ping("ext1", "vm1", V6, 2)),
    step("S12", "vm1", "tcp/443 to ext1", &[accept("vm1", Out)],
        |lab| lab.tcp_exchange("vm1", "ext1", V4, 443, 1)),
    step("S13", "vm1", "udp/53 to ext1, 2 requests and replies", &[accept("vm1", Out)],
        |lab| lab.udp_exchange("vm1", "ext1", V4, 53, 2)),
    step("S14", "vm1", "2 pings of ext1", &[accept("vm1", Out)],
        |lab| lab.ping("vm1", "ext1", V4, 2)),
    step("S15", "vm1", "IPv6 tcp/443 to ext1", &[accept("vm1", Out)],
        |lab| lab.tcp_exchange("vm1", "ext1", V6, 443, 1)),
    step("S16", "vm2", "tcp/22 to vm1: accepted twice, plain rules", &[accept("vm1", In), accept("vm2", Out)],
        |lab| lab.tcp_exchange("vm2", "vm1", V4, 22, 1)),
    step("S17", "vm1", "tcp/5432 to vm2: remote group", &[accept("vm1", Out), accept("vm2", In)],
        |lab| lab.tcp_exchange("vm1", "vm2", V4, 5432, 1)),
    step("S18", "vm1", "ping of vm2: remote group", &[accept("vm1", Out), accept("vm2", In)],
        |lab| lab.ping("vm1", "vm2", V4, 1)),
    step("S19", "vm1", "IPv6 tcp/5432 to vm2: remote group", &[accept("vm1", Out), accept("vm2", In)],
        |lab| lab.tcp_exchange("vm1", "vm2", V6, 5432, 1)),
    step("S20", "vm1", "tcp/22 to vm3: remote group, any protocol", &[accept("vm1", Out), accept("vm3", In)],
        |lab| lab.tcp_exchange("vm1", "vm3", V4, 22, 1)),
    step("S21", "ext1", "SYN to vm2 tcp/5432: not in the remote group", &[drop("vm2", In)],
        |lab| lab.syn("ext1", "vm2", V4, 5432, 1)),
    step("S22", "ext1", "tcp/6000 to vm2: remote address group", &[accept("vm2", In)],
        |lab| lab.tcp_exchange("ext1", "vm2", V4, 6000, 1)),
    step("S23", "vm3", "SYN to ext1 tcp/443: no rule", &[drop("vm3", Out)],
        |lab| lab.syn("vm3", "ext1", V4, 443, 1)),
    step("S24", "vm3", "tcp/80 to ext1", &[accept("vm3", Out)],
        |lab| lab.tcp_exchange("vm3", "ext1", V4, 80, 1)),
    step("S25", "vm3", "udp/53 to vm1: egress by remote group, ingress by a plain rule", &[accept("vm1", In), accept("vm3", Out)],
        |lab| lab.udp_exchange("vm3", "vm1", V4, 53, 1)),
    step("S26", "vm3", "udp/53 to ext1: not in the remote group", &[drop("vm3", Out)],
        |lab| lab.udp_send("vm3", at("ext1", V4, 53)?, b"request", 1)),
    step("S27", "vm3", "SYN to ext1 tcp/80 from an address that is not vm3's", &[drop("vm3", Out)],
        |lab| {
            let ends = ends("vm3", "ext1", V4)?.from_ip(Ipv4Addr::new(10, 1, 0, 66));
            lab.send_frames("vm3", &[ends.syn(any_port(), 80)?])
        }),
    step("S28", "vm3", "ARP request with a sender that is not vm3", &[drop("vm3", Out)],
        |lab| {
            let request = arp_request(host("vm3")?.mac, Ipv4Addr::new(10, 1, 0, 66), host("ext1")?.v4)?;
            lab.send_frames("vm3", &[request])
        }),
    step("S29", "vm1", "DHCP server's answer", &[drop("vm1", Out)],
        |lab| {
            let ends = ends("vm1", "ext1", V4)?.to(BROADCAST, Ipv4Addr::BROADCAST);
            lab.send_frames("vm1", &[ends.udp(67, 68, b"offer")?])
        }),
    step("S30", "ext1", "vm1 tcp/8006, closed: SYN accepted, the VM answers RST", &[accept("vm1", In)],
        |lab| lab.tcp_refused("ext1", at("vm1", V4, 8006)?)),
    step("S31", "vm1", "5 datagrams of one 5-tuple to ext1, never answered", &[accept("vm1", Out).packets(5)],
        |lab| {
            let silent = lab.udp_bind("ext1", V4, 0)?;
            let port = silent.local_addr().map_or(CLOSED, |address| address.port());
            lab.udp_send("vm1", at("ext1", V4, port)?, b"notice", 5)
        }),
    step("S32", "vm1", "SYN that is never answered, and 2 retransmissions", &[accept("vm1", Out).packets(3)],
        |lab| {
            let to = host("ext1")?;
            let ends = ends("vm1", "ext1", V4)?.to(to.mac, Ipv4Addr::new(10, 1, 0, 250));
            let frame = ends.syn(any_port(), 443)?;
            lab.send_frames("vm1", &[frame.clone(), frame.clone(), frame])
        }),
    step("S33", "vm1", "datagram to a closed port of ext1, ICMP error comes back", &[accept("vm1", Out)],
        |lab| lab.udp_refused("vm1", at("ext1", V4, CLOSED)?)),
    step("S34", "ext1", "udp/53 to vm1 with 3000 bytes: 3 fragments", &[accept("vm1", In)],
        |lab| lab.udp_send("ext1", at("vm1", V4, 53)?, &[0; 3000], 1)).not_asserted(),
    // Connection tracking takes up a connection in mid-stream as a new one.
    step("S35", "ext1", "ACK to vm1 tcp/22 in mid-stream, no connection known", &[accept("vm1", In)],
        |lab| {
            let mut ack = TcpHeader::new(any_port(), 22, SEQUENCE, 64240);
            (ack.ack, ack.acknowledgment_number) = (true, SEQUENCE);
            lab.send_frames("ext1", &[ends("ext1", "vm1", V4)?.tcp(ack)?])
        }),
    step("S36", "ext1", "FIN, PSH and URG at once to vm1 tcp/22: invalid", &[drop("vm1", In)],
        |lab| {
            let mut xmas = TcpHeader::new(any_port(), 22, SEQUENCE, 64240);
            (xmas.fin, xmas.psh, xmas.urg) = (true, true, true);
            lab.send_frames("ext1", &[ends("ext1", "vm1", V4)?.tcp(xmas)?])
        }),
    step("S37", "vm4", "tcp/22 to vm1 from a port without port security", &[accept("vm1", In)],
        |lab| lab.tcp_exchange("vm4", "vm1", V4, 22, 1)),
    step("S38", "vm4", "SYN to vm1 tcp/80: no rule", &[drop("vm1", In)],
        |lab| lab.syn("vm4", "vm1", V4, 80, 1)),
    step("S39", "ext1", "tcp/80 to vm4, without port security: nothing to log", &[],
        |lab| lab.tcp_exchange("ext1", "vm4", V4, 80, 1)),
    step("S40", "vm5", "SYN to ext2 tcp/443: no rule", &[drop("vm5", Out)],
        |lab| lab.syn("vm5", "ext2", V4, 443, 1)),
    step("S41", "ext2", "tcp/80 to vm5: accepted, but vm5 logs only DROP", &[],
        |lab| lab.tcp_exchange("ext2", "vm5", V4, 80, 1)),
    step("S42", "ext2", "SYN to vm5 tcp/22: no rule", &[drop("vm5", In)],
        |lab| lab.syn("ext2", "vm5", V4, 22, 1)),
    step("S43", "vm3", "tcp/80 to ext1 from an allowed address pair", &[accept("vm3", Out)],
        |lab| lab.tcp_exchange_from("vm3", Some(VM3_PAIR.1.into()), "ext1", V4, 80, 1)),
    step("S44", "vm3", "SYN to ext1 tcp/80 from an allowed address pair with another MAC", &[accept("vm3", Out)],
        |lab| {
            let (mac, address) = VM3_OTHER_PAIR;
            let ends = ends("vm3", "ext1", V4)?.from_mac(mac).from_ip(address);
            lab.send_frames("vm3", &[ends.syn(any_port(), 80)?])
        }),
    step("S45", "vm1", "datagram to the subnet's broadcast address", &[accept("vm1", Out)],
        |lab| {
            let ends = ends("vm1", "ext1", V4)?.to(BROADCAST, Ipv4Addr::new(10, 1, 0, 255));
            lab.send_frames("vm1", &[ends.udp(any_port(), CLOSED, b"hello")?])
        }),
    step("S46", "ext1", "multicast to the VMs, which bypasses ingress filtering", &[],
        |lab| {
            let group = Ipv4Addr::new(239, 1, 1, 1);
            let ends = ends("ext1", "vm1", V4)?.to(multicast_mac(group), group);
            lab.send_frames("ext1", &[ends.udp(any_port(), CLOSED, b"hello")?])
        }),
    // A drop, but a silent one: table 81 has no way to a table that can log.
    step("S47", "ext1", "unknown Ethernet type to vm1", &[],
        |lab| {
            let mac = (host("ext1")?.mac, host("vm1")?.mac);
            // The first of the types for experiments (IEEE 802).
            lab.send_frames("ext1", &[frames::ethernet(mac, 0x88b5, &[0; 46])])
        }),
    step("S48", "ext1", "a first fragment to vm1 udp/53, the rest never comes", &[],
        |lab| {
            let mut datagram = [0; 512];
            // UDP header (RFC 768): ports, length of the whole, no checksum.
            datagram[..8].copy_from_slice(&[0x9c, 0x40, 0, 53, 0x04, 0, 0, 0]);
            let first = ends("ext1", "vm1", V4)?.fragment(any_port(), 0, true, &datagram)?;
            lab.send_frames("ext1", &[first])
        }).not_asserted(),
    step("S49", "ext1", "a last fragment to vm1, the first never came", &[],
        |lab| {
            let last = ends("ext1", "vm1", V4)?.fragment(any_port(), 64, false, &[0; 512])?;
            lab.send_frames("ext1", &[last])
        }).not_asserted(),
    step("S50", "vm2", "SYN to vm1 tcp/80: leaves vm2, no rule at vm1", &[accept("vm2", Out), drop("vm1", In)],
        |lab| lab.syn("vm2", "vm1", V4, 80, 1)),
    step("S51", "ext1", "3 datagrams of one 5-tuple to vm1 udp/9999: no rule", &[drop("vm1", In).packets(3)],
        |lab| lab.udp_send("ext1", at("vm1", V4, 9999)?, b"knock", 3)),
    step("S52", "vm1", "router advertisement", &[drop("vm1", Out)],
        |lab| {
            let all_nodes = std::net::Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let vm1 = host("vm1")?;
            let ends = Ends::between(vm1, host("ext1")?, V6)
                .from_ip(link_local(vm1.mac))
                .to([0x33, 0x33, 0, 0, 0, 1], all_nodes);
            lab.send_frames("vm1", &[ends.router_advertisement()?])
        }),
    step("S53", "ext1", "16 s of silence: the switch gives up S48's and S49's fragments", &[],
        |_| {
            // Nothing to ask: the switch looks at its clock at the next packet.
            thread::sleep(Duration::from_secs(16));
            Ok(())
        }).not_asserted(),
    step("S54", "ext1", "ping of vm1; the switch lets go of the fragments as invalid", &[accept("vm1", In), drop("vm1", In).packets(2)],
        |lab| lab.ping("ext1", "vm1", V4, 1)).not_asserted(),
];

fn ends(from: &str, to: &str, family: Family) -> Result<Ends, LabError> {
    Ok(Ends::between(host(from)?, host(to)?, family))
}

fn at(name: &str, family: Family, port: u16) -> Result<SocketAddr, LabError> {
    Ok(SocketAddr::new(host(name)?.address(family), port))
}
