//! YAML in block style, with the keys of list entries in alphabetical order as
//! `openstack` has them. Text stays plain only where no reader takes it for anything else.

use std::io::{self, Write};

use serde_json::Value;

/// Writes a list of objects.
pub(super) fn list(headers: &[&str], rows: &[Vec<Value>], out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return out.write_all(b"[]\n");
    }
    for row in rows {
        let mut fields: Vec<(&&str, &Value)> = headers.iter().zip(row).collect();
        fields.sort_by_key(|(name, _)| **name);
        let mut bullet = "- ";
        for (name, value) in fields {
            writeln!(out, "{bullet}{}: {}", string(name), scalar(value))?;
            bullet = "  ";
        }
    }
    Ok(())
}

/// Writes one object.
pub(super) fn one(headers: &[&str], row: &[Value], out: &mut dyn Write) -> io::Result<()> {
    headers
        .iter()
        .zip(row)
        .try_for_each(|(name, value)| writeln!(out, "{}: {}", string(name), scalar(value)))
}

/// A value on one line. JSON is YAML, so lists and objects are JSON.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => string(text),
        other => other.to_string(),
    }
}

fn string(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else if text.chars().any(char::is_control) {
        Value::from(text).to_string()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Whether text means itself without quotes: it starts like a word (or is a UUID, which no
/// number is), has no special character, and is none of YAML's words.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let ordinary = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.' | '/');
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic()) || crate::is_uuid(text);
    starts
        && !text.ends_with(' ')
        && text.chars().all(ordinary)
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}
