//! Every message against Open vSwitch: what it writes is read, and what is written it reads.

#![expect(
    clippy::unwrap_used,
    reason = "in a test, a message that cannot be read or written is a failure"
)]

mod coverage;
mod ofp_print;
mod ovs_tests;
mod unknown;

use std::fmt::Write as _;

use netlog_ofp::{Body, Message, RawMessage, Version, Xid};

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().collect();
    digits
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn decode(bytes: &[u8]) -> Message {
    Message::decode(RawMessage::new(bytes).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", to_hex(bytes)))
}

fn encode(version: Version, xid: Xid, body: &Body) -> Vec<u8> {
    let mut out = Vec::new();
    body.encode(version, xid, &mut out).unwrap();
    out
}
