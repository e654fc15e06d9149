//! Why records were not delivered.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use thiserror::Error;

/// What a sink could not do, where, why, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The log file cannot be opened or created.
    #[error("cannot open log file {}: {source}{}", path.display(), open_advice(source))]
    Open {
        /// The log file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The log file cannot be written.
    #[error("cannot write log file {}: {source}{}", path.display(), write_advice(source))]
    Write {
        /// The log file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The syslog socket cannot be reached.
    #[error("cannot connect to syslog at {}: {source}{}", path.display(), connect_advice(source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The syslog socket does not take a message.
    #[error("cannot send to syslog at {}: {source}{}", path.display(), send_advice(source))]
    Send {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// One record is longer than the syslog socket takes. Only that record is lost.
    #[error(
        "a record of {len} bytes is longer than syslog at {} takes; \
         write such records to a file, or raise net.core.wmem_default",
        path.display()
    )]
    TooLong {
        /// The socket.
        path: PathBuf,
        /// Length of the message, in bytes.
        len: usize,
    },
}

impl SinkError {
    /// The class under which lost records are counted.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLong { .. } => Reason::TooLong,
            Self::Open { source, .. }
            | Self::Write { source, .. }
            | Self::Connect { source, .. }
            | Self::Send { source, .. } => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    Reason::StorageFull
                }
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    Reason::PermissionDenied
                }
                ErrorKind::NotFound
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::NotConnected
                | ErrorKind::BrokenPipe => Reason::Unavailable,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Reason::Blocked,
                _ => Reason::Io,
            },
        }
    }

    /// Whether the error concerns one record and not the sink: the next may well be delivered.
    pub fn is_of_record(&self) -> bool {
        matches!(self, Self::TooLong { .. })
    }
}

fn open_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "; create its directory",
        ErrorKind::NotADirectory => "; a part of the path before the file name is a file",
        ErrorKind::IsADirectory => "; give the name of a file",
        ErrorKind::PermissionDenied => "; let the user of the agent write there",
        _ => write_advice(error),
    }
}

fn write_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull => "; free space on its file system",
        ErrorKind::QuotaExceeded => "; raise the quota of the user of the agent",
        ErrorKind::FileTooLarge => "; rotate the file, or raise the file size limit",
        ErrorKind::ReadOnlyFilesystem => "; remount its file system for writing",
        _ => "",
    }
}

fn connect_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => "; start the syslog service",
        ErrorKind::PermissionDenied => "; let the user of the agent write to the socket",
        _ => "",
    }
}

fn send_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::WouldBlock => "; the syslog service does not keep up or hangs",
        _ => connect_advice(error),
    }
}

/// Why a record was not delivered: the label of counters, and of gaps in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The queue of the sink had no room.
    QueueFull,
    /// No space, quota used up, or the file is at its size limit.
    StorageFull,
    /// Permission denied, or the file system is read-only.
    PermissionDenied,
    /// The file, its directory or the peer is not there.
    Unavailable,
    /// The peer did not take it in time.
    Blocked,
    /// The record is longer than the sink takes.
    TooLong,
    /// Any other failure of input or output.
    Io,
    /// The sink was closed before the record's turn came.
    Closed,
}

impl Reason {
    /// All reasons, in order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::StorageFull,
        Self::PermissionDenied,
        Self::Unavailable,
        Self::Blocked,
        Self::TooLong,
        Self::Io,
        Self::Closed,
    ];

    /// The name in metrics and in the audit log.
    pub fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::StorageFull => "storage-full",
            Self::PermissionDenied => "permission-denied",
            Self::Unavailable => "unavailable",
            Self::Blocked => "blocked",
            Self::TooLong => "too-long",
            Self::Io => "io",
            Self::Closed => "closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_indexed_by_discriminant_and_named_apart() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            let same = Reason::ALL
                .iter()
                .filter(|other| other.name() == reason.name());
            assert_eq!(same.count(), 1, "{}", reason.name());
        }
    }

    #[test]
    fn errors_say_what_where_why_and_what_to_do() {
        let path = PathBuf::from("/var/log/netlog/security.log");
        let full = SinkError::Write {
            path: path.clone(),
            source: ErrorKind::StorageFull.into(),
        };
        assert_eq!(
            full.to_string(),
            "cannot write log file /var/log/netlog/security.log: no storage space; \
             free space on its file system"
        );
        assert_eq!(full.reason(), Reason::StorageFull);
        assert!(!full.is_of_record());

        let long = SinkError::TooLong { path, len: 300_000 };
        assert_eq!(long.reason(), Reason::TooLong);
        assert!(long.is_of_record());
    }
}
