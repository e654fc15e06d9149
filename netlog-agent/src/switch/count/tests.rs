//! The counter against a model of a switch, and of a ledger that adds up what is told.

use netlog_core::flow::{FlowKind, Slot};
use netlog_ofp::multipart::{FlowStats, MeterBandStats, MeterStats, TableStats};
use netlog_ofp::{FlowFlags, FlowRemovedReason, Match};
use proptest::prelude::*;

use super::*;

const fn cookie(slot: Slot) -> Cookie {
    Cookie {
        kind: FlowKind::Drop,
        slot,
    }
}

/// A flow or meter of the model.
#[derive(Clone, Copy, Debug)]
struct Thing {
    packets: u64,
    born: Duration,
    tells_end: bool,
}

/// What a ledger makes of what is told of one flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    matched: u64,
    ended: usize,
    /// Counters whose last count nobody knew.
    lost: usize,
}

/// A counter, its switch, a ledger and the time.
struct Scene {
    counter: Counter,
    now: Duration,
    flows: BTreeMap<Cookie, Thing>,
    meters: BTreeMap<Slot, Thing>,
    /// How many packets were looked up in table 93.
    looked_up: u64,
    /// Last counts on their way.
    removed: Vec<(Duration, FlowRemoved)>,
    /// How long the switch takes for an answer.
    takes: Duration,
    told: Vec<Event>,
    missed: Vec<Missed>,
    /// What each flow really matched.
    matched: BTreeMap<Cookie, u64>,
    ledger: BTreeMap<Cookie, Sum>,
    asked: usize,
}

impl Scene {
    fn new() -> Self {
        let now = Duration::from_secs(100);
        let mut counter = Counter::new(FlowProfile::default());
        counter.attach(now);
        Self {
            counter,
            now,
            flows: BTreeMap::new(),
            meters: BTreeMap::new(),
            looked_up: 0,
            removed: Vec::new(),
            takes: Duration::from_millis(1),
            told: Vec::new(),
            missed: Vec::new(),
            matched: BTreeMap::new(),
            ledger: BTreeMap::new(),
            asked: 0,
        }
    }

    fn add(&mut self, slot: Slot) {
        let born = self.now;
        let thing = Thing {
            packets: 0,
            born,
            tells_end: true,
        };
        self.flows.insert(cookie(slot), thing);
    }

    /// Packets come to the table, and to the flow if it is there.
    fn pass(&mut self, slot: Slot, packets: u64) {
        self.looked_up += packets;
        if let Some(flow) = self.flows.get_mut(&cookie(slot)) {
            flow.packets += packets;
            *self.matched.entry(cookie(slot)).or_default() += packets;
        }
    }

    /// The flow goes; its last count comes after `delay`.
    fn delete(&mut self, slot: Slot, delay: Duration) {
        let Some(flow) = self.flows.remove(&cookie(slot)) else {
            return;
        };
        if flow.tells_end {
            // The flows of one place come to their ends one after the other.
            let pending = self.removed.iter().rev();
            let mut before = pending.filter(|(_, end)| end.cookie == cookie(slot).to_bits());
            let at = (self.now + delay).max(before.next().map_or(self.now, |(at, _)| *at));
            let removed = FlowRemoved {
                cookie: cookie(slot).to_bits(),
                priority: 100,
                reason: FlowRemovedReason::DELETE,
                table_id: 93,
                duration: at.saturating_sub(flow.born),
                idle_timeout: 0,
                hard_timeout: 0,
                packet_count: flow.packets,
                byte_count: 0,
                r#match: Match::any(),
            };
            self.removed.push((at, removed));
        }
    }

    fn restart(&mut self) {
        self.looked_up = 0;
        self.flows.clear();
        self.meters.clear();
        self.disconnect();
    }

    fn disconnect(&mut self) {
        self.removed.clear();
        self.counter.detach();
        self.counter.attach(self.now);
    }

    /// Lets time pass, in steps.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.now += Duration::from_millis(10);
            let due: Vec<_> = self
                .removed
                .extract_if(.., |(at, _)| *at <= self.now)
                .collect();
            for (_, removed) in due {
                self.hear(&LinkEvent::FlowRemoved(Box::new(removed)));
            }
            self.ask();
        }
    }

    fn ask(&mut self) {
        loop {
            let mut request = None;
            let ask = |asked| {
                request = Some(asked);
                Ok::<_, ()>(Xid(7))
            };
            self.counter.advance(self.now, ask).unwrap();
            let reply = match request {
                None => return,
                Some(MultipartRequest::Flow(_)) => MultipartReply::Flow(self.flow_stats()),
                Some(MultipartRequest::Meter(_)) => MultipartReply::Meter(self.meter_stats()),
                Some(MultipartRequest::Table) => MultipartReply::Table(self.table_stats()),
                Some(request) => panic!("{request:?}"),
            };
            self.asked += 1;
            self.now += self.takes;
            let xid = Xid(7);
            self.hear(&LinkEvent::Multipart { xid, reply });
        }
    }

    fn hear(&mut self, event: &LinkEvent) {
        let told = &mut self.told;
        let mut tell = |event| told.push(event);
        self.counter.hear(event, self.now, &mut tell);
        self.counter.tell_ends(&mut tell);
        for event in told.drain(..) {
            let counts = match event {
                Event::Counted(counts) => counts,
                Event::Missed(missed) => {
                    self.missed.push(missed);
                    continue;
                }
                event => panic!("{event:?}"),
            };
            for Count { of, more, counter } in counts.flows {
                let sum = self.ledger.entry(of).or_default();
                sum.matched += more;
                sum.ended += usize::from(counter == CounterState::Ended);
                sum.lost += usize::from(counter == CounterState::Lost);
            }
        }
    }

    fn flow_stats(&self) -> Vec<FlowStats> {
        let stats = |(cookie, flow): (&Cookie, &Thing)| FlowStats {
            table_id: 93,
            duration: self.now.saturating_sub(flow.born),
            priority: 100,
            idle_timeout: 0,
            hard_timeout: 0,
            flags: FlowFlags::SEND_FLOW_REM,
            importance: 0,
            cookie: cookie.to_bits(),
            packet_count: flow.packets,
            byte_count: 0,
            r#match: Match::any(),
            instructions: Vec::new(),
        };
        self.flows.iter().map(stats).collect()
    }

    fn meter_stats(&self) -> Vec<MeterStats> {
        let stats = |(slot, meter): (&Slot, &Thing)| MeterStats {
            meter_id: meters::meter(cookie(*slot)).unwrap(),
            flow_count: 0,
            packet_in_count: 0,
            byte_in_count: 0,
            duration: self.now.saturating_sub(meter.born),
            bands: vec![MeterBandStats {
                packet_count: meter.packets,
                byte_count: 0,
            }],
        };
        let mut all: Vec<_> = self.meters.iter().map(stats).collect();
        // Someone else's.
        all.push(MeterStats {
            meter_id: MeterId(7),
            ..stats((
                &1,
                &Thing {
                    packets: 9,
                    born: Duration::ZERO,
                    tells_end: false,
                },
            ))
        });
        all
    }

    fn table_stats(&self) -> Vec<TableStats> {
        let stats = |(table_id, lookup_count)| TableStats {
            table_id,
            lookup_count,
            ..TableStats::default()
        };
        [(0, 1_000_000), (93, self.looked_up)].map(stats).to_vec()
    }

    /// The reconciler says that flows were put back.
    fn healed(&mut self, missing: &[Slot], altered: &[Slot], detached: bool, gap: Duration) {
        let harm = Harm {
            missing: missing.iter().copied().map(cookie).collect(),
            altered: altered.iter().copied().map(cookie).collect(),
            detached,
            ..Harm::default()
        };
        self.counter.healed(&harm, gap, self.now);
    }

    fn sum(&self, slot: Slot) -> Sum {
        self.ledger.get(&cookie(slot)).copied().unwrap_or_default()
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_is_counted_is_told_every_second() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.pass(1, 5);
    scene.wait(SECOND / 10);
    assert_eq!(scene.sum(1).matched, 5);
    scene.pass(1, 2);
    scene.wait(SECOND / 2);
    assert_eq!(scene.sum(1).matched, 5);
    scene.wait(SECOND);
    assert_eq!(scene.sum(1).matched, 7);
    assert_eq!(scene.asked, 8, "tables, flows, meters and tables, twice");
}

#[test]
fn a_switch_that_takes_long_is_asked_rarely() {
    let mut scene = Scene::new();
    scene.takes = Duration::from_millis(25);
    scene.wait(SECOND);
    assert_eq!(scene.asked, 4);
    scene.wait(8 * SECOND);
    assert_eq!(scene.asked, 4);
    scene.wait(2 * SECOND);
    assert_eq!(scene.asked, 8, "100 ms of 10 s");
    scene.takes = SECOND;
    scene.wait(100 * SECOND);
    assert_eq!(scene.asked, 8 + 4 * 4);
}

#[test]
fn the_last_count_of_a_flow_is_told_beside_what_its_successor_counts() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.pass(1, 100);
    scene.wait(2 * SECOND);
    scene.pass(1, 20);
    scene.delete(1, 3 * SECOND);
    scene.add(1);
    scene.pass(1, 7);
    scene.wait(2 * SECOND);
    assert_eq!(scene.sum(1).matched, 107);
    scene.wait(2 * SECOND);
    let whole = Sum {
        matched: 127,
        ended: 1,
        lost: 0,
    };
    assert_eq!(scene.sum(1), whole);
}

#[test]
fn an_end_that_is_heard_late_is_that_of_the_counter_that_was_told() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.pass(1, 100);
    scene.wait(2 * SECOND);
    scene.delete(1, SECOND / 10);
    scene.now += 3 * SECOND;
    scene.wait(SECOND / 10);
    let whole = Sum {
        matched: 100,
        ended: 1,
        lost: 0,
    };
    assert_eq!(scene.sum(1), whole);
}

#[test]
fn a_successor_that_has_counted_more_is_noticed_by_its_age() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.pass(1, 100);
    scene.wait(2 * SECOND);
    scene.delete(1, 3 * SECOND);
    scene.add(1);
    scene.pass(1, 5_000);
    scene.wait(2 * SECOND);
    assert_eq!(scene.sum(1).matched, 5_100);
}

#[test]
fn a_last_count_that_never_comes_is_said_to_be_lost() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.pass(1, 100);
    scene.wait(2 * SECOND);
    scene.flows.get_mut(&cookie(1)).unwrap().tells_end = false;
    scene.delete(1, Duration::ZERO);
    scene.add(1);
    scene.pass(1, 3);
    scene.wait(PATIENCE);
    assert_eq!(scene.sum(1).lost, 0);
    scene.wait(2 * SECOND);
    let whole = Sum {
        matched: 103,
        ended: 0,
        lost: 1,
    };
    assert_eq!(scene.sum(1), whole);
}

#[test]
fn a_flow_that_was_never_seen_is_counted_by_its_end() {
    let mut scene = Scene::new();
    scene.wait(SECOND / 10);
    scene.add(1);
    scene.pass(1, 42);
    scene.delete(1, SECOND / 10);
    scene.wait(SECOND / 2);
    let whole = Sum {
        matched: 42,
        ended: 1,
        lost: 0,
    };
    assert_eq!(scene.sum(1), whole);
}

#[test]
fn nothing_is_waited_for_after_a_restart_of_the_switch() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.add(2);
    scene.pass(1, 100);
    scene.pass(2, 10);
    scene.wait(2 * SECOND);
    scene.pass(1, 11);
    scene.restart();
    scene.add(1);
    scene.pass(1, 200);
    scene.wait(SECOND / 10);
    let known = Sum {
        matched: 300,
        ended: 0,
        lost: 1,
    };
    assert_eq!(scene.sum(1), known);
    let gone = Sum {
        matched: 10,
        ended: 0,
        lost: 1,
    };
    assert_eq!(scene.sum(2), gone);
}

#[test]
fn a_lost_connection_alone_ends_no_counter() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.pass(1, 100);
    scene.wait(2 * SECOND);
    scene.disconnect();
    scene.pass(1, 1);
    scene.wait(2 * SECOND);
    let goes_on = Sum {
        matched: 101,
        ..Sum::default()
    };
    assert_eq!(scene.sum(1), goes_on);
}

#[test]
fn only_our_meters_are_told() {
    let mut scene = Scene::new();
    let meter = Thing {
        packets: 4,
        born: scene.now,
        tells_end: false,
    };
    scene.meters.insert(3, meter);
    let mut told = Vec::new();
    let mut counter = std::mem::replace(&mut scene.counter, Counter::new(FlowProfile::default()));
    for _ in 0..4 {
        let mut request = None;
        let ask = |asked| {
            request = Some(asked);
            Ok::<_, ()>(Xid(7))
        };
        counter.advance(scene.now, ask).unwrap();
        let reply = match request {
            Some(MultipartRequest::Flow(_)) => MultipartReply::Flow(Vec::new()),
            Some(MultipartRequest::Meter(_)) => MultipartReply::Meter(scene.meter_stats()),
            _ => MultipartReply::Table(Vec::new()),
        };
        let xid = Xid(7);
        let answer = LinkEvent::Multipart { xid, reply };
        counter.hear(&answer, scene.now, &mut |event| told.push(event));
    }
    let [Event::Counted(counts)] = told.as_slice() else {
        panic!("{told:?}");
    };
    let count = Count {
        of: cookie(3),
        more: 4,
        counter: CounterState::Running {
            packets: 4,
            age: Duration::ZERO,
        },
    };
    assert_eq!(counts.meters, [count]);
}

#[test]
fn what_passed_a_table_without_its_log_flows_is_told() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.pass(1, 100);
    scene.pass(9, 50);
    scene.wait(2 * SECOND);
    scene.pass(1, 3);
    scene.delete(1, SECOND);
    scene.pass(1, 7);
    scene.wait(SECOND / 10);
    scene.add(1);
    scene.healed(&[1], &[], false, SECOND / 10);
    scene.pass(1, 1000);
    scene.wait(SECOND);
    assert!(scene.missed.is_empty());
    scene.wait(SECOND);
    let missed = Missed {
        tables: BTreeSet::from([93]),
        packets: Some(7),
        altered: 0,
        uncounted: None,
    };
    assert_eq!(scene.missed, [missed]);
    assert_eq!(
        scene.missed[0].to_string(),
        "at most 7 packets passed table 93 unlogged"
    );
    scene.wait(5 * SECOND);
    assert_eq!(scene.missed.len(), 1);
}

#[test]
fn what_a_changed_flow_matched_is_lost() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.pass(1, 100);
    scene.wait(2 * SECOND);
    // Somebody has it do nothing; then it is deleted and added again.
    scene.pass(1, 5);
    scene.wait(SECOND / 10);
    scene.delete(1, SECOND);
    scene.add(1);
    scene.healed(&[], &[1], false, SECOND / 10);
    scene.wait(3 * SECOND);
    let missed = Missed {
        tables: BTreeSet::from([93]),
        packets: Some(5),
        altered: 0,
        uncounted: None,
    };
    assert_eq!(scene.missed, [missed]);
}

#[test]
fn after_a_restart_all_that_was_not_counted_is_named() {
    let mut scene = Scene::new();
    scene.add(1);
    scene.pass(1, 100);
    scene.wait(2 * SECOND);
    scene.wait(SECOND / 2);
    scene.restart();
    let gone = scene.now;
    scene.pass(1, 9);
    scene.now += SECOND / 10;
    scene.add(1);
    scene.pass(1, 4);
    let gap = scene.now.saturating_sub(gone);
    scene.healed(&[1], &[], true, gap);
    scene.wait(3 * SECOND);
    let [missed] = &*scene.missed else {
        panic!("{:?}", scene.missed);
    };
    assert_eq!(missed.packets, Some(9));
    let uncounted = missed.uncounted.unwrap();
    assert!((SECOND / 4..SECOND).contains(&uncounted), "{uncounted:?}");
}

/// Something that happens on a switch.
#[derive(Clone, Debug)]
enum Happening {
    Pass(Slot, u64),
    /// The flow goes, and comes back after a while.
    Flush(Slot, u64, u64),
    /// We are not scheduled for so long.
    Stall(u64),
    Wait(u64),
    Disconnect,
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let slot = 1u32..4;
    prop_oneof![
        4 => (slot.clone(), 0u64..1000).prop_map(|(slot, packets)| Happening::Pass(slot, packets)),
        2 => (slot, 0u64..4000, 10u64..500)
            .prop_map(|(slot, delay, gap)| Happening::Flush(slot, delay, gap)),
        3 => (300u64..3000).prop_map(Happening::Wait),
        1 => (0u64..3000).prop_map(Happening::Stall),
        1 => Just(Happening::Disconnect),
        1 => Just(Happening::Restart),
    ]
}

/// The sum that a ledger makes is never too great, and in the end it is what the flow matched,
/// unless it was told that nobody knows.
fn count_every_packet_once(happenings: Vec<Happening>) -> Result<(), TestCaseError> {
    let mut scene = Scene::new();
    for slot in 1..4 {
        scene.add(slot);
    }
    for happening in happenings {
        match happening {
            Happening::Pass(slot, packets) => scene.pass(slot, packets),
            Happening::Flush(slot, delay, gap) => {
                // No flow is deleted as soon as it is added.
                scene.wait(2 * SLACK);
                scene.delete(slot, Duration::from_millis(delay));
                scene.wait(Duration::from_millis(gap));
                scene.add(slot);
            }
            Happening::Stall(millis) => scene.now += Duration::from_millis(millis),
            Happening::Wait(millis) => scene.wait(Duration::from_millis(millis)),
            Happening::Disconnect => {
                scene.wait(8 * SECOND);
                scene.disconnect();
            }
            Happening::Restart => {
                // What came and went between two readings nobody knows of without its end.
                scene.wait(8 * SECOND);
                scene.restart();
                for slot in 1..4 {
                    scene.add(slot);
                }
            }
        }
        for slot in 1..4 {
            let total = scene.sum(slot).matched;
            let matched = scene.matched.get(&cookie(slot)).copied().unwrap_or(0);
            prop_assert!(total <= matched, "{} of {}", total, matched);
        }
    }
    scene.wait(PATIENCE + 3 * SECOND);
    for slot in 1..4 {
        let sum = scene.sum(slot);
        let matched = scene.matched.get(&cookie(slot)).copied().unwrap_or(0);
        prop_assert!(
            sum.matched == matched || sum.lost > 0,
            "{:?} of {}",
            sum,
            matched
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_ledger_counts_every_packet_once(happenings in prop::collection::vec(happening(), 0..30)) {
        count_every_packet_once(happenings)?;
    }
}

/// The end of one flow is heard before the end of the one that was there before it, and late.
#[test]
fn ends_that_come_late_and_in_another_order_are_counted_once() {
    use Happening::{Flush, Pass, Stall, Wait};
    count_every_packet_once(vec![
        Pass(2, 1),
        Flush(2, 1841, 10),
        Wait(555),
        Flush(2, 0, 431),
        Stall(577),
        Flush(1, 0, 10),
    ])
    .unwrap();
}
