//! Frames that no kernel would send, byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, IpFragOffset, IpHeaders, IpNumber,
    Ipv4Header, Ipv6FlowLabel, PacketBuilder, PacketBuilderStep, TcpHeader, icmpv6, ip_number,
};

use crate::LabError;
use crate::hosts::{Family, Host};

/// The Ethernet broadcast address.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// From whom to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Ethernet source and destination.
    pub mac: ([u8; 6], [u8; 6]),
    /// IP source and destination, of one family.
    pub ip: (IpAddr, IpAddr),
    /// What tells the frame from others: the identification of IPv4, the flow label of IPv6.
    pub mark: u16,
}

impl Ends {
    /// From one host to another, with their own addresses.
    pub const fn between(from: &Host, to: &Host, family: Family) -> Self {
        Self {
            mac: (from.mac, to.mac),
            ip: (from.address(family), to.address(family)),
            mark: 0,
        }
    }

    /// The same with a mark.
    #[must_use]
    pub const fn marked(mut self, mark: u16) -> Self {
        self.mark = mark;
        self
    }

    /// The same with another IP source.
    #[must_use]
    pub fn from_ip(mut self, source: impl Into<IpAddr>) -> Self {
        self.ip.0 = source.into();
        self
    }

    /// The same with another Ethernet source.
    #[must_use]
    pub const fn from_mac(mut self, source: [u8; 6]) -> Self {
        self.mac.0 = source;
        self
    }

    /// The same with another destination.
    #[must_use]
    pub fn to(mut self, mac: [u8; 6], ip: impl Into<IpAddr>) -> Self {
        self.mac.1 = mac;
        self.ip.1 = ip.into();
        self
    }

    fn packet(self) -> Result<PacketBuilderStep<IpHeaders>, LabError> {
        let ethernet = PacketBuilder::ethernet2(self.mac.0, self.mac.1);
        let ip = match self.ip {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header =
                    Ipv4Header::new(0, 64, ip_number::UDP, source.octets(), destination.octets())
                        .map_err(|error| frame_error("IPv4 header", &error))?;
                header.identification = self.mark;
                IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => IpHeaders::Ipv6(
                etherparse::Ipv6Header {
                    source: source.octets(),
                    destination: destination.octets(),
                    flow_label: Ipv6FlowLabel::try_new(self.mark.into())
                        .map_err(|error| frame_error("flow label", &error))?,
                    hop_limit: 255,
                    ..etherparse::Ipv6Header::default()
                },
                etherparse::Ipv6Extensions::default(),
            ),
            (source, destination) => {
                return Err(LabError::Unexpected {
                    what: "IP addresses of a frame".to_owned(),
                    expected: "one family".to_owned(),
                    got: format!("{source} and {destination}"),
                });
            }
        };
        Ok(ethernet.ip(ip))
    }

    /// A TCP segment without data.
    pub fn tcp(self, header: TcpHeader) -> Result<Vec<u8>, LabError> {
        let step = self.packet()?.tcp_header(header);
        written(|frame| step.write(frame, &[]))
    }

    /// A SYN.
    pub fn syn(self, source: u16, destination: u16) -> Result<Vec<u8>, LabError> {
        let mut header = TcpHeader::new(source, destination, SEQUENCE, 64240);
        header.syn = true;
        self.tcp(header)
    }

    /// A UDP datagram.
    pub fn udp(self, source: u16, destination: u16, payload: &[u8]) -> Result<Vec<u8>, LabError> {
        let step = self.packet()?.udp(source, destination);
        written(|frame| step.write(frame, payload))
    }

    /// A message of the family's ICMP; `rest` is what follows the checksum in its header.
    pub fn icmp(self, kind: u8, code: u8, rest: [u8; 4]) -> Result<Vec<u8>, LabError> {
        let step = self.packet()?;
        if self.ip.0.is_ipv4() {
            let step = step.icmpv4_raw(kind, code, rest);
            written(|frame| step.write(frame, &[]))
        } else {
            let step = step.icmpv6_raw(kind, code, rest);
            written(|frame| step.write(frame, &[]))
        }
    }

    /// A packet of any protocol.
    pub fn protocol(self, number: u8, payload: &[u8]) -> Result<Vec<u8>, LabError> {
        let step = self.packet()?;
        written(|frame| step.write(frame, IpNumber(number), payload))
    }

    /// A router advertisement (RFC 4861, 4.2) without options.
    pub fn router_advertisement(self) -> Result<Vec<u8>, LabError> {
        let header = icmpv6::RouterAdvertisementHeader {
            cur_hop_limit: 64,
            managed_address_config: false,
            other_config: false,
            router_lifetime: 1800,
        };
        let step = self
            .packet()?
            .icmpv6(etherparse::Icmpv6Type::RouterAdvertisement(header));
        // Reachable time and retransmission timer: unspecified.
        written(|frame| step.write(frame, &[0; 8]))
    }

    /// A fragment of an IPv4 UDP datagram: `payload` is a multiple of 8 bytes
    /// unless it is the last one, and `offset` counts units of 8 bytes.
    pub fn fragment(
        self,
        identification: u16,
        offset: u16,
        more: bool,
        payload: &[u8],
    ) -> Result<Vec<u8>, LabError> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = self.ip else {
            return Err(LabError::Unexpected {
                what: "IP addresses of a fragment".to_owned(),
                expected: "IPv4".to_owned(),
                got: format!("{} and {}", self.ip.0, self.ip.1),
            });
        };
        let mut header =
            Ipv4Header::new(0, 64, ip_number::UDP, source.octets(), destination.octets())
                .map_err(|error| frame_error("IPv4 header", &error))?;
        header.identification = identification;
        header.dont_fragment = false;
        header.more_fragments = more;
        header.fragment_offset = IpFragOffset::try_new(offset)
            .map_err(|error| frame_error("fragment offset", &error))?;
        let ip = IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default());
        let step = PacketBuilder::ethernet2(self.mac.0, self.mac.1).ip(ip);
        written(|frame| step.write(frame, ip_number::UDP, payload))
    }
}

/// The sequence number of every segment built here: a SYN sent again is a
/// retransmission.
pub const SEQUENCE: u32 = 1_000_000;

/// A broadcast ARP request (RFC 826) that claims `sender`.
pub fn arp_request(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Result<Vec<u8>, LabError> {
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &mac,
        &sender.octets(),
        &[0; 6],
        &target.octets(),
    )
    .map_err(|error| frame_error("ARP request", &error))?;
    let step = PacketBuilder::ethernet2(mac, BROADCAST).arp(packet);
    written(|frame| step.write(frame))
}

/// An Ethernet frame of any type.
pub fn ethernet(mac: ([u8; 6], [u8; 6]), ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = mac;
    let mut frame = [destination, source].concat();
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The Ethernet address of an IPv4 multicast group (RFC 1112, 6.4).
pub const fn multicast_mac(group: Ipv4Addr) -> [u8; 6] {
    let [_, b, c, d] = group.octets();
    [0x01, 0x00, 0x5e, b & 0x7f, c, d]
}

/// The link-local address that a MAC address gives (RFC 4291, appendix A).
pub fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let mut octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 0, 0];
    octets[8..11].copy_from_slice(&mac[..3]);
    octets[13..].copy_from_slice(&mac[3..]);
    octets[8] ^= 2;
    octets.into()
}

fn written<E: std::error::Error>(
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<Vec<u8>, LabError> {
    let mut frame = Vec::new();
    match write(&mut frame) {
        Ok(()) => Ok(frame),
        Err(error) => Err(frame_error("frame", &error)),
    }
}

fn frame_error(what: &str, error: &dyn std::error::Error) -> LabError {
    LabError::Unexpected {
        what: what.to_owned(),
        expected: "values that fit".to_owned(),
        got: error.to_string(),
    }
}
