//! Log flows on the real switch while others delete, change and obstruct them. These tests need
//! root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use netlog_lab::frames::Ends;
use netlog_lab::{
    Agent, BR_INT, Family, HOSTS, LIMIT, Lab, LabError, Options, Record, Site, until,
};
use nix::sys::signal::Signal;

/// Events have to come again within this time. The aim is a second; the machine may be busy.
const RESUME: Duration = Duration::from_secs(10);

fn start() -> Lab {
    Lab::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Logs everything of one VM, or of the project of vm1 and vm2.
fn create_log(agent: &Agent<'_>, name: &str, target: Option<&str>) {
    let mut args = vec!["log", "create", "--resource-type", "security_group"];
    if let Some(vm) = target {
        let host = netlog_lab::host(vm).unwrap();
        args.extend(["--target", host.port_id]);
    }
    args.push(name);
    agent.netlog_ok(&args).unwrap();
}

/// All flows of the bridge, one a line, without counters: ours, and those of others.
fn flows(lab: &Site) -> Result<(BTreeSet<String>, BTreeSet<String>), LabError> {
    let text = lab.ovs_ofctl(&["dump-flows", "--no-names", "--no-stats", BR_INT])?;
    Ok(text
        .lines()
        .map(|line| line.trim().to_owned())
        .partition(|flow| flow.starts_with("cookie=0x6e4c")))
}

/// Since when each of our flows is there, in seconds before now, by cookie.
fn ages(lab: &Site) -> BTreeMap<String, f64> {
    let text = lab
        .ovs_ofctl(&["dump-flows", "--no-names", BR_INT])
        .unwrap();
    let field = |flow: &str, name: &str| -> Option<String> {
        let value = flow.split_once(name)?.1.split([',', 's']).next()?;
        Some(value.to_owned())
    };
    text.lines()
        .filter_map(|flow| {
            let cookie = field(flow, "cookie=").filter(|cookie| cookie.starts_with("0x6e4c"))?;
            Some((cookie, field(flow, "duration=")?.parse().unwrap()))
        })
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a real switch takes is measured"
)]
fn now() -> Instant {
    Instant::now()
}

/// Sends packets that are dropped at vm1 until one of them is recorded, and says how long after
/// `since` that was. They have a port of their own, so that no earlier one is taken for them.
fn wait_for_events(lab: &Lab, agent: &Agent<'_>, since: Instant) -> Duration {
    static PORT: AtomicU16 = AtomicU16::new(30_000);
    let port = PORT.fetch_add(1, Ordering::Relaxed);
    let sent = format!("dst_port={port}");
    until(RESUME, "events to come again", || {
        lab.syn("ext1", "vm1", Family::V4, port, 1)?;
        let records = agent.records()?;
        let came = |record: &Record| record.line.contains(&sent) && record.event == "DROP:vm1:in";
        Ok(records.iter().any(came).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", agent.stderr().unwrap()));
    since.elapsed()
}

/// Logs vm1 and vm2, lets `harm` happen under traffic, and sees to it that events come again, all
/// flows of ours are as before, and the report names what happened.
fn heals(what: &str, named: &[&str], harm: impl FnOnce(&Lab)) {
    let lab = start();
    let agent = Agent::start(&lab, "").unwrap();
    create_log(&agent, "All", None);
    wait_for_events(&lab, &agent, now());
    let (ours, theirs) = flows(&lab).unwrap();
    assert_eq!(ours.len(), 10, "{ours:?}");

    let since = now();
    harm(&lab);
    let harmed = since.elapsed();
    let resumed = wait_for_events(&lab, &agent, since);
    println!("{what}: took {harmed:?}, events came again after {resumed:?}");

    until(LIMIT, "our flows to be as before", || {
        Ok((flows(&lab)?.0 == ours).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", agent.stderr().unwrap()));
    let after = flows(&lab).unwrap().1;
    let added: Vec<_> = after.difference(&theirs).collect();
    assert!(added.is_empty(), "{added:?}");
    until(LIMIT, "a report that names what happened", || {
        let said = agent.stderr()?;
        Ok(named.iter().all(|name| said.contains(name)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", agent.stderr().unwrap()));
    for report in agent
        .stderr()
        .unwrap()
        .lines()
        .filter(|line| line.contains(" WARN "))
    {
        println!("{what}: {report}");
    }
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

/// Lets `harm` happen and 20 packets be dropped at vm1 while the agent is held, and sees to it that
/// the report says how many were lost.
fn reports_loss(named: &str, harm: impl FnOnce(&Lab)) {
    let lab = start();
    let agent = Agent::start(&lab, "").unwrap();
    create_log(&agent, "All", None);
    wait_for_events(&lab, &agent, now());
    // The switch counts late and the agent looks now and then: it has seen everything when both say
    // the same.
    until(LIMIT, "the agent to look at the counters", || {
        let counted: u64 = lab.matched()?.values().sum();
        let seen = agent.status()?["totals"]["matched"].as_u64();
        Ok((counted > 0 && seen == Some(counted)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", lab.flows(93).unwrap()));
    let said = agent.stderr().unwrap().len();
    agent.process().signal(Signal::SIGSTOP).unwrap();
    harm(&lab);
    let ends = Ends::between(
        netlog_lab::host("ext1").unwrap(),
        netlog_lab::host("vm1").unwrap(),
        Family::V4,
    );
    let frames: Vec<_> = (40_000..40_020)
        .map(|port| ends.syn(port, 4444).unwrap())
        .collect();
    lab.send_frames("ext1", &frames).unwrap();
    until(LIMIT, "the packets to be looked up", || {
        let tables = lab.ovs_ofctl(&["dump-tables", BR_INT])?;
        let looked_up = tables.split_once("table 93:").unwrap().1;
        let count = looked_up.split_once("lookup=").unwrap().1;
        let count: u64 = count.split(',').next().unwrap().parse().unwrap();
        Ok((count >= 20).then_some(()))
    })
    .unwrap();
    agent.process().signal(Signal::SIGCONT).unwrap();
    let report = until(LIMIT, "a report of what was lost", || {
        let says = agent.stderr()?;
        let report = says[said..].lines().find(|line| line.contains("unlogged"));
        Ok(report.map(str::to_owned))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", agent.stderr().unwrap()));
    println!("{report}");
    assert!(report.contains(named), "{report}");
    // It is audited after it is said.
    let audit = || fs::read_to_string(agent.file("audit.log")).unwrap();
    until(LIMIT, "the audit entry of what was lost", || {
        Ok(audit().contains(named).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", audit()));
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn loss_by_deleted_flows_is_told() {
    reports_loss(
        "at most 20 packets passed tables 91, 92, 93 unlogged",
        |lab| {
            let ours = "cookie=0x6e4c000000000000/0xffff000000000000";
            lab.ovs_ofctl(&["del-flows", BR_INT, ours]).unwrap();
        },
    );
}

#[test]
fn loss_by_a_flushed_table_is_told() {
    reports_loss("at most 20 packets passed table 93 unlogged", |lab| {
        lab.ovs_ofctl(&["del-flows", BR_INT, "table=93"]).unwrap();
    });
}

#[test]
fn loss_by_changed_flows_is_told() {
    reports_loss("at most 20 packets passed table 93 unlogged", |lab| {
        let ours = "table=93,cookie=0x6e4c000000000000/0xffff000000000000,actions=drop";
        lab.ovs_ofctl(&["mod-flows", BR_INT, ours]).unwrap();
    });
}

#[test]
fn loss_by_a_restart_of_vswitchd_is_told() {
    reports_loss(
        "at most 20 packets passed tables 91, 92, 93 unlogged; of the last",
        |lab| {
            lab.kill_vswitchd().unwrap();
            lab.start_vswitchd().unwrap();
            lab.load_pipeline().unwrap();
        },
    );
}

#[test]
fn flows_deleted_by_cookie() {
    let named = ["10 log flows of 2 ports were gone"];
    heals("deleted by cookie", &named, |lab| {
        let ours = "cookie=0x6e4c000000000000/0xffff000000000000";
        lab.ovs_ofctl(&["del-flows", BR_INT, ours]).unwrap();
    });
}

#[test]
fn a_table_flushed() {
    let named = ["table 93 was emptied; 4 log flows of 2 ports were gone"];
    heals("table flushed", &named, |lab| {
        lab.ovs_ofctl(&["del-flows", BR_INT, "table=93"]).unwrap();
    });
}

#[test]
fn all_flows_deleted() {
    let named = ["table 91 was emptied; table 92 was emptied; table 93 was emptied; 10 log flows"];
    heals("all flows deleted", &named, |lab| {
        lab.ovs_ofctl(&["del-flows", BR_INT]).unwrap();
        lab.load_pipeline().unwrap();
    });
}

#[test]
fn flows_replaced() {
    heals(
        "flows replaced",
        &["10 log flows of 2 ports were gone"],
        |lab| {
            lab.load_pipeline().unwrap();
        },
    );
}

#[test]
fn actions_changed() {
    heals(
        "actions changed",
        &["4 log flows of 2 ports were changed"],
        |lab| {
            let ours = "table=93,cookie=0x6e4c000000000000/0xffff000000000000,actions=drop";
            lab.ovs_ofctl(&["mod-flows", BR_INT, ours]).unwrap();
        },
    );
}

#[test]
fn vswitchd_killed_and_started_again() {
    let named = ["the switch came back", "10 log flows of 2 ports were gone"];
    heals("vswitchd killed", &named, |lab| {
        lab.kill_vswitchd().unwrap();
        lab.start_vswitchd().unwrap();
        lab.load_pipeline().unwrap();
    });
}

#[test]
fn a_bridge_made_anew_under_the_same_name() {
    let named = [
        "bridge br-int does not exist",
        "not attached to bridge br-int",
        "bridge br-int is there",
    ];
    heals("bridge made anew", &named, |lab| {
        lab.ovs_vsctl(&["del-br", BR_INT]).unwrap();
        let bridge = [
            "--",
            "add-br",
            BR_INT,
            "--",
            "set",
            "Bridge",
            BR_INT,
            "datapath_type=netdev",
            "fail_mode=secure",
            "protocols=OpenFlow10,OpenFlow13,OpenFlow14",
            "--",
            "add-port",
            BR_INT,
            "int-br-phys",
            "--",
            "set",
            "Interface",
            "int-br-phys",
            "type=patch",
            "options:peer=phy-br-phys",
            "ofport_request=6",
        ];
        lab.ovs_vsctl(&bridge).unwrap();
        for vm in HOSTS.iter().filter(|host| host.is_vm()) {
            lab.plug(vm.name).unwrap();
        }
        lab.load_pipeline().unwrap();
    });
}

#[test]
fn on_a_bridge_that_speaks_openflow_1_3_only() {
    let lab = start();
    let protocols = "protocols=OpenFlow10,OpenFlow13";
    lab.ovs_vsctl(&["set", "Bridge", BR_INT, protocols])
        .unwrap();
    let agent = Agent::start(&lab, "").unwrap();
    assert_eq!(agent.status().unwrap()["bridge"]["openflow_version"], "1.3");
    create_log(&agent, "All", None);
    wait_for_events(&lab, &agent, now());
    let since = now();
    let ours = "table=93,cookie=0x6e4c000000000000/0xffff000000000000";
    lab.ovs_ofctl(&["-O", "OpenFlow13", "del-flows", BR_INT, ours])
        .unwrap();
    let resumed = wait_for_events(&lab, &agent, since);
    println!("OpenFlow 1.3: events came again after {resumed:?}");
    until(LIMIT, "a report", || {
        let said = agent.stderr()?;
        Ok(said
            .contains("4 log flows of 2 ports were gone")
            .then_some(()))
    })
    .unwrap();
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn ports_that_swap_their_numbers() {
    let lab = start();
    let agent = Agent::start(&lab, "").unwrap();
    create_log(&agent, "All", None);
    let before = lab.slots().unwrap();
    assert_eq!(before.len(), 2);
    let swap = [
        "--",
        "set",
        "Interface",
        "tapvm1",
        "ofport_request=2",
        "--",
        "set",
        "Interface",
        "tapvm2",
        "ofport_request=1",
    ];
    let since = now();
    lab.ovs_vsctl(&swap).unwrap();
    let swapped: BTreeMap<String, String> = before
        .keys()
        .cloned()
        .zip(before.values().rev().cloned())
        .collect();
    until(LIMIT, "the log flows to follow their ports", || {
        Ok((lab.slots()? == swapped).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{:?}\n{}", lab.slots(), agent.stderr().unwrap()));
    println!(
        "ports swapped: the log flows followed after {:?}",
        since.elapsed()
    );
    assert_eq!(flows(&lab).unwrap().0.len(), 10);

    // A port that is plugged again with a third number.
    lab.unplug("vm1").unwrap();
    lab.plug_as("vm1", 17).unwrap();
    until(LIMIT, "the log flows to follow vm1", || {
        let ports: BTreeSet<String> = lab.slots()?.into_values().collect();
        Ok((ports == BTreeSet::from(["0x11".to_owned(), "0x1".to_owned()])).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{:?}\n{}", lab.slots(), agent.stderr().unwrap()));
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn a_changed_log_object_touches_only_its_own_ports() {
    let lab = start();
    let agent = Agent::start(&lab, "").unwrap();
    for vm in ["vm1", "vm2"] {
        create_log(&agent, vm, Some(vm));
    }
    let before = ages(&lab);
    assert_eq!(before.len(), 10);
    let disable = ["log", "set", "--disable", "vm2"];
    agent.netlog_ok(&disable).unwrap();
    let after = ages(&lab);
    assert_eq!(after.len(), 5);
    assert!(
        after.iter().all(|(cookie, age)| *age >= before[cookie]),
        "{before:?} {after:?}"
    );
    agent.netlog_ok(&["log", "set", "--enable", "vm2"]).unwrap();
    let last = ages(&lab);
    assert!(last.keys().eq(before.keys()));
    assert!(
        after.iter().all(|(cookie, age)| last[cookie] >= *age),
        "{after:?} {last:?}"
    );
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn flows_of_others_in_our_way_are_left_alone_and_reported() {
    let lab = start();
    let theirs = "cookie=0xbeef,table=93,priority=100,reg5=0x1,actions=drop";
    lab.ovs_ofctl(&["add-flow", BR_INT, theirs]).unwrap();
    let (_, before) = flows(&lab).unwrap();
    let agent = Agent::start(&lab, "").unwrap();
    create_log(&agent, "All", None);
    assert_eq!(flows(&lab).unwrap().1, before);
    assert_eq!(flows(&lab).unwrap().0.len(), 9);
    until(LIMIT, "a report of the flow", || {
        let said = agent.stderr()?;
        Ok(said.contains("cookie=0xbeef").then_some(()))
    })
    .unwrap();
    // When its owner takes it away, the log flow takes its place.
    lab.ovs_ofctl(&["del-flows", BR_INT, "cookie=0xbeef/-1"])
        .unwrap();
    wait_for_events(&lab, &agent, now());
    assert_eq!(flows(&lab).unwrap().0.len(), 10);
    agent.terminate().unwrap();
    lab.stop().unwrap();
}
