//! The inventory as Neutron shows it: what clients need to find names and ids.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use netlog_core::audit::Resource;
use netlog_core::inventory::edit::Edit;
use netlog_core::inventory::{self, Inventory};
use serde_json::{Value, json};
use uuid::Uuid;

use super::query::{Collection, Query};
use super::{Api, Context, Reply, Request};

/// A kind of object of the inventory.
pub(super) struct Kind {
    /// Its name in the path.
    pub(super) path: &'static str,
    /// What the audit log calls one.
    type_uri: &'static str,
    pub(super) collection: Collection,
    /// The policy rule for seeing one.
    pub(super) rule: &'static str,
    /// Neutron's error for an id that names none: its type and its text around the id.
    not_found: (&'static str, &'static str, &'static str),
    objects: fn(&Inventory) -> Objects<'_>,
    /// The member of its policy target that says who owns what it belongs to.
    owner: Option<Owner>,
}

/// Whoever owns what an object belongs to sees it as their own.
struct Owner {
    /// What policy rules call it.
    field: &'static str,
    project: fn(&Inventory, &Value) -> Option<String>,
}

/// Objects as they were written, or made from others.
type Objects<'a> = Box<dyn Iterator<Item = Cow<'a, Value>> + 'a>;

pub(super) const GROUPS: &str = "security-groups";
pub(super) const RULES: &str = "security-group-rules";
pub(super) const PORTS: &str = "ports";

const KINDS: [Kind; 5] = [
    Kind {
        path: GROUPS,
        type_uri: "service/network/security_group",
        collection: Collection {
            member: "security_group",
            name: "security_groups",
            key: "id",
            filters: &[
                "id",
                "name",
                "description",
                "project_id",
                "tenant_id",
                "shared",
                "stateful",
                "revision_number",
                "tags",
            ],
            booleans: &["shared", "stateful"],
            sort_keys: &["id", "name", "project_id", "tenant_id"],
        },
        rule: "get_security_group",
        not_found: (
            "SecurityGroupNotFound",
            "Security group ",
            " does not exist",
        ),
        objects: |inventory| Box::new(inventory.written_security_groups().map(Cow::Borrowed)),
        owner: None,
    },
    Kind {
        path: RULES,
        type_uri: "service/network/security_group_rule",
        collection: Collection {
            member: "security_group_rule",
            name: "security_group_rules",
            key: "id",
            filters: &[
                "id",
                "project_id",
                "tenant_id",
                "description",
                "security_group_id",
                "direction",
                "ethertype",
                "protocol",
                "port_range_min",
                "port_range_max",
                "remote_ip_prefix",
                "remote_group_id",
                "remote_address_group_id",
                "revision_number",
            ],
            booleans: &[],
            sort_keys: &[
                "id",
                "project_id",
                "tenant_id",
                "security_group_id",
                "direction",
                "ethertype",
                "protocol",
            ],
        },
        rule: "get_security_group_rule",
        not_found: (
            "SecurityGroupRuleNotFound",
            "Security group rule ",
            " does not exist",
        ),
        objects: |inventory| Box::new(inventory.written_rules().map(Cow::Owned)),
        owner: Some(Owner {
            field: "security_group:project_id",
            project: |inventory, rule| {
                let group = inventory.security_group(id_in(rule, "security_group_id")?)?;
                Some(group.project_id.clone())
            },
        }),
    },
    Kind {
        path: "address-groups",
        type_uri: "service/network/address_group",
        collection: Collection {
            member: "address_group",
            name: "address_groups",
            key: "id",
            filters: &[
                "id",
                "name",
                "description",
                "project_id",
                "tenant_id",
                "shared",
            ],
            booleans: &["shared"],
            sort_keys: &["id", "name", "project_id", "tenant_id"],
        },
        rule: "get_address_group",
        not_found: (
            "AddressGroupNotFound",
            "Address group ",
            " could not be found.",
        ),
        objects: |inventory| Box::new(inventory.written_address_groups().map(Cow::Borrowed)),
        owner: None,
    },
    Kind {
        path: PORTS,
        type_uri: "service/network/port",
        collection: Collection {
            member: "port",
            name: "ports",
            key: "id",
            filters: &[
                "id",
                "name",
                "description",
                "project_id",
                "tenant_id",
                "network_id",
                "mac_address",
                "admin_state_up",
                "status",
                "device_id",
                "device_owner",
                "fixed_ips",
                "security_groups",
                "binding:host_id",
                "binding:vif_type",
                "binding:vnic_type",
                "port_security_enabled",
                "revision_number",
                "tags",
            ],
            booleans: &["admin_state_up", "port_security_enabled"],
            sort_keys: &[
                "id",
                "name",
                "project_id",
                "tenant_id",
                "network_id",
                "mac_address",
                "status",
                "device_id",
                "device_owner",
            ],
        },
        rule: "get_port",
        not_found: ("PortNotFound", "Port ", " could not be found."),
        objects: |inventory| Box::new(inventory.written_ports().map(Cow::Borrowed)),
        owner: Some(Owner {
            field: "network:project_id",
            project: |inventory, port| {
                let network = inventory.network_of(id_in(port, "id")?)?;
                Some(network.project_id.clone())
            },
        }),
    },
    Kind {
        path: "networks",
        type_uri: "service/network/network",
        collection: Collection {
            member: "network",
            name: "networks",
            key: "id",
            filters: &["id", "name", "project_id", "tenant_id", "shared"],
            booleans: &["shared"],
            sort_keys: &["id", "name", "project_id", "tenant_id"],
        },
        rule: "get_network",
        not_found: ("NetworkNotFound", "Network ", " could not be found."),
        objects: |inventory| Box::new(networks(inventory).into_iter().map(Cow::Owned)),
        owner: None,
    },
];

impl Api {
    /// `/v2.0/{collection}` and `/v2.0/{collection}/{id}`
    pub(super) fn inventory(
        &self,
        request: &Request,
        context: &Context,
        path: &str,
        id: Option<&str>,
    ) -> Reply {
        let Some(kind) = kind_at(path) else {
            return Reply::not_found();
        };
        match request.method {
            Method::GET => self
                .show_inventory(request, context, kind, id)
                .unwrap_or_else(|refused| refused),
            Method::POST | Method::PUT | Method::DELETE => self
                .edit_inventory(request, context, kind, id)
                .unwrap_or_else(|refused| refused),
            Method::HEAD => Reply::head_not_allowed(),
            _ => Reply::method_not_allowed(),
        }
    }

    fn show_inventory(
        &self,
        request: &Request,
        context: &Context,
        kind: &Kind,
        id: Option<&str>,
    ) -> Result<Reply, Reply> {
        let inventory = self.inventory.load();
        let shown = |object: Cow<'_, Value>| {
            let mut object = object.into_owned();
            name_project_twice(&mut object);
            let target = kind.target(&inventory, &object);
            let allowed = self.allows(context, kind.rule, &target);
            drop(target);
            allowed.then_some(object)
        };
        if let Some(id) = id {
            let object = shown(kind.find(context, &inventory, id)?);
            let object = object.ok_or_else(Reply::not_found)?;
            return Ok(Reply::ok(kind.collection.show(request, object)));
        }
        let objects = (kind.objects)(&inventory)
            .filter(|object| kind.exists(context, &inventory, object))
            .filter_map(shown);
        let objects = objects.collect();
        Ok(Query::parse(request, &kind.collection)?.reply(objects))
    }
}

/// The kind of object at a path. Neutron takes both spellings.
fn kind_at(path: &str) -> Option<&'static Kind> {
    KINDS
        .iter()
        .find(|kind| kind.path == path.replace('_', "-"))
}

/// What the audit log calls an object of the inventory that a path names.
pub(super) fn resource(path: &str, id: &str) -> Option<Resource> {
    Some(Resource::new(kind_at(path)?.type_uri, id))
}

/// What the audit log calls an object that is changed.
pub(super) fn edited(edit: &Edit) -> Option<Resource> {
    let path = match edit.kind {
        inventory::Kind::Port => PORTS,
        inventory::Kind::SecurityGroup => GROUPS,
        inventory::Kind::SecurityGroupRule => RULES,
        _ => return None,
    };
    let text = |name: &str| {
        let text = edit.object()[name].as_str();
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    Some(Resource {
        name: text("name"),
        project_id: text("project_id"),
        ..resource(path, &text("id")?)?
    })
}

impl Kind {
    /// Whether an object exists for a caller: of their project, shared with them, or belonging to
    /// something of their project.
    fn exists(&self, context: &Context, inventory: &Inventory, object: &Value) -> bool {
        let caller = context.caller();
        let of_caller = |project: Option<&str>| project.is_some_and(|project| caller.sees(project));
        let owner = || {
            let owner = self.owner.as_ref()?;
            (owner.project)(inventory, object)
        };
        // Neutron finds every rule, and leaves it to the policy who sees it.
        context.any_project
            || self.path == RULES
            || of_caller(object["project_id"].as_str())
            || object["shared"] == true
            || of_caller(owner().as_deref())
    }

    /// The object of an id, if it exists for a caller.
    pub(super) fn find<'a>(
        &self,
        context: &Context,
        inventory: &'a Inventory,
        id: &str,
    ) -> Result<Cow<'a, Value>, Reply> {
        (self.objects)(inventory)
            .find(|object| object["id"] == *id)
            .filter(|object| self.exists(context, inventory, object))
            .ok_or_else(|| self.missing(id))
    }

    /// What policy rules see of an object.
    pub(super) fn target<'a>(&self, inventory: &Inventory, object: &'a Value) -> Cow<'a, Value> {
        let owner = self.owner.as_ref();
        let owner =
            owner.and_then(|owner| Some((owner.field, (owner.project)(inventory, object)?)));
        match owner {
            None => Cow::Borrowed(object),
            Some((field, project)) => {
                let mut target = object.clone();
                target[field] = project.into();
                Cow::Owned(target)
            }
        }
    }

    /// The answer for an id that names none.
    pub(super) fn missing(&self, id: &str) -> Reply {
        let (name, before, after) = self.not_found;
        let message = format_args!("{before}{id}{after}");
        Reply::fault(StatusCode::NOT_FOUND, name, message)
    }
}

/// An id that an object has or names.
fn id_in(object: &Value, name: &str) -> Option<Uuid> {
    object[name].as_str()?.parse().ok()
}

/// Clients know the project by its older name too.
pub(super) fn name_project_twice(object: &mut Value) {
    if let Some(members) = object.as_object_mut()
        && let Some(project) = members.get("project_id").cloned()
    {
        members.entry("tenant_id").or_insert(project);
    }
}

/// The networks: those that the inventory lists, and with no more than their ids and subnets those
/// that only ports name, which are taken to be of the ports' project.
fn networks(inventory: &Inventory) -> Vec<Value> {
    let mut networks: BTreeMap<&str, Value> = BTreeMap::new();
    for network in inventory.written_networks() {
        if let Some(id) = network["id"].as_str() {
            networks.insert(id, network.clone());
        }
    }
    let mut subnets: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for port in inventory.written_ports() {
        let Some(id) = port["network_id"].as_str() else {
            continue;
        };
        networks
            .entry(id)
            .or_insert_with(|| json!({"id": id, "project_id": port["project_id"]}));
        let subnets = subnets.entry(id).or_default();
        for ip in port["fixed_ips"].as_array().into_iter().flatten() {
            let subnet = &ip["subnet_id"];
            if subnet.is_string() && !subnets.contains(&subnet) {
                subnets.push(subnet);
            }
        }
    }
    for (id, network) in &mut networks {
        if let Some(members) = network.as_object_mut() {
            let subnets = subnets.remove(id).unwrap_or_default();
            members.entry("name").or_insert_with(|| "".into());
            members.entry("subnets").or_insert_with(|| json!(subnets));
        }
    }
    networks.into_values().collect()
}
