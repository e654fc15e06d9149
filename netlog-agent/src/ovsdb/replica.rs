//! The rows of the watched tables, kept equal to the server's.
//!
//! Two dialects bring them: `update` carries whole rows (RFC 7047 section
//! 4.1.6), `update2` differences (ovsdb-server(7), "Update2 Notification"):
//!
//! - a column that is left out of a new row has its default, which is empty;
//! - a column of one value is replaced, and emptied by `["set", []]`;
//! - the difference of a set has what is in one of old and new only;
//! - the difference of a map has new and changed pairs with their new value,
//!   and removed pairs with their old: a pair that is there already goes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::schema::{Kind, TABLES, Table};

/// A value of an atomic type, as far as the watched columns have them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Atom {
    Text(String),
    Integer(i64),
    Uuid(Uuid),
}

/// The contents of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Datum {
    One(Option<Atom>),
    Set(BTreeSet<Atom>),
    Map(BTreeMap<Atom, Atom>),
}

/// A row: its columns, of which those left out are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The message that brought it, counted from the first.
    pub(super) since: u64,
    columns: BTreeMap<&'static str, Datum>,
}

/// The rows of every watched table.
#[derive(Debug, Default)]
pub(super) struct Replica {
    tables: BTreeMap<&'static str, BTreeMap<Uuid, Row>>,
    messages: u64,
}

/// How an update is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `update`: whole rows.
    Rows,
    /// `update2`: differences.
    Differences,
}

/// An update cannot be applied, so that the replica is not the server's any
/// more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// The update does not have the form that the protocol gives it.
    #[error("an update of {table} is malformed: {json}")]
    Malformed {
        /// The table, or what stands for all of them.
        table: String,
        /// The part that is malformed.
        json: String,
    },
    /// A difference to a row that was never seen.
    #[error("an update changes row {uuid} of {table}, which is not known")]
    UnknownRow {
        /// The table.
        table: &'static str,
        /// The row.
        uuid: Uuid,
    },
}

fn malformed(table: &str, json: &Value) -> ReplicaError {
    ReplicaError::Malformed {
        table: table.to_owned(),
        json: json.to_string(),
    }
}

impl Replica {
    /// Applies `<table-updates>` or `<table-updates2>`.
    pub(super) fn apply(&mut self, dialect: Dialect, updates: &Value) -> Result<(), ReplicaError> {
        self.messages += 1;
        let updates = updates
            .as_object()
            .ok_or_else(|| malformed("all tables", updates))?;
        for table in TABLES {
            let Some(rows) = updates.get(table.name) else {
                continue;
            };
            for (uuid, update) in rows
                .as_object()
                .ok_or_else(|| malformed(table.name, rows))?
            {
                self.apply_row(dialect, table, uuid, update)
                    .ok_or_else(|| malformed(table.name, update))??;
            }
        }
        Ok(())
    }

    /// `None` if the update is malformed.
    fn apply_row(
        &mut self,
        dialect: Dialect,
        table: &Table,
        uuid: &str,
        update: &Value,
    ) -> Option<Result<(), ReplicaError>> {
        let uuid = Uuid::try_parse(uuid).ok()?;
        let update = update.as_object()?;
        let rows = self.tables.entry(table.name).or_default();
        match dialect {
            Dialect::Rows => match update.get("new") {
                Some(new) => {
                    let columns = columns(table, new.as_object()?)?;
                    let since = rows.get(&uuid).map_or(self.messages, |row| row.since);
                    rows.insert(uuid, Row { since, columns });
                }
                None => {
                    rows.remove(&uuid);
                }
            },
            Dialect::Differences => {
                if let Some(row) = update.get("initial").or_else(|| update.get("insert")) {
                    let columns = columns(table, row.as_object()?)?;
                    let since = self.messages;
                    rows.insert(uuid, Row { since, columns });
                } else if let Some(difference) = update.get("modify") {
                    let difference = columns(table, difference.as_object()?)?;
                    let Some(row) = rows.get_mut(&uuid) else {
                        let table = table.name;
                        return Some(Err(ReplicaError::UnknownRow { table, uuid }));
                    };
                    row.change(difference);
                } else if update.contains_key("delete") {
                    rows.remove(&uuid);
                } else {
                    return None;
                }
            }
        }
        Some(Ok(()))
    }

    /// The rows of a table.
    pub(super) fn rows(&self, table: &Table) -> impl Iterator<Item = (&Uuid, &Row)> {
        self.tables.get(table.name).into_iter().flatten()
    }

    /// One row of a table.
    pub(super) fn row(&self, table: &Table, uuid: Uuid) -> Option<&Row> {
        self.tables.get(table.name)?.get(&uuid)
    }
}

impl Row {
    fn change(&mut self, difference: BTreeMap<&'static str, Datum>) {
        for (name, difference) in difference {
            match (self.columns.get_mut(name), difference) {
                (Some(Datum::Set(members)), Datum::Set(difference)) => {
                    *members = members.symmetric_difference(&difference).cloned().collect();
                }
                (Some(Datum::Map(pairs)), Datum::Map(difference)) => {
                    for (key, value) in difference {
                        if pairs.get(&key) == Some(&value) {
                            pairs.remove(&key);
                        } else {
                            pairs.insert(key, value);
                        }
                    }
                }
                // One value, or a column that was empty until now.
                (_, difference) => {
                    self.columns.insert(name, difference);
                }
            }
        }
    }

    /// The text of a column of one.
    pub(super) fn text(&self, column: &str) -> Option<&str> {
        match self.columns.get(column) {
            Some(Datum::One(Some(Atom::Text(text)))) => Some(text),
            _ => None,
        }
    }

    /// The number in a column of one.
    pub(super) fn integer(&self, column: &str) -> Option<i64> {
        match self.columns.get(column) {
            Some(Datum::One(Some(Atom::Integer(number)))) => Some(*number),
            _ => None,
        }
    }

    /// The rows that a set refers to.
    pub(super) fn references(&self, column: &str) -> impl Iterator<Item = Uuid> {
        let members = match self.columns.get(column) {
            Some(Datum::Set(members)) => Some(members),
            _ => None,
        };
        members.into_iter().flatten().filter_map(|atom| match atom {
            Atom::Uuid(uuid) => Some(*uuid),
            _ => None,
        })
    }

    /// The text under `key` in a map.
    pub(super) fn pair(&self, column: &str, key: &str) -> Option<&str> {
        match self.columns.get(column) {
            Some(Datum::Map(pairs)) => match pairs.get(&Atom::Text(key.to_owned())) {
                Some(Atom::Text(text)) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The watched columns of a `<row>`; `None` if one does not have its type.
fn columns(table: &Table, row: &Map<String, Value>) -> Option<BTreeMap<&'static str, Datum>> {
    let mut columns = BTreeMap::new();
    for (name, kind) in table.columns {
        if let Some(value) = row.get(*name) {
            columns.insert(*name, datum(*kind, value)?);
        }
    }
    Some(columns)
}

/// A `<value>`: an atom, `["set", [...]]` or `["map", [[key, value], ...]]`.
fn datum(kind: Kind, value: &Value) -> Option<Datum> {
    if kind == Kind::Map {
        let pairs = tagged(value, "map")?.as_array()?;
        let pair = |pair: &Value| match pair.as_array()?.as_slice() {
            [key, value] => Some((atom(key)?, atom(value)?)),
            _ => None,
        };
        return pairs
            .iter()
            .map(pair)
            .collect::<Option<_>>()
            .map(Datum::Map);
    }
    let mut atoms: BTreeSet<Atom> = match tagged(value, "set") {
        Some(members) => members
            .as_array()?
            .iter()
            .map(atom)
            .collect::<Option<_>>()?,
        None => BTreeSet::from([atom(value)?]),
    };
    match kind {
        Kind::One if atoms.len() > 1 => None,
        Kind::One => Some(Datum::One(atoms.pop_first())),
        _ => Some(Datum::Set(atoms)),
    }
}

fn atom(value: &Value) -> Option<Atom> {
    match value {
        Value::String(text) => Some(Atom::Text(text.clone())),
        Value::Number(number) => number.as_i64().map(Atom::Integer),
        _ => {
            let uuid = tagged(value, "uuid")?.as_str()?;
            Uuid::try_parse(uuid).ok().map(Atom::Uuid)
        }
    }
}

/// The second of an array of two, if the first is `tag`.
fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Value> {
    match value.as_array()?.as_slice() {
        [first, second] if first == tag => Some(second),
        _ => None,
    }
}
