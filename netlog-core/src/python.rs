//! JSON values as Python prints them: Neutron's messages quote values that way, and oslo.policy
//! compares them.

use std::fmt::{self, Write as _};

use serde_json::Value;

/// Python's `str()` of a value: strings bare, everything else as [`Repr`].
pub(crate) fn str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => Repr(other).to_string(),
    }
}

/// Python's `repr()` of a value.
struct Repr<'a>(&'a Value);

impl fmt::Display for Repr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("None"),
            Value::Bool(true) => f.write_str("True"),
            Value::Bool(false) => f.write_str("False"),
            Value::Number(number) => write!(f, "{number}"),
            Value::String(text) => quoted(f, text),
            Value::Array(items) => {
                f.write_char('[')?;
                for (position, item) in items.iter().enumerate() {
                    let comma = if position == 0 { "" } else { ", " };
                    write!(f, "{comma}{}", Repr(item))?;
                }
                f.write_char(']')
            }
            Value::Object(members) => {
                f.write_char('{')?;
                for (position, (key, value)) in members.iter().enumerate() {
                    f.write_str(if position == 0 { "" } else { ", " })?;
                    quoted(f, key)?;
                    write!(f, ": {}", Repr(value))?;
                }
                f.write_char('}')
            }
        }
    }
}

/// A string in the quotes that Python chooses, control characters escaped.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\\' => f.write_str("\\\\")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\x{:02x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_print_as_in_python() {
        // Taken from a Python 3 prompt: str(json.loads(…)).
        let cases = [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(5), "5"),
            (json!(1.0), "1.0"),
            (json!("it's"), "it's"),
            (json!([]), "[]"),
            (json!({}), "{}"),
            (
                json!(["a", "it's", "\"'", null, false]),
                r#"['a', "it's", '"\'', None, False]"#,
            ),
            (
                json!({"k": [1, {"l": "\u{7}\n\\"}]}),
                r"{'k': [1, {'l': '\x07\n\\'}]}",
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(str(&value), expected);
        }
    }
}
