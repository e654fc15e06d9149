//! The books of the ledger: what the switch, the pipeline and the sink have counted, compared all
//! the time, kept over restarts, and told.
//!
//! A thread looks once a second. It compares the numbers by the law of
//! [`netlog_core::ledger::balance`], tells losses to the audit log, and stores what has changed,
//! so that the next agent goes on from there: what log flows matched while no agent was there is a
//! gap that it tells. After an agent was killed, what it received in its last second is not known
//! to the next; such gaps are told with `at_most`.
//!
//! | source | reason | what was lost |
//! |---|---|---|
//! | `switch` | `metered` | packets that the meters of the port's log flows cut |
//! | `switch` | `agent-away` | packets that log flows matched while no agent received them |
//! | `switch` | `lost-in-switch` | packets that were matched, not cut, and never received |
//! | `switch` | `meter-gone` | packets that were one of both: the meter is gone |
//! | `limiter` | `rate-limit`, `log-limit` | events that a limit refused |
//! | `file`, `syslog` | [`netlog_sink::Reason`] | records that the sink did not take |
//! | `agent` | `malformed` | packet-ins that could not be read |
//! | `agent` | `agent-killed` | events that a killed agent had not written when it was seen last |

mod books;
mod figures;
mod marks;
mod row;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use netlog_core::audit::Outcome;
use netlog_core::flow::{Cookie, FlowKind, Slot};
use netlog_core::ledger::balance::Figures;
use netlog_core::ledger::gap::{Gap, Scope};
use netlog_core::ledger::{EventFigures, Ledger};
use netlog_sink::Counters;
use serde_json::{Map, Value, json};
use time::UtcDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;
use tracing::{error, warn};
use uuid::Uuid;

use self::books::{Now, Port, State, WINDOWS, Window};
pub(crate) use self::figures::{FlowFigures, events_json};
use crate::audit::{self, Audit};
use crate::clock;
use crate::service::Service;
use crate::store::{LedgerStore, StoreError};
use crate::switch::Counts;

/// How the times of a gap are written (RFC 3339).
const TIMESTAMP: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// How often the books are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the books are kept of and for.
#[derive(Debug)]
pub struct Parts {
    /// The bridge.
    pub bridge: String,
    /// What the pipeline counts.
    pub ledger: Arc<Ledger>,
    /// The name of the sink.
    pub sink: &'static str,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Where the numbers are kept.
    pub store: LedgerStore,
    /// Where gaps are told.
    pub audit: Arc<Audit>,
    /// How often a gap that goes on is told.
    pub interval: Duration,
}

/// The books, for everyone to look at and to add to.
#[derive(Debug)]
pub struct Books {
    bridge: String,
    audit: Arc<Audit>,
    store: LedgerStore,
    /// Tells one start of the host from another.
    boot: String,
    state: Mutex<State>,
    /// The ports by slot.
    ids: Mutex<BTreeMap<Slot, Uuid>>,
}

/// The thread that looks at the books.
#[derive(Debug)]
pub struct Bookkeeper {
    books: Arc<Books>,
    service: Service,
}

impl Books {
    /// Books that go on from what is stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(parts: Parts) -> Result<Self, StoreError> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot = boot.trim_end().to_owned();
        let state = State::new(
            parts.ledger,
            parts.sink,
            parts.counters,
            parts.interval,
            &parts.store.rows()?,
            &boot,
            now(),
        );
        let ids = parts.store.ports()?;
        Ok(Self {
            bridge: parts.bridge,
            audit: parts.audit,
            store: parts.store,
            boot,
            state: Mutex::new(state),
            ids: Mutex::new(ids),
        })
    }

    /// The switch has counted.
    pub fn counted(&self, counts: &Counts) {
        self.state().counted(counts, clock::monotonic());
    }

    /// Packet-ins are being received again.
    pub fn attached(&self) {
        self.state().attached(clock::monotonic());
    }

    /// These ports have these slots.
    pub fn name(&self, ports: impl Iterator<Item = (Slot, Uuid)>) {
        self.ids().extend(ports);
    }

    /// These are all log objects. What was counted for others goes.
    pub fn logs(&self, logs: impl Iterator<Item = Uuid>) {
        self.state().logs(logs.collect());
    }

    /// A log object is there, or gone.
    pub fn log(&self, log: Uuid, is_there: bool) {
        self.state().log(log, is_there);
    }

    /// Compares all numbers, tells what is to be told, and stores what has changed.
    fn look(&self) {
        let now = now();
        let (gaps, rows) = {
            let mut state = self.state();
            let gaps = state.look(now);
            (gaps, state.changed(&self.boot, false, now))
        };
        self.tell(&gaps);
        self.keep(&rows);
    }

    /// The last look, when nothing is counted any more.
    fn close(&self) {
        let now = now();
        let (gaps, rows) = {
            let mut state = self.state();
            let mut gaps = state.look(now);
            gaps.extend(state.drain());
            (gaps, state.changed(&self.boot, true, now))
        };
        self.tell(&gaps);
        self.keep(&rows);
    }

    fn tell(&self, gaps: &[Gap]) {
        for gap in gaps {
            let target = match gap.kind.scope {
                Scope::Bridge | Scope::OtherPorts => audit::bridge(&self.bridge),
                Scope::Port(slot) => match self.ids().get(&slot) {
                    Some(id) => audit::port(*id, None),
                    None => audit::bridge(&self.bridge),
                },
            };
            // Formatting with a format that was checked at compile time does not fail.
            let text = |time: UtcDateTime| time.format(TIMESTAMP).unwrap_or_default();
            let scope = match gap.kind.scope {
                Scope::Bridge => "bridge",
                Scope::Port(_) => "port",
                Scope::OtherPorts => "other-ports",
            };
            let (source, reason) = (gap.kind.source, gap.kind.reason);
            let (count, at_most) = (gap.count, if gap.at_most { "at most " } else { "" });
            let target_id = target.id.clone();
            warn!("gap at {target_id}: {at_most}{count} lost by {source}, {reason}");
            let seen = self.audit.saw(Outcome::Failure, target);
            let seen = seen
                .message(format_args!(
                    "gap: {at_most}{count} lost by {source}, {reason}"
                ))
                .object(
                    "gap",
                    json!({
                        "source": source,
                        "reason": reason,
                        "count": count,
                        "at_most": gap.at_most,
                        "first": text(gap.first),
                        "last": text(gap.last),
                        "scope": scope,
                    }),
                );
            self.audit.record(&seen);
        }
    }

    fn keep(&self, rows: &[(String, Option<String>)]) {
        if let Err(error) = self.store.save(rows) {
            error!("the ledger's numbers are not stored: {error}");
            self.state().not_stored();
        }
    }

    /// The numbers of a port, as they stand in `netlog status`, and those of each of its log
    /// flows, in the order of [`FlowKind::ALL`].
    pub(crate) fn port(
        &self,
        slot: Slot,
    ) -> (Map<String, Value>, [FlowFigures; FlowKind::ALL.len()]) {
        let now = now();
        let mut state = self.state();
        let port = state.port(slot, now.monotonic);
        let flows = FlowKind::ALL.map(|kind| port.flow(kind));
        (port_json(port, now), flows)
    }

    /// What the switch counted of all ports together, and what became of it.
    pub(crate) fn figures(&self) -> Figures {
        self.state().figures().figures
    }

    /// At how many places something is being lost, by source and reason.
    pub(crate) fn gaps_open(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.state().gaps_open()
    }

    /// What became of the events of each log object.
    pub(crate) fn events_of_logs(&self) -> BTreeMap<Uuid, EventFigures> {
        self.state().events_of_logs()
    }

    /// The numbers of the whole bridge.
    pub(crate) fn totals(&self) -> Value {
        let now = now();
        totals(&self.state(), now)
    }

    /// Everything: the body of `GET /v1/ledger`.
    pub(crate) fn to_json(&self) -> Value {
        let now = now();
        let ids = self.ids().clone();
        let state = self.state();
        let ports = state.ports.iter().map(|(slot, port)| {
            let mut json = port_json(port, now);
            json.insert("port_id".to_owned(), json!(ids.get(slot)));
            json.insert("slot".to_owned(), json!(slot));
            json.insert("flows".to_owned(), flows_json(*slot, port));
            Value::Object(json)
        });
        let logs = state.events_of_logs().into_iter().map(|(log, events)| {
            let mut json = events_json(events);
            json.insert("log_id".to_owned(), json!(log));
            Value::Object(json)
        });
        json!({
            "totals": totals(&state, now),
            "ports": ports.collect::<Vec<_>>(),
            "logs": logs.collect::<Vec<_>>(),
            "sinks": [{
                "name": state.sink,
                "written": state.ledger.totals().events.written,
                "failed": state.failed(),
            }],
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves numbers that are still numbers.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ids(&self) -> MutexGuard<'_, BTreeMap<Slot, Uuid>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bookkeeper {
    /// Looks at the books once a second from now on.
    ///
    /// # Errors
    /// When the system gives no thread or socket.
    pub fn start(books: Arc<Books>) -> io::Result<Self> {
        let looked_at = Arc::clone(&books);
        let service = Service::start("ledger", move |mut woken| {
            // A zero duration is the only one that is refused.
            let _ = woken.set_read_timeout(Some(INTERVAL));
            loop {
                match woken.read(&mut [0]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => looked_at.look(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // The end of the stream.
                    _ => return,
                }
            }
        })?;
        Ok(Self { books, service })
    }

    /// Looks for the last time, once pipeline and sink have ended.
    pub fn close(self) {
        drop(self.service);
        self.books.close();
    }
}

fn now() -> Now {
    Now {
        monotonic: clock::monotonic(),
        utc: clock::utc_exact(),
    }
}

fn windows(window: &Window, now: Now) -> Value {
    let words =
        WINDOWS.map(|(name, seconds)| (name.to_owned(), window.word(seconds, now.utc).into()));
    Value::Object(Map::from_iter(words))
}

fn port_json(port: &Port, now: Now) -> Map<String, Value> {
    let mut json = port.figures().to_json();
    json.extend(events_json(port.counters.events.read()));
    json.insert("windows".to_owned(), windows(&port.window, now));
    json
}

/// The log flows of a port that ever matched anything.
fn flows_json(slot: Slot, port: &Port) -> Value {
    let flow = |kind| {
        let mut json = port.flow(kind).to_json();
        let cookie = Cookie { kind, slot };
        json.insert(
            "cookie".to_owned(),
            format!("{:#x}", cookie.to_bits()).into(),
        );
        json.insert("kind".to_owned(), kind_name(kind).into());
        Value::Object(json)
    };
    let counts = |kind: &FlowKind| port.flow(*kind) != FlowFigures::default();
    FlowKind::ALL.into_iter().filter(counts).map(flow).collect()
}

fn totals(state: &State, now: Now) -> Value {
    let ledger = &*state.ledger;
    let mut json = state.figures().to_json();
    json.extend(events_json(ledger.totals().events));
    for (name, value) in [
        ("unknown_flow", ledger.unknown_flow.get().into()),
        ("malformed", ledger.malformed.get().into()),
        ("unwanted", ledger.unwanted.get().into()),
        ("failed", json!(state.failed())),
        ("windows", windows(&state.window(), now)),
    ] {
        json.insert(name.to_owned(), value);
    }
    Value::Object(json)
}

const fn kind_name(kind: FlowKind) -> &'static str {
    match kind {
        FlowKind::EgressAccept => "egress-accept",
        FlowKind::IngressAccept => "ingress-accept",
        FlowKind::Drop => "drop",
        FlowKind::SameHostAccept => "same-host-accept",
        FlowKind::SameHostDrop => "same-host-drop",
    }
}
