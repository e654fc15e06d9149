use axum::http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value, json};

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
