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
    fn num(&mut self, _: &str, _: impl Into<u32>) {}
    fn octet(&mut self, _: &str, _: u8) {}
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

    /// Writes the first `len` of `N` bytes. A copy of constant length and a
    /// truncation cost less than a copy of a length known only at run time.
    #[inline]
    fn prefix<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        let end = self.out.len() + len;
        self.out.extend_from_slice(&bytes);
        self.out.truncate(end);
    }

    fn literal(&mut self, bytes: &[u8]) {
        // Python prefers ' and escapes it only where both quotes occur.
        let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
            b'"'
        } else {
            b'\''
        };
        self.out.reserve(bytes.len() + 8);
        self.out.extend_from_slice(&[b'b', quote]);
        for &byte in bytes {
            if byte == quote {
                self.out.extend_from_slice(&[b'\\', quote]);
            } else {
                let (escaped, len) = ESCAPED[usize::from(byte)];
                self.prefix(escaped, len.into());
            }
        }
        self.out.push(quote);
    }

    fn decimal(&mut self, number: u32) {
        if let Ok(octet) = u8::try_from(number) {
            let (digits, len) = OCTET[usize::from(octet)];
            self.prefix(digits, len.into());
        } else if number < 100_000_000 {
            let digits = eight_digits(number);
            let zeros = digits.trailing_zeros() / 8;
            let text = (digits | ASCII_ZEROS) >> (zeros * 8);
            self.prefix(text.to_le_bytes(), 8 - zeros as usize);
        } else {
            let (digits, len) = OCTET[(number / 100_000_000) as usize];
            self.prefix(digits, len.into());
            let digits = eight_digits(number % 100_000_000) | ASCII_ZEROS;
            self.out.extend_from_slice(&digits.to_le_bytes());
        }
    }

    #[inline]
    fn dotted(&mut self, octets: [u8; 4]) {
        let (mut text, mut len) = (0_u128, 0);
        for octet in octets {
            let (digits, digits_len) = OCTET[usize::from(octet)];
            text |= u128::from(u32::from_le_bytes(digits)) << (len * 8);
            len += u32::from(digits_len) + 1;
        }
        self.prefix(text.to_le_bytes(), len as usize - 1);
    }

    /// The text of an IPv6 address as glibc's `inet_ntop` has it: RFC 5952, and
    /// dotted in `::a.b.c.d` (which Rust's `Display` does not) and
    /// `::ffff:a.b.c.d`.
    fn colons(&mut self, address: Ipv6Addr) {
        let groups = address.segments();
        let (start, len) = longest_zero_run(groups);
        let dotted_tail = start == 0 && (len == 6 || (len == 5 && groups[5] == 0xffff));
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

    /// Four hexadecimal digits without leading zeros.
    #[inline]
    fn hex16(&mut self, group: u16) {
        let [high, low] = group.to_be_bytes();
        let ([a, b], [c, d]) = (hex(high), hex(low));
        let zeros = (group.leading_zeros() / 4).min(3);
        let digits = u32::from_le_bytes([a, b, c, d]) >> (zeros * 8);
        self.prefix(digits.to_le_bytes(), 4 - zeros as usize);
    }
}

#[expect(
    clippy::inline_always,
    reason = "labels are copied at a length known at compile time"
)]
impl Sink for Text<'_> {
    #[inline(always)]
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    #[inline(always)]
    fn num(&mut self, label: &str, number: impl Into<u32>) {
        self.put(label);
        self.decimal(number.into());
    }

    #[inline(always)]
    fn octet(&mut self, label: &str, number: u8) {
        self.put(label);
        let (digits, len) = OCTET[usize::from(number)];
        self.prefix(digits, len.into());
    }

    #[inline(always)]
    fn mac(&mut self, label: &str, address: MacAddr) {
        self.put(label);
        self.out.extend_from_slice(&quoted_mac(address));
    }

    #[inline(always)]
    fn ipv4(&mut self, label: &str, address: Ipv4Addr) {
        self.put(label);
        self.put("'");
        self.dotted(address.octets());
        self.put("'");
    }

    fn ipv6(&mut self, label: &str, address: Ipv6Addr) {
        self.put(label);
        self.put("'");
        self.colons(address);
        self.put("'");
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

/// Decimal digits of an octet, followed by a dot, and how many digits they are.
const OCTET: [([u8; 4], u8); 256] = {
    let mut table = [([0; 4], 0); 256];
    let mut octet: u8 = 0;
    loop {
        let (hundreds, tens, ones) = (
            b'0' + octet / 100,
            b'0' + octet / 10 % 10,
            b'0' + octet % 10,
        );
        table[octet as usize] = match octet {
            0..10 => ([ones, b'.', 0, 0], 1),
            10..100 => ([tens, ones, b'.', 0], 2),
            _ => ([hundreds, tens, ones, b'.'], 3),
        };
        let Some(next) = octet.checked_add(1) else {
            break table;
        };
        octet = next;
    }
};

/// What stands for a byte in a Python bytes literal, but for the quote.
const ESCAPED: [([u8; 4], u8); 256] = {
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

const ASCII_ZEROS: u64 = u64::from_le_bytes(*b"00000000");

/// The eight decimal digits of a number under 10^8, the first in the lowest
/// byte: halves are split into pairs, and pairs into digits, all lanes at once,
/// by multiplication with the reciprocals of 100 and 10.
#[inline]
const fn eight_digits(number: u32) -> u64 {
    let halves = (number / 10_000) as u64 | ((number % 10_000) as u64) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (halves - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - tens * 10) << 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Text<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Text::new(&mut out, Payload::Include));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers() {
        let powers = (0..10).map(|exponent| 10_u32.pow(exponent));
        let edges = powers.flat_map(|power| [power - 1, power, power + 1]);
        for number in (0..=0x1_0000).chain(edges).chain([u32::MAX - 1, u32::MAX]) {
            assert_eq!(written(|to| to.num("n=", number)), format!("n={number}"));
        }
        for number in 0..=u8::MAX {
            assert_eq!(written(|to| to.octet("", number)), number.to_string());
        }
    }

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
            assert_eq!(written(|to| to.bytes("", bytes)), literal);
        }
    }

    /// `inet_ntop` also has dots in addresses of which only the last 32 bits are
    /// set.
    #[test]
    fn ipv6_addresses_with_dots() {
        for (address, text) in [
            ("::102:304", "'::1.2.3.4'"),
            ("::ffff:a00:1", "'::ffff:10.0.0.1'"),
            ("::ffff", "'::ffff'"),
            ("::1:0", "'::0.1.0.0'"),
            ("::ffff:0:0", "'::ffff:0.0.0.0'"),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(written(|to| to.ipv6("", address)), text);
        }
    }

    proptest! {
        #[test]
        fn any_number(number: u32) {
            prop_assert_eq!(written(|to| to.num("", number)), number.to_string());
        }

        #[test]
        fn any_ipv4_address(address: Ipv4Addr) {
            prop_assert_eq!(written(|to| to.ipv4("", address)), format!("'{address}'"));
        }

        #[test]
        fn any_ipv6_address(groups in prop::array::uniform8(prop_oneof![Just(0), any::<u16>()])) {
            let address = Ipv6Addr::from(groups);
            prop_assume!(groups[..6] != [0; 6] || groups[6] == 0);
            prop_assert_eq!(written(|to| to.ipv6("", address)), format!("'{address}'"));
        }

        #[test]
        fn any_hardware_address(octets: [u8; 6]) {
            let [a, b, c, d, e, f] = octets;
            let text = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
            prop_assert_eq!(MacAddr(octets).to_string(), text.as_str());
            prop_assert_eq!(written(|to| to.mac("", MacAddr(octets))), format!("'{text}'"));
        }
    }
}
