//! Ethernet frames decoded in place, and Neutron's text of their headers.
//!
//! ```
//! use netlog_packet::{Network, Packet, Payload, Transport};
//!
//! let frame = b"\xfa\x16\x3e\x44\x55\x66\xfa\x16\x3e\x11\x22\x33\x08\x00\
//!     \x45\x00\x00\x22\x12\x34\x00\x00\x40\x11\x39\xe3\x0a\x00\x00\x05\xc0\xa8\x64\x07\
//!     \x00\x44\x00\x35\x00\x0e\xa6\xf7it's a";
//! let packet = Packet::decode(frame);
//!
//! let summary = packet.summary();
//! assert_eq!(summary.transport, Transport::Udp { src_port: 68, dst_port: 53 });
//! assert!(matches!(summary.network, Network::Ipv4 { src, .. } if src.is_private()));
//!
//! let mut line = Vec::new();
//! packet.write_text(Payload::Include, &mut line);
//! assert_eq!(
//!     str::from_utf8(&line),
//!     Ok("ethernet(dst='fa:16:3e:44:55:66',ethertype=2048,src='fa:16:3e:11:22:33'), \
//!         ipv4(csum=14819,dst='192.168.100.7',flags=0,header_length=5,identification=4660,\
//!         offset=0,option=None,proto=17,src='10.0.0.5',tos=0,total_length=34,ttl=64,version=4), \
//!         udp(csum=42743,dst_port=53,src_port=68,total_length=14), b\"it's a\"")
//! );
//! ```
//!
//! # Two views
//!
//! A security log must say what the switch decided on, and must look the way the
//! tools that read Neutron's log expect. These are not the same thing, so there
//! are two views of the same bytes:
//!
//! - [`Summary`] follows the RFCs and what the switch matches on. Rules and
//!   sessions are looked up with it. A later fragment has no ports, ICMPv6 exists
//!   only in IPv6, and options headers are as long as RFC 8200 says.
//! - [`Packet::headers`] and [`Packet::write_text`] follow Neutron, which prints
//!   what the os-ken packet library makes of a frame, quirks included: it reads
//!   ports out of later fragments, drops ECE and CWR, and takes the length of
//!   IPv6 options headers to be in bytes. Recorded frames are compared byte for
//!   byte, and so is what os-ken makes of every message, option and list of these
//!   protocols.
//!
//! # Any bytes will do
//!
//! Every frame is written by whoever sits behind the port, so nothing about it is
//! believed:
//!
//! - Decoding never fails and never panics. It stops, and [`Packet::stop`] says
//!   why; [`Packet::rest`] is what remains.
//! - The text is one line of printable ASCII.
//! - Its length is linear in the length of the frame. Where items claim bytes
//!   beyond their own length, os-ken would write them again and again.
//! - Where os-ken loops for ever or raises an exception, so that Neutron writes
//!   nothing, there is a record all the same. TCP options with one of length 0
//!   are written as bytes, as os-ken does with options that are cut short. IPv6
//!   routing headers are `routing(data=b'…',nxt=…,seg=…,size=…,type_=…)`. The MTU
//!   option of a router advertisement is written, IPv6 options headers that are no
//!   multiple of 8 *bytes* long have the length of the RFC, and a list of SCTP
//!   items ends before one that cannot be followed. Any other message that
//!   contradicts itself is left to the undecoded bytes.
//!
//! # Payload
//!
//! [`Payload::Include`] is Neutron's text. With [`Payload::Omit`] what a header
//! does not define is left out: the undecoded bytes at the end have no item, and
//! where the text of a header has data of the sender, it has `None` in its place:
//! `data=` of ICMP and ICMPv6 messages (echo data, quoted packets, and bodies of
//! types that are not decoded), `payload_data=` of SCTP data chunks, and `value=`
//! of SCTP causes that quote chunks or the user. Options, authentication data,
//! cookies and parameters are fields of a header, and stay.
//!
//! # In place
//!
//! [`Packet`] is a reference to the frame and nothing else; each view decodes what
//! it needs when it is asked. Headers are plain values of named fields, read in
//! wire order; variable parts are slices of the frame. Nothing is allocated, and
//! text is appended to a buffer that the caller reuses. Each protocol has a module
//! that owns both its decoding and its text, and nothing else looks at its bytes.
//! Labels, numbers and addresses are copied from constants and small tables into
//! [`room`] that is there, not through `core::fmt`.

#![expect(
    clippy::inline_always,
    reason = "labels are copied at a length known at compile time, and what is written in line \
              keeps its place in registers"
)]

mod arp;
mod ethernet;
mod icmp;
mod icmpv6;
mod igmp;
mod ipv4;
mod ipv6;
mod layer;
pub mod room;
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
use room::{Append, Room};
use text::{Comma, Sink, Text};

/// Whether payload is written (see the [crate documentation](crate#payload)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Payload {
    /// Left out.
    #[default]
    Omit,
    /// Written as Neutron does.
    Include,
}

/// More than the text of most frames takes.
const TEXT_BYTES: usize = 1024;

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

    /// The headers from the outside in, as Neutron sees them. A header that is
    /// all zero is taken to be padding, and ends them.
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

    /// Hands the [summary](Self::summary) to `see`. What `see` works out of the facts of the most
    /// common packets at once takes them from registers: a summary that is kept and then read
    /// takes longer to read than to make.
    #[inline(always)]
    pub fn see_summary<R>(&self, see: impl FnOnce(Summary) -> R) -> R {
        Summary::see(self.frame, see)
    }

    /// Appends Neutron's text of the frame, as it is after `pkt=`: one line of
    /// printable ASCII, empty for a frame of zeros.
    pub fn write_text(&self, payload: Payload, out: &mut impl Append) {
        out.append_with(TEXT_BYTES, |room| {
            *room = self.write_text_in(payload, room.take());
        });
    }

    /// As [`write_text`](Self::write_text), into room that is there, which comes back as it is
    /// then: in registers, as it went in.
    pub fn write_text_in<'r>(&self, payload: Payload, room: Room<'r>) -> Room<'r> {
        let mut text = Text::new(room, payload);
        let mut headers = self.headers();
        let mut comma = Comma::default();
        while headers
            .advance(
                #[inline(always)]
                |header| {
                    if header.is_shown() {
                        comma.before_item(&mut text);
                        header.write(&mut text);
                    }
                },
            )
            .is_some()
        {}
        if payload == Payload::Include && !is_zero(headers.rest) {
            comma.before_item(&mut text);
            text.bytes("", headers.rest);
        }
        text.into_room()
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
#[non_exhaustive]
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
    #[inline(always)]
    const fn is_shown(&self) -> bool {
        match self {
            Self::Ipv4(header) => header.header_length != 0,
            Self::Tcp(header) => header.offset != 0,
            _ => true,
        }
    }

    /// What security groups see most is written in line.
    #[inline(always)]
    fn write(&self, to: &mut Text<'_>) {
        match self {
            Self::Ethernet(header) => header.write(to),
            Self::Vlan(header) => to.apart(|to| header.write(to)),
            Self::Arp(header) => to.apart(|to| header.write(to)),
            Self::Ipv4(header) => header.write(to),
            Self::Ipv6(header) => header.write(to),
            Self::Icmp(header) => to.apart(|to| header.write(to)),
            Self::Igmp(header) => to.apart(|to| header.write(to)),
            Self::Tcp(header) => header.write(to),
            Self::Udp(header) => header.write(to),
            Self::Icmpv6(header) => to.apart(|to| header.write(to)),
            Self::Sctp(header) => to.apart(|to| header.write(to)),
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

impl<'a> Headers<'a> {
    /// Decodes the next header and shows it to `see`, whose code stands behind each
    /// kind of header: there the compiler knows which it is, and makes no value of it.
    #[inline(always)]
    fn advance<R>(&mut self, mut see: impl FnMut(Header<'a>) -> R) -> Option<R> {
        /// Decodes one kind of header.
        macro_rules! decode {
            ($kind:ident, $decoded:expr) => {
                $decoded.map(|(header, layer, rest)| (see(Header::$kind(header)), layer, rest))
            };
        }
        if self.layer == Layer::None || is_zero(self.rest) {
            self.layer = Layer::None;
            return None;
        }
        let bytes = self.rest;
        let decoded = match self.layer {
            Layer::Ethernet => decode!(Ethernet, Ethernet::decode(bytes)),
            Layer::Vlan(tag) => decode!(Vlan, Vlan::decode(tag, bytes)),
            Layer::Arp => decode!(Arp, Arp::decode(bytes)),
            Layer::Ipv4 => decode!(Ipv4, Ipv4::decode(bytes)),
            Layer::Ipv6 => decode!(Ipv6, Ipv6::decode(bytes)),
            Layer::Icmp => decode!(Icmp, Icmp::decode(bytes)),
            Layer::Igmp => decode!(Igmp, Igmp::decode(bytes)),
            Layer::Tcp => decode!(Tcp, Tcp::decode(bytes)),
            Layer::Udp => decode!(Udp, Udp::decode(bytes)),
            Layer::Icmpv6 => decode!(Icmpv6, Icmpv6::decode(bytes)),
            Layer::Sctp => decode!(Sctp, Sctp::decode(bytes)),
            Layer::None => None,
        };
        let Some((seen, layer, rest)) = decoded else {
            self.layer = Layer::None;
            self.malformed = true;
            return None;
        };
        (self.layer, self.rest) = (layer, rest);
        Some(seen)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.advance(|header| header)
    }
}
