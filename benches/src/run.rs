//! The agent's data path in this process, and a switch in another.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use clap::ValueEnum;
use netlog_agent::clock;
use netlog_agent::pipeline::{EventAccounts, SINK_QUEUE};
use netlog_agent::switch::{Event, Priority, Switch};
use netlog_core::flow::FlowProfile;
use netlog_core::ledger::Ledger;
use netlog_core::record::Layout;
use netlog_ofp::MessageTooLong;
use netlog_sink::{FileSink, Retry, Worker};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::site;
use crate::stages::format;
use crate::stream::{Mix, Stream};
use crate::{allocations, name};

/// How often the ledger is looked at for the end.
const POLL: Duration = Duration::from_millis(5);

/// Longer than this without another record means that something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A layout of records, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecordFormat {
    /// Text.
    Text,
    /// JSON.
    Json,
}

impl RecordFormat {
    const fn layout(self) -> Layout {
        match self {
            Self::Text => Layout::Text,
            Self::Json => Layout::Json,
        }
    }
}

/// What a switch sends.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Load {
    /// How many packet-ins.
    #[arg(long, default_value_t = 1_000_000)]
    pub records: u64,
    /// Of which packets.
    #[arg(long, default_value = "syn")]
    pub mix: Mix,
    /// To how many ports.
    #[arg(long, default_value_t = 200)]
    pub ports: u32,
}

impl Load {
    /// The switch's messages: enough for every port to get some, then the same again.
    ///
    /// # Errors
    /// Never: a packet-in of these frames is short.
    pub fn stream(&self) -> Result<Stream, MessageTooLong> {
        let count = 4096.max(self.ports as usize * 2);
        Stream::new(self.mix, self.ports, count)
    }
}

/// What is to be measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    /// Where records go.
    #[arg(long, default_value = "/dev/null")]
    pub to: PathBuf,
    /// How records are written.
    #[arg(long, default_value = "text")]
    pub format: RecordFormat,
    /// What the switch sends.
    #[command(flatten)]
    pub load: Load,
}

/// What came out.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Records in the file.
    pub records: u64,
    /// CPU time of the whole process, all threads, user and system.
    pub cpu_ns_per_rec: f64,
    /// Records in a second of wall time.
    pub wall_rec_s: f64,
    /// How often memory was allocated for a record, in all threads, once the first tenth of the
    /// packet-ins had come.
    pub allocations_per_rec: f64,
    /// Length of a record.
    pub rec_bytes: u64,
    /// Packet-ins that did not become a record in the file.
    pub lost: u64,
    /// Resident memory after each tenth of the records, in KiB.
    pub rss_kib: [u64; 10],
}

/// Ends the switch when the run ends, however it does.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Run {
    /// Runs it. To be called once in a process: what is measured is the process.
    ///
    /// # Errors
    /// When the switch cannot be started or the sink opened, or when records cease to come.
    pub fn measure(&self) -> Result<Outcome, Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let socket = directory.path().join("mgmt");
        let mut peer = self.start_switch(&socket)?;
        while !socket.exists() {
            if let Some(status) = peer.0.try_wait()? {
                return Err(format!("the switch ended with {status}").into());
            }
            thread::sleep(POLL);
        }

        let format = format(self.format.layout());
        let ledger = Arc::new(Ledger::default());
        let accounts = Arc::new(EventAccounts(Arc::clone(&ledger)));
        let sink = FileSink::open(&self.to)?;
        let worker = Worker::spawn_for(sink, SINK_QUEUE, Retry::default(), accounts)?;
        let counters = worker.counters();
        // Kept beyond the measurement: what it takes to drop them is no part of a record.
        let tables = Arc::new(site::tables(self.load.ports, format, &ledger)?);
        let pipeline = site::pipeline(&tables, format, &ledger, worker.handle());
        // The switch ends when all is done, which is nothing to tell of.
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        let tell = move |event| {
            if let Event::Refused { reason } | Event::Detached { reason } = event
                && !is_done.load(Ordering::Relaxed)
            {
                eprintln!("switch: {reason}");
            }
        };
        // On the one processor that all is pinned to, and with a switch that is faster than any
        // Open vSwitch, real time would leave nothing to the sink's thread.
        let (profile, priority) = (FlowProfile::default(), Priority::Ordinary);
        let switch = Switch::start(socket, profile, pipeline, priority, tell)?;

        let (cpu, wall) = (cpu_time(), clock::monotonic());
        switch.want(1, Vec::new(), None);
        let (mut received, mut progress) = (0, wall);
        let (mut rss_kib, mut tenths) = ([0; 10], 0);
        // Until the first tenth, and for looking at the memory.
        let mut uncounted = 0;
        while received < self.load.records {
            thread::sleep(POLL);
            let now = clock::monotonic();
            let count = ledger.received.get();
            if count > received {
                (received, progress) = (count, now);
            } else if now.saturating_sub(progress) > PATIENCE {
                return Err(format!("{received} of {} packet-ins came", self.load.records).into());
            }
            for place in &mut rss_kib[tenths..] {
                if received * 10 < self.load.records * (tenths as u64 + 1) {
                    break;
                }
                let before = allocations();
                *place = resident_kib()?;
                uncounted = match tenths {
                    0 => allocations(),
                    _ => uncounted + allocations() - before,
                };
                tenths += 1;
            }
        }
        let allocated = allocations() - uncounted;
        done.store(true, Ordering::Relaxed);
        switch.stop();
        worker.flush(PATIENCE)?;
        let cpu = cpu_time().saturating_sub(cpu);
        let wall = clock::monotonic().saturating_sub(wall);
        drop(tables);
        worker.close(PATIENCE)?;
        // It ends by itself now; killed it would leave half a profile (scripts/release).
        peer.0.wait()?;

        let counts = counters.read();
        let records = self.load.records as f64;
        Ok(Outcome {
            records: counts.written,
            cpu_ns_per_rec: cpu.as_secs_f64() * 1e9 / records,
            wall_rec_s: records / wall.as_secs_f64(),
            allocations_per_rec: allocated as f64 / (records * 0.9),
            rec_bytes: counts.written_bytes / counts.written.max(1),
            lost: self.load.records.saturating_sub(counts.written),
            rss_kib,
        })
    }

    fn start_switch(&self, socket: &Path) -> Result<Peer, Box<dyn Error>> {
        let child = Command::new(env::current_exe()?)
            .arg("switch")
            .arg("--socket")
            .arg(socket)
            .args(["--records", &self.load.records.to_string()])
            .args(["--ports", &self.load.ports.to_string()])
            .args(["--mix", &name(self.load.mix)])
            .spawn()?;
        Ok(Peer(child))
    }
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Resident memory of this process.
fn resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.ok_or("no VmRSS in /proc/self/status")?.parse()?)
}
