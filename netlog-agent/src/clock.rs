//! The clocks. Nothing else in the product reads one.

use std::time::Duration;

use jiff::tz::TimeZone;
use netlog_core::record::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};
use time::UtcDateTime;

/// Time since the host started, which never steps.
pub fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// The time of day in UTC, to the second.
pub fn utc_now() -> UtcDateTime {
    let now = utc_exact();
    now.replace_nanosecond(0).unwrap_or(now)
}

/// The time of day in UTC, as exact as the system knows it.
pub fn utc_exact() -> UtcDateTime {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    let nanos = i128::from(tv_sec) * 1_000_000_000 + i128::from(tv_nsec);
    UtcDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(UtcDateTime::UNIX_EPOCH)
}

/// The time of day with the local time zone, for records.
#[derive(Debug)]
pub struct LocalClock {
    zone: TimeZone,
    /// The offset was looked up for this second.
    second: i64,
    utc_offset: i32,
}

impl LocalClock {
    /// A clock in the host's time zone.
    pub fn new() -> Self {
        Self {
            zone: TimeZone::system(),
            second: i64::MIN,
            utc_offset: 0,
        }
    }

    /// The time now. The time zone is asked once a second.
    pub fn now(&mut self) -> Timestamp {
        let time = clock_gettime(ClockId::Realtime);
        if time.tv_sec != self.second {
            self.second = time.tv_sec;
            self.utc_offset = jiff::Timestamp::from_second(time.tv_sec)
                .map_or(0, |now| self.zone.to_offset(now).seconds());
        }
        let unix_nanos = time
            .tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(time.tv_nsec);
        Timestamp {
            unix_nanos,
            utc_offset: self.utc_offset,
        }
    }
}

impl Default for LocalClock {
    fn default() -> Self {
        Self::new()
    }
}
