//! Transmission Control Protocol (RFC 9293).

use crate::layer::Layer;
use crate::text::{Comma, Nowhere, Sink};
use crate::wire::{Reader, slice};

/// A TCP header: 20 bytes and options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Data offset in 32-bit words as sent.
    pub offset: u8,
    /// Control bits FIN, SYN, RST, PSH, ACK, URG, ECE and CWR, from the lowest.
    pub bits: u8,
    /// Window.
    pub window_size: u16,
    /// Checksum.
    pub csum: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Options; shorter than the data offset says where the segment ends.
    pub option: &'a [u8],
}

impl<'a> Tcp<'a> {
    const LEN: usize = 20;
    /// The bits that Neutron shows: not ECE and CWR.
    const SHOWN_BITS: u8 = 0x3f;

    /// With a data offset under 5, which is invalid, what follows starts inside
    /// the header.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, Layer, &'a [u8])> {
        let mut r = Reader::new(bytes.get(..Self::LEN)?);
        let (src_port, dst_port, seq, ack) = (r.u16()?, r.u16()?, r.u32()?, r.u32()?);
        let [offset, bits] = r.array()?;
        let end = usize::from(offset >> 4) * 4;
        let header = Self {
            src_port,
            dst_port,
            seq,
            ack,
            offset: offset >> 4,
            bits,
            window_size: r.u16()?,
            csum: r.u16()?,
            urgent: r.u16()?,
            option: slice(bytes, Self::LEN, end),
        };
        Some((header, Layer::None, slice(bytes, end, usize::MAX)))
    }

    pub(crate) fn write(&self, to: &mut impl Sink) {
        to.num("tcp(ack=", self.ack);
        to.octet(",bits=", self.bits & Self::SHOWN_BITS);
        to.num(",csum=", self.csum);
        to.num(",dst_port=", self.dst_port);
        to.octet(",offset=", self.offset);
        if usize::from(self.offset) * 4 <= Self::LEN {
            to.put(",option=None");
        } else if write_options(self.option, &mut Nowhere).is_some() {
            to.put(",option=[");
            write_options(self.option, to);
            to.put("]");
        } else {
            to.bytes(",option=", self.option);
        }
        to.num(",seq=", self.seq);
        to.num(",src_port=", self.src_port);
        to.num(",urgent=", self.urgent);
        to.num(",window_size=", self.window_size);
        to.put(")");
    }
}

/// Option kinds (IANA "TCP Option Kind Numbers").
mod kind {
    pub(super) const END_OF_OPTION_LIST: u8 = 0;
    pub(super) const NO_OPERATION: u8 = 1;
    pub(super) const MAXIMUM_SEGMENT_SIZE: u8 = 2;
    pub(super) const WINDOW_SCALE: u8 = 3;
    pub(super) const SACK_PERMITTED: u8 = 4;
    pub(super) const SACK: u8 = 5;
    pub(super) const TIMESTAMPS: u8 = 8;
    pub(super) const USER_TIMEOUT: u8 = 28;
    pub(super) const AUTHENTICATION: u8 = 29;
}

fn write_options(mut options: &[u8], to: &mut impl Sink) -> Option<()> {
    let mut comma = Comma::default();
    while !options.is_empty() {
        comma.before_item(to);
        let len = write_option(options, to)?;
        options = options.get(len..).unwrap_or_default();
    }
    Some(())
}

/// Writes the first option and returns where the next one starts. `None` where
/// it is cut short, or has length 0, which would repeat it for ever.
///
/// Options of a fixed length are taken to have it, whatever their length byte
/// says, and so is it written.
fn write_option(bytes: &[u8], to: &mut impl Sink) -> Option<usize> {
    let mut r = Reader::new(bytes);
    let kind = r.u8()?;
    match kind {
        kind::END_OF_OPTION_LIST => {
            to.put("TCPOptionEndOfOptionList(kind=0,length=1)");
            return Some(1);
        }
        kind::NO_OPERATION => {
            to.put("TCPOptionNoOperation(kind=1,length=1)");
            return Some(1);
        }
        kind::SACK_PERMITTED => {
            to.put("TCPOptionSACKPermitted(kind=4,length=2)");
            return Some(2);
        }
        _ => {}
    }
    let length = r.u8()?;
    match kind {
        kind::MAXIMUM_SEGMENT_SIZE => {
            let label = "TCPOptionMaximumSegmentSize(kind=2,length=4,max_seg_size=";
            to.num(label, r.u16()?);
            to.put(")");
            return Some(4);
        }
        kind::WINDOW_SCALE => {
            let label = "TCPOptionWindowScale(kind=3,length=3,shift_cnt=";
            to.octet(label, r.u8()?);
            to.put(")");
            return Some(3);
        }
        kind::TIMESTAMPS => {
            let (value, echo_reply) = (r.u32()?, r.u32()?);
            to.num("TCPOptionTimestamps(kind=8,length=10,ts_ecr=", echo_reply);
            to.num(",ts_val=", value);
            to.put(")");
            return Some(10);
        }
        kind::USER_TIMEOUT => {
            let body = r.u16()?;
            to.num("TCPOptionUserTimeout(granularity=", body >> 15);
            let label = ",kind=28,length=4,user_timeout=";
            to.num(label, body & 0x7fff);
            to.put(")");
            return Some(4);
        }
        _ => {}
    }
    if length == 0 {
        return None;
    }
    let end = usize::from(length);
    match kind {
        kind::SACK => {
            let mut blocks = Reader::new(slice(bytes, 2, end));
            let mut comma = Comma::default();
            to.put("TCPOptionSACK(blocks=[");
            while !blocks.rest().is_empty() {
                comma.before_item(to);
                to.num("(", blocks.u32()?);
                to.num(", ", blocks.u32()?);
                to.put(")");
            }
            to.octet("],kind=5,length=", length);
        }
        kind::AUTHENTICATION => {
            let [key_id, r_next_key_id] = r.array()?;
            to.octet("TCPOptionAuthentication(key_id=", key_id);
            to.octet(",kind=29,length=", length);
            to.bytes(",mac=", slice(bytes, 4, end));
            to.octet(",r_next_key_id=", r_next_key_id);
        }
        _ => {
            to.octet("TCPOptionUnknown(kind=", kind);
            to.octet(",length=", length);
            to.bytes(",value=", slice(bytes, 2, end));
        }
    }
    to.put(")");
    Some(end)
}
