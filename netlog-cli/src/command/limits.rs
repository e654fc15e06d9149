//! `netlog limits …`: how much is recorded, at run time.

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::log::{Kind, find};
use crate::client::Client;
use crate::error::Error;
use crate::output::{ListArgs, View};

const LIMITS: &str = "/v1/limits";

/// `netlog limits …`
#[derive(Debug, Subcommand)]
pub enum Limits {
    /// Show the limits in force, and those of the configuration
    #[command(after_help = "Example:\n  netlog limits show -f json")]
    Show {
        /// The options of a list.
        #[command(flatten)]
        output: ListArgs,
    },
    /// Change limits at once, without losing what is queued
    #[command(after_help = "\
Examples:
  netlog limits set --rate-limit 500 --burst-limit 100
  netlog limits set --rate-limit none
  netlog limits set --log web-accept --rate-limit 10

The host's limits hold until the agent starts again, or reads other limits from its configuration.
A log object's limit is kept with it. An event is held back only if every log object that wants it
is over its limit; what is left has to be within the host's.")]
    Set(SetArgs),
    /// Go back to the limits of the configuration, or take away the limit of a log object
    Unset {
        /// Name or ID of the log object
        #[arg(long, value_name = "LOG")]
        log: Option<String>,
    },
}

/// The arguments of `netlog limits set`.
#[derive(Args, Debug)]
pub struct SetArgs {
    /// Name or ID of a log object, for a limit of its own; without it, the host's limits
    #[arg(long, value_name = "LOG")]
    pub log: Option<String>,
    /// Records a second, or 'none' for no limit
    #[arg(long, value_name = "N", value_parser = rate)]
    #[arg(required_unless_present = "burst_limit")]
    pub rate_limit: Option<Rate>,
    /// Records that wait at most when they come faster; of a log object: that come at once
    #[arg(long, value_name = "N")]
    pub burst_limit: Option<u64>,
}

/// A rate, or none.
#[derive(Clone, Copy, Debug)]
pub struct Rate(Option<u64>);

fn rate(text: &str) -> Result<Rate, &'static str> {
    match text {
        "none" => Ok(Rate(None)),
        number => number
            .parse()
            .map(|rate| Rate(Some(rate)))
            .map_err(|_| "expected a whole number or 'none'"),
    }
}

/// Shows all limits.
pub fn show(client: &Client, view: &View, out: &mut dyn Write) -> Result<(), Error> {
    let answer = client.get(LIMITS, &[])?;
    let mut rows = Vec::new();
    for (scope, member) in [("host", "limits"), ("configuration", "configured")] {
        let limits = answer.get(member).and_then(Value::as_object);
        let limits = limits.ok_or_else(|| client.foreign(format_args!("no {member}")))?;
        let limit = |name| limits.get(name).cloned().unwrap_or_default();
        rows.push(vec![
            scope.into(),
            limit("rate_limit"),
            limit("burst_limit"),
        ]);
    }
    let logs = answer.pointer("/limits/logs").and_then(Value::as_object);
    for (id, limits) in logs.into_iter().flatten() {
        let limit = |name| limits.get(name).cloned().unwrap_or_default();
        rows.push(vec![
            format!("log {id}").into(),
            limit("rate_limit"),
            limit("burst_limit"),
        ]);
    }
    view.list(&["Scope", "Rate limit", "Burst limit"], rows, out)
}

/// Changes limits.
pub fn set(client: &Client, args: &SetArgs) -> Result<(), Error> {
    let mut limits = Map::new();
    if let Some(Rate(rate)) = args.rate_limit {
        limits.insert("rate_limit".to_owned(), json!(rate));
    }
    if let Some(burst) = args.burst_limit {
        limits.insert("burst_limit".to_owned(), json!(burst));
    }
    if let Some(log) = &args.log {
        // A log object without a rate has no limit at all.
        let limit = match args.rate_limit {
            Some(Rate(None)) => Value::Null,
            _ => limits.into(),
        };
        return set_log(client, log, &limit);
    }
    client.put(LIMITS, &json!({ "limits": limits })).map(drop)
}

/// Takes back what was set, for the host or a log object.
pub fn unset(client: &Client, log: Option<&str>) -> Result<(), Error> {
    match log {
        Some(log) => set_log(client, log, &Value::Null),
        None => client.delete(LIMITS),
    }
}

fn set_log(client: &Client, log: &str, limit: &Value) -> Result<(), Error> {
    let id = find(client, Kind::LOG, log)?;
    let limits = json!({ "limits": { "logs": { id: limit } } });
    client.put(LIMITS, &limits).map(drop)
}
