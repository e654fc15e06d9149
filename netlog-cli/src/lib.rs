//! The `netlog` command: a client of the agent's API, and offline work on captured frames.
//!
//! # Two clients, one behaviour
//!
//! Operators know `openstack network log …`, and scripts parse what it prints. `netlog log …`
//! takes the same options, sends the same requests, prints the same tables and messages and
//! gives the same exit codes; the tests replay recordings of that client and compare byte for
//! byte. What it adds is what the other lacks: an agent to talk to without an identity
//! service, its state, and the decoder on files.
//!
//! # From arguments to a job
//!
//! A command line is understood in two steps. [`args`] holds the definition that clap parses;
//! the parser, the help, the completions and the man pages all come from it, so that they
//! cannot disagree. The parsed arguments are then resolved into a job that needs nothing
//! more: the client is made, the terminal has been asked for its width, the options of the
//! output have become a [`View`]. Jobs do not look at arguments, and parsing does nothing.
//!
//! - [`command`] has a module for each command: what to ask, and what to show.
//! - [`client`] is HTTP over TCP or a Unix socket, and what Neutron's errors look like.
//! - [`output`] prints lists and objects in all formats, and knows nothing of logs.
//! - [`capture`] reads files of frames, and knows nothing of headers.
//! - [`error`] says what can go wrong and which exit code that is.
//!
//! # Streams
//!
//! Nothing in the library touches the process: [`run`] is given its arguments and
//! [`Streams`] and returns an [`Exit`], so that a test is a function call. Results go to
//! standard output and nothing else does. What was found before an error is printed before
//! the error is. A reader that goes away ends the command without complaint.
//!
//! Names and messages come from the network, and frames from attackers: tables and messages
//! show control characters as escapes, and a frame is always one line.
//!
//! ```
//! use netlog_cli::error::Exit;
//! use netlog_cli::{Streams, run};
//!
//! let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
//! let exit = run(
//!     ["netlog", "decode", "--hex", "--format", "neutron", "-"].map(Into::into),
//!     &mut Streams {
//!         stdin: &mut &b"ff:ff:ff:ff:ff:ff fa:16:3e:11:22:33 88cc # LLDP"[..],
//!         stdout: &mut stdout,
//!         stderr: &mut stderr,
//!         terminal: None,
//!     },
//! );
//! assert_eq!(exit, Exit::Done);
//! assert_eq!(
//!     String::from_utf8_lossy(&stdout),
//!     "pkt=ethernet(dst='ff:ff:ff:ff:ff:ff',ethertype=35020,src='fa:16:3e:11:22:33')\n"
//! );
//! ```

pub mod args;
pub mod capture;
pub mod client;
pub mod command;
pub mod error;
pub mod output;

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use clap::Parser;
use clap_complete::Shell;

use args::{Cli, Command};
use client::Client;
use command::decode::DecodeArgs;
use command::explain::{ExplainArgs, Source};
use command::limits::{self, Limits};
use command::log::{self, CreateArgs, Log, SetArgs};
use command::loggable::{self, Loggable, Resources};
use command::{decode, explain, generate, status};
use error::{Error, Exit};
use output::{View, printable};

/// What a command reads and writes.
pub struct Streams<'a> {
    /// Where `-` reads from.
    pub stdin: &'a mut dyn BufRead,
    /// Where results go.
    pub stdout: &'a mut dyn Write,
    /// Where messages go.
    pub stderr: &'a mut dyn Write,
    /// The terminal that the command was started from, if any.
    pub terminal: Option<Terminal>,
}

/// A terminal.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Its width in columns.
    pub width: usize,
    /// Whether standard output goes to it.
    pub shows_stdout: bool,
    /// Whether standard error goes to it.
    pub shows_stderr: bool,
}

/// Runs the command line `args`, whose first entry is the program's name.
pub fn run(args: impl IntoIterator<Item = OsString>, streams: &mut Streams<'_>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(answer) => return refuse(&answer, streams),
    };
    let done = resolve(cli, streams.terminal).run(streams);
    // What was found out is shown before the error.
    let shown = streams.stdout.flush().map_err(Error::Output);
    match done.and(shown) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Done {
                // Nobody is left to tell if this fails too.
                let _ = writeln!(streams.stderr, "{}", printable(&error.to_string()));
            }
            exit
        }
    }
}

/// Prints what clap has to say: help or the version, or what is wrong.
fn refuse(answer: &clap::Error, streams: &mut Streams<'_>) -> Exit {
    let text = answer.render();
    if answer.use_stderr() {
        let _ = write!(streams.stderr, "{text}");
        Exit::Usage
    } else {
        let _ = write!(streams.stdout, "{text}");
        Exit::Done
    }
}

/// A command with all that it needs to run.
enum Job {
    Agent(Client, Box<Request>),
    Decode(DecodeArgs),
    Explain(ExplainArgs, Source),
    Completion(Shell),
    Man(PathBuf),
}

/// What to ask of the agent, and how to show the answer.
enum Request {
    ListLoggable(View),
    CreateLog(CreateArgs, View),
    ListLogs { long: bool, view: View },
    ShowLog(String, View),
    SetLog(SetArgs),
    DeleteLogs(Vec<String>),
    ShowLimits(View),
    SetLimits(limits::SetArgs),
    UnsetLimits(Option<String>),
    ShowStatus(View),
}

/// The job that a command line means when started from `terminal`.
fn resolve(cli: Cli, terminal: Option<Terminal>) -> Job {
    let request = match cli.command {
        Command::Loggable(Loggable::Resources(Resources::List { output, .. })) => {
            Request::ListLoggable(View::of_list(output, terminal))
        }
        Command::Log(log) => match log {
            Log::Create { create, output } => {
                Request::CreateLog(create, View::of_one(output, terminal))
            }
            Log::List { long, output } => Request::ListLogs {
                long,
                view: View::of_list(output, terminal),
            },
            Log::Show { log, output } => Request::ShowLog(log, View::of_one(output, terminal)),
            Log::Set(set) => Request::SetLog(set),
            Log::Delete { logs } => Request::DeleteLogs(logs),
        },
        Command::Limits(limits) => match limits {
            Limits::Show { output } => Request::ShowLimits(View::of_list(output, terminal)),
            Limits::Set(set) => Request::SetLimits(set),
            Limits::Unset { log } => Request::UnsetLimits(log),
        },
        Command::Status { output } => Request::ShowStatus(View::of_list(output, terminal)),
        Command::Decode(decode) => return Job::Decode(decode),
        Command::Explain(explain) => {
            let source = match explain.inventory.clone() {
                Some(path) => Source::File(path),
                None => Source::Agent(Client::new(cli.agent.endpoint, cli.agent.token)),
            };
            return Job::Explain(explain, source);
        }
        Command::Completion { shell } => return Job::Completion(shell),
        Command::Man { directory } => return Job::Man(directory),
    };
    let client = Client::new(cli.agent.endpoint, cli.agent.token);
    Job::Agent(client, Box::new(request))
}

impl Job {
    fn run(self, streams: &mut Streams<'_>) -> Result<(), Error> {
        let out = &mut *streams.stdout;
        let (client, request) = match self {
            Self::Agent(client, request) => (client, request),
            Self::Decode(args) => return decode::decode(&args, streams),
            Self::Explain(args, source) => return explain::run(&args, &source, streams),
            Self::Completion(shell) => return generate::completion(shell, out),
            Self::Man(directory) => return generate::man(&directory),
        };
        match *request {
            Request::ListLoggable(view) => loggable::list(&client, &view, out),
            Request::CreateLog(create, view) => log::create(&client, &create, &view, out),
            Request::ListLogs { long, view } => log::list(&client, long, &view, out),
            Request::ShowLog(name, view) => log::show(&client, &name, &view, out),
            Request::SetLog(set) => log::set(&client, &set),
            Request::ShowLimits(view) => limits::show(&client, &view, out),
            Request::SetLimits(set) => limits::set(&client, &set),
            Request::UnsetLimits(log) => limits::unset(&client, log.as_deref()),
            Request::ShowStatus(view) => status::show(&client, &view, out),
            Request::DeleteLogs(logs) => log::delete(&client, &logs, streams.stderr),
        }
    }
}

/// Whether text has the form of a UUID with hyphens.
fn is_uuid(text: &str) -> bool {
    let mut parts = text.split('-');
    let hex = |part: Option<&str>, length| {
        part.is_some_and(|part| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    [8, 4, 4, 4, 12]
        .into_iter()
        .all(|length| hex(parts.next(), length))
        && parts.next().is_none()
}
