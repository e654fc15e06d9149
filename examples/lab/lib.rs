//! The live lab: a private Open vSwitch with the pipeline that Neutron's
//! firewall driver programs, five VMs on it and two hosts beyond it, and real
//! traffic between them.
//!
//! ```text
//!   vm1 vm2 vm3 vm4      vm5              ext1        ext2
//!    1   2   3   4        5                1           2
//!  ┌─┴───┴───┴───┴────────┴─┐           ┌──┴───────────┴──┐
//!  │ br-int   6 int-br-phys ├───────────┤ 3 phy-br-phys   │
//!  └────────────────────────┘           └───────── br-phys┘
//!      VLAN 1 = net1 = segment 101      VLAN 2 = net2 = segment 102
//! ```
//!
//! That is the [first site](FIRST). A lab can be built from another [`Topology`]: there is a
//! [second site](SECOND) with ten VMs, on two networks whose addresses overlap.
//!
//! # What is real
//!
//! The switch is Open vSwitch's own `ovs-vswitchd` with its userspace
//! datapath, the flows were recorded from Neutron (`pipeline/`), each VM is a
//! network namespace with the kernel's own TCP/IP, and every packet crosses a
//! veth. Nothing is simulated, so what a test sees here is what an operator
//! sees.
//!
//! # What is private
//!
//! Everything: the daemons run in a namespace of the lab's own (two userspace
//! datapaths in one namespace would collide on the tap `ovs-netdev`), with
//! their sockets, database and logs in a run directory of the lab's own, and
//! every interface is created inside a namespace. So a lab runs beside a
//! system's Open vSwitch, and beside other labs. Only the names of namespaces
//! are seen by others; they carry the process id and a counter.
//!
//! # What is silent
//!
//! A test must see the packets that it sends and no others. The VMs'
//! interfaces are `NOARP` with permanent neighbours, so the kernel sends no
//! ARP, no neighbour or router discovery and, having joined no solicited-node
//! group, no multicast listener report.
//!
//! # How it ends
//!
//! There is one way, whether the owner calls [`Lab::stop`], drops the lab,
//! panics, is interrupted or is killed: a small shell script, the janitor,
//! reads the end of a pipe that the owner holds, ends the processes, and
//! removes namespaces and files. What is about to be created is registered
//! with it first.
//!
//! # Example
//!
//! ```no_run
//! use netlog_lab::{Family, Lab, Options};
//!
//! # fn main() -> Result<(), netlog_lab::LabError> {
//! let lab = Lab::start(&Options::default())?;
//! lab.tcp_exchange("ext1", "vm1", Family::V4, 22, 3)?;
//! println!("{}", lab.flows(92)?);
//! lab.stop()
//! # }
//! ```

mod agent;
mod check;
mod error;
pub mod frames;
mod hosts;
mod janitor;
mod netns;
mod second;
mod site;
pub mod steps;
mod switch;
mod tools;
mod topology;
mod traffic;
mod wait;

use std::env;
use std::fs::DirBuilder;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

pub use agent::{Agent, Record, program};
pub use check::check;
pub use error::{LabError, Missing};
pub use hosts::{BR_INT, BR_PHYS, Family, HOSTS, Host, VM3_OTHER_PAIR, VM3_PAIR, host, mac_text};
pub use janitor::Process;
pub use site::{SWITCH, Site};
pub use switch::log_flows_of;
pub use topology::{FIRST, SECOND, SECOND_EGRESS_DIRECT, Topology};
pub use traffic::any_port;
pub use wait::{LIMIT, until};

use error::Attempt as _;
use janitor::{Janitor, lock};
use nix::sys::signal::Signal;

/// Neutron's ports, security groups and address groups of the first site, as JSON in
/// the shape of Neutron's API.
pub const INVENTORY: &str = include_str!("pipeline/inventory.json");
/// Four log objects for this inventory, as JSON in the shape of Neutron's API:
/// vm1, vm2 and vm3 log ACCEPT and DROP, vm5 DROP, vm4 nothing.
pub const LOGS: &str = include_str!("pipeline/logs.json");
/// Log flows for these log objects, written by hand, with plain `controller`
/// actions.
pub const LOG_FLOWS: &str = include_str!("pipeline/log.flows");

/// How to start a lab.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory in which the run directory is made; by default the
    /// system's directory of temporary files.
    pub parent: PathBuf,
    /// Whether to load the recorded flows; without them the bridges forward
    /// nothing. Default: yes.
    pub pipeline: bool,
    /// The site. Default: the [first](FIRST).
    pub topology: &'static Topology,
    /// The directory of the agent and the `netlog` command. Default: that of the [program] which
    /// is running.
    pub programs: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parent: env::temp_dir(),
            pipeline: true,
            topology: &FIRST,
            programs: None,
        }
    }
}

/// A running lab, which lives as long as this value. What can be done in it is
/// on [`Site`].
#[derive(Debug)]
pub struct Lab {
    site: Site,
    programs: Option<PathBuf>,
    janitor: Arc<Janitor>,
    ovsdb_server: Mutex<Process>,
    vswitchd: Mutex<Process>,
}

impl Lab {
    /// Brings up a lab: namespaces, switch, ports, and the pipeline.
    pub fn start(options: &Options) -> Result<Self, LabError> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        check()?;
        let name = format!(
            "netlog-{}-{}",
            process::id(),
            LABS.fetch_add(1, Ordering::Relaxed)
        );
        let site = Site::of(options.topology, options.parent.join(name));
        let janitor = Janitor::start(site.name())?;
        let site = site.kept_by(&janitor);
        match Self::bring_up(&site, &janitor, options) {
            Ok((ovsdb_server, vswitchd)) => Ok(Self {
                site,
                programs: options.programs.clone(),
                janitor,
                ovsdb_server: Mutex::new(ovsdb_server),
                vswitchd: Mutex::new(vswitchd),
            }),
            Err(error) => {
                end(&janitor);
                Err(error)
            }
        }
    }

    fn bring_up(
        site: &Site,
        janitor: &Arc<Janitor>,
        options: &Options,
    ) -> Result<(Process, Process), LabError> {
        let run_dir = site.run_dir();
        let namespaces: Vec<String> = site.namespaces().collect();
        // Only what is not there yet will be the lab's.
        for path in namespaces
            .iter()
            .map(|name| netns::path(name))
            .chain([run_dir.to_owned()])
        {
            if path.exists() {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists))
                    .attempt(|| format!("make {}", path.display()));
            }
        }
        janitor.register("dir", &run_dir.to_string_lossy())?;
        for namespace in namespaces {
            janitor.register("netns", &namespace)?;
        }
        DirBuilder::new()
            .mode(0o700)
            .create(run_dir)
            .attempt(|| format!("make {}", run_dir.display()))?;
        site.lay_cables()?;
        site.create_database()?;
        let ovsdb_server = site.start_ovsdb_server(janitor)?;
        let vswitchd = site.start_vswitchd(janitor)?;
        site.add_bridges()?;
        if options.pipeline {
            site.load_pipeline()?;
        }
        Ok((ovsdb_server, vswitchd))
    }

    /// Ends the lab, and makes sure that nothing of it is left.
    pub fn stop(self) -> Result<(), LabError> {
        self.janitor.finish()
    }

    /// The agent or the `netlog` command.
    fn program(&self, name: &str) -> Result<PathBuf, LabError> {
        match &self.programs {
            Some(directory) => Ok(directory.join(name)),
            None => program(name),
        }
    }

    /// Starts a program that belongs to the lab: it ends with the lab at the
    /// latest. It runs in the caller's network namespace, from where the
    /// switch's sockets can be reached. `configure` adds arguments,
    /// environment and outputs; standard input is `/dev/null`.
    pub fn spawn(
        &self,
        program: &str,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Process, LabError> {
        self.janitor.spawn(program, configure)
    }

    /// Starts a program like [`Lab::spawn`], inside a host or the switch's
    /// namespace ([`SWITCH`]).
    pub fn spawn_in(
        &self,
        host: &str,
        program: &str,
        configure: impl FnOnce(&mut Command) + Send,
    ) -> Result<Process, LabError> {
        self.run_in(host, || self.janitor.spawn(program, configure))?
    }

    /// Kills `ovs-vswitchd`. The database and the kernel's interfaces stay,
    /// forwarding stops, every OpenFlow connection ends.
    pub fn kill_vswitchd(&self) -> Result<(), LabError> {
        lock(&self.vswitchd).kill().map(drop)
    }

    /// Sends a signal to `ovs-vswitchd`: after `SIGSTOP` it does nothing and its sockets stay open,
    /// until `SIGCONT`.
    pub fn signal_vswitchd(&self, signal: Signal) -> Result<(), LabError> {
        lock(&self.vswitchd).signal(signal)
    }

    /// Starts `ovs-vswitchd` again after [`Lab::kill_vswitchd`]. Ports keep
    /// their numbers; the flows are gone until [`Site::load_pipeline`].
    pub fn start_vswitchd(&self) -> Result<(), LabError> {
        *lock(&self.vswitchd) = self.site.start_vswitchd(&self.janitor)?;
        Ok(())
    }

    /// Kills `ovsdb-server`. With it `ovs-vswitchd` loses its lock on the
    /// database, and until it has it again it neither forwards in userspace
    /// nor answers OpenFlow, though its sockets stay open.
    pub fn kill_ovsdb_server(&self) -> Result<(), LabError> {
        lock(&self.ovsdb_server).kill().map(drop)
    }

    /// Starts `ovsdb-server` again after [`Lab::kill_ovsdb_server`], with the
    /// database as it was. The flows are
    /// still there.
    pub fn start_ovsdb_server(&self) -> Result<(), LabError> {
        *lock(&self.ovsdb_server) = self.site.start_ovsdb_server(&self.janitor)?;
        Ok(())
    }
}

impl Deref for Lab {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        end(&self.janitor);
    }
}

/// Ends a lab where no error can be returned.
fn end(janitor: &Janitor) {
    if let Err(error) = janitor.finish() {
        eprintln!("netlog-lab: {error}");
    }
}
