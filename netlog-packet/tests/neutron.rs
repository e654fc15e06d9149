//! The text compared with what Neutron, or os-ken alone, wrote for the same
//! frames.

mod common;

use common::{neutron_records, osken_records, text, unhex};
use netlog_packet::Payload;

const ETHERNET_IPV4: &str =
    "fa163e445566 fa163e112233 0800 4500003c123440004006f9d30a000005c0a86407";
const ETHERNET_IPV6: &str = "fa163e445566 fa163e112233 86dd";
const ADDRESSES: &str = "20010db8000000000000000000000005 20010db8000000010000000000000007";

/// What the record has after `pkt=`.
fn recorded_text(record: &str) -> &str {
    let (_, text) = record.split_once("pkt=").unwrap_or_default();
    // One entry has an exception after the packet.
    text.split(": neutron.services").next().unwrap_or(text)
}

#[test]
fn required_records_byte_for_byte() {
    let mut compared = 0;
    for entry in neutron_records() {
        if entry.scope == "required" {
            let written = text(&unhex(&entry.packet_hex), Payload::Include);
            assert_eq!(written, recorded_text(&entry.record), "{}", entry.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 60);
}

/// Application and tunnel layers are shown as bytes after the same headers.
#[test]
fn optional_records_begin_alike() {
    let mut compared = 0;
    for entry in neutron_records() {
        if entry.scope == "optional" {
            let written = text(&unhex(&entry.packet_hex), Payload::Include);
            let (headers, rest) = written.split_once(", b").expect("bytes at the end");
            assert!(
                recorded_text(&entry.record).starts_with(headers),
                "{}",
                entry.name
            );
            assert!(rest.starts_with(['\'', '"']), "{}", entry.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 12);
}

#[test]
fn osken_texts_byte_for_byte() {
    let mut compared = 0;
    for entry in osken_records() {
        if let Some(expected) = entry.text {
            let written = text(&unhex(&entry.packet_hex), Payload::Include);
            assert_eq!(written, expected, "{}", entry.name);
            compared += 1;
        }
    }
    assert!(compared > 1500, "{compared}");
}

/// Where os-ken fails or loops there is a record, and it has all the headers
/// that come before.
#[test]
fn frames_that_osken_fails_on() {
    let mut seen = 0;
    for entry in osken_records() {
        if entry.text.is_none() {
            let written = text(&unhex(&entry.packet_hex), Payload::Include);
            assert!(
                written.starts_with("ethernet(dst='fa:16:3e:44:55:66',ethertype="),
                "{}: {written}",
                entry.name
            );
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}

/// The same, case by case: what is written after the network header.
#[test]
fn records_where_osken_writes_none() {
    let tcp = |options: &str| {
        let offset = 5 + options.len() / 8;
        format!("{ETHERNET_IPV4} 00010002 00000000 00000000 {offset:x}0022000 00000000 {options}")
    };
    let icmpv6 = |message: &str| {
        format!(
            "{ETHERNET_IPV6} 60000000 {:04x} 3aff {ADDRESSES} {message}",
            unhex(message).len()
        )
    };
    let sctp = |chunks: &str| {
        ETHERNET_IPV4.replacen("4006", "4084", 1) + "03e807d00000000000000001" + chunks
    };
    let cases = [
        (
            "TCP option of unknown kind and length 0",
            tcp("01018400"),
            r"option=b'\x01\x01\x84\x00',seq=0",
        ),
        (
            "TCP selective acknowledgment of length 0",
            tcp("05000000"),
            r"option=b'\x05\x00\x00\x00',seq=0",
        ),
        (
            "IPv6 routing header",
            format!(
                "{ETHERNET_IPV6} 60000000 0020 2b40 {ADDRESSES} \
                 1102000100000000 20010db8000000000000000000000009 0001000200080000"
            ),
            r"ext_hdrs=[routing(data=b'\x00\x00\x00\x00 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\t',nxt=17,seg=1,size=2,type_=0)],flow_label=0,hop_limit=64,nxt=43,payload_length=32,src='2001:db8::5',traffic_class=0,version=6), udp(csum=0,dst_port=2,src_port=1,total_length=8)",
        ),
        (
            "IPv6 hop-by-hop options of 16 bytes",
            format!(
                "{ETHERNET_IPV6} 60000000 0018 0040 {ADDRESSES} \
                 1101 010c000000000000000000000000 0001000200080000"
            ),
            r"ext_hdrs=[hop_opts(data=[option(data=b'\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00',len_=12,type_=1)],nxt=17,size=1)],flow_label=0,hop_limit=64,nxt=0,payload_length=24,src='2001:db8::5',traffic_class=0,version=6), udp(csum=0,dst_port=2,src_port=1,total_length=8)",
        ),
        (
            "router advertisement with MTU",
            icmpv6("86000000 4000070800000000 00000000 05010000000005aa"),
            "options=[nd_option_mtu(length=0,mtu=1450)],rea_t=0",
        ),
        (
            "multicast listener report of fewer records than it says",
            icmpv6("8f000000 00000002 04000000 ff0200000000000000000001ff000007"),
            r", b'\x8f\x00\x00\x00\x00\x00\x00\x02\x04\x00\x00\x00\xff\x02",
        ),
        (
            "SCTP chunk of length 0",
            sctp("08000000 01000000"),
            r"sctp(chunks=[],csum=1,dst_port=2000,src_port=1000,vtag=0), b'\x08\x00\x00\x00\x01\x00\x00\x00'",
        ),
        (
            "SCTP parameter of length 0",
            sctp("01000018 00000001 00000002 00030004 00000005 800000000"),
            "params=[])],csum=1",
        ),
        (
            "SCTP heartbeat without its parameter",
            sctp("04000008 00020004"),
            r"sctp(chunks=[],csum=1,dst_port=2000,src_port=1000,vtag=0), b'\x04\x00\x00\x08\x00\x02\x00\x04'",
        ),
    ];
    for (name, hex, expected) in cases {
        let written = text(&unhex(&hex), Payload::Include);
        assert!(written.contains(expected), "{name}: {written}");
    }
}

/// Without payload nothing is written that a header does not define.
#[test]
fn payload_is_left_out() {
    let secret = "736563726574"; // "secret"
    let ipv4 = |proto: &str, rest: &str| ETHERNET_IPV4.replacen("4006", proto, 1) + rest + secret;
    let icmpv6 = |message: &str| {
        format!("{ETHERNET_IPV6} 60000000 00ff 3aff {ADDRESSES} {message} {secret}")
    };
    let cases = [
        (
            "Ethernet",
            format!("fa163e445566 fa163e112233 88b5 {secret}"),
        ),
        (
            "ARP",
            format!(
                "ffffffffffff fa163e112233 0806 0001080006040001 fa163e1122330a000005 0000000000000a000001 {secret}"
            ),
        ),
        (
            "TCP",
            ipv4("4006", "0001000200000000000000005018200000000000"),
        ),
        ("UDP", ipv4("4011", "00010002000e0000")),
        ("ICMP echo", ipv4("4001", "0800000000010001")),
        ("ICMP unreachable", ipv4("4001", "0301000000000000")),
        ("ICMP time exceeded", ipv4("4001", "0b00000000000000")),
        ("ICMP of another type", ipv4("4001", "0d00000000000000")),
        ("ICMPv6 echo", icmpv6("8000000000010001")),
        ("ICMPv6 unreachable", icmpv6("0100000000000000")),
        ("ICMPv6 of another type", icmpv6("c800000000000000")),
        ("IGMP", ipv4("4002", "16000000ef010101")),
        (
            "SCTP data",
            ipv4(
                "4084",
                "03e807d00000000000000001 00030016 00000001 0001 0001 00000000",
            ),
        ),
        (
            "SCTP abort by the user",
            ipv4("4084", "03e807d00000000000000001 0600000e 000c000a"),
        ),
        (
            "SCTP chunk of another type",
            ipv4("4084", "03e807d00000000000000001 4003000a"),
        ),
        ("another protocol", ipv4("4032", "")),
    ];
    for (name, hex) in cases {
        let frame = unhex(&hex);
        let with = text(&frame, Payload::Include);
        let without = text(&frame, Payload::Omit);
        assert!(with.contains("secret"), "{name}: {with}");
        assert!(!without.contains("secret"), "{name}: {without}");
        assert!(without.starts_with("ethernet("), "{name}: {without}");
        assert!(without.ends_with(')'), "{name}: {without}");
    }
}

#[test]
fn left_out_payload_leaves_the_fields() {
    let cases = [
        (
            "icmp_echo",
            "icmp(code=0,csum=117,data=echo(data=None,id=119,seq=1),type=8)",
        ),
        (
            "icmp_frag_needed",
            "icmp(code=4,csum=9811,data=dest_unreach(data=None,data_len=0,mtu=1400),type=3)",
        ),
        (
            "icmpv6_echo",
            "icmpv6(code=0,csum=13071,data=echo(data=None,id=5,seq=9),type_=128)",
        ),
        (
            "udp_dns_query",
            "udp(csum=62750,dst_port=53,src_port=40000,total_length=55)",
        ),
        // Options belong to the header.
        (
            "nd_ra",
            r"options=[nd_option_sla(data=b'\x03\x04@\xc0\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00 \x01\r\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x01\x00\x00\x00\x00\x05\xaa',hw_src='fa:16:3e:44:55:66',length=1)],rea_t=0,res=0,ret_t=0,rou_l=1800),type_=134)",
        ),
    ];
    for (name, expected) in cases {
        let entry = neutron_records()
            .into_iter()
            .find(|entry| entry.name == name)
            .expect("a recorded frame");
        let written = text(&unhex(&entry.packet_hex), Payload::Omit);
        assert!(written.ends_with(expected), "{name}: {written}");
    }
}
