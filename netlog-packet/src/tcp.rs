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
    #[inline(always)]
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

    #[inline(always)]
    pub(crate) fn write(&self, to: &mut impl Sink) {
        to.num("tcp(ack=", self.ack);
        to.octet(",bits=", self.bits & Self::SHOWN_BITS);
        to.num(",csum=", self.csum);
        to.num(",dst_port=", self.dst_port);
        to.octet(",offset=", self.offset);
        if usize::from(self.offset) * 4 <= Self::LEN {
            to.put(",option=None");
        // What Linux sends with a SYN, without a loop over the options.
        } else if let &[2, 4, a, b, 4, 2, 8, 10, c, d, e, f, g, h, i, j, 1, 3, 3, k] = self.option {
            to.put(",option=[");
            write_max_segment_size(u16::from_be_bytes([a, b]), to);
            to.put(", ");
            to.put(SACK_PERMITTED);
            to.put(", ");
            write_timestamps(
                u32::from_be_bytes([c, d, e, f]),
                u32::from_be_bytes([g, h, i, j]),
                to,
            );
            to.put(", ");
            to.put(NO_OPERATION);
            to.put(", ");
            write_window_scale(k, to);
            to.put("]");
        } else {
            to.apart(|to| write_option_list(self.option, to));
        }
        to.num(",seq=", self.seq);
        to.num(",src_port=", self.src_port);
        to.num(",urgent=", self.urgent);
        to.num(",window_size=", self.window_size);
        to.put(")");
    }
}

const NO_OPERATION: &str = "TCPOptionNoOperation(kind=1,length=1)";
const SACK_PERMITTED: &str = "TCPOptionSACKPermitted(kind=4,length=2)";

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

fn write_option_list(options: &[u8], to: &mut impl Sink) {
    if write_options(options, &mut Nowhere).is_some() {
        to.put(",option=[");
        write_options(options, to);
        to.put("]");
    } else {
        to.bytes(",option=", options);
    }
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
            to.put(NO_OPERATION);
            return Some(1);
        }
        kind::SACK_PERMITTED => {
            to.put(SACK_PERMITTED);
            return Some(2);
        }
        _ => {}
    }
    let length = r.u8()?;
    match kind {
        kind::MAXIMUM_SEGMENT_SIZE => {
            write_max_segment_size(r.u16()?, to);
            return Some(4);
        }
        kind::WINDOW_SCALE => {
            write_window_scale(r.u8()?, to);
            return Some(3);
        }
        kind::TIMESTAMPS => {
            write_timestamps(r.u32()?, r.u32()?, to);
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

#[inline(always)]
fn write_max_segment_size(max_seg_size: u16, to: &mut impl Sink) {
    let label = "TCPOptionMaximumSegmentSize(kind=2,length=4,max_seg_size=";
    to.num(label, max_seg_size);
    to.put(")");
}

#[inline(always)]
fn write_window_scale(shift_cnt: u8, to: &mut impl Sink) {
    to.octet("TCPOptionWindowScale(kind=3,length=3,shift_cnt=", shift_cnt);
    to.put(")");
}

#[inline(always)]
fn write_timestamps(value: u32, echo_reply: u32, to: &mut impl Sink) {
    to.num("TCPOptionTimestamps(kind=8,length=10,ts_ecr=", echo_reply);
    to.num(",ts_val=", value);
    to.put(")");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Payload;
    use crate::room::Append;
    use crate::text::Text;

    proptest! {
        /// The options that are written without a loop, and others like them.
        #[test]
        fn options_of_a_syn_are_written_as_any_others(
            values: [u8; 20],
            other in prop::option::of((0..20_usize, any::<u8>())),
        ) {
            let mut option = [2, 4, 0, 0, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 0];
            for at in (2..4).chain(8..16).chain(19..20) {
                option[at] = values[at];
            }
            if let Some((at, value)) = other {
                option[at] = value;
            }
            let mut segment = [0; 40];
            segment[12] = 10 << 4;
            segment[20..].copy_from_slice(&option);
            let (tcp, ..) = Tcp::decode(&segment).unwrap();

            let (mut whole, mut list) = (Vec::new(), Vec::new());
            whole.append_with(0, |room| {
                let mut text = Text::new(room.take(), Payload::Include);
                tcp.write(&mut text);
                *room = text.into_room();
            });
            list.append_with(0, |room| {
                let mut text = Text::new(room.take(), Payload::Include);
                write_option_list(&option, &mut text);
                *room = text.into_room();
            });
            let whole = String::from_utf8(whole).unwrap();
            let list = String::from_utf8(list).unwrap();
            prop_assert_eq!(
                whole,
                format!(
                    "tcp(ack=0,bits=0,csum=0,dst_port=0,offset=10{list},seq=0,src_port=0,\
                    urgent=0,window_size=0)"
                )
            );
        }
    }
}
