//! How long the API takes for a page of a list of 1,000 and of 100,000 log objects, and for a
//! change of one of them.
//!
//! ```sh
//! cargo bench --package netlog-benches --bench log_list
//! ```
//!
//! Two agents of their own serve the API to a client in the same process. They have no switch, so
//! that a change is answered as soon as it is stored and planned.

use std::error::Error;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use netlog_agent::agent;
use netlog_agent::config::{Config, Location};
use netlog_agent::store::Store;
use netlog_core::log::{LogObject, LoggedEvent};
use tempfile::TempDir;
use uuid::Uuid;

/// How many log objects there are.
const SIZES: [usize; 2] = [1_000, 100_000];

/// How often each request is made; the median counts.
const ROUNDS: usize = 41;

/// How long an agent may take to answer at first.
const START: Duration = Duration::from_secs(60);

/// What is asked, and how. `{half}` stands for a log object in the middle.
const LISTS: [(&str, &str); 21] = [
    (
        "by port downwards, in the middle",
        "sort_key=target_id&sort_dir=desc&limit=50&marker={half}",
    ),
    ("first page", "limit=50"),
    ("a page in the middle", "limit=50&marker={half}"),
    (
        "the page before it",
        "limit=50&marker={half}&page_reverse=True",
    ),
    ("one name", "name=log%20500"),
    (
        "two names, a page",
        "name=log%20500&name=log%20700&limit=50",
    ),
    ("half of all, a page", "enabled=True&limit=50"),
    ("few of all, a page", "event=ACCEPT&limit=10"),
    ("a project, a page", "project_id=project-3&limit=50"),
    (
        "a project by name, a page",
        "project_id=project-3&sort_key=name&sort_dir=asc&limit=50",
    ),
    ("a port", "target_id={port}"),
    ("by name, a page", "sort_key=name&sort_dir=asc&limit=50"),
    (
        "by name downwards, a page",
        "sort_key=name&sort_dir=desc&limit=50",
    ),
    (
        "by name, in the middle",
        "sort_key=name&sort_dir=asc&limit=50&marker={half}",
    ),
    (
        "half of all by name, a page",
        "enabled=False&sort_key=name&sort_dir=asc&limit=50",
    ),
    (
        "enabled first, by port down",
        "sort_key=enabled&sort_dir=desc&sort_key=target_id&sort_dir=desc&limit=50",
    ),
    (
        "enabled last, by name, middle",
        "sort_key=enabled&sort_dir=asc&sort_key=name&sort_dir=desc&limit=50&marker={half}",
    ),
    (
        "by project down, then port",
        "sort_key=project_id&sort_dir=desc&sort_key=target_id&sort_dir=asc&limit=50",
    ),
    (
        "by type, project and name down",
        "sort_key=resource_type&sort_key=project_id&sort_key=name\
         &sort_dir=asc&sort_dir=asc&sort_dir=desc&limit=50&marker={half}",
    ),
    (
        "by name down, then port",
        "sort_key=name&sort_dir=desc&sort_key=target_id&sort_dir=asc&limit=50",
    ),
    (
        "half of all by group, port",
        "enabled=True&sort_key=resource_id&sort_dir=asc&sort_key=target_id&sort_dir=desc&limit=50",
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    let sites = SIZES
        .map(Site::start)
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    println!("{:<32}{:>12}{:>12}{:>8}", "µs", SIZES[0], SIZES[1], "ratio");
    for (what, parameters) in LISTS {
        for (caller, token) in [("", "admin"), (" (reader)", "reader")] {
            let list = |site: &Site| site.list(token, parameters);
            report(&format!("{what}{caller}"), &measure(&sites, list)?);
        }
    }
    report("a change of one", &measure(&sites, Site::change)?);
    Ok(())
}

/// The median time of a request at each site, in turn.
fn measure(
    sites: &[Site],
    mut request: impl FnMut(&Site) -> Result<(), Box<dyn Error>>,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let mut times = vec![Vec::new(); sites.len()];
    for _ in 0..ROUNDS {
        for (site, times) in sites.iter().zip(&mut times) {
            let since = now();
            request(site)?;
            times.push(since.elapsed());
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    Ok(times.iter_mut().map(median).collect())
}

fn report(what: &str, times: &[Duration]) {
    let [few, many] = [times[0], times[1]].map(|time| time.as_secs_f64() * 1e6);
    println!("{what:<32}{few:>12.0}{many:>12.0}{:>8.2}", many / few);
}

/// An agent with log objects.
struct Site {
    size: usize,
    address: String,
    _folder: TempDir,
}

impl Site {
    fn start(size: usize) -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        let database = folder.path().join("netlog.db");
        let logs: Vec<LogObject> = (0..size).map(log_object).collect();
        Store::open(&database)?.create_logs(&logs)?;
        // Nobody else here takes a port meanwhile.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        configure(folder.path(), &address)?;
        let files = [Location::File(folder.path().join("netlog.conf"))];
        let (config, _) = Config::load(&files)?;
        thread::spawn(move || {
            if let Err(error) = agent::run(&config, &files) {
                eprintln!("{error}");
            }
        });
        let site = Self {
            size,
            address,
            _folder: folder,
        };
        let since = now();
        while let Err(error) = site.list("admin", "limit=1") {
            if since.elapsed() > START {
                return Err(error);
            }
            thread::yield_now();
        }
        Ok(site)
    }

    fn list(&self, token: &str, parameters: &str) -> Result<(), Box<dyn Error>> {
        let parameters = parameters
            .replace("{half}", &id(self.size / 2).to_string())
            .replace("{port}", &port(self.size / 2).to_string());
        let url = format!("http://{}/v2.0/log/logs?{parameters}", self.address);
        ureq::get(url)
            .header("X-Auth-Token", token)
            .call()?
            .body_mut()
            .read_to_vec()?;
        Ok(())
    }

    fn change(&self) -> Result<(), Box<dyn Error>> {
        let id = id(self.size / 2);
        let url = format!("http://{}/v2.0/log/logs/{id}", self.address);
        let name = Uuid::new_v4();
        ureq::put(url)
            .header("X-Auth-Token", "admin")
            .send(format!(
                r#"{{"log": {{"name": "{name}", "enabled": true}}}}"#
            ))?;
        Ok(())
    }
}

fn configure(folder: &Path, address: &str) -> Result<(), Box<dyn Error>> {
    let place = |name: &str| folder.join(name).display().to_string();
    let tokens = place("tokens.json");
    let token = |name: &str, role: &str| {
        format!(
            r#"{{"token": "{name}", "user_id": "{name}", "project_id": "project-3",
                "roles": ["{role}"]}}"#
        )
    };
    let (admin, reader) = (token("admin", "admin"), token("reader", "reader"));
    fs::write(&tokens, format!("[{admin}, {reader}]"))?;
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600))?;
    let port = |n| format!(r#"{{"id": "{}", "project_id": "project-3"}}"#, port(n));
    let ports: Vec<String> = (0..SIZES[1]).map(port).collect();
    fs::write(
        place("inventory.json"),
        format!(
            r#"{{"ports": [{}], "security_groups": []}}"#,
            ports.join(",")
        ),
    )?;
    fs::write(place("policy.yaml"), "get_log: rule:regular_user\n")?;
    fs::write(
        place("netlog.conf"),
        format!(
            "[network_log]\nlocal_output_log_base = {log}\n\
             [ovs]\novsdb_connection = unix:{nothing}\nopenflow_socket = {nothing}\n\
             [inventory]\npath = {inventory}\n[database]\npath = {database}\n\
             [audit]\npath = {audit}\n[oslo_policy]\npolicy_file = {policy}\n\
             [api]\nbind = {address}\nauth_strategy = static-tokens\ntokens_file = {tokens}\n",
            log = place("events.log"),
            nothing = place("nothing"),
            inventory = place("inventory.json"),
            database = place("netlog.db"),
            audit = place("audit.log"),
            policy = place("policy.yaml"),
        ),
    )?;
    Ok(())
}

fn id(n: usize) -> Uuid {
    // Spread out, as random ids are.
    Uuid::from_u128((n as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn port(n: usize) -> Uuid {
    Uuid::from_u128(0x0f00 << 112 | n as u128)
}

fn log_object(n: usize) -> LogObject {
    let mut log = LogObject::new(id(n), format!("project-{}", n % 10));
    log.name = format!("log {n}");
    log.target_id = Some(port(n));
    log.event = if n.is_multiple_of(100) {
        LoggedEvent::Accept
    } else {
        LoggedEvent::All
    };
    log.enabled = n.is_multiple_of(2);
    log
}

#[expect(clippy::disallowed_methods, reason = "benchmarks read the clock")]
fn now() -> Instant {
    Instant::now()
}
