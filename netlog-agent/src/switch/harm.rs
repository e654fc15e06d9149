//! What others do to log flows, for the operator to know.

use std::collections::BTreeSet;
use std::fmt;

use netlog_core::flow::{Cookie, Slot};
use netlog_ofp::Match;

/// What was done to log flows that were in force.
///
/// Shown, it is a phrase such as `table 93 was emptied; 12 log flows of 4 ports were gone`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Harm {
    /// The log flows that were gone.
    pub missing: BTreeSet<Cookie>,
    /// The log flows that did something else or had another cookie.
    pub altered: BTreeSet<Cookie>,
    /// The log flows whose meters were gone, so that nothing limited their packet-ins.
    pub unmetered: BTreeSet<Cookie>,
    /// The log flows whose meters had other limits.
    pub remetered: BTreeSet<Cookie>,
    /// The log tables that had lost every flow, not only ours.
    pub emptied: BTreeSet<u8>,
    /// Whether it happened while there was no connection: `ovs-vswitchd` was started again, or
    /// the bridge was made anew.
    pub detached: bool,
}

impl Harm {
    /// Whether nothing was done.
    pub fn is_none(&self) -> bool {
        self.flows() == 0 && self.unmetered.is_empty() && self.remetered.is_empty()
    }

    /// How many log flows it concerns.
    pub fn flows(&self) -> usize {
        self.missing.union(&self.altered).count()
    }

    /// What it was done to.
    pub fn subject(&self) -> &'static str {
        let meters = !self.unmetered.is_empty() || !self.remetered.is_empty();
        match (self.flows() > 0, meters) {
            (true, true) => "log flows and meters",
            (false, true) => "meters",
            (_, false) => "log flows",
        }
    }

    /// The ports whose events may have been lost.
    pub fn slots(&self) -> BTreeSet<Slot> {
        slots(self.missing.iter().chain(&self.altered))
    }
}

fn slots<'a>(cookies: impl IntoIterator<Item = &'a Cookie>) -> BTreeSet<Slot> {
    cookies.into_iter().map(|cookie| cookie.slot).collect()
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detached {
            f.write_str("the switch came back after its restart or that of the bridge; ")?;
        }
        for table in &self.emptied {
            write!(f, "table {table} was emptied; ")?;
        }
        let ports = self.slots().len();
        let mut parts = Vec::new();
        match (self.missing.len(), self.altered.len()) {
            (0, 0) => {}
            (missing, 0) => parts.push(format!("{missing} log flows of {ports} ports were gone")),
            (0, altered) => {
                parts.push(format!("{altered} log flows of {ports} ports were changed"));
            }
            (missing, altered) => parts.push(format!(
                "{missing} log flows were gone and {altered} changed, of {ports} ports"
            )),
        }
        for (meters, what) in [(&self.unmetered, "gone"), (&self.remetered, "changed")] {
            if !meters.is_empty() {
                let (meters, ports) = (meters.len(), slots(meters).len());
                parts.push(format!("{meters} meters of {ports} ports were {what}"));
            }
        }
        f.write_str(&parts.join("; "))
    }
}

/// How a flow of someone else's keeps packets from a log flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstruction {
    /// It has the table, the priority and the match of a log flow, which would replace it.
    TakesPlace,
    /// Its priority is not below that of a log flow in the same table, and some packets may match
    /// both.
    ComesFirst,
}

/// A flow of someone else's that is in the way of log flows. It is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// In which way.
    pub obstruction: Obstruction,
    /// Its table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// What it matches.
    pub matches: Match,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let obstruction = match self.obstruction {
            Obstruction::TakesPlace => "takes the place of a log flow",
            Obstruction::ComesFirst => "comes before log flows",
        };
        write!(
            f,
            "the flow table={}, priority={}, cookie={:#x}, match {:?} {obstruction}",
            self.table, self.priority, self.cookie, self.matches
        )
    }
}

#[cfg(test)]
mod tests {
    use netlog_core::flow::FlowKind;

    use super::*;

    #[test]
    fn harm_is_told_of_what_was_harmed() {
        let flows = BTreeSet::from([Cookie {
            kind: FlowKind::Drop,
            slot: 7,
        }]);
        let meters = Harm {
            unmetered: flows.clone(),
            ..Harm::default()
        };
        assert_eq!(meters.subject(), "meters");
        assert_eq!(meters.to_string(), "1 meters of 1 ports were gone");
        let both = Harm {
            missing: flows.clone(),
            ..meters
        };
        assert_eq!(both.subject(), "log flows and meters");
        let altered = Harm {
            altered: flows,
            ..Harm::default()
        };
        assert_eq!(altered.subject(), "log flows");
    }
}
