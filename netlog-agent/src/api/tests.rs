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
    fn changed(&self, _: Changed) -> oneshot::Receiver<()> {
        oneshot::channel().1
    }

    fn ledger(&self) -> Value {
        Value::Null
    }

    fn status(&self) -> Value {
        json!({})
    }
}

const INVENTORY: &str = r#"{"security_groups": [
        {"id": "5e000000-0000-4000-8000-000000000001", "project_id": "a"},
        {"id": "5e000000-0000-4000-8000-000000000002", "project_id": "b"},
        {"id": "5e000000-0000-4000-8000-000000000003", "project_id": "b", "shared": true}],
        "networks": [{"id": "2e000000-0000-4000-8000-000000000001", "project_id": "a"}],
        "ports": [
        {"id": "11000000-0000-4000-8000-000000000001", "project_id": "b",
         "network_id": "2e000000-0000-4000-8000-000000000001"},
        {"id": "11000000-0000-4000-8000-000000000002", "project_id": "b",
         "network_id": "2e000000-0000-4000-8000-000000000002"}]}"#;

fn api(store: Store, auth: Auth) -> Api {
    Api {
        store: Arc::new(store),
        inventory: Arc::new(ArcSwap::from_pointee(Inventory::parse(INVENTORY).unwrap())),
        inventory_file: None,
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
const WORDS: [&str; 33] = [
    "v2.0",
    "log",
    "logs",
    "loggable-resources",
    "extensions",
    "ports",
    "security-groups",
    "security-group-rules",
    "security_group_id",
    "direction",
    "ingress",
    "protocol",
    "tcp",
    "fixed_ips",
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
    let members = ["log", "security_group", "security_group_rule", "port"];
    let framed = (log, prop::sample::select(members.to_vec()), any::<bool>()).prop_map(
        |(mut log, member, bulk)| {
            if bulk {
                log.insert("resource_type".to_owned(), json!("security_group"));
                let members = format!("{member}s");
                json!({members: [log]}).to_string().into()
            } else {
                json!({member: log}).to_string().into()
            }
        },
    );
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
        let mut api = api(store, auth);
        let path = folder.path().join("inventory.json");
        std::fs::write(&path, INVENTORY).unwrap();
        let file = InventoryFile::open(&path).unwrap();
        api.inventory = file.in_force();
        api.inventory_file = Some(Arc::new(file));
        let mut last_id = "none".to_owned();
        for (method, path, query, if_match, body) in requests {
            let mut headers = HeaderMap::new();
            if let Some(tag) = if_match {
                headers.insert("if-match", HeaderValue::from_str(&tag).unwrap());
            }
            headers.insert("x-user-id", HeaderValue::from_static("u"));
            headers.insert("x-roles", HeaderValue::from_static("manager,member,reader"));
            headers.insert("x-project-id", HeaderValue::from_static("a"));
            let reply = api.answer(&Request {
                method: Method::from_bytes(method.as_bytes()).unwrap(),
                // Objects that exist are named now and then.
                path: path.clone(),
                place: path.replace("5e000000-0000-4000-8000-000000000001", &last_id),
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
    (
        prop::sample::select(logs::LOGS.sort_keys),
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

/// What Neutron 29.0.0 answers to requests that the recording does not hold, asked of it by the
/// same method, path and body: status, and error type and message, if it is an error.
#[test]
fn what_is_not_recorded_is_answered_as_neutron_does() {
    const LOGS: &str = "/v2.0/log/logs";
    const TYPES: &str = "/v2.0/log/loggable-resources";
    const LOG: &str = "/v2.0/log/logs/5e000000-0000-4000-8000-000000000007";
    const MALFORMED: &str = "Malformed request body: Cannot understand JSON.";
    const WEBOB: &str = "The server could not comply with the request since it is either \
                         malformed or otherwise incorrect.";
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("netlog.db")).unwrap();
    store
        .create_logs(&[LogObject::new(numbered(7), "a")])
        .unwrap();
    let api = api(store, Auth::NoAuth);
    // A value of an attribute, in a request to create a log object.
    let value = |attribute: &str, value: &str| {
        format!(r#"{{"log": {{"resource_type": "security_group", "{attribute}": {value}}}}}"#)
    };
    let no_string =
        |value: &str| format!("Invalid input for name. Reason: '{value}' is not a valid string.");
    let bad = "HTTPBadRequest";
    let rows = [
        // The inventory is not written; what is not there is not found first.
        (
            "DELETE",
            "/v2.0/ports",
            String::new(),
            404,
            "PortNotFound",
            "Port None could not be found.".to_owned(),
        ),
        (
            "DELETE",
            "/v2.0/ports/nope",
            String::new(),
            404,
            "PortNotFound",
            "Port nope could not be found.".to_owned(),
        ),
        (
            "PUT",
            "/v2.0/security-groups/nope",
            r#"{"security_group": {}}"#.to_owned(),
            404,
            "SecurityGroupNotFound",
            "Security group nope does not exist".to_owned(),
        ),
        (
            "DELETE",
            "/v2.0/security-groups/5e000000-0000-4000-8000-000000000001",
            String::new(),
            405,
            "HTTPMethodNotAllowed",
            "security-groups are read from the inventory and cannot be changed here.".to_owned(),
        ),
        (
            "PUT",
            "/v2.0/security-groups/5e000000-0000-4000-8000-000000000001",
            r#"{"security_group": {}}"#.to_owned(),
            405,
            "HTTPMethodNotAllowed",
            "security-groups are read from the inventory and cannot be changed here.".to_owned(),
        ),
        (
            "POST",
            "/v2.0/security-groups",
            r#"{"security_group": {}}"#.to_owned(),
            405,
            "HTTPMethodNotAllowed",
            "security-groups are read from the inventory and cannot be changed here.".to_owned(),
        ),
        (
            "PATCH",
            "/v2.0/security-groups/5e000000-0000-4000-8000-000000000001",
            String::new(),
            405,
            "HTTPMethodNotAllowed",
            WEBOB.to_owned(),
        ),
        // Loggable types are not made and not changed, whatever is asked.
        (
            "PUT",
            "/v2.0/log/loggable-resources/x",
            r#"{"loggable_resource": {"type": "x"}}"#.to_owned(),
            400,
            bad,
            "Cannot update read-only attribute type".to_owned(),
        ),
        (
            "PUT",
            "/v2.0/log/loggable-resources/x",
            r#"{"loggable_resource": {"x": 1}}"#.to_owned(),
            400,
            bad,
            "Unrecognized attribute(s) 'x'".to_owned(),
        ),
        (
            "PUT",
            "/v2.0/log/loggable-resources/x",
            r#"{"loggable_resource": null}"#.to_owned(),
            400,
            bad,
            "Unable to find 'loggable_resource' in request body".to_owned(),
        ),
        (
            "PUT",
            "/v2.0/log/loggable-resources/x",
            r#"{"loggable_resource": []}"#.to_owned(),
            400,
            bad,
            "Object 'loggable_resource' contains invalid data".to_owned(),
        ),
        (
            "PUT",
            "/v2.0/log/loggable-resources/x",
            r#"{"loggable_resources": []}"#.to_owned(),
            400,
            bad,
            "Resources required".to_owned(),
        ),
        (
            "PUT",
            "/v2.0/log/loggable-resources/x",
            r#"{"loggable_resources": [{"type": "x"}]}"#.to_owned(),
            400,
            bad,
            "Cannot update read-only attribute type".to_owned(),
        ),
        (
            "PUT",
            "/v2.0/log/loggable-resources/x",
            r#"{"loggable_resource": {}}"#.to_owned(),
            405,
            "HTTPMethodNotAllowed",
            WEBOB.to_owned(),
        ),
        (
            "POST",
            TYPES,
            r#"{"loggable_resources": []}"#.to_owned(),
            400,
            bad,
            "Resources required".to_owned(),
        ),
        (
            "POST",
            TYPES,
            r#"{"loggable_resources": [{"type": "x"}]}"#.to_owned(),
            400,
            bad,
            "Attribute 'type' not allowed in POST".to_owned(),
        ),
        // Names are printable, of the Basic Multilingual Plane, and without blanks around them.
        (
            "POST",
            LOGS,
            value("name", r#""a\nb""#),
            400,
            bad,
            no_string("a\nb"),
        ),
        (
            "POST",
            LOGS,
            value("name", r#""\u200bx""#),
            400,
            bad,
            no_string("\u{200b}x"),
        ),
        (
            "POST",
            LOGS,
            value("name", r#""a\u0000b""#),
            400,
            bad,
            no_string("a\0b"),
        ),
        (
            "POST",
            LOGS,
            value("name", r#""\u00a0x""#),
            400,
            bad,
            no_string("\u{a0}x"),
        ),
        (
            "POST",
            LOGS,
            value("name", "\"\u{1f600}\""),
            400,
            bad,
            no_string("\u{1f600}"),
        ),
        (
            "POST",
            LOGS,
            value("name", r#""a\u00a0b""#),
            201,
            "",
            String::new(),
        ),
        (
            "POST",
            LOGS,
            value("name", r#""x\n""#),
            201,
            "",
            String::new(),
        ),
        (
            "POST",
            LOGS,
            value("description", "\"a\\nb\u{1f600}\""),
            201,
            "",
            String::new(),
        ),
        (
            "POST",
            LOGS,
            value("name", "1e-7"),
            400,
            bad,
            no_string("1e-07"),
        ),
        (
            "POST",
            LOGS,
            value("name", r#"{"z": 1, "a": 1e16}"#),
            400,
            bad,
            no_string("{'z': 1, 'a': 1e+16}"),
        ),
        // UUIDs in other spellings are UUIDs, and name nothing.
        (
            "POST",
            LOGS,
            value("resource_id", r#""5e0000000000-4000-8000-000000000001""#),
            404,
            "ResourceNotFound",
            "Resource 5e0000000000-4000-8000-000000000001 could not be found.".to_owned(),
        ),
        (
            "POST",
            LOGS,
            value(
                "target_id",
                r#""urn:uuid:{5e000000-0000-4000-8000-000000000001}""#,
            ),
            404,
            "TargetResourceNotFound",
            "Target resource urn:uuid:{5e000000-0000-4000-8000-000000000001} could not be found."
                .to_owned(),
        ),
        (
            "POST",
            LOGS,
            value("resource_id", r#""5e000000""#),
            400,
            bad,
            "Invalid input for resource_id. Reason: '5e000000' is not a valid UUID.".to_owned(),
        ),
        // Bodies.
        (
            "POST",
            LOGS,
            "0".to_owned(),
            400,
            bad,
            "Resource body required".to_owned(),
        ),
        (
            "POST",
            LOGS,
            r#""""#.to_owned(),
            400,
            bad,
            "Resource body required".to_owned(),
        ),
        (
            "POST",
            LOGS,
            r#"{"logs": {}}"#.to_owned(),
            400,
            bad,
            "Resources required".to_owned(),
        ),
        (
            "POST",
            LOGS,
            r#"{"logs": "x"}"#.to_owned(),
            400,
            bad,
            "Object 'log' contains invalid data".to_owned(),
        ),
        (
            "POST",
            LOGS,
            r#"{"logs": [null]}"#.to_owned(),
            400,
            bad,
            "Body contains invalid data".to_owned(),
        ),
        (
            "POST",
            "/v2.0/log/logs/",
            String::new(),
            400,
            bad,
            "Unable to find 'log' in request body".to_owned(),
        ),
        (
            "POST",
            "/v2.0/log/logs/",
            "null".to_owned(),
            400,
            bad,
            "Body contains invalid data".to_owned(),
        ),
        (
            "PUT",
            LOG,
            "null".to_owned(),
            400,
            "BadRequest",
            "Bad body request: Invalid format: b'null'.".to_owned(),
        ),
        (
            "PUT",
            LOG,
            r#""x""#.to_owned(),
            400,
            "BadRequest",
            r#"Bad body request: Invalid format: b'"x"'."#.to_owned(),
        ),
        (
            "PUT",
            LOG,
            r#"{"logs": []}"#.to_owned(),
            400,
            bad,
            "Resources required".to_owned(),
        ),
        (
            "PUT",
            LOG,
            r#"{"logs": [{"event": "ALL"}]}"#.to_owned(),
            400,
            bad,
            "Cannot update read-only attribute event".to_owned(),
        ),
        (
            "PUT",
            LOGS,
            String::new(),
            404,
            "LogResourceNotFound",
            "Log resource None could not be found.".to_owned(),
        ),
        (
            "PUT",
            LOGS,
            r#"{"logs": []}"#.to_owned(),
            400,
            bad,
            "Bulk operation not supported".to_owned(),
        ),
        (
            "DELETE",
            LOGS,
            "{}".to_owned(),
            404,
            "LogResourceNotFound",
            "Log resource None could not be found.".to_owned(),
        ),
        (
            "POST",
            LOG,
            value("name", r#""x""#),
            405,
            "HTTPMethodNotAllowed",
            WEBOB.to_owned(),
        ),
        (
            "POST",
            LOG,
            "[]".to_owned(),
            400,
            bad,
            "Body contains invalid data".to_owned(),
        ),
        (
            "GET",
            LOG,
            "{".to_owned(),
            400,
            "MalformedRequestBody",
            MALFORMED.to_owned(),
        ),
        (
            "GET",
            LOGS,
            " ".to_owned(),
            400,
            "MalformedRequestBody",
            MALFORMED.to_owned(),
        ),
        (
            "DELETE",
            LOG,
            "{".to_owned(),
            400,
            "MalformedRequestBody",
            MALFORMED.to_owned(),
        ),
        (
            "POST",
            TYPES,
            String::new(),
            400,
            bad,
            "Resource body required".to_owned(),
        ),
        (
            "POST",
            TYPES,
            r#"{"log": {}}"#.to_owned(),
            400,
            bad,
            "Unable to find 'loggable_resource' in request body".to_owned(),
        ),
        // Paths and methods.
        (
            "GET",
            "/v2.0/log/logs/%C3%A9",
            String::new(),
            404,
            "LogResourceNotFound",
            "Log resource \u{c3}\u{a9} could not be found.".to_owned(),
        ),
        (
            "GET",
            "/v2.0/log/logs/a%2Fb",
            String::new(),
            404,
            "HTTPNotFound",
            "The resource could not be found.".to_owned(),
        ),
        (
            "GET",
            "/v2.0/log/%6cogs",
            String::new(),
            200,
            "",
            String::new(),
        ),
        (
            "POST",
            "/v2.0/extensions/logging",
            String::new(),
            404,
            "HTTPNotFound",
            "The resource could not be found.".to_owned(),
        ),
        (
            "OPTIONS",
            "/v2.0/extensions/nope",
            String::new(),
            200,
            "",
            String::new(),
        ),
        ("OPTIONS", TYPES, String::new(), 200, "", String::new()),
        ("OPTIONS", "/foo", String::new(), 200, "", String::new()),
        ("HEAD", "/", String::new(), 405, "", String::new()),
        ("HEAD", "/v2.0/", String::new(), 405, "", String::new()),
        // Parameters.
        (
            "GET",
            "/v2.0/log/logs?limit=%2B1_0%20",
            String::new(),
            200,
            "",
            String::new(),
        ),
        (
            "GET",
            "/v2.0/log/logs?limit=-1",
            String::new(),
            400,
            "BadRequest",
            "Bad limit request: Limit must be an integer 0 or greater and not '-1'.".to_owned(),
        ),
        (
            "GET",
            "/v2.0/log/logs?limit=x&foo=y",
            String::new(),
            400,
            bad,
            "['foo'] is invalid attribute for filtering".to_owned(),
        ),
        (
            "GET",
            "/v2.0/log/logs?foo=y&enabled=zz",
            String::new(),
            400,
            "InvalidInput",
            "Invalid input for operation: 'zz' cannot be converted to boolean.".to_owned(),
        ),
        (
            "GET",
            "/v2.0/log/logs?name=a;foo=y",
            String::new(),
            400,
            bad,
            "['foo'] is invalid attribute for filtering".to_owned(),
        ),
        (
            "GET",
            "/v2.0/log/logs?limit=x&sort_key=foo&sort_dir=asc",
            String::new(),
            400,
            bad,
            "['foo'] is invalid attribute for sort_keys".to_owned(),
        ),
    ];
    for (method, path, body, status, kind, message) in rows {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .body(())
            .unwrap();
        let reply = api.answer(&Request::new(request.into_parts().0, body.clone().into()));
        let found = reply.status().as_u16();
        let error = reply.into_body().unwrap_or_default()["NeutronError"].take();
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (found, text("type"), text("message")),
            (status, kind.to_owned(), message),
            "{method} {path} {body}"
        );
    }
    // Types are shown whole.
    let request = axum::http::Request::builder().uri("/v2.0/log/loggable-resources?fields=name");
    let request = Request::new(request.body(()).unwrap().into_parts().0, Bytes::new());
    let types = json!({"loggable_resources": [{"type": "security_group"}]});
    assert_eq!(api.answer(&request).into_body(), Some(types));
}

/// What Neutron 29.0.0 answers to other callers and to tags of revisions.
#[test]
fn callers_and_revisions_are_answered_as_by_neutron() {
    const LOGS: &str = "/v2.0/log/logs";
    const LOG: &str = "/v2.0/log/logs/5e000000-0000-4000-8000-000000000007";
    const NOPE: &str = "/v2.0/log/logs/nope";
    const NEW: &str = r#"{"log": {"resource_type": "security_group"}}"#;
    const SAME: &str = r#"{"log": {"description": ""}}"#;
    const FORMAT: &str = "Bad if-match request: Revision number etag must be in the format of \
                          revision_number=<int>.";
    const MULTIPLE: &str = "Bad if-match request: Multiple revision_number etags are not \
                            supported..";
    const NO_PROJECT: &str = "Running without keystone AuthN requires that project_id is specified";
    const FOREIGN: &str = "Specifying 'project_id' other than the authenticated project in \
                           request is not allowed for the current user.";
    const PORT: &str = "/v2.0/ports/11000000-0000-4000-8000-000000000001";
    const OTHER_PORT: &str = "/v2.0/ports/11000000-0000-4000-8000-000000000002";
    const GROUP: &str = "/v2.0/security-groups/5e000000-0000-4000-8000-000000000001";
    const GROUP_UNDERSCORED: &str = "/v2.0/security_groups/5e000000-0000-4000-8000-000000000001";
    const OTHER_GROUP: &str = "/v2.0/security-groups/5e000000-0000-4000-8000-000000000002";
    const SHARED_GROUP: &str = "/v2.0/security-groups/5e000000-0000-4000-8000-000000000003";
    const NO_PAGE: &str = "The resource could not be found.";
    const STALE: &str = "RevisionNumberConstraintFailed";
    const NO_LOG: (&str, &str) = (
        "LogResourceNotFound",
        "Log resource nope could not be found.",
    );
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("netlog.db")).unwrap();
    store
        .create_logs(&[LogObject::new(numbered(7), "a")])
        .unwrap();
    let api = api(store, Auth::TrustedHeaders(TrustedPeers::default()));
    let forbidden = (
        "PolicyNotAuthorized",
        "rule:create_log is disallowed by policy",
    );
    let refused = |message| ("HTTPBadRequest", message);
    let done = ("", "");
    let manager: &[_] = &[("x-project-id", "a"), ("x-roles", "manager")];
    let reader: &[_] = &[("x-project-id", "a"), ("x-roles", "reader")];
    let homeless: &[_] = &[("x-roles", "manager")];
    let advanced: &[_] = &[("x-project-id", "b"), ("x-roles", "advsvc")];
    let no_project = r#"{"log": {"resource_type": "security_group", "project_id": null}}"#;
    let foreign = r#"{"log": {"resource_type": "security_group", "project_id": "a"}}"#;
    let empty_project = r#"{"log": {"resource_type": "security_group", "project_id": ""}}"#;
    let nameless: &[_] = &[("x-project-id", ""), ("x-roles", "manager")];
    let service: &[_] = &[("x-project-id", "s"), ("x-roles", "service")];
    let on_my_network = r#"{"log": {"resource_type": "security_group",
                             "target_id": "11000000-0000-4000-8000-000000000001"}}"#;
    let elsewhere = r#"{"log": {"resource_type": "security_group",
                         "target_id": "11000000-0000-4000-8000-000000000002"}}"#;
    let for_shared = r#"{"log": {"resource_type": "security_group",
                          "resource_id": "5e000000-0000-4000-8000-000000000003"}}"#;
    let no_log = (
        "LogResourceNotFound",
        "Log resource 5e000000-0000-4000-8000-000000000007 could not be found.",
    );
    let no_target = (
        "TargetResourceNotFound",
        "Target resource 11000000-0000-4000-8000-000000000002 could not be found.",
    );
    let no_port = (
        "PortNotFound",
        "Port 11000000-0000-4000-8000-000000000002 could not be found.",
    );
    let no_group = (
        "SecurityGroupNotFound",
        "Security group 5e000000-0000-4000-8000-000000000002 does not exist",
    );
    let not_text = refused("Invalid input for project_id. Reason: 'None' is not a valid string.");
    let rows = [
        // The policy is asked before the method is looked at.
        (reader, "", "POST", LOG, NEW, 403, forbidden),
        // No project is the project of whoever has none.
        (homeless, "", "POST", LOGS, no_project, 400, not_text),
        // The role advsvc makes all projects' objects exist, and allows nothing.
        (advanced, "", "GET", LOG, "", 404, ("HTTPNotFound", NO_PAGE)),
        (
            advanced,
            "",
            "PUT",
            LOG,
            SAME,
            404,
            ("HTTPNotFound", NO_PAGE),
        ),
        (advanced, "", "POST", LOGS, foreign, 403, forbidden),
        (advanced, "", "POST", LOGS, no_project, 400, not_text),
        // A revision is what Python takes for a number.
        (manager, "revision_number= 0", "PUT", LOG, SAME, 200, done),
        (
            manager,
            "\"revision_number=0\"",
            "PUT",
            LOG,
            SAME,
            200,
            done,
        ),
        (
            manager,
            "revision_number=-1",
            "PUT",
            LOG,
            SAME,
            412,
            (STALE, "Constrained to -1, but current revision is 0"),
        ),
        (
            manager,
            "revision_number=-1",
            "PUT",
            NOPE,
            SAME,
            404,
            NO_LOG,
        ),
        (
            manager,
            "revision_number=-1",
            "DELETE",
            NOPE,
            "",
            404,
            NO_LOG,
        ),
        (
            manager,
            "revision_number=x",
            "GET",
            LOG,
            "",
            400,
            ("BadRequest", FORMAT),
        ),
        (
            manager,
            "revision_number=",
            "GET",
            LOGS,
            "",
            400,
            ("BadRequest", FORMAT),
        ),
        (manager, "revision_number=1", "GET", LOG, "", 200, done),
        (
            manager,
            "revision_number=0099999999999999999999",
            "PUT",
            LOG,
            SAME,
            412,
            (
                STALE,
                "Constrained to 99999999999999999999, but current revision is 0",
            ),
        ),
        // Of several tags, the weak and those of other kinds do not count.
        (
            manager,
            r#""x", "revision_number=0" W/"revision_number=7""#,
            "PUT",
            LOG,
            SAME,
            200,
            done,
        ),
        (
            manager,
            r#""x", "revision_number=7""#,
            "PUT",
            LOG,
            SAME,
            412,
            (STALE, "Constrained to 7, but current revision is 0"),
        ),
        (
            manager,
            r#""revision_number=0" "revision_number=0""#,
            "PUT",
            LOG,
            SAME,
            400,
            ("BadRequest", MULTIPLE),
        ),
        // A project without a name is one, but not for what names none.
        (nameless, "", "POST", LOGS, empty_project, 201, done),
        (nameless, "", "POST", LOGS, NEW, 400, refused(NO_PROJECT)),
        (
            nameless,
            "",
            "POST",
            LOGS,
            no_project,
            400,
            refused(FOREIGN),
        ),
        (nameless, "", "GET", LOG, "", 404, no_log),
        // The owner of a network may log the ports of others on it, and see them as a reader.
        (manager, "", "POST", LOGS, on_my_network, 201, done),
        (manager, "", "POST", LOGS, elsewhere, 404, no_target),
        (reader, "", "GET", PORT, "", 200, done),
        (manager, "", "GET", PORT, "", 404, ("HTTPNotFound", NO_PAGE)),
        (reader, "", "GET", OTHER_PORT, "", 404, no_port),
        (
            advanced,
            "",
            "GET",
            PORT,
            "",
            404,
            ("HTTPNotFound", NO_PAGE),
        ),
        // A service sees ports and networks, and no security groups.
        (service, "", "GET", OTHER_PORT, "", 200, done),
        (
            service,
            "",
            "GET",
            GROUP,
            "",
            404,
            ("HTTPNotFound", NO_PAGE),
        ),
        // Security groups by either spelling; a shared one is everybody's.
        (reader, "", "GET", GROUP_UNDERSCORED, "", 200, done),
        (reader, "", "GET", OTHER_GROUP, "", 404, no_group),
        (reader, "", "GET", SHARED_GROUP, "", 200, done),
        (manager, "", "POST", LOGS, for_shared, 201, done),
    ];
    for (caller, tag, method, path, body, status, error) in rows {
        let mut request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("x-user-id", "u");
        for &(name, value) in caller {
            request = request.header(name, value);
        }
        if !tag.is_empty() {
            request = request.header("if-match", tag);
        }
        let request = request.body(()).unwrap().into_parts().0;
        let reply = api.answer(&Request::new(request, Bytes::from(body)));
        let found = reply.status().as_u16();
        // Neutron's own error for a page that is not there is not framed.
        let body = reply.into_body().unwrap_or_default();
        let told = body.get("NeutronError").unwrap_or(&body);
        let text = |name: &str| told[name].as_str().unwrap_or_default();
        assert_eq!(
            (found, (text("type"), text("message"))),
            (status, error),
            "{caller:?} {tag} {method} {path}"
        );
    }
}
