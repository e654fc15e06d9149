//! `netlog status`: what the agent does, port by port.

use std::fmt::Write as _;
use std::io::Write;

use serde_json::Value;

use crate::client::Client;
use crate::error::Error;
use crate::output::{Format, View, printable};

const STATUS: &str = "/v1/status";

/// The columns of the table of ports, and the members that they show.
const COLUMNS: [(&str, &str); 10] = [
    ("Port", "port_id"),
    ("Name", "name"),
    ("OpenFlow port", "ofport"),
    ("Logged", "logged"),
    ("Matched", "matched"),
    ("Received", "received"),
    ("Written", "written"),
    ("Folded", "folded"),
    ("Suppressed", "suppressed"),
    ("Failed", "failed"),
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
    let rows = ports
        .iter()
        .map(|port| {
            COLUMNS
                .iter()
                .map(|(_, member)| port.get(member).cloned().unwrap_or_default())
                .collect()
        })
        .collect();
    view.list(&COLUMNS.map(|(header, _)| header), rows, out)
}

/// A few lines on the agent as a whole.
fn summary(status: &Value) -> String {
    let text = |path: &str| match status.pointer(path) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "unknown".to_owned(),
        Some(other) => other.to_string(),
    };
    let mut out = format!("Agent:      netlog-agent {}", text("/agent/version"));
    if let Some(seconds) = status
        .pointer("/agent/uptime_seconds")
        .and_then(Value::as_u64)
    {
        let _ = write!(
            out,
            ", up {} since {}",
            duration(seconds),
            text("/agent/started_at")
        );
    }
    let connection = match status.pointer("/bridge/connected").and_then(Value::as_bool) {
        Some(true) => format!("connected, OpenFlow {}", text("/bridge/openflow_version")),
        Some(false) => "NOT CONNECTED".to_owned(),
        None => "unknown".to_owned(),
    };
    let _ = write!(out, "\nBridge:     {}, {connection}", text("/bridge/name"));
    let _ = write!(
        out,
        "\nPackets:    {} received, {} events",
        text("/totals/received"),
        text("/totals/events")
    );
    let _ = write!(
        out,
        "\nEvents:     {} written, {} folded",
        text("/totals/written"),
        text("/totals/folded")
    );
    for (label, kind) in [("Suppressed", "suppressed"), ("Failed", "failed")] {
        let reasons = status.pointer(&format!("/totals/{kind}"));
        let reasons: Vec<String> = reasons
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        let reasons = if reasons.is_empty() {
            "none".to_owned()
        } else {
            reasons.join(", ")
        };
        let _ = write!(out, "\n{:<12}{reasons}", format!("{label}:"));
    }
    out.push('\n');
    out
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
