//! JSON as `openstack` prints it: two blanks a level, or one line with a blank behind each
//! colon and comma, and all of it ASCII.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter};

/// An object whose fields stay in order.
pub(super) struct Fields<'a>(pub(super) &'a [&'a str], pub(super) &'a [Value]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter().zip(self.1) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Writes a value and a newline.
pub(super) fn write(value: &impl Serialize, indent: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut line = Vec::new();
    if indent {
        value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut line,
            PrettyFormatter::new(),
        ))?;
    } else {
        value.serialize(&mut serde_json::Serializer::with_formatter(
            &mut line, OneLine,
        ))?;
    }
    line.push(b'\n');
    // Characters beyond ASCII stand in strings only, where each has an escape (RFC 8259, section 7).
    let (mut ascii, mut units) = (Vec::with_capacity(line.len()), [0; 2]);
    for c in String::from_utf8_lossy(&line).chars() {
        if c.is_ascii() {
            write!(ascii, "{c}")?;
        } else {
            for unit in c.encode_utf16(&mut units) {
                write!(ascii, "\\u{unit:04x}")?;
            }
        }
    }
    out.write_all(&ascii)
}

/// Python's separators: `", "` and `": "`.
struct OneLine;

impl OneLine {
    fn separate<W: ?Sized + Write>(writer: &mut W, first: bool) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }
}

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        Self::separate(writer, first)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        Self::separate(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
