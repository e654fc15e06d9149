//! Waiting for the real world: always for a condition, never for long.

use std::thread;
use std::time::{Duration, Instant};

use crate::LabError;

/// How long anything in the lab may take before it counts as hung. The machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Asks `ready` again and again until it answers, for at most `limit`.
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut ready: impl FnMut() -> Result<Option<T>, LabError>,
) -> Result<T, LabError> {
    let deadline = now() + limit;
    loop {
        if let Some(answer) = ready()? {
            return Ok(answer);
        }
        if now() >= deadline {
            return Err(LabError::Timeout {
                what: what.to_owned(),
                limit,
            });
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the lab waits for real processes"
)]
fn now() -> Instant {
    Instant::now()
}
