//! Drift: events that the known rules do not explain, told from news that is only late.
//!
//! An accepted session that no rule allows, or a dropped packet that a rule allows, means that
//! somebody changed the switch behind the API, or that the inventory is stale. It may also mean
//! nothing at all: inventory and switch learn of a change at different moments, and in between
//! they disagree. So a [`Suspect`] is given a time of grace, and is *confirmed* only if no tables
//! that were in force up to that long before it or after it explain it:
//!
//! ```text
//!                grace            grace
//!          ├──────────────┤├──────────────┤
//!  tables that were     suspect      tables that come: the rule was
//!  replaced: the rule                new on the switch before it
//!  was just removed                  was known here
//! ```
//!
//! Tables that do not know the port of a suspect, since nobody logs it, cannot tell. Those that
//! were replaced explain nothing, so that drift shows from the first packet of a port that is newly
//! logged; with those that come, the suspect is given up.
//!
//! Everything is bounded: when more suspects wait than there is room for, the one that waits
//! longest is given up. What is given up is counted as [`unjudged`](DriftWatch::unjudged), and
//! raises no alarm.
//! When tables change faster than [`DriftWatch::SNAPSHOTS`] times within the grace, the oldest
//! are forgotten. Tables share what did not change, so that many of them take little.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::classify::{Suspect, Tables};
use crate::explain::Shown;
use crate::record::Action;
use crate::rule::Direction;

/// Watches suspects until it is known what to make of them.
#[derive(Debug)]
pub struct DriftWatch {
    grace: Duration,
    tables: Arc<Tables>,
    /// Tables that were replaced, with the time when, oldest first.
    replaced: VecDeque<(Duration, Arc<Tables>)>,
    /// Suspects and when their grace ends, soonest first.
    waiting: VecDeque<(Duration, Suspect)>,
    unjudged: u64,
}

impl DriftWatch {
    /// How long a suspect waits where nothing else is asked for.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);
    /// How many suspects can wait.
    pub const CAPACITY: usize = 1024;
    /// How many replaced tables are remembered.
    pub const SNAPSHOTS: usize = 64;

    /// A watch that begins with these tables.
    pub fn new(grace: Duration, tables: Arc<Tables>) -> Self {
        Self {
            grace,
            tables,
            replaced: VecDeque::with_capacity(Self::SNAPSHOTS),
            waiting: VecDeque::with_capacity(Self::CAPACITY),
            unjudged: 0,
        }
    }

    /// Takes note of the tables in force at `now`, a time since any fixed moment. Suspects that
    /// new tables explain are cleared; those of ports that they do not know are given up.
    pub fn tables(&mut self, tables: &Arc<Tables>, now: Duration) {
        if Arc::ptr_eq(&self.tables, tables) {
            return;
        }
        let old = std::mem::replace(&mut self.tables, Arc::clone(tables));
        if self.replaced.len() == Self::SNAPSHOTS {
            self.replaced.pop_front();
        }
        self.replaced.push_back((now, old));
        let unjudged = &mut self.unjudged;
        self.waiting.retain(|(_, suspect)| {
            let explained = tables.explains(suspect);
            *unjudged += u64::from(explained.is_none());
            explained == Some(false)
        });
    }

    /// Takes what the tables in force do not explain.
    pub fn suspect(&mut self, suspect: &Suspect, now: Duration) {
        self.forget(now);
        if self
            .replaced
            .iter()
            .any(|(_, tables)| tables.explains(suspect) == Some(true))
        {
            return;
        }
        if self.waiting.len() == Self::CAPACITY {
            self.waiting.pop_front();
            self.unjudged += 1;
        }
        self.waiting
            .push_back((now.saturating_add(self.grace), *suspect));
    }

    /// The next suspect whose grace has ended at `now`: it is drift.
    pub fn confirmed(&mut self, now: Duration) -> Option<Suspect> {
        self.forget(now);
        let (until, _) = self.waiting.front()?;
        if *until > now {
            return None;
        }
        self.waiting.pop_front().map(|(_, suspect)| suspect)
    }

    /// When [`confirmed`](Self::confirmed) has something to say at the earliest.
    pub fn deadline(&self) -> Option<Duration> {
        self.waiting.front().map(|(until, _)| *until)
    }

    /// How many suspects were given up, because too many waited, or because their port is not
    /// logged any more.
    pub const fn unjudged(&self) -> u64 {
        self.unjudged
    }

    /// Forgets tables that were replaced too long ago.
    fn forget(&mut self, now: Duration) {
        while let Some((at, _)) = self.replaced.front()
            && now.saturating_sub(*at) >= self.grace
        {
            self.replaced.pop_front();
        }
    }
}

/// What is told of drift: one of it stands for what else there was of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The latest event.
    pub event: Suspect,
    /// How many of the same port, action and direction there were since the last report.
    pub count: u64,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = &self.event;
        let what = match event.action {
            Action::Accept => "accepted, and no known rule allows it",
            Action::Drop => "dropped, and a rule allows it",
        };
        let (packet, direction) = (Shown(&event.packet), event.direction);
        write!(f, "{direction} {packet} was {what}; {} such", self.count)
    }
}

/// Sees to it that drift which goes on is told now and then, not each time.
#[derive(Debug, Default)]
pub struct DriftReports {
    /// When something was last told, and what was not told since.
    told: HashMap<(Uuid, Action, Direction), (Duration, u64)>,
}

impl DriftReports {
    /// The least time between two reports of one port, action and direction.
    pub const INTERVAL: Duration = Duration::from_secs(60);

    /// Takes confirmed drift; what it returns is to be told now.
    pub fn note(&mut self, event: &Suspect, now: Duration) -> Option<Drift> {
        let kind = (event.port, event.action, event.direction);
        let count = match self.told.get_mut(&kind) {
            Some((at, untold)) if now.saturating_sub(*at) < Self::INTERVAL => {
                *untold += 1;
                return None;
            }
            Some((_, untold)) => *untold + 1,
            None => 1,
        };
        self.told.insert(kind, (now, 0));
        let event = *event;
        Some(Drift { event, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::testing::{fixture, session, tables_of};
    use crate::inventory::Inventory;
    use crate::record::{Action, Format};

    const GRACE: Duration = DriftWatch::DEFAULT_GRACE;

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Tables without and with a rule for tcp/4444 to vm1.
    fn without_and_with() -> (Arc<Tables>, Arc<Tables>) {
        let mut document = fixture();
        let inventory = |document: &serde_json::Value| {
            Arc::new(Inventory::parse(&document.to_string()).unwrap())
        };
        let without = tables_of(&inventory(&document));
        let mut rule = document["security_groups"][0]["security_group_rules"][0].clone();
        rule["id"] = "4e000000-0000-4000-8000-0000000000ff".into();
        (rule["port_range_min"], rule["port_range_max"]) = (4444.into(), 4444.into());
        document["security_groups"][0]["security_group_rules"]
            .as_array_mut()
            .unwrap()
            .push(rule);
        (
            Arc::new(without),
            Arc::new(tables_of(&inventory(&document))),
        )
    }

    fn suspect(action: Action) -> Suspect {
        session(action, 4444)
    }

    #[test]
    fn what_stays_unexplained_is_confirmed_when_its_grace_ends() {
        let (without, with) = without_and_with();
        for (tables, action) in [(without, Action::Accept), (with, Action::Drop)] {
            let mut watch = DriftWatch::new(GRACE, tables);
            watch.suspect(&suspect(action), second(100));
            assert_eq!(watch.deadline(), Some(second(110)));
            assert_eq!(watch.confirmed(second(109)), None);
            assert_eq!(watch.confirmed(second(110)), Some(suspect(action)));
            assert_eq!(watch.confirmed(second(110)), None);
        }
    }

    #[test]
    fn inventory_that_comes_late_clears_what_it_explains() {
        let (without, with) = without_and_with();
        let mut watch = DriftWatch::new(GRACE, without);
        watch.suspect(&suspect(Action::Accept), second(100));
        watch.tables(&with, second(109));
        assert_eq!(watch.deadline(), None);
        assert_eq!(watch.confirmed(second(200)), None);
    }

    #[test]
    fn inventory_that_comes_too_late_does_not() {
        let (without, with) = without_and_with();
        let mut watch = DriftWatch::new(GRACE, without);
        watch.suspect(&suspect(Action::Accept), second(100));
        assert_eq!(watch.confirmed(second(110)), Some(suspect(Action::Accept)));
        watch.tables(&with, second(110));
    }

    #[test]
    fn a_switch_that_follows_late_is_forgiven() {
        // The rule is known, and the switch still drops; or it is gone, and the switch still
        // accepts.
        let (without, with) = without_and_with();
        for (old, new, action) in [
            (&without, &with, Action::Drop),
            (&with, &without, Action::Accept),
        ] {
            let mut watch = DriftWatch::new(GRACE, Arc::clone(old));
            watch.tables(new, second(100));
            watch.suspect(&suspect(action), second(109));
            assert_eq!(watch.confirmed(second(200)), None);
            // From then on it has had its time.
            watch.suspect(&suspect(action), second(110));
            assert_eq!(watch.confirmed(second(120)), Some(suspect(action)));
        }
    }

    #[test]
    fn tables_that_did_not_know_the_port_explain_nothing() {
        // A log object was made a moment ago.
        let (without, _) = without_and_with();
        let empty = Arc::new(Tables::empty(Format::default()));
        let mut watch = DriftWatch::new(GRACE, Arc::clone(&empty));
        watch.tables(&without, second(100));
        watch.suspect(&suspect(Action::Accept), second(101));
        assert_eq!(watch.confirmed(second(111)), Some(suspect(Action::Accept)));

        // And one that is deleted leaves nobody to judge.
        watch.suspect(&suspect(Action::Accept), second(112));
        watch.tables(&empty, second(113));
        assert_eq!((watch.deadline(), watch.unjudged()), (None, 1));
    }

    #[test]
    fn tables_that_change_for_another_reason_clear_nothing() {
        let (without, _) = without_and_with();
        let (same, _) = without_and_with();
        let mut watch = DriftWatch::new(GRACE, without);
        watch.suspect(&suspect(Action::Accept), second(100));
        watch.tables(&same, second(101));
        watch.suspect(&suspect(Action::Accept), second(102));
        assert!(watch.confirmed(second(110)).is_some());
        assert!(watch.confirmed(second(110)).is_none());
        assert!(watch.confirmed(second(112)).is_some());
    }

    #[test]
    fn drift_that_goes_on_is_told_now_and_then() {
        let mut reports = DriftReports::default();
        let count = |drift: Option<Drift>| drift.map(|drift| drift.count);
        let accepted = suspect(Action::Accept);
        assert_eq!(count(reports.note(&accepted, second(0))), Some(1));
        assert_eq!(count(reports.note(&accepted, second(1))), None);
        assert_eq!(count(reports.note(&accepted, second(59))), None);
        // Another kind is news.
        let dropped = suspect(Action::Drop);
        assert_eq!(count(reports.note(&dropped, second(59))), Some(1));
        let again = reports.note(&accepted, second(60)).unwrap();
        assert_eq!(
            again.to_string(),
            "ingress tcp/4444 from 10.1.0.100 to 10.1.0.11 was accepted, and no known rule \
             allows it; 3 such"
        );
    }

    #[test]
    fn a_flood_of_suspects_is_bounded_and_counted() {
        let (without, _) = without_and_with();
        let mut watch = DriftWatch::new(GRACE, without);
        for _ in 0..DriftWatch::CAPACITY + 7 {
            watch.suspect(&suspect(Action::Accept), second(1));
        }
        assert_eq!(watch.unjudged(), 7);
        let confirmed = std::iter::from_fn(|| watch.confirmed(second(11)));
        assert_eq!(confirmed.count(), DriftWatch::CAPACITY);
    }
}
