//! Log objects and loggable types.

use std::ops::ControlFlow;

use axum::http::{Method, StatusCode};
use netlog_core::log::{
    LogChange, LogError, LogObject, NewLog, NewLogs, check_object, decimal, refuse_type,
    refuse_type_change,
};
use netlog_core::request::{RequestError, canonical_id, check_json};
use serde_json::{Value, json};
use uuid::Uuid;

use super::query::{Collection, Query};
use super::reply::Change;
use super::{Api, Context, Reply, Request};
use crate::store::{Field, StoreError};

pub(super) const LOGS: Collection = Collection {
    member: "log",
    name: "logs",
    key: "id",
    filters: &[
        "id",
        "project_id",
        "tenant_id",
        "name",
        "description",
        "resource_type",
        "resource_id",
        "event",
        "target_id",
        "enabled",
        "revision_number",
    ],
    booleans: &["enabled"],
    sort_keys: &[
        "id",
        "project_id",
        "tenant_id",
        "name",
        "resource_type",
        "resource_id",
        "target_id",
        "enabled",
    ],
};

const LOGGABLE_RESOURCES: Collection = Collection {
    member: "loggable_resource",
    name: "loggable_resources",
    key: "type",
    filters: &[],
    booleans: &[],
    sort_keys: &[],
};

/// Why a log object is not changed.
enum Refused {
    Reply(Reply),
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refused> for Reply {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Reply(reply) => reply,
            Refused::Store(error) => error.into(),
        }
    }
}

impl Api {
    /// `/v2.0/log/loggable-resources`
    pub(super) fn loggable_resources(
        &self,
        request: &Request,
        context: &Context,
        path: &[&str],
    ) -> Reply {
        let list = |api: &Self| -> Result<Reply, Reply> {
            let query = Query::parse(request, &LOGGABLE_RESOURCES)?;
            let allowed = api.allows(context, "get_loggable_resource", &json!({}));
            let types = api.drivers.resource_types().filter(|_| allowed);
            // Neutron shows a type as it is, whatever fields are asked for.
            Ok(query
                .whole()
                .reply(types.map(|name| json!({ "type": name })).collect()))
        };
        match (&request.method, path) {
            (&Method::GET, []) => list(self).unwrap_or_else(|refused| refused),
            (&Method::GET, [_]) => Reply::not_found(),
            (&Method::POST, []) => refuse_type(&request.body).into(),
            (&Method::PUT, [_]) => refuse_type_change(&request.body)
                .map_or_else(Reply::from, |()| Reply::method_not_allowed()),
            (_, [] | [_]) => Reply::method_not_allowed(),
            _ => Reply::not_found(),
        }
    }

    /// `/v2.0/log/logs` and `/v2.0/log/logs/{id}`
    pub(super) fn logs(&self, request: &Request, context: &Context, id: Option<&str>) -> Reply {
        let reply = match (&request.method, id) {
            (&Method::GET, None) => self.list_logs(request, context),
            (&Method::GET, Some(id)) => self.show_log(request, context, id),
            (&Method::POST, None) => self.create_logs(request, context),
            (&Method::PUT, Some(id)) => self.update_log(request, context, id),
            (&Method::DELETE, Some(id)) => self.delete_log(request, context, id),
            (&Method::POST | &Method::PUT | &Method::DELETE, _) => self.misplaced(request, context),
            (&Method::HEAD, _) => Ok(Reply::head_not_allowed()),
            _ => Ok(Reply::method_not_allowed()),
        };
        reply.unwrap_or_else(|refused| refused)
    }

    fn list_logs(&self, request: &Request, context: &Context) -> Result<Reply, Reply> {
        check_json(&request.body)?;
        revision(request)?;
        let query = Query::parse(request, &LOGS)?;
        let mut search = query.search();
        if let Some(id) = query.marker().and_then(|id| log_id(id).ok()) {
            let marker = self.store.log(id)?;
            search.after = marker.filter(|log| self.shown(context, log).is_some());
        }
        // Nobody else's log objects are looked through.
        if !context.any_project {
            let own = context.project_id.iter().cloned().collect();
            search.filters.push((Field::Project, own));
        }
        let mut page = Vec::new();
        self.store.search(&search, |log| {
            page.extend(self.shown(context, &log));
            match query.limit() {
                Some(limit) if page.len() == limit => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })?;
        Ok(query.page(page))
    }

    /// A log object as the caller sees it; `None` if it does not exist for them.
    fn shown(&self, context: &Context, log: &LogObject) -> Option<Value> {
        let shown = log.to_json();
        let sees = context.caller().sees(&log.project_id);
        (sees && self.allows(context, "get_log", &shown)).then_some(shown)
    }

    fn show_log(&self, request: &Request, context: &Context, id: &str) -> Result<Reply, Reply> {
        check_json(&request.body)?;
        revision(request)?;
        let not_found = || LogError::LogNotFound(id.to_owned());
        let log = self.store.log(log_id(id)?)?.ok_or_else(not_found)?;
        self.authorize(context, "get_log", &log)?;
        Ok(Reply::ok(LOGS.show(request, log.to_json())))
    }

    fn create_logs(&self, request: &Request, context: &Context) -> Result<Reply, Reply> {
        if revision(request)?.is_some() {
            return Err(bad_if_match(
                "What is being created has no revision to be matched",
            ));
        }
        strict(request)?;
        let caller = context.caller();
        let asked = NewLogs::parse(&request.body, caller)?;
        let bulk = matches!(asked, NewLogs::Bulk(_));
        let asked = asked.into_vec();
        self.authorize_new(context, &asked)?;
        let now = (self.clock)();
        // Within the store's transaction, so that nothing is created for what is just deleted.
        let logs = self.store.create_logs_of(|| {
            let inventory = self.inventory.load();
            let id = Uuid::new_v4;
            let resolve = |log: NewLog| log.resolve(id(), now, &self.drivers, &inventory, caller);
            asked
                .into_iter()
                .map(resolve)
                .collect::<Result<Vec<_>, _>>()
                .map_err(Reply::from)
        })?;
        let mut shown: Vec<Value> = logs.iter().map(LogObject::to_json).collect();
        let body = match shown.pop() {
            Some(log) if !bulk => json!({ "log": log }),
            last => {
                shown.extend(last);
                json!({ "logs": shown })
            }
        };
        let created = |log| Change {
            before: None,
            after: Some(log),
        };
        Ok(Reply::created(body).after(logs.into_iter().map(created).collect()))
    }

    fn update_log(&self, request: &Request, context: &Context, id: &str) -> Result<Reply, Reply> {
        strict(request)?;
        let change = LogChange::parse(&request.body, context.caller())?;
        let wanted = revision(request)?;
        let enables = change.enabled == Some(true);
        let now = (self.clock)();
        let mut before = None;
        let log = self
            .store
            .update_log::<Refused>(log_id(id)?, |log| {
                self.authorize(context, "update_log", log)
                    .and_then(|()| matches_revision(wanted.as_deref(), log.revision_number))
                    .map_err(Refused::Reply)?;
                if enables {
                    let driver = self.drivers.get(&log.resource_type);
                    driver
                        .and_then(|driver| driver.check(log, &self.inventory.load()))
                        .map_err(|error| Refused::Reply(error.into()))?;
                }
                let was = log.clone();
                let changed = change.apply(log, now);
                before = changed.then_some(was);
                Ok(changed)
            })?
            .ok_or_else(|| LogError::LogNotFound(id.to_owned()))?;
        let reply = Reply::ok(json!({"log": log.to_json()}));
        let changes = before.map(|before| Change {
            before: Some(before),
            after: Some(log),
        });
        Ok(reply.after(changes.into_iter().collect()))
    }

    fn delete_log(&self, request: &Request, context: &Context, id: &str) -> Result<Reply, Reply> {
        refuse_body(request)?;
        let wanted = revision(request)?;
        let log = self
            .store
            .delete_log::<Refused>(log_id(id)?, |log| {
                self.authorize(context, "delete_log", log)
                    .and_then(|()| matches_revision(wanted.as_deref(), log.revision_number))
                    .map_err(Refused::Reply)
            })?
            .ok_or_else(|| LogError::LogNotFound(id.to_owned()))?;
        Ok(Reply::deleted().after(vec![Change {
            before: Some(log),
            after: None,
        }]))
    }

    /// Refuses to create what the policy is against.
    fn authorize_new(&self, context: &Context, asked: &[NewLog]) -> Result<(), Reply> {
        let allowed = |log: &NewLog| {
            let target = json!({"project_id": log.project_id, "tenant_id": log.project_id});
            self.allows(context, "create_log", &target)
        };
        if asked.iter().all(allowed) {
            Ok(())
        } else {
            Err(Reply::forbidden("create_log"))
        }
    }

    /// Refuses what the policy is against. Whoever may not even see an object gets the answer
    /// for one that is not there.
    fn authorize(&self, context: &Context, rule: &str, log: &LogObject) -> Result<(), Reply> {
        let shown = log.to_json();
        if !context.caller().sees(&log.project_id) {
            Err(LogError::LogNotFound(log.id.to_string()).into())
        } else if !self.allows(context, "get_log", &shown) {
            Err(Reply::not_found())
        } else if !self.allows(context, rule, &shown) {
            Err(Reply::forbidden(rule))
        } else {
            Ok(())
        }
    }

    /// A change that the path does not take. Neutron looks at the body all the same, then takes a
    /// change of the collection for one of the object with no id.
    fn misplaced(&self, request: &Request, context: &Context) -> Result<Reply, Reply> {
        let is_post = request.method == Method::POST;
        if request.method != Method::DELETE {
            match check_object(&request.body) {
                // It has nothing for us.
                Err(RequestError::NoMember(_)) => {}
                Err(refused) => return Err(refused.into()),
                Ok(()) if is_post => {
                    let asked = NewLogs::parse(&request.body, context.caller())?;
                    self.authorize_new(context, &asked.into_vec())?;
                }
                Ok(()) => {
                    LogChange::parse_one(&request.body, context.caller())?;
                }
            }
        }
        if is_post {
            Ok(Reply::method_not_allowed())
        } else {
            Err(LogError::LogNotFound("None".to_owned()).into())
        }
    }
}

/// Refuses a body where Neutron wants none.
pub(super) fn refuse_body(request: &Request) -> Result<(), Reply> {
    check_json(&request.body)?;
    if request.body.is_empty() {
        Ok(())
    } else {
        Err(Reply::bad_request(
            "Request body is not supported in DELETE.",
        ))
    }
}

/// Refuses what Neutron refuses where a path ends with a slash: other code of it serves those.
fn strict(request: &Request) -> Result<(), RequestError> {
    if request.place.ends_with('/') {
        check_object(&request.body)
    } else {
        Ok(())
    }
}

/// The id in a path.
fn log_id(text: &str) -> Result<Uuid, LogError> {
    canonical_id(text).ok_or_else(|| LogError::LogNotFound(text.to_owned()))
}

/// The revision that a request is for (`If-Match: revision_number=7`). Other tags are let pass,
/// as Neutron does.
pub(super) fn revision(request: &Request) -> Result<Option<String>, Reply> {
    let header = request.header("if-match").unwrap_or_default();
    let mut revision = None;
    for tag in tags(header) {
        let Some(number) = tag.strip_prefix("revision_number=") else {
            continue;
        };
        if revision.is_some() {
            return Err(bad_if_match(
                "Multiple revision_number etags are not supported.",
            ));
        }
        // What follows a second mark is not looked at.
        let number = number.split("revision_number=").next().and_then(decimal);
        revision = Some(number.ok_or_else(|| {
            bad_if_match("Revision number etag must be in the format of revision_number=<int>")
        })?);
    }
    Ok(revision)
}

/// The entity tags of a header: those in quotes that are strong, each at the beginning or after a
/// blank; without any quotes, the whole text (RFC 9110, section 8.8.3, as Neutron reads it).
fn tags(header: &str) -> Vec<&str> {
    let (mut tags, mut quoted, mut rest, mut at_start) = (Vec::new(), false, header, true);
    while let Some(next) = rest.chars().next() {
        let begins = if at_start { Some(rest) } else { None };
        let begins = begins.or_else(|| next.is_whitespace().then(|| &rest[next.len_utf8()..]));
        let strong = begins.and_then(|tag| tag.strip_prefix('"'));
        let weak = begins.and_then(|tag| tag.strip_prefix("W/\""));
        at_start = false;
        match strong.or(weak).and_then(|tag| tag.split_once('"')) {
            Some((tag, after)) => {
                tags.extend(strong.map(|_| tag));
                (quoted, rest) = (true, after);
            }
            None => rest = &rest[next.len_utf8()..],
        }
    }
    if quoted { tags } else { vec![header] }
}

fn bad_if_match(cause: &str) -> Reply {
    Reply::fault(
        StatusCode::BAD_REQUEST,
        "BadRequest",
        format_args!("Bad if-match request: {cause}."),
    )
}

/// Refuses a change of a revision that the caller has not seen.
pub(super) fn matches_revision(wanted: Option<&str>, current: u64) -> Result<(), Reply> {
    match wanted {
        Some(wanted) if wanted != current.to_string() => Err(LogError::Revision {
            wanted: wanted.to_owned(),
            current,
        }
        .into()),
        _ => Ok(()),
    }
}
