//! What JSON has beyond labels, numbers and addresses.

use std::net::IpAddr;

use netlog_packet::MacAddr;
use netlog_packet::room::{Ipv6Style, Room};
use uuid::Uuid;

/// Values of JSON layouts, written into the room of a record.
pub(super) trait Put {
    /// A label and a decimal number that is often long.
    fn integer(&mut self, label: &str, number: i64);
    /// A string; all but printable ASCII is escaped.
    fn string(&mut self, text: &str);
    /// A string.
    fn id(&mut self, id: &Uuid);
    /// An array of strings.
    fn ids(&mut self, ids: &[Uuid]);
    /// A label and a string as in IEEE 802: `FA-16-3E-11-22-33`.
    fn ieee_mac(&mut self, label: &str, address: MacAddr);
    /// A label and a string: `10.0.0.4` or, as RFC 5952 has it, `2001:db8::4`.
    fn ip(&mut self, label: &str, address: IpAddr);
}

impl Put for Room<'_> {
    fn integer(&mut self, label: &str, number: i64) {
        self.put(label);
        if number < 0 {
            self.put("-");
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
        self.bytes(digits.get(20 - len..).unwrap_or_default());
    }

    fn string(&mut self, text: &str) {
        self.put("\"");
        for unit in text.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte @ (b'"' | b'\\')) => self.bytes(&[b'\\', byte]),
                Ok(byte @ b' '..=b'~') => self.bytes(&[byte]),
                _ => {
                    self.put("\\u");
                    self.hex(&unit.to_be_bytes());
                }
            }
        }
        self.put("\"");
    }

    fn id(&mut self, id: &Uuid) {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        self.put("\"");
        self.put(id.hyphenated().encode_lower(&mut text));
        self.put("\"");
    }

    fn ids(&mut self, ids: &[Uuid]) {
        self.put("[");
        for (at, id) in ids.iter().enumerate() {
            if at > 0 {
                self.put(",");
            }
            self.id(id);
        }
        self.put("]");
    }

    #[inline]
    fn ieee_mac(&mut self, label: &str, address: MacAddr) {
        let hyphens = |byte: u8| match byte {
            b':' => b'-',
            digit => digit.to_ascii_uppercase(),
        };
        self.put(label);
        self.put("\"");
        self.bytes(&address.ascii().map(hyphens));
        self.put("\"");
    }

    #[inline]
    fn ip(&mut self, label: &str, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.ipv4(label, "\"", address),
            IpAddr::V6(address) => self.ipv6(label, "\"", address, Ipv6Style::Rfc5952),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use netlog_packet::room::Append;
    use proptest::prelude::*;

    use super::*;

    fn put(with: impl FnMut(&mut Room<'_>)) -> String {
        let mut out = Vec::new();
        out.append_with(0, with);
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
            assert_eq!(
                put(|out| out.ip("", address.into())),
                format!("\"{address}\"")
            );
            assert_eq!(put(|out| out.hex(&[octet])), format!("{octet:02x}"));
        }
    }

    proptest! {
        #[test]
        fn as_the_standard_library_has_it(
            integer: i64,
            octets: [u8; 6],
            groups: [u16; 8],
            zeros: u8,
            text: String,
        ) {
            prop_assert_eq!(put(|out| out.integer("", integer)), integer.to_string());
            let mac = MacAddr(octets);
            prop_assert_eq!(
                put(|out| out.ieee_mac("", mac)),
                format!("\"{}\"", mac.to_string().to_uppercase().replace(':', "-"))
            );
            let mut groups = groups;
            for (bit, group) in groups.iter_mut().enumerate() {
                *group *= u16::from(zeros >> bit & 1);
            }
            let address = Ipv6Addr::from(groups);
            prop_assert_eq!(put(|out| out.ip("", address.into())), format!("\"{address}\""));
            let string = put(|out| out.string(&text));
            prop_assert_eq!(serde_json::from_str::<String>(&string).unwrap(), text);
        }
    }
}
