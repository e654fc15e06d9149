//! Ethernet II (IEEE 802.3, clause 3).

use std::fmt;

use crate::layer::Layer;
use crate::room::HEX;
use crate::text::Sink;
use crate::wire::Reader;

/// A hardware address; displayed as `fa:16:3e:11:22:33`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `fa:16:3e:11:22:33`
    #[inline]
    pub fn ascii(self) -> [u8; 17] {
        let mut text = [b':'; 17];
        for (place, octet) in text.chunks_mut(3).zip(self.0) {
            let [high, low] = HEX[usize::from(octet)];
            place[0] = high;
            place[1] = low;
        }
        text
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.ascii()).unwrap_or_default())
    }
}

/// An Ethernet header: 14 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Destination address.
    pub dst: MacAddr,
    /// Source address.
    pub src: MacAddr,
    /// EtherType, or a length where it is at most 1500.
    pub ethertype: u16,
}

impl Ethernet {
    const LEN: usize = 14;

    #[inline(always)]
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, Layer, &[u8])> {
        let (header, rest) = bytes.split_at_checked(Self::LEN)?;
        let mut r = Reader::new(header);
        let header = Self {
            dst: MacAddr(r.array()?),
            src: MacAddr(r.array()?),
            ethertype: r.u16()?,
        };
        Some((header, Layer::of_ethertype(header.ethertype), rest))
    }

    #[inline(always)]
    pub(crate) fn write(&self, to: &mut impl Sink) {
        to.mac("ethernet(dst=", self.dst);
        to.num(",ethertype=", self.ethertype);
        to.mac(",src=", self.src);
        to.put(")");
    }
}
