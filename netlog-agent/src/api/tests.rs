use axum::http::HeaderValue;
use netlog_core::log::{LogObject, LoggedEvent};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::query::Query;
use super::*;
use crate::limits::Setting;

struct Deaf;

impl Agent for Deaf {
    fn logs_changed(&self) -> oneshot::Receiver<()> {
        oneshot::channel().1
    }

    fn ledger(&self) -> Value {
        Value::Null
    }

    fn status(&self) -> Value {
        json!({})
    }
}

fn api(store: Store, auth: Auth) -> Api {
    let inventory = r#"{"security_groups": [
        {"id": "5e000000-0000-4000-8000-000000000001", "project_id": "a"}]}"#;
    Api {
        store: Arc::new(store),
        inventory: Arc::new(ArcSwap::from_pointee(Inventory::parse(inventory).unwrap())),
        agent: Arc::new(Deaf),
        drivers: LogDrivers::default(),
        auth,
        policy: Arc::new(ArcSwap::from_pointee(Policy::default())),
        metrics: Arc::new(Metrics::new(Vec::new)),
        limits: Arc::new(HostLimits::new(Setting::new(None, 25).unwrap())),
        audit: Arc::new(Audit::new(|_| ())),
        clock: || UtcDateTime::UNIX_EPOCH,
    }
}

/// The words that requests are made of, and some that they are not.
const WORDS: [&str; 26] = [
    "v2.0",
    "log",
    "logs",
    "loggable-resources",
    "extensions",
    "ports",
    "security-groups",
    "id",
    "name",
    "enabled",
    "event",
    "resource_type",
    "resource_id",
    "security_group",
    "project_id",
    "tenant_id",
    "fields",
    "limit",
    "marker",
    "page_reverse",
    "sort_key",
    "sort_dir",
    "asc",
    "5e000000-0000-4000-8000-000000000001",
    "true",
    "2",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        1 => "[ -~]{0,4}",
    ]
}

fn path() -> impl Strategy<Value = String> {
    let known = ["/v2.0/log/logs", "/v2.0/ports", "/v2.0", "/", ""];
    (
        prop::sample::select(known.to_vec()),
        prop::collection::vec(word(), 0..3),
    )
        .prop_map(|(known, more)| format!("{known}/{}", more.join("/")))
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        word().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null)
    ];
    let log = prop::collection::hash_map(word(), value, 0..5);
    let framed = (log, any::<bool>()).prop_map(|(mut log, bulk)| {
        if bulk {
            log.insert("resource_type".to_owned(), json!("security_group"));
            json!({"logs": [log]}).to_string().into()
        } else {
            json!({"log": log}).to_string().into()
        }
    });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..9), framed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever callers send, the server does not fail, and answers in JSON with a status that
    /// says whose fault it is.
    #[test]
    fn no_request_makes_the_server_fail(
        requests in prop::collection::vec(
            (
                prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "X"]),
                path(),
                prop::collection::vec((word(), word()), 0..4),
                prop::option::of("(revision_number=)?[0-9a]{0,2}"),
                body(),
            ),
            1..20,
        ),
        trusted: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("netlog.db")).unwrap();
        let auth = if trusted { Auth::TrustedHeaders(TrustedPeers::default()) } else { Auth::NoAuth };
        let api = api(store, auth);
        let mut last_id = "none".to_owned();
        for (method, path, query, if_match, body) in requests {
            let mut headers = HeaderMap::new();
            if let Some(tag) = if_match {
                headers.insert("if-match", HeaderValue::from_str(&tag).unwrap());
            }
            headers.insert("x-user-id", HeaderValue::from_static("u"));
            headers.insert("x-roles", HeaderValue::from_static("manager"));
            headers.insert("x-project-id", HeaderValue::from_static("a"));
            let reply = api.answer(&Request {
                method: Method::from_bytes(method.as_bytes()).unwrap(),
                // Objects that exist are named now and then.
                path: path.replace("5e000000-0000-4000-8000-000000000001", &last_id),
                query,
                headers,
                body: body.into(),
                peer: Peer::InProcess,
            });
            let status = reply.status().as_u16();
            prop_assert!(
                matches!(status, 200 | 201 | 204 | 400 | 403 | 404 | 405 | 409 | 412),
                "{} {} is answered {}", method, path, status
            );
            let body = reply.into_body();
            prop_assert!(body.as_ref().is_none_or(Value::is_object));
            if let Some(id) = body.as_ref().and_then(|body| body["log"]["id"].as_str()) {
                id.clone_into(&mut last_id);
            }
        }
    }
}

fn ask(query: &str) -> Request {
    let request = axum::http::Request::builder()
        .uri(format!("/v2.0/log/logs?{query}"))
        .header("x-user-id", "u")
        .header("x-roles", "manager")
        .header("x-project-id", "a")
        .body(())
        .unwrap();
    Request::new(request.into_parts().0, Bytes::new())
}

/// Ids that log objects name, and their own.
fn numbered(number: u128) -> Uuid {
    Uuid::from_u128(0x5e00_0000_0000_4000_8000_0000_0000_0000 + number)
}

fn any_log() -> impl Strategy<Value = LogObject> {
    (
        prop::sample::select(vec!["a", "b"]),
        prop::sample::select(vec!["", "x", "y"]),
        prop::option::of(0u128..3),
        prop::option::of(0u128..3),
        prop::sample::select(vec![
            LoggedEvent::All,
            LoggedEvent::Accept,
            LoggedEvent::Drop,
        ]),
        any::<bool>(),
        0u64..3,
        any::<u128>(),
    )
        .prop_map(
            |(project, name, group, port, event, enabled, revision, id)| LogObject {
                name: name.to_owned(),
                description: name.repeat(2),
                resource_id: group.map(numbered),
                target_id: port.map(numbered),
                event,
                enabled,
                revision_number: revision,
                ..LogObject::new(Uuid::from_u128(id), project)
            },
        )
}

/// A filter that narrows a list of such log objects, or one that no value of theirs passes.
fn any_filter() -> impl Strategy<Value = String> {
    let id = (0u128..4).prop_map(|number| numbered(number).to_string());
    prop_oneof![
        "project_id=[abc]?",
        "tenant_id=[ab]",
        "name=[xyz]?",
        "description=(xx|yy)?",
        "resource_type=(security_group|x)",
        id.clone().prop_map(|id| format!("resource_id={id}")),
        id.prop_map(|id| format!("target_id={id}")),
        Just("resource_id=".to_owned()),
        "event=(ALL|ACCEPT|DROP|all)",
        "enabled=(true|False|0|yes)",
        "revision_number=(0|1|01|-1|x)",
    ]
}

fn any_order() -> impl Strategy<Value = String> {
    let keys = [
        "id",
        "project_id",
        "tenant_id",
        "name",
        "resource_type",
        "resource_id",
        "target_id",
        "enabled",
    ];
    (
        prop::sample::select(keys.to_vec()),
        prop::sample::select(vec!["asc", "desc"]),
    )
        .prop_map(|(key, direction)| format!("sort_key={key}&sort_dir={direction}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// SQLite finds the pages that are found by looking at every log object.
    #[test]
    fn pages_of_the_store_are_those_of_the_whole_list(
        mut logs in prop::collection::vec(any_log(), 0..30),
        parameters in prop::collection::vec(
            (
                prop::collection::vec(any_filter(), 0..4),
                prop::collection::vec(any_order(), 0..3),
                prop::option::of(0u8..9),
                prop::option::of((0usize..40, any::<bool>())),
                prop::sample::select(vec!["", "page_reverse=True"]),
                prop::sample::select(vec!["", "fields=id&fields=name"]),
            ),
            1..12,
        ),
        all_projects: bool,
        rule in prop::sample::select(vec!["@", "!", "'x':%(name)s", "project_id:%(tenant_id)s"]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("netlog.db")).unwrap();
        logs.sort_by_key(|log| log.id);
        store.create_logs(&logs).unwrap();
        let api = api(store, Auth::TrustedHeaders(TrustedPeers::default()));
        let admin = if all_projects { "@" } else { "!" };
        let rules = [("get_log", rule), ("context_is_admin", admin)];
        let rules = rules.map(|(name, rule)| (name.to_owned(), json!(rule)));
        api.policy.store(Arc::new(Policy::with_rules(rules).unwrap()));
        for (filters, order, limit, marker, reverse, fields) in parameters {
            let limit = limit.map(|limit| format!("limit={limit}"));
            let marker = marker.map(|(at, known)| match logs.get(at) {
                Some(log) if known => format!("marker={}", log.id),
                _ => "marker=nothing".to_owned(),
            });
            let words = filters.iter().chain(&order).chain(&limit).chain(&marker);
            let mut query: Vec<&str> = words.map(String::as_str).collect();
            query.extend([reverse, fields].iter().filter(|word| !word.is_empty()));
            let request = ask(&query.join("&"));
            let context = api.identify(&request).unwrap();
            let visible = logs.iter().filter(|log| context.caller().sees(&log.project_id));
            let visible = visible
                .map(LogObject::to_json)
                .filter(|log| api.allows(&context, "get_log", log));
            let expected = match Query::parse(&request, &logs::LOGS) {
                Ok(query) => query.reply(visible.collect()),
                Err(refused) => refused,
            };
            let found = api.answer(&request);
            prop_assert_eq!(found.status(), expected.status(), "{:?}", query);
            prop_assert_eq!(found.into_body(), expected.into_body(), "{:?}", query);
        }
    }
}
