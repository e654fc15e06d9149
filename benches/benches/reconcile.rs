//! How long it takes to put the log flows of 10,000 ports in force on a real Open vSwitch.
//!
//! ```sh
//! cargo bench --package netlog-benches --bench reconcile -- 10000
//! ```
//!
//! This needs root, as the lab does; without it nothing is measured.

use std::error::Error;
use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use netlog_agent::pipeline::{Parts, Pipeline};
use netlog_agent::switch::{Event, Priority, Switch};
use netlog_core::classify::Tables;
use netlog_core::flow::{FlowProfile, LogFlow};
use netlog_core::ledger::Ledger;
use netlog_core::plan::{AcceptScope, LogLimits, PortPlan};
use netlog_core::record::{Format, Recorder};
use netlog_lab::{BR_INT, Lab, Options};
use netlog_ratelimit::Limits;
use netlog_sink::{FileSink, Retry, Worker};
use uuid::Uuid;

/// How long a step may take.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn Error>> {
    if let Err(reason) = netlog_lab::check() {
        println!("nothing is measured: {reason}");
        return Ok(());
    }
    let ports = netlog_benches::argument().unwrap_or(10_000);
    let lab = Lab::start(&Options::default())?;
    let all = log_flows(1..=ports);
    let one_less = log_flows(2..=ports);
    println!("{ports} ports, {} log flows", all.len());

    let bridge = Bridge::attach(&lab)?;
    let empty = resident()?;
    let changes = bridge.want("cold: nothing is there", 1, &all)?;
    assert_eq!(changes, all.len());
    let full = resident()?.saturating_sub(empty);
    println!(
        "{:<40} {:>9} bytes a port, most of them for the flows and what the switch said of them",
        "memory at its greatest",
        full / u64::from(ports)
    );
    assert_eq!(bridge.want("warm: the same again", 2, &all)?, 0);
    assert_eq!(bridge.want("one port less", 3, &one_less)?, 5);
    assert_eq!(bridge.want("one port more", 4, &all)?, 5);

    let since = now();
    let ours = "cookie=0x6e4c000000000000/0xffff000000000000";
    lab.ovs_ofctl(&["del-flows", BR_INT, ours])?;
    let deleted = since.elapsed();
    let mut healed = 0;
    while healed < all.len() {
        if let Event::Healed { harm, .. } = bridge.next()? {
            healed += harm.flows();
        }
    }
    println!(
        "{:<40} {:>9.1?}, of which ovs-ofctl {deleted:.1?}",
        "healed: all deleted by someone else",
        since.elapsed()
    );
    bridge.switch.stop();

    let bridge = Bridge::attach(&lab)?;
    let changes = bridge.want("warm: the agent is started again", 1, &all)?;
    assert_eq!(changes, 0);

    let limits = Limits::new(1000, 25)?;
    let metered = bridge.want_within(
        "meters for all, and flows through them",
        2,
        &all,
        Some(limits),
    )?;
    assert_eq!(metered, all.len());
    let other = Limits::new(2000, 25)?;
    assert_eq!(bridge.want_within("other limits", 3, &all, Some(other))?, 0);
    lab.ovs_ofctl(&["del-flows", BR_INT, ours])?;
    lab.ovs_ofctl(&["del-meters", BR_INT])?;
    bridge.switch.stop();
    let bridge = Bridge::attach(&lab)?;
    let empty = resident()?;
    let changes = bridge.want_within("cold: with meters", 1, &all, Some(limits))?;
    assert_eq!(changes, all.len());
    println!(
        "{:<40} {:>9} bytes a port more than before, in a process that had much to free",
        "memory",
        resident()?.saturating_sub(empty) / u64::from(ports)
    );
    bridge.switch.stop();
    let bridge = Bridge::attach(&lab)?;
    let changes = bridge.want_within("warm: with meters", 1, &all, Some(limits))?;
    assert_eq!(changes, 0);
    bridge.switch.stop();
    Ok(lab.stop()?)
}

/// The memory of this process that is resident now, in bytes (proc(5)).
fn resident() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = { status.lines() }.find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    Ok(kilobytes.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}

/// The log flows of ports that log everything.
fn log_flows(ports: impl Iterator<Item = u32>) -> Vec<LogFlow> {
    let plan = PortPlan {
        port: Uuid::nil(),
        accept: vec![AcceptScope {
            log: Uuid::nil(),
            group: None,
        }],
        drop: vec![Uuid::nil()],
        limits: LogLimits::default(),
    };
    let profile = FlowProfile::default();
    ports
        .flat_map(|port| profile.log_flows(&plan, port, port))
        .collect()
}

/// A bridge that is being served.
struct Bridge {
    switch: Switch,
    events: Receiver<Event>,
}

impl Bridge {
    fn attach(lab: &Lab) -> Result<Self, Box<dyn Error>> {
        let format = Format::default();
        let profile = FlowProfile::default();
        let worker = Worker::spawn(FileSink::open("/dev/null")?, 64, Retry::default())?;
        let pipeline = Pipeline::new(Parts {
            tables: Arc::new(ArcSwap::from_pointee(Tables::empty(format))),
            ledger: Arc::new(Ledger::default()),
            recorder: Recorder::new(format),
            limits: Arc::default(),
            sink: worker.handle(),
            port_register: profile.port_register,
            seed: 0,
        });
        let (sender, events) = channel();
        let tell = move |event| {
            // At the end nobody listens any more.
            let _ = sender.send(event);
        };
        let socket = lab.mgmt_socket(BR_INT);
        let switch = Switch::start(socket, profile, pipeline, Priority::Ordinary, tell)?;
        Ok(Self { switch, events })
    }

    fn next(&self) -> Result<Event, RecvTimeoutError> {
        self.events.recv_timeout(LIMIT)
    }

    /// Puts these flows in force, says how long that took, and returns how many changes it needed.
    fn want(&self, what: &str, ticket: u64, flows: &[LogFlow]) -> Result<usize, Box<dyn Error>> {
        self.want_within(what, ticket, flows, None)
    }

    fn want_within(
        &self,
        what: &str,
        ticket: u64,
        flows: &[LogFlow],
        limits: Option<Limits>,
    ) -> Result<usize, Box<dyn Error>> {
        let since = now();
        self.switch.want(ticket, flows.to_vec(), limits);
        loop {
            match self.next()? {
                Event::InForce {
                    ticket: of,
                    changes,
                } if of == ticket => {
                    println!("{what:<40} {:>9.1?}, {changes} changes", since.elapsed());
                    return Ok(changes);
                }
                Event::Refused { reason } => return Err(reason.into()),
                _ => {}
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn now() -> Instant {
    Instant::now()
}
