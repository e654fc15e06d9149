//! The host's limits and those of log objects, `/v1/limits`: netlog's own.
//!
//! ```json
//! {"limits": {"rate_limit": 500, "burst_limit": 100,
//!             "logs": {"4522efdf-8d44-4e19-b237-64cafc49469b": {"rate_limit": 10, "burst_limit": 25}}},
//!  "configured": {"rate_limit": 1000, "burst_limit": 100}}
//! ```
//!
//! `limits` is what is in force. A `PUT` with an object `limits` changes what it names: `null` in
//! the place of a rate is no limit, and in that of a log object's limit takes it away. `DELETE`
//! goes back to what is configured; it leaves the limits of log objects alone.

use std::collections::BTreeMap;

use axum::http::Method;
use netlog_core::log::LogError;
use netlog_ratelimit::{Limits, Quota};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::reply::LimitChanges;
use super::{Api, Context, Reply, Request};
use crate::limits::{Setting, quota_json};

const READ: &str = "get_agent_status";
const UPDATE: &str = "update_agent_limits";

const RATE: &str = "rate_limit";
const BURST: &str = "burst_limit";
const LOGS: &str = "logs";

impl Api {
    /// `/v1/limits`
    pub(super) fn limits(&self, request: &Request, context: &Context) -> Reply {
        let may = |rule| self.allows(context, rule, &json!({}));
        let reply = match request.method {
            Method::GET if !may(READ) => Ok(Reply::forbidden(READ)),
            Method::GET => self.show_limits(),
            Method::HEAD => Ok(Reply::head_not_allowed()),
            Method::PUT | Method::DELETE if !may(UPDATE) => Ok(Reply::forbidden(UPDATE)),
            Method::PUT => self.set_limits(&request.body),
            Method::DELETE => Ok(Reply::deleted().after_limits(LimitChanges {
                host: Some(self.limits.reset()),
                logs: Vec::new(),
            })),
            _ => Ok(Reply::method_not_allowed()),
        };
        reply.unwrap_or_else(|refused| refused)
    }

    fn show_limits(&self) -> Result<Reply, Reply> {
        let logs: BTreeMap<Uuid, Value> = self
            .store
            .log_limits()?
            .into_iter()
            .map(|(log, quota)| (log, quota_json(quota)))
            .collect();
        let mut limits = self.limits.current().to_json();
        limits[LOGS] = json!(logs);
        Ok(Reply::ok(json!({
            "limits": limits,
            "configured": self.limits.configured().to_json(),
        })))
    }

    /// Changes all that a body names, or nothing.
    fn set_limits(&self, body: &[u8]) -> Result<Reply, Reply> {
        let asked = asked(body)?;
        let mut logs = Vec::new();
        let host = self.limits.set(|now| {
            let rate = match asked.get(RATE) {
                Some(Value::Null) => None,
                rate => number(RATE, rate)?.or_else(|| now.rate.map(u64::from)),
            };
            let burst = number(BURST, asked.get(BURST))?;
            let host = Setting::new(rate, burst.unwrap_or_else(|| now.burst.into()))
                .map_err(Reply::bad_request)?;
            if let Some(asked) = asked.get(LOGS) {
                let missing = |log: Uuid| Reply::from(LogError::LogNotFound(log.to_string()));
                logs = self
                    .store
                    .update_log_limits(|limits| log_limits(asked, limits), missing)?;
            }
            Ok::<_, Reply>(host)
        })?;
        let host = Some(host);
        Ok(self
            .show_limits()?
            .after_limits(LimitChanges { host, logs }))
    }
}

/// The limits that a body names.
fn asked(body: &[u8]) -> Result<Map<String, Value>, Reply> {
    let form = || {
        Reply::bad_request(
            "the body must be {\"limits\": {\"rate_limit\": N, \"burst_limit\": N, \"logs\": \
             {ID: {\"rate_limit\": N, \"burst_limit\": N}}}}; what is left out stays as it is, and \
             null is no limit",
        )
    };
    let body: Value = serde_json::from_slice(body).map_err(|_| form())?;
    match body {
        Value::Object(mut body) => match body.remove("limits") {
            Some(Value::Object(limits)) if body.is_empty() => {
                refuse_others(&limits, &[RATE, BURST, LOGS])?;
                Ok(limits)
            }
            _ => Err(form()),
        },
        _ => Err(form()),
    }
}

/// The limits that a body names for log objects, where those `now` hold.
fn log_limits(
    asked: &Value,
    now: &BTreeMap<Uuid, Quota>,
) -> Result<BTreeMap<Uuid, Option<Quota>>, Reply> {
    let Value::Object(asked) = asked else {
        return Err(Reply::bad_request(
            "logs must be an object with a limit for each id of a log object",
        ));
    };
    let limit = |(id, asked): (&String, &Value)| {
        let log = Uuid::try_parse(id).map_err(|_| LogError::LogNotFound(id.clone()))?;
        let limit = match asked {
            Value::Null => None,
            Value::Object(asked) => {
                refuse_others(asked, &[RATE, BURST])?;
                let now = now.get(&log);
                let rate = number(RATE, asked.get(RATE))?;
                let rate = rate.or_else(|| now.map(|now| now.rate().into()));
                let rate = rate.ok_or_else(|| {
                    Reply::bad_request(format_args!("the limit of log {log} needs a rate_limit"))
                })?;
                let burst = number(BURST, asked.get(BURST))?;
                let burst = burst.or_else(|| now.map(|now| now.burst().into()));
                // As many as the host's limit has room for, where nobody says.
                let burst = burst.unwrap_or_else(|| (*Limits::BURST.start()).into());
                let quota = Quota::new(rate, burst).map_err(|error| {
                    Reply::bad_request(format_args!("the limit of log {log}: {error}"))
                })?;
                Some(quota)
            }
            _ => {
                return Err(Reply::bad_request(format_args!(
                    "the limit of log {log} must be an object or null"
                )));
            }
        };
        Ok((log, limit))
    };
    asked.iter().map(limit).collect()
}

/// A whole number, if there is something.
fn number(name: &str, value: Option<&Value>) -> Result<Option<u64>, Reply> {
    let Some(value) = value else {
        return Ok(None);
    };
    match value.as_u64() {
        Some(number) => Ok(Some(number)),
        None => Err(Reply::bad_request(format_args!(
            "{name} = {value}: must be a whole number"
        ))),
    }
}

fn refuse_others(members: &Map<String, Value>, known: &[&str]) -> Result<(), Reply> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(Reply::bad_request(format_args!(
            "there is no limit called {name:?}"
        ))),
        None => Ok(()),
    }
}
