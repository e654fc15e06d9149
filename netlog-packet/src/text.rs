//! What Neutron's text is made of: labels, decimal numbers, quoted addresses,
//! Python bytes literals and lists.
//!
//! A header describes its text once, as calls on a [`Sink`]. [`Text`] writes it;
//! [`Nowhere`] throws it away, and so checks whether a nested structure (SCTP
//! chunks, neighbour discovery options, …) decodes, by the very code that writes
//! it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::room::{HEX, Ipv6Style, Room};
use crate::{MacAddr, Payload};

/// Where the text of a header goes.
pub(crate) trait Sink {
    /// Literal text.
    fn put(&mut self, text: &str);
    /// A label and a decimal number.
    fn num(&mut self, label: &str, number: impl Into<u32>);
    /// A label and a decimal number of at most three digits.
    fn octet(&mut self, label: &str, number: u8);
    /// A label and a quoted hardware address.
    fn mac(&mut self, label: &str, address: MacAddr);
    /// A label and a quoted IPv4 address.
    fn ipv4(&mut self, label: &str, address: Ipv4Addr);
    /// A label and a quoted IPv6 address.
    fn ipv6(&mut self, label: &str, address: Ipv6Addr);
    /// A label and header bytes as a Python bytes literal.
    fn bytes(&mut self, label: &str, bytes: &[u8]);
    /// A label and payload: a Python bytes literal, or `None` where payload is
    /// left out. Empty bytes are written as they are.
    fn payload(&mut self, label: &str, bytes: &[u8]);

    /// Writes something rare or long by a call of its own, so that what is written
    /// in line around it has its place in registers.
    fn apart(&mut self, write: impl FnOnce(&mut Self));

    /// As [`bytes`](Self::bytes), but `None` where there are none.
    fn bytes_or_none(&mut self, label: &str, bytes: &[u8]) {
        if bytes.is_empty() {
            self.put(label);
            self.put("None");
        } else {
            self.bytes(label, bytes);
        }
    }

    /// As [`payload`](Self::payload), but `None` where there is none.
    fn payload_or_none(&mut self, label: &str, bytes: &[u8]) {
        if bytes.is_empty() {
            self.put(label);
            self.put("None");
        } else {
            self.payload(label, bytes);
        }
    }
}

/// The separator before the next item of a list.
#[derive(Default)]
pub(crate) struct Comma {
    needed: bool,
}

impl Comma {
    /// Writes `", "`, but not before the first item.
    #[inline(always)]
    pub(crate) fn before_item(&mut self, to: &mut impl Sink) {
        if self.needed {
            to.put(", ");
        }
        self.needed = true;
    }
}

/// Checks structure without writing.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    fn put(&mut self, _: &str) {}
    fn num(&mut self, _: &str, _: impl Into<u32>) {}
    fn octet(&mut self, _: &str, _: u8) {}
    fn mac(&mut self, _: &str, _: MacAddr) {}
    fn ipv4(&mut self, _: &str, _: Ipv4Addr) {}
    fn ipv6(&mut self, _: &str, _: Ipv6Addr) {}
    fn bytes(&mut self, _: &str, _: &[u8]) {}
    fn payload(&mut self, _: &str, _: &[u8]) {}
    fn apart(&mut self, write: impl FnOnce(&mut Self)) {
        write(self);
    }
}

/// Writes into the room of a record.
pub(crate) struct Text<'r> {
    room: Room<'r>,
    payload: Payload,
}

impl<'r> Text<'r> {
    pub(crate) const fn new(room: Room<'r>, payload: Payload) -> Self {
        Self { room, payload }
    }

    /// The room that is left.
    pub(crate) fn into_room(self) -> Room<'r> {
        self.room
    }
}

/// A Python bytes literal.
fn literal(room: &mut Room<'_>, bytes: &[u8]) {
    // Python prefers ' and escapes it only where both quotes occur.
    let (quote, escaped_quote) = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        ("\"", "\\\"")
    } else {
        ("'", "\\'")
    };
    room.put("b");
    room.put(quote);
    for &byte in bytes {
        if quote.as_bytes() == [byte] {
            room.put(escaped_quote);
        } else {
            let (escaped, len) = ESCAPED[usize::from(byte)];
            room.prefix(escaped, len.into());
        }
    }
    room.put(quote);
}

impl Sink for Text<'_> {
    #[inline(always)]
    fn put(&mut self, text: &str) {
        self.room.put(text);
    }

    #[inline(always)]
    fn num(&mut self, label: &str, number: impl Into<u32>) {
        self.room.number(label, number.into());
    }

    #[inline(always)]
    fn octet(&mut self, label: &str, number: u8) {
        self.room.octet(label, number);
    }

    #[inline(always)]
    fn mac(&mut self, label: &str, address: MacAddr) {
        self.room.mac(label, "'", address);
    }

    #[inline(always)]
    fn ipv4(&mut self, label: &str, address: Ipv4Addr) {
        self.room.ipv4(label, "'", address);
    }

    #[inline]
    fn ipv6(&mut self, label: &str, address: Ipv6Addr) {
        self.room.ipv6(label, "'", address, Ipv6Style::InetNtop);
    }

    #[inline]
    fn bytes(&mut self, label: &str, bytes: &[u8]) {
        self.put(label);
        let mut room = self.room.take();
        literal(&mut room, bytes);
        self.room = room;
    }

    #[inline(always)]
    fn apart(&mut self, write: impl FnOnce(&mut Self)) {
        #[inline(never)]
        fn call<'r>(mut to: Text<'r>, write: impl FnOnce(&mut Text<'r>)) -> Text<'r> {
            write(&mut to);
            to
        }
        self.room = call(Self::new(self.room.take(), self.payload), write).room;
    }

    #[inline]
    fn payload(&mut self, label: &str, bytes: &[u8]) {
        if self.payload == Payload::Include || bytes.is_empty() {
            self.bytes(label, bytes);
        } else {
            self.put(label);
            self.put("None");
        }
    }
}

/// What stands for a byte in a Python bytes literal, but for the quote.
static ESCAPED: [([u8; 4], u8); 256] = {
    let mut table = [([0; 4], 0); 256];
    let mut byte: u8 = 0;
    loop {
        let [high, low] = HEX[byte as usize];
        table[byte as usize] = match byte {
            b'\t' => (*b"\\t\0\0", 2),
            b'\n' => (*b"\\n\0\0", 2),
            b'\r' => (*b"\\r\0\0", 2),
            b'\\' => (*b"\\\\\0\0", 2),
            b' '..=b'~' => ([byte, 0, 0, 0], 1),
            _ => ([b'\\', b'x', high, low], 4),
        };
        let Some(next) = byte.checked_add(1) else {
            break table;
        };
        byte = next;
    }
};

#[cfg(test)]
mod tests {
    use crate::room::Append;

    #[test]
    fn bytes_literals() {
        for (bytes, literal) in [
            (&b""[..], "b''"),
            (b"plain", "b'plain'"),
            (b"it's", "b\"it's\""),
            (b"\"quoted\"", "b'\"quoted\"'"),
            (b"both ' and \"", "b'both \\' and \"'"),
            (b"\t\n\r\\", "b'\\t\\n\\r\\\\'"),
            (
                b"\0\x1b[31m\x7f\x80\xff",
                "b'\\x00\\x1b[31m\\x7f\\x80\\xff'",
            ),
        ] {
            let mut out = Vec::new();
            out.append_with(0, |room| super::literal(room, bytes));
            assert_eq!(str::from_utf8(&out), Ok(literal));
        }
    }
}
