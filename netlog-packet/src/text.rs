//! The small alphabet of Neutron's text: labels, decimal numbers, quoted
//! addresses, Python bytes literals and lists.
//!
//! A header describes its text once, as calls on a [`Sink`]. [`Text`] writes it;
//! [`Nowhere`] throws it away, and so checks whether a nested structure (SCTP
//! chunks, neighbour discovery options, …) decodes, by the very code that writes
//! it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{MacAddr, Payload};

/// Where the text of a header goes.
pub(crate) trait Sink {
    /// Literal text.
    fn put(&mut self, text: &str);
    /// A label and a decimal number.
    fn num(&mut self, label: &str, number: u32);
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
    fn num(&mut self, _: &str, _: u32) {}
    fn mac(&mut self, _: &str, _: MacAddr) {}
    fn ipv4(&mut self, _: &str, _: Ipv4Addr) {}
    fn ipv6(&mut self, _: &str, _: Ipv6Addr) {}
    fn bytes(&mut self, _: &str, _: &[u8]) {}
    fn payload(&mut self, _: &str, _: &[u8]) {}
}

/// Appends to a record.
pub(crate) struct Text<'o> {
    out: &'o mut Vec<u8>,
    payload: Payload,
}

impl<'o> Text<'o> {
    pub(crate) const fn new(out: &'o mut Vec<u8>, payload: Payload) -> Self {
        Self { out, payload }
    }

    fn literal(&mut self, bytes: &[u8]) {
        // Python prefers ' and escapes it only where both quotes occur.
        let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
            b'"'
        } else {
            b'\''
        };
        self.out.reserve(bytes.len() + 3);
        self.out.extend_from_slice(&[b'b', quote]);
        for &byte in bytes {
            match byte {
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                _ if byte == quote => self.out.extend_from_slice(&[b'\\', quote]),
                b' '..=b'~' => self.out.push(byte),
                _ => {
                    let [high, low] = hex(byte);
                    self.out.extend_from_slice(&[b'\\', b'x', high, low]);
                }
            }
        }
        self.out.push(quote);
    }
}

impl Sink for Text<'_> {
    #[inline]
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    #[inline]
    fn num(&mut self, label: &str, number: u32) {
        self.put(label);
        let (digits, len) = decimal(number);
        self.out
            .extend_from_slice(digits.get(digits.len() - len..).unwrap_or_default());
    }

    #[inline]
    fn mac(&mut self, label: &str, address: MacAddr) {
        self.put(label);
        self.out.extend_from_slice(&quoted_mac(address));
    }

    #[inline]
    fn ipv4(&mut self, label: &str, address: Ipv4Addr) {
        self.put(label);
        self.out.push(b'\'');
        self.dotted(address.octets());
        self.out.push(b'\'');
    }

    fn ipv6(&mut self, label: &str, address: Ipv6Addr) {
        self.put(label);
        self.out.push(b'\'');
        self.colons(address);
        self.out.push(b'\'');
    }

    fn bytes(&mut self, label: &str, bytes: &[u8]) {
        self.put(label);
        self.literal(bytes);
    }

    fn payload(&mut self, label: &str, bytes: &[u8]) {
        self.put(label);
        if self.payload == Payload::Include || bytes.is_empty() {
            self.literal(bytes);
        } else {
            self.put("None");
        }
    }
}

impl Text<'_> {
    fn dotted(&mut self, octets: [u8; 4]) {
        let mut label = "";
        for octet in octets {
            self.num(label, octet.into());
            label = ".";
        }
    }

    /// The text of an IPv6 address as glibc's `inet_ntop` has it: RFC 5952, and
    /// dotted in `::a.b.c.d` (which Rust's `Display` does not) and
    /// `::ffff:a.b.c.d`.
    fn colons(&mut self, address: Ipv6Addr) {
        let groups = address.segments();
        let (start, len) = longest_zero_run(groups);
        let dotted_tail = start == 0 && (len == 6 || (len == 5 && groups.get(5) == Some(&0xffff)));
        let mut index = 0;
        while let Some(&group) = groups.get(index) {
            if len > 0 && index == start {
                self.put(if index == 0 { "::" } else { ":" });
                index += len;
                continue;
            }
            if index == 6 && dotted_tail {
                let [.., a, b, c, d] = address.octets();
                self.dotted([a, b, c, d]);
                return;
            }
            self.hex16(group);
            index += 1;
            if index < groups.len() {
                self.put(":");
            }
        }
    }

    fn hex16(&mut self, group: u16) {
        let [high, low] = group.to_be_bytes();
        let ([a, b], [c, d]) = (hex(high), hex(low));
        let digits = [a, b, c, d];
        let zeros = (group.leading_zeros() as usize / 4).min(3);
        self.out
            .extend_from_slice(digits.get(zeros..).unwrap_or_default());
    }
}

/// The first longest run of at least two zero groups: its start and length
/// (0 where there is none).
fn longest_zero_run(groups: [u16; 8]) -> (usize, usize) {
    let (mut best, mut current) = ((0, 0), (0, 0));
    for (index, group) in groups.into_iter().enumerate() {
        if group == 0 {
            if current.1 == 0 {
                current.0 = index;
            }
            current.1 += 1;
            if current.1 > best.1 {
                best = current;
            }
        } else {
            current.1 = 0;
        }
    }
    if best.1 < 2 { (0, 0) } else { best }
}

const HEX: [[u8; 2]; 256] = {
    let alphabet = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [alphabet[byte >> 4], alphabet[byte & 15]];
        byte += 1;
    }
    table
};

#[inline]
fn hex(byte: u8) -> [u8; 2] {
    HEX[usize::from(byte)]
}

/// `'aa:bb:cc:dd:ee:ff'`
#[inline]
pub(crate) fn quoted_mac(MacAddr(octets): MacAddr) -> [u8; 19] {
    let mut text = *b"'00:00:00:00:00:00'";
    for (place, octet) in text[1..].chunks_mut(3).zip(octets) {
        let [high, low] = hex(octet);
        place[0] = high;
        place[1] = low;
    }
    text
}

const DIGITS: [[u8; 2]; 100] = {
    let mut table = [[0; 2]; 100];
    let mut tens = 0;
    while tens < 10 {
        let mut ones = 0;
        while ones < 10 {
            table[tens as usize * 10 + ones as usize] = [b'0' + tens, b'0' + ones];
            ones += 1;
        }
        tens += 1;
    }
    table
};

/// A decimal number, right-aligned, and how many digits it has.
#[inline]
fn decimal(mut number: u32) -> ([u8; 10], usize) {
    let mut text = [b'0'; 10];
    let mut at = 10;
    while number >= 10 {
        let pair = DIGITS[(number % 100) as usize];
        number /= 100;
        at -= 2;
        text[at] = pair[0];
        text[at + 1] = pair[1];
    }
    if number > 0 || at == 10 {
        at -= 1;
        text[at] = DIGITS[(number % 10) as usize][1];
    }
    (text, 10 - at)
}
