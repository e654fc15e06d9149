//! The programs that the lab runs.

use std::env;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::LabError;
use crate::error::Attempt as _;

/// Where system programs live even when an ordinary user's `PATH` does not
/// say so.
const SYSTEM_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// `PATH` and the directories of system programs.
pub(crate) fn search_path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(SYSTEM_DIRS.iter().map(PathBuf::from));
    env::join_paths(dirs).unwrap_or(path)
}

/// The file that `program` names, if there is one.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    env::split_paths(&search_path())
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// A command for `program`, wherever it is installed.
pub(crate) fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)))
}

/// Runs `command` to its end and returns its standard output.
pub(crate) fn run(command: &mut Command) -> Result<String, LabError> {
    let line = display(command);
    let output = command.output().attempt(|| format!("run `{line}`"))?;
    finish(line, &output)
}

/// Runs `command` with `input` as its standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Result<String, LabError> {
    let line = display(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .attempt(|| format!("run `{line}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever ends without reading everything says why on standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .attempt(|| format!("wait for `{line}`"))?;
    finish(line, &output)
}

fn finish(command: String, output: &Output) -> Result<String, LabError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Command {
        command,
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned(),
    })
}

/// The command line, for people.
fn display(command: &Command) -> String {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let mut line = program.to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}
