//! How long to wait before connecting again.

use std::time::Duration;

/// Waits that double from a first to a greatest one.
///
/// ```
/// use std::time::Duration;
/// use netlog_ofp::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
/// assert_eq!(backoff.next_wait(), Duration::from_millis(100));
/// assert_eq!(backoff.next_wait(), Duration::from_millis(200));
/// assert_eq!(backoff.next_wait(), Duration::from_millis(300));
/// backoff.reset(); // the connection is ready
/// assert_eq!(backoff.next_wait(), Duration::from_millis(100));
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    greatest: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `first`, doubling, up to `greatest`.
    pub const fn new(first: Duration, greatest: Duration) -> Self {
        Self {
            first,
            greatest,
            next: first,
        }
    }

    /// How long to wait now.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.next.min(self.greatest);
        self.next = wait.saturating_mul(2);
        wait
    }

    /// Begins anew, after a success.
    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}
