//! VLAN tags (IEEE 802.1Q and 802.1ad).

use crate::layer::{Layer, Tag};
use crate::text::Sink;
use crate::wire::Reader;

/// A VLAN tag: 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// Customer or service tag.
    pub tag: Tag,
    /// Priority code point.
    pub pcp: u8,
    /// Canonical format indicator, or drop eligible indicator.
    pub cfi: u8,
    /// VLAN identifier, 12 bits.
    pub vid: u16,
    /// EtherType of what follows.
    pub ethertype: u16,
}

impl Vlan {
    pub(crate) fn decode(tag: Tag, bytes: &[u8]) -> Option<(Self, Layer, &[u8])> {
        let mut r = Reader::new(bytes);
        let tci = r.u16()?;
        let header = Self {
            tag,
            pcp: (tci >> 13) as u8,
            cfi: (tci >> 12 & 1) as u8,
            vid: tci & 0x0fff,
            ethertype: r.u16()?,
        };
        Some((header, Layer::of_ethertype(header.ethertype), r.rest()))
    }

    pub(crate) fn write(self, to: &mut impl Sink) {
        to.put(match self.tag {
            Tag::Customer => "vlan",
            Tag::Service => "svlan",
        });
        to.octet("(cfi=", self.cfi);
        to.num(",ethertype=", self.ethertype);
        to.octet(",pcp=", self.pcp);
        to.num(",vid=", self.vid);
        to.put(")");
    }
}
