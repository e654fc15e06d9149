//! The HTTP client: JSON in, JSON out, and Neutron's way to report errors.

mod unix;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use crate::error::Error;

/// The largest answer that is read, in bytes: some hundred thousand log objects.
const ANSWER_LIMIT: u64 = 64 << 20;

/// Where the agent's API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://HOST:PORT`, without a slash at the end.
    Http(String),
    /// `unix:PATH`: HTTP over a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let url = text.trim_end_matches('/');
        match url.strip_prefix("http://") {
            Some(host) if !host.is_empty() => Ok(Self::Http(url.to_owned())),
            _ => Err("expected http://HOST:PORT or unix:PATH".to_owned()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A connection to the agent's API.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    endpoint: Endpoint,
    base: String,
    token: Option<String>,
}

impl Client {
    /// A client for the API at `endpoint`; nothing is sent yet. `token` becomes the
    /// `X-Auth-Token` header.
    pub fn new(endpoint: Endpoint, token: Option<String>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_global(Some(Duration::from_secs(30)))
            .user_agent(concat!("netlog/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .build();
        let (agent, base) = match &endpoint {
            Endpoint::Http(url) => (Agent::new_with_config(config), url.clone()),
            Endpoint::Unix(path) => (unix::agent(config, path), "http://localhost".to_owned()),
        };
        Self {
            agent,
            endpoint,
            base,
            token,
        }
    }

    /// Reads `path`, narrowed by `query`.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Error> {
        let request = self
            .authorize(self.agent.get(self.url(path)))
            .query_pairs(query.iter().copied());
        self.json(request.call())
    }

    /// Creates an object under `path`.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let request = self.authorize(self.agent.post(self.url(path)));
        self.json(request.send_json(body))
    }

    /// Updates the object at `path`.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value, Error> {
        let request = self.authorize(self.agent.put(self.url(path)));
        self.json(request.send_json(body))
    }

    /// Deletes the object at `path`.
    pub fn delete(&self, path: &str) -> Result<(), Error> {
        let request = self.authorize(self.agent.delete(self.url(path)));
        self.answer(request.call()).map(drop)
    }

    /// The error of an answer whose JSON is not what `path` should give.
    pub fn foreign(&self, cause: impl fmt::Display) -> Error {
        Error::Foreign {
            endpoint: self.endpoint.to_string(),
            cause: cause.to_string(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn authorize<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("X-Auth-Token", token),
            None => request,
        }
    }

    fn json(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Value, Error> {
        let body = self.answer(sent)?;
        serde_json::from_slice(&body)
            .map_err(|cause| self.foreign(format_args!("not JSON ({cause})")))
    }

    /// The body of an answer with a status below 400.
    fn answer(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, Error> {
        let mut response = sent.map_err(|cause| self.transport(cause))?;
        let body = response
            .body_mut()
            .with_config()
            .limit(ANSWER_LIMIT)
            .read_to_vec()
            .map_err(|cause| self.transport(cause))?;
        let status = response.status();
        if !(status.is_client_error() || status.is_server_error()) {
            return Ok(body);
        }
        let message = message(&body).unwrap_or_else(|| format!("HTTP status {status}"));
        let message = match response.headers().get("x-openstack-request-id") {
            Some(id) => format!(
                "{message}\nNeutron server returns request_ids: ['{}']",
                String::from_utf8_lossy(id.as_bytes())
            ),
            None => message,
        };
        Err(if status.is_server_error() {
            Error::Agent(message)
        } else {
            Error::No(message)
        })
    }

    fn transport(&self, cause: ureq::Error) -> Error {
        let cause = match cause {
            ureq::Error::Io(cause) => cause.to_string(),
            ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                cause.to_string()
            }
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                return Error::Usage(format!(
                    "'{}' is no endpoint ({cause}); expected http://HOST:PORT or unix:PATH",
                    self.endpoint
                ));
            }
            _ => return self.foreign(cause),
        };
        Error::Unreachable {
            endpoint: self.endpoint.to_string(),
            cause,
        }
    }
}

/// The text of an error answer: `{"NeutronError": {"message": …, "detail": …}}`, or
/// `{"message": …}` as the authentication layer gives it.
fn message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get("NeutronError").unwrap_or(&body);
    let message = error.get("message")?.as_str()?;
    Some(match error.get("detail").and_then(Value::as_str) {
        Some(detail) if !detail.is_empty() => format!("{message}\n{detail}"),
        _ => message.to_owned(),
    })
}
