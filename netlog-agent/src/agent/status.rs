//! The state of the agent, which `netlog status` and `/metrics` show.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use netlog_core::flow::{AttachedPort, FlowKind};
use netlog_core::inventory::Inventory;
use netlog_core::ledger::{Counter, EventFigures, Ledger, PortCounters, SharedPort};
use netlog_core::plan::{Plan, PortPlan};
use netlog_sink::{Counters, Counts};
use serde_json::{Map, Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::clock;
use crate::ledger::{Books, FlowFigures, events_json};

/// The agent's state, for everyone to read at any time.
#[derive(Debug)]
pub(super) struct Status {
    bridge: String,
    started_at: UtcDateTime,
    inventory: Arc<ArcSwap<Inventory>>,
    ledger: Arc<Ledger>,
    books: Arc<Books>,
    sink: Arc<Counters>,
    audit: Arc<Counters>,
    version: ArcSwapOption<String>,
    ports: ArcSwap<Vec<LoggedPort>>,
    figures: Figures,
}

/// What the agent's own thread counts.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Log objects that are in force.
    pub(super) enabled_logs: Counter,
    /// Log objects that are not.
    pub(super) disabled_logs: Counter,
    /// Log flows that the bridge should have.
    pub(super) log_flows: Counter,
    /// Times that log flows were put back.
    pub(super) heals: Counter,
    /// Meters that were put back.
    pub(super) meter_heals: Counter,
    /// Times that the bridge could not meter all log flows.
    pub(super) unmetered: Counter,
    /// Times that the bridge refused log flows.
    pub(super) refusals: Counter,
    /// Flows of others that are in the way of log flows.
    pub(super) obstacles: Counter,
    /// Times that the bridge went away.
    pub(super) detachments: Counter,
}

/// A port that some log object selects and that is on the bridge.
#[derive(Debug)]
pub(super) struct LoggedPort {
    at: AttachedPort,
    plan: Arc<PortPlan>,
    counters: SharedPort,
}

impl Status {
    /// The state of an agent that starts now.
    pub(super) fn new(
        bridge: String,
        inventory: Arc<ArcSwap<Inventory>>,
        ledger: Arc<Ledger>,
        books: Arc<Books>,
        sink: Arc<Counters>,
        audit: Arc<Counters>,
    ) -> Self {
        Self {
            bridge,
            started_at: clock::utc_now(),
            inventory,
            ledger,
            books,
            sink,
            audit,
            version: ArcSwapOption::empty(),
            ports: ArcSwap::default(),
            figures: Figures::default(),
        }
    }

    pub(super) fn bridge(&self) -> &str {
        &self.bridge
    }

    /// When the agent started, in seconds since 1970.
    pub(super) fn started_at(&self) -> f64 {
        let nanos = self.started_at.unix_timestamp_nanos();
        // Milliseconds of a time since 1970 are exact for many thousand years.
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let millis = (nanos / 1_000_000) as f64;
        millis / 1000.0
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn books(&self) -> &Books {
        &self.books
    }

    pub(super) fn sink_counts(&self) -> Counts {
        self.sink.read()
    }

    pub(super) fn audit_counts(&self) -> Counts {
        self.audit.read()
    }

    pub(super) fn figures(&self) -> &Figures {
        &self.figures
    }

    pub(super) fn is_attached(&self) -> bool {
        self.version.load().is_some()
    }

    pub(super) fn logged_ports(&self) -> Arc<Vec<LoggedPort>> {
        self.ports.load_full()
    }

    /// The switch came, with the version that was agreed on, or went.
    pub(super) fn attached(&self, version: Option<String>) {
        self.version.store(version.map(Arc::new));
    }

    /// Other ports are logged, or in another way.
    pub(super) fn ports(&self, plan: &Plan, attached: &[AttachedPort]) {
        let logged = |at: &AttachedPort| {
            Some(LoggedPort {
                at: *at,
                plan: Arc::clone(plan.get(&at.id)?),
                counters: self.ledger.port(at.slot),
            })
        };
        let logged = attached.iter().filter_map(logged).collect();
        self.ports.store(Arc::new(logged));
    }

    /// Everything as JSON: the body of `GET /v1/status`.
    ///
    /// Numbers are those of this agent and of those before it. `recorded` counts events that
    /// became a record; what became of the records is `written` and `failed`. Events of a log
    /// object are those that it wants, also where others want them too; what the switch counted for
    /// it is the sum over the log flows of the ports that it selects now.
    pub(super) fn to_json(&self) -> Value {
        let ledger = &*self.ledger;
        let audit = self.audit.read();
        let mut totals = self.books.totals();
        let of_ports = ledger.totals();
        totals["recorded"] = of_ports.recorded.into();
        totals["queued"] = ledger.queued.get().into();
        totals["drifted"] = of_ports.drifted.into();
        totals["drift_unjudged"] = ledger.drift_unjudged.get().into();
        totals["sessions_evicted"] = ledger.sessions_evicted.get().into();
        let version = self.version.load();
        let uptime = clock::utc_now() - self.started_at;
        let (ports, inventory) = (self.ports.load(), self.inventory.load());
        let mut logs = Logs::default();
        let json = |port: &LoggedPort| {
            let (numbers, flows) = self.books.port(port.at.slot);
            logs.add(&port.plan, &numbers["windows"], &flows);
            port.to_json(numbers, &inventory)
        };
        let shown: Vec<Value> = ports.iter().map(json).collect();
        let logs = logs.into_json(&self.books.events_of_logs());
        json!({
            "agent": {
                "version": env!("CARGO_PKG_VERSION"),
                "started_at": self.started_at.format(&Rfc3339).unwrap_or_default(),
                "uptime_seconds": uptime.whole_seconds(),
            },
            "bridge": {
                "name": self.bridge,
                "connected": version.is_some(),
                "openflow_version": version.as_deref(),
            },
            "audit": { "written": audit.written, "failed": audit.failed_total() },
            "ports": shown,
            "logs": logs,
            "totals": totals,
        })
    }
}

/// What is known of each log object: what its log flows counted, on all ports that it selects now.
#[derive(Debug, Default)]
struct Logs(BTreeMap<Uuid, OfLog>);

#[derive(Debug, Default)]
struct OfLog {
    ports: u64,
    figures: FlowFigures,
    windows: Map<String, Value>,
}

impl Logs {
    /// Adds a port with its windows and the numbers of its log flows.
    fn add(
        &mut self,
        plan: &PortPlan,
        windows: &Value,
        flows: &[FlowFigures; FlowKind::ALL.len()],
    ) {
        /// From the best to the worst.
        const WORDS: [&str; 3] = ["NODATA", "OK", "GAP"];
        let rank = |word: &Value| WORDS.iter().position(|known| word == known);
        let accept: BTreeSet<Uuid> = plan.accept.iter().map(|scope| scope.log).collect();
        let drop: BTreeSet<Uuid> = plan.drop.iter().copied().collect();
        for log in accept.union(&drop) {
            let of_log = self.0.entry(*log).or_default();
            of_log.ports += 1;
            for (kind, flow) in FlowKind::ALL.into_iter().zip(flows) {
                let wanted_by = match kind {
                    FlowKind::Drop => &drop,
                    _ => &accept,
                };
                if wanted_by.contains(log) {
                    of_log.figures = of_log.figures.plus(*flow);
                }
            }
            for (window, word) in windows.as_object().into_iter().flatten() {
                let worst = of_log.windows.entry(window).or_insert(Value::Null);
                if rank(word) >= rank(worst) {
                    *worst = word.clone();
                }
            }
        }
    }

    /// Each with what became of its own events.
    fn into_json(self, events: &BTreeMap<Uuid, EventFigures>) -> Vec<Value> {
        let json = |(id, of_log): (Uuid, OfLog)| {
            let mut json = of_log.figures.to_json();
            json.extend(events_json(events.get(&id).copied().unwrap_or_default()));
            json.insert("log_id".to_owned(), json!(id));
            json.insert("ports".to_owned(), of_log.ports.into());
            json.insert("windows".to_owned(), of_log.windows.into());
            Value::Object(json)
        };
        self.0.into_iter().map(json).collect()
    }
}

impl LoggedPort {
    pub(super) const fn id(&self) -> Uuid {
        self.at.id
    }

    pub(super) fn counters(&self) -> &PortCounters {
        &self.counters
    }

    fn to_json(&self, mut numbers: Map<String, Value>, inventory: &Inventory) -> Value {
        let logged = match (self.plan.logs_accept(), self.plan.logs_drop()) {
            (true, true) => "ALL",
            (true, false) => "ACCEPT",
            (false, true) => "DROP",
            (false, false) => "-",
        };
        let name = inventory.port(self.at.id).map(|port| &*port.name);
        let mut insert = |name: &str, value: Value| numbers.insert(name.to_owned(), value);
        insert("port_id", json!(self.at.id));
        insert("name", json!(name.unwrap_or_default()));
        insert("ofport", json!(self.at.ofport));
        insert("logged", json!(logged));
        insert("recorded", self.counters.events.recorded.get().into());
        insert("drifted", self.counters.drifted.get().into());
        Value::Object(numbers)
    }
}
