//! The books: all numbers together, and what they mean.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use netlog_core::flow::{Cookie, FlowKind, Slot};
use netlog_core::ledger::balance::{Balance, Cause, Figures};
use netlog_core::ledger::gap::{Gap, Gaps, Kind, Scope};
use netlog_core::ledger::{EventFigures, Ledger, SharedPort};
use netlog_sink::{Counters, Counts, Reason};
use serde::Serialize;
use time::UtcDateTime;
use tracing::warn;
use uuid::Uuid;

use super::figures::FlowFigures;
use super::marks::Marks;
use super::row::{BridgeRow, Key, MarkRow, PortRow};
use crate::switch::Counts as SwitchCounts;

/// The times that a window's word is given for, in seconds, with their names.
pub(super) const WINDOWS: [(&str, i64); 3] = [("5 min", 300), ("1 h", 3600), ("24 h", 86_400)];

/// The time, on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) monotonic: Duration,
    pub(super) utc: UtcDateTime,
}

impl Now {
    /// The time of day when the monotonic clock showed this.
    fn at(&self, monotonic: Duration) -> UtcDateTime {
        self.utc - self.monotonic.saturating_sub(monotonic)
    }
}

/// When there was something last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    traffic: Option<i64>,
    gap: Option<i64>,
}

impl Window {
    /// A word for the last so many seconds.
    pub(super) fn word(&self, seconds: i64, now: UtcDateTime) -> &'static str {
        let within =
            |time: Option<i64>| time.is_some_and(|time| now.unix_timestamp() - time < seconds);
        if within(self.gap) {
            "GAP"
        } else if within(self.traffic) {
            "OK"
        } else {
            "NODATA"
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            traffic: self.traffic.max(other.traffic),
            gap: self.gap.max(other.gap),
        }
    }
}

/// What the books hold of a port.
#[derive(Debug)]
pub(super) struct Port {
    /// Those of its log flows, in the order of [`FlowKind::ALL`].
    balances: [Balance; FlowKind::ALL.len()],
    pub(super) counters: SharedPort,
    pub(super) window: Window,
    /// What was told of losses already.
    told: Told,
    /// Packets matched or received when it was looked at last.
    seen: u64,
    /// The last agent was killed, so that what it received last is not known.
    killed: bool,
    /// What the store knows.
    stored: Option<PortRow>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Told {
    metered: u64,
    suppressed: u64,
    log_limited: u64,
    failed: u64,
}

impl Port {
    fn new(counters: SharedPort, now: Duration) -> Self {
        Self {
            balances: std::array::from_fn(|_| Balance::new(Figures::default(), now)),
            counters,
            window: Window::default(),
            told: Told::default(),
            seen: 0,
            killed: false,
            stored: None,
        }
    }

    /// The numbers of its log flow of this kind.
    pub(super) fn flow(&self, kind: FlowKind) -> FlowFigures {
        FlowFigures {
            figures: *self.balances[kind.index()].figures(),
            received: self.counters.received(kind).get(),
        }
    }

    /// The numbers of all its log flows together.
    pub(super) fn figures(&self) -> FlowFigures {
        FlowKind::ALL.iter().map(|kind| self.flow(*kind)).collect()
    }

    fn is_catching_up(&self) -> bool {
        self.balances.iter().any(Balance::is_catching_up)
    }
}

/// All numbers of a bridge.
#[derive(Debug)]
pub(super) struct State {
    pub(super) ledger: Arc<Ledger>,
    pub(super) sink: &'static str,
    pub(super) counters: Arc<Counters>,
    pub(super) ports: BTreeMap<Slot, Port>,
    /// Records that failed before this process, by reason.
    pub(super) failed_before: BTreeMap<String, u64>,
    /// The log objects that there are, once that is known.
    logs: Option<BTreeSet<Uuid>>,
    /// What the store knows of them.
    stored_logs: BTreeMap<Uuid, Option<EventFigures>>,
    flows: Marks<Cookie>,
    meters: Marks<Cookie>,
    gaps: Gaps,
    sink_told: Counts,
    malformed_told: u64,
    /// Losses that are not a port's.
    window: Window,
    looked: UtcDateTime,
    /// Whether the switch was asked since then.
    asked: bool,
    /// When packet-ins were received again, until the switch has told what was before.
    attached: Option<Duration>,
}

/// How long after packets were matched the switch tells of them at the latest, once it is asked.
const LAG: Duration = Duration::from_secs(2);

/// The source and the reason of everything that can be lost but in the sink.
const LOSSES: [(&str, &str); 8] = [
    ("switch", "metered"),
    ("switch", "agent-away"),
    ("switch", "lost-in-switch"),
    ("switch", "meter-gone"),
    ("limiter", "rate-limit"),
    ("limiter", "log-limit"),
    ("agent", "malformed"),
    ("agent", KILLED),
];

/// The reason of records that a killed agent had not written when it was seen last.
pub(super) const KILLED: &str = "agent-killed";

impl State {
    /// Books that go on from what was stored, on a host that was started as `boot` says.
    pub(super) fn new(
        ledger: Arc<Ledger>,
        sink: &'static str,
        counters: Arc<Counters>,
        interval: Duration,
        rows: &[(String, String)],
        boot: &str,
        now: Now,
    ) -> Self {
        let mut bridge = None;
        let mut ports = Vec::new();
        let (mut flows, mut meters) = (BTreeMap::new(), BTreeMap::new());
        let mut stored_logs = BTreeMap::new();
        for (key, value) in rows {
            let read = match Key::parse(key) {
                Some(Key::Bridge) => serde_json::from_str(value).map(|row| bridge = Some(row)),
                Some(Key::Port(slot)) => {
                    serde_json::from_str(value).map(|row: PortRow| ports.push((slot, row)))
                }
                Some(Key::Flow(cookie)) => serde_json::from_str(value).map(|row: MarkRow| {
                    flows.insert(cookie, row.into());
                }),
                Some(Key::Meter(cookie)) => serde_json::from_str(value).map(|row: MarkRow| {
                    meters.insert(cookie, row.into());
                }),
                Some(Key::Log(log)) => serde_json::from_str(value).map(|row| {
                    ledger.audiences.restore(log, row);
                    stored_logs.insert(log, Some(row));
                }),
                None => continue,
            };
            if let Err(error) = read {
                warn!("the stored ledger has a row {key} that cannot be read: {error}");
            }
        }
        let bridge: Option<BridgeRow> = bridge;
        let same_boot = bridge.as_ref().filter(|bridge| bridge.boot == boot);
        // After a restart of the host the monotonic clock and all counters began anew: what began
        // since is to be told in full.
        let stored_at = match (&bridge, same_boot) {
            (_, Some(same)) => Some(same.stored_at),
            (Some(_), None) => Some(Duration::ZERO),
            (None, _) => None,
        };
        if same_boot.is_none() {
            flows.clear();
            meters.clear();
        }
        let bridge = bridge.unwrap_or_default();
        let mut state = Self {
            flows: Marks::new(flows, stored_at, now.monotonic),
            meters: Marks::new(meters, stored_at, now.monotonic),
            logs: None,
            stored_logs,
            ports: BTreeMap::new(),
            failed_before: bridge.failed.clone(),
            gaps: Gaps::new(interval),
            sink_told: counters.read(),
            malformed_told: bridge.malformed,
            window: Window {
                traffic: None,
                gap: bridge.gap,
            },
            looked: now.utc,
            asked: false,
            attached: None,
            ledger,
            sink,
            counters,
        };
        let killed = stored_at.is_some() && !bridge.stopped;
        state.restore_bridge(&bridge);
        for (slot, row) in ports {
            state.restore_port(slot, &row, killed, &bridge, now);
        }
        state
    }

    fn restore_bridge(&self, row: &BridgeRow) {
        let ledger = &*self.ledger;
        ledger.received.set(row.received);
        ledger.unknown_flow.set(row.unknown_flow);
        ledger.malformed.set(row.malformed);
        ledger.unwanted.set(row.unwanted);
        ledger.sessions_evicted.set(row.sessions_evicted);
        ledger.drift_unjudged.set(row.drift_unjudged);
    }

    fn restore_port(
        &mut self,
        slot: Slot,
        row: &PortRow,
        killed: bool,
        bridge: &BridgeRow,
        now: Now,
    ) {
        let counters = self.ledger.port(slot);
        for (kind, flow) in FlowKind::ALL.into_iter().zip(&row.flows) {
            counters.received(kind).set(flow.received);
        }
        counters.events.restore(row.events);
        counters.drifted.set(row.drifted);
        let left = row.events.pending();
        let mut port = Port::new(counters, now.monotonic);
        port.balances = row
            .flows
            .map(|flow| Balance::new(flow.figures, now.monotonic));
        let FlowFigures { figures, received } = port.figures();
        port.window = Window {
            traffic: row.traffic,
            gap: row.gap,
        };
        port.killed = killed;
        port.seen = figures.matched + received;
        port.told = Told {
            metered: figures.metered,
            suppressed: row.events.suppressed,
            log_limited: row.events.log_limited,
            failed: row.events.failed + left,
        };
        if left > 0 {
            let first = UtcDateTime::from_unix_timestamp(bridge.stored_time).unwrap_or(now.utc);
            port.window.gap = Some(now.utc.unix_timestamp());
            *self.failed_before.entry(KILLED.to_owned()).or_default() += left;
            let gap = Gap {
                kind: Kind {
                    source: "agent",
                    reason: KILLED,
                    scope: Scope::Port(slot),
                },
                count: left,
                at_most: true,
                first,
                last: now.utc,
            };
            self.gaps.add(gap, now.monotonic);
        }
        self.ports.insert(slot, port);
    }

    /// The books of a port, which are begun where there are none.
    pub(super) fn port(&mut self, slot: Slot, now: Duration) -> &mut Port {
        let ledger = &self.ledger;
        self.ports
            .entry(slot)
            .or_insert_with(|| Port::new(ledger.port(slot), now))
    }

    fn balance(&mut self, Cookie { kind, slot }: Cookie, now: Duration) -> &mut Balance {
        &mut self.port(slot, now).balances[kind.index()]
    }

    /// These are all log objects. What was counted for others goes.
    pub(super) fn logs(&mut self, logs: BTreeSet<Uuid>) {
        self.logs = Some(logs);
    }

    /// A log object is there, or gone.
    pub(super) fn log(&mut self, log: Uuid, is_there: bool) {
        if let Some(logs) = &mut self.logs {
            if is_there {
                logs.insert(log);
            } else {
                logs.remove(&log);
            }
        }
    }

    /// What became of the events of each log object.
    pub(super) fn events_of_logs(&self) -> BTreeMap<Uuid, EventFigures> {
        let mut events = self.ledger.audiences.logs();
        events.retain(|log, _| is_there(self.logs.as_ref(), log));
        events
    }

    /// The switch has counted.
    pub(super) fn counted(&mut self, counts: &SwitchCounts, now: Duration) {
        for count in &counts.flows {
            let added = self.flows.take(count, now);
            self.balance(count.of, now).matched(added.more);
        }
        for count in &counts.meters {
            let added = self.meters.take(count, now);
            let balance = self.balance(count.of, now);
            balance.metered(added.more);
            if added.cut_short {
                balance.meter_gone();
            }
        }
        if !counts.whole {
            return;
        }
        self.asked = true;
        if self.attached.is_some_and(|at| now >= at + LAG) {
            self.attached = None;
            self.balances().for_each(Balance::caught_up);
        }
    }

    /// Packet-ins are being received again.
    pub(super) fn attached(&mut self, now: Duration) {
        self.attached = Some(now);
        self.balances().for_each(Balance::attached);
    }

    /// The balances of all log flows.
    fn balances(&mut self) -> impl Iterator<Item = &mut Balance> {
        { self.ports.values_mut() }.flat_map(|port| &mut port.balances)
    }

    /// Compares all numbers, and answers with the gaps that are to be told now. To be called once
    /// a second.
    pub(super) fn look(&mut self, now: Now) -> Vec<Gap> {
        let counters = self.ledger.ports().clone();
        for (slot, counters) in (0..).zip(counters.iter()) {
            if counters.received_total() > 0 || counters.events.total.get() > 0 {
                self.port(slot, now.monotonic);
            }
        }
        let since = std::mem::replace(&mut self.looked, now.utc);
        let asked = std::mem::take(&mut self.asked);
        let gaps = &mut self.gaps;
        let mut add = |source, reason, scope, count, at_most, first, last| {
            let kind = Kind {
                source,
                reason,
                scope,
            };
            let gap = Gap {
                kind,
                count,
                at_most,
                first,
                last,
            };
            gaps.add(gap, now.monotonic);
        };
        for (slot, port) in &mut self.ports {
            let scope = Scope::Port(*slot);
            let mut lost = false;
            for (kind, balance) in FlowKind::ALL.into_iter().zip(&mut port.balances) {
                let received = port.counters.received(kind).get();
                let losses = balance.look(received, asked, now.monotonic);
                for loss in losses.into_iter().flatten() {
                    let (reason, at_most) = match loss.cause {
                        Cause::Switch => ("lost-in-switch", false),
                        Cause::Away => ("agent-away", port.killed),
                        Cause::MeterGone => ("meter-gone", false),
                    };
                    let (first, last) = (now.at(loss.since), now.at(loss.until));
                    add("switch", reason, scope, loss.count, at_most, first, last);
                    lost = true;
                }
            }
            if !port.is_catching_up() {
                port.killed = false;
            }
            let FlowFigures { figures, received } = port.figures();
            let events = port.counters.events.read();
            let counts = Told {
                metered: figures.metered,
                suppressed: events.suppressed,
                log_limited: events.log_limited,
                failed: events.failed,
            };
            let told = std::mem::replace(&mut port.told, counts);
            for (source, reason, more) in [
                ("switch", "metered", counts.metered - told.metered),
                ("limiter", "rate-limit", counts.suppressed - told.suppressed),
                (
                    "limiter",
                    "log-limit",
                    counts.log_limited - told.log_limited,
                ),
            ] {
                add(source, reason, scope, more, false, since, now.utc);
                lost |= more > 0;
            }
            // Failures are told for the sink as a whole.
            lost |= counts.failed > told.failed;
            let seen = figures.matched + received;
            if std::mem::replace(&mut port.seen, seen) != seen {
                port.window.traffic = Some(now.utc.unix_timestamp());
            }
            if lost {
                port.window.gap = Some(now.utc.unix_timestamp());
            }
        }
        let sink = self.counters.read();
        for reason in Reason::ALL {
            let more = sink.failed(reason) - self.sink_told.failed(reason);
            let name = reason.name();
            add(self.sink, name, Scope::Bridge, more, false, since, now.utc);
        }
        self.sink_told = sink;
        let malformed = self.ledger.malformed.get();
        let more = malformed - std::mem::replace(&mut self.malformed_told, malformed);
        add(
            "agent",
            "malformed",
            Scope::Bridge,
            more,
            false,
            since,
            now.utc,
        );
        if more > 0 {
            self.window.gap = Some(now.utc.unix_timestamp());
        }
        let logs = self.logs.as_ref();
        self.ledger.audiences.tidy(|log| is_there(logs, log));
        self.gaps.due(now.monotonic)
    }

    /// At how many places something is being lost, by source and reason, with those where nothing
    /// is.
    pub(super) fn gaps_open(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let of_sink = Reason::ALL.map(|reason| (self.sink, reason.name()));
        let kinds = LOSSES.into_iter().chain(of_sink);
        let mut open: BTreeMap<_, _> = kinds.map(|kind| (kind, 0)).collect();
        for kind in self.gaps.open() {
            *open.entry((kind.source, kind.reason)).or_default() += 1;
        }
        open
    }

    /// All gaps that are not told yet: for the end.
    pub(super) fn drain(&mut self) -> Vec<Gap> {
        self.gaps.drain()
    }

    /// What the switch counted of all ports together, and what became of it.
    pub(super) fn figures(&self) -> FlowFigures {
        self.ports.values().map(Port::figures).collect()
    }

    /// The window of the whole bridge.
    pub(super) fn window(&self) -> Window {
        let ports = self.ports.values().map(|port| port.window);
        ports.fold(self.window, Window::with)
    }

    /// Records that failed, by reason, of this process and those before it.
    pub(super) fn failed(&self) -> BTreeMap<String, u64> {
        let mut failed = self.failed_before.clone();
        let now = self.counters.read();
        for reason in Reason::ALL {
            *failed.entry(reason.name().to_owned()).or_default() += now.failed(reason);
        }
        failed
    }

    /// The rows that have changed since they were stored last, by their keys; those that are to go
    /// have none.
    pub(super) fn changed(
        &mut self,
        boot: &str,
        stopped: bool,
        now: Now,
    ) -> Vec<(String, Option<String>)> {
        let ledger = &*self.ledger;
        let bridge = BridgeRow {
            boot: boot.to_owned(),
            stored_at: now.monotonic,
            stored_time: now.utc.unix_timestamp(),
            stopped,
            received: ledger.received.get(),
            unknown_flow: ledger.unknown_flow.get(),
            malformed: ledger.malformed.get(),
            unwanted: ledger.unwanted.get(),
            sessions_evicted: ledger.sessions_evicted.get(),
            drift_unjudged: ledger.drift_unjudged.get(),
            failed: self.failed(),
            gap: self.window.gap,
        };
        let mut rows = vec![row(Key::Bridge, &bridge)];
        for (slot, port) in &mut self.ports {
            let now = port_row(port);
            if port.stored.replace(now) != Some(now) {
                rows.push(row(Key::Port(*slot), &now));
            }
        }
        for (log, now) in self.events_of_logs() {
            if self.stored_logs.insert(log, Some(now)) != Some(Some(now)) {
                rows.push(row(Key::Log(log), &now));
            }
        }
        let logs = self.logs.as_ref();
        self.stored_logs.retain(|log, _| {
            let stays = is_there(logs, log);
            if !stays {
                rows.push((Key::Log(*log).to_string(), None));
            }
            stays
        });
        let flows = self.flows.changed();
        rows.extend(flows.map(|(cookie, mark)| row(Key::Flow(cookie), &MarkRow::from(mark))));
        let meters = self.meters.changed();
        rows.extend(meters.map(|(cookie, mark)| row(Key::Meter(cookie), &MarkRow::from(mark))));
        rows
    }

    /// The store did not take what it was given.
    pub(super) fn not_stored(&mut self) {
        for port in self.ports.values_mut() {
            port.stored = None;
        }
        for stored in self.stored_logs.values_mut() {
            *stored = None;
        }
        self.flows.not_stored();
        self.meters.not_stored();
    }
}

/// Whether there is such a log object, as far as is known.
fn is_there(logs: Option<&BTreeSet<Uuid>>, log: &Uuid) -> bool {
    logs.is_none_or(|logs| logs.contains(log))
}

fn row(key: Key, row: &impl Serialize) -> (String, Option<String>) {
    // Making JSON of these types does not fail.
    let json = serde_json::to_string(row).unwrap_or_default();
    (key.to_string(), Some(json))
}

fn port_row(port: &Port) -> PortRow {
    let counters = &*port.counters;
    PortRow {
        flows: FlowKind::ALL.map(|kind| port.flow(kind)),
        events: counters.events.read(),
        drifted: counters.drifted.get(),
        traffic: port.window.traffic,
        gap: port.window.gap,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_numbers_of_log_objects_are_kept_as_long_as_those_are_there() {
        let [kept, deleted] = [1, 2].map(Uuid::from_u128);
        let now = Now {
            monotonic: Duration::from_secs(100),
            utc: UtcDateTime::UNIX_EPOCH,
        };
        let open = |rows: &[(String, String)]| {
            let (ledger, counters) = (Arc::default(), Arc::default());
            State::new(ledger, "file", counters, Duration::ZERO, rows, "boot", now)
        };
        let stored = |rows: Vec<(String, Option<String>)>| -> Vec<(String, Option<String>)> {
            let of_log = |(of, _): &(String, _)| of.starts_with("log/");
            rows.into_iter().filter(of_log).collect()
        };
        let state = &mut open(&[]);
        let audience = state.ledger.audiences.of(&[kept, deleted]);
        audience.counters().total.add(3);
        audience.counters().written.add(2);
        let rows = stored(state.changed("boot", false, now));
        assert_eq!(rows.len(), 2);
        assert_eq!(stored(state.changed("boot", false, now)), []);

        // The next agent, after that one was killed.
        let rows: Vec<(String, String)> = rows
            .into_iter()
            .map(|(of, numbers)| (of, numbers.unwrap()))
            .collect();
        let state = &mut open(&rows);
        let figures = EventFigures {
            events: 3,
            written: 2,
            failed: 1,
            ..EventFigures::default()
        };
        let both = BTreeMap::from([(kept, figures), (deleted, figures)]);
        assert_eq!(state.events_of_logs(), both);
        state.logs(BTreeSet::from([kept]));
        assert_eq!(state.events_of_logs(), BTreeMap::from([(kept, figures)]));
        let gone = (Key::Log(deleted).to_string(), None);
        assert_eq!(
            stored(state.changed("boot", false, now)),
            [row(Key::Log(kept), &figures), gone,]
        );
        state.look(now);
        assert_eq!(state.ledger.audiences.logs().len(), 1);
        assert_eq!(stored(state.changed("boot", false, now)), []);
    }

    #[test]
    fn rows_of_ports_are_read_as_they_are_written() {
        let flow = |matched| json!({"matched": matched, "metered": 1, "received": 3});
        let flows: Vec<_> = (4..9).map(flow).collect();
        let written = json!({"flows": flows, "events": 5, "folded": 2, "written": 2});
        let read: PortRow = serde_json::from_value(written).unwrap();
        let last = read.flows[FlowKind::SameHostDrop.index()];
        assert_eq!((last.figures.matched, last.received), (8, 3));
        assert_eq!((read.events.events, last.figures.lost), (5, 0));
        let (_, again) = row(Key::Port(1), &read);
        let again: PortRow = serde_json::from_str(&again.unwrap()).unwrap();
        assert_eq!(again, read);
    }
}
