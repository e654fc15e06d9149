//! How a value is read: the rules that the table in `options` is made of.

use std::fmt;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Entry, Error, Ini};

type Read<T> = Box<dyn Fn(&str) -> Option<T>>;

/// The rule of one option: what its value may be, and what counts when no
/// file sets it.
pub(super) struct Rule<T> {
    allowed: String,
    read: Read<T>,
    fallback: Fallback<T>,
}

/// What counts when no file sets an option.
enum Fallback<T> {
    /// The option must be set; an example for the sample file.
    Required(&'static str),
    /// A value, written as it would be in a file.
    Default(&'static str),
    /// Nothing, which is a value of its own.
    Unset(T),
}

/// What the sample file says of an option.
pub(super) struct Described {
    pub(super) key: &'static str,
    pub(super) help: &'static [&'static str],
    pub(super) allowed: String,
    pub(super) assignment: String,
}

impl<T> Rule<T> {
    fn new(allowed: impl Into<String>, read: impl Fn(&str) -> Option<T> + 'static) -> Self {
        Self {
            allowed: allowed.into(),
            read: Box::new(read),
            fallback: Fallback::Required(""),
        }
    }

    /// The option has a default.
    pub(super) fn or(mut self, default: &'static str) -> Self {
        self.fallback = Fallback::Default(default);
        self
    }

    /// The option must be set.
    pub(super) fn required(mut self, example: &'static str) -> Self {
        self.fallback = Fallback::Required(example);
        self
    }

    /// The option may be left out, or be empty (as oslo.config has it).
    pub(super) fn optional(self, meaning: &str) -> Rule<Option<T>>
    where
        T: 'static,
    {
        let read = self.read;
        Rule {
            allowed: format!("{}, or nothing: {meaning}", self.allowed),
            read: Box::new(move |text| {
                if text.is_empty() {
                    Some(None)
                } else {
                    read(text).map(Some)
                }
            }),
            fallback: Fallback::Unset(None),
        }
    }

    /// The option's value in `ini`.
    pub(super) fn take(self, ini: &Ini, section: &str, key: &str) -> Result<T, Error> {
        if let Some(entry) = ini.last(section, key) {
            let text = literal(&entry.value).ok_or_else(|| {
                Error::value(
                    entry,
                    "$name is not looked up here: write the value out, or $$ for a $",
                )
            })?;
            return (self.read)(&text).ok_or_else(|| Error::value(entry, &self.allowed));
        }
        let missing = || Error::Missing {
            section: section.to_owned(),
            key: key.to_owned(),
            allowed: self.allowed.clone(),
        };
        match self.fallback {
            Fallback::Required(_) => Err(missing()),
            Fallback::Default(text) => (self.read)(text).ok_or_else(missing),
            Fallback::Unset(value) => Ok(value),
        }
    }

    /// The option as the sample file shows it.
    pub(super) fn describe(self, key: &'static str, help: &'static [&'static str]) -> Described {
        Described {
            key,
            help,
            assignment: match self.fallback {
                Fallback::Required(example) => format!("{key} = {example}"),
                Fallback::Default(text) => format!("#{key} = {text}"),
                Fallback::Unset(_) => format!("#{key} ="),
            },
            allowed: self.allowed,
        }
    }
}

impl Error {
    /// `entry` holds what it must not; `allowed` is what it may.
    pub(super) fn value(entry: &Entry, allowed: &str) -> Self {
        Self::Value {
            place: entry.place.clone(),
            section: entry.section.clone(),
            key: entry.key.clone(),
            value: entry.value.clone(),
            allowed: allowed.to_owned(),
        }
    }
}

/// oslo.config replaces `$name` and `${name}` by the value of another option;
/// we know only our own, so that is refused (`None`). `$$` and `\$` are a `$`,
/// and a `$` before anything else stands for itself.
fn literal(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        if let Some(before) = before.strip_suffix('\\') {
            text.push_str(before);
            rest = after;
        } else if let Some(after) = after.strip_prefix('$') {
            text.push_str(before);
            rest = after;
        } else if after.starts_with(|c: char| c == '{' || c == '_' || c.is_ascii_alphabetic()) {
            return None;
        } else {
            text.push_str(before);
            rest = after;
        }
        text.push('$');
    }
    text.push_str(rest);
    Some(text)
}

/// A type whose values are a fixed list of words.
pub(super) trait Words: Copy + 'static {
    /// The words and what they stand for.
    const WORDS: &'static [(&'static str, Self)];

    /// The value that `word` stands for.
    fn from_word(word: &str) -> Option<Self> {
        let (_, value) = Self::WORDS.iter().find(|(known, _)| *known == word)?;
        Some(*value)
    }
}

/// One of the words of `T`.
pub(super) fn one_of<T: Words>() -> Rule<T> {
    let words: Vec<&str> = T::WORDS.iter().map(|(word, _)| *word).collect();
    Rule::new(words.join(" | "), T::from_word)
}

/// An integer from `min`.
pub(super) fn at_least<T: FromStr + PartialOrd + Display + 'static>(min: T) -> Rule<T> {
    Rule::new(format!("an integer of at least {min}"), move |text| {
        text.trim().parse().ok().filter(|number| *number >= min)
    })
}

/// An integer from `min` to `max`.
pub(super) fn between<T: FromStr + PartialOrd + Display + 'static>(min: T, max: T) -> Rule<T> {
    Rule::new(format!("an integer from {min} to {max}"), move |text| {
        text.trim()
            .parse()
            .ok()
            .filter(|number| (&min..=&max).contains(&number))
    })
}

/// A boolean as oslo.config reads it, without regard to case.
pub(super) fn boolean() -> Rule<bool> {
    Rule::new(
        "true | yes | on | 1 or false | no | off | 0",
        |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
    )
}

/// Text of one line, not empty.
pub(super) fn line() -> Rule<String> {
    Rule::new("text of one line, not empty", |text| {
        one_line(text).map(str::to_owned)
    })
}

/// An absolute path.
pub(super) fn path() -> Rule<PathBuf> {
    Rule::new("an absolute path", absolute)
}

/// What `T` itself can read.
pub(super) fn parsed<T: FromStr + 'static>(allowed: &str) -> Rule<T> {
    Rule::new(allowed, |text| text.parse().ok())
}

fn one_line(text: &str) -> Option<&str> {
    (!text.is_empty() && !text.contains('\n')).then_some(text)
}

fn absolute(text: &str) -> Option<PathBuf> {
    one_line(text)
        .filter(|path| path.starts_with('/'))
        .map(PathBuf::from)
}

/// Where the API listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The text was neither an address and port nor `unix:` and an absolute path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither IP:PORT nor unix:PATH")]
pub struct BindError;

impl FromStr for Bind {
    type Err = BindError;

    fn from_str(text: &str) -> Result<Self, BindError> {
        match text.strip_prefix("unix:") {
            Some(path) => absolute(path).map(Self::Unix),
            None => text.parse().ok().map(Self::Tcp),
        }
        .ok_or(BindError)
    }
}
