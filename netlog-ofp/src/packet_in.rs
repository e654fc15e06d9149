//! Packet-ins, the hot path: one pass over the bytes, no copy, no allocation.
//!
//! Open vSwitch sends them in three layouts, and [`PacketIn::parse`] reads all
//! three into one type:
//!
//! - `OFPT_PACKET_IN` (OpenFlow 1.3.5, 7.4.1; the same in 1.4),
//! - `NXT_PACKET_IN`, with NXM fields in place of OXM,
//! - `NXT_PACKET_IN2`, a list of properties; the only one with userdata.

use crate::{
    codec::{DecodeError, Problem, Put, padding},
    header::{MessageTooLong, MessageType, RawMessage, Version, Xid, encode_message},
    oxm::{Field, RawOxm, RawOxms},
    port::PortNo,
    wire_enum::wire_enum,
};

wire_enum! {
    /// Why a packet was sent (`OFPR_*`).
    pub struct PacketInReason(u8) {
        /// No flow matched.
        NO_MATCH = 0,
        /// An action of a flow sent it.
        ACTION = 1,
        /// Its TTL ran out.
        INVALID_TTL = 2,
        /// The action set of a flow sent it (1.4).
        ACTION_SET = 3,
        /// A group sent it (1.4).
        GROUP = 4,
        /// An action of a packet-out sent it (1.4).
        PACKET_OUT = 5,
    }
}

wire_enum! {
    /// A layout of packet-ins (`NXPIF_*`), chosen with
    /// [`Body::SetPacketInFormat`](crate::Body::SetPacketInFormat).
    pub struct PacketInFormat(u32) {
        /// `OFPT_PACKET_IN`.
        STANDARD = 0,
        /// `NXT_PACKET_IN`.
        NXT_PACKET_IN = 1,
        /// `NXT_PACKET_IN2`.
        NXT_PACKET_IN2 = 2,
    }
}

const NICIRA: u32 = crate::nicira::NICIRA;
const NXT_PACKET_IN: u32 = 17;
const NXT_PACKET_IN2: u32 = 30;
const NO_BUFFER: u32 = 0xffff_ffff;

/// Properties of `NXT_PACKET_IN2` (`NXPINT_*`).
mod property {
    pub(super) const PACKET: u16 = 0;
    pub(super) const FULL_LEN: u16 = 1;
    pub(super) const BUFFER_ID: u16 = 2;
    pub(super) const TABLE_ID: u16 = 3;
    pub(super) const COOKIE: u16 = 4;
    pub(super) const REASON: u16 = 5;
    pub(super) const METADATA: u16 = 6;
    pub(super) const USERDATA: u16 = 7;
}

/// A packet that a flow sent to the controller, borrowed from the buffer it
/// was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketIn<'a> {
    /// The cookie of the flow; all ones when no flow matched.
    pub cookie: u64,
    /// The table of the flow; 255 when the message does not say.
    pub table_id: u8,
    /// Why it was sent.
    pub reason: PacketInReason,
    /// Where the switch keeps the packet, if it does.
    pub buffer_id: Option<u32>,
    /// The length of the frame in bytes, of which [`data`](Self::data) may be
    /// only the beginning.
    pub total_len: u32,
    /// What the pipeline knew of the packet besides its bytes.
    pub metadata: Metadata<'a>,
    /// What the `controller` action carried along; empty but in
    /// `NXT_PACKET_IN2`.
    pub userdata: &'a [u8],
    /// The Ethernet frame.
    pub data: &'a [u8],
}

impl<'a> PacketIn<'a> {
    /// Reads a packet-in of any of the three layouts; `None` when the message
    /// is something else.
    #[expect(
        clippy::inline_always,
        reason = "the fields go to the caller in registers"
    )]
    #[inline(always)]
    pub fn parse(message: RawMessage<'a>) -> Result<Option<Self>, DecodeError> {
        match message.message_type() {
            MessageType::PACKET_IN if message.version() >= Version::V1_3 => {
                Self::parse_standard(message.body()).map(Some)
            }
            MessageType::EXPERIMENTER => {
                let Some((experimenter, rest)) = be_u32(message.body()) else {
                    return Ok(None);
                };
                match (experimenter, be_u32(rest)) {
                    (NICIRA, Some((NXT_PACKET_IN2, body))) => Self::parse_nxt2(body).map(Some),
                    (NICIRA, Some((NXT_PACKET_IN, body))) => Self::parse_nxt(body).map(Some),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    #[inline(always)]
    fn parse_standard(body: &'a [u8]) -> Result<Self, DecodeError> {
        const STRUCTURE: &str = "ofp_packet_in";
        // buffer_id, total_len, reason, table_id, cookie; then the match:
        // type, length, fields, padding; then two bytes of padding.
        let fixed = Fixed::parse(body).ok_or_else(|| truncated(STRUCTURE, 20, body))?;
        let ([_, _, l0, l1], rest) = fixed
            .rest
            .split_first_chunk()
            .ok_or_else(|| truncated(STRUCTURE, 4, fixed.rest))?;
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let fields = length
            .checked_sub(4)
            .ok_or_else(|| error(STRUCTURE, Problem::Length(length)))?;
        fixed.finish(STRUCTURE, rest, fields, padding(length))
    }

    fn parse_nxt(body: &'a [u8]) -> Result<Self, DecodeError> {
        const STRUCTURE: &str = "nx_packet_in";
        // The same numbers; then the length of the fields, six bytes of
        // padding, the fields, their padding, and two bytes more.
        let fixed = Fixed::parse(body).ok_or_else(|| truncated(STRUCTURE, 24, body))?;
        let ([l0, l1, ..], rest) = fixed
            .rest
            .split_first_chunk::<8>()
            .ok_or_else(|| truncated(STRUCTURE, 8, fixed.rest))?;
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        fixed.finish(STRUCTURE, rest, length, padding(length))
    }

    fn parse_nxt2(mut properties: &'a [u8]) -> Result<Self, DecodeError> {
        const STRUCTURE: &str = "NXT_PACKET_IN2";
        let mut common = Common::default();
        let (mut full_len, mut buffer_id) = (None, None);
        let mut fields: &[u8] = &[];
        let (mut userdata, mut data): (&[u8], &[u8]) = (&[], &[]);
        while let Some((&[k0, k1, l0, l1], rest)) = properties.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let size = length
                .checked_sub(4)
                .ok_or_else(|| error(STRUCTURE, Problem::Length(length)))?;
            let (value, rest) = rest
                .split_at_checked(size)
                .ok_or_else(|| truncated(STRUCTURE, size, rest))?;
            properties = rest.get(padding(length)..).unwrap_or_default();

            let short = || truncated(STRUCTURE, size + 1, value);
            match u16::from_be_bytes([k0, k1]) {
                property::PACKET => {
                    data = value;
                    if let Some(usual) = Common::split(properties) {
                        (common, properties) = usual;
                    }
                }
                property::FULL_LEN => full_len = Some(be_u32(value).ok_or_else(short)?.0),
                property::BUFFER_ID => buffer_id = Some(be_u32(value).ok_or_else(short)?.0),
                property::TABLE_ID => common.table_id = *value.first().ok_or_else(short)?,
                // Four bytes of padding come before the eight of the cookie.
                property::COOKIE => {
                    common.cookie = u64::from_be_bytes(*value.last_chunk().ok_or_else(short)?);
                }
                property::REASON => {
                    common.reason = PacketInReason(*value.first().ok_or_else(short)?);
                }
                property::METADATA => fields = value,
                property::USERDATA => userdata = value,
                _ => {}
            }
        }
        if !properties.is_empty() {
            return Err(truncated(STRUCTURE, 4, properties));
        }
        Ok(Self {
            cookie: common.cookie,
            table_id: common.table_id,
            reason: common.reason,
            buffer_id,
            total_len: full_len.unwrap_or_else(|| length_u32(data)),
            metadata: Metadata::parse(fields)?,
            userdata,
            data,
        })
    }

    /// Appends the packet-in to `out` in one of the three layouts.
    ///
    /// The fields are written as [`Metadata::fields`] has them; only
    /// `NXT_PACKET_IN2` carries userdata.
    pub fn encode(
        &self,
        format: PacketInFormat,
        version: Version,
        xid: Xid,
        out: &mut Vec<u8>,
    ) -> Result<(), MessageTooLong> {
        match format {
            PacketInFormat::NXT_PACKET_IN2 => {
                encode_message(out, version, MessageType::EXPERIMENTER, xid, |out| {
                    out.u32(NICIRA);
                    out.u32(NXT_PACKET_IN2);
                    self.encode_nxt2(out);
                })
            }
            PacketInFormat::NXT_PACKET_IN => {
                encode_message(out, version, MessageType::EXPERIMENTER, xid, |out| {
                    out.u32(NICIRA);
                    out.u32(NXT_PACKET_IN);
                    self.encode_fixed(out);
                    let start = out.position();
                    out.u16(u16::try_from(self.metadata.raw.len()).unwrap_or(u16::MAX));
                    out.zeros(6);
                    out.bytes(self.metadata.raw);
                    out.pad(start);
                    out.zeros(2);
                    out.bytes(self.data);
                })
            }
            _ => encode_message(out, version, MessageType::PACKET_IN, xid, |out| {
                self.encode_fixed(out);
                out.property(1, |out| out.bytes(self.metadata.raw));
                out.zeros(2);
                out.bytes(self.data);
            }),
        }
    }

    fn encode_fixed(&self, out: &mut Vec<u8>) {
        out.u32(self.buffer_id.unwrap_or(NO_BUFFER));
        out.u16(u16::try_from(self.total_len).unwrap_or(u16::MAX));
        out.u8(self.reason.0);
        out.u8(self.table_id);
        out.u64(self.cookie);
    }

    fn encode_nxt2(&self, out: &mut Vec<u8>) {
        out.property(property::PACKET, |out| out.bytes(self.data));
        if self.total_len != length_u32(self.data) {
            out.property(property::FULL_LEN, |out| out.u32(self.total_len));
        }
        if let Some(buffer_id) = self.buffer_id {
            out.property(property::BUFFER_ID, |out| out.u32(buffer_id));
        }
        out.property(property::TABLE_ID, |out| out.u8(self.table_id));
        out.property(property::COOKIE, |out| {
            out.u32(0);
            out.u64(self.cookie);
        });
        out.property(property::REASON, |out| out.u8(self.reason.0));
        out.property(property::METADATA, |out| out.bytes(self.metadata.raw));
        if !self.userdata.is_empty() {
            out.property(property::USERDATA, |out| out.bytes(self.userdata));
        }
    }
}

/// What every packet-in of a flow has besides the frame and metadata.
struct Common {
    table_id: u8,
    cookie: u64,
    reason: PacketInReason,
}

impl Default for Common {
    /// What stands for each of them where it is not sent.
    fn default() -> Self {
        Self {
            table_id: u8::MAX,
            cookie: u64::MAX,
            reason: PacketInReason::NO_MATCH,
        }
    }
}

impl Common {
    /// Takes all three off the properties behind the frame, in the order in which Open
    /// vSwitch sends them, with one comparison instead of a turn of the loop for each.
    /// `None` where they come in another way, which the loop reads as well.
    #[inline]
    fn split(properties: &[u8]) -> Option<(Self, &[u8])> {
        // Type and length of a property, compared as one number.
        const TABLE_ID: u32 = (property::TABLE_ID as u32) << 16 | 5;
        const COOKIE: u32 = (property::COOKIE as u32) << 16 | 16;
        const REASON: u32 = (property::REASON as u32) << 16 | 5;

        let (table, rest) = be_u32(properties)?;
        let (&[table_id, _, _, _], rest) = rest.split_first_chunk()?;
        let (cookie, rest) = be_u32(rest)?;
        let ([_, _, _, _, value @ ..], rest) = rest.split_first_chunk::<12>()?;
        let (reason, rest) = be_u32(rest)?;
        let (&[why, _, _, _], rest) = rest.split_first_chunk()?;
        if (table, cookie, reason) != (TABLE_ID, COOKIE, REASON) {
            return None;
        }
        // The cookie's padding is in front of it.
        let common = Self {
            table_id,
            cookie: u64::from_be_bytes(*value),
            reason: PacketInReason(why),
        };
        Some((common, rest))
    }
}

/// What the two older layouts begin with.
struct Fixed<'a> {
    buffer_id: u32,
    total_len: u16,
    reason: u8,
    table_id: u8,
    cookie: u64,
    rest: &'a [u8],
}

impl<'a> Fixed<'a> {
    #[inline]
    fn parse(body: &'a [u8]) -> Option<Self> {
        let (&[b0, b1, b2, b3, l0, l1, reason, table_id], rest) = body.split_first_chunk()?;
        let (&cookie, rest) = rest.split_first_chunk()?;
        Some(Self {
            buffer_id: u32::from_be_bytes([b0, b1, b2, b3]),
            total_len: u16::from_be_bytes([l0, l1]),
            reason,
            table_id,
            cookie: u64::from_be_bytes(cookie),
            rest,
        })
    }

    /// Takes `fields` bytes of metadata from `rest`, `padding` bytes and two
    /// more of padding, and the frame.
    #[expect(clippy::inline_always, reason = "as of what calls it")]
    #[inline(always)]
    fn finish(
        self,
        structure: &'static str,
        rest: &'a [u8],
        fields: usize,
        padding: usize,
    ) -> Result<PacketIn<'a>, DecodeError> {
        let (fields, data) = rest
            .split_at_checked(fields)
            .ok_or_else(|| truncated(structure, fields, rest))?;
        let data = data
            .get(padding + 2..)
            .ok_or_else(|| truncated(structure, padding + 2, data))?;
        Ok(PacketIn {
            cookie: self.cookie,
            table_id: self.table_id,
            reason: PacketInReason(self.reason),
            buffer_id: (self.buffer_id != NO_BUFFER).then_some(self.buffer_id),
            total_len: self.total_len.into(),
            metadata: Metadata::parse(fields)?,
            userdata: &[],
            data,
        })
    }
}

/// What the pipeline knew of a packet. The switch leaves out what is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata<'a> {
    /// The port the packet came from; 0, which is no port, when left out.
    pub in_port: PortNo,
    /// Register 5.
    pub reg5: Option<u32>,
    /// Register 6.
    pub reg6: Option<u32>,
    /// Connection state; see [`ct_state`].
    pub ct_state: Option<u32>,
    /// Connection tracking zone.
    pub ct_zone: Option<u16>,
    /// Connection mark.
    pub ct_mark: Option<u32>,
    raw: &'a [u8],
}

/// Bits of the connection state (`CS_*`, ovs-fields(7)).
pub mod ct_state {
    /// The packet begins a connection.
    pub const NEW: u32 = 1;
    /// The packet is of a connection that both sides have spoken on.
    pub const EST: u32 = 1 << 1;
    /// The packet is related to a connection, such as an ICMP error.
    pub const REL: u32 = 1 << 2;
    /// The packet goes in the direction of the reply.
    pub const RPL: u32 = 1 << 3;
    /// Connection tracking could not make sense of the packet.
    pub const INV: u32 = 1 << 4;
    /// The packet passed connection tracking.
    pub const TRK: u32 = 1 << 5;
}

/// Headers of fields of four bytes without a mask.
mod word {
    use super::Field;

    const fn header(field: Field) -> u32 {
        field.0 << 9 | 4
    }

    pub(super) const IN_PORT: u32 = header(Field::IN_PORT);
    pub(super) const REG5: u32 = header(Field::REG5);
    pub(super) const REG6: u32 = header(Field::REG6);
    pub(super) const CT_STATE: u32 = header(Field::CT_STATE);
    pub(super) const CT_MARK: u32 = header(Field::CT_MARK);
}

impl<'a> Metadata<'a> {
    /// Reads a list of OXM or NXM fields, in one pass; to make one, see
    /// [`Match::to_bytes`](crate::Match::to_bytes). Fields without a place
    /// of their own are in [`fields`](Self::fields).
    #[expect(
        clippy::inline_always,
        reason = "the fields go to the caller in registers"
    )]
    #[inline(always)]
    pub fn parse(raw: &'a [u8]) -> Result<Self, DecodeError> {
        let mut metadata = Self {
            raw,
            ..Self::default()
        };
        let mut rest = raw;
        loop {
            // Most fields have four bytes and no mask: header and value at once.
            if let Some((&[h0, h1, h2, h3, value @ ..], next)) = rest.split_first_chunk::<8>() {
                let value = u32::from_be_bytes(value);
                match u32::from_be_bytes([h0, h1, h2, h3]) {
                    word::IN_PORT => metadata.in_port = PortNo(value),
                    word::REG5 => metadata.reg5 = Some(value),
                    word::REG6 => metadata.reg6 = Some(value),
                    word::CT_STATE => metadata.ct_state = Some(value),
                    word::CT_MARK => metadata.ct_mark = Some(value),
                    _ => {
                        (metadata, rest) = metadata.with_field(rest)?;
                        continue;
                    }
                }
                rest = next;
            } else if rest.is_empty() {
                return Ok(metadata);
            } else {
                (metadata, rest) = metadata.with_field(rest)?;
            }
        }
    }

    /// Takes one field of any length off, and returns what is left. By value, so that what is known
    /// is in memory only where such a field comes.
    fn with_field(mut self, fields: &'a [u8]) -> Result<(Self, &'a [u8]), DecodeError> {
        let (oxm, rest) =
            RawOxm::split(fields).ok_or_else(|| truncated("oxm", fields.len() + 1, fields))?;
        match oxm.field() {
            Field::IN_PORT => self.in_port = PortNo(u32_of(oxm)?),
            Field::NXM_IN_PORT => self.in_port = PortNo::from_u16(u16_of(oxm)?),
            Field::REG5 => self.reg5 = Some(u32_of(oxm)?),
            Field::REG6 => self.reg6 = Some(u32_of(oxm)?),
            Field::CT_STATE => self.ct_state = Some(u32_of(oxm)?),
            Field::CT_ZONE => self.ct_zone = Some(u16_of(oxm)?),
            Field::CT_MARK => self.ct_mark = Some(u32_of(oxm)?),
            _ => {}
        }
        Ok((self, rest))
    }

    /// All fields as they came.
    pub const fn fields(&self) -> RawOxms<'a> {
        RawOxms(self.raw)
    }

    /// The first field of this kind.
    pub fn get(&self, field: Field) -> Option<RawOxm<'a>> {
        self.fields().find(|oxm| oxm.field() == field)
    }
}

#[inline]
fn u32_of(oxm: RawOxm<'_>) -> Result<u32, DecodeError> {
    oxm.array()
        .map(u32::from_be_bytes)
        .ok_or_else(|| truncated("oxm", 4, oxm.value()))
}

#[inline]
fn u16_of(oxm: RawOxm<'_>) -> Result<u16, DecodeError> {
    oxm.array()
        .map(u16::from_be_bytes)
        .ok_or_else(|| truncated("oxm", 2, oxm.value()))
}

#[inline]
fn be_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(number), rest))
}

fn length_u32(data: &[u8]) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}

#[cold]
fn truncated(structure: &'static str, needed: usize, bytes: &[u8]) -> DecodeError {
    let missing = needed.saturating_sub(bytes.len()).max(1);
    error(structure, Problem::Truncated { missing })
}

#[cold]
const fn error(structure: &'static str, problem: Problem) -> DecodeError {
    DecodeError { structure, problem }
}

#[cfg(test)]
mod tests;
