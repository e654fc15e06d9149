//! The rate: governor's GCRA on a clock that stands where it is put.

use std::cell::Cell;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use crate::Limits;

/// Lets events through no closer together than one period of the rate.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    period: Duration,
    limiter: RateLimiter<NotKeyed, InMemoryState, SetClock, NoOpMiddleware<Nanos>>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        Self::with_state(limits, InMemoryState::default())
    }

    /// The gate at another rate; what it let through last still counts.
    pub(crate) fn change(self, limits: Limits) -> Self {
        Self::with_state(limits, self.limiter.into_state_store())
    }

    fn with_state(limits: Limits, state: InMemoryState) -> Self {
        // Rounded up: a shorter period would let more through than the rate.
        let period = Duration::from_nanos(NANOS_A_SECOND.div_ceil(u64::from(limits.rate())));
        // Of one cell and no burst: bursts go into the queue.
        let quota = Quota::with_period(period).expect("rounded up, a period is never zero");
        Self {
            limits,
            period,
            limiter: RateLimiter::new(quota, state, SetClock::default()),
        }
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The least time between two events.
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    /// Lets one event through at `at`, or says when the next may pass.
    pub(crate) fn pass(&self, at: Duration) -> Result<(), Duration> {
        self.limiter.clock().0.set(nanos(at));
        self.limiter
            .check()
            .map_err(|not_until| Duration::from_nanos(not_until.earliest_possible().as_u64()))
    }
}

pub(crate) const NANOS_A_SECOND: u64 = 1_000_000_000;

/// Time as governor counts it. Past 292 years it stands still, which leaves room for additions.
pub(crate) fn nanos(time: Duration) -> u64 {
    const END: u64 = u64::MAX / 2;
    time.as_secs()
        .checked_mul(NANOS_A_SECOND)
        .map_or(END, |whole| {
            whole
                .saturating_add(u64::from(time.subsec_nanos()))
                .min(END)
        })
}

/// A clock that shows what it was last set to, in nanoseconds.
#[derive(Debug, Default)]
struct SetClock(Cell<u64>);

impl Clock for SetClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.0.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(rate: u64) -> Gate {
        Gate::new(Limits::new(rate, 25).unwrap())
    }

    #[test]
    fn one_event_a_period() {
        let gate = gate(1000);
        let ms = Duration::from_millis;
        assert_eq!(gate.pass(ms(5)), Ok(()));
        assert_eq!(gate.pass(ms(5)), Err(ms(6)));
        assert_eq!(gate.pass(Duration::from_nanos(5_999_999)), Err(ms(6)));
        assert_eq!(gate.pass(ms(6)), Ok(()));
        // Idle time earns nothing.
        assert_eq!(gate.pass(ms(100)), Ok(()));
        assert_eq!(gate.pass(ms(100)), Err(ms(101)));
    }

    #[test]
    fn a_period_is_rounded_up() {
        for rate in [100, 300, 999_999, 1_000_001, 999_999_999, 1_000_000_000_u64] {
            let period = gate(rate).period().as_nanos();
            assert!(
                period * u128::from(rate) >= 1_000_000_000,
                "rate {rate}, period {period}"
            );
        }
    }

    #[test]
    fn a_change_of_rate_remembers_the_last_event() {
        let gate = gate(100);
        assert_eq!(gate.pass(Duration::ZERO), Ok(()));
        let gate = gate.change(Limits::new(1000, 25).unwrap());
        assert_eq!(
            gate.pass(Duration::from_millis(9)),
            Err(Duration::from_millis(10))
        );
        assert_eq!(gate.pass(Duration::from_millis(10)), Ok(()));
        assert_eq!(
            gate.pass(Duration::from_millis(10)),
            Err(Duration::from_millis(11))
        );
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let gate = gate(100);
        assert_eq!(gate.pass(Duration::MAX), Ok(()));
        assert!(gate.pass(Duration::MAX).is_err());
    }
}
