//! The thread that puts log flows in force.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use netlog_core::flow::{FlowProfile, LogFlow};
use netlog_ofp::multipart::{MultipartReply, MultipartRequest};
use netlog_ofp::{Backoff, Body, BundleFlags, Config, Event as LinkEvent, FlowMod, SendError, Xid};

use super::flows::{self, Flows};
use super::link::{Link, Lost, RECONNECT, Woken, wait};
use super::{Board, Event, Packets};
use crate::clock;

/// How long after a refusal the log flows are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The thread was told to stop.
struct Stopped;

/// What we know of the flows of ours in the switch, and what we are doing about them.
#[derive(Debug)]
enum State {
    /// Nothing is known.
    Unknown,
    /// They were asked for.
    Reading(Xid),
    /// This is what the switch has.
    Known(Flows),
    /// A change is on its way.
    Changing {
        xid: Xid,
        ticket: u64,
        before: Flows,
        changes: Vec<FlowMod>,
    },
    /// The switch refused; nothing happens until then.
    Waiting(Duration),
}

pub(super) struct Thread<F> {
    socket: PathBuf,
    profile: FlowProfile,
    board: Arc<Board>,
    rung: UnixStream,
    tell: F,
    backoff: Backoff,
    /// What was told last when there was no connection; `None` while attached.
    detached: Option<String>,
    /// The log flows to put in force.
    wanted: Option<(u64, Vec<LogFlow>)>,
    /// The ticket that is in force.
    in_force: u64,
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
            profile,
            board,
            rung,
            tell,
            backoff: Backoff::new(RECONNECT.0, RECONNECT.1),
            detached: Some(String::new()),
            wanted: None,
            in_force: 0,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            match self.serve() {
                Ok(Stopped) => return,
                Err(lost) => self.tell_detached(lost.to_string()),
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
            self.wanted = Some(wanted);
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
        let mut link = Link::connect(&self.socket, Config::default())?;
        let mut state = State::Unknown;
        loop {
            while link.read(clock::monotonic(), &mut |_| {})? {}
            while let Some(event) = link.connection.poll_event() {
                state = self.step(state, event);
            }
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
                        state = self.advance(state, &mut link)?;
                    }
                    Packets::Lost(reason) => self.tell_detached(reason),
                    Packets::Connecting => {}
                }
            }
            link.send()?;
            let until = match state {
                State::Waiting(until) => Some(until),
                _ => None,
            };
            if link.wait(&self.rung, until)? == Woken::Other && self.read_notes() {
                return Ok(Stopped);
            }
        }
    }

    /// Begins what there is to do.
    fn advance(&mut self, state: State, link: &mut Link) -> Result<State, Lost> {
        let now = clock::monotonic();
        let request_failed = |error: SendError| Lost::Request(error.to_string());
        Ok(match state {
            State::Waiting(until) if now < until => State::Waiting(until),
            State::Unknown | State::Waiting(_) => {
                let request = Body::MultipartRequest {
                    more: false,
                    request: MultipartRequest::Flow(flows::ours()),
                };
                State::Reading(
                    link.connection
                        .request(request, now)
                        .map_err(request_failed)?,
                )
            }
            State::Known(before) => {
                let Some((ticket, wanted)) = &self.wanted else {
                    return Ok(State::Known(before));
                };
                let ticket = *ticket;
                let changes = before.changes_to(&self.profile, wanted);
                if changes.is_empty() {
                    if self.in_force < ticket {
                        self.in_force = ticket;
                        (self.tell)(Event::InForce { ticket, changes: 0 });
                    }
                    return Ok(State::Known(before));
                }
                let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
                let xid = link
                    .connection
                    .bundle(changes.clone(), flags, now)
                    .map_err(request_failed)?;
                State::Changing {
                    xid,
                    ticket,
                    before,
                    changes,
                }
            }
            busy @ (State::Reading(_) | State::Changing { .. }) => busy,
        })
    }

    /// Takes note of what the switch said.
    fn step(&mut self, state: State, event: LinkEvent) -> State {
        match (state, event) {
            (
                State::Reading(asked),
                LinkEvent::Multipart {
                    xid,
                    reply: MultipartReply::Flow(found),
                },
            ) if xid == asked => State::Known(Flows::found(&found)),
            (
                State::Changing {
                    xid: asked,
                    ticket,
                    mut before,
                    changes,
                },
                LinkEvent::Done { xid },
            ) if xid == asked => {
                before.apply(&changes);
                self.in_force = ticket;
                (self.tell)(Event::InForce {
                    ticket,
                    changes: changes.len(),
                });
                State::Known(before)
            }
            (
                State::Reading(asked) | State::Changing { xid: asked, .. },
                LinkEvent::Failed { xid, error },
            ) if xid == asked => {
                (self.tell)(Event::Refused {
                    reason: error.to_string(),
                });
                State::Waiting(clock::monotonic() + RETRY)
            }
            (state, _) => state,
        }
    }
}
