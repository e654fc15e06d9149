//! Network namespaces.

use std::fs::File;
use std::panic;
use std::path::PathBuf;
use std::thread;

use nix::sched::{CloneFlags, setns};

use crate::LabError;
use crate::error::Attempt as _;

/// The file that holds a named namespace open (ip-netns(8)).
pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(name)
}

/// Runs `f` on a thread of its own inside the namespace. Sockets that it
/// opens and processes that it starts stay there; a panic goes on here.
pub(crate) fn run_in<T: Send>(name: &str, f: impl FnOnce() -> T + Send) -> Result<T, LabError> {
    let file = File::open(path(name)).attempt(|| format!("open namespace {name}"))?;
    let inside = || {
        setns(&file, CloneFlags::CLONE_NEWNET).attempt(|| format!("enter namespace {name}"))?;
        Ok(f())
    };
    thread::scope(|scope| match scope.spawn(inside).join() {
        Ok(result) => result,
        Err(payload) => panic::resume_unwind(payload),
    })
}
