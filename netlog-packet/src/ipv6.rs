//! Internet Protocol version 6 and its extension headers (RFC 8200, RFC 4302,
//! RFC 6554).

use std::net::Ipv6Addr;

use crate::layer::{Layer, protocol};
use crate::summary::Fragment;
use crate::text::{Comma, Nowhere, Sink};
use crate::wire::{Budget, Reader, slice};

/// An IPv6 header: 40 bytes and extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6<'a> {
    /// Version as sent; other values than 6 are decoded alike.
    pub version: u8,
    /// Traffic class: DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Payload length in bytes, extension headers included.
    pub payload_length: u16,
    /// Number of the first extension header, or of the upper-layer protocol.
    pub nxt: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: Ipv6Addr,
    /// Destination address.
    pub dst: Ipv6Addr,
    /// All that follows the fixed header.
    body: &'a [u8],
}

/// What the chain of extension headers leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UpperLayer<'a> {
    pub(crate) protocol: u8,
    pub(crate) fragment: Fragment,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Ipv6<'a> {
    const LEN: usize = 40;

    /// The fixed header alone.
    pub(crate) fn decode_fixed(bytes: &'a [u8]) -> Option<Self> {
        let (header, body) = bytes.split_at_checked(Self::LEN)?;
        let mut r = Reader::new(header);
        let first = r.u32()?;
        let payload_length = r.u16()?;
        let [nxt, hop_limit] = r.array()?;
        Some(Self {
            version: (first >> 28) as u8,
            traffic_class: (first >> 20 & 0xff) as u8,
            flow_label: first & 0x000f_ffff,
            payload_length,
            nxt,
            hop_limit,
            src: r.array::<16>()?.into(),
            dst: r.array::<16>()?.into(),
            body,
        })
    }

    /// What follows is cut at the payload length, counted from the upper layer.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, Layer, &'a [u8])> {
        let header = Self::decode_fixed(bytes)?;
        let (last, offset) = header.write_extensions(&mut Nowhere)?;
        let end = offset + usize::from(header.payload_length);
        let rest = slice(header.body, offset, end);
        Some((header, Layer::of_protocol(last), rest))
    }

    /// Follows the extension headers as RFC 8200 defines them. (The text follows
    /// Neutron, which reads the length of options headers in bytes.) `None` where
    /// one is cut short.
    pub(crate) fn upper_layer(&self) -> Option<UpperLayer<'a>> {
        let mut upper = UpperLayer {
            protocol: self.nxt,
            fragment: Fragment::None,
            bytes: slice(self.body, 0, self.payload_length.into()),
        };
        while upper.fragment != Fragment::Later {
            let mut r = Reader::new(upper.bytes);
            let (next, len) = match upper.protocol {
                protocol::HOPOPTS | protocol::DSTOPTS | protocol::ROUTING => {
                    let [next, size] = r.array()?;
                    (next, 8 + usize::from(size) * 8)
                }
                protocol::AH => {
                    let [next, size] = r.array()?;
                    (next, 8 + usize::from(size) * 4)
                }
                protocol::FRAGMENT => {
                    let [next, _reserved] = r.array()?;
                    upper.fragment = match r.u16()? {
                        offset if offset >> 3 != 0 => Fragment::Later,
                        offset if offset & 1 != 0 => Fragment::First,
                        // A whole packet after all (RFC 6946).
                        _ => upper.fragment,
                    };
                    (next, 8)
                }
                _ => break,
            };
            upper.protocol = next;
            upper.bytes = upper.bytes.get(len..)?;
        }
        Some(upper)
    }

    pub(crate) fn write(&self, to: &mut impl Sink) {
        to.ipv6("ipv6(dst=", self.dst);
        to.put(",ext_hdrs=[");
        self.write_extensions(to);
        to.num("],flow_label=", self.flow_label);
        to.octet(",hop_limit=", self.hop_limit);
        to.octet(",nxt=", self.nxt);
        to.num(",payload_length=", self.payload_length);
        to.ipv6(",src=", self.src);
        to.octet(",traffic_class=", self.traffic_class);
        to.octet(",version=", self.version);
        to.put(")");
    }

    /// Returns the protocol that the extension headers lead to, and where in the
    /// body it starts. `None` where a header is cut short.
    fn write_extensions(&self, to: &mut impl Sink) -> Option<(u8, usize)> {
        let (mut next, mut offset) = (self.nxt, 0);
        let mut budget = Budget::of(self.body);
        let mut comma = Comma::default();
        loop {
            let write = match next {
                protocol::HOPOPTS => Extension::HopByHop,
                protocol::DSTOPTS => Extension::Destination,
                protocol::ROUTING => Extension::Routing,
                protocol::FRAGMENT => Extension::Fragment,
                protocol::AH => Extension::Authentication,
                _ => return Some((next, offset)),
            };
            comma.before_item(to);
            let bytes = self.body.get(offset..).unwrap_or_default();
            let len;
            (next, len) = write.write(bytes, &mut budget, to)?;
            offset += len;
        }
    }
}

/// The extension headers that Neutron knows.
#[derive(Clone, Copy)]
enum Extension {
    HopByHop,
    Destination,
    Routing,
    Fragment,
    Authentication,
}

impl Extension {
    /// Writes one extension header; returns the next one's number, and its place.
    fn write(self, bytes: &[u8], budget: &mut Budget, to: &mut impl Sink) -> Option<(u8, usize)> {
        let next = *bytes.first()?;
        let len = match self {
            Self::HopByHop => {
                to.put("hop_opts(data=[");
                write_options(bytes, budget, to)?
            }
            Self::Destination => {
                to.put("dst_opts(data=[");
                write_options(bytes, budget, to)?
            }
            Self::Routing => write_routing(bytes, to)?,
            Self::Fragment => write_fragment(bytes, to)?,
            Self::Authentication => write_authentication(bytes, to)?,
        };
        Some((next, len))
    }
}

/// Neutron reads the length in bytes, not in units of 8, and writes no record
/// for one that is no multiple of 8. There the RFC's reading is used. An option
/// may reach beyond the header.
fn write_options(bytes: &[u8], budget: &mut Budget, to: &mut impl Sink) -> Option<usize> {
    let [next, size] = Reader::new(bytes).array()?;
    let len = if size % 8 == 0 {
        8 + usize::from(size)
    } else {
        let len = 8 + usize::from(size) * 8;
        bytes.get(..len)?;
        len
    };
    let mut offset = 2;
    let mut comma = Comma::default();
    while offset < len {
        comma.before_item(to);
        let mut r = Reader::new(bytes.get(offset..)?);
        let type_ = r.u8()?;
        if type_ == 0 {
            to.put("option(data=None,len_=-1,type_=0)");
            offset += 1;
        } else {
            let len = r.u8()?;
            budget.spend(len.into())?;
            to.bytes_or_none("option(data=", r.take(len.into())?);
            to.octet(",len_=", len);
            to.octet(",type_=", type_);
            to.put(")");
            offset += 2 + usize::from(len);
        }
    }
    to.octet("],nxt=", next);
    to.octet(",size=", size);
    to.put(")");
    Some(len)
}

const RPL_SOURCE_ROUTE: u8 = 3;

/// Neutron knows only RFC 6554's type and writes no record for others. These
/// are written in the same style, with what follows the common fields as bytes.
fn write_routing(bytes: &[u8], to: &mut impl Sink) -> Option<usize> {
    let mut r = Reader::new(bytes);
    let [next, size, type_, seg] = r.array()?;
    let len = (usize::from(size) + 1) * 8;
    if type_ == RPL_SOURCE_ROUTE {
        write_rpl_addresses(r, size, len, to)?;
    } else {
        to.bytes("routing(data=", r.take(len - 4)?);
    }
    to.octet(",nxt=", next);
    to.octet(",seg=", seg);
    to.octet(",size=", size);
    to.octet(",type_=", type_);
    to.put(")");
    Some(len)
}

/// Addresses with their first octets left out, `cmpe` of the last one and
/// `cmpi` of the others; they are shown as zero.
fn write_rpl_addresses(mut r: Reader<'_>, size: u8, len: usize, to: &mut impl Sink) -> Option<()> {
    let [compressed, pad] = r.array()?;
    r.skip(2)?;
    let (cmpi, cmpe) = (compressed >> 4, compressed & 0x0f);
    let (len_i, len_e) = (16 - usize::from(cmpi), 16 - usize::from(cmpe));
    let last = len.saturating_sub(len_e + usize::from(pad >> 4));
    to.put("routing_type3(adrs=[");
    if size > 0 {
        let mut offset = 8;
        let mut comma = Comma::default();
        while offset < last {
            comma.before_item(to);
            write_suffix(r.take(len_i)?, to)?;
            offset += len_i;
        }
        comma.before_item(to);
        write_suffix(r.take(len_e)?, to)?;
    }
    to.octet("],cmpe=", cmpe);
    to.octet(",cmpi=", cmpi);
    Some(())
}

fn write_suffix(suffix: &[u8], to: &mut impl Sink) -> Option<()> {
    let mut address = [0; 16];
    let start = address.len().checked_sub(suffix.len())?;
    address.get_mut(start..)?.copy_from_slice(suffix);
    to.ipv6("", address.into());
    Some(())
}

fn write_fragment(bytes: &[u8], to: &mut impl Sink) -> Option<usize> {
    let mut r = Reader::new(bytes);
    let [next, _reserved] = r.array()?;
    let offset = r.u16()?;
    to.num("fragment(id_=", r.u32()?);
    to.num(",more=", offset & 1);
    to.octet(",nxt=", next);
    to.num(",offset=", offset >> 3);
    to.put(")");
    Some(8)
}

fn write_authentication(bytes: &[u8], to: &mut impl Sink) -> Option<usize> {
    let mut r = Reader::new(bytes);
    let [next, size] = r.array()?;
    r.skip(2)?;
    let (spi, seq) = (r.u32()?, r.u32()?);
    let len = (usize::from(size) + 2) * 4;
    to.bytes("auth(data=", r.take(len.checked_sub(12)?)?);
    to.octet(",nxt=", next);
    to.num(",seq=", seq);
    to.octet(",size=", size);
    to.num(",spi=", spi);
    to.put(")");
    Some(len)
}
