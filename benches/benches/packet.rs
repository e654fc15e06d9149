//! `netlog-packet`: the facts that classification needs, and the text of the
//! headers, for frames that security groups see most.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netlog_packet::{Packet, Payload};

/// Name and hex of a frame.
const FRAMES: &[(&str, &str)] = &[
    (
        "tcp_syn",
        "fa163e445566fa163e11223308004500003c123440004006f9d30a000005c0a86407\
         a8ca01bb1122334400000000a002faf05afe0000020405b40402080a075bcd150000000001030307",
    ),
    (
        "udp_dns",
        "fa163e445566fa163e11223308004500004b12340000401139ba0a000005c0a864079c4000350037f51e\
         beef0100000100000000000003777777076578616d706c6503636f6d096f70656e737461636b036f7267\
         0000010001",
    ),
    (
        "icmpv6_ns",
        "3333ff000007fa163e11223386dd6000000000203afffe800000000000000000000000000001\
         ff0200000000000000000001ff0000078700f2fa0000000020010db80000000000000000000000070101\
         fa163e112233",
    ),
    (
        "vlan_tcp",
        "fa163e445566fa163e1122338100606508004500004312340000400639cd0a000005c0a86407\
         00010016ffffffff80000000501820008d300000\
         474554202f20485454502f312e310d0a486f73743a20780d0a0d0a",
    ),
    (
        "ipv4_fragment",
        "fa163e445566fa163e112233080045000054123420b9401118f80a000005c0a86407\
         4242424242424242424242424242424242424242424242424242424242424242\
         4242424242424242424242424242424242424242424242424242424242424242",
    ),
];

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn summary(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet/summary");
    group.throughput(Throughput::Elements(1));
    for (name, hex) in FRAMES {
        let frame = unhex(hex);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| Packet::decode(black_box(&frame)).summary());
        });
    }
    group.finish();
}

fn text(c: &mut Criterion) {
    for (title, payload) in [
        ("packet/text", Payload::Omit),
        ("packet/text_payload", Payload::Include),
    ] {
        let mut group = c.benchmark_group(title);
        group.throughput(Throughput::Elements(1));
        for (name, hex) in FRAMES {
            let frame = unhex(hex);
            let mut line = Vec::with_capacity(4096);
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter(|| {
                    line.clear();
                    Packet::decode(black_box(&frame)).write_text(payload, &mut line);
                    black_box(&line);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, summary, text);
criterion_main!(benches);
