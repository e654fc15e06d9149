//! Reading and writing big-endian structures.
//!
//! A [`Reader`] is a cursor over [`nom`] parsers: it remembers how far it came
//! and which structure it reads, so that a decoder is the list of its fields in
//! the order of the wire, and an error says where it happened. [`Put`] is its
//! mirror for writing.

use std::time::Duration;

use nom::{
    Err, Needed, Parser,
    bytes::streaming::take,
    error::Error,
    number::streaming::{be_u8, be_u16, be_u32, be_u64},
};

/// Bytes that are not the structure they ought to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{structure}: {problem}")]
pub struct DecodeError {
    /// The OpenFlow name of the structure that was being read.
    pub structure: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It ends before all its fields are there.
    #[error("{missing} more bytes are needed")]
    Truncated {
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// It is longer than its fields.
    #[error("{0} bytes are left over")]
    Trailing(usize),
    /// A length field has a value that cannot be.
    #[error("a length of {0} is impossible here")]
    Length(usize),
    /// A number stands for something that this crate cannot read.
    #[error("{0} is not supported here")]
    Unsupported(u32),
}

pub(crate) type Result<T, E = DecodeError> = std::result::Result<T, E>;

/// A cursor over the bytes of one structure.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    structure: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(structure: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            structure,
            rest: bytes,
        }
    }

    /// Gives errors from here on another structure's name.
    pub(crate) const fn enter(&mut self, structure: &'static str) {
        self.structure = structure;
    }

    pub(crate) const fn error(&self, problem: Problem) -> DecodeError {
        DecodeError {
            structure: self.structure,
            problem,
        }
    }

    /// Runs a parser where the cursor stands, and moves the cursor behind it.
    fn parse<P>(&mut self, mut parser: P) -> Result<P::Output>
    where
        P: Parser<&'a [u8], Error = Error<&'a [u8]>>,
    {
        match parser.parse(self.rest) {
            Ok((rest, value)) => {
                self.rest = rest;
                Ok(value)
            }
            Err(Err::Incomplete(Needed::Size(missing))) => Err(self.error(Problem::Truncated {
                missing: missing.get(),
            })),
            Err(_) => Err(self.error(Problem::Length(self.rest.len()))),
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.parse(be_u8)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.parse(be_u16)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.parse(be_u32)
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.parse(be_u64)
    }

    /// Seconds and nanoseconds, 32 bits each.
    pub(crate) fn duration(&mut self) -> Result<Duration> {
        let seconds = self.u32()?;
        Ok(Duration::new(seconds.into(), self.u32()?))
    }

    /// The same, where Open vSwitch has all ones for what it does not know.
    pub(crate) fn duration_if_known(&mut self) -> Result<Option<Duration>> {
        let mut unknown = self.clone();
        if unknown.u64()? == u64::MAX {
            *self = unknown;
            return Ok(None);
        }
        self.duration().map(Some)
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        self.parse(take(count))
    }

    pub(crate) fn take_array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Passes over padding, whatever is in it.
    pub(crate) fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(drop)
    }

    /// Everything that is left.
    pub(crate) const fn take_rest(&mut self) -> &'a [u8] {
        let (rest, end) = self.rest.split_at(self.rest.len());
        self.rest = end;
        rest
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// A reader of the next `length` bytes only.
    pub(crate) fn sub(&mut self, structure: &'static str, length: usize) -> Result<Self> {
        Ok(Self::new(structure, self.take(length)?))
    }

    /// Decodes items until nothing is left.
    pub(crate) fn all<T>(
        &mut self,
        mut decode: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        while !self.is_empty() {
            items.push(decode(self)?);
        }
        Ok(items)
    }

    /// The value, if it was the last thing in the structure.
    pub(crate) fn finish<T>(&self, value: T) -> Result<T> {
        match self.remaining() {
            0 => Ok(value),
            count => Err(self.error(Problem::Trailing(count))),
        }
    }

    /// What is left after `header` bytes, already read, of a structure whose
    /// length field says `length`.
    pub(crate) fn body(
        &mut self,
        structure: &'static str,
        length: u16,
        header: usize,
    ) -> Result<Self> {
        match usize::from(length).checked_sub(header) {
            Some(rest) => self.sub(structure, rest),
            None => Err(DecodeError {
                structure,
                problem: Problem::Length(length.into()),
            }),
        }
    }

    /// A 16-bit type, a 16-bit length that counts both, and that many bytes.
    pub(crate) fn tlv(&mut self, structure: &'static str) -> Result<(u16, Self)> {
        self.enter(structure);
        let kind = self.u16()?;
        let length = self.u16()?;
        Ok((kind, self.body(structure, length, 4)?))
    }

    /// A [`tlv`](Self::tlv) followed by padding, not counted, to a multiple of
    /// eight: the properties of OpenFlow 1.4 and of the Nicira extensions.
    pub(crate) fn property(&mut self, structure: &'static str) -> Result<(u16, Self)> {
        let (kind, value) = self.tlv(structure)?;
        let padding = padding(value.remaining() + 4);
        self.skip(padding.min(self.remaining()))?;
        Ok((kind, value))
    }
}

/// How many bytes bring `length` to a multiple of eight.
pub(crate) const fn padding(length: usize) -> usize {
    length.wrapping_neg() & 7
}

/// Appends big-endian structures to a buffer.
///
/// A length field that does not fit is written as its greatest value; the
/// message around it is then too long as well, and
/// [`Message::encode`](crate::Message::encode) refuses it.
pub(crate) trait Put {
    fn u8(&mut self, value: u8);
    fn u16(&mut self, value: u16);
    fn u32(&mut self, value: u32);
    fn u64(&mut self, value: u64);
    fn bytes(&mut self, bytes: &[u8]);
    /// Seconds, at most `u32::MAX`, and nanoseconds.
    fn duration(&mut self, duration: Duration);

    /// The same, with all ones for what is not known.
    fn duration_if_known(&mut self, duration: Option<Duration>) {
        match duration {
            Some(duration) => self.duration(duration),
            None => self.u64(u64::MAX),
        }
    }

    fn zeros(&mut self, count: usize);
    /// Zeros until what began at `start` is a multiple of eight long.
    fn pad(&mut self, start: usize);
    /// Where the next byte goes.
    fn position(&self) -> usize;
    /// Writes the length of what began at `start` into the 16 bits at `at`.
    fn set_length(&mut self, at: usize, start: usize);

    /// A type, a length that counts both, and what `value` writes; not padded.
    fn tlv(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        let start = self.position();
        self.u16(kind);
        self.u16(0);
        value(self);
        self.set_length(start + 2, start);
    }

    /// A [`tlv`](Self::tlv) with padding, not counted, to a multiple of eight.
    fn property(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        let start = self.position();
        self.tlv(kind, value);
        self.pad(start);
    }
}

impl Put for Vec<u8> {
    fn u8(&mut self, value: u8) {
        self.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn duration(&mut self, duration: Duration) {
        self.u32(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX));
        self.u32(duration.subsec_nanos());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn zeros(&mut self, count: usize) {
        self.resize(self.len() + count, 0);
    }

    fn pad(&mut self, start: usize) {
        self.zeros(padding(self.len() - start));
    }

    fn position(&self) -> usize {
        self.len()
    }

    fn set_length(&mut self, at: usize, start: usize) {
        let length = u16::try_from(self.len() - start).unwrap_or(u16::MAX);
        if let Some(field) = self.get_mut(at..at + 2) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where_and_what() {
        let mut r = Reader::new("ofp_thing", &[0, 1, 2]);
        assert_eq!(r.u16(), Ok(1));
        let error = r.u32().unwrap_err();
        assert_eq!(error.to_string(), "ofp_thing: 3 more bytes are needed");
        let error = r.finish(()).unwrap_err();
        assert_eq!(error.to_string(), "ofp_thing: 1 bytes are left over");
    }

    #[test]
    fn a_length_must_count_its_own_header() {
        let mut r = Reader::new("ofp_thing", &[0, 1, 0, 3]);
        let error = r.tlv("ofp_part").unwrap_err();
        let problem = Problem::Length(3);
        let structure = "ofp_part";
        assert_eq!(error, DecodeError { structure, problem });
    }

    #[test]
    fn the_padding_of_the_last_property_may_be_missing() {
        for padding in 0..4 {
            let mut bytes = vec![0, 1, 0, 5, 9];
            bytes.resize(5 + padding, 0);
            let mut r = Reader::new("ofp_thing", &bytes);
            let (kind, mut value) = r.property("ofp_prop").unwrap();
            assert_eq!((kind, value.u8()), (1, Ok(9)));
            assert!(r.is_empty());
        }
    }

    #[test]
    fn lengths_are_filled_in_behind() {
        let mut out = vec![0xff];
        out.property(7, |out| out.bytes(b"abc"));
        assert_eq!(out, [0xff, 0, 7, 0, 7, b'a', b'b', b'c', 0]);
    }
}
