//! A host with many ports, their security group, and a log object that wants everything.

use std::sync::Arc;

use arc_swap::ArcSwap;
use netlog_agent::pipeline::{Parts, Pipeline};
use netlog_core::classify::Tables;
use netlog_core::flow::AttachedPort;
use netlog_core::inventory::Inventory;
use netlog_core::ledger::Ledger;
use netlog_core::log::LogObject;
use netlog_core::plan::plan;
use netlog_core::record::{Format, Recorder};
use netlog_sink::Handle;
use serde_json::{Value, json};
use uuid::Uuid;

const PROJECT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
const GROUP: Uuid = Uuid::from_u128(0x5e00_0000_0000_4000_8000_0000_0000_0001);
const LOG: Uuid = Uuid::from_u128(0xd1c2_b3a4_0000_4000_8000_0000_0000_0001);

/// The id of the port with this slot.
const fn port_id(slot: u32) -> Uuid {
    Uuid::from_u128(0x4f2b_6f0e_3b6b_4b53_8a6f_0000_0000_0000 | slot as u128)
}

/// The inventory: so many ports, all in one group whose rules are of every kind.
fn inventory(ports: u32) -> Result<Inventory, Box<dyn std::error::Error>> {
    let mut number = 0_u32;
    let mut rule = |direction: &str, ethertype: &str, more: Value| {
        number += 1;
        let mut rule = json!({
            "id": Uuid::from_u128(0x4e00_0000_0000_4000_8000_0000_0000_0000 | u128::from(number)),
            "security_group_id": GROUP, "project_id": PROJECT,
            "direction": direction, "ethertype": ethertype, "protocol": null,
            "port_range_min": null, "port_range_max": null, "remote_ip_prefix": null,
            "remote_group_id": null, "remote_address_group_id": null,
        });
        if let (Value::Object(rule), Value::Object(more)) = (&mut rule, more) {
            rule.extend(more);
        }
        rule
    };
    let tcp =
        |port: u16| json!({"protocol": "tcp", "port_range_min": port, "port_range_max": port});
    let dns = json!({"protocol": "udp", "port_range_min": 53, "port_range_max": 53});
    let management = json!({
        "protocol": "tcp", "port_range_min": 22, "port_range_max": 22,
        "remote_ip_prefix": "192.0.2.0/24",
    });
    let rules = [
        rule("egress", "IPv4", json!({})),
        rule("egress", "IPv6", json!({})),
        rule("ingress", "IPv4", json!({"remote_group_id": GROUP})),
        rule("ingress", "IPv6", json!({"remote_group_id": GROUP})),
        rule("ingress", "IPv4", management),
        rule("ingress", "IPv4", tcp(80)),
        rule("ingress", "IPv4", tcp(443)),
        rule("ingress", "IPv4", dns),
        rule("ingress", "IPv6", json!({"protocol": "ipv6-icmp"})),
    ];
    let port = |slot: u32| {
        let [_, high, middle, low] = slot.to_be_bytes();
        json!({
            "id": port_id(slot), "project_id": PROJECT, "security_groups": [GROUP],
            "mac_address": format!("fa:16:3e:{high:02x}:{middle:02x}:{low:02x}"),
            "fixed_ips": [{"ip_address": format!("172.{}.{middle}.{low}", 16 + high)}],
        })
    };
    let document = json!({
        "security_groups": [{"id": GROUP, "project_id": PROJECT, "security_group_rules": rules}],
        "ports": (1..=ports).map(port).collect::<Vec<_>>(),
    });
    Ok(Inventory::parse(&document.to_string())?)
}

/// The data path with these tables, without limits.
pub fn pipeline(
    tables: &Arc<Tables>,
    format: Format,
    ledger: &Arc<Ledger>,
    sink: Handle,
) -> Pipeline {
    Pipeline::new(Parts {
        tables: Arc::new(ArcSwap::new(Arc::clone(tables))),
        ledger: Arc::clone(ledger),
        recorder: Recorder::new(format),
        limits: Arc::default(),
        sink,
        port_register: 5,
        seed: 7,
    })
}

/// The classifier's tables for so many ports. The port with slot n has ofport n.
///
/// # Errors
/// When the inventory cannot be read; this is a bug.
pub fn tables(
    ports: u32,
    format: Format,
    ledger: &Ledger,
) -> Result<Tables, Box<dyn std::error::Error>> {
    let inventory = inventory(ports)?;
    let plan = plan(&[LogObject::new(LOG, PROJECT)], &inventory);
    let attached: Vec<_> = (1..=ports)
        .map(|slot| AttachedPort {
            id: port_id(slot),
            slot,
            ofport: slot,
        })
        .collect();
    Ok(Tables::new(
        &plan,
        &Arc::new(inventory),
        &attached,
        format,
        ledger,
    ))
}
