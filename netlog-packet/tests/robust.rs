//! Any bytes give one line of printable ASCII, in linear size, without a panic.
//!
//! `PROPTEST_CASES` raises the number of random frames.

mod common;

use common::frames;
use netlog_packet::{Packet, Payload, StopReason};
use proptest::prelude::*;
use proptest::sample::Index;

/// At most: an IPv6 `Pad1` option is one byte and has 35 of text.
const TEXT_PER_BYTE: usize = 64;

fn check(frame: &[u8]) {
    let packet = Packet::decode(frame);
    for payload in [Payload::Omit, Payload::Include] {
        let mut out = Vec::new();
        packet.write_text(payload, &mut out);
        assert!(
            out.iter().all(|byte| (b' '..=b'~').contains(byte)),
            "{frame:02x?}: {}",
            out.escape_ascii()
        );
        assert!(
            out.len() <= frame.len() * TEXT_PER_BYTE,
            "{frame:02x?}: {} bytes",
            out.len()
        );
    }
    assert!(packet.headers().count() <= frame.len());
    let rest = packet.rest();
    assert!(rest.len() <= frame.len());
    match packet.stop() {
        None => assert!(rest.is_empty()),
        Some(StopReason::Padding) => assert!(rest.iter().all(|&byte| byte == 0)),
        Some(StopReason::Payload | StopReason::Malformed) => {
            assert!(rest.iter().any(|&byte| byte != 0));
        }
    }
    packet.summary();
}

fn config(cases: u32) -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        ProptestConfig::default()
    } else {
        ProptestConfig::with_cases(cases)
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, Vec<u8>),
    Cut(Index),
    Repeat(Index, Index),
}

impl Change {
    fn apply(self, frame: &mut Vec<u8>) {
        if frame.is_empty() {
            return;
        }
        let len = frame.len();
        match self {
            Self::Set(at, byte) => frame[at.index(len)] = byte,
            Self::Flip(at, bit) => frame[at.index(len)] ^= 1 << bit,
            Self::Remove(at) => {
                frame.remove(at.index(len));
            }
            Self::Insert(at, bytes) => {
                let at = at.index(len);
                frame.splice(at..at, bytes);
            }
            Self::Cut(at) => frame.truncate(at.index(len)),
            Self::Repeat(from, at) => {
                let tail = frame[from.index(len)..].to_vec();
                let at = at.index(len);
                frame.splice(at..at, tail);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let byte = prop_oneof![Just(0), Just(1), Just(3), Just(4), Just(255), any::<u8>()];
    prop_oneof![
        6 => (index(), byte).prop_map(|(at, byte)| Change::Set(at, byte)),
        2 => (index(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        1 => index().prop_map(Change::Remove),
        1 => (index(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => index().prop_map(Change::Cut),
        1 => (index(), index()).prop_map(|(from, at)| Change::Repeat(from, at)),
    ]
}

#[test]
fn recorded_frames_cut_at_every_length() {
    for frame in frames() {
        for len in 0..=frame.len() {
            check(&frame[..len]);
        }
    }
}

#[test]
fn recorded_frames_changed_at_random() {
    let recorded = frames();
    let frame = (any::<Index>(), prop::collection::vec(change(), 1..6));
    proptest!(config(4_000), |((index, changes) in frame)| {
        let mut frame = index.get(&recorded).clone();
        for change in changes {
            change.apply(&mut frame);
        }
        check(&frame);
    });
}

/// Headers of lower layers before random bytes, so that these are reached.
#[test]
fn random_bytes_as_any_header() {
    const STARTS: &[&str] = &[
        "",
        "fa163e445566 fa163e112233",
        "fa163e445566 fa163e112233 8100",
        "fa163e445566 fa163e112233 0800",
        "fa163e445566 fa163e112233 86dd",
        "fa163e445566 fa163e112233 0800 4500ffff0000000040010000 0a0000050a000006",
        "fa163e445566 fa163e112233 0800 4500ffff0000000040020000 0a0000050a000006",
        "fa163e445566 fa163e112233 0800 4500ffff0000000040060000 0a0000050a000006",
        "fa163e445566 fa163e112233 0800 4500ffff0000000040840000 0a0000050a000006",
        "fa163e445566 fa163e112233 86dd 60000000 ffff 3a40 \
         20010db8000000000000000000000005 20010db8000000000000000000000006",
        "fa163e445566 fa163e112233 86dd 60000000 ffff 0040 \
         20010db8000000000000000000000005 20010db8000000000000000000000006",
        "fa163e445566 fa163e112233 0800 4500ffff0000000040060000 0a0000050a000006 \
         0001000200000000 00000000 f0020000 00000000",
        "fa163e445566 fa163e112233 0800 4500ffff0000000040840000 0a0000050a000006 \
         0001000200000000 00000000",
    ];
    let starts: Vec<_> = STARTS.iter().map(|hex| common::unhex(hex)).collect();
    let bytes = prop::collection::vec(prop_oneof![0..16_u8, any::<u8>()], 0..200);
    proptest!(config(4_000), |(start in any::<Index>(), bytes in bytes)| {
        let mut frame = start.get(&starts).clone();
        frame.extend(bytes);
        check(&frame);
    });
}

/// Items that claim each other's bytes must not make a text of many times the
/// size.
#[test]
fn overlapping_items() {
    let sctp = "fa163e445566 fa163e112233 0800 4500ffff0000000040840000 0a0000050a000006 \
                0001000200000000 00000000";
    let ipv6 = "fa163e445566 fa163e112233 86dd 60000000 ffff 3c40 \
                20010db8000000000000000000000005 20010db8000000000000000000000006";
    let cases = [
        // Selective acknowledgments whose lists are the next ones.
        (sctp, "", "03000008 01000000"),
        // An error with causes of which each has the next ones in its address.
        (sctp, "0900fff8", "00050008 000b0400"),
        // Destination options of which each holds the next headers.
        (ipv6, "", "3c0001ff 00000000"),
    ];
    for (start, first, pattern) in cases {
        let mut frame = common::unhex(start);
        frame.extend(common::unhex(first));
        frame.extend(common::unhex(pattern).repeat(1000));
        // An unknown chunk or header, which ends the list, with room for all
        // claims.
        frame.push(0xff);
        frame.extend([0; 4096]);
        check(&frame);
    }
}
