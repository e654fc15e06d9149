//! Internet Control Message Protocol (RFC 792).

use crate::layer::Layer;
use crate::text::Sink;
use crate::wire::Reader;

/// An ICMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp<'a> {
    /// Type.
    pub type_: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub csum: u16,
    /// All that follows the first four bytes.
    pub body: &'a [u8],
}

/// Message types (IANA "ICMP Type Numbers").
mod kind {
    pub(super) const ECHO_REPLY: u8 = 0;
    pub(super) const DEST_UNREACH: u8 = 3;
    pub(super) const ECHO_REQUEST: u8 = 8;
    pub(super) const TIME_EXCEEDED: u8 = 11;
}

impl<'a> Icmp<'a> {
    /// The first four bytes alone.
    pub(crate) fn decode_fixed(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let [type_, code] = r.array()?;
        Some(Self {
            type_,
            code,
            csum: r.u16()?,
            body: r.rest(),
        })
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, Layer, &'a [u8])> {
        let header = Self::decode_fixed(bytes)?;
        // A message that has a body has at least the 4 bytes that its type defines.
        let cut_short = matches!(
            header.type_,
            kind::ECHO_REPLY | kind::DEST_UNREACH | kind::ECHO_REQUEST | kind::TIME_EXCEEDED
        ) && (1..4).contains(&header.body.len());
        (!cut_short).then_some((header, Layer::None, &[]))
    }

    /// The identifier of an echo request or reply.
    pub fn echo_id(&self) -> Option<u16> {
        matches!(self.type_, kind::ECHO_REPLY | kind::ECHO_REQUEST)
            .then(|| Reader::new(self.body).u16())
            .flatten()
    }

    pub(crate) fn write(&self, to: &mut impl Sink) {
        to.octet("icmp(code=", self.code);
        to.num(",csum=", self.csum);
        if let Some((&[a, b, c, d], data)) = self.body.split_first_chunk() {
            let (first, second) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            match self.type_ {
                kind::ECHO_REPLY | kind::ECHO_REQUEST => {
                    to.payload_or_none(",data=echo(data=", data);
                    to.num(",id=", first);
                    to.num(",seq=", second);
                    to.put(")");
                }
                kind::DEST_UNREACH => {
                    to.payload_or_none(",data=dest_unreach(data=", data);
                    to.octet(",data_len=", b);
                    to.num(",mtu=", second);
                    to.put(")");
                }
                kind::TIME_EXCEEDED => {
                    to.payload_or_none(",data=TimeExceeded(data=", data);
                    to.octet(",data_len=", b);
                    to.put(")");
                }
                _ => to.payload(",data=", self.body),
            }
        } else {
            to.payload(",data=", self.body);
        }
        to.octet(",type=", self.type_);
        to.put(")");
    }
}
