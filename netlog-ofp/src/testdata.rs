//! Messages recorded from Open vSwitch 3.1.0; see `testdata/README.md`.

/// The last word of each line, from hex.
pub(crate) fn messages(file: &str) -> Vec<Vec<u8>> {
    file.lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(from_hex)
        .collect()
}

pub(crate) fn from_hex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "odd number of digits");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) const STANDARD: &str = include_str!("testdata/fmt0.hex");
pub(crate) const NXT: &str = include_str!("testdata/fmt1.hex");
pub(crate) const NXT2: &str = include_str!("testdata/fmt2.hex");
pub(crate) const USERDATA: &str = include_str!("testdata/id.hex");
pub(crate) const STANDARD_UNIX: &str = include_str!("testdata/packet_in_std_unix.hex");
pub(crate) const NXT2_UNIX: &str = include_str!("testdata/packet_in_nxt2_unix.hex");
pub(crate) const SESSION: &[u8] = include_bytes!("testdata/session-of13.pcap");
