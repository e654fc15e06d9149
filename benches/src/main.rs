//! Measures the data path (docs/performance.md).

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netlog_benches::run::{Load, Run};
use netlog_benches::stages::Stage;
use netlog_benches::stream::Mix;
use netlog_benches::table::Plan;
use netlog_benches::{instructions, switch, table};

/// Measures the data path from the switch's socket to the file.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything side by side, in turn, and print the medians.
    Table(Plan),
    /// Run the data path once, with a switch in another process, and print one line of JSON.
    Run(Run),
    /// Be the switch.
    Switch {
        /// The socket to listen on.
        #[arg(long)]
        socket: PathBuf,
        #[command(flatten)]
        load: Load,
    },
    /// Run one stage in memory: for profilers.
    Stage {
        /// Which.
        stage: Stage,
        /// How often.
        #[arg(long, default_value_t = 1_000_000)]
        records: usize,
        /// For how many ports.
        #[arg(long, default_value_t = 200)]
        ports: u32,
    },
    /// Count the instructions of each stage, and compare them with those kept.
    Instructions {
        /// Keep what is counted, with this tolerance in per cent.
        #[arg(long, value_name = "TOLERANCE", num_args = 0..=1, default_missing_value = "3")]
        update: Option<u64>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netlog-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Table(plan) => print!("{}", table::measure(&plan)?),
        Command::Run(run) => println!("{}", serde_json::to_string(&run.measure()?)?),
        Command::Switch { socket, load } => {
            // The agent hangs up when it has all.
            let _ = switch::serve(&socket, load.stream()?, load.records);
        }
        Command::Stage {
            stage,
            records,
            ports,
        } => stage.prepare(Mix::Syn, ports)?.run(records),
        Command::Instructions { update: None } => print!("{}", instructions::check()?),
        Command::Instructions {
            update: Some(tolerance),
        } => instructions::update(tolerance)?,
    }
    Ok(())
}
