//! What Prometheus reads, and the files under `docs` that make use of it. Debian's `promtool` has
//! the last word on both.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod host;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use host::{Host, Running};
use serde_json::Value;

/// Runs `promtool`, and returns what it says if it succeeds.
fn promtool(args: &[&str], input: &str) -> String {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(docs())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs; it comes with Debian's package prometheus (scripts/prerequisites)");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap()
    );
    assert!(output.status.success(), "promtool {args:?}: {said}");
    said
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// A host whose agent has limits, and metrics at a socket of their own.
fn host() -> Host {
    let host = Host::new();
    let socket = host.path("metrics.sock");
    host.configure(&format!(
        "rate_limit = 1000\nburst_limit = 100\n[audit]\npath = {}\n[metrics]\nbind = unix:{}\n",
        host.path("audit.log").display(),
        socket.display(),
    ));
    host
}

/// One request to the metrics' own socket: head and body of the answer.
fn get(host: &Host, path: &str, accept: &str) -> (String, String) {
    let mut socket = UnixStream::connect(host.path("metrics.sock")).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: agent\r\nAccept: {accept}\r\n");
    write!(socket, "{head}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

/// The names of all families on a page of the older format.
fn names(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|rest| rest.split(' ').next().unwrap().to_owned())
        .collect()
}

fn api(agent: &Running, path: &str) -> String {
    agent.request("GET", path, "")
}

#[test]
fn promtool_finds_nothing_to_say_of_the_page() {
    let host = host();
    let agent = host.start();
    api(&agent, "/v2.0/log/logs");
    api(&agent, "/nothing");
    let (head, page) = get(&host, "/metrics", "*/*");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert_eq!(promtool(&["check", "metrics"], &page), "");
    for line in [
        "netlog_switch_connected{bridge=\"br-int\"} 0.0",
        "netlog_rate_limit 1000.0",
        "netlog_burst_limit 100.0",
        "netlog_events_suppressed_total{reason=\"log-limit\"} 0.0",
        "netlog_records_failed_total{reason=\"storage-full\"} 0.0",
        "netlog_api_answers_total{code=\"404\"} 1.0",
    ] {
        assert!(page.lines().any(|other| other == line), "{line}: {page}");
    }
    // The other format is for those who ask for it; the API serves both as well.
    let (head, open) = get(
        &host,
        "/metrics",
        "application/openmetrics-text; version=1.0.0",
    );
    assert!(
        head.contains("content-type: application/openmetrics-text"),
        "{head}"
    );
    assert!(open.ends_with("# EOF\n"));
    assert_eq!(names(api(&agent, "/metrics").as_str()), names(&page));
    agent.stop();
}

#[test]
fn metrics_have_an_address_of_their_own_that_serves_nothing_else() {
    let host = host();
    let agent = host.start();
    assert!(get(&host, "/healthz", "*/*").1.contains("\"ok\""));
    for path in ["/", "/v1/status", "/v1/limits", "/v2.0/log/logs"] {
        let (head, _) = get(&host, path, "*/*");
        assert!(head.starts_with("http/1.1 404"), "{path}: {head}");
    }
    agent.stop();
}

#[test]
fn a_busy_address_of_the_metrics_is_found_before_the_api_can_be_connected_to() {
    let host = host();
    let _other = UnixListener::bind(host.path("metrics.sock")).unwrap();
    let said = host.refused();
    assert!(said.contains("[metrics] bind: cannot listen on"), "{said}");
    assert!(
        !host.path("api.sock").exists(),
        "the API was open already: {said}"
    );
}

#[test]
fn the_api_shows_metrics_to_those_who_may_see_the_agent() {
    let host = host();
    let tokens = host.path("tokens.json");
    host.write(
        "tokens.json",
        r#"[{"token": "a", "user_id": "a", "project_id": "a", "roles": ["admin"]},
            {"token": "b", "user_id": "b", "project_id": "b", "roles": ["member"]}]"#,
    );
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&tokens, private).unwrap();
    host.configure(&format!(
        "[audit]\npath = {}\n[api]\nauth_strategy = static-tokens\ntokens_file = {}\n",
        host.path("audit.log").display(),
        tokens.display()
    ));
    let agent = host.start();
    for (token, status) in [("a", "200"), ("b", "403"), ("", "401")] {
        let answer = agent.request_as(token, "GET", "/metrics", "");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    agent.stop();
}

#[test]
fn promtool_accepts_the_alert_rules_and_their_tests() {
    let said = promtool(&["check", "rules", "prometheus/alerts.yml"], "");
    assert!(said.contains("SUCCESS"), "{said}");
    let said = promtool(&["test", "rules", "prometheus/alerts_test.yml"], "");
    assert!(said.contains("SUCCESS"), "{said}");
}

/// The metrics of ours that a text speaks of.
fn spoken_of(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("netlog_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn rules_and_dashboard_speak_of_metrics_that_there_are() {
    let host = host();
    let agent = host.start();
    let exported = names(&get(&host, "/metrics", "*/*").1);
    agent.stop();

    let rules = fs::read_to_string(docs().join("prometheus/alerts.yml")).unwrap();
    let dashboard = fs::read_to_string(docs().join("grafana/netlog.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = String::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{}", panel["title"]);
        for target in targets {
            queries.push_str(target["expr"].as_str().unwrap());
            queries.push('\n');
        }
    }
    let ids: BTreeSet<u64> = panels.iter().map(|p| p["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");

    for (what, text, at_least) in [("rules", &rules, 10), ("dashboard", &queries, 20)] {
        let spoken_of = spoken_of(text);
        let unknown: Vec<_> = spoken_of.difference(&exported).collect();
        assert!(unknown.is_empty(), "{what}: {unknown:?} are not exported");
        assert!(spoken_of.len() >= at_least, "{what}: {spoken_of:?}");
    }
}
