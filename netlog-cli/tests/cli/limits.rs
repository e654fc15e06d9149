//! `netlog limits …`

use netlog_cli::error::Exit;
use serde_json::{Value, json};

use crate::support::{Answer, Server, netlog};

const LOG: &str = "4522efdf-8d44-4e19-b237-64cafc49469b";

fn limits() -> Value {
    json!({
        "limits": {"rate_limit": 500, "burst_limit": 100,
                   "logs": {LOG: {"rate_limit": 10, "burst_limit": 25}}},
        "configured": {"rate_limit": null, "burst_limit": 25},
    })
}

#[test]
fn all_limits_are_shown() {
    let server = Server::on_tcp(vec![Answer::json(&limits()); 2]);
    let endpoint = server.endpoint.as_str();
    let outcome = netlog(["--endpoint", endpoint, "limits", "show"]);
    assert_eq!(
        outcome.stdout,
        "\
+------------------------------------------+------------+-------------+
| Scope                                    | Rate limit | Burst limit |
+------------------------------------------+------------+-------------+
| host                                     |        500 |         100 |
| configuration                            |       None |          25 |
| log 4522efdf-8d44-4e19-b237-64cafc49469b |         10 |          25 |
+------------------------------------------+------------+-------------+
"
    );
    let value = ["limits", "show", "-f", "value", "-c", "Rate limit"];
    let outcome = netlog(["--endpoint", endpoint].iter().chain(&value));
    assert_eq!(outcome.stdout, "500\nNone\n10\n");
    assert_eq!(server.requests()[0].line, "GET /v1/limits");
}

#[test]
fn what_is_named_is_set() {
    for (args, body) in [
        (&["--rate-limit", "500"][..], json!({"rate_limit": 500})),
        (&["--rate-limit", "none"], json!({"rate_limit": null})),
        (
            &["--rate-limit", "100", "--burst-limit", "25"],
            json!({"rate_limit": 100, "burst_limit": 25}),
        ),
    ] {
        let server = Server::on_tcp(vec![Answer::json(&limits())]);
        let set = ["--endpoint", &server.endpoint, "limits", "set"];
        let outcome = netlog(set.iter().chain(args));
        assert_eq!((outcome.exit, &*outcome.stdout), (Exit::Done, ""));
        let requests = server.requests();
        assert_eq!(requests[0].line, "PUT /v1/limits");
        assert_eq!(requests[0].body, Some(json!({"limits": body})));
    }
    for args in [&[][..], &["--rate-limit", "many"], &["--burst-limit", "-1"]] {
        let outcome = netlog(["limits", "set"].iter().chain(args));
        assert_eq!(outcome.exit, Exit::Usage, "{args:?}");
    }
}

#[test]
fn what_the_agent_refuses_is_said() {
    let why = "rate_limit = 50: must be from 100 to 1000000000 events a second";
    let server = Server::on_tcp(vec![Answer {
        status: 400,
        request_id: None,
        body: Some(json!({"NeutronError": {"message": why}}).to_string()),
    }]);
    let endpoint = server.endpoint.as_str();
    let outcome = netlog([
        "--endpoint",
        endpoint,
        "limits",
        "set",
        "--rate-limit",
        "50",
    ]);
    assert_eq!(outcome.exit, Exit::No);
    assert_eq!(outcome.stderr, format!("{why}\n"));
}

#[test]
fn what_was_set_is_taken_back() {
    let server = Server::on_tcp(vec![Answer {
        status: 204,
        request_id: None,
        body: None,
    }]);
    let outcome = netlog(["--endpoint", &server.endpoint, "limits", "unset"]);
    assert_eq!(outcome.exit, Exit::Done);
    assert_eq!(server.requests()[0].line, "DELETE /v1/limits");
}

#[test]
fn a_log_object_has_a_limit_by_name() {
    let found = Answer::json(&json!({"logs": [{"id": LOG}]}));
    for (args, limit) in [
        (
            &["set", "--log", "web", "--rate-limit", "10"][..],
            json!({"rate_limit": 10}),
        ),
        (
            &["set", "--log", "web", "--burst-limit", "5"],
            json!({"burst_limit": 5}),
        ),
        (
            &["set", "--log", "web", "--rate-limit", "none"],
            Value::Null,
        ),
        (&["unset", "--log", "web"], Value::Null),
    ] {
        let server = Server::on_tcp(vec![found.clone(), Answer::json(&limits())]);
        let outcome = netlog(
            ["--endpoint", &server.endpoint, "limits"]
                .iter()
                .chain(args),
        );
        assert_eq!((outcome.exit, &*outcome.stderr), (Exit::Done, ""));
        let requests = server.requests();
        assert_eq!(requests[0].line, "GET /v2.0/log/logs?name=web");
        assert_eq!(requests[1].line, "PUT /v1/limits");
        let body = json!({"limits": {"logs": {LOG: limit}}});
        assert_eq!(requests[1].body, Some(body));
    }
}
