//! The classic pcap format (draft-ietf-opsawg-pcap): a file header of 24 bytes, then
//! records of a 16-byte header and a frame.

use std::io::BufRead;

use super::{CaptureError, ETHERNET, Endian, Fields, Frame, Input, RECORD_LIMIT};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// What the file header says.
pub(super) struct Header {
    endian: Endian,
    /// Nanoseconds in a unit of the records' fractions.
    unit: i128,
}

impl Header {
    /// Reads the rest of the file header; `None` if `magic` is not pcap's.
    pub(super) fn read<R: BufRead>(
        input: &mut Input<R>,
        magic: [u8; 4],
    ) -> Result<Option<Self>, CaptureError> {
        let (endian, unit) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (Endian::Little, 1_000),
            [0xa1, 0xb2, 0xc3, 0xd4] => (Endian::Big, 1_000),
            [0x4d, 0x3c, 0xb2, 0xa1] => (Endian::Little, 1),
            [0xa1, 0xb2, 0x3c, 0x4d] => (Endian::Big, 1),
            _ => return Ok(None),
        };
        input.fill(FILE_HEADER)?;
        let mut fields = Fields {
            bytes: input.buffer.get(20..).unwrap_or_default(),
            endian,
        };
        // The upper half tells of frame check sequences.
        let link = fields.u32().map_or(0, |link| (link & 0xffff) as u16);
        if link == ETHERNET {
            Ok(Some(Self { endian, unit }))
        } else {
            Err(CaptureError::NotEthernet(link))
        }
    }

    pub(super) fn next_frame<'a, R: BufRead>(
        &mut self,
        input: &'a mut Input<R>,
    ) -> Result<Option<Frame<'a>>, CaptureError> {
        input.buffer.clear();
        if !input.fill(RECORD_HEADER)? {
            return Ok(None);
        }
        let mut fields = Fields {
            bytes: &input.buffer,
            endian: self.endian,
        };
        let (Some(seconds), Some(fraction), Some(captured), Some(length)) =
            (fields.u32(), fields.u32(), fields.length(), fields.length())
        else {
            return Err(CaptureError::CutOff(input.start()));
        };
        if captured > RECORD_LIMIT {
            return Err(input.damaged(format!("a frame of {captured} bytes")));
        }
        input.fill(RECORD_HEADER + captured)?;
        Ok(Some(Frame {
            time: Some(i128::from(seconds) * 1_000_000_000 + i128::from(fraction) * self.unit),
            data: input.buffer.get(RECORD_HEADER..).unwrap_or_default(),
            length,
        }))
    }
}
