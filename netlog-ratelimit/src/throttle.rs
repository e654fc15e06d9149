//! A rate that needs no queue: it says yes or no.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Quota;
use crate::gate::{NANOS_A_SECOND, nanos};

/// Lets events through at a rate, and refuses the others.
///
/// This is a leaky bucket: what is let through fills it, one event's worth each, and it empties at
/// the rate. Any window of length *W* sees at most `rate` × *W* + `burst` events.
///
/// A clone shares the bucket, so that a throttle can stand in many places; it has one caller at a
/// time. The bucket takes sixteen bytes, however many events it sees.
#[derive(Clone, Debug)]
pub struct Throttle {
    quota: Quota,
    bucket: Arc<Bucket>,
}

/// One thread writes it.
#[derive(Debug, Default)]
struct Bucket {
    /// What was in it, in billionths of an event.
    level: AtomicU64,
    /// When that was, in nanoseconds.
    at: AtomicU64,
}

/// One event, in billionths: in a nanosecond a rate of one a second earns one of them.
const EVENT: u64 = NANOS_A_SECOND;

impl Throttle {
    /// A throttle with an empty bucket.
    pub fn new(quota: Quota) -> Self {
        Self {
            quota,
            bucket: Arc::default(),
        }
    }

    /// The same bucket with another quota.
    #[must_use]
    pub fn with_quota(&self, quota: Quota) -> Self {
        Self {
            quota,
            bucket: Arc::clone(&self.bucket),
        }
    }

    /// What it lets through.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Whether an event that comes at `now` may pass. Only the one caller may ask.
    pub fn pass(&self, now: Duration) -> bool {
        let Bucket { level, at } = &*self.bucket;
        let (now, before) = (nanos(now), at.load(Ordering::Relaxed));
        let passed = u128::from(now.saturating_sub(before));
        let left = u64::try_from(passed * u128::from(self.quota.rate())).unwrap_or(u64::MAX);
        let filled = level.load(Ordering::Relaxed).saturating_sub(left);
        let room = EVENT * u64::from(self.quota.burst());
        let passes = filled + EVENT <= room;
        let filled = if passes { filled + EVENT } else { filled };
        level.store(filled, Ordering::Relaxed);
        at.store(now.max(before), Ordering::Relaxed);
        passes
    }
}

/// The same quota and the same bucket.
impl PartialEq for Throttle {
    fn eq(&self, other: &Self) -> bool {
        self.quota == other.quota && Arc::ptr_eq(&self.bucket, &other.bucket)
    }
}

impl Eq for Throttle {}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::num::NonZeroU32;

    use governor::clock::Clock;
    use governor::{Quota as GovernorQuota, RateLimiter};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn quota(rate: u64, burst: u64) -> Quota {
        Quota::new(rate, burst).unwrap()
    }

    #[test]
    fn the_ends_of_both_ranges() {
        for (rate, burst, error) in [
            (
                0,
                1,
                "rate_limit = 0: must be from 1 to 1000000000 events a second, \
                 or not set for no limit",
            ),
            (1, 0, "burst_limit = 0: must be from 1 to 1000000 events"),
            (
                1,
                1_000_001,
                "burst_limit = 1000001: must be from 1 to 1000000 events",
            ),
        ] {
            assert_eq!(Quota::new(rate, burst).unwrap_err().to_string(), error);
        }
        let most = Throttle::new(quota(1_000_000_000, 1_000_000));
        assert!((0..1_000_000).all(|_| most.pass(Duration::MAX)));
        assert!(!most.pass(Duration::MAX));
    }

    #[test]
    fn at_once_after_a_quiet_time_and_then_at_the_rate() {
        let throttle = Throttle::new(quota(10, 3));
        let at = |ms: u64| throttle.pass(Duration::from_millis(ms));
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(99), at(100), at(100)], [false, true, false]);
        assert_eq!(
            [at(900), at(900), at(900), at(900)],
            [true, true, true, false]
        );
    }

    #[test]
    fn another_quota_holds_at_once() {
        let slow = Throttle::new(quota(1, 3));
        while slow.pass(Duration::ZERO) {}
        // Three events fill it; at the new rate they are gone after 30 ms, asked or not.
        let fast = slow.with_quota(quota(100, 1));
        let ms = Duration::from_millis;
        assert!(!fast.pass(ms(29)));
        assert!(fast.pass(ms(30)));
        assert!(!fast.clone().pass(ms(30)));
        // Time that steps back earns nothing and takes nothing.
        assert!(!fast.pass(ms(10)));
        assert!(fast.pass(ms(40)));
    }

    #[derive(Default)]
    struct SetClock(Cell<Duration>);

    impl Clock for SetClock {
        type Instant = Duration;

        fn now(&self) -> Duration {
            self.0.get()
        }
    }

    fn any_quota() -> impl Strategy<Value = Quota> {
        (1_u64..2000, 1_u64..40).prop_map(|(rate, burst)| quota(rate, burst))
    }

    fn gap() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0_u64), 0_u64..2_000_000, 0_u64..500_000_000]
    }

    proptest! {
        /// Every answer is governor's.
        #[test]
        fn as_governor(
            // Governor rounds the time of an event to nanoseconds; with these there is nothing
            // to round.
            rate in prop::sample::select(vec![1_u64, 2, 5, 8, 40, 100, 500, 1000, 2_000_000]),
            burst in 1_u64..40,
            gaps in vec(gap(), 1..300),
        ) {
            let quota = quota(rate, burst);
            let burst = NonZeroU32::new(quota.burst()).unwrap();
            let oracle = GovernorQuota::with_period(Duration::from_nanos(EVENT / rate))
                .unwrap()
                .allow_burst(burst);
            let oracle = RateLimiter::direct_with_clock(oracle, SetClock::default());
            let throttle = Throttle::new(quota);
            // Governor counts from the moment that it is made.
            let mut now = Duration::ZERO;
            for gap in gaps {
                now += Duration::from_nanos(gap);
                oracle.clock().0.set(now);
                prop_assert_eq!(throttle.pass(now), oracle.check().is_ok(), "at {:?}", now);
            }
        }

        /// While quotas change, any window sees at most the highest rate × its length + the
        /// highest burst; and when events stop, a whole burst passes again in the time that it
        /// takes to earn the highest.
        #[test]
        fn never_above_the_rate_and_the_burst_while_quotas_change(
            steps in vec((gap(), any_quota(), 0_usize..60), 1..40),
        ) {
            let mut throttle = Throttle::new(steps[0].1);
            let (mut now, mut passed) = (Duration::ZERO, Vec::new());
            for (gap, quota, arrivals) in &steps {
                now += Duration::from_nanos(*gap);
                throttle = throttle.with_quota(*quota);
                passed.extend((0..*arrivals).filter(|_| throttle.pass(now)).map(|_| now));
            }
            let rate = steps.iter().map(|(_, quota, _)| quota.rate()).max().unwrap();
            let burst = steps.iter().map(|(_, quota, _)| quota.burst()).max().unwrap();
            for (first, start) in passed.iter().enumerate() {
                for (last, end) in passed.iter().enumerate().skip(first) {
                    let events = (last - first + 1) as u128;
                    let window = end.saturating_sub(*start).as_nanos();
                    prop_assert!(
                        events.saturating_sub(burst.into()) * u128::from(NANOS_A_SECOND)
                            <= window * u128::from(rate),
                        "{} events in {} ns", events, window
                    );
                }
            }
            let quota = throttle.quota();
            now += Duration::from_nanos(EVENT.div_ceil(quota.rate().into())) * burst;
            let again = (0..=quota.burst()).filter(|_| throttle.pass(now)).count();
            prop_assert_eq!(again, quota.burst() as usize);
        }
    }
}
