//! The demo, as a user runs it. These tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use netlog_lab::{LIMIT, program, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn the_demo_passes() {
    let output = Command::new(program("netlog-demo").unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    assert!(
        said.contains("expected records came, and no others"),
        "{said}"
    );
}

/// The agent that a demo has started: the child of that process with this name.
fn agent_of(demo: u32) -> Option<Pid> {
    let children = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (_, rest) = stat.rsplit_once(") ")?;
            let parent: u32 = rest.split(' ').nth(1)?.parse().ok()?;
            (parent == demo && stat.contains("(netlog-agent)")).then(|| Pid::from_raw(pid))
        });
    children.into_iter().next()
}

#[test]
fn the_demo_fails_when_the_agent_is_killed_in_the_middle() {
    let mut demo = Command::new(program("netlog-demo").unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(demo.stdout.take().unwrap()).lines();
    said.find(|line| line.as_ref().unwrap().starts_with("# Show it"))
        .unwrap()
        .unwrap();
    let agent = until(LIMIT, "the demo's agent", || Ok(agent_of(demo.id()))).unwrap();
    kill(agent, Signal::SIGKILL).unwrap();
    said.for_each(drop);
    let mut errors = String::new();
    demo.stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    assert!(!demo.wait().unwrap().success(), "{errors}");
    assert!(errors.contains("The demo failed"), "{errors}");
}
