//! `netlog log …`: create, list, show, set and delete log objects, as
//! `openstack network log …` does.

use std::io::Write;

use clap::builder::{NonEmptyStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::is_uuid;
use crate::output::{ListArgs, ShowArgs, View, printable};

const LOGS: &str = "/v2.0/log/logs";

/// API attributes and the columns that show them; what is not here keeps its name.
const COLUMNS: [(&str, &str); 9] = [
    ("id", "ID"),
    ("description", "Description"),
    ("enabled", "Enabled"),
    ("name", "Name"),
    ("target_id", "Target"),
    ("project_id", "Project"),
    ("resource_id", "Resource"),
    ("resource_type", "Type"),
    ("event", "Event"),
];

/// `netlog log …`
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Create a log object
    #[command(after_help = "\
Examples:
  Log every security event of the host:
    netlog log create --resource-type security_group --event ALL all
  Log what the group web allows on one port:
    netlog log create --resource-type security_group --resource web --target PORT \\
        --event ACCEPT web-accept")]
    Create {
        /// What to create.
        #[command(flatten)]
        create: CreateArgs,
        /// The options of a single object.
        #[command(flatten)]
        output: ShowArgs,
    },
    /// List log objects
    #[command(after_help = "\
Examples:
  netlog log list --long --sort-column Name
  netlog log list -f value -c ID -c Name")]
    List {
        /// List all fields
        #[arg(long)]
        long: bool,
        /// The options of a list.
        #[command(flatten)]
        output: ListArgs,
    },
    /// Show a log object
    #[command(after_help = "Example:\n  netlog log show web-accept -f json")]
    Show {
        /// Name or ID of the log object
        #[arg(value_name = "LOG")]
        log: String,
        /// The options of a single object.
        #[command(flatten)]
        output: ShowArgs,
    },
    /// Change a log object: switch it on or off, rename or describe it
    #[command(after_help = "\
Example:
  netlog log set --disable web-accept")]
    Set(SetArgs),
    /// Delete log objects
    #[command(after_help = "\
Example:
  netlog log delete web-accept web-drop

Objects that can be deleted are, even if others cannot; the exit code is then 1.")]
    Delete {
        /// Names or IDs of the log objects
        #[arg(value_name = "LOG", required = true)]
        logs: Vec<String>,
    },
}

/// What `create` and `set` can give a log object.
#[derive(Args, Debug)]
pub struct CommonArgs {
    /// Description of the log object
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Log from now on
    #[arg(long, conflicts_with = "disable")]
    pub enable: bool,
    /// Do not log; a new log object is enabled otherwise
    #[arg(long)]
    pub disable: bool,
}

/// The arguments of `netlog log create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Name of the log object
    pub name: String,
    /// Type of what is logged; see 'netlog loggable resources list'
    #[arg(long, value_name = "TYPE")]
    #[arg(value_parser = NonEmptyStringValueParser::new().map(|text| text.to_lowercase()))]
    pub resource_type: String,
    /// Security group (name or ID) whose events are logged; without it, all of them
    #[arg(long, value_name = "GROUP")]
    pub resource: Option<String>,
    /// Port (name or ID) whose events are logged; without it, all of them
    #[arg(long, value_name = "PORT")]
    pub target: Option<String>,
    /// Events to log; the agent's default is ALL
    #[arg(long, ignore_case = true)]
    #[arg(value_parser = PossibleValuesParser::new(["ALL", "ACCEPT", "DROP"])
        .map(|event| event.to_uppercase()))]
    pub event: Option<String>,
    /// ID of the project that owns the log object
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
    /// What `set` can change later.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The arguments of `netlog log set`.
#[derive(Args, Debug)]
pub struct SetArgs {
    /// Name or ID of the log object
    #[arg(value_name = "LOG")]
    pub log: String,
    /// New name of the log object
    #[arg(long)]
    pub name: Option<String>,
    /// What `create` can set too.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Creates a log object and shows it.
pub fn create(
    client: &Client,
    args: &CreateArgs,
    view: &View,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut log = Map::new();
    if let Some(project) = &args.project {
        log.insert("project_id".to_owned(), json!(project));
    }
    log.insert("resource_type".to_owned(), json!(args.resource_type));
    if let Some(resource) = &args.resource {
        let kind = Kind::resource(&args.resource_type);
        log.insert(
            "resource_id".to_owned(),
            find(client, kind, resource)?.into(),
        );
    }
    if let Some(target) = &args.target {
        log.insert(
            "target_id".to_owned(),
            find(client, Kind::PORT, target)?.into(),
        );
    }
    if let Some(event) = &args.event {
        log.insert("event".to_owned(), json!(event));
    }
    log.insert("name".to_owned(), json!(args.name));
    args.common.add_to(&mut log);
    let answer = client.post(LOGS, &json!({ "log": log }))?;
    view.one(fields(client, &answer)?, out)
}

/// Lists log objects.
pub fn list(client: &Client, long: bool, view: &View, out: &mut dyn Write) -> Result<(), Error> {
    let answer = client.get(LOGS, &[])?;
    let logs = objects(client, &answer, "logs")?;
    if long {
        let (attributes, headers): (Vec<&str>, Vec<&str>) = COLUMNS.into_iter().unzip();
        let rows = logs
            .iter()
            .map(|log| attributes.iter().map(|name| attribute(log, name)).collect())
            .collect();
        return view.list(&headers, rows, out);
    }
    let rows = logs
        .iter()
        .map(|log| {
            let mut row: Vec<Value> = ["id", "enabled", "name", "resource_type"]
                .map(|name| attribute(log, name))
                .into();
            row.push(summary(log).into());
            row
        })
        .collect();
    view.list(&["ID", "Enabled", "Name", "Type", "Summary"], rows, out)
}

/// Shows a log object.
pub fn show(client: &Client, log: &str, view: &View, out: &mut dyn Write) -> Result<(), Error> {
    let id = find(client, Kind::LOG, log)?;
    let answer = client.get(&format!("{LOGS}/{id}"), &[])?;
    view.one(fields(client, &answer)?, out)
}

/// Changes a log object.
pub fn set(client: &Client, args: &SetArgs) -> Result<(), Error> {
    let id = find(client, Kind::LOG, &args.log)?;
    let mut log = Map::new();
    if let Some(name) = &args.name {
        log.insert("name".to_owned(), json!(name));
    }
    args.common.add_to(&mut log);
    client
        .put(&format!("{LOGS}/{id}"), &json!({ "log": log }))
        .map(drop)
        .map_err(|error| match error {
            Error::No(why) => Error::No(format!("Failed to set network log '{}': {why}", args.log)),
            other => other,
        })
}

/// Deletes log objects: each that can be, with a line on `err` for each that cannot.
pub fn delete(client: &Client, logs: &[String], err: &mut dyn Write) -> Result<(), Error> {
    let mut failed = 0;
    for log in logs {
        let deleted =
            find(client, Kind::LOG, log).and_then(|id| client.delete(&format!("{LOGS}/{id}")));
        match deleted {
            Ok(()) => {}
            // The others may still be deleted.
            Err(why @ (Error::No(_) | Error::Agent(_))) => {
                failed += 1;
                let why = printable(&why.to_string());
                writeln!(
                    err,
                    "Failed to delete network log with name or ID '{log}': {why}"
                )?;
            }
            Err(other) => return Err(other),
        }
    }
    match failed {
        0 => Ok(()),
        _ => Err(Error::No(format!(
            "{failed} of {} network log(s) failed to delete",
            logs.len()
        ))),
    }
}

impl CommonArgs {
    fn add_to(&self, log: &mut Map<String, Value>) {
        if self.enable || self.disable {
            log.insert("enabled".to_owned(), json!(self.enable));
        }
        if let Some(description) = &self.description {
            log.insert("description".to_owned(), json!(description));
        }
    }
}

/// A kind of object that can be looked up by name or id.
#[derive(Clone, Copy)]
pub(super) struct Kind<'a> {
    /// As messages name it.
    name: &'a str,
    path: &'a str,
    /// The key of the list in an answer.
    plural: &'a str,
}

impl<'a> Kind<'a> {
    pub(super) const LOG: Self = Self {
        name: "log",
        path: LOGS,
        plural: "logs",
    };
    const PORT: Self = Self {
        name: "port",
        path: "/v2.0/ports",
        plural: "ports",
    };

    /// What `--resource` names: security groups are the only type there is, and the agent
    /// refuses a log of any other.
    fn resource(resource_type: &'a str) -> Self {
        Self {
            name: resource_type,
            path: "/v2.0/security-groups",
            plural: "security_groups",
        }
    }
}

/// The id of the one object that is called so: an id goes before a name.
pub(super) fn find(client: &Client, kind: Kind<'_>, name_or_id: &str) -> Result<String, Error> {
    let lookup = |key| {
        let answer = client.get(kind.path, &[(key, name_or_id)])?;
        objects(client, &answer, kind.plural)?
            .iter()
            .map(|object| {
                let id = object.get("id").and_then(Value::as_str);
                id.map(str::to_owned)
                    .ok_or_else(|| client.foreign(format_args!("a {} without an id", kind.name)))
            })
            .collect::<Result<Vec<String>, Error>>()
    };
    if is_uuid(name_or_id)
        && let Some(id) = lookup("id")?.into_iter().next()
    {
        return Ok(id);
    }
    let mut found = lookup("name")?.into_iter();
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => Err(Error::No(format!(
            "Unable to find {} with name or id '{name_or_id}'",
            kind.name
        ))),
        (Some(_), Some(_)) => Err(Error::No(format!(
            "Multiple {} matches found for name '{name_or_id}', use an ID to be more specific.",
            kind.name
        ))),
    }
}

fn objects<'a>(client: &Client, answer: &'a Value, key: &str) -> Result<&'a Vec<Value>, Error> {
    answer
        .get(key)
        .and_then(Value::as_array)
        .ok_or_else(|| client.foreign(format_args!("no list of {key}")))
}

/// The columns of the log object in an answer, in the order of their names.
fn fields<'a>(client: &Client, answer: &'a Value) -> Result<Vec<(&'a str, Value)>, Error> {
    let log = answer
        .get("log")
        .and_then(Value::as_object)
        .ok_or_else(|| client.foreign("no log object"))?;
    let mut fields: Vec<(&str, Value)> = log
        .iter()
        .map(|(name, value)| {
            let column = COLUMNS.iter().find(|(attribute, _)| attribute == name);
            (
                column.map_or(name.as_str(), |(_, header)| header),
                value.clone(),
            )
        })
        .collect();
    fields.sort_by_key(|(header, _)| *header);
    Ok(fields)
}

fn attribute(log: &Value, name: &str) -> Value {
    log.get(name).cloned().unwrap_or_else(|| "".into())
}

/// What a log object logs, in two lines.
fn summary(log: &Value) -> String {
    let text = |name| log.get(name).and_then(Value::as_str);
    let resource_type = text("resource_type").unwrap_or_default();
    let resource = text("resource_id").map(|id| format!("({resource_type}) {id}"));
    let port = text("target_id").map(|id| format!("(port) {id}"));
    let logged = match (resource, port) {
        (Some(resource), Some(port)) => format!("{resource} on {port}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "(None specified)".to_owned(),
    };
    let event = text("event").unwrap_or_default().to_uppercase();
    format!("Event: {event},\nLogged: {logged}")
}
