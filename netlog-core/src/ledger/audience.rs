//! What became of events, by the log objects that want them.
//!
//! The log objects that want an event are its audience. Events are counted once for their whole
//! audience, however many log objects it has, and what became of the events of a log object is the
//! sum over the audiences that it belongs to, when somebody asks. An event that two log objects
//! want counts once for each.
//!
//! An audience is there as long as tables name it or some of its events are on their way. Then its
//! figures go to its log objects, so that memory follows the audiences in use, whatever was
//! created and deleted before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use foldhash::fast::FixedState;
use uuid::Uuid;

use super::{EventCounters, EventFigures};

/// Log objects that want the same events, and what became of these, whose counters share a cache
/// line with nothing else that is counted.
#[derive(Debug)]
#[repr(align(64))]
pub struct Audience {
    counters: EventCounters,
    number: u32,
    logs: Arc<[Uuid]>,
}

impl Audience {
    /// What became of its events.
    pub fn counters(&self) -> &EventCounters {
        &self.counters
    }

    /// Tells it from all others that are there at the same time.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its log objects, in the order of their ids.
    pub fn logs(&self) -> &[Uuid] {
        &self.logs
    }
}

/// The audiences of a bridge, and what became of the events of log objects.
#[derive(Debug, Default)]
pub struct Audiences(RwLock<Known>);

/// The audiences that are there.
#[derive(Debug, Default)]
pub struct Known {
    by_number: Vec<Option<Arc<Audience>>>,
    numbers: HashMap<Arc<[Uuid]>, u32, FixedState>,
    /// What was counted by audiences that are gone, and by agents before this one.
    former: BTreeMap<Uuid, EventFigures>,
}

impl Known {
    /// The audience with this number.
    pub fn get(&self, number: u32) -> Option<&Audience> {
        self.by_number.get(number as usize)?.as_deref()
    }

    fn of(&self, logs: &[Uuid]) -> Option<Arc<Audience>> {
        let number = *self.numbers.get(logs)?;
        self.by_number.get(number as usize)?.clone()
    }
}

impl Audiences {
    /// The audience of these log objects, which are in the order of their ids.
    pub fn of(&self, logs: &[Uuid]) -> Arc<Audience> {
        if let Some(audience) = self.known().of(logs) {
            return audience;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(audience) = known.of(logs) {
            return audience;
        }
        let known = &mut *known;
        let free = known.by_number.iter().position(Option::is_none);
        let at = free.unwrap_or_else(|| {
            known.by_number.push(None);
            known.by_number.len() - 1
        });
        // There are fewer of them than would fit into memory.
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let audience = Arc::new(Audience {
            counters: EventCounters::default(),
            number,
            logs: logs.into(),
        });
        known.numbers.insert(Arc::clone(&audience.logs), number);
        known.by_number[at] = Some(Arc::clone(&audience));
        audience
    }

    /// The audiences that are there, for as long as none is new.
    pub fn known(&self) -> RwLockReadGuard<'_, Known> {
        // No code that can panic runs while the lock is held for writing.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of the events of each log object.
    pub fn logs(&self) -> BTreeMap<Uuid, EventFigures> {
        let known = self.known();
        let mut logs = known.former.clone();
        for audience in known.by_number.iter().flatten() {
            add(&mut logs, audience);
        }
        logs
    }

    /// Goes on from what was counted for a log object before. Events whose fate was not known
    /// count as failed.
    pub fn restore(&self, log: Uuid, figures: EventFigures) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.former.insert(log, figures.closed());
    }

    /// Forgets audiences that nobody names any more, and what was counted by them for log objects
    /// that are gone.
    pub fn tidy(&self, is_there: impl Fn(&Uuid) -> bool) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        for place in &mut known.by_number {
            // Whoever else holds it can count events, and a record on its way knows its number.
            let unused = place.as_mut().is_some_and(|audience| {
                Arc::get_mut(audience).is_some() && audience.counters.read().pending() == 0
            });
            if unused && let Some(audience) = place.take() {
                add(&mut known.former, &audience);
                known.numbers.remove(&audience.logs);
            }
        }
        known.former.retain(|log, _| is_there(log));
    }
}

/// Adds what became of an audience's events to each of its log objects.
fn add(logs: &mut BTreeMap<Uuid, EventFigures>, audience: &Audience) {
    let figures = audience.counters.read();
    for log in &*audience.logs {
        let sum = logs.entry(*log).or_default();
        *sum = sum.plus(figures);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(number: usize) -> Uuid {
        Uuid::from_u128(number as u128 + 1)
    }

    /// Something that happens to an event, or to the audiences.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// An event of the audience whose log objects are the set bits.
        Event(u8),
        /// What became of the oldest event that is on its way.
        End(u8),
        /// Tables no longer name the audiences.
        Swap,
        Tidy,
        Delete(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (1_u8..16).prop_map(Step::Event),
            6 => (0_u8..5).prop_map(Step::End),
            1 => Just(Step::Swap),
            2 => Just(Step::Tidy),
            1 => (0_usize..4).prop_map(Step::Delete),
        ]
    }

    fn end(figures: &mut EventFigures, how: u8) {
        *match how {
            0 => &mut figures.folded,
            1 => &mut figures.suppressed,
            2 => &mut figures.log_limited,
            3 => &mut figures.written,
            _ => &mut figures.failed,
        } += 1;
    }

    proptest! {
        /// Whatever overlaps, ends late, or is swapped out and forgotten: each log object has
        /// exactly its events, and nothing is left of the audiences in the end.
        #[test]
        fn each_log_object_has_its_own_events(steps in prop::collection::vec(step(), 0..200)) {
            let audiences = Audiences::default();
            let mut model = [Some(EventFigures::default()); 4];
            let mut in_force: Vec<Arc<Audience>> = Vec::new();
            let mut on_their_way: Vec<(u32, u8)> = Vec::new();
            let finish = |(number, set): (u32, u8), how: u8, model: &mut [Option<EventFigures>; 4]| {
                let known = audiences.known();
                let counters = known.get(number).unwrap().counters();
                match how {
                    0 => counters.folded.add(1),
                    1 => counters.suppressed.add(1),
                    2 => counters.log_limited.add(1),
                    3 => counters.written.add(1),
                    _ => counters.failed.add(1),
                }
                for (bit, figures) in model.iter_mut().enumerate() {
                    if set >> bit & 1 == 1 && let Some(figures) = figures {
                        end(figures, how);
                    }
                }
            };
            for step in steps {
                match step {
                    Step::Event(bits) => {
                        let there = |bit: &usize| bits >> bit & 1 == 1 && model[*bit].is_some();
                        let logs: Vec<usize> = (0..4).filter(there).collect();
                        let ids: Vec<Uuid> = logs.iter().copied().map(log).collect();
                        let audience = audiences.of(&ids);
                        audience.counters().total.add(1);
                        let set = logs.iter().fold(0, |set, bit| set | 1 << bit);
                        on_their_way.push((audience.number(), set));
                        for bit in logs {
                            model[bit].as_mut().unwrap().events += 1;
                        }
                        in_force.push(audience);
                    }
                    Step::End(how) if !on_their_way.is_empty() => {
                        finish(on_their_way.remove(0), how, &mut model);
                    }
                    Step::End(_) => {}
                    Step::Swap => in_force.clear(),
                    Step::Tidy => audiences.tidy(|id| {
                        (0..4).any(|bit| log(bit) == *id && model[bit].is_some())
                    }),
                    Step::Delete(bit) => model[bit] = None,
                }
                let told = audiences.logs();
                for (bit, figures) in model.iter().enumerate() {
                    if let Some(figures) = figures {
                        prop_assert_eq!(told.get(&log(bit)).copied().unwrap_or_default(), *figures);
                    }
                }
            }
            for event in std::mem::take(&mut on_their_way) {
                finish(event, 3, &mut model);
            }
            in_force.clear();
            audiences.tidy(|id| (0..4).any(|bit| log(bit) == *id && model[bit].is_some()));
            prop_assert!(audiences.known().by_number.iter().all(Option::is_none));
            prop_assert!(audiences.known().numbers.is_empty());
            for (id, figures) in audiences.logs() {
                let bit = (0..4).find(|bit| log(*bit) == id).unwrap();
                prop_assert_eq!(model[bit], Some(figures));
                prop_assert_eq!(figures.pending(), 0);
            }
        }
    }

    #[test]
    fn what_was_stored_goes_on_and_what_is_not_known_has_failed() {
        let audiences = Audiences::default();
        let stored = EventFigures {
            events: 10,
            folded: 3,
            written: 4,
            ..EventFigures::default()
        };
        audiences.restore(log(0), stored);
        audiences.of(&[log(0), log(1)]).counters().total.add(2);
        let logs = audiences.logs();
        assert_eq!((logs[&log(0)].events, logs[&log(0)].failed), (12, 3));
        assert_eq!(logs[&log(0)].pending(), 2);
        assert_eq!((logs[&log(1)].events, logs[&log(1)].pending()), (2, 2));
    }
}
