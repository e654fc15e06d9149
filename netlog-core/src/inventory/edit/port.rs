//! Ports: changed, deleted. They are not made here: what plugs a port knows its addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::{Map, Value, json};
use time::UtcDateTime;

use super::{Edit, EditError};
use crate::inventory::{Inventory, Kind};
use crate::prefix::IpPrefix;
use crate::python;
use crate::request::{
    self, Attribute, Caller, InCreate, RequestError, boolean, canonical_id, check_change,
    check_object, string,
};

const MEMBERS: (&str, &str) = ("port", "ports");

/// Every attribute, in Neutron's order.
const ATTRIBUTES: [Attribute; 23] = [
    Attribute::new("id", InCreate::No, false),
    Attribute::new("name", InCreate::Optional, true),
    Attribute::new("network_id", InCreate::Required, false),
    Attribute::new("admin_state_up", InCreate::Optional, true),
    Attribute::new("mac_address", InCreate::Optional, true),
    Attribute::new("fixed_ips", InCreate::Optional, true),
    Attribute::new("device_id", InCreate::Optional, true),
    Attribute::new("device_owner", InCreate::Optional, true),
    Attribute::new("tenant_id", InCreate::Optional, false),
    Attribute::new("status", InCreate::No, false),
    Attribute::new("revision_number", InCreate::No, false),
    Attribute::new("security_groups", InCreate::Optional, true),
    Attribute::new("description", InCreate::Optional, true),
    Attribute::new("port_security_enabled", InCreate::Optional, true),
    Attribute::new("allowed_address_pairs", InCreate::Optional, true),
    Attribute::new("created_at", InCreate::No, false),
    Attribute::new("updated_at", InCreate::No, false),
    Attribute::new("tags", InCreate::No, false),
    // Neutron changes these; here they say where others have put the port.
    Attribute::new("binding:host_id", InCreate::Optional, false),
    Attribute::new("binding:profile", InCreate::Optional, false),
    Attribute::new("binding:vif_type", InCreate::No, false),
    Attribute::new("binding:vif_details", InCreate::No, false),
    Attribute::new("binding:vnic_type", InCreate::Optional, false),
];

/// A change of a port; what is not given stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortChange(Map<String, Value>);

impl PortChange {
    /// Reads the body of an update request.
    pub fn parse(body: &[u8], caller: Caller<'_>) -> Result<Self, EditError> {
        check_object(body, MEMBERS)?;
        request::update_one(body, MEMBERS, |mut port| {
            check_change(&mut port, &ATTRIBUTES, caller)?;
            read(&port).map(Self)
        })
    }

    /// What it sets.
    pub const fn attributes(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The change of a port as it is written; `None` if nothing changes.
    pub fn edit(
        mut self,
        port: &Value,
        inventory: &Inventory,
        caller: Caller<'_>,
        now: UtcDateTime,
    ) -> Result<Option<Edit>, EditError> {
        if let Some(groups) = self.0.get("security_groups") {
            if ids(groups) == ids(&port["security_groups"]) {
                // Their order means nothing.
                self.0.shift_remove("security_groups");
            } else {
                check_groups(groups, port, inventory, caller)?;
            }
        }
        let mut after = port.clone();
        if let Some(members) = after.as_object_mut() {
            members.extend(self.0.clone());
        }
        let mac = after["mac_address"].clone();
        let pairs = after.get_mut("allowed_address_pairs");
        let pairs = pairs.and_then(Value::as_array_mut).into_iter().flatten();
        for pair in pairs.filter(|pair| pair["mac_address"].is_null() && mac.is_string()) {
            pair["mac_address"] = mac.clone();
        }
        self.check_security(&after)?;
        check_addresses(port, &after, inventory)?;
        Ok(Edit::changed(Kind::Port, port, after, now))
    }

    /// Refuses address pairs and security groups on a port that would not be protected.
    fn check_security(&self, after: &Value) -> Result<(), EditError> {
        let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
        if after["port_security_enabled"] != false {
            Ok(())
        } else if some(&after["allowed_address_pairs"]) {
            Err(EditError::PairsWithoutSecurity)
        } else if self.0.get("security_groups").is_some_and(some) {
            Err(EditError::GroupsWithoutSecurity)
        } else if some(&after["security_groups"]) {
            Err(EditError::SecurityOfGroups)
        } else {
            Ok(())
        }
    }
}

/// Deletes a port as it is written.
pub fn delete_port(port: &Value) -> Vec<Edit> {
    vec![Edit::deleted(Kind::Port, port.clone())]
}

fn ids(list: &Value) -> BTreeSet<&str> {
    let ids = list.as_array().into_iter().flatten();
    ids.filter_map(Value::as_str).collect()
}

/// Refuses security groups that are not there for the port, or that do not go together.
fn check_groups(
    groups: &Value,
    port: &Value,
    inventory: &Inventory,
    caller: Caller<'_>,
) -> Result<(), EditError> {
    let may_have = |id: &&str| {
        let group = canonical_id(id).and_then(|id| inventory.security_group(id));
        group.is_some_and(|group| {
            caller.any_project || group.shared || port["project_id"] == *group.project_id
        })
    };
    let groups = ids(groups);
    let missing: Vec<&str> = groups.iter().copied().filter(|id| !may_have(id)).collect();
    if !missing.is_empty() {
        return Err(EditError::GroupNotFound(missing.join(", ")));
    }
    let written = inventory.written_security_groups();
    let stateful: BTreeSet<bool> = written
        .filter(|group| group["id"].as_str().is_some_and(|id| groups.contains(id)))
        .map(|group| group["stateful"].as_bool().unwrap_or(true))
        .collect();
    if stateful.len() > 1 {
        return Err(EditError::StatefulAndStateless);
    }
    Ok(())
}

/// Refuses new addresses that another port on the network has.
fn check_addresses(before: &Value, after: &Value, inventory: &Inventory) -> Result<(), EditError> {
    let new_mac = after["mac_address"] != before["mac_address"];
    let addresses = |port: &Value| -> Vec<(String, Value)> {
        let fixed = port["fixed_ips"].as_array().into_iter().flatten();
        fixed
            .filter_map(|ip| {
                Some((
                    ip["ip_address"].as_str()?.to_owned(),
                    ip["subnet_id"].clone(),
                ))
            })
            .collect()
    };
    let old = addresses(before);
    let new: Vec<(String, Value)> = addresses(after)
        .into_iter()
        .filter(|(address, _)| !old.iter().any(|(old, _)| old == address))
        .collect();
    if !new_mac && new.is_empty() {
        return Ok(());
    }
    let network = &after["network_id"];
    let beside = inventory
        .written_ports()
        .filter(|port| port["network_id"] == *network && port["id"] != after["id"]);
    for other in beside {
        if new_mac && other["mac_address"] == after["mac_address"] {
            return Err(EditError::MacAddressInUse {
                network: python::str(network),
                mac: python::str(&after["mac_address"]),
            });
        }
        for (address, subnet) in addresses(other) {
            if new.iter().any(|(new, _)| *new == address) {
                let subnet = python::str(&subnet);
                return Err(EditError::AddressInUse { address, subnet });
            }
        }
    }
    Ok(())
}

/// Reads what a request sets.
fn read(port: &Map<String, Value>) -> Result<Map<String, Value>, EditError> {
    let mut attributes = Map::new();
    for attribute in ATTRIBUTES {
        let name = attribute.name;
        let Some(value) = port.get(name).cloned() else {
            continue;
        };
        let value = match name {
            "name" | "description" | "device_id" | "device_owner" => string(name, value)?.into(),
            "security_groups" => security_groups(&value)?,
            "fixed_ips" => fixed_ips(&value)?,
            "allowed_address_pairs" => address_pairs(&value)?,
            "mac_address" => {
                let refused = || EditError::MacAddress(python::str(&value));
                mac_address(&value).ok_or_else(refused)?
            }
            // No other attribute is set by callers.
            _ => boolean(&value)?.into(),
        };
        attributes.insert(name.to_owned(), value);
    }
    Ok(attributes)
}

fn security_groups(value: &Value) -> Result<Value, EditError> {
    const NAME: &str = "security_groups";
    let list = match value {
        Value::Null => return Ok(json!([])),
        Value::Array(list) => list,
        _ => {
            return Err(EditError::NotAList {
                attribute: NAME,
                value: python::str(value),
            });
        }
    };
    let read = |id: &Value| request::id(NAME, id.clone());
    let ids: Vec<String> = list.iter().map(read).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    let twice: Vec<&str> = ids
        .iter()
        .map(String::as_str)
        .filter(|id| !seen.insert(*id))
        .collect();
    if twice.is_empty() {
        Ok(json!(ids))
    } else {
        Err(EditError::Twice {
            attribute: NAME,
            values: twice.join(", "),
        })
    }
}

fn fixed_ips(value: &Value) -> Result<Value, EditError> {
    let malformed = |value: &Value| EditError::FixedIp(python::str(value));
    let list = value.as_array().ok_or_else(|| malformed(value))?;
    let mut seen = BTreeSet::new();
    let mut fixed = Vec::new();
    for ip in list {
        let members = ip.as_object().ok_or_else(|| malformed(ip))?;
        let mut read = Map::new();
        if let Some(subnet) = members.get("subnet_id") {
            let subnet = request::id("fixed_ips", subnet.clone())?;
            read.insert("subnet_id".to_owned(), subnet.into());
        }
        let Some(address) = members.get("ip_address") else {
            return Err(EditError::NoAddress(python::str(&ip["subnet_id"])));
        };
        let parsed = address
            .as_str()
            .and_then(|text| text.parse::<IpAddr>().ok());
        let Some(parsed) = parsed else {
            return Err(EditError::FixedAddress(python::str(address)));
        };
        if !seen.insert(parsed) {
            return Err(EditError::FixedAddressTwice(python::str(address)));
        }
        read.insert("ip_address".to_owned(), parsed.to_string().into());
        fixed.push(Value::Object(read));
    }
    Ok(fixed.into())
}

fn address_pairs(value: &Value) -> Result<Value, EditError> {
    let list = match value {
        Value::Null => return Ok(json!([])),
        Value::Array(list) => list,
        _ => return Err(EditError::PairsNotAList),
    };
    let mut pairs: Vec<Value> = Vec::new();
    for pair in list {
        let Some(members) = pair.as_object() else {
            return Err(EditError::Pair(python::str(pair)));
        };
        let Some(address) = members.get("ip_address") else {
            return Err(EditError::PairWithoutAddress);
        };
        let mut read = Map::new();
        if let Some(mac) = members.get("mac_address") {
            // In the spelling of the caller, as in Neutron.
            if mac_address(mac).is_none() {
                return Err(EditError::PairMacAddress(python::str(mac)));
            }
            read.insert("mac_address".to_owned(), mac.clone());
        }
        let is_address = |text: &str| text.parse::<IpPrefix>().is_ok();
        if !address.as_str().is_some_and(is_address) {
            return Err(EditError::PairAddress(python::str(address)));
        }
        read.insert("ip_address".to_owned(), address.clone());
        let known = |name: &&String| !matches!(name.as_str(), "mac_address" | "ip_address");
        let unknown: Vec<String> = members.keys().filter(known).cloned().collect();
        if !unknown.is_empty() {
            return Err(RequestError::UnknownAttributes(unknown).into());
        }
        let read = Value::Object(read);
        if pairs.contains(&read) {
            return Err(EditError::PairTwice {
                mac: python::str(&read["mac_address"]),
                address: python::str(address),
            });
        }
        pairs.push(read);
    }
    Ok(pairs.into())
}

/// A hardware address in lower case.
fn mac_address(value: &Value) -> Option<Value> {
    let text = value.as_str()?;
    let parts: Vec<&str> = text.split(':').collect();
    let is_byte = |part: &&str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
    (parts.len() == 6 && parts.iter().all(is_byte)).then(|| text.to_lowercase().into())
}
