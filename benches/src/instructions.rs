//! Instructions a record: a figure that does not depend on how busy a machine is.
//!
//! Each stage runs under callgrind twice, with more records the second time, so that what the
//! start costs drops out. `instructions.txt` holds what was counted last, and the tolerance.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::process::Command;
use std::{env, fs};

use crate::name;
use crate::stages::Stage;

/// Records in the two runs.
const RUNS: [u64; 2] = [4_096, 12_288];

/// The counts in the repository.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

/// What stands at the head of the file.
const HEAD: &str = "\
# Instructions a record, counted by callgrind (docs/performance.md).
# `make instructions` compares; `make instructions-update` writes what it counts.
# TCP SYN with options, 200 ports.
";

/// Counts every stage.
///
/// # Errors
/// When valgrind is missing, or a stage fails.
pub fn count() -> Result<BTreeMap<String, u64>, Box<dyn Error>> {
    let mut counts = BTreeMap::new();
    for stage in Stage::ALL {
        let [few, many] = [collect(stage, RUNS[0])?, collect(stage, RUNS[1])?];
        let records = RUNS[1] - RUNS[0];
        counts.insert(name(stage), (many - few + records / 2) / records);
    }
    Ok(counts)
}

/// Instructions of one process.
fn collect(stage: Stage, records: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["stage", &name(stage), "--records", &records.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}; install it: apt-get install valgrind"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind: {}\n{said}", output.status).into());
    }
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .ok_or_else(|| format!("valgrind did not say how much it collected:\n{said}"))?;
    Ok(collected.1.trim().parse()?)
}

/// Compares what is counted with the file, and returns a table.
///
/// # Errors
/// When a stage needs more or fewer instructions than the tolerance allows, or cannot be counted.
pub fn check() -> Result<String, Box<dyn Error>> {
    let text = fs::read_to_string(FILE)?;
    let mut kept = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.split_once(' ').ok_or("instructions.txt: no number")?;
        kept.insert(name, number.trim().parse::<u64>()?);
    }
    let tolerance = kept
        .remove("tolerance-percent")
        .ok_or("instructions.txt: no tolerance-percent")?;
    let mut table = String::new();
    let mut out = 0;
    for (name, counted) in count()? {
        let before = kept.remove(&*name).unwrap_or(0);
        let off = before.abs_diff(counted) * 100 > before * tolerance;
        out += usize::from(off);
        let remark = if off { "  OUT OF TOLERANCE" } else { "" };
        writeln!(table, "{name:16} {before:>6} {counted:>6}{remark}")?;
    }
    out += kept.len();
    if out > 0 {
        return Err(format!(
            "stage, instructions kept, counted (tolerance {tolerance} %):\n{table}\
             If a change means it, run `make instructions-update` and say why in the commit."
        )
        .into());
    }
    Ok(table)
}

/// Writes what is counted to the file, with the tolerance in per cent.
///
/// # Errors
/// When a stage cannot be counted, or the file not written.
pub fn update(tolerance: u64) -> Result<(), Box<dyn Error>> {
    let mut text = HEAD.to_owned();
    writeln!(text, "tolerance-percent {tolerance}")?;
    for (name, counted) in count()? {
        writeln!(text, "{name} {counted}")?;
    }
    Ok(fs::write(FILE, text)?)
}
