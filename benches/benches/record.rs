//! `netlog-core`'s records: each layout of frames that security groups see most.
//!
//! Each frame is a group; `headers` is the text of its headers alone, which is what the other
//! times of the group are to be compared with.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netlog_benches::frames;
use netlog_core::record::{
    Action, Format, Layout, Prefix, Recorder, Scope, Timestamp, TimestampStyle, Verdict, port_text,
};
use netlog_core::rule::Direction;
use netlog_packet::room::Buffer;
use netlog_packet::{Packet, Payload};
use uuid::Uuid;

const LAYOUTS: &[(&str, Layout, TimestampStyle)] = &[
    ("text", Layout::Text, TimestampStyle::Rfc3164),
    ("text_rfc3339", Layout::Text, TimestampStyle::Rfc3339),
    ("neutron", Layout::Neutron, TimestampStyle::None),
    ("json", Layout::Json, TimestampStyle::Rfc3339),
    ("ecs", Layout::Ecs, TimestampStyle::Rfc3339),
    ("ocsf", Layout::Ocsf, TimestampStyle::Rfc3339),
];

fn record(c: &mut Criterion) {
    let rules = [Uuid::from_u128(0x85c3_a9a1_9d5c_4f5e_8f4a_2c41_d0a7_e1b2)];
    let scope = Scope {
        action: Action::Accept,
        project_id: "736672c700cd43e1bd321aeaf940365c",
        logs: &[Uuid::from_u128(0x4522_efdf_8d44_4e19_b237_64ca_fc49_469b)],
    };
    let port = port_text(Uuid::from_u128(0xe025_9ade_86de_482e_a717_f582_58f7_173f));
    for (name, hex) in frames::ALL {
        let frame = frames::bytes(hex);
        let mut line = Buffer::with_capacity(4096);
        let mut group = c.benchmark_group(format!("record/{name}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("headers", |b| {
            b.iter(|| {
                line.clear();
                Packet::decode(black_box(&frame)).write_text(Payload::Omit, &mut line);
                black_box(&line);
            });
        });
        for &(title, layout, timestamp) in LAYOUTS {
            let format = Format {
                layout,
                timestamp,
                ..Format::default()
            };
            let (mut head, mut tail) = (Vec::new(), Vec::new());
            format.head(&scope, &mut head);
            format.tail(Direction::Ingress, &Verdict::Rules(&rules), &mut tail);
            let prefix = Prefix {
                head: &head,
                port: &port,
                tail: &tail,
            };
            let mut recorder = Recorder::new(format);
            let mut time = Timestamp {
                unix_nanos: 1_525_511_107_000_123_456,
                utc_offset: 0,
            };
            group.bench_function(BenchmarkId::from_parameter(title), |b| {
                b.iter(|| {
                    line.clear();
                    // A hundred thousand events a second.
                    time.unix_nanos += 10_000;
                    let packet = Packet::decode(black_box(&frame));
                    recorder.write(time, &prefix, &packet, &mut line);
                    black_box(&line);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, record);
criterion_main!(benches);
