//! The second site: what the first one has no example of.
//!
//! ```text
//!   web1 web2 db1 lb1 free1 bare1   web3 odd1 six1 peer1      extb        extg
//!    3    11  12  20   21    33      34   40   57   260        1           2
//!  ┌─┴────┴───┴───┴────┴─────┴───────┴────┴────┴────┴──┐  ┌────┴───────────┴──┐
//!  │ br-int                              90 int-br-phys ├──┤ 3 phy-br-phys     │
//!  └────────────────────────────────────────────────────┘  └──────────── br-phys┘
//!      VLAN 7 = blue = segment 207        VLAN 9 = green = segment 209
//! ```
//!
//! Both networks use `10.20.0.0/24` and `fd20::/64`, and some addresses are there twice.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::hosts::{BR_INT, BR_PHYS, Host};
use crate::topology::Topology;

const INVENTORY: &str = include_str!("second/inventory.json");
/// The flows of `br-int`.
pub(crate) const BR_INT_FLOWS: &str = include_str!("second/br-int.flows");
/// The flows that come on top where `explicitly_egress_direct` is set.
pub(crate) const EGRESS_DIRECT_FLOWS: &str = include_str!("second/explicitly-egress-direct.flows");

/// The site with these flows on `br-int`.
pub(crate) const fn topology(br_int: &'static [&'static str]) -> Topology {
    Topology {
        hosts: &HOSTS,
        patch: 90,
        br_int,
        br_phys: include_str!("second/br-phys.flows"),
        inventory: INVENTORY,
    }
}

/// A network of the site.
struct Network {
    id: &'static str,
    vlan: u16,
    segment: u16,
    /// The fifth byte of its hosts' MAC addresses.
    mac: u8,
}

const BLUE: Network = Network {
    id: "000000e2-0000-4000-8000-000000000007",
    vlan: 7,
    segment: 207,
    mac: 0xb0,
};
const GREEN: Network = Network {
    id: "000000e2-0000-4000-8000-000000000009",
    vlan: 9,
    segment: 209,
    mac: 0x60,
};

const fn vm(
    net: &Network,
    last: [u8; 2],
    ofport: u16,
    name: &'static str,
    port_id: &'static str,
) -> Host {
    let [mac, address] = last;
    Host {
        name,
        mac: [0xfa, 0x16, 0x3e, 0x20, net.mac, mac],
        v4: Ipv4Addr::new(10, 20, 0, address),
        // fd20::11 and so on: the decimal digits, read as hexadecimal.
        v6: Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 0, 0x10 + (address - 10) as u16),
        bridge: BR_INT,
        ofport,
        tag: net.vlan,
        segment: net.segment,
        port_id,
        network_id: net.id,
        pairs: &[],
    }
}

const fn outside(net: &Network, ofport: u16, name: &'static str) -> Host {
    Host {
        name,
        mac: [0xfa, 0x16, 0x3e, 0x20, net.mac, 0x64],
        v4: Ipv4Addr::new(10, 20, 0, 100),
        v6: Ipv6Addr::new(0xfd20, 0, 0, 0, 0, 0, 0, 0x100),
        bridge: BR_PHYS,
        ofport,
        tag: net.segment,
        segment: net.segment,
        port_id: "",
        network_id: net.id,
        pairs: &[],
    }
}

/// An address of db1's allowed address pair, which is a prefix.
const DB1_PAIR: ([u8; 6], Ipv4Addr) = (
    [0xfa, 0x16, 0x3e, 0x20, 0xb0, 0x13],
    Ipv4Addr::new(10, 20, 0, 200),
);
/// lb1's allowed address pair, with another MAC address.
const LB1_PAIR: ([u8; 6], Ipv4Addr) = (
    [0xfa, 0x16, 0x3e, 0x20, 0xb0, 0x99],
    Ipv4Addr::new(10, 20, 0, 140),
);

/// Everybody in the lab, as in `second/inventory.json` and `second/host.json`.
#[rustfmt::skip]
static HOSTS: [Host; 12] = [
    vm(&BLUE, [0x11, 11], 3, "web1", "00000702-0000-4000-8000-000000000011"),
    vm(&BLUE, [0x12, 12], 11, "web2", "00000702-0000-4000-8000-000000000012"),
    Host { pairs: &[DB1_PAIR], ..vm(&BLUE, [0x13, 13], 12, "db1", "00000702-0000-4000-8000-000000000013") },
    Host { pairs: &[LB1_PAIR], ..vm(&BLUE, [0x14, 14], 20, "lb1", "00000702-0000-4000-8000-000000000014") },
    vm(&BLUE, [0x15, 15], 21, "free1", "00000702-0000-4000-8000-000000000015"),
    vm(&BLUE, [0x16, 16], 33, "bare1", "00000702-0000-4000-8000-000000000016"),
    vm(&GREEN, [0x21, 11], 34, "web3", "00000702-0000-4000-8000-000000000021"),
    vm(&GREEN, [0x22, 12], 40, "odd1", "00000702-0000-4000-8000-000000000022"),
    vm(&GREEN, [0x23, 13], 57, "six1", "00000702-0000-4000-8000-000000000023"),
    vm(&GREEN, [0x24, 14], 260, "peer1", "00000702-0000-4000-8000-000000000024"),
    outside(&BLUE, 1, "extb"),
    outside(&GREEN, 2, "extg"),
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::SECOND;

    /// The table repeats what the files say.
    #[test]
    fn the_vms_are_those_of_the_inventory() {
        let inventory: Value = serde_json::from_str(INVENTORY).unwrap();
        let here: Value = serde_json::from_str(include_str!("second/host.json")).unwrap();
        let ports = inventory["ports"].as_array().unwrap();
        let ofports = here["ofports"].as_object().unwrap();
        assert_eq!(ofports.len(), SECOND.vms().count());
        assert_eq!(here["patch"], SECOND.patch);
        for vm in SECOND.vms() {
            let port = ports.iter().find(|port| port["name"] == vm.name).unwrap();
            let network = &here["networks"][vm.network_id];
            assert_eq!(ofports[vm.name], vm.ofport);
            assert_eq!(
                (&network["vlan"], &network["segment"]),
                (&vm.tag.into(), &vm.segment.into())
            );
            assert_eq!(port["id"], vm.port_id);
            assert_eq!(port["network_id"], vm.network_id);
            assert_eq!(port["mac_address"], vm.mac_text());
            assert_eq!(port["fixed_ips"][0]["ip_address"], vm.v4.to_string());
            assert_eq!(port["fixed_ips"][1]["ip_address"], vm.v6.to_string());
        }
    }
}
