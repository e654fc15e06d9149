//! The host's limits: as the configuration sets them, and as they are set at run time.
//!
//! What the configuration says is in force from the start. An administrator can set other limits
//! through the API; these hold until the agent starts again, until they are taken back
//! (`DELETE /v1/limits`), or until SIGHUP finds limits in the configuration that are not those of
//! before. A SIGHUP that only rotates log files so leaves them alone.
//!
//! Inside these, a log object can have a limit of its own. It is kept with the log object, in the
//! store, and goes with it.
//!
//! The thread that reads packet-ins takes no lock: it looks at what [`HostLimits::in_force`]
//! gives, which is swapped in whole.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use netlog_ratelimit::{LimitError, Limits, Quota};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::NetworkLog;

/// `rate_limit` and `burst_limit` as an operator sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Events a second; `None` for no limit.
    pub rate: Option<u32>,
    /// Events queued at most, once there is a limit.
    pub burst: u32,
}

impl Setting {
    /// A setting within the allowed range.
    ///
    /// # Errors
    /// When one of the two is out of range.
    pub fn new(rate: Option<u64>, burst: u64) -> Result<Self, LimitError> {
        let lowest = u64::from(*Limits::RATE.start());
        let limits = Limits::new(rate.unwrap_or(lowest), burst)?;
        Ok(Self {
            rate: rate.map(|_| limits.rate()),
            burst: limits.burst(),
        })
    }

    /// What the configuration says.
    ///
    /// # Errors
    /// When one of the two is out of range.
    pub fn configured(config: &NetworkLog) -> Result<Self, LimitError> {
        Self::new(config.rate_limit.map(u64::from), config.burst_limit.into())
    }

    /// The limits that it stands for.
    pub fn limits(self) -> Option<Limits> {
        // Both were within range when this was made.
        Limits::new(self.rate?.into(), self.burst.into()).ok()
    }

    /// As the API shows it.
    pub fn to_json(self) -> Value {
        json!({"rate_limit": self.rate, "burst_limit": self.burst})
    }
}

/// A log object's limit as the API shows it.
pub fn quota_json(quota: Quota) -> Value {
    json!({"rate_limit": quota.rate(), "burst_limit": quota.burst()})
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What was in force.
    pub before: Setting,
    /// What is in force now.
    pub after: Setting,
}

/// What became of a log object's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogChange {
    /// The log object.
    pub log: Uuid,
    /// The limit that it had.
    pub before: Option<Quota>,
    /// The limit that it has now.
    pub after: Option<Quota>,
}

/// The limits of a host.
#[derive(Debug)]
pub struct HostLimits {
    in_force: Arc<ArcSwap<Option<Limits>>>,
    settings: Mutex<Settings>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    configured: Setting,
    current: Setting,
}

impl HostLimits {
    /// Limits as configured.
    pub fn new(configured: Setting) -> Self {
        Self {
            in_force: Arc::new(ArcSwap::from_pointee(configured.limits())),
            settings: Mutex::new(Settings {
                configured,
                current: configured,
            }),
        }
    }

    /// The limits in force, for the thread that applies them.
    pub fn in_force(&self) -> Arc<ArcSwap<Option<Limits>>> {
        Arc::clone(&self.in_force)
    }

    /// What is in force now.
    pub fn current(&self) -> Setting {
        self.lock().current
    }

    /// What the configuration said last.
    pub fn configured(&self) -> Setting {
        self.lock().configured
    }

    /// Puts in force what `change` makes of the setting that is, and tells what came of it.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn set<E>(&self, change: impl FnOnce(Setting) -> Result<Setting, E>) -> Result<Change, E> {
        let mut settings = self.lock();
        let after = change(settings.current)?;
        Ok(self.put(&mut settings, after))
    }

    /// Puts in force what is configured.
    pub fn reset(&self) -> Change {
        let mut settings = self.lock();
        let configured = settings.configured;
        self.put(&mut settings, configured)
    }

    /// The configuration was read again. It is put in force if it is not what it was before.
    pub fn configure(&self, configured: Setting) -> Change {
        let mut settings = self.lock();
        let before = std::mem::replace(&mut settings.configured, configured);
        let after = if configured == before {
            settings.current
        } else {
            configured
        };
        self.put(&mut settings, after)
    }

    fn put(&self, settings: &mut Settings, after: Setting) -> Change {
        let before = std::mem::replace(&mut settings.current, after);
        self.in_force.store(Arc::new(after.limits()));
        Change { before, after }
    }

    fn lock(&self) -> MutexGuard<'_, Settings> {
        // Settings are written whole, so that a panic elsewhere leaves none half written.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(rate: u64, burst: u64) -> Setting {
        Setting::new(Some(rate), burst).unwrap()
    }

    #[test]
    fn what_wins() {
        let limits = HostLimits::new(setting(1000, 100));
        let in_force = limits.in_force();
        let rate = || (**in_force.load()).map(Limits::rate);
        assert_eq!(rate(), Some(1000));

        // Set at run time, it holds while the configuration says what it said before.
        limits
            .set(|_| Ok::<_, LimitError>(setting(500, 100)))
            .unwrap();
        assert_eq!(rate(), Some(500));
        limits.configure(setting(1000, 100));
        assert_eq!(rate(), Some(500));
        let change = limits.configure(setting(2000, 100));
        assert_eq!(
            (change.before, change.after),
            (setting(500, 100), setting(2000, 100))
        );
        assert_eq!(rate(), Some(2000));

        // Taken back.
        limits
            .set(|now| Setting::new(None, now.burst.into()))
            .unwrap();
        assert_eq!(rate(), None);
        limits.reset();
        assert_eq!(rate(), Some(2000));
        assert_eq!(limits.current(), limits.configured());
    }

    #[test]
    fn a_setting_is_within_range_with_and_without_a_rate() {
        assert_eq!(
            Setting::new(Some(99), 25),
            Err(LimitError::Rate { rate: 99, min: 100 })
        );
        let burst = LimitError::Burst { burst: 24, min: 25 };
        assert_eq!(Setting::new(Some(100), 24), Err(burst));
        assert_eq!(Setting::new(None, 24), Err(burst));
        let unlimited = Setting::new(None, 25).unwrap();
        assert_eq!(unlimited.limits(), None);
        assert_eq!(
            unlimited.to_json(),
            json!({"rate_limit": null, "burst_limit": 25})
        );
    }
}
