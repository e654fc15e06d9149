//! What can go wrong in a lab.

use std::fmt;
use std::io;
use std::time::Duration;

/// Why the lab could not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// The machine lacks something; every missing thing is listed.
    #[error("the lab cannot run here:\n  - {}", list(.0))]
    Missing(Vec<Missing>),
    /// A tool of the lab failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it said, without the trailing newline.
        stderr: String,
    },
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was to be done.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Something did not happen in time.
    #[error("waited {limit:?} in vain for {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// No host of the lab has this name.
    #[error("no host of the lab is named `{0}`")]
    UnknownHost(String),
    /// The answer of a peer or of a tool is not what it has to be.
    #[error("{what}: expected {expected}, got {got}")]
    Unexpected {
        /// Whose answer it is.
        what: String,
        /// What the lab needs.
        expected: String,
        /// What came.
        got: String,
    },
    /// The janitor could not remove everything.
    #[error("the lab left something behind: {0}")]
    Leftovers(String),
}

/// One thing that the machine lacks, and how to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

fn list(missing: &[Missing]) -> String {
    let lines: Vec<String> = missing.iter().map(Missing::to_string).collect();
    lines.join("\n  - ")
}

/// Names the attempt in an I/O error.
pub(crate) trait Attempt<T> {
    /// Turns the error into one that says what was attempted.
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, LabError>;
}

impl<T, E: Into<io::Error>> Attempt<T> for Result<T, E> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, LabError> {
        self.map_err(|source| LabError::Io {
            what: what(),
            source: source.into(),
        })
    }
}
