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
pub(crate) const SWITCH_1_3: &[u8] = include_bytes!("testdata/switch-of13.bin");
pub(crate) const SWITCH_1_4: &[u8] = include_bytes!("testdata/switch-of14.bin");

/// The TCP payloads of a classic pcap of Ethernet and IPv4 frames, from `port`,
/// without what was sent twice.
pub(crate) fn tcp_stream(pcap: &[u8], port: u16) -> Vec<u8> {
    let u16_at = |bytes: &[u8], at| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let mut segments = std::collections::BTreeMap::new();
    let mut records = &pcap[24..];
    while let Some((header, rest)) = records.split_at_checked(16) {
        let length = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        let (frame, rest) = rest.split_at(length);
        records = rest;
        let ip = &frame[14..];
        let ip = &ip[..u16_at(ip, 2)];
        let tcp = &ip[usize::from(ip[0] & 15) * 4..];
        if u16_at(tcp, 0) == usize::from(port) {
            let sequence = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
            let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
            if !payload.is_empty() {
                segments.insert(sequence, payload);
            }
        }
    }
    segments.into_values().collect::<Vec<_>>().concat()
}
