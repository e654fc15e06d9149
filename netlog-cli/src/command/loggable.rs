//! `netlog loggable resources list`: what can be logged.

use std::io::Write;

use clap::Subcommand;
use serde_json::Value;

use crate::client::Client;
use crate::error::Error;
use crate::output::{ListArgs, View};

/// `netlog loggable …`
#[derive(Debug, Subcommand)]
pub enum Loggable {
    /// Resource types that can be logged
    #[command(subcommand)]
    Resources(Resources),
}

/// `netlog loggable resources …`
#[derive(Debug, Subcommand)]
pub enum Resources {
    /// List the resource types that can be logged
    #[command(after_help = "Example:\n  netlog loggable resources list")]
    List {
        /// List all fields (there are no more)
        #[arg(long)]
        long: bool,
        /// The options of a list.
        #[command(flatten)]
        output: ListArgs,
    },
}

/// Lists the types that `--resource-type` takes.
pub fn list(client: &Client, view: &View, out: &mut dyn Write) -> Result<(), Error> {
    let answer = client.get("/v2.0/log/loggable-resources", &[])?;
    let rows = answer
        .get("loggable_resources")
        .and_then(Value::as_array)
        .ok_or_else(|| client.foreign("no list of loggable resources"))?
        .iter()
        .map(|resource| vec![resource.get("type").cloned().unwrap_or_default()])
        .collect();
    view.list(&["Supported types"], rows, out)
}
