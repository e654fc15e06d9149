//! Whether everything that a log flow matched is accounted for.
//!
//! ```text
//! matched + uncounted = metered + received + lost
//! ```
//!
//! The left side and `metered` are told by the switch, `received` is counted here, and `lost` is
//! what remains. The law holds for each log flow, since each has a meter of its own, and so for the
//! sums of them: a port, a bridge, a log object.
//!
//! # When a difference is a loss
//!
//! The numbers are never of the same moment. The switch tells what it matched up to some hundred
//! milliseconds late, and a packet-in that is on its way is not received yet. So the difference of
//! the numbers as they stand says nothing. But let `matched` be a number that was told at some
//! time, and `metered` and `received` be read [`SETTLE`] later. Each packet in the first was
//! matched before that time, so that its packet-in, if there is one, was received by the later
//! time, or the meter has counted it. Whatever else is in the later numbers makes the difference
//! smaller, never greater:
//!
//! ```text
//! matched(t) + uncounted − metered(t + SETTLE) − received(t + SETTLE) − lost ≤ what was really lost
//! ```
//!
//! The left side, once it is positive, is booked as lost. It never tells too much. It tells
//! everything [`SETTLE`] after the traffic has paused; while traffic goes on without a pause, it
//! leaves out at most what is received of the log flow in that time, however long it goes on.
//!
//! Time in which nobody looked, since the process was stopped or the host slept, counts as one
//! short step, so that packet-ins that waited meanwhile are not taken for lost.
//!
//! # What the switch never told
//!
//! The counters of a switch that dies are gone, with what they counted since they were read last.
//! Packet-ins of these packets may have come all the same. When the switch was asked again and
//! again for [`QUIET`], nothing has changed, and more is accounted for than was matched, the rest is
//! booked as `uncounted`.
//!
//! A switch that lives loses counts too, and no later reading has them. When a revalidator deletes a
//! flow of the userspace datapath, `flow_del_on_pmd()` (`lib/dpif-netdev.c`, Open vSwitch 3.1) reads
//! what that flow counted and only then takes it out of the tables that packets are looked up in.
//! The thread that forwards takes no lock of this, so that it goes on finding the flow, for as long
//! as the revalidator is not let run between the two. These packets are metered and reported;
//! `push_dp_ops()` (`ofproto/ofproto-dpif-upcall.c`), which gives the count to the log flow, has it
//! from before.
//!
//! A meter that is gone cannot say what it cut last; what is missing then is told with that cause,
//! until the next pause.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a packet-in may be on its way.
pub const SETTLE: Duration = Duration::from_secs(2);

/// How long nothing may change before counters are taken for complete.
pub const QUIET: Duration = Duration::from_secs(10);

/// The most that one look counts for as time that has passed.
const STEP: Duration = Duration::from_millis(1500);

/// The numbers of a log flow, or of several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Packets that the log flow matched.
    pub matched: u64,
    /// Packets that its meter cut.
    pub metered: u64,
    /// Packets that were matched, and neither cut nor received.
    pub lost: u64,
    /// Packets that were metered or received, and that no counter of the switch ever told of as
    /// matched: see [above](self#what-the-switch-never-told).
    pub uncounted: u64,
}

impl Figures {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            matched: self.matched + other.matched,
            metered: self.metered + other.metered,
            lost: self.lost + other.lost,
            uncounted: self.uncounted + other.uncounted,
        }
    }

    /// What is missing when so many packet-ins are received: positive while some are on their
    /// way, negative while the switch has not told everything.
    pub fn unsettled(&self, received: u64) -> i64 {
        let told = self.matched.saturating_add(self.uncounted);
        told.wrapping_sub(self.metered)
            .wrapping_sub(received)
            .wrapping_sub(self.lost)
            .cast_signed()
    }
}

/// Why packets were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// Between the switch and the agent, which was there to receive them.
    Switch,
    /// While the agent was stopped, or had no connection to the switch.
    Away,
    /// The meter cut them, or they were lost in the switch: the meter is gone and cannot tell.
    MeterGone,
}

/// Packets that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How many.
    pub count: u64,
    /// Why.
    pub cause: Cause,
    /// When all was well for the last time, on the monotonic clock.
    pub since: Duration,
    /// When the last of them was counted by the switch at the latest.
    pub until: Duration,
}

/// A count of matched packets that waits until their packet-ins must have come.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    matched: u64,
    told: Duration,
    waited: Duration,
}

/// The account of one log flow, between the switch and the agent.
#[derive(Debug, Default)]
pub struct Balance {
    figures: Figures,
    candidate: Option<Candidate>,
    looked: Duration,
    /// When nothing was missing for the last time.
    even: Duration,
    /// The sum of matched, cut and received packets at the last look: it only grows.
    seen: u64,
    unchanged: Duration,
    /// How many of the packets that are missing were matched while nobody was there.
    away: u64,
    catch_up: CatchUp,
    meter_gone: bool,
}

/// Whether it is known what was matched while nobody was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CatchUp {
    /// It is.
    #[default]
    Done,
    /// The switch has told it, and it is to be looked at.
    Told,
    /// It can still turn out to be more.
    Waiting,
}

impl Balance {
    /// An account that goes on from these figures.
    pub fn new(figures: Figures, now: Duration) -> Self {
        Self {
            figures,
            looked: now,
            even: now,
            ..Self::default()
        }
    }

    /// The figures as they are.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The log flow matched so many packets more.
    pub fn matched(&mut self, more: u64) {
        self.figures.matched += more;
    }

    /// The meter cut so many packets more.
    pub fn metered(&mut self, more: u64) {
        self.figures.metered += more;
    }

    /// The meter is gone without having told what it cut last.
    pub fn meter_gone(&mut self) {
        self.meter_gone = true;
    }

    /// Packet-ins are being received again. What is missing now was matched before.
    pub fn attached(&mut self) {
        self.catch_up = CatchUp::Waiting;
    }

    /// The switch has told everything that was matched before packet-ins were received again.
    pub fn caught_up(&mut self) {
        if self.catch_up == CatchUp::Waiting {
            self.catch_up = CatchUp::Told;
        }
    }

    /// Whether some of what is missing may have been matched before packet-ins were received
    /// again.
    pub fn is_catching_up(&self) -> bool {
        self.away > 0 || self.catch_up != CatchUp::Done
    }

    /// Compares what the switch has told with the packet-ins that are received by now; `asked` says
    /// whether it was asked since the last look. To be called about once a second; answers with
    /// losses that are certain.
    pub fn look(&mut self, received: u64, asked: bool, now: Duration) -> [Option<Loss>; 2] {
        let step = now.saturating_sub(self.looked).min(STEP);
        self.looked = now;
        let missing = self.figures.unsettled(received);
        let matched = self.figures.matched;
        let seen = matched
            .wrapping_add(self.figures.metered)
            .wrapping_add(received);
        if seen != self.seen {
            self.unchanged = Duration::ZERO;
        } else if asked {
            self.unchanged += step;
        }
        self.seen = seen;
        if self.catch_up != CatchUp::Done {
            self.away = self.away.max(u64::try_from(missing).unwrap_or(0));
            if self.catch_up == CatchUp::Told {
                self.catch_up = CatchUp::Done;
            }
        }
        if missing <= 0 {
            self.even = now;
            self.candidate = None;
            if self.unchanged >= QUIET {
                self.figures.uncounted += missing.unsigned_abs();
                self.away = 0;
                self.meter_gone = false;
            }
            return [None; 2];
        }
        let fresh = Candidate {
            matched,
            told: now,
            waited: Duration::ZERO,
        };
        let Some(candidate) = &mut self.candidate else {
            self.candidate = Some(fresh);
            return [None; 2];
        };
        candidate.waited += step;
        // Both are of the same log flow, and counts only grow.
        let since_told = matched - candidate.matched;
        let certain = missing.unsigned_abs().saturating_sub(since_told);
        if certain == 0 {
            // Its packet-ins have come, or as many others.
            self.even = self.even.max(candidate.told);
            self.candidate = Some(fresh);
            return [None; 2];
        }
        if candidate.waited < SETTLE {
            return [None; 2];
        }
        let until = candidate.told;
        self.candidate = (since_told > 0).then_some(fresh);
        self.book(certain, until)
    }

    fn book(&mut self, count: u64, until: Duration) -> [Option<Loss>; 2] {
        let since = std::mem::replace(&mut self.even, until);
        self.figures.lost += count;
        let away = count.min(self.away);
        self.away -= away;
        let cause = if self.meter_gone {
            Cause::MeterGone
        } else {
            Cause::Switch
        };
        let loss = |count, cause| {
            (count > 0).then_some(Loss {
                count,
                cause,
                since,
                until,
            })
        };
        [loss(away, Cause::Away), loss(count - away, cause)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    /// A log flow with its switch: each packet is cut, lost, or received after a while, and the switch
    /// tells what it matched later than it did.
    #[derive(Debug, Default)]
    struct Scene {
        now: Duration,
        balance: Balance,
        /// Matched and not told yet: since when.
        untold: Vec<Duration>,
        /// Cut and not told yet.
        cut: u64,
        /// On their way: when they arrive.
        on_the_way: Vec<Duration>,
        received: u64,
        really_lost: u64,
        told: Vec<Loss>,
        lag: Duration,
        flight: Duration,
        ticks: u32,
        /// Every how many ticks the switch is asked, and the next of them.
        ask_every: u32,
        attached: Option<Duration>,
        asked: bool,
    }

    impl Scene {
        fn new(lag: u64, flight: u64) -> Self {
            Self {
                lag: Duration::from_millis(lag),
                flight: Duration::from_millis(flight),
                ask_every: 10,
                ..Self::default()
            }
        }

        fn pass(&mut self, received: u64, cut: u64, lost: u64) {
            for _ in 0..received + cut + lost {
                self.untold.push(self.now + self.lag);
            }
            self.cut += cut;
            self.really_lost += lost;
            for _ in 0..received {
                self.on_the_way.push(self.now + self.flight);
            }
        }

        fn wait(&mut self, ticks: u32) {
            for _ in 0..ticks {
                self.now += TICK;
                self.ticks += 1;
                let now = self.now;
                let due = |times: &mut Vec<Duration>| {
                    let before = times.len();
                    times.retain(|time| *time > now);
                    (before - times.len()) as u64
                };
                self.received += due(&mut self.on_the_way);
                if self.ticks.is_multiple_of(self.ask_every) {
                    let told = due(&mut self.untold);
                    self.balance.matched(told);
                    self.balance.metered(std::mem::take(&mut self.cut));
                    self.asked = true;
                    if self.attached.is_some_and(|at| now >= at + SETTLE) {
                        self.balance.caught_up();
                    }
                }
                if self.ticks.is_multiple_of(10) {
                    self.look();
                }
            }
        }

        fn look(&mut self) {
            let asked = std::mem::take(&mut self.asked);
            let losses = self.balance.look(self.received, asked, self.now);
            self.told.extend(losses.into_iter().flatten());
        }

        fn attach(&mut self) {
            self.balance.attached();
            self.attached = Some(self.now);
        }

        fn lost(&self) -> u64 {
            self.balance.figures().lost
        }
    }

    #[test]
    fn what_is_on_its_way_is_not_lost() {
        let mut scene = Scene::new(0, 1900);
        for _ in 0..100 {
            scene.pass(7, 2, 0);
            scene.wait(3);
        }
        scene.wait(300);
        assert_eq!(scene.told, []);
        assert_eq!(scene.balance.figures().unsettled(scene.received), 0);
    }

    #[test]
    fn a_loss_is_told_soon_and_exactly_once_traffic_pauses() {
        let mut scene = Scene::new(600, 10);
        scene.pass(10, 3, 5);
        scene.wait(50);
        assert_eq!(scene.lost(), 5);
        assert_eq!(scene.told.len(), 1);
        assert_eq!(scene.told[0].cause, Cause::Switch);
    }

    #[test]
    fn a_loss_is_told_though_traffic_never_pauses() {
        let mut scene = Scene::new(600, 10);
        let mut most_hidden = 0;
        for _ in 0..1000 {
            scene.pass(9, 0, 1);
            scene.wait(1);
            most_hidden = most_hidden.max(scene.really_lost - scene.lost());
        }
        // What the log flow receives in SETTLE and between two looks, and the time that the switch
        // takes to tell.
        assert!(scene.lost() > 600, "{}", scene.lost());
        assert!(most_hidden < 90 * 4, "{most_hidden}");
    }

    #[test]
    fn what_was_matched_while_nobody_was_there_is_told_so() {
        let mut scene = Scene::new(600, 10);
        scene.attach();
        // While away, and then with traffic that comes and is lost.
        scene.pass(0, 0, 40);
        scene.now += Duration::from_millis(700);
        scene.wait(30);
        for _ in 0..60 {
            scene.pass(1, 0, 0);
            scene.wait(10);
        }
        scene.pass(1, 0, 3);
        scene.wait(60);
        let of = |cause| -> u64 {
            let of_cause = scene.told.iter().filter(|loss| loss.cause == cause);
            of_cause.map(|loss| loss.count).sum()
        };
        assert_eq!((of(Cause::Away), of(Cause::Switch)), (40, 3));
    }

    #[test]
    fn a_switch_that_is_seldom_asked_has_not_forgotten_anything() {
        let mut scene = Scene::new(600, 10);
        scene.ask_every = 300;
        scene.attach();
        scene.pass(0, 0, 4);
        scene.wait(1);
        for _ in 0..10 {
            scene.pass(20, 5, 0);
            scene.wait(170);
        }
        scene.wait(10_000);
        let told: Vec<_> = scene
            .told
            .iter()
            .map(|loss| (loss.count, loss.cause))
            .collect();
        assert_eq!(told, [(4, Cause::Away)]);
        assert_eq!(scene.balance.figures().uncounted, 0);
    }

    #[test]
    fn a_process_that_was_stopped_does_not_take_for_lost_what_waited() {
        let mut scene = Scene::new(0, 10);
        scene.pass(10, 0, 0);
        scene.balance.matched(10);
        scene.untold.clear();
        scene.look();
        // An hour later the ledger looks before the packet-ins are read.
        scene.now += Duration::from_secs(3600);
        scene.look();
        assert_eq!(scene.told, []);
        scene.wait(100);
        assert_eq!(scene.told, []);
    }

    #[test]
    fn a_meter_that_is_gone_is_named() {
        let mut scene = Scene::new(0, 10);
        scene.pass(1, 5, 0);
        scene.cut = 0;
        scene.balance.meter_gone();
        scene.wait(50);
        assert_eq!(scene.told.len(), 1);
        assert_eq!(
            (scene.told[0].count, scene.told[0].cause),
            (5, Cause::MeterGone)
        );
        // That is over with the next pause.
        scene.wait(200);
        scene.pass(1, 0, 2);
        scene.wait(50);
        assert_eq!(scene.told[1].cause, Cause::Switch);
    }

    /// What happens to a log flow.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Pass {
            received: u64,
            cut: u64,
            lost: u64,
        },
        Wait(u32),
        /// The switch dies: what it has not told is never told, what is on its way never comes.
        SwitchDies,
        /// The agent is replaced by one that knows the figures.
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_u64..20, 0_u64..5, 0_u64..3)
                .prop_map(|(received, cut, lost)| Step::Pass { received, cut, lost }),
            6 => (0_u32..40).prop_map(Step::Wait),
            1 => Just(Step::SwitchDies),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        /// In any order of events no loss is invented, and after a pause the law holds exactly.
        #[test]
        fn the_law_holds_and_nothing_is_invented(
            steps in proptest::collection::vec(step(), 0..60),
            lag in 0_u64..1500,
            flight in 0_u64..1900,
            ask_every in 1_u32..80,
        ) {
            let mut scene = Scene::new(lag, flight);
            scene.ask_every = ask_every;
            let mut untold_ever = 0;
            for step in steps {
                match step {
                    Step::Pass { received, cut, lost } => scene.pass(received, cut, lost),
                    Step::Wait(ticks) => scene.wait(ticks),
                    Step::SwitchDies => {
                        // Meters are read after flows, so that what was cut and never told was
                        // never told as matched either, or the meter is known to be gone.
                        untold_ever += scene.untold.len() as u64;
                        scene.really_lost += scene.on_the_way.len() as u64;
                        scene.untold.clear();
                        scene.on_the_way.clear();
                        scene.balance.metered(std::mem::take(&mut scene.cut));
                    }
                    Step::Restart => {
                        scene.balance = Balance::new(*scene.balance.figures(), scene.now);
                        scene.attach();
                    }
                }
                prop_assert!(scene.lost() <= scene.really_lost);
            }
            scene.wait(2000);
            prop_assert_eq!(scene.balance.figures().unsettled(scene.received), 0);
            prop_assert!(scene.lost() <= scene.really_lost);
            if untold_ever == 0 {
                prop_assert_eq!(scene.lost(), scene.really_lost);
                prop_assert_eq!(scene.balance.figures().uncounted, 0);
            }
            let told: u64 = scene.told.iter().map(|loss| loss.count).sum();
            prop_assert_eq!(told, scene.lost());
        }
    }
}
