//! Everything side by side: our data path, the C floor and the stages alone, in turn, several
//! times, in one table of medians.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use crate::floor::Floor;
use crate::run::{Outcome, RecordFormat};
use crate::stages::Stage;
use crate::stream::Mix;
use crate::{allocations, name};

/// How much is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// How often everything is run.
    #[arg(long, default_value_t = 25)]
    pub rounds: usize,
    /// Records in a run.
    #[arg(long, default_value_t = 300_000)]
    pub records: u64,
    /// Where the source of the C floor is.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/bench"))]
    pub floor: PathBuf,
    /// A directory for the files that are written; they are removed.
    #[arg(long, default_value_os_t = env::temp_dir())]
    pub directory: PathBuf,
    /// The processor that everything is pinned to.
    #[arg(long, default_value_t = 0)]
    pub cpu: usize,
}

/// One thing that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Pipe {
        file: bool,
        mix: Mix,
        json: bool,
        ports: u32,
    },
    Stage(usize),
    FloorPipe {
        file: bool,
    },
    FloorMemory,
}

impl Row {
    const fn pipe(file: bool, mix: Mix, json: bool, ports: u32) -> Self {
        Self::Pipe {
            file,
            mix,
            json,
            ports,
        }
    }

    fn all() -> Vec<Self> {
        let mut rows = vec![
            Self::FloorPipe { file: true },
            Self::pipe(true, Mix::Syn, false, 200),
            Self::FloorPipe { file: false },
            Self::pipe(false, Mix::Syn, false, 200),
            Self::pipe(false, Mix::Syn, true, 200),
            Self::pipe(false, Mix::Syn, false, 10_000),
            Self::pipe(false, Mix::Dns, false, 200),
            Self::pipe(false, Mix::Dns, false, 10_000),
            Self::pipe(false, Mix::Icmpv6, false, 200),
            Self::pipe(false, Mix::Icmpv6, false, 10_000),
            Self::pipe(false, Mix::Mixed, false, 200),
            Self::pipe(false, Mix::Mixed, false, 10_000),
            Self::FloorMemory,
        ];
        rows.extend((0..Stage::ALL.len()).map(Self::Stage));
        rows
    }

    /// What it is compared with, and what the ratio may be at most where that is asked for.
    fn compared(self) -> Option<(Self, Option<f64>)> {
        let syn = Self::pipe(false, Mix::Syn, false, 200);
        Some(match self {
            Self::Pipe { file: true, .. } => (Self::FloorPipe { file: true }, Some(1.6)),
            _ if self == syn => (Self::FloorPipe { file: false }, Some(3.0)),
            Self::Pipe { json: true, .. } => (syn, Some(1.3)),
            Self::Pipe {
                mix, ports: 10_000, ..
            } => (Self::pipe(false, mix, false, 200), Some(1.15)),
            Self::Stage(at) if matches!(Stage::ALL[at], Stage::Text) => {
                (Self::FloorMemory, Some(4.0))
            }
            Self::Pipe { .. } | Self::Stage(_) | Self::FloorPipe { .. } | Self::FloorMemory => {
                return None;
            }
        })
    }

    fn title(self) -> String {
        match self {
            Self::Pipe {
                file,
                mix,
                json,
                ports,
            } => format!(
                "socket to {}, {}, {ports} ports, {}",
                target(file),
                name(mix),
                if json { "json" } else { "text" },
            ),
            Self::Stage(at) => format!("stage {}", name(Stage::ALL[at])),
            Self::FloorPipe { file } => format!("C floor: pipe to {}", target(file)),
            Self::FloorMemory => "C floor: handmem".to_owned(),
        }
    }
}

const fn target(file: bool) -> &'static str {
    if file { "file" } else { "/dev/null" }
}

/// What was measured of a row.
#[derive(Clone, Debug, Default)]
struct Figures {
    cpu: Vec<f64>,
    wall: Vec<f64>,
    lost: u64,
    allocations: Vec<f64>,
}

/// Measures all of it and returns the table.
///
/// # Errors
/// When something cannot be run.
pub fn measure(plan: &Plan) -> Result<String, Box<dyn Error>> {
    let mut cpus = CpuSet::new();
    cpus.set(plan.cpu);
    // What is started from here inherits it.
    sched_setaffinity(None, &cpus)?;
    let directory = tempfile::tempdir_in(&plan.directory)?;
    let file = directory.path().join("records");
    let floor = Floor::compile(&plan.floor, directory.path())?;

    if let Some(floor) = &floor {
        // For the page cache.
        floor.pipe(&file, plan.records)?;
    }
    let mut figures: BTreeMap<Row, Figures> = BTreeMap::new();
    for round in 0..plan.rounds {
        eprintln!("round {} of {}", round + 1, plan.rounds);
        let mut rows = Row::all();
        // What comes later in a round is so in every other one.
        if round % 2 == 1 {
            rows.reverse();
        }
        for row in rows {
            let floor_cpu = match (row, &floor) {
                (Row::FloorPipe { file: true }, Some(floor)) => {
                    Some(floor.pipe(&file, plan.records)?)
                }
                (Row::FloorPipe { file: false }, Some(floor)) => {
                    Some(floor.pipe(Path::new("/dev/null"), plan.records)?)
                }
                (Row::FloorMemory, Some(floor)) => Some(floor.memory(plan.records)?),
                (Row::FloorPipe { .. } | Row::FloorMemory, None) => continue,
                _ => None,
            };
            let figures = figures.entry(row).or_default();
            if let Some(cpu) = floor_cpu {
                figures.cpu.push(cpu);
            } else if let Row::Stage(at) = row {
                let (cpu, allocations) = stage(Stage::ALL[at], plan.records)?;
                figures.cpu.push(cpu);
                figures.allocations.push(allocations);
            } else if let Row::Pipe {
                file: to_file,
                mix,
                json,
                ports,
            } = row
            {
                let to = if to_file {
                    &*file
                } else {
                    Path::new("/dev/null")
                };
                if to_file {
                    // As the floor does.
                    fs::File::create(to)?;
                }
                let outcome = run(to, mix, ports, json, plan.records)?;
                figures.cpu.push(outcome.cpu_ns_per_rec);
                figures.wall.push(outcome.wall_rec_s);
                figures.allocations.push(outcome.allocations_per_rec);
                figures.lost += outcome.lost;
            }
        }
    }
    if floor.is_none() {
        eprintln!("{} has no climits.c: no C floor", plan.floor.display());
    }
    render(&figures)
}

/// CPU time in nanoseconds and allocations of a record, in this process.
fn stage(stage: Stage, records: u64) -> Result<(f64, f64), Box<dyn Error>> {
    let records = usize::try_from(records)?;
    let mut prepared = stage.prepare(Mix::Syn, 200)?;
    // All buffers grow to their size.
    prepared.run(100_000);
    let cpu = || clock_gettime(ClockId::ProcessCPUTime);
    let start = cpu();
    let before = allocations();
    prepared.run(records);
    let spent = cpu() - start;
    let allocated = allocations() - before;
    let nanos = spent.tv_sec as f64 * 1e9 + spent.tv_nsec as f64;
    let records = records as f64;
    Ok((nanos / records, allocated as f64 / records))
}

/// A run in a process of its own.
fn run(
    to: &Path,
    mix: Mix,
    ports: u32,
    json: bool,
    records: u64,
) -> Result<Outcome, Box<dyn Error>> {
    let format = if json {
        RecordFormat::Json
    } else {
        RecordFormat::Text
    };
    let output = Command::new(env::current_exe()?)
        .args(["run", "--records", &records.to_string()])
        .args(["--ports", &ports.to_string()])
        .args(["--mix", &name(mix), "--format", &name(format), "--to"])
        .arg(to)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("run: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn render(figures: &BTreeMap<Row, Figures>) -> Result<String, Box<dyn Error>> {
    let mut table = format!(
        "{:44} {:>8} {:>10} {:>7} {:>6}  {}\n",
        "medians", "CPU ns", "records/s", "allocs", "lost", "ratio"
    );
    let cpu = |row: Row| median(&figures.get(&row)?.cpu);
    for row in Row::all() {
        let (Some(found), Some(nanos)) = (figures.get(&row), cpu(row)) else {
            continue;
        };
        write!(table, "{:44} {nanos:>8.1}", row.title())?;
        match median(&found.wall) {
            Some(rate) => write!(table, " {rate:>10.0}")?,
            None => write!(table, " {:>10}", "")?,
        }
        match median(&found.allocations) {
            Some(allocations) => write!(table, " {allocations:>7.4}")?,
            None => write!(table, " {:>7}", "")?,
        }
        match (row, found.wall.is_empty()) {
            (Row::Pipe { .. }, false) => write!(table, " {:>6}", found.lost)?,
            _ => write!(table, " {:>6}", "")?,
        }
        if let Some((other, at_most)) = row.compared()
            && let Some(base) = cpu(other)
        {
            write!(table, "  {:.2} of {}", nanos / base, other.title())?;
            if let Some(at_most) = at_most {
                write!(table, " (asked: {at_most})")?;
            }
            // What slows the machine down for some rounds is not in it.
            let rounds = figures.get(&other).map_or(&[][..], |it| &it.cpu);
            let ratios: Vec<f64> = found.cpu.iter().zip(rounds).map(|(a, b)| a / b).collect();
            if let Some(ratio) = median(&ratios) {
                write!(table, ", {ratio:.2} round by round")?;
            }
        }
        table.push('\n');
    }
    Ok(table)
}
