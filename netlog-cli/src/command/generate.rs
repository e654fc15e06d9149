//! `netlog completion` and `netlog man`: files made from the definition of the command line.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::error::Error;

/// Prints the completion script of a shell.
pub fn completion(shell: Shell, out: &mut dyn Write) -> Result<(), Error> {
    // The generator panics when its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "netlog", &mut script);
    Ok(out.write_all(&script)?)
}

/// Writes the man pages of all commands into `directory`, which is made if need be.
pub fn man(directory: &Path) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        clap_mangen::generate_to(Cli::command(), directory)
    };
    write().map_err(|cause| Error::File {
        path: directory.to_owned(),
        cause: cause.to_string(),
    })
}
