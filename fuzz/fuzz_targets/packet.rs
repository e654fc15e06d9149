//! Any bytes give one line of printable ASCII, in linear size, without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netlog_packet::{Packet, Payload, StopReason};

/// At most: an IPv6 `Pad1` option is one byte and has 35 of text.
const TEXT_PER_BYTE: usize = 64;

fuzz_target!(|frame: &[u8]| {
    let packet = Packet::decode(frame);
    for payload in [Payload::Omit, Payload::Include] {
        let mut out = Vec::new();
        packet.write_text(payload, &mut out);
        assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert!(out.len() <= frame.len() * TEXT_PER_BYTE);
    }
    assert!(packet.headers().count() <= frame.len());
    assert_eq!(packet.stop().is_none(), packet.rest().is_empty());
    if packet.stop() == Some(StopReason::Padding) {
        assert!(packet.rest().iter().all(|&byte| byte == 0));
    }
    packet.summary();
});
