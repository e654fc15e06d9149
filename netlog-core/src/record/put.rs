//! Values into a record, without formatting machinery.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlog_packet::MacAddr;
use uuid::Uuid;

/// How values are appended to a record.
pub(super) trait Put {
    /// Text as it is.
    fn put(&mut self, text: &str);
    /// The first `len` of `N` bytes. A copy of constant length and a truncation cost less than
    /// a copy of a length that is known only at run time.
    fn prefix<const N: usize>(&mut self, bytes: [u8; N], len: usize);
    /// A decimal number.
    fn number(&mut self, number: u32);
    /// A decimal number that is often long.
    fn integer(&mut self, number: i64);
    /// A JSON string; all but printable ASCII is escaped.
    fn string(&mut self, text: &str);
    /// A JSON string.
    fn id(&mut self, id: &Uuid);
    /// A JSON array of strings.
    fn ids(&mut self, ids: &[Uuid]);
    /// Bytes in hex.
    fn hex(&mut self, bytes: &[u8]);
    /// `fa:16:3e:11:22:33`
    fn mac(&mut self, address: MacAddr);
    /// `FA-16-3E-11-22-33`, as in IEEE 802.
    fn ieee_mac(&mut self, address: MacAddr);
    /// `10.0.0.4` or, as RFC 5952 has it, `2001:db8::4`.
    fn ip(&mut self, address: IpAddr);
}

#[expect(
    clippy::inline_always,
    reason = "names are copied at a length known at compile time"
)]
impl Put for Vec<u8> {
    #[inline(always)]
    fn put(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }

    #[inline(always)]
    fn prefix<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        let end = self.len() + len;
        self.extend_from_slice(&bytes);
        self.truncate(end);
    }

    #[inline]
    fn number(&mut self, mut number: u32) {
        if let Ok(octet) = u8::try_from(number) {
            let (digits, len) = OCTET[usize::from(octet)];
            self.prefix(digits, len.into());
            return;
        }
        // The least digit is in the highest byte.
        let (mut digits, mut len) = (0_u128, 0);
        while number > 0 {
            digits = digits << 8 | u128::from(b'0') | u128::from(number % 10);
            number /= 10;
            len += 1;
        }
        self.prefix(digits.to_le_bytes(), len);
    }

    fn integer(&mut self, number: i64) {
        if number < 0 {
            self.push(b'-');
        }
        let mut number = number.unsigned_abs();
        let (mut digits, mut len) = ([b'0'; 20], 0);
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            len += 1;
            if number == 0 {
                break;
            }
        }
        self.extend_from_slice(digits.get(20 - len..).unwrap_or_default());
    }

    fn string(&mut self, text: &str) {
        self.push(b'"');
        for unit in text.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ (b'"' | b'\\')) => self.extend_from_slice(&[b'\\', byte]),
                Ok(byte @ b' '..=b'~') => self.push(byte),
                _ => {
                    self.put("\\u");
                    self.hex(&unit.to_be_bytes());
                }
            }
        }
        self.push(b'"');
    }

    fn id(&mut self, id: &Uuid) {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        self.push(b'"');
        self.put(id.hyphenated().encode_lower(&mut text));
        self.push(b'"');
    }

    fn ids(&mut self, ids: &[Uuid]) {
        self.push(b'[');
        for (at, id) in ids.iter().enumerate() {
            if at > 0 {
                self.push(b',');
            }
            self.id(id);
        }
        self.push(b']');
    }

    fn hex(&mut self, bytes: &[u8]) {
        self.reserve(2 * bytes.len());
        for &byte in bytes {
            self.extend_from_slice(&HEX[usize::from(byte)]);
        }
    }

    #[inline]
    fn mac(&mut self, MacAddr(octets): MacAddr) {
        let mut text = [b':'; 17];
        for (place, octet) in text.chunks_mut(3).zip(octets) {
            place[..2].copy_from_slice(&HEX[usize::from(octet)]);
        }
        self.extend_from_slice(&text);
    }

    #[inline]
    fn ieee_mac(&mut self, MacAddr(octets): MacAddr) {
        let mut text = [b'-'; 17];
        for (place, octet) in text.chunks_mut(3).zip(octets) {
            place[..2].copy_from_slice(&HEX[usize::from(octet)]);
        }
        text.make_ascii_uppercase();
        self.extend_from_slice(&text);
    }

    #[inline]
    fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => ipv4(address, self),
            IpAddr::V6(address) => ipv6(address, self),
        }
    }
}

#[inline]
fn ipv4(address: Ipv4Addr, out: &mut Vec<u8>) {
    let (mut text, mut len) = (0_u128, 0);
    for octet in address.octets() {
        let ([a, b, c, _], digits) = OCTET[usize::from(octet)];
        let mut part = [a, b, c, 0];
        part[usize::from(digits)] = b'.';
        text |= u128::from(u32::from_le_bytes(part)) << (len * 8);
        len += u32::from(digits) + 1;
    }
    out.prefix(text.to_le_bytes(), len as usize - 1);
}

fn ipv6(address: Ipv6Addr, out: &mut Vec<u8>) {
    if let Some(mapped) = address.to_ipv4_mapped() {
        out.put("::ffff:");
        ipv4(mapped, out);
        return;
    }
    let groups = address.segments();
    let (start, len) = longest_zero_run(groups);
    for (index, group) in groups.into_iter().enumerate() {
        if len > 0 && index == start {
            out.put("::");
        }
        if (start..start + len).contains(&index) {
            continue;
        }
        if index > 0 && (len == 0 || index != start + len) {
            out.push(b':');
        }
        let [high, low] = group.to_be_bytes();
        let ([a, b], [c, d]) = (HEX[usize::from(high)], HEX[usize::from(low)]);
        let zeros = (group.leading_zeros() / 4).min(3);
        let digits = u32::from_le_bytes([a, b, c, d]) >> (zeros * 8);
        out.prefix(digits.to_le_bytes(), 4 - zeros as usize);
    }
}

/// Where the first longest run of at least two zero groups starts, and its length or 0.
fn longest_zero_run(groups: [u16; 8]) -> (usize, usize) {
    let (mut best, mut start, mut len) = ((0, 0), 0, 0);
    for (index, group) in groups.into_iter().enumerate() {
        if group != 0 {
            len = 0;
            continue;
        }
        if len == 0 {
            start = index;
        }
        len += 1;
        if len > best.1 && len > 1 {
            best = (start, len);
        }
    }
    best
}

/// A byte in lower-case hex.
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

/// A byte in decimal: its digits and how many they are.
const OCTET: [([u8; 4], u8); 256] = octets();

const fn octets() -> [([u8; 4], u8); 256] {
    let mut table = [([0; 4], 0); 256];
    let mut octet = 0_u8;
    loop {
        let (ones, tens, hundreds) = (octet % 10, octet / 10 % 10, octet / 100);
        table[octet as usize] = match octet {
            0..10 => ([b'0' + ones, 0, 0, 0], 1),
            10..100 => ([b'0' + tens, b'0' + ones, 0, 0], 2),
            100.. => ([b'0' + hundreds, b'0' + tens, b'0' + ones, 0], 3),
        };
        if octet == u8::MAX {
            return table;
        }
        octet += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(with: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        with(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_ascii_without_controls() {
        assert_eq!(
            put(|out| out.string("a\"b\\c\n\u{7f}é😀")),
            r#""a\"b\\c\u000a\u007f\u00e9\ud83d\ude00""#
        );
    }

    #[test]
    fn every_octet() {
        for octet in 0..=u8::MAX {
            let address = Ipv4Addr::new(octet, 0, 255 - octet, octet);
            assert_eq!(put(|out| out.ip(address.into())), address.to_string());
            assert_eq!(put(|out| out.hex(&[octet])), format!("{octet:02x}"));
        }
    }

    proptest! {
        #[test]
        fn as_the_standard_library_has_it(
            number: u32,
            integer: i64,
            shift in 0..32_u32,
            octets: [u8; 6],
            groups: [u16; 8],
            zeros: u8,
            text: String,
        ) {
            let number = number >> shift;
            prop_assert_eq!(put(|out| out.number(number)), number.to_string());
            prop_assert_eq!(put(|out| out.integer(integer)), integer.to_string());
            let mac = MacAddr(octets);
            prop_assert_eq!(put(|out| out.mac(mac)), mac.to_string());
            prop_assert_eq!(
                put(|out| out.ieee_mac(mac)),
                mac.to_string().to_uppercase().replace(':', "-")
            );
            let mut groups = groups;
            for (bit, group) in groups.iter_mut().enumerate() {
                *group *= u16::from(zeros >> bit & 1);
            }
            let address = Ipv6Addr::from(groups);
            prop_assert_eq!(put(|out| out.ip(address.into())), address.to_string());
            let string = put(|out| out.string(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&string).unwrap(), text);
        }
    }
}
