//! Replies, in the shapes of Neutron.

use std::fmt;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use netlog_core::inventory::edit::{Edit, EditError};
use netlog_core::log::{LogError, LogObject};
use netlog_core::request::RequestError;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Changed;
use crate::inventory::FileError;
use crate::limits;
use crate::store::StoreError;

/// What `WebOb` says for 400 and 405.
const MALFORMED: &str = "The server could not comply with the request since it is either \
                         malformed or otherwise incorrect.";

/// The reply to a request.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    body: Option<Value>,
    /// A body that is no JSON, with its content type.
    text: Option<Box<(&'static str, String)>>,
    /// Whether the reply bears a request id.
    identified: bool,
    effect: Effect,
}

/// What a request has changed.
#[derive(Debug)]
enum Effect {
    Nothing,
    Logs(Vec<Change>),
    Limits(Box<LimitChanges>),
    Inventory(Vec<Edit>),
}

/// What became of a log object.
#[derive(Debug)]
pub(super) struct Change {
    /// As it was; `None` if it is new.
    pub(super) before: Option<LogObject>,
    /// As it is; `None` if it is gone.
    pub(super) after: Option<LogObject>,
}

/// What became of limits.
#[derive(Debug)]
pub(super) struct LimitChanges {
    pub(super) host: Option<limits::Change>,
    pub(super) logs: Vec<limits::LogChange>,
}

impl Reply {
    const fn new(status: StatusCode, body: Option<Value>) -> Self {
        Self {
            status,
            body,
            text: None,
            identified: false,
            effect: Effect::Nothing,
        }
    }

    /// Here it is.
    pub(super) const fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, Some(body))
    }

    /// Here it is, as text of this type.
    pub(super) fn text(content_type: &'static str, text: String) -> Self {
        let mut reply = Self::new(StatusCode::OK, None);
        reply.text = Some(Box::new((content_type, text)));
        reply
    }

    /// It was made.
    pub(super) const fn created(body: Value) -> Self {
        Self::new(StatusCode::CREATED, Some(body))
    }

    /// It is gone.
    pub(super) const fn deleted() -> Self {
        Self::new(StatusCode::NO_CONTENT, None)
    }

    /// Something is wrong, in Neutron's words.
    pub(super) fn fault(status: StatusCode, kind: &str, message: impl fmt::Display) -> Self {
        let error = json!({"type": kind, "message": message.to_string(), "detail": ""});
        Self::new(status, Some(json!({ "NeutronError": error })))
    }

    /// The request makes no sense.
    pub(super) fn bad_request(message: impl fmt::Display) -> Self {
        Self::fault(StatusCode::BAD_REQUEST, "HTTPBadRequest", message)
    }

    /// There is no such thing, or the caller may not know of it.
    pub(super) fn not_found() -> Self {
        Self::fault(
            StatusCode::NOT_FOUND,
            "HTTPNotFound",
            "The resource could not be found.",
        )
    }

    /// A policy rule is against it.
    pub(super) fn forbidden(rule: &str) -> Self {
        Self::disallowed(format_args!("rule:{rule}"))
    }

    /// Policy rules, put together, are against it.
    pub(super) fn disallowed(rules: impl fmt::Display) -> Self {
        Self::fault(
            StatusCode::FORBIDDEN,
            "PolicyNotAuthorized",
            format_args!("{rules} is disallowed by policy"),
        )
    }

    /// The path does not take this method.
    pub(super) fn method_not_allowed() -> Self {
        Self::fault(
            StatusCode::METHOD_NOT_ALLOWED,
            "HTTPMethodNotAllowed",
            MALFORMED,
        )
    }

    /// `HEAD` is not served, and must not be answered with a body.
    pub(super) const fn head_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, None)
    }

    /// What `OPTIONS` gets where there is nothing to get.
    pub(super) const fn nothing() -> Self {
        Self::new(StatusCode::OK, None)
    }

    /// The caller does not say who they are, or nobody knows them.
    pub(super) fn unauthorized() -> Self {
        let message = "This server could not verify that you are authorized to access the \
                       document you requested. Either you supplied the wrong credentials (e.g., \
                       bad password), or your browser does not understand how to supply the \
                       credentials required.<br /><br />\n\n\n";
        Self::web(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    /// Something outside of the resources of `/v2.0` is wrong, in the words of `WebOb`.
    pub(super) fn web(status: StatusCode, title: &str, message: &str) -> Self {
        let code = format!("{} {title}", status.as_u16());
        let body = json!({"message": message, "code": code, "title": title});
        Self::new(status, Some(body))
    }

    /// There is nothing at this path.
    pub(super) fn no_such_page() -> Self {
        let body = json!({"code": 404, "title": "Not Found", "description": null});
        Self::new(StatusCode::NOT_FOUND, Some(body))
    }

    /// The server failed; what happened is for its log, not for the caller.
    pub(super) fn failed(error: &dyn std::error::Error) -> Self {
        tracing::error!("a request failed: {error}");
        Self::fault(
            StatusCode::INTERNAL_SERVER_ERROR,
            "HTTPInternalServerError",
            "Request Failed: internal server error while processing your request.",
        )
    }

    /// The same reply with a request id, which Neutron's clients show with an error.
    pub(super) const fn identified(mut self) -> Self {
        self.identified = true;
        self
    }

    /// The same reply after a change of log objects.
    pub(super) fn after(mut self, changes: Vec<Change>) -> Self {
        self.effect = Effect::Logs(changes);
        self
    }

    /// The same reply after a change of limits. What was so before is none.
    pub(super) fn after_limits(mut self, mut changes: LimitChanges) -> Self {
        changes.host = changes.host.filter(|change| change.before != change.after);
        changes.logs.retain(|change| change.before != change.after);
        if changes.host.is_some() || !changes.logs.is_empty() {
            self.effect = Effect::Limits(Box::new(changes));
        }
        self
    }

    /// The same reply after a change of the inventory.
    pub(super) fn after_edits(mut self, edits: Vec<Edit>) -> Self {
        self.effect = Effect::Inventory(edits);
        self
    }

    /// What it has changed in the inventory.
    pub(super) fn edits(&self) -> &[Edit] {
        match &self.effect {
            Effect::Inventory(edits) => edits,
            _ => &[],
        }
    }

    /// What it has changed of limits.
    pub(super) fn limit_changes(&self) -> Option<&LimitChanges> {
        match &self.effect {
            Effect::Limits(changes) => Some(changes),
            _ => None,
        }
    }

    /// Which log objects it has changed.
    pub(super) fn changes(&self) -> &[Change] {
        match &self.effect {
            Effect::Logs(changes) => changes,
            _ => &[],
        }
    }

    /// What the error is, if it is one.
    pub(super) fn error(&self) -> Option<&str> {
        let body = self.body.as_ref()?;
        body["NeutronError"]["message"]
            .as_str()
            .or_else(|| body["message"].as_str())
    }

    /// Which log objects and limits, and whether the inventory, it has changed; `None` for none.
    pub(super) fn changed(&self) -> Option<Changed> {
        let logs = self.changes().iter();
        let logs = logs.filter_map(|change| change.after.as_ref().or(change.before.as_ref()));
        let limits = self.limit_changes();
        let limited = limits.into_iter().flat_map(|limits| &limits.logs);
        let logs = logs.map(|log| log.id);
        let changed = Changed {
            logs: logs.chain(limited.map(|change| change.log)).collect(),
            limits: limits.is_some_and(|limits| limits.host.is_some()),
            inventory: !self.edits().is_empty(),
        };
        (changed != Changed::default()).then_some(changed)
    }

    /// The status of the reply.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What the reply says.
    #[cfg(test)]
    pub(super) fn into_body(self) -> Option<Value> {
        self.body
    }

    /// The reply as HTTP.
    pub(super) fn into_response(self) -> Response {
        let json = |body: Value| ("application/json", body.to_string());
        let text = self.text.map(|text| *text);
        let mut response = match text.or_else(|| self.body.map(json)) {
            Some((content_type, body)) => {
                let mut response = Response::new(Body::from(body));
                let content_type = HeaderValue::from_static(content_type);
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, content_type);
                response
            }
            None => Response::new(Body::empty()),
        };
        *response.status_mut() = self.status;
        if self.identified {
            let id = format!("req-{}", Uuid::new_v4());
            if let Ok(id) = HeaderValue::from_str(&id) {
                response.headers_mut().insert("x-openstack-request-id", id);
            }
        }
        response
    }
}

impl From<LogError> for Reply {
    fn from(error: LogError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self::fault(status, error.kind(), error)
    }
}

impl From<RequestError> for Reply {
    fn from(error: RequestError) -> Self {
        Self::fault(StatusCode::BAD_REQUEST, error.kind(), error)
    }
}

impl From<EditError> for Reply {
    fn from(error: EditError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        Self::fault(status, error.kind(), error)
    }
}

impl From<FileError> for Reply {
    fn from(error: FileError) -> Self {
        Self::failed(&error)
    }
}

impl From<StoreError> for Reply {
    fn from(error: StoreError) -> Self {
        Self::failed(&error)
    }
}
