//! The audit log: where entries about the logging itself go.
//!
//! What an entry says is decided in [`netlog_core::audit`]. It is written to a file of its own, or
//! sent to the local syslog with a facility of its own (`authpriv`, for messages that concern
//! security and not everyone), so that it never stands among security events: the configuration
//! refuses to give both one file or one facility.
//!
//! Writing happens on a thread of its own, as with the security event log. An entry that finds the
//! queue full goes to the agent's own log, and so does the news of entries that were not written.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use netlog_core::audit::{Action, Event, Host, MoreRefused, Outcome, Refusals, Resource};
use netlog_core::inventory::Port;
use netlog_core::log::LogObject;
use netlog_ratelimit::Quota;
use netlog_sink::Worker;
use tracing::error;
use uuid::Uuid;

use crate::clock;
use crate::limits;

/// The audit log. Whoever has something to tell has it told here.
pub struct Audit {
    agent: Resource,
    refusals: Mutex<Refusals>,
    write: Box<dyn Fn(String) + Send + Sync>,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

impl Audit {
    /// An audit log whose lines are handed to `write`, which must not wait.
    pub fn new(write: impl Fn(String) + Send + Sync + 'static) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let agent = Resource {
            host: Some(Host {
                address: host.trim_end().to_owned(),
                agent: Some(concat!("netlog-agent/", env!("CARGO_PKG_VERSION")).to_owned()),
            }),
            ..Resource::new("service/network/netlog", "netlog-agent")
        };
        Self {
            agent,
            refusals: Mutex::default(),
            write: Box::new(write),
        }
    }

    /// An audit log that a sink writes.
    pub fn to_sink(worker: &Worker) -> Self {
        let handle = Mutex::new(worker.handle());
        let counters = worker.counters();
        let reported = AtomicU64::new(0);
        Self::new(move |line| {
            let failed = counters.read().failed_total();
            if failed > reported.swap(failed, Ordering::Relaxed) {
                error!(failed, "entries of the audit log were not written");
            }
            let handle = handle.lock().unwrap_or_else(PoisonError::into_inner);
            let mut batch = handle.batch();
            batch.push(|bytes| bytes.extend_from_slice(line.as_bytes()));
            if handle.try_send(batch).is_err() {
                error!("the audit log cannot take this entry: {line}");
            }
        })
    }

    /// Writes an entry, observed by the agent now.
    pub fn record(&self, event: &Event) {
        let time = clock::utc_exact();
        (self.write)(event.to_line(Uuid::new_v4(), time, &self.agent));
    }

    /// An attempt from `source` was refused with `code`: an entry, or one of many that are counted
    /// in one.
    pub fn refused(&self, source: &str, code: u16, event: impl FnOnce() -> Event) {
        let (now, time) = (clock::monotonic(), clock::utc_exact());
        let (more, told) = {
            let mut refusals = self.refusals();
            (refusals.end(now), refusals.tell(source, code, now, time))
        };
        self.more_refused(more);
        if told {
            self.record(&event());
        }
    }

    /// Writes what is due of refused attempts that were counted.
    pub fn tell_refused(&self) {
        let more = self.refusals().end(clock::monotonic());
        self.more_refused(more);
    }

    /// Writes all that was counted of refused attempts.
    pub fn tell_all_refused(&self) {
        let more = self.refusals().end_now();
        self.more_refused(more);
    }

    fn more_refused(&self, more: Vec<MoreRefused>) {
        for more in more {
            self.record(&more.event(self.agent()));
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent itself, which starts, stops and does things of its own accord.
    pub fn agent(&self) -> Resource {
        self.agent.clone()
    }

    /// The agent did something, or tried.
    pub fn did(&self, action: Action, outcome: Outcome, target: Resource) -> Event {
        Event::activity(action, outcome, self.agent(), target)
    }

    /// The agent sees the state of something.
    pub fn saw(&self, outcome: Outcome, target: Resource) -> Event {
        Event::monitor(outcome, self.agent(), target)
    }
}

/// A log object in an entry.
pub fn log(log: &LogObject) -> Resource {
    Resource {
        name: Some(log.name.clone()).filter(|name| !name.is_empty()),
        project_id: Some(log.project_id.clone()),
        ..unknown_log(&log.id.to_string())
    }
}

/// A log object that a caller named and that may not exist.
pub fn unknown_log(id: &str) -> Resource {
    Resource::new("service/network/log", id)
}

/// Adds what became of a log object: nothing before its creation, nothing after its end.
pub fn change(event: Event, before: Option<&LogObject>, after: Option<&LogObject>) -> Event {
    let attach = |event: Event, name, log: Option<&LogObject>| match log.map(LogObject::to_json) {
        Some(log) => event.object(name, log),
        None => event,
    };
    let event = attach(event, "before", before);
    attach(event, "after", after)
}

/// The host's limits in an entry.
pub fn limits() -> Resource {
    Resource::new("data/config/limits", "host")
}

/// Someone put other limits in force.
pub fn limits_changed(initiator: Resource, change: limits::Change) -> Event {
    Event::activity(Action::Configure, Outcome::Success, initiator, limits())
        .object("before", change.before.to_json())
        .object("after", change.after.to_json())
}

/// Someone gave a log object another limit, or took it away.
pub fn log_limit_changed(initiator: Resource, change: &limits::LogChange) -> Event {
    let target = unknown_log(&change.log.to_string());
    let event = Event::activity(Action::Configure, Outcome::Success, initiator, target);
    let attach = |event: Event, name, quota: Option<Quota>| match quota {
        Some(quota) => event.object(name, limits::quota_json(quota)),
        None => event,
    };
    let event = attach(event, "before", change.before);
    attach(event, "after", change.after)
}

/// A port in an entry, which the inventory may not hold any more.
pub fn port(id: Uuid, port: Option<&Port>) -> Resource {
    Resource {
        name: port
            .map(|port| port.name.clone())
            .filter(|name| !name.is_empty()),
        project_id: port.map(|port| port.project_id.clone()),
        ..Resource::new("service/network/port", id.to_string())
    }
}

/// A bridge in an entry.
pub fn bridge(name: &str) -> Resource {
    Resource::new("service/network/bridge", name)
}

/// A file that says how the agent works.
pub fn file(type_uri: &'static str, path: &std::path::Path) -> Resource {
    Resource::new(type_uri, path.display().to_string())
}
