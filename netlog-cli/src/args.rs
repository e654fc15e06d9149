//! The command line, as clap parses it: the one definition behind the parser, the help,
//! the completions and the man pages.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use clap_complete::Shell;
use ureq::http::HeaderValue;

use crate::client::Endpoint;
use crate::command::decode::DecodeArgs;
use crate::command::explain::ExplainArgs;
use crate::command::limits::Limits;
use crate::command::log::Log;
use crate::command::loggable::Loggable;
use crate::output::ListArgs;

/// Security group logging: log objects, the agent's state, and captured packets
#[derive(Debug, Parser)]
#[command(
    name = "netlog",
    version,
    propagate_version = true,
    infer_long_args = true,
    max_term_width = 100
)]
#[command(after_help = "\
Exit codes:
  0  done
  1  the answer is no: not found, ambiguous, refused by the agent
  2  the command line is wrong
  3  the agent or a file could not be reached or read

Examples:
  netlog loggable resources list
  netlog log create --resource-type security_group --event ALL all-events
  netlog log set --disable all-events
  netlog log show all-events
  netlog decode capture.pcap")]
pub struct Cli {
    /// Where the agent is.
    #[command(flatten)]
    pub agent: AgentArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach the agent.
#[derive(Args, Debug)]
#[command(next_help_heading = "Agent")]
pub struct AgentArgs {
    /// The agent's API: http://HOST:PORT or unix:PATH
    #[arg(long, global = true, env = "NETLOG_ENDPOINT", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:9696")]
    pub endpoint: Endpoint,
    /// Token to send as X-Auth-Token
    #[arg(
        long,
        global = true,
        env = "NETLOG_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    #[arg(value_parser = token)]
    pub token: Option<String>,
}

/// A token as it is, if a header can hold it.
fn token(text: &str) -> Result<String, &'static str> {
    match HeaderValue::from_str(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a token has no control characters"),
    }
}

/// `netlog …`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What can be logged
    #[command(subcommand)]
    Loggable(Loggable),
    /// Log objects: what is logged
    #[command(subcommand)]
    Log(Log),
    /// How much is recorded: rate and burst limit
    #[command(subcommand)]
    Limits(Limits),
    /// What the agent does, port by port
    #[command(after_help = "\
Examples:
  netlog status
  netlog status -c Name -c Suppressed --sort-column Suppressed --sort-descending

With '-f json' the agent's answer is printed as it is; other formats list the ports.")]
    Status {
        /// The options of a list.
        #[command(flatten)]
        output: ListArgs,
    },
    /// Print the headers of captured frames, one line each
    #[command(after_help = "\
Examples:
  netlog decode capture.pcapng
  tcpdump -i tap0 -U -w - | netlog decode --format json -
  echo 'ffffffffffff fa163e000001 0806' | netlog decode --hex --format neutron -

A line is a record as the agent writes it, without what only the agent knows: the verdict,
the port and the log objects.

A damaged capture gives the frames before the damage, then an error, and exit code 3.")]
    Decode(DecodeArgs),
    /// Which rule decides about a packet, or what in the nearest rules fails to match
    #[command(after_help = "\
Examples:
  netlog explain --port vm1 --proto tcp --src 10.0.0.5 --dst 10.1.0.11 --dport 443
  netlog explain --port vm1 --hex 'fa163e000101 fa163e000164 0800 4500…'
  tail -1 security-events.log | netlog explain --record -
  netlog explain --inventory inventory.json --port vm1 --proto icmp --src 10.0.0.5 --dst 10.1.0.11

The packet is taken for the first of a session: replies to accepted sessions always pass.
The exit code is 1 if the firewall drops it.")]
    Explain(ExplainArgs),
    /// Print a shell's completion script
    #[command(after_help = "\
Example:
  netlog completion bash > /etc/bash_completion.d/netlog")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Write the man pages into a directory
    #[command(after_help = "\
Example:
  netlog man /usr/local/share/man/man1")]
    Man {
        /// The directory
        directory: PathBuf,
    },
}
