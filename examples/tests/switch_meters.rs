//! The meters of logged ports on the real switch: what they limit, and what becomes of them when
//! others delete and change them. These tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;

use netlog_lab::frames::Ends;
use netlog_lab::{Agent, BR_INT, Family, LIMIT, Lab, LabError, Options, Site, host, until};
use nix::sys::signal::Signal;

/// `rate_limit` and `burst_limit` of these tests, as the configuration says them.
const LIMITS: &str = "[network_log]\nrate_limit = 100\nburst_limit = 25\n";

/// Starts a lab, and an agent that logs everything of vm1 and vm2.
fn start(lab: &Lab) -> Agent<'_> {
    let agent = Agent::start(lab, LIMITS).unwrap();
    let create = ["log", "create", "--resource-type", "security_group", "All"];
    agent.netlog_ok(&create).unwrap();
    agent
}

fn lab() -> Lab {
    Lab::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The meters of a bridge as `ovs-ofctl` shows them: the settings of each, by its id.
fn meters(lab: &Site) -> Result<BTreeMap<u32, String>, LabError> {
    let text = lab.ovs_ofctl(&["dump-meters", BR_INT])?;
    let mut meters = BTreeMap::new();
    let mut last = 0;
    for line in text.lines() {
        if let Some(meter) = line.strip_prefix("meter=") {
            let (id, setting) = meter.split_once(' ').unwrap();
            last = id.parse().unwrap();
            meters.insert(last, setting.to_owned());
        } else if let Some(setting) = meters.get_mut(&last) {
            setting.push_str(line);
        }
    }
    Ok(meters)
}

fn ours(lab: &Site) -> Result<BTreeMap<u32, String>, LabError> {
    let mut meters = meters(lab)?;
    meters.retain(|id, _| id >> 24 == 0x6e);
    Ok(meters)
}

/// The log flows with their actions, without counters.
fn log_flows(lab: &Site) -> Vec<String> {
    let text = lab
        .ovs_ofctl(&["dump-flows", "--no-names", "--no-stats", BR_INT])
        .unwrap();
    let ours = |flow: &&str| flow.trim().starts_with("cookie=0x6e4c");
    text.lines().filter(ours).map(str::to_owned).collect()
}

/// The meter of the log flow of this kind of a port.
const fn meter(kind: u32, slot: u32) -> u32 {
    0x6e00_0000 | kind << 21 | slot
}

/// The kind of the log flow that reports what a port drops.
const DROP: u32 = 3;

/// How many packets the meter with this id cut.
fn cut(lab: &Site, id: u32) -> u64 {
    let stats = lab
        .ovs_ofctl(&["meter-stats", BR_INT, &format!("meter={id}")])
        .unwrap();
    let band = stats.split_once("0: packet_count:").unwrap().1;
    band.split_whitespace().next().unwrap().parse().unwrap()
}

/// What the agent counts of the log flow of this kind of the port of a VM.
fn flow(agent: &Agent<'_>, vm: &str, kind: &str, member: &str) -> u64 {
    let ledger = agent.get("/v1/ledger").unwrap();
    let id = host(vm).unwrap().port_id;
    let ports = ledger["ports"].as_array().unwrap();
    let port = ports.iter().find(|port| port["port_id"] == id);
    let flows = port.and_then(|port| port["flows"].as_array());
    let flow = flows.and_then(|flows| flows.iter().find(|flow| flow["kind"] == kind));
    // Before anything came there is none.
    flow.map_or(0, |flow| flow[member].as_i64().unwrap().unsigned_abs())
}

/// How many of the packets that the port of a VM dropped were received.
fn received(agent: &Agent<'_>, vm: &str) -> u64 {
    flow(agent, vm, "drop", "received")
}

/// Sends a SYN from each of `count` ports of ext1 to `to`, which drops it.
fn flood(lab: &Lab, to: &str, first: u16, count: u16) {
    let ends = Ends::between(host("ext1").unwrap(), host(to).unwrap(), Family::V4);
    let frames: Vec<_> = (first..first + count)
        .map(|port| ends.syn(port, 4444).unwrap())
        .collect();
    lab.send_frames("ext1", &frames).unwrap();
}

fn wait_for_report(agent: &Agent<'_>, named: &str) {
    until(LIMIT, &format!("a report of {named:?}"), || {
        Ok(agent.stderr()?.contains(named).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", agent.stderr().unwrap()));
}

/// How many packets the log flow matched that reports what a port drops.
fn matched(lab: &Site, slot: u32) -> u64 {
    let text = lab
        .ovs_ofctl(&["dump-flows", "--no-names", BR_INT])
        .unwrap();
    let field =
        |flow: &str, name: &str| Some(flow.split_once(name)?.1.split(',').next()?.to_owned());
    let count = |flow: &str| -> Option<u64> {
        let cookie = field(flow, "cookie=0x6e4c")?;
        let bits = u64::from_str_radix(&cookie, 16).ok()?;
        let is_its = bits & 0xff_ffff_ffff == u64::from(DROP) << 32 | u64::from(slot);
        field(flow, "n_packets=").filter(|_| is_its)?.parse().ok()
    };
    text.lines().filter_map(count).sum()
}

/// Sees to it that both ports' packet-ins are limited, and that each packet is accounted for.
fn assert_limited(lab: &Lab, agent: &Agent<'_>, first: u16) {
    for (slot, vm) in [(1, "vm1"), (2, "vm2")] {
        let counts = || {
            let cut = cut(lab, meter(DROP, slot));
            [matched(lab, slot), cut, received(agent, vm)]
        };
        let before = counts();
        flood(lab, vm, first, 1000);
        let [matched, cut, passed] = until(LIMIT, "every packet to be counted", || {
            let now = counts();
            let [matched, cut, passed] = [0, 1, 2].map(|at| now[at] - before[at]);
            Ok((matched > 200 && matched == cut + passed).then_some([matched, cut, passed]))
        })
        .unwrap_or_else(|error| panic!("{error}: {before:?}, {:?}", counts()));
        println!("{vm}: {matched} matched = {cut} cut + {passed} received");
        // A second's worth and the burst at once, and what falls due meanwhile.
        assert!((100..400).contains(&passed), "{passed} passed");
    }
}

#[test]
fn meters_that_others_delete_or_change_are_set_again() {
    let lab = lab();
    let theirs = "meter=1,kbps,band=type=drop,rate=1000";
    lab.ovs_ofctl(&["add-meter", BR_INT, theirs]).unwrap();
    let agent = start(&lab);
    let before = meters(&lab).unwrap();
    let set = "pktps burst stats bands=type=drop rate=100 burst_size=125";
    assert_eq!(ours(&lab).unwrap().len(), 10, "{before:?}");
    assert!(
        ours(&lab).unwrap().values().all(|of| of == set),
        "{before:?}"
    );
    assert!(
        log_flows(&lab)
            .iter()
            .all(|flow| flow.contains("meter_id="))
    );
    assert_limited(&lab, &agent, 10_000);

    let id = *ours(&lab).unwrap().keys().next().unwrap();
    let change = format!("meter={id},pktps,burst,stats,band=type=drop,rate=1,burst_size=1");
    lab.ovs_ofctl(&["mod-meter", BR_INT, &change]).unwrap();
    wait_for_report(&agent, "1 meters of 1 ports were changed");
    assert_eq!(meters(&lab).unwrap(), before);

    lab.ovs_ofctl(&["del-meter", BR_INT, &format!("meter={id}")])
        .unwrap();
    wait_for_report(&agent, "1 meters of 1 ports were gone");
    assert_eq!(meters(&lab).unwrap(), before);

    // Others' are not for us to put back.
    lab.ovs_ofctl(&["del-meters", BR_INT]).unwrap();
    wait_for_report(&agent, "10 meters of 2 ports were gone");
    assert_eq!(meters(&lab).unwrap(), ours(&lab).unwrap());
    assert_limited(&lab, &agent, 12_000);
    for report in agent
        .stderr()
        .unwrap()
        .lines()
        .filter(|line| line.contains(" meters of "))
    {
        println!("{report}");
    }
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn limits_change_at_run_time_without_a_gap() {
    let lab = lab();
    let agent = start(&lab);
    let flows = log_flows(&lab);
    let reload = |limits: &str, meters_are: usize, set: &str| {
        fs::write(agent.file("extra.conf"), limits).unwrap();
        agent.process().signal(Signal::SIGHUP).unwrap();
        until(LIMIT, "the meters to follow", || {
            let ours = ours(&lab)?;
            let follow = ours.len() == meters_are && ours.values().all(|of| of.contains(set));
            Ok(follow.then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", agent.stderr().unwrap()));
    };
    reload(
        "[network_log]\nrate_limit = 2000\n",
        10,
        "rate=2000 burst_size=2025",
    );
    assert_eq!(log_flows(&lab), flows);
    reload("", 0, "");
    assert!(
        log_flows(&lab)
            .iter()
            .all(|flow| !flow.contains("meter_id="))
    );
    reload(LIMITS, 10, "rate=100 burst_size=125");
    until(LIMIT, "the flows to report through meters again", || {
        Ok((log_flows(&lab) == flows).then_some(()))
    })
    .unwrap();
    assert!(!agent.stderr().unwrap().contains("in force again"));
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn a_flood_on_one_port_costs_no_other_its_events() {
    let lab = lab();
    let agent = start(&lab);
    // Frames with a forged source: from vm2 itself, so that no queue before the switch is shared.
    let ends = Ends::between(host("vm2").unwrap(), host("ext1").unwrap(), Family::V4);
    let forged = ends.from_ip(Ipv4Addr::new(10, 9, 9, 9));
    let quiet: Vec<u16> = (30_000..30_020).collect();
    for port in &quiet {
        flood(&lab, "vm1", 10_000, 2000);
        let frame = forged.syn(*port, 4444).unwrap();
        lab.send_frames("vm2", &[frame]).unwrap();
    }
    until(LIMIT, "every event of the quiet port", || {
        let records = agent.records()?;
        let recorded = |port: &&u16| {
            let sent = format!("src_port={port}");
            let came = |line: &str| line.contains(&sent);
            records
                .iter()
                .any(|record| record.event == "DROP:vm2:out" && came(&record.line))
        };
        Ok((quiet.iter().filter(recorded).count() == quiet.len()).then_some(()))
    })
    .unwrap_or_else(|error| {
        let records = agent.records().unwrap();
        panic!(
            "{error}\n{}\n{:#?}",
            agent.status().unwrap(),
            records.last()
        )
    });
    println!(
        "{} sent to vm1 of which {} reached the agent, all {} of vm2 recorded",
        2000 * quiet.len(),
        received(&agent, "vm1"),
        quiet.len()
    );
    assert!(received(&agent, "vm1") < 5000);
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn a_flood_of_drops_keeps_no_session_of_the_same_port_from_the_agent() {
    const SESSIONS: u64 = 20;
    let lab = lab();
    let agent = start(&lab);
    for _ in 0..SESSIONS {
        flood(&lab, "vm1", 10_000, 2000);
        lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();
    }
    let counted = |kind: &str, member: &str| flow(&agent, "vm1", kind, member);
    until(LIMIT, "every packet to be counted", || {
        let kinds = ["ingress-accept", "drop"];
        let settled = kinds.map(|kind| counted(kind, "unsettled") == 0);
        let matched = counted("ingress-accept", "matched");
        Ok((settled == [true; 2] && matched >= SESSIONS).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", agent.get("/v1/ledger").unwrap()));
    for kind in ["ingress-accept", "drop"] {
        let [matched, metered, received] =
            ["matched", "metered", "received"].map(|member| counted(kind, member));
        println!("{kind}: {matched} matched = {metered} metered + {received} received");
        assert_eq!(matched, metered + received);
        assert_eq!(metered > 0, kind == "drop");
    }
    agent.terminate().unwrap();
    lab.stop().unwrap();
}
