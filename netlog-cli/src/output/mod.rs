//! Results in the formats and with the options of the OpenStack client: lists of rows, and
//! single objects.
//!
//! The options are parsed as [`ListArgs`] or [`ShowArgs`]; [`View`] is what they mean on
//! this terminal, and prints.

mod csv;
mod json;
mod table;
mod yaml;

use std::cmp::Ordering;
use std::io::{self, Write};

use clap::builder::{FalseyValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::Terminal;
use crate::error::Error;
use table::{Align, Fit, Table};

/// Options of every command that prints a result.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Show only this column; repeat for more. Upper and lower case are the same, and '_'
    /// is ' '
    #[arg(short, long = "column", value_name = "COLUMN")]
    pub columns: Vec<String>,
    /// JSON on one line
    #[arg(long)]
    pub noindent: bool,
    /// Widest table in terminal columns; 0 for no limit
    #[arg(
        long,
        value_name = "N",
        env = "CLIFF_MAX_TERM_WIDTH",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    #[arg(hide_env_values = true)]
    pub max_width: i64,
    /// Fit the table to the terminal even if it is written elsewhere
    #[arg(long, env = "CLIFF_FIT_WIDTH", hide_env_values = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub fit_width: bool,
    /// Print a table even if it has no rows
    #[arg(long)]
    pub print_empty: bool,
    /// Which values CSV quotes
    #[arg(long, value_enum, default_value_t = Quote::Nonnumeric, value_name = "MODE")]
    pub quote: Quote,
}

/// Options of a command that prints a list.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct ListArgs {
    /// Output format
    #[arg(short, long, default_value = "table", value_name = "FORMAT", value_parser = of_lists())]
    pub format: Format,
    /// The options of all output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Sort by this column; repeat for more, the first counts most. Unknown columns are
    /// ignored
    #[arg(long, value_name = "COLUMN")]
    pub sort_column: Vec<String>,
    /// Sort from the smallest value (the default)
    #[arg(long, overrides_with = "sort_descending")]
    pub sort_ascending: bool,
    /// Sort from the greatest value
    #[arg(long)]
    pub sort_descending: bool,
}

/// Options of a command that prints one object.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub struct ShowArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    pub format: Format,
    /// The options of all output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// Begin the names of shell variables with this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub prefix: String,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    Table,
    /// JSON: a list of objects, or one object
    Json,
    /// YAML with the same content
    Yaml,
    /// Comma-separated values below a line of column names
    Csv,
    /// Bare values: one row a line, or one value a line
    Value,
    /// Assignments for a shell to evaluate
    Shell,
}

/// The formats of lists: all but the one that takes a name for each value.
fn of_lists() -> impl TypedValueParser<Value = Format> {
    let formats = Format::value_variants().iter();
    let formats = formats.filter(|format| **format != Format::Shell);
    PossibleValuesParser::new(formats.filter_map(Format::to_possible_value))
        .try_map(|name| Format::from_str(&name, false))
}

/// Which values CSV quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Quote {
    /// Every value
    All,
    /// Only those that need it
    Minimal,
    /// Every text
    Nonnumeric,
    /// None: special characters get a backslash
    None,
}

/// How a result is to be shown: the options, resolved for one terminal.
#[derive(Clone, Debug)]
pub struct View {
    format: Format,
    args: OutputArgs,
    /// What the names of shell variables begin with.
    prefix: String,
    sort: Vec<String>,
    descending: bool,
    /// Terminal columns that a table may take.
    width: Option<usize>,
}

impl View {
    /// A view for a list, by a command that was started from `terminal`.
    pub fn of_list(args: ListArgs, terminal: Option<Terminal>) -> Self {
        Self {
            sort: args.sort_column,
            descending: args.sort_descending,
            ..Self::new(args.format, args.output, terminal)
        }
    }

    /// A view for one object, by a command that was started from `terminal`.
    pub fn of_one(args: ShowArgs, terminal: Option<Terminal>) -> Self {
        Self {
            prefix: args.prefix,
            ..Self::new(args.format, args.output, terminal)
        }
    }

    fn new(format: Format, args: OutputArgs, terminal: Option<Terminal>) -> Self {
        Self {
            format,
            prefix: String::new(),
            width: match args.max_width {
                0 => terminal
                    .filter(|terminal| terminal.shows_stdout || args.fit_width)
                    .map(|terminal| terminal.width),
                // Less than none is no limit either.
                limit => usize::try_from(limit).ok(),
            },
            args,
            sort: Vec::new(),
            descending: false,
        }
    }

    /// The format that was asked for.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Prints rows, each with a value for each header.
    pub fn list(
        &self,
        headers: &[&str],
        mut rows: Vec<Vec<Value>>,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        // The last key first: sorting is stable.
        for key in self.sort.iter().rev() {
            if let Some(at) = headers.iter().position(|header| same(header, key)) {
                rows.sort_by(|a, b| {
                    let order = compare(a.get(at), b.get(at));
                    if self.descending {
                        order.reverse()
                    } else {
                        order
                    }
                });
            }
        }
        let chosen = self.choose(headers)?;
        let headers: Vec<&str> = pick(headers, &chosen).copied().collect();
        let rows: Vec<Vec<Value>> = rows
            .iter()
            .map(|row| pick(row, &chosen).cloned().collect())
            .collect();
        self.write_list(&headers, &rows, out)?;
        Ok(())
    }

    /// Prints one object, field by field.
    pub fn one(&self, fields: Vec<(&str, Value)>, out: &mut dyn Write) -> Result<(), Error> {
        let (headers, row): (Vec<&str>, Vec<Value>) = fields.into_iter().unzip();
        let chosen = self.choose(&headers)?;
        let headers: Vec<&str> = pick(&headers, &chosen).copied().collect();
        let row: Vec<Value> = pick(&row, &chosen).cloned().collect();
        self.write_one(&headers, row, out)?;
        Ok(())
    }

    /// Prints any JSON value as JSON, whatever the format.
    pub fn json(&self, value: &Value, out: &mut dyn Write) -> Result<(), Error> {
        Ok(json::write(value, !self.args.noindent, out)?)
    }

    fn write_list(
        &self,
        headers: &[&str],
        rows: &[Vec<Value>],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match self.format {
            Format::Table if rows.is_empty() && !self.args.print_empty => out.write_all(b"\n"),
            Format::Table => {
                let table = Table {
                    headers,
                    align: align(headers, rows.first()),
                    rows: rows
                        .iter()
                        .map(|row| row.iter().map(text).collect())
                        .collect(),
                };
                self.write_table(&table, 8, out)
            }
            Format::Json => {
                let rows: Vec<_> = rows.iter().map(|row| json::Fields(headers, row)).collect();
                json::write(&rows, !self.args.noindent, out)
            }
            Format::Yaml => yaml::list(headers, rows, out),
            Format::Csv => csv::write(headers, rows, self.args.quote, out),
            // Rows have no names; the command line does not let it come to this.
            Format::Value | Format::Shell => rows.iter().try_for_each(|row| {
                let row: Vec<String> = row.iter().map(text).collect();
                writeln!(out, "{}", row.join(" "))
            }),
        }
    }

    fn write_one(&self, headers: &[&str], row: Vec<Value>, out: &mut dyn Write) -> io::Result<()> {
        match self.format {
            Format::Table => {
                let table = Table {
                    headers: &["Field", "Value"],
                    align: vec![Align::Left; 2],
                    rows: headers
                        .iter()
                        .zip(&row)
                        .map(|(header, value)| vec![(*header).to_owned(), text(value)])
                        .collect(),
                };
                self.write_table(&table, 16, out)
            }
            Format::Json => json::write(&json::Fields(headers, &row), !self.args.noindent, out),
            Format::Yaml => yaml::one(headers, &row, out),
            Format::Csv => csv::write(headers, &[row], self.args.quote, out),
            Format::Value => row
                .iter()
                .try_for_each(|value| writeln!(out, "{}", text(value))),
            Format::Shell => headers.iter().zip(&row).try_for_each(|(header, value)| {
                let name = header.to_lowercase().replace([' ', ':', '-'], "_");
                writeln!(out, "{}{name}=\"{}\"", self.prefix, quoted(&text(value)))
            }),
        }
    }

    fn write_table(&self, table: &Table<'_>, column: usize, out: &mut dyn Write) -> io::Result<()> {
        let fit = self.width.map(|table| Fit { table, column });
        out.write_all(table.render(fit).as_bytes())
    }

    /// Which of the columns to show: true for each that is.
    fn choose(&self, headers: &[&str]) -> Result<Vec<bool>, Error> {
        let asked = &self.args.columns;
        let chosen: Vec<bool> = headers
            .iter()
            .map(|header| asked.is_empty() || asked.iter().any(|column| same(header, column)))
            .collect();
        if chosen.contains(&true) || headers.is_empty() {
            Ok(chosen)
        } else {
            Err(Error::Usage(format!(
                "no column is called {}; the columns are {}",
                asked.join(" or "),
                headers.join(", ")
            )))
        }
    }
}

/// Text that a terminal only prints: every control character but the newline becomes its
/// escape, and tabs become blanks.
pub fn printable(text: &str) -> String {
    table::clean(text)
}

/// The entries of `row` that are chosen.
fn pick<'a, T>(row: &'a [T], chosen: &'a [bool]) -> impl Iterator<Item = &'a T> {
    row.iter()
        .zip(chosen)
        .filter_map(|(entry, chosen)| chosen.then_some(entry))
}

/// Whether a column name given by the user means this column.
fn same(header: &str, asked: &str) -> bool {
    let normal = |name: &str| name.trim().to_lowercase().replace(' ', "_");
    normal(header) == normal(asked)
}

/// The order of two values of one column; what is missing comes last.
fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let a = a.unwrap_or(&Value::Null);
    let b = b.unwrap_or(&Value::Null);
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a
            .as_f64()
            .partial_cmp(&b.as_f64())
            .unwrap_or(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Null, _) | (_, Value::Null) => a.is_null().cmp(&b.is_null()),
        _ => text(a).cmp(&text(b)),
    }
}

/// The sides on which columns stand, by the first row: numbers right, all else left, and
/// names without a row in the middle.
fn align(headers: &[&str], first: Option<&Vec<Value>>) -> Vec<Align> {
    match first {
        None => vec![Align::Center; headers.len()],
        Some(row) => row
            .iter()
            .map(|value| match value {
                Value::Number(_) => Align::Right,
                _ => Align::Left,
            })
            .collect(),
    }
}

/// Text that means itself between a shell's double quotes. The OpenStack client escapes quotes
/// only, so that whoever names an object runs commands where its output is evaluated.
fn quoted(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        if matches!(c, '"' | '$' | '`' | '\\') {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// A value as people read it, in the OpenStack client's spelling.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
