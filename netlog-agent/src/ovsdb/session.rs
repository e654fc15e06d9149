//! One session with ovsdb-server, without I/O: bytes and the time go in; bytes,
//! events and the next deadline come out.
//!
//! The session asks for the databases, checks the schema, and then monitors
//! the columns it needs with `monitor_cond`, or with `monitor` where the server
//! is too old to know it. After that the server tells every change. Either side
//! may send `echo` at any time; we do when nothing was heard for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::replica::{Dialect, Replica, ReplicaError};
use super::schema::{self, DATABASE};
use super::stream::{Splitter, StreamError};
use super::topology::Topology;

/// The longest silence before an `echo` asks whether the server is there, and
/// how long it then has to answer. The value of Open vSwitch's own clients.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The longest message we accept. Ten thousand interfaces take about five
/// megabytes.
const LONGEST_MESSAGE: usize = 64 << 20;

/// How much may wait to be sent before we take the server for stuck.
const LONGEST_BACKLOG: usize = 1 << 20;

/// The `id` of our `echo`, apart from the numbers of other requests.
const ECHO: &str = "echo";

/// What the session has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// The first state of the bridges.
    Snapshot(Arc<Topology>),
    /// A state of the bridges that differs from the one before.
    Changed(Arc<Topology>),
    /// The monitor that [`Session::cancel`] cancelled has ended.
    Cancelled,
}

/// Why the session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The stream is not one of JSON objects.
    #[error("the server does not speak JSON-RPC: {0}")]
    Stream(#[from] StreamError),
    /// The replica is not the server's any more.
    #[error("the replica is out of step: {0}")]
    Replica(#[from] ReplicaError),
    /// The server answered a request with an error.
    #[error("the server refused {method}: {error}")]
    Refused {
        /// The request.
        method: &'static str,
        /// The server's error.
        error: String,
    },
    /// The server is not that of a switch.
    #[error("the server has no database {DATABASE}, only {0}")]
    NoDatabase(String),
    /// The switch's schema lacks what we need.
    #[error("schema {version} of {DATABASE} is not supported, it lacks: {missing}")]
    Schema {
        /// The version of the schema.
        version: String,
        /// What is missing.
        missing: String,
    },
    /// The server ended the monitor, for instance to convert the database.
    #[error("the server cancelled the monitor")]
    MonitorCancelled,
    /// The server did not answer an echo.
    #[error("the server was silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The server does not read what we send.
    #[error("the server does not read: {0} bytes wait to be sent")]
    Backlog(usize),
}

/// What the answer that we wait for is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Databases,
    Schema,
    Monitor(Dialect),
    Running,
    Cancelling,
    Cancelled,
}

impl State {
    /// The method of the request that led here.
    fn method(self) -> &'static str {
        match self {
            Self::Databases => "list_dbs",
            Self::Schema => "get_schema",
            Self::Monitor(Dialect::Differences) => "monitor_cond",
            Self::Monitor(Dialect::Rows) | Self::Running => "monitor",
            Self::Cancelling | Self::Cancelled => "monitor_cancel",
        }
    }
}

/// A session from connect to disconnect. After an error it is of no more use.
#[derive(Debug)]
pub struct Session {
    input: Splitter,
    output: Vec<u8>,
    state: State,
    /// The `id` of the latest request.
    request: u64,
    replica: Replica,
    topology: Option<Arc<Topology>>,
    events: VecDeque<SessionEvent>,
    /// When the server was last heard.
    heard: Duration,
    /// When we sent an echo, while nothing was heard since.
    probed: Option<Duration>,
}

impl Session {
    /// A session over a connection that was made at `now`. Its first request is
    /// waiting in [`Self::output`].
    pub fn new(now: Duration) -> Self {
        let mut session = Self {
            input: Splitter::new(LONGEST_MESSAGE),
            output: Vec::new(),
            state: State::Databases,
            request: 0,
            replica: Replica::default(),
            topology: None,
            events: VecDeque::new(),
            heard: now,
            probed: None,
        };
        session.ask(State::Databases, &json!([]));
        session
    }

    /// Takes bytes that were read at `now`. Changes that arrive together are
    /// told as one.
    pub fn receive(&mut self, bytes: &[u8], now: Duration) -> Result<(), SessionError> {
        self.heard = now;
        self.probed = None;
        self.input.push(bytes);
        let mut updated = false;
        while let Some(message) = self.input.next()? {
            updated |= self.message(&message)?;
        }
        if updated {
            self.tell();
        }
        if self.output.len() > LONGEST_BACKLOG {
            return Err(SessionError::Backlog(self.output.len()));
        }
        Ok(())
    }

    /// The next event. Call after [`Self::receive`] until there is none.
    pub fn event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// The bytes that wait to be sent.
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// The first `count` bytes of the output were sent.
    pub fn sent(&mut self, count: usize) {
        self.output.drain(..count.min(self.output.len()));
    }

    /// When [`Self::tick`] must be called next. It moves with what is received.
    pub fn deadline(&self) -> Duration {
        self.probed.unwrap_or(self.heard) + PROBE_INTERVAL
    }

    /// Does what is due at `now`.
    pub fn tick(&mut self, now: Duration) -> Result<(), SessionError> {
        if now < self.deadline() {
            Ok(())
        } else if self.probed.is_some() {
            Err(SessionError::Silent(now.saturating_sub(self.heard)))
        } else {
            self.probed = Some(now);
            self.send(&json!({"id": ECHO, "method": "echo", "params": []}));
            Ok(())
        }
    }

    /// Ends the monitor, for a caller that keeps the connection; closing it
    /// does the same. Has no effect unless the monitor is running.
    pub fn cancel(&mut self) {
        if self.state == State::Running {
            self.ask(State::Cancelling, &json!([monitor_id()]));
        }
    }

    fn send(&mut self, message: &Value) {
        self.output
            .extend_from_slice(message.to_string().as_bytes());
    }

    /// Sends the request that leads to `state`.
    fn ask(&mut self, state: State, params: &Value) {
        self.state = state;
        self.request += 1;
        self.send(&json!({"id": self.request, "method": state.method(), "params": params}));
    }

    fn monitor(&mut self, dialect: Dialect) {
        let params = json!([DATABASE, monitor_id(), schema::monitor_requests()]);
        self.ask(State::Monitor(dialect), &params);
    }

    /// Handles one message; true if the replica may have changed.
    fn message(&mut self, message: &Map<String, Value>) -> Result<bool, SessionError> {
        let id = message.get("id").unwrap_or(&Value::Null);
        let params = message.get("params").unwrap_or(&Value::Null);
        match message.get("method").and_then(Value::as_str) {
            None if *id == self.request => {
                let result = message.get("result").unwrap_or(&Value::Null);
                match message.get("error") {
                    None | Some(Value::Null) => self.answer(result),
                    Some(error) => self.refusal(error).map(|()| false),
                }
            }
            // The answer to an echo, or to nothing that we remember.
            None => Ok(false),
            Some("update2") => self.update(Dialect::Differences, params),
            Some("update") => self.update(Dialect::Rows, params),
            Some("monitor_canceled") if concerns_us(params) => Err(SessionError::MonitorCancelled),
            Some("echo") => {
                self.send(&json!({"id": id, "result": params, "error": null}));
                Ok(false)
            }
            Some(_) if id.is_null() => Ok(false),
            Some(_) => {
                self.send(&json!({"id": id, "result": null, "error": "unknown method"}));
                Ok(false)
            }
        }
    }

    fn answer(&mut self, result: &Value) -> Result<bool, SessionError> {
        match self.state {
            State::Databases => {
                let found = result
                    .as_array()
                    .is_some_and(|names| names.iter().any(|name| name == DATABASE));
                if !found {
                    return Err(SessionError::NoDatabase(result.to_string()));
                }
                self.ask(State::Schema, &json!([DATABASE]));
            }
            State::Schema => {
                let missing = schema::missing(result);
                if !missing.is_empty() {
                    let version = result.get("version").and_then(Value::as_str);
                    return Err(SessionError::Schema {
                        version: version.unwrap_or("(unknown)").to_owned(),
                        missing: missing.join(", "),
                    });
                }
                self.monitor(Dialect::Differences);
            }
            State::Monitor(dialect) => {
                self.replica.apply(dialect, result)?;
                self.state = State::Running;
                return Ok(true);
            }
            State::Cancelling => {
                self.state = State::Cancelled;
                self.events.push_back(SessionEvent::Cancelled);
            }
            State::Running | State::Cancelled => {}
        }
        Ok(false)
    }

    /// An error in answer to our request. The server says "unknown method" as
    /// a string; the specification would have an object.
    fn refusal(&mut self, error: &Value) -> Result<(), SessionError> {
        let text = error.get("error").unwrap_or(error);
        if self.state == State::Monitor(Dialect::Differences) && text == "unknown method" {
            self.monitor(Dialect::Rows);
            return Ok(());
        }
        Err(SessionError::Refused {
            method: self.state.method(),
            error: error.to_string(),
        })
    }

    fn update(&mut self, dialect: Dialect, params: &Value) -> Result<bool, SessionError> {
        if self.state != State::Running || !concerns_us(params) {
            return Ok(false);
        }
        self.replica
            .apply(dialect, params.get(1).unwrap_or(&Value::Null))?;
        Ok(true)
    }

    fn tell(&mut self) {
        let topology = Arc::new(Topology::from(&self.replica));
        let event = match self.topology.replace(Arc::clone(&topology)) {
            None => SessionEvent::Snapshot(topology),
            Some(before) if before != topology => SessionEvent::Changed(topology),
            Some(_) => return,
        };
        self.events.push_back(event);
    }
}

/// The identifier of our monitor; the server gives it back in updates.
fn monitor_id() -> Value {
    json!(["monid", "netlog"])
}

fn concerns_us(params: &Value) -> bool {
    params.get(0) == Some(&monitor_id())
}
