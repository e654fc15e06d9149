//! Each stage of the data path, and all of them together, in memory.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netlog_benches::name;
use netlog_benches::stages::Stage;
use netlog_benches::stream::Mix;

/// Records in one measurement: as many as a batch has.
const RECORDS: usize = 64;

fn stages(c: &mut Criterion) {
    for stage in Stage::ALL {
        let mut group = c.benchmark_group(format!("stages/{}", name(stage)));
        group.throughput(Throughput::Elements(RECORDS as u64));
        for ports in [200, 10_000] {
            let mut prepared = stage
                .prepare(Mix::Syn, ports)
                .unwrap_or_else(|error| panic!("{}: {error}", name(stage)));
            group.bench_function(BenchmarkId::new("ports", ports), |b| {
                b.iter(|| prepared.run(RECORDS));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, stages);
criterion_main!(benches);
