//! `netlog-lab`: the live lab from the command line.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use netlog_lab::steps::{STEPS, Step};
use netlog_lab::{HOSTS, Lab, LabError, Options, Site};
use nix::sys::signal::{SigSet, Signal};

/// A private Open vSwitch with Neutron's firewall flows, five VMs and two
/// hosts beyond it.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring up a lab, say how to use it, and keep it until Ctrl-C.
    Up {
        /// Make the run directory in this directory [default: that of
        /// temporary files].
        #[arg(long, value_name = "DIR")]
        parent: Option<PathBuf>,
    },
    /// Send the traffic of the 54 steps, or of some.
    Steps {
        /// The run directory of a lab that is up [default: a lab of its own].
        #[arg(long, value_name = "DIR")]
        lab: Option<PathBuf>,
        /// Only these steps.
        #[arg(long, value_name = "S01,S05", value_delimiter = ',', value_parser = step_id)]
        only: Vec<&'static Step>,
        /// Only show what the steps are and which events they must give.
        #[arg(long)]
        list: bool,
    },
    /// Check whether a lab can run here.
    Check,
}

fn step_id(id: &str) -> Result<&'static Step, String> {
    Step::by_id(id).ok_or_else(|| "a step is one of S01 to S54".to_owned())
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Up { parent } => up(parent),
        Command::Steps { lab, only, list } => steps(lab, only, list),
        Command::Check => netlog_lab::check().map(|()| println!("a lab can run here")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netlog-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn up(parent: Option<PathBuf>) -> Result<(), LabError> {
    let mut options = Options::default();
    if let Some(parent) = parent {
        options.parent = parent;
    }
    let lab = Lab::start(&options)?;
    // From here on a signal does not end the process, but the wait. Without
    // this the janitor would end the lab just as well, but nobody would wait.
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect();
    let blocked = signals.thread_block();
    explain(&lab)?;
    if let Err(error) = blocked.and_then(|()| signals.wait()) {
        eprintln!("netlog-lab: cannot wait for signals: {error}");
    }
    // Whoever read the output may be gone.
    let _ = writeln!(io::stdout(), "\nending the lab");
    lab.stop()
}

fn explain(lab: &Lab) -> Result<(), LabError> {
    let dir = lab.run_dir().display();
    println!("The lab is up in {dir}\n");
    for host in &HOSTS {
        println!(
            "  {:5} {}  {:11} {:10} port {} of {:8} ip netns exec {} sh",
            host.name,
            host.mac_text(),
            host.v4.to_string(),
            host.v6.to_string(),
            host.ofport,
            host.bridge,
            lab.namespace(host.name)?,
        );
    }
    println!(
        "\n  OpenFlow  {}\n  OVSDB     unix:{}\n  flows     OVS_RUNDIR={dir} ovs-ofctl -O OpenFlow14 dump-flows br-int\n  traffic   netlog-lab steps --lab {dir} --only S01,S05\n\nCtrl-C ends it.",
        lab.mgmt_socket(netlog_lab::BR_INT).display(),
        lab.db_socket().display(),
    );
    Ok(())
}

fn steps(run_dir: Option<PathBuf>, only: Vec<&'static Step>, list: bool) -> Result<(), LabError> {
    let steps = if only.is_empty() {
        STEPS.iter().collect()
    } else {
        only
    };
    if list {
        for step in steps {
            println!("{}", line(step));
        }
        return Ok(());
    }
    if let Some(run_dir) = run_dir {
        return run(&Site::at(run_dir), &steps);
    }
    let lab = Lab::start(&Options::default())?;
    run(&lab, &steps)?;
    lab.stop()
}

fn run(site: &Site, steps: &[&Step]) -> Result<(), LabError> {
    steps.iter().try_for_each(|step| {
        println!("{}", line(step));
        step.run(site)
    })
}

fn line(step: &Step) -> String {
    let events: Vec<String> = step
        .expected
        .iter()
        .map(|expected| match expected.events() {
            1 => expected.event.to_string(),
            count => format!("{}x{count}", expected.event),
        })
        .collect();
    let note = if step.asserted {
        ""
    } else {
        " (not to be relied on)"
    };
    format!(
        "{} {:5} {} => {}{note}",
        step.id,
        step.from,
        step.title,
        events.join(" ")
    )
}
