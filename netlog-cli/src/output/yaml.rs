//! YAML in block style as `openstack` prints it (`PyYAML`): the keys of list entries in alphabetical
//! order, long lines folded, and all of it ASCII. Text stays plain only where no reader takes it
//! for anything else.

use std::io::{self, Write};

use serde_json::Value;

/// Lines are folded behind this column.
const WIDTH: usize = 80;

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
            writeln!(out, "{}", field(bullet, name, value, 4))?;
            bullet = "  ";
        }
    }
    Ok(())
}

/// Writes one object.
pub(super) fn one(headers: &[&str], row: &[Value], out: &mut dyn Write) -> io::Result<()> {
    let mut fields = headers.iter().zip(row);
    fields.try_for_each(|(name, value)| writeln!(out, "{}", field("", name, value, 2)))
}

/// A field, its value's further lines indented so far. JSON is YAML, so lists and objects are JSON.
fn field(bullet: &str, name: &str, value: &Value, indent: usize) -> String {
    let mut line = Scalar {
        text: bullet.to_owned(),
        column: bullet.len(),
        indent,
    };
    line.string(name);
    line.write(": ");
    match value {
        Value::String(text) => line.string(text),
        other => line.write(&other.to_string()),
    }
    line.text
}

/// A line that a value is written to, which may become several.
struct Scalar {
    text: String,
    /// How far the last line has got.
    column: usize,
    /// Where further lines begin.
    indent: usize,
}

impl Scalar {
    fn write(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.chars().count();
    }

    fn fold(&mut self) {
        self.text.push('\n');
        self.column = 0;
        self.write(&" ".repeat(self.indent));
    }

    fn string(&mut self, text: &str) {
        if is_plain(text) {
            self.words(text, false);
        } else if is_single(text) {
            self.write("'");
            let text = text.replace('\'', "''");
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (line, breaks) = rest.split_at(rest.find('\n').unwrap_or(rest.len()));
                self.words(line, true);
                rest = breaks.trim_start_matches('\n');
                let breaks = breaks.len() - rest.len();
                if breaks > 0 {
                    // The first end of a line would be a blank without another.
                    self.text.push_str(&"\n".repeat(breaks));
                    self.fold();
                }
            }
            self.write("'");
        } else {
            self.escaped(text);
        }
    }

    /// Words, folded at single blanks behind the width.
    fn words(&mut self, text: &str, quoted: bool) {
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.split(' ').next().unwrap_or_default();
            self.write(word);
            let after = &rest[word.len()..];
            let next = after.trim_start_matches(' ');
            let blanks = after.len() - next.len();
            let edge = quoted && (next.is_empty() || rest.len() == text.len() && word.is_empty());
            if blanks == 1 && self.column > WIDTH && !edge {
                self.fold();
            } else {
                self.write(&" ".repeat(blanks));
            }
            rest = next;
        }
    }

    /// Text in double quotes, where everything has an escape.
    fn escaped(&mut self, text: &str) {
        let chars: Vec<char> = text.chars().collect();
        self.write("\"");
        // What has been looked at and not written yet begins here.
        let mut start = 0;
        for (end, &c) in chars.iter().enumerate() {
            let escape = escape(c);
            if let Some(escape) = &escape {
                self.write(&String::from_iter(&chars[start..end]));
                self.write(escape);
                start = end + 1;
            }
            let may_fold = end > 0 && end + 1 < chars.len() && (c == ' ' || escape.is_some());
            if may_fold && self.column + end.saturating_sub(start) > WIDTH {
                self.write(&String::from_iter(
                    chars.get(start..end).unwrap_or_default(),
                ));
                start = start.max(end);
                self.write("\\");
                self.fold();
                if chars[start] == ' ' {
                    self.write("\\");
                }
            }
        }
        self.write(&String::from_iter(&chars[start..]));
        self.write("\"");
    }
}

/// How a character is written in double quotes, if not as it is (YAML 1.1, section 5.6).
fn escape(c: char) -> Option<String> {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' | '\\' => c,
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        ' '..='~' => return None,
        _ => {
            let code = u32::from(c);
            return Some(match code {
                ..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            });
        }
    };
    Some(format!("\\{short}"))
}

/// Whether single quotes can hold a text: they know no escapes, and lines lose blanks at their ends.
fn is_single(text: &str) -> bool {
    let printable = |c: char| matches!(c, '\n' | ' '..='~');
    text.chars().all(printable) && !text.contains(" \n") && !text.contains("\n ")
}

/// Whether text means itself without quotes: it has no character that means something where it
/// stands, and no reader of YAML 1.1 or 1.2 takes it for anything but text.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 12] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "=", "<<",
    ];
    let alone = |indicator| text.strip_prefix(indicator).is_some_and(is_ended);
    text.chars().all(|c| matches!(c, ' '..='~'))
        && !text.starts_with(|c| " #,[]{}&*!|>'\"%@`".contains(c))
        && !["---", "..."].iter().any(|mark| text.starts_with(mark))
        && !['-', '?', ':'].into_iter().any(alone)
        && !text.split(':').skip(1).any(is_ended)
        && !text.contains(" #")
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && !text.is_empty()
        && !is_number(text)
        && !is_date(text)
}

/// Whether a text ends, or is blank, where this follows.
fn is_ended(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(' ')
}

/// Whether a reader may take a text for a number, decimal, in another base or in base 60.
fn is_number(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let number = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let based = ["0x", "0b", "0o"].iter().any(|base| {
        let digits = number.strip_prefix(base);
        digits.is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit() || c == '_'))
    });
    let (mantissa, exponent) = number.split_once('e').unwrap_or((number, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let digits = |text: &str, more: &str| {
        text.contains(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || more.contains(c))
    };
    let decimal = !mantissa.starts_with(['_', ':']) && digits(mantissa, "_.:");
    matches!(number, ".inf" | ".nan") || based || decimal && digits(exponent, "")
}

/// Whether a text begins like `2026-11-22`, as times do.
fn is_date(text: &str) -> bool {
    let day = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = day.split('-').collect();
    matches!(parts[..], [year, _, _] if year.len() == 4)
        && parts
            .iter()
            .all(|part| part.bytes().all(|b| b.is_ascii_digit()))
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
            (json!("caf\u{e9}"), r#""caf\xE9""#),
            (json!("\u{65e5} \u{1f600}"), r#""\u65E5 \U0001F600""#),
            (json!("two\nlines"), "'two\n\n  lines'"),
            (json!("a\n\nb\n"), "'a\n\n\n  b\n\n  '"),
            (json!("blank \nlines"), r#""blank \nlines""#),
            (json!("\u{1b}["), r#""\e[""#),
            (json!("\u{85}\u{2028}"), r#""\N\L""#),
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
