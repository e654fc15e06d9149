//! From packet-ins to records: decode, classify, fold, limit, format, hand over to the sink.
//!
//! One pipeline belongs to one bridge and runs on the thread that takes its packet-ins. It never
//! waits: tables are swapped in from elsewhere, and the sink has a queue and a thread of its own.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use arrayvec::ArrayVec;
use netlog_core::classify::{Classified, Observation, Scratch, Tables};
use netlog_core::drift::{Drift, DriftReports, DriftWatch};
use netlog_core::flow::Cookie;
use netlog_core::ledger::{Account, Ledger};
use netlog_core::record::{Action, Recorder, Timestamp};
use netlog_core::session::{Place, Seen, SessionKey, SessionTable};
use netlog_ofp::{Field, PacketIn};
use netlog_packet::{Packet, Summary};
use netlog_ratelimit::{Admission, Limiter, Limits};
use netlog_sink::{Accounts, Batch, Fate, Handle, Settled};

use crate::clock::LocalClock;

/// A batch goes to the sink at the latest when it holds this many bytes. Each wakes the sink's
/// thread, and a file system takes many bytes at once for less: that is more than what smaller ones
/// save of the caches.
const BATCH_BYTES: usize = 1024 * 1024;

/// Batches that wait for a sink at most: 16 MiB.
pub const SINK_QUEUE: usize = 16;

/// A batch goes to the sink at the latest this long after its first record.
const BATCH_AGE: Duration = Duration::from_millis(50);

/// What a pipeline is made of.
#[derive(Debug)]
pub struct Parts {
    /// The tables in force, swapped in whole when something changes.
    pub tables: Arc<ArcSwap<Tables>>,
    /// Where everything is counted.
    pub ledger: Arc<Ledger>,
    /// How records are written.
    pub recorder: Recorder,
    /// The rate limit in force, swapped when it changes; `None` for no limit.
    pub limits: Arc<ArcSwap<Option<Limits>>>,
    /// Where records go.
    pub sink: Handle,
    /// Number of the register that holds the port of the lookup.
    pub port_register: u8,
    /// Keys the hash of the session table.
    pub seed: u64,
}

/// A record that can wait in the limiter's queue.
struct Queued {
    account: Account,
    record: Vec<u8>,
}

/// A packet-in, read and not yet worked on.
struct Arrival<'a> {
    seen: Observation,
    packet: Packet<'a>,
    summary: Summary,
    /// Where the session is that its flow reports as accepted, if it does.
    place: Option<Place>,
}

/// Packet-ins of one read, in the order in which they came, that are worked on together.
///
/// The processor is told what will be looked up before any is worked on, so that it fetches for all
/// of them at once what its caches do not hold.
pub struct Group<'a> {
    /// The tables in force when they were read.
    tables: Arc<Tables>,
    arrivals: ArrayVec<Arrival<'a>, { Tables::GROUP }>,
}

/// The pipeline of one bridge.
pub struct Pipeline {
    tables: Cache<Arc<ArcSwap<Tables>>, Arc<Tables>>,
    limits: Cache<Arc<ArcSwap<Option<Limits>>>, Arc<Option<Limits>>>,
    ledger: Arc<Ledger>,
    sessions: SessionTable,
    drift: DriftWatch,
    drift_reports: DriftReports,
    /// Whom drift is told.
    tell_of_drift: Box<dyn FnMut(Drift) + Send>,
    scratch: Scratch,
    recorder: Recorder,
    clock: LocalClock,
    /// When the packet-ins that are being taken were read, on the monotonic clock.
    now: Duration,
    /// The same moment by the time of day, for their records.
    time: Timestamp,
    limiter: Limiter<Queued>,
    /// Buffers of records that left the limiter.
    spare: Vec<Vec<u8>>,
    batch: Batch,
    batch_since: Duration,
    sink: Handle,
    port_register: u8,
}

impl Pipeline {
    /// A pipeline with nothing in it.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            tables,
            ledger,
            recorder,
            limits,
            sink,
            port_register,
            seed,
        } = parts;
        let mut clock = LocalClock::new();
        let time = clock.now();
        Self {
            drift: DriftWatch::new(DriftWatch::DEFAULT_GRACE, tables.load_full()),
            drift_reports: DriftReports::default(),
            tell_of_drift: Box::new(|_| {}),
            tables: Cache::new(tables),
            limiter: Limiter::new(**limits.load()),
            limits: Cache::new(limits),
            ledger,
            sessions: SessionTable::new(
                SessionTable::DEFAULT_CAPACITY,
                SessionTable::DEFAULT_IDLE,
                seed,
            ),
            scratch: Scratch::default(),
            recorder,
            clock,
            now: Duration::ZERO,
            time,
            spare: Vec::new(),
            batch: sink.batch(),
            batch_since: Duration::ZERO,
            sink,
            port_register,
        }
    }

    /// The same pipeline, which tells somebody of drift.
    #[must_use]
    pub fn telling_of_drift(self, tell: impl FnMut(Drift) + Send + 'static) -> Self {
        Self {
            tell_of_drift: Box::new(tell),
            ..self
        }
    }

    /// To call before what was read is taken, with the time on the monotonic clock: the packet-ins of
    /// one read share it. Limits that have changed take effect, records whose time has come leave the
    /// limiter's queue, and drift that has had its time of grace is counted and told.
    pub fn begin(&mut self, now: Duration) {
        self.now = now;
        self.time = self.clock.now();
        let limits = **self.limits.load();
        if limits != self.limiter.limits() {
            self.limiter.set_limits(limits, now);
        }
        if self.drift.deadline().is_some() {
            self.drift.tables(self.tables.load(), now);
            while let Some(suspect) = self.drift.confirmed(now) {
                self.ledger.port(suspect.slot).drifted.add(1);
                if let Some(drift) = self.drift_reports.note(&suspect, now) {
                    (self.tell_of_drift)(drift);
                }
            }
            self.ledger.drift_unjudged.set(self.drift.unjudged());
        }
        while let Some((_, queued)) = self.limiter.release(now) {
            self.record_queued(queued);
        }
    }

    /// A group for the packet-ins of a read, which the tables in force now judge.
    pub fn group<'a>(&mut self) -> Group<'a> {
        let tables = Arc::clone(self.tables.load());
        self.drift.tables(&tables, self.now);
        Group {
            tables,
            arrivals: ArrayVec::new(),
        }
    }

    /// Takes a packet-in into the group, and works the group off when it is full.
    pub fn packet_in<'a>(&mut self, message: &PacketIn<'a>, group: &mut Group<'a>) {
        self.decode(message, group);
        if group.arrivals.is_full() {
            self.work_off(group);
        }
    }

    /// Works off what is left of the packet-ins of a read.
    pub fn work_off(&mut self, group: &mut Group<'_>) {
        let Group { tables, arrivals } = group;
        tables.prefetch(arrivals.iter().map(|it| (&it.seen, &it.summary)));
        for arrival in arrivals.drain(..) {
            self.take(&arrival, tables);
        }
    }

    /// Reads a packet-in into the group, and works out which session it will be asked for. One of
    /// an unknown flow is counted only.
    fn decode<'a>(&self, message: &PacketIn<'a>, group: &mut Group<'a>) {
        let Group { tables, arrivals } = group;
        let ledger = &*self.ledger;
        ledger.received.add(1);
        let Some(cookie) = Cookie::from_bits(message.cookie) else {
            ledger.unknown_flow.add(1);
            return;
        };
        let seen = Observation {
            cookie,
            in_port: message.metadata.in_port.0,
            port_register: if self.port_register == 5 {
                message.metadata.reg5
            } else {
                register(message, self.port_register)
            },
            ct_state: message.metadata.ct_state,
            ct_mark: message.metadata.ct_mark,
        };
        tables.prefetch_ports(&seen);
        let packet = Packet::decode(message.data);
        packet.see_summary(
            #[inline(always)]
            |summary| {
                let direction = cookie.kind.accepts();
                let key = direction.and_then(|of| SessionKey::new(cookie.slot, of, &summary));
                let place = key.map(|key| self.sessions.place(&key));
                if let Some(place) = &place {
                    self.sessions.prefetch(place);
                }
                arrivals.push(Arrival {
                    seen,
                    packet,
                    summary,
                    place,
                });
            },
        );
    }

    /// Takes one packet-in.
    fn take(&mut self, arrival: &Arrival<'_>, tables: &Tables) {
        let Arrival {
            seen,
            packet,
            summary,
            place,
        } = arrival;
        let ledger = &*self.ledger;
        let Self {
            now,
            time,
            sessions,
            drift,
            scratch,
            recorder,
            limiter,
            spare,
            batch,
            batch_since,
            ..
        } = self;
        let (now, time) = (*now, *time);
        let classified = tables.classify(seen, summary, scratch, |event| {
            event.count(|events| &events.total);
            let find = || {
                let key = SessionKey::new(event.slot, event.direction, summary)?;
                Some(sessions.place(&key))
            };
            if event.action == Action::Accept
                && let Some(place) = place
                    .filter(|place| place.is_of(event.slot, event.direction))
                    .or_else(find)
            {
                match sessions.see_at(&place, now) {
                    Seen::First => {}
                    Seen::FirstEvicting => ledger.sessions_evicted.add(1),
                    Seen::Again => {
                        event.count(|events| &events.folded);
                        return;
                    }
                }
            }
            if !event.limits.admit(event.logs(), now) {
                event.count(|events| &events.log_limited);
                return;
            }
            if batch.is_empty() {
                *batch_since = now;
            }
            if limiter.limits().is_none() && limiter.queued() == 0 {
                event.count(|events| &events.recorded);
                batch.push_for(event.account().to_bits(), |out| {
                    recorder.write(time, &event.prefix, packet, out);
                });
                return;
            }
            let mut record = spare.pop().unwrap_or_default();
            recorder.write(time, &event.prefix, packet, &mut record);
            let account = event.account();
            let queued = Queued { account, record };
            let refused = match limiter.admit(event.slot, queued, now) {
                Admission::Pass(Queued { record, .. }) => {
                    event.count(|events| &events.recorded);
                    batch.push_for(account.to_bits(), |out| out.extend_from_slice(&record));
                    record
                }
                Admission::Queued => return,
                Admission::QueuedEvicting { event: evicted, .. } => {
                    ledger
                        .by_account()
                        .count(evicted.account, |events| events.suppressed.add(1));
                    evicted.record
                }
                Admission::Refused(Queued { record, .. }) => {
                    event.count(|events| &events.suppressed);
                    record
                }
            };
            recycle(spare, refused);
        });
        for suspect in scratch.suspects() {
            drift.suspect(suspect, now);
        }
        match classified {
            Classified::Events(_) => {}
            Classified::Unwanted => ledger.unwanted.add(1),
            Classified::UnknownFlow => {
                ledger.unknown_flow.add(1);
                // The last packet-ins of a port that is not logged any more. The lock is one
                // that only new ports contend for.
                if let Some(port) = ledger.known_port(seen.cookie.slot) {
                    port.received(seen.cookie.kind).add(1);
                }
            }
        }
        if self.batch.bytes().len() >= BATCH_BYTES {
            self.hand_over();
        }
    }

    /// Counts a message that should be a packet-in and cannot be read.
    pub fn malformed(&mut self) {
        self.ledger.malformed.add(1);
    }

    /// To call when a read found nothing: no record waits for the next.
    pub fn idle(&mut self) {
        self.count_queued();
        self.hand_over();
    }

    /// To call after a read that found something.
    pub fn tick(&mut self) {
        self.count_queued();
        if !self.batch.is_empty() && self.now.saturating_sub(self.batch_since) >= BATCH_AGE {
            self.hand_over();
        }
    }

    /// When [`begin`](Self::begin) has something to let out of the queue.
    pub fn deadline(&self) -> Option<Duration> {
        [self.limiter.next_release(), self.drift.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Hands everything over, what waits in the limiter's queue included: for the end.
    pub fn drain(&mut self) {
        let queued: Vec<_> = self.limiter.drain().collect();
        for (_, queued) in queued {
            self.record_queued(queued);
        }
        self.count_queued();
        self.hand_over();
    }

    fn record_queued(&mut self, Queued { account, record }: Queued) {
        if self.batch.is_empty() {
            self.batch_since = self.now;
        }
        self.ledger
            .by_account()
            .count(account, |events| events.recorded.add(1));
        self.batch
            .push_for(account.to_bits(), |out| out.extend_from_slice(&record));
        recycle(&mut self.spare, record);
    }

    fn count_queued(&self) {
        self.ledger.queued.set(self.limiter.queued() as u64);
    }

    fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::replace(&mut self.batch, self.sink.batch());
        if let Err(refused) = self.sink.try_send(batch) {
            // The sink counted it as failed for a full queue.
            self.batch = refused;
            self.batch.clear();
        }
    }
}

/// The counters of a record's port are fetched from memory this many records ahead.
const PREFETCHED: usize = 8;

/// Counts what became of records with their ports and log objects.
#[derive(Debug)]
pub struct EventAccounts(pub Arc<Ledger>);

impl Accounts for EventAccounts {
    fn settle(&self, fate: Fate, mut settled: Settled<'_>) {
        let counters = self.0.by_account();
        while let Some((account, records)) = settled.next() {
            if let Some(later) = settled.ahead(PREFETCHED) {
                counters.prefetch(Account::from_bits(later));
            }
            counters.count(Account::from_bits(account), |events| match fate {
                Fate::Written => events.written.add(records),
                Fate::Failed(_) => events.failed.add(records),
            });
        }
    }
}

/// Keeps the memory of a record's buffer.
fn recycle(spare: &mut Vec<Vec<u8>>, mut record: Vec<u8>) {
    record.clear();
    spare.push(record);
}

/// A register other than the usual one.
#[cold]
fn register(message: &PacketIn<'_>, number: u8) -> Option<u32> {
    let value = message.metadata.get(Field::reg(number))?.value();
    Some(u32::from_be_bytes(value.try_into().ok()?))
}
