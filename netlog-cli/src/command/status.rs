//! `netlog status`: what the agent does, port by port.

use std::io::Write;

use serde_json::Value;

use crate::client::Client;
use crate::error::Error;
use crate::output::{Format, View, printable};

/// The columns of the table of log objects: the numbers of the ports that each selects.
const LOG_COLUMNS: [(&str, &str); 14] = [
    ("Log", "log_id"),
    ("Ports", "ports"),
    ("Matched", "matched"),
    ("Metered", "metered"),
    ("Received", "received"),
    ("Lost in switch", "lost_in_switch"),
    ("Events", "events"),
    ("Folded", "folded"),
    ("Suppressed", "suppressed"),
    ("Written", "written"),
    ("Failed", "failed"),
    ("5 min", "windows/5 min"),
    ("1 h", "windows/1 h"),
    ("24 h", "windows/24 h"),
];

const STATUS: &str = "/v1/status";

/// The columns of the table of ports, and the members that they show. Those that no port
/// has are left out.
const COLUMNS: [(&str, &str); 18] = [
    ("Port", "port_id"),
    ("Name", "name"),
    ("OpenFlow port", "ofport"),
    ("Logged", "logged"),
    ("Matched", "matched"),
    ("Metered", "metered"),
    ("Received", "received"),
    ("Lost in switch", "lost_in_switch"),
    ("Events", "events"),
    ("Recorded", "recorded"),
    ("Written", "written"),
    ("Folded", "folded"),
    ("Suppressed", "suppressed"),
    ("Drifted", "drifted"),
    ("Failed", "failed"),
    ("5 min", "windows/5 min"),
    ("1 h", "windows/1 h"),
    ("24 h", "windows/24 h"),
];

/// Shows the agent's state: as it gives it in JSON, as a list of ports in other formats,
/// and with a summary above the ports in a table.
pub fn show(client: &Client, view: &View, out: &mut dyn Write) -> Result<(), Error> {
    let status = client.get(STATUS, &[])?;
    if view.format() == Format::Json {
        return view.json(&status, out);
    }
    let ports = status
        .get("ports")
        .and_then(Value::as_array)
        .ok_or_else(|| client.foreign("no list of ports"))?;
    if view.format() == Format::Table {
        out.write_all(printable(&summary(&status)).as_bytes())?;
    }
    list(&COLUMNS, ports, view, out)?;
    match status.get("logs").and_then(Value::as_array) {
        Some(logs) if view.format() == Format::Table && !logs.is_empty() => {
            list(&LOG_COLUMNS, logs, view, out)
        }
        _ => Ok(()),
    }
}

/// Shows things in a table with those columns that any of them has.
fn list(
    columns: &[(&str, &str)],
    things: &[Value],
    view: &View,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let has = |member: &str| things.iter().any(|thing| find(thing, member).is_some());
    let (headers, members): (Vec<&str>, Vec<&str>) = columns
        .iter()
        .filter(|(_, member)| things.is_empty() || has(member))
        .copied()
        .unzip();
    let rows = things
        .iter()
        .map(|thing| {
            members
                .iter()
                .map(|member| find(thing, member).map(together).unwrap_or_default())
                .collect()
        })
        .collect();
    view.list(&headers, rows, out)
}

/// The member of this name, or of this path.
fn find<'a>(port: &'a Value, member: &str) -> Option<&'a Value> {
    let mut parts = member.split('/');
    parts.try_fold(port, |value, part| value.get(part))
}

/// A number that is split by reasons as one.
fn together(value: &Value) -> Value {
    match value {
        Value::Object(reasons) => reasons
            .values()
            .filter_map(Value::as_u64)
            .sum::<u64>()
            .into(),
        value => value.clone(),
    }
}

/// A few lines on the agent as a whole.
fn summary(status: &Value) -> String {
    let text = |path: &str| match status.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "unknown".to_owned(),
        Some(other) => other.to_string(),
    };
    let up = status
        .pointer("/agent/uptime_seconds")
        .and_then(Value::as_u64)
        .map(|seconds| {
            let since = text("/agent/started_at");
            format!(", up {} since {since}", duration(seconds))
        });
    let connection = match status.pointer("/bridge/connected").and_then(Value::as_bool) {
        Some(true) => format!("connected, OpenFlow {}", text("/bridge/openflow_version")),
        Some(false) => "NOT CONNECTED".to_owned(),
        None => "unknown".to_owned(),
    };
    let totals = |members: &[&str]| {
        let count = |member: &&str| {
            let count = status.get("totals")?.get(*member)?;
            Some(((*member).to_owned(), count.as_u64()?))
        };
        counts(members.iter().filter_map(count))
    };
    let reasons = |kind: &str| {
        let reasons = status.get("totals").and_then(|totals| totals.get(kind));
        let reasons = reasons.and_then(Value::as_object).into_iter().flatten();
        counts(reasons.filter_map(|(reason, count)| Some((reason.clone(), count.as_u64()?))))
    };
    format!(
        "\
Agent:      netlog-agent {}{}
Bridge:     {}, {connection}
Ledger:     {}
Packets:    {}
Events:     {}
Suppressed: {}
Failed:     {}
",
        text("/agent/version"),
        up.unwrap_or_default(),
        text("/bridge/name"),
        windows(status),
        totals(&[
            "matched",
            "metered",
            "received",
            "lost_in_switch",
            "unknown_flow",
            "malformed",
            "unwanted",
        ]),
        totals(&[
            "events", "recorded", "written", "folded", "pending", "drifted"
        ]),
        reasons("suppressed"),
        reasons("failed"),
    )
}

/// A word for each of the last times: `OK`, `NODATA` or `GAP`.
fn windows(status: &Value) -> String {
    let windows = status.pointer("/totals/windows").and_then(Value::as_object);
    let Some(windows) = windows else {
        return "unknown".to_owned();
    };
    let word = |(_, member): &(&str, &str)| {
        let window = member.strip_prefix("windows/")?;
        let word = windows.get(window)?.as_str()?;
        Some(format!("{word} in the last {window}"))
    };
    let words: Vec<String> = COLUMNS.iter().filter_map(word).collect();
    words.join(", ")
}

/// What was counted, without what was not.
fn counts(counts: impl Iterator<Item = (String, u64)>) -> String {
    let counts: Vec<String> = counts
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {}", name.replace('_', " ")))
        .collect();
    if counts.is_empty() {
        "none".to_owned()
    } else {
        counts.join(", ")
    }
}

/// A duration in its two greatest units.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations() {
        let cases = [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3600, "1 h 0 min"),
            (90_061, "1 d 1 h"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }
}
