//! Files that are read again when they change.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::service::Service;

/// A file cannot be watched for changes.
#[derive(Debug, thiserror::Error)]
#[error("cannot watch {} for changes: {source}", path.display())]
pub struct WatchError {
    path: PathBuf,
    source: io::Error,
}

/// A thread that tells whenever a file may have changed. Dropping it stops it.
#[derive(Debug)]
pub struct Watcher(#[expect(dead_code, reason = "it is kept to be dropped")] Service);

impl Watcher {
    /// Starts watching, on a thread of this name. One change may be told more than once.
    ///
    /// The directory is watched and not the file, so that a new file moved over the old one is
    /// seen too.
    ///
    /// # Errors
    /// When the system does not watch the directory, or gives no thread.
    pub fn start(
        thread: &str,
        path: &Path,
        mut tell: impl FnMut() + Send + 'static,
    ) -> Result<Self, WatchError> {
        let path = path.to_owned();
        let failed = |source: io::Error| WatchError {
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

        let name = path.file_name().map(ToOwned::to_owned);
        let service = Service::start(thread, {
            let path = path.clone();
            move |woken| {
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
                        tell();
                    }
                }
            }
        });
        Ok(Self(service.map_err(failed)?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;
    use std::time::Duration;

    use netlog_core::inventory::Inventory;

    use super::*;
    use crate::inventory::{self, FileError};

    const ONE: &str =
        r#"{"ports":[{"id":"11111111-0000-4000-8000-000000000001","project_id":"p"}]}"#;

    #[test]
    fn changes_are_told_however_the_file_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("inventory.json");
        fs::write(&path, "{}").unwrap();
        let (sender, receiver) = mpsc::channel();
        let watcher = Watcher::start("inventory", &path, {
            let path = path.clone();
            move || sender.send(inventory::load(&path)).unwrap()
        })
        .unwrap();
        // One write may be told more than once; the last word counts.
        let wait_for = |wanted: &dyn Fn(&Result<Inventory, FileError>) -> bool| loop {
            let told = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
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
