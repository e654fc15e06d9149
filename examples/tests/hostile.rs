//! Events are recorded while the API is under a flood of hostile requests. This test needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use netlog_lab::{Agent, Family, Lab, Options};
use serde_json::Value;

/// Sessions during the flood; each is one event.
const SESSIONS: usize = 60;

/// Sends something and takes what comes back. Being cut off is an answer too.
fn send(api: &Path, bytes: &[u8]) -> String {
    let mut connection = UnixStream::connect(api).unwrap();
    let patience = Some(Duration::from_secs(20));
    connection.set_read_timeout(patience).unwrap();
    connection.set_write_timeout(patience).unwrap();
    let _ = connection.write_all(bytes);
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v2.0/log/logs HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
}

#[test]
fn every_event_is_recorded_while_the_api_is_flooded() {
    let lab = Lab::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let agent = Agent::start(&lab, "").unwrap();
    let create = ["log", "create", "--resource-type", "security_group", "all"];
    agent.netlog_ok(&create).unwrap();

    let api = agent.file("api.sock");
    let deep = "[".repeat(100_000);
    let floods = [
        request("", &"x".repeat(10_000_000)),
        request("X-Auth-Token: operator\r\n", &deep),
        request("X-Auth-Token: nobody\r\n", "{}"),
        request(&"X-A: b\r\n".repeat(5000), "{}"),
        "\u{16}\u{3}\u{1}\0".repeat(1000),
    ];
    let over = AtomicBool::new(false);
    let (sent, unauthorized) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for flood in &floods {
            let (api, over, sent, unauthorized) = (&api, &over, &sent, &unauthorized);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let answer = send(api, flood.as_bytes());
                    sent.fetch_add(1, Ordering::Relaxed);
                    if answer.starts_with("HTTP/1.1 401 ") {
                        unauthorized.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let (api, over) = (&api, &over);
        scope.spawn(move || {
            // Always some hundred connections that say nothing.
            let mut silent = Vec::new();
            while !over.load(Ordering::Relaxed) {
                silent.push(UnixStream::connect(api).unwrap());
                if silent.len() > 1000 {
                    silent.drain(..500);
                }
                // Some hundred new ones a second.
                thread::sleep(Duration::from_millis(1));
            }
        });
        for _ in 0..SESSIONS {
            lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();
        }
        // The API still works for those who have business with it.
        assert_eq!(agent.status().unwrap()["bridge"]["connected"], true);
        over.store(true, Ordering::Relaxed);
    });

    let records = agent.records_after(0, SESSIONS).unwrap();
    assert!(records.iter().all(|record| record.event == "ACCEPT:vm1:in"));
    assert_eq!(records.len(), SESSIONS);
    let sent = sent.into_inner();
    assert!(sent > 50, "hardly a flood: {sent}");

    agent.terminate().unwrap();
    let audit = fs::read_to_string(agent.file("audit.log")).unwrap();
    let refused = |entry: &Value, code: &str| -> u64 {
        let counted = entry["attachments"].as_array().into_iter().flatten();
        let counted = counted.filter_map(|one| one["content"]["codes"][code].as_u64());
        counted.sum::<u64>() + u64::from(entry["reason"]["reasonCode"] == *code)
    };
    let entries: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: u64 = entries.iter().map(|entry| refused(entry, "401")).sum();
    // Who was cut off to make room has not seen the answer.
    let seen = unauthorized.into_inner();
    assert!((seen..=sent).contains(&told), "{seen} seen, {told} told");
    assert!(
        entries.len() < 500,
        "{} entries of {sent} requests",
        entries.len()
    );
    lab.stop().unwrap();
}
