//! What can go wrong, and the exit code it leads to.

use std::io;
use std::path::PathBuf;

/// The exit code of a command: a promise to scripts, listed in `netlog --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The command did what was asked.
    Done = 0,
    /// The answer is no: not found, ambiguous, refused by the agent, or not verified.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The agent or a file could not be reached or read.
    Unreachable = 3,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line cannot be carried out as written.
    #[error("{0}")]
    Usage(String),
    /// The agent was reached and its answer is no. The text is the agent's, or what the
    /// OpenStack client says in the same place.
    #[error("{0}")]
    No(String),
    /// Nobody answers at the endpoint, or the connection broke.
    #[error(
        "cannot reach the agent at {endpoint}: {cause}; \
         is netlog-agent running? set --endpoint or NETLOG_ENDPOINT"
    )]
    Unreachable {
        /// The endpoint as given.
        endpoint: String,
        /// What the system says.
        cause: String,
    },
    /// The answer is not one that an agent gives.
    #[error(
        "the answer from {endpoint} is not the agent's: {cause}; check --endpoint or NETLOG_ENDPOINT"
    )]
    Foreign {
        /// The endpoint as given.
        endpoint: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// The agent failed while it worked on the request (HTTP status 5xx).
    #[error("{0}\nthe agent's own log says more")]
    Agent(String),
    /// A file could not be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the place in the file where it is known.
        cause: String,
    },
    /// The result could not be written to standard output.
    #[error("cannot write the result: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// The exit code of a command that fails with this error.
    ///
    /// A reader that went away (`netlog log list | head -1`) is no failure.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::No(_) => Exit::No,
            Self::Output(cause) if cause.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Unreachable { .. }
            | Self::Foreign { .. }
            | Self::Agent(_)
            | Self::File { .. }
            | Self::Output(_) => Exit::Unreachable,
        }
    }
}
