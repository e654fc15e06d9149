//! What a lab is built from: who is in it, how they are plugged, and the flows that Neutron
//! programs for them.

use crate::hosts::{HOSTS, Host};
use crate::{LabError, second};

/// A site to build a lab of.
#[derive(Debug)]
pub struct Topology {
    /// Everybody in the lab: the VMs on `br-int`, and the hosts beyond `br-phys`.
    pub hosts: &'static [Host],
    /// The OpenFlow port number on `br-int` of the patch port to `br-phys`.
    pub patch: u16,
    /// The recorded flows of `br-int`, in one piece or several.
    pub br_int: &'static [&'static str],
    /// The recorded flows of `br-phys`.
    pub br_phys: &'static str,
    /// Neutron's ports, security groups and address groups of the site, as JSON in the shape of
    /// Neutron's API.
    pub inventory: &'static str,
}

/// The first site: five VMs, with the flows and the inventory of `pipeline/`.
pub static FIRST: Topology = Topology {
    hosts: &HOSTS,
    patch: 6,
    br_int: &[include_str!("pipeline/br-int.flows")],
    br_phys: include_str!("pipeline/br-phys.flows"),
    inventory: crate::INVENTORY,
};

/// The second site: ten VMs of three projects on two networks whose subnets overlap, with the
/// flows and the inventory of `second/`.
pub static SECOND: Topology = second::topology(&[second::BR_INT_FLOWS]);

/// The second site where Neutron's option `explicitly_egress_direct` is set: accepted packets go
/// straight to where they have to, without learning addresses.
pub static SECOND_EGRESS_DIRECT: Topology =
    second::topology(&[second::BR_INT_FLOWS, second::EGRESS_DIRECT_FLOWS]);

impl Topology {
    /// The host of that name.
    pub fn host(&self, name: &str) -> Result<&'static Host, LabError> {
        let host = self.hosts.iter().find(|host| host.name == name);
        host.ok_or_else(|| LabError::UnknownHost(name.to_owned()))
    }

    /// The VMs, which have ports on `br-int`.
    pub fn vms(&self) -> impl Iterator<Item = &'static Host> {
        self.hosts.iter().filter(|host| host.is_vm())
    }

    /// The hosts of the same network, this one left out.
    pub fn neighbours(&self, of: &'static Host) -> impl Iterator<Item = &'static Host> {
        let near = move |other: &&Host| other.network_id == of.network_id && other.name != of.name;
        self.hosts.iter().filter(near)
    }
}
