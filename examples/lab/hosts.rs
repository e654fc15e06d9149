//! Who is in a lab: VMs on `br-int`, and hosts beyond `br-phys`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{FIRST, LabError};

/// The integration bridge, which Neutron's firewall programs.
pub const BR_INT: &str = "br-int";
/// The bridge to the physical network.
pub const BR_PHYS: &str = "br-phys";

/// Internet protocol, version 4 or 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A VM, or a host outside. Its only interface, in its own namespace, is
/// [`Host::INTERFACE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// `vm1` to `vm5`, `ext1`, `ext2` in the first site.
    pub name: &'static str,
    /// MAC address.
    pub mac: [u8; 6],
    /// IPv4 address, in a /24.
    pub v4: Ipv4Addr,
    /// IPv6 address, in a /64.
    pub v6: Ipv6Addr,
    /// The bridge that its port is on.
    pub bridge: &'static str,
    /// The OpenFlow port number there.
    pub ofport: u16,
    /// The VLAN of that port: Neutron's local VLAN on `br-int`, the
    /// segmentation id on `br-phys`.
    pub tag: u16,
    /// The segmentation id of its network.
    pub segment: u16,
    /// The Neutron port's UUID; empty for a host outside.
    pub port_id: &'static str,
    /// The Neutron network's UUID.
    pub network_id: &'static str,
    /// Further addresses that it may use, each with its MAC address: its allowed address pairs.
    pub pairs: &'static [([u8; 6], Ipv4Addr)],
}

impl Host {
    /// The name of a host's interface inside its namespace.
    pub const INTERFACE: &str = "eth0";

    /// The name of the switch's end of the cable. It exists only in the
    /// switch's namespace, so it needs to be unique in one lab only.
    pub fn device(&self) -> String {
        format!("tap{}", self.name)
    }

    /// The host's address of that family.
    pub const fn address(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => IpAddr::V4(self.v4),
            Family::V6 => IpAddr::V6(self.v6),
        }
    }

    /// The MAC address as text.
    pub fn mac_text(&self) -> String {
        mac_text(self.mac)
    }

    /// Whether this is a VM, with a Neutron port, on `br-int`.
    pub const fn is_vm(&self) -> bool {
        !self.port_id.is_empty()
    }
}

/// A MAC address as Neutron and Open vSwitch write it.
pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

const NET1: &str = "00000001-1111-4000-8000-000000000001";
const NET2: &str = "00000002-2222-4000-8000-000000000002";

const fn vm(
    n: u8,
    net: u8,
    network_id: &'static str,
    name: &'static str,
    port_id: &'static str,
) -> Host {
    Host {
        name,
        mac: [0xfa, 0x16, 0x3e, 0, net, n],
        v4: Ipv4Addr::new(10, net, 0, 10 + n),
        v6: Ipv6Addr::new(0xfd00 + net as u16, 0, 0, 0, 0, 0, 0, 0x10 + n as u16),
        bridge: BR_INT,
        ofport: n as u16,
        tag: net as u16,
        segment: 100 + net as u16,
        port_id,
        network_id,
        pairs: &[],
    }
}

const fn outside(net: u8, network_id: &'static str, name: &'static str) -> Host {
    Host {
        name,
        mac: [0xfa, 0x16, 0x3e, 0, net, 0x64],
        v4: Ipv4Addr::new(10, net, 0, 100),
        v6: Ipv6Addr::new(0xfd00 + net as u16, 0, 0, 0, 0, 0, 0, 0x100),
        bridge: BR_PHYS,
        ofport: net as u16,
        tag: 100 + net as u16,
        segment: 100 + net as u16,
        port_id: "",
        network_id,
        pairs: &[],
    }
}

/// Everybody in the first site's lab, as in `pipeline/inventory.json`.
pub static HOSTS: [Host; 7] = [
    vm(1, 1, NET1, "vm1", "11111111-0000-4000-8000-000000000001"),
    vm(2, 1, NET1, "vm2", "11111111-0000-4000-8000-000000000002"),
    Host {
        pairs: &[VM3_PAIR, VM3_OTHER_PAIR],
        ..vm(3, 1, NET1, "vm3", "11111111-0000-4000-8000-000000000003")
    },
    vm(4, 1, NET1, "vm4", "11111111-0000-4000-8000-000000000004"),
    vm(5, 2, NET2, "vm5", "11111111-0000-4000-8000-000000000005"),
    outside(1, NET1, "ext1"),
    outside(2, NET2, "ext2"),
];

/// An allowed address pair of vm3 with its own MAC address.
pub const VM3_PAIR: ([u8; 6], Ipv4Addr) =
    ([0xfa, 0x16, 0x3e, 0, 1, 3], Ipv4Addr::new(10, 1, 0, 200));
/// An allowed address pair of vm3 with another MAC address.
pub const VM3_OTHER_PAIR: ([u8; 6], Ipv4Addr) = (
    [0xfa, 0x16, 0x3e, 0, 0x99, 0x99],
    Ipv4Addr::new(10, 1, 0, 201),
);

/// The host of that name in the first site's lab.
pub fn host(name: &str) -> Result<&'static Host, LabError> {
    FIRST.host(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table repeats what the inventory file says.
    #[test]
    fn the_vms_are_those_of_the_inventory() {
        let inventory: serde_json::Value = serde_json::from_str(crate::INVENTORY).unwrap();
        let ports = inventory["ports"].as_array().unwrap();
        let vms: Vec<&Host> = HOSTS.iter().filter(|host| host.is_vm()).collect();
        assert_eq!(ports.len(), vms.len());
        for (port, vm) in ports.iter().zip(vms) {
            assert_eq!(port["name"], vm.name);
            assert_eq!(port["id"], vm.port_id);
            assert_eq!(port["network_id"], vm.network_id);
            assert_eq!(port["mac_address"], vm.mac_text());
            assert_eq!(port["fixed_ips"][0]["ip_address"], vm.v4.to_string());
            assert_eq!(port["fixed_ips"][1]["ip_address"], vm.v6.to_string());
        }
        let pairs = &ports[2]["allowed_address_pairs"];
        for (pair, (mac, address)) in [(&pairs[0], VM3_PAIR), (&pairs[1], VM3_OTHER_PAIR)] {
            assert_eq!(pair["mac_address"], mac_text(mac));
            assert_eq!(pair["ip_address"], address.to_string());
        }
    }
}
