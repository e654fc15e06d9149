//! The agent on the real switch, as an operator sees it. These tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::fs;

use netlog_lab::{Agent, Family, LIMIT, Lab, Options, Site, host, until};
use nix::sys::signal::Signal;

fn start() -> Lab {
    Lab::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Logs everything in the project of vm1 and vm2.
fn create_log(agent: &Agent<'_>) {
    let args = [
        "log",
        "create",
        "--resource-type",
        "security_group",
        "Log_Created",
    ];
    agent.netlog_ok(&args).unwrap();
}

fn events(agent: &Agent<'_>, before: usize, count: usize) -> Vec<String> {
    let records = agent.records_after(before, count).unwrap();
    records.into_iter().map(|record| record.event).collect()
}

/// Our flows: cookie, and how long each has been there.
fn log_flows(lab: &Site) -> BTreeMap<String, f64> {
    let mut flows = BTreeMap::new();
    for table in [91, 92, 93] {
        for flow in lab.flows(table).unwrap().lines() {
            let field = |name: &str| flow.split_once(name)?.1.split([',', 's']).next();
            if let Some(cookie) = field("cookie=").filter(|c| c.starts_with("0x6e4c")) {
                flows.insert(
                    cookie.to_owned(),
                    field("duration=").unwrap().parse().unwrap(),
                );
            }
        }
    }
    flows
}

#[test]
fn after_a_crash_log_objects_are_there_and_flows_are_kept() {
    let lab = start();
    let mut agent = Agent::start(&lab, "").unwrap();
    create_log(&agent);
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();
    assert_eq!(events(&agent, 0, 1), ["ACCEPT:vm1:in"]);
    let before = log_flows(&lab);
    assert_eq!(before.len(), 10, "two ports that log ACCEPT and DROP");

    agent.kill().unwrap();
    // Traffic goes on as if nothing had happened.
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();
    agent.restart().unwrap();

    let logs = agent
        .netlog_ok(&["log", "list", "-f", "value", "-c", "Name"])
        .unwrap();
    assert_eq!(logs.trim(), "Log_Created");
    let records = agent.records().unwrap().len();
    lab.tcp_exchange("vm2", "vm1", Family::V4, 22, 1).unwrap();
    assert_eq!(
        events(&agent, records, 2),
        ["ACCEPT:vm2:out", "ACCEPT:vm1:in"]
    );
    let after = log_flows(&lab);
    assert!(before.keys().eq(after.keys()), "{before:?} {after:?}");
    for (cookie, duration) in &before {
        assert!(
            after[cookie] > *duration,
            "{cookie} was replaced: {before:?} {after:?}"
        );
    }
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn nothing_is_recorded_while_a_log_is_disabled() {
    let lab = start();
    let agent = Agent::start(&lab, "").unwrap();
    create_log(&agent);
    assert_eq!(log_flows(&lab).len(), 10);
    agent
        .netlog_ok(&["log", "set", "--disable", "Log_Created"])
        .unwrap();
    // The command returns when the change is in force.
    assert_eq!(log_flows(&lab).len(), 0);
    lab.syn("ext1", "vm1", Family::V4, 80, 5).unwrap();
    agent
        .netlog_ok(&["log", "set", "--enable", "Log_Created"])
        .unwrap();
    assert_eq!(log_flows(&lab).len(), 10);
    lab.tcp_exchange("ext1", "vm1", Family::V6, 22, 1).unwrap();
    assert_eq!(events(&agent, 0, 1), ["ACCEPT:vm1:in"]);
    agent.netlog_ok(&["log", "delete", "Log_Created"]).unwrap();
    assert_eq!(log_flows(&lab).len(), 0);
    agent.terminate().unwrap();
    assert_eq!(agent.records().unwrap().len(), 1);
    lab.stop().unwrap();
}

#[test]
fn a_bridge_that_does_not_exist_yet_is_waited_for() {
    let lab = start();
    let late = format!(
        "[ovs]\nintegration_bridge = br-late\nopenflow_socket = {}\n",
        lab.mgmt_socket("br-late").display()
    );
    let agent = Agent::launch(&lab, &late).unwrap();
    until(LIMIT, "the agent to say that it waits", || {
        let said = agent.stderr()?;
        let waits = said.contains("bridge br-late does not exist; waiting for it")
            && said.contains("not attached to bridge br-late: cannot connect to");
        Ok(waits.then_some(()))
    })
    .unwrap();
    assert_eq!(agent.status().unwrap()["bridge"]["connected"], false);
    // Log objects can be made meanwhile.
    create_log(&agent);

    let bridge = [
        "add-br",
        "br-late",
        "--",
        "set",
        "Bridge",
        "br-late",
        "datapath_type=netdev",
    ];
    lab.ovs_vsctl(&bridge).unwrap();
    agent.wait_attached().unwrap();
    let attempts = agent
        .stderr()
        .unwrap()
        .matches("not attached to bridge")
        .count();
    assert_eq!(
        attempts,
        1,
        "each reason is said once: {}",
        agent.stderr().unwrap()
    );
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn mistakes_of_the_operator_are_told_and_change_nothing() {
    let lab = start();
    let agent = Agent::start(&lab, "").unwrap();
    create_log(&agent);

    let output = agent
        .run_netlog(&["log", "create", "--resource-type", "firewall_rule", "Other"])
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("Invalid log resource_type: firewall_rule."),
        "{said}"
    );

    // A broken inventory: the one that was read before stays in force.
    let inventory = agent.file("inventory.json");
    let good = fs::read_to_string(&inventory).unwrap();
    fs::write(&inventory, "{\"ports\": [").unwrap();
    until(LIMIT, "the agent to tell of the broken inventory", || {
        let said = agent.stderr()?;
        let told =
            said.contains(&inventory.display().to_string()) && said.contains("stays in force");
        Ok(told.then_some(()))
    })
    .unwrap();
    lab.syn("ext1", "vm1", Family::V4, 80, 1).unwrap();
    assert_eq!(events(&agent, 0, 1), ["DROP:vm1:in"]);

    // A changed one is followed: vm1 leaves the project.
    fs::write(&inventory, good.replacen("aaaaaaaa", "cccccccc", 100)).unwrap();
    until(LIMIT, "the log flows to go", || {
        Ok(log_flows(&lab).is_empty().then_some(()))
    })
    .unwrap();
    let logs = agent
        .netlog_ok(&["log", "list", "-f", "value", "-c", "Name"])
        .unwrap();
    assert_eq!(logs.trim(), "Log_Created");
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn a_flood_is_limited_and_accounted_for() {
    let lab = start();
    let agent = Agent::start(&lab, "[network_log]\nrate_limit = 100\nburst_limit = 25\n").unwrap();
    create_log(&agent);
    lab.syn("ext1", "vm1", Family::V4, 80, 500).unwrap();
    // The switch may have lost some of them on the way; what reached us is accounted for.
    let (events, suppressed) = until(LIMIT, "every event to be accounted for", || {
        let totals = agent.status()?["totals"].clone();
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        let suppressed = number(&totals["suppressed"]["rate-limit"]);
        let events = number(&totals["events"]);
        let settled = events > 100 && number(&totals["written"]) + suppressed == events;
        Ok(settled.then_some((events, suppressed)))
    })
    .unwrap();
    assert!(
        suppressed > 0,
        "{events} packets at once are more than 25 in the queue"
    );
    assert_eq!(agent.records().unwrap().len() as u64, events - suppressed);
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn limits_change_while_the_agent_runs() {
    let lab = start();
    let agent = Agent::start(&lab, "").unwrap();
    create_log(&agent);
    // So many packets are dropped at vm1; what became of them, once all is accounted for: how many
    // were recorded, refused by the host's limit, and by those of log objects.
    let dropped = |count: usize| {
        let totals = || agent.status().map(|status| status["totals"].clone());
        let read = |totals: &serde_json::Value| {
            [
                &totals["events"],
                &totals["written"],
                &totals["suppressed"]["rate-limit"],
                &totals["suppressed"]["log-limit"],
            ]
            .map(|number| number.as_u64().unwrap())
        };
        let before = read(&totals().unwrap());
        lab.syn("ext1", "vm1", Family::V4, 80, count).unwrap();
        until(LIMIT, "every packet to be accounted for", || {
            let now = read(&totals()?);
            let [events, written, host, logs] = [0, 1, 2, 3].map(|n| now[n] - before[n]);
            let settled = events == count as u64 && written + host + logs == events;
            Ok(settled.then_some([written, host, logs]))
        })
        .unwrap()
    };
    let limits = |args: &[&str]| {
        let args = [&["limits"], args].concat();
        agent.netlog_ok(&args).unwrap()
    };

    assert_eq!(dropped(50), [50, 0, 0]);
    limits(&[
        "set",
        "--log",
        "Log_Created",
        "--rate-limit",
        "1",
        "--burst-limit",
        "5",
    ]);
    let [written, host, logs] = dropped(50);
    assert!(
        (5..10).contains(&written),
        "a burst of 5, one a second: {written}"
    );
    assert_eq!((host, logs), (0, 50 - written));

    // Another log object that wants the same packets is not silenced.
    let other = ["log", "create", "--resource-type", "security_group"];
    let port = netlog_lab::host("vm1").unwrap().port_id.to_string();
    let other = [&other[..], &["--target", &port, "Other"]].concat();
    agent.netlog_ok(&other).unwrap();
    assert_eq!(dropped(50), [50, 0, 0]);

    // Inside the host's limit, which holds at once and loses nothing that waits.
    limits(&["set", "--rate-limit", "100", "--burst-limit", "25"]);
    let [written, host, logs] = dropped(200);
    assert!((26..150).contains(&written), "{written}");
    assert_eq!((host, logs), (200 - written, 0));
    limits(&["unset"]);
    limits(&["unset", "--log", "Log_Created"]);
    assert_eq!(dropped(50), [50, 0, 0]);
    let shown = limits(&["show", "-f", "value"]);
    assert_eq!(shown, "host None 25\nconfiguration None 25\n");
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn records_go_to_the_local_syslog_where_no_file_is_set() {
    let lab = start();
    let directory = lab.run_dir().display().to_string();
    let conf = format!(
        "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
         input(type=\"imuxsock\" Socket=\"{directory}/log\")\n\
         template(name=\"tagged\" type=\"string\" string=\"%syslogfacility-text% %programname% %msg%\\n\")\n\
         action(type=\"omfile\" file=\"{directory}/syslog\" template=\"tagged\")\n"
    );
    fs::write(format!("{directory}/rsyslog.conf"), conf).unwrap();
    let rsyslogd = lab
        .spawn("rsyslogd", |command| {
            command.args(["-n", "-i", &format!("{directory}/rsyslogd.pid")]);
            command.args(["-f", &format!("{directory}/rsyslog.conf")]);
        })
        .unwrap();
    let socket = lab.run_dir().join("log");
    until(LIMIT, "rsyslogd to listen", || {
        Ok(socket.exists().then_some(()))
    })
    .unwrap();

    let syslog = format!(
        "[syslog]\nsocket = {}\nfacility = local3\n",
        socket.display()
    );
    let agent = Agent::launch(&lab, &syslog).unwrap();
    agent.wait_attached().unwrap();
    create_log(&agent);
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();
    let line = until(LIMIT, "a record in the syslog", || {
        let text = fs::read_to_string(lab.run_dir().join("syslog")).unwrap_or_default();
        Ok(text.lines().next().map(str::to_owned))
    })
    .unwrap();
    let vm1 = host("vm1").unwrap().port_id;
    assert!(
        line.starts_with("local3 netlog  action=ACCEPT project_id="),
        "{line}"
    );
    assert!(
        line.contains(&format!("vm_port={vm1} direction=ingress")),
        "{line}"
    );
    agent.terminate().unwrap();
    rsyslogd.signal(Signal::SIGTERM).unwrap();
    lab.stop().unwrap();
}
