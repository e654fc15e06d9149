//! Text written into room that is there already: labels, decimal numbers and
//! addresses, for every layout of a record.
//!
//! Appending to a `Vec` costs a look at its capacity and an update of its length
//! in memory for each of the hundred pieces that a record has. A [`Room`] is a
//! slice that gets shorter from the front: its two words stay in registers, and
//! each piece is one comparison. What makes the rest cheap:
//!
//! - A label's length is known when the program is compiled, so that its copy is
//!   a few wide moves and no call.
//! - A value is written as a whole array, longer than its text, and the room goes
//!   on behind the text: what is too much is overwritten by what comes next.
//! - Digits come from a table of octets, or eight at once from multiplications.
//!
//! A piece that does not fit leaves no room at all, so that the end is known
//! without a look at every step, and [`Append`] tries again with more.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::{fmt, mem};

use crate::MacAddr;

/// Room for text, filled from the front.
#[derive(Debug)]
pub struct Room<'a>(&'a mut [u8]);

/// The most that a value takes, its quotes included: an IPv6 address has at most
/// 39 characters, and whole arrays of eight are written of it.
const VALUE: usize = 48;

/// How an IPv6 address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6Style {
    /// RFC 5952, with dots in `::ffff:a.b.c.d` only.
    Rfc5952,
    /// As glibc's `inet_ntop`, which has dots in `::a.b.c.d` too.
    InetNtop,
}

/// What text can be appended to.
pub trait Append {
    /// Appends what `write` writes. `write` is called again where it found too little room, of
    /// which there is about `expected` bytes the first time.
    fn append_with(&mut self, expected: usize, write: impl FnMut(&mut Room<'_>));
}

impl Append for Vec<u8> {
    /// Clears the room first, since a vector's spare memory may hold anything: a [`Buffer`] need
    /// not.
    #[inline]
    fn append_with(&mut self, expected: usize, mut write: impl FnMut(&mut Room<'_>)) {
        let start = self.len();
        let mut len = expected + VALUE;
        loop {
            self.resize(start + len, 0);
            if let Some(written) = fill(&mut self[start..], &mut write) {
                self.truncate(start + written);
                return;
            }
            len *= 2;
        }
    }
}

/// Text in memory that is cleared only when it is new, and then used again and again.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    /// All of it was cleared once.
    memory: Vec<u8>,
    len: usize,
}

impl Append for Buffer {
    #[inline]
    fn append_with(&mut self, expected: usize, mut write: impl FnMut(&mut Room<'_>)) {
        let mut len = expected + VALUE;
        loop {
            if let Some(written) = fill(self.room(len), &mut write) {
                self.len += written;
                return;
            }
            len *= 2;
        }
    }
}

impl Buffer {
    /// With room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            memory: vec![0; bytes],
            len: 0,
        }
    }

    /// The text.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[..self.len]
    }

    /// How many bytes the text has.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no text.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes there is memory for.
    pub const fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Takes all text out, and keeps the memory.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends bytes.
    #[inline]
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// What is behind the text: at least so many bytes.
    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        if self.memory.len() - self.len < len {
            let doubled = self.memory.len() * 2;
            self.memory.resize(doubled.max(self.len + len), 0);
        }
        &mut self.memory[self.len..]
    }
}

/// Has `write` write into memory. Gives the length of the text, or nothing where it found too
/// little room.
#[inline]
fn fill(memory: &mut [u8], write: &mut impl FnMut(&mut Room<'_>)) -> Option<usize> {
    let len = memory.len();
    let mut room = Room(memory);
    write(&mut room);
    let left = room.0.len();
    (left > 0).then(|| len - left)
}

impl Room<'_> {
    /// Takes the room out, so that it can be worked on as a value of its own: the
    /// compiler keeps only what nobody else can see in registers.
    #[inline(always)]
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self(mem::take(&mut self.0))
    }

    /// Text as it is.
    #[inline(always)]
    pub fn put(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Bytes as they are.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        if let Some((place, rest)) = mem::take(&mut self.0).split_at_mut_checked(bytes.len()) {
            place.copy_from_slice(bytes);
            self.0 = rest;
        }
    }

    /// The first `len` of `N` bytes, at most 48: a copy of constant length costs
    /// less than one of a length known only at run time.
    #[inline(always)]
    pub fn prefix<const N: usize>(&mut self, bytes: [u8; N], len: usize) {
        const { assert!(N <= VALUE, "a value has 48 bytes at most") };
        self.value("", |place| {
            set(place, 0, bytes);
            len.min(N)
        });
    }

    /// A label and a decimal number.
    #[inline(always)]
    pub fn number(&mut self, label: &str, number: u32) {
        self.value(
            label,
            #[inline(always)]
            |place| decimal(number, place),
        );
    }

    /// A label and a decimal number of at most three digits.
    #[inline(always)]
    pub fn octet(&mut self, label: &str, number: u8) {
        self.value(label, |place| {
            let (digits, len) = octet(number);
            set(place, 0, digits);
            len
        });
    }

    /// A label and a hardware address between quotes, if there are any:
    /// `fa:16:3e:11:22:33`.
    #[inline(always)]
    pub fn mac(&mut self, label: &str, quote: &str, address: MacAddr) {
        self.value(label, |place| {
            set_quote(place, 0, quote);
            set(place, quote.len(), address.ascii());
            set_quote(place, quote.len() + 17, quote);
            17 + 2 * quote.len()
        });
    }

    /// A label and an IPv4 address between quotes, if there are any: `10.0.0.4`.
    #[inline(always)]
    pub fn ipv4(&mut self, label: &str, quote: &str, address: Ipv4Addr) {
        self.value(label, |place| {
            set_quote(place, 0, quote);
            let len = dotted(address, place, quote.len());
            set_quote(place, len, quote);
            len + quote.len()
        });
    }

    /// A label and an IPv6 address between quotes, if there are any.
    #[inline]
    pub fn ipv6(&mut self, label: &str, quote: &str, address: Ipv6Addr, style: Ipv6Style) {
        self.put(label);
        self.put(quote);
        *self = self.take().colons(address, style);
        self.put(quote);
    }

    /// Bytes, each as two hexadecimal digits.
    #[inline]
    pub fn hex(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.bytes(&HEX[usize::from(byte)]);
        }
    }

    /// A label, and a value that `write` writes and whose length it returns.
    #[inline(always)]
    fn value(&mut self, label: &str, write: impl FnOnce(&mut [u8; VALUE]) -> usize) {
        let room = mem::take(&mut self.0);
        // One comparison for both: the length of the label is a constant.
        let Some(place) = room.get_mut(..label.len() + VALUE) else {
            return;
        };
        let (start, value) = place.split_at_mut(label.len());
        start.copy_from_slice(label.as_bytes());
        let Some(value) = value.first_chunk_mut() else {
            return;
        };
        let len = write(value);
        self.0 = room.get_mut(label.len() + len..).unwrap_or_default();
    }

    /// Room goes in and comes out in registers.
    #[inline(never)]
    fn colons(mut self, address: Ipv6Addr, style: Ipv6Style) -> Self {
        let groups = address.segments();
        let (start, len) = longest_zero_run(groups);
        let dotted_tail = start == 0
            && match (len, groups) {
                (5, [.., 0xffff, _, _]) => true,
                (6, _) => style == Ipv6Style::InetNtop,
                _ => false,
            };
        let mut index = 0;
        while let Some(&group) = groups.get(index) {
            if len > 0 && index == start {
                self.put(if index == 0 { "::" } else { ":" });
                index += len;
                continue;
            }
            if index == 6 && dotted_tail {
                let [.., a, b, c, d] = address.octets();
                self.ipv4("", "", [a, b, c, d].into());
                break;
            }
            index += 1;
            self.group(group, index < groups.len());
        }
        self
    }

    /// Four hexadecimal digits without leading zeros, and a colon.
    #[inline]
    fn group(&mut self, group: u16, colon: bool) {
        let [high, low] = group.to_be_bytes();
        let ([a, b], [c, d]) = (HEX[usize::from(high)], HEX[usize::from(low)]);
        let zeros = (group.leading_zeros() / 4).min(3);
        let digits = u64::from_le_bytes([a, b, c, d, b':', 0, 0, 0]) >> (zeros * 8);
        self.prefix(
            digits.to_le_bytes(),
            4 - zeros as usize + usize::from(colon),
        );
    }
}

impl fmt::Write for Room<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text);
        Ok(())
    }
}

/// Writes bytes into a value at `at`. What would reach beyond it is left out, which
/// the lengths of values rule out.
#[inline(always)]
fn set<const N: usize>(place: &mut [u8; VALUE], at: usize, bytes: [u8; N]) {
    if let Some(place) = place.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = bytes;
    }
}

#[inline(always)]
fn set_quote(place: &mut [u8; VALUE], at: usize, quote: &str) {
    if let Some(place) = place.get_mut(at..at + quote.len()) {
        place.copy_from_slice(quote.as_bytes());
    }
}

/// A decimal number; returns how many digits it has. The branches on a number that
/// is one of 16 bits by its type are known to the compiler.
#[inline(always)]
fn decimal(number: u32, place: &mut [u8; VALUE]) -> usize {
    if let Ok(number) = u8::try_from(number) {
        let (digits, len) = octet(number);
        set(place, 0, digits);
        len
    } else if number < 100_000 {
        let len = 3 + usize::from(number >= 1_000) + usize::from(number >= 10_000);
        set(
            place,
            0,
            (five_digits(number) >> (8 * (5 - len))).to_le_bytes(),
        );
        len
    } else if number < 100_000_000 {
        let digits = eight_digits(number);
        // The bits below the first digit that is not zero, in whole bytes.
        let zeros = digits.trailing_zeros();
        let text = (digits | ASCII_ZEROS) >> (zeros & 0x38);
        set(place, 0, text.to_le_bytes());
        8 - zeros as usize / 8
    } else {
        let (digits, len) = octet((number / 100_000_000) as u8);
        set(place, 0, digits);
        let digits = eight_digits(number % 100_000_000) | ASCII_ZEROS;
        set(place, len, digits.to_le_bytes());
        len + 8
    }
}

/// An IPv4 address at `at`; returns where it ends. Two octets fit one register.
#[inline(always)]
fn dotted(address: Ipv4Addr, place: &mut [u8; VALUE], at: usize) -> usize {
    let [a, b, c, d] = address.octets();
    let pair = |first, second| {
        let ((first, first_len), (second, second_len)) = (octet(first), octet(second));
        let first_len = first_len + 1;
        let text = u64::from(u32::from_le_bytes(first))
            | u64::from(u32::from_le_bytes(second)) << (first_len * 8);
        (text.to_le_bytes(), first_len + second_len)
    };
    let (text, len) = pair(a, b);
    set(place, at, text);
    let at = at + len + 1;
    let (text, len) = pair(c, d);
    set(place, at, text);
    at + len
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

/// A byte in hex.
pub(crate) const HEX: [[u8; 2]; 256] = {
    let alphabet = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [alphabet[byte >> 4], alphabet[byte & 15]];
        byte += 1;
    }
    table
};

/// Decimal digits of an octet, followed by a dot.
const OCTET: [[u8; 4]; 256] = {
    let mut table = [[0; 4]; 256];
    let mut octet: u8 = 0;
    loop {
        let (hundreds, tens, ones) = (
            b'0' + octet / 100,
            b'0' + octet / 10 % 10,
            b'0' + octet % 10,
        );
        table[octet as usize] = match octet {
            0..10 => [ones, b'.', 0, 0],
            10..100 => [tens, ones, b'.', 0],
            _ => [hundreds, tens, ones, b'.'],
        };
        let Some(next) = octet.checked_add(1) else {
            break table;
        };
        octet = next;
    }
};

/// How many digits an octet has.
const OCTET_LEN: [u8; 256] = {
    let mut table = [3; 256];
    let mut octet = 0;
    while octet < 100 {
        table[octet] = if octet < 10 { 1 } else { 2 };
        octet += 1;
    }
    table
};

/// The digits of an octet and a dot, and how many digits they are. The mask changes
/// nothing; it tells the compiler that they are 3 at most, so that writing behind
/// them needs no comparison.
#[inline(always)]
fn octet(number: u8) -> ([u8; 4], usize) {
    let at = usize::from(number);
    (OCTET[at], usize::from(OCTET_LEN[at] & 3))
}

const ASCII_ZEROS: u64 = u64::from_le_bytes(*b"00000000");

/// The two digits of every number under 100.
const PAIR: [[u8; 2]; 100] = {
    let mut table = [[0; 2]; 100];
    let mut number: u8 = 0;
    while number < 100 {
        table[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    table
};

/// The three digits of every number under 1,000, and a zero byte.
const TRIPLE: [[u8; 4]; 1_000] = {
    let mut table = [[0; 4]; 1_000];
    let mut number = 0;
    while number < 1_000 {
        let ([_, hundreds], [tens, ones]) = (PAIR[number / 100], PAIR[number % 100]);
        table[number] = [hundreds, tens, ones, 0];
        number += 1;
    }
    table
};

/// The text of a number under 10^5 with leading zeros, the first digit in the
/// lowest byte.
#[inline(always)]
fn five_digits(number: u32) -> u64 {
    let (pair, triple) = (
        PAIR[number as usize / 1_000],
        TRIPLE[number as usize % 1_000],
    );
    u64::from(u16::from_le_bytes(pair)) | u64::from(u32::from_le_bytes(triple)) << 16
}

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

    fn written(write: impl FnMut(&mut Room<'_>)) -> String {
        let mut out = Vec::new();
        out.append_with(0, write);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers() {
        let powers = (0..10).map(|exponent| 10_u32.pow(exponent));
        let edges = powers.flat_map(|power| [power - 1, power, power + 1]);
        for number in (0..=0x1_0000).chain(edges).chain([u32::MAX - 1, u32::MAX]) {
            assert_eq!(written(|to| to.number("n=", number)), format!("n={number}"));
        }
        for number in 0..=u8::MAX {
            assert_eq!(written(|to| to.octet("", number)), number.to_string());
        }
    }

    /// `inet_ntop` also has dots in addresses of which only the last 32 bits are
    /// set.
    #[test]
    fn ipv6_addresses_with_dots() {
        for (address, text) in [
            ("::102:304", "::1.2.3.4"),
            ("::ffff:a00:1", "::ffff:10.0.0.1"),
            ("::ffff", "::ffff"),
            ("::1:0", "::0.1.0.0"),
            ("::ffff:0:0", "::ffff:0.0.0.0"),
        ] {
            let address: Ipv6Addr = address.parse().unwrap();
            assert_eq!(
                written(|to| to.ipv6("", "", address, Ipv6Style::InetNtop)),
                text
            );
            assert_eq!(
                written(|to| to.ipv6("", "", address, Ipv6Style::Rfc5952)),
                address.to_string()
            );
        }
    }

    /// Whatever room there is at first, the text is the same and nothing stays
    /// behind it.
    #[test]
    fn too_little_room_is_found_out() {
        for expected in 0..200 {
            let write = |to: &mut Room<'_>| {
                to.number("a label, ", 1_234_567_890);
                to.mac(" and ", "'", MacAddr([1, 2, 3, 4, 5, 6]));
                to.put(" and text that is longer than the room that a value takes");
            };
            let text = Ok(
                "before a label, 1234567890 and '01:02:03:04:05:06' and text that is longer \
                than the room that a value takes",
            );
            let mut out = b"before ".to_vec();
            out.append_with(expected, write);
            assert_eq!(str::from_utf8(&out), text);
            let mut out = Buffer::with_capacity(expected);
            out.extend_from_slice(b"before ");
            out.append_with(expected, write);
            assert_eq!(str::from_utf8(out.as_slice()), text);
        }
    }

    #[test]
    fn what_a_buffer_had_before_is_not_seen() {
        let mut out = Buffer::default();
        out.extend_from_slice(b"something long");
        let capacity = out.capacity();
        out.clear();
        assert!(out.is_empty());
        out.extend_from_slice(b"short");
        assert_eq!((out.as_slice(), out.len()), (&b"short"[..], 5));
        assert_eq!(out.capacity(), capacity);
    }

    proptest! {
        #[test]
        fn any_number(number: u32, shift in 0..32_u32) {
            let number = number >> shift;
            prop_assert_eq!(written(|to| to.number("", number)), number.to_string());
        }

        #[test]
        fn any_ipv4_address(address: Ipv4Addr) {
            prop_assert_eq!(written(|to| to.ipv4("a=", "'", address)), format!("a='{address}'"));
        }

        #[test]
        fn any_ipv6_address(groups in prop::array::uniform8(prop_oneof![Just(0), any::<u16>()])) {
            let address = Ipv6Addr::from(groups);
            let text = format!("a='{address}'");
            prop_assert_eq!(
                written(|to| to.ipv6("a=", "'", address, Ipv6Style::Rfc5952)),
                text.as_str()
            );
            prop_assume!(groups[..6] != [0; 6] || groups[6] == 0);
            prop_assert_eq!(written(|to| to.ipv6("a=", "'", address, Ipv6Style::InetNtop)), text);
        }

        #[test]
        fn any_hardware_address(octets: [u8; 6]) {
            let [a, b, c, d, e, f] = octets;
            let text = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
            prop_assert_eq!(MacAddr(octets).to_string(), text.as_str());
            prop_assert_eq!(written(|to| to.mac("", "'", MacAddr(octets))), format!("'{text}'"));
        }
    }
}
