//! The agent's HTTP API: Neutron's logging API, and what its clients need around it.
//!
//! A request is read and answered synchronously, in `Api::answer`; around it,
//! [`serve`](serve()) and the router deal with connections, limits and waiting. So the API is a
//! function from a request and the state of store and inventory to a reply, and nearly all of it
//! is tested against exchanges that were recorded from Neutron.
//!
//! | path | what |
//! |---|---|
//! | `/`, `/v2.0/`, `/v2.0/extensions` | discovery |
//! | `/v2.0/log/loggable-resources` | types that a log driver is registered for |
//! | `/v2.0/log/logs` | log objects, kept in the store |
//! | `/v2.0/ports`, `/v2.0/security-groups`, … | the inventory; changed where that is configured |
//! | `/v1/status` | the state of the agent |
//! | `/v1/ledger` | what became of every packet that reached a log flow |
//! | `/v1/limits` | rate and burst limit: shown, set at run time, taken back |
//! | `/metrics` | what Prometheus reads |
//! | `/healthz` | whether the agent answers at all |
//!
//! A change is answered when it is on disk and in force on the switch. If the switch cannot be
//! reached the answer comes all the same, after [`IN_FORCE_TIMEOUT`]: the change is kept, and
//! applied when the switch is back.

mod audit;
mod auth;
mod discovery;
mod edit;
mod inventory;
mod limits;
mod logs;
mod peer;
pub mod policy;
mod query;
mod reply;
mod seats;
mod serve;
mod stall;
#[cfg(test)]
mod tests;
pub mod tokens;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use http_body_util::BodyExt;
use netlog_core::inventory::Inventory;
use netlog_core::log::LogDrivers;
use netlog_core::policy::Policy;
use percent_encoding::percent_decode_str;
use time::UtcDateTime;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use crate::audit::Audit;
use crate::inventory::InventoryFile;
use crate::limits::HostLimits;
use crate::metrics::Metrics;
use crate::store::Store;
pub use auth::{Auth, Context, StaticToken};
pub use peer::{Peer, TrustedPeers};
pub use reply::Reply;
use seats::Seat;
pub use serve::{BindError, Listener, serve, serve_metrics};

/// The largest body that is taken, as in Neutron (oslo.middleware, `max_request_body_size`).
pub const MAX_BODY: usize = 114_688;
/// How long a caller may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a body that is too large is taken before it is answered.
const MAX_DRAINED: usize = 32 * 1024 * 1024;
/// How long a caller may pause within such a body.
const DRAIN_PAUSE: Duration = Duration::from_millis(250);
/// Requests that are worked on at one time; the others wait, holding no more than their body.
const WORKERS: usize = 4;
/// How long an answer waits for a change to be in force on the switch.
pub const IN_FORCE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a request has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Log objects that came, changed or went, or whose limits did.
    pub logs: Vec<Uuid>,
    /// Whether the host's limits changed.
    pub limits: bool,
    /// Whether another inventory is in force.
    pub inventory: bool,
}

/// What the API needs of the rest of the agent.
pub trait Agent: Send + Sync {
    /// Log objects changed in the store, or limits, or the inventory. Resolves when the change is in force on the
    /// switch, or the agent gives up waiting for that.
    fn changed(&self, what: Changed) -> oneshot::Receiver<()>;

    /// The state of the agent, a JSON object.
    fn status(&self) -> serde_json::Value;

    /// The numbers of the ledger, a JSON object.
    fn ledger(&self) -> serde_json::Value;
}

/// The API and everything that it works on.
pub struct Api {
    /// Where log objects are kept.
    pub store: Arc<Store>,
    /// The ports and groups that log objects may name.
    pub inventory: Arc<ArcSwap<Inventory>>,
    /// The file that it was read from, if callers may change it.
    pub inventory_file: Option<Arc<InventoryFile>>,
    /// The rest of the agent.
    pub agent: Arc<dyn Agent>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Which types of resources can be logged.
    pub drivers: LogDrivers,
    /// Who callers are.
    pub auth: Auth,
    /// What callers may do.
    pub policy: Arc<ArcSwap<Policy>>,
    /// The host's limits.
    pub limits: Arc<HostLimits>,
    /// Where changes and refusals are told.
    pub audit: Arc<Audit>,
    /// The time.
    pub clock: fn() -> UtcDateTime,
}

/// A request, read whole.
#[derive(Clone)]
struct Request {
    method: Method,
    /// The path as it was written.
    path: String,
    /// The path with its escapes undone, each byte a character, as Neutron sees it.
    place: String,
    /// The parameters in their order.
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
    /// Where it comes from.
    peer: Peer,
}

impl Request {
    fn new(parts: Parts, body: Bytes) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        // Both separate parameters, as in Neutron.
        let query = query.replace(';', "&");
        let path = parts.uri.path();
        Self {
            method: parts.method,
            path: path.to_owned(),
            place: percent_decode_str(path).map(char::from).collect(),
            query: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            peer: parts.extensions.get().copied().unwrap_or(Peer::InProcess),
            headers: parts.headers,
            body,
        }
    }

    /// Whether it only asks.
    fn is_read(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    /// A header's text.
    fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The address of a path of this server, as the caller reaches it.
    fn url(&self, path: &str) -> String {
        let scheme = match self.header("x-forwarded-proto") {
            Some("https") => "https",
            _ => "http",
        };
        let host = self.header(header::HOST).unwrap_or("localhost");
        format!("{scheme}://{host}{path}")
    }

    /// The parts of the path, without a slash or `.json` at its end.
    fn segments(&self) -> Vec<&str> {
        let path = self.place.trim_start_matches('/');
        let path = path.strip_suffix('/').unwrap_or(path);
        let path = path.strip_suffix(".json").unwrap_or(path);
        path.split('/').filter(|part| !part.is_empty()).collect()
    }
}

impl Api {
    /// The reply to a request, told to the audit log where it concerns it.
    fn answer(&self, request: &Request) -> Reply {
        let caller = self.identify(request);
        let reply = self.reply(request, caller.as_ref());
        self.tell(request, caller.as_ref(), &reply);
        reply
    }

    /// The reply to a request that was refused before it was read whole.
    fn refuse(&self, request: &Request, reply: Reply) -> Reply {
        self.tell(request, self.identify(request).as_ref(), &reply);
        reply
    }

    fn identify(&self, request: &Request) -> Option<Context> {
        self.auth
            .identify(&request.headers, request.peer, &self.policy.load())
    }

    fn reply(&self, request: &Request, caller: Option<&Context>) -> Reply {
        if request.method != Method::OPTIONS {
            return self.reply_to(request, caller);
        }
        // As Neutron has it: what there is to get, and no complaint if that is nothing.
        let get = Request {
            method: Method::GET,
            ..request.clone()
        };
        let reply = self.reply_to(&get, caller);
        match reply.status() {
            StatusCode::NOT_FOUND => Reply::nothing(),
            StatusCode::METHOD_NOT_ALLOWED => Reply::nothing().identified(),
            _ => reply,
        }
    }

    fn reply_to(&self, request: &Request, caller: Option<&Context>) -> Reply {
        // Whoever does not say who they are gets no further.
        let guarded =
            |reply: &dyn Fn(&Context) -> Reply| caller.map_or_else(Reply::unauthorized, reply);
        match *request.segments() {
            [] if request.method == Method::HEAD => Reply::head_not_allowed(),
            [] | ["healthz" | "metrics"] | ["v1", "status" | "ledger"] if !request.is_read() => {
                Reply::method_not_allowed()
            }
            [] => discovery::versions(request),
            ["healthz"] => health(),
            ["metrics"] => guarded(&|context| self.metrics(request, context)),
            ["v1", "status"] => guarded(&|context| self.status(context)),
            ["v1", "ledger"] => guarded(&|context| self.ledger(context)),
            ["v1", "limits"] => guarded(&|context| self.limits(request, context)),
            ["v2.0", ref path @ ..] => {
                guarded(&|context| self.neutron(request, context, path)).identified()
            }
            _ => Reply::no_such_page(),
        }
    }

    /// Everything under `/v2.0`.
    fn neutron(&self, request: &Request, context: &Context, path: &[&str]) -> Reply {
        match *path {
            [] if request.method == Method::HEAD => Reply::head_not_allowed(),
            [] if !request.is_read() => Reply::method_not_allowed(),
            // Extensions are only got; there is nothing to be changed, and no page for it.
            ["extensions", ..] if request.method != Method::GET => Reply::not_found(),
            [] if request.path.ends_with('/') => discovery::resources(request),
            ["extensions"] => discovery::extensions(),
            ["extensions", alias] => discovery::extension(alias),
            [
                "log",
                "loggable-resources" | "loggable_resources",
                ref path @ ..,
            ] => self.loggable_resources(request, context, path),
            ["log", "logs"] => self.logs(request, context, None),
            ["log", "logs", id] => self.logs(request, context, Some(id)),
            [collection] => self.inventory(request, context, collection, None),
            [collection, id] => self.inventory(request, context, collection, Some(id)),
            _ => Reply::not_found(),
        }
    }

    /// Whether a caller may act on an object.
    fn allows(&self, context: &Context, rule: &str, target: &serde_json::Value) -> bool {
        context.unrestricted
            || self
                .policy
                .load()
                .allows(rule, &context.credentials(), target)
    }

    fn metrics(&self, request: &Request, context: &Context) -> Reply {
        if self.allows(context, "get_agent_status", &serde_json::json!({})) {
            metrics_page(&self.metrics, &request.headers)
        } else {
            Reply::forbidden("get_agent_status")
        }
    }

    fn ledger(&self, context: &Context) -> Reply {
        if self.allows(context, "get_agent_status", &serde_json::json!({})) {
            Reply::ok(self.agent.ledger())
        } else {
            Reply::forbidden("get_agent_status")
        }
    }

    fn status(&self, context: &Context) -> Reply {
        if self.allows(context, "get_agent_status", &serde_json::json!({})) {
            Reply::ok(self.agent.status())
        } else {
            Reply::forbidden("get_agent_status")
        }
    }
}

/// What requests share.
struct Shared {
    api: Api,
    workers: Arc<Semaphore>,
}

/// The API as a service.
pub fn router(api: Api) -> Router {
    Router::new().fallback(handle).with_state(Arc::new(Shared {
        api,
        workers: Arc::new(Semaphore::new(WORKERS)),
    }))
}

/// What is served to Prometheus at an address of its own: `/metrics` and `/healthz`, to everyone.
pub fn metrics_router(metrics: Arc<Metrics>) -> Router {
    let page =
        move |headers: HeaderMap| async move { metrics_page(&metrics, &headers).into_response() };
    let health = || async { health().into_response() };
    Router::new()
        .route("/metrics", get(page))
        .route("/healthz", get(health))
}

fn metrics_page(metrics: &Metrics, headers: &HeaderMap) -> Reply {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let (content_type, page) = metrics.page(accept);
    Reply::text(content_type, page)
}

fn health() -> Reply {
    Reply::ok(serde_json::json!({"status": "ok"}))
}

/// Answers a request, and counts the answer.
async fn handle(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response {
    let metrics = Arc::clone(&shared.api.metrics);
    let response = respond(shared, request).await;
    metrics.answered(response.status().as_u16());
    response
}

/// Reads a request within the limits, answers it, and waits until its change is in force.
async fn respond(shared: Arc<Shared>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let seat = parts.extensions.get::<Seat>().cloned();
    let body = match read(body).await {
        Ok(body) => body,
        Err(reply) => {
            let request = Request::new(parts, Bytes::new());
            return shared.api.refuse(&request, reply).into_response();
        }
    };
    let _working = seat.as_ref().map(Seat::working);
    let request = Request::new(parts, body);
    // The semaphore is never closed.
    let worker = Arc::clone(&shared.workers).acquire_owned().await;
    // Runs to its end even if the caller goes away, so that the agent hears of every change.
    let work = tokio::task::spawn_blocking(move || {
        let reply = shared.api.answer(&request);
        let in_force = reply.changed().map(|what| shared.api.agent.changed(what));
        drop(worker);
        (reply, in_force)
    });
    let (reply, in_force) = match work.await {
        Ok(worked) => worked,
        Err(panicked) => (Reply::failed(&panicked), None),
    };
    if let Some(in_force) = in_force {
        // Whether it is in force or not: the change is kept.
        let _ = timeout(IN_FORCE_TIMEOUT, in_force).await;
    }
    reply.into_response()
}

/// Reads a body that is neither too large nor too slow.
async fn read(mut body: Body) -> Result<Bytes, Reply> {
    let too_large = || {
        Reply::fault(
            StatusCode::PAYLOAD_TOO_LARGE,
            "HTTPRequestEntityTooLarge",
            "Request is too large.",
        )
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        drain(body).await;
        return Err(too_large());
    }
    match timeout(BODY_TIMEOUT, whole(&mut body)).await {
        Ok(Ok(Some(whole))) => Ok(whole),
        Ok(Ok(None)) => {
            drain(body).await;
            Err(too_large())
        }
        Ok(Err(_)) => Err(Reply::bad_request("The request body ends early.")),
        Err(_) => Err(Reply::fault(
            StatusCode::REQUEST_TIMEOUT,
            "HTTPRequestTimeout",
            "The request body did not arrive in time.",
        )),
    }
}

/// A whole body; `None` if it is too large. It is copied as it comes: what comes a byte at a time
/// would otherwise hold a whole buffer for each byte.
async fn whole(body: &mut Body) -> Result<Option<Bytes>, axum::Error> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await.transpose()? {
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if whole.len() + data.len() > MAX_BODY {
            return Ok(None);
        }
        whole.extend_from_slice(data);
    }
    Ok(Some(whole.into()))
}

/// Takes what a caller is still sending of a body that is too large, and throws it away: a
/// connection that is closed with bytes unread is reset, and the answer with it.
async fn drain(mut body: Body) {
    let mut left = MAX_DRAINED;
    let drained = async {
        while let Ok(Some(Ok(frame))) = timeout(DRAIN_PAUSE, body.frame()).await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whoever takes longer is cut off.
    let _ = timeout(BODY_TIMEOUT, drained).await;
}
