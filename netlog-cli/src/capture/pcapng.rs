//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each with its type,
//! its length at both ends, and what its type says.

use std::io::BufRead;

use super::{CaptureError, ETHERNET, Endian, Fields, Frame, Input, RECORD_LIMIT};

/// The first bytes of a section header, the same in both byte orders.
pub(super) const MAGIC: [u8; 4] = SECTION_HEADER.to_be_bytes();

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;

const END_OF_OPTIONS: u16 = 0;
const IF_TSRESOL: u16 = 9;
const IF_TSOFFSET: u16 = 14;

/// A block has its type and its length before its body, and its length once more behind.
const BLOCK_HEADER: usize = 8;
const BLOCK_FRAME: usize = 12;
/// Frames come with options; other blocks may be as long.
const BLOCK_LIMIT: usize = RECORD_LIMIT + 65_536;

/// The section that is being read: its byte order and interfaces.
#[derive(Default)]
pub(super) struct Section {
    endian: Endian,
    interfaces: Vec<Interface>,
    /// Whether a block has been read; the first one's type is in the buffer already.
    started: bool,
}

#[derive(Clone, Copy)]
struct Interface {
    link: u16,
    /// The most bytes of a frame that were captured; 0 is no limit.
    snap: usize,
    resolution: Resolution,
    /// Seconds to add to each time.
    offset: i64,
}

/// Units of time in a second.
#[derive(Clone, Copy)]
struct Resolution(i128);

impl Resolution {
    /// From an `if_tsresol` option: a negative power of 10, or of 2 with the top bit set.
    fn from_option(value: u8) -> Option<Self> {
        let exponent = u32::from(value & 0x7f);
        let base: i128 = if value & 0x80 == 0 { 10 } else { 2 };
        base.checked_pow(exponent).map(Self)
    }

    fn nanoseconds(self, units: u64, offset: i64) -> Option<i128> {
        let units = i128::from(units);
        // Whole seconds apart, or the product may not fit.
        let seconds = units / self.0 + i128::from(offset);
        let fraction = (units % self.0).checked_mul(1_000_000_000)? / self.0;
        Some(seconds * 1_000_000_000 + fraction)
    }
}

/// A frame's place in the buffer.
struct Packet {
    interface: usize,
    time: Option<u64>,
    /// Where the data begins in the block's body.
    start: usize,
    captured: usize,
    length: usize,
}

impl Section {
    pub(super) fn next_frame<'a, R: BufRead>(
        &mut self,
        input: &'a mut Input<R>,
    ) -> Result<Option<Frame<'a>>, CaptureError> {
        loop {
            let Some(kind) = self.read_block(input)? else {
                return Ok(None);
            };
            let fields = Fields {
                bytes: body(&input.buffer),
                endian: self.endian,
            };
            let packet = match kind {
                // Its fields were read with its byte order.
                SECTION_HEADER => {
                    self.interfaces.clear();
                    continue;
                }
                INTERFACE_DESCRIPTION => {
                    let interface = interface(fields)
                        .ok_or_else(|| input.damaged("a bad description of an interface"))?;
                    self.interfaces.push(interface);
                    continue;
                }
                ENHANCED_PACKET => enhanced(fields),
                SIMPLE_PACKET => simple(fields, self.interfaces.first()),
                _ => continue,
            };
            let packet = packet.ok_or_else(|| input.damaged("a block too short for its frame"))?;
            let Some(interface) = self.interfaces.get(packet.interface) else {
                return Err(input.damaged(format!(
                    "a frame of interface {}, which is not described",
                    packet.interface
                )));
            };
            if interface.link != ETHERNET {
                return Err(CaptureError::NotEthernet(interface.link));
            }
            let end = packet.start + packet.captured;
            if end > body(&input.buffer).len() {
                return Err(input.damaged("a block too short for its frame"));
            }
            let time = packet
                .time
                .and_then(|units| interface.resolution.nanoseconds(units, interface.offset));
            return Ok(Some(Frame {
                time,
                data: body(&input.buffer)
                    .get(packet.start..end)
                    .unwrap_or_default(),
                length: packet.length,
            }));
        }
    }

    /// Reads a whole block into the buffer and tells its type; `None` at the end of the file.
    fn read_block<R: BufRead>(
        &mut self,
        input: &mut Input<R>,
    ) -> Result<Option<u32>, CaptureError> {
        if self.started {
            input.buffer.clear();
        }
        self.started = true;
        if !input.fill(BLOCK_HEADER)? {
            return Ok(None);
        }
        if input.buffer.starts_with(&MAGIC) {
            input.fill(BLOCK_FRAME)?;
            let order = input.buffer.get(BLOCK_HEADER..).unwrap_or_default();
            self.endian = if order == BYTE_ORDER.to_le_bytes() {
                Endian::Little
            } else if order == BYTE_ORDER.to_be_bytes() {
                Endian::Big
            } else {
                return Err(input.damaged("a section of no byte order"));
            };
        }
        let mut fields = Fields {
            bytes: &input.buffer,
            endian: self.endian,
        };
        let (Some(kind), Some(length)) = (fields.u32(), fields.length()) else {
            return Err(CaptureError::CutOff(input.start()));
        };
        if !(BLOCK_FRAME..=BLOCK_LIMIT).contains(&length) || length % 4 != 0 {
            return Err(input.damaged(format!("a block of {length} bytes")));
        }
        input.fill(length)?;
        let mut trailer = Fields {
            bytes: input.buffer.get(length - 4..).unwrap_or_default(),
            endian: self.endian,
        };
        if trailer.length() != Some(length) {
            return Err(input.damaged("a block whose two lengths differ"));
        }
        Ok(Some(kind))
    }
}

/// What is between a block's header and its trailer.
fn body(block: &[u8]) -> &[u8] {
    block
        .get(BLOCK_HEADER..block.len().saturating_sub(4))
        .unwrap_or_default()
}

fn interface(mut fields: Fields<'_>) -> Option<Interface> {
    let link = fields.u16()?;
    fields.u16()?;
    let mut interface = Interface {
        link,
        snap: fields.length()?,
        resolution: Resolution(1_000_000),
        offset: 0,
    };
    while !fields.bytes.is_empty() {
        let (code, length) = (fields.u16()?, usize::from(fields.u16()?));
        let mut value = Fields {
            bytes: fields.take(length)?,
            endian: fields.endian,
        };
        // Values are padded to 32 bits.
        fields.take(length.wrapping_neg() % 4)?;
        match code {
            END_OF_OPTIONS => break,
            IF_TSRESOL => {
                let [exponent] = value.array()?;
                interface.resolution = Resolution::from_option(exponent)?;
            }
            IF_TSOFFSET => interface.offset = value.i64()?,
            _ => {}
        }
    }
    Some(interface)
}

fn enhanced(mut fields: Fields<'_>) -> Option<Packet> {
    let interface = fields.length()?;
    let (high, low) = (fields.u32()?, fields.u32()?);
    Some(Packet {
        interface,
        time: Some(u64::from(high) << 32 | u64::from(low)),
        captured: fields.length()?,
        length: fields.length()?,
        start: 20,
    })
}

/// A simple packet belongs to the first interface, and has as many bytes as that captured.
fn simple(mut fields: Fields<'_>, first: Option<&Interface>) -> Option<Packet> {
    let length = fields.length()?;
    let snap = first.map_or(0, |interface| interface.snap);
    Some(Packet {
        interface: 0,
        time: None,
        captured: if snap == 0 { length } else { length.min(snap) },
        length,
        start: 4,
    })
}
