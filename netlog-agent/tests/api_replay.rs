//! Replays what was recorded from Neutron's logging API, and compares every answer.
//!
//! Ids of new objects aside, everything must be equal: status, body, order, links, times,
//! content type, and whether there is a request id. What is not is listed, and asserted too:
//! requests that Neutron itself fails on ([`NEUTRON_FAILS`]), and log objects that it leaves behind
//! ([`DANGLING`]).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use netlog_agent::api::{Agent, Api, Auth, Changed, TrustedPeers, router};
use netlog_agent::audit::Audit;
use netlog_agent::inventory::InventoryFile;
use netlog_agent::limits::{HostLimits, Setting};
use netlog_agent::metrics::Metrics;
use netlog_agent::store::{Store, StoreError};
use netlog_core::inventory::Inventory;
use netlog_core::log::{LogDrivers, LogObject, LoggedEvent};
use netlog_core::policy::Policy;
use serde::Deserialize;
use serde_json::{Value, json};
use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::oneshot;
use tower::ServiceExt;
use uuid::Uuid;

const RECORDED: &str = include_str!("fixtures/transcripts.json");

#[derive(Deserialize)]
struct Exchange {
    group: String,
    case: String,
    server: String,
    method: String,
    path: String,
    req_headers: BTreeMap<String, String>,
    req_body: Value,
    status: u16,
    resp_headers: BTreeMap<String, Option<String>>,
    resp_body: Value,
}

/// Where Neutron itself fails with 500, and netlog does not: group, case, our status, our error's
/// type and message or "", and why.
const NEUTRON_FAILS: [(&str, &str, u16, &str, &str, &str); 8] = [
    (
        "loggable-resources",
        "list ?limit=1",
        200,
        "",
        "",
        "Neutron wants an id to page by; the type serves",
    ),
    (
        "loggable-resources",
        "show one",
        404,
        "HTTPNotFound",
        "The resource could not be found.",
        "there is no such page",
    ),
    (
        "loggable-resources",
        "DELETE",
        405,
        "HTTPMethodNotAllowed",
        MALFORMED,
        "types are not deleted",
    ),
    (
        "update",
        "body array",
        400,
        "HTTPBadRequest",
        "Resource body required",
        "an empty list is no body",
    ),
    (
        "update",
        "body plural",
        400,
        "HTTPBadRequest",
        "Unable to find 'log' in request body",
        "there is no bulk update",
    ),
    (
        "update",
        "If-Match on POST",
        400,
        "BadRequest",
        "Bad if-match request: What is being created has no revision to be matched.",
        "what is being created has no revision",
    ),
    (
        "policy",
        "role=manager loggable-resources",
        200,
        "",
        "",
        "Neutron compares projects that types do not have; who may create logs may see the types",
    ),
    (
        "policy",
        "role=manager,member,reader loggable-resources",
        200,
        "",
        "",
        "as for role=manager",
    ),
];

/// What a path says to a method that it does not take.
const MALFORMED: &str = "The server could not comply with the request since it is either malformed \
                         or otherwise incorrect.";

/// Where Neutron leaves disabled log objects of what is deleted. Here they go with the group or
/// the port, so that nothing dangles: the list lacks them, and nothing is there to be enabled.
const DANGLING: [&str; 3] = [
    "after",
    "enable a log whose SG is gone",
    "enable a log whose target port is gone",
];

/// The time of the recording, as far as it has been replayed.
static NOW: AtomicI64 = AtomicI64::new(0);

fn now() -> UtcDateTime {
    UtcDateTime::from_unix_timestamp(NOW.load(Ordering::Relaxed)).unwrap()
}

/// An agent that is always done, and counts.
struct Done {
    told: AtomicUsize,
    store: Arc<Store>,
    inventory: Arc<ArcSwap<Inventory>>,
}

impl Agent for Done {
    /// With what is deleted from the inventory goes what names it.
    fn changed(&self, what: Changed) -> oneshot::Receiver<()> {
        self.told.fetch_add(1, Ordering::Relaxed);
        if what.inventory {
            let (drivers, inventory) = (LogDrivers::default(), self.inventory.load());
            let logs = self.store.logs().unwrap();
            let logs: Vec<Uuid> = logs.iter().map(|log| log.id).collect();
            self.store
                .delete_logs_if(&logs, |log| drivers.is_dangling(log, &inventory))
                .unwrap();
        }
        let (done, receiver) = oneshot::channel();
        done.send(()).unwrap();
        receiver
    }

    fn ledger(&self) -> Value {
        Value::Null
    }

    fn status(&self) -> Value {
        json!({})
    }
}

/// The recorded world: what was made in Neutron before and beside the recorded requests.
struct World {
    inventory: Arc<ArcSwap<Inventory>>,
    store: Arc<Store>,
    agent: Arc<Done>,
    servers: BTreeMap<&'static str, Router>,
    _folder: tempfile::TempDir,
}

const PROJECT: &str = "fake_project_id";
const SG1: &str = "0d3229cb-b7fa-4083-bb24-e365a826485f";
const SG2: &str = "284fc368-61fa-4b5b-9358-3a53fcdf2061";
const SGX: &str = "d900752f-6ad8-4b34-a573-94ce9d9cc302";
const SGZ: &str = "ffdab94a-a739-4326-92fd-ebf50e48c985";
const PX: &str = "35a3ea9d-3f84-4912-bd51-d48e25b3e709";
const PY: &str = "eaeb00ef-ea31-4356-a127-02ed46846ae1";

impl World {
    fn new(recorded: &[Exchange]) -> Self {
        let body = |case: &str, member: &str| {
            let found = recorded.iter().find(|exchange| exchange.case == case);
            found.unwrap().resp_body[member].clone()
        };
        let group = |id: &str| json!({"id": id, "project_id": PROJECT});
        let port = |id: &str, groups: &[&str], vnic_type: &str, vif_type: &str| {
            json!({"id": id, "project_id": PROJECT, "security_groups": groups,
                   "binding:vnic_type": vnic_type, "binding:vif_type": vif_type})
        };
        // As it was before it was changed.
        let mut py = body("port drops the SG while a log names both", "port");
        py["security_groups"] = json!([SG1]);
        py["revision_number"] = json!(1);
        py["updated_at"] = py["created_at"].clone();
        let document = json!({
            "security_groups": [
                body("GET /v2.0/security-groups/<sg1>", "security_group"),
                group(SG2), group(SGX), group(SGZ),
            ],
            "ports": [
                body("GET /v2.0/ports/<p1>", "port"),
                port("c0ff3e2e-9e29-487f-b735-fc4e469ab361", &[SG1], "normal", "unbound"),
                port("093c4b55-54ee-4b7f-9d86-5e0a8859bd8d", &[], "normal", "unbound"),
                port("13fb42c7-7a7d-4692-8402-f033204b8b57", &[SG1], "normal", "binding_failed"),
                port("4a8475a7-12db-4640-94cd-e062e4cdadab", &[SG1], "direct", "unbound"),
                port(PX, &[SGX], "normal", "unbound"),
                py,
            ],
        });
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().join("netlog.db")).unwrap());
        let path = folder.path().join("inventory.json");
        std::fs::write(&path, document.to_string()).unwrap();
        let file = Arc::new(InventoryFile::open(&path).unwrap());
        let inventory = file.in_force();
        let agent = Arc::new(Done {
            told: AtomicUsize::new(0),
            store: Arc::clone(&store),
            inventory: Arc::clone(&inventory),
        });
        let server = |auth: Auth| {
            router(Api {
                store: Arc::clone(&store),
                inventory: Arc::clone(&inventory),
                inventory_file: Some(Arc::clone(&file)),
                agent: Arc::clone(&agent) as Arc<dyn Agent>,
                drivers: LogDrivers::default(),
                auth,
                policy: Arc::new(ArcSwap::from_pointee(Policy::default())),
                metrics: Arc::new(Metrics::new(Vec::new)),
                limits: Arc::new(HostLimits::new(Setting::new(None, 25).unwrap())),
                audit: Arc::new(Audit::new(|_| ())),
                clock: now,
            })
        };
        let servers = BTreeMap::from([
            ("noauth", server(Auth::NoAuth)),
            (
                "trusted-headers",
                server(Auth::TrustedHeaders(TrustedPeers::default())),
            ),
        ]);
        Self {
            inventory,
            store,
            agent,
            servers,
            _folder: folder,
        }
    }

    fn forget_logs(&self) {
        for log in self.store.logs().unwrap() {
            self.store
                .delete_log::<StoreError>(log.id, |_| Ok(()))
                .unwrap();
        }
    }

    /// Stores a log object that the recording does not show being made.
    fn log(&self, shown: &Value) {
        let id = |name: &str| shown[name].as_str().map(|id| id.parse::<Uuid>().unwrap());
        let text = |name: &str| shown[name].as_str().unwrap_or_default().to_owned();
        let time = |name: &str| shown[name].as_str().map_or_else(now, |at| seconds(at).1);
        let log = LogObject {
            id: id("id").unwrap_or_else(Uuid::new_v4),
            project_id: shown["project_id"].as_str().unwrap_or(PROJECT).to_owned(),
            name: text("name"),
            description: text("description"),
            resource_type: "security_group".to_owned(),
            resource_id: id("resource_id"),
            target_id: id("target_id"),
            event: shown["event"]
                .as_str()
                .map_or(LoggedEvent::All, |event| event.parse().unwrap()),
            enabled: shown["enabled"].as_bool().unwrap_or(true),
            revision_number: shown["revision_number"].as_u64().unwrap_or(0),
            created_at: time("created_at"),
            updated_at: time("updated_at"),
        };
        self.store.create_logs(&[log]).unwrap();
    }

    /// What happened in Neutron before a recorded request, unseen.
    fn prepare(&self, exchange: &Exchange) {
        let at = |text: &str| NOW.store(seconds(text).0, Ordering::Relaxed);
        match (exchange.group.as_str(), exchange.case.as_str()) {
            ("list", "no filter") => {
                self.forget_logs();
                for log in exchange.resp_body["logs"].as_array().unwrap() {
                    self.log(log);
                }
            }
            ("cascade", "before") => {
                self.forget_logs();
                at("2026-11-22T09:31:35Z");
                for log in exchange.resp_body["logs"].as_array().unwrap() {
                    let mut log = log.clone();
                    match log["name"].as_str().unwrap() {
                        "px-disabled" => {
                            log["id"] = json!("cea09c29-0438-4a60-a739-9b1830bce404");
                        }
                        "sgx-disabled" => {
                            log["id"] = json!("1480cf5e-d6cf-4434-967e-b0fb52c1a575");
                        }
                        _ => {}
                    }
                    self.log(&log);
                }
            }
            ("cascade", "port drops the SG while a log names both") => {
                at("2026-11-22T09:31:36Z");
                self.log(
                    &json!({"id": "46b18c4b-fbc5-474b-a8da-fdea4cf1a5b1", "name": "py+sg1",
                                 "resource_id": SG1, "target_id": PY}),
                );
            }
            ("policy", "role=member list") => {
                self.forget_logs();
                at("2026-11-22T09:31:36Z");
                for (id, project, name) in [
                    ("ff865565-5d3f-443b-a710-bf71f1ce187e", "pA", "own-pA"),
                    ("1a4b4d99-0ac0-40bc-9e73-5c80894889d3", "pB", "other-pB"),
                ] {
                    self.log(&json!({"id": id, "project_id": project, "name": name}));
                }
            }
            ("policy", case) if exchange.method == "DELETE" => {
                let project = if case.ends_with("own") { "pA" } else { "pB" };
                let (_, id) = exchange.path.rsplit_once('/').unwrap();
                let name = format!("del-{project}");
                self.log(&json!({"id": id, "project_id": project, "name": name}));
            }
            _ => {}
        }
    }

    /// The sum of all revisions, which moves with every update.
    fn revision(&self) -> u64 {
        let logs = self.store.logs().unwrap();
        logs.iter().map(|log| log.revision_number).sum()
    }

    /// Gives new objects the ids that they have in the recording.
    fn rename(&self, ours: &mut Value, recorded: &Value) {
        let (Some(ours), Some(recorded)) = (ours.as_object_mut(), recorded.as_object()) else {
            return;
        };
        for (ours, recorded) in ours.values_mut().zip(recorded.values()) {
            let pairs = match (ours, recorded) {
                (Value::Array(ours), Value::Array(recorded)) => {
                    ours.iter_mut().zip(recorded.iter()).collect()
                }
                (ours, recorded) => vec![(ours, recorded)],
            };
            for (ours, recorded) in pairs {
                let id = |log: &Value| log["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
                let (Some(old), Some(new)) = (id(ours), id(recorded)) else {
                    continue;
                };
                let log = self.store.delete_log::<StoreError>(old, |_| Ok(()));
                // Rules of the inventory are not named again.
                if let Some(mut log) = log.unwrap() {
                    log.id = new;
                    self.store.create_logs(&[log]).unwrap();
                }
                ours["id"] = json!(new);
            }
        }
    }
}

/// A time as the API writes it, as a number too.
fn seconds(text: &str) -> (i64, UtcDateTime) {
    let at = UtcDateTime::parse(text, &Rfc3339).unwrap();
    (at.unix_timestamp(), at)
}

/// The time of the change that a recorded answer shows, if it shows one.
fn time_of(exchange: &Exchange) -> Option<i64> {
    let body = exchange.resp_body.as_object()?;
    let object = match body.values().next()? {
        Value::Array(objects) => objects.first()?,
        object => object,
    };
    Some(seconds(object["updated_at"].as_str()?).0)
}

fn request(exchange: &Exchange) -> Request<Body> {
    let path = match exchange.path.as_str() {
        "" => "/",
        path => path,
    };
    let mut request = Request::builder()
        .method(exchange.method.as_str())
        .uri(path)
        .header("Host", "{HOST}");
    for (name, value) in &exchange.req_headers {
        request = request.header(name, value);
    }
    let body = match &exchange.req_body {
        Value::Null => Vec::new(),
        // Bytes that are not UTF-8 were recorded as U+FFFD.
        Value::String(raw) => raw
            .chars()
            .flat_map(|c| match c {
                '\u{fffd}' => vec![0xff],
                c => c.to_string().into_bytes(),
            })
            .collect(),
        json => json.to_string().into_bytes(),
    };
    request.body(Body::from(body)).unwrap()
}

/// Lists that were not asked for in an order may come in any.
fn in_any_order(exchange: &Exchange, body: &mut Value) {
    if exchange.path.contains("sort_key") || exchange.path.contains("limit") {
        return;
    }
    if let Some(logs) = body.get_mut("logs").and_then(Value::as_array_mut) {
        logs.sort_by_key(Value::to_string);
    }
}

/// What a request is answered.
struct Answer {
    status: u16,
    content_type: Option<String>,
    identified: bool,
    /// An empty text if there is none.
    body: Value,
}

async fn ask(server: Router, request: Request<Body>) -> Answer {
    let response = server.oneshot(request).await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let (status, content_type) = (response.status().as_u16(), header("content-type"));
    let identified = header("x-openstack-request-id").is_some();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer {
        status,
        content_type,
        identified,
        body: match body.as_ref() {
            b"" => json!(""),
            body => serde_json::from_slice(body).unwrap(),
        },
    }
}

/// How an exchange is compared.
#[derive(Clone, Copy)]
enum Comparison {
    /// With what was recorded.
    Equal,
    /// With the status, the type and the message of [`NEUTRON_FAILS`].
    NeutronFails(u16, &'static str, &'static str),
    /// With what was recorded, less the log objects that dangle.
    Dangling,
}

impl Comparison {
    fn of(exchange: &Exchange) -> Self {
        let (group, case) = (exchange.group.as_str(), exchange.case.as_str());
        let fails = NEUTRON_FAILS
            .iter()
            .find(|listed| (listed.0, listed.1) == (group, case));
        match fails {
            Some(&(_, _, status, kind, told, _)) => Self::NeutronFails(status, kind, told),
            None if group != "cascade" => Self::Equal,
            None if DANGLING.contains(&case) => Self::Dangling,
            None => Self::Equal,
        }
    }
}

/// The answer to one of [`DANGLING`].
fn without_dangling(exchange: &Exchange) -> (u16, Value) {
    let mut body = exchange.resp_body.clone();
    if let Some(logs) = body["logs"].as_array_mut() {
        logs.retain(|log| log["enabled"] == true);
        return (200, body);
    }
    let id = body["log"]["id"].as_str().unwrap();
    let message = format!("Log resource {id} could not be found.");
    let error = json!({"type": "LogResourceNotFound", "message": message, "detail": ""});
    (404, json!({ "NeutronError": error }))
}

#[tokio::test]
async fn every_recorded_exchange_is_answered_as_neutron_does() {
    let recorded: Vec<Exchange> = serde_json::from_str(RECORDED).unwrap();
    assert_eq!(recorded.len(), 426);
    let world = World::new(&recorded);
    let mut differences = Vec::new();
    let [mut equal, mut fails, mut dangling] = [0; 3];
    for (number, exchange) in recorded.iter().enumerate() {
        world.prepare(exchange);
        let comparison = Comparison::of(exchange);
        if let (Comparison::Equal, Some(at)) = (comparison, time_of(exchange)) {
            NOW.store(at, Ordering::Relaxed);
        }
        let label = format!("#{number} {} / {}", exchange.group, exchange.case);
        let changes_before = world.agent.told.load(Ordering::Relaxed);
        let revision_before = world.revision();
        let inventory_before = world.inventory.load_full();
        let server = world.servers[exchange.server.as_str()].clone();
        let mut answer = ask(server, request(exchange)).await;

        // The agent hears of every change, and of nothing else.
        let told = world.agent.told.load(Ordering::Relaxed) - changes_before;
        let changed = match answer.status {
            201 | 204 => true,
            200 => {
                world.revision() != revision_before
                    || !Arc::ptr_eq(&world.inventory.load(), &inventory_before)
            }
            _ => false,
        };
        if told != usize::from(changed) {
            differences.push(format!("{label}: the agent was told {told} times"));
        }

        let (status, mut expected) = match comparison {
            Comparison::Equal => {
                equal += 1;
                if exchange.status == 201 && answer.status == 201 {
                    world.rename(&mut answer.body, &exchange.resp_body);
                }
                (exchange.status, exchange.resp_body.clone())
            }
            Comparison::Dangling => {
                dangling += 1;
                without_dangling(exchange)
            }
            Comparison::NeutronFails(status, kind, message) => {
                fails += 1;
                assert_eq!(exchange.status, 500, "{label}");
                let error = &answer.body["NeutronError"];
                let ours = |name: &str| error[name].as_str().unwrap_or_default();
                if (answer.status, ours("type"), ours("message")) != (status, kind, message) {
                    let Answer { status, body, .. } = answer;
                    differences.push(format!("{label}: answered {status} {body}"));
                }
                continue;
            }
        };
        if let Some(members) = expected.as_object_mut() {
            // The recorder's own remark on a list that it shortened.
            members.remove("note");
        }
        in_any_order(exchange, &mut answer.body);
        in_any_order(exchange, &mut expected);
        let recorded_type = exchange.resp_headers.get("content-type").cloned().flatten();
        if exchange.method == "HEAD" {
            // A body is never sent; its type is.
            assert_eq!(answer.body, json!(""));
        } else if answer.content_type != recorded_type {
            let ours = answer.content_type;
            differences.push(format!("{label}: content type {ours:?}"));
        }
        if answer.identified != exchange.resp_headers.contains_key("x-openstack-request-id") {
            let ours = answer.identified;
            differences.push(format!("{label}: request id: {ours}"));
        }
        if (answer.status, &answer.body) != (status, &expected) {
            differences.push(format!(
                "{label}: {} {}\n    expected {status} {expected}\n    answered {} {}",
                exchange.method, exchange.path, answer.status, answer.body
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
    // Nothing is listed that is not recorded, and nothing else that Neutron fails on.
    assert_eq!(fails, NEUTRON_FAILS.len());
    assert_eq!(dangling, DANGLING.len());
    assert_eq!(equal, 415);
    assert!(equal + fails + dangling == recorded.len());
}
