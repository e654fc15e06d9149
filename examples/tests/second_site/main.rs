//! The second site, which has what the first has no example of, through the whole of netlog. What
//! must be logged is worked out from the rules by `rules.rs`, which knows nothing of netlog's
//! code. These tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod pipeline;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::Instant;

use netlog_lab::frames::{BROADCAST, Ends, arp_request, link_local};
use netlog_lab::{
    Agent, Family, Host, LIMIT, Lab, Options, Record, SECOND, SECOND_EGRESS_DIRECT, Topology, until,
};
use pipeline::Pipeline;
use rules::{Event, Log, Packet, Probe, Site};
use serde_json::{Value, json};

const ALPHA: &str = "0a000000000040008000000000000001";
const BETA: &str = "0b000000000040008000000000000002";
const GAMMA: &str = "0c000000000040008000000000000003";

const fn log(name: &'static str, project: &'static str, event: &'static str) -> Log {
    Log {
        name,
        project,
        resource: None,
        target: None,
        event,
        enabled: true,
    }
}

/// Overlapping scopes; nobody logs the group base, whose rules allow what web's allow too.
#[rustfmt::skip]
const LOGS: [Log; 8] = [
    Log { resource: Some("web"), ..log("web-all", ALPHA, "ALL") },
    log("alpha-drop", ALPHA, "DROP"),
    Log { target: Some("web2"), ..log("web2-accept", ALPHA, "ACCEPT") },
    Log { resource: Some("base"), enabled: false, ..log("base-disabled", ALPHA, "ALL") },
    log("beta-all", BETA, "ALL"),
    Log { resource: Some("odd"), ..log("odd-accept", GAMMA, "ACCEPT") },
    Log { resource: Some("peer"), target: Some("peer1"), ..log("peer1-all", GAMMA, "ALL") },
    log("gamma-drop", GAMMA, "DROP"),
];

/// What each host sends to each neighbour.
const IPV4: [Probe; 27] = [
    Probe::Tcp(22),
    Probe::Tcp(80),
    Probe::Tcp(443),
    Probe::Tcp(5000),
    Probe::Tcp(5432),
    Probe::Tcp(5433),
    Probe::Tcp(7000),
    Probe::Tcp(8050),
    Probe::Tcp(9050),
    Probe::Tcp(9100),
    Probe::Udp(53),
    Probe::Udp(161),
    Probe::Udp(2500),
    Probe::Udp(7500),
    Probe::Sctp(3868),
    Probe::Icmp(8, 0),
    Probe::Icmp(13, 0),
    // An answer that nobody asked for.
    Probe::Icmp(0, 0),
    Probe::Other(2),
    Probe::Other(4),
    Probe::Other(33),
    Probe::Other(47),
    Probe::Other(50),
    Probe::Other(51),
    Probe::Other(112),
    Probe::Other(113),
    Probe::Other(136),
];
const IPV6: [Probe; 10] = [
    Probe::Tcp(22),
    Probe::Tcp(80),
    Probe::Tcp(5432),
    Probe::Udp(1000),
    Probe::Icmpv6(128, 0),
    Probe::Icmpv6(129, 0),
    Probe::Other(50),
    Probe::Other(89),
    Probe::Other(103),
    Probe::Sctp(3868),
];

/// Packets of a round, by mark.
type Round = BTreeMap<u16, Packet>;

fn packet(from: &'static Host, to: &'static Host, family: Family, probe: Probe) -> Packet {
    Packet {
        from,
        to,
        source: from.address(family),
        destination: to.address(family),
        source_mac: from.mac,
        probe,
    }
}

/// The frame of a packet, told from others by its mark.
fn frame(packet: &Packet, source_port: u16, mark: u16) -> Vec<u8> {
    let ends = Ends {
        mac: (packet.source_mac, packet.to.mac),
        ip: (packet.source, packet.destination),
        mark,
    };
    match packet.probe {
        Probe::Tcp(port) => ends.syn(source_port, port),
        Probe::Udp(port) => ends.udp(source_port, port, b"datagram"),
        Probe::Icmp(kind, code) | Probe::Icmpv6(kind, code) => {
            let [high, low] = source_port.to_be_bytes();
            ends.icmp(kind, code, [high, low, 0, 1])
        }
        Probe::Sctp(port) => {
            // An INIT chunk (RFC 9260, 3.3.2) behind the common header.
            let mut segment = vec![0; 32];
            segment[..2].copy_from_slice(&source_port.to_be_bytes());
            segment[2..4].copy_from_slice(&port.to_be_bytes());
            segment[12..16].copy_from_slice(&[1, 0, 0, 20]);
            ends.protocol(132, &segment)
        }
        Probe::Other(number) => ends.protocol(number, &[0; 20]),
    }
    .unwrap()
}

/// The mark of the frame that a record tells of.
fn mark_of(record: &Record) -> u16 {
    let field = |name: &str| {
        record
            .line
            .split_once(name)?
            .1
            .split([',', ')'])
            .next()?
            .parse()
            .ok()
    };
    let mark = field("identification=").or_else(|| field("flow_label="));
    mark.unwrap_or_else(|| panic!("a record without a mark: {}", record.line))
}

/// A lab with an agent that logs for [`LOGS`], and what has to be expected of it.
struct Bench<'a> {
    lab: &'a Lab,
    agent: Agent<'a>,
    site: Site<'a>,
    /// The names of the log objects by id.
    names: BTreeMap<String, String>,
    /// How many packets must have passed each log flow, by table and match.
    log_flows: BTreeMap<(u8, String), u64>,
    /// Records seen so far.
    before: usize,
    marks: std::ops::RangeFrom<u16>,
    /// The source port, or identifier, of every packet: sessions between the same addresses of two
    /// networks differ in nothing else.
    source_port: u16,
}

fn start(topology: &'static Topology) -> Lab {
    let options = Options {
        topology,
        ..Options::default()
    };
    Lab::start(&options).unwrap_or_else(|error| panic!("{error}"))
}

impl<'a> Bench<'a> {
    fn new(lab: &'a Lab) -> Self {
        let agent = Agent::start(lab, "").unwrap();
        let site = Site {
            topology: lab.topology(),
            inventory: serde_json::from_str(lab.topology().inventory).unwrap(),
            logs: &LOGS,
        };
        let mut bench = Self {
            lab,
            agent,
            site,
            names: BTreeMap::new(),
            log_flows: BTreeMap::new(),
            before: 0,
            marks: 1..,
            source_port: 40_000,
        };
        for log in &LOGS {
            bench.create(log);
        }
        bench
    }

    fn create(&mut self, log: &Log) {
        let mut args = vec!["log", "create", "-f", "value", "-c", "ID"];
        args.extend([
            "--resource-type",
            "security_group",
            "--project",
            log.project,
        ]);
        args.extend(["--event", log.event]);
        args.push(if log.enabled { "--enable" } else { "--disable" });
        if let Some(group) = log.resource {
            args.extend(["--resource", self.site.id_of("security_groups", group)]);
        }
        if let Some(port) = log.target {
            args.extend(["--target", self.site.id_of("ports", port)]);
        }
        args.push(log.name);
        let id = self.agent.netlog_ok(&args).unwrap();
        self.names.insert(id.trim().to_owned(), log.name.to_owned());
    }

    /// Sends frames of one host, and returns the records since the last call, up to those of what
    /// was sent here.
    fn records_after(&mut self, from: &'static Host, mut frames: Vec<Vec<u8>>) -> Vec<Record> {
        /// No rule allows it.
        const FENCE: u16 = 60_000;
        // Each sender or receiver of it logs drops.
        let name = match (from.network_id == self.host("bare1").network_id, from.name) {
            (true, "bare1") => "web1",
            (true, _) => "bare1",
            (false, "odd1") => "web3",
            (false, _) => "odd1",
        };
        let fence = packet(from, self.host(name), Family::V4, Probe::Tcp(FENCE));
        self.expect_log_flow(&fence);
        let end = self.marks.next().unwrap();
        frames.push(frame(&fence, self.source_port, end));
        self.lab.send_frames(from.name, &frames).unwrap();
        let is_fence = |record: &Record| record.line.contains(&format!("dst_port={FENCE},"));
        let ends = |record: &Record| {
            is_fence(record) && mark_of(record) == end && record.event.starts_with("DROP")
        };
        let mut records = until(LIMIT, "the record of the fence", || {
            let records = self.agent.records()?.split_off(self.before);
            Ok(records.iter().any(ends).then_some(records))
        })
        .unwrap_or_else(|error| panic!("{error} from {}\n{:?}", from.name, self.agent.status()));
        self.before += records.len();
        records.retain(|record| !is_fence(record));
        records
    }

    /// Notes that a packet will pass its log flow.
    fn expect_log_flow(&mut self, packet: &Packet) {
        if let Some(flow) = self.site.log_flow(packet) {
            *self.log_flows.entry(flow).or_default() += 1;
        }
    }

    /// Sends packets of one host, and returns the events of each, by mark.
    fn send(&mut self, packets: &[Packet]) -> (Round, BTreeMap<u16, Vec<Event>>) {
        let round: Round = self.marks.by_ref().zip(packets.iter().copied()).collect();
        for packet in packets {
            self.expect_log_flow(packet);
        }
        let frames = round
            .iter()
            .map(|(mark, packet)| frame(packet, self.source_port, *mark));
        let records = self.records_after(packets[0].from, frames.collect());
        let mut told: BTreeMap<u16, Vec<Event>> = BTreeMap::new();
        for record in &records {
            let events = told.entry(mark_of(record)).or_default();
            events.push(self.event(record));
        }
        for events in told.values_mut() {
            events.sort();
        }
        (round, told)
    }

    /// What happened since the last call, in short, once everything that a host has sent is
    /// recorded: `ACCEPT:web1:out 07`, with the end of the rule's id or the reason.
    fn told_after(&mut self, from: &str, frames: Vec<Vec<u8>>) -> Vec<String> {
        let from = self.host(from);
        let records = self.records_after(from, frames);
        let short = |record: &Record| {
            let cause = record
                .cause
                .strip_prefix("000004e2-0000-4000-8000-0000000000");
            format!("{} {}", record.event, cause.unwrap_or(&record.cause))
        };
        let mut told: Vec<String> = records.iter().map(short).collect();
        told.sort();
        told
    }

    /// Sends packets of one host, and says where the records are not those that must be there.
    fn check(&mut self, packets: &[Packet], wrong: &mut Vec<String>) {
        let (round, mut told) = self.send(packets);
        for (mark, packet) in &round {
            let expected = self.site.events(packet);
            let got = told.remove(mark).unwrap_or_default();
            if got != expected {
                wrong.push(format!(
                    "{} -> {} {:?} ({} -> {}):\n  expected {expected:?}\n  got      {got:?}",
                    packet.from.name,
                    packet.to.name,
                    packet.probe,
                    packet.source,
                    packet.destination
                ));
            }
        }
        if !told.is_empty() {
            wrong.push(format!("nobody sent what these tell of: {told:?}"));
        }
    }

    fn host(&self, name: &str) -> &'static Host {
        self.lab.host(name).unwrap()
    }

    fn event(&self, record: &Record) -> Event {
        let project = record.line.split_once(" project_id=").unwrap().1;
        let name = |id: &String| self.names.get(id).unwrap_or(id).clone();
        Event {
            what: record.event.clone(),
            project: project.split(' ').next().unwrap().to_owned(),
            logs: record.logs.iter().map(name).collect(),
            cause: record.cause.clone(),
        }
    }
}

/// How many packets passed each of our log flows, by table and match.
fn passed_log_flows(lab: &Lab) -> BTreeMap<(u8, String), u64> {
    let mut passed = BTreeMap::new();
    for table in [91, 92, 93] {
        for flow in lab.flows(table).unwrap().lines() {
            let field = |name: &str| flow.split_once(name)?.1.split([',', ' ']).next();
            let ours = field("cookie=").is_some_and(|cookie| cookie.starts_with("0x6e4c"));
            let packets: u64 = field("n_packets=").map_or(0, |count| count.parse().unwrap());
            if ours && packets > 0 {
                let matches = field("priority=100,").or_else(|| field("priority=90,"));
                passed.insert((table, matches.unwrap().to_owned()), packets);
            }
        }
    }
    passed
}

/// Everybody sends everything to every neighbour.
fn every_packet_is_told_by_its_rules(topology: &'static Topology) {
    let lab = start(topology);
    let mut bench = Bench::new(&lab);
    let mut wrong = Vec::new();
    let mut sent = 0;
    for from in topology.hosts {
        // Of protocols without ports, a session there and back would be one.
        lab.ovs_appctl(&["dpctl/flush-conntrack"]).unwrap();
        for to in topology.neighbours(from) {
            let v4 = IPV4
                .iter()
                .map(|probe| packet(from, to, Family::V4, *probe));
            let v6 = IPV6
                .iter()
                .map(|probe| packet(from, to, Family::V6, *probe));
            let packets: Vec<Packet> = v4.chain(v6).collect();
            sent += packets.len();
            bench.check(&packets, &mut wrong);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {sent}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // The switch counts what it has cached a moment later.
    until(LIMIT, "the log flows to count every packet", || {
        Ok((passed_log_flows(&lab) == bench.log_flows).then_some(()))
    })
    .unwrap_or_else(|error| {
        let (passed, expected) = (passed_log_flows(&lab), &bench.log_flows);
        panic!("{error}:\npassed   {passed:?}\nexpected {expected:?}")
    });
    for record in bench.agent.records().unwrap() {
        // The switch tells of a packet before it is readied for the wire.
        assert!(!record.line.contains("vlan("), "{}", record.line);
    }
    let totals = bench.agent.status().unwrap()["totals"].clone();
    println!("{sent} packets, {} records: {totals}", bench.before);
    for name in ["unknown_flow", "malformed", "drifted", "sessions_evicted"] {
        assert_eq!(totals[name], 0, "{name}: {totals}");
    }
    bench.agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn every_packet_is_told_by_its_rules_in_learning_mode() {
    every_packet_is_told_by_its_rules(&SECOND);
}

#[test]
fn every_packet_is_told_by_its_rules_with_explicitly_egress_direct() {
    every_packet_is_told_by_its_rules(&SECOND_EGRESS_DIRECT);
}

impl Bench<'_> {
    /// Sends packets of one host, and sees to it that their records are those that must be there.
    fn expect(&mut self, what: &str, packets: &[Packet]) {
        let mut wrong = Vec::new();
        self.check(packets, &mut wrong);
        assert!(
            wrong.is_empty(),
            "{what}:\n{}\n{}",
            wrong.join("\n"),
            self.agent.stderr().unwrap()
        );
    }

    /// Changes the inventory's file, and the inventory by which events are expected.
    fn change_inventory(&mut self, change: impl FnOnce(&mut Value)) {
        change(&mut self.site.inventory);
        let path = self.agent.file("inventory.json");
        fs::write(path, self.site.inventory.to_string()).unwrap();
    }

    /// Sends packets again and again until their records are as expected: a change of a file takes
    /// a moment to be noticed.
    fn expect_soon(&mut self, what: &str, packets: &[Packet]) {
        let since = now();
        until(LIMIT, what, || {
            self.new_sessions();
            let mut wrong = Vec::new();
            self.check(packets, &mut wrong);
            Ok(wrong.is_empty().then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.agent.stderr().unwrap()));
        println!("{what}: after {:?}", since.elapsed());
    }

    /// Some packets of a host to each neighbour.
    fn sample(&self, from: &str) -> Vec<Packet> {
        let from = self.host(from);
        let probes = [
            Probe::Tcp(80),
            Probe::Tcp(5432),
            Probe::Udp(53),
            Probe::Icmp(8, 0),
        ];
        let to = self.lab.topology().neighbours(from);
        to.flat_map(|to| probes.map(|probe| packet(from, to, Family::V4, probe)))
            .collect()
    }

    /// Sends such packets of these hosts, and expects what has to be told of them.
    fn expect_samples(&mut self, what: &str, hosts: &[&str]) {
        for host in hosts {
            self.new_sessions();
            let sample = self.sample(host);
            self.expect(what, &sample);
        }
    }

    /// What is sent from now on belongs to no session that the switch or the agent knows.
    fn new_sessions(&mut self) {
        self.lab.ovs_appctl(&["dpctl/flush-conntrack"]).unwrap();
        self.source_port += 1;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a change takes is measured"
)]
fn now() -> Instant {
    Instant::now()
}

/// Waits until the log flows are for these ofports, by slot.
fn wait_for_slots(bench: &Bench<'_>, expected: &BTreeMap<String, String>) {
    let since = now();
    until(LIMIT, "the log flows to follow their ports", || {
        Ok((bench.lab.slots()? == *expected).then_some(()))
    })
    .unwrap_or_else(|error| {
        let said = bench.agent.stderr().unwrap();
        panic!(
            "{error}\nexpected {expected:?}\ngot {:?}\n{said}",
            bench.lab.slots()
        )
    });
    println!("the log flows followed after {:?}", since.elapsed());
}

#[test]
fn ports_that_come_go_and_move_while_the_agent_runs() {
    let lab = start(&SECOND);
    let recorded = Pipeline::of(&SECOND);
    let mut pipeline = Pipeline::of(&SECOND);
    let (web1, web2) = (lab.host("web1").unwrap(), lab.host("web2").unwrap());
    let mut bench = Bench::new(&lab);
    let with_web1 = lab.slots().unwrap();
    let (slot1, _) = with_web1
        .iter()
        .find(|(_, ofport)| **ofport == "0x3")
        .unwrap();
    let (slot2, _) = with_web1
        .iter()
        .find(|(_, ofport)| **ofport == "0xb")
        .unwrap();
    let mut without_web1 = with_web1.clone();
    without_web1.remove(slot1);

    lab.unplug("web1").unwrap();
    pipeline.replace(&lab, recorded.without(&[web1.ofport]));
    wait_for_slots(&bench, &without_web1);
    let to_web2 = packet(bench.host("lb1"), web2, Family::V4, Probe::Tcp(80));
    bench.expect("while web1 is not there", &[to_web2]);

    // Neutron gives a port its flows when it has seen it.
    lab.plug("web1").unwrap();
    pipeline.replace(&lab, recorded.without(&[]));
    wait_for_slots(&bench, &with_web1);
    bench.expect_samples("web1 is there again", &["lb1", "web1", "extb"]);

    lab.unplug("web1").unwrap();
    pipeline.replace(&lab, recorded.without(&[web1.ofport]));
    lab.plug_as("web1", 300).unwrap();
    pipeline.replace(&lab, recorded.renumbered(&[(web1.ofport, 300)]));
    let mut moved = with_web1.clone();
    moved.insert(slot1.clone(), "0x12c".to_owned());
    wait_for_slots(&bench, &moved);
    bench.expect_samples("web1 has another ofport", &["lb1", "web1", "extb"]);

    let request = |ofport: u16| format!("ofport_request={ofport}");
    let (to_web2, to_300) = (request(web2.ofport), request(300));
    let swap = [
        ["--", "set", "Interface", "tapweb1", &to_web2],
        ["--", "set", "Interface", "tapweb2", &to_300],
    ];
    lab.ovs_vsctl(&swap.concat()).unwrap();
    let swapped = [(web1.ofport, web2.ofport), (web2.ofport, 300)];
    pipeline.replace(&lab, recorded.renumbered(&swapped));
    moved.insert(slot1.clone(), "0xb".to_owned());
    moved.insert(slot2.clone(), "0x12c".to_owned());
    wait_for_slots(&bench, &moved);
    bench.expect_samples(
        "web1 and web2 have swapped",
        &["lb1", "web1", "web2", "extb"],
    );

    let totals = bench.agent.status().unwrap()["totals"].clone();
    assert_eq!(totals["drifted"], 0, "{totals}");
    bench.agent.terminate().unwrap();
    lab.stop().unwrap();
}

/// The flows that Neutron makes of a rule for TCP to a port of a VM.
fn ingress_flows(ofport: u16, tcp: u16) -> [String; 2] {
    let flow = |state: &str, actions: &str| {
        format!(
            "table=82, priority=77,ct_state={state},tcp,reg5={ofport:#x},tp_dst={tcp} actions={actions}"
        )
    };
    [
        flow("+est-rel-rpl", &format!("output:{ofport}")),
        flow(
            "+new-est",
            &format!("ct(commit,zone=NXM_NX_REG6[0..15]),output:{ofport},resubmit(,92)"),
        ),
    ]
}

/// A rule for TCP, as it stands in the inventory.
fn ingress_rule(id: &str, tcp: u16) -> Value {
    json!({
        "id": id, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
        "port_range_min": tcp, "port_range_max": tcp, "remote_ip_prefix": null,
        "remote_group_id": null, "remote_address_group_id": null,
    })
}

fn rules_of<'a>(inventory: &'a mut Value, group: &str) -> &'a mut Vec<Value> {
    let groups = inventory["security_groups"].as_array_mut().unwrap();
    let group = groups
        .iter_mut()
        .find(|known| known["name"] == group)
        .unwrap();
    group["security_group_rules"].as_array_mut().unwrap()
}

fn port_of<'a>(inventory: &'a mut Value, name: &str) -> &'a mut Value {
    let ports = inventory["ports"].as_array_mut().unwrap();
    ports.iter_mut().find(|port| port["name"] == name).unwrap()
}

const NEW_RULE: &str = "000004e2-0000-4000-8000-0000000000ff";

#[test]
fn an_inventory_that_changes_is_followed_at_once() {
    let lab = start(&SECOND);
    let recorded = Pipeline::of(&SECOND);
    let mut pipeline = Pipeline::of(&SECOND);
    let mut bench = Bench::new(&lab);
    let (extb, lb1) = (lab.host("extb").unwrap(), lab.host("lb1").unwrap());
    let [established, new] = ingress_flows(lb1.ofport, 8443);
    let with_rule = recorded.with(&established).with(&new);

    // A host outside that is no member of web and so is not allowed by lb.
    let stranger = Packet {
        source: "10.20.0.180".parse().unwrap(),
        ..packet(extb, lb1, Family::V4, Probe::Tcp(8443))
    };
    bench.expect("no rule yet", &[stranger]);
    bench.change_inventory(|inventory| {
        rules_of(inventory, "lb").push(ingress_rule(NEW_RULE, 8443));
    });
    pipeline.replace(&lab, with_rule.without(&[]));
    bench.expect_soon("a rule was added", &[stranger]);

    let other = Packet {
        probe: Probe::Udp(4000),
        ..stranger
    };
    bench.expect("not a member yet", &[other]);
    bench.change_inventory(|inventory| {
        let mut member = port_of(inventory, "far1").clone();
        member["id"] = "00000702-0000-4000-8000-000000000034".into();
        member["name"] = "far4".into();
        member["fixed_ips"] = json!([{ "ip_address": "10.20.0.180" }]);
        inventory["ports"].as_array_mut().unwrap().push(member);
    });
    pipeline.replace(&lab, with_rule.with_remote("10.20.0.100", "10.20.0.180"));
    bench.expect_soon("a member was added to a remote group", &[stranger, other]);

    bench.change_inventory(|inventory| port_of(inventory, "lb1")["project_id"] = ALPHA.into());
    let refused = Packet {
        source: "10.20.0.181".parse().unwrap(),
        ..other
    };
    bench.expect_soon("the port is another project's", &[stranger, other, refused]);
    bench.change_inventory(|inventory| port_of(inventory, "lb1")["project_id"] = BETA.into());
    bench.expect_soon(
        "the port is back in its project",
        &[stranger, other, refused],
    );

    // A port that is on the bridge before the inventory knows it.
    let (extg, six1) = (lab.host("extg").unwrap(), lab.host("six1").unwrap());
    let to_six1 = [Probe::Tcp(22), Probe::Tcp(23), Probe::Icmpv6(128, 0)]
        .map(|probe| packet(extg, six1, Family::V6, probe));
    let port = port_of(&mut bench.site.inventory, "six1").clone();
    bench.change_inventory(|inventory| {
        let ports = inventory["ports"].as_array_mut().unwrap();
        ports.retain(|port| port["name"] != "six1");
    });
    bench.expect_soon("the inventory does not know a port", &to_six1);
    bench.change_inventory(|inventory| {
        inventory["ports"].as_array_mut().unwrap().push(port);
    });
    bench.expect_soon("the inventory knows the port", &to_six1);

    // A connection that lives while its rule goes: the first packet after that is swallowed, the
    // others are dropped where it is seen.
    let listener = lab.tcp_listen("lb1", Family::V4, 8443).unwrap();
    let address = listener.local_addr().unwrap();
    let mut near = lab.tcp_connect("extb", None, address).unwrap();
    let (_far, _) = listener.accept().unwrap();
    bench.change_inventory(|inventory| {
        rules_of(inventory, "lb").pop();
        // Nor does the remote group allow it.
        port_of(inventory, "far1")["security_groups"] = json!([]);
    });
    pipeline.replace(&lab, recorded.without_remote("10.20.0.100"));
    let record = until(LIMIT, "the drop of a connection whose rule is gone", || {
        // The datapath goes on for a moment by what it has cached.
        near.write_all(b"anyone?").unwrap();
        let records = bench.agent.records()?;
        let withdrawn = |record: &&Record| record.cause == "rule-withdrawn";
        Ok(records.iter().find(withdrawn).cloned())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", bench.agent.stderr().unwrap()));
    assert_eq!(bench.event(&record).what, "DROP:lb1:in");
    assert_eq!(bench.event(&record).logs, ["beta-all".to_owned()].into());

    let totals = bench.agent.status().unwrap()["totals"].clone();
    assert_eq!(totals["drifted"], 0, "{totals}");
    bench.agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn what_no_rule_explains_is_told_and_reported() {
    let lab = start(&SECOND);
    let recorded = Pipeline::of(&SECOND);
    let mut pipeline = Pipeline::of(&SECOND);
    let mut bench = Bench::new(&lab);
    let host = |name| lab.host(name).unwrap();
    let (extb, extg, lb1) = (host("extb"), host("extg"), host("lb1"));

    // Somebody writes flows behind the API: they accept what no rule allows, in and out, and drop
    // what one does.
    let [_, to_lb1] = ingress_flows(lb1.ofport, 4444);
    let [_, to_web1] = ingress_flows(host("web1").ofport, 4444);
    let from_lb1 = format!(
        "table=72, priority=77,ct_state=+new-est,tcp,reg5={:#x},tp_dst=4444 actions=resubmit(,73)",
        lb1.ofport
    );
    let at_web3 = format!(
        "table=82, priority=90,ct_state=+new-est,tcp,reg5={:#x},tp_dst=80 actions=resubmit(,93)",
        host("web3").ofport
    );
    // And Neutron makes flows for a rule that the inventory will have in a moment.
    let [_, early] = ingress_flows(lb1.ofport, 8443);
    let foreign = [&to_lb1, &to_web1, &from_lb1, &at_web3, &early];
    let flows = foreign
        .iter()
        .fold(recorded.without(&[]), |flows, flow| flows.with(flow));
    pipeline.replace(&lab, flows);

    let stranger = |to, tcp| Packet {
        source: "10.20.0.180".parse().unwrap(),
        ..packet(extb, to, Family::V4, Probe::Tcp(tcp))
    };
    let told = |bench: &mut Bench<'_>, packet: Packet| -> Vec<(String, String)> {
        bench.new_sessions();
        let (_, told) = bench.send(&[packet]);
        let events = told.into_values().flatten();
        events.map(|event| (event.what, event.cause)).collect()
    };
    let event = |what: &str, cause: &str| vec![(what.to_owned(), cause.to_owned())];
    let accepted = event("ACCEPT:lb1:in", "none");
    assert_eq!(told(&mut bench, stranger(lb1, 4444)), accepted);
    assert_eq!(told(&mut bench, stranger(lb1, 4444)), accepted);
    // The only log object that wants accepted sessions of web1 names a group, which allows nothing
    // of the kind.
    assert_eq!(told(&mut bench, stranger(host("web1"), 4444)), []);
    let out = packet(lb1, extb, Family::V4, Probe::Tcp(4444));
    assert_eq!(told(&mut bench, out), event("ACCEPT:lb1:out", "none"));
    let dropped = packet(extg, host("web3"), Family::V4, Probe::Tcp(80));
    assert_eq!(
        told(&mut bench, dropped),
        event("DROP:web3:in", "rule-not-applied")
    );
    assert_eq!(told(&mut bench, stranger(lb1, 8443)), accepted);
    bench.change_inventory(|inventory| {
        rules_of(inventory, "lb").push(ingress_rule(NEW_RULE, 8443));
    });
    bench.expect_soon("the rule came a moment later", &[stranger(lb1, 8443)]);

    // The time of grace is 10 s.
    let drifted = |status: &Value| -> BTreeMap<String, u64> {
        let ports = status["ports"].as_array().unwrap().iter();
        let of_port = |port: &Value| {
            let count = port["drifted"].as_u64().filter(|count| *count > 0)?;
            Some((port["name"].as_str()?.to_owned(), count))
        };
        ports.filter_map(of_port).collect()
    };
    let expected: BTreeMap<String, u64> = [("lb1", 3), ("web1", 1), ("web3", 1)]
        .map(|(name, n)| (name.to_owned(), n))
        .into();
    until(LIMIT, "what drifted to be counted", || {
        let drifted = drifted(&bench.agent.status()?);
        Ok((drifted == expected).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {:?}", bench.agent.status()));
    let totals = bench.agent.status().unwrap()["totals"].clone();
    assert_eq!(totals["drifted"], 5, "{totals}");

    // They are audited after they are counted.
    let audit = || fs::read_to_string(bench.agent.file("audit.log")).unwrap();
    let reports = || -> Vec<Value> {
        // The last line may not be whole yet.
        let audit = audit();
        let (entries, _) = audit.rsplit_once('\n').unwrap();
        entries
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|entry| entry["target"]["typeURI"] == "service/network/port")
            .collect()
    };
    until(LIMIT, "what drifted to be audited", || {
        Ok((reports().len() >= 4).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error}: {}", audit()));
    let (audit, reports) = (audit(), reports());
    let reported: BTreeSet<&str> = reports
        .iter()
        .map(|entry| entry["target"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(reported, BTreeSet::from(["lb1", "web1", "web3"]), "{audit}");
    // Of lb1 two things have drifted: sessions in, and sessions out.
    assert_eq!(reports.len(), 4, "{audit}");
    let said = bench.agent.stderr().unwrap();
    assert!(
        said.contains("the switch and the known rules do not agree"),
        "{said}"
    );
    bench.agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn log_objects_that_come_and_go_while_traffic_runs() {
    let lab = start(&SECOND);
    let mut bench = Bench::new(&lab);
    let (extb, bare1) = (lab.host("extb").unwrap(), lab.host("bare1").unwrap());
    let log = Log {
        target: Some("bare1"),
        ..log("bare1-drop", GAMMA, "DROP")
    };
    let mut told: BTreeMap<u16, Vec<BTreeSet<String>>> = BTreeMap::new();
    let mut stretches: Vec<(RangeInclusive<u16>, bool)> = Vec::new();
    let (sent, done) = (AtomicU16::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for mark in 1.. {
                let packet = packet(extb, bare1, Family::V4, Probe::Tcp(4000));
                lab.send_frames("extb", &[frame(&packet, 40_000, mark)])
                    .unwrap();
                sent.store(mark, Ordering::SeqCst);
                if done.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        // A while in which the log object wants the frames or does not, up to one that is recorded:
        // gamma-drop wants them all. Between two of them, while a command runs, it may be either.
        let stretch = |bench: &Bench<'_>| {
            let first = sent.load(Ordering::SeqCst) + 2;
            let last = until(LIMIT, "20 records more", || {
                let records = bench.agent.records()?;
                let last = records.last().map_or(0, mark_of);
                Ok((last > first + 20).then_some(last))
            });
            first..=last.unwrap()
        };
        stretches.push((stretch(&bench), false));
        bench.create(&log);
        for _ in 0..3 {
            stretches.push((stretch(&bench), true));
            bench
                .agent
                .netlog_ok(&["log", "set", "--disable", log.name])
                .unwrap();
            stretches.push((stretch(&bench), false));
            bench
                .agent
                .netlog_ok(&["log", "set", "--enable", log.name])
                .unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    for record in bench.agent.records().unwrap() {
        told.entry(mark_of(&record))
            .or_default()
            .push(bench.event(&record).logs);
    }
    for (marks, wanted) in stretches {
        let mut logs = vec!["gamma-drop".to_owned()];
        logs.extend(wanted.then(|| log.name.to_owned()));
        let expected = [logs.into_iter().collect()];
        for mark in marks {
            assert_eq!(told[&mark], expected, "frame {mark}");
        }
    }
    bench.agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn sessions_and_frames_that_are_not_the_plainest() {
    let lab = start(&SECOND_EGRESS_DIRECT);
    let mut bench = Bench::new(&lab);
    let host = |name| lab.host(name).unwrap();
    let (web1, web3, db1, lb1) = (host("web1"), host("web3"), host("db1"), host("lb1"));
    let (six1, peer1, extb, extg) = (host("six1"), host("peer1"), host("extb"), host("extg"));
    let v4 = |from, to| Ends::between(from, to, Family::V4);
    let v6 = |from, to| Ends::between(from, to, Family::V6);

    // Sockets of the kernels.
    lab.tcp_exchange("web1", "web2", Family::V4, 443, 3)
        .unwrap();
    assert_eq!(
        bench.told_after("web1", vec![]),
        ["ACCEPT:web1:out 07", "ACCEPT:web2:in 02"]
    );
    lab.tcp_exchange("web1", "extb", Family::V6, 8080, 1)
        .unwrap();
    assert_eq!(bench.told_after("web1", vec![]), ["ACCEPT:web1:out 08"]);
    lab.tcp_exchange("extb", "web1", Family::V4, 80, 1).unwrap();
    // web and base allow it alike; nobody logs base.
    assert_eq!(bench.told_after("extb", vec![]), ["ACCEPT:web1:in 01"]);
    lab.udp_exchange("extb", "web1", Family::V4, 53, 3).unwrap();
    // Only base allows it.
    assert_eq!(bench.told_after("extb", vec![]), [""; 0]);
    lab.ping("lb1", "web1", Family::V4, 3).unwrap();
    assert_eq!(
        bench.told_after("lb1", vec![]),
        ["ACCEPT:lb1:out 1e", "ACCEPT:web1:in 05"]
    );
    let far3 = v4(lb1, extb).to(extb.mac, Ipv4Addr::new(10, 20, 0, 77));
    let question = far3.udp(30_000, 9, b"question").unwrap();
    assert_eq!(
        bench.told_after("lb1", vec![question]),
        ["ACCEPT:lb1:out 1f"]
    );

    // What is repeated: accepted once, dropped each time.
    let syn = v4(lb1, extb).syn(30_001, 443).unwrap();
    assert_eq!(
        bench.told_after("lb1", vec![syn.clone(), syn.clone(), syn]),
        ["ACCEPT:lb1:out 1d"]
    );
    let knock = v4(extb, db1).udp(30_002, 9, b"knock").unwrap();
    let dropped = ["DROP:db1:in no-rule"; 3];
    assert_eq!(
        bench.told_after("extb", vec![knock.clone(), knock.clone(), knock]),
        dropped
    );

    // Addresses that are the port's, and such as are not.
    let from = |from: &'static Host, to, source: &str, probe| Packet {
        source: source.parse().unwrap(),
        ..packet(from, to, Family::V4, probe)
    };
    let of_db1 = [
        from(db1, web1, "10.20.0.200", Probe::Tcp(9)),
        from(db1, web1, "10.20.0.207", Probe::Tcp(9)),
        from(db1, web1, "10.20.0.208", Probe::Tcp(9)),
        from(db1, web1, "10.20.0.11", Probe::Udp(53)),
    ];
    bench.expect("an allowed address pair that is a prefix", &of_db1);
    let pair = Packet {
        source_mac: lb1.pairs[0].0,
        ..from(lb1, web1, "10.20.0.140", Probe::Tcp(80))
    };
    let forged = Packet {
        source: lb1.v4.into(),
        ..pair
    };
    bench.expect(
        "an allowed address pair with another MAC address",
        &[pair, forged],
    );
    let any = from(extg, peer1, "10.20.0.222", Probe::Tcp(1));
    bench.expect(
        "a member of a remote group that may use any address",
        &[any],
    );
    let arp = arp_request(web1.mac, lb1.v4, extb.v4).unwrap();
    assert_eq!(
        bench.told_after("web1", vec![arp]),
        ["DROP:web1:out anti-spoof"]
    );

    // What no VM may send.
    let offer = v4(lb1, extb)
        .to(BROADCAST, Ipv4Addr::BROADCAST)
        .udp(67, 68, b"offer")
        .unwrap();
    assert_eq!(
        bench.told_after("lb1", vec![offer]),
        ["DROP:lb1:out dhcp-or-ra-server"]
    );
    let all_nodes: Ipv6Addr = "ff02::1".parse().unwrap();
    let advertisement = v6(six1, extg)
        .from_ip(link_local(six1.mac))
        .to([0x33, 0x33, 0, 0, 0, 1], all_nodes)
        .router_advertisement()
        .unwrap();
    assert_eq!(
        bench.told_after("six1", vec![advertisement]),
        ["DROP:six1:out dhcp-or-ra-server"]
    );

    // Broadcast, which goes out past the ports of this host.
    let hello = v4(web1, extb).to(BROADCAST, Ipv4Addr::new(10, 20, 0, 255));
    let hello = hello.udp(30_003, 9, b"hello").unwrap();
    assert_eq!(
        bench.told_after("web1", vec![hello]),
        ["ACCEPT:web1:out 07"]
    );

    // A frame that lb1 sends to itself gets past its rules out, and not past those in.
    let to_itself = v4(lb1, lb1).syn(30_006, 443).unwrap();
    assert_eq!(
        bench.told_after("lb1", vec![to_itself]),
        ["ACCEPT:lb1:out 1d", "DROP:lb1:in no-rule"]
    );

    // IPv6 extension headers: the switch looks past hop-by-hop options and the authentication
    // header, and not into ESP.
    let syn = v6(extg, six1).syn(30_004, 22).unwrap();
    let options = [6, 0, 1, 4, 0, 0, 0, 0];
    let with_options = extended(&syn, 0, &options);
    assert_eq!(
        bench.told_after("extg", vec![with_options]),
        ["ACCEPT:six1:in 2f"]
    );
    let datagram = v6(web3, six1).udp(30_005, 1000, b"datagram").unwrap();
    let authenticated = extended(
        &datagram,
        51,
        &[
            17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
    );
    assert_eq!(
        bench.told_after("web3", vec![authenticated]),
        ["ACCEPT:web3:out 08", "DROP:six1:in no-rule"]
    );

    let totals = bench.agent.status().unwrap()["totals"].clone();
    for name in ["unknown_flow", "malformed", "drifted"] {
        assert_eq!(totals[name], 0, "{name}: {totals}");
    }
    bench.agent.terminate().unwrap();
    lab.stop().unwrap();
}

/// An IPv6 packet with an extension header of this type before its payload (RFC 8200, section 4).
fn extended(frame: &[u8], kind: u8, header: &[u8]) -> Vec<u8> {
    let (ethernet, packet) = frame.split_at(14);
    let (fixed, payload) = packet.split_at(40);
    let mut fixed = fixed.to_vec();
    let length = u16::try_from(header.len() + payload.len()).unwrap();
    fixed[4..6].copy_from_slice(&length.to_be_bytes());
    fixed[6] = kind;
    [ethernet, &fixed, header, payload].concat()
}
