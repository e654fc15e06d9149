//! Bytes read from a socket.

use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::link::Lost;

/// Bytes taken from the socket at once.
const READ_BYTES: usize = 256 * 1024;

/// The longest message (OpenFlow 1.3.5, 7.1: a length of 16 bits).
const MESSAGE_BYTES: usize = 64 * 1024;

/// What was read from a socket, with room in front for the beginning of a message that was read
/// before.
#[derive(Debug)]
pub(super) struct Input {
    bytes: Box<[u8]>,
    end: usize,
}

impl Input {
    /// With nothing in it.
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; MESSAGE_BYTES + READ_BYTES].into_boxed_slice(),
            end: MESSAGE_BYTES,
        }
    }

    /// Reads once, behind what is there; false when there is nothing to read for the moment.
    pub(super) fn read(&mut self, socket: &UnixStream) -> Result<bool, Lost> {
        match recv(socket, &mut self.bytes[self.end..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Lost::Closed),
            Ok((count, _)) => {
                self.end += count;
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether there is less room left than the longest message takes.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() - self.end < MESSAGE_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end == MESSAGE_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.end = MESSAGE_BYTES;
    }

    /// All of it behind `kept`, the beginning of a message.
    pub(super) fn behind(&mut self, kept: &[u8]) -> &[u8] {
        let start = MESSAGE_BYTES - kept.len();
        self.bytes[start..MESSAGE_BYTES].copy_from_slice(kept);
        &self.bytes[start..self.end]
    }
}
