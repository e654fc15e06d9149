//! The agent in a lab, and the operator's command beside it.

use std::env;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::error::Attempt as _;
use crate::topology::Topology;
use crate::wait::{LIMIT, until};
use crate::{Lab, LabError, Process};

/// Who may use the agent's API.
const OPERATOR: &str = r#"[{"token": "operator", "user_id": "operator",
    "project_id": "aaaaaaaa-0000-4000-8000-00000000000a", "roles": ["admin"]}]"#;

/// A program of this workspace, which stands beside the one that is running.
pub fn program(name: &str) -> Result<PathBuf, LabError> {
    let running = env::current_exe().attempt(|| "find the program that is running".to_owned())?;
    running
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| LabError::Unexpected {
            what: name.to_owned(),
            expected: format!(
                "beside {}; build it with `cargo build --workspace --bins`",
                running.display()
            ),
            got: "nothing".to_owned(),
        })
}

/// An agent that logs a lab's ports.
///
/// Its files are in the lab's run directory and go with it. It can be killed and started again,
/// and finds its database as it left it.
#[derive(Debug)]
pub struct Agent<'a> {
    lab: &'a Lab,
    directory: PathBuf,
    /// The size of a file system of the agent's own that it writes records to.
    disk: Option<&'static str>,
    process: Process,
}

impl<'a> Agent<'a> {
    /// Starts an agent that writes to the file `security-events.log`, and waits until it is
    /// attached to the bridge. `config` is added to its configuration: sections in INI form.
    pub fn start(lab: &'a Lab, config: &str) -> Result<Self, LabError> {
        let log = Self::directory(lab).join("security-events.log");
        let file = format!("[network_log]\nlocal_output_log_base = {}\n", log.display());
        let agent = Self::launch(lab, &(file + config))?;
        agent.wait_attached()?;
        Ok(agent)
    }

    /// Starts an agent like [`Agent::start`] that writes to a file system of its own, of this
    /// size, as `mount -t tmpfs` takes it.
    pub fn start_on_small_disk(
        lab: &'a Lab,
        config: &str,
        size: &'static str,
    ) -> Result<Self, LabError> {
        let log = Self::directory(lab).join("disk/security-events.log");
        let file = format!("[network_log]\nlocal_output_log_base = {}\n", log.display());
        let agent = Self::launch_on(lab, &(file + config), Some(size))?;
        agent.wait_attached()?;
        Ok(agent)
    }

    fn directory(lab: &Lab) -> PathBuf {
        lab.run_dir().join("agent")
    }

    /// Starts an agent with the lab's inventory, and waits for nothing.
    pub fn launch(lab: &'a Lab, config: &str) -> Result<Self, LabError> {
        Self::launch_on(lab, config, None)
    }

    fn launch_on(lab: &'a Lab, config: &str, disk: Option<&'static str>) -> Result<Self, LabError> {
        let directory = Self::directory(lab);
        fs::create_dir_all(&directory).attempt(|| format!("make {}", directory.display()))?;
        write(&directory.join("inventory.json"), lab.topology().inventory)?;
        let place = |name: &str| directory.join(name).display().to_string();
        let tokens = directory.join("tokens.json");
        write(&tokens, OPERATOR)?;
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600))
            .attempt(|| format!("close {} to others", tokens.display()))?;
        let own = format!(
            "[ovs]\novsdb_connection = unix:{db}\nopenflow_socket = {mgmt}\n\
             [inventory]\npath = {inventory}\n\
             [database]\npath = {database}\n\
             [audit]\npath = {audit}\n\
             [api]\nbind = unix:{api}\nauth_strategy = static-tokens\ntokens_file = {tokens}\n",
            db = lab.db_socket().display(),
            mgmt = lab.mgmt_socket(crate::BR_INT).display(),
            inventory = place("inventory.json"),
            database = place("netlog.db"),
            audit = place("audit.log"),
            api = place("api.sock"),
            tokens = tokens.display(),
        );
        write(&directory.join("netlog.conf"), &own)?;
        write(&directory.join("extra.conf"), config)?;
        let process = Self::spawn(lab, &directory, disk)?;
        Ok(Self {
            lab,
            directory,
            disk,
            process,
        })
    }

    fn spawn(lab: &Lab, directory: &Path, disk: Option<&'static str>) -> Result<Process, LabError> {
        let agent = lab.program("netlog-agent")?;
        let disk_at = directory.join("disk");
        if disk.is_some() {
            fs::create_dir_all(&disk_at).attempt(|| format!("make {}", disk_at.display()))?;
        }
        // The mount is seen by the agent alone, and ends with it.
        let program = disk.map_or_else(|| agent.clone(), |_| "unshare".into());
        let stderr = fs::File::options()
            .append(true)
            .create(true)
            .open(directory.join("agent.stderr"))
            .attempt(|| "open the agent's standard error".to_owned())?;
        lab.spawn(&program.to_string_lossy(), |command| {
            if let Some(size) = disk {
                let mount = "mount -t tmpfs -o size=$0 tmpfs $1 && shift && exec \"$@\"";
                command.args(["--mount", "sh", "-c", mount, size]);
                command.arg(&disk_at).arg(&agent);
            }
            command
                .arg("--config-file")
                .arg(directory.join("netlog.conf"))
                .arg("--config-file")
                .arg(directory.join("extra.conf"))
                .stdout(Stdio::null())
                .stderr(stderr);
        })
    }

    /// Waits until the agent reads packet-ins.
    pub fn wait_attached(&self) -> Result<(), LabError> {
        until(LIMIT, "the agent to attach to the bridge", || {
            self.check_running()?;
            let attached = self
                .status()
                .is_ok_and(|status| status["bridge"]["connected"] == true);
            Ok(attached.then_some(()))
        })
    }

    fn check_running(&self) -> Result<(), LabError> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => Err(LabError::Unexpected {
                what: "netlog-agent".to_owned(),
                expected: "running".to_owned(),
                got: format!("ended with {status}; it said:\n{}", self.stderr()?),
            }),
        }
    }

    /// The agent's process.
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// A file of the agent: `security-events.log`, `inventory.json`, `netlog.conf` and so on.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What the agent has said so far.
    pub fn stderr(&self) -> Result<String, LabError> {
        read(&self.file("agent.stderr"))
    }

    /// Kills the agent, as a crash would.
    pub fn kill(&self) -> Result<(), LabError> {
        self.process.kill().map(drop)
    }

    /// Asks the agent to stop, and waits until it has.
    pub fn terminate(&self) -> Result<(), LabError> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait(LIMIT)?;
        if status.success() {
            return Ok(());
        }
        Err(LabError::Unexpected {
            what: "netlog-agent after SIGTERM".to_owned(),
            expected: "exit status 0".to_owned(),
            got: format!("{status}; it said:\n{}", self.stderr()?),
        })
    }

    /// Starts the agent again after its end, and waits until it is attached.
    pub fn restart(&mut self) -> Result<(), LabError> {
        self.process = Self::spawn(self.lab, &self.directory, self.disk)?;
        self.wait_attached()
    }

    /// The `netlog` command, set up for this agent: its caller is an administrator who works for
    /// the project of vm1 and vm2.
    pub fn netlog(&self) -> Result<Command, LabError> {
        let mut command = Command::new(self.lab.program("netlog")?);
        command.env(
            "NETLOG_ENDPOINT",
            format!("unix:{}", self.file("api.sock").display()),
        );
        command.env("NETLOG_TOKEN", "operator");
        Ok(command)
    }

    /// Runs a `netlog` command.
    pub fn run_netlog(&self, args: &[&str]) -> Result<Output, LabError> {
        let output = self.netlog()?.args(args).output();
        output.attempt(|| format!("run `netlog {}`", args.join(" ")))
    }

    /// Runs a `netlog` command that has to succeed, and returns what it printed.
    pub fn netlog_ok(&self, args: &[&str]) -> Result<String, LabError> {
        let output = self.run_netlog(args)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(LabError::Command {
            command: format!("netlog {}", args.join(" ")),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr)
                .trim_end()
                .to_owned(),
        })
    }

    /// What `netlog status` knows.
    pub fn status(&self) -> Result<Value, LabError> {
        let text = self.netlog_ok(&["status", "-f", "json"])?;
        serde_json::from_str(&text).map_err(|error| LabError::Unexpected {
            what: "netlog status".to_owned(),
            expected: "JSON".to_owned(),
            got: format!("{error}: {text}"),
        })
    }

    /// The body of what the agent's API answers.
    pub fn get(&self, path: &str) -> Result<Value, LabError> {
        let mut answer = String::new();
        UnixStream::connect(self.file("api.sock"))
            .and_then(|mut api| {
                write!(
                    api,
                    "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
                     X-Auth-Token: operator\r\n\r\n"
                )?;
                api.read_to_string(&mut answer)
            })
            .attempt(|| format!("get {path}"))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let read = serde_json::from_str(body).ok();
        read.filter(|_| head.starts_with("HTTP/1.1 200 "))
            .ok_or_else(|| LabError::Unexpected {
                what: format!("the answer to GET {path}"),
                expected: "JSON".to_owned(),
                got: answer.clone(),
            })
    }

    /// The security event log, where the agent finds it.
    pub fn security_log(&self) -> PathBuf {
        let log = if self.disk.is_some() {
            "disk/security-events.log"
        } else {
            "security-events.log"
        };
        let path = self.file(log);
        match (self.disk, path.strip_prefix("/")) {
            (Some(_), Ok(inside)) => {
                PathBuf::from(format!("/proc/{}/root", self.process.id())).join(inside)
            }
            _ => path,
        }
    }

    /// All records in the security event log. What is still being written is left out.
    pub fn records(&self) -> Result<Vec<Record>, LabError> {
        let mut text = read(&self.security_log())?;
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        let topology = self.lab.topology();
        text.lines()
            .map(|line| Record::parse(line, topology))
            .collect()
    }

    /// Waits until the security event log holds `count` records more than `before`, and returns
    /// those.
    pub fn records_after(&self, before: usize, count: usize) -> Result<Vec<Record>, LabError> {
        until(
            LIMIT,
            &format!("{count} records in the security event log"),
            || {
                let records = self.records()?;
                Ok((records.len() >= before + count).then(|| records[before..].to_vec()))
            },
        )
    }
}

/// One line of the security event log, in the text layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The whole line.
    pub line: String,
    /// The event in short: `ACCEPT:vm1:in`.
    pub event: String,
    /// The log objects that it names.
    pub logs: Vec<String>,
    /// The rule that it names, or the reason of a drop.
    pub cause: String,
}

impl Record {
    fn parse(line: &str, topology: &Topology) -> Result<Self, LabError> {
        let parse = || {
            let after = |key: &str| line.split_once(key).map(|(_, rest)| rest);
            let word = |key: &str| after(key)?.split(' ').next();
            let action = word(" action=")?;
            let port = word(" vm_port=")?;
            let vm = topology.vms().find(|vm| vm.port_id == port)?.name;
            let direction = match word(" direction=")? {
                "ingress" => "in",
                "egress" => "out",
                _ => return None,
            };
            let logs = after(" log_resource_ids=[")?.split_once(']')?.0;
            Some(Self {
                line: line.to_owned(),
                event: format!("{action}:{vm}:{direction}"),
                logs: logs
                    .split(", ")
                    .map(|id| id.trim_matches('\'').to_owned())
                    .collect(),
                cause: word(" security_group_rule_id=")
                    .or_else(|| word(" reason="))?
                    .to_owned(),
            })
        };
        parse().ok_or_else(|| LabError::Unexpected {
            what: "a line of the security event log".to_owned(),
            expected: "a record in the text layout".to_owned(),
            got: line.to_owned(),
        })
    }
}

fn write(path: &Path, text: &str) -> Result<(), LabError> {
    fs::write(path, text).attempt(|| format!("write {}", path.display()))
}

fn read(path: &Path) -> Result<String, LabError> {
    fs::read_to_string(path).attempt(|| format!("read {}", path.display()))
}
