//! A connection to a switch as a state machine that does no I/O.
//!
//! Bytes and the time go in, bytes, packet-ins, events and the next deadline
//! come out; see the [crate documentation](crate) for the loop around it.

mod pending;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, time::Duration};

use self::pending::{Pending, Requests, Step};
use crate::{
    bundle::BundleFlags,
    codec::DecodeError,
    error::{ErrorCode, ErrorMessage},
    features::Features,
    flow_mod::FlowMod,
    flow_removed::FlowRemoved,
    header::{Header, MessageTooLong, MessageType, Messages, RawMessage, Version, Xid},
    hello::Hello,
    message::{Body, Message},
    multipart::{FlowUpdate, MultipartReply},
    packet_in::PacketIn,
    port::PortStatus,
};

/// What a connection wants and how long it waits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The versions to speak; the greatest one that the switch knows too is
    /// taken. Others than 1.3 and 1.4 are left out.
    pub versions: Vec<Version>,
    /// What to send before the connection is ready. If the switch refuses any
    /// of it, the connection fails.
    pub setup: Vec<Body>,
    /// How long it may take to become ready.
    pub handshake_timeout: Duration,
    /// After this long without a byte from the switch, ask for an echo.
    pub echo_interval: Duration,
    /// How long to wait for a byte after that.
    pub echo_timeout: Duration,
    /// How long to wait for a reply, or for its next part.
    pub request_timeout: Duration,
    /// How many bytes a reply in many parts may have.
    pub max_reply: usize,
    /// How many bytes may wait to be sent when the switch asks for an echo.
    pub max_output: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            versions: vec![Version::V1_3, Version::V1_4],
            setup: Vec::new(),
            handshake_timeout: Duration::from_secs(10),
            echo_interval: Duration::from_secs(5),
            echo_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            max_reply: 256 << 20,
            max_output: 64 << 20,
        }
    }
}

/// What happened on a connection.
///
/// Each request ends with exactly one of [`Done`](Self::Done),
/// [`Reply`](Self::Reply), [`Multipart`](Self::Multipart) and
/// [`Failed`](Self::Failed), whose xid is what the request returned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The handshake and the setup are done: requests may be sent.
    Ready {
        /// The version that is spoken.
        version: Version,
        /// What the switch is.
        features: Features,
    },
    /// The switch did what it was asked.
    Done {
        /// The request.
        xid: Xid,
    },
    /// The switch answered.
    Reply {
        /// The request.
        xid: Xid,
        /// The answer.
        body: Box<Body>,
    },
    /// The switch answered with statistics or descriptions; all parts.
    Multipart {
        /// The request.
        xid: Xid,
        /// The answer.
        reply: MultipartReply,
    },
    /// A request failed.
    Failed {
        /// The request.
        xid: Xid,
        /// Why.
        error: RequestError,
    },
    /// Changes to flows, from a flow monitor.
    FlowUpdates(Vec<FlowUpdate>),
    /// A port came, went or changed.
    PortStatus(Box<PortStatus>),
    /// A flow is gone.
    FlowRemoved(Box<FlowRemoved>),
    /// The switch could not obey a message that was sent without waiting for
    /// an answer ([`Connection::send`]).
    Error {
        /// What [`Connection::send`] returned.
        xid: Xid,
        /// Why.
        error: ErrorMessage,
    },
    /// Another message.
    Message(Box<Message>),
    /// A message, perhaps a packet-in, that cannot be read and is lost.
    Undecodable {
        /// Its header.
        header: Header,
        /// What is wrong with it.
        error: DecodeError,
    },
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The switch refused it.
    #[error("the switch refused it: {error}")]
    Refused {
        /// Its reason.
        error: ErrorMessage,
        /// Of a request of several messages, the one that was refused: its
        /// place, from 0, and what it was.
        culprit: Option<(usize, Box<Body>)>,
    },
    /// The answer cannot be read.
    #[error("the answer cannot be read: {0}")]
    BadReply(#[from] DecodeError),
    /// The answer is longer than [`Config::max_reply`], or its parts do not
    /// belong together.
    #[error("the answer is too long or is not of one kind")]
    Reply,
    /// The answer did not come in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// The connection ended before the answer. Whether the switch did what it
    /// was asked is unknown.
    #[error("the connection ended before the answer")]
    Closed,
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is not ready yet or has ended.
    #[error("the connection is not ready: wait for its Ready event")]
    NotReady,
    /// The message is too long.
    #[error(transparent)]
    TooLong(#[from] MessageTooLong),
}

/// Why a connection ended. Drop it and connect again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The switch speaks none of our versions.
    #[error("the switch speaks no OpenFlow of {ours:?}: add one to the protocols of the bridge")]
    Version {
        /// Our versions.
        ours: Vec<Version>,
        /// What the switch said.
        theirs: Hello,
    },
    /// The switch ended the handshake.
    #[error("the switch refused the handshake: {0}")]
    Refused(ErrorMessage),
    /// The switch refused a message of [`Config::setup`].
    #[error("the setup failed: {0}")]
    Setup(RequestError),
    /// The handshake did not end in time.
    #[error("the handshake took longer than {} s", .0.as_secs_f32())]
    HandshakeTimeout(Duration),
    /// Nothing came, not even an echo.
    #[error("nothing came for {} s", .0.as_secs_f32())]
    EchoTimeout(Duration),
    /// A message came that has no place here.
    #[error("{message_type} in OpenFlow {version} has no place here")]
    Unexpected {
        /// Its type.
        message_type: MessageType,
        /// Its version.
        version: Version,
    },
    /// What came is not OpenFlow.
    #[error("what came is not OpenFlow: {0}")]
    NotOpenFlow(#[from] DecodeError),
    /// The switch asks for echoes and does not read them.
    #[error("{0} bytes wait to be sent, and the switch does not read")]
    Stalled(usize),
    /// A message of ours does not fit.
    #[error(transparent)]
    TooLong(#[from] MessageTooLong),
    /// The connection has ended before.
    #[error("the connection has ended")]
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waiting for the peer's hello.
    Hello,
    /// Waiting for its features.
    Features,
    /// Waiting for the end of the setup.
    Setup { batch: Xid },
    /// Serving.
    Ready,
    /// Ended.
    Closed,
}

/// A connection to a switch, without its socket.
///
/// Times are durations since any one moment that the caller chooses.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    state: State,
    version: Version,
    features: Option<Features>,
    next_xid: u32,
    next_bundle: u32,
    requests: Requests,
    output: Vec<u8>,
    events: VecDeque<Event>,
    /// When it began.
    began: Duration,
    /// When the last byte came.
    heard: Duration,
    /// When an echo was asked for, if nothing came since.
    probed: Option<Duration>,
}

impl Connection {
    /// Begins a connection: the hello is ready to be sent.
    pub fn new(mut config: Config, now: Duration) -> Self {
        config.versions.retain(|version| version.is_spoken());
        let version = config
            .versions
            .iter()
            .copied()
            .max()
            .unwrap_or(Version::V1_3);
        let mut connection = Self {
            config,
            state: State::Hello,
            version,
            features: None,
            next_xid: 1,
            next_bundle: 1,
            requests: Requests::default(),
            output: Vec::new(),
            events: VecDeque::new(),
            began: now,
            heard: now,
            probed: None,
        };
        let hello = Hello::new(&connection.config.versions);
        let xid = connection.allocate(1);
        // A hello is 16 bytes long: it fits.
        let _ = Body::Hello(hello).encode(version, xid, &mut connection.output);
        connection
    }

    /// Whether requests may be sent.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// The version that is spoken, once the connection is ready.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// What the switch is, once it has said so.
    pub const fn features(&self) -> Option<&Features> {
        self.features.as_ref()
    }

    /// Takes what was read and returns how many bytes of it are consumed. Keep
    /// the rest, the beginning of a message, in front of what is read next.
    ///
    /// Packet-ins go straight to `sink`, borrowed from `input`; everything
    /// else becomes [events](Self::poll_event). A message has 65,535 bytes at
    /// most, so a buffer of 64 KiB always makes progress.
    ///
    /// After an error the connection has ended.
    pub fn handle_input<'a>(
        &mut self,
        input: &'a [u8],
        now: Duration,
        sink: &mut impl FnMut(PacketIn<'a>),
    ) -> Result<usize, ConnectionError> {
        if self.state == State::Closed {
            return Err(ConnectionError::Closed);
        }
        if !input.is_empty() {
            self.heard = now;
            self.probed = None;
        }
        let mut messages = Messages::new(input);
        for message in messages.by_ref() {
            let handled = match message {
                Ok(message) => self.handle_message(message, now, sink),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = handled {
                self.handle_eof();
                return Err(error);
            }
        }
        Ok(input.len() - messages.remainder().len())
    }

    /// Takes note that the stream has ended: open requests fail.
    pub fn handle_eof(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        let requests = self.requests.drain();
        if state == State::Ready {
            self.fail(requests, &RequestError::Closed);
        }
    }

    /// Does what is due. To be called when [`poll_timeout`](Self::poll_timeout)
    /// has come; earlier does no harm. After an error the connection has ended.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), ConnectionError> {
        match self.state {
            State::Closed => Err(ConnectionError::Closed),
            State::Ready => {
                self.expire(now);
                self.keep_alive(now)
            }
            _ if now < self.handshake_deadline() => Ok(()),
            _ => {
                self.handle_eof();
                Err(ConnectionError::HandshakeTimeout(
                    self.config.handshake_timeout,
                ))
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due. This may change
    /// after every other call. `None` when the connection has ended.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let life = match (self.state, self.probed) {
            (State::Closed, _) => return None,
            (State::Ready, None) => self.heard.saturating_add(self.config.echo_interval),
            (State::Ready, Some(probed)) => probed.saturating_add(self.config.echo_timeout),
            _ => return Some(self.handshake_deadline()),
        };
        let request = self.requests.next_deadline();
        Some(request.map_or(life, |deadline| deadline.min(life)))
    }

    /// What is to be sent. Tell how much was with
    /// [`transmitted`](Self::transmitted). There may be something to send even
    /// after an error: the reason for it.
    pub fn poll_transmit(&self) -> Option<&[u8]> {
        (!self.output.is_empty()).then_some(&self.output)
    }

    /// The first `count` bytes of [`poll_transmit`](Self::poll_transmit) are
    /// sent.
    pub fn transmitted(&mut self, count: usize) {
        self.output.drain(..count.min(self.output.len()));
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Sends a message and does not wait. If the switch refuses it, there is
    /// an [`Event::Error`] with the xid that is returned.
    pub fn send(&mut self, body: &Body) -> Result<Xid, SendError> {
        self.check_ready()?;
        let xid = self.allocate(1);
        body.encode(self.version, xid, &mut self.output)?;
        Ok(xid)
    }

    /// Sends a message and waits for the switch to answer or, if the message
    /// is one without an answer, to have done it.
    pub fn request(&mut self, body: Body, now: Duration) -> Result<Xid, SendError> {
        self.check_ready()?;
        let pending = if has_reply(&body) {
            Pending::reply(body)
        } else {
            Pending::batch(vec![body])
        };
        Ok(self.begin(pending, now)?)
    }

    /// Sends messages that have no answer and waits for the switch to have
    /// done them all. If it refuses some, those besides are done, and the
    /// request fails with the first one refused.
    pub fn batch(&mut self, bodies: Vec<Body>, now: Duration) -> Result<Xid, SendError> {
        self.check_ready()?;
        Ok(self.begin(Pending::batch(bodies), now)?)
    }

    /// Changes flows in one go: either all of it happens or nothing. With
    /// [`BundleFlags::ATOMIC`] no packet sees a part of it.
    ///
    /// The bundle is committed only after the switch has taken every message,
    /// since Open vSwitch would commit what is left if it refused one.
    pub fn bundle(
        &mut self,
        flow_mods: Vec<FlowMod>,
        flags: BundleFlags,
        now: Duration,
    ) -> Result<Xid, SendError> {
        self.check_ready()?;
        let bundle_id = self.next_bundle;
        self.next_bundle = bundle_id.wrapping_add(1);
        let pending = Pending::bundle(bundle_id, flags, flow_mods);
        Ok(self.begin(pending, now)?)
    }

    fn check_ready(&self) -> Result<(), SendError> {
        match self.state {
            State::Ready => Ok(()),
            _ => Err(SendError::NotReady),
        }
    }

    /// Sends what a request begins with, all of it or nothing.
    fn begin(&mut self, mut pending: Pending, now: Duration) -> Result<Xid, MessageTooLong> {
        let first = self.allocate(pending.span());
        pending.begin(first, now.saturating_add(self.config.request_timeout));
        let start = self.output.len();
        if let Err(error) = pending.encode(self.version, &mut self.output) {
            self.output.truncate(start);
            return Err(error);
        }
        self.requests.insert(pending);
        Ok(first)
    }

    /// The first of `count` xids in a row. Zero stands for no request.
    fn allocate(&mut self, count: usize) -> Xid {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let (first, next) = match self.next_xid.checked_add(count) {
            Some(next) => (self.next_xid, next),
            None => (1, count.saturating_add(1)),
        };
        self.next_xid = next;
        Xid(first)
    }

    fn handshake_deadline(&self) -> Duration {
        self.began.saturating_add(self.config.handshake_timeout)
    }

    fn expire(&mut self, now: Duration) {
        let late = self.requests.expire(now);
        self.fail(late, &RequestError::TimedOut(self.config.request_timeout));
    }

    fn fail(&mut self, requests: Vec<Xid>, error: &RequestError) {
        self.events
            .extend(requests.into_iter().map(|xid| Event::Failed {
                xid,
                error: error.clone(),
            }));
    }

    fn keep_alive(&mut self, now: Duration) -> Result<(), ConnectionError> {
        match self.probed {
            Some(probed) if now >= probed.saturating_add(self.config.echo_timeout) => {
                self.handle_eof();
                return Err(ConnectionError::EchoTimeout(now.saturating_sub(self.heard)));
            }
            None if now >= self.heard.saturating_add(self.config.echo_interval) => {
                let xid = self.allocate(1);
                Body::EchoRequest(Vec::new()).encode(self.version, xid, &mut self.output)?;
                self.probed = Some(now);
            }
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn handle_message<'a>(
        &mut self,
        message: RawMessage<'a>,
        now: Duration,
        sink: &mut impl FnMut(PacketIn<'a>),
    ) -> Result<(), ConnectionError> {
        match PacketIn::parse(message) {
            Ok(Some(packet)) => {
                sink(packet);
                Ok(())
            }
            Ok(None) => self.handle_slow(message, now),
            Err(error) => {
                self.lose(message, error);
                Ok(())
            }
        }
    }

    /// Everything but packet-ins.
    fn handle_slow(
        &mut self,
        message: RawMessage<'_>,
        now: Duration,
    ) -> Result<(), ConnectionError> {
        let decoded = match Message::decode(message) {
            Ok(decoded) => decoded,
            Err(error) => {
                match self.requests.find(message.xid()) {
                    Some(first) => self.advance(first, message, Err(error), now)?,
                    None => self.lose(message, error),
                }
                return Ok(());
            }
        };
        let Message { version, xid, body } = decoded;
        match (self.state, body) {
            (_, Body::EchoRequest(data)) => {
                if self.output.len() > self.config.max_output {
                    return Err(ConnectionError::Stalled(self.output.len()));
                }
                Body::EchoReply(data).encode(version, xid, &mut self.output)?;
            }
            (State::Hello, Body::Hello(hello)) => self.negotiate(hello, version)?,
            (State::Hello | State::Features, Body::Error(error)) => {
                return Err(ConnectionError::Refused(error));
            }
            (State::Hello, body) => {
                return Err(ConnectionError::Unexpected {
                    message_type: body.message_type(version),
                    version,
                });
            }
            // Open vSwitch 3.1 writes errors about flow monitors in OpenFlow 1.0.
            (_, body) if version != self.version && !matches!(body, Body::Error(_)) => {
                return Err(ConnectionError::Unexpected {
                    message_type: body.message_type(version),
                    version,
                });
            }
            (State::Features, Body::FeaturesReply(features)) => {
                self.features = Some(features);
                let setup = std::mem::take(&mut self.config.setup);
                let first = self.begin(Pending::batch(setup), now)?;
                self.state = State::Setup { batch: first };
            }
            (_, body) => match self.requests.find(xid) {
                Some(first) => self.advance(first, message, Ok(body), now)?,
                None => self.unsolicited(version, xid, body),
            },
        }
        Ok(())
    }

    fn negotiate(&mut self, hello: Hello, header: Version) -> Result<(), ConnectionError> {
        let Some(version) = hello.negotiate(&self.config.versions, header) else {
            let error = ErrorMessage {
                code: ErrorCode::INCOMPATIBLE,
                data: b"no common version".to_vec(),
            };
            let xid = self.allocate(1);
            Body::Error(error).encode(self.version, xid, &mut self.output)?;
            return Err(ConnectionError::Version {
                ours: self.config.versions.clone(),
                theirs: hello,
            });
        };
        self.version = version;
        self.state = State::Features;
        let xid = self.allocate(1);
        Body::FeaturesRequest.encode(version, xid, &mut self.output)?;
        Ok(())
    }

    /// Brings the request `first` a step further with an answer.
    fn advance(
        &mut self,
        first: Xid,
        message: RawMessage<'_>,
        reply: Result<Body, DecodeError>,
        now: Duration,
    ) -> Result<(), ConnectionError> {
        let step = self.requests.advance(
            first,
            message.xid(),
            reply,
            message.bytes().len(),
            self.config.max_reply,
            now.saturating_add(self.config.request_timeout),
        );
        let event = match step {
            Step::Wait => return Ok(()),
            Step::Send(xid, body) => {
                return Ok(body.encode(self.version, xid, &mut self.output)?);
            }
            Step::Done => Event::Done { xid: first },
            Step::Reply(Body::MultipartReply { reply, .. }) => {
                Event::Multipart { xid: first, reply }
            }
            Step::Reply(body) => Event::Reply {
                xid: first,
                body: Box::new(body),
            },
            Step::Failed(error) => Event::Failed { xid: first, error },
        };
        if self.state == (State::Setup { batch: first }) {
            return self.finish_setup(event);
        }
        self.events.push_back(event);
        Ok(())
    }

    fn finish_setup(&mut self, event: Event) -> Result<(), ConnectionError> {
        let error = match (event, self.features) {
            (Event::Done { .. }, Some(features)) => {
                self.state = State::Ready;
                self.events.push_back(Event::Ready {
                    version: self.version,
                    features,
                });
                return Ok(());
            }
            (Event::Failed { error, .. }, _) => error,
            _ => RequestError::Closed,
        };
        Err(ConnectionError::Setup(error))
    }

    fn unsolicited(&mut self, version: Version, xid: Xid, body: Body) {
        let event = match body {
            // Any byte from the switch is a sign of life.
            Body::EchoReply(_) => return,
            Body::MultipartReply {
                reply: MultipartReply::FlowMonitor(updates),
                ..
            } => Event::FlowUpdates(updates),
            Body::FlowMonitorPaused => Event::FlowUpdates(vec![FlowUpdate::Paused]),
            Body::FlowMonitorResumed => Event::FlowUpdates(vec![FlowUpdate::Resumed]),
            Body::PortStatus(status) => Event::PortStatus(Box::new(status)),
            Body::FlowRemoved(removed) => Event::FlowRemoved(Box::new(removed)),
            Body::Error(error) => Event::Error { xid, error },
            body => Event::Message(Box::new(Message { version, xid, body })),
        };
        self.events.push_back(event);
    }

    #[cold]
    fn lose(&mut self, message: RawMessage<'_>, error: DecodeError) {
        self.events.push_back(Event::Undecodable {
            header: message.header(),
            error,
        });
    }
}

/// Whether a switch answers such a message when all is well.
const fn has_reply(body: &Body) -> bool {
    matches!(
        body,
        Body::EchoRequest(_)
            | Body::FeaturesRequest
            | Body::GetConfigRequest
            | Body::MultipartRequest { .. }
            | Body::BarrierRequest
            | Body::RoleRequest(_)
            | Body::GetAsyncRequest
            | Body::BundleControl(_)
    )
}
