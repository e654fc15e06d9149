//! Forwarding is the same with log flows and without: each host receives the same frames. These
//! tests need root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netlog_lab::frames::{Ends, arp_request, ethernet};
use netlog_lab::{
    Agent, BR_INT, Family, Host, LIMIT, Lab, Options, SECOND, SECOND_EGRESS_DIRECT, Site, Topology,
    until,
};
use nix::sys::signal::Signal;
use pnet_datalink::{Channel, Config, DataLinkReceiver};

/// The frames of the traffic mix, and who sends each.
type Mix = Vec<(&'static Host, Vec<u8>)>;

/// What a host received in one run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Received {
    /// The frames of the mix, by their place in it, and how often each came.
    frames: BTreeMap<usize, usize>,
    /// What its interface counted: bytes and packets, with the answers of the others' kernels. A
    /// VLAN tag too many or too few shows here.
    counted: (u64, u64),
}

/// New sessions between all hosts of a network, most of which are accepted or dropped by some
/// rule on the way; forged addresses; frames with VLAN tags; a protocol that nobody knows.
fn mix(topology: &'static Topology) -> Mix {
    let mut mix = Mix::new();
    let mut ports = 20_000..;
    let mut source = || ports.next().unwrap();
    for from in topology.hosts {
        for to in topology.neighbours(from) {
            for family in [Family::V4, Family::V6] {
                let ends = Ends::between(from, to, family);
                for destination in [22, 80, 443, 5432, 9000] {
                    mix.push((from, ends.syn(source(), destination).unwrap()));
                }
                for destination in [53, 5000] {
                    mix.push((from, ends.udp(source(), destination, b"datagram").unwrap()));
                }
            }
            let ends = Ends::between(from, to, Family::V4);
            let forged = ends.from_ip(Ipv4Addr::new(10, 9, 9, 9));
            mix.push((from, forged.syn(source(), 22).unwrap()));
            for vlan in [0, from.tag] {
                mix.push((from, tagged(&ends.syn(source(), 22).unwrap(), vlan)));
            }
            let experimental = ethernet((from.mac, to.mac), 0x88b5, &[7; 50]);
            mix.push((from, experimental));
        }
    }
    mix
}

/// The frame with an 802.1Q tag.
fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &[0x81, 0], &vlan.to_be_bytes(), rest].concat()
}

/// The frame that says that a host has sent everything of a round before it.
fn end_of(round: u8, host: &Host) -> Vec<u8> {
    arp_request(host.mac, host.v4, Ipv4Addr::new(10, 254, 254, round)).unwrap()
}

/// What a host's interface has received so far: bytes and packets.
fn counted(site: &Site, host: &Host) -> (u64, u64) {
    let table = site
        .run_in(host.name, || {
            fs::read_to_string("/proc/thread-self/net/dev")
        })
        .unwrap()
        .unwrap();
    let line = table
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:"))
        .unwrap();
    let mut numbers = line
        .split_whitespace()
        .map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Listens on a host's interface.
fn listen(site: &Site, host: &Host) -> Box<dyn DataLinkReceiver> {
    let open = || -> io::Result<Box<dyn DataLinkReceiver>> {
        let interface = pnet_datalink::interfaces()
            .into_iter()
            .find(|interface| interface.name == Host::INTERFACE)
            .unwrap();
        let config = Config {
            read_timeout: Some(Duration::from_millis(100)),
            ..Config::default()
        };
        match pnet_datalink::channel(&interface, config)? {
            Channel::Ethernet(_, receiver) => Ok(receiver),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    };
    site.run_in(host.name, open).unwrap().unwrap()
}

/// Notes which frames of the mix come, until all neighbours have said that this round ends.
fn receive(
    receiver: &mut dyn DataLinkReceiver,
    topology: &Topology,
    host: &'static Host,
    mix: &Mix,
    round: u8,
    frames: &mut BTreeMap<usize, usize>,
) {
    let mut awaited: BTreeMap<Vec<u8>, &str> = topology
        .neighbours(host)
        .map(|neighbour| (end_of(round, neighbour), neighbour.name))
        .collect();
    let what = format!("{} to hear the end of round {round}", host.name);
    until(LIMIT, &what, || {
        while let Ok(frame) = receiver.next() {
            awaited.remove(frame);
            let place = mix
                .iter()
                .position(|(from, sent)| from.name != host.name && same(sent, frame));
            if let Some(place) = place {
                *frames.entry(place).or_default() += 1;
            }
            if awaited.is_empty() {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })
    .unwrap_or_else(|error| panic!("{error}: nothing from {:?}", awaited.values()));
}

/// Whether this is the frame that was sent, with its tag or, as the kernel shows it, without.
fn same(sent: &[u8], frame: &[u8]) -> bool {
    let untagged = |sent: &[u8]| {
        sent[12..14] == [0x81, 0] && sent[..12] == frame[..12] && sent[16..] == frame[12..]
    };
    sent == frame || untagged(sent)
}

/// Sends the mix through a switch that has seen nothing of it before.
fn run(lab: &Lab, mix: &Mix) -> BTreeMap<&'static str, Received> {
    lab.ovs_appctl(&["dpctl/flush-conntrack"]).unwrap();
    for bridge in [BR_INT, netlog_lab::BR_PHYS] {
        lab.ovs_appctl(&["fdb/flush", bridge]).unwrap();
    }
    // Cached flows would forward without learning who is where.
    lab.ovs_appctl(&["revalidator/purge"]).unwrap();
    let topology = lab.topology();
    let hosts = topology.hosts;
    let mut listening: Vec<_> = hosts.iter().map(|host| (host, listen(lab, host))).collect();
    let before: Vec<_> = hosts.iter().map(|host| counted(lab, host)).collect();
    let mut received: BTreeMap<&'static str, Received> = BTreeMap::new();
    // In the first round the switch learns where everybody is; the second is the mix; with the
    // third come the answers of the kernels to it.
    for round in 1..=3 {
        for host in hosts {
            let of_host = mix
                .iter()
                .filter(|(from, _)| round == 2 && from.name == host.name);
            let mut frames: Vec<Vec<u8>> = of_host.map(|(_, frame)| frame.clone()).collect();
            frames.push(end_of(round, host));
            lab.send_frames(host.name, &frames).unwrap();
        }
        for (host, receiver) in &mut listening {
            let frames = &mut received.entry(host.name).or_default().frames;
            receive(&mut **receiver, topology, host, mix, round, frames);
        }
    }
    for (host, (bytes, packets)) in hosts.iter().zip(before) {
        let after = counted(lab, host);
        received.entry(host.name).or_default().counted = (after.0 - bytes, after.1 - packets);
    }
    received
}

/// The mix of a site, and what comes of it where there is no agent: some of it, and not all.
fn without_agent(lab: &Lab) -> (Mix, BTreeMap<&'static str, Received>) {
    let mix = mix(lab.topology());
    let received = run(lab, &mix);
    let hosts = received.values();
    let forwarded: usize = hosts.flat_map(|host| host.frames.values()).sum();
    println!("{} frames sent, {forwarded} received", mix.len());
    assert!(
        (100..mix.len()).contains(&forwarded),
        "{forwarded} of {}",
        mix.len()
    );
    (mix, received)
}

fn compare(
    what: &str,
    mix: &Mix,
    expected: &BTreeMap<&'static str, Received>,
    got: &BTreeMap<&'static str, Received>,
) {
    for (host, expected) in expected {
        let got = &got[host];
        let places: BTreeSet<_> = expected.frames.keys().chain(got.frames.keys()).collect();
        for place in places {
            assert_eq!(
                got.frames.get(place),
                expected.frames.get(place),
                "{what}: {host} and the frame {:02x?} of {}",
                mix[*place].1,
                mix[*place].0.name
            );
        }
        assert_eq!(got.counted, expected.counted, "{what}: {host}");
    }
}

fn log(agent: &Agent<'_>, lab: &Site, vm: &str) {
    let target = lab.host(vm).unwrap().port_id;
    let create = [
        "log",
        "create",
        "--resource-type",
        "security_group",
        "--target",
        target,
        vm,
    ];
    agent.netlog_ok(&create).unwrap();
}

#[test]
fn forwarding_is_the_same_with_log_flows_and_without() {
    let lab = Lab::start(&Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let (mix, without) = without_agent(&lab);
    compare(
        "once more without the agent",
        &mix,
        &without,
        &run(&lab, &mix),
    );

    let mut agent = Agent::start(&lab, "").unwrap();
    for vm in ["vm1", "vm2", "vm3", "vm5"] {
        log(&agent, &lab, vm);
    }
    assert_eq!(lab.flows(93).unwrap().matches("cookie=0x6e4c").count(), 8);
    compare("with log flows", &mix, &without, &run(&lab, &mix));
    let records = agent.records().unwrap().len();
    assert!(records > 100, "{records} records");

    let limits = "[network_log]\nrate_limit = 100\n";
    fs::write(agent.file("extra.conf"), limits).unwrap();
    agent.process().signal(Signal::SIGHUP).unwrap();
    until(LIMIT, "log flows with meters", || {
        Ok((lab.flows(93)?.matches("meter_id=").count() == 8).then_some(()))
    })
    .unwrap();
    // So many at once that the meter still cuts when the mix comes.
    lab.syn("ext1", "vm1", Family::V4, 81, 1000).unwrap();
    compare("with meters", &mix, &without, &run(&lab, &mix));
    let stats = lab.ovs_ofctl(&["meter-stats", BR_INT]).unwrap();
    assert!(
        stats
            .lines()
            .any(|line| line.starts_with("0: packet_count:") && !line.contains(":0 ")),
        "no meter cut anything:\n{stats}"
    );

    // Log flows and meters come and go, and are harmed and healed.
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let meddler = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) {
                let ours = "cookie=0x6e4c000000000000/0xffff000000000000";
                lab.ovs_ofctl(&["del-flows", BR_INT, ours]).unwrap();
                lab.ovs_ofctl(&["del-meters", BR_INT]).unwrap();
                agent
                    .netlog_ok(&["log", "set", "--disable", "vm1"])
                    .unwrap();
                agent.netlog_ok(&["log", "set", "--enable", "vm1"]).unwrap();
                rounds += 1;
            }
            rounds
        });
        for _ in 0..3 {
            let got = run(&lab, &mix);
            compare("while log flows come and go", &mix, &without, &got);
        }
        done.store(true, Ordering::Relaxed);
        println!("log flows came and went {} times", meddler.join().unwrap());
    });

    agent.kill().unwrap();
    compare("with the agent dead", &mix, &without, &run(&lab, &mix));
    agent.restart().unwrap();
    compare("with the agent back", &mix, &without, &run(&lab, &mix));
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

/// The second site, without log flows and with them on every port that has a firewall.
fn forwarding_is_the_same_on(topology: &'static Topology) {
    let options = Options {
        topology,
        ..Options::default()
    };
    let lab = Lab::start(&options).unwrap_or_else(|error| panic!("{error}"));
    let (mix, without) = without_agent(&lab);

    let agent = Agent::start(&lab, "").unwrap();
    for vm in topology.vms() {
        log(&agent, &lab, vm.name);
    }
    // All but free1, which has no firewall.
    assert_eq!(lab.flows(93).unwrap().matches("cookie=0x6e4c").count(), 18);
    compare("with log flows", &mix, &without, &run(&lab, &mix));
    let records = agent.records().unwrap().len();
    assert!(records > 500, "{records} records");
    agent.terminate().unwrap();
    lab.stop().unwrap();
}

#[test]
fn forwarding_is_the_same_on_the_second_site() {
    forwarding_is_the_same_on(&SECOND);
}

#[test]
fn forwarding_is_the_same_with_explicitly_egress_direct() {
    forwarding_is_the_same_on(&SECOND_EGRESS_DIRECT);
}
