//! The agent's state: what changes anywhere becomes tables and log flows here.
//!
//! One thread owns the state and works through messages: the inventory changed, log objects
//! changed, the ports on the bridge changed, the switch came or went. After each it brings the plan
//! up to date, swaps the classifier's tables in, and tells the switch which log flows it should
//! have. Tables come first, so that nothing that was switched off is recorded while the flows are
//! still on their way out.
//!
//! Of log objects it reads those that changed, and if no port is wanted otherwise than before, there
//! is nothing more to do: what a change costs does not depend on how many log objects there are.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use arc_swap::ArcSwap;
use netlog_core::audit::{Action, Outcome};
use netlog_core::classify::Tables;
use netlog_core::drift::Drift;
use netlog_core::flow::{AttachedPort, FlowProfile, LogFlow};
use netlog_core::inventory::Inventory;
use netlog_core::ledger::Ledger;
use netlog_core::log::{LogDrivers, LogObject};
use netlog_core::plan::{Plan, Planner};
use netlog_core::policy::Policy;
use tokio::sync::oneshot;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::api::Changed;
use crate::api::policy::PolicyFileError;
use crate::audit::{self, Audit};
use crate::inventory::FileError;
use crate::ledger::Books;
use crate::limits::{HostLimits, Setting};
use crate::ovsdb::{self, Topology};
use crate::store::{Store, StoreError};
use crate::switch::{self, Switch};

use super::ReloadError;
use super::status::Status;

/// Something happened that the agent has to act on.
#[derive(Debug)]
pub(super) enum Message {
    /// Another inventory is in force, or the file was read again in vain.
    Inventory(Result<(), FileError>),
    /// Log objects changed in the store, or limits. The sender is told when the change is in force.
    Changed(Changed, oneshot::Sender<()>),
    /// News of the connection to ovsdb-server.
    Ovsdb(ovsdb::Event),
    /// News of the connection to the switch.
    Switch(switch::Event),
    /// The switch does what the known rules do not explain.
    Drift(Drift),
    /// The policy file was read again.
    Policy(Result<Policy, PolicyFileError>),
    /// Read again what can be read again.
    Reload,
    /// Finish and stop.
    Stop,
}

/// What the agent works with.
#[derive(Debug)]
pub(super) struct Parts {
    /// The bridge whose ports are logged.
    pub(super) bridge: String,
    /// Where the bridge's pipeline lets itself be logged.
    pub(super) profile: FlowProfile,
    /// Log objects and slots.
    pub(super) store: Arc<Store>,
    /// The inventory in force, shared with the API.
    pub(super) inventory: Arc<ArcSwap<Inventory>>,
    /// The classifier's tables, shared with the pipeline.
    pub(super) tables: Arc<ArcSwap<Tables>>,
    /// The counters, shared with the pipeline.
    pub(super) ledger: Arc<Ledger>,
    /// The books that they are compared in.
    pub(super) books: Arc<Books>,
    /// Who knows what log objects may name.
    pub(super) drivers: LogDrivers,
    /// What callers of the API may do, shared with it.
    pub(super) policy: Arc<ArcSwap<Policy>>,
    /// The host's limits, shared with the API and the pipeline.
    pub(super) limits: Arc<HostLimits>,
    /// Where all that happens to the logging is told.
    pub(super) audit: Arc<Audit>,
    /// The inventory file and the policy file, by the names they have in the audit log.
    pub(super) files: Files,
    /// What `netlog status` shows, shared with the API.
    pub(super) status: Arc<Status>,
}

/// What was read again because of SIGHUP.
#[derive(Debug)]
pub(super) struct Reloaded {
    pub(super) policy: Result<Policy, PolicyFileError>,
    pub(super) limits: Result<Setting, ReloadError>,
}

/// Files that are read again when they change.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) inventory: PathBuf,
    pub(super) policy: Option<PathBuf>,
}

/// The agent's state.
#[derive(Debug)]
pub(super) struct Agent {
    parts: Parts,
    planner: Planner,
    /// Log objects that have changed and are still to be read.
    unread: BTreeSet<Uuid>,
    /// Whether the ports of the last plan could not be numbered, so that it is not in force.
    behind: bool,
    /// How many log objects are enabled.
    enabled: u64,
    /// The slots of ports that were on the bridge.
    slots: HashMap<Uuid, u32>,
    /// The ports on the bridges; `None` until ovsdb-server has said.
    topology: Option<Arc<Topology>>,
    switch: Switch,
    attached: bool,
    /// The last set of log flows that was handed to the switch.
    ticket: u64,
    /// Who waits for a set of log flows to be in force, oldest first.
    waiting: VecDeque<(u64, oneshot::Sender<()>)>,
}

impl Agent {
    /// An agent that knows the log objects of the store, and no ports yet.
    ///
    /// # Errors
    /// When the log objects cannot be read.
    pub(super) fn new(parts: Parts, switch: Switch) -> Result<Self, StoreError> {
        let mut agent = Self {
            parts,
            planner: Planner::default(),
            unread: BTreeSet::new(),
            behind: false,
            enabled: 0,
            slots: HashMap::new(),
            topology: None,
            switch,
            attached: false,
            ticket: 0,
            waiting: VecDeque::new(),
        };
        agent.read_all_logs()?;
        // What was deleted while the agent was away.
        agent.delete_dangling_logs();
        Ok(agent)
    }

    /// Works through messages until one says stop. `reload` opens files anew, and reads what can
    /// be read again.
    pub(super) fn run(mut self, messages: &mpsc::Receiver<Message>, reload: impl Fn() -> Reloaded) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Stop => break,
                Message::Reload => {
                    let Reloaded { policy, limits } = reload();
                    self.policy_changed(policy);
                    self.limits_configured(limits);
                }
                Message::Inventory(told) => self.inventory_read(told),
                Message::Policy(told) => self.policy_changed(told),
                Message::Changed(what, done) => self.changed(&what, done),
                Message::Ovsdb(event) => self.ovsdb(event),
                Message::Switch(event) => self.switch_event(event),
                Message::Drift(drift) => self.drifted(&drift),
            }
        }
        self.switch.stop();
    }

    fn inventory_read(&mut self, told: Result<(), FileError>) {
        match told {
            Ok(()) => {
                self.inventory_changed();
                self.delete_dangling_logs();
                self.renew(None);
            }
            Err(error) => {
                error!("{error}; the inventory that was read before stays in force");
                let file = audit::file("data/config", &self.parts.files.inventory);
                let audit = &self.parts.audit;
                let refused = audit.did(Action::Configure, Outcome::Failure, file);
                audit.record(&refused.message(error));
            }
        }
    }

    /// Tells that another inventory is in force.
    fn inventory_changed(&self) {
        let inventory = self.parts.inventory.load();
        let ports = inventory.ports().count();
        let groups = inventory.security_groups().count();
        info!(ports, security_groups = groups, "the inventory changed");
        let file = audit::file("data/config", &self.parts.files.inventory);
        let audit = &self.parts.audit;
        let changed = audit.did(Action::Configure, Outcome::Success, file);
        audit.record(&changed.message(format_args!("{ports} ports, {groups} security groups")));
    }

    /// Deletes the log objects that name a port or security group that the inventory in force
    /// does not hold, enabled or not.
    ///
    /// The API takes a log object only if what it names is there, so what is not there any more
    /// was deleted, be it while the agent was away. An inventory without any port and group is
    /// taken for an accident of whoever writes it, and deletes nothing.
    fn delete_dangling_logs(&mut self) {
        let inventory = self.parts.inventory.load_full();
        if inventory.ports().next().is_some() || inventory.security_groups().next().is_some() {
            self.delete_logs_beyond(&inventory);
        }
    }

    /// Deletes the log objects that name what an inventory does not hold.
    fn delete_logs_beyond(&mut self, inventory: &Inventory) {
        let parts = &self.parts;
        let dangling = |log: &LogObject| parts.drivers.is_dangling(log, inventory);
        let known = self.planner.logs().filter(|log| dangling(log));
        let known: Vec<Uuid> = known.map(|log| log.id).collect();
        if known.is_empty() {
            return;
        }
        // What the store holds decides: one of them may just have been changed.
        match parts.store.delete_logs_if(&known, dangling) {
            Ok(deleted) => {
                for log in &deleted {
                    warn!(log = %log.id, "log object deleted with the port or group it names");
                    let event = parts
                        .audit
                        .did(Action::Delete, Outcome::Success, audit::log(log));
                    let event =
                        event.message("the port or security group that it names is deleted");
                    parts.audit.record(&audit::change(event, Some(log), None));
                }
                for log in deleted {
                    self.set_log(log.id, None);
                    self.planner.set_limit(log.id, None);
                }
                self.count_logs();
            }
            Err(error) => {
                error!("cannot delete the log objects of what is deleted: {error}");
                let file = audit::file("data/database", parts.store.path());
                let failed = parts.audit.did(Action::Delete, Outcome::Failure, file);
                parts.audit.record(&failed.message(error));
            }
        }
    }

    fn policy_changed(&self, told: Result<Policy, PolicyFileError>) {
        let parts = &self.parts;
        let Some(path) = &parts.files.policy else {
            return;
        };
        let file = audit::file("data/security/policy", path);
        match told {
            Ok(policy) if policy == **parts.policy.load() => {}
            Ok(policy) => {
                info!("the policy changed");
                parts.policy.store(Arc::new(policy));
                let changed = parts.audit.did(Action::Configure, Outcome::Success, file);
                parts.audit.record(&changed);
            }
            Err(error) => {
                error!("{error}; the policy that was read before stays in force");
                let refused = parts.audit.did(Action::Configure, Outcome::Failure, file);
                parts.audit.record(&refused.message(error));
            }
        }
    }

    fn limits_configured(&mut self, told: Result<Setting, ReloadError>) {
        let audit = &self.parts.audit;
        match told {
            Ok(configured) => {
                let change = self.parts.limits.configure(configured);
                if change.before != change.after {
                    info!(?change.after, "the limits changed");
                    audit.record(&audit::limits_changed(audit.agent(), change));
                    self.renew(None);
                }
            }
            Err(error) => {
                error!("{error}; the limits stay as they are");
                let refused = audit.did(Action::Configure, Outcome::Failure, audit::limits());
                audit.record(&refused.message(error));
            }
        }
    }

    /// Reads all log objects and their limits from the store.
    fn read_all_logs(&mut self) -> Result<(), StoreError> {
        let logs = self.parts.store.logs()?;
        self.parts.books.logs(logs.iter().map(|log| log.id));
        for log in logs {
            self.set_log(log.id, Some(log));
        }
        for (log, quota) in self.parts.store.log_limits()? {
            self.planner.set_limit(log, Some(quota));
        }
        self.count_logs();
        Ok(())
    }

    /// Reads the log objects that have changed, and their limits.
    fn read_logs(&mut self) -> Result<(), StoreError> {
        while let Some(&id) = self.unread.first() {
            let log = self.parts.store.log(id)?;
            let quota = self.parts.store.log_limit(id)?;
            self.set_log(id, log);
            self.planner.set_limit(id, quota);
            self.unread.remove(&id);
        }
        self.count_logs();
        Ok(())
    }

    /// A log object is this now, or gone.
    fn set_log(&mut self, id: Uuid, log: Option<LogObject>) {
        self.parts.books.log(id, log.is_some());
        self.enabled += u64::from(log.as_ref().is_some_and(|log| log.enabled));
        let was = self.planner.set_log(id, log);
        self.enabled -= u64::from(was.is_some_and(|log| log.enabled));
    }

    fn count_logs(&self) {
        let figures = self.parts.status.figures();
        figures.enabled_logs.set(self.enabled);
        let all = self.planner.logs().len() as u64;
        figures.disabled_logs.set(all - self.enabled);
    }

    fn changed(&mut self, what: &Changed, done: oneshot::Sender<()>) {
        self.unread.extend(what.logs.iter().copied());
        if let Err(error) = self.read_logs() {
            error!("cannot read the log objects that changed: {error}; trying again at the next");
            return;
        }
        let inventory = self.parts.inventory.load_full();
        if what.inventory {
            self.inventory_changed();
            // Somebody deleted the last port and group, and meant it.
            self.delete_logs_beyond(&inventory);
        }
        // One that was stored while what it names was on its way out of the inventory.
        let dangling = |id: &Uuid| {
            let log = self.planner.log(*id);
            log.is_some_and(|log| self.parts.drivers.is_dangling(log, &inventory))
        };
        if what.logs.iter().any(dangling) {
            self.delete_dangling_logs();
        }
        if what.limits || what.inventory || self.behind || self.planner.is_behind() {
            self.renew(Some(done));
        } else {
            // It has changed nothing of what is in force. Whoever waited may have gone.
            let _ = done.send(());
        }
    }

    fn ovsdb(&mut self, event: ovsdb::Event) {
        match event {
            ovsdb::Event::Connected => info!("connected to ovsdb-server"),
            ovsdb::Event::Disconnected(reason) => {
                warn!("no connection to ovsdb-server: {reason}; the ports seen last stay in force");
            }
            ovsdb::Event::Topology(topology) => {
                let bridge = &self.parts.bridge;
                let before = self
                    .topology
                    .as_ref()
                    .map(|before| before.has_bridge(bridge));
                match (before, topology.has_bridge(bridge)) {
                    (None | Some(true), false) => {
                        warn!("bridge {bridge} does not exist; waiting for it");
                        self.tell_of_bridge(Outcome::Failure, "does not exist");
                    }
                    (None | Some(false), true) => {
                        info!("bridge {bridge} is there");
                        self.tell_of_bridge(Outcome::Success, "is there");
                    }
                    (Some(false), false) | (Some(true), true) => {}
                }
                self.topology = Some(topology);
                self.renew(None);
            }
        }
    }

    fn switch_event(&mut self, event: switch::Event) {
        match event {
            switch::Event::Attached { version } => {
                info!(
                    "attached to bridge {}, OpenFlow {version}",
                    self.parts.bridge
                );
                self.attached = true;
                self.parts.books.attached();
                self.tell_of_bridge(
                    Outcome::Success,
                    format_args!("attached, OpenFlow {version}"),
                );
                self.parts.status.attached(Some(version));
                self.renew(None);
            }
            switch::Event::Detached { reason } => {
                warn!(
                    "not attached to bridge {}: {reason}; trying again",
                    self.parts.bridge
                );
                self.attached = false;
                self.parts.status.figures().detachments.add(1);
                self.tell_of_bridge(Outcome::Failure, format_args!("not attached: {reason}"));
                self.parts.status.attached(None);
                // Whoever waits is let go: the change is stored, and in force once the switch
                // is back.
                self.waiting.clear();
            }
            switch::Event::InForce { ticket, changes } => {
                if changes > 0 {
                    info!(changes, "log flows are in force");
                }
                while self.waiting.front().is_some_and(|(of, _)| *of <= ticket) {
                    if let Some((_, done)) = self.waiting.pop_front() {
                        // Whoever waited may have gone.
                        let _ = done.send(());
                    }
                }
            }
            switch::Event::Refused { reason } => {
                self.parts.status.figures().refusals.add(1);
                error!(
                    "bridge {} refused the log flows: {reason}; trying again",
                    self.parts.bridge
                );
                let message = format_args!("refused the log flows: {reason}");
                self.tell_of_bridge(Outcome::Failure, message);
            }
            switch::Event::Healed { harm, gap } => {
                let figures = self.parts.status.figures();
                figures.heals.add(u64::from(harm.flows() > 0));
                let meters = harm.unmetered.len() + harm.remetered.len();
                figures.meter_heals.add(meters as u64);
                let gap = gap.as_millis();
                let what = harm.subject();
                warn!(
                    "{what} on bridge {} are in force again after {gap} ms: {harm}",
                    self.parts.bridge
                );
                let audit = &self.parts.audit;
                let bridge = audit::bridge(&self.parts.bridge);
                let healed = audit.did(Action::Restore, Outcome::Success, bridge);
                let message = format_args!("{what} are in force again after {gap} ms: {harm}");
                audit.record(&healed.message(message));
            }
            switch::Event::Missed(missed) => {
                let bridge = &self.parts.bridge;
                warn!("while log flows on bridge {bridge} were not in force, {missed}");
                let message = format_args!("while log flows were not in force, {missed}");
                self.tell_of_bridge(Outcome::Failure, message);
            }
            switch::Event::Unmetered { reason } => {
                self.parts.status.figures().unmetered.add(1);
                warn!(
                    "bridge {} does not meter all log flows, so that a flood on one can cost \
                     others their events: {reason}",
                    self.parts.bridge
                );
                let message = format_args!("does not meter all log flows: {reason}");
                self.tell_of_bridge(Outcome::Failure, message);
            }
            switch::Event::Counted(counts) => self.parts.books.counted(&counts),
            switch::Event::Obstructed { obstacles } => {
                let figures = self.parts.status.figures();
                figures.obstacles.set(obstacles.len() as u64);
                for obstacle in &obstacles {
                    error!("on bridge {} {obstacle}", self.parts.bridge);
                    self.tell_of_bridge(Outcome::Failure, obstacle);
                }
                if obstacles.is_empty() {
                    info!("nothing is in the way of log flows any more");
                    self.tell_of_bridge(Outcome::Success, "nothing is in the way of log flows");
                }
            }
            switch::Event::Unmonitored { reason } => {
                warn!(
                    "bridge {} does not tell of changes to its flows, which are read every 5 s \
                     instead: {reason}",
                    self.parts.bridge
                );
                let message = format_args!("does not tell of changes to its flows: {reason}");
                self.tell_of_bridge(Outcome::Failure, message);
            }
        }
    }

    /// Raises an alarm: somebody changed the switch behind the API, or the inventory is stale.
    fn drifted(&self, drift: &Drift) {
        let id = drift.event.port;
        let inventory = self.parts.inventory.load();
        let port = audit::port(id, inventory.port(id));
        let name = port.name.as_deref().unwrap_or_default();
        warn!(port = %id, name, "the switch and the known rules do not agree: {drift}");
        let audit = &self.parts.audit;
        audit.record(&audit.saw(Outcome::Failure, port).message(drift));
    }

    /// Tells the audit log what is seen of the bridge.
    fn tell_of_bridge(&self, outcome: Outcome, message: impl fmt::Display) {
        let audit = &self.parts.audit;
        let seen = audit.saw(outcome, audit::bridge(&self.parts.bridge));
        audit.record(&seen.message(message));
    }

    /// Brings plan, tables and log flows up to date, once the ports are known.
    fn renew(&mut self, done: Option<oneshot::Sender<()>>) {
        let Some(topology) = &self.topology else {
            return;
        };
        let inventory = self.parts.inventory.load_full();
        let plan = self.planner.update(&inventory);
        let attached = attached_ports(&self.parts, topology, plan, &mut self.slots);
        self.behind = attached.is_err();
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) => {
                error!("cannot number the ports, so that their logging stays as it is: {error}");
                return;
            }
        };
        let parts = &self.parts;
        let tables = parts.tables.load();
        let tables = tables.renew(plan, &inventory, &attached, &parts.ledger);
        parts.tables.store(Arc::new(tables));
        parts
            .books
            .name(attached.iter().map(|port| (port.slot, port.id)));
        parts.status.ports(plan, &attached);

        let flows: Vec<LogFlow> = attached
            .iter()
            .filter_map(|port| Some((port, plan.get(&port.id)?)))
            .flat_map(|(port, plan)| parts.profile.log_flows(plan, port.slot, port.ofport))
            .collect();
        parts.status.figures().log_flows.set(flows.len() as u64);
        self.ticket += 1;
        let limits = **parts.limits.in_force().load();
        self.switch.want(self.ticket, flows, limits);
        if self.attached
            && let Some(done) = done
        {
            self.waiting.push_back((self.ticket, done));
        }
    }
}

/// The ports of the plan that are on the bridge. Adds to `slots` those that are new.
fn attached_ports(
    parts: &Parts,
    topology: &Topology,
    plan: &Plan,
    slots: &mut HashMap<Uuid, u32>,
) -> Result<Vec<AttachedPort>, StoreError> {
    let ports: Vec<(Uuid, u32)> = topology
        .ports(&parts.bridge)
        .filter(|port| !port.shadowed)
        .filter_map(|port| Some((port.iface_id.as_deref()?.parse().ok()?, port.ofport?)))
        .filter(|(id, _)| plan.contains_key(id))
        .collect();
    let ids = ports.iter().map(|(id, _)| *id);
    let new: Vec<Uuid> = ids.filter(|id| !slots.contains_key(id)).collect();
    if !new.is_empty() {
        let given = parts.store.slots(&new)?;
        slots.extend(new.into_iter().zip(given));
    }
    let attach = |(id, ofport): (Uuid, u32)| {
        let slot = *slots.get(&id)?;
        Some(AttachedPort { id, slot, ofport })
    };
    Ok(ports.into_iter().filter_map(attach).collect())
}
