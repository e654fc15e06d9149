//! Changes of the inventory that callers of Neutron's API ask for.
//!
//! The body of a request is read into a [`NewGroup`], a [`NewRule`], a [`GroupChange`] or a
//! [`PortChange`]. That becomes [`Edit`]s of objects as they are written, checked against the
//! inventory that they are in; a [`Document`] takes them, and keeps whatever else is written in it.
//! What can be wrong is an [`EditError`], with the words and the status of Neutron.
//!
//! ```
//! use netlog_core::inventory::Inventory;
//! use netlog_core::inventory::edit::{Document, PortChange};
//! use netlog_core::request::Caller;
//! use time::UtcDateTime;
//! let text = r#"{"ports": [{"id": "11111111-0000-4000-8000-000000000001", "project_id": "demo"}]}"#;
//! let (inventory, mut document) = (Inventory::parse(text)?, Document::parse(text)?);
//! let port = inventory.written_ports().next().unwrap();
//! let caller = Caller { project_id: Some("demo"), any_project: false };
//!
//! let change = PortChange::parse(br#"{"port": {"name": "vm1"}}"#, caller)?;
//! let edit = change.edit(port, &inventory, caller, UtcDateTime::UNIX_EPOCH)?.unwrap();
//! document.apply(&edit, UtcDateTime::UNIX_EPOCH);
//! assert!(document.to_string().contains(r#""name": "vm1""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod group;
mod port;
mod rule;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::{Map, Value};
use time::UtcDateTime;
use uuid::Uuid;

use super::{InventoryError, Kind};
use crate::log::timestamp;
pub use error::EditError;
pub use group::{GroupChange, NewGroup, delete_group};
pub use port::{PortChange, delete_port};
pub use rule::{NewRule, create_rules, delete_rule};

/// What becomes of an object, in the shape that it is written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What it is: a port, a security group or a rule of one.
    pub kind: Kind,
    /// As it was; `None` if it is new.
    pub before: Option<Value>,
    /// As it is; `None` if it is gone.
    pub after: Option<Value>,
}

impl Edit {
    const fn created(kind: Kind, object: Value) -> Self {
        Self {
            kind,
            before: None,
            after: Some(object),
        }
    }

    const fn deleted(kind: Kind, object: Value) -> Self {
        Self {
            kind,
            before: Some(object),
            after: None,
        }
    }

    /// A change of an object; `None` if nothing changes.
    fn changed(kind: Kind, before: &Value, mut after: Value, now: UtcDateTime) -> Option<Self> {
        if after == *before {
            return None;
        }
        touch(&mut after, now);
        Some(Self {
            kind,
            before: Some(before.clone()),
            after: Some(after),
        })
    }

    /// The object, as it is or was last.
    pub fn object(&self) -> &Value {
        let object = self.after.as_ref().or(self.before.as_ref());
        object.unwrap_or(&Value::Null)
    }
}

/// Moves an object's revision and time of change, where it has them.
fn touch(object: &mut Value, now: UtcDateTime) {
    if let Some(revision) = object["revision_number"].as_u64() {
        object["revision_number"] = (revision + 1).into();
    }
    if object["updated_at"].is_string() {
        object["updated_at"] = timestamp(now).into();
    }
}

/// An inventory as its text has it.
#[derive(Clone, Debug)]
pub struct Document(Map<String, Value>);

impl Document {
    /// Reads a text.
    ///
    /// # Errors
    /// When it is no JSON object.
    pub fn parse(json: &str) -> Result<Self, InventoryError> {
        Ok(Self(serde_json::from_str(json)?))
    }

    /// Does what an edit says. A rule stands in its group, whose revision moves with it.
    pub fn apply(&mut self, edit: &Edit, now: UtcDateTime) {
        let object = edit.object();
        let list = match edit.kind {
            Kind::Port => list(&mut self.0, "ports"),
            Kind::SecurityGroup => list(&mut self.0, "security_groups"),
            Kind::SecurityGroupRule => list(&mut self.0, "security_groups")
                .and_then(|groups| {
                    let id = id_in(&object["security_group_id"]);
                    groups.iter_mut().find(|group| id_in(&group["id"]) == id)
                })
                .and_then(|group| {
                    touch(group, now);
                    list(group.as_object_mut()?, "security_group_rules")
                }),
            // Nobody edits those.
            Kind::Network | Kind::AddressGroup => None,
        };
        let Some(list) = list else {
            return;
        };
        let id = id_in(&object["id"]);
        let place = list.iter().position(|other| id_in(&other["id"]) == id);
        match (place, &edit.after) {
            (Some(place), Some(after)) => list[place] = after.clone(),
            (Some(place), None) => drop(list.remove(place)),
            (None, Some(after)) => list.push(after.clone()),
            (None, None) => {}
        }
    }
}

/// As `jq` writes it.
impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(&self.0).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

/// An id, however the file spells it.
fn id_in(value: &Value) -> Option<Uuid> {
    value.as_str()?.parse().ok()
}

/// A list of objects, which need not be there yet.
fn list<'a>(members: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Vec<Value>> {
    let list = members
        .entry(name)
        .or_insert_with(|| Value::Array(Vec::new()));
    list.as_array_mut()
}
