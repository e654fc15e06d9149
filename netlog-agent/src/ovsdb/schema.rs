//! The part of the `Open_vSwitch` database that is watched, and the check that
//! the server's schema has it (RFC 7047 section 3.2).

use serde_json::{Map, Value, json};

/// The database.
pub(super) const DATABASE: &str = "Open_vSwitch";

/// How many values a column holds. Differences between rows depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One value, or at most one.
    One,
    /// A set of any number.
    Set,
    /// A map of any number of pairs.
    Map,
}

/// A table that is watched.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
}

pub(super) const BRIDGE: Table = Table {
    name: "Bridge",
    columns: &[("name", Kind::One), ("ports", Kind::Set)],
};

pub(super) const PORT: Table = Table {
    name: "Port",
    columns: &[("interfaces", Kind::Set)],
};

pub(super) const INTERFACE: Table = Table {
    name: "Interface",
    columns: &[
        ("name", Kind::One),
        ("type", Kind::One),
        ("ofport", Kind::One),
        ("external_ids", Kind::Map),
        ("admin_state", Kind::One),
        ("link_state", Kind::One),
        ("error", Kind::One),
    ],
};

/// Every table that is watched.
pub(super) const TABLES: [&Table; 3] = [&BRIDGE, &PORT, &INTERFACE];

/// The `<monitor-requests>` of `monitor` and `monitor_cond`.
pub(super) fn monitor_requests() -> Value {
    let requests = TABLES.iter().map(|table| {
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        (table.name.to_owned(), json!([{ "columns": columns }]))
    });
    Value::Object(requests.collect())
}

/// What the server's schema lacks, in words; empty if it has all.
pub(super) fn missing(schema: &Value) -> Vec<String> {
    let mut missing = Vec::new();
    for table in TABLES {
        let Some(columns) = schema
            .pointer(&format!("/tables/{}/columns", table.name))
            .and_then(Value::as_object)
        else {
            missing.push(format!("table {}", table.name));
            continue;
        };
        for (name, kind) in table.columns {
            match columns.get(*name).and_then(|column| column.get("type")) {
                None => missing.push(format!("column {}.{name}", table.name)),
                Some(found) if kind_of(found) != *kind => missing.push(format!(
                    "column {}.{name} of another type than {found}",
                    table.name
                )),
                Some(_) => {}
            }
        }
    }
    missing
}

/// The kind of a `<type>`: a name of an atomic type, or an object.
fn kind_of(column_type: &Value) -> Kind {
    let empty = Map::new();
    let column_type = column_type.as_object().unwrap_or(&empty);
    if column_type.contains_key("value") {
        Kind::Map
    } else if column_type.get("max").is_none_or(|max| *max == 1) {
        Kind::One
    } else {
        Kind::Set
    }
}
