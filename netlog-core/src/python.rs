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
            Value::Number(number) => f.write_str(&with_exponent(&number.to_string())),
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

/// A number whose exponent, if it has one, has a sign and two digits, as in `1e+16` and `1e-07`.
fn with_exponent(number: &str) -> String {
    let Some((mantissa, exponent)) = number.split_once('e') else {
        return number.to_owned();
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent.trim_start_matches('+')),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Python's `repr()` of bytes.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let quote = quote_around(bytes.contains(&b'\''), bytes.contains(&b'"'));
    let mut out = format!("b{quote}");
    for &byte in bytes {
        match char::from(byte) {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote || c == '\\' => out.extend(['\\', c]),
            c @ ' '..='~' => out.push(c),
            // A string takes whatever is written to it.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push(quote);
    out
}

/// Whether Python takes a value for false.
pub(crate) fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Python's `int()` of a text: blanks around it, a sign, and `_` between digits. A number that is
/// too large for us is the largest that is not.
pub fn int(text: &str) -> Option<i64> {
    let number = decimal(text)?;
    let most = if number.starts_with('-') {
        i64::MIN
    } else {
        i64::MAX
    };
    Some(number.parse().unwrap_or(most))
}

/// Python's `str(int())` of a text: the number as it is usually written, however large it is.
pub fn decimal(text: &str) -> Option<String> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits.split('_').all(is_number) {
        return None;
    }
    let digits = digits.replace('_', "");
    Some(match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits if negative => format!("-{digits}"),
        digits => digits.to_owned(),
    })
}

/// The quotes that Python chooses for a text that has these within it.
const fn quote_around(single: bool, double: bool) -> char {
    if single && !double { '"' } else { '\'' }
}

/// A string in the quotes that Python chooses, control characters escaped.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = quote_around(text.contains('\''), text.contains('"'));
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
            (json!(1e16), "1e+16"),
            (json!(-1.5e-7), "-1.5e-07"),
            (json!(1e-300), "1e-300"),
            (json!(1e15), "1000000000000000.0"),
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
        for (value, expected) in [
            (&b""[..], "b''"),
            (b"\"x\"", r#"b'"x"'"#),
            (b"it's", r#"b"it's""#),
            (b"\"it's\"", r#"b'"it\'s"'"#),
            (b"\xc3\xa9\n\\\x7f", r"b'\xc3\xa9\n\\\x7f'"),
        ] {
            assert_eq!(bytes(value), expected);
        }
    }

    #[test]
    fn integers_are_read_as_in_python() {
        for (text, expected) in [
            ("0", Some(0)),
            (" 12\n", Some(12)),
            ("+1", Some(1)),
            ("-1", Some(-1)),
            ("1_000", Some(1000)),
            ("99999999999999999999", Some(i64::MAX)),
            ("", None),
            ("_1", None),
            ("1__0", None),
            ("1.0", None),
            ("+-1", None),
            ("0x1", None),
        ] {
            assert_eq!(int(text), expected, "{text:?}");
        }
    }
}
