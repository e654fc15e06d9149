//! A socket with an OpenFlow connection on it.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use netlog_ofp::{Config, Connection, ConnectionError, PacketIn, Version};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::input::Input;
use crate::clock;

/// How soon and how rarely another attempt to connect follows a failed one.
pub(super) const RECONNECT: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_millis(250));

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("cannot connect to {path}: {source}")]
    Connect { path: String, source: io::Error },
    #[error("the switch closed the connection")]
    Closed,
    #[error("there is no thread to read it with: {0}")]
    Thread(io::Error),
    #[error("the connection failed: {0}")]
    Io(#[from] Errno),
    #[error(transparent)]
    Protocol(#[from] ConnectionError),
    #[error("{0}")]
    Request(String),
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The socket has something, or the time has come.
    Socket,
    /// The other descriptor has something.
    Other,
}

/// Waits until `other` has something or `until` has come.
pub(super) fn wait(other: &UnixStream, until: Option<Duration>) -> Woken {
    let mut ready = [PollFd::new(other, PollFlags::IN)];
    match poll(&mut ready, timeout(until).as_ref()) {
        Ok(1..) => Woken::Other,
        _ => Woken::Socket,
    }
}

fn timeout(until: Option<Duration>) -> Option<Timespec> {
    let left = until?.saturating_sub(clock::monotonic());
    Timespec::try_from(left).ok()
}

/// A socket with an OpenFlow connection on it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) socket: UnixStream,
    pub(super) connection: Connection,
    /// The beginning of a message of which the rest is not read yet.
    kept: Vec<u8>,
}

impl Link {
    pub(super) fn connect(path: &Path, config: Config) -> Result<Self, Lost> {
        let failed = |source| Lost::Connect {
            path: path.display().to_string(),
            source,
        };
        let socket = UnixStream::connect(path).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            socket,
            connection: Connection::new(config, clock::monotonic()),
            kept: Vec::new(),
        })
    }

    /// The OpenFlow version that is spoken, as people write it.
    pub(super) fn version(&self) -> String {
        let Version(wire) = self.connection.version();
        format!("1.{}", wire.saturating_sub(1))
    }

    /// Takes what was read from the socket.
    pub(super) fn take<'a>(
        &mut self,
        input: &'a mut Input,
        now: Duration,
        sink: &mut impl FnMut(PacketIn<'a>),
    ) -> Result<(), Lost> {
        let bytes = input.behind(&self.kept);
        let consumed = self.connection.handle_input(bytes, now, sink)?;
        self.kept.clear();
        self.kept.extend_from_slice(&bytes[consumed..]);
        Ok(())
    }

    /// Sends what the socket takes.
    pub(super) fn send(&mut self) -> Result<(), Lost> {
        while let Some(bytes) = self.connection.poll_transmit() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&self.socket, bytes, flags) {
                Ok(count) => self.connection.transmitted(count),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Does what is due, and waits until the socket or `other` has something or `until` has come.
    pub(super) fn wait(
        &mut self,
        other: &UnixStream,
        until: Option<Duration>,
    ) -> Result<Woken, Lost> {
        let due = self.connection.poll_timeout();
        let until = match (due, until) {
            (Some(due), Some(until)) => Some(due.min(until)),
            (due, until) => due.or(until),
        };
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, self.connection.poll_transmit().is_some());
        let mut ready = [
            PollFd::new(&self.socket, interest),
            PollFd::new(other, PollFlags::IN),
        ];
        match poll(&mut ready, timeout(until).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let other_ready = !ready[1].revents().is_empty();
        let now = clock::monotonic();
        if due.is_some_and(|due| due <= now) {
            self.connection.handle_timeout(now)?;
        }
        Ok(if other_ready {
            Woken::Other
        } else {
            Woken::Socket
        })
    }
}
