//! User Datagram Protocol (RFC 768).

use crate::layer::Layer;
use crate::text::Sink;
use crate::wire::{Reader, slice};

/// A UDP header: 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Length in bytes, header included.
    pub total_length: u16,
    /// Checksum.
    pub csum: u16,
}

impl Udp {
    const LEN: usize = 8;

    /// What follows is cut at the length field.
    #[inline(always)]
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, Layer, &[u8])> {
        let mut r = Reader::new(bytes.get(..Self::LEN)?);
        let header = Self {
            src_port: r.u16()?,
            dst_port: r.u16()?,
            total_length: r.u16()?,
            csum: r.u16()?,
        };
        let rest = slice(bytes, Self::LEN, header.total_length.into());
        Some((header, Layer::None, rest))
    }

    #[inline(always)]
    pub(crate) fn write(self, to: &mut impl Sink) {
        to.num("udp(csum=", self.csum);
        to.num(",dst_port=", self.dst_port);
        to.num(",src_port=", self.src_port);
        to.num(",total_length=", self.total_length);
        to.put(")");
    }
}
