//! Mistakes in configuration and inventory: one clear error each, and nothing that is stored is
//! lost.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// An agent's folder, with a configuration and an inventory that are right.
struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        host.write("inventory.json", r#"{"ports": [], "security_groups": []}"#);
        host.configure("");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Writes the configuration: what is needed, and `more`.
    fn configure(&self, more: &str) {
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

    fn agent(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_netlog-agent"));
        command.arg("--config-file").arg(self.path("netlog.conf"));
        command
    }

    /// Runs an agent that must not start, and returns what it said.
    fn refused(&self) -> String {
        let output = self.agent().output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{said}");
        assert_eq!(said.matches("ERROR").count(), 1, "one error: {said}");
        said
    }

    /// Starts an agent and waits until its API answers.
    fn start(&self) -> Running {
        let child = self.agent().stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running {
            child,
            api: self.path("api.sock"),
        };
        while UnixStream::connect(&running.api).is_err() {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "the agent ended: {ended:?}");
            std::thread::yield_now();
        }
        running
    }
}

struct Running {
    child: Child,
    api: PathBuf,
}

impl Running {
    /// One request to the API; status line, headers and body of the answer.
    fn request(&self, method: &str, path: &str, body: &str) -> String {
        let mut socket = UnixStream::connect(&self.api).unwrap();
        let length = body.len();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn contains_all(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is missing in: {said}");
    }
}

#[test]
fn each_mistake_gets_an_error_that_names_file_key_or_object() {
    const GROUP: &str = r#"{"id": "5e000000-0000-4000-8000-0000000000a1", "project_id": "p"}"#;
    let host = Host::new();
    let inventory = host.path("inventory.json").display().to_string();
    let conf = host.path("netlog.conf").display().to_string();

    host.write("inventory.json", "ports: []");
    contains_all(&host.refused(), &[&inventory, "line 1"]);
    let twice = format!(r#"{{"security_groups": [{GROUP}, {GROUP}]}}"#);
    host.write("inventory.json", &twice);
    let group = "security group 5e000000-0000-4000-8000-0000000000a1 is there twice";
    contains_all(&host.refused(), &[&inventory, group]);
    fs::remove_file(&inventory).unwrap();
    contains_all(&host.refused(), &[&inventory, "No such file"]);
    host.write("inventory.json", "{}");

    host.configure("rate_limit = 50\n");
    contains_all(
        &host.refused(),
        &[&conf, "[network_log] rate_limit", "\"50\"", "100"],
    );
    host.configure("burst_limit = 10\n");
    contains_all(
        &host.refused(),
        &[&conf, "[network_log] burst_limit", "\"10\"", "25"],
    );

    for (log, cause) in [
        (host.directory.path().display().to_string(), "directory"),
        (format!("{conf}/events.log"), "Not a directory"),
        (
            host.path("missing/events.log").display().to_string(),
            "No such file",
        ),
    ] {
        host.configure(&format!("local_output_log_base = {log}\n"));
        contains_all(&host.refused(), &["local_output_log_base", &log, cause]);
    }

    host.configure("");
    host.write("netlog.db", "this is not a database");
    let database = host.path("netlog.db").display().to_string();
    contains_all(&host.refused(), &[&database]);
    assert_eq!(
        fs::read_to_string(&database).unwrap(),
        "this is not a database"
    );
}

#[test]
fn nothing_stored_is_lost_over_mistakes_and_crashes() {
    let host = Host::new();
    let agent = host.start();
    let log = r#"{"log": {"resource_type": "security_group", "name": "kept"}}"#;
    let answer = agent.request("POST", "/v2.0/log/logs", log);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let unknown = log.replace("security_group", "router");
    let answer = agent.request("POST", "/v2.0/log/logs", &unknown);
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    contains_all(&answer, &["InvalidLogResourceType", "router"]);
    agent.kill();

    host.configure("rate_limit = 50\n");
    host.refused();
    host.configure("");
    host.write("inventory.json", "nonsense");
    host.refused();
    host.write("inventory.json", "{}");

    let agent = host.start();
    let answer = agent.request("GET", "/v2.0/log/logs", "");
    assert_eq!(answer.matches("\"kept\"").count(), 1, "{answer}");
    agent.kill();
}

#[test]
fn check_says_what_is_wrong_and_starts_nothing() {
    let host = Host::new();
    let check = |host: &Host| host.agent().arg("--check").output().unwrap();
    let output = check(&host);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    host.write("inventory.json", "nonsense");
    let output = check(&host);
    assert!(!output.status.success());
    let inventory = host.path("inventory.json").display().to_string();
    contains_all(&String::from_utf8_lossy(&output.stderr), &[&inventory]);
    assert!(!Path::new(&host.path("netlog.db")).exists());
}
