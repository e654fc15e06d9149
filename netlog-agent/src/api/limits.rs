//! The host's limits, `/v1/limits`: netlog's own.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::{Api, Context, Reply, Request};
use crate::limits::{Change, Setting};

const READ: &str = "get_agent_status";
const UPDATE: &str = "update_agent_limits";

impl Api {
    /// `/v1/limits`
    pub(super) fn limits(&self, request: &Request, context: &Context) -> Reply {
        let may = |rule| self.allows(context, rule, &json!({}));
        match request.method {
            Method::GET if !may(READ) => Reply::forbidden(READ),
            Method::GET => self.show_limits(),
            Method::HEAD => Reply::head_not_allowed(),
            Method::PUT | Method::DELETE if !may(UPDATE) => Reply::forbidden(UPDATE),
            Method::PUT => match self.set_limits(&request.body) {
                Ok(change) => self.show_limits().after_limits(change),
                Err(reply) => reply,
            },
            Method::DELETE => Reply::deleted().after_limits(self.limits.reset()),
            _ => Reply::method_not_allowed(),
        }
    }

    fn show_limits(&self) -> Reply {
        Reply::ok(json!({
            "limits": self.limits.current().to_json(),
            "configured": self.limits.configured().to_json(),
        }))
    }

    fn set_limits(&self, body: &[u8]) -> Result<Change, Reply> {
        let asked = asked(body)?;
        self.limits.set(|now| {
            let rate = match asked.get("rate_limit") {
                Some(Value::Null) => None,
                rate => number("rate_limit", rate)?.or_else(|| now.rate.map(u64::from)),
            };
            let burst = number("burst_limit", asked.get("burst_limit"))?;
            Setting::new(rate, burst.unwrap_or_else(|| now.burst.into()))
                .map_err(Reply::bad_request)
        })
    }
}

/// The limits that a body names.
fn asked(body: &[u8]) -> Result<Map<String, Value>, Reply> {
    let object = |value: Value| match value {
        Value::Object(members) => Some(members),
        _ => None,
    };
    let form = || {
        Reply::bad_request(
            "the body must be {\"limits\": {\"rate_limit\": N, \"burst_limit\": N}}; rate_limit \
             may be null, for no limit, and what is left out stays as it is",
        )
    };
    let body: Value = serde_json::from_slice(body).map_err(|_| form())?;
    let mut body = object(body).ok_or_else(form)?;
    let limits = body.remove("limits").and_then(object).ok_or_else(form)?;
    refuse_others(&body, &[])?;
    refuse_others(&limits, &["rate_limit", "burst_limit"])?;
    Ok(limits)
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
