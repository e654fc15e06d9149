//! Ethernet frames decoded in place, and Neutron's text of their headers.

mod arp;
mod ethernet;
mod icmp;
mod icmpv6;
mod igmp;
mod ipv4;
mod ipv6;
mod layer;
mod sctp;
mod summary;
mod tcp;
mod text;
mod udp;
mod vlan;
mod wire;

pub use arp::Arp;
pub use ethernet::{Ethernet, MacAddr};
pub use icmp::Icmp;
pub use icmpv6::Icmpv6;
pub use igmp::Igmp;
pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use layer::{Tag, ethertype, protocol};
pub use sctp::Sctp;
pub use summary::{Fragment, Network, Summary, Transport};
pub use tcp::Tcp;
pub use udp::Udp;
pub use vlan::Vlan;

use layer::Layer;
use text::{Sink, Text};

/// Whether payload is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// Left out.
    #[default]
    Omit,
    /// Written as Neutron does.
    Include,
}

/// Why decoding stopped before the end of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// What follows is payload, or of a protocol that is not decoded.
    Payload,
    /// What follows is all zero.
    Padding,
    /// The next header is cut short or contradicts itself.
    Malformed,
}

/// A frame decoded in place.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    frame: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes a frame from its destination address on. Any bytes will do.
    pub const fn decode(frame: &'a [u8]) -> Self {
        Self { frame }
    }

    /// The frame as it was given.
    pub const fn frame(&self) -> &'a [u8] {
        self.frame
    }

    /// The headers from the outside in, as Neutron sees them.
    pub const fn headers(&self) -> Headers<'a> {
        Headers {
            layer: Layer::Ethernet,
            rest: self.frame,
            malformed: false,
        }
    }

    /// What follows the last header that decodes.
    pub fn rest(&self) -> &'a [u8] {
        self.decoded().rest
    }

    /// Why there is a [rest](Self::rest); `None` where there is none.
    pub fn stop(&self) -> Option<StopReason> {
        let headers = self.decoded();
        if headers.rest.is_empty() {
            None
        } else if headers.malformed {
            Some(StopReason::Malformed)
        } else if is_zero(headers.rest) {
            Some(StopReason::Padding)
        } else {
            Some(StopReason::Payload)
        }
    }

    /// What rules and sessions look at.
    pub fn summary(&self) -> Summary {
        Summary::of(self.frame)
    }

    /// Appends Neutron's text of the frame, as it is after `pkt=`.
    pub fn write_text(&self, payload: Payload, out: &mut Vec<u8>) {
        let mut text = Text::new(out, payload);
        let mut headers = self.headers();
        let mut label = "";
        for header in headers.by_ref().filter(Header::is_shown) {
            text.put(label);
            header.write(&mut text);
            label = ", ";
        }
        if payload == Payload::Include && !is_zero(headers.rest) {
            text.bytes(label, headers.rest);
        }
    }

    fn decoded(&self) -> Headers<'a> {
        let mut headers = self.headers();
        headers.by_ref().for_each(drop);
        headers
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// One header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header<'a> {
    /// Ethernet II.
    Ethernet(Ethernet),
    /// A VLAN tag.
    Vlan(Vlan),
    /// Address Resolution Protocol.
    Arp(Arp),
    /// Internet Protocol version 4.
    Ipv4(Ipv4<'a>),
    /// Internet Protocol version 6, with its extension headers.
    Ipv6(Ipv6<'a>),
    /// Internet Control Message Protocol.
    Icmp(Icmp<'a>),
    /// Internet Group Management Protocol.
    Igmp(Igmp<'a>),
    /// Transmission Control Protocol.
    Tcp(Tcp<'a>),
    /// User Datagram Protocol.
    Udp(Udp),
    /// Internet Control Message Protocol for IPv6.
    Icmpv6(Icmpv6<'a>),
    /// Stream Control Transmission Protocol.
    Sctp(Sctp<'a>),
}

impl Header<'_> {
    /// Neutron leaves out a header that says it has no length, and shows only
    /// what it makes of the bytes inside.
    const fn is_shown(&self) -> bool {
        match self {
            Self::Ipv4(header) => header.header_length != 0,
            Self::Tcp(header) => header.offset != 0,
            _ => true,
        }
    }

    fn write(&self, to: &mut impl Sink) {
        match self {
            Self::Ethernet(header) => header.write(to),
            Self::Vlan(header) => header.write(to),
            Self::Arp(header) => header.write(to),
            Self::Ipv4(header) => header.write(to),
            Self::Ipv6(header) => header.write(to),
            Self::Icmp(header) => header.write(to),
            Self::Igmp(header) => header.write(to),
            Self::Tcp(header) => header.write(to),
            Self::Udp(header) => header.write(to),
            Self::Icmpv6(header) => header.write(to),
            Self::Sctp(header) => header.write(to),
        }
    }
}

/// Iterates over the headers of a frame.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    layer: Layer,
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        /// Decodes one kind of header.
        macro_rules! decode {
            ($kind:ident) => {
                $kind::decode(self.rest)
                    .map(|(header, layer, rest)| (Header::$kind(header), layer, rest))
            };
        }
        if self.layer == Layer::None || is_zero(self.rest) {
            self.layer = Layer::None;
            return None;
        }
        let decoded = match self.layer {
            Layer::Ethernet => decode!(Ethernet),
            Layer::Vlan(tag) => Vlan::decode(tag, self.rest)
                .map(|(header, layer, rest)| (Header::Vlan(header), layer, rest)),
            Layer::Arp => decode!(Arp),
            Layer::Ipv4 => decode!(Ipv4),
            Layer::Ipv6 => decode!(Ipv6),
            Layer::Icmp => decode!(Icmp),
            Layer::Igmp => decode!(Igmp),
            Layer::Tcp => decode!(Tcp),
            Layer::Udp => decode!(Udp),
            Layer::Icmpv6 => decode!(Icmpv6),
            Layer::Sctp => decode!(Sctp),
            Layer::None => None,
        };
        let Some((header, layer, rest)) = decoded else {
            self.layer = Layer::None;
            self.malformed = true;
            return None;
        };
        (self.layer, self.rest) = (layer, rest);
        Some(header)
    }
}
