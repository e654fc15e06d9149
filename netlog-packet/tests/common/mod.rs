//! Recorded frames.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test uses some of it")]

use netlog_packet::{Packet, Payload};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An entry of `neutron_records.json`.
#[derive(Deserialize)]
pub(crate) struct NeutronRecord {
    pub(crate) name: String,
    pub(crate) packet_hex: String,
    pub(crate) record: String,
    pub(crate) scope: String,
}

/// An entry of `osken_records.json`.
#[derive(Deserialize)]
pub(crate) struct OskenRecord {
    pub(crate) name: String,
    pub(crate) packet_hex: String,
    pub(crate) text: Option<String>,
}

pub(crate) fn neutron_records() -> Vec<NeutronRecord> {
    parse(include_str!("../fixtures/neutron_records.json"))
}

pub(crate) fn osken_records() -> Vec<OskenRecord> {
    parse(include_str!("../fixtures/osken_records.json"))
}

fn parse<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

/// All recorded frames.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let neutron = neutron_records().into_iter().map(|entry| entry.packet_hex);
    let osken = osken_records().into_iter().map(|entry| entry.packet_hex);
    neutron.chain(osken).map(|hex| unhex(&hex)).collect()
}

/// Spaces are ignored.
pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks_exact(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect()
}

pub(crate) fn text(frame: &[u8], payload: Payload) -> String {
    let mut out = Vec::new();
    Packet::decode(frame).write_text(payload, &mut out);
    String::from_utf8(out).unwrap()
}
