//! `netlog-packet`: the facts that classification needs, and the text of the
//! headers, for frames that security groups see most.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netlog_benches::frames;
use netlog_packet::room::Buffer;
use netlog_packet::{Packet, Payload};

fn summary(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet/summary");
    group.throughput(Throughput::Elements(1));
    for (name, hex) in frames::ALL {
        let frame = frames::bytes(hex);
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
        for (name, hex) in frames::ALL {
            let frame = frames::bytes(hex);
            let mut line = Buffer::with_capacity(4096);
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
