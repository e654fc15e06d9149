//! The inventory as Neutron shows it: what clients need to find names and ids.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use netlog_core::inventory::Inventory;
use serde_json::{Value, json};

use super::query::{Collection, Query};
use super::{Api, Context, Reply, Request};

/// A kind of object of the inventory.
struct Kind {
    /// Its name in the path.
    path: &'static str,
    collection: Collection,
    /// The policy rule for seeing one.
    rule: &'static str,
    /// Neutron's error for an id that names none: its type and its text around the id.
    not_found: (&'static str, &'static str, &'static str),
    objects: fn(&Inventory) -> Vec<Value>,
}

const KINDS: [Kind; 5] = [
    Kind {
        path: "security-groups",
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
        objects: |inventory| inventory.written_security_groups().cloned().collect(),
    },
    Kind {
        path: "security-group-rules",
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
        objects: rules,
    },
    Kind {
        path: "address-groups",
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
        objects: |inventory| inventory.written_address_groups().cloned().collect(),
    },
    Kind {
        path: "ports",
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
        objects: |inventory| inventory.written_ports().cloned().collect(),
    },
    Kind {
        path: "networks",
        collection: Collection {
            member: "network",
            name: "networks",
            key: "id",
            filters: &["id", "name", "project_id", "tenant_id"],
            booleans: &[],
            sort_keys: &["id", "name", "project_id", "tenant_id"],
        },
        rule: "get_network",
        not_found: ("NetworkNotFound", "Network ", " could not be found."),
        objects: networks,
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
        let Some(kind) = KINDS.iter().find(|kind| kind.path == path) else {
            return Reply::not_found();
        };
        if request.method == Method::HEAD {
            return Reply::head_not_allowed();
        }
        if request.method != Method::GET {
            return Reply::fault(
                StatusCode::METHOD_NOT_ALLOWED,
                "HTTPMethodNotAllowed",
                format_args!("{path} are read from the inventory and cannot be changed here."),
            );
        }
        let visible = |object: &Value| {
            let project = object["project_id"].as_str();
            (context.any_project || project.is_some_and(|project| context.caller().sees(project)))
                && self.allows(context, kind.rule, object)
        };
        let mut objects = (kind.objects)(&self.inventory.load());
        objects.iter_mut().for_each(name_project_twice);
        objects.retain(visible);
        let Some(id) = id else {
            return Query::parse(request, &kind.collection)
                .map_or_else(|refused| refused, |query| query.reply(objects));
        };
        if let Some(object) = objects.into_iter().find(|object| object["id"] == *id) {
            return Reply::ok(kind.collection.show(request, object));
        }
        let (name, before, after) = kind.not_found;
        let message = format_args!("{before}{id}{after}");
        Reply::fault(StatusCode::NOT_FOUND, name, message)
    }
}

/// Clients know the project by its older name too.
fn name_project_twice(object: &mut Value) {
    if let Some(members) = object.as_object_mut()
        && let Some(project) = members.get("project_id").cloned()
    {
        members.entry("tenant_id").or_insert(project);
    }
}

/// The rules of all groups.
fn rules(inventory: &Inventory) -> Vec<Value> {
    inventory
        .written_security_groups()
        .filter_map(|group| Some((group, group["security_group_rules"].as_array()?)))
        .flat_map(|(group, rules)| rules.iter().map(move |rule| with_owner(rule, group)))
        .collect()
}

/// A rule with its group and project, which an inventory may leave out.
fn with_owner(rule: &Value, group: &Value) -> Value {
    let mut rule = rule.clone();
    if let Some(members) = rule.as_object_mut() {
        for (own, of_group) in [("security_group_id", "id"), ("project_id", "project_id")] {
            members
                .entry(own)
                .or_insert_with(|| group[of_group].clone());
        }
    }
    rule
}

/// The networks of the ports: an inventory says no more of them than their ids, subnets and
/// owners of ports.
fn networks(inventory: &Inventory) -> Vec<Value> {
    let mut networks: BTreeMap<&str, (&Value, Vec<&Value>)> = BTreeMap::new();
    for port in inventory.written_ports() {
        let Some(id) = port["network_id"].as_str() else {
            continue;
        };
        let (_, subnets) = networks
            .entry(id)
            .or_insert_with(|| (&port["project_id"], Vec::new()));
        for ip in port["fixed_ips"].as_array().into_iter().flatten() {
            let subnet = &ip["subnet_id"];
            if subnet.is_string() && !subnets.contains(&subnet) {
                subnets.push(subnet);
            }
        }
    }
    networks
        .into_iter()
        .map(|(id, (project, subnets))| {
            json!({"id": id, "name": "", "project_id": project, "subnets": subnets})
        })
        .collect()
}
