//! What `GET /v1/ledger` answers, on numbers that an agent before stored.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod host;

use host::{Host, Running};
use netlog_agent::store::Store;
use serde_json::{Value, json};
use uuid::Uuid;

const PORT: Uuid = Uuid::from_u128(0x1111);

fn ledger(agent: &Running) -> Value {
    let answer = agent.request("GET", "/v1/ledger", "");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serde_json::from_str(body).unwrap()
}

fn create(agent: &Running, name: &str) -> String {
    let log = json!({"log": {"resource_type": "security_group", "name": name}});
    let answer = agent.request("POST", "/v2.0/log/logs", &log.to_string());
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let created: Value = serde_json::from_str(body).unwrap();
    let id = created["log"]["id"].as_str();
    id.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// A host whose agent has counted something, and stopped in order.
fn host_with_numbers() -> (Host, [String; 2]) {
    let host = Host::new();
    let audit = host.path("audit.log");
    host.configure(&format!("[audit]\npath = {}\n", audit.display()));
    let agent = host.start();
    let logs = ["One", "Other"].map(|name| create(&agent, name));
    agent.stop();

    let store = Store::open(host.path("netlog.db")).unwrap();
    assert_eq!(store.slots(&[PORT]).unwrap(), [1]);
    let events = json!({"events": 20, "folded": 4, "suppressed": 3, "log_limited": 2,
        "written": 10, "failed": 1});
    let none = json!({});
    let mut port = events.clone();
    port["flows"] = json!([
        {"matched": 9, "metered": 2, "received": 6, "lost": 1},
        none,
        {"matched": 50, "metered": 30, "received": 24, "uncounted": 4},
        none,
        none,
    ]);
    let rows = [
        ("port/1".to_owned(), port),
        (format!("log/{}", logs[0]), events),
    ];
    let rows = rows.map(|(of, numbers)| (of, Some(numbers.to_string())));
    store.ledger().unwrap().save(&rows).unwrap();
    (host, logs)
}

#[test]
fn each_log_object_tells_what_became_of_its_events() {
    let (host, [one, other]) = host_with_numbers();
    let agent = host.start();
    let expected = json!([{
        "log_id": one,
        "events": 20,
        "folded": 4,
        "suppressed": {"rate-limit": 3, "log-limit": 2},
        "written": 10,
        "failed": 1,
        "pending": 0,
    }]);
    assert_eq!(ledger(&agent)["logs"], expected);

    // One without events has no numbers, and what is deleted takes its own along.
    let path = format!("/v2.0/log/logs/{other}");
    agent.request("DELETE", &path, "");
    assert_eq!(ledger(&agent)["logs"], expected);
    let path = format!("/v2.0/log/logs/{one}");
    agent.request("DELETE", &path, "");
    assert_eq!(ledger(&agent)["logs"], json!([]));
    agent.stop();
}

#[test]
fn each_port_has_its_log_flows_and_their_sums() {
    let (host, _) = host_with_numbers();
    let agent = host.start();
    let ledger = ledger(&agent);
    let flow = |kind: &str, cookie: &str, numbers: [u64; 5]| {
        let [matched, uncounted, metered, received, lost] = numbers;
        json!({
            "kind": kind,
            "cookie": cookie,
            "matched": matched,
            "uncounted": uncounted,
            "metered": metered,
            "received": received,
            "lost_in_switch": lost,
            "unsettled": 0,
        })
    };
    let [port] = ledger["ports"].as_array().unwrap().as_slice() else {
        panic!("{ledger:#}");
    };
    assert_eq!(port["port_id"], json!(PORT));
    let flows = json!([
        flow("egress-accept", "0x6e4c010100000001", [9, 0, 2, 6, 1]),
        flow("drop", "0x6e4c010300000001", [50, 4, 30, 24, 0]),
    ]);
    assert_eq!(port["flows"], flows);
    for whole in [port, &ledger["totals"]] {
        for (member, number) in [
            ("matched", 59),
            ("uncounted", 4),
            ("metered", 32),
            ("received", 30),
            ("lost_in_switch", 1),
            ("unsettled", 0),
            ("events", 20),
            ("written", 10),
            ("pending", 0),
        ] {
            assert_eq!(whole[member], number, "{member}: {whole:#}");
        }
        assert_eq!(
            whole["suppressed"],
            json!({"rate-limit": 3, "log-limit": 2})
        );
    }
    agent.stop();
}
