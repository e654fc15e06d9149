//! The netlog agent: logs what security groups accept and drop on this host.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use netlog_agent::agent;
use netlog_agent::config::{Config, Location};
use tracing::{error, warn};
use tracing_subscriber::EnvFilter;

/// Logs what security groups accept and drop on this host.
///
/// Runs beside ovs-vswitchd, reads ports from OVSDB and security groups from the inventory file,
/// and serves Neutron's logging API, by which log objects say what is logged.
#[derive(Parser)]
#[command(name = "netlog-agent", version)]
struct Args {
    /// A configuration file; may be given more than once, what is read later wins.
    #[arg(long, value_name = "FILE")]
    config_file: Vec<PathBuf>,

    /// A directory whose *.conf files are read after the configuration files.
    #[arg(long, value_name = "DIR")]
    config_dir: Vec<PathBuf>,

    /// Check configuration and inventory, say what is wrong, and exit.
    #[arg(long)]
    check: bool,

    /// Print a commented sample of the configuration, and exit.
    #[arg(long)]
    print_config: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.print_config {
        print!("{}", Config::reference());
        return ExitCode::SUCCESS;
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .init();

    let files = args.config_file.into_iter().map(Location::File);
    let locations: Vec<Location> = files
        .chain(args.config_dir.into_iter().map(Location::Dir))
        .collect();
    let config = match Config::load(&locations) {
        Ok((config, warnings)) => {
            for warning in warnings {
                warn!("{warning}");
            }
            config
        }
        Err(problem) => {
            error!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = if args.check {
        agent::check(&config)
    } else {
        agent::run(&config, &locations)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("{problem}");
            ExitCode::FAILURE
        }
    }
}
