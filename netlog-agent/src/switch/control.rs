//! The thread that puts log flows in force.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use netlog_core::flow::FlowProfile;
use netlog_ofp::multipart::MultipartRequest;
use netlog_ofp::{
    AsyncConfig, Backoff, Body, BundleFlags, Config, FlowRemovedReason, MeterId,
    RequestForwardReason,
};

use super::count::Counter;
use super::input::Input;
use super::link::{Link, Lost, RECONNECT, Woken, wait};
use super::reconcile::{Reconciler, Request};
use super::{Board, Event, Packets};
use crate::clock;

/// The thread was told to stop.
struct Stopped;

pub(super) struct Thread<F> {
    socket: PathBuf,
    board: Arc<Board>,
    rung: UnixStream,
    tell: F,
    backoff: Backoff,
    /// What was told last when there was no connection; `None` while attached.
    detached: Option<String>,
    reconciler: Reconciler,
    counter: Counter,
}

impl<F: FnMut(Event)> Thread<F> {
    pub(super) fn new(
        socket: PathBuf,
        profile: FlowProfile,
        board: Arc<Board>,
        rung: UnixStream,
        tell: F,
    ) -> Self {
        Self {
            socket,
            board,
            rung,
            tell,
            backoff: Backoff::new(RECONNECT.0, RECONNECT.1),
            detached: Some(String::new()),
            reconciler: Reconciler::new(profile),
            counter: Counter::new(profile),
        }
    }

    pub(super) fn run(mut self) {
        loop {
            match self.serve() {
                Ok(Stopped) => return,
                Err(lost) => {
                    self.reconciler.detach(clock::monotonic());
                    self.counter.detach();
                    self.tell_detached(lost.to_string());
                }
            }
            let until = clock::monotonic() + self.backoff.next_wait();
            while clock::monotonic() < until {
                if wait(&self.rung, Some(until)) == Woken::Other && self.read_notes() {
                    return;
                }
            }
        }
    }

    /// Takes what the others left on the board; true when they say stop.
    fn read_notes(&mut self) -> bool {
        let mut rings = [0; 64];
        while rustix::io::read(&self.rung, &mut rings).is_ok_and(|count| count == rings.len()) {}
        let mut shared = self.board.lock();
        if let Some(wanted) = shared.wanted.take() {
            self.reconciler.want(wanted);
        }
        shared.stop
    }

    /// Says that there is no connection, once for each reason.
    fn tell_detached(&mut self, reason: String) {
        if self.detached.as_ref() != Some(&reason) {
            self.detached = Some(reason.clone());
            (self.tell)(Event::Detached { reason });
        }
    }

    fn serve(&mut self) -> Result<Stopped, Lost> {
        let mut link = Link::connect(&self.socket, config())?;
        let mut input = Input::new();
        self.reconciler.attach();
        self.counter.attach(clock::monotonic());
        loop {
            while input.read(&link.socket)? {
                link.take(&mut input, clock::monotonic(), &mut |_| {})?;
                input.clear();
            }
            let now = clock::monotonic();
            while let Some(event) = link.connection.poll_event() {
                self.counter.hear(&event, now, &mut self.tell);
                let (counter, tell) = (&mut self.counter, &mut self.tell);
                let mut tell = |event| tell_counter(counter, event, now, tell);
                self.reconciler.hear(event, now, &mut tell);
            }
            self.counter.tell_ends(&mut self.tell);
            if self.counter.has_read() {
                self.reconciler.look_at_meters();
            }
            // Without packet-ins nothing is done, so that nothing is due either.
            let mut due = None;
            if link.connection.is_ready() {
                let packets = self.board.lock().packets.clone();
                match packets {
                    Packets::Ready => {
                        if self.detached.take().is_some() {
                            self.backoff.reset();
                            (self.tell)(Event::Attached {
                                version: link.version(),
                            });
                        }
                        self.advance(&mut link)?;
                        due = self.deadline();
                    }
                    Packets::Lost(reason) => self.tell_detached(reason),
                    Packets::Connecting => {}
                }
            }
            link.send()?;
            if link.wait(&self.rung, due)? == Woken::Other && self.read_notes() {
                return Ok(Stopped);
            }
        }
    }

    /// When there is something to do though nothing is heard.
    fn deadline(&self) -> Option<Duration> {
        let counting = self.reconciler.is_quiet().then(|| self.counter.deadline());
        let due = [self.reconciler.deadline(), counting.flatten()];
        due.into_iter().flatten().min()
    }

    fn advance(&mut self, link: &mut Link) -> Result<(), Lost> {
        let now = clock::monotonic();
        let connection = &mut link.connection;
        let ask = |request| {
            match request {
                Request::Monitor(monitors) => {
                    connection.request(multipart(MultipartRequest::FlowMonitor(monitors)), now)
                }
                Request::Read(flows) => {
                    connection.request(multipart(MultipartRequest::Flow(flows)), now)
                }
                Request::MeterFeatures => {
                    connection.request(multipart(MultipartRequest::MeterFeatures), now)
                }
                Request::ReadMeters => {
                    let all = MultipartRequest::MeterConfig(MeterId::ALL);
                    connection.request(multipart(all), now)
                }
                Request::SetMeters(changes) => {
                    connection.batch(changes.into_iter().map(Body::MeterMod).collect(), now)
                }
                Request::Change(changes) => {
                    let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
                    connection.bundle(changes, flags, now)
                }
            }
            .map_err(|error| Lost::Request(error.to_string()))
        };
        let (counter, tell) = (&mut self.counter, &mut self.tell);
        let mut tell = |event| tell_counter(counter, event, now, tell);
        self.reconciler.advance(now, ask, &mut tell)?;
        if self.reconciler.is_quiet() {
            let ask = |request| connection.request(multipart(request), now);
            let asked = self.counter.advance(now, ask);
            asked.map_err(|error| Lost::Request(error.to_string()))?;
        }
        Ok(())
    }
}

/// Tells of something, and the counter what it has to know of it.
fn tell_counter(counter: &mut Counter, event: Event, now: Duration, tell: &mut impl FnMut(Event)) {
    if let Event::Healed { harm, gap } = &event {
        counter.healed(harm, *gap, now);
    }
    tell(event);
}

/// A connection that is told of flows that go, of what others do to meters, and of nothing else.
fn config() -> Config {
    let reasons = [
        FlowRemovedReason::IDLE_TIMEOUT,
        FlowRemovedReason::HARD_TIMEOUT,
        FlowRemovedReason::DELETE,
        FlowRemovedReason::GROUP_DELETE,
        FlowRemovedReason::METER_DELETE,
        FlowRemovedReason::EVICTION,
    ];
    let any = reasons
        .iter()
        .fold(0, |reasons, reason| reasons | 1 << reason.0);
    Config {
        setup: vec![Body::SetAsync(
            AsyncConfig {
                flow_removed: [Some(any); 2],
                ..AsyncConfig::default()
            }
            .with_request_forward(1 << RequestForwardReason::METER_MOD.0),
        )],
        ..Config::default()
    }
}

const fn multipart(request: MultipartRequest) -> Body {
    Body::MultipartRequest {
        more: false,
        request,
    }
}
