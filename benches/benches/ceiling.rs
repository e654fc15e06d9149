//! The agent that operators run against a real ovs-vswitchd that sends all the packet-ins it can.
//!
//! ```sh
//! make release
//! cargo bench --package netlog-benches --bench ceiling -- 300000
//! ```
//!
//! So many packets, which vm1's security group drops, are sent as fast as one thread can. Each is a
//! packet-in and a record: what a queue before the switch does not take is not matched, what is
//! matched and not received was lost in the switch or on the connection, and Open vSwitch says
//! where. This needs root, as the lab does; without it nothing is measured.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use netlog_lab::frames::Ends;
use netlog_lab::{Agent, Family, LIMIT, Lab, LabError, Options, host, until};

/// What `make release` builds.
const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/pgo/netlog-agent");

/// Packets that are sent at once.
const CHUNK: usize = 2_000;

/// What Open vSwitch calls the losses on the way to a controller: packets that found no handler,
/// that the queue to the main thread did not take, that the queue of the connection did not take.
const LOSSES: [&str; 3] = [
    "datapath_drop_lock_error",
    "packet_in_overflow",
    "rconn_overflow",
];

fn main() -> Result<(), Box<dyn Error>> {
    if let Err(reason) = netlog_lab::check() {
        println!("nothing is measured: {reason}");
        return Ok(());
    }
    let packets: usize = netlog_benches::argument().unwrap_or(300_000);
    let program = fs::canonicalize(AGENT)
        .map_err(|error| format!("{AGENT}: {error}; run `make release` first"))?;
    println!("{}", program.display());
    let lab = Lab::start(&Options {
        programs: program.parent().map(Path::to_owned),
        ..Options::default()
    })?;
    let agent = Agent::start(&lab, "")?;
    let log = ["log", "create", "--resource-type", "security_group", "All"];
    agent.netlog_ok(&log)?;
    let ends = Ends::between(host("ext1")?, host("vm1")?, Family::V4);
    let frames = (0..CHUNK)
        .map(|port| ends.syn(10_000 + u16::try_from(port).unwrap_or(0), 4444))
        .collect::<Result<Vec<_>, LabError>>()?;
    // The switch sees what it has to do, and the agent its first records.
    lab.send_frames("ext1", &frames)?;
    settle(&lab, &agent)?;

    let before = Counts::now(&lab, &agent)?;
    let since = now();
    for _ in 0..packets / CHUNK {
        lab.send_frames("ext1", &frames)?;
    }
    let sent_in = since.elapsed();
    settle(&lab, &agent)?;
    let counted = Counts::now(&lab, &agent)?.since(&before);

    let sent = packets / CHUNK * CHUNK;
    let Counts {
        matched,
        received,
        recorded,
        cpu,
        ..
    } = &counted;
    println!(
        "sent {sent} in {sent_in:.1?}, matched {matched}, received {received}, recorded {recorded}"
    );
    println!(
        "matched and not received: {}",
        matched.saturating_sub(*received)
    );
    for (name, lost) in LOSSES.iter().zip(&counted.lost) {
        println!("  {name} {lost}");
    }
    let each = |cpu: Duration| cpu.as_nanos() / u128::from((*recorded).max(1));
    println!(
        "CPU ns a record: ovs-vswitchd {}, netlog-agent {}",
        each(cpu[0]),
        each(cpu[1])
    );
    agent.terminate()?;
    Ok(lab.stop()?)
}

/// What is counted so far.
#[derive(Debug)]
struct Counts {
    /// By the log flows of vm1.
    matched: u64,
    /// By the agent.
    received: u64,
    recorded: u64,
    lost: Vec<u64>,
    /// Of ovs-vswitchd and of the agent.
    cpu: [Duration; 2],
}

impl Counts {
    fn now(lab: &Lab, agent: &Agent<'_>) -> Result<Self, Box<dyn Error>> {
        let [received, recorded] = totals(agent)?;
        let vswitchd = lab.ovs_vsctl(&["get", "Open_vSwitch", ".", "external_ids:vswitchd-pid"])?;
        let vswitchd: u32 = vswitchd.trim().trim_matches('"').parse()?;
        Ok(Self {
            matched: matched(lab)?,
            received,
            recorded,
            lost: LOSSES
                .iter()
                .map(|name| {
                    let count = lab.ovs_appctl(&["coverage/read-counter", name]);
                    // Other versions of Open vSwitch may not know a counter.
                    count
                        .ok()
                        .and_then(|count| count.trim().parse().ok())
                        .unwrap_or(0)
                })
                .collect(),
            cpu: [cpu(vswitchd)?, cpu(agent.process().id())?],
        })
    }

    fn since(self, before: &Self) -> Self {
        let lost = self.lost.iter().zip(&before.lost);
        Self {
            matched: self.matched - before.matched,
            received: self.received - before.received,
            recorded: self.recorded - before.recorded,
            lost: lost.map(|(now, before)| now - before).collect(),
            cpu: [0, 1].map(|at| self.cpu[at].saturating_sub(before.cpu[at])),
        }
    }
}

/// Waits until nothing is counted any more.
fn settle(lab: &Lab, agent: &Agent<'_>) -> Result<(), LabError> {
    let mut last = None;
    let mut since = now();
    until(LIMIT, "everything to be counted", || {
        let counts = (matched(lab)?, totals(agent)?);
        if last.replace(counts) != Some(counts) {
            since = now();
        }
        // The switch collects what the datapath counted twice a second.
        Ok((since.elapsed() > Duration::from_secs(2)).then_some(()))
    })
}

/// What log flows of the table of dropped packets matched.
fn matched(lab: &Lab) -> Result<u64, LabError> {
    let flows = lab.flows(93)?;
    let count = |flow: &str| -> Option<u64> {
        flow.contains("cookie=0x6e4c").then_some(())?;
        let count = flow.split_once("n_packets=")?.1;
        count.split(',').next()?.parse().ok()
    };
    Ok(flows.lines().filter_map(count).sum())
}

/// What the agent received and recorded.
fn totals(agent: &Agent<'_>) -> Result<[u64; 2], LabError> {
    let status = agent.status()?;
    let total = |name: &str| status["totals"][name].as_u64().unwrap_or(0);
    Ok([total("received"), total("written")])
}

/// The processor time of a process, in user mode and in the kernel (proc(5)).
fn cpu(pid: u32) -> Result<Duration, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after) = stat.rsplit_once(") ").ok_or("no process")?;
    let ticks = after.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(
        ticks * 1000 / rustix::param::clock_ticks_per_second(),
    ))
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn now() -> Instant {
    Instant::now()
}
