//! `netlog limits …`

use netlog_cli::error::Exit;
use serde_json::{Value, json};

use crate::support::{Answer, Server, netlog};

fn limits() -> Value {
    json!({
        "limits": {"rate_limit": 500, "burst_limit": 100},
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
+---------------+------------+-------------+
| Scope         | Rate limit | Burst limit |
+---------------+------------+-------------+
| host          |        500 |         100 |
| configuration |       None |          25 |
+---------------+------------+-------------+
"
    );
    let value = ["limits", "show", "-f", "value", "-c", "Rate limit"];
    let outcome = netlog(["--endpoint", endpoint].iter().chain(&value));
    assert_eq!(outcome.stdout, "500\nNone\n");
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
