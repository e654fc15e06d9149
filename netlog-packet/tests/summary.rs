//! The summary, of packets built by another implementation and of recorded ones.

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};

use common::{neutron_records, unhex};
use etherparse::{PacketBuilder, VlanId};
use netlog_packet::{Fragment, MacAddr, Network, Packet, Summary, Transport};
use proptest::prelude::*;

fn recorded(name: &str) -> Summary {
    let entry = neutron_records()
        .into_iter()
        .find(|entry| entry.name == name)
        .expect("a recorded frame");
    Packet::decode(&unhex(&entry.packet_hex)).summary()
}

#[derive(Clone, Debug)]
enum Upper {
    Tcp(u16, u16, u32),
    Udp(u16, u16),
    Echo(u16, u16),
}

fn upper() -> impl Strategy<Value = Upper> {
    prop_oneof![
        any::<(u16, u16, u32)>().prop_map(|(src, dst, seq)| Upper::Tcp(src, dst, seq)),
        any::<(u16, u16)>().prop_map(|(src, dst)| Upper::Udp(src, dst)),
        any::<(u16, u16)>().prop_map(|(id, seq)| Upper::Echo(id, seq)),
    ]
}

proptest! {
    #[test]
    fn packets_built_by_etherparse(
        (src, dst) in any::<([u8; 6], [u8; 6])>(),
        vlan in prop::option::of(0..4096_u16),
        network in prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(src, dst)| Network::Ipv4 {
                src: Ipv4Addr::from(src),
                dst: Ipv4Addr::from(dst),
            }),
            any::<([u8; 16], [u8; 16])>().prop_map(|(src, dst)| Network::Ipv6 {
                src: Ipv6Addr::from(src),
                dst: Ipv6Addr::from(dst),
            }),
        ],
        upper in upper(),
        data in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let ethernet = PacketBuilder::ethernet2(src, dst);
        let v6 = matches!(network, Network::Ipv6 { .. });
        let ip = match (network, vlan) {
            (Network::Ipv4 { src, dst }, None) => ethernet.ipv4(src.octets(), dst.octets(), 64),
            (Network::Ipv4 { src, dst }, Some(vid)) => ethernet
                .single_vlan(VlanId::try_new(vid).expect("12 bits"))
                .ipv4(src.octets(), dst.octets(), 64),
            (Network::Ipv6 { src, dst }, None) => ethernet.ipv6(src.octets(), dst.octets(), 64),
            (Network::Ipv6 { src, dst }, Some(vid)) => ethernet
                .single_vlan(VlanId::try_new(vid).expect("12 bits"))
                .ipv6(src.octets(), dst.octets(), 64),
            _ => unreachable!("the strategy has no other"),
        };
        let mut frame = Vec::new();
        let (protocol, transport) = match upper {
            Upper::Tcp(src_port, dst_port, seq) => {
                ip.tcp(src_port, dst_port, seq, 1024).syn().write(&mut frame, &data).expect("a packet");
                (6, Transport::Tcp { src_port, dst_port, seq, flags: 2 })
            }
            Upper::Udp(src_port, dst_port) => {
                ip.udp(src_port, dst_port).write(&mut frame, &data).expect("a packet");
                (17, Transport::Udp { src_port, dst_port })
            }
            Upper::Echo(id, seq) if v6 => {
                ip.icmpv6_echo_request(id, seq).write(&mut frame, &data).expect("a packet");
                (58, Transport::Icmpv6 { kind: 128, code: 0, id: Some(id) })
            }
            Upper::Echo(id, seq) => {
                ip.icmpv4_echo_request(id, seq).write(&mut frame, &data).expect("a packet");
                (1, Transport::Icmp { kind: 8, code: 0, id: Some(id) })
            }
        };
        let tag_len = if vlan.is_some() { 4 } else { 0 };
        prop_assert_eq!(
            Packet::decode(&frame).summary(),
            Summary {
                dl_src: MacAddr(src),
                dl_dst: MacAddr(dst),
                vlan,
                dl_type: if v6 { 0x86dd } else { 0x0800 },
                network,
                protocol: Some(protocol),
                fragment: Fragment::None,
                transport,
                length: u32::try_from(frame.len() - 14 - tag_len).expect("a short frame"),
            }
        );
    }
}

#[test]
fn outermost_tag_and_innermost_type() {
    let summary = recorded("qinq_ad_udp");
    assert_eq!((summary.vlan, summary.dl_type), (Some(10), 0x0800));
}

#[test]
fn arp() {
    let summary = recorded("arp_request");
    assert_eq!(
        summary.network,
        Network::Arp {
            opcode: 1,
            sha: MacAddr([0xfa, 0x16, 0x3e, 0x11, 0x22, 0x33]),
            spa: Ipv4Addr::new(10, 0, 0, 5),
            tpa: Ipv4Addr::new(10, 0, 0, 1),
        }
    );
    assert_eq!(summary.protocol, None);
}

/// Neutron shows the data of a later fragment as a transport header.
#[test]
fn only_first_fragments_have_ports() {
    let first = recorded("ipv4_frag_first_udp");
    assert_eq!(first.fragment, Fragment::First);
    assert_eq!(
        first.transport,
        Transport::Udp {
            src_port: 1111,
            dst_port: 2222
        }
    );
    for later in ["ipv4_frag_later", "v6_frag_later"] {
        let summary = recorded(later);
        assert_eq!(summary.fragment, Fragment::Later, "{later}");
        assert_eq!(summary.protocol, Some(17), "{later}");
        assert_eq!(summary.transport, Transport::None, "{later}");
    }
}

#[test]
fn upper_layer_after_extension_headers() {
    let syn = |src_port, dst_port| Transport::Tcp {
        src_port,
        dst_port,
        seq: 0,
        flags: 2,
    };
    for (name, protocol, transport) in [
        ("v6_routing_hdr", 6, syn(1, 2)),
        ("v6_hbh_tcp", 6, syn(1, 2)),
        ("v6_ah_tcp", 6, syn(1, 2)),
        (
            "v6_dstopts_route_frag_udp",
            17,
            Transport::Udp {
                src_port: 1,
                dst_port: 2,
            },
        ),
        ("v6_no_next_header", 59, Transport::None),
    ] {
        let summary = recorded(name);
        assert_eq!(summary.protocol, Some(protocol), "{name}");
        assert_eq!(summary.transport, transport, "{name}");
    }
}

/// An options header of 72 bytes: Neutron would take it to have 16.
#[test]
fn options_header_length_is_in_units_of_8() {
    let mut frame = unhex(
        "fa163e445566 fa163e112233 86dd 60000000 0050 0040 \
         20010db8000000000000000000000005 20010db8000000000000000000000006 1108 0144",
    );
    frame.extend([0; 68]);
    frame.extend(unhex("00070009 00080000"));
    let summary = Packet::decode(&frame).summary();
    assert_eq!(summary.protocol, Some(17));
    assert_eq!(
        summary.transport,
        Transport::Udp {
            src_port: 7,
            dst_port: 9
        }
    );
}

#[test]
fn cut_short() {
    assert_eq!(recorded("trunc_20").network, Network::None);
    assert_eq!(recorded("trunc_tcp_40").transport, Transport::None);
    assert_eq!(recorded("trunc_tcp_40").protocol, Some(6));
    assert_eq!(recorded("v6_hbh_truncated").protocol, None);
    assert_eq!(Packet::decode(&[]).summary(), Summary::default());
}

/// ICMP belongs to IPv4 and ICMPv6 to IPv6, though the text knows no such rule.
#[test]
fn icmp_of_the_other_version() {
    let frame = unhex(
        "fa163e445566 fa163e112233 0800 4500001c00000000403a0000 0a0000050a000006 \
         8000000000010001",
    );
    let summary = Packet::decode(&frame).summary();
    assert_eq!(summary.protocol, Some(58));
    assert_eq!(summary.transport, Transport::None);
}
