//! The reconciler against a model of a switch.

use std::collections::{BTreeMap, VecDeque};

use netlog_core::flow::{Cookie, FlowKind};
use netlog_core::plan::{AcceptScope, LogLimits, PortPlan};
use netlog_ofp::multipart::{FlowStats, FullFlowUpdate, MeterConfig, MeterFeatures};
use netlog_ofp::{
    ALL_TABLES, Action, ErrorCode, ErrorMessage, FlowCommand, FlowRemovedReason, Instruction,
    Match, MeterBand, MeterId, PortNo,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::switch::Obstruction;

type Place = (u8, u16, Vec<u8>);

/// A switch that does one thing after the other, as Open vSwitch does.
#[derive(Debug, Default)]
struct Switch {
    flows: BTreeMap<Place, FlowStats>,
    /// The tables that are monitored on the connection.
    monitored: Vec<u8>,
    /// What it has not looked at yet.
    inbox: VecDeque<(Xid, Request)>,
    /// What it has said.
    outbox: VecDeque<LinkEvent>,
    last_xid: u32,
    /// What it refuses.
    refuses: Option<fn(&Request) -> bool>,
    /// Meters, with a number that no other ever has.
    meters: BTreeMap<MeterId, (u32, MeterConfig)>,
    last_meter: u32,
    max_meter: u32,
    /// The meter that each flow found when it was written.
    bound: BTreeMap<Place, Option<u32>>,
    /// What it was asked to change, in order.
    history: Vec<Request>,
}

impl Switch {
    fn ask(&mut self, request: Request) -> Xid {
        self.last_xid += 1;
        self.inbox.push_back((Xid(self.last_xid), request));
        Xid(self.last_xid)
    }

    /// Does the next thing it was asked; false when there is none.
    fn work(&mut self) -> bool {
        let Some((xid, request)) = self.inbox.pop_front() else {
            return false;
        };
        if self.refuses.is_some_and(|refuses| refuses(&request)) {
            let error = RequestError::Refused {
                error: ErrorMessage {
                    code: ErrorCode::BAD_TYPE,
                    data: Vec::new(),
                },
                culprit: None,
            };
            self.outbox.push_back(LinkEvent::Failed { xid, error });
            return true;
        }
        let answer = match request {
            Request::Monitor(monitors) => {
                assert!(
                    self.monitored.is_empty(),
                    "a monitor id must not be used twice"
                );
                self.monitored = monitors.iter().map(|monitor| monitor.table_id).collect();
                LinkEvent::Multipart {
                    xid,
                    reply: MultipartReply::FlowMonitor(Vec::new()),
                }
            }
            Request::Read(asked) => LinkEvent::Multipart {
                xid,
                reply: MultipartReply::Flow(self.read(&asked)),
            },
            Request::MeterFeatures => LinkEvent::Multipart {
                xid,
                reply: MultipartReply::MeterFeatures(MeterFeatures {
                    max_meter: self.max_meter,
                    band_types: 2,
                    capabilities: 0xf,
                    max_bands: 8,
                    max_color: 0,
                }),
            },
            Request::ReadMeters => {
                let configs = self.meters.values().map(|(_, config)| config.clone());
                LinkEvent::Multipart {
                    xid,
                    reply: MultipartReply::MeterConfig(configs.collect()),
                }
            }
            Request::SetMeters(changes) => {
                self.history.push(Request::SetMeters(changes.clone()));
                for change in changes {
                    assert_eq!(change.meter_id.0 >> 24, 0x6e, "{change:?}");
                    self.set_meter(change);
                }
                LinkEvent::Done { xid }
            }
            Request::Change(changes) => {
                self.history.push(Request::Change(changes.clone()));
                for change in changes {
                    self.carry_out(change, true);
                }
                LinkEvent::Done { xid }
            }
        };
        self.outbox.push_back(answer);
        true
    }

    fn read(&self, asked: &FlowStatsRequest) -> Vec<FlowStats> {
        let fits = |flow: &&FlowStats| {
            [ALL_TABLES, flow.table_id].contains(&asked.table_id)
                && (flow.cookie ^ asked.cookie) & asked.cookie_mask == 0
        };
        self.flows.values().filter(fits).cloned().collect()
    }

    /// Someone else changes a flow.
    fn meddle(&mut self, change: FlowMod) {
        self.carry_out(change, false);
    }

    /// Others change a meter.
    fn meddle_meter(&mut self, change: MeterMod) {
        self.set_meter(change.clone());
        if self.monitored.is_empty() {
            return;
        }
        let forward = netlog_ofp::RequestForward {
            xid: Xid(1),
            request: Box::new(Body::MeterMod(change)),
        };
        let message = netlog_ofp::Message {
            version: netlog_ofp::Version::V1_4,
            xid: Xid(0),
            body: Body::RequestForward(forward),
        };
        self.outbox.push_back(LinkEvent::Message(Box::new(message)));
    }

    fn set_meter(&mut self, change: MeterMod) {
        let id = change.meter_id;
        let config = MeterConfig {
            flags: change.flags,
            meter_id: id,
            bands: change.bands,
        };
        match change.command {
            MeterCommand::ADD => {
                self.last_meter += 1;
                assert!(self.meters.len() < self.max_meter as usize, "no room");
                let before = self.meters.insert(id, (self.last_meter, config));
                assert!(before.is_none(), "a meter is added twice");
            }
            MeterCommand::MODIFY => self.meters.get_mut(&id).unwrap().1 = config,
            _ if id == MeterId::ALL => self.meters.clear(),
            _ => {
                self.meters.remove(&id);
            }
        }
    }

    /// The meter that a flow finds when it is written.
    fn bind(&mut self, place: &Place, does: &[Instruction]) {
        let meter = match does {
            [Instruction::ApplyActions(actions)] => match actions.first() {
                Some(Action::Controller(report)) => report.meter_id,
                _ => None,
            },
            _ => None,
        };
        let found = meter.map(|id| self.meters.get(&MeterId(id)).map_or(0, |(meter, _)| *meter));
        self.bound.insert(place.clone(), found);
    }

    fn carry_out(&mut self, change: FlowMod, own: bool) {
        let place = (change.table_id, change.priority, change.r#match.to_bytes());
        if change.command == FlowCommand::MODIFY_STRICT {
            let fits = |flow: &FlowStats| (flow.cookie ^ change.cookie) & change.cookie_mask == 0;
            if let Some(flow) = self.flows.get_mut(&place).filter(|flow| fits(flow)) {
                assert!(!own || is_ours(flow.cookie), "{flow:?} was changed");
                flow.instructions.clone_from(&change.instructions);
                let flow = flow.clone();
                self.bind(&place, &change.instructions);
                self.tell(FlowUpdateEvent::MODIFIED, &flow, own);
            }
            return;
        }
        if change.command == FlowCommand::ADD {
            if own && let Some(before) = self.flows.get(&place) {
                assert!(is_ours(before.cookie), "{before:?} was replaced");
            }
            let flow = FlowStats {
                table_id: change.table_id,
                duration: Duration::ZERO,
                priority: change.priority,
                idle_timeout: change.idle_timeout,
                hard_timeout: change.hard_timeout,
                flags: change.flags,
                importance: 0,
                cookie: change.cookie,
                packet_count: 0,
                byte_count: 0,
                r#match: change.r#match,
                instructions: change.instructions,
            };
            self.bind(&place, &flow.instructions);
            self.tell(FlowUpdateEvent::ADDED, &flow, own);
            self.flows.insert(place, flow);
        } else if let Some(flow) = self.flows.get(&place)
            && (flow.cookie ^ change.cookie) & change.cookie_mask == 0
        {
            assert!(!own || is_ours(flow.cookie), "{flow:?} was deleted");
            let flow = flow.clone();
            self.tell(FlowUpdateEvent::REMOVED, &flow, own);
            self.flows.remove(&place);
        }
    }

    fn tell(&mut self, event: FlowUpdateEvent, flow: &FlowStats, own: bool) {
        if !self.monitored.contains(&flow.table_id) {
            return;
        }
        let update = if own {
            FlowUpdate::Abbrev(Xid(0))
        } else {
            FlowUpdate::Full(FullFlowUpdate {
                event,
                table_id: flow.table_id,
                reason: FlowRemovedReason(0),
                idle_timeout: flow.idle_timeout,
                hard_timeout: flow.hard_timeout,
                priority: flow.priority,
                cookie: flow.cookie,
                r#match: flow.r#match.clone(),
                instructions: flow.instructions.clone(),
            })
        };
        self.outbox.push_back(LinkEvent::FlowUpdates(vec![update]));
    }

    /// Deletes flows as `ovs-ofctl del-flows` does.
    fn delete(&mut self, which: impl Fn(&FlowStats) -> bool) {
        let deletions: Vec<FlowMod> = self
            .flows
            .values()
            .filter(|flow| which(flow))
            .map(|flow| FlowMod::delete_strict(flow.table_id, flow.priority, flow.r#match.clone()))
            .collect();
        for deletion in deletions {
            self.meddle(deletion);
        }
    }

    /// Starts again without flows and connections.
    fn restart(&mut self) {
        self.flows.clear();
        self.meters.clear();
        self.disconnect();
    }

    fn disconnect(&mut self) {
        self.monitored.clear();
        self.inbox.clear();
        self.outbox.clear();
    }

    fn ours(&self) -> Vec<&FlowStats> {
        self.flows
            .values()
            .filter(|flow| is_ours(flow.cookie))
            .collect()
    }

    fn theirs(&self) -> Vec<FlowStats> {
        let theirs = |flow: &&FlowStats| !is_ours(flow.cookie);
        self.flows.values().filter(theirs).cloned().collect()
    }
}

fn is_ours(cookie: u64) -> bool {
    Cookie::from_bits(cookie).is_some()
}

/// A reconciler, its switch and the time.
struct Scene {
    reconciler: Reconciler,
    switch: Switch,
    now: Duration,
    told: Vec<Event>,
    tickets: u64,
    limits: Option<Limits>,
}

impl Scene {
    /// Attached to a switch whose log tables end as in Neutron's pipeline.
    fn new() -> Self {
        let mut scene = Self {
            reconciler: Reconciler::new(FlowProfile::default()),
            switch: Switch {
                max_meter: 1 << 18,
                ..Switch::default()
            },
            now: Duration::from_secs(1),
            told: Vec::new(),
            tickets: 0,
            limits: None,
        };
        for table in [91, 92, 93] {
            scene.switch.meddle(theirs(table, 0, Match::any()));
        }
        let theirs = MeterMod::packets_per_second(MeterCommand::ADD, MeterId(1), 9, 9);
        scene.switch.set_meter(theirs);
        scene.reconciler.attach();
        scene
    }

    fn advance(&mut self) {
        let switch = &mut self.switch;
        let ask = |request| Ok::<_, ()>(switch.ask(request));
        let told = &mut self.told;
        let mut tell = |event| told.push(event);
        self.reconciler.advance(self.now, ask, &mut tell).unwrap();
    }

    /// Hears one thing; false when nothing was said.
    fn hear(&mut self) -> bool {
        let Some(event) = self.switch.outbox.pop_front() else {
            return false;
        };
        let told = &mut self.told;
        self.reconciler
            .hear(event, self.now, &mut |event| told.push(event));
        true
    }

    /// Lets everything happen that happens without waiting.
    fn run(&mut self) {
        for _ in 0..1000 {
            self.advance();
            if !(self.hear() || self.switch.work()) {
                return;
            }
        }
        panic!("it never ends: {:?}", self.reconciler);
    }

    /// Lets everything happen, over all waits.
    fn settle(&mut self) {
        for _ in 0..50 {
            self.run();
            let until = self.reconciler.deadline().unwrap_or(self.now);
            self.now = self.now.max(until);
        }
    }

    fn want(&mut self, ports: &[(u32, u32)]) -> u64 {
        self.tickets += 1;
        self.reconciler.want(Wanted {
            ticket: self.tickets,
            flows: log_flows(ports),
            limits: self.limits,
        });
        self.tickets
    }

    fn in_force(ports: &[(u32, u32)]) -> Self {
        Self::in_force_within(None, ports)
    }

    fn in_force_within(limits: Option<Limits>, ports: &[(u32, u32)]) -> Self {
        let mut scene = Self::new();
        scene.limits = limits;
        scene.want(ports);
        scene.run();
        assert_eq!(scene.switch.ours().len(), 5 * ports.len());
        scene.told.clear();
        scene
    }

    fn detach(&mut self) {
        self.reconciler.detach(self.now);
        self.switch.disconnect();
    }

    fn only_healed(&mut self) -> (Harm, Duration) {
        match std::mem::take(&mut self.told).as_slice() {
            [Event::Healed { harm, gap }] => (harm.clone(), *gap),
            told => panic!("{told:?}"),
        }
    }
}

/// The log flows of ports: slot and ofport.
fn log_flows(ports: &[(u32, u32)]) -> Vec<LogFlow> {
    let plan = PortPlan {
        port: Uuid::nil(),
        accept: vec![AcceptScope {
            log: Uuid::nil(),
            group: None,
        }],
        drop: vec![Uuid::nil()],
        limits: LogLimits::default(),
    };
    let flows =
        |(slot, ofport): &(u32, u32)| FlowProfile::default().log_flows(&plan, *slot, *ofport);
    ports.iter().flat_map(flows).collect()
}

fn theirs(table: u8, priority: u16, matches: Match) -> FlowMod {
    FlowMod::add(table, priority, 0xbeef, matches, vec![Action::resubmit(94)])
}

fn cookies(ports: &[(u32, u32)], table: Option<u8>) -> BTreeSet<Cookie> {
    let in_table = |flow: &LogFlow| table.is_none_or(|table| table == flow.table);
    let flows = log_flows(ports).into_iter().filter(in_table);
    flows.map(|flow| flow.cookie).collect()
}

const PORTS: [(u32, u32); 2] = [(1, 7), (2, 8)];

#[test]
fn wanted_flows_are_put_in_force_once() {
    let mut scene = Scene::new();
    scene.run();
    assert!(scene.told.is_empty());
    let ticket = scene.want(&PORTS);
    scene.run();
    assert!(matches!(
        *scene.told,
        [Event::InForce { ticket: of, changes: 10 }] if of == ticket
    ));
    scene.told.clear();

    // The same again needs no change, and is said to be in force.
    let ticket = scene.want(&PORTS);
    scene.run();
    assert!(matches!(
        *scene.told,
        [Event::InForce { ticket: of, changes: 0 }] if of == ticket
    ));
    assert_eq!(scene.reconciler.deadline(), None);
}

#[test]
fn flows_from_before_a_restart_of_the_agent_are_kept() {
    let mut scene = Scene::in_force(&PORTS);
    scene.detach();
    scene.reconciler = Reconciler::new(FlowProfile::default());
    scene.reconciler.attach();
    scene.run();
    assert_eq!(
        scene.switch.ours().len(),
        10,
        "nothing is touched before anything is wanted"
    );
    scene.want(&PORTS[..1]);
    scene.run();
    assert!(
        matches!(*scene.told, [Event::InForce { changes: 5, .. }]),
        "{:?}",
        scene.told
    );
}

#[test]
fn flows_deleted_by_cookie_are_put_back() {
    let mut scene = Scene::in_force(&PORTS);
    scene.now += Duration::from_secs(1);
    scene.switch.delete(|flow| is_ours(flow.cookie));
    scene.settle();
    assert_eq!(scene.switch.ours().len(), 10);
    let (harm, gap) = scene.only_healed();
    let expected = Harm {
        missing: cookies(&PORTS, None),
        ..Harm::default()
    };
    assert_eq!((harm, gap), (expected, GATHER));
}

#[test]
fn a_flushed_table_is_named() {
    let mut scene = Scene::in_force(&PORTS);
    scene.switch.delete(|flow| flow.table_id == 92);
    scene.settle();
    let (harm, _) = scene.only_healed();
    let expected = Harm {
        missing: cookies(&PORTS, Some(92)),
        emptied: BTreeSet::from([92]),
        ..Harm::default()
    };
    assert_eq!(harm, expected);
    assert_eq!(
        harm.to_string(),
        "table 92 was emptied; 4 log flows of 2 ports were gone"
    );
}

#[test]
fn altered_flows_are_mended() {
    let mut scene = Scene::in_force(&PORTS);
    let mut altered = scene.switch.ours()[0].clone();
    altered.instructions = vec![Instruction::ApplyActions(vec![Action::resubmit(94)])];
    scene
        .switch
        .tell(FlowUpdateEvent::MODIFIED, &altered, false);
    let place = (
        altered.table_id,
        altered.priority,
        altered.r#match.to_bytes(),
    );
    let cookie = Cookie::from_bits(altered.cookie).unwrap();
    scene.switch.flows.insert(place.clone(), altered.clone());
    scene.settle();
    assert_ne!(
        scene.switch.flows[&place].instructions,
        altered.instructions
    );
    let (harm, _) = scene.only_healed();
    let expected = Harm {
        altered: BTreeSet::from([cookie]),
        ..Harm::default()
    };
    assert_eq!(harm, expected);
}

#[test]
fn a_restarted_switch_gets_its_log_flows_back() {
    let mut scene = Scene::in_force(&PORTS);
    scene.now += Duration::from_secs(1);
    scene.detach();
    scene.switch.restart();
    scene.now += Duration::from_millis(300);
    scene.reconciler.attach();
    scene.run();
    assert_eq!(scene.switch.ours().len(), 10);
    let (harm, gap) = scene.only_healed();
    assert_eq!(gap, Duration::from_millis(300));
    let expected = Harm {
        missing: cookies(&PORTS, None),
        emptied: BTreeSet::from([91, 92, 93]),
        detached: true,
        ..Harm::default()
    };
    assert_eq!(harm, expected);
}

#[test]
fn a_lost_connection_alone_is_no_harm() {
    let mut scene = Scene::in_force(&PORTS);
    scene.detach();
    scene.reconciler.attach();
    scene.run();
    assert!(scene.told.is_empty(), "{:?}", scene.told);
}

#[test]
fn whoever_deletes_again_and_again_is_met_ever_more_slowly() {
    let mut scene = Scene::in_force(&PORTS);
    let mut repairs = Vec::new();
    let start = scene.now;
    while scene.now < start + Duration::from_secs(4) {
        scene.switch.delete(|flow| is_ours(flow.cookie));
        scene.run();
        if !scene.told.is_empty() {
            scene.only_healed();
            repairs.push(scene.now.saturating_sub(start));
        }
        scene.now += Duration::from_millis(10);
    }
    let times: Vec<_> = repairs.iter().take(6).map(Duration::as_millis).collect();
    assert_eq!(times, [10, 60, 160, 360, 760, 1260]);
    // Once it is quiet, the first repair is soon again.
    scene.now += CALM;
    scene.settle();
    scene.now += CALM;
    scene.told.clear();
    scene.switch.delete(|flow| is_ours(flow.cookie));
    scene.settle();
    assert_eq!(scene.only_healed().1, GATHER);
}

#[test]
fn a_change_that_others_overtake_is_repaired_afterwards() {
    let mut scene = Scene::in_force(&PORTS);
    scene.want(&PORTS[..1]);
    scene.advance();
    // On its way, the port's own flows are deleted; those of the other one as wanted.
    scene.switch.delete(|flow| flow.table_id == 93);
    scene.settle();
    assert_eq!(scene.switch.ours().len(), 5);
    let healed = |event: &&Event| matches!(event, Event::Healed { .. });
    assert_eq!(
        scene.told.iter().filter(healed).count(),
        1,
        "{:?}",
        scene.told
    );
}

#[test]
fn flows_that_are_not_wanted_any_more_are_not_said_to_be_in_force_again() {
    let mut scene = Scene::in_force(&PORTS);
    scene.switch.delete(|_| true);
    scene.hear_all();
    scene.want(&[]);
    scene.settle();
    assert!(
        matches!(*scene.told, [Event::InForce { changes: 0, .. }]),
        "{:?}",
        scene.told
    );
}

#[test]
fn what_is_wanted_while_a_change_is_on_its_way_follows_it() {
    let mut scene = Scene::new();
    scene.run();
    let first = scene.want(&PORTS[..1]);
    scene.advance();
    let second = scene.want(&PORTS);
    scene.run();
    let tickets: Vec<_> = scene
        .told
        .iter()
        .map(|event| match event {
            Event::InForce { ticket, changes } => (*ticket, *changes),
            event => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(tickets, [(first, 5), (second, 5)]);
}

#[test]
fn a_flow_of_someone_else_is_not_replaced() {
    let mut scene = Scene::new();
    let matches = Match::any().reg(5, 7);
    scene.switch.meddle(theirs(93, 100, matches.clone()));
    let before = scene.switch.theirs();
    scene.want(&PORTS);
    scene.run();
    assert_eq!(scene.switch.theirs(), before);
    assert_eq!(scene.switch.ours().len(), 9);
    let obstacle = Obstacle {
        obstruction: Obstruction::TakesPlace,
        table: 93,
        priority: 100,
        cookie: 0xbeef,
        matches: matches.clone(),
    };
    assert!(
        matches!(
            &*scene.told,
            [Event::Obstructed { obstacles }, Event::InForce { changes: 9, .. }]
                if *obstacles == [obstacle.clone()]
        ),
        "{:?}",
        scene.told
    );

    // When it goes, the log flow takes its place.
    scene.told.clear();
    scene
        .switch
        .meddle(FlowMod::delete_strict(93, 100, matches));
    scene.settle();
    assert_eq!(scene.switch.ours().len(), 10);
    assert!(
        matches!(&*scene.told, [Event::Obstructed { obstacles }, ..] if obstacles.is_empty()),
        "{:?}",
        scene.told
    );
}

/// Meters included. `benches/reconcile.rs` does the same with ten thousand ports on a real switch.
#[test]
fn a_change_of_one_port_touches_its_own_flows_only() {
    let ports: Vec<_> = (1..=100).map(|port| (port, port)).collect();
    let mut scene = Scene::in_force_within(Some(limits(100)), &ports);
    scene.switch.history.clear();
    let (last, others) = ports.split_last().unwrap();
    scene.want(others);
    scene.run();
    scene.want(&ports);
    scene.run();
    let mut touched = BTreeSet::new();
    for request in &scene.switch.history {
        match request {
            Request::Change(changes) => {
                let cookies = changes
                    .iter()
                    .map(|change| Cookie::from_bits(change.cookie));
                touched.extend(cookies.map(|cookie| cookie.unwrap().slot));
                assert_eq!(changes.len(), 5);
            }
            Request::SetMeters(changes) => {
                let cookies = changes.iter().map(|change| meters::cookie(change.meter_id));
                touched.extend(cookies.map(|cookie| cookie.unwrap().slot));
                assert_eq!(changes.len(), 5);
            }
            request => panic!("{request:?}"),
        }
    }
    println!("of {} ports, these were touched: {touched:?}", ports.len());
    assert_eq!(touched, BTreeSet::from([last.0]));
}

#[test]
fn flows_that_come_first_are_reported() {
    for (theirs_, comes_first) in [
        (theirs(93, 200, Match::any()), true),
        (theirs(93, 100, Match::any().in_port(PortNo(3))), true),
        (theirs(93, 200, Match::any().reg(5, 7)), true),
        // Whatever is for port 9 may come from port 7, whose flow it hides.
        (theirs(93, 200, Match::any().reg(5, 9)), true),
        (theirs(91, 200, Match::any().reg(5, 9)), false),
        (theirs(93, 200, Match::any().reg_masked(5, 6, 6)), true),
        (
            theirs(93, 95, Match::any().reg_masked(5, 0x100, 0x100)),
            true,
        ),
        (
            theirs(91, 200, Match::any().reg_masked(5, 0x100, 0x100)),
            false,
        ),
        (theirs(93, 80, Match::any()), false),
        (theirs(70, 200, Match::any()), false),
    ] {
        let mut scene = Scene::in_force(&PORTS);
        scene.switch.meddle(theirs_.clone());
        scene.settle();
        let reported = matches!(
            &*scene.told,
            [Event::Obstructed { obstacles }]
                if obstacles.len() == 1 && obstacles[0].obstruction == Obstruction::ComesFirst
        );
        assert_eq!(reported, comes_first, "{theirs_:?}: {:?}", scene.told);
    }
}

#[test]
fn a_refusal_is_told_once_and_tried_again() {
    let mut scene = Scene::new();
    scene.switch.refuses = Some(|request| matches!(request, Request::Change(_)));
    scene.want(&PORTS);
    scene.settle();
    assert!(
        matches!(*scene.told, [Event::Refused { .. }]),
        "{:?}",
        scene.told
    );
    scene.switch.refuses = None;
    scene.settle();
    assert!(matches!(
        *scene.told,
        [Event::Refused { .. }, Event::InForce { changes: 10, .. }]
    ));
}

#[test]
fn without_a_monitor_the_flows_are_read_again_and_again() {
    let mut scene = Scene::new();
    scene.switch.refuses = Some(|request| matches!(request, Request::Monitor(_)));
    scene.want(&PORTS);
    scene.run();
    assert!(
        matches!(
            *scene.told,
            [Event::Unmonitored { .. }, Event::InForce { .. }]
        ),
        "{:?}",
        scene.told
    );
    scene.told.clear();
    scene.switch.delete(|flow| flow.table_id == 91);
    scene.run();
    assert!(scene.told.is_empty());
    scene.now += REREAD;
    scene.run();
    let (harm, _) = scene.only_healed();
    assert_eq!(harm.missing, cookies(&PORTS, Some(91)));
}

#[test]
fn a_paused_monitor_is_waited_for_and_the_flows_are_read_again() {
    let mut scene = Scene::in_force(&PORTS);
    let pause = LinkEvent::FlowUpdates(vec![FlowUpdate::Paused]);
    scene.switch.outbox.push_back(pause);
    scene.run();
    // This is lost on us.
    let tables = std::mem::take(&mut scene.switch.monitored);
    scene.switch.delete(|flow| flow.table_id == 91);
    scene.run();
    assert!(scene.told.is_empty());
    scene.switch.monitored = tables;
    let resume = LinkEvent::FlowUpdates(vec![FlowUpdate::Resumed]);
    scene.switch.outbox.push_back(resume);
    scene.run();
    assert_eq!(scene.only_healed().0.missing, cookies(&PORTS, Some(91)));
}

#[test]
fn flows_of_ours_in_other_tables_go() {
    let mut scene = Scene::new();
    let cookie = Cookie {
        kind: FlowKind::Drop,
        slot: 3,
    };
    let stray = FlowMod {
        cookie: cookie.to_bits(),
        ..theirs(95, 100, Match::any().reg(5, 7))
    };
    scene.switch.meddle(stray);
    scene.want(&[]);
    scene.run();
    assert!(scene.switch.ours().is_empty());
    assert_eq!(scene.switch.theirs().len(), 3);
}

fn limits(rate: u64) -> Limits {
    Limits::new(rate, 25).unwrap()
}

/// The meters of ours that a switch has, by log flow: rate and burst.
fn our_meters(switch: &Switch) -> BTreeMap<Cookie, (u32, u32)> {
    let ours = |(id, (_, config)): (&MeterId, &(u32, MeterConfig))| {
        let [MeterBand::Drop { rate, burst_size }] = *config.bands else {
            panic!("{config:?}");
        };
        Some((meters::cookie(*id)?, (rate, burst_size)))
    };
    switch.meters.iter().filter_map(ours).collect()
}

/// The meters that the log flows of ports should have.
fn meters_of(ports: &[(u32, u32)], limits: Limits) -> BTreeMap<Cookie, (u32, u32)> {
    let setting = (limits.rate(), limits.rate() + limits.burst());
    cookies(ports, None)
        .into_iter()
        .map(|cookie| (cookie, setting))
        .collect()
}

/// Whether every flow of ours reports through the meter that it has now.
fn assert_bound(switch: &Switch) {
    for (place, flow) in switch.flows.iter().filter(|(_, flow)| is_ours(flow.cookie)) {
        let cookie = Cookie::from_bits(flow.cookie).unwrap();
        let meter = switch.meters.get(&meters::meter(cookie).unwrap());
        assert_eq!(switch.bound[place], meter.map(|(meter, _)| *meter));
    }
}

#[test]
fn meters_come_before_the_flows_and_go_after_them() {
    let mut scene = Scene::in_force_within(Some(limits(100)), &PORTS);
    let all = meters_of(&PORTS, limits(100));
    assert_eq!((all.len(), our_meters(&scene.switch)), (10, all));
    assert_bound(&scene.switch);
    scene.want(&PORTS[..1]);
    scene.run();
    let first = meters_of(&PORTS[..1], limits(100));
    assert_eq!(our_meters(&scene.switch), first);
    scene.limits = None;
    scene.want(&PORTS);
    scene.run();
    assert!(our_meters(&scene.switch).is_empty());
    assert_bound(&scene.switch);
    assert!(scene.switch.meters.contains_key(&MeterId(1)));
    let kinds: Vec<_> = scene
        .switch
        .history
        .iter()
        .map(|request| match request {
            Request::SetMeters(changes) => ("meters", changes.len()),
            Request::Change(changes) => ("flows", changes.len()),
            request => panic!("{request:?}"),
        })
        .collect();
    let expected = [
        ("meters", 10),
        ("flows", 10),
        ("flows", 5),
        ("meters", 5),
        // The first port's flows are changed, those of the second added.
        ("flows", 10),
        ("meters", 5),
    ];
    assert_eq!(kinds, expected);
    assert!(
        { scene.told.iter() }.all(|event| matches!(event, Event::InForce { .. })),
        "{:?}",
        scene.told
    );
}

#[test]
fn other_limits_change_the_meters_and_no_flow() {
    let mut scene = Scene::in_force_within(Some(limits(100)), &PORTS);
    scene.switch.history.clear();
    scene.limits = Some(limits(1000));
    let ticket = scene.want(&PORTS);
    scene.run();
    let modify = |change: &MeterMod| change.command == MeterCommand::MODIFY;
    assert!(
        matches!(&*scene.switch.history, [Request::SetMeters(changes)]
            if changes.len() == 10 && changes.iter().all(modify)),
        "{:?}",
        scene.switch.history
    );
    assert!(matches!(*scene.told, [Event::InForce { ticket: of, changes: 0 }] if of == ticket));
    let all = meters_of(&PORTS, limits(1000));
    assert_eq!(our_meters(&scene.switch), all);
    assert_bound(&scene.switch);
}

#[test]
fn flows_go_on_counting_when_they_get_meters() {
    let mut scene = Scene::in_force(&PORTS);
    for flow in scene.switch.flows.values_mut() {
        flow.packet_count = 7;
    }
    scene.limits = Some(limits(100));
    scene.want(&PORTS);
    scene.run();
    assert_bound(&scene.switch);
    assert!(
        scene
            .switch
            .ours()
            .iter()
            .all(|flow| flow.packet_count == 7)
    );
}

#[test]
fn meters_that_others_delete_are_put_back_and_bound_again() {
    let mut scene = Scene::in_force_within(Some(limits(100)), &PORTS);
    scene.now += Duration::from_secs(1);
    scene.switch.meddle_meter(MeterMod::delete(MeterId::ALL));
    scene.settle();
    assert_eq!(our_meters(&scene.switch), meters_of(&PORTS, limits(100)));
    assert_bound(&scene.switch);
    let (harm, _) = scene.only_healed();
    let expected = Harm {
        unmetered: cookies(&PORTS, None),
        ..Harm::default()
    };
    assert_eq!(harm, expected);
    assert_eq!(harm.to_string(), "10 meters of 2 ports were gone");
}

#[test]
fn meters_that_others_change_are_set_again_though_nobody_says_so() {
    let mut scene = Scene::in_force_within(Some(limits(100)), &PORTS);
    scene.now += Duration::from_secs(1);
    let altered = Cookie {
        kind: FlowKind::Drop,
        slot: 2,
    };
    let id = meters::meter(altered).unwrap();
    let change = MeterMod::packets_per_second(MeterCommand::MODIFY, id, 1, 1);
    scene.switch.set_meter(change);
    scene.settle();
    assert!(scene.told.is_empty());
    scene.reconciler.look_at_meters();
    scene.settle();
    let (harm, gap) = scene.only_healed();
    let expected = Harm {
        remetered: BTreeSet::from([altered]),
        ..Harm::default()
    };
    assert_eq!(harm, expected);
    assert_eq!(gap, Duration::from_secs(1), "since the meters were read");
    assert_eq!(our_meters(&scene.switch), meters_of(&PORTS, limits(100)));
}

#[test]
fn a_switch_without_meters_gets_flows_without_them() {
    let mut scene = Scene::new();
    scene.switch.max_meter = 0;
    scene.limits = Some(limits(100));
    scene.want(&PORTS);
    scene.settle();
    assert!(
        matches!(
            *scene.told,
            [Event::Unmetered { .. }, Event::InForce { changes: 10, .. }]
        ),
        "{:?}",
        scene.told
    );
    scene.told.clear();
    assert_bound(&scene.switch);
    scene.want(&PORTS);
    scene.detach();
    scene.reconciler.attach();
    scene.settle();
    assert!(matches!(*scene.told, [Event::InForce { changes: 0, .. }]));
}

#[test]
fn meters_that_are_refused_keep_no_flow_back_and_are_tried_again() {
    let mut scene = Scene::new();
    scene.switch.refuses = Some(|request| matches!(request, Request::SetMeters(_)));
    scene.limits = Some(limits(100));
    scene.want(&PORTS);
    scene.run();
    assert!(
        matches!(
            *scene.told,
            [Event::Unmetered { .. }, Event::InForce { changes: 10, .. }]
        ),
        "{:?}",
        scene.told
    );
    assert_bound(&scene.switch);
    scene.told.clear();
    scene.switch.refuses = None;
    assert_eq!(scene.reconciler.deadline(), Some(scene.now + METER_RETRY));
    scene.now += METER_RETRY;
    scene.run();
    assert_eq!(our_meters(&scene.switch), meters_of(&PORTS, limits(100)));
    assert_bound(&scene.switch);
    assert!(scene.told.is_empty(), "{:?}", scene.told);
}

#[test]
fn where_there_is_no_room_for_all_meters_drops_have_theirs_and_it_is_told() {
    let mut scene = Scene::new();
    // One of them is someone else's.
    scene.switch.max_meter = 8;
    scene.limits = Some(limits(100));
    scene.want(&PORTS);
    scene.run();
    let Some(Event::Unmetered { reason }) = scene.told.first() else {
        panic!("{:?}", scene.told);
    };
    assert_eq!(
        reason,
        "it has room for 8 meters, so that 3 of 10 log flows have none"
    );
    assert!(matches!(scene.told[1..], [Event::InForce { .. }]));
    let metered = our_meters(&scene.switch);
    assert_eq!(metered.len(), 7);
    let mut drops = cookies(&PORTS, None);
    drops.retain(|cookie| cookie.kind == FlowKind::Drop);
    assert!(drops.iter().all(|drop| metered.contains_key(drop)));
    assert_bound(&scene.switch);
    // Nothing is asked for in vain.
    assert_eq!(scene.reconciler.deadline(), None);
    // With fewer ports all have room, once the meters of the others are gone.
    scene.want(&PORTS[..1]);
    scene.run();
    let first = meters_of(&PORTS[..1], limits(100));
    assert_eq!(our_meters(&scene.switch), first);
    assert_bound(&scene.switch);
}

#[test]
fn meters_of_ours_that_no_log_flow_has_go() {
    let mut scene = Scene::new();
    let stray = MeterId(0x6e00_0007);
    let add = MeterMod::packets_per_second(MeterCommand::ADD, stray, 1, 1);
    scene.switch.set_meter(add);
    scene.want(&PORTS);
    scene.run();
    assert!(!scene.switch.meters.contains_key(&stray));
    assert!(scene.switch.meters.contains_key(&MeterId(1)));
}

/// Something that happens to a switch or to us.
#[derive(Clone, Debug)]
enum Happening {
    Want(Vec<(u32, u32)>),
    /// Other limits, in force with the next that is wanted.
    Limit(Option<u32>),
    /// Others delete all meters, those of others too.
    DeleteMeters,
    /// Others set a meter of ours in another way, and nobody says so.
    AlterMeter(usize),
    LookAtMeters,
    /// Others delete ours in that table.
    DeleteOurs(u8),
    /// Others delete everything in that table.
    Flush(u8),
    /// Others delete theirs in that table.
    DeleteTheirs(u8),
    /// Others add a flow there: a place of ours, maybe.
    Add(u8, u16, u32),
    /// Others change what a flow of ours does.
    Alter(usize),
    Restart,
    Disconnect,
    Attach,
    Refuse(bool),
    /// So many steps of whoever has something to do.
    Run(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    let table = 91u8..=93;
    prop_oneof![
        prop::collection::btree_map(7u32..11, 1u32..6, 0..4).prop_map(|ports| {
            // One port an ofport, as on a bridge.
            Happening::Want(
                ports
                    .into_iter()
                    .map(|(ofport, slot)| (slot, ofport))
                    .collect(),
            )
        }),
        prop::option::of(100u32..103).prop_map(Happening::Limit),
        Just(Happening::DeleteMeters),
        (0usize..20).prop_map(Happening::AlterMeter),
        Just(Happening::LookAtMeters),
        table.clone().prop_map(Happening::DeleteOurs),
        table.clone().prop_map(Happening::Flush),
        table.clone().prop_map(Happening::DeleteTheirs),
        (
            table,
            prop::sample::select(vec![50u16, 90, 100, 200]),
            7u32..11
        )
            .prop_map(|(table, priority, ofport)| Happening::Add(table, priority, ofport)),
        (0usize..20).prop_map(Happening::Alter),
        Just(Happening::Restart),
        Just(Happening::Disconnect),
        Just(Happening::Attach),
        any::<bool>().prop_map(Happening::Refuse),
        (0usize..12).prop_map(Happening::Run),
    ]
}

impl Scene {
    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Want(ports) => {
                self.want(&ports);
            }
            Happening::Limit(rate) => {
                self.limits = rate.map(|rate| limits(rate.into()));
            }
            Happening::DeleteMeters => {
                self.switch.meddle_meter(MeterMod::delete(MeterId::ALL));
            }
            Happening::AlterMeter(which) => {
                let ours = our_meters(&self.switch);
                if let Some(cookie) = ours.keys().nth(which) {
                    let id = meters::meter(*cookie).unwrap();
                    let change = MeterMod::packets_per_second(MeterCommand::MODIFY, id, 1, 1);
                    self.switch.set_meter(change);
                }
            }
            Happening::LookAtMeters => self.reconciler.look_at_meters(),
            Happening::DeleteOurs(table) => self
                .switch
                .delete(|flow| flow.table_id == table && is_ours(flow.cookie)),
            Happening::Flush(table) => self.switch.delete(|flow| flow.table_id == table),
            Happening::DeleteTheirs(table) => self
                .switch
                .delete(|flow| flow.table_id == table && !is_ours(flow.cookie)),
            Happening::Add(table, priority, ofport) => {
                // What others add in the very moment of a change of ours cannot be known in time.
                let busy = self.switch.inbox.iter();
                if !{ busy }.any(|(_, request)| matches!(request, Request::Change(_))) {
                    self.hear_all();
                    self.switch
                        .meddle(theirs(table, priority, Match::any().reg(5, ofport)));
                    self.hear_all();
                }
            }
            Happening::Alter(which) => {
                let ours = self.switch.ours();
                let Some(flow) = ours.get(which) else {
                    return;
                };
                let altered = FlowMod {
                    cookie: flow.cookie,
                    ..theirs(flow.table_id, flow.priority, flow.r#match.clone())
                };
                self.switch.meddle(altered);
            }
            Happening::Restart => {
                self.reconciler.detach(self.now);
                self.switch.restart();
            }
            Happening::Disconnect => self.detach(),
            Happening::Attach => {
                self.detach();
                self.reconciler.attach();
            }
            Happening::Refuse(refuses) => {
                self.switch.refuses = refuses.then_some(|request| {
                    matches!(request, Request::Change(_) | Request::SetMeters(_))
                });
            }
            Happening::Run(steps) => {
                for _ in 0..steps {
                    self.advance();
                    let _ = self.hear() || self.switch.work();
                    self.now += Duration::from_millis(20);
                }
            }
        }
    }

    fn hear_all(&mut self) {
        while self.hear() {}
    }
}

proptest! {
    /// Whatever happens, in whatever order: no flow of others is touched (the model sees to
    /// that), and in the end what is wanted is there, wherever nobody else has the place, and
    /// nothing else of ours.
    #[test]
    fn in_the_end_the_wanted_flows_are_in_force(happenings in prop::collection::vec(happening(), 0..40)) {
        let mut scene = Scene::new();
        let mut wanted = Vec::new();
        let mut wanted_limits = None;
        scene.want(&[]);
        for happening in happenings {
            if let Happening::Want(ports) = &happening {
                wanted.clone_from(ports);
                wanted_limits = scene.limits;
            }
            scene.happen(happening);
        }
        let theirs_before = scene.switch.theirs();
        scene.switch.refuses = None;
        if matches!(scene.reconciler.phase, Phase::Detached) {
            scene.reconciler.attach();
        }
        scene.settle();
        scene.reconciler.look_at_meters();
        scene.settle();
        let metered = wanted_limits.map(|limits| meters_of(&wanted, limits));
        let metered = metered.unwrap_or_default();
        prop_assert_eq!(our_meters(&scene.switch), metered);
        assert_bound(&scene.switch);
        prop_assert_eq!(scene.switch.theirs(), theirs_before.clone());
        let taken: BTreeSet<Place> = theirs_before
            .iter()
            .map(|flow| (flow.table_id, flow.priority, flow.r#match.to_bytes()))
            .collect();
        let place = |flow: &LogFlow| {
            let matches = match flow.matches {
                netlog_core::flow::FlowMatch::PortRegister(ofport) => Match::any().reg(5, ofport),
                netlog_core::flow::FlowMatch::InPort(ofport) => Match::any().in_port(PortNo(ofport)),
            };
            (flow.table, flow.priority, matches.to_bytes())
        };
        let expected: BTreeMap<Place, u64> = log_flows(&wanted)
            .iter()
            .map(|flow| (place(flow), flow.cookie.to_bits()))
            .filter(|(place, _)| !taken.contains(place))
            .collect();
        let found: BTreeMap<Place, u64> = scene
            .switch
            .ours()
            .into_iter()
            .map(|flow| ((flow.table_id, flow.priority, flow.r#match.to_bytes()), flow.cookie))
            .collect();
        prop_assert_eq!(found, expected);
        for flow in scene.switch.ours() {
            let [Instruction::ApplyActions(actions)] = flow.instructions.as_slice() else {
                panic!("{flow:?}");
            };
            prop_assert!(matches!(actions[0], Action::Controller(_)), "{:?}", flow);
        }
        // Nothing is left to do.
        prop_assert!(scene.switch.inbox.is_empty());
        prop_assert_eq!(scene.reconciler.deadline(), None);
    }
}
