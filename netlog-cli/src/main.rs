//! The `netlog` command; all of it is in the library.

use std::io::{self, BufWriter, IsTerminal};
use std::process::ExitCode;

use netlog_cli::{Streams, Terminal, run};

fn main() -> ExitCode {
    let terminal = terminal_size::terminal_size().map(|(width, _)| Terminal {
        width: width.0.into(),
        shows_stdout: io::stdout().is_terminal(),
        shows_stderr: io::stderr().is_terminal(),
    });
    let mut stdout = BufWriter::new(io::stdout().lock());
    let exit = run(
        std::env::args_os(),
        &mut Streams {
            stdin: &mut io::stdin().lock(),
            stdout: &mut stdout,
            stderr: &mut io::stderr().lock(),
            terminal,
        },
    );
    ExitCode::from(exit as u8)
}
