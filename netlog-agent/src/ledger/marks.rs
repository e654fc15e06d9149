//! Which packets of a counter of the switch are accounted for, over restarts of the agent.
//!
//! The switch tells a counter that it has not told before in full, with all that it counted before
//! the agent came. Here each counter has a mark: how far it was accounted for when that was stored
//! last, and when it began, so that the next agent knows it again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::switch::{Count, CounterState};

/// How exactly the switch says how old a counter is, and a little more.
const SLACK: Duration = Duration::from_secs(2);

/// How far a counter is accounted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its packets that are.
    pub(super) packets: u64,
    /// When it began, on the monotonic clock.
    pub(super) born: Duration,
}

/// What is added to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Added {
    /// So many packets.
    pub(super) more: u64,
    /// The counter is gone without having told all.
    pub(super) cut_short: bool,
}

/// The marks of one kind of counter.
#[derive(Debug)]
pub(super) struct Marks<K> {
    /// Those of counters that were told by this process.
    running: BTreeMap<K, Mark>,
    /// Those that were stored and not told since.
    stored: BTreeMap<K, Mark>,
    /// When they were stored; `None` when nothing is stored, or the host was started since.
    stored_at: Option<Duration>,
    started: Duration,
    /// What has another mark than the store knows.
    changed: BTreeSet<K>,
}

impl<K: Copy + Ord> Marks<K> {
    /// The marks that were stored at a time on the monotonic clock, if they still mean anything.
    pub(super) fn new(
        stored: BTreeMap<K, Mark>,
        stored_at: Option<Duration>,
        started: Duration,
    ) -> Self {
        Self {
            running: BTreeMap::new(),
            stored,
            stored_at,
            started,
            changed: BTreeSet::new(),
        }
    }

    /// Takes note of what a counter says now, and answers with what is to be added.
    pub(super) fn take(&mut self, count: &Count<K>, now: Duration) -> Added {
        let key = count.of;
        let mut cut_short = false;
        let more = match count.counter {
            CounterState::Running { packets, age } => {
                let born = now.saturating_sub(age);
                let before = self.running.insert(key, Mark { packets, born });
                self.changed.insert(key);
                if before.is_some() || count.more != packets {
                    count.more
                } else {
                    self.first(key, packets, born)
                }
            }
            CounterState::Ended => {
                // Its mark stays: it may be that of the next of this name already, whose beginning
                // can be told before this end.
                match self.stored.remove(&key) {
                    Some(mark) if !self.running.contains_key(&key) => {
                        count.more.saturating_sub(mark.packets)
                    }
                    _ => count.more,
                }
            }
            CounterState::Lost => {
                cut_short = true;
                count.more
            }
        };
        Added { more, cut_short }
    }

    /// What is to be added for a counter that is told for the first time.
    fn first(&mut self, key: K, packets: u64, born: Duration) -> u64 {
        let Some(stored_at) = self.stored_at else {
            // Nothing is known of the time before. What began before the agent did is no business
            // of it.
            let is_new = born + SLACK >= self.started;
            return if is_new { packets } else { 0 };
        };
        match self.stored.remove(&key) {
            Some(mark) if mark.born.abs_diff(born) <= SLACK && mark.packets <= packets => {
                packets - mark.packets
            }
            // Another one than that which was stored.
            Some(_) => packets,
            None if born + SLACK >= stored_at => packets,
            None => 0,
        }
    }

    /// The marks that the store does not know yet.
    pub(super) fn changed(&mut self) -> impl Iterator<Item = (K, Mark)> + '_ {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .filter_map(|key| self.running.get_key_value(&key))
            .map(|(key, mark)| (*key, *mark))
    }

    /// The store does not know what it was given.
    pub(super) fn not_stored(&mut self) {
        self.changed = self.running.keys().copied().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const fn running(of: u32, more: u64, packets: u64, age: u64) -> Count<u32> {
        let age = at(age);
        Count {
            of,
            more,
            counter: CounterState::Running { packets, age },
        }
    }

    const fn ended(of: u32, more: u64) -> Count<u32> {
        Count {
            of,
            more,
            counter: CounterState::Ended,
        }
    }

    fn stored(packets: u64, born: u64) -> Marks<u32> {
        let mark = Mark {
            packets,
            born: at(born),
        };
        Marks::new(BTreeMap::from([(1, mark)]), Some(at(500)), at(600))
    }

    #[test]
    fn a_counter_goes_on_where_the_last_agent_left_it() {
        let mut marks = stored(100, 50);
        let mut more = |count| marks.take(&count, at(601)).more;
        assert_eq!(more(running(1, 130, 130, 551)), 30);
        assert_eq!(more(running(1, 5, 135, 552)), 5);
        assert_eq!(more(ended(1, 2)), 2);
        // The next of this name.
        assert_eq!(more(running(1, 3, 3, 0)), 3);
    }

    #[test]
    fn another_counter_of_the_same_name_is_told_in_full() {
        assert_eq!(
            stored(100, 50)
                .take(&running(1, 130, 130, 20), at(601))
                .more,
            130
        );
        assert_eq!(
            stored(100, 50).take(&running(1, 90, 90, 551), at(601)).more,
            90
        );
    }

    #[test]
    fn one_that_ends_before_it_is_told_goes_on_too() {
        assert_eq!(stored(100, 50).take(&ended(1, 130), at(601)).more, 30);
    }

    #[test]
    fn what_began_before_anything_was_stored_is_not_ours() {
        let mut marks = stored(100, 50);
        // It was there when the marks were stored, and had none: it was none of ours then.
        assert_eq!(marks.take(&running(2, 70, 70, 400), at(601)).more, 0);
        // It began after that, when the last agent was already dead, or about to be.
        assert_eq!(marks.take(&running(3, 70, 70, 90), at(601)).more, 70);

        let mut first = Marks::new(BTreeMap::new(), None, at(600));
        assert_eq!(first.take(&running(1, 70, 70, 400), at(601)).more, 0);
        assert_eq!(first.take(&running(1, 7, 77, 400), at(602)).more, 7);
        assert_eq!(first.take(&running(2, 7, 7, 1), at(602)).more, 7);
    }

    #[test]
    fn a_counter_that_is_cut_short_is_told_so() {
        let mut marks = stored(100, 50);
        marks.take(&running(1, 130, 130, 551), at(601));
        let lost = Count {
            of: 1,
            more: 0,
            counter: CounterState::Lost,
        };
        let added = marks.take(&lost, at(602));
        assert!(added.cut_short && added.more == 0);
    }

    #[test]
    fn what_changed_is_stored_once_or_again_if_that_failed() {
        let mut marks = stored(100, 50);
        assert_eq!(marks.changed().count(), 0);
        marks.take(&running(1, 130, 130, 551), at(601));
        assert_eq!(marks.changed().count(), 1);
        assert_eq!(marks.changed().count(), 0);
        marks.not_stored();
        assert_eq!(marks.changed().count(), 1);
    }
}
