//! The ledger on the real switch: whatever fails, each packet that a log flow matched is accounted
//! for. These tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netlog_lab::frames::Ends;
use netlog_lab::{Agent, BR_INT, Family, LIMIT, Lab, LabError, Options, Site, host, until};
use serde_json::Value;

const LIMITS: &str = "[network_log]\nrate_limit = 100\nburst_limit = 25\n";
/// Packets a second of a flood, and for how long.
const RATE: u32 = 20_000;
const SECONDS: u32 = 10;

fn lab() -> Lab {
    Lab::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Logs everything in the project of vm1 and vm2. Returns the log object's id.
fn create_log(agent: &Agent<'_>) -> String {
    create_log_of(agent, &["All"])
}

/// Creates a log object and returns its id.
fn create_log_of(agent: &Agent<'_>, args: &[&str]) -> String {
    let create = ["log", "create", "--resource-type", "security_group"];
    let show = ["-f", "value", "-c", "id"];
    let id = agent.netlog_ok(&[&create[..], args, &show].concat());
    id.unwrap().trim_end().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a flood has a rate")]
fn now() -> Instant {
    Instant::now()
}

/// Sends packets with a forged source from vm1 at a rate, until the time is over or `stop` is set.
/// Returns how many it sent.
fn flood(lab: &Lab, seconds: u32, stop: &AtomicBool) -> u32 {
    let ends = Ends::between(host("vm1").unwrap(), host("ext1").unwrap(), Family::V4);
    let forged = ends.from_ip(Ipv4Addr::new(10, 9, 9, 9));
    let frame = forged.syn(40_000, 4444).unwrap();
    let start = now();
    let mut sent = 0_u32;
    let paced = std::iter::from_fn(|| {
        if sent.is_multiple_of(RATE / 1000) {
            let due = Duration::from_secs(1) * sent / RATE;
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        let go_on = sent < RATE * seconds && !stop.load(Ordering::Relaxed);
        go_on.then(|| {
            sent += 1;
            frame.as_slice()
        })
    });
    lab.send_paced("vm1", paced).unwrap();
    println!("sent {sent} packets in {:?}", start.elapsed());
    sent
}

/// Opens a session from vm2 to a host outside.
fn session(lab: &Lab) {
    lab.tcp_exchange("vm2", "ext1", Family::V4, 8080, 1)
        .unwrap();
}

/// One port floods while another opens a session a second. Returns how many sessions.
fn flood_and_sessions(lab: &Lab) -> usize {
    let stop = AtomicBool::new(false);
    let start = now();
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(lab, SECONDS, &stop));
        for second in 0..SECONDS {
            let due = Duration::from_secs(second.into());
            thread::sleep(due.saturating_sub(start.elapsed()));
            session(lab);
        }
        assert_eq!(flooding.join().unwrap(), RATE * SECONDS);
    });
    SECONDS as usize
}

/// A number, or all of those that it is split into by reasons.
fn number(value: &Value) -> u64 {
    match value {
        Value::Object(reasons) => reasons.values().map(number).sum(),
        value => value.as_u64().unwrap_or_else(|| panic!("{value}")),
    }
}

/// Waits until nothing is on its way, and sees to it that the law holds for the bridge, for each
/// port and for each log flow. Returns the totals, and the ports by name.
fn settled(agent: &Agent<'_>) -> (Value, BTreeMap<String, Value>) {
    // What the switch died too early to count is settled once it was asked for a while.
    let status = until(LIMIT * 4, "the ledger to settle", || {
        let status = agent.status()?;
        let totals = &status["totals"];
        let settled = totals["unsettled"] == 0 && totals["pending"] == 0;
        // What one log flow has too many, another may lack.
        let of_flows = flows(agent)?.iter().all(|flow| flow["unsettled"] == 0);
        Ok((settled && of_flows).then_some(status))
    })
    .unwrap_or_else(|error| {
        let said = agent.stderr().unwrap();
        panic!("{error}: {:#}\n{said}", agent.status().unwrap())
    });
    let totals = status["totals"].clone();
    let ports: BTreeMap<String, Value> = status["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| {
            let id = port["port_id"].as_str().unwrap();
            let vm = netlog_lab::HOSTS.iter().find(|host| host.port_id == id);
            (vm.unwrap().name.to_owned(), port.clone())
        })
        .collect();
    for flow in flows(agent).unwrap() {
        let (cookie, kind) = (&flow["cookie"], &flow["kind"]);
        let name = format!("{} ({})", cookie.as_str().unwrap(), kind.as_str().unwrap());
        println!("log flow {name}: {}", law_of_packets(&name, &flow));
    }
    for (name, of) in ports.iter().chain([(&"all".to_owned(), &totals)]) {
        let packets = law_of_packets(name, of);
        let n = |member: &str| number(&of[member]);
        assert_eq!(
            n("events"),
            n("folded") + n("suppressed") + n("written") + n("failed"),
            "{name}: {of:#}"
        );
        println!(
            "{name}: {packets}; {} events = {} folded + {} suppressed + {} written + {} failed; {}",
            n("events"),
            n("folded"),
            n("suppressed"),
            n("written"),
            n("failed"),
            of["windows"]
        );
    }
    for log in status["logs"].as_array().unwrap() {
        let id = log["log_id"].as_str().unwrap();
        let [events, folded, suppressed, written, failed] = events_of_log(&status, id);
        assert_eq!(events, folded + suppressed + written + failed, "{log:#}");
        println!(
            "log object {id}: {events} events = {folded} folded + {suppressed} suppressed + \
             {written} written + {failed} failed"
        );
    }
    (totals, ports)
}

/// Holds the numbers of a log flow, a port or all ports to the law of packets, and says how it stands.
fn law_of_packets(name: &str, of: &Value) -> String {
    let [matched, uncounted, metered, received, lost] = [
        "matched",
        "uncounted",
        "metered",
        "received",
        "lost_in_switch",
    ]
    .map(|member| number(&of[member]));
    assert_eq!(
        matched + uncounted,
        metered + received + lost,
        "{name}: {of:#}"
    );
    format!(
        "{matched} matched (+ {uncounted} uncounted) = {metered} metered + {received} received + \
         {lost} lost"
    )
}

/// What the ledger has of each log flow of each port.
fn flows(agent: &Agent<'_>) -> Result<Vec<Value>, LabError> {
    let ledger = agent.get("/v1/ledger")?;
    let mut flows = Vec::new();
    for port in ledger["ports"].as_array().unwrap() {
        let of_port = port["flows"].as_array().unwrap();
        for member in ["matched", "metered", "received", "lost_in_switch"] {
            let sum: u64 = of_port.iter().map(|flow| number(&flow[member])).sum();
            assert_eq!(sum, number(&port[member]), "{member} of {port:#}");
        }
        flows.extend(of_port.clone());
    }
    Ok(flows)
}

/// What became of the events of the log object with this id: how many there were, and how many of
/// them were folded, suppressed, written and failed.
fn events_of_log(status: &Value, id: &str) -> [u64; 5] {
    let logs = status["logs"].as_array().unwrap();
    let log = logs.iter().find(|log| log["log_id"] == id).unwrap();
    ["events", "folded", "suppressed", "written", "failed"].map(|member| number(&log[member]))
}

/// How many packets all log flows matched, as the switch says.
fn matched(lab: &Site) -> u64 {
    lab.matched().unwrap().values().sum()
}

/// How many packets the meter of the log flow with this cookie cut, as the switch says.
fn cut(lab: &Site, cookie: &str) -> u64 {
    let bits = u64::from_str_radix(cookie.trim_start_matches("0x"), 16).unwrap();
    let id = 0x6e00_0000 | (bits >> 32 & 0x7) << 21 | (bits & 0x1f_ffff);
    let meter = format!("meter={id}");
    let stats = lab.ovs_ofctl(&["meter-stats", BR_INT, &meter]).unwrap();
    let band = stats.split_once("0: packet_count:").unwrap().1;
    band.split_whitespace().next().unwrap().parse().unwrap()
}

/// The gaps in the audit log: count by source and reason, and whether all are exact.
fn gaps(agent: &Agent<'_>) -> BTreeMap<(String, String), (u64, bool)> {
    let text = fs::read_to_string(agent.file("audit.log")).unwrap();
    let mut gaps = BTreeMap::new();
    for line in text.lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let attachments = entry["attachments"].as_array().into_iter().flatten();
        for attachment in attachments.filter(|attachment| attachment["name"] == "gap") {
            let gap = &attachment["content"];
            let text = |member: &str| gap[member].as_str().unwrap().to_owned();
            let (count, at_most) = gaps
                .entry((text("source"), text("reason")))
                .or_insert((0, false));
            *count += number(&gap["count"]);
            *at_most |= gap["at_most"] == true;
            assert!(text("first") <= text("last"), "{gap}");
            assert_eq!(entry["outcome"], "failure");
        }
    }
    gaps
}

fn gap(gaps: &BTreeMap<(String, String), (u64, bool)>, source: &str, reason: &str) -> (u64, bool) {
    let key = (source.to_owned(), reason.to_owned());
    gaps.get(&key).copied().unwrap_or_default()
}

/// How many records tell of vm2's sessions.
fn recorded_sessions(agent: &Agent<'_>) -> usize {
    let records = agent.records().unwrap();
    let of_vm2 = |record: &&netlog_lab::Record| record.event == "ACCEPT:vm2:out";
    records.iter().filter(of_vm2).count()
}

#[test]
fn a_flood_costs_nobody_else_an_event_and_each_packet_is_accounted_for() {
    let lab = lab();
    let agent = Agent::start(&lab, LIMITS).unwrap();
    create_log(&agent);
    let start = now();
    let sessions = flood_and_sessions(&lab);
    let (totals, ports) = settled(&agent);
    let took = start.elapsed().as_secs() + 1;

    assert_eq!(recorded_sessions(&agent), sessions);
    assert_eq!(ports["vm2"]["written"], ports["vm2"]["events"]);
    let records = agent.records().unwrap().len() as u64;
    assert_eq!(records, number(&totals["written"]));
    assert!(records <= 100 * took + 26, "{records} in {took} s");
    assert_eq!(number(&totals["matched"]), matched(&lab));
    let by_flow = lab.matched().unwrap();
    for flow in flows(&agent).unwrap() {
        let cookie = flow["cookie"].as_str().unwrap();
        assert_eq!(number(&flow["matched"]), by_flow[cookie], "{flow:#}");
        assert_eq!(number(&flow["metered"]), cut(&lab, cookie), "{flow:#}");
        // Only what vm1 drops comes in a flood, and nothing else of it is cut.
        assert_eq!(number(&flow["metered"]) > 0, flow["kind"] == "drop");
    }
    assert_eq!(ports["vm1"]["windows"]["5 min"], "GAP");
    assert_eq!(ports["vm2"]["windows"]["5 min"], "OK");

    agent.terminate().unwrap();
    let gaps = gaps(&agent);
    println!("{gaps:?}");
    let lost = |source, reason| gap(&gaps, source, reason).0;
    assert_eq!(lost("switch", "metered"), number(&totals["metered"]));
    assert_eq!(
        lost("limiter", "rate-limit"),
        number(&totals["suppressed"]["rate-limit"])
    );
    assert_eq!(
        lost("switch", "lost-in-switch"),
        number(&totals["lost_in_switch"])
    );
    assert_eq!(lost("switch", "agent-away"), 0);
    lab.stop().unwrap();
}

#[test]
fn log_objects_that_overlap_have_each_its_own_events() {
    let lab = lab();
    let mut agent = Agent::start(&lab, "").unwrap();
    let group = "5e000000-0000-4000-8000-0000000000a1";
    let port = host("vm1").unwrap().port_id;
    let all = create_log(&agent);
    let accept = ["--event", "ACCEPT", "--resource", group, "Group"];
    let accept = create_log_of(&agent, &accept);
    let drop = create_log_of(&agent, &["--event", "DROP", "--target", port, "Drops"]);

    // Each log object's numbers are those of the records that name it.
    let own = |agent: &Agent<'_>, id: &str| {
        settled(agent);
        let events = events_of_log(&agent.status().unwrap(), id);
        let ledger = agent.get("/v1/ledger").unwrap();
        assert_eq!(events_of_log(&ledger, id), events, "{ledger:#}");
        let records = agent.records().unwrap();
        let named = records
            .iter()
            .filter(|it| it.logs.iter().any(|log| log == id));
        assert_eq!(named.count() as u64, events[3], "{id}");
        events
    };

    // One that only the whole project's log object wants, twice.
    for _ in 0..2 {
        session(&lab);
    }
    // Three of the group, of which one repeats its packet four times, and one leaves vm2 as well.
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();
    lab.tcp_exchange("vm2", "vm1", Family::V4, 22, 1).unwrap();
    let ends = Ends::between(host("vm1").unwrap(), host("ext1").unwrap(), Family::V4);
    let datagram = ends.udp(40_000, 4444, b"x").unwrap();
    lab.send_frames("vm1", &vec![datagram; 5]).unwrap();
    lab.syn("ext1", "vm1", Family::V4, 80, 30).unwrap();
    agent.records_after(0, 2 + 3 + 1 + 30).unwrap();
    assert_eq!(own(&agent, &all), [40, 4, 0, 36, 0]);
    assert_eq!(own(&agent, &accept), [7, 4, 0, 3, 0]);
    assert_eq!(own(&agent, &drop), [30, 0, 0, 30, 0]);
    // What the switch counted is split by what each wants: log flows of sessions or of drops.
    let status = agent.status().unwrap();
    let received = |id: &str| {
        let logs = status["logs"].as_array().unwrap();
        let log = logs.iter().find(|log| log["log_id"] == id).unwrap();
        number(&log["received"])
    };
    assert_eq!(received(&drop), 30);
    assert_eq!(received(&all), number(&status["totals"]["received"]));

    // What is over both limits is suppressed for both, and the third knows nothing of it.
    for log in ["All", "Drops"] {
        let limit = ["--rate-limit", "1", "--burst-limit", "5"];
        let set = [&["limits", "set", "--log", log][..], &limit].concat();
        agent.netlog_ok(&set).unwrap();
    }
    lab.syn("ext1", "vm1", Family::V4, 80, 50).unwrap();
    until(LIMIT, "every packet to be counted", || {
        Ok((events_of_log(&agent.status()?, &drop)[0] == 80).then_some(()))
    })
    .unwrap();
    let [events, folded, suppressed, written, failed] = own(&agent, &all);
    assert_eq!((events, folded, failed), (90, 4, 0));
    assert!((30..50).contains(&suppressed), "{suppressed}");
    assert_eq!(own(&agent, &drop), [80, 0, suppressed, written - 6, 0]);
    assert_eq!(own(&agent, &accept), [7, 4, 0, 3, 0]);

    // Another agent goes on from there, and what is deleted takes its numbers along.
    agent.terminate().unwrap();
    agent.restart().unwrap();
    agent.netlog_ok(&["log", "delete", "Group"]).unwrap();
    for log in ["All", "Drops"] {
        agent.netlog_ok(&["limits", "unset", "--log", log]).unwrap();
    }
    let before = agent.records().unwrap().len();
    lab.syn("ext1", "vm1", Family::V4, 80, 3).unwrap();
    agent.records_after(before, 3).unwrap();
    assert_eq!(own(&agent, &all), [93, 4, suppressed, written + 3, 0]);
    assert_eq!(own(&agent, &drop), [83, 0, suppressed, written - 3, 0]);
    let status = agent.status().unwrap();
    assert_eq!(status["logs"].as_array().unwrap().len(), 2, "{status:#}");
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn a_full_disk_loses_records_and_not_the_count_of_them() {
    let lab = lab();
    let agent = Agent::start_on_small_disk(&lab, LIMITS, "128k").unwrap();
    create_log(&agent);
    flood_and_sessions(&lab);
    let (totals, _) = settled(&agent);
    let failed = number(&totals["failed"]["storage-full"]);
    assert!(failed > 0, "{totals}");
    assert_eq!(
        agent.records().unwrap().len() as u64,
        number(&totals["written"])
    );

    // Room again: events are written again.
    fs::write(agent.security_log(), "").unwrap();
    session(&lab);
    agent.records_after(0, 1).unwrap();
    let (totals, _) = settled(&agent);
    assert_eq!(number(&totals["failed"]["storage-full"]), failed);
    agent.terminate().unwrap();
    assert_eq!(gap(&gaps(&agent), "file", "storage-full"), (failed, false));
    lab.stop().unwrap();
}

#[test]
fn a_dead_syslog_loses_records_and_not_the_count_of_them() {
    let lab = lab();
    let socket = lab.run_dir().join("nobody-listens");
    let syslog = format!("{LIMITS}[syslog]\nsocket = {}\n", socket.display());
    let agent = Agent::launch(&lab, &syslog).unwrap();
    agent.wait_attached().unwrap();
    create_log(&agent);
    flood_and_sessions(&lab);
    let (totals, _) = settled(&agent);
    let failed = number(&totals["failed"]["unavailable"]);
    assert_eq!(number(&totals["written"]), 0);
    assert!(failed > 0, "{totals}");
    agent.terminate().unwrap();
    assert_eq!(gap(&gaps(&agent), "syslog", "unavailable"), (failed, false));
    lab.stop().unwrap();
}

#[test]
fn what_log_flows_match_while_no_agent_is_there_is_a_gap() {
    let lab = lab();
    let mut agent = Agent::start(&lab, "[audit]\ngap_interval = 1\n").unwrap();
    create_log(&agent);
    for _ in 0..3 {
        session(&lab);
    }
    agent.records_after(0, 3).unwrap();
    settled(&agent);

    // Stopped in order: the gap is exact.
    agent.terminate().unwrap();
    for _ in 0..4 {
        session(&lab);
    }
    agent.restart().unwrap();
    let gap_of = |count: u64| {
        until(LIMIT, "the gap to be told", || {
            let told = gap(&gaps(&agent), "switch", "agent-away");
            Ok((told.0 >= count).then_some(told))
        })
        .unwrap_or_else(|error| {
            let (status, said) = (agent.status().unwrap(), agent.stderr().unwrap());
            panic!("{error}: {:?}\n{status:#}\n{said}", gaps(&agent))
        })
    };
    assert_eq!(gap_of(4), (4, false));
    session(&lab);
    agent.records_after(3, 1).unwrap();
    let (totals, _) = settled(&agent);
    assert_eq!(number(&totals["lost_in_switch"]), 4);
    assert_eq!(number(&totals["written"]), 4);
    assert_eq!(number(&totals["matched"]), matched(&lab));

    // Killed under a flood: nothing is counted twice, and what is not known is told as such.
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&lab, SECONDS, &stop));
        let before = number(&agent.status().unwrap()["totals"]["received"]);
        until(LIMIT, "the flood to arrive", || {
            let received = number(&agent.status()?["totals"]["received"]);
            Ok((received > before + 20_000).then_some(()))
        })
        .unwrap();
        agent.kill().unwrap();
        for _ in 0..2 {
            session(&lab);
        }
        stop.store(true, Ordering::Relaxed);
        flooding.join().unwrap();
    });
    agent.restart().unwrap();
    session(&lab);
    let (totals, _) = settled(&agent);
    assert_eq!(number(&totals["matched"]), matched(&lab));
    let records = agent.records().unwrap().len() as u64;
    let (lost, written) = (
        number(&totals["lost_in_switch"]),
        number(&totals["written"]),
    );
    // None, if it was killed just after it had looked.
    let in_doubt = totals["failed"].get("agent-killed").map_or(0, number);
    println!("{records} records, {written} known as written, {lost} lost, {in_doubt} in doubt");
    assert!(written <= records && records <= written + lost + in_doubt);
    agent.terminate().unwrap();
    let away = gap(&gaps(&agent), "switch", "agent-away");
    assert!(away.1 && away.0 > 6, "{away:?}");
    lab.stop().unwrap();
}

#[test]
fn a_switch_that_dies_takes_counts_along_and_no_loss_is_invented() {
    let lab = lab();
    let agent = Agent::start(&lab, LIMITS).unwrap();
    create_log(&agent);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&lab, SECONDS, &stop));
        until(LIMIT, "the flood to arrive", || {
            let matched = number(&agent.status()?["totals"]["matched"]);
            Ok((matched > 20_000).then_some(()))
        })
        .unwrap();
        lab.kill_vswitchd().unwrap();
        lab.start_vswitchd().unwrap();
        lab.load_pipeline().unwrap();
        stop.store(true, Ordering::Relaxed);
        flooding.join().unwrap();
    });
    agent.wait_attached().unwrap();
    until(LIMIT, "log flows to be there again", || {
        Ok((matched(&lab) == 0 || !lab.flows(93)?.is_empty()).then_some(()))
    })
    .unwrap();
    let sessions = recorded_sessions(&agent);
    for _ in 0..3 {
        session(&lab);
    }
    until(LIMIT, "the sessions to be recorded", || {
        Ok((recorded_sessions(&agent) == sessions + 3).then_some(()))
    })
    .unwrap();
    let (totals, _) = settled(&agent);
    assert!(number(&totals["matched"]) >= matched(&lab));
    let records = agent.records().unwrap().len() as u64;
    assert_eq!(records, number(&totals["written"]));
    agent.terminate().unwrap();
    println!("{:?}", gaps(&agent));
    lab.stop().unwrap();
}
