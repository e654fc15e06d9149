//! Stream Control Transmission Protocol (RFC 9260): common header, chunks,
//! parameters and error causes.
//!
//! Neutron reads the whole segment as chunks. One that is cut short makes the
//! segment undecoded bytes; one of an unknown type ends the list. Where Neutron
//! would fail or loop for ever (an item of length 0), the list ends, too.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::layer::Layer;
use crate::text::{Comma, Nowhere, Sink};
use crate::wire::{Budget, Reader};

/// An SCTP common header: 12 bytes and chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sctp<'a> {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Verification tag.
    pub vtag: u32,
    /// Checksum.
    pub csum: u32,
    chunks: &'a [u8],
}

/// `None`: cut short. `Some(None)`: the list ends before this item.
type Item<T> = Option<Option<T>>;

impl<'a> Sctp<'a> {
    /// The common header alone.
    pub(crate) fn decode_fixed(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        Some(Self {
            src_port: r.u16()?,
            dst_port: r.u16()?,
            vtag: r.u32()?,
            csum: r.u32()?,
            chunks: r.rest(),
        })
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, Layer, &'a [u8])> {
        let header = Self::decode_fixed(bytes)?;
        let rest = header.write_chunks(&mut Nowhere)?;
        Some((header, Layer::None, rest))
    }

    pub(crate) fn write(&self, to: &mut impl Sink) {
        to.put("sctp(chunks=[");
        self.write_chunks(to);
        to.num("],csum=", self.csum);
        to.num(",dst_port=", self.dst_port);
        to.num(",src_port=", self.src_port);
        to.num(",vtag=", self.vtag);
        to.put(")");
    }

    /// Returns what follows the chunks.
    fn write_chunks(&self, to: &mut impl Sink) -> Option<&'a [u8]> {
        let mut budget = Budget::of(self.chunks);
        let mut comma = Comma::default();
        let mut bytes = self.chunks;
        while !bytes.is_empty() {
            let Some(chunk) = Chunk::read(bytes, &mut budget)? else {
                break;
            };
            if chunk.length == 0 {
                chunk.write(&mut Nowhere, &mut budget)?;
                break;
            }
            comma.before_item(to);
            chunk.write(to, &mut budget)?;
            bytes = bytes.get(chunk.length.into()..).unwrap_or_default();
        }
        Some(bytes)
    }
}

/// Chunk types (IANA "SCTP Chunk Types").
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const INIT: u8 = 1;
    pub(super) const INIT_ACK: u8 = 2;
    pub(super) const SACK: u8 = 3;
    pub(super) const HEARTBEAT: u8 = 4;
    pub(super) const HEARTBEAT_ACK: u8 = 5;
    pub(super) const ABORT: u8 = 6;
    pub(super) const SHUTDOWN: u8 = 7;
    pub(super) const SHUTDOWN_ACK: u8 = 8;
    pub(super) const ERROR: u8 = 9;
    pub(super) const COOKIE_ECHO: u8 = 10;
    pub(super) const COOKIE_ACK: u8 = 11;
    pub(super) const ECN_ECHO: u8 = 12;
    pub(super) const CWR: u8 = 13;
    pub(super) const SHUTDOWN_COMPLETE: u8 = 14;
}

/// A chunk whose fixed part is there.
struct Chunk<'a> {
    kind: u8,
    flags: u8,
    /// As sent: padding not counted, and not checked against the content.
    length: u16,
    /// From the first byte after the length to the end of the segment.
    body: Reader<'a>,
}

impl<'a> Chunk<'a> {
    fn read(bytes: &'a [u8], budget: &mut Budget) -> Item<Self> {
        let mut r = Reader::new(bytes);
        let kind = r.u8()?;
        if kind > kind::SHUTDOWN_COMPLETE {
            return Some(None);
        }
        let chunk = Self {
            kind,
            flags: r.u8()?,
            length: r.u16()?,
            body: r,
        };
        let readable = match kind {
            kind::HEARTBEAT | kind::HEARTBEAT_ACK => {
                Param::read(r.rest(), param::OF_HEARTBEAT, &mut budget.clone())?.is_some()
            }
            kind::SACK => {
                let (gaps, duplicates) = chunk.sack_lists()?;
                budget.spend(gaps.len() + duplicates.len()).is_some()
            }
            kind::DATA => budget.spend(chunk.content(12)?.len()).is_some(),
            kind::COOKIE_ECHO => budget.spend(chunk.content(0)?.len()).is_some(),
            _ => true,
        };
        Some(readable.then_some(chunk))
    }

    /// What the length leaves after `fixed` bytes of the body.
    fn content(&self, fixed: usize) -> Option<&'a [u8]> {
        let mut r = self.body;
        r.skip(fixed)?;
        r.take(usize::from(self.length).checked_sub(4 + fixed)?)
    }

    /// Gap ack blocks and duplicate TSNs of a SACK.
    fn sack_lists(&self) -> Option<(&'a [u8], &'a [u8])> {
        let mut r = self.body;
        r.skip(8)?;
        let (gaps, duplicates) = (r.u16()?, r.u16()?);
        Some((
            r.take(usize::from(gaps) * 4)?,
            r.take(usize::from(duplicates) * 4)?,
        ))
    }

    fn write(&self, to: &mut impl Sink, budget: &mut Budget) -> Option<()> {
        match self.kind {
            kind::DATA => self.write_data(to)?,
            kind::INIT => self.write_init("chunk_init(a_rwnd=", param::OF_INIT, to, budget)?,
            kind::INIT_ACK => {
                self.write_init("chunk_init_ack(a_rwnd=", param::OF_INIT_ACK, to, budget)?;
            }
            kind::SACK => self.write_sack(to)?,
            kind::HEARTBEAT => self.write_heartbeat("chunk_heartbeat(flags=", to, budget)?,
            kind::HEARTBEAT_ACK => {
                self.write_heartbeat("chunk_heartbeat_ack(flags=", to, budget)?;
            }
            kind::ABORT => {
                to.put("chunk_abort(");
                self.write_causes(to, budget)?;
                self.write_length(to);
                self.write_tflag(to);
            }
            kind::SHUTDOWN => {
                let tsn_ack = self.body.clone().u32()?;
                self.write_flags("chunk_shutdown(flags=", to);
                self.write_length(to);
                to.num(",tsn_ack=", tsn_ack);
            }
            kind::SHUTDOWN_ACK => {
                self.write_flags("chunk_shutdown_ack(flags=", to);
                self.write_length(to);
            }
            kind::ERROR => {
                to.put("chunk_error(");
                self.write_causes(to, budget)?;
                self.write_flags(",flags=", to);
                self.write_length(to);
            }
            kind::COOKIE_ECHO => {
                to.bytes_or_none("chunk_cookie_echo(cookie=", self.content(0)?);
                self.write_flags(",flags=", to);
                self.write_length(to);
            }
            kind::COOKIE_ACK => {
                self.write_flags("chunk_cookie_ack(flags=", to);
                self.write_length(to);
            }
            kind::ECN_ECHO => self.write_ecn("chunk_ecn_echo(flags=", to)?,
            kind::CWR => self.write_ecn("chunk_cwr(flags=", to)?,
            _ => {
                to.num("chunk_shutdown_complete(length=", self.length);
                self.write_tflag(to);
            }
        }
        to.put(")");
        Some(())
    }

    fn write_flags(&self, label: &str, to: &mut impl Sink) {
        to.octet(label, self.flags);
    }

    fn write_length(&self, to: &mut impl Sink) {
        to.num(",length=", self.length);
    }

    fn write_tflag(&self, to: &mut impl Sink) {
        to.octet(",tflag=", self.flags & 1);
    }

    fn write_data(&self, to: &mut impl Sink) -> Option<()> {
        let mut r = self.body;
        let (tsn, sid, seq, payload_id) = (r.u32()?, r.u16()?, r.u16()?, r.u32()?);
        to.octet("chunk_data(begin=", self.flags >> 1 & 1);
        to.octet(",end=", self.flags & 1);
        self.write_length(to);
        to.payload(",payload_data=", self.content(12)?);
        to.num(",payload_id=", payload_id);
        to.num(",seq=", seq);
        to.num(",sid=", sid);
        to.num(",tsn=", tsn);
        to.octet(",unordered=", self.flags >> 2 & 1);
        Some(())
    }

    fn write_init(
        &self,
        label: &str,
        known: &[u16],
        to: &mut impl Sink,
        budget: &mut Budget,
    ) -> Option<()> {
        let mut r = self.body;
        let (init_tag, a_rwnd) = (r.u32()?, r.u32()?);
        let (os, mis, i_tsn) = (r.u16()?, r.u16()?, r.u32()?);
        to.num(label, a_rwnd);
        self.write_flags(",flags=", to);
        to.num(",i_tsn=", i_tsn);
        to.num(",init_tag=", init_tag);
        self.write_length(to);
        to.num(",mis=", mis);
        to.num(",os=", os);
        to.put(",params=");
        write_params(
            r,
            usize::from(self.length).saturating_sub(20),
            known,
            to,
            budget,
        )
    }

    fn write_sack(&self, to: &mut impl Sink) -> Option<()> {
        let mut r = self.body;
        let (tsn_ack, a_rwnd) = (r.u32()?, r.u32()?);
        let (gaps, duplicates) = self.sack_lists()?;
        to.num("chunk_sack(a_rwnd=", a_rwnd);
        to.num(",duptsn_num=", list_len(duplicates));
        to.put(",duptsns=[");
        let mut comma = Comma::default();
        for tsn in duplicates.chunks_exact(4) {
            comma.before_item(to);
            to.num("", Reader::new(tsn).u32()?);
        }
        self.write_flags("],flags=", to);
        to.num(",gapack_num=", list_len(gaps));
        to.put(",gapacks=[");
        let mut comma = Comma::default();
        for block in gaps.chunks_exact(4) {
            let mut block = Reader::new(block);
            comma.before_item(to);
            to.num("[", block.u16()?);
            to.num(", ", block.u16()?);
            to.put("]");
        }
        to.num("],length=", self.length);
        to.num(",tsn_ack=", tsn_ack);
        Some(())
    }

    fn write_heartbeat(&self, label: &str, to: &mut impl Sink, budget: &mut Budget) -> Option<()> {
        let info = Param::read(self.body.rest(), param::OF_HEARTBEAT, budget)??;
        self.write_flags(label, to);
        to.put(",info=");
        info.write(to);
        self.write_length(to);
        Some(())
    }

    fn write_ecn(&self, label: &str, to: &mut impl Sink) -> Option<()> {
        let low_tsn = self.body.clone().u32()?;
        self.write_flags(label, to);
        self.write_length(to);
        to.num(",low_tsn=", low_tsn);
        Some(())
    }

    fn write_causes(&self, to: &mut impl Sink, budget: &mut Budget) -> Option<()> {
        to.put("causes=[");
        let mut r = self.body;
        let mut left = usize::from(self.length).saturating_sub(4);
        let mut comma = Comma::default();
        while left > 0 {
            let Some(cause) = Cause::read(r.rest(), budget)? else {
                break;
            };
            if cause.length == 0 {
                cause.write(&mut Nowhere, budget)?;
                break;
            }
            comma.before_item(to);
            cause.write(to, budget)?;
            let len = padded(cause.length);
            r.skip(len.min(r.rest().len()))?;
            left = left.saturating_sub(len);
        }
        to.put("]");
        Some(())
    }
}

/// The number of 4-byte items.
fn list_len(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len() / 4).unwrap_or(u32::MAX)
}

/// Lengths do not count the padding to 4 bytes that follows.
fn padded(length: u16) -> usize {
    usize::from(length).next_multiple_of(4)
}

/// Parameter types (IANA "SCTP Chunk Parameter Types"), and where they are known.
mod param {
    pub(super) const HEARTBEAT: u16 = 1;
    pub(super) const IPV4: u16 = 5;
    pub(super) const IPV6: u16 = 6;
    pub(super) const STATE_COOKIE: u16 = 7;
    pub(super) const UNRECOGNIZED: u16 = 8;
    pub(super) const COOKIE_PRESERVE: u16 = 9;
    pub(super) const HOST_ADDR: u16 = 11;
    pub(super) const SUPPORTED_ADDR: u16 = 12;
    pub(super) const ECN: u16 = 0x8000;

    pub(super) const OF_HEARTBEAT: &[u16] = &[HEARTBEAT];
    pub(super) const OF_INIT: &[u16] =
        &[COOKIE_PRESERVE, ECN, HOST_ADDR, SUPPORTED_ADDR, IPV4, IPV6];
    pub(super) const OF_INIT_ACK: &[u16] =
        &[STATE_COOKIE, UNRECOGNIZED, ECN, HOST_ADDR, IPV4, IPV6];
    pub(super) const OF_ADDRESS_CAUSE: &[u16] = &[HOST_ADDR, IPV4, IPV6];
}

struct Param<'a> {
    name: &'static str,
    length: u16,
    value: Value<'a>,
}

enum Value<'a> {
    Bytes(&'a [u8]),
    Number(u32),
    /// 16-bit numbers.
    Numbers(&'a [u8]),
    Ipv4(Ipv4Addr),
    Ipv6(Ipv6Addr),
}

impl<'a> Param<'a> {
    fn read(bytes: &'a [u8], known: &[u16], budget: &mut Budget) -> Item<Self> {
        let mut r = Reader::new(bytes);
        let kind = r.u16()?;
        if !known.contains(&kind) {
            return Some(None);
        }
        let length = r.u16()?;
        let value_len = usize::from(length).saturating_sub(4);
        let (name, value) = match kind {
            param::COOKIE_PRESERVE => ("param_cookie_preserve", Value::Number(r.u32()?)),
            param::SUPPORTED_ADDR => {
                let numbers = r.take(value_len.next_multiple_of(2))?;
                ("param_supported_addr", Value::Numbers(numbers))
            }
            param::IPV4 | param::IPV6 if length <= 4 => return Some(None),
            param::IPV4 => {
                let address = <[u8; 4]>::try_from(r.take(value_len)?).ok()?;
                ("param_ipv4", Value::Ipv4(address.into()))
            }
            param::IPV6 => {
                let address = <[u8; 16]>::try_from(r.take(value_len)?).ok()?;
                ("param_ipv6", Value::Ipv6(address.into()))
            }
            _ => {
                let name = match kind {
                    param::HEARTBEAT => "param_heartbeat",
                    param::STATE_COOKIE => "param_state_cookie",
                    param::UNRECOGNIZED => "param_unrecognized_param",
                    param::HOST_ADDR => "param_host_addr",
                    _ => "param_ecn",
                };
                (name, Value::Bytes(r.take(value_len)?))
            }
        };
        // ECN has no value; one with another length is not known.
        let readable = kind != param::ECN || matches!(length, 0 | 4);
        let param = Self {
            name,
            length,
            value,
        };
        let read = bytes.len() - r.rest().len();
        Some((readable && budget.spend(read).is_some()).then_some(param))
    }

    fn write(&self, to: &mut impl Sink) {
        to.put(self.name);
        to.num("(length=", self.length);
        to.put(",value=");
        match self.value {
            Value::Bytes(bytes) => to.bytes_or_none("", bytes),
            Value::Number(number) => to.num("", number),
            Value::Numbers(numbers) => write_numbers(numbers, to),
            Value::Ipv4(address) => to.ipv4("", address),
            Value::Ipv6(address) => to.ipv6("", address),
        }
        to.put(")");
    }
}

fn write_numbers(numbers: &[u8], to: &mut impl Sink) {
    to.put("[");
    let mut comma = Comma::default();
    for number in numbers.chunks_exact(2) {
        comma.before_item(to);
        to.num("", Reader::new(number).u16().unwrap_or_default());
    }
    to.put("]");
}

/// The parameters in the next `left` bytes. The last one may reach beyond.
fn write_params(
    mut r: Reader<'_>,
    mut left: usize,
    known: &[u16],
    to: &mut impl Sink,
    budget: &mut Budget,
) -> Option<()> {
    to.put("[");
    let mut comma = Comma::default();
    while left > 0 {
        let Some(param) = Param::read(r.rest(), known, budget)? else {
            break;
        };
        if param.length == 0 {
            break;
        }
        comma.before_item(to);
        param.write(to);
        let len = padded(param.length);
        r.skip(len.min(r.rest().len()))?;
        left = left.saturating_sub(len);
    }
    to.put("]");
    Some(())
}

/// Cause codes (IANA "SCTP Error Cause Codes").
mod cause {
    pub(super) const INVALID_STREAM_ID: u16 = 1;
    pub(super) const MISSING_PARAM: u16 = 2;
    pub(super) const STALE_COOKIE: u16 = 3;
    pub(super) const OUT_OF_RESOURCE: u16 = 4;
    pub(super) const UNRESOLVABLE_ADDR: u16 = 5;
    pub(super) const UNRECOGNIZED_CHUNK: u16 = 6;
    pub(super) const INVALID_PARAM: u16 = 7;
    pub(super) const UNRECOGNIZED_PARAM: u16 = 8;
    pub(super) const NO_USERDATA: u16 = 9;
    pub(super) const COOKIE_WHILE_SHUTDOWN: u16 = 10;
    pub(super) const RESTART_WITH_NEW_ADDR: u16 = 11;
    pub(super) const USER_INITIATED_ABORT: u16 = 12;
    pub(super) const PROTOCOL_VIOLATION: u16 = 13;
}

/// An error cause whose code is known.
struct Cause<'a> {
    code: u16,
    length: u16,
    /// From the first byte after the length to the end of the segment.
    body: Reader<'a>,
}

impl<'a> Cause<'a> {
    fn read(bytes: &'a [u8], budget: &mut Budget) -> Item<Self> {
        let mut r = Reader::new(bytes);
        let code = r.u16()?;
        if !(cause::INVALID_STREAM_ID..=cause::PROTOCOL_VIOLATION).contains(&code) {
            return Some(None);
        }
        let cause = Self {
            code,
            length: r.u16()?,
            body: r,
        };
        let readable = match code {
            cause::INVALID_STREAM_ID
            | cause::OUT_OF_RESOURCE
            | cause::INVALID_PARAM
            | cause::COOKIE_WHILE_SHUTDOWN
            | cause::RESTART_WITH_NEW_ADDR => true,
            cause::MISSING_PARAM => budget.spend(cause.missing_params()?.len()).is_some(),
            cause::UNRESOLVABLE_ADDR => {
                Param::read(r.rest(), param::OF_ADDRESS_CAUSE, &mut budget.clone())?.is_some()
            }
            _ => budget.spend(cause.value()?.len()).is_some(),
        };
        Some(readable.then_some(cause))
    }

    fn value(&self) -> Option<&'a [u8]> {
        self.body
            .clone()
            .take(usize::from(self.length).saturating_sub(4))
    }

    /// The types of missing parameters, 2 bytes each.
    fn missing_params(&self) -> Option<&'a [u8]> {
        let mut r = self.body;
        let num = usize::try_from(r.u32()?).ok()?;
        r.take(num.checked_mul(2)?)
    }

    fn write(&self, to: &mut impl Sink, budget: &mut Budget) -> Option<()> {
        let name = match self.code {
            cause::INVALID_STREAM_ID => "cause_invalid_stream_id",
            cause::MISSING_PARAM => "cause_missing_param",
            cause::STALE_COOKIE => "cause_stale_cookie",
            cause::OUT_OF_RESOURCE => "cause_out_of_resource",
            cause::UNRESOLVABLE_ADDR => "cause_unresolvable_addr",
            cause::UNRECOGNIZED_CHUNK => "cause_unrecognized_chunk",
            cause::INVALID_PARAM => "cause_invalid_param",
            cause::UNRECOGNIZED_PARAM => "cause_unrecognized_param",
            cause::NO_USERDATA => "cause_no_userdata",
            cause::COOKIE_WHILE_SHUTDOWN => "cause_cookie_while_shutdown",
            cause::RESTART_WITH_NEW_ADDR => "cause_restart_with_new_addr",
            cause::USER_INITIATED_ABORT => "cause_user_initiated_abort",
            _ => "cause_protocol_violation",
        };
        to.put(name);
        to.num("(length=", self.length);
        let mut r = self.body;
        match self.code {
            cause::OUT_OF_RESOURCE | cause::INVALID_PARAM | cause::COOKIE_WHILE_SHUTDOWN => {}
            cause::INVALID_STREAM_ID => {
                let stream = r.u16()?;
                r.skip(2)?;
                to.num(",value=", stream);
            }
            cause::MISSING_PARAM => {
                to.num(",num=", r.u32()?);
                to.put(",types=");
                write_numbers(self.missing_params()?, to);
            }
            cause::UNRESOLVABLE_ADDR => {
                to.put(",value=");
                Param::read(r.rest(), param::OF_ADDRESS_CAUSE, budget)??.write(to);
            }
            cause::RESTART_WITH_NEW_ADDR => {
                let left = usize::from(self.length).saturating_sub(4);
                to.put(",value=");
                write_params(r, left, param::OF_ADDRESS_CAUSE, to, budget)?;
            }
            cause::USER_INITIATED_ABORT | cause::UNRECOGNIZED_CHUNK | cause::PROTOCOL_VIOLATION => {
                to.payload_or_none(",value=", self.value()?);
            }
            _ => to.bytes_or_none(",value=", self.value()?),
        }
        to.put(")");
        Some(())
    }
}
