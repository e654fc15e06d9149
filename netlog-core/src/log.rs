//! Log objects: what operators ask to be logged.
//!
//! A request body becomes a [`NewLog`] or a [`LogChange`]; a [`LogDriver`] says what a new log
//! may name; the result is a [`LogObject`]. Everything that can be wrong is a [`LogError`], with
//! the words and the HTTP status of Neutron's logging API.

mod driver;
mod error;
mod request;

pub use driver::{LogDriver, LogDrivers, OpenVSwitchDriver, Scope};
pub use error::LogError;
pub use request::{LogChange, NewLog, NewLogs, check_object, refuse_type, refuse_type_change};

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::UtcDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;
use uuid::Uuid;

use crate::plan::SECURITY_GROUP;
pub use crate::python::{decimal, int as integer};

/// Which security events a log object asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LoggedEvent {
    /// Accepted sessions and dropped packets.
    #[default]
    All,
    /// Accepted sessions.
    Accept,
    /// Dropped packets.
    Drop,
}

impl LoggedEvent {
    /// Whether accepted sessions are asked for.
    pub const fn accept(self) -> bool {
        matches!(self, Self::All | Self::Accept)
    }

    /// Whether dropped packets are asked for.
    pub const fn drop(self) -> bool {
        matches!(self, Self::All | Self::Drop)
    }

    /// Neutron's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
        }
    }
}

impl fmt::Display for LoggedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is none of `ALL`, `ACCEPT` and `DROP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("event must be ALL, ACCEPT or DROP")]
pub struct UnknownEvent;

impl FromStr for LoggedEvent {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        [Self::All, Self::Accept, Self::Drop]
            .into_iter()
            .find(|event| event.as_str() == text)
            .ok_or(UnknownEvent)
    }
}

/// A log object of Neutron's logging API (`/v2.0/log/logs`).
///
/// Which ports it selects is decided in [`plan`](crate::plan).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogObject {
    /// Its id, which records name.
    pub id: Uuid,
    /// The project that owns it.
    pub project_id: String,
    /// Its name, which need not be unique.
    pub name: String,
    /// Free text.
    pub description: String,
    /// The loggable resource type; `security_group` is the one that Open vSwitch offers.
    pub resource_type: String,
    /// The security group that it is limited to.
    pub resource_id: Option<Uuid>,
    /// The port that it is limited to.
    pub target_id: Option<Uuid>,
    /// Which events it asks for.
    pub event: LoggedEvent,
    /// Whether it is in force.
    pub enabled: bool,
    /// Number of changes since it was created.
    pub revision_number: u64,
    /// When it was created.
    pub created_at: UtcDateTime,
    /// When it was last changed.
    pub updated_at: UtcDateTime,
}

/// How Neutron writes a time: UTC, whole seconds.
const TIMESTAMP: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// A time as Neutron writes it.
pub(crate) fn timestamp(at: UtcDateTime) -> String {
    // Formatting a date with a format that was checked at compile time does not fail.
    at.format(TIMESTAMP).unwrap_or_default()
}

impl LogObject {
    /// A log object of a project that asks for every security event of its ports: enabled, of
    /// the resource type `security_group`, without a name, never changed. Fields that are to be
    /// otherwise are set by the caller.
    ///
    /// ```
    /// # use netlog_core::log::{LogObject, LoggedEvent};
    /// # use uuid::Uuid;
    /// let drops = LogObject {
    ///     event: LoggedEvent::Drop,
    ///     ..LogObject::new(Uuid::from_u128(1), "demo")
    /// };
    /// assert!(drops.enabled && drops.resource_id.is_none() && drops.target_id.is_none());
    /// ```
    pub fn new(id: Uuid, project_id: impl Into<String>) -> Self {
        Self {
            id,
            project_id: project_id.into(),
            name: String::new(),
            description: String::new(),
            resource_type: SECURITY_GROUP.to_owned(),
            resource_id: None,
            target_id: None,
            event: LoggedEvent::All,
            enabled: true,
            revision_number: 0,
            created_at: UtcDateTime::UNIX_EPOCH,
            updated_at: UtcDateTime::UNIX_EPOCH,
        }
    }

    /// The object as Neutron's API shows it.
    pub fn to_json(&self) -> Value {
        json!({
            "id": self.id,
            "project_id": self.project_id,
            "tenant_id": self.project_id,
            "name": self.name,
            "description": self.description,
            "resource_type": self.resource_type,
            "resource_id": self.resource_id,
            "target_id": self.target_id,
            "event": self.event,
            "enabled": self.enabled,
            "revision_number": self.revision_number,
            "created_at": timestamp(self.created_at),
            "updated_at": timestamp(self.updated_at),
        })
    }
}
