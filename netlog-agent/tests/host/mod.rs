//! A host for an agent: its folder, and the running agent. There is no Open vSwitch on it.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses its part of it"
)]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use netlog_agent::clock;

/// How long anything may take before it counts as hung. The machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(60);

/// An agent's folder, with a configuration and an inventory that are right.
pub struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    pub fn new() -> Self {
        let host = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        host.write("inventory.json", r#"{"ports": [], "security_groups": []}"#);
        host.configure("");
        host
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes the configuration: what is needed, and `more`.
    pub fn configure(&self, more: &str) {
        let place = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "[ovs]\novsdb_connection = unix:{}\nopenflow_socket = {}\n\
             [inventory]\npath = {}\n[database]\npath = {}\n[api]\nbind = unix:{}\n\
             [network_log]\nlocal_output_log_base = {}\n{more}",
            place("db.sock"),
            place("br-int.mgmt"),
            place("inventory.json"),
            place("netlog.db"),
            place("api.sock"),
            place("events.log"),
        );
        self.write("netlog.conf", &text);
    }

    pub fn agent(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netlog-agent"));
        command.arg("--config-file").arg(self.path("netlog.conf"));
        command
    }

    /// Runs an agent that must not start, and returns what it said.
    pub fn refused(&self) -> String {
        let output = self.agent().output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{said}");
        assert_eq!(said.matches("ERROR").count(), 1, "one error: {said}");
        said
    }

    /// Starts an agent and waits until its API answers.
    pub fn start(&self) -> Running {
        let child = self.agent().stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running {
            child,
            api: self.path("api.sock"),
        };
        let deadline = clock::monotonic() + LIMIT;
        while UnixStream::connect(&running.api).is_err() {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "the agent ended: {ended:?}");
            assert!(clock::monotonic() < deadline, "no API after {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        let answer = running.request("GET", "/healthz", "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        running
    }
}

pub struct Running {
    child: Child,
    api: PathBuf,
}

impl Running {
    /// One request to the API; status line, headers and body of the answer.
    pub fn request(&self, method: &str, path: &str, body: &str) -> String {
        self.request_as("", method, path, body)
    }

    /// One request with a token.
    pub fn request_as(&self, token: &str, method: &str, path: &str, body: &str) -> String {
        let mut socket = UnixStream::connect(&self.api).unwrap();
        let length = body.len();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
             Content-Type: application/json\r\nX-Auth-Token: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Tells the agent to stop, and waits until it has.
    pub fn stop(mut self) {
        self.signal(rustix::process::Signal::TERM);
        assert!(self.child.wait().unwrap().success());
    }

    pub fn kill(self) {
        drop(self);
    }
}

/// A test that failed leaves nothing running.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
