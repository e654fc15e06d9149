//! How long a change of a log object takes until it is in force on a real Open vSwitch, and whether
//! it is once the API has answered: with 1,000 and with 100,000 log objects.
//!
//! ```sh
//! cargo bench --package netlog-benches --bench effect -- 500
//! ```
//!
//! The number is that of ports which are plugged into the lab's bridge, beside its VMs. The agent
//! runs as it is, with an inventory of 100,000 ports elsewhere that most of the log objects name.
//! Half of the bridge's ports are logged by these all the time. Another log object, of one port and
//! of all of them, is created, disabled, enabled and deleted through the API; after each answer
//! `ovs-ofctl` says which log flows there are. At last a host sends packets all the time, and the
//! records tell which of them the change had reached.
//!
//! This needs root, as the lab does; without it nothing is measured.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlog_agent::agent;
use netlog_agent::config::{Config, Location};
use netlog_agent::store::Store;
use netlog_core::log::LogObject;
use netlog_lab::frames::Ends;
use netlog_lab::{
    BR_INT, Family, INVENTORY, LIMIT, Lab, LabError, Options, host, log_flows_of, until,
};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// How many log objects there are.
const SIZES: [usize; 2] = [1_000, 100_000];

/// Ports in the inventory that are not on the bridge.
const ELSEWHERE: usize = 100_000;

/// Projects and security groups that these are in.
const PROJECTS: usize = 100;
const GROUPS: usize = 1_000;

/// The project of the bridge's ports, and that of vm1, to which packets are sent.
const PROJECT: &str = "aaaaaaaa-0000-4000-8000-00000000000a";

/// A security group of that project.
const GROUP: &str = "5e000000-0000-4000-8000-0000000000a1";

/// The ofport of the first port that is plugged in.
const FIRST: u16 = 100;

/// How often each change is made; the median counts.
const ROUNDS: usize = 15;

/// The source port of the first packet; each has one of its own.
const FIRST_SOURCE: u16 = 10_000;

/// How often a log object comes and goes while packets are sent.
const TURNS: usize = 25;

/// Between two packets at least.
const PACE: Duration = Duration::from_micros(500);

/// How long after an answer a packet may be sent to be looked at.
const WITHIN: Duration = Duration::from_millis(100);

/// How long after it the next change is made: packets that were sent before are recorded by then.
const AFTER: Duration = Duration::from_millis(200);

fn main() -> Result<(), Box<dyn Error>> {
    if let Err(reason) = netlog_lab::check() {
        println!("nothing is measured: {reason}");
        return Ok(());
    }
    let ports = netlog_benches::argument().unwrap_or(500_u16);
    println!(
        "{ports} ports, {} log flows of them all; ms, median and greatest of {ROUNDS}",
        5 * (ports + 2)
    );
    println!(
        "{:>12}  {:<14}{:<10}{:>10}{:>10}{:>14}{:>14}",
        "log objects", "log object of", "change", "answer", "greatest", "in force", "at first look"
    );
    for size in SIZES {
        let site = Site::start(size, ports)?;
        for (of, selects) in [
            ("one port", Selects::Port(ports - 1)),
            ("every port", Selects::All),
        ] {
            for (change, row) in site.changes(selects)? {
                let [answer, later] = [&row.answers, &row.later].map(|times| {
                    let mut times = times.clone();
                    times.sort_unstable();
                    (times[times.len() / 2], times[times.len() - 1])
                });
                println!(
                    "{size:>12}  {of:<14}{change:<10}{:>10.1}{:>10.1}{:>14}{:>14}",
                    ms(answer.0),
                    ms(answer.1),
                    format!("+{:.1}", ms(later.1)),
                    format!("{} of {}", row.at_once, row.answers.len()),
                );
            }
        }
        let [on, off] = site.packets()?;
        println!(
            "{size:>12}  packets, of the log object of every port that comes and goes {TURNS} times:"
        );
        for (what, lag) in [
            ("created, and not recorded", on),
            ("deleted, and recorded", off),
        ] {
            println!(
                "{:>14}{what:<28} {} of {} sent within {WITHIN:.0?}, the last {:.1} ms after the answer",
                "",
                lag.wrong,
                lag.sent,
                ms(lag.last),
            );
        }
        site.stop()?;
    }
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What the log object selects that is changed.
#[derive(Clone, Copy)]
enum Selects {
    /// This port of the bridge.
    Port(u16),
    /// Every port of the project.
    All,
}

/// What was measured of one kind of change.
#[derive(Default)]
struct Row {
    /// From the request to the answer.
    answers: Vec<Duration>,
    /// From the answer until the switch had the log flows, as far as it did not have them at once.
    later: Vec<Duration>,
    /// How often it had them when it was asked first.
    at_once: usize,
}

/// Packets that were sent after answers, and those that what was answered had not reached.
#[derive(Default)]
struct Lag {
    sent: usize,
    wrong: usize,
    /// How long after its answer the last of these was sent.
    last: Duration,
}

/// A switch with an agent that has log objects.
struct Site {
    lab: Lab,
    agent: JoinHandle<()>,
    http: ureq::Agent,
    logs: String,
    folder: TempDir,
    ports: u16,
}

impl Site {
    fn start(size: usize, ports: u16) -> Result<Self, Box<dyn Error>> {
        let lab = Lab::start(&Options::default())?;
        lab.plug_more((0..ports).map(|n| (ofport(n), here(n).to_string())))?;
        let folder = tempfile::tempdir()?;
        let logs: Vec<LogObject> = (0..size).map(|n| log_object(n, ports)).collect();
        Store::open(folder.path().join("netlog.db"))?.create_logs(&logs)?;
        fs::write(folder.path().join("inventory.json"), inventory(ports)?)?;
        // Nobody else here takes a port meanwhile.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        configure(&lab, folder.path(), &address)?;
        let files = [Location::File(folder.path().join("netlog.conf"))];
        let (config, _) = Config::load(&files)?;
        let agent = thread::spawn(move || {
            if let Err(error) = agent::run(&config, &files) {
                eprintln!("{error}");
            }
        });
        let site = Self {
            lab,
            agent,
            http: ureq::Agent::new_with_defaults(),
            logs: format!("http://{address}/v2.0/log/logs"),
            folder,
            ports,
        };
        let expected = site.expected(None);
        until(LIMIT, "the log flows of the log objects there are", || {
            Ok((site.lab.log_flows()? == expected).then_some(()))
        })?;
        Ok(site)
    }

    fn stop(self) -> Result<(), Box<dyn Error>> {
        // The agent takes it for its own.
        kill_process(getpid(), Signal::TERM)?;
        self.agent.join().map_err(|_| "the agent panicked")?;
        Ok(self.lab.stop()?)
    }

    /// Makes every change of a log object that selects this, again and again.
    fn changes(&self, selects: Selects) -> Result<Vec<(&'static str, Row)>, Box<dyn Error>> {
        let changes = ["created", "disabled", "enabled", "deleted"];
        let mut rows: Vec<_> = changes.map(|change| (change, Row::default())).into();
        for _ in 0..ROUNDS {
            let mut url = String::new();
            for (change, row) in &mut rows {
                let since = now();
                match *change {
                    "created" => url = self.create(selects)?,
                    "deleted" => self.delete(&url)?,
                    change => self.enable(&url, change == "enabled")?,
                }
                let answered = now();
                row.answers.push(answered - since);
                let logged = matches!(*change, "created" | "enabled");
                let expected = self.expected(logged.then_some(selects));
                if self.lab.log_flows()? == expected {
                    row.at_once += 1;
                    row.later.push(Duration::ZERO);
                } else {
                    until(LIMIT, "the log flows after the answer", || {
                        Ok((self.lab.log_flows()? == expected).then_some(()))
                    })?;
                    row.later.push(answered.elapsed());
                }
            }
        }
        Ok(rows)
    }

    /// Sends packets that vm1 drops while a log object of every port comes and goes.
    fn packets(&self) -> Result<[Lag; 2], Box<dyn Error>> {
        let ends = Ends::between(host("ext1")?, host("vm1")?, Family::V4);
        let frames = (FIRST_SOURCE..60_000)
            .map(|port| ends.syn(port, 4444))
            .collect::<Result<Vec<_>, LabError>>()?;
        let enough = AtomicBool::new(false);
        let mut answers = Vec::new();
        let sent = thread::scope(|scope| -> Result<_, Box<dyn Error>> {
            let sender = scope.spawn(|| {
                let mut sent = Vec::new();
                let frames = { frames.iter() }.take_while(|_| !enough.load(Ordering::Relaxed));
                let paced = frames.inspect(|_| {
                    thread::sleep(PACE);
                    sent.push(now());
                });
                self.lab.send_paced("ext1", paced.map(Vec::as_slice))?;
                Ok::<_, LabError>(sent)
            });
            let mut turns = || -> Result<(), Box<dyn Error>> {
                for _ in 0..TURNS {
                    let url = self.create(Selects::All)?;
                    answers.push((now(), true));
                    thread::sleep(AFTER);
                    self.delete(&url)?;
                    answers.push((now(), false));
                    thread::sleep(AFTER);
                }
                // So that the last packet is recorded, and with it all that were before.
                self.create(Selects::All)?;
                thread::sleep(AFTER);
                Ok(())
            };
            let turned = turns();
            enough.store(true, Ordering::Relaxed);
            let sent = sender.join().map_err(|_| "the sender panicked")??;
            turned.map(|()| sent)
        })?;
        if sent.len() == frames.len() {
            return Err("all packets were sent before the last change".into());
        }
        let sent: BTreeMap<u16, Instant> = (FIRST_SOURCE..).zip(sent).collect();
        let last = sent.keys().next_back().copied().unwrap_or(0);
        let recorded = until(LIMIT, "a record of the last packet", || {
            let recorded = self.recorded();
            Ok(recorded.contains(&last).then_some(recorded))
        })?;
        let lag = |logged: bool| {
            let mut lag = Lag::default();
            for (answered, _) in answers.iter().filter(|(_, on)| *on == logged) {
                let within = *answered..*answered + WITHIN;
                let after = sent.iter().filter(|(_, at)| within.contains(*at));
                for (port, at) in after {
                    lag.sent += 1;
                    if recorded.contains(port) != logged {
                        lag.wrong += 1;
                        lag.last = lag.last.max(*at - *answered);
                    }
                }
            }
            lag
        };
        Ok([lag(true), lag(false)])
    }

    /// The source ports of the packets that are recorded.
    fn recorded(&self) -> BTreeSet<u16> {
        let log = fs::read_to_string(self.folder.path().join("events.log")).unwrap_or_default();
        let port = |line: &str| {
            let port = line.split_once("src_port=")?.1;
            port.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        };
        log.lines().filter_map(port).collect()
    }

    /// The log flows that there should be: those of the ports that are always logged, and of the
    /// ports that the other log object selects.
    fn expected(&self, selects: Option<Selects>) -> BTreeSet<String> {
        let mut ofports: BTreeSet<u16> = (0..self.ports / 2).map(ofport).collect();
        match selects {
            None => {}
            Some(Selects::Port(port)) => ofports.extend([ofport(port)]),
            // And the VMs of the project.
            Some(Selects::All) => ofports.extend((0..self.ports).map(ofport).chain([1, 2])),
        }
        ofports.into_iter().flat_map(log_flows_of).collect()
    }

    fn create(&self, selects: Selects) -> Result<String, Box<dyn Error>> {
        let target = match selects {
            Selects::Port(port) => Some(here(port)),
            Selects::All => None,
        };
        let log = json!({"log": {
            "resource_type": "security_group", "project_id": PROJECT, "target_id": target,
        }});
        let mut answer = self
            .http
            .post(&self.logs)
            .header("X-Auth-Token", "admin")
            .send(log.to_string())?;
        let log: Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
        let id = log["log"]["id"].as_str().ok_or("no id")?;
        Ok(format!("{}/{id}", self.logs))
    }

    fn enable(&self, url: &str, enabled: bool) -> Result<(), Box<dyn Error>> {
        let log = json!({"log": {"enabled": enabled}}).to_string();
        self.http
            .put(url)
            .header("X-Auth-Token", "admin")
            .send(log)?
            .body_mut()
            .read_to_vec()?;
        Ok(())
    }

    fn delete(&self, url: &str) -> Result<(), Box<dyn Error>> {
        self.http
            .delete(url)
            .header("X-Auth-Token", "admin")
            .call()?;
        Ok(())
    }
}

/// The lab's inventory with the ports that are plugged in, and those elsewhere.
fn inventory(ports: u16) -> Result<String, Box<dyn Error>> {
    let mut inventory: Value = serde_json::from_str(INVENTORY)?;
    let port = |id: Uuid, project: &str, group: &str, address: String| {
        json!({"id": id, "project_id": project, "security_groups": [group],
            "fixed_ips": [{"ip_address": address}]})
    };
    let address = |net: u8, n: usize| format!("{net}.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
    let plugged = (0..ports).map(|n| port(here(n), PROJECT, GROUP, address(11, n.into())));
    let others = (0..ELSEWHERE).map(|n| {
        let group = group(n % GROUPS).to_string();
        port(elsewhere(n), &project(n), &group, address(12, n))
    });
    let more: Vec<Value> = plugged.chain(others).collect();
    let groups = (0..GROUPS).map(|n| {
        let rule = json!({"id": Uuid::from_u128(0x4e_u128 << 120 | n as u128),
            "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
            "port_range_min": 22, "port_range_max": 22});
        json!({"id": group(n), "project_id": project(n), "security_group_rules": [rule]})
    });
    let groups: Vec<Value> = groups.collect();
    for (list, more) in [("ports", more), ("security_groups", groups)] {
        inventory[list].as_array_mut().ok_or(list)?.extend(more);
    }
    Ok(inventory.to_string())
}

fn configure(lab: &Lab, folder: &Path, address: &str) -> Result<(), Box<dyn Error>> {
    let place = |name: &str| folder.join(name).display().to_string();
    let tokens = place("tokens.json");
    let admin =
        json!([{"token": "admin", "user_id": "admin", "project_id": PROJECT, "roles": ["admin"]}]);
    fs::write(&tokens, admin.to_string())?;
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600))?;
    let mut config = String::new();
    for (section, options) in [
        (
            "network_log",
            vec![("local_output_log_base", place("events.log"))],
        ),
        (
            "ovs",
            vec![
                (
                    "ovsdb_connection",
                    format!("unix:{}", lab.db_socket().display()),
                ),
                (
                    "openflow_socket",
                    lab.mgmt_socket(BR_INT).display().to_string(),
                ),
            ],
        ),
        ("inventory", vec![("path", place("inventory.json"))]),
        ("database", vec![("path", place("netlog.db"))]),
        ("audit", vec![("path", place("audit.log"))]),
        (
            "api",
            vec![
                ("bind", address.to_owned()),
                ("auth_strategy", "static-tokens".to_owned()),
                ("tokens_file", tokens),
            ],
        ),
    ] {
        writeln!(config, "[{section}]")?;
        for (key, value) in options {
            writeln!(config, "{key} = {value}")?;
        }
    }
    fs::write(place("netlog.conf"), config)?;
    Ok(())
}

/// A port that is plugged into the bridge.
fn here(n: u16) -> Uuid {
    Uuid::from_u128(0x11_u128 << 120 | u128::from(n))
}

/// Its number there.
const fn ofport(n: u16) -> u16 {
    FIRST + n
}

/// A port that is not.
fn elsewhere(n: usize) -> Uuid {
    Uuid::from_u128(0x12_u128 << 120 | n as u128)
}

fn group(n: usize) -> Uuid {
    Uuid::from_u128(0x5f_u128 << 120 | n as u128)
}

/// The project of a port elsewhere or of a group. One is that of the bridge's ports.
fn project(n: usize) -> String {
    match n % PROJECTS {
        0 => PROJECT.to_owned(),
        n => format!("project-{n}"),
    }
}

/// The log objects that are there all the time: those of half of the bridge's ports, and beyond
/// them one in a hundred of a group, one in a thousand of a project, the others of a port. Half of
/// these are enabled.
fn log_object(n: usize, ports: u16) -> LogObject {
    // Spread out, as random ids are.
    let id = (n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mut log = LogObject::new(Uuid::from_u128(id), project(n));
    log.name = format!("log {n}");
    if let Some(port) = u16::try_from(n).ok().filter(|n| *n < ports / 2) {
        log.target_id = Some(here(port));
        return log;
    }
    log.enabled = n.is_multiple_of(2);
    match n % 1_000 {
        999 => {}
        of if of % 100 == 99 => log.resource_id = Some(group(n % GROUPS)),
        _ => log.target_id = Some(elsewhere(n)),
    }
    log
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn now() -> Instant {
    Instant::now()
}
