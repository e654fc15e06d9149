//! The limits an operator may set.

use std::ops::RangeInclusive;

use thiserror::Error;

/// `rate_limit` and `burst_limit`, both within their allowed range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    rate: u32,
    burst: u32,
}

impl Limits {
    /// What `rate_limit` may be, in events a second.
    pub const RATE: RangeInclusive<u32> = 100..=1_000_000_000;
    /// What `burst_limit` may be, in events. The queue is allocated when the limit is set, so the
    /// upper end bounds the memory that a typing error can take.
    pub const BURST: RangeInclusive<u32> = 25..=1_000_000;

    /// Limits of `rate` events a second and `burst` events queued.
    ///
    /// # Errors
    /// When either lies outside [`Self::RATE`] or [`Self::BURST`]; the text names the
    /// configuration key and what is allowed.
    pub fn new(rate: u64, burst: u64) -> Result<Self, LimitError> {
        Ok(Self {
            rate: within(&Self::RATE, rate).ok_or(LimitError::Rate(rate))?,
            burst: within(&Self::BURST, burst).ok_or(LimitError::Burst(burst))?,
        })
    }

    /// Events a second.
    pub fn rate(self) -> u32 {
        self.rate
    }

    /// Events queued at most.
    pub fn burst(self) -> u32 {
        self.burst
    }
}

pub(crate) fn within(range: &RangeInclusive<u32>, value: u64) -> Option<u32> {
    u32::try_from(value)
        .ok()
        .filter(|value| range.contains(value))
}

/// A limit that is out of range.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LimitError {
    /// `rate_limit` is out of range.
    #[error(
        "rate_limit = {0}: must be from {min} to {max} events a second, or not set for no limit",
        min = Limits::RATE.start(),
        max = Limits::RATE.end()
    )]
    Rate(u64),
    /// `burst_limit` is out of range.
    #[error(
        "burst_limit = {0}: must be from {min} to {max} events",
        min = Limits::BURST.start(),
        max = Limits::BURST.end()
    )]
    Burst(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_both_ranges() {
        for (rate, burst, expected) in [
            (100, 25, Ok((100, 25))),
            (1_000_000_000, 1_000_000, Ok((1_000_000_000, 1_000_000))),
            (99, 25, Err(LimitError::Rate(99))),
            (0, 25, Err(LimitError::Rate(0))),
            (100, 24, Err(LimitError::Burst(24))),
            (100, 1_000_001, Err(LimitError::Burst(1_000_001))),
            (u64::MAX, 25, Err(LimitError::Rate(u64::MAX))),
            (4_294_967_396, 25, Err(LimitError::Rate(4_294_967_396))),
        ] {
            let limits = Limits::new(rate, burst).map(|limits| (limits.rate(), limits.burst()));
            assert_eq!(limits, expected, "rate {rate}, burst {burst}");
        }
    }

    #[test]
    fn errors_name_the_key_and_what_is_allowed() {
        assert_eq!(
            LimitError::Rate(50).to_string(),
            "rate_limit = 50: must be from 100 to 1000000000 events a second, \
             or not set for no limit"
        );
        assert_eq!(
            LimitError::Burst(5).to_string(),
            "burst_limit = 5: must be from 25 to 1000000 events"
        );
    }
}
