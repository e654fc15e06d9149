//! Log drivers: which types of resources can be logged, and on which ports.

use std::fmt;

use serde_json::Value;
use uuid::Uuid;

use super::{LogError, LogObject, NewLog};
use crate::inventory::{Inventory, Port};
use crate::request::{Caller, canonical_id};

/// What a log object is limited to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The resource, of the driver's type.
    pub resource_id: Option<Uuid>,
    /// The port.
    pub target_id: Option<Uuid>,
}

/// One loggable type of resource.
///
/// Another type is another implementation, registered in [`LogDrivers`]; the API asks the
/// registry and knows no type by name.
pub trait LogDriver: Send + Sync {
    /// Its name in the API.
    fn resource_type(&self) -> &'static str;

    /// Finds what a new log object names, and refuses what cannot be logged.
    fn resolve(
        &self,
        log: &NewLog,
        inventory: &Inventory,
        caller: Caller<'_>,
    ) -> Result<Scope, LogError>;

    /// Refuses a log object that names what the inventory does not hold (any more).
    fn check(&self, log: &LogObject, inventory: &Inventory) -> Result<(), LogError>;
}

/// The registered log drivers.
///
/// ```
/// use netlog_core::log::LogDrivers;
/// let types: Vec<_> = LogDrivers::default().resource_types().collect();
/// assert_eq!(types, ["security_group"]);
/// ```
pub struct LogDrivers(Vec<Box<dyn LogDriver>>);

impl fmt::Debug for LogDrivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.resource_types()).finish()
    }
}

impl Default for LogDrivers {
    /// Those of the Open vSwitch firewall.
    fn default() -> Self {
        Self(vec![Box::new(OpenVSwitchDriver)])
    }
}

impl LogDrivers {
    /// Adds a driver. Of two for one type, the first is asked.
    pub fn register(&mut self, driver: Box<dyn LogDriver>) {
        self.0.push(driver);
    }

    /// The loggable types.
    pub fn resource_types(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|driver| driver.resource_type())
    }

    /// Whether a log object names what was deleted: its driver does not find it any more.
    pub fn is_dangling(&self, log: &LogObject, inventory: &Inventory) -> bool {
        self.get(&log.resource_type)
            .is_ok_and(|driver| driver.check(log, inventory).is_err())
    }

    /// The driver of a type.
    pub fn get(&self, resource_type: &str) -> Result<&dyn LogDriver, LogError> {
        self.0
            .iter()
            .find(|driver| driver.resource_type() == resource_type)
            .map(|driver| &**driver)
            .ok_or_else(|| LogError::UnknownResourceType(resource_type.to_owned()))
    }
}

/// Security groups, as the Open vSwitch firewall enforces them.
#[derive(Clone, Copy, Debug)]
pub struct OpenVSwitchDriver;

impl LogDriver for OpenVSwitchDriver {
    fn resource_type(&self) -> &'static str {
        "security_group"
    }

    fn resolve(
        &self,
        log: &NewLog,
        inventory: &Inventory,
        caller: Caller<'_>,
    ) -> Result<Scope, LogError> {
        let group = log
            .resource_id
            .as_deref()
            .map(|id| {
                canonical_id(id)
                    .and_then(|id| inventory.security_group(id))
                    .filter(|group| caller.sees(&group.project_id) || group.shared)
                    .ok_or_else(|| LogError::ResourceNotFound(id.to_owned()))
            })
            .transpose()?;
        let port = log
            .target_id
            .as_deref()
            .map(|id| {
                canonical_id(id)
                    .and_then(|id| inventory.port(id))
                    .filter(|port| sees_port(caller, inventory, port))
                    .ok_or_else(|| LogError::TargetNotFound(id.to_owned()))
            })
            .transpose()?;
        if let Some(port) = port {
            let written = inventory.written_port(port.id);
            if !written.is_none_or(is_on_the_switch) {
                return Err(LogError::Unsupported {
                    resource_type: log.resource_type.clone(),
                    port: port.id,
                });
            }
        }
        if let (Some(group), Some(port)) = (group, port)
            && !port.security_groups.contains(&group.id)
        {
            return Err(LogError::NotAMember {
                resource_type: log.resource_type.clone(),
                resource: group.id,
                target: port.id,
            });
        }
        Ok(Scope {
            resource_id: group.map(|group| group.id),
            target_id: port.map(|port| port.id),
        })
    }

    fn check(&self, log: &LogObject, inventory: &Inventory) -> Result<(), LogError> {
        let missing = |id: &Uuid| inventory.security_group(*id).is_none();
        if let Some(group) = log.resource_id.filter(missing) {
            return Err(LogError::ResourceNotFound(group.to_string()));
        }
        let missing = |id: &Uuid| inventory.port(*id).is_none();
        if let Some(port) = log.target_id.filter(missing) {
            return Err(LogError::TargetNotFound(port.to_string()));
        }
        Ok(())
    }
}

/// Whether a port exists for a caller: their own do, and all on a network of theirs.
fn sees_port(caller: Caller<'_>, inventory: &Inventory, port: &Port) -> bool {
    let network = || inventory.network_of(port.id);
    caller.sees(&port.project_id) || network().is_some_and(|n| caller.sees(&n.project_id))
}

/// Whether a port is or will be plugged into Open vSwitch: by its binding once it is bound, by
/// what it asks for before that. A port that says nothing is.
fn is_on_the_switch(port: &Value) -> bool {
    let vif_type = port["binding:vif_type"].as_str().unwrap_or("unbound");
    match vif_type {
        "ovs" | "vhostuser" => true,
        "" | "unbound" | "binding_failed" => {
            port["binding:vnic_type"].as_str().unwrap_or("normal") == "normal"
        }
        _ => false,
    }
}
