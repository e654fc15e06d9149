//! The floor: a C program that knows one layout only, where there is its source.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// The compiled program and the frame that it is given.
#[derive(Debug)]
pub struct Floor {
    program: PathBuf,
    frame: PathBuf,
}

#[derive(Deserialize)]
struct Line {
    cpu_ns_per_rec: f64,
}

impl Floor {
    /// Compiles `climits.c` of `source` into `directory`; `None` when it is not there.
    ///
    /// # Errors
    /// When the compiler fails.
    pub fn compile(source: &Path, directory: &Path) -> Result<Option<Self>, Box<dyn Error>> {
        let (code, frame) = (source.join("climits.c"), source.join("b_syn.hex"));
        if !code.exists() || !frame.exists() {
            return Ok(None);
        }
        let program = directory.join("climits");
        let status = Command::new("gcc")
            .args(["-O3", "-march=native", "-w", "-o"])
            .args([&program, &code])
            .status()?;
        if !status.success() {
            return Err(format!("gcc {}: {status}", code.display()).into());
        }
        Ok(Some(Self { program, frame }))
    }

    /// CPU time of a record in nanoseconds, from a socket to `to`.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn pipe(&self, to: &Path, records: u64) -> Result<f64, Box<dyn Error>> {
        self.run(["pipe".as_ref(), to.as_os_str()], records)
    }

    /// CPU time of a record in nanoseconds, formatted in memory.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn memory(&self, records: u64) -> Result<f64, Box<dyn Error>> {
        self.run(["handmem".as_ref(), "-".as_ref()], records)
    }

    fn run(&self, mode: [&std::ffi::OsStr; 2], records: u64) -> Result<f64, Box<dyn Error>> {
        let output = Command::new(&self.program)
            .env("ALIGN", "1")
            .args(mode)
            .arg(records.to_string())
            .arg(&self.frame)
            .stderr(Stdio::inherit())
            .output()?;
        if !output.status.success() {
            return Err(format!("climits: {}", output.status).into());
        }
        let line: Line = serde_json::from_slice(&output.stdout)?;
        Ok(line.cpu_ns_per_rec)
    }
}
