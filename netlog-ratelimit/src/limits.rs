//! The limits an operator may set.

use std::ops::RangeInclusive;

use thiserror::Error;

/// `rate_limit` and `burst_limit`, both within their allowed range, which begins with `MIN_RATE`
/// and `MIN_BURST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded<const MIN_RATE: u32, const MIN_BURST: u32> {
    rate: u32,
    burst: u32,
}

/// What a [`Limiter`](crate::Limiter) releases and queues: Neutron's ranges.
pub type Limits = Bounded<100, 25>;

/// What a [`Throttle`](crate::Throttle) lets through: `rate` events a second, and after a quiet time
/// `burst` at once.
pub type Quota = Bounded<1, 1>;

impl<const MIN_RATE: u32, const MIN_BURST: u32> Bounded<MIN_RATE, MIN_BURST> {
    /// What `rate_limit` may be, in events a second.
    pub const RATE: RangeInclusive<u32> = MIN_RATE..=1_000_000_000;
    /// What `burst_limit` may be, in events. A limiter's queue is allocated when the limit is set,
    /// so the upper end bounds the memory that a typing error can take.
    pub const BURST: RangeInclusive<u32> = MIN_BURST..=1_000_000;

    /// Limits of `rate` events a second and `burst` events queued or at once.
    ///
    /// # Errors
    /// When either lies outside [`Self::RATE`] or [`Self::BURST`]; the text names the
    /// configuration key and what is allowed.
    pub fn new(rate: u64, burst: u64) -> Result<Self, LimitError> {
        let within = |range: RangeInclusive<u32>, value| {
            let value = u32::try_from(value).ok();
            value.filter(|value| range.contains(value))
        };
        let (min_rate, min_burst) = (MIN_RATE, MIN_BURST);
        Ok(Self {
            rate: within(Self::RATE, rate).ok_or(LimitError::Rate {
                rate,
                min: min_rate,
            })?,
            burst: within(Self::BURST, burst).ok_or(LimitError::Burst {
                burst,
                min: min_burst,
            })?,
        })
    }

    /// Events a second.
    pub fn rate(self) -> u32 {
        self.rate
    }

    /// Events queued, or at once, at most.
    pub fn burst(self) -> u32 {
        self.burst
    }
}

/// A limit that is out of range.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LimitError {
    /// `rate_limit` is out of range.
    #[error(
        "rate_limit = {rate}: must be from {min} to {max} events a second, or not set for no limit",
        max = Limits::RATE.end()
    )]
    Rate {
        /// What it was to be.
        rate: u64,
        /// The least that it may be.
        min: u32,
    },
    /// `burst_limit` is out of range.
    #[error(
        "burst_limit = {burst}: must be from {min} to {max} events",
        max = Limits::BURST.end()
    )]
    Burst {
        /// What it was to be.
        burst: u64,
        /// The least that it may be.
        min: u32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(rate: u64) -> LimitError {
        LimitError::Rate { rate, min: 100 }
    }

    fn burst(burst: u64) -> LimitError {
        LimitError::Burst { burst, min: 25 }
    }

    #[test]
    fn the_ends_of_both_ranges() {
        for (rate, burst, expected) in [
            (100, 25, Ok((100, 25))),
            (1_000_000_000, 1_000_000, Ok((1_000_000_000, 1_000_000))),
            (99, 25, Err(rate(99))),
            (0, 25, Err(rate(0))),
            (100, 24, Err(burst(24))),
            (100, 1_000_001, Err(burst(1_000_001))),
            (u64::MAX, 25, Err(rate(u64::MAX))),
            (4_294_967_396, 25, Err(rate(4_294_967_396))),
        ] {
            let limits = Limits::new(rate, burst).map(|limits| (limits.rate(), limits.burst()));
            assert_eq!(limits, expected, "rate {rate}, burst {burst}");
        }
    }

    #[test]
    fn errors_name_the_key_and_what_is_allowed() {
        assert_eq!(
            rate(50).to_string(),
            "rate_limit = 50: must be from 100 to 1000000000 events a second, \
             or not set for no limit"
        );
        assert_eq!(
            burst(5).to_string(),
            "burst_limit = 5: must be from 25 to 1000000 events"
        );
    }
}
