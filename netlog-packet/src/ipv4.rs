//! Internet Protocol version 4 (RFC 791).

use std::net::Ipv4Addr;

use crate::layer::Layer;
use crate::text::Sink;
use crate::wire::{Reader, slice};

/// An IPv4 header: 20 bytes and options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4<'a> {
    /// Version as sent; other values than 4 are decoded alike.
    pub version: u8,
    /// Header length (IHL) in 32-bit words as sent.
    pub header_length: u8,
    /// Type of service: DSCP and ECN.
    pub tos: u8,
    /// Total length in bytes, header included.
    pub total_length: u16,
    /// Identification of the datagram that fragments belong to.
    pub identification: u16,
    /// Reserved, DF and MF, from the highest of 3 bits.
    pub flags: u8,
    /// Fragment offset in units of 8 bytes.
    pub offset: u16,
    /// Time to live.
    pub ttl: u8,
    /// Upper-layer protocol number.
    pub proto: u8,
    /// Header checksum.
    pub csum: u16,
    /// Source address.
    pub src: Ipv4Addr,
    /// Destination address.
    pub dst: Ipv4Addr,
    /// Options; shorter than the header length says where the frame ends.
    pub option: &'a [u8],
}

impl<'a> Ipv4<'a> {
    const LEN: usize = 20;
    const MORE_FRAGMENTS: u8 = 1;

    /// What follows is cut at the total length. With an IHL under 5, which is
    /// invalid, it starts inside the header.
    #[inline(always)]
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, Layer, &'a [u8])> {
        let mut r = Reader::new(bytes.get(..Self::LEN)?);
        let [version, tos] = r.array()?;
        let total_length = r.u16()?;
        let identification = r.u16()?;
        let fragment = r.u16()?;
        let [ttl, proto] = r.array()?;
        let header_length = version & 0x0f;
        let end = usize::from(header_length) * 4;
        let header = Self {
            version: version >> 4,
            header_length,
            tos,
            total_length,
            identification,
            flags: (fragment >> 13) as u8,
            offset: fragment & 0x1fff,
            ttl,
            proto,
            csum: r.u16()?,
            src: r.array::<4>()?.into(),
            dst: r.array::<4>()?.into(),
            option: slice(bytes, Self::LEN, end),
        };
        let rest = slice(bytes, end, total_length.into());
        Some((header, Layer::of_protocol(proto), rest))
    }

    /// The IHL covers at least the fixed header, so that what follows it is the
    /// upper layer.
    pub const fn is_valid(&self) -> bool {
        self.header_length as usize * 4 >= Self::LEN
    }

    /// MF is set: more fragments follow.
    pub const fn more_fragments(&self) -> bool {
        self.flags & Self::MORE_FRAGMENTS != 0
    }

    #[inline(always)]
    pub(crate) fn write(&self, to: &mut impl Sink) {
        to.num("ipv4(csum=", self.csum);
        to.ipv4(",dst=", self.dst);
        to.octet(",flags=", self.flags);
        to.octet(",header_length=", self.header_length);
        to.num(",identification=", self.identification);
        to.num(",offset=", self.offset);
        if usize::from(self.header_length) * 4 > Self::LEN {
            to.bytes(",option=", self.option);
        } else {
            to.put(",option=None");
        }
        to.octet(",proto=", self.proto);
        to.ipv4(",src=", self.src);
        to.octet(",tos=", self.tos);
        to.num(",total_length=", self.total_length);
        to.octet(",ttl=", self.ttl);
        to.octet(",version=", self.version);
        to.put(")");
    }
}
