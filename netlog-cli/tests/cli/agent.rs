//! Reaching the agent, and what it says of itself.

use std::net::TcpListener;

use netlog_cli::Terminal;
use netlog_cli::error::Exit;
use serde_json::{Value, json};

use crate::support::{Answer, Server, netlog, netlog_with};

fn status() -> Value {
    json!({
        "agent": {
            "version": "0.1.0",
            "started_at": "2026-11-22T09:00:00Z",
            "uptime_seconds": 7_384,
        },
        "bridge": {"name": "br-int", "connected": true, "openflow_version": "1.4"},
        "ports": [
            {"port_id": "b0c9e2a4-3c55-4b62-a0b6-0d6b2f5a1c11", "name": "tap1", "ofport": 3,
             "logged": "ALL", "matched": 140, "metered": 19, "received": 118,
             "lost_in_switch": 3, "events": 118, "recorded": 100, "folded": 11,
             "suppressed": {"rate-limit": 5, "log-limit": 2},
             "drifted": 0, "windows": {"5 min": "OK", "1 h": "OK", "24 h": "GAP"}},
            {"port_id": "e0259ade-86de-482e-a717-f58258f7173f", "name": "tap2", "ofport": null,
             "logged": "-", "matched": 0, "metered": 0, "received": 0,
             "lost_in_switch": 0, "events": 0, "recorded": 0, "folded": 0,
             "suppressed": {"rate-limit": 0, "log-limit": 0},
             "drifted": 0, "windows": {"5 min": "NODATA", "1 h": "NODATA", "24 h": "NODATA"}},
        ],
        "totals": {"matched": 142, "metered": 19, "lost_in_switch": 3,
            "windows": {"5 min": "OK", "1 h": "OK", "24 h": "GAP"},
            "received": 120, "unknown_flow": 2, "malformed": 0, "events": 118,
            "recorded": 100, "written": 99, "folded": 11,
            "suppressed": {"rate-limit": 5, "queue-full": 2},
            "failed": {"disk-full": 1, "queue-full": 0}},
    })
}

#[test]
fn status_in_a_table() {
    let server = Server::on_tcp(vec![Answer::json(&status())]);
    let outcome = netlog(["status", "--endpoint", &server.endpoint]);
    assert_eq!(server.requests()[0].line, "GET /v1/status");
    assert_eq!(outcome.exit, Exit::Done);
    assert_eq!(
        outcome.stdout,
        "\
Agent:      netlog-agent 0.1.0, up 2 h 3 min since 2026-11-22T09:00:00Z
Bridge:     br-int, connected, OpenFlow 1.4
Ledger:     OK in the last 5 min, OK in the last 1 h, GAP in the last 24 h
Packets:    142 matched, 19 metered, 120 received, 3 lost in switch, 2 unknown flow
Events:     118 events, 100 recorded, 99 written, 11 folded
Suppressed: 5 rate-limit, 2 queue-full
Failed:     1 disk-full
+--------------------------------------+------+---------------+--------+---------+---------+----------+----------------+--------+----------+--------+------------+---------+--------+--------+--------+
| Port                                 | Name | OpenFlow port | Logged | Matched | Metered | Received | Lost in switch | Events | Recorded | Folded | Suppressed | Drifted | 5 min  | 1 h    | 24 h   |
+--------------------------------------+------+---------------+--------+---------+---------+----------+----------------+--------+----------+--------+------------+---------+--------+--------+--------+
| b0c9e2a4-3c55-4b62-a0b6-0d6b2f5a1c11 | tap1 |             3 | ALL    |     140 |      19 |      118 |              3 |    118 |      100 |     11 |          7 |       0 | OK     | OK     | GAP    |
| e0259ade-86de-482e-a717-f58258f7173f | tap2 |          None | -      |       0 |       0 |        0 |              0 |      0 |        0 |      0 |          0 |       0 | NODATA | NODATA | NODATA |
+--------------------------------------+------+---------------+--------+---------+---------+----------+----------------+--------+----------+--------+------------+---------+--------+--------+--------+
"
    );
}

#[test]
fn status_in_other_formats() {
    let server = Server::on_tcp(vec![Answer::json(&status()), Answer::json(&status())]);
    let endpoint = server.endpoint.as_str();
    let outcome = netlog(["--endpoint", endpoint, "status", "-f", "json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&outcome.stdout).unwrap(),
        status()
    );
    let value = ["status", "-f", "value", "-c", "Name", "-c", "folded"];
    let outcome = netlog(["--endpoint", endpoint].iter().chain(&value));
    assert_eq!(outcome.stdout, "tap1 11\ntap2 0\n");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_bridge_that_is_away_stands_out() {
    let mut status = status();
    status["bridge"]["connected"] = json!(false);
    let server = Server::on_tcp(vec![Answer::json(&status)]);
    let outcome = netlog(["--endpoint", &server.endpoint, "status"]);
    assert!(
        outcome
            .stdout
            .contains("Bridge:     br-int, NOT CONNECTED\n")
    );
}

#[test]
fn over_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("api.sock");
    let answer = Answer::json(&json!({"loggable_resources": [{"type": "security_group"}]}));
    let server = Server::on_unix(&path, vec![answer.clone(), answer]);
    for _ in 0..2 {
        let args = ["loggable", "resources", "list", "-f", "value"];
        let outcome = netlog(["--endpoint", &server.endpoint].iter().chain(&args));
        assert_eq!(outcome.stderr, "");
        assert_eq!(outcome.stdout, "security_group\n");
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].header("host"), Some("localhost"));
}

#[test]
fn the_token_is_sent() {
    let server = Server::on_tcp(vec![Answer::json(&json!({"logs": []})); 2]);
    let endpoint = server.endpoint.as_str();
    netlog(["--endpoint", endpoint, "log", "list", "--token", "secret"]);
    netlog(["--endpoint", endpoint, "log", "list"]);
    let requests = server.requests();
    assert_eq!(requests[0].header("x-auth-token"), Some("secret"));
    assert_eq!(requests[1].header("x-auth-token"), None);
    assert_eq!(requests[0].header("accept"), Some("application/json"));
}

#[test]
fn names_are_encoded() {
    let server = Server::on_tcp(vec![Answer::json(&json!({"logs": []}))]);
    netlog(["--endpoint", &server.endpoint, "log", "show", "a b&id=1#é"]);
    let line = &server.requests()[0].line;
    assert_eq!(line, "GET /v2.0/log/logs?name=a%20b%26id%3D1%23%C3%A9");
}

#[test]
fn nobody_answers() {
    // A port that nobody listens on any more.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("http://{address}");
    let outcome = netlog(["--endpoint", &endpoint, "log", "list"]);
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_eq!(outcome.stdout, "");
    let message = format!("cannot reach the agent at {endpoint}: Connection refused");
    assert!(outcome.stderr.starts_with(&message), "{}", outcome.stderr);
    let advice = "is netlog-agent running? set --endpoint or NETLOG_ENDPOINT\n";
    assert!(outcome.stderr.ends_with(advice), "{}", outcome.stderr);

    let outcome = netlog(["--endpoint", "unix:/nowhere/api.sock", "status"]);
    assert_eq!(outcome.exit, Exit::Unreachable);
    let message = "cannot reach the agent at unix:/nowhere/api.sock: No such file or directory";
    assert!(outcome.stderr.starts_with(message), "{}", outcome.stderr);
}

#[test]
fn somebody_else_answers() {
    for body in ["<html>", "{}", "{\"logs\": [5"] {
        let server = Server::on_tcp(vec![Answer {
            status: 200,
            request_id: None,
            body: Some(body.to_owned()),
        }]);
        let outcome = netlog(["--endpoint", &server.endpoint, "log", "list"]);
        assert_eq!(outcome.exit, Exit::Unreachable, "{body}");
        let message = format!("the answer from {} is not the agent's: ", server.endpoint);
        assert!(outcome.stderr.starts_with(&message), "{}", outcome.stderr);
    }
}

#[test]
fn the_agent_fails() {
    let server = Server::on_tcp(vec![Answer {
        status: 500,
        request_id: Some("req-1".to_owned()),
        body: Some(
            json!({"NeutronError": {"message": "disk full", "detail": "sqlite"}}).to_string(),
        ),
    }]);
    let outcome = netlog(["--endpoint", &server.endpoint, "log", "list"]);
    assert_eq!(outcome.exit, Exit::Unreachable);
    assert_eq!(
        outcome.stderr,
        "disk full\nsqlite\nNeutron server returns request_ids: ['req-1']\nthe agent's own log says more\n"
    );
}

#[test]
fn an_answer_without_json_shows_its_status() {
    let server = Server::on_tcp(vec![Answer {
        status: 404,
        request_id: None,
        body: Some("not here".to_owned()),
    }]);
    let outcome = netlog(["--endpoint", &server.endpoint, "log", "list"]);
    assert_eq!(outcome.exit, Exit::No);
    assert_eq!(outcome.stderr, "HTTP status 404 Not Found\n");
}

#[test]
fn nothing_drives_the_terminal() {
    let log = json!({"id": "1", "name": "\u{1b}[2J\u{7}x\ty", "enabled": true,
        "resource_type": "security_group", "event": "ALL"});
    let server = Server::on_tcp(vec![Answer::json(&json!({ "logs": [log] }))]);
    let outcome = netlog(["--endpoint", &server.endpoint, "log", "list", "-c", "Name"]);
    assert!(
        outcome.stdout.contains(r"\u{1b}[2J\u{7}x"),
        "{}",
        outcome.stdout
    );
    let control = |c: char| c.is_control() && c != '\n';
    assert!(!outcome.stdout.contains(control), "{}", outcome.stdout);
}

#[test]
fn tables_fit_the_terminal_that_they_are_on() {
    let log = json!({"id": "1", "name": "n".repeat(200), "enabled": true,
        "resource_type": "security_group", "event": "ALL"});
    let widest = |shows_stdout, args: &[&str]| {
        let server = Server::on_tcp(vec![Answer::json(&json!({ "logs": [log] }))]);
        let terminal = Terminal {
            width: 80,
            shows_stdout,
            shows_stderr: true,
        };
        let list = ["--endpoint", &server.endpoint, "log", "list", "-c", "Name"];
        let outcome = netlog_with(Some(terminal), b"", list.iter().chain(args));
        outcome.stdout.lines().map(str::len).max()
    };
    assert_eq!(widest(true, &[]), Some(80));
    assert_eq!(widest(false, &["--fit-width"]), Some(80));
    assert!(widest(false, &[]) > Some(80));
    assert_eq!(widest(true, &["--max-width", "90"]), Some(90));
}

#[test]
fn what_can_be_deleted_is_even_if_the_agent_fails() {
    let found = |id: &str| Answer::json(&json!({"logs": [{"id": id}]}));
    let done = |status, body: Option<&str>| Answer {
        status,
        request_id: None,
        body: body.map(str::to_owned),
    };
    let server = Server::on_tcp(vec![
        found("1"),
        done(503, Some(r#"{"message": "busy\u0007"}"#)),
        found("2"),
        done(204, None),
    ]);
    let outcome = netlog(["--endpoint", &server.endpoint, "log", "delete", "a", "b"]);
    assert_eq!(server.requests()[3].line, "DELETE /v2.0/log/logs/2");
    assert_eq!(outcome.exit, Exit::No);
    assert_eq!(
        outcome.stderr,
        "Failed to delete network log with name or ID 'a': busy\\u{7}\n\
         the agent's own log says more\n1 of 2 network log(s) failed to delete\n"
    );
}

#[test]
fn an_answer_that_breaks_off_is_a_broken_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1];
        stream.read_exact(&mut request).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"logs\": [";
        stream.write_all(answer).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // Until the client hangs up.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let outcome = netlog(["--endpoint", &endpoint, "log", "list"]);
    thread.join().unwrap();
    assert_eq!(outcome.exit, Exit::Unreachable);
    let message = format!("cannot reach the agent at {endpoint}: ");
    assert!(outcome.stderr.starts_with(&message), "{}", outcome.stderr);
}
