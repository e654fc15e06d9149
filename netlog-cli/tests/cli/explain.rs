//! `netlog explain` on the recorded inventory.

use netlog_cli::error::Exit;
use serde_json::Value;

use crate::support::{netlog, netlog_with};

const INVENTORY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../netlog-core/tests/fixtures/inventory.json"
);

fn explain(args: &[&str]) -> (Exit, String) {
    let outcome = netlog(["explain", "--inventory", INVENTORY].iter().chain(args));
    (outcome.exit, outcome.stdout)
}

fn tcp<'a>(port: &'a str, src: &'a str, dst: &'a str, dport: &'a str) -> Vec<&'a str> {
    vec![
        "--port", port, "--proto", "tcp", "--src", src, "--dst", dst, "--dport", dport,
    ]
}

#[test]
fn says_which_rule_decides() {
    let (exit, text) = explain(&tcp("vm1", "10.1.0.100", "10.1.0.11", "9000"));
    assert_eq!(exit, Exit::Done);
    assert_eq!(
        text,
        "port 11111111-0000-4000-8000-000000000001 (vm1), ingress, \
         tcp/9000 from 10.1.0.100 to 10.1.0.11\n\
         ACCEPT by rule 4e000000-0000-4000-8000-000000000005 of web \
         (5e000000-0000-4000-8000-0000000000a1): allows tcp/9000 from 10.1.0.100/32\n"
    );
}

#[test]
fn says_what_in_the_nearest_rules_fails_to_match() {
    let (exit, text) = explain(&tcp("vm2", "10.1.0.100", "10.1.0.12", "5432"));
    assert_eq!(exit, Exit::No);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[1], "DROP, reason no-rule");
    assert_eq!(lines.len(), 2 + 3);
    assert_eq!(
        lines[2],
        "not by rule 4e000000-0000-4000-8000-00000000000a of app \
         (5e000000-0000-4000-8000-0000000000a2): allows tcp/5432 from members of group \
         5e000000-0000-4000-8000-0000000000a1; this is from 10.1.0.100"
    );
    // The port fails before the remote side only where it is the only one.
    assert!(
        text.contains("allows tcp/22 from 10.1.0.100/32; this is tcp/5432\n"),
        "{text}"
    );
}

#[test]
fn the_same_as_json() {
    let mut args = tcp("vm2", "10.1.0.100", "10.1.0.12", "5432");
    args.extend(["-f", "json", "--nearest", "1"]);
    let (exit, text) = explain(&args);
    assert_eq!(exit, Exit::No);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["action"], "DROP");
    assert_eq!(answer["reason"], "no-rule");
    assert_eq!(answer["direction"], "ingress");
    assert_eq!(answer["security_group_rule_id"], Value::Null);
    assert_eq!(answer["allowed_by"], Value::Array(Vec::new()));
    assert_eq!(answer["nearest"].as_array().unwrap().len(), 1);
    assert_eq!(
        answer["nearest"][0]["security_group_rule_id"],
        "4e000000-0000-4000-8000-00000000000a"
    );
    assert_eq!(
        answer["nearest"][0]["mismatches"],
        serde_json::json!([{
            "field": "remote",
            "allows": "from members of group 5e000000-0000-4000-8000-0000000000a1",
            "packet": "from 10.1.0.100",
        }])
    );
}

#[test]
fn what_is_decided_before_the_rules() {
    // An address that is not the port's, a port without port security, a DHCP server.
    let spoofed = explain(
        &[
            &tcp("vm3", "10.1.0.66", "10.1.0.100", "80")[..],
            &["--direction", "egress"],
        ]
        .concat(),
    );
    assert!(
        spoofed.1.ends_with("DROP, reason anti-spoof\n"),
        "{spoofed:?}"
    );
    let open = explain(&tcp("vm4", "10.1.0.100", "10.1.0.14", "80"));
    assert_eq!(open.0, Exit::Done);
    assert!(open.1.contains("no port security"), "{open:?}");
    let server = explain(&[
        "--port",
        "vm1",
        "--proto",
        "udp",
        "--src",
        "10.1.0.11",
        "--sport",
        "67",
        "--dst",
        "255.255.255.255",
        "--dport",
        "68",
    ]);
    assert!(
        server.1.ends_with("DROP, reason dhcp-or-ra-server\n"),
        "{server:?}"
    );
}

/// A TCP SYN from ext1 to port 22 of vm1.
const SYN: &str = "fa163e000101 fa163e000164 0800 \
    4500 0028 1234 4000 4006 1324 0a010064 0a01000b 9c40 0016 00000001 00000000 5002 ffff 0000 0000";

#[test]
fn takes_a_frame() {
    let (exit, text) = explain(&["--port", "vm1", "--hex", SYN]);
    assert_eq!(exit, Exit::Done);
    assert!(
        text.contains("ACCEPT by rule 4e000000-0000-4000-8000-000000000001 of web"),
        "{text}"
    );
}

#[test]
fn takes_a_line_of_the_log() {
    let id = "11111111-0000-4000-8000-000000000001";
    let text = format!(
        "Nov 23 09:05:07 action=DROP project_id=p log_resource_ids=['x'] vm_port={id} \
         direction=ingress reason=no-rule ethernet(dst='fa:16:3e:00:01:01',ethertype=2048,\
         src='fa:16:3e:00:01:64'), ipv4(csum=1,dst='10.1.0.11',flags=2,header_length=5,\
         identification=1,offset=0,option=None,proto=6,src='10.1.0.100',tos=0,total_length=40,\
         ttl=64,version=4), tcp(ack=0,bits=2,csum=0,dst_port=80,offset=5,\
         option=[TCPOptionMaximumSegmentSize(kind=2,length=4,max_seg_size=1460)],seq=1,\
         src_port=40000,urgent=0,window_size=64240)"
    );
    let json = format!(
        r#"{{"time":"2026-11-23T09:05:07Z","action":"DROP","port_id":"{id}","direction":"ingress",
        "reason":"no-rule","eth_type":2048,"src_ip":"10.1.0.100","dst_ip":"10.1.0.11",
        "protocol":"tcp","protocol_number":6,"src_port":40000,"dst_port":80}}"#
    );
    let ping = format!(
        "action=ACCEPT project_id=p log_resource_ids=['x'] vm_port={id} pkt=ethernet(\
         dst='fa:16:3e:00:01:01',ethertype=34525,src='fa:16:3e:00:01:64'), ipv6(dst='fd01::11',\
         ext_hdrs=[],flow_label=0,hop_limit=64,nxt=58,payload_length=16,src='fd01::100',\
         traffic_class=0,version=6), icmpv6(code=0,csum=1,data=echo(data=b\"it's (a, b)\",id=5,\
         seq=9),type_=128)"
    );
    let first = "port 11111111-0000-4000-8000-000000000001 (vm1), ingress, ";
    for (line, packet, exit) in [
        (&text, "tcp/80 from 10.1.0.100 to 10.1.0.11\n", Exit::No),
        (&json, "tcp/80 from 10.1.0.100 to 10.1.0.11\n", Exit::No),
        (
            &ping,
            "ipv6-icmp type 128 code 0 from fd01::100 to fd01::11\n",
            Exit::Done,
        ),
    ] {
        let (found, shown) = explain(&["--record", line]);
        assert!(shown.starts_with(&format!("{first}{packet}")), "{shown}");
        assert_eq!(found, exit);
        let args = ["explain", "--inventory", INVENTORY, "--record", "-"];
        let line = line.replace('\n', " ");
        assert_eq!(netlog_with(None, line.as_bytes(), args).stdout, shown);
    }
}

#[test]
fn a_wrong_command_line_says_what_is_wrong() {
    for (args, says) in [
        (vec!["--port", "vm1"], "--proto"),
        (
            tcp("vm9", "10.1.0.100", "10.1.0.11", "80"),
            "No Port found for vm9",
        ),
        (
            tcp("vm1", "10.1.0.100", "fd01::11", "80"),
            "one address family",
        ),
        (
            vec![
                "--port", "vm1", "--proto", "quic", "--src", "::1", "--dst", "::2",
            ],
            "\"quic\" is neither",
        ),
        (
            vec![
                "--port", "vm1", "--proto", "udp", "--src", "::1", "--dst", "::2",
            ],
            "--dport",
        ),
        (vec!["--port", "vm1", "--hex", "fa1"], "odd number"),
        (
            vec!["--record", "hello"],
            "not a line of the security event log",
        ),
    ] {
        let outcome = netlog(["explain", "--inventory", INVENTORY].iter().chain(&args));
        assert!(
            outcome.stderr.contains(says),
            "{args:?}: {}",
            outcome.stderr
        );
        assert_ne!(outcome.exit, Exit::Done);
    }
}
