//! The audit log of a running agent, and what it tells of: changes and refusals of log objects, the
//! inventory and the policy as they change, start and stop.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod host;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use host::{Host, LIMIT, Running};
use netlog_agent::clock;
use serde_json::{Value, json};

const GROUP: &str = "5e000000-0000-4000-8000-0000000000a1";
const OTHER: &str = "5e000000-0000-4000-8000-0000000000b1";
const PORT: &str = "11111111-0000-4000-8000-000000000001";

/// A host whose syslog is the test, so that it hears of each entry when it is written.
struct Site {
    host: Host,
    syslog: UnixDatagram,
}

impl Site {
    fn new(more: &str) -> Self {
        Self::with_limits("", more)
    }

    /// With these options of `[network_log]`, and other sections.
    fn with_limits(limits: &str, more: &str) -> Self {
        let host = Host::new();
        let syslog = UnixDatagram::bind(host.path("log")).unwrap();
        syslog.set_read_timeout(Some(LIMIT)).unwrap();
        host.write(
            "tokens.json",
            &json!([
                {"token": "aaa", "user_id": "ada", "project_id": "ops", "roles": ["admin"]},
                {"token": "bbb", "user_id": "bob", "project_id": "demo", "roles": ["member"]},
                {"token": "ccc", "user_id": "cem", "project_id": "other", "roles": ["member"]},
            ])
            .to_string(),
        );
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(host.path("tokens.json"), private).unwrap();
        let site = Self { host, syslog };
        site.configure(limits, more);
        site.inventory(&[GROUP, OTHER], &[PORT]);
        site
    }

    fn configure(&self, limits: &str, more: &str) {
        let host = &self.host;
        host.configure(&format!(
            "{limits}[syslog]\nsocket = {}\n[api]\nauth_strategy = static-tokens\ntokens_file = {}\n{more}",
            host.path("log").display(),
            host.path("tokens.json").display(),
        ));
    }

    /// Writes the inventory as a whole file that takes the place of the old one.
    fn inventory(&self, groups: &[&str], ports: &[&str]) {
        let object = |id: &&str| json!({"id": id, "project_id": "demo"});
        let document = json!({
            "security_groups": groups.iter().map(object).collect::<Vec<_>>(),
            "ports": ports.iter().map(object).collect::<Vec<_>>(),
        });
        self.replace("inventory.json", &document.to_string());
    }

    fn replace(&self, name: &str, text: &str) {
        self.host.write("new", text);
        fs::rename(self.host.path("new"), self.host.path(name)).unwrap();
    }

    /// The next entry.
    fn entry(&self) -> Value {
        let mut room = [0; 16_384];
        let length = self.syslog.recv(&mut room).unwrap();
        let message = std::str::from_utf8(&room[..length]).unwrap();
        // Facility authpriv, severity info.
        assert!(message.starts_with("<86>"), "{message}");
        let (_, entry) = message.split_once("netlog-audit").unwrap();
        let (_, entry) = entry.split_once(": ").unwrap();
        serde_json::from_str(entry).unwrap()
    }

    /// The next entry that says this, in short: who, action, outcome, what.
    fn expect(&self, who: &str, action: &str, outcome: &str, what: &str) -> Value {
        loop {
            let entry = self.entry();
            let short = [
                &entry["initiator"]["id"],
                &entry["action"],
                &entry["outcome"],
                &entry["target"]["id"],
            ];
            // What is seen of Open vSwitch, which is not there, may come between.
            if entry["eventType"] != "monitor" {
                assert_eq!(
                    short.map(|part| part.as_str().unwrap()),
                    [who, action, outcome, what],
                    "{entry}"
                );
                return entry;
            }
        }
    }

    fn agent_did(&self, action: &str, outcome: &str, what: &str) -> Value {
        self.expect("netlog-agent", action, outcome, what)
    }
}

fn body(answer: &str) -> (u16, Value) {
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, serde_json::from_str(body).unwrap_or_default())
}

/// How an entry names a caller who is not known.
fn unknown() -> String {
    format!("uid:{}", rustix::process::geteuid().as_raw())
}

/// Creates a log object and returns its id.
fn create(agent: &Running, token: &str, log: &Value) -> String {
    let log = json!({ "log": log }).to_string();
    let (status, body) = body(&agent.request_as(token, "POST", "/v2.0/log/logs", &log));
    assert_eq!(status, 201, "{body}");
    body["log"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn each_change_and_each_refusal_is_an_entry() {
    let site = Site::new("");
    let agent = site.host.start();
    site.agent_did("start", "success", "netlog-agent");

    let log = json!({
        "resource_type": "security_group",
        "name": "all",
        "description": "all\u{202e}",
        "resource_id": GROUP,
    });
    let id = create(&agent, "aaa", &log);
    let entry = site.expect("ada", "create", "success", &id);
    assert_eq!(entry["target"]["name"], "all");
    assert_eq!(entry["initiator"]["project_id"], "ops");
    let from = entry["initiator"]["host"]["address"].as_str().unwrap();
    assert!(from.starts_with("unix:uid="), "{from}");
    assert_eq!(
        entry["reason"],
        json!({"reasonType": "HTTP", "reasonCode": "201"})
    );
    let after = &entry["attachments"][0];
    assert_eq!(after["name"], "after");
    assert_eq!(after["content"]["description"], "all\u{202e}");

    let path = format!("/v2.0/log/logs/{id}");
    let disable = r#"{"log": {"enabled": false}}"#;
    agent.request_as("aaa", "PUT", &path, disable);
    let entry = site.expect("ada", "update", "success", &id);
    let enabled = |n: usize| &entry["attachments"][n]["content"]["enabled"];
    assert_eq!((enabled(0), enabled(1)), (&json!(true), &json!(false)));
    // Nothing changes, so there is nothing to tell.
    agent.request_as("aaa", "PUT", &path, disable);

    let unknown = unknown();
    // Not known, not allowed, not there, not to be understood.
    agent.request_as("zzz", "DELETE", &path, "");
    let entry = site.expect(&unknown, "delete", "failure", &id);
    assert_eq!(entry["reason"]["reasonCode"], "401");
    agent.request_as(
        "bbb",
        "POST",
        "/v2.0/log/logs",
        r#"{"log": {"resource_type": "security_group"}}"#,
    );
    let entry = site.expect("bob", "create", "failure", "unknown");
    assert_eq!(entry["reason"]["reasonCode"], "403");
    assert_eq!(
        entry["attachments"][0]["content"],
        "rule:create_log is disallowed by policy"
    );
    agent.request_as("bbb", "PUT", &path, disable);
    site.expect("bob", "update", "failure", &id);
    agent.request_as("aaa", "DELETE", "/v2.0/log/logs/none", "");
    site.expect("ada", "delete", "failure", "none");
    agent.request_as("aaa", "POST", "/v2.0/log/logs", "{\"log\": \n");
    let entry = site.expect("ada", "create", "failure", "unknown");
    assert_eq!(entry["attachments"][1]["content"], "{\"log\": \n");
    agent.request_as("aaa", "POST", "/v2.0/log/logs", &"x".repeat(200_000));
    let entry = site.expect("ada", "create", "failure", "unknown");
    assert_eq!(entry["reason"]["reasonCode"], "413");
    agent.request_as("zzz", "GET", "/v1/status", "");
    site.expect(&unknown, "authenticate", "failure", "/v1/status");
    agent.request_as("bbb", "GET", "/v1/status", "");
    site.expect("bob", "read", "failure", "/v1/status");

    // The inventory is the operator's.
    let port = format!("/v2.0/ports/{PORT}");
    agent.request_as("aaa", "DELETE", &port, "");
    let entry = site.expect("ada", "delete", "failure", PORT);
    assert_eq!(entry["target"]["typeURI"], "service/network/port");
    assert_eq!(entry["reason"]["reasonCode"], "405");
    agent.request_as("bbb", "POST", "/v2.0/security_groups", "{}");
    let entry = site.expect("bob", "create", "failure", "unknown");
    let target = &entry["target"]["typeURI"];
    assert_eq!(target, "service/network/security_group");

    agent.request_as("aaa", "DELETE", &path, "");
    let entry = site.expect("ada", "delete", "success", &id);
    assert_eq!(entry["attachments"][0]["name"], "before");
    agent.stop();
    site.agent_did("stop", "success", "netlog-agent");
    // The two logs are never mixed.
    assert_eq!(
        fs::read_to_string(site.host.path("events.log")).unwrap(),
        ""
    );
}

#[test]
fn logs_go_with_the_port_or_group_that_they_name() {
    let site = Site::new("");
    let agent = site.host.start();
    let inventory = site.host.path("inventory.json").display().to_string();
    site.agent_did("start", "success", "netlog-agent");
    let new = |name: &str, what: &str, id: &str, enabled: bool| {
        let id = create(
            &agent,
            "aaa",
            &json!({"resource_type": "security_group", "name": name,
            "project_id": "demo", what: id, "enabled": enabled}),
        );
        site.expect("ada", "create", "success", &id);
        id
    };
    let of_group = new("1", "resource_id", GROUP, true);
    let of_group_disabled = new("2", "resource_id", GROUP, false);
    let of_port = new("3", "target_id", PORT, false);
    let of_other = new("4", "resource_id", OTHER, true);
    let ids = |agent: &Running| -> Vec<String> {
        let (_, body) = body(&agent.request_as("aaa", "GET", "/v2.0/log/logs", ""));
        let mut ids: Vec<_> = body["logs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|log| log["id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    let mut all = vec![
        of_group.clone(),
        of_group_disabled.clone(),
        of_port.clone(),
        of_other.clone(),
    ];
    all.sort();

    // Nonsense, and an inventory of nothing at all, delete nothing.
    site.replace("inventory.json", "{\"ports\": [");
    site.agent_did("configure", "failure", &inventory);
    site.inventory(&[], &[]);
    site.agent_did("configure", "success", &inventory);
    assert_eq!(ids(&agent), all);
    // But nothing that dangles can be enabled.
    let path = format!("/v2.0/log/logs/{of_port}");
    let answer = agent.request_as("aaa", "PUT", &path, r#"{"log": {"enabled": true}}"#);
    let (status, error) = body(&answer);
    assert_eq!(
        (status, &error["NeutronError"]["type"]),
        (404, &json!("TargetResourceNotFound"))
    );
    site.expect("ada", "update", "failure", &of_port);

    site.inventory(&[OTHER], &[PORT]);
    site.agent_did("configure", "success", &inventory);
    let mut gone = [&of_group, &of_group_disabled];
    gone.sort();
    for id in gone {
        let entry = site.agent_did("delete", "success", id);
        assert_eq!(entry["attachments"][1]["content"]["id"], **id);
    }
    let mut left = vec![of_port.clone(), of_other.clone()];
    left.sort();
    assert_eq!(ids(&agent), left);

    // What is deleted while the agent is away goes when it is back.
    agent.kill();
    site.inventory(&[OTHER], &[]);
    let agent = site.host.start();
    site.agent_did("start", "success", "netlog-agent");
    site.agent_did("delete", "success", &of_port);
    assert_eq!(ids(&agent), [of_other]);
    agent.kill();
}

#[test]
fn callers_change_an_inventory_that_they_may_write() {
    let site = Site::new("[inventory]\nwritable = true\n");
    let agent = site.host.start();
    let inventory = site.host.path("inventory.json").display().to_string();
    site.agent_did("start", "success", "netlog-agent");
    let group = format!("/v2.0/security-groups/{GROUP}");
    let ask = |token: &str, method: &str, path: &str, text: &str| {
        let answer = agent.request_as(token, method, path, text);
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    let log = create(
        &agent,
        "aaa",
        &json!({"resource_type": "security_group", "project_id": "demo", "resource_id": GROUP}),
    );
    site.expect("ada", "create", "success", &log);

    // The port joins the group, which is then in use.
    let port = format!("/v2.0/ports/{PORT}");
    let join = json!({"port": {"security_groups": [GROUP]}}).to_string();
    assert_eq!(ask("ccc", "PUT", &port, &join), 404);
    site.expect("cem", "update", "failure", PORT);
    assert_eq!(ask("bbb", "PUT", &port, &join), 200);
    let entry = site.expect("bob", "update", "success", PORT);
    assert_eq!(entry["target"]["typeURI"], "service/network/port");
    let groups = |n: usize| &entry["attachments"][n]["content"]["security_groups"];
    assert_eq!((groups(0), groups(1)), (&Value::Null, &json!([GROUP])));
    site.agent_did("configure", "success", &inventory);
    // Nothing changes, so there is nothing to tell.
    assert_eq!(ask("bbb", "PUT", &port, &join), 200);
    assert_eq!(ask("bbb", "DELETE", &group, ""), 409);
    let entry = site.expect("bob", "delete", "failure", GROUP);
    assert_eq!(entry["reason"]["reasonCode"], "409");

    // An edit of the file itself stays, and what is deleted takes the logs with it.
    let (_, body) = body(&agent.request_as("aaa", "GET", "/v2.0/ports", ""));
    assert_eq!(body["ports"][0]["security_groups"], json!([GROUP]));
    site.inventory(&[GROUP, OTHER], &[PORT]);
    assert_eq!(ask("bbb", "DELETE", &group, ""), 204);
    let mut awaited = vec![GROUP, &log];
    while !awaited.is_empty() {
        let entry = site.entry();
        if entry["action"] == "delete" && entry["outcome"] == "success" {
            awaited.retain(|id| entry["target"]["id"] != **id);
        }
    }
    let text = fs::read_to_string(site.host.path("inventory.json")).unwrap();
    assert!(!text.contains(GROUP) && text.contains(OTHER) && text.contains(PORT));
    agent.kill();
}

/// The example of Neutron's documentation: trusted projects run their own logging.
const TRUSTED_PROJECTS: &str = r#"{
    "get_loggable_resources": "rule:regular_user",
    "create_log": "rule:regular_user",
    "update_log": "rule:regular_user",
    "delete_log": "rule:regular_user",
    "get_logs": "rule:regular_user",
    "get_log": "rule:regular_user"
}"#;

#[test]
fn the_policy_changes_with_its_file_and_projects_see_only_their_own() {
    let site = Site::new("");
    let policy = site.host.path("policy.json");
    site.host.write("policy.json", "{}");
    let config = fs::read_to_string(site.host.path("netlog.conf")).unwrap();
    let with_policy = format!(
        "{config}[oslo_policy]\npolicy_file = {}\n",
        policy.display()
    );
    site.host.write("netlog.conf", &with_policy);
    let policy = policy.display().to_string();
    let agent = site.host.start();
    site.agent_did("start", "success", "netlog-agent");
    let log = r#"{"log": {"resource_type": "security_group"}}"#;
    let ask = |token: &str, method: &str, path: &str, text: &str| {
        body(&agent.request_as(token, method, path, text))
    };
    let logs = "/v2.0/log/logs";
    assert_eq!(ask("bbb", "POST", logs, log).0, 403);
    site.expect("bob", "create", "failure", "unknown");

    site.replace("policy.json", TRUSTED_PROJECTS);
    site.agent_did("configure", "success", &policy);
    let (_, types) = ask("bbb", "GET", "/v2.0/log/loggable-resources", "");
    assert_eq!(
        types["loggable_resources"],
        json!([{"type": "security_group"}])
    );
    let id = create(
        &agent,
        "bbb",
        &json!({"resource_type": "security_group", "name": "of-bob"}),
    );
    site.expect("bob", "create", "success", &id);
    let others = create(
        &agent,
        "ccc",
        &json!({"resource_type": "security_group", "name": "of-cem"}),
    );
    site.expect("cem", "create", "success", &others);
    let names = |token: &str| {
        let (_, list) = ask(
            token,
            "GET",
            "/v2.0/log/logs?fields=name&sort_key=name&sort_dir=asc",
            "",
        );
        list["logs"].clone()
    };
    assert_eq!(names("bbb"), json!([{"name": "of-bob"}]));
    assert_eq!(names("ccc"), json!([{"name": "of-cem"}]));
    assert_eq!(
        names("aaa"),
        json!([{"name": "of-bob"}, {"name": "of-cem"}])
    );
    let path = format!("{logs}/{others}");
    assert_eq!(ask("bbb", "GET", &path, "").0, 404);
    assert_eq!(
        ask("bbb", "PUT", &path, r#"{"log": {"enabled": false}}"#).0,
        404
    );
    site.expect("bob", "update", "failure", &others);
    let foreign = r#"{"log": {"resource_type": "security_group", "project_id": "other"}}"#;
    assert_eq!(ask("bbb", "POST", logs, foreign).0, 400);
    site.expect("bob", "create", "failure", "unknown");
    let own = format!("{logs}/{id}");
    let (status, shown) = ask("bbb", "GET", &own, "");
    assert_eq!((status, &shown["log"]["name"]), (200, &json!("of-bob")));
    assert_eq!(
        ask("bbb", "PUT", &own, r#"{"log": {"enabled": false}}"#).0,
        200
    );
    site.expect("bob", "update", "success", &id);

    // A broken policy is an alarm, and the one before stays.
    site.replace("policy.json", r#"{"create_log": "admin"}"#);
    let entry = site.agent_did("configure", "failure", &policy);
    let message = entry["attachments"][0]["content"].as_str().unwrap();
    assert!(message.contains("rule create_log"), "{message}");
    assert_eq!(ask("bbb", "DELETE", &own, "").0, 204);
    site.expect("bob", "delete", "success", &id);

    site.replace("policy.json", "{}");
    site.agent_did("configure", "success", &policy);
    assert_eq!(ask("ccc", "DELETE", &path, "").0, 404);
    site.expect("cem", "delete", "failure", &others);

    // At the start a broken policy is an error.
    agent.stop();
    site.host.write("policy.json", "[");
    let said = site.host.refused();
    assert!(said.contains("policy.json"), "{said}");
}

#[test]
fn limits_change_at_run_time_and_are_told() {
    let site = Site::with_limits("rate_limit = 1000\nburst_limit = 100\n", "");
    let agent = site.host.start();
    site.agent_did("start", "success", "netlog-agent");
    let ask = |method: &str, request: &Value| {
        let request = match request {
            Value::Null => String::new(),
            request => request.to_string(),
        };
        body(&agent.request_as("aaa", method, "/v1/limits", &request))
    };
    let limits = |rate: Value, burst: u32| json!({"rate_limit": rate, "burst_limit": burst});
    // What is in force, without the limits of log objects.
    let host = |answer: &Value| {
        let mut host = answer["limits"].clone();
        host.as_object_mut().unwrap().remove("logs").unwrap();
        host
    };
    let shown = || host(&ask("GET", &Value::Null).1);
    let configured = limits(json!(1000), 100);
    let (_, answer) = ask("GET", &Value::Null);
    assert_eq!(
        (&host(&answer), &answer["configured"]),
        (&configured, &configured)
    );

    // What is not named stays, null is no limit; what changes nothing is not told.
    for (asked, before, after) in [
        (
            json!({"rate_limit": 200}),
            configured.clone(),
            limits(json!(200), 100),
        ),
        (
            json!({"burst_limit": 25}),
            limits(json!(200), 100),
            limits(json!(200), 25),
        ),
        (
            json!({"rate_limit": null}),
            limits(json!(200), 25),
            limits(Value::Null, 25),
        ),
        (
            limits(json!(300), 30),
            limits(Value::Null, 25),
            limits(json!(300), 30),
        ),
    ] {
        for _ in 0..2 {
            let (status, answer) = ask("PUT", &json!({"limits": asked}));
            assert_eq!((status, &host(&answer)), (200, &after), "{asked}");
        }
        let entry = site.expect("ada", "configure", "success", "host");
        let content = |n: usize| &entry["attachments"][n]["content"];
        assert_eq!((content(0), content(1)), (&before, &after), "{entry}");
    }

    for (asked, why) in [
        (
            json!({"limits": {"rate_limit": 99}}),
            "rate_limit = 99: must be from 100 to 1000000000",
        ),
        (
            json!({"limits": {"burst_limit": 24}}),
            "burst_limit = 24: must be from 25 to 1000000",
        ),
        (
            json!({"limits": {"rate_limit": -1}}),
            "rate_limit = -1: must be a whole number",
        ),
        (
            json!({"limits": {"rate_limit": "100"}}),
            "rate_limit = \"100\": must be a whole number",
        ),
        (
            json!({"limits": {"rate": 100}}),
            "there is no limit called \"rate\"",
        ),
        (json!({"rate_limit": 100}), "the body must be {\"limits\": "),
        (json!([]), "the body must be {\"limits\": "),
    ] {
        let (status, answer) = ask("PUT", &asked);
        let error = &answer["NeutronError"];
        assert_eq!(
            (status, &error["type"]),
            (400, &json!("HTTPBadRequest")),
            "{asked}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(why), "{asked}: {message}");
        let entry = site.expect("ada", "configure", "failure", "host");
        assert_eq!(entry["reason"]["reasonCode"], "400");
    }

    // Who may not, or is not known.
    let demand = json!({"limits": {"rate_limit": 5000}}).to_string();
    for (token, status, who) in [("bbb", 403, "bob"), ("", 401, &unknown())] {
        let (answered, _) = body(&agent.request_as(token, "PUT", "/v1/limits", &demand));
        assert_eq!(answered, status);
        site.expect(who, "configure", "failure", "host");
    }
    assert_eq!(shown(), limits(json!(300), 30));

    // A SIGHUP that finds the configuration as it was leaves alone what was set; one that finds
    // another, or one that cannot be used, does what it says, or says so.
    let hangup = || agent.signal(rustix::process::Signal::HUP);
    let log = site.host.path("events.log");
    fs::rename(&log, site.host.path("events.log.1")).unwrap();
    hangup();
    let deadline = clock::monotonic() + LIMIT;
    while !log.exists() {
        assert!(clock::monotonic() < deadline, "the log is not opened again");
        std::thread::yield_now();
    }
    assert_eq!(shown(), limits(json!(300), 30));
    site.configure("rate_limit = 50\n", "");
    hangup();
    let entry = site.expect("netlog-agent", "configure", "failure", "host");
    let said = entry["attachments"][0]["content"].as_str().unwrap();
    assert!(
        said.contains("netlog.conf:") && said.contains("at least 100"),
        "{said}"
    );
    assert_eq!(shown(), limits(json!(300), 30));
    site.configure("rate_limit = 2000\nburst_limit = 100\n", "");
    hangup();
    let entry = site.expect("netlog-agent", "configure", "success", "host");
    assert_eq!(entry["attachments"][0]["content"], limits(json!(300), 30));
    assert_eq!(entry["attachments"][1]["content"], limits(json!(2000), 100));

    // What was set is taken back.
    ask("PUT", &json!({"limits": {"rate_limit": 100}}));
    site.expect("ada", "configure", "success", "host");
    assert_eq!(ask("DELETE", &Value::Null).0, 204);
    site.expect("ada", "configure", "success", "host");
    assert_eq!(shown(), limits(json!(2000), 100));
    assert_eq!(ask("POST", &json!({})).0, 405);
    agent.stop();
}

#[test]
fn a_log_object_has_a_limit_of_its_own() {
    let site = Site::new("");
    let agent = site.host.start();
    site.agent_did("start", "success", "netlog-agent");
    let log = json!({"resource_type": "security_group", "resource_id": GROUP});
    let id = create(&agent, "aaa", &log);
    site.expect("ada", "create", "success", &id);
    let ask = |agent: &Running, method: &str, request: &Value| {
        let (status, answer) =
            body(&agent.request_as("aaa", method, "/v1/limits", &request.to_string()));
        (status, answer)
    };
    let set = |limit: &Value| ask(&agent, "PUT", &json!({"limits": {"logs": {&*id: limit}}}));
    let shown = |agent: &Running| ask(agent, "GET", &Value::Null).1["limits"]["logs"].clone();

    let (status, answer) = set(&json!({"rate_limit": 10}));
    let limit = json!({"rate_limit": 10, "burst_limit": 25});
    assert_eq!(
        (status, &answer["limits"]["logs"]),
        (200, &json!({&*id: limit}))
    );
    let entry = site.expect("ada", "configure", "success", &id);
    let attached = |n: usize| {
        (
            &entry["attachments"][n]["name"],
            &entry["attachments"][n]["content"],
        )
    };
    assert_eq!(attached(0), (&json!("after"), &limit));
    set(&json!({"burst_limit": 5}));
    let entry = site.expect("ada", "configure", "success", &id);
    assert_eq!(entry["attachments"][0]["content"], limit);
    let limit = json!({"rate_limit": 10, "burst_limit": 5});
    assert_eq!(entry["attachments"][1]["content"], limit);

    let none = "99999999-0000-4000-8000-000000000001";
    for (asked, status, why) in [
        (
            json!({"logs": {&*id: {"rate_limit": 0}}}),
            400,
            "rate_limit = 0: must be from 1 to",
        ),
        (
            json!({"logs": {&*id: {"burst": 1}}}),
            400,
            "there is no limit called \"burst\"",
        ),
        (json!({"logs": {&*id: 7}}), 400, "must be an object or null"),
        (json!({"logs": []}), 400, "logs must be an object"),
        (json!({"logs": {"no-id": {}}}), 404, "no-id"),
        (json!({"logs": {none: {"rate_limit": 1}}}), 404, none),
        (
            json!({"logs": {none: {"burst_limit": 1}}}),
            400,
            "needs a rate_limit",
        ),
        // All of it or nothing.
        (
            json!({"rate_limit": 1, "logs": {&*id: null}}),
            400,
            "rate_limit = 1: must be from 100",
        ),
        (
            json!({"rate_limit": 500, "logs": {&*id: null, none: null}}),
            404,
            none,
        ),
    ] {
        let (answered, answer) = ask(&agent, "PUT", &json!({"limits": asked}));
        let message = answer["NeutronError"]["message"]
            .as_str()
            .unwrap_or_default();
        assert_eq!(answered, status, "{asked}: {answer}");
        assert!(message.contains(why), "{asked}: {message}");
        site.expect("ada", "configure", "failure", "host");
    }
    let (_, answer) = ask(&agent, "GET", &Value::Null);
    assert_eq!(answer["limits"]["rate_limit"], Value::Null);
    assert_eq!(shown(&agent), json!({&*id: limit}));

    // Kept with the log object, and gone with it.
    agent.request_as(
        "aaa",
        "PUT",
        &format!("/v2.0/log/logs/{id}"),
        r#"{"log": {"name": "renamed"}}"#,
    );
    site.expect("ada", "update", "success", &id);
    agent.stop();
    site.agent_did("stop", "success", "netlog-agent");
    let agent = site.host.start();
    site.agent_did("start", "success", "netlog-agent");
    assert_eq!(shown(&agent), json!({&*id: limit}));
    agent.request_as("aaa", "DELETE", &format!("/v2.0/log/logs/{id}"), "");
    site.expect("ada", "delete", "success", &id);
    assert_eq!(shown(&agent), json!({}));
    agent.stop();
}
