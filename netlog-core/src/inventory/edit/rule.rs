//! Security group rules: made, deleted.

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::UtcDateTime;
use uuid::Uuid;

use super::{Edit, EditError};
use crate::inventory::{Inventory, Kind, SecurityGroup};
use crate::log::timestamp;
use crate::prefix::{Ethertype, IpPrefix};
use crate::python;
use crate::request::{
    self, Asked, Attribute, Caller, InCreate, RequestError, canonical_id, string,
    take_project_of_new,
};
use crate::rule::{Direction, Protocol, SecurityGroupRule};

const MEMBERS: (&str, &str) = ("security_group_rule", "security_group_rules");

/// Every attribute, in Neutron's order. None is changed later.
const ATTRIBUTES: [Attribute; 18] = [
    Attribute::new("id", InCreate::No, false),
    Attribute::new("security_group_id", InCreate::Required, false),
    Attribute::new("remote_group_id", InCreate::Optional, false),
    Attribute::new("direction", InCreate::Required, false),
    Attribute::new("protocol", InCreate::Optional, false),
    Attribute::new("port_range_min", InCreate::Optional, false),
    Attribute::new("port_range_max", InCreate::Optional, false),
    Attribute::new("ethertype", InCreate::Optional, false),
    Attribute::new("remote_ip_prefix", InCreate::Optional, false),
    Attribute::new("tenant_id", InCreate::Optional, false),
    Attribute::new("revision_number", InCreate::No, false),
    Attribute::new("description", InCreate::Optional, false),
    Attribute::new("normalized_cidr", InCreate::No, false),
    Attribute::new("remote_address_group_id", InCreate::Optional, false),
    Attribute::new("belongs_to_default_sg", InCreate::No, false),
    Attribute::new("created_at", InCreate::No, false),
    Attribute::new("updated_at", InCreate::No, false),
    Attribute::new("tags", InCreate::No, false),
];

/// The protocols that port ranges are taken for: beside those that the firewall matches ports of,
/// DCCP and UDP-Lite.
const fn takes_ports(protocol: u8) -> bool {
    Protocol::has_ports(protocol) || matches!(protocol, 33 | 136)
}

/// A rule that a caller asks for, its values checked but not what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRule {
    /// The project that will own it.
    pub project_id: String,
    /// The group that it is for, as the caller wrote it.
    pub security_group_id: String,
    /// All attributes but the project.
    attributes: Value,
}

impl NewRule {
    /// Reads the body of a create request.
    pub fn parse(body: &[u8], caller: Caller<'_>) -> Result<Asked<Self>, EditError> {
        request::create(body, MEMBERS, |mut rule| {
            let project_id = take_project_of_new(&mut rule, &ATTRIBUTES, caller)?;
            let attributes = read(&rule)?;
            let group = attributes["security_group_id"].as_str();
            Ok(Self {
                project_id,
                security_group_id: group.unwrap_or_default().to_owned(),
                attributes,
            })
        })
    }

    /// The group that it is for.
    pub fn group<'a>(&self, inventory: &'a Inventory) -> Result<&'a SecurityGroup, EditError> {
        let id = canonical_id(&self.security_group_id);
        let group = id.and_then(|id| inventory.security_group(id));
        group.ok_or_else(|| EditError::GroupNotFound(self.security_group_id.clone()))
    }

    /// Checks the values together, in Neutron's order, and makes one way to write each rule.
    fn normalize(&mut self) -> Result<(), EditError> {
        let rule = &mut self.attributes;
        let ethertype = rule["ethertype"].as_str().unwrap_or_default().to_owned();
        if ethertype == "IPv6" {
            match rule["protocol"].as_str() {
                Some("icmp" | "icmpv6") => rule["protocol"] = "ipv6-icmp".into(),
                Some("1") => rule["protocol"] = "58".into(),
                _ => {}
            }
        }
        // Every port there is.
        if (&rule["port_range_min"], &rule["port_range_max"]) == (&json!(1), &json!(65_535)) {
            rule["port_range_min"] = Value::Null;
            rule["port_range_max"] = Value::Null;
        }
        let protocol = rule["protocol"].as_str().and_then(Protocol::parse);
        check_ports(protocol, &rule["port_range_min"], &rule["port_range_max"])?;
        if let Some(prefix) = rule["remote_ip_prefix"].as_str()
            && prefix.contains(':') != (ethertype == "IPv6")
        {
            let prefix = prefix.to_owned();
            return Err(EditError::EthertypeOfPrefix { ethertype, prefix });
        }
        // The extension headers of IPv6, its encapsulation and ICMPv6.
        if let Some(Protocol::Number(41 | 43 | 44 | 58 | 59 | 60)) = protocol
            && ethertype == "IPv4"
        {
            let protocol = python::str(&rule["protocol"]);
            return Err(EditError::EthertypeOfProtocol {
                ethertype,
                protocol,
            });
        }
        let remotes = [
            "remote_ip_prefix",
            "remote_group_id",
            "remote_address_group_id",
        ];
        if remotes
            .iter()
            .filter(|name| !rule[**name].is_null())
            .count()
            > 1
        {
            return Err(EditError::Remotes);
        }
        Ok(())
    }

    /// Refuses a rule that names a group that is not there for its project.
    fn check_names(&self, inventory: &Inventory, caller: Caller<'_>) -> Result<(), EditError> {
        let given = |name: &str| match &self.attributes[name] {
            Value::Null => None,
            id => Some(python::str(id)),
        };
        if let Some(id) = given("remote_group_id") {
            let group = canonical_id(&id).and_then(|id| inventory.security_group(id));
            let exists = group.is_some_and(|group| {
                caller.any_project || group.project_id == self.project_id || group.shared
            });
            if !exists {
                return Err(EditError::GroupNotFound(id));
            }
        }
        if let Some(id) = given("remote_address_group_id") {
            let group = canonical_id(&id).and_then(|id| inventory.address_group(id));
            if group.is_none() {
                return Err(EditError::AddressGroupNotFound(id));
            }
        }
        Ok(())
    }
}

/// Refuses port ranges, and types and codes of ICMP, that the protocol does not have.
fn check_ports(protocol: Option<Protocol>, min: &Value, max: &Value) -> Result<(), EditError> {
    let (min, max) = (min.as_u64(), max.as_u64());
    if min.is_none() && max.is_none() {
        return Ok(());
    }
    match protocol {
        None | Some(Protocol::Any) => Err(EditError::PortsWithoutProtocol),
        Some(Protocol::Number(number)) if takes_ports(number) => match (min, max) {
            (Some(0), _) | (_, Some(0)) => Err(EditError::PortValue("0".to_owned())),
            (Some(min), Some(max)) if min <= max => Ok(()),
            _ => Err(EditError::PortRange),
        },
        Some(Protocol::Number(Protocol::ICMP | Protocol::ICMPV6)) => {
            let fields = [
                ("type", "port_range_min", min),
                ("code", "port_range_max", max),
            ];
            for (field, attribute, value) in fields {
                if let Some(value) = value.filter(|&value| value > 255) {
                    return Err(EditError::Icmp {
                        field,
                        attribute,
                        value,
                    });
                }
            }
            match (min, max) {
                (None, Some(code)) => Err(EditError::IcmpCode(code)),
                _ => Ok(()),
            }
        }
        Some(Protocol::Number(number)) => Err(EditError::PortsOfProtocol(number)),
    }
}

/// Makes rules of one group, or none of them.
pub fn create_rules(
    mut rules: Vec<NewRule>,
    inventory: &Inventory,
    caller: Caller<'_>,
    now: UtcDateTime,
    new_id: impl Fn() -> Uuid,
) -> Result<Vec<Edit>, EditError> {
    for pair in rules.windows(2) {
        if pair[0].security_group_id != pair[1].security_group_id {
            return Err(EditError::SeveralGroups);
        }
        if pair[0].project_id != pair[1].project_id {
            return Err(EditError::SeveralProjects);
        }
    }
    for rule in &mut rules {
        rule.normalize()?;
        rule.check_names(inventory, caller)?;
    }
    let mut edits: Vec<Edit> = Vec::new();
    let mut made: Vec<SecurityGroupRule> = Vec::new();
    for rule in rules {
        let group = rule.group(inventory)?;
        let mut written = written_rule(&rule.attributes, new_id(), &rule.project_id, now);
        written["belongs_to_default_sg"] = (group.name == "default").into();
        // What was checked above is a rule.
        let Ok(parsed) = SecurityGroupRule::deserialize(&written) else {
            continue;
        };
        if made.iter().any(|other| other.allows_as(&parsed)) {
            return Err(EditError::RuleTwice);
        }
        let exists = group
            .security_group_rules
            .iter()
            .find(|other| other.allows_as(&parsed));
        if let Some(other) = exists {
            return Err(EditError::RuleExists(other.id.to_string()));
        }
        made.push(parsed);
        edits.push(Edit::created(Kind::SecurityGroupRule, written));
    }
    Ok(edits)
}

/// Deletes a rule as [`Inventory::written_rules`] has it.
pub fn delete_rule(rule: &Value) -> Vec<Edit> {
    vec![Edit::deleted(Kind::SecurityGroupRule, rule.clone())]
}

/// A rule as Neutron shows it. What is not among the attributes is null.
pub(super) fn written_rule(attributes: &Value, id: Uuid, project: &str, now: UtcDateTime) -> Value {
    let prefix = attributes["remote_ip_prefix"].as_str();
    let normalized = prefix.and_then(|prefix| prefix.parse::<IpPrefix>().ok());
    json!({
        "id": id,
        "project_id": project,
        "security_group_id": attributes["security_group_id"],
        "ethertype": attributes["ethertype"],
        "direction": attributes["direction"],
        "protocol": attributes["protocol"],
        "port_range_min": attributes["port_range_min"],
        "port_range_max": attributes["port_range_max"],
        "remote_ip_prefix": attributes["remote_ip_prefix"],
        "remote_address_group_id": attributes["remote_address_group_id"],
        "normalized_cidr": normalized,
        "remote_group_id": attributes["remote_group_id"],
        "belongs_to_default_sg": false,
        "description": attributes["description"],
        "tags": [],
        "created_at": timestamp(now),
        "updated_at": timestamp(now),
        "revision_number": 0,
        "tenant_id": project,
    })
}

/// Reads what a request sets.
fn read(rule: &Map<String, Value>) -> Result<Value, EditError> {
    let mut attributes = json!({"ethertype": "IPv4", "description": ""});
    for attribute in ATTRIBUTES {
        let Some(value) = rule.get(attribute.name).cloned() else {
            continue;
        };
        attributes[attribute.name] = match attribute.name {
            "security_group_id" => string("security_group_id", value)?.into(),
            "description" => string("description", value)?.into(),
            "direction" => direction(&value)?.as_str().into(),
            "protocol" => protocol(&value)?,
            "ethertype" => ethertype(&value)?,
            "port_range_min" | "port_range_max" => port(&value)?,
            "remote_ip_prefix" => prefix(&value)?,
            // Ids of groups, which exist or do not.
            _ if python::is_falsy(&value) => Value::Null,
            _ => value,
        };
    }
    Ok(attributes)
}

fn direction(value: &Value) -> Result<Direction, RequestError> {
    Direction::deserialize(value).map_err(|_| RequestError::NotAChoice {
        attribute: "direction",
        value: python::str(value),
    })
}

/// A protocol by name or number, in the one spelling of each; null for any.
fn protocol(value: &Value) -> Result<Value, EditError> {
    let refused = || EditError::Protocol(python::str(value));
    let name = match value {
        Value::Null => return Ok(Value::Null),
        Value::Number(number) => number.to_string(),
        Value::String(name) => name.to_lowercase(),
        _ => return Err(refused()),
    };
    Ok(match Protocol::parse(&name).ok_or_else(refused)? {
        Protocol::Any => Value::Null,
        Protocol::Number(_) => name.into(),
    })
}

fn ethertype(value: &Value) -> Result<Value, EditError> {
    let name = value.as_str().unwrap_or_default();
    let families = [Ethertype::IPv4, Ethertype::IPv6].map(|family| family.to_string());
    let family = families
        .into_iter()
        .find(|family| family.eq_ignore_ascii_case(name));
    Ok(family
        .ok_or_else(|| EditError::Ethertype(python::str(value)))?
        .into())
}

/// A port, or a type or code of ICMP.
fn port(value: &Value) -> Result<Value, EditError> {
    let refused = || EditError::PortValue(python::str(value));
    let number = match value {
        Value::Null => return Ok(Value::Null),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => python::int(text),
        _ => None,
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    Ok(number.ok_or_else(refused)?.into())
}

/// A prefix with its length. Bits beyond it stay, as in Neutron.
fn prefix(value: &Value) -> Result<Value, EditError> {
    let refused = || EditError::Prefix(python::str(value));
    if python::is_falsy(value) {
        return Ok(Value::Null);
    }
    let text = value.as_str().ok_or_else(refused)?;
    let length = text.parse::<IpPrefix>().map_err(|_| refused())?.length();
    let address = text.split('/').next().unwrap_or(text);
    let address: IpAddr = address.parse().map_err(|_| refused())?;
    Ok(format!("{address}/{length}").into())
}
