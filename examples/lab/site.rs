//! The place: names, paths and namespaces of a lab, and its cables.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use crate::error::Attempt as _;
use crate::hosts::{Host, mac_text};
use crate::janitor::Janitor;
use crate::topology::{FIRST, Topology};
use crate::{LabError, netns, tools};

/// The name of the switch's namespace for [`Site::run_in`].
pub const SWITCH: &str = "switch";

/// Kernel settings of a VM's namespace, so that it says nothing unasked and
/// answers without rate limits.
const SETTINGS: [(&str, &str); 10] = [
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/dad_transmits", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/autoconf", "0"),
    ("net/ipv6/icmp/ratelimit", "0"),
    ("net/ipv4/icmp_ratelimit", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    // Who may open ICMP datagram sockets (icmp(7)): every group.
    ("net/ipv4/ping_group_range", "0 2147483647"),
];

/// A running lab as seen by anyone who knows its run directory: its owner
/// (through [`Lab`](crate::Lab)), or another process.
#[derive(Debug, Clone)]
pub struct Site {
    run_dir: PathBuf,
    name: String,
    topology: &'static Topology,
    janitor: Option<Arc<Janitor>>,
}

impl Site {
    /// The lab of the first site with that run directory; its last component names the lab.
    pub fn at(run_dir: impl Into<PathBuf>) -> Self {
        Self::of(&FIRST, run_dir)
    }

    /// The lab of a site with that run directory.
    pub fn of(topology: &'static Topology, run_dir: impl Into<PathBuf>) -> Self {
        let run_dir = run_dir.into();
        let name = run_dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self {
            run_dir,
            name,
            topology,
            janitor: None,
        }
    }

    pub(crate) fn kept_by(self, janitor: &Arc<Janitor>) -> Self {
        Self {
            janitor: Some(Arc::clone(janitor)),
            ..self
        }
    }

    /// The standard input of a tool: the lab does not end while it works.
    pub(crate) fn hold(&self) -> Stdio {
        let hold = self
            .janitor
            .as_ref()
            .and_then(|janitor| janitor.hold().ok());
        hold.map_or_else(Stdio::null, Stdio::from)
    }

    /// The lab's name, with which the names of its namespaces begin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory with the lab's sockets, database and logs.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// What the lab is built from.
    pub fn topology(&self) -> &'static Topology {
        self.topology
    }

    /// The host of that name.
    pub fn host(&self, name: &str) -> Result<&'static Host, LabError> {
        self.topology.host(name)
    }

    /// The network namespace of a host, or of the switch.
    pub fn namespace(&self, host_or_switch: &str) -> Result<String, LabError> {
        if host_or_switch != SWITCH {
            self.host(host_or_switch)?;
        }
        Ok(format!("{}-{host_or_switch}", self.name))
    }

    pub(crate) fn namespaces(&self) -> impl Iterator<Item = String> {
        let hosts = self.topology.hosts.iter();
        hosts
            .map(|host| host.name)
            .chain([SWITCH])
            .map(|name| format!("{}-{name}", self.name))
    }

    /// Runs `f` in a thread inside a host's namespace, or the switch's.
    /// Sockets that it opens stay there. A panic goes on in the caller.
    pub fn run_in<T: Send>(
        &self,
        host_or_switch: &str,
        f: impl FnOnce() -> T + Send,
    ) -> Result<T, LabError> {
        netns::run_in(&self.namespace(host_or_switch)?, f)
    }

    /// Makes the namespaces and joins each host's to the switch's.
    pub(crate) fn lay_cables(&self) -> Result<(), LabError> {
        let mut batch = String::new();
        for namespace in self.namespaces() {
            let _ = writeln!(batch, "netns add {namespace}");
        }
        self.ip(&[], &batch)?;
        self.run_in(SWITCH, || set("net/ipv6/conf/default/disable_ipv6", "1"))??;
        for host in self.topology.hosts {
            self.run_in(host.name, || {
                SETTINGS.iter().try_for_each(|(key, value)| set(key, value))
            })??;
            self.lay_cable(host)?;
        }
        Ok(())
    }

    fn lay_cable(&self, host: &'static Host) -> Result<(), LabError> {
        let (namespace, switch) = (self.namespace(host.name)?, self.namespace(SWITCH)?);
        let (device, mac) = (host.device(), host.mac_text());
        self.ip(
            &["-n", &switch],
            &format!(
                "link add {device} type veth peer name eth0 address {mac} netns {namespace}\n\
                 link set {device} up\n"
            ),
        )?;
        let mut batch = format!(
            "link set lo up\n\
             link set eth0 arp off\n\
             addr add {}/24 dev eth0\n\
             addr add {}/64 dev eth0 nodad\n",
            host.v4, host.v6
        );
        for (_, v4) in host.pairs.iter().filter(|(mac, _)| *mac == host.mac) {
            let _ = writeln!(batch, "addr add {v4}/24 dev eth0");
        }
        batch.push_str("link set eth0 up\n");
        for other in self.topology.neighbours(host) {
            let mac = other.mac_text();
            let _ = writeln!(
                batch,
                "neigh add {} lladdr {mac} nud permanent dev eth0",
                other.v4
            );
            let _ = writeln!(
                batch,
                "neigh add {} lladdr {mac} nud permanent dev eth0",
                other.v6
            );
            for (mac, v4) in other.pairs {
                let mac = mac_text(*mac);
                let _ = writeln!(batch, "neigh add {v4} lladdr {mac} nud permanent dev eth0");
            }
        }
        self.ip(&["-n", &namespace], &batch)?;
        // The userspace datapath takes frames as they are: checksums must be
        // complete, and no frame longer than the cable's MTU.
        self.run_in(host.name, || {
            tools::run(
                tools::command("ethtool")
                    .args(["-K", Host::INTERFACE, "tx", "off"])
                    .stdin(self.hold()),
            )
        })??;
        Ok(())
    }

    /// Runs a batch of `ip` commands: all, or up to the first that fails.
    fn ip(&self, args: &[&str], batch: &str) -> Result<(), LabError> {
        let file = self.run_dir.join("ip.batch");
        fs::write(&file, batch).attempt(|| format!("write {}", file.display()))?;
        let mut ip = tools::command("ip");
        ip.args(args).arg("-batch").arg(file).stdin(self.hold());
        tools::run(&mut ip).map(drop)
    }
}

fn set(key: &str, value: &str) -> Result<(), LabError> {
    let path = Path::new("/proc/sys").join(key);
    fs::write(&path, value).attempt(|| format!("write {value} to {}", path.display()))
}
