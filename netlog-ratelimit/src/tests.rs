//! The limiter against a naive model, and the bounds its documentation promises.

use std::collections::{HashMap, HashSet, VecDeque};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn limits(rate: u64, burst: u64) -> Limits {
    Limits::new(rate, burst).unwrap()
}

/// A port that sends little.
const QUIET: u32 = 1_000;

fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Admit(u32),
    Release,
    Drain,
    Wait(u64),
    Set(Option<(u64, u64)>),
}

fn any_limits() -> impl Strategy<Value = Option<(u64, u64)>> {
    prop_oneof![
        1 => Just(None),
        6 => (prop_oneof![Just(100), Just(1000), 100_u64..5000], 25_u64..40).prop_map(Some),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    // Port 0 floods; a few others are busy, many are quiet.
    let port = prop_oneof![4 => Just(0), 3 => 1_u32..4, 1 => any::<u32>()];
    prop_oneof![
        60 => port.prop_map(Step::Admit),
        20 => Just(Step::Release),
        20 => prop_oneof![0_u64..3_000_000, 0_u64..100_000_000].prop_map(Step::Wait),
        1 => Just(Step::Drain),
        2 => any_limits().prop_map(Step::Set),
    ]
}

/// The rules as written, on plain collections.
#[derive(Default)]
struct Model {
    limits: Option<(u64, u64)>,
    /// Room in the queue; kept when the limits are lifted.
    room: usize,
    /// Before this, nothing passes.
    next: u64,
    due: u64,
    /// Ports in turn, each with its events, oldest first, and when it came to have that many.
    queue: VecDeque<(u32, VecDeque<u64>, u64)>,
    changes: u64,
}

impl Model {
    fn period(&self) -> Option<u64> {
        self.limits
            .map(|(rate, _)| 1_000_000_000_u64.div_ceil(rate))
    }

    fn queued(&self) -> usize {
        self.queue.iter().map(|(_, events, _)| events.len()).sum()
    }

    fn stamp(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    fn longest(&self) -> usize {
        self.queue
            .iter()
            .map(|(_, events, _)| events.len())
            .max()
            .unwrap_or(0)
    }

    fn evict(&mut self) -> (u32, u64) {
        let longest = self.longest();
        let stamp = self.stamp();
        let (port, events, changed) = self
            .queue
            .iter_mut()
            .filter(|(_, events, _)| events.len() == longest)
            .max_by_key(|(_, _, changed)| *changed)
            .unwrap();
        let evicted = (*port, events.pop_back().unwrap());
        *changed = stamp;
        self.queue.retain(|(_, events, _)| !events.is_empty());
        evicted
    }

    fn push(&mut self, port: u32, event: u64) {
        let stamp = self.stamp();
        match self.queue.iter_mut().find(|(number, ..)| *number == port) {
            Some((_, events, changed)) => {
                events.push_back(event);
                *changed = stamp;
            }
            None => self.queue.push_back((port, [event].into(), stamp)),
        }
    }

    fn admit(&mut self, port: u32, event: u64, now: u64) -> Admission<u64> {
        if self.queue.is_empty() {
            let Some(period) = self.period() else {
                return Admission::Pass(event);
            };
            if now >= self.next {
                self.next = now + period;
                return Admission::Pass(event);
            }
            self.due = self.next;
        } else if let Some(period) = self.period() {
            let overdue = period * u64::try_from(self.queued()).unwrap();
            self.due = self.due.max(now.saturating_sub(overdue));
        }
        if self.queued() < self.room {
            self.push(port, event);
            return Admission::Queued;
        }
        let own = self
            .queue
            .iter()
            .find(|(number, ..)| *number == port)
            .map_or(0, |(_, events, _)| events.len());
        if own + 1 >= self.longest() {
            return Admission::Refused(event);
        }
        let (from, evicted) = self.evict();
        self.push(port, event);
        Admission::QueuedEvicting {
            port: from,
            event: evicted,
        }
    }

    fn pop(&mut self) -> Option<(u32, u64)> {
        let stamp = self.stamp();
        let (port, mut events, _) = self.queue.pop_front()?;
        let event = events.pop_front().unwrap();
        if !events.is_empty() {
            self.queue.push_back((port, events, stamp));
        }
        Some((port, event))
    }

    fn release(&mut self, now: u64) -> Option<(u32, u64)> {
        if self.queue.is_empty() || now < self.due {
            return None;
        }
        if let Some(period) = self.period() {
            self.due += period;
            self.next = self.due;
        }
        self.pop()
    }

    fn set(&mut self, limits: Option<(u64, u64)>, now: u64) {
        if self.limits.is_none() || limits.is_none() {
            self.due = now;
            self.next = 0;
        }
        self.limits = limits;
        if let Some((_, burst)) = limits {
            let room = usize::try_from(burst).unwrap();
            if room != self.room {
                // The queue is filled anew, a round at a time.
                let rounds: Vec<_> = std::iter::from_fn(|| self.pop()).collect();
                for (port, event) in rounds {
                    self.push(port, event);
                }
            }
            self.room = room;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every answer is the model's, and every event is accounted for exactly once.
    #[test]
    fn as_the_model(initial in any_limits(), steps in vec(any_step(), 0..600)) {
        let mut limiter = Limiter::new(initial.map(|(rate, burst)| limits(rate, burst)));
        let mut model = Model {
            limits: initial,
            room: initial.map_or(0, |(_, burst)| usize::try_from(burst).unwrap()),
            ..Model::default()
        };
        let mut now = 1_000;
        let (mut arrived, mut left, mut refused) = (0_u64, HashSet::new(), HashSet::new());
        let mut room = 0;

        for step in steps {
            match step {
                Step::Admit(port) => {
                    let event = arrived;
                    arrived += 1;
                    let answer = limiter.admit(port, event, ns(now));
                    prop_assert_eq!(answer, model.admit(port, event, now));
                    match answer {
                        Admission::Pass(event) => prop_assert!(left.insert(event)),
                        Admission::Queued => {}
                        Admission::QueuedEvicting { event, .. } | Admission::Refused(event) => {
                            prop_assert!(refused.insert(event));
                        }
                    }
                }
                Step::Release => {
                    let answer = limiter.release(ns(now));
                    prop_assert_eq!(answer, model.release(now));
                    if let Some((_, event)) = answer {
                        prop_assert!(left.insert(event));
                    }
                }
                Step::Drain => {
                    for (port, event) in limiter.drain() {
                        prop_assert_eq!(Some((port, event)), model.pop());
                        prop_assert!(refused.insert(event));
                    }
                }
                Step::Wait(time) => now += time,
                Step::Set(to) => {
                    limiter.set_limits(to.map(|(r, b)| limits(r, b)), ns(now));
                    model.set(to, now);
                    room = limiter.queued();
                }
            }
            prop_assert_eq!(limiter.queued(), model.queued());
            let due = (limiter.queued() > 0).then_some(ns(model.due));
            prop_assert_eq!(limiter.next_release(), due);
            if let Some(limits) = limiter.limits() {
                // More than the limit only where it was lowered below what was queued.
                prop_assert!(limiter.queued() <= room.max(limits.burst() as usize));
                room = room.min(limiter.queued());
            }
            prop_assert!(left.is_disjoint(&refused));
            prop_assert_eq!(left.len() + refused.len() + limiter.queued(), usize::try_from(arrived).unwrap());
        }
    }

    /// A caller that is on time never exceeds rate × window + 1.
    #[test]
    fn never_above_the_rate(
        rate in 100_u64..100_000,
        burst in 25_u64..100,
        gaps in vec(prop_oneof![Just(0_u64), 0_u64..20_000, 0_u64..30_000_000], 1..400),
    ) {
        let mut limiter = Limiter::new(Some(limits(rate, burst)));
        let (mut now, mut times) = (Duration::ZERO, Vec::new());
        for gap in gaps {
            now += ns(gap);
            while let Some(due) = limiter.next_release().filter(|due| *due <= now) {
                prop_assert!(limiter.release(due).is_some());
                times.push(due);
            }
            if let Admission::Pass(()) = limiter.admit(0, (), now) {
                times.push(now);
            }
        }
        // One period apart each: so any window of any length holds rate × W + 1 at most.
        for pair in times.windows(2) {
            let apart = pair[1].saturating_sub(pair[0]).as_nanos();
            prop_assert!(apart * u128::from(rate) >= 1_000_000_000);
        }
    }

    /// While limits change, two events are never closer than the period that was in force when
    /// the first of them left; when limits are lifted, the count starts anew.
    #[test]
    fn never_above_the_rate_while_limits_change(
        initial in any_limits(),
        steps in vec(
            (
                prop_oneof![Just(0_u64), 0_u64..20_000, 0_u64..30_000_000],
                prop_oneof![9 => Just(None), 1 => any_limits().prop_map(Some)],
            ),
            1..600,
        ),
    ) {
        let to_limits = |set: Option<(u64, u64)>| set.map(|(rate, burst)| limits(rate, burst));
        let mut limiter = Limiter::new(to_limits(initial));
        let (mut now, mut last) = (Duration::from_secs(1), None);
        for (gap, change) in steps {
            now += ns(gap);
            let mut left = Vec::new();
            while let Some(due) = limiter.next_release().filter(|due| *due <= now) {
                prop_assert!(limiter.release(due).is_some());
                left.push(due);
            }
            if let Admission::Pass(()) = limiter.admit(0, (), now) {
                left.push(now);
            }
            for time in left {
                if let Some((before, rate)) = last {
                    let apart: Duration = time.saturating_sub(before);
                    prop_assert!(apart.as_nanos() * u128::from(rate) >= 1_000_000_000);
                }
                last = limiter.limits().map(|limits| (time, limits.rate()));
            }
            if let Some(change) = change {
                let queued = limiter.queued();
                limiter.set_limits(to_limits(change), now);
                prop_assert_eq!(limiter.queued(), queued);
                if change.is_none() {
                    last = None;
                }
            }
        }
    }

    /// A caller that is late, or does not release before it admits, never exceeds
    /// rate × window + burst + 1.
    #[test]
    fn never_above_the_rate_and_the_burst(
        rate in 100_u64..100_000,
        burst in 25_u64..100,
        steps in vec((prop_oneof![Just(0_u64), 0_u64..50_000_000], 0_usize..80, 0_usize..80), 1..60),
    ) {
        let mut limiter = Limiter::new(Some(limits(rate, burst)));
        let (mut now, mut times) = (Duration::ZERO, Vec::new());
        for (gap, arrivals, releases) in steps {
            now += ns(gap);
            for _ in 0..arrivals {
                if let Admission::Pass(()) = limiter.admit(0, (), now) {
                    times.push(now);
                }
            }
            for _ in 0..releases {
                times.extend(limiter.release(now).map(|_| now));
            }
        }
        for (first, start) in times.iter().enumerate() {
            for (last, end) in times.iter().enumerate().skip(first) {
                let events = (last - first + 1) as u128;
                let window = end.saturating_sub(*start).as_nanos();
                prop_assert!(
                    (events - events.min(u128::from(burst) + 1)) * 1_000_000_000
                        <= window * u128::from(rate),
                    "{events} events in {window} ns"
                );
            }
        }
    }

    /// A port's first event leaves among the next n + 1 when n other ports are in the queue,
    /// however much they go on sending, and however the limits change meanwhile.
    #[test]
    fn a_quiet_port_waits_its_fair_share(
        others in 1_u32..20,
        flood in 40_usize..200,
        again in 0_usize..5,
        mut changes in vec(prop_oneof![2 => Just(None), 1 => any_limits().prop_map(Some)], 20),
    ) {
        let mut limiter = Limiter::new(Some(limits(100, 60)));
        let mut now = Duration::from_secs(1);
        for arrival in 0..flood {
            let _ = limiter.admit(u32::try_from(arrival).unwrap() % others, (), now);
        }
        let answer = limiter.admit(QUIET, (), now);
        prop_assert!(!matches!(answer, Admission::Pass(()) | Admission::Refused(())));

        let mut left_before = 0;
        loop {
            now = limiter.next_release().unwrap();
            let (port, ()) = limiter.release(now).unwrap();
            if port == QUIET {
                break;
            }
            left_before += 1;
            prop_assert!(left_before <= others, "{left_before} left before it, {others} ports");
            for _ in 0..again {
                let _ = limiter.admit(port, (), now);
            }
            if let Some(Some(change)) = changes.pop() {
                limiter.set_limits(change.map(|(rate, burst)| limits(rate, burst)), now);
            }
        }
    }
}

#[test]
fn without_limits_everything_passes() {
    let mut limiter = Limiter::new(None);
    for event in 0..10_000 {
        assert_eq!(
            limiter.admit(event % 3, event, Duration::ZERO),
            Admission::Pass(event)
        );
    }
    assert_eq!(limiter.next_release(), None);
    assert_eq!(limiter.limits(), None);
}

#[test]
fn a_flood_is_refused_its_own_events() {
    let mut limiter = Limiter::new(Some(limits(100, 25)));
    let now = Duration::from_secs(1);
    let mut refused: HashMap<u32, u32> = HashMap::new();
    for round in 0..1000 {
        let port = u32::from(round % 100 == 99);
        match limiter.admit(port, (), now) {
            Admission::QueuedEvicting { port, .. } => *refused.entry(port).or_default() += 1,
            Admission::Refused(()) => *refused.entry(port).or_default() += 1,
            Admission::Pass(()) | Admission::Queued => {}
        }
    }
    // One passed, 25 are queued, of which the quiet port has all its ten.
    assert_eq!(refused, HashMap::from([(0, 1000 - 10 - 1 - 15)]));
    assert_eq!(limiter.drain().filter(|(port, ())| *port == 1).count(), 10);
}

#[test]
fn a_late_caller_loses_no_throughput() {
    // 100,000 a second, asked for every 5 ms: 500 fall due each time.
    let mut limiter = Limiter::new(Some(limits(100_000, 1_000)));
    let mut left = 0;
    for tick in 0..200 {
        let now = Duration::from_millis(5 * tick);
        while limiter.release(now).is_some() {
            left += 1;
        }
        for _ in 0..600 {
            left += u32::from(limiter.admit(0, (), now) == Admission::Pass(()));
        }
    }
    assert!((99_000..=100_000).contains(&left), "{left}");
}

#[test]
fn limits_change_without_losing_what_is_queued() {
    let mut limiter = Limiter::new(Some(limits(100, 40)));
    let now = Duration::from_secs(1);
    assert_eq!(limiter.admit(0, 0, now), Admission::Pass(0));
    for event in 1..=30 {
        assert_eq!(limiter.admit(0, event, now), Admission::Queued);
    }
    for event in 31..=40 {
        assert_eq!(limiter.admit(1, event, now), Admission::Queued);
    }

    // Less room than is queued: all of it stays, and the queue is full.
    limiter.set_limits(Some(limits(1_000, 25)), now);
    assert_eq!(limiter.queued(), 40);
    assert_eq!(limiter.admit(0, 98, now), Admission::Refused(98));

    // The event let through at the old rate still counts; then the new rate holds.
    let due = now + Duration::from_millis(10);
    assert_eq!(limiter.next_release(), Some(due));
    assert_eq!(limiter.release(due), Some((0, 1)));
    assert_eq!(limiter.next_release(), Some(due + Duration::from_millis(1)));

    // More room keeps order and turns, and no limits make everything due.
    limiter.set_limits(Some(limits(1_000, 50)), due);
    limiter.set_limits(None, due);
    let rest: Vec<_> = std::iter::from_fn(|| limiter.release(due)).collect();
    let turns: Vec<_> = rest.iter().map(|(port, _)| *port).collect();
    assert_eq!(turns[..6], [1, 0, 1, 0, 1, 0]);
    for port in [0, 1] {
        let of_port: Vec<_> = rest
            .iter()
            .filter(|(p, _)| *p == port)
            .map(|(_, e)| *e)
            .collect();
        assert!(of_port.is_sorted(), "{of_port:?}");
    }
    assert_eq!(rest.len(), 39);
    assert_eq!(limiter.admit(0, 99, due), Admission::Pass(99));
}

#[test]
fn limits_set_at_run_time_hold_at_once() {
    let mut limiter = Limiter::new(None);
    let now = Duration::from_secs(1);
    assert_eq!(limiter.admit(0, 0, now), Admission::Pass(0));
    limiter.set_limits(Some(limits(100, 25)), now);
    assert_eq!(limiter.limits(), Some(limits(100, 25)));
    assert_eq!(limiter.admit(0, 1, now), Admission::Pass(1));
    assert_eq!(limiter.admit(0, 2, now), Admission::Queued);
}
