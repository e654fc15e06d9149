//! Security groups: made, changed, deleted.

use serde_json::{Map, Value, json};
use time::UtcDateTime;
use uuid::Uuid;

use super::rule::written_rule;
use super::{Edit, EditError, id_in};
use crate::inventory::{Inventory, Kind};
use crate::log::timestamp;
use crate::prefix::Ethertype;
use crate::request::{
    self, Asked, Attribute, Caller, InCreate, boolean, check_change, string, take_project_of_new,
};

const MEMBERS: (&str, &str) = ("security_group", "security_groups");

/// Every attribute, in Neutron's order.
const ATTRIBUTES: [Attribute; 11] = [
    Attribute::new("id", InCreate::No, false),
    Attribute::new("name", InCreate::Optional, true),
    Attribute::new("tenant_id", InCreate::Optional, false),
    Attribute::new("security_group_rules", InCreate::No, false),
    Attribute::new("revision_number", InCreate::No, false),
    Attribute::new("shared", InCreate::No, false),
    Attribute::new("description", InCreate::Optional, true),
    Attribute::new("created_at", InCreate::No, false),
    Attribute::new("updated_at", InCreate::No, false),
    Attribute::new("tags", InCreate::No, false),
    Attribute::new("stateful", InCreate::Optional, true),
];

/// The group that each project has from the beginning.
const DEFAULT: &str = "default";

/// A security group that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGroup {
    /// The project that will own it.
    pub project_id: String,
    attributes: Map<String, Value>,
}

impl NewGroup {
    /// Reads the body of a create request.
    pub fn parse(body: &[u8], caller: Caller<'_>) -> Result<Asked<Self>, EditError> {
        request::create(body, MEMBERS, |mut group| {
            Ok(Self {
                project_id: take_project_of_new(&mut group, &ATTRIBUTES, caller)?,
                attributes: read(group)?,
            })
        })
    }

    /// The group, which allows all egress as Neutron's do at first.
    pub fn edit(self, now: UtcDateTime, new_id: impl Fn() -> Uuid) -> Edit {
        let (id, project) = (new_id().to_string(), &self.project_id);
        let rule = |ethertype: Ethertype| {
            let egress = json!({"security_group_id": id, "direction": "egress",
                                "ethertype": ethertype});
            written_rule(&egress, new_id(), project, now)
        };
        let text = |name: &str| {
            self.attributes
                .get(name)
                .cloned()
                .unwrap_or_else(|| "".into())
        };
        Edit::created(
            Kind::SecurityGroup,
            json!({
                "id": id,
                "name": text("name"),
                "stateful": self.attributes.get("stateful").unwrap_or(&Value::Bool(true)),
                "tenant_id": project,
                "project_id": project,
                "description": text("description"),
                "shared": false,
                "security_group_rules": [rule(Ethertype::IPv4), rule(Ethertype::IPv6)],
                "tags": [],
                "created_at": timestamp(now),
                "updated_at": timestamp(now),
                "revision_number": 1,
            }),
        )
    }
}

/// A change of a security group; what is not given stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChange(Map<String, Value>);

impl GroupChange {
    /// Reads the body of an update request.
    pub fn parse(body: &[u8], caller: Caller<'_>) -> Result<Self, EditError> {
        request::update(body, MEMBERS, |mut group| {
            check_change(&mut group, &ATTRIBUTES, caller)?;
            read(group).map(Self)
        })
    }

    /// What it sets.
    pub const fn attributes(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The change of a group as it is written; `None` if nothing changes.
    pub fn edit(
        self,
        group: &Value,
        inventory: &Inventory,
        now: UtcDateTime,
    ) -> Result<Option<Edit>, EditError> {
        if group["name"] == DEFAULT && self.0.contains_key("name") {
            return Err(EditError::UpdateDefault);
        }
        let stateful = |group: &Value| group["stateful"].as_bool().unwrap_or(true);
        let mut after = group.clone();
        if let Some(members) = after.as_object_mut() {
            members.extend(self.0);
        }
        if stateful(group) != stateful(&after) {
            refuse_in_use(group, inventory)?;
        }
        Ok(Edit::changed(Kind::SecurityGroup, group, after, now))
    }
}

/// Deletes a group as it is written, and with it the rules that allow its members.
pub fn delete_group(
    group: &Value,
    inventory: &Inventory,
    by_admin: bool,
) -> Result<Vec<Edit>, EditError> {
    refuse_in_use(group, inventory)?;
    if group["name"] == DEFAULT && !by_admin {
        return Err(EditError::RemoveDefault);
    }
    let id = id_in(&group["id"]);
    let of_others = inventory.written_rules().filter(|rule| {
        id_in(&rule["remote_group_id"]) == id && id_in(&rule["security_group_id"]) != id
    });
    let rules = of_others.map(|rule| Edit::deleted(Kind::SecurityGroupRule, rule));
    Ok(rules
        .chain([Edit::deleted(Kind::SecurityGroup, group.clone())])
        .collect())
}

/// Refuses what Neutron does not do to a group that a port has.
fn refuse_in_use(group: &Value, inventory: &Inventory) -> Result<(), EditError> {
    let uses = |id: &Uuid| inventory.ports().any(|p| p.security_groups.contains(id));
    match id_in(&group["id"]).filter(uses) {
        Some(id) => Err(EditError::GroupInUse(id.to_string())),
        None => Ok(()),
    }
}

/// Reads what a request sets.
fn read(group: Map<String, Value>) -> Result<Map<String, Value>, EditError> {
    let read = |(name, value): (String, Value)| {
        let value = match name.as_str() {
            "name" => match string("name", value)? {
                name if name.to_lowercase() == DEFAULT => return Err(EditError::DefaultExists),
                name => name.into(),
            },
            "description" => string("description", value)?.into(),
            // No other attribute is set by callers.
            _ => boolean(&value)?.into(),
        };
        Ok((name, value))
    };
    group.into_iter().map(read).collect()
}
