//! The API as a server: limits, waiting, callers. The clock is virtual, so that no test waits.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use netlog_agent::api::{
    Agent, Api, Auth, Changed, IN_FORCE_TIMEOUT, Listener, MAX_BODY, StaticToken, policy, serve,
};
use netlog_agent::audit::Audit;
use netlog_agent::config::Bind;
use netlog_agent::limits::{HostLimits, Setting};
use netlog_agent::metrics::Metrics;
use netlog_agent::store::Store;
use netlog_core::inventory::Inventory;
use netlog_core::log::LogDrivers;
use netlog_core::policy::Policy;
use serde_json::{Value, json};
use time::UtcDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

const CREATE: &str = r#"{"log": {"resource_type": "security_group"}}"#;

/// An agent that keeps whoever waits, until the test lets them go.
#[derive(Default)]
struct Waiting(Mutex<Vec<oneshot::Sender<()>>>);

impl Agent for Waiting {
    fn changed(&self, _: Changed) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap().push(sender);
        receiver
    }

    fn ledger(&self) -> Value {
        Value::Null
    }

    fn status(&self) -> Value {
        json!({"bridge": "br-int"})
    }
}

/// A running server, and what is behind it.
struct Server {
    address: SocketAddr,
    agent: Arc<Waiting>,
    store: Arc<Store>,
    policy: Arc<ArcSwap<Policy>>,
    stop: oneshot::Sender<()>,
    stopped: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

const INVENTORY: &str = r#"{
  "security_groups": [
    {"id": "5e000000-0000-4000-8000-0000000000a1", "name": "web", "project_id": "a",
     "security_group_rules": [{"id": "4e000000-0000-4000-8000-000000000001",
                               "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp"}]},
    {"id": "5e000000-0000-4000-8000-0000000000b1", "name": "db", "project_id": "b"}],
  "ports": [
    {"id": "11111111-0000-4000-8000-000000000001", "name": "vm1", "project_id": "a",
     "network_id": "22222222-0000-4000-8000-000000000001",
     "fixed_ips": [{"ip_address": "10.0.0.5", "subnet_id": "33333333-0000-4000-8000-000000000001"}],
     "security_groups": ["5e000000-0000-4000-8000-0000000000a1"]}]
}"#;

async fn start(auth: Auth) -> Server {
    let local = Bind::Tcp(([127, 0, 0, 1], 0).into());
    let listener = Listener::bind(&local).await.unwrap();
    let address = listener.address().unwrap();
    start_on(listener, address, auth)
}

fn start_on(listener: Listener, address: SocketAddr, auth: Auth) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path().join("netlog.db")).unwrap());
    let agent = Arc::new(Waiting::default());
    let policy = Arc::new(ArcSwap::from_pointee(Policy::default()));
    let api = Api {
        store: Arc::clone(&store),
        inventory: Arc::new(ArcSwap::from_pointee(Inventory::parse(INVENTORY).unwrap())),
        inventory_file: None,
        agent: Arc::clone(&agent) as Arc<dyn Agent>,
        drivers: LogDrivers::default(),
        auth,
        policy: Arc::clone(&policy),
        metrics: Arc::new(Metrics::new(Vec::new)),
        limits: Arc::new(HostLimits::new(Setting::new(None, 25).unwrap())),
        audit: Arc::new(Audit::new(|_| ())),
        clock: || UtcDateTime::UNIX_EPOCH,
    };
    let (stop, stopping) = oneshot::channel();
    let stopped = tokio::spawn(serve(listener, api, async {
        let _ = stopping.await;
    }));
    Server {
        address,
        agent,
        store,
        policy,
        stop,
        stopped,
        _folder: folder,
    }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own; the status and the body of the answer.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
        let mut connection = self.connect().await;
        connection
            .write_all(request(method, path, headers, body).as_bytes())
            .await
            .unwrap();
        answer(&mut connection).await
    }

    /// Lets go whoever waits for the switch.
    fn in_force(&self) -> usize {
        let waiting: Vec<_> = self.agent.0.lock().unwrap().drain(..).collect();
        let count = waiting.len();
        for waiting in waiting {
            // The server has stopped waiting already if it took too long.
            let _ = waiting.send(());
        }
        count
    }
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )
}

/// Reads to the end: the status, and the body as JSON (null when there is none).
async fn answer(connection: &mut (impl AsyncReadExt + Unpin)) -> (u16, Value) {
    let mut text = String::new();
    // A server that refuses a request may cut the rest of it off.
    let _ = connection.read_to_string(&mut text).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (
        status.unwrap_or(0),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_change_is_answered_when_it_is_in_force() {
    let server = start(Auth::NoAuth).await;
    let mut connection = server.connect().await;
    let create = request("POST", "/v2.0/log/logs", "", CREATE);
    connection.write_all(create.as_bytes()).await.unwrap();
    let answered = tokio::spawn(async move { (answer(&mut connection).await, Instant::now()) });
    while server.agent.0.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        server.store.logs().unwrap().len(),
        1,
        "kept before it is in force"
    );
    assert!(!answered.is_finished());
    let begin = Instant::now();
    assert_eq!(server.in_force(), 1);
    let ((status, _), end) = answered.await.unwrap();
    assert_eq!(status, 201);
    assert!(end - begin < IN_FORCE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_is_away_delays_the_answer_only() {
    let server = start(Auth::NoAuth).await;
    let begin = Instant::now();
    let (status, body) = server.ask("POST", "/v2.0/log/logs", "", CREATE).await;
    assert_eq!(status, 201);
    assert!(begin.elapsed() >= IN_FORCE_TIMEOUT);
    // Nothing changes, so nothing is waited for.
    let path = format!("/v2.0/log/logs/{}", body["log"]["id"].as_str().unwrap());
    let begin = Instant::now();
    let (status, _) = server
        .ask("PUT", &path, "", r#"{"log": {"enabled": true}}"#)
        .await;
    assert_eq!(status, 200);
    assert!(begin.elapsed() < IN_FORCE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn the_agent_hears_of_a_change_whose_caller_went_away() {
    let server = start(Auth::NoAuth).await;
    for number in 1..=20 {
        let mut connection = server.connect().await;
        let create = request("POST", "/v2.0/log/logs", "", CREATE);
        connection.write_all(create.as_bytes()).await.unwrap();
        while server.store.logs().unwrap().len() < number {
            tokio::task::yield_now().await;
        }
        // Stored, and nobody is there for the answer any more.
        drop(connection);
        while server.agent.0.lock().unwrap().len() < number {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn large_requests_are_refused_before_they_are_held() {
    let server = start(Auth::NoAuth).await;
    let large = "x".repeat(MAX_BODY + 1);
    let (status, body) = server.ask("POST", "/v2.0/log/logs", "", &large).await;
    assert_eq!(
        (status, &body["NeutronError"]["message"]),
        (413, &json!("Request is too large."))
    );

    // A length that is announced, and one that is not.
    let mut connection = server.connect().await;
    let head = "POST /v2.0/log/logs HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut connection).await.0, 413);
    let mut connection = server.connect().await;
    let head = "POST /v2.0/log/logs HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    for _ in 0..4 {
        let _ = connection.write_all(chunk.as_bytes()).await;
    }
    assert_eq!(answer(&mut connection).await.0, 413);

    let (status, _) = server
        .ask("GET", &format!("/{}", "x".repeat(100_000)), "", "")
        .await;
    assert!(matches!(status, 414 | 431), "{status}");
    let (status, _) = server.ask("GET", "/", &"X-A: b\r\n".repeat(200), "").await;
    assert_eq!(status, 431);
    let (status, _) = server.ask("GET", "/healthz", "", "").await;
    assert_eq!(status, 200);
}

#[tokio::test(start_paused = true)]
async fn slow_requests_come_to_an_end() {
    let server = start(Auth::NoAuth).await;
    let begin = Instant::now();
    // Nothing at all; half a head; half a body; an answered request and then nothing.
    for (sent, status) in [
        ("", 0),
        ("GET / HTTP/1.1\r\nHost", 0),
        (
            "POST /v2.0/log/logs HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{",
            408,
        ),
        ("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200),
    ] {
        let mut connection = server.connect().await;
        connection.write_all(sent.as_bytes()).await.unwrap();
        let ended = timeout(Duration::from_secs(60), answer(&mut connection)).await;
        assert_eq!(ended.unwrap().0, status, "{sent:?}");
    }
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn callers_who_do_not_read_are_cut_off() {
    let server = start(Auth::NoAuth).await;
    let mut connection = server.connect().await;
    let ask = "GET /v2.0/extensions HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000);
    let begin = Instant::now();
    // The caller asks on and on, until the server takes no more and then hangs up.
    while connection.write_all(ask.as_bytes()).await.is_ok() {}
    assert!(begin.elapsed() >= Duration::from_secs(30));
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_cannot_keep_others_out_for_long() {
    let server = start(Auth::NoAuth).await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(server.connect().await);
    }
    let (status, _) = server.ask("GET", "/healthz", "", "").await;
    assert_eq!(status, 200);
}

#[tokio::test(start_paused = true)]
async fn open_requests_end_before_the_server_does() {
    let server = start(Auth::NoAuth).await;
    let mut connection = server.connect().await;
    let create = request("POST", "/v2.0/log/logs", "", CREATE);
    connection.write_all(create.as_bytes()).await.unwrap();
    while server.agent.0.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    server.stop.send(()).unwrap();
    assert_eq!(answer(&mut connection).await.0, 201);
    server.stopped.await.unwrap();
    TcpStream::connect(server.address).await.unwrap_err();
}

#[tokio::test]
async fn a_socket_file_is_for_its_owner_and_goes_with_its_listener() {
    let bind = |text: &str| text.parse::<Bind>().unwrap();
    let error = Listener::bind(&bind("192.0.2.1:1")).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot listen on 192.0.2.1:1: "),
        "{error}"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let place = bind(&format!("unix:{}", path.display()));
    let listener = Listener::bind(&place).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    // In use, it is left alone; left over, it is replaced; another file is never removed.
    Listener::bind(&place).await.unwrap_err();
    let nowhere = ([0, 0, 0, 0], 0).into();
    let server = start_on(listener, nowhere, Auth::NoAuth);
    let mut connection = UnixStream::connect(&path).await.unwrap();
    let ask = request("GET", "/v2.0/ports", "", "");
    connection.write_all(ask.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut connection).await.0, 200);
    server.stop.send(()).unwrap();
    server.stopped.await.unwrap();
    assert!(!path.exists());
    // The standard library leaves its own.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listener = Listener::bind(&place).await.unwrap();
    // What somebody else has put there meanwhile is not removed.
    std::fs::remove_file(&path).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(listener);
    UnixStream::connect(&path).await.unwrap();
    drop(other);
    let file = folder.path().join("precious");
    std::fs::write(&file, "data").unwrap();
    let place = bind(&format!("unix:{}", file.display()));
    Listener::bind(&place).await.unwrap_err();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "data");
}

#[tokio::test(start_paused = true)]
async fn tokens_say_who_callers_are_and_the_policy_what_they_may_do() {
    let token = |token: &str, role: &str| StaticToken {
        token: token.to_owned(),
        user_id: format!("the {role}"),
        project_id: "a".to_owned(),
        roles: vec![role.to_owned()],
    };
    let tokens = vec![
        token("aaa", "admin"),
        token("mmm", "manager"),
        token("rrr", "reader"),
    ];
    let server = start(Auth::StaticTokens(tokens)).await;
    let with = |token: &str| format!("X-Auth-Token: {token}\r\n");
    for wrong in [
        "",
        "X-Auth-Token: aab\r\n",
        "X-Auth-Token: aaaa\r\n",
        "X-Roles: admin\r\n",
    ] {
        assert_eq!(
            server.ask("GET", "/v2.0/log/logs", wrong, "").await.0,
            401,
            "{wrong}"
        );
        assert_eq!(
            server.ask("GET", "/v1/status", wrong, "").await.0,
            401,
            "{wrong}"
        );
    }
    for (method, path, status) in [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("POST", "/healthz", 405),
        ("DELETE", "/v1/status", 405),
        ("PUT", "/", 405),
    ] {
        assert_eq!(
            server.ask(method, path, "", "").await.0,
            status,
            "{method} {path}"
        );
    }
    let (status, body) = server.ask("GET", "/v1/status", &with("aaa"), "").await;
    assert_eq!((status, &body["bridge"]), (200, &json!("br-int")));
    assert_eq!(
        server.ask("GET", "/v1/status", &with("mmm"), "").await.0,
        403
    );
    let create = async |token: &str| server.ask("POST", "/v2.0/log/logs", token, CREATE).await;
    assert_eq!(create(&with("mmm")).await.0, 201);
    assert_eq!(create(&with("rrr")).await.0, 403);

    // Readers may look but not touch, from now on.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let rules = "get_log: role:reader and project_id:%(project_id)s\n\
                 update_log: role:manager\ndelete_log: '!'\n";
    std::fs::write(&file, rules).unwrap();
    server.policy.store(Arc::new(policy::load(&file).unwrap()));
    let (_, body) = server.ask("GET", "/v2.0/log/logs", &with("rrr"), "").await;
    let path = format!("/v2.0/log/logs/{}", body["logs"][0]["id"].as_str().unwrap());
    let reader = with("rrr");
    assert_eq!(server.ask("GET", &path, &reader, "").await.0, 200);
    let change = r#"{"log": {"name": "mine"}}"#;
    let (status, body) = server.ask("PUT", &path, &reader, change).await;
    assert_eq!(status, 403);
    let message = &body["NeutronError"]["message"];
    assert_eq!(message, "rule:update_log is disallowed by policy");
    assert_eq!(server.ask("DELETE", &path, &reader, "").await.0, 403);
}

#[tokio::test(start_paused = true)]
async fn the_inventory_can_be_searched() {
    let server = start(Auth::NoAuth).await;
    let ids = async |path: &str| -> Vec<String> {
        let (status, body) = server.ask("GET", path, "", "").await;
        assert_eq!(status, 200, "{path}: {body}");
        let objects = body.as_object().unwrap().values().next().unwrap();
        let objects = objects.as_array().unwrap();
        let last = |id: &Value| id["id"].as_str().unwrap()[34..].to_owned();
        objects.iter().map(last).collect()
    };
    for (path, expected) in [
        ("/v2.0/ports?fixed_ips=ip_address=10.0.0.5", &["01"][..]),
        ("/v2.0/ports?fixed_ips=ip_address%3D10.0.0.6", &[]),
        (
            "/v2.0/ports?security_groups=5e000000-0000-4000-8000-0000000000a1",
            &["01"],
        ),
        (
            "/v2.0/security-groups?sort_key=name&sort_dir=asc",
            &["b1", "a1"],
        ),
        ("/v2.0/security-groups?project_id=b", &["b1"]),
        ("/v2.0/security-groups?tenant_id=a&name=web", &["a1"]),
        ("/v2.0/security-group-rules", &["01"]),
        (
            "/v2.0/security-group-rules?security_group_id=5e000000-0000-4000-8000-0000000000a1",
            &["01"],
        ),
        ("/v2.0/security-group-rules?protocol=udp", &[]),
        ("/v2.0/networks", &["01"]),
        ("/v2.0/address-groups", &[]),
    ] {
        assert_eq!(ids(path).await, expected, "{path}");
    }
    let (status, body) = server
        .ask(
            "POST",
            "/v2.0/security-groups",
            "",
            r#"{"security_group": {}}"#,
        )
        .await;
    assert_eq!(status, 405);
    let message = body["NeutronError"]["message"].as_str().unwrap();
    assert!(message.contains("read from the inventory"), "{message}");
    assert_eq!(
        server.ask("GET", "/v2.0/ports?colour=red", "", "").await.0,
        400
    );
}
