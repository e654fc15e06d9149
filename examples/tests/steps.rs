//! The 54 steps through the whole of netlog, as an operator sees them: log objects made with the
//! command, real traffic on the real switch, and for each step exactly the records that must be
//! there, each with port, direction, log object, and rule or reason. These tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;

use netlog_lab::steps::{STEPS, Step};
use netlog_lab::{Agent, Family, LIMIT, LOGS, Lab, Options, Record, until};
use serde_json::Value;

/// The cause of a step's events: for each, in the order of the step's expectations, the last two
/// digits of the rule's id in the lab's inventory, or the reason of the drop.
#[rustfmt::skip]
const CAUSES: [(&str, &[&str]); 54] = [
    ("S01", &["01"]), ("S02", &["02"]), ("S03", &["04"]), ("S04", &["03"]),
    ("S05", &["no-rule"]), ("S06", &["no-rule"]), ("S07", &["05"]),
    ("S08", &["10", "no-rule"]), ("S09", &["06"]), ("S10", &["no-rule"]), ("S11", &["07"]),
    ("S12", &["08"]), ("S13", &["08"]), ("S14", &["08"]), ("S15", &["09"]),
    ("S16", &["01", "10"]), ("S17", &["08", "0a"]), ("S18", &["08", "0b"]),
    ("S19", &["09", "0d"]), ("S20", &["08", "16"]), ("S21", &["no-rule"]), ("S22", &["0f"]),
    ("S23", &["no-rule"]), ("S24", &["13"]), ("S25", &["04", "14"]), ("S26", &["no-rule"]),
    ("S27", &["anti-spoof"]), ("S28", &["anti-spoof"]), ("S29", &["dhcp-or-ra-server"]),
    ("S30", &["02"]), ("S31", &["08"]), ("S32", &["08"]), ("S33", &["08"]), ("S34", &["04"]),
    ("S35", &["01"]), ("S36", &["invalid-state"]), ("S37", &["01"]), ("S38", &["no-rule"]),
    ("S39", &[]), ("S40", &["no-rule"]), ("S41", &[]), ("S42", &["no-rule"]), ("S43", &["13"]),
    ("S44", &["13"]), ("S45", &["08"]), ("S46", &[]), ("S47", &[]), ("S48", &[]), ("S49", &[]),
    ("S50", &["10", "no-rule"]), ("S51", &["no-rule"]), ("S52", &["dhcp-or-ra-server"]),
    ("S53", &[]), ("S54", &["03", "invalid-state"]),
];

/// The name of the log object that wants an event.
fn log_of(event: &str) -> &'static str {
    match event.split(':').collect::<Vec<_>>()[..] {
        [_, "vm1", _] => "log-web-all",
        [_, "vm2", _] => "log-app-all",
        ["ACCEPT", "vm3", _] => "log-b-accept",
        ["DROP", "vm3" | "vm5", _] => "log-b-drop",
        _ => panic!("nobody logs {event}"),
    }
}

/// An event as the test compares it: what, by which log objects, and why.
type Told = (String, Vec<String>, String);

fn expected(step: &Step) -> Vec<Told> {
    let (_, causes) = CAUSES.iter().find(|(id, _)| *id == step.id).unwrap();
    assert_eq!(causes.len(), step.expected.len(), "{}", step.id);
    let mut told: Vec<Told> = step
        .expected
        .iter()
        .zip(*causes)
        .flat_map(|(expected, cause)| {
            let event = expected.event.to_string();
            let cause = if cause.len() == 2 {
                format!("4e000000-0000-4000-8000-0000000000{cause}")
            } else {
                (*cause).to_owned()
            };
            let told = (event.clone(), vec![log_of(&event).to_owned()], cause);
            std::iter::repeat_n(told, expected.events() as usize)
        })
        .collect();
    told.sort();
    told
}

/// Makes the lab's log objects with the command; returns their names by id.
fn create_logs(agent: &Agent<'_>) -> BTreeMap<String, String> {
    let logs: Value = serde_json::from_str(LOGS).unwrap();
    let mut names = BTreeMap::new();
    for log in logs["logs"].as_array().unwrap() {
        let text = |key: &str| log[key].as_str();
        let name = text("name").unwrap();
        let mut args = vec!["log", "create", "--enable", "-f", "value", "-c", "ID"];
        for (option, key) in [
            ("--project", "project_id"),
            ("--resource-type", "resource_type"),
            ("--resource", "resource_id"),
            ("--target", "target_id"),
            ("--event", "event"),
        ] {
            args.extend(text(key).into_iter().flat_map(|value| [option, value]));
        }
        args.push(name);
        let id = agent.netlog_ok(&args).unwrap();
        names.insert(id.trim().to_owned(), name.to_owned());
    }
    names
}

/// Someone in the lab who can be reached only by a packet that is dropped, and the drop logged:
/// a marker in the log.
fn neighbour(from: &str) -> &'static str {
    match from {
        "vm1" => "vm2",
        "ext1" | "vm2" | "vm4" => "vm1",
        "vm3" => "ext1",
        "vm5" => "ext2",
        "ext2" => "vm5",
        _ => panic!("{from} is not in the lab"),
    }
}

/// Whether a record is of a packet to this port.
fn is_to(record: &Record, port: u16) -> bool {
    record.line.contains(&format!("dst_port={port},"))
}

/// The records since the first `before` that belong to no fence, once everything that `from`
/// sent before is in the log: a packet sent after it is.
fn records_up_to_fence(
    lab: &Lab,
    agent: &Agent<'_>,
    from: &str,
    fence: u16,
    before: &mut usize,
) -> Vec<Record> {
    lab.syn(from, neighbour(from), Family::V4, fence, 1)
        .unwrap();
    let records = until(LIMIT, "the record of the fence", || {
        let records = agent.records()?.split_off(*before);
        let dropped = |record: &Record| is_to(record, fence) && record.event.starts_with("DROP");
        Ok(records.iter().any(dropped).then_some(records))
    })
    .unwrap();
    *before += records.len();
    let mut records = records;
    records.retain(|record| !is_to(record, fence));
    records
}

fn told(records: &[Record], names: &BTreeMap<String, String>) -> Vec<Told> {
    let name = |id: &String| names.get(id).unwrap_or(id).clone();
    let mut told: Vec<Told> = records
        .iter()
        .map(|record| {
            let logs = record.logs.iter().map(name).collect();
            (record.event.clone(), logs, record.cause.clone())
        })
        .collect();
    told.sort();
    told
}

#[test]
fn every_step_gives_exactly_the_records_that_it_must() {
    /// Where the ports of the fences begin; no rule allows them.
    const FENCE: u16 = 60_000;

    let lab = Lab::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let agent = Agent::start(&lab, "").unwrap();
    let names = create_logs(&agent);
    assert_eq!(names.len(), 4);

    let mut before = 0;
    let mut wrong = Vec::new();
    // Steps that cannot be relied on come last, so that what the switch makes of them does not
    // disturb the others.
    let (asserted, others): (Vec<&Step>, Vec<&Step>) = STEPS.iter().partition(|step| step.asserted);
    for (step, fence) in asserted.iter().zip(FENCE..) {
        step.run(&lab)
            .unwrap_or_else(|error| panic!("{}: {error}", step.id));
        let records = records_up_to_fence(&lab, &agent, step.from, fence, &mut before);
        let (expected, told) = (expected(step), told(&records, &names));
        if told != expected {
            let lines: Vec<&str> = records.iter().map(|record| &*record.line).collect();
            wrong.push(format!(
                "{} {}:\n  expected {expected:?}\n  got      {told:?}\n  {}",
                step.id,
                step.title,
                lines.join("\n  ")
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // Every event became a record or folded into one, and none went another way.
    let totals = agent.status().unwrap()["totals"].clone();
    let count = |name: &str| totals[name].as_u64().unwrap();
    assert_eq!(count("recorded"), before as u64, "{totals}");
    assert_eq!(
        count("events"),
        count("recorded") + count("folded"),
        "{totals}"
    );
    assert!(count("folded") > 0, "S31 repeats one datagram: {totals}");
    for name in ["unknown_flow", "malformed", "drifted", "sessions_evicted"] {
        assert_eq!(count(name), 0, "{name}: {totals}");
    }

    // The others have to be survived: fragments that the switch drops, holds back, or lets go
    // late. The agent goes on as before.
    for (step, fence) in others.iter().zip(FENCE + 1_000..) {
        step.run(&lab)
            .unwrap_or_else(|error| panic!("{}: {error}", step.id));
        let records = records_up_to_fence(&lab, &agent, step.from, fence, &mut before);
        for record in records {
            assert!(
                ["ACCEPT:vm1:in", "DROP:vm1:in"].contains(&&*record.event),
                "{}: {}",
                step.id,
                record.line
            );
        }
    }
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();
    let records = records_up_to_fence(&lab, &agent, "ext1", FENCE + 2_000, &mut before);
    assert_eq!(told(&records, &names), expected(&STEPS[0]));

    agent.terminate().unwrap();
    lab.stop().unwrap();
}
