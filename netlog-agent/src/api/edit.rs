//! Changes of the inventory, where `[inventory] writable` lets callers make them.
//!
//! What may be asked for and what is wrong with it is [`netlog_core::inventory::edit`]'s; here it
//! is decided who may, and the inventory's file is changed.

use std::borrow::Cow;

use axum::http::{Method, StatusCode};
use netlog_core::inventory::Inventory;
use netlog_core::inventory::edit::{
    Edit, EditError, GroupChange, NewGroup, NewRule, PortChange, create_rules, delete_group,
    delete_port, delete_rule,
};
use netlog_core::request::{Asked, RequestError};
use serde_json::{Map, Value, json};
use time::UtcDateTime;
use uuid::Uuid;

use super::inventory::{GROUPS, Kind, PORTS, RULES, name_project_twice};
use super::logs::{matches_revision, refuse_body, revision};
use super::{Api, Context, Reply, Request};
use crate::inventory::InventoryFile;

/// Attributes of a port that have policy rules of their own, and so have these members of theirs.
const GUARDED: [(&str, &[&str]); 6] = [
    ("mac_address", &[]),
    ("fixed_ips", &["subnet_id", "ip_address"]),
    ("device_id", &[]),
    ("device_owner", &[]),
    ("port_security_enabled", &[]),
    ("allowed_address_pairs", &["mac_address", "ip_address"]),
];

impl Api {
    /// `POST`, `PUT` and `DELETE` of what the inventory holds.
    pub(super) fn edit_inventory(
        &self,
        request: &Request,
        context: &Context,
        kind: &Kind,
        id: Option<&str>,
    ) -> Result<Reply, Reply> {
        let editor = |file| Editor {
            api: self,
            file,
            request,
            context,
            kind,
        };
        let editor = self.inventory_file.as_deref().map(editor);
        match (&request.method, kind.path, id, editor) {
            (&Method::POST, _, Some(_), _) => Ok(Reply::method_not_allowed()),
            (_, _, None, _) if request.method != Method::POST => Err(kind.missing("None")),
            (&Method::POST, GROUPS, None, Some(editor)) => editor.create_groups(),
            (&Method::POST, RULES, None, Some(editor)) => editor.create_rules(),
            (&Method::PUT, GROUPS, Some(id), Some(editor)) => editor.update_group(id),
            (&Method::PUT, PORTS, Some(id), Some(editor)) => editor.update_port(id),
            (&Method::DELETE, GROUPS | RULES | PORTS, Some(id), Some(editor)) => editor.delete(id),
            (_, path, id, _) => {
                if let Some(id) = id {
                    kind.find(context, &self.inventory.load(), id)?;
                }
                // The file says what there is, and whoever writes it: two hands would lose changes.
                Err(Reply::fault(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "HTTPMethodNotAllowed",
                    format_args!("{path} are read from the inventory and cannot be changed here."),
                ))
            }
        }
    }
}

/// A request to change the inventory.
struct Editor<'a> {
    api: &'a Api,
    file: &'a InventoryFile,
    request: &'a Request,
    context: &'a Context,
    kind: &'a Kind,
}

impl Editor<'_> {
    fn create_groups(&self) -> Result<Reply, Reply> {
        let asked = NewGroup::parse(&self.request.body, self.context.caller())?;
        let bulk = matches!(asked, Asked::Bulk(_));
        let groups = asked.into_vec();
        for group in &groups {
            self.authorize_new(json!({"project_id": group.project_id}))?;
        }
        let now = (self.api.clock)();
        let edits = self.file.edit(now, |_| {
            let groups = groups.iter().cloned();
            Ok::<_, Reply>(groups.map(|group| group.edit(now, Uuid::new_v4)).collect())
        })?;
        Ok(self.created(bulk, edits))
    }

    fn create_rules(&self) -> Result<Reply, Reply> {
        let caller = self.context.caller();
        let asked = NewRule::parse(&self.request.body, caller)?;
        let bulk = matches!(asked, Asked::Bulk(_));
        let rules = asked.into_vec();
        let now = (self.api.clock)();
        let edits = self.file.edit(now, |inventory| {
            for rule in &rules {
                let group = rule.group(inventory)?;
                self.authorize_new(json!({
                    "project_id": rule.project_id,
                    "security_group_id": rule.security_group_id,
                    "security_group:project_id": group.project_id,
                }))?;
            }
            let edits = create_rules(rules.clone(), inventory, caller, now, Uuid::new_v4);
            edits.map_err(Reply::from)
        })?;
        Ok(self.created(bulk, edits))
    }

    fn update_group(&self, id: &str) -> Result<Reply, Reply> {
        let change = GroupChange::parse(&self.request.body, self.context.caller())?;
        let now = (self.api.clock)();
        self.update(id, change.attributes(), now, |group, inventory| {
            change.clone().edit(group, inventory, now)
        })
    }

    fn update_port(&self, id: &str) -> Result<Reply, Reply> {
        let caller = self.context.caller();
        let asked = PortChange::parse(&self.request.body, caller);
        let attributes = match &asked {
            Ok(change) => change.attributes().clone(),
            // Neutron misses it when all else is well.
            Err(EditError::Request(RequestError::NoMember(_))) => Map::new(),
            Err(error) => return Err(error.clone().into()),
        };
        let now = (self.api.clock)();
        self.update(id, &attributes, now, |port, inventory| {
            asked.clone()?.edit(port, inventory, caller, now)
        })
    }

    /// Changes an object to which these attributes are to be set.
    fn update(
        &self,
        id: &str,
        set: &Map<String, Value>,
        now: UtcDateTime,
        edit: impl Fn(&Value, &Inventory) -> Result<Option<Edit>, EditError>,
    ) -> Result<Reply, Reply> {
        let revision = revision(self.request)?;
        let mut shown = Value::Null;
        let edits = self.file.edit(now, |inventory| {
            let object = self.find(inventory, id, "update", set, revision.as_deref())?;
            let edit = edit(&object, inventory)?;
            let after = edit.as_ref().map_or(&*object, Edit::object);
            shown.clone_from(after);
            Ok::<_, Reply>(edit.into_iter().collect())
        })?;
        name_project_twice(&mut shown);
        Ok(Reply::ok(json!({self.kind.collection.member: shown})).after_edits(edits))
    }

    fn delete(&self, id: &str) -> Result<Reply, Reply> {
        refuse_body(self.request)?;
        let revision = revision(self.request)?;
        let edits = self.file.edit((self.api.clock)(), |inventory| {
            let object = self.find(inventory, id, "delete", &Map::new(), revision.as_deref())?;
            Ok::<_, Reply>(match self.kind.path {
                PORTS => delete_port(&object),
                RULES => delete_rule(&object),
                _ => delete_group(&object, inventory, self.context.is_admin)?,
            })
        })?;
        Ok(Reply::deleted().after_edits(edits))
    }

    /// An object that the caller may do this to, at the revision that they have seen.
    fn find<'i>(
        &self,
        inventory: &'i Inventory,
        id: &str,
        action: &str,
        set: &Map<String, Value>,
        revision: Option<&str>,
    ) -> Result<Cow<'i, Value>, Reply> {
        let object = self.kind.find(self.context, inventory, id)?;
        let mut target = self.kind.target(inventory, &object).into_owned();
        name_project_twice(&mut target);
        if let Some(members) = target.as_object_mut() {
            members.extend(set.clone());
        }
        let may = |rule: &str| self.api.allows(self.context, rule, &target);
        let rules = Rules::of(action, self.kind.collection.member, set);
        if !rules.names.iter().all(|rule| may(rule)) {
            // Who may not even see it does not learn that it is there.
            return Err(if may(self.kind.rule) {
                Reply::disallowed(rules.text)
            } else {
                Reply::not_found()
            });
        }
        let current = object["revision_number"].as_u64().unwrap_or_default();
        matches_revision(revision, current)?;
        Ok(object)
    }

    /// Refuses to create what the policy is against.
    fn authorize_new(&self, mut target: Value) -> Result<(), Reply> {
        name_project_twice(&mut target);
        let rule = format!("create_{}", self.kind.collection.member);
        if self.api.allows(self.context, &rule, &target) {
            Ok(())
        } else {
            Err(Reply::forbidden(&rule))
        }
    }

    /// The reply for what was made.
    fn created(&self, bulk: bool, edits: Vec<Edit>) -> Reply {
        let collection = &self.kind.collection;
        let mut objects: Vec<Value> = edits.iter().map(|edit| edit.object().clone()).collect();
        if self.kind.path == RULES {
            // Neutron shows the tags of a rule with its group only.
            let members = objects.iter_mut().filter_map(Value::as_object_mut);
            members.for_each(|rule| drop(rule.shift_remove("tags")));
        }
        let body = match objects.pop() {
            Some(object) if !bulk => json!({collection.member: object}),
            last => {
                objects.extend(last);
                json!({collection.name: objects})
            }
        };
        Reply::created(body).after_edits(edits)
    }
}

/// The policy rules that all have to hold for a request.
struct Rules {
    names: Vec<String>,
    /// How Neutron writes them down together.
    text: String,
}

impl Rules {
    /// Those for an action on an object to which these attributes are to be set.
    fn of(action: &str, member: &str, set: &Map<String, Value>) -> Self {
        let rule = format!("{action}_{member}");
        let mut text = format!("rule:{rule}");
        let mut names = vec![rule.clone()];
        if member != "port" {
            return Self { names, text };
        }
        for (attribute, value) in set {
            let Some((_, parts)) = GUARDED.iter().find(|(guarded, _)| guarded == attribute) else {
                continue;
            };
            let name = format!("{rule}:{attribute}");
            let items = value.as_array().into_iter().flatten();
            let given: Vec<&Map<_, _>> = items.filter_map(Value::as_object).collect();
            let parts = parts
                .iter()
                .filter(|part| given.iter().any(|item| item.contains_key(**part)));
            let parts: Vec<String> = parts.map(|part| format!("{name}:{part}")).collect();
            text = if parts.is_empty() {
                format!("({text} and rule:{name})")
            } else {
                let parts = parts.join(" and rule:");
                format!("({text} and (rule:{name} and (rule:{parts})))")
            };
            names.push(name);
            names.extend(parts);
        }
        Self { names, text }
    }
}
