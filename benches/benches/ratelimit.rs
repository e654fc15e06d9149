//! `netlog-ratelimit`: what the limiter costs an event, against governor alone, which only says
//! yes or no. One port floods, or many take part.

use std::cell::Cell;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use governor::RateLimiter;
use governor::clock::Clock;
use netlog_ratelimit::{Limiter, Limits, Quota, Throttle};

const PORTS: [u32; 3] = [1, 1_000, 100_000];
const BURST: u64 = 1_000;

/// As much of an event as the agent queues.
type Event = [u64; 4];

fn limited(rate: u64) -> Limiter<Event> {
    Limiter::new(Limits::new(rate, BURST).ok())
}

/// Calls `event` with a port and a time for each event: ports in an order without pattern, times
/// a microsecond apart.
fn bench(c: &mut Criterion, name: &str, ports: u32, mut event: impl FnMut(u32, Duration)) {
    let mut group = c.benchmark_group(format!("ratelimit/{name}"));
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::new("ports", ports), |b| {
        let (mut now, mut state) = (Duration::ZERO, 1_u32);
        b.iter(|| {
            now += Duration::from_micros(1);
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            event((state >> 8) % ports, now);
        });
    });
    group.finish();
}

/// Within the limits, every event passes.
fn pass(c: &mut Criterion) {
    let mut unlimited: Limiter<Event> = Limiter::new(None);
    bench(c, "unlimited", 1_000, |port, now| {
        let _ = black_box(unlimited.admit(port, black_box([0; 4]), now));
    });
    for ports in PORTS {
        let mut limiter = limited(1_000_000);
        bench(c, "pass", ports, |port, now| {
            let _ = black_box(limiter.admit(port, black_box([0; 4]), now));
        });
    }
}

/// At twice the rate: each second event is released, the queue is full, and one is refused.
fn overload(c: &mut Criterion) {
    for ports in PORTS {
        let mut limiter = limited(500_000);
        bench(c, "overload", ports, |port, now| {
            while let Some(released) = limiter.release(now) {
                black_box(released);
            }
            let _ = black_box(limiter.admit(port, black_box([0; 4]), now));
        });
    }
}

/// A flood from one port, which fills the queue, and events of others, which find a place in it.
fn flood(c: &mut Criterion) {
    for ports in PORTS {
        let mut limiter = limited(100_000);
        bench(c, "flood", ports, |port, now| {
            while let Some(released) = limiter.release(now) {
                black_box(released);
            }
            let _ = black_box(limiter.admit(0, black_box([0; 4]), now));
            let _ = black_box(limiter.admit(port, black_box([0; 4]), now));
        });
    }
}

/// Limits of log objects, each of its own port: at half the rate of the events of each.
fn throttle(c: &mut Criterion) {
    for ports in PORTS {
        let rate = u64::from(500_000 / ports).max(1);
        let Ok(quota) = Quota::new(rate, 25) else {
            continue;
        };
        let throttles: Vec<Throttle> = (0..ports).map(|_| Throttle::new(quota)).collect();
        bench(c, "throttle", ports, |port, now| {
            black_box(throttles[port as usize].pass(now));
        });
    }
}

/// The clock that governor is given: set from the argument, as the limiter's own is.
#[derive(Clone, Default)]
struct SetClock(Cell<Duration>);

impl Clock for SetClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.get()
    }
}

/// Governor alone, at half the rate of the events: one limiter for all ports, and one for each.
fn plain_governor(c: &mut Criterion) {
    let quota = governor::Quota::per_second(NonZeroU32::MIN.saturating_add(499_999));
    for ports in PORTS {
        let limiter = RateLimiter::direct_with_clock(quota, SetClock::default());
        bench(c, "governor_direct", ports, |_, now| {
            limiter.clock().0.set(now);
            let _ = black_box(limiter.check());
        });
        let limiter = RateLimiter::hashmap_with_clock(quota, SetClock::default());
        bench(c, "governor_keyed", ports, |port, now| {
            limiter.clock().0.set(now);
            let _ = black_box(limiter.check_key(&port));
        });
    }
}

criterion_group!(benches, pass, overload, flood, throttle, plain_governor);
criterion_main!(benches);
