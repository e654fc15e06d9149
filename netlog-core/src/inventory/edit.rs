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
//! document.apply(&edit, UtcDateTime::UNIX_EPOCH)?;
//! assert!(document.to_string().contains(r#""name": "vm1""#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod group;
mod port;
mod rule;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
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

/// An inventory as its text has it. What no edit is about stays as it is written, to the last blank.
#[derive(Clone, Debug)]
pub struct Document<'a>(Vec<(String, Member<'a>)>);

#[derive(Clone, Debug)]
enum Member<'a> {
    Objects(Vec<Cow<'a, RawValue>>),
    Other(&'a RawValue),
}

const PORTS: &str = "ports";
const GROUPS: &str = "security_groups";

impl<'a> Document<'a> {
    /// Reads a text.
    ///
    /// # Errors
    /// When it is no JSON object, or has no lists of ports and security groups in it.
    pub fn parse(json: &'a str) -> Result<Self, InventoryError> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
        let mut members: Vec<_> = members.into_iter().collect();
        // In the order of the text.
        members.sort_by_key(|(_, text)| text.get().as_ptr());
        let read = |(name, text): (String, &'a RawValue)| {
            let member = if [PORTS, GROUPS].contains(&name.as_str()) {
                let objects: Vec<&RawValue> = serde_json::from_str(text.get())?;
                Member::Objects(objects.into_iter().map(Cow::Borrowed).collect())
            } else {
                Member::Other(text)
            };
            Ok((name, member))
        };
        members
            .into_iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Does what an edit says. A rule stands in its group, whose revision moves with it.
    ///
    /// # Errors
    /// When what it is about is no object.
    pub fn apply(&mut self, edit: &Edit, now: UtcDateTime) -> Result<(), InventoryError> {
        match edit.kind {
            Kind::Port => put(self.list(PORTS), edit.object(), edit.after.as_ref()),
            Kind::SecurityGroup => put(self.list(GROUPS), edit.object(), edit.after.as_ref()),
            Kind::SecurityGroupRule => {
                let groups = self.list(GROUPS);
                let id = id_in(&edit.object()["security_group_id"]);
                let group = groups.iter().find(|group| id_of(group) == id);
                let Some(mut group) = group.map(|g| serde_json::from_str(g.get())).transpose()?
                else {
                    return Ok(());
                };
                touch(&mut group, now);
                let mut rules = match group["security_group_rules"].take() {
                    Value::Array(rules) => rules,
                    _ => Vec::new(),
                };
                let id = id_in(&edit.object()["id"]);
                let place = rules.iter().position(|rule| id_in(&rule["id"]) == id);
                match (place, edit.after.clone()) {
                    (Some(place), Some(after)) => rules[place] = after,
                    (Some(place), None) => drop(rules.remove(place)),
                    (None, after) => rules.extend(after),
                }
                group["security_group_rules"] = rules.into();
                put(groups, &group, Some(&group))
            }
            // Nobody edits those.
            Kind::Network | Kind::AddressGroup => Ok(()),
        }
    }

    /// A list, which need not be there yet.
    fn list(&mut self, name: &str) -> &mut Vec<Cow<'a, RawValue>> {
        let place = self.0.iter().position(|(other, _)| other == name);
        let place = place.unwrap_or_else(|| {
            self.0.push((name.to_owned(), Member::Objects(Vec::new())));
            self.0.len() - 1
        });
        match &mut self.0[place].1 {
            Member::Objects(objects) => objects,
            Member::Other(_) => unreachable!("the lists are read as such"),
        }
    }
}

/// Puts an object in the place of the one with its id, at the end, or nowhere.
fn put(
    list: &mut Vec<Cow<'_, RawValue>>,
    object: &Value,
    after: Option<&Value>,
) -> Result<(), InventoryError> {
    let id = id_in(&object["id"]);
    let place = list.iter().position(|other| id_of(other) == id);
    // As deep as it stands. There are no line feeds within strings.
    let written = |object: &Value| {
        let text = serde_json::to_string_pretty(object)?.replace('\n', "\n    ");
        RawValue::from_string(text).map(Cow::Owned)
    };
    match (place, after.map(written).transpose()?) {
        (Some(place), Some(after)) => list[place] = after,
        (Some(place), None) => drop(list.remove(place)),
        (None, after) => list.extend(after),
    }
    Ok(())
}

/// As `jq` writes it, but for the inside of objects that nobody has edited.
impl fmt::Display for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (number, (name, member)) in self.0.iter().enumerate() {
            f.write_str(if number == 0 { "\n  " } else { ",\n  " })?;
            write!(f, "{}: ", Value::from(name.as_str()))?;
            match member {
                Member::Other(text) => f.write_str(text.get())?,
                Member::Objects(objects) if objects.is_empty() => f.write_str("[]")?,
                Member::Objects(objects) => {
                    for (number, object) in objects.iter().enumerate() {
                        let before = if number == 0 { "[\n    " } else { ",\n    " };
                        write!(f, "{before}{}", object.get())?;
                    }
                    f.write_str("\n  ]")?;
                }
            }
        }
        f.write_str("\n}\n")
    }
}

/// The id of an object.
fn id_of(object: &RawValue) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Object {
        id: Uuid,
    }
    let object: Object = serde_json::from_str(object.get()).ok()?;
    Some(object.id)
}

/// An id, however the file spells it.
fn id_in(value: &Value) -> Option<Uuid> {
    value.as_str()?.parse().ok()
}
