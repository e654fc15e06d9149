//! Comma-separated values as Python's `csv` module writes them for `openstack`.

use std::io::{self, Write};

use serde_json::Value;

use super::{Quote, text};

/// Writes the column names and then the rows, one a line.
pub(super) fn write(
    headers: &[&str],
    rows: &[Vec<Value>],
    quote: Quote,
    out: &mut dyn Write,
) -> io::Result<()> {
    line(headers.iter().map(|name| field(name, true, quote)), out)?;
    for row in rows {
        let fields = row.iter().map(|value| match value {
            Value::Null => field("", true, quote),
            Value::Number(_) | Value::Bool(_) => field(&text(value), false, quote),
            other => field(&text(other), true, quote),
        });
        line(fields, out)?;
    }
    Ok(())
}

fn line(fields: impl Iterator<Item = String>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", fields.collect::<Vec<_>>().join(","))
}

/// One value. A backslash is doubled, for it may escape.
fn field(text: &str, is_text: bool, quote: Quote) -> String {
    let special = |c| matches!(c, ',' | '"' | '\r' | '\n');
    let text = text.replace('\\', r"\\");
    match quote {
        Quote::None => text.chars().fold(String::new(), |mut out, c| {
            if special(c) {
                out.push('\\');
            }
            out.push(c);
            out
        }),
        Quote::Minimal if !text.contains(special) => text,
        Quote::Nonnumeric if !is_text => text,
        _ => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}
