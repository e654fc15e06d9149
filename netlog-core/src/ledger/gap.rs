//! How losses are told: one entry for each source, reason and scope in an interval.
//!
//! The first loss is told at once. What follows of the same kind is added up, and told when the
//! interval is over, so that a flood of losses is not a flood of entries.

use std::collections::BTreeMap;
use std::time::Duration;

use time::UtcDateTime;

use crate::flow::Slot;

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Anywhere on the bridge.
    Bridge,
    /// At one port.
    Port(Slot),
    /// At ports beyond the [`MAX_SCOPES`] that are told one by one.
    OtherPorts,
}

/// What is told in one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Who lost it: `switch`, `limiter`, a sink by its name, or `agent`.
    pub source: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Where.
    pub scope: Scope,
}

/// A gap in the security event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Who, why and where.
    pub kind: Kind,
    /// How many packets or events.
    pub count: u64,
    /// Whether it may be fewer.
    pub at_most: bool,
    /// When it began at the earliest.
    pub first: UtcDateTime,
    /// When the last was lost at the latest.
    pub last: UtcDateTime,
}

/// How many scopes are told one by one.
pub const MAX_SCOPES: usize = 1000;

/// Losses that are told already or are to be told.
#[derive(Debug)]
pub struct Gaps {
    interval: Duration,
    open: BTreeMap<Kind, Open>,
}

#[derive(Debug)]
struct Open {
    /// What is not told yet.
    untold: Option<Gap>,
    /// When the next entry may be written.
    next: Duration,
}

impl Gaps {
    /// None, to be told once in an interval.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            open: BTreeMap::new(),
        }
    }

    /// Something was lost.
    pub fn add(&mut self, mut gap: Gap, now: Duration) {
        if gap.count == 0 {
            return;
        }
        if self.open.len() >= MAX_SCOPES && !self.open.contains_key(&gap.kind) {
            gap.kind.scope = Scope::OtherPorts;
        }
        let open = self.open.entry(gap.kind).or_insert(Open {
            untold: None,
            next: now,
        });
        open.untold = Some(match open.untold {
            None => gap,
            Some(before) => Gap {
                count: before.count.saturating_add(gap.count),
                at_most: before.at_most || gap.at_most,
                first: before.first.min(gap.first),
                last: before.last.max(gap.last),
                ..gap
            },
        });
    }

    /// The kinds of gaps that are open: of each something was lost within an interval.
    pub fn open(&self) -> impl Iterator<Item = &Kind> {
        self.open.keys()
    }

    /// What is to be told now.
    pub fn due(&mut self, now: Duration) -> Vec<Gap> {
        let mut due = Vec::new();
        self.open.retain(|_, open| {
            if now < open.next {
                return true;
            }
            open.next = now + self.interval;
            let told = open.untold.take();
            due.extend(told);
            told.is_some()
        });
        due
    }

    /// Everything that is not told yet: for the end.
    pub fn drain(&mut self) -> Vec<Gap> {
        let open = std::mem::take(&mut self.open);
        open.into_values().filter_map(|open| open.untold).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn gap(slot: Slot, count: u64, second: i64) -> Gap {
        let time = match UtcDateTime::from_unix_timestamp(second) {
            Ok(time) => time,
            Err(_) => UtcDateTime::UNIX_EPOCH,
        };
        Gap {
            kind: Kind {
                source: "switch",
                reason: "metered",
                scope: Scope::Port(slot),
            },
            count,
            at_most: false,
            first: time,
            last: time,
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_is_told_at_once_and_what_follows_once_an_interval() {
        let mut gaps = Gaps::new(at(60));
        gaps.add(gap(1, 5, 100), at(10));
        assert_eq!(gaps.due(at(10)), [gap(1, 5, 100)]);
        for second in 11..40 {
            gaps.add(gap(1, 2, second), at(second.cast_unsigned()));
            assert_eq!(gaps.due(at(second.cast_unsigned())), []);
        }
        // Another port is told at once.
        gaps.add(gap(2, 1, 40), at(40));
        assert_eq!(gaps.due(at(40)), [gap(2, 1, 40)]);
        let told = gaps.due(at(70));
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].count, told[0].first, told[0].last),
            (58, gap(1, 0, 11).first, gap(1, 0, 39).last)
        );
        // After an interval without any, the next is told at once.
        assert_eq!(gaps.due(at(130)), []);
        gaps.add(gap(1, 3, 131), at(131));
        assert_eq!(gaps.due(at(131)), [gap(1, 3, 131)]);
    }

    #[test]
    fn what_is_not_told_at_the_end_is_told_then() {
        let mut gaps = Gaps::new(at(60));
        gaps.add(gap(1, 5, 1), at(1));
        gaps.due(at(1));
        gaps.add(gap(1, 6, 2), at(2));
        assert_eq!(gaps.drain(), [gap(1, 6, 2)]);
        assert_eq!(gaps.drain(), []);
    }

    #[test]
    fn many_ports_are_not_many_entries() {
        let mut gaps = Gaps::new(at(60));
        for slot in 0..5000 {
            gaps.add(gap(slot, 1, 1), at(1));
        }
        let told = gaps.due(at(1));
        assert_eq!(told.len(), MAX_SCOPES + 1);
        assert_eq!(told.iter().map(|gap| gap.count).sum::<u64>(), 5000);
    }
}
