//! Text into a record, without formatting machinery.

use std::net::{Ipv4Addr, Ipv6Addr};

use netlog_packet::MacAddr;

/// How values are appended to a record.
pub(super) trait Put {
    /// Text as it is.
    fn put(&mut self, text: &str);
    /// A decimal number.
    fn number(&mut self, number: u64);
    /// A JSON string; all but printable ASCII is escaped.
    fn string(&mut self, text: &str);
    /// Bytes in lower-case hex.
    fn hex(&mut self, bytes: &[u8]);
    /// `fa:16:3e:11:22:33`
    fn mac(&mut self, address: MacAddr);
    /// `10.0.0.4`
    fn ipv4(&mut self, address: Ipv4Addr);
    /// `2001:db8::4`, as RFC 5952 has it.
    fn ipv6(&mut self, address: Ipv6Addr);
}

impl Put for Vec<u8> {
    #[inline]
    fn put(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }

    #[inline]
    fn number(&mut self, mut number: u64) {
        let mut digits = [0; 20];
        let mut len = 0;
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
                Ok(b'"') => self.put("\\\""),
                Ok(b'\\') => self.put("\\\\"),
                Ok(byte @ b' '..=b'~') => self.push(byte),
                _ => {
                    self.put("\\u");
                    self.hex(&unit.to_be_bytes());
                }
            }
        }
        self.push(b'"');
    }

    fn hex(&mut self, bytes: &[u8]) {
        self.reserve(2 * bytes.len());
        for &byte in bytes {
            self.extend_from_slice(&pair(byte));
        }
    }

    #[inline]
    fn mac(&mut self, MacAddr(octets): MacAddr) {
        let mut text = *b"00:00:00:00:00:00";
        for (place, octet) in text.chunks_mut(3).zip(octets) {
            if let [high, low, ..] = place {
                [*high, *low] = pair(octet);
            }
        }
        self.extend_from_slice(&text);
    }

    #[inline]
    fn ipv4(&mut self, address: Ipv4Addr) {
        let [a, b, c, d] = address.octets();
        self.number(a.into());
        for octet in [b, c, d] {
            self.push(b'.');
            self.number(octet.into());
        }
    }

    fn ipv6(&mut self, address: Ipv6Addr) {
        if let Some(mapped) = address.to_ipv4_mapped() {
            self.put("::ffff:");
            self.ipv4(mapped);
            return;
        }
        let groups = address.segments();
        let (start, len) = longest_zero_run(groups);
        let mut colon = false;
        for (index, group) in groups.into_iter().enumerate() {
            if len > 0 && index == start {
                self.put("::");
                colon = false;
            } else if !(start..start + len).contains(&index) {
                if colon {
                    self.push(b':');
                }
                let [high, low] = group.to_be_bytes();
                let ([a, b], [c, d]) = (pair(high), pair(low));
                let zeros = (group.leading_zeros() as usize / 4).min(3);
                self.extend_from_slice([a, b, c, d].get(zeros..).unwrap_or_default());
                colon = true;
            }
        }
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

/// A byte in hex.
#[inline]
const fn pair(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]
}
