//! `netlog-core`: what it costs to find out whose event a packet is. Ports, rules and members of
//! remote groups grow; the cost of an event must not. Also what it costs to make the tables, and
//! to make the next ones after one change.
//!
//! The packets of a measurement are the same number in all sizes, 1,024, over at most as many
//! ports: what is compared is the work, not the processor's caches. `cold` shows those: ports
//! without any pattern, out of all there are.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netlog_core::classify::{Classified, Observation, Scratch, Tables};
use netlog_core::flow::{AttachedPort, Cookie, FlowKind};
use netlog_core::inventory::Inventory;
use netlog_core::ledger::Ledger;
use netlog_core::log::{LogObject, LoggedEvent};
use netlog_core::plan::{Plan, Planner, SECURITY_GROUP};
use netlog_core::record::Format;
use netlog_packet::{Network, Summary, Transport};
use time::UtcDateTime;
use uuid::Uuid;

/// How much there is of everything.
#[derive(Clone, Copy)]
struct Size {
    /// Ports on the bridge; each has one of a hundred groups.
    ports: u32,
    /// Rules of each group, each for a destination port of its own.
    rules: u16,
    /// Addresses in the remote group that every second rule names.
    members: u32,
}

const SMALL: Size = Size {
    ports: 10,
    rules: 10,
    members: 10,
};

const GROUPS: u32 = 100;
const PACKETS: u32 = 1024;
/// First destination port that a rule allows.
const FIRST: u16 = 1000;
/// The most ports that a bridge can number.
const OFPORTS: u32 = 0xff00;

fn id(kind: u32, number: u32) -> Uuid {
    Uuid::from_u64_pair(u64::from(kind) << 32, number.into())
}

/// The remote group that rules name.
const REMOTE: (u32, u32) = (0x5e, 1_000_000);

fn address(port: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a00_0000 + port)
}

fn member(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xac10_0000 + number)
}

/// The inventory as JSON. Members of the remote group are pairs of one port that is elsewhere.
fn inventory(size: Size, extra_member: bool) -> Arc<Inventory> {
    let mut json = String::from(r#"{"security_groups":["#);
    for group in 0..GROUPS {
        let comma = if group == 0 { "" } else { "," };
        let own = id(0x5e, group);
        let _ = write!(
            json,
            r#"{comma}{{"id":"{own}","project_id":"p","security_group_rules":["#
        );
        for rule in 0..size.rules {
            let comma = if rule == 0 { "" } else { "," };
            let rule_id = id(0x4e, group * 10_000 + u32::from(rule));
            let port = FIRST + rule;
            let remote = if rule % 2 == 0 {
                format!(r#""remote_group_id":"{}""#, id(REMOTE.0, REMOTE.1))
            } else {
                r#""remote_ip_prefix":"172.16.0.0/12""#.to_owned()
            };
            let _ = write!(
                json,
                r#"{comma}{{"id":"{rule_id}","direction":"ingress","ethertype":"IPv4","protocol":"tcp","port_range_min":{port},"port_range_max":{port},{remote}}}"#
            );
        }
        json.push_str("]}");
    }
    json.push_str(r#"],"ports":["#);
    for port in 0..size.ports {
        let own = id(0x11, port);
        let group = id(0x5e, port % GROUPS);
        let ip = address(port);
        let _ = write!(
            json,
            r#"{{"id":"{own}","project_id":"p","security_groups":["{group}"],"fixed_ips":[{{"ip_address":"{ip}"}}]}},"#
        );
    }
    let (own, group) = (id(0x11, u32::MAX), id(REMOTE.0, REMOTE.1));
    let _ = write!(
        json,
        r#"{{"id":"{own}","project_id":"q","security_groups":["{group}"],"allowed_address_pairs":["#
    );
    for number in 0..size.members + u32::from(extra_member) {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(json, r#"{comma}{{"ip_address":"{}"}}"#, member(number));
    }
    json.push_str("]}]}");
    Arc::new(Inventory::parse(&json).expect("an inventory"))
}

fn log() -> LogObject {
    LogObject {
        id: id(0x10, 1),
        project_id: "p".to_owned(),
        name: String::new(),
        description: String::new(),
        resource_type: SECURITY_GROUP.to_owned(),
        resource_id: None,
        target_id: None,
        event: LoggedEvent::All,
        enabled: true,
        revision_number: 0,
        created_at: UtcDateTime::UNIX_EPOCH,
        updated_at: UtcDateTime::UNIX_EPOCH,
    }
}

/// The ports on the bridge. A bridge numbers fewer than 100,000; the rest has the number of a
/// port that was there before, which is as good for what is measured: slots tell ports apart.
fn attached(size: Size) -> Vec<AttachedPort> {
    (0..size.ports)
        .map(|port| AttachedPort {
            id: id(0x11, port),
            slot: port,
            ofport: ofport(port),
        })
        .collect()
}

const fn ofport(port: u32) -> u32 {
    port % (OFPORTS - 2) + 1
}

struct World {
    inventory: Arc<Inventory>,
    planner: Planner,
    attached: Vec<AttachedPort>,
    ledger: Ledger,
    tables: Tables,
}

impl World {
    fn new(size: Size) -> Self {
        let inventory = inventory(size, false);
        let mut planner = Planner::default();
        let attached = attached(size);
        let ledger = Ledger::default();
        let plan = planner.update(&[log()], &inventory);
        let tables = Tables::new(plan, &inventory, &attached, Format::default(), &ledger);
        Self {
            inventory,
            planner,
            attached,
            ledger,
            tables,
        }
    }

    fn plan(&mut self) -> &Plan {
        self.planner.update(&[log()], &self.inventory)
    }
}

/// A number without pattern.
fn scatter(n: u32) -> u32 {
    let n = (n ^ (n >> 16)).wrapping_mul(0x7feb_352d);
    let n = (n ^ (n >> 15)).wrapping_mul(0x846c_a68b);
    n ^ (n >> 16)
}

/// Packets that ports accept, each by another of their rules and from another address.
fn packets(size: Size, count: u32) -> Vec<(Observation, Summary)> {
    (0..count)
        .map(|n| {
            let port = scatter(n) % size.ports;
            let rule = u16::try_from(scatter(n ^ 0x5555) % u32::from(size.rules)).unwrap_or(0);
            let seen = Observation {
                cookie: Cookie {
                    kind: FlowKind::IngressAccept,
                    slot: port,
                },
                in_port: OFPORTS - 1,
                port_register: Some(ofport(port)),
                ct_state: None,
                ct_mark: None,
            };
            let packet = Summary {
                network: Network::Ipv4 {
                    src: member(scatter(n ^ 0xaaaa) % size.members),
                    dst: address(port),
                },
                protocol: Some(6),
                transport: Transport::Tcp {
                    src_port: 40_000,
                    dst_port: FIRST + rule,
                    seq: n,
                    flags: 2,
                },
                ..Summary::default()
            };
            (seen, packet)
        })
        .collect()
}

fn measure(c: &mut Criterion, what: &str, parameter: u32, size: Size, count: u32) {
    let world = World::new(size);
    let packets = packets(size, count);
    let mut scratch = Scratch::default();
    let mut group = c.benchmark_group(format!("classify/{what}"));
    group.throughput(Throughput::Elements(1));
    group.bench_function(BenchmarkId::from_parameter(parameter), |b| {
        let mut next = packets.iter().cycle();
        b.iter(|| {
            let (seen, packet) = next.next().expect("a cycle does not end");
            let classified = world.tables.classify(seen, packet, &mut scratch, |event| {
                black_box(event.prefix);
            });
            assert_eq!(classified, Classified::Events(1));
            assert!(scratch.suspects().is_empty());
        });
    });
    group.finish();
}

fn classify(c: &mut Criterion) {
    for ports in [10, 1_000, 100_000] {
        measure(c, "ports", ports, Size { ports, ..SMALL }, PACKETS);
    }
    for rules in [10, 1_000] {
        let size = Size { rules, ..SMALL };
        measure(c, "rules", rules.into(), size, PACKETS);
    }
    for members in [10, 10_000] {
        measure(c, "members", members, Size { members, ..SMALL }, PACKETS);
    }
    let large = Size {
        ports: 100_000,
        rules: 1_000,
        members: 10_000,
    };
    measure(c, "all", 0, SMALL, PACKETS);
    measure(c, "all", 1, large, PACKETS);
    for ports in [10, 1_000, 100_000] {
        measure(c, "cold", ports, Size { ports, ..SMALL }, 1 << 18);
    }
}

/// Tables from nothing, and after one change.
fn renew(c: &mut Criterion) {
    let size = Size {
        ports: 10_000,
        rules: 100,
        members: 10_000,
    };
    let mut group = c.benchmark_group("tables");
    group.sample_size(10);

    let mut world = World::new(size);
    let plan = world.plan().clone();
    group.bench_function("from nothing", |b| {
        b.iter(|| {
            Tables::new(
                &plan,
                &world.inventory,
                &world.attached,
                Format::default(),
                &world.ledger,
            )
        });
    });
    group.bench_function("one port moves", |b| {
        let mut moved = world.attached.clone();
        moved[0].ofport = OFPORTS - 2;
        b.iter(|| {
            world
                .tables
                .renew(&plan, &world.inventory, &moved, &world.ledger)
        });
    });
    let changed = inventory(size, true);
    group.bench_function("a remote group of 10,000 gets one more", |b| {
        b.iter(|| {
            world
                .tables
                .renew(&plan, &changed, &world.attached, &world.ledger)
        });
    });
    let all = [log()];
    let mut off = [log()];
    off[0].enabled = false;
    group.bench_function("plan: a log of every port is disabled and enabled", |b| {
        b.iter(|| {
            black_box(world.planner.update(&off, &world.inventory).len());
            black_box(world.planner.update(&all, &world.inventory).len());
        });
    });
    group.finish();
}

criterion_group!(benches, classify, renew);
criterion_main!(benches);
