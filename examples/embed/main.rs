//! The crates without a switch: from a frame and a verdict to a record.
//!
//! ```sh
//! cargo run --package netlog-examples --example embed
//! ```

use std::sync::Arc;

use netlog_core::classify::{Observation, Scratch, Tables};
use netlog_core::flow::{AttachedPort, Cookie, FlowKind};
use netlog_core::inventory::Inventory;
use netlog_core::ledger::Ledger;
use netlog_core::log::LogObject;
use netlog_core::plan::plan;
use netlog_core::record::{Format, Recorder, Timestamp};
use netlog_packet::Packet;
use uuid::Uuid;

/// A TCP SYN from 10.1.0.100 to port 22 of vm1 (10.1.0.11).
const SYN: &[u8] = &[
    0xfa, 0x16, 0x3e, 0x00, 0x01, 0x01, 0xfa, 0x16, 0x3e, 0x00, 0x01, 0x64, 0x08,
    0x00, // Ethernet
    0x45, 0x00, 0x00, 0x28, 0x12, 0x34, 0x40, 0x00, 0x40, 0x06, 0x13, 0x24, // IPv4
    10, 1, 0, 100, 10, 1, 0, 11, // addresses
    0x9c, 0x40, 0x00, 0x16, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xfa, 0xf0, 0, 0, 0, 0, // TCP
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Who is there, and what is asked for.
    let inventory = Arc::new(Inventory::parse(netlog_lab::INVENTORY)?);
    let vm1 = inventory
        .ports()
        .next()
        .ok_or("the inventory has no port")?;
    let log = LogObject::new(Uuid::from_u128(1), &*vm1.project_id);

    // Tables for the ports that are attached to a switch: vm1 at OpenFlow port 1.
    let format = Format::default();
    let ledger = Ledger::default();
    let attached = [AttachedPort {
        id: vm1.id,
        slot: 1,
        ofport: 1,
    }];
    let plan = plan([&log], &inventory);
    let tables = Tables::new(&plan, &inventory, &attached, format, &ledger);

    // What a switch says of a packet that was let in to vm1 through its port 6.
    let seen = Observation {
        cookie: Cookie {
            kind: FlowKind::IngressAccept,
            slot: 1,
        },
        in_port: 6,
        port_register: Some(1),
        ct_state: None,
        ct_mark: None,
    };
    let packet = Packet::decode(SYN);

    let mut recorder = Recorder::new(format);
    let mut records = Vec::new();
    tables.classify(&seen, &packet.summary(), &mut Scratch::default(), |event| {
        let time = Timestamp {
            unix_nanos: 1_525_511_107_000_000_000,
            utc_offset: 0,
        };
        recorder.write(time, &event.prefix, &packet, &mut records);
    });
    print!("{}", String::from_utf8(records)?);
    Ok(())
}
