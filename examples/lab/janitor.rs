//! The janitor: one way to end a lab, whatever ends its owner.
//!
//! A small shell script in a process group of its own holds the reading end
//! of a pipe from the owner. What the lab is about to create is written to
//! the pipe first. When the owner closes its end, or panics, or is
//! interrupted, or is killed, the janitor reads the end of the file, and
//! removes everything. The lab's tools hold the pipe too, as their standard
//! input: the janitor does not begin while one of them still works.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::LabError;
use crate::error::Attempt as _;
use crate::tools;
use crate::wait::until;

const SCRIPT: &str = include_str!("janitor.sh");

/// What a registered process runs before it becomes the program: it gives the
/// janitor its process group. So no program of the lab runs unregistered.
const REGISTER_AND_EXEC: &str = r#"echo "group $$" >&0 && exec "$0" "$@" </dev/null"#;

/// The owner's end of the pipe, and the janitor at the other.
#[derive(Debug)]
pub(crate) struct Janitor {
    pipe: Mutex<Option<ChildStdin>>,
    script: Mutex<Child>,
    processes: Mutex<Vec<Process>>,
}

impl Janitor {
    /// Starts the janitor of the lab of that name, which shows in its arguments.
    pub(crate) fn start(lab: &str) -> Result<Arc<Self>, LabError> {
        let mut script = tools::command("sh")
            .args(["-c", SCRIPT, lab])
            .env("PATH", tools::search_path())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .attempt(|| "start the janitor".to_owned())?;
        Ok(Arc::new(Self {
            pipe: Mutex::new(script.stdin.take()),
            script: Mutex::new(script),
            processes: Mutex::default(),
        }))
    }

    /// Hands over one belonging: `what` is a word that `janitor.sh` knows.
    pub(crate) fn register(&self, what: &str, name: &str) -> Result<(), LabError> {
        let line = format!("{what} {name}\n");
        match &mut *lock(&self.pipe) {
            Some(pipe) => pipe.write_all(line.as_bytes()),
            None => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        }
        .attempt(|| format!("tell the janitor `{what} {name}`"))
    }

    /// Something that keeps the janitor waiting as long as it is open.
    pub(crate) fn hold(&self) -> Result<OwnedFd, LabError> {
        match &*lock(&self.pipe) {
            Some(pipe) => pipe.as_fd().try_clone_to_owned(),
            None => Err(io::Error::from(io::ErrorKind::BrokenPipe)),
        }
        .attempt(|| "hold the janitor".to_owned())
    }

    /// Starts a program that ends with the lab at the latest. `configure`
    /// adds arguments, environment and outputs; standard input is taken.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        program: &str,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Process, LabError> {
        let path = tools::find(program).ok_or_else(|| LabError::Io {
            what: format!("start `{program}`"),
            source: io::Error::from(io::ErrorKind::NotFound),
        })?;
        let pipe = self.hold()?;
        let mut command = tools::command("sh");
        command.args(["-c", REGISTER_AND_EXEC]).arg(path);
        configure(&mut command);
        let child = command
            .stdin(pipe)
            .process_group(0)
            .spawn()
            .attempt(|| format!("start `{program}`"))?;
        let process = Process {
            pid: child.id(),
            child: Arc::new(Mutex::new(child)),
            janitor: Arc::clone(self),
        };
        lock(&self.processes).push(process.clone());
        Ok(process)
    }

    /// Closes the pipe and waits until the janitor has removed everything.
    pub(crate) fn finish(&self) -> Result<(), LabError> {
        drop(lock(&self.pipe).take());
        let mut script = lock(&self.script);
        let mut leftovers = String::new();
        if let Some(mut stdout) = script.stdout.take() {
            stdout
                .read_to_string(&mut leftovers)
                .attempt(|| "hear the janitor".to_owned())?;
        }
        let status = script
            .wait()
            .attempt(|| "wait for the janitor".to_owned())?;
        if !status.success() || !leftovers.is_empty() {
            return Err(LabError::Leftovers(format!(
                "{} ({status})",
                leftovers.trim_end()
            )));
        }
        for process in lock(&self.processes).drain(..) {
            let mut child = lock(&process.child);
            child
                .wait()
                .attempt(|| format!("wait for process {}", process.pid))?;
        }
        Ok(())
    }
}

/// A program that runs in the lab. Dropping the handle leaves it running: it
/// ends with [`Process::kill`], or with the lab.
#[derive(Debug, Clone)]
pub struct Process {
    pid: u32,
    child: Arc<Mutex<Child>>,
    janitor: Arc<Janitor>,
}

impl Process {
    /// The process id, which is also that of its process group.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Its standard output, if it was configured as a pipe; once.
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        lock(&self.child).stdout.take()
    }

    /// Its standard error, if it was configured as a pipe; once.
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        lock(&self.child).stderr.take()
    }

    /// How it ended, or `None` while it runs.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, LabError> {
        let status = lock(&self.child)
            .try_wait()
            .attempt(|| format!("wait for process {}", self.pid))?;
        if status.is_some() {
            // After the lab's end there is nobody left to tell.
            let _ = self.janitor.register("reaped", &self.pid.to_string());
        }
        Ok(status)
    }

    /// Waits for its end, for at most `limit`.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus, LabError> {
        until(limit, &format!("the end of process {}", self.pid), || {
            self.try_wait()
        })
    }

    /// Sends a signal to its process group; one that has ended takes none.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        let group = Pid::from_raw(i32::try_from(self.pid).unwrap_or(i32::MAX));
        match killpg(group, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).attempt(|| format!("send {signal} to process {}", self.pid)),
        }
    }

    /// Kills it and waits for its end.
    pub fn kill(&self) -> Result<ExitStatus, LabError> {
        self.signal(Signal::SIGKILL)?;
        self.wait(crate::wait::LIMIT)
    }
}

/// A lock that a panicking test has poisoned still has to clean up.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
