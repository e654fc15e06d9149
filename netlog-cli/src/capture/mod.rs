//! Files of captured frames: pcap, pcapng, and lines of hex digits.
//!
//! A [`Capture`] gives frame after frame out of one buffer, and tells where a damaged file
//! breaks off. Only Ethernet is read.

mod hex;
mod pcap;
mod pcapng;

use std::io::{self, BufRead, ErrorKind, Read};

/// The largest record that is believed, in bytes: what libpcap allows.
const RECORD_LIMIT: usize = 262_144;

/// The link type of Ethernet, in pcap and pcapng.
const ETHERNET: u16 = 1;

/// A frame as it was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Nanoseconds since 1970-01-01 00:00:00 UTC, where the file has them.
    pub time: Option<i128>,
    /// The frame from its Ethernet header on, perhaps cut off.
    pub data: &'a [u8],
    /// The length that it had on the wire, in bytes.
    pub length: usize,
}

/// Why a capture cannot be read any further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is of another kind.
    #[error("this is neither pcap nor pcapng; use --hex for lines of hex digits")]
    Unknown,
    /// A record is damaged.
    #[error("damaged at byte {offset}: {cause}")]
    Damaged {
        /// Where the record begins in the file.
        offset: u64,
        /// What is wrong with it.
        cause: String,
    },
    /// The file ends inside a record, as it does when the capture was stopped halfway.
    #[error("ends inside the record at byte {0}; all before it is shown")]
    CutOff(u64),
    /// Frames that are not Ethernet.
    #[error("frames of link type {0}; only Ethernet (1) can be decoded")]
    NotEthernet(u16),
    /// A line is not hex.
    #[error("line {line}: {cause}")]
    Hex {
        /// The line's number, from 1.
        line: u64,
        /// What is wrong with it.
        cause: String,
    },
}

/// An open capture.
pub struct Capture<R> {
    input: Input<R>,
    format: Format,
}

enum Format {
    Pcap(pcap::Header),
    Pcapng(pcapng::Section),
    Hex(hex::Lines),
}

impl<R: BufRead> Capture<R> {
    /// Opens a pcap or pcapng file, which its first bytes tell.
    pub fn open(reader: R) -> Result<Self, CaptureError> {
        let mut input = Input::new(reader);
        let magic = input.peek_magic()?;
        let format = if magic == pcapng::MAGIC {
            Format::Pcapng(pcapng::Section::default())
        } else if let Some(header) = pcap::Header::read(&mut input, magic)? {
            Format::Pcap(header)
        } else {
            return Err(CaptureError::Unknown);
        };
        Ok(Self { input, format })
    }

    /// Opens text with one frame a line, in hex digits.
    pub fn open_hex(reader: R) -> Self {
        Self {
            input: Input::new(reader),
            format: Format::Hex(hex::Lines::default()),
        }
    }

    /// The next frame, or `None` at the end. After an error there is nothing more to read.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        match &mut self.format {
            Format::Pcap(header) => header.next_frame(&mut self.input),
            Format::Pcapng(section) => section.next_frame(&mut self.input),
            Format::Hex(lines) => lines.next_frame(&mut self.input),
        }
    }

    /// How much of the file has been read, in bytes.
    pub fn position(&self) -> u64 {
        self.input.offset
    }
}

/// A reader that counts, with the buffer that records are read into.
struct Input<R> {
    reader: R,
    offset: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Input<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            offset: 0,
            buffer: Vec::new(),
        }
    }

    /// The first four bytes, which stay in the buffer and count as read.
    fn peek_magic(&mut self) -> Result<[u8; 4], CaptureError> {
        let mut magic = [0; 4];
        match self.reader.read_exact(&mut magic) {
            Ok(()) => {}
            Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => {
                return Err(CaptureError::Unknown);
            }
            Err(cause) => return Err(cause.into()),
        }
        self.buffer.extend_from_slice(&magic);
        self.offset = 4;
        Ok(magic)
    }

    /// Reads until `length` bytes are in the buffer. False when the file ends before
    /// there is a single one.
    fn fill(&mut self, length: usize) -> Result<bool, CaptureError> {
        let start = self.offset - self.buffer.len() as u64;
        let missing = length.saturating_sub(self.buffer.len());
        let read = (&mut self.reader)
            .take(missing as u64)
            .read_to_end(&mut self.buffer)?;
        self.offset += read as u64;
        if self.buffer.len() >= length {
            Ok(true)
        } else if self.buffer.is_empty() {
            Ok(false)
        } else {
            Err(CaptureError::CutOff(start))
        }
    }

    /// Where the record in the buffer begins.
    fn start(&self) -> u64 {
        self.offset - self.buffer.len() as u64
    }

    fn damaged(&self, cause: impl Into<String>) -> CaptureError {
        CaptureError::Damaged {
            offset: self.start(),
            cause: cause.into(),
        }
    }
}

/// Byte order of a file's integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Endian {
    #[default]
    Little,
    Big,
}

/// Takes integers off the front of a record.
struct Fields<'a> {
    bytes: &'a [u8],
    endian: Endian,
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.bytes.split_at_checked(length)?;
        self.bytes = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.bytes.split_first_chunk()?;
        self.bytes = tail;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.array()?;
        Some(match self.endian {
            Endian::Little => u16::from_le_bytes(bytes),
            Endian::Big => u16::from_be_bytes(bytes),
        })
    }

    fn u32(&mut self) -> Option<u32> {
        let bytes = self.array()?;
        Some(match self.endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        })
    }

    /// A 32-bit length.
    fn length(&mut self) -> Option<usize> {
        self.u32().map(|length| length as usize)
    }

    fn i64(&mut self) -> Option<i64> {
        let bytes = self.array()?;
        Some(match self.endian {
            Endian::Little => i64::from_le_bytes(bytes),
            Endian::Big => i64::from_be_bytes(bytes),
        })
    }
}

#[cfg(test)]
mod tests;
