//! Mistakes in configuration and inventory: one clear error each, and nothing that is stored is
//! lost.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod host;

use std::fs;
use std::path::Path;

use host::Host;

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
        (host.path("").display().to_string(), "directory"),
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
