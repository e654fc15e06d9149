//! Which bytes each message is checked against: the table in `MESSAGES.md`, worked out from the
//! tests' own material, so that it cannot say what is not so.

use std::fmt::Write as _;

use netlog_ofp::{Messages, PacketIn, RawMessage, Version};

use super::{decode, encode, from_hex, ofp_print, ovs_tests};

const TABLE: &str = include_str!("../../MESSAGES.md");

/// The messages that logging needs, with what tells them in the `Debug` of one that was read.
///
/// What has a name of its own in each version stands in one row, by the word that tells it.
const ROWS: &[(&str, &str)] = &[
    ("`OFPT_HELLO` with a version bitmap", "Hello("),
    ("`OFPT_ECHO_REQUEST`", "EchoRequest("),
    ("`OFPT_ECHO_REPLY`", "EchoReply("),
    ("`OFPT_ERROR`, with the message that caused it", "Error("),
    ("`OFPT_FEATURES_REQUEST`", "FeaturesRequest"),
    ("`OFPT_FEATURES_REPLY`", "FeaturesReply("),
    ("`OFPT_GET_CONFIG_REQUEST`", "GetConfigRequest"),
    ("`OFPT_GET_CONFIG_REPLY`", "GetConfigReply("),
    ("`OFPT_SET_CONFIG`", "SetConfig("),
    ("`OFPT_BARRIER_REQUEST`", "BarrierRequest"),
    ("`OFPT_BARRIER_REPLY`", "BarrierReply"),
    ("`OFPT_PACKET_IN`", "PACKET_IN "),
    ("`NXT_PACKET_IN`", "NXT_PACKET_IN "),
    ("`NXT_PACKET_IN2`, with userdata", "NXT_PACKET_IN2 "),
    ("`OFPT_PACKET_OUT`", "PacketOut("),
    ("`OFPT_FLOW_MOD`, with OXM fields", "FlowMod("),
    ("`OFPAT_OUTPUT`", "Output {"),
    ("`NXAST_RESUBMIT`", "table: None }"),
    ("`NXAST_RESUBMIT_TABLE`", "table: Some("),
    (
        "`NXAST_CONTROLLER`, with an id",
        "userdata: [], pause: false, meter_id: None",
    ),
    ("`NXAST_CONTROLLER2`, with userdata", "userdata: [1"),
    ("`NXAST_CONTROLLER2`, with a meter", "meter_id: Some("),
    ("Fields of NXM", "NXM_IN_PORT="),
    (
        "`OFPT_BUNDLE_CONTROL`, `ONFT_BUNDLE_CONTROL`",
        "BundleControl(",
    ),
    (
        "`OFPT_BUNDLE_ADD_MESSAGE`, `ONFT_BUNDLE_ADD_MESSAGE`",
        "BundleAdd(",
    ),
    ("`OFPMP_DESC`", "Desc"),
    ("`OFPMP_FLOW`, request", "request: Flow("),
    ("`OFPMP_FLOW`, reply", "reply: Flow("),
    ("`OFPMP_AGGREGATE`, request", "request: Aggregate("),
    ("`OFPMP_AGGREGATE`, reply", "reply: Aggregate("),
    ("`OFPMP_TABLE`, request", "request: Table"),
    ("`OFPMP_TABLE`, reply", "reply: Table("),
    ("`OFPMP_PORT_STATS`, request", "request: PortStats("),
    ("`OFPMP_PORT_STATS`, reply", "reply: PortStats("),
    ("`OFPMP_PORT_DESC`, request", "request: PortDesc"),
    ("`OFPMP_PORT_DESC`, reply", "reply: PortDesc("),
    ("`OFPMP_METER`, request", "request: Meter("),
    ("`OFPMP_METER`, reply", "reply: Meter("),
    ("`OFPMP_METER_CONFIG`, request", "request: MeterConfig("),
    ("`OFPMP_METER_CONFIG`, reply", "reply: MeterConfig("),
    ("`OFPMP_METER_FEATURES`, request", "request: MeterFeatures"),
    ("`OFPMP_METER_FEATURES`, reply", "reply: MeterFeatures("),
    ("`OFPT_METER_MOD`", "MeterMod("),
    ("`OFPT_ROLE_REQUEST`", "RoleRequest("),
    ("`OFPT_ROLE_REPLY`", "RoleReply("),
    ("`OFPT_GET_ASYNC_REQUEST`", "GetAsyncRequest"),
    ("`OFPT_GET_ASYNC_REPLY`", "GetAsyncReply("),
    ("`OFPT_SET_ASYNC`", "SetAsync("),
    ("`NXT_SET_ASYNC_CONFIG`", "NxtSetAsyncConfig("),
    ("`NXT_SET_ASYNC_CONFIG2` (1.3)", "NxtSetAsyncConfig2("),
    ("`NXT_SET_PACKET_IN_FORMAT`", "SetPacketInFormat("),
    ("`NXT_SET_CONTROLLER_ID`", "SetControllerId("),
    ("`OFPT_FLOW_REMOVED`", "FlowRemoved("),
    ("`NXT_FLOW_REMOVED`", "NxtFlowRemoved("),
    ("`OFPT_PORT_STATUS`", "PortStatus("),
    (
        "`OFPT_REQUESTFORWARD`, `ONFT_REQUESTFORWARD`",
        "RequestForward(",
    ),
    (
        "`OFPMP_FLOW_MONITOR`, `ONFST_FLOW_MONITOR`, request",
        "request: FlowMonitor(",
    ),
    (
        "`OFPMP_FLOW_MONITOR`, `ONFST_FLOW_MONITOR`, reply",
        "reply: FlowMonitor(",
    ),
    ("`ONFT_FLOW_MONITOR_CANCEL` (1.3)", "FlowMonitorCancel("),
    ("`ONFT_FLOW_MONITOR_PAUSED` (1.3)", "FlowMonitorPaused"),
    ("`ONFT_FLOW_MONITOR_RESUMED` (1.3)", "FlowMonitorResumed"),
];

/// What an encoded message says, in words that [`ROWS`] looks for.
fn describe(bytes: &[u8]) -> (Version, String) {
    let raw = RawMessage::new(bytes).unwrap();
    let words = if PacketIn::parse(raw).unwrap().is_some() {
        let kind = match (raw.message_type().0, bytes.get(15)) {
            (10, _) => "PACKET_IN",
            (_, Some(17)) => "NXT_PACKET_IN",
            _ => "NXT_PACKET_IN2",
        };
        format!("{kind} ")
    } else {
        format!("{:?}", decode(bytes).body)
    };
    (raw.version(), words)
}

/// Whether the word stands there by itself, not as the end of a longer one.
fn says(description: &str, word: &str) -> bool {
    description.match_indices(word).any(|(at, _)| {
        !description[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
    })
}

fn recorded() -> Vec<Vec<u8>> {
    let hex = [
        include_str!("../../src/testdata/fmt0.hex"),
        include_str!("../../src/testdata/fmt1.hex"),
        include_str!("../../src/testdata/fmt2.hex"),
        include_str!("../../src/testdata/id.hex"),
    ];
    let lines = hex.into_iter().flat_map(str::lines);
    let mut reads: Vec<Vec<u8>> = lines
        .map(|line| from_hex(line.split_whitespace().last().unwrap()))
        .collect();
    reads.push(include_bytes!("../../src/testdata/switch-of13.bin").to_vec());
    reads.push(include_bytes!("../../src/testdata/switch-of14.bin").to_vec());
    let messages = reads.iter().flat_map(|read| Messages::new(read));
    messages.map(|raw| raw.unwrap().bytes().to_vec()).collect()
}

fn written() -> impl Iterator<Item = Vec<u8>> {
    [Version::V1_3, Version::V1_4]
        .into_iter()
        .flat_map(|version| {
            let bodies = ofp_print::bodies(version).into_iter();
            bodies.map(move |body| encode(version, netlog_ofp::Xid(0x42), &body))
        })
}

/// The versions in which the word is said.
fn versions(descriptions: &[(Version, String)], word: &str) -> String {
    let said = |version| {
        let mut of_version = descriptions.iter().filter(|(other, _)| *other == version);
        of_version.any(|(_, description)| says(description, word))
    };
    let versions: Vec<_> = [Version::V1_3, Version::V1_4]
        .into_iter()
        .filter(|version| said(*version))
        .map(|version| version.to_string())
        .collect();
    versions.join(", ")
}

#[test]
fn every_message_is_checked_against_bytes_of_open_vswitch() {
    let describe_all = |messages: &mut dyn Iterator<Item = Vec<u8>>| -> Vec<_> {
        messages.map(|bytes| describe(&bytes)).collect()
    };
    let written = describe_all(&mut written());
    let sent = describe_all(&mut recorded().into_iter());
    let tests = describe_all(&mut ovs_tests::spoken().map(|(_, bytes)| bytes));
    let mut rows = String::new();
    for (name, word) in ROWS {
        let cells = [&written, &sent, &tests].map(|source| versions(source, word));
        assert!(
            cells.iter().any(|cell| !cell.is_empty()),
            "{name}: no bytes at all"
        );
        let [written, sent, tests] = cells;
        let _ = writeln!(rows, "| {name} | {written} | {sent} | {tests} |");
    }
    let (head, _) = TABLE.split_once("\n| `OFPT_HELLO`").unwrap_or((TABLE, ""));
    let table = format!("{}\n{rows}", head.trim_end());
    if std::env::var_os("UPDATE_MESSAGES").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/MESSAGES.md");
        std::fs::write(path, table).unwrap();
        return;
    }
    assert_eq!(
        table, TABLE,
        "run this test with UPDATE_MESSAGES=1, and read what has changed"
    );
}
