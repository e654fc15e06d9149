//! The second site, which has what the first has no example of, through the whole of netlog. What
//! must be logged is worked out from the rules by `rules.rs`, which knows nothing of netlog's
//! code. These tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod rules;

use std::collections::BTreeMap;

use netlog_lab::frames::Ends;
use netlog_lab::{
    Agent, Family, Host, LIMIT, Lab, Options, Record, SECOND, SECOND_EGRESS_DIRECT, Topology, until,
};
use rules::{Event, Log, Packet, Probe, Site};

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
fn frame(packet: &Packet, mark: u16) -> Vec<u8> {
    let ends = Ends {
        mac: (packet.source_mac, packet.to.mac),
        ip: (packet.source, packet.destination),
        mark,
    };
    // The same ports and sequence numbers everywhere: sessions between the same addresses of two
    // networks differ in nothing else.
    let source_port = 40_000;
    match packet.probe {
        Probe::Tcp(port) => ends.syn(source_port, port),
        Probe::Udp(port) => ends.udp(source_port, port, b"datagram"),
        Probe::Icmp(kind, code) | Probe::Icmpv6(kind, code) => {
            ends.icmp(kind, code, [0x12, 0x34, 0, 1])
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
    /// Records seen so far.
    before: usize,
    marks: std::ops::RangeFrom<u16>,
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
            before: 0,
            marks: 1..,
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

    /// Sends packets of one host, and returns the records of each, by mark.
    fn send(&mut self, packets: &[Packet]) -> (Round, BTreeMap<u16, Vec<Event>>) {
        let from = packets[0].from;
        let round: Round = self.marks.by_ref().zip(packets.iter().copied()).collect();
        let mut frames: Vec<Vec<u8>> = round
            .iter()
            .map(|(mark, packet)| frame(packet, *mark))
            .collect();
        // Nothing allows this one, and each sender or receiver of it logs drops.
        let name = match (from.network_id == self.host("bare1").network_id, from.name) {
            (true, "bare1") => "web1",
            (true, _) => "bare1",
            (false, "odd1") => "web3",
            (false, _) => "odd1",
        };
        let fence = packet(from, self.host(name), Family::V4, Probe::Tcp(60_000));
        let end = self.marks.next().unwrap();
        frames.push(frame(&fence, end));
        self.lab.send_frames(from.name, &frames).unwrap();
        let records = until(LIMIT, "the record of the fence", || {
            let records = self.agent.records()?.split_off(self.before);
            let fenced =
                |record: &Record| mark_of(record) == end && record.event.starts_with("DROP");
            Ok(records.iter().any(fenced).then_some(records))
        })
        .unwrap_or_else(|error| panic!("{error} from {}\n{:?}", from.name, self.agent.status()));
        self.before += records.len();
        let mut told: BTreeMap<u16, Vec<Event>> = BTreeMap::new();
        for record in records.iter().filter(|record| mark_of(record) != end) {
            told.entry(mark_of(record))
                .or_default()
                .push(self.event(record));
        }
        for events in told.values_mut() {
            events.sort();
        }
        (round, told)
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
