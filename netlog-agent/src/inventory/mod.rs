//! The inventory file: read at the start, and again whenever it changes.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::{fs, io};

use netlog_core::inventory::{Inventory, InventoryError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// Why the inventory file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error(
        "cannot read the inventory file {path}: {source}; write it, or set [inventory] path to where it is"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not an inventory.
    #[error("inventory file {path}: {source}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InventoryError,
    },
    /// It cannot be watched for changes.
    #[error("cannot watch the inventory file {path} for changes: {source}")]
    Watch {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads the inventory file.
pub fn load(path: &Path) -> Result<Inventory, FileError> {
    let text = fs::read_to_string(path).map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    Inventory::parse(&text).map_err(|source| FileError::Content {
        path: path.to_owned(),
        source,
    })
}

/// A thread that reads the inventory file again whenever it changes. Dropping it stops it.
#[derive(Debug)]
pub struct Watcher {
    /// Closing it wakes the thread.
    wake: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts watching. `tell` gets what every change makes of the file.
    ///
    /// The directory is watched and not the file, so that a new file moved over the old one is
    /// seen too.
    pub fn start(
        path: &Path,
        mut tell: impl FnMut(Result<Inventory, FileError>) + Send + 'static,
    ) -> Result<Self, FileError> {
        let path = path.to_owned();
        let failed = |source: io::Error| FileError::Watch {
            path: path.clone(),
            source,
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|errno| failed(errno.into()))?;
        let changes = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE;
        inotify::add_watch(&inotify, directory, changes).map_err(|errno| failed(errno.into()))?;
        let (wake, woken) = UnixStream::pair().map_err(failed)?;

        let name = path.file_name().map(ToOwned::to_owned);
        let thread = thread::Builder::new().name("inventory".to_owned()).spawn({
            let path = path.clone();
            move || {
                let mut room = [MaybeUninit::uninit(); 4096];
                let mut changes = inotify::Reader::new(&inotify, &mut room);
                loop {
                    let mut ready = [
                        PollFd::new(&inotify, PollFlags::IN),
                        PollFd::new(&woken, PollFlags::IN),
                    ];
                    match poll(&mut ready, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(_) => return,
                    }
                    if !ready[1].revents().is_empty() {
                        return;
                    }
                    let mut ours = false;
                    while let Ok(change) = changes.next() {
                        // A file may be swapped by way of a symbolic link beside it, so that
                        // links count as well.
                        let changed = change.file_name().map(CStr::to_bytes);
                        ours |= changed == name.as_ref().map(|name| name.as_encoded_bytes())
                            || path.is_symlink();
                    }
                    if ours {
                        tell(load(&path));
                    }
                }
            }
        });
        Ok(Self {
            wake: Some(wake),
            thread: Some(thread.map_err(failed)?),
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the callback was reported by the panic hook.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const ONE: &str =
        r#"{"ports":[{"id":"11111111-0000-4000-8000-000000000001","project_id":"p"}]}"#;

    #[test]
    fn changes_are_told_however_the_file_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.json");
        fs::write(&path, "{}").unwrap();
        let (sender, receiver) = mpsc::channel();
        let watcher = Watcher::start(&path, move |told| sender.send(told).unwrap()).unwrap();
        // One write may be told more than once; the last word counts.
        let wait_for = |wanted: &dyn Fn(&Result<Inventory, FileError>) -> bool| loop {
            let told = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
            if wanted(&told) {
                return;
            }
        };

        fs::write(&path, ONE).unwrap();
        wait_for(&|told| {
            told.as_ref()
                .is_ok_and(|inventory| inventory.ports().count() == 1)
        });

        let new = directory.path().join("new");
        fs::write(&new, "{}").unwrap();
        fs::rename(&new, &path).unwrap();
        wait_for(&|told| {
            told.as_ref()
                .is_ok_and(|inventory| inventory.ports().count() == 0)
        });

        fs::write(&path, "nonsense").unwrap();
        wait_for(&|told| matches!(told, Err(FileError::Content { .. })));

        fs::remove_file(&path).unwrap();
        wait_for(&|told| matches!(told, Err(FileError::Read { .. })));
        drop(watcher);
    }
}
