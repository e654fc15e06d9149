//! The lab itself, on the real switch: every step reaches the log flows that
//! it should, and nothing is left afterwards. These tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use netlog_lab::steps::{Direction, Expected, STEPS, Step, Verdict};
use netlog_lab::{
    BR_INT, BR_PHYS, Family, HOSTS, LIMIT, LOG_FLOWS, Lab, LabError, Options, SWITCH, Site, host,
    until,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Packets by cookie of a log flow.
type Counters = BTreeMap<u64, u64>;

fn start() -> Lab {
    Lab::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The counters of the log flows, after the datapath has told all that it
/// knows.
fn counters(lab: &Site) -> Result<Counters, LabError> {
    lab.ovs_appctl(&["revalidator/purge"])?;
    let mut counters = Counters::new();
    for table in [91, 92, 93] {
        for flow in lab.flows(table)?.lines() {
            let field = |name: &str| {
                let (_, rest) = flow.split_once(name)?;
                rest.split([',', ' ']).next()
            };
            let (Some(cookie), Some(packets)) = (field("cookie=0x"), field("n_packets=")) else {
                continue;
            };
            let cookie = u64::from_str_radix(cookie, 16).unwrap();
            if cookie >> 48 == 0x6e6c {
                counters.insert(cookie, packets.parse().unwrap());
            }
        }
    }
    Ok(counters)
}

/// Which log flows of `LOG_FLOWS` a step's packets pass: table and the
/// register 5 of the flow are in the cookie. On one host a session passes no
/// log flow when it leaves its VM, only the one of the VM that it comes to.
fn expected_growth(step: &Step) -> Counters {
    let arrives = |expected: &&Expected| expected.event.direction == Direction::In;
    let mut flows: Vec<&Expected> = step.expected.iter().filter(arrives).collect();
    if flows.is_empty() {
        flows = step.expected.iter().collect();
    }
    let mut growth = Counters::new();
    for Expected { event, packets, .. } in flows {
        let table = match (event.verdict, event.direction) {
            (Verdict::Accept, Direction::Out) => 0x91,
            (Verdict::Accept, Direction::In) => 0x92,
            (Verdict::Drop, _) => 0x93,
        };
        let port = u64::from(host(event.vm).unwrap().ofport);
        *growth.entry(0x6e6c << 48 | table << 40 | port).or_default() += u64::from(*packets);
    }
    growth
}

fn growth(before: &Counters, after: &Counters) -> Counters {
    after
        .iter()
        .map(|(cookie, packets)| (*cookie, packets - before[cookie]))
        .filter(|(_, packets)| *packets > 0)
        .collect()
}

#[test]
fn every_step_passes_the_log_flows_that_it_should() {
    let lab = start();
    lab.add_flows(BR_INT, LOG_FLOWS).unwrap();
    let first = counters(&lab).unwrap();
    assert_eq!(first.len(), LOG_FLOWS.lines().count());
    assert!(
        first.values().all(|&packets| packets == 0),
        "the lab is not silent: {first:x?}"
    );

    let mut before = first.clone();
    let mut total = Counters::new();
    for step in STEPS.iter().filter(|step| step.asserted) {
        step.run(&lab)
            .unwrap_or_else(|error| panic!("{}: {error}", step.id));
        let expected = expected_growth(step);
        let mut last = Counters::new();
        until(LIMIT, step.id, || {
            last = counters(&lab)?;
            Ok((growth(&before, &last) == expected).then_some(()))
        })
        .unwrap_or_else(|error| {
            panic!("{error}: {expected:x?}, got {:x?}", growth(&before, &last))
        });
        for (cookie, packets) in expected {
            *total.entry(cookie).or_default() += packets;
        }
        before = last;
    }
    // A packet too many would show here at the latest.
    assert_eq!(growth(&first, &counters(&lab).unwrap()), total);
    lab.stop().unwrap();
}

/// What of a lab is still there.
fn remains(name: &str, run_dir: &Path) -> Vec<String> {
    let mut remains = Vec::new();
    for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let entry = entry.file_name().to_string_lossy().into_owned();
        if entry.starts_with(name) {
            remains.push(format!("namespace {entry}"));
        }
    }
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        // Daemons have the run directory in their arguments, the janitor the name.
        let Ok(arguments) = fs::read(entry.path().join("cmdline")) else {
            continue;
        };
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if arguments.contains(name) {
            remains.push(format!("process {arguments}"));
        }
    }
    if run_dir.exists() {
        remains.push(format!("directory {}", run_dir.display()));
    }
    remains
}

#[track_caller]
fn assert_gone(name: &str, run_dir: &Path) {
    let remains = remains(name, run_dir);
    assert!(remains.is_empty(), "{name} left {remains:#?}");
}

/// Whether a process runs; a zombie does not.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .starts_with('Z')
    })
}

#[test]
fn two_labs_live_side_by_side_and_leave_nothing() {
    let (one, two) = (start(), start());
    let (one_name, one_dir) = (one.name().to_owned(), one.run_dir().to_owned());
    let (two_name, two_dir) = (two.name().to_owned(), two.run_dir().to_owned());
    for lab in [&one, &two] {
        lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();
        assert!(!remains(lab.name(), lab.run_dir()).is_empty());
    }
    let outside = one.spawn("sleep", |command| {
        command.arg("1000");
    });
    let inside = one.spawn_in("vm1", "sh", |command| {
        // A process that starts another and ignores polite signals.
        command.args(["-c", "trap '' TERM; sleep 1000 & wait"]);
    });
    let (outside, inside) = (outside.unwrap(), inside.unwrap());
    assert!(runs(outside.id()) && runs(inside.id()));

    one.stop().unwrap();
    assert_gone(&one_name, &one_dir);
    assert!(!runs(outside.id()) && !runs(inside.id()));

    two.tcp_exchange("vm1", "vm2", Family::V6, 5432, 1).unwrap();
    drop(two);
    assert_gone(&two_name, &two_dir);
}

#[test]
fn a_panic_leaves_nothing() {
    let lab = start();
    let (name, run_dir) = (lab.name().to_owned(), lab.run_dir().to_owned());
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        lab.run_in("vm1", || panic!("in vm1")).unwrap();
    }));
    assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"in vm1"));
    assert_gone(&name, &run_dir);
}

/// A lab in a process of its own, and its run directory.
fn owner() -> (Child, Site) {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_netlog-lab"))
        .arg("up")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let first = lines.next().expect("the lab comes up").unwrap();
    let run_dir = first.strip_prefix("The lab is up in ").unwrap();
    let site = Site::at(run_dir);
    // The last line: from now on the owner waits for signals.
    assert!(lines.any(|line| line.unwrap().starts_with("Ctrl-C")));
    (owner, site)
}

#[test]
fn an_owner_that_is_killed_leaves_nothing() {
    let (mut owner, site) = owner();
    let steps = Command::new(env!("CARGO_BIN_EXE_netlog-lab"))
        .args(["steps", "--only", "S01,S16", "--lab"])
        .arg(site.run_dir())
        .stdout(Stdio::null())
        .status();
    assert!(steps.unwrap().success());

    owner.kill().unwrap();
    owner.wait().unwrap();
    until(LIMIT, "the janitor", || {
        Ok(remains(site.name(), site.run_dir())
            .is_empty()
            .then_some(()))
    })
    .unwrap();
}

#[test]
fn an_owner_that_is_killed_while_it_brings_the_lab_up_leaves_nothing() {
    let stages: [fn(&Site) -> PathBuf; 6] = [
        |lab| lab.run_dir().to_owned(),
        |lab| namespace(lab, "vm1"),
        |lab| namespace(lab, SWITCH),
        |lab| lab.db_socket(),
        |lab| lab.daemon_log("ovs-vswitchd"),
        |lab| lab.mgmt_socket(BR_INT),
    ];
    for stage in stages {
        let mut owner = Command::new(env!("CARGO_BIN_EXE_netlog-lab"))
            .arg("up")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let site = Site::at(std::env::temp_dir().join(format!("netlog-{}-0", owner.id())));
        let trace = stage(&site);
        until(LIMIT, &trace.to_string_lossy(), || {
            Ok(trace.exists().then_some(()))
        })
        .unwrap();
        owner.kill().unwrap();
        owner.wait().unwrap();
        until(LIMIT, "the janitor", || {
            Ok(remains(site.name(), site.run_dir())
                .is_empty()
                .then_some(()))
        })
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}: {:#?}",
                trace.display(),
                remains(site.name(), site.run_dir())
            )
        });
    }
}

fn namespace(lab: &Site, host: &str) -> PathBuf {
    Path::new("/run/netns").join(lab.namespace(host).unwrap())
}

#[test]
fn an_owner_that_is_interrupted_ends_when_nothing_is_left() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (mut owner, site) = owner();
        kill(Pid::from_raw(owner.id().try_into().unwrap()), signal).unwrap();
        assert!(owner.wait().unwrap().success(), "{signal}");
        assert_gone(site.name(), site.run_dir());
    }
}

#[test]
fn the_vms_say_nothing_unasked() {
    let lab = start();
    for host in &HOSTS {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap();
        let (v4, v6) = lab
            .run_in(host.name, || (read("igmp"), read("igmp6")))
            .unwrap();
        // Only groups whose members never report themselves (RFC 3376, 5; RFC
        // 3810, 6): all systems, all nodes on the link, all nodes on the host.
        let groups = v6.lines().filter_map(|line| line.split_whitespace().nth(2));
        for group in groups {
            assert!(
                group.starts_with("ff02") || group.starts_with("ff01"),
                "{group}"
            );
            assert!(
                group.ends_with("0001") && !group.contains("ff00"),
                "{} is in {group}",
                host.name
            );
        }
        let groups = v4.lines().filter(|line| line.starts_with('\t'));
        for group in groups {
            assert!(
                group.trim_start().starts_with("010000E0"),
                "{} is in {group}",
                host.name
            );
        }
    }
    // And nobody has: no frame has come into the switch from any of them.
    for bridge in [BR_INT, BR_PHYS] {
        for line in lab.ovs_ofctl(&["dump-ports", bridge]).unwrap().lines() {
            if line.contains(" rx ") {
                assert!(
                    line.contains("rx pkts=0,") || line.contains("rx pkts=?"),
                    "{line}"
                );
            }
        }
    }
    lab.stop().unwrap();
}

#[test]
fn daemons_can_be_killed_and_ports_replugged() {
    let lab = start();
    lab.kill_vswitchd().unwrap();
    lab.start_vswitchd().unwrap();
    assert_eq!(
        lab.flows(60)
            .unwrap()
            .lines()
            .filter(|line| line.contains("cookie"))
            .count(),
        0
    );
    lab.load_pipeline().unwrap();
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();

    lab.kill_ovsdb_server().unwrap();
    lab.start_ovsdb_server().unwrap();
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();

    // vswitchd must have found the new server to carry this out.
    lab.unplug("vm1").unwrap();
    lab.plug_as("vm1", 11).unwrap();
    lab.unplug("vm1").unwrap();
    lab.plug("vm1").unwrap();
    lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 1).unwrap();
    lab.stop().unwrap();
}

#[test]
fn who_is_not_root_is_told_so() {
    let dir = std::env::temp_dir().join(format!("netlog-not-root-{}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.join("netlog-lab");
    fs::copy(env!("CARGO_BIN_EXE_netlog-lab"), &program).unwrap();
    let output = Command::new(&program)
        .arg("up")
        .uid(65534)
        .output()
        .unwrap();
    fs::remove_dir_all(&dir).unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("root: run as root, for example with sudo"),
        "{message}"
    );
}
