//! The text compared with what Neutron wrote for the same frames.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use netlog_packet::{Packet, Payload};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recorded {
    name: String,
    packet_hex: String,
    record: String,
    scope: String,
}

fn text(frame: &[u8], payload: Payload) -> String {
    let mut out = Vec::new();
    Packet::decode(frame).write_text(payload, &mut out);
    String::from_utf8(out).unwrap()
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

fn recorded() -> Vec<Recorded> {
    serde_json::from_str(include_str!("fixtures/neutron_records.json")).unwrap()
}

#[test]
fn required_records_byte_for_byte() {
    let mut compared = 0;
    for entry in recorded() {
        let Some((_, expected)) = entry.record.split_once("pkt=") else {
            continue;
        };
        // The entry with an unknown cookie has the exception after the packet.
        let expected = expected
            .split(": neutron.services")
            .next()
            .unwrap_or(expected);
        if entry.scope == "required" {
            assert_eq!(
                text(&unhex(&entry.packet_hex), Payload::Include),
                expected,
                "{}",
                entry.name
            );
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}
