//! Numbers that belong together, and how they are shown.

use netlog_core::ledger::EventFigures;
use netlog_core::ledger::balance::Figures;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What the switch and the agent counted of the packets of a log flow, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FlowFigures {
    /// What the switch counted, and what became of it.
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// Packet-ins that came.
    pub(crate) received: u64,
}

impl FlowFigures {
    /// Both together.
    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            figures: self.figures.plus(other.figures),
            received: self.received + other.received,
        }
    }

    /// The members `matched` and `uncounted`, `metered`, `received` and `lost_in_switch`, of which
    /// the first two are as many as the others, and `unsettled`, by how much they are not yet.
    pub(crate) fn to_json(self) -> Map<String, Value> {
        let Self { figures, received } = self;
        members([
            ("matched", figures.matched.into()),
            ("uncounted", figures.uncounted.into()),
            ("metered", figures.metered.into()),
            ("received", received.into()),
            ("lost_in_switch", figures.lost.into()),
            ("unsettled", figures.unsettled(received).into()),
        ])
    }
}

impl FromIterator<Self> for FlowFigures {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        all.into_iter().fold(Self::default(), Self::plus)
    }
}

/// What became of events: the member `events`, and those that add up to it, of which `suppressed`
/// has one for each limit.
pub(crate) fn events_json(events: EventFigures) -> Map<String, Value> {
    members([
        ("events", events.events.into()),
        ("folded", events.folded.into()),
        (
            "suppressed",
            json!({
                "rate-limit": events.suppressed,
                "log-limit": events.log_limited,
            }),
        ),
        ("written", events.written.into()),
        ("failed", events.failed.into()),
        ("pending", events.pending().into()),
    ])
}

fn members<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    let members = members.map(|(name, value)| (name.to_owned(), value));
    Map::from_iter(members)
}
