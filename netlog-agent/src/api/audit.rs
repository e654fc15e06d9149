//! What the API tells the audit log: every change of a log object, of a limit or of the
//! inventory, and every attempt that was refused.

use axum::http::{Method, StatusCode, header};
use netlog_core::audit::{Action, Event, Host, Outcome, Resource};

use super::peer::Origin;
use super::reply::Change;
use super::{Api, Context, Peer, Reply, Request, inventory};
use crate::audit;

/// The most characters of what a caller says of themselves.
const MAX_AGENT: usize = 256;

impl Api {
    /// Tells what a request came to.
    pub(super) fn tell(&self, request: &Request, caller: Option<&Context>, reply: &Reply) {
        let origin = self.auth.origin(&request.headers, request.peer);
        let initiator = || initiator(request, &origin, caller);
        for change in reply.changes() {
            let (action, log) = match change {
                Change {
                    before: None,
                    after: Some(log),
                } => (Action::Create, log),
                Change {
                    before: Some(log),
                    after: None,
                } => (Action::Delete, log),
                Change {
                    after: Some(log), ..
                } => (Action::Update, log),
                Change {
                    before: None,
                    after: None,
                } => continue,
            };
            let event = Event::activity(action, Outcome::Success, initiator(), audit::log(log))
                .because("HTTP", reply.status().as_u16());
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            self.audit.record(&audit::change(event, before, after));
        }
        for edit in reply.edits() {
            let action = match (&edit.before, &edit.after) {
                (None, _) => Action::Create,
                (_, None) => Action::Delete,
                _ => Action::Update,
            };
            let Some(target) = inventory::edited(edit) else {
                continue;
            };
            let event = Event::activity(action, Outcome::Success, initiator(), target)
                .because("HTTP", reply.status().as_u16());
            let objects = [("before", &edit.before), ("after", &edit.after)];
            let event = objects
                .into_iter()
                .fold(event, |event, (name, object)| match object {
                    Some(object) => event.object(name, object.clone()),
                    None => event,
                });
            self.audit.record(&event);
        }
        if let Some(limits) = reply.limit_changes() {
            let host = limits
                .host
                .map(|change| audit::limits_changed(initiator(), change));
            let logs = limits.logs.iter();
            let logs = logs.map(|change| audit::log_limit_changed(initiator(), change));
            for event in host.into_iter().chain(logs) {
                let event = event.because("HTTP", reply.status().as_u16());
                self.audit.record(&event);
            }
        }
        if let Some((action, target)) = attempt(request, reply.status()) {
            let code = reply.status().as_u16();
            self.audit.refused(&origin.host(), code, || {
                let event = Event::activity(action, Outcome::Failure, initiator(), target)
                    .because("HTTP", code)
                    .message(reply.error().unwrap_or_default());
                if request.body.is_empty() {
                    event
                } else {
                    event.text("request", String::from_utf8_lossy(&request.body))
                }
            });
        }
    }
}

/// What was tried with what, if it was refused and is worth an entry: changes of log objects,
/// limits and the inventory, and whatever a caller may not do.
fn attempt(request: &Request, status: StatusCode) -> Option<(Action, Resource)> {
    if !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    let segments = request.segments();
    let object = match segments[..] {
        ["v2.0", "log", "logs"] => Some(audit::unknown_log("unknown")),
        ["v2.0", "log", "logs", id] => Some(audit::unknown_log(id)),
        ["v2.0", collection] => inventory::resource(collection, "unknown"),
        ["v2.0", collection, id] => inventory::resource(collection, id),
        _ => None,
    };
    let action = match request.method {
        Method::POST => Some(Action::Create),
        Method::PUT => Some(Action::Update),
        Method::DELETE => Some(Action::Delete),
        _ => None,
    };
    if let (Some(object), Some(action)) = (object, action) {
        return Some((action, object));
    }
    if let (["v1", "limits"], false) = (&segments[..], request.is_read()) {
        return Some((Action::Configure, audit::limits()));
    }
    let action = match status {
        StatusCode::UNAUTHORIZED => Action::Authenticate,
        StatusCode::FORBIDDEN => Action::Read,
        _ => return None,
    };
    let target = Resource::new("service/network/netlog", request.path.clone());
    Some((action, target))
}

/// Who sent a request, and from where.
fn initiator(request: &Request, origin: &Origin, caller: Option<&Context>) -> Resource {
    let user = caller.and_then(|caller| caller.user_id.clone());
    let user = user.unwrap_or_else(|| match request.peer {
        Peer::Unix { uid, .. } => format!("uid:{uid}"),
        Peer::InProcess | Peer::Tcp(_) => "unknown".to_owned(),
    });
    let agent = request.header(header::USER_AGENT);
    Resource {
        project_id: caller.and_then(|caller| caller.project_id.clone()),
        host: Some(Host {
            address: origin.to_string(),
            agent: agent.map(|agent| agent.chars().take(MAX_AGENT).collect()),
        }),
        ..Resource::new("service/security/account/user", user)
    }
}
