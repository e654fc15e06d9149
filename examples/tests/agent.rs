//! The agent on the real switch, as an operator sees it. These tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use netlog_lab::{
    Agent, BR_INT, Family, INVENTORY, LIMIT, Lab, Options, Site, host, log_flows_of, until,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

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
fn an_answer_comes_once_the_switch_has_the_log_flows_of_every_port() {
    /// The first of the ports beside the VMs.
    const FIRST: u16 = 100;
    let lab = start();
    let more = FIRST..FIRST + 60;
    let id = |ofport: u16| format!("dddddddd-0000-4000-8000-{ofport:012}");
    lab.plug_more(more.clone().map(|ofport| (ofport, id(ofport))))
        .unwrap();
    let agent = Agent::start(&lab, "").unwrap();
    // Two in three are in the project of vm1 and vm2.
    let ours = |ofport: &u16| !ofport.is_multiple_of(3);
    let mut inventory: Value = serde_json::from_str(INVENTORY).unwrap();
    let ports = more.clone().map(|ofport| {
        let project =
            if ours(&ofport) { "a" } else { "c" }.repeat(8) + "-0000-4000-8000-00000000000a";
        json!({"id": id(ofport), "project_id": project})
    });
    inventory["ports"].as_array_mut().unwrap().extend(ports);
    fs::write(agent.file("inventory.json"), inventory.to_string()).unwrap();
    let path = format!("/v2.0/ports/{}", id(FIRST));
    until(LIMIT, "the agent to read the inventory", || {
        Ok(agent.get(&path).ok())
    })
    .unwrap();

    let project: BTreeSet<u16> = more.filter(ours).chain([1, 2]).collect();
    let other = 102;
    let both = &project | &BTreeSet::from([other]);
    let create = ["log", "create", "--resource-type", "security_group"];
    let port = id(other);
    let create_port = [&create[..], &["--target", &port, "Port"]].concat();
    for (args, ports) in [
        ([&create[..], &["Project"]].concat(), &project),
        (create_port, &both),
        (
            vec!["log", "set", "--disable", "Project"],
            &BTreeSet::from([other]),
        ),
        (vec!["log", "set", "--enable", "Project"], &both),
        (vec!["log", "set", "--disable", "Port"], &project),
        (vec!["log", "delete", "Project"], &BTreeSet::new()),
        (
            vec!["log", "set", "--enable", "Port"],
            &BTreeSet::from([other]),
        ),
        (vec!["log", "delete", "Port"], &BTreeSet::new()),
    ] {
        // While the switch stands still the change is made, and not answered.
        lab.signal_vswitchd(Signal::SIGSTOP).unwrap();
        let mut command = agent.netlog().unwrap();
        let mut answer = command.args(&args).stdout(Stdio::null()).spawn().unwrap();
        until(LIMIT, &format!("{args:?} to be stored and planned"), || {
            let status = agent.get("/v1/status")?;
            Ok((status["ports"].as_array().unwrap().len() == ports.len()).then_some(()))
        })
        .unwrap();
        assert!(answer.try_wait().unwrap().is_none(), "answered: {args:?}");
        lab.signal_vswitchd(Signal::SIGCONT).unwrap();
        assert!(answer.wait().unwrap().success(), "{args:?}");
        let expected: BTreeSet<String> = { ports.iter() }
            .flat_map(|port| log_flows_of(*port))
            .collect();
        assert_eq!(lab.log_flows().unwrap(), expected, "{args:?}");
    }
    agent.terminate().unwrap();
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
    let socket = lab.run_dir().join("metrics.sock");
    let config = format!(
        "[network_log]\nrate_limit = 100\nburst_limit = 25\n[metrics]\nbind = unix:{}\n",
        socket.display()
    );
    let agent = Agent::start(&lab, &config).unwrap();
    create_log(&agent);
    lab.syn("ext1", "vm1", Family::V4, 80, 500).unwrap();
    // The switch may have lost some of them on the way; what reached us is accounted for, and
    // Prometheus is told the same. Packets may still come when it is asked.
    let series = |events: u64, suppressed: u64| {
        let vm1 = host("vm1").unwrap().port_id;
        let written = events - suppressed;
        [
            ("netlog_switch_connected{bridge=\"br-int\"}".to_owned(), 1),
            ("netlog_logged_ports".to_owned(), 2),
            ("netlog_log_flows".to_owned(), 10),
            ("netlog_log_objects{enabled=\"true\"}".to_owned(), 1),
            ("netlog_events_total".to_owned(), events),
            ("netlog_events_queued".to_owned(), 0),
            ("netlog_records_written_total".to_owned(), written),
            (
                "netlog_events_suppressed_total{reason=\"rate-limit\"}".to_owned(),
                suppressed,
            ),
            (
                format!(
                    "netlog_port_events_suppressed_total{{port=\"{vm1}\",reason=\"rate-limit\"}}"
                ),
                suppressed,
            ),
            (
                format!("netlog_port_events_total{{port=\"{vm1}\"}}"),
                events,
            ),
        ]
        .map(|(series, value)| format!("{series} {value}.0"))
    };
    let mut page = String::new();
    let mut missing = Vec::new();
    until(LIMIT, "every event to be accounted for", || {
        let totals = agent.status()?["totals"].clone();
        let number = |value: &Value| value.as_u64().unwrap();
        let suppressed = number(&totals["suppressed"]["rate-limit"]);
        let events = number(&totals["events"]);
        if events <= 100 || number(&totals["written"]) + suppressed != events {
            return Ok(None);
        }
        assert!(
            suppressed > 0,
            "{events} packets at once are more than 25 in the queue"
        );
        page = scrape(&socket);
        missing = series(events, suppressed).to_vec();
        missing.retain(|line| !page.lines().any(|other| other == line));
        let records = agent.records()?.len() as u64;
        Ok((missing.is_empty() && records == events - suppressed).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {missing:#?}\n{page}"));
    // It has nothing to say against the form.
    check_metrics(&page);
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

/// What Prometheus would read.
fn scrape(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Has Debian's promtool look at a page of metrics.
fn check_metrics(page: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs; it comes with Debian's package prometheus");
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(page.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}{page}");
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
        let read = |totals: &Value| {
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

    let meters = || {
        let meters = lab.ovs_ofctl(&["dump-meters", BR_INT]).unwrap();
        meters.matches("meter=").count()
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
    assert_eq!(meters(), 10, "the switch is told as well");
    // As many as the meter lets through at once.
    let [written, host, logs] = dropped(100);
    assert!((26..100).contains(&written), "{written}");
    assert_eq!((host, logs), (100 - written, 0));
    limits(&["unset"]);
    assert_eq!(meters(), 0);
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
