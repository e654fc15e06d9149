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
    } else if text.contains(is_break) {
        let json = Value::from(text).to_string();
        let escape = |c| match c {
            c if is_break(c) => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        };
        json.chars().map(escape).collect()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Control characters, and what YAML takes for the end of a line: JSON escapes some of them.
fn is_break(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{list, one};

    #[test]
    fn text_is_quoted_where_it_could_be_anything_else() {
        let cases = [
            (json!("security_group"), "security_group"),
            (
                json!("f7c1fd5f-d08d-4eda-ad1d-d7b5db2540a9"),
                "f7c1fd5f-d08d-4eda-ad1d-d7b5db2540a9",
            ),
            (
                json!("10345678-1234-1234-1234-123456789012"),
                "10345678-1234-1234-1234-123456789012",
            ),
            (json!("two words"), "two words"),
            (json!(""), "''"),
            (json!("No"), "'No'"),
            (json!("null"), "'null'"),
            (json!("12"), "'12'"),
            (json!("1e5"), "'1e5'"),
            (json!("2026-11-22T09:16:57Z"), "'2026-11-22T09:16:57Z'"),
            (json!("a: b"), "'a: b'"),
            (json!("it's #1"), "'it''s #1'"),
            (json!("- x"), "'- x'"),
            (json!("end "), "'end '"),
            (json!("caf\u{e9}"), "'caf\u{e9}'"),
            (json!("two\nlines"), r#""two\nlines""#),
            (json!("\u{1b}["), r#""\u001b[""#),
            (json!("\u{85}\u{2028}"), r#""\u0085\u2028""#),
            (json!(null), "null"),
            (json!(true), "true"),
            (json!(-3), "-3"),
            (json!(["a"]), r#"["a"]"#),
        ];
        for (value, text) in cases {
            let mut out = Vec::new();
            one(&["Key"], &[value], &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("Key: {text}\n"));
        }
    }

    #[test]
    fn list_entries_have_their_keys_in_order() {
        let mut out = Vec::new();
        let row = vec![json!(1), json!("x")];
        list(&["Supported types", "ID"], &[row.clone(), row], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "- ID: x\n  Supported types: 1\n- ID: x\n  Supported types: 1\n"
        );
        let mut out = Vec::new();
        list(&["ID"], &[], &mut out).unwrap();
        assert_eq!(out, b"[]\n");
    }
}
