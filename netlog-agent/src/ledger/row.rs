//! What is stored of the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use netlog_core::flow::{Cookie, FlowKind};
use netlog_core::ledger::EventFigures;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::figures::FlowFigures;
use super::marks::Mark;

/// The numbers of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PortRow {
    /// Those of its log flows, in the order of [`FlowKind::ALL`].
    pub(super) flows: [FlowFigures; FlowKind::ALL.len()],
    #[serde(flatten)]
    pub(super) events: EventFigures,
    pub(super) drifted: u64,
    /// When something came last, and when something was lost last, in seconds since 1970.
    pub(super) traffic: Option<i64>,
    pub(super) gap: Option<i64>,
}

/// The numbers of the bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct BridgeRow {
    /// The start of the host that times of the monotonic clock are counted from.
    pub(super) boot: String,
    /// When the rows were stored, on the monotonic clock and in seconds since 1970.
    pub(super) stored_at: Duration,
    pub(super) stored_time: i64,
    /// Whether the agent stopped in order after that.
    pub(super) stopped: bool,
    pub(super) received: u64,
    pub(super) unknown_flow: u64,
    pub(super) malformed: u64,
    pub(super) unwanted: u64,
    pub(super) sessions_evicted: u64,
    pub(super) drift_unjudged: u64,
    /// Records that failed, by reason.
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) gap: Option<i64>,
}

/// The mark of a counter of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MarkRow {
    packets: u64,
    born: Duration,
}

impl From<Mark> for MarkRow {
    fn from(Mark { packets, born }: Mark) -> Self {
        Self { packets, born }
    }
}

impl From<MarkRow> for Mark {
    fn from(MarkRow { packets, born }: MarkRow) -> Self {
        Self { packets, born }
    }
}

/// The key of the bridge's row.
pub(super) const BRIDGE: &str = "bridge";

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Bridge,
    Port(u32),
    Flow(Cookie),
    /// That of the log flow with this cookie.
    Meter(Cookie),
    Log(Uuid),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bridge => f.write_str(BRIDGE),
            Self::Port(slot) => write!(f, "port/{slot}"),
            Self::Flow(cookie) => write!(f, "flow/{:#x}", cookie.to_bits()),
            Self::Meter(cookie) => write!(f, "meter/{:#x}", cookie.to_bits()),
            Self::Log(id) => write!(f, "log/{id}"),
        }
    }
}

impl Key {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text.split_once('/') {
            None if text == BRIDGE => Self::Bridge,
            Some(("port", slot)) => Self::Port(slot.parse().ok()?),
            Some(("log", id)) => Self::Log(id.parse().ok()?),
            Some(("flow", bits)) => Self::Flow(cookie(bits)?),
            Some(("meter", bits)) => Self::Meter(cookie(bits)?),
            _ => return None,
        })
    }
}

fn cookie(text: &str) -> Option<Cookie> {
    let bits = u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()?;
    Cookie::from_bits(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let cookie = Cookie {
            kind: FlowKind::Drop,
            slot: 7,
        };
        for key in [
            Key::Bridge,
            Key::Port(7),
            Key::Flow(cookie),
            Key::Meter(cookie),
            Key::Log(Uuid::from_u128(5)),
        ] {
            assert_eq!(Key::parse(&key.to_string()), Some(key));
        }
        for text in [
            "", "port/", "port/x", "flow/0x1", "meter/9", "log/1", "what/1",
        ] {
            assert_eq!(Key::parse(text), None, "{text}");
        }
    }
}
