//! `netlog-core`: what it costs to find out whose event a packet is. Ports, rules and members of
//! remote groups grow, in every combination; the cost of an event must not. Also what tables take
//! of memory, what it costs to make them, and to make the next ones after one change.
//!
//! The packets of a measurement are the same number in all sizes, 1,024, over at most as many
//! ports, and are looked up in groups as the agent does: what is compared is the work, not the
//! processor's caches. `cold` shows those: ports without any pattern, out of all there are. `miss`
//! is what one read that no cache holds costs on this machine, in as many bytes as a hundred thousand
//! ports have.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use netlog_agent::clock;
use netlog_benches::allocated_bytes;
use netlog_core::classify::{Classified, Observation, Scratch, Tables};
use netlog_core::flow::{AttachedPort, Cookie, FlowKind};
use netlog_core::inventory::Inventory;
use netlog_core::ledger::Ledger;
use netlog_core::log::LogObject;
use netlog_core::plan::{Planner, plan};
use netlog_core::record::Format;
use netlog_packet::{Network, Summary, Transport};
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

/// What is changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Nothing,
    /// The remote group has one member more.
    Member,
    /// The first group has another first rule.
    Rule,
    /// The first port has another address.
    Port,
}

/// The inventory as JSON. Members of the remote group are pairs of one port that is elsewhere.
fn inventory(size: Size, change: Change) -> Arc<Inventory> {
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
            let port = match (group, rule) {
                (0, 0) if change == Change::Rule => FIRST - 1,
                _ => FIRST + rule,
            };
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
        let ip = match port {
            0 if change == Change::Port => address(size.ports),
            _ => address(port),
        };
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
    for number in 0..size.members + u32::from(change == Change::Member) {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(json, r#"{comma}{{"ip_address":"{}"}}"#, member(number));
    }
    json.push_str("]}]}");
    Arc::new(Inventory::parse(&json).expect("an inventory"))
}

fn log() -> LogObject {
    LogObject::new(id(0x10, 1), "p")
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
    attached: Vec<AttachedPort>,
    ledger: Ledger,
    tables: Tables,
}

impl World {
    fn new(size: Size) -> Self {
        let inventory = inventory(size, Change::Nothing);
        let attached = attached(size);
        let ledger = Ledger::default();
        let plan = plan(&[log()], &inventory);
        let tables = Tables::new(&plan, &inventory, &attached, Format::default(), &ledger);
        Self {
            inventory,
            attached,
            ledger,
            tables,
        }
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

fn measure(c: &mut Criterion, group: &str, size: Size, count: u32) {
    let world = World::new(size);
    let packets = packets(size, count);
    let mut scratch = Scratch::default();
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Elements(1));
    let Size {
        ports,
        rules,
        members,
    } = size;
    let name = format!("{ports} ports, {rules} rules, {members} members");
    group.bench_function(BenchmarkId::from_parameter(name), |b| {
        let mut groups = packets.chunks(Tables::GROUP).cycle();
        b.iter_custom(|events| {
            let begin = clock::monotonic();
            let mut left = events;
            while left > 0 {
                let group = groups.next().expect("a cycle does not end");
                for (seen, _) in group {
                    world.tables.prefetch_ports(seen);
                }
                world
                    .tables
                    .prefetch(group.iter().map(|(seen, packet)| (seen, packet)));
                for (seen, packet) in group {
                    let classified = world.tables.classify(seen, packet, &mut scratch, |event| {
                        black_box(event.prefix);
                    });
                    assert_eq!(classified, Classified::Events(1));
                    assert!(scratch.suspects().is_empty());
                }
                left = left.saturating_sub(group.len() as u64);
            }
            clock::monotonic().saturating_sub(begin)
        });
    });
    group.finish();
}

fn classify(c: &mut Criterion) {
    for ports in [10, 1_000, 100_000] {
        for rules in [10, 1_000] {
            for members in [10, 10_000] {
                let size = Size {
                    ports,
                    rules,
                    members,
                };
                measure(c, "classify", size, PACKETS);
            }
        }
    }
    for ports in [10, 1_000, 10_000, 100_000] {
        measure(c, "cold", Size { ports, ..SMALL }, 1 << 18);
    }
    miss(c);
}

/// One read that no cache holds: each says where the next is.
fn miss(c: &mut Criterion) {
    const LINES: usize = 100_000;
    const WORDS: usize = 8;
    let mut order: Vec<usize> = (1..LINES).collect();
    order.sort_unstable_by_key(|line| scatter(u32::try_from(*line).unwrap_or(0)));
    let mut lines = vec![0_usize; LINES * WORDS];
    let mut at = 0;
    for line in order {
        lines[at] = line * WORDS;
        at = line * WORDS;
    }
    c.bench_function("miss", |b| {
        let mut at = 0;
        b.iter(|| at = black_box(lines[at]));
    });
}

/// The bytes that stay allocated for what `make` returns.
fn bytes<T>(make: impl FnOnce() -> T) -> u64 {
    let before = allocated_bytes();
    let made = make();
    let held = allocated_bytes() - before;
    drop(made);
    held as u64
}

/// What plan, tables and counters take. This is printed, there is nothing to time.
fn memory(_: &mut Criterion) {
    let of = |size: Size| {
        let inventory = inventory(size, Change::Nothing);
        let attached = attached(size);
        bytes(|| {
            let ledger = Ledger::default();
            let plan = plan(&[log()], &inventory);
            let tables = Tables::new(&plan, &inventory, &attached, Format::default(), &ledger);
            (plan, ledger, tables)
        })
    };
    println!("memory of plan, tables and counters, bytes");
    for ports in [10, 10_000, 100_000] {
        println!("  {ports} ports: {}", of(Size { ports, ..SMALL }));
    }
    let each = |large: Size, more: u64| (of(large) - of(SMALL)) / more;
    let rules = Size {
        rules: 1_010,
        ..SMALL
    };
    // Only the groups of the ports are compiled, and each port has one of its own.
    let rule = each(rules, 1_000 * u64::from(SMALL.ports));
    println!("  a rule: {rule}");
    let members = Size {
        members: 10_010,
        ..SMALL
    };
    println!("  an address of a remote group: {}", each(members, 10_000));
}

/// Plan and tables from nothing, and after one change.
fn renew(c: &mut Criterion) {
    for ports in [10_000, 100_000] {
        let size = Size {
            ports,
            rules: 100,
            members: 10_000,
        };
        let mut group = c.benchmark_group(format!("tables of {ports} ports"));
        group.sample_size(10);
        let world = World::new(size);
        let one = LogObject {
            target_id: Some(id(0x11, 0)),
            ..LogObject::new(id(0x10, 2), "p")
        };
        let logs = [log(), one.clone()];

        group.bench_function("from nothing", |b| {
            b.iter(|| {
                let plan = plan(&logs, &world.inventory);
                let (inventory, ledger) = (&world.inventory, &world.ledger);
                Tables::new(&plan, inventory, &world.attached, Format::default(), ledger)
            });
        });
        // Each iteration makes the change or takes it back.
        let mut change = |name: &str,
                          logs: [&[LogObject]; 2],
                          inventories: [&Arc<Inventory>; 2]| {
            let mut planner = Planner::default();
            planner.set_logs(logs[0].iter().cloned());
            let plan = planner.update(inventories[0]);
            let mut tables =
                world
                    .tables
                    .renew(plan, inventories[0], &world.attached, &world.ledger);
            let mut now = 0;
            group.bench_function(name, |b| {
                b.iter(|| {
                    now = 1 - now;
                    planner.set_logs(logs[now].iter().cloned());
                    let plan = planner.update(inventories[now]);
                    tables = tables.renew(plan, inventories[now], &world.attached, &world.ledger);
                });
            });
        };
        let off = [
            log(),
            LogObject {
                enabled: false,
                ..one
            },
        ];
        let same = [&world.inventory; 2];
        change("a log object of one port", [&logs, &off], same);
        let none = [LogObject {
            enabled: false,
            ..log()
        }];
        change("a log object of every port", [&logs[..1], &none], same);
        for (name, what) in [
            ("a port", Change::Port),
            ("a rule", Change::Rule),
            ("a member of a group of 10,000", Change::Member),
        ] {
            let changed = inventory(size, what);
            change(name, [&logs; 2], [&world.inventory, &changed]);
        }
        group.bench_function("a port gets another ofport", |b| {
            let mut moved = world.attached.clone();
            moved[0].ofport = OFPORTS - 2;
            let plan = plan(&logs, &world.inventory);
            let inventory = &world.inventory;
            b.iter(|| world.tables.renew(&plan, inventory, &moved, &world.ledger));
        });
        group.finish();
    }
}

criterion_group!(benches, memory, classify, renew);
criterion_main!(benches);
