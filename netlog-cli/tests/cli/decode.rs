//! `netlog decode` on what Neutron decoded, and on captures good and bad.

use std::fmt::Write as _;

use netlog_cli::error::Exit;
use serde_json::Value;

use crate::support::{Outcome, netlog, netlog_with};

/// Frames and Neutron's records of them.
const RECORDS: &str = include_str!("../../../netlog-packet/tests/fixtures/neutron_records.json");

fn decode(stdin: &[u8], args: &[&str]) -> Outcome {
    netlog_with(None, stdin, ["decode"].iter().chain(args).chain(&["-"]))
}

/// A classic pcap file of these frames, one a microsecond.
fn pcap(frames: &[&[u8]]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (number, frame) in frames.iter().enumerate() {
        let number = u32::try_from(number).unwrap();
        let length = u32::try_from(frame.len()).unwrap();
        for word in [1_762_333_507, number, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(*frame);
    }
    file
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn prints_what_neutron_logs() {
    let records: Vec<Value> = serde_json::from_str(RECORDS).unwrap();
    let records: Vec<&Value> = records
        .iter()
        .filter(|record| {
            // Where Neutron failed, there is no record, or its error instead.
            let text = record["record"].as_str().unwrap_or_default();
            record["scope"] == "required" && text.starts_with("action=")
        })
        .collect();
    assert!(records.len() > 40, "{}", records.len());
    let mut hex = String::new();
    let mut expected = String::new();
    for record in &records {
        let record_text = record["record"].as_str().unwrap();
        let pkt = &record_text[record_text.find("pkt=").unwrap()..];
        writeln!(hex, "{}", record["packet_hex"].as_str().unwrap()).unwrap();
        writeln!(expected, "{pkt}").unwrap();
    }
    let neutron = ["--format", "neutron", "--payload"];
    let outcome = decode(
        hex.as_bytes(),
        &["--hex", "--format", "neutron", "--payload"],
    );
    assert_eq!(outcome.exit, Exit::Done, "{}", outcome.stderr);
    for (printed, expected) in outcome.stdout.lines().zip(expected.lines()) {
        assert_eq!(printed, expected);
    }
    assert_eq!(outcome.stdout, expected);

    let frames: Vec<Vec<u8>> = hex.lines().map(bytes).collect();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    assert_eq!(decode(&pcap(&frames), &neutron).stdout, expected);
}

/// A TCP segment with the payload `hi`.
const SEGMENT: &str = "fa163e445566 fa163e112233 0800 \
    4500002a 00010000 40060000 0a000005 c0a86407 \
    a8ca01bb 11223344 00000000 5018faf0 00000000 6869";

const HEADERS: &str = "ethernet(dst='fa:16:3e:44:55:66',ethertype=2048,src='fa:16:3e:11:22:33'), \
ipv4(csum=0,dst='192.168.100.7',flags=0,header_length=5,identification=1,offset=0,option=None,\
proto=6,src='10.0.0.5',tos=0,total_length=42,ttl=64,version=4), \
tcp(ack=0,bits=24,csum=0,dst_port=443,offset=5,option=None,seq=287454020,src_port=43210,\
urgent=0,window_size=64240)";

#[test]
fn payload_only_if_asked_for() {
    let stdin = format!("{SEGMENT}\n");
    let outcome = decode(stdin.as_bytes(), &["--hex"]);
    assert_eq!(outcome.stdout, format!("{HEADERS}\n"));
    let outcome = decode(stdin.as_bytes(), &["--hex", "--payload"]);
    assert_eq!(outcome.stdout, format!("{HEADERS}, b'hi'\n"));
}

#[test]
fn captures_have_times() {
    let frame = bytes(&SEGMENT.replace(' ', ""));
    let file = pcap(&[&frame, &frame]);
    let outcome = decode(&file, &[]);
    assert_eq!(
        outcome.stdout,
        format!("2025-11-05T09:05:07.000000Z {HEADERS}\n2025-11-05T09:05:07.000001Z {HEADERS}\n")
    );
    let outcome = decode(&file, &["--format", "json"]);
    assert_eq!(
        outcome.stdout.lines().last().unwrap(),
        "{\"time\":\"2025-11-05T09:05:07.000001000Z\",\
         \"eth_src\":\"fa:16:3e:11:22:33\",\"eth_dst\":\"fa:16:3e:44:55:66\",\"eth_type\":2048,\
         \"src_ip\":\"10.0.0.5\",\"dst_ip\":\"192.168.100.7\",\"ip_length\":42,\
         \"protocol\":\"tcp\",\"protocol_number\":6,\"src_port\":43210,\"dst_port\":443,\
         \"tcp_flags\":[\"PSH\",\"ACK\"],\"tcp_seq\":287454020}"
    );
}

#[test]
fn schemas_have_their_names() {
    let frame = bytes(&SEGMENT.replace(' ', ""));
    let file = pcap(&[&frame]);
    let line = |layout| -> Value {
        serde_json::from_str(&decode(&file, &["--format", layout]).stdout).unwrap()
    };
    let ecs = line("ecs");
    assert_eq!(ecs["@timestamp"], "2025-11-05T09:05:07.000000000Z");
    assert_eq!(ecs["source.ip"], "10.0.0.5");
    let ocsf = line("ocsf");
    assert_eq!(ocsf["class_uid"], 4001);
    assert_eq!(ocsf["time"], 1_762_333_507_000_u64);
    assert_eq!(ocsf["dst_endpoint"]["port"], 443);
}

#[test]
fn from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("frames.hex");
    std::fs::write(&path, format!("# a comment\n{SEGMENT}\n")).unwrap();
    let path = path.to_str().unwrap();
    let outcome = netlog(["decode", "--hex", path]);
    assert_eq!(outcome.stdout, format!("{HEADERS}\n"));

    let outcome = netlog(["decode", path]);
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_eq!(
        outcome.stderr,
        format!("{path}: this is neither pcap nor pcapng; use --hex for lines of hex digits\n")
    );

    let outcome = netlog(["decode", "/nowhere/x.pcap"]);
    assert_eq!(outcome.exit, Exit::Unreachable);
    let message = "/nowhere/x.pcap: No such file or directory";
    assert!(outcome.stderr.starts_with(message), "{}", outcome.stderr);
}

#[test]
fn what_can_be_read_comes_before_the_error() {
    let frame = bytes(&SEGMENT.replace(' ', ""));
    let file = pcap(&[&frame, &frame]);
    let outcome = decode(&file[..file.len() - 1], &[]);
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_eq!(outcome.stdout.lines().count(), 1);
    assert_eq!(
        outcome.stderr,
        "standard input: ends inside the record at byte 96; all before it is shown\n"
    );

    let outcome = decode(format!("{SEGMENT}\nzz\n").as_bytes(), &["--hex"]);
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_eq!(outcome.stdout, format!("{HEADERS}\n"));
    assert_eq!(
        outcome.stderr,
        "standard input: line 2: 'z' is not a hex digit\n"
    );
}

#[test]
fn every_frame_is_one_line() {
    let frames: [&[u8]; 3] = [b"", b"short", &[0xff; 200]];
    for layout in ["text", "neutron", "json", "ecs", "ocsf"] {
        let outcome = decode(&pcap(&frames), &["--format", layout, "--payload"]);
        assert_eq!(outcome.stdout.lines().count(), 3, "{layout}");
    }
}
