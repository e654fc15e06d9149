//! What the agent wants to know of the database: which interfaces are on which
//! bridge, and which Neutron port each belongs to.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use uuid::Uuid;

use super::replica::{Replica, Row};
use super::schema::{BRIDGE, INTERFACE, PORT};

/// The interfaces of every bridge. Two topologies are equal if nothing that
/// the agent sees differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    bridges: BTreeMap<String, Vec<Interface>>,
}

/// An interface on a bridge (ovs-vswitchd.conf.db(5), table `Interface`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The row. A device that is plugged again has a new one.
    pub uuid: Uuid,
    /// The device, such as `tap0d1c2b3a-4f`.
    pub name: String,
    /// The type: empty for a device of the system, or `patch`, `internal`,
    /// `vxlan` and so on.
    pub kind: String,
    /// The Neutron port (`external_ids:iface-id`).
    pub iface_id: Option<String>,
    /// The MAC address of the virtual machine (`external_ids:attached-mac`).
    pub attached_mac: Option<String>,
    /// The OpenFlow port number; `None` until ovs-vswitchd has given one, and
    /// if it could not.
    pub ofport: Option<u32>,
    /// Whether the device is administratively up.
    pub admin_up: bool,
    /// Whether the device has a carrier.
    pub link_up: bool,
    /// Why ovs-vswitchd could not set the interface up.
    pub error: Option<String>,
    /// Whether another interface of the bridge stands for the same Neutron
    /// port. Of several the one counts that has a number, then the one with a
    /// carrier, then the one that was there first.
    pub shadowed: bool,
}

impl Topology {
    /// The names of the bridges, sorted.
    pub fn bridges(&self) -> impl Iterator<Item = &str> {
        self.bridges.keys().map(String::as_str)
    }

    /// Whether there is a bridge of this name.
    pub fn has_bridge(&self, bridge: &str) -> bool {
        self.bridges.contains_key(bridge)
    }

    /// The interfaces of a bridge, sorted by name; none if there is no such
    /// bridge.
    pub fn ports(&self, bridge: &str) -> impl Iterator<Item = &Interface> {
        self.bridges.get(bridge).into_iter().flatten()
    }

    /// The interface of a bridge that stands for a Neutron port.
    pub fn port(&self, bridge: &str, iface_id: &str) -> Option<&Interface> {
        self.ports(bridge)
            .find(|port| !port.shadowed && port.iface_id.as_deref() == Some(iface_id))
    }
}

impl From<&Replica> for Topology {
    fn from(replica: &Replica) -> Self {
        let bridges = replica.rows(&BRIDGE).map(|(_, bridge)| {
            let name = bridge.text("name").unwrap_or_default().to_owned();
            (name, interfaces(replica, bridge))
        });
        Self {
            bridges: bridges.collect(),
        }
    }
}

/// The interfaces of the ports of a bridge. Only the references from above
/// tell: an interface does not know its bridge.
fn interfaces(replica: &Replica, bridge: &Row) -> Vec<Interface> {
    let mut found: Vec<(u64, Interface)> = bridge
        .references("ports")
        .filter_map(|port| replica.row(&PORT, port))
        .flat_map(|port| port.references("interfaces"))
        .filter_map(|uuid| Some((uuid, replica.row(&INTERFACE, uuid)?)))
        .map(|(uuid, row)| (row.since, interface(uuid, row)))
        .collect();
    // The one that counts for its Neutron port comes first.
    found.sort_by(|(since, a), (than, b)| {
        let rank = |interface: &Interface| Reverse((interface.ofport.is_some(), interface.link_up));
        (&a.iface_id, rank(a), since, &a.name).cmp(&(&b.iface_id, rank(b), than, &b.name))
    });
    let mut last = None;
    for (_, interface) in &mut found {
        interface.shadowed = interface.iface_id.is_some() && interface.iface_id == last;
        last.clone_from(&interface.iface_id);
    }
    let mut interfaces: Vec<Interface> = found.into_iter().map(|(_, found)| found).collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    interfaces
}

fn interface(uuid: Uuid, row: &Row) -> Interface {
    let external_id = |key| {
        row.pair("external_ids", key)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    };
    Interface {
        uuid,
        name: row.text("name").unwrap_or_default().to_owned(),
        kind: row.text("type").unwrap_or_default().to_owned(),
        iface_id: external_id("iface-id"),
        attached_mac: external_id("attached-mac"),
        ofport: row
            .integer("ofport")
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number != 0),
        admin_up: row.text("admin_state") == Some("up"),
        link_up: row.text("link_state") == Some("up"),
        error: row.text("error").map(str::to_owned),
        shadowed: false,
    }
}
