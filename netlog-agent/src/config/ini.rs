//! INI files by the rules of `oslo_config.iniparser`, so that a file that
//! Neutron's agent reads means the same here.
//!
//! - `[section]` starts in the first column and ends the line; its name is
//!   compared without case (except `DEFAULT`), key names with it.
//! - The first `=` or `:` of a line parts key from value; both are trimmed.
//! - One pair of equal quotes around the value is taken off.
//! - A line that begins with a blank or a tab continues the value; the parts
//!   are joined by newlines. A `#` there is part of the value.
//! - A line whose first character is `#` or `;` is a comment. A comment after a
//!   value is part of the value.
//! - A blank line, a comment, a section or the next key ends a value.
//!
//! Nothing is interpreted here: what a value must look like is said in
//! `options`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;

/// The text of one file, and what to call it in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file's path.
    pub path: PathBuf,
    /// Its contents.
    pub text: String,
}

impl Source {
    /// A source named `path` with the contents `text`.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
        }
    }
}

/// Where something stands: a file and a line, shown as `file:line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// One assignment as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The section, in lower case unless it is `DEFAULT`.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value, without the quotes around it; continuation lines follow
    /// after a newline each.
    pub value: String,
    /// Where the key stands.
    pub place: Place,
}

impl Entry {
    fn is(&self, section: &str, key: &str) -> bool {
        self.section == section && self.key == key
    }
}

/// All assignments of all files, in the order in which they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ini {
    entries: Vec<Entry>,
}

impl Ini {
    /// Reads the sources in order; the first that breaks the syntax is an
    /// error.
    pub fn parse(sources: &[Source]) -> Result<Self, Error> {
        let mut entries = Vec::new();
        for source in sources {
            Parser::new(&source.path, &mut entries).parse(&source.text)?;
        }
        Ok(Self { entries })
    }

    /// Every assignment.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The assignment that counts for an option of one value: the last.
    pub fn last(&self, section: &str, key: &str) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| entry.is(section, key))
    }

    /// All assignments of an option that takes many values, the first first.
    pub fn all<'a>(&'a self, section: &'a str, key: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries
            .iter()
            .filter(move |entry| entry.is(section, key))
    }
}

/// The state while one file is read.
struct Parser<'a> {
    path: Arc<Path>,
    section: Option<String>,
    /// The line being read, from 1.
    line: usize,
    /// True while a value can be continued: it is then the last entry.
    open: bool,
    entries: &'a mut Vec<Entry>,
}

impl<'a> Parser<'a> {
    fn new(path: &Path, entries: &'a mut Vec<Entry>) -> Self {
        Self {
            path: path.into(),
            section: None,
            line: 0,
            open: false,
            entries,
        }
    }

    fn parse(mut self, text: &str) -> Result<(), Error> {
        // Python's universal newlines: \n, \r\n and a lone \r end a line.
        let text = text.replace("\r\n", "\n");
        for line in text.split(['\n', '\r']) {
            self.line += 1;
            let line = line.trim_end();
            self.read(line).map_err(|problem| Error::Syntax {
                place: self.place(),
                problem,
                text: line.to_owned(),
            })?;
        }
        Ok(())
    }

    fn place(&self) -> Place {
        Place {
            path: Arc::clone(&self.path),
            line: self.line,
        }
    }

    fn read(&mut self, line: &str) -> Result<(), &'static str> {
        if line.starts_with([' ', '\t']) {
            return match self.entries.last_mut() {
                Some(entry) if self.open => {
                    entry.value.push('\n');
                    entry.value.push_str(line.trim_start());
                    Ok(())
                }
                _ => Err("a continuation line with nothing to continue"),
            };
        }
        self.open = false;
        if line.is_empty() || line.starts_with(['#', ';']) {
            Ok(())
        } else if let Some(header) = line.strip_prefix('[') {
            match header.strip_suffix(']') {
                None => Err("a section must end with ]"),
                Some("") => Err("a section without a name"),
                Some(name) => {
                    self.section = Some(normalize(name));
                    Ok(())
                }
            }
        } else {
            let (key, value) = line
                .split_once(['=', ':'])
                .ok_or("an assignment without = or :")?;
            if key.trim().is_empty() {
                return Err("a key must not be empty");
            }
            let section = self
                .section
                .clone()
                .ok_or("an assignment before the first section")?;
            self.open = true;
            self.entries.push(Entry {
                section,
                key: key.trim().to_owned(),
                value: unquote(value.trim()).to_owned(),
                place: self.place(),
            });
            Ok(())
        }
    }
}

/// `oslo_config.cfg._normalize_group_name`.
fn normalize(section: &str) -> String {
    if section == "DEFAULT" {
        section.to_owned()
    } else {
        section.to_lowercase()
    }
}

/// Takes off the quotes of a value that begins and ends with the same one. As
/// in oslo.config, a lone quote is the empty value.
fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote) {
            if rest.is_empty() {
                return rest;
            }
            return rest.strip_suffix(quote).unwrap_or(value);
        }
    }
    value
}
