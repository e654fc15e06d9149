//! The few facts of a frame that rules and sessions look at.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::arp::Arp;
use crate::ethernet::{Ethernet, MacAddr};
use crate::icmp::Icmp;
use crate::icmpv6::Icmpv6;
use crate::ipv4::Ipv4;
use crate::ipv6::Ipv6;
use crate::layer::{Layer, protocol};
use crate::sctp::Sctp;
use crate::tcp::Tcp;
use crate::udp::Udp;
use crate::vlan::Vlan;

/// What rules and sessions look at.
///
/// It follows the RFCs and what the switch matches on, not the text: a later
/// fragment has no ports, though Neutron shows its data as if it were a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Source hardware address.
    pub dl_src: MacAddr,
    /// Destination hardware address.
    pub dl_dst: MacAddr,
    /// VLAN identifier of the outermost tag.
    pub vlan: Option<u16>,
    /// Innermost EtherType; 0 where the frame has no Ethernet header.
    pub dl_type: u16,
    /// Network layer addresses.
    pub network: Network,
    /// Upper-layer protocol number, after all IPv6 extension headers; `None`
    /// where one of these is cut short.
    pub protocol: Option<u8>,
    /// Whether the packet is a fragment.
    pub fragment: Fragment,
    /// Transport layer ports, or types.
    pub transport: Transport,
    /// Length of the network layer packet in bytes as its header says: IPv4
    /// total length, IPv6 payload length and 40; 0 for others.
    pub length: u32,
}

/// Network layer addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Neither IP nor ARP, or cut short.
    #[default]
    None,
    /// Internet Protocol version 4.
    Ipv4 {
        /// Source address.
        src: Ipv4Addr,
        /// Destination address.
        dst: Ipv4Addr,
    },
    /// Internet Protocol version 6.
    Ipv6 {
        /// Source address.
        src: Ipv6Addr,
        /// Destination address.
        dst: Ipv6Addr,
    },
    /// Address Resolution Protocol.
    Arp {
        /// 1 is a request, 2 a reply.
        opcode: u16,
        /// Sender hardware address.
        sha: MacAddr,
        /// Sender protocol address.
        spa: Ipv4Addr,
        /// Target protocol address.
        tpa: Ipv4Addr,
    },
}

/// Whether a packet is a fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fragment {
    /// A whole packet.
    #[default]
    None,
    /// The first fragment, which has the transport header.
    First,
    /// A later fragment, which has none.
    Later,
}

/// Transport layer ports, or types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Another protocol, a later fragment, or cut short.
    #[default]
    None,
    /// Transmission Control Protocol.
    Tcp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Sequence number.
        seq: u32,
        /// Control bits FIN, SYN, RST, PSH, ACK, URG, ECE and CWR, from the
        /// lowest.
        flags: u8,
    },
    /// User Datagram Protocol.
    Udp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
    },
    /// Stream Control Transmission Protocol.
    Sctp {
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Verification tag.
        tag: u32,
    },
    /// Internet Control Message Protocol, in IPv4.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier of an echo request or reply.
        id: Option<u16>,
    },
    /// Internet Control Message Protocol for IPv6, in IPv6.
    Icmpv6 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier of an echo request or reply.
        id: Option<u16>,
    },
}

impl Summary {
    /// Hands a frame's summary to `see`, whose code stands twice: behind IPv4 without a tag, where
    /// the compiler knows the variants and makes no value of them, and behind all else.
    #[inline(always)]
    pub(crate) fn see<R>(frame: &[u8], see: impl FnOnce(Self) -> R) -> R {
        match Ethernet::decode(frame) {
            Some((ethernet, Layer::Ipv4, rest)) => see(Self::of_link(&ethernet).with_ipv4(rest)),
            _ => see(Self::of(frame)),
        }
    }

    pub(crate) fn of(frame: &[u8]) -> Self {
        let Some((ethernet, mut layer, mut rest)) = Ethernet::decode(frame) else {
            return Self::default();
        };
        let mut link = Self::of_link(&ethernet);
        while let Layer::Vlan(tag) = layer {
            let Some((vlan, inner, after)) = Vlan::decode(tag, rest) else {
                return link;
            };
            link.vlan = link.vlan.or(Some(vlan.vid));
            link.dl_type = vlan.ethertype;
            (layer, rest) = (inner, after);
        }
        match layer {
            Layer::Arp => link.with_arp(rest),
            Layer::Ipv4 => link.with_ipv4(rest),
            Layer::Ipv6 => link.with_ipv6(rest),
            _ => link,
        }
    }

    #[inline(always)]
    fn of_link(ethernet: &Ethernet) -> Self {
        Self {
            dl_src: ethernet.src,
            dl_dst: ethernet.dst,
            dl_type: ethernet.ethertype,
            ..Self::default()
        }
    }

    fn with_arp(self, bytes: &[u8]) -> Self {
        let Some((arp, ..)) = Arp::decode(bytes) else {
            return self;
        };
        Self {
            network: Network::Arp {
                opcode: arp.opcode,
                sha: arp.src_mac,
                spa: arp.src_ip,
                tpa: arp.dst_ip,
            },
            ..self
        }
    }

    #[inline(always)]
    fn with_ipv4(self, bytes: &[u8]) -> Self {
        let Some((ipv4, _, rest)) = Ipv4::decode(bytes) else {
            return self;
        };
        let fragment = match (ipv4.offset, ipv4.more_fragments()) {
            (0, false) => Fragment::None,
            (0, true) => Fragment::First,
            _ => Fragment::Later,
        };
        let transport = if ipv4.is_valid() && fragment != Fragment::Later {
            match ipv4.proto {
                protocol::ICMP => Transport::of_icmp(rest),
                protocol => Transport::with_ports(protocol, rest),
            }
        } else {
            Transport::None
        };
        Self {
            network: Network::Ipv4 {
                src: ipv4.src,
                dst: ipv4.dst,
            },
            protocol: Some(ipv4.proto),
            fragment,
            transport,
            length: ipv4.total_length.into(),
            ..self
        }
    }

    fn with_ipv6(self, bytes: &[u8]) -> Self {
        let Some(ipv6) = Ipv6::decode_fixed(bytes) else {
            return self;
        };
        let fixed = Self {
            network: Network::Ipv6 {
                src: ipv6.src,
                dst: ipv6.dst,
            },
            length: 40 + u32::from(ipv6.payload_length),
            ..self
        };
        let Some(upper) = ipv6.upper_layer() else {
            return fixed;
        };
        let transport = match (upper.fragment, upper.protocol) {
            (Fragment::Later, _) => Transport::None,
            (_, protocol::ICMPV6) => Transport::of_icmpv6(upper.bytes),
            (_, protocol) => Transport::with_ports(protocol, upper.bytes),
        };
        Self {
            protocol: Some(upper.protocol),
            fragment: upper.fragment,
            transport,
            ..fixed
        }
    }
}

impl Transport {
    #[inline(always)]
    fn with_ports(protocol: u8, bytes: &[u8]) -> Self {
        match protocol {
            protocol::TCP => Tcp::decode(bytes).map(|(tcp, ..)| Self::Tcp {
                src_port: tcp.src_port,
                dst_port: tcp.dst_port,
                seq: tcp.seq,
                flags: tcp.bits,
            }),
            protocol::UDP => Udp::decode(bytes).map(|(udp, ..)| Self::Udp {
                src_port: udp.src_port,
                dst_port: udp.dst_port,
            }),
            protocol::SCTP => Sctp::decode_fixed(bytes).map(|sctp| Self::Sctp {
                src_port: sctp.src_port,
                dst_port: sctp.dst_port,
                tag: sctp.vtag,
            }),
            _ => None,
        }
        .unwrap_or_default()
    }

    fn of_icmp(bytes: &[u8]) -> Self {
        Icmp::decode_fixed(bytes).map_or(Self::None, |icmp| Self::Icmp {
            kind: icmp.type_,
            code: icmp.code,
            id: icmp.echo_id(),
        })
    }

    fn of_icmpv6(bytes: &[u8]) -> Self {
        Icmpv6::decode_fixed(bytes).map_or(Self::None, |icmpv6| Self::Icmpv6 {
            kind: icmpv6.type_,
            code: icmpv6.code,
            id: icmpv6.echo_id(),
        })
    }
}
