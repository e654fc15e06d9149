//! Runs the real OpenStack client against the API, and compares what it prints with what it
//! printed when it spoke to Neutron (`fixtures/client_outputs.md`).
//!
//! It needs the client, so it runs only when asked to: `netlog-agent/tests/openstack-client`
//! installs the client and runs it, and so does `make test`. `OPENSTACK_PYTHON` names a Python that
//! has the client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use arc_swap::ArcSwap;
use netlog_agent::api::{Agent, Api, Auth, Changed, Listener, serve};
use netlog_agent::audit::Audit;
use netlog_agent::clock;
use netlog_agent::inventory::InventoryFile;
use netlog_agent::limits::{HostLimits, Setting};
use netlog_agent::metrics::Metrics;
use netlog_agent::store::{Store, StoreError};
use netlog_core::inventory::Inventory;
use netlog_core::log::LogDrivers;
use netlog_core::policy::Policy;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::oneshot;
use uuid::Uuid;

const RECORDED: &str = include_str!("fixtures/client_outputs.md");

/// The groups and the port that the recorded commands name.
const INVENTORY: &str = r#"{
  "security_groups": [
    {"id": "bfdc9e5f-5f8b-43f2-92cc-e075cef33fdf", "name": "cli-sg",
     "project_id": "fake_project_id"},
    {"id": "ccc9c8c3-ced4-4f12-a688-798bcfdad77b", "name": "cli-sg2",
     "project_id": "fake_project_id"}],
  "ports": [
    {"id": "58c40a4f-119e-4df2-b4e9-abb3aa223436", "name": "cli-port",
     "project_id": "fake_project_id",
     "security_groups": ["bfdc9e5f-5f8b-43f2-92cc-e075cef33fdf"]}]
}"#;

/// A recorded command and what came of it.
struct Recorded {
    command: &'static str,
    exit: i32,
    stdout: String,
    stderr: String,
}

/// The commands about logs, in their order.
fn recorded() -> Vec<Recorded> {
    let (commands, _) = RECORDED
        .split_once("\n# other ways to authenticate")
        .unwrap();
    commands
        .split("\n## `")
        .skip(1)
        .map(|section| {
            let (command, section) = section.split_once("`\n").unwrap();
            let mut recorded = Recorded {
                command,
                exit: -1,
                stdout: String::new(),
                stderr: String::new(),
            };
            let (before_http, _) = section.split_once("\nHTTP:").unwrap();
            let mut lines = before_http.lines();
            let mut label = "";
            while let Some(line) = lines.next() {
                if line == "```" {
                    let block = lines.by_ref().take_while(|line| *line != "```");
                    let block: String = block.map(|line| format!("{line}\n")).collect();
                    match label {
                        "stderr:" => recorded.stderr = block,
                        _ => recorded.stdout = block,
                    }
                } else if let Some(code) = line.strip_prefix("exit ") {
                    recorded.exit = code.parse().unwrap();
                } else {
                    label = line;
                }
            }
            recorded
        })
        .filter(|recorded| {
            let about = ["openstack network log", "openstack extension show logging"];
            about
                .iter()
                .any(|start| recorded.command.starts_with(start))
        })
        .collect()
}

struct Done;

impl Agent for Done {
    fn changed(&self, _: Changed) -> oneshot::Receiver<()> {
        let (done, receiver) = oneshot::channel();
        done.send(()).unwrap();
        receiver
    }

    fn ledger(&self) -> Value {
        Value::Null
    }

    fn status(&self) -> Value {
        Value::Null
    }
}

/// Every UUID in a text, as it is written.
fn ids(text: &str) -> impl Iterator<Item = Uuid> {
    text.split(|c: char| !c.is_ascii_hexdigit() && c != '-')
        .map(|word| word.trim_start_matches('-'))
        .filter(|word| word.len() == 36)
        .filter_map(|word| word.parse().ok())
}

/// What differs from one run to the next: times, request ids, remarks of the client about itself.
fn scrubbed(text: &str) -> String {
    let mut scrubbed: String = text
        .lines()
        .filter(|line| !line.starts_with("The python binding code in neutronclient"))
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    for id in ids(text) {
        scrubbed = scrubbed.replace(&format!("req-{id}"), "req-");
    }
    let words: BTreeSet<&str> = text.split(|c: char| " \"|\n".contains(c)).collect();
    for word in words {
        if word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T' {
            scrubbed = scrubbed.replace(word, "0000-00-00T00:00:00Z");
        }
    }
    scrubbed.trim_end().to_owned()
}

/// The API, open to the client.
struct Server {
    endpoint: String,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    fn start(
        store: Arc<Store>,
        inventory: Arc<ArcSwap<Inventory>>,
        inventory_file: Option<Arc<InventoryFile>>,
    ) -> Self {
        let api = Api {
            store,
            inventory,
            inventory_file,
            agent: Arc::new(Done),
            drivers: LogDrivers::default(),
            auth: Auth::NoAuth,
            policy: Arc::new(ArcSwap::from_pointee(Policy::default())),
            metrics: Arc::new(Metrics::new(Vec::new)),
            limits: Arc::new(HostLimits::new(Setting::new(None, 25).unwrap())),
            audit: Arc::new(Audit::new(|_| ())),
            clock: clock::utc_now,
        };
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().unwrap();
        let bind = "127.0.0.1:0".parse().unwrap();
        let listener = runtime.block_on(Listener::bind(&bind)).unwrap();
        let endpoint = format!("http://{}", listener.address().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            runtime.block_on(serve(listener, api, async {
                let _ = stopped.await;
            }));
        });
        Self {
            endpoint,
            stop,
            thread,
        }
    }

    fn end(self) {
        drop(self.stop);
        self.thread.join().unwrap();
    }
}

/// The OpenStack client, in a Python that runs one command after the other
/// (`openstack_client.py`).
struct Client {
    python: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a command printed.
#[derive(Deserialize)]
struct Printed {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Client {
    fn start() -> Self {
        let python = std::env::var("OPENSTACK_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openstack_client.py");
        let mut python = Command::new(python)
            .arg(script)
            .env("COLUMNS", "500")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            commands: python.stdin.take().unwrap(),
            answers: BufReader::new(python.stdout.take().unwrap()),
            python,
        }
    }

    fn run(&mut self, command: &str) -> Printed {
        writeln!(self.commands, "{command}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(
            !answer.is_empty(),
            "the client does not run: see the head of this file"
        );
        serde_json::from_str(&answer).unwrap()
    }

    fn end(mut self) {
        drop(self.commands);
        assert!(self.python.wait().unwrap().success());
    }
}

#[test]
fn the_openstack_client_prints_what_it_prints_with_neutron() {
    let mut client = Client::start();
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path().join("netlog.db")).unwrap());
    let inventory = Arc::new(ArcSwap::from_pointee(Inventory::parse(INVENTORY).unwrap()));
    let server = Server::start(Arc::clone(&store), inventory, None);
    let endpoint = &server.endpoint;

    let mut known: BTreeSet<Uuid> = ids(INVENTORY).collect();
    let mut differences = Vec::new();
    let commands = recorded();
    assert!(
        commands.len() > 35,
        "{} commands are too few",
        commands.len()
    );
    for recorded in &commands {
        let arguments = recorded.command.strip_prefix("openstack").unwrap();
        let Printed {
            exit,
            mut stdout,
            stderr,
        } = client.run(&format!(
            "openstack --os-auth-type none --os-endpoint {endpoint}{arguments}"
        ));
        // A new log object gets the id that it has in the recording.
        for mut log in store.logs().unwrap() {
            if known.contains(&log.id) {
                continue;
            }
            let id = ids(&recorded.stdout)
                .find(|id| !known.contains(id))
                .unwrap();
            stdout = stdout.replace(&log.id.to_string(), &id.to_string());
            store.delete_log::<StoreError>(log.id, |_| Ok(())).unwrap();
            log.id = id;
            store.create_logs(&[log]).unwrap();
            known.insert(id);
        }
        if exit != recorded.exit || scrubbed(&stdout) != scrubbed(&recorded.stdout) {
            differences.push(format!(
                "{}\n--- recorded: exit {}\n{}\n--- now: exit {exit}\n{stdout}{stderr}",
                recorded.command, recorded.exit, recorded.stdout
            ));
        }
        // What the client says about its own options is none of ours.
        if exit != 2 && scrubbed(&stderr) != scrubbed(&recorded.stderr) {
            differences.push(format!(
                "{}\n--- recorded:\n{}\n--- now:\n{stderr}",
                recorded.command, recorded.stderr
            ));
        }
    }
    client.end();
    server.end();
    assert!(
        differences.is_empty(),
        "{} of {} commands differ:\n{}",
        differences.len(),
        commands.len(),
        differences.join("\n")
    );
}

/// What an operator does to security groups and ports, and what the client prints of it.
#[test]
fn the_openstack_client_changes_an_inventory_that_it_may_write() {
    let mut client = Client::start();
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path().join("netlog.db")).unwrap());
    let path = folder.path().join("inventory.json");
    std::fs::write(&path, INVENTORY).unwrap();
    let file = Arc::new(InventoryFile::open(&path).unwrap());
    let server = Server::start(store, file.in_force(), Some(Arc::clone(&file)));
    let endpoint = &server.endpoint;
    let mut run = |command: &str, exit: i32| {
        let printed = client.run(&format!(
            "openstack --os-auth-type none --os-endpoint {endpoint} {command}"
        ));
        let Printed { stdout, stderr, .. } = &printed;
        assert_eq!(printed.exit, exit, "{command}\n{stdout}{stderr}");
        stdout.trim_end().to_owned() + stderr.trim_end()
    };

    let web = run("security group create web -f value -c id", 0);
    let rule = "security group rule create --protocol tcp --dst-port 443 web -f value -c id";
    let https = run(rule, 0);
    let twice = run(rule, 1);
    let told = format!("Security group rule already exists. Rule id is {https}.");
    assert!(twice.contains(&told), "{twice}");
    let columns =
        "-f csv -c \"IP Protocol\" -c \"Port Range\" -c Direction --sort-column Direction";
    assert_eq!(
        run(
            &format!("security group rule list --protocol tcp web {columns}"),
            0
        ),
        "\"IP Protocol\",\"Port Range\",\"Direction\"\n\"tcp\",\"443:443\",\"ingress\""
    );
    run("port set --security-group web cli-port", 0);
    let groups = run("port show cli-port -f value -c security_group_ids", 0);
    assert!(groups.contains(&web), "{groups}");
    let in_use = run("security group delete web", 1);
    assert!(
        in_use.contains(&format!("Security Group {web} in use.")),
        "{in_use}"
    );
    run("security group set --name www --description all web", 0);
    let shown = run("security group show www -f value -c name -c description", 0);
    assert_eq!(shown, "all\nwww");
    run("port unset --security-group www cli-port", 0);
    run(&format!("security group rule delete {https}"), 0);
    run("security group delete www", 0);
    run("port delete cli-port", 0);
    assert_eq!(run("port list -f value", 0), "");
    let groups = file.in_force().load_full();
    assert_eq!(groups.security_groups().count(), 2);
    client.end();
    server.end();
}
