//! The header of every message, and the cutting of a byte stream into messages
//! (OpenFlow 1.3.5, 7.1 "OpenFlow Header").

use std::fmt;

use crate::{
    codec::{DecodeError, Problem, Put},
    wire_enum::wire_enum,
};

/// Bytes in the header that every message begins with.
pub const HEADER_LEN: usize = 8;

/// A version of the OpenFlow protocol, as it stands in the header of every
/// message. Displayed as people write it: `1.3`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u8);

impl Version {
    /// OpenFlow 1.0.
    pub const V1_0: Self = Self(1);
    /// OpenFlow 1.1.
    pub const V1_1: Self = Self(2);
    /// OpenFlow 1.2.
    pub const V1_2: Self = Self(3);
    /// OpenFlow 1.3.
    pub const V1_3: Self = Self(4);
    /// OpenFlow 1.4.
    pub const V1_4: Self = Self(5);
    /// OpenFlow 1.5.
    pub const V1_5: Self = Self(6);

    /// Whether this crate knows the messages of the version.
    pub const fn is_spoken(self) -> bool {
        matches!(self, Self::V1_3 | Self::V1_4)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            wire @ 1..=6 => write!(f, "1.{}", wire - 1),
            wire => write!(f, "{wire:#04x}"),
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

wire_enum! {
    /// The type of a message (`OFPT_*`), with the numbers of 1.3 and 1.4.
    pub struct MessageType(u8) {
        /// Version negotiation.
        HELLO = 0,
        /// A request failed.
        ERROR = 1,
        /// Are you there?
        ECHO_REQUEST = 2,
        /// I am.
        ECHO_REPLY = 3,
        /// A message of an extension.
        EXPERIMENTER = 4,
        /// Who are you?
        FEATURES_REQUEST = 5,
        /// Datapath id, number of tables, capabilities.
        FEATURES_REPLY = 6,
        /// Asks for the switch configuration.
        GET_CONFIG_REQUEST = 7,
        /// The switch configuration.
        GET_CONFIG_REPLY = 8,
        /// Sets the switch configuration.
        SET_CONFIG = 9,
        /// A packet for the controller.
        PACKET_IN = 10,
        /// A flow is gone.
        FLOW_REMOVED = 11,
        /// A port came, went or changed.
        PORT_STATUS = 12,
        /// A packet from the controller.
        PACKET_OUT = 13,
        /// Adds, changes or deletes flows.
        FLOW_MOD = 14,
        /// Adds, changes or deletes groups.
        GROUP_MOD = 15,
        /// Changes a port.
        PORT_MOD = 16,
        /// Changes a table.
        TABLE_MOD = 17,
        /// Asks for statistics or descriptions.
        MULTIPART_REQUEST = 18,
        /// Statistics or descriptions.
        MULTIPART_REPLY = 19,
        /// Finish what came before.
        BARRIER_REQUEST = 20,
        /// It is finished.
        BARRIER_REPLY = 21,
        /// Asks for a controller role.
        ROLE_REQUEST = 24,
        /// The controller role.
        ROLE_REPLY = 25,
        /// Asks which asynchronous messages are sent.
        GET_ASYNC_REQUEST = 26,
        /// Which asynchronous messages are sent.
        GET_ASYNC_REPLY = 27,
        /// Chooses which asynchronous messages are sent.
        SET_ASYNC = 28,
        /// Adds, changes or deletes meters.
        METER_MOD = 29,
        /// The role of the controller changed (1.4).
        ROLE_STATUS = 30,
        /// A table changed (1.4).
        TABLE_STATUS = 31,
        /// Another controller's request (1.4).
        REQUESTFORWARD = 32,
        /// Opens, commits or discards a bundle (1.4).
        BUNDLE_CONTROL = 33,
        /// Puts a message into a bundle (1.4).
        BUNDLE_ADD_MESSAGE = 34,
    }
}

/// A transaction id: replies and errors carry that of their request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Xid(pub u32);

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The version the message is written in; any number is possible.
    pub version: Version,
    /// Its type.
    pub message_type: MessageType,
    /// Its length in bytes, header included.
    pub length: u16,
    /// Its transaction id.
    pub xid: Xid,
}

impl Header {
    /// Reads the header at the beginning of `bytes`, if it is complete.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let &[version, message_type, l0, l1, x0, x1, x2, x3] = bytes.first_chunk()?;
        Some(Self {
            version: Version(version),
            message_type: MessageType(message_type),
            length: u16::from_be_bytes([l0, l1]),
            xid: Xid(u32::from_be_bytes([x0, x1, x2, x3])),
        })
    }
}

/// One complete message in a buffer, with its header read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawMessage<'a> {
    header: Header,
    bytes: &'a [u8],
}

impl<'a> RawMessage<'a> {
    /// Reads `bytes` as exactly one message.
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match split_message(bytes)? {
            Some((message, [])) => Ok(message),
            Some((_, rest)) => Err(header_error(Problem::Trailing(rest.len()))),
            None => Err(header_error(Problem::Truncated {
                missing: missing(bytes),
            })),
        }
    }

    /// Its header.
    pub const fn header(self) -> Header {
        self.header
    }

    /// The protocol version in the header; any number is possible.
    pub const fn version(self) -> Version {
        self.header.version
    }

    /// The type of the message.
    pub const fn message_type(self) -> MessageType {
        self.header.message_type
    }

    /// The transaction id.
    pub const fn xid(self) -> Xid {
        self.header.xid
    }

    /// The whole message, header included.
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header.
    pub fn body(self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or_default()
    }
}

impl fmt::Debug for RawMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?} xid={} ({} bytes)",
            self.header.version,
            self.header.message_type,
            self.header.xid,
            self.bytes.len()
        )
    }
}

/// Cuts the first message off `buffer`: `None` when it is not complete yet.
///
/// A header whose length is below [`HEADER_LEN`] is an error from which a
/// stream cannot recover: close the connection.
#[inline]
pub fn split_message(buffer: &[u8]) -> Result<Option<(RawMessage<'_>, &[u8])>, DecodeError> {
    let Some(header) = Header::read(buffer) else {
        return Ok(None);
    };
    let length = usize::from(header.length);
    if length < HEADER_LEN {
        return Err(header_error(Problem::Length(length)));
    }
    Ok(buffer
        .split_at_checked(length)
        .map(|(bytes, rest)| (RawMessage { header, bytes }, rest)))
}

/// The complete messages in a buffer, one after the other, without copying.
///
/// The iterator ends at the first incomplete message; [`remainder`] is then
/// the part to keep in front of the next `read()`. After an error it ends too.
///
/// [`remainder`]: Self::remainder
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> Messages<'a> {
    /// Iterates over the messages in `buffer`.
    pub const fn new(buffer: &'a [u8]) -> Self {
        Self {
            rest: buffer,
            broken: false,
        }
    }

    /// What has not been returned yet.
    pub const fn remainder(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<RawMessage<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        match split_message(self.rest) {
            Ok(Some((message, rest))) => {
                self.rest = rest;
                Some(Ok(message))
            }
            Ok(None) => None,
            Err(error) => {
                self.broken = true;
                Some(Err(error))
            }
        }
    }
}

/// Appends a message to `out`: the header, and the body that `body` writes.
///
/// On an error `out` is as it was.
pub(crate) fn encode_message(
    out: &mut Vec<u8>,
    version: Version,
    message_type: MessageType,
    xid: Xid,
    body: impl FnOnce(&mut Vec<u8>),
) -> Result<(), MessageTooLong> {
    let start = out.len();
    write_message(out, version, message_type, xid, body);
    let length = out.len() - start;
    if length > usize::from(u16::MAX) {
        out.truncate(start);
        return Err(MessageTooLong {
            message_type,
            length,
        });
    }
    Ok(())
}

/// Appends a message, however long it is.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    version: Version,
    message_type: MessageType,
    xid: Xid,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.u8(version.0);
    out.u8(message_type.0);
    out.u16(0);
    out.u32(xid.0);
    body(out);
    out.set_length(start + 2, start);
}

/// A message that does not fit the 65,535 bytes that its header can express.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{message_type} is {length} bytes long, and a message can have 65535: split it")]
pub struct MessageTooLong {
    /// The type of the message.
    pub message_type: MessageType,
    /// How long it would be, in bytes.
    pub length: usize,
}

fn missing(bytes: &[u8]) -> usize {
    let length = match bytes {
        [_, _, l0, l1, ..] => usize::from(u16::from_be_bytes([*l0, *l1])),
        _ => HEADER_LEN,
    };
    length.saturating_sub(bytes.len()).max(1)
}

const fn header_error(problem: Problem) -> DecodeError {
    DecodeError {
        structure: "ofp_header",
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: [u8; 8] = [4, 0, 0, 8, 0, 0, 0, 7];

    #[test]
    fn messages_are_cut_from_a_stream() {
        let mut stream = HELLO.to_vec();
        stream.extend([5, 2, 0, 10, 0, 0, 0, 9, b'h', b'i']);
        stream.extend([4, 21, 0, 8, 0]);
        let mut messages = Messages::new(&stream);

        let hello = messages.next().unwrap().unwrap();
        assert_eq!(hello.version(), Version::V1_3);
        assert_eq!(hello.message_type(), MessageType::HELLO);
        assert_eq!(hello.xid(), Xid(7));
        assert_eq!(hello.body(), b"");

        let echo = messages.next().unwrap().unwrap();
        assert_eq!(echo.version(), Version::V1_4);
        assert_eq!(echo.body(), b"hi");

        assert_eq!(messages.next(), None);
        assert_eq!(messages.remainder(), [4, 21, 0, 8, 0]);
    }

    #[test]
    fn versions_are_written_as_people_do() {
        assert_eq!(Version::V1_3.to_string(), "1.3");
        assert_eq!(format!("{:?}", [Version::V1_0, Version(9)]), "[1.0, 0x09]");
    }

    #[test]
    fn a_length_below_the_header_ends_the_stream() {
        let mut messages = Messages::new(&[4, 0, 0, 7, 0, 0, 0, 0]);
        assert_eq!(messages.next(), Some(Err(header_error(Problem::Length(7)))));
        assert_eq!(messages.next(), None);
    }

    #[test]
    fn one_message_must_be_exactly_one() {
        assert!(RawMessage::new(&HELLO).is_ok());
        assert_eq!(
            RawMessage::new(&HELLO[..3]).unwrap_err().problem,
            Problem::Truncated { missing: 5 }
        );
        let mut two = HELLO.to_vec();
        two.push(0);
        assert_eq!(
            RawMessage::new(&two).unwrap_err().problem,
            Problem::Trailing(1)
        );
    }

    #[test]
    fn a_message_too_long_is_refused_and_leaves_nothing_behind() {
        let mut out = vec![1, 2, 3];
        let error = encode_message(
            &mut out,
            Version::V1_3,
            MessageType::ECHO_REQUEST,
            Xid(1),
            |out| out.zeros(70_000),
        );
        assert_eq!(error.unwrap_err().length, 70_008);
        assert_eq!(out, [1, 2, 3]);
    }
}
