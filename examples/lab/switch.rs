//! The switch: daemons, bridges, ports, flows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use crate::hosts::{BR_INT, BR_PHYS, Host};
use crate::janitor::{Janitor, Process};
use crate::site::{SWITCH, Site};
use crate::wait::{LIMIT, until};
use crate::{LabError, tools};

/// Ends of the patch between the bridges.
const PATCH: (&str, &str) = ("int-br-phys", "phy-br-phys");
/// The OpenFlow port number of the patch's end on `br-phys`.
const PATCH_PHYS: u16 = 3;

impl Site {
    /// The socket of `ovsdb-server`.
    pub fn db_socket(&self) -> PathBuf {
        self.run_dir().join("db.sock")
    }

    /// The management socket of a bridge, which speaks OpenFlow.
    pub fn mgmt_socket(&self, bridge: &str) -> PathBuf {
        self.run_dir().join(format!("{bridge}.mgmt"))
    }

    /// The log file of a daemon, `ovs-vswitchd` or `ovsdb-server`.
    pub fn daemon_log(&self, daemon: &str) -> PathBuf {
        self.run_dir().join(format!("{daemon}.log"))
    }

    /// Runs `ovs-vsctl` on the lab's database and returns what it prints.
    pub fn ovs_vsctl<S: AsRef<str>>(&self, args: &[S]) -> Result<String, LabError> {
        let mut vsctl = self.tool("ovs-vsctl");
        vsctl
            .arg(format!("--db=unix:{}", self.db_socket().display()))
            .arg(format!("--timeout={}", LIMIT.as_secs()))
            .args(args.iter().map(AsRef::as_ref));
        tools::run(&mut vsctl)
    }

    /// Runs `ovs-ofctl` with OpenFlow 1.4 and returns what it prints. A bridge
    /// is called by its name.
    pub fn ovs_ofctl<S: AsRef<str>>(&self, args: &[S]) -> Result<String, LabError> {
        tools::run(&mut self.ofctl(args))
    }

    /// Runs `ovs-appctl` on the lab's `ovs-vswitchd`.
    pub fn ovs_appctl<S: AsRef<str>>(&self, args: &[S]) -> Result<String, LabError> {
        let mut appctl = self.tool("ovs-appctl");
        appctl
            .arg(format!(
                "--target={}",
                self.run_dir().join("ovs-vswitchd.ctl").display()
            ))
            .args(args.iter().map(AsRef::as_ref));
        tools::run(&mut appctl)
    }

    fn ofctl<S: AsRef<str>>(&self, args: &[S]) -> Command {
        let mut ofctl = self.tool("ovs-ofctl");
        ofctl
            .args(["-O", "OpenFlow14"])
            .arg(format!("--timeout={}", LIMIT.as_secs()))
            .args(args.iter().map(AsRef::as_ref));
        ofctl
    }

    /// A tool of Open vSwitch that knows only this lab.
    fn tool(&self, program: &str) -> Command {
        let mut command = tools::command(program);
        self.confine(&mut command);
        command.stdin(self.hold());
        command
    }

    fn confine(&self, command: &mut Command) {
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.run_dir());
        }
    }

    /// The flows of a table of `br-int`, with their counters, one a line.
    pub fn flows(&self, table: u8) -> Result<String, LabError> {
        self.ovs_ofctl(&[
            "dump-flows",
            "--no-names",
            BR_INT,
            &format!("table={table}"),
        ])
    }

    /// The log flows of `br-int`: the table and the match of each, as Open vSwitch writes them.
    pub fn log_flows(&self) -> Result<BTreeSet<String>, LabError> {
        let ours = "cookie=0x6e4c000000000000/0xffff000000000000";
        let flows = ["dump-flows", "--no-names", "--no-stats", BR_INT, ours];
        let place = |flow: &str| {
            let (table, rest) = flow.split_once("table=")?.1.split_once(',')?;
            let matches = rest.split_once("priority=")?.1.split_once(',')?.1;
            Some(format!("{table} {}", matches.split(' ').next()?))
        };
        Ok(self.ovs_ofctl(&flows)?.lines().filter_map(place).collect())
    }

    /// The ofport that each logged port's DROP log flow matches, as Open vSwitch writes it, by the
    /// slot in the flow's cookie.
    pub fn slots(&self) -> Result<BTreeMap<String, String>, LabError> {
        let flows = self.flows(93)?;
        let slot = |flow: &str| {
            let cookie = flow.split_once("cookie=0x6e4c")?.1.split(',').next()?;
            let ofport = flow.split_once("reg5=")?.1.split([' ', ',']).next()?;
            let slot = cookie.get(cookie.len().checked_sub(8)?..)?;
            Some((slot.to_owned(), ofport.to_owned()))
        };
        Ok(flows.lines().filter_map(slot).collect())
    }

    /// How many packets each log flow of `br-int` matched, as the switch says, by its cookie.
    pub fn matched(&self) -> Result<BTreeMap<String, u64>, LabError> {
        let flows = self.ovs_ofctl(&["dump-flows", "--no-names", BR_INT])?;
        let field = |flow: &str, name: &str| -> Option<String> {
            Some(flow.split_once(name)?.1.split(',').next()?.to_owned())
        };
        let matched = |flow: &str| {
            let cookie = field(flow, "cookie=")?;
            let packets = field(flow, "n_packets=")?.parse().ok()?;
            Some((cookie, packets)).filter(|(cookie, _)| cookie.starts_with("0x6e4c"))
        };
        Ok(flows.lines().filter_map(matched).collect())
    }

    /// Adds flows to a bridge, in one bundle: all or none.
    pub fn add_flows(&self, bridge: &str, flows: &str) -> Result<(), LabError> {
        tools::run_with_input(
            &mut self.ofctl(&["--bundle", "add-flows", bridge, "-"]),
            flows,
        )
        .map(drop)
    }

    /// Puts the recorded flows, and no others, on both bridges.
    pub fn load_pipeline(&self) -> Result<(), LabError> {
        self.replace_flows(BR_INT, &self.topology().br_int.concat())?;
        self.replace_flows(BR_PHYS, self.topology().br_phys)
    }

    /// Puts these flows, and no others, on a bridge.
    pub fn replace_flows(&self, bridge: &str, flows: &str) -> Result<(), LabError> {
        let mut ofctl = self.ofctl(&["--bundle", "replace-flows", bridge, "-"]);
        tools::run_with_input(&mut ofctl, flows).map(drop)
    }

    pub(crate) fn create_database(&self) -> Result<(), LabError> {
        tools::run(self.tool("ovsdb-tool").arg("create").arg(self.database())).map(drop)
    }

    fn database(&self) -> PathBuf {
        self.run_dir().join("conf.db")
    }

    pub(crate) fn start_ovsdb_server(&self, janitor: &Arc<Janitor>) -> Result<Process, LabError> {
        let socket = self.db_socket();
        // A killed predecessor leaves its socket.
        let _ = fs::remove_file(&socket);
        let server = self.start_daemon(janitor, "ovsdb-server", |command| {
            command
                .arg(self.database())
                .arg(format!("--remote=punix:{}", socket.display()));
        })?;
        self.wait_for_socket(&server, "ovsdb-server", &socket)?;
        self.ovs_vsctl(&["--no-wait", "init"])?;
        Ok(server)
    }

    pub(crate) fn start_vswitchd(&self, janitor: &Arc<Janitor>) -> Result<Process, LabError> {
        let database = format!("unix:{}", self.db_socket().display());
        let vswitchd = self.start_daemon(janitor, "ovs-vswitchd", |command| {
            command.arg(database);
        })?;
        self.wait_for_socket(
            &vswitchd,
            "ovs-vswitchd",
            &self.run_dir().join("ovs-vswitchd.ctl"),
        )?;
        // Any change will do: ovs-vsctl returns when vswitchd has put it, and
        // all bridges and ports with it, into effect.
        let change = format!("external_ids:vswitchd-pid={}", vswitchd.id());
        self.ovs_vsctl(&["set", "Open_vSwitch", ".", &change])?;
        Ok(vswitchd)
    }

    fn start_daemon(
        &self,
        janitor: &Arc<Janitor>,
        program: &str,
        configure: impl FnOnce(&mut Command) + Send,
    ) -> Result<Process, LabError> {
        let control = self.run_dir().join(format!("{program}.ctl"));
        // A killed predecessor leaves its socket.
        let _ = fs::remove_file(&control);
        self.run_in(SWITCH, || {
            janitor.spawn(program, |command| {
                self.confine(command);
                command
                    .current_dir("/")
                    .arg(format!("--unixctl={}", control.display()))
                    .arg(format!("--log-file={}", self.daemon_log(program).display()))
                    .args(["--verbose=console:off", "--verbose=syslog:off"])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                configure(command);
            })
        })?
    }

    fn wait_for_socket(&self, daemon: &Process, name: &str, socket: &Path) -> Result<(), LabError> {
        until(
            LIMIT,
            &format!("{name} to listen on {}", socket.display()),
            || {
                if let Some(status) = daemon.try_wait()? {
                    return Err(LabError::Command {
                        command: name.to_owned(),
                        status: status.to_string(),
                        stderr: fs::read_to_string(self.daemon_log(name)).unwrap_or_default(),
                    });
                }
                Ok(UnixStream::connect(socket).ok().map(drop))
            },
        )
    }

    pub(crate) fn add_bridges(&self) -> Result<(), LabError> {
        let mut transaction = Vec::new();
        for bridge in [BR_INT, BR_PHYS] {
            push(&mut transaction, &["--", "add-br", bridge]);
            push(
                &mut transaction,
                &[
                    "--",
                    "set",
                    "Bridge",
                    bridge,
                    "datapath_type=netdev",
                    "fail_mode=secure",
                    "protocols=OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14",
                ],
            );
        }
        let patch = self.patch();
        for (bridge, port, ofport, peer) in patch {
            push(&mut transaction, &["--", "add-port", bridge, port]);
            push(
                &mut transaction,
                &["--", "set", "Interface", port, "type=patch"],
            );
            transaction.push(format!("options:peer={peer}"));
            transaction.push(format!("ofport_request={ofport}"));
        }
        let hosts = self.topology().hosts;
        for host in hosts {
            transaction.extend(plugging(host, host.ofport));
        }
        self.ovs_vsctl(&transaction)?;
        for (_, port, ofport, _) in patch {
            self.expect_ofport(port, ofport)?;
        }
        hosts
            .iter()
            .try_for_each(|host| self.expect_ofport(&host.device(), host.ofport))
    }

    /// Puts a host's port on its bridge, as Nova and Neutron do, with the
    /// OpenFlow port number of the inventory.
    pub fn plug(&self, name: &str) -> Result<(), LabError> {
        let host = self.host(name)?;
        self.plug_as(name, host.ofport)
    }

    /// Puts a host's port on its bridge with another OpenFlow port number.
    pub fn plug_as(&self, name: &str, ofport: u16) -> Result<(), LabError> {
        let host = self.host(name)?;
        self.ovs_vsctl(&plugging(host, ofport))?;
        self.expect_ofport(&host.device(), ofport)
    }

    /// Puts further ports on `br-int`, each with this OpenFlow port number and the id of this
    /// Neutron port. They are ends of patches that lead nowhere, which cost Open vSwitch nothing;
    /// it would look at each tap or veth whenever it does anything, as long as packets take the
    /// userspace datapath.
    pub fn plug_more(
        &self,
        ports: impl IntoIterator<Item = (u16, String)>,
    ) -> Result<(), LabError> {
        let mut words = Vec::new();
        for (ofport, id) in ports {
            let name = format!("more{ofport}");
            push(&mut words, &["--", "add-port", BR_INT, &name]);
            push(&mut words, &["--", "set", "Interface", &name, "type=patch"]);
            words.push("options:peer=nowhere".to_owned());
            words.push(format!("ofport_request={ofport}"));
            words.push(format!("external_ids:iface-id={id}"));
        }
        self.ovs_vsctl(&words).map(drop)
    }

    /// Takes a host's port off its bridge. The cable stays.
    pub fn unplug(&self, name: &str) -> Result<(), LabError> {
        let host = self.host(name)?;
        self.ovs_vsctl(&["del-port", host.bridge, &host.device()])
            .map(drop)
    }

    /// Ends of the patch between the bridges: bridge, port, ofport, peer.
    fn patch(&self) -> [(&'static str, &'static str, u16, &'static str); 2] {
        let (int, phys) = PATCH;
        [
            (BR_INT, int, self.topology().patch, phys),
            (BR_PHYS, phys, PATCH_PHYS, int),
        ]
    }

    fn expect_ofport(&self, device: &str, ofport: u16) -> Result<(), LabError> {
        let got = self.ovs_vsctl(&["get", "Interface", device, "ofport"])?;
        if got.trim() == ofport.to_string() {
            return Ok(());
        }
        Err(LabError::Unexpected {
            what: format!("ofport of {device}"),
            expected: ofport.to_string(),
            got: got.trim().to_owned(),
        })
    }
}

/// The log flows of a port that logs ACCEPT and DROP, as [`Site::log_flows`] gives them.
pub fn log_flows_of(ofport: u16) -> [String; 5] {
    let (register, source) = (format!("reg5={ofport:#x}"), format!("in_port={ofport}"));
    [
        format!("91 {register}"),
        format!("92 {register}"),
        format!("92 {source}"),
        format!("93 {register}"),
        format!("93 {source}"),
    ]
}

/// The words of `ovs-vsctl` that put a host's port on its bridge.
fn plugging(host: &Host, ofport: u16) -> Vec<String> {
    let (device, tag) = (host.device(), host.tag);
    let mut words = Vec::new();
    push(&mut words, &["--", "add-port", host.bridge, &device]);
    words.push(format!("tag={tag}"));
    push(&mut words, &["--", "set", "Interface", &device]);
    words.push(format!("ofport_request={ofport}"));
    if host.is_vm() {
        words.push(format!("external_ids:iface-id={}", host.port_id));
        words.push(format!("external_ids:attached-mac=\"{}\"", host.mac_text()));
        words.push("external_ids:iface-status=active".to_owned());
        push(&mut words, &["--", "set", "Port", &device]);
        words.push(format!("other_config:tag={tag}"));
        words.push(format!("other_config:net_uuid={}", host.network_id));
        words.push("other_config:network_type=vlan".to_owned());
        words.push("other_config:physical_network=physnet".to_owned());
        words.push(format!("other_config:segmentation_id={}", host.segment));
    }
    words
}

fn push(words: &mut Vec<String>, more: &[&str]) {
    words.extend(more.iter().map(|&word| word.to_owned()));
}
