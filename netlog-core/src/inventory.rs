//! The inventory: which ports, security groups and address groups exist.
//!
//! It is a JSON document
//! `{"networks": […], "security_groups": […], "address_groups": […], "ports": […]}` whose
//! objects have the shape of Neutron's API, so that the output of Neutron itself can be stored
//! and read back. Every object is kept as it was written too, because the agent's API shows it
//! again. Each list may be left out. Networks say who owns them, nothing else: the owner of a
//! network sees and may log the ports of others on it.

pub mod edit;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use netlog_packet::MacAddr;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::prefix::IpPrefix;
use crate::rule::SecurityGroupRule;

/// A network, as far as log objects care: its owner sees every port on it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Network {
    /// The network's id.
    pub id: Uuid,
    /// The project that owns it.
    pub project_id: String,
}

/// A security group with its rules.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecurityGroup {
    /// The group's id.
    pub id: Uuid,
    /// Its name, which need not be unique.
    #[serde(default)]
    pub name: String,
    /// The project that owns it.
    pub project_id: String,
    /// Whether the other projects may use it too.
    #[serde(default)]
    pub shared: bool,
    /// Its allow rules, in no particular order.
    #[serde(default)]
    pub security_group_rules: Vec<SecurityGroupRule>,
}

/// A named set of addresses that rules can refer to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AddressGroup {
    /// The group's id.
    pub id: Uuid,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The project that owns it.
    #[serde(default)]
    pub project_id: String,
    /// Its addresses.
    #[serde(default)]
    pub addresses: Vec<IpPrefix>,
}

/// An address of a port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct FixedIp {
    /// The address.
    pub ip_address: std::net::IpAddr,
}

/// A further address that a port may use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AllowedAddressPair {
    /// The hardware address that it is used with; the port's own where it is not given.
    #[serde(default, deserialize_with = "mac_address")]
    pub mac_address: Option<MacAddr>,
    /// An address or a prefix.
    pub ip_address: IpPrefix,
}

/// A network port of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Port {
    /// The port's id, which is the `iface-id` of its interface in Open vSwitch.
    pub id: Uuid,
    /// Its name, which need not be unique.
    #[serde(default)]
    pub name: String,
    /// The project that owns it.
    pub project_id: String,
    /// Its hardware address.
    #[serde(default, deserialize_with = "mac_address")]
    pub mac_address: Option<MacAddr>,
    /// Whether security groups are enforced on it.
    #[serde(default = "enforced")]
    pub port_security_enabled: bool,
    /// The security groups whose rules apply to it.
    #[serde(default)]
    pub security_groups: Vec<Uuid>,
    /// Its addresses.
    #[serde(default)]
    pub fixed_ips: Vec<FixedIp>,
    /// Further addresses that it may use.
    #[serde(default)]
    pub allowed_address_pairs: Vec<AllowedAddressPair>,
}

/// Neutron enforces port security where a port does not say otherwise.
const fn enforced() -> bool {
    true
}

impl Port {
    /// Every address that the port may use: fixed addresses and allowed address pairs.
    pub fn addresses(&self) -> impl Iterator<Item = IpPrefix> + '_ {
        self.addresses_with_mac().map(|(address, _)| address)
    }

    /// Every hardware address that the port may use.
    pub fn mac_addresses(&self) -> impl Iterator<Item = MacAddr> + '_ {
        let pairs = self.allowed_address_pairs.iter();
        self.mac_address
            .into_iter()
            .chain(pairs.filter_map(|pair| pair.mac_address))
    }

    /// Every address that the port may use, with the hardware address that goes with it.
    pub fn addresses_with_mac(&self) -> impl Iterator<Item = (IpPrefix, Option<MacAddr>)> + '_ {
        let fixed = self.fixed_ips.iter().filter_map(|fixed| {
            let bits = crate::prefix::Ethertype::of(fixed.ip_address).bits();
            Some((IpPrefix::new(fixed.ip_address, bits)?, self.mac_address))
        });
        fixed.chain(
            self.allowed_address_pairs
                .iter()
                .map(|pair| (pair.ip_address, pair.mac_address.or(self.mac_address))),
        )
    }
}

/// Reads a hardware address as Neutron writes it, or null.
fn mac_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MacAddr>, D::Error> {
    let Some(text) = Option::<Cow<'_, str>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let wrong = || {
        serde::de::Error::custom(format_args!(
            "{text:?} is not a hardware address such as fa:16:3e:11:22:33"
        ))
    };
    let mut parts = text.split(':');
    let mut mac = [0; 6];
    for byte in &mut mac {
        let digits = parts.next().ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    if parts.next().is_some() {
        return Err(wrong());
    }
    Ok(Some(MacAddr(mac)))
}

/// What kind of object an [`InventoryError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A network.
    Network,
    /// A security group.
    SecurityGroup,
    /// A security group rule.
    SecurityGroupRule,
    /// An address group.
    AddressGroup,
    /// A port.
    Port,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "network",
            Self::SecurityGroup => "security group",
            Self::SecurityGroupRule => "security group rule",
            Self::AddressGroup => "address group",
            Self::Port => "port",
        })
    }
}

/// Why a document is not an inventory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InventoryError {
    /// It is not JSON, or not an object with these lists. The text says where.
    #[error("not an inventory document: {0}")]
    Json(#[from] serde_json::Error),
    /// An object has the wrong shape.
    #[error("{kind} {object}: {cause}")]
    Object {
        /// The kind of object.
        kind: Kind,
        /// Its id, or its position in the list where it has none.
        object: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// Two objects of one kind have the same id.
    #[error("{kind} {id} is there twice: ids must be unique, remove or rename one of them")]
    Duplicate {
        /// The kind of object.
        kind: Kind,
        /// The id that is there twice.
        id: Uuid,
    },
    /// A port lists a security group more than once.
    #[error("port {port} names security group {group} twice: name it once")]
    GroupNamedTwice {
        /// The port.
        port: Uuid,
        /// The group.
        group: Uuid,
    },
}

/// The lists of a document, each object as its text.
#[derive(Deserialize)]
struct Lists<'a> {
    #[serde(borrow, default)]
    networks: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    security_groups: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    address_groups: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    ports: Vec<&'a RawValue>,
}

/// Objects of one kind by id, each with the JSON that it was written as. Inventories share what is
/// the same in both.
type ById<T> = BTreeMap<Uuid, Arc<(T, Value)>>;

/// Networks, ports, security groups and address groups, by id.
///
/// ```
/// let json = r#"{"ports": [{"id": "11111111-0000-4000-8000-000000000001", "project_id": "demo"}]}"#;
/// let inventory = netlog_core::inventory::Inventory::parse(json)?;
/// assert_eq!(inventory.ports().count(), 1);
/// # Ok::<(), netlog_core::inventory::InventoryError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    networks: ById<Network>,
    security_groups: ById<SecurityGroup>,
    address_groups: ById<AddressGroup>,
    ports: ById<Port>,
    /// The ports that are in each security group.
    members: BTreeMap<Uuid, Vec<Uuid>>,
}

impl Inventory {
    /// Reads an inventory document.
    ///
    /// # Errors
    /// When it is not JSON, an object lacks a field or has a wrong one, or an id is there twice.
    /// A port or rule may name a group that is not in the document: inventories arrive in
    /// pieces.
    pub fn parse(json: &str) -> Result<Self, InventoryError> {
        Self::parse_after(json, &Self::default())
    }

    /// Reads a document that comes after another, and shares with that what has not changed: both
    /// take little more memory than one.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub fn parse_after(json: &str, before: &Self) -> Result<Self, InventoryError> {
        let lists: Lists<'_> = serde_json::from_str(json)?;
        let mut inventory = Self {
            networks: by_id(Kind::Network, lists.networks, &before.networks, |n| n.id)?,
            security_groups: by_id(
                Kind::SecurityGroup,
                lists.security_groups,
                &before.security_groups,
                |group| group.id,
            )?,
            address_groups: by_id(
                Kind::AddressGroup,
                lists.address_groups,
                &before.address_groups,
                |group| group.id,
            )?,
            ports: by_id(Kind::Port, lists.ports, &before.ports, |port| port.id)?,
            members: BTreeMap::new(),
        };
        let mut rules = BTreeSet::new();
        for rule in inventory
            .security_groups()
            .flat_map(|group| &group.security_group_rules)
        {
            if !rules.insert(rule.id) {
                return Err(InventoryError::Duplicate {
                    kind: Kind::SecurityGroupRule,
                    id: rule.id,
                });
            }
        }
        for port in inventory.ports.values().map(|entry| &entry.0) {
            for group in &port.security_groups {
                let members = inventory.members.entry(*group).or_default();
                // Ports come one after the other.
                if members.last() == Some(&port.id) {
                    return Err(InventoryError::GroupNamedTwice {
                        port: port.id,
                        group: *group,
                    });
                }
                members.push(port.id);
            }
        }
        Ok(inventory)
    }

    /// All ports, in the order of their ids.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.values().map(|entry| &entry.0)
    }

    /// All security groups, in the order of their ids.
    pub fn security_groups(&self) -> impl Iterator<Item = &SecurityGroup> {
        self.security_groups.values().map(|entry| &entry.0)
    }

    /// A port by id.
    pub fn port(&self, id: Uuid) -> Option<&Port> {
        self.ports.get(&id).map(|entry| &entry.0)
    }

    /// The ports that are in a security group, in the order of their ids.
    pub fn members(&self, group: Uuid) -> impl Iterator<Item = &Port> {
        let members = self.members.get(&group).into_iter().flatten();
        members.filter_map(|id| self.port(*id))
    }

    /// A security group by id.
    pub fn security_group(&self, id: Uuid) -> Option<&SecurityGroup> {
        self.security_groups.get(&id).map(|entry| &entry.0)
    }

    /// An address group by id.
    pub fn address_group(&self, id: Uuid) -> Option<&AddressGroup> {
        self.address_groups.get(&id).map(|entry| &entry.0)
    }

    /// The network that a port is on, if the inventory knows it.
    pub fn network_of(&self, port: Uuid) -> Option<&Network> {
        let id = self.written_port(port)?["network_id"].as_str()?;
        let network = self.networks.get(&Uuid::try_parse(id).ok()?)?;
        Some(&network.0)
    }

    /// A port as it was written.
    pub fn written_port(&self, id: Uuid) -> Option<&Value> {
        self.ports.get(&id).map(|entry| &entry.1)
    }

    /// The networks as they were written.
    pub fn written_networks(&self) -> impl Iterator<Item = &Value> {
        self.networks.values().map(|entry| &entry.1)
    }

    /// The ports as they were written.
    pub fn written_ports(&self) -> impl Iterator<Item = &Value> {
        self.ports.values().map(|entry| &entry.1)
    }

    /// The security groups as they were written.
    pub fn written_security_groups(&self) -> impl Iterator<Item = &Value> {
        self.security_groups.values().map(|entry| &entry.1)
    }

    /// The rules of all groups as they were written, each with its group and project, which an
    /// inventory may leave out.
    pub fn written_rules(&self) -> impl Iterator<Item = Value> {
        self.written_security_groups().flat_map(|group| {
            let rules = group["security_group_rules"].as_array();
            let rules = rules.into_iter().flatten();
            rules.map(move |rule| rule_of(rule, group))
        })
    }

    /// The address groups as they were written.
    pub fn written_address_groups(&self) -> impl Iterator<Item = &Value> {
        self.address_groups.values().map(|entry| &entry.1)
    }
}

/// A rule with its group and project.
fn rule_of(rule: &Value, group: &Value) -> Value {
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

/// Objects by id, refusing an id that is there twice.
fn by_id<T: DeserializeOwned>(
    kind: Kind,
    objects: Vec<&RawValue>,
    before: &ById<T>,
    id: impl Fn(&T) -> Uuid,
) -> Result<ById<T>, InventoryError> {
    let mut map = BTreeMap::new();
    for (position, text) in objects.into_iter().enumerate() {
        let refused = |id: Option<&str>, cause| InventoryError::Object {
            kind,
            object: match id {
                Some(id) => id.to_owned(),
                None => format!("number {}", position + 1),
            },
            cause,
        };
        let written: Value = serde_json::from_str(text.get()).map_err(|e| refused(None, e))?;
        let name = written["id"].as_str();
        let known = name.and_then(|name| before.get(&name.parse().ok()?));
        let entry = if let Some(known) = known.filter(|known| known.1 == written) {
            Arc::clone(known)
        } else {
            let object = T::deserialize(&written).map_err(|e| refused(name, e))?;
            Arc::new((object, written))
        };
        let id = id(&entry.0);
        if map.insert(id, entry).is_some() {
            return Err(InventoryError::Duplicate { kind, id });
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = include_str!("../tests/fixtures/inventory.json");

    #[test]
    fn the_recorded_inventory_is_read_whole() {
        let inventory = Inventory::parse(RECORDED).unwrap();
        assert_eq!(inventory.ports().count(), 5);
        assert_eq!(inventory.security_groups().count(), 3);
        assert_eq!(inventory.written_address_groups().count(), 1);
        for group in inventory.security_groups() {
            let is_in = |port: &&Port| port.security_groups.contains(&group.id);
            let members = inventory.ports().filter(is_in);
            assert!(inventory.members(group.id).eq(members));
        }
        let vm3 = inventory.ports().find(|port| port.name == "vm3").unwrap();
        let addresses: Vec<String> = vm3.addresses().map(|a| a.to_string()).collect();
        assert_eq!(
            addresses,
            [
                "10.1.0.13/32",
                "fd01::13/128",
                "10.1.0.200/32",
                "10.1.0.201/32"
            ]
        );
    }

    #[test]
    fn objects_are_shown_as_they_were_read() {
        let document: Value = serde_json::from_str(RECORDED).unwrap();
        let inventory = Inventory::parse(RECORDED).unwrap();
        assert!(
            document["ports"]
                .as_array()
                .unwrap()
                .iter()
                .eq(inventory.written_ports())
        );
        let groups = document["security_groups"].as_array().unwrap();
        assert!(groups.iter().eq(inventory.written_security_groups()));
    }

    #[test]
    fn a_bad_document_is_refused_with_the_object_and_the_cause() {
        let group = |id: &str| {
            format!(r#"{{"id":"5e000000-0000-4000-8000-00000000000{id}","project_id":"p"}}"#)
        };
        let port = r#"{"id":"11111111-0000-4000-8000-000000000001","project_id":"p","security_groups":
            ["5e000000-0000-4000-8000-000000000001","5e000000-0000-4000-8000-000000000001"]}"#;
        let cases = [
            ("not json".to_owned(), "line 1"),
            (
                format!(r#"{{"security_groups":[{},{}]}}"#, group("1"), group("1")),
                "000000000001 is there twice",
            ),
            (
                format!(r#"{{"ports":[{port}]}}"#),
                "names security group 5e000000-0000-4000-8000-000000000001 twice",
            ),
            (
                r#"{"networks":[{"id":"2e000000-0000-4000-8000-000000000001"}]}"#.to_owned(),
                "network 2e000000-0000-4000-8000-000000000001: missing field `project_id`",
            ),
            (
                r#"{"ports":[{"id":"11111111-0000-4000-8000-000000000001"}]}"#.to_owned(),
                "port 11111111-0000-4000-8000-000000000001: missing field `project_id`",
            ),
        ];
        for (document, expected) in cases {
            let error = Inventory::parse(&document).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
