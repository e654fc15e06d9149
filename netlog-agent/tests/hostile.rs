//! Hostile requests to a running agent: each is answered or cut, memory stays bounded, and others
//! are served meanwhile.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod host;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{self, Child};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use host::Host;
use netlog_agent::clock;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::{Value, json};

/// What an agent may take beyond what it has when it starts, in kB. It holds at most 128
/// connections; a body of each is 112 kB at most, and the head 16 kB.
const MAX_GROWTH: u64 = 64 * 1024;
/// How long a caller who does nothing wrong may have to wait in the midst of it all: less than the
/// 10 s after which the agent gives up a caller who says nothing, so that nobody waits for those.
const SOON: Duration = Duration::from_secs(8);
/// Longer than the agent gives anyone for anything, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running agent whose API is open on the loopback.
struct Agent {
    host: Host,
    child: Child,
    address: SocketAddr,
    /// Its memory when it had started, in kB.
    memory: u64,
}

/// What came back on a connection: the status lines' codes in their order, and all of the text.
#[derive(Debug)]
struct Answer {
    statuses: Vec<u16>,
    text: String,
}

impl Answer {
    /// The only status; 0 if the connection was cut without an answer.
    fn status(&self) -> u16 {
        assert!(self.statuses.len() < 2, "{self:?}");
        self.statuses.first().copied().unwrap_or_default()
    }

    fn body(&self) -> Value {
        let (_, body) = self.text.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_default()
    }

    fn error(&self) -> String {
        let error = &self.body()["NeutronError"];
        assert!(error["message"].is_string(), "{self:?}");
        assert_eq!(error["detail"], "", "{self:?}");
        error["type"].as_str().unwrap().to_owned()
    }
}

/// A test that failed leaves nothing running.
impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address of the loopback that nobody else takes: no other test, whichever process runs it, and
/// no connection either, since the port is not of those that connections get by themselves.
fn address() -> SocketAddr {
    static AGENTS: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = process::id().to_be_bytes();
    let agent = AGENTS.fetch_add(1, Ordering::Relaxed);
    SocketAddr::from(([127, high, low, agent], 9696))
}

impl Agent {
    fn start(config: &str) -> Self {
        let address = address();
        let host = Host::new();
        host.configure(&format!("[api]\nbind = {address}\n{config}"));
        let log = File::create(host.path("agent.log")).unwrap();
        let child = host.agent().stderr(log).spawn().unwrap();
        let mut agent = Self {
            host,
            child,
            address,
            memory: 0,
        };
        while TcpStream::connect(address).is_err() {
            let ended = agent.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the agent ended: {ended:?}: {}",
                agent.log()
            );
            thread::yield_now();
        }
        agent.serves();
        agent.memory = agent.memory("VmRSS");
        agent
    }

    /// Its memory now (`VmRSS`) or at most (`VmHWM`), in kB.
    fn memory(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        line.unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    /// What it has logged.
    fn log(&self) -> String {
        fs::read_to_string(self.host.path("agent.log")).unwrap()
    }

    fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(self.address)
            .unwrap_or_else(|error| panic!("{error}; the agent's log: {}", self.log()));
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.set_write_timeout(Some(PATIENCE)).unwrap();
        connection
    }

    /// Sends bytes as they are. Whoever is cut off meanwhile has to take that for the answer.
    fn send(&self, bytes: &[u8]) -> Answer {
        let mut connection = self.connect();
        let _ = connection.write_all(bytes);
        let _ = connection.shutdown(std::net::Shutdown::Write);
        answer(&mut connection)
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.connect();
        let _ = connection.write_all(&request(method, path, headers, body.as_ref()));
        answer(&mut connection)
    }

    fn create(&self, body: impl AsRef<[u8]>) -> Answer {
        self.ask("POST", "/v2.0/log/logs", "", body)
    }

    /// A caller who does nothing wrong is served soon.
    fn serves(&self) {
        let begin = clock::monotonic();
        assert_eq!(self.ask("GET", "/healthz", "", "").status(), 200);
        let took = clock::monotonic().saturating_sub(begin);
        assert!(took < SOON, "served after {took:?}");
    }

    /// Stops it, so that it tells all that it has to tell.
    fn stop(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// It is there, serves, took no more memory than it may, and nothing in it failed.
    fn end(self) {
        self.serves();
        let grown = self.memory("VmHWM").saturating_sub(self.memory);
        assert!(grown < MAX_GROWTH, "{grown} kB more than {}", self.memory);
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(!log.contains("a request failed"), "{log}");
    }
}

fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
         Content-Length: {length}\r\n{headers}\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Reads to the end, or to where the agent cuts.
fn answer(connection: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    if let Err(error) = connection.read_to_end(&mut bytes) {
        let cut = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(cut, "neither answered nor cut: {error}");
    }
    let text = String::from_utf8(bytes).unwrap();
    let statuses = text
        .match_indices("HTTP/1.")
        .map(|(at, _)| text[at + "HTTP/1.1 ".len()..][..3].parse().unwrap())
        .collect();
    Answer { statuses, text }
}

#[test]
fn bodies_of_ten_megabytes_are_refused_and_not_kept() {
    const BODY: usize = 10_000_000;
    let agent = Agent::start("");
    let body = vec![b'x'; BODY];
    let chunked = {
        let head = "POST /v2.0/log/logs HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        let mut bytes = head.as_bytes().to_vec();
        for chunk in body.chunks(0x10000) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    };
    let with_length = request("POST", "/v2.0/log/logs", "", &body);
    thread::scope(|scope| {
        for number in 0..20 {
            let bytes = if number % 2 == 0 {
                &with_length
            } else {
                &chunked
            };
            let agent = &agent;
            scope.spawn(move || {
                let mut connection = agent.connect();
                // All of it is taken.
                connection.write_all(bytes).unwrap();
                let answer = answer(&mut connection);
                assert_eq!(answer.status(), 413);
                assert_eq!(answer.error(), "HTTPRequestEntityTooLarge");
            });
        }
        agent.serves();
    });
    agent.end();
}

#[test]
fn a_byte_at_a_time_takes_no_more_memory_than_all_at_once() {
    let agent = Agent::start("");
    let body = vec![b' '; 50_000];
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                let mut connection = agent.connect();
                connection.set_nodelay(true).unwrap();
                let request = request("POST", "/v2.0/log/logs", "", &body);
                let (head, body) = request.split_at(request.len() - body.len());
                connection.write_all(head).unwrap();
                for byte in body {
                    // Whoever takes too long is cut off.
                    if connection.write_all(&[*byte]).is_err() {
                        break;
                    }
                }
                assert!(matches!(answer(&mut connection).status(), 400 | 408));
            });
        }
    });
    agent.end();
}

#[test]
fn deep_json_is_refused() {
    const DEPTH: usize = 100_000;
    let agent = Agent::start("");
    let arrays = "[".repeat(DEPTH);
    let objects = r#"{"log":"#.repeat(DEPTH / 8);
    let closed = format!("{}{}", "[".repeat(DEPTH / 2), "]".repeat(DEPTH / 2));
    let inside = format!(r#"{{"log": {{"resource_type": "security_group", "name": {closed}}}}}"#);
    for body in [&arrays, &objects, &closed, &inside] {
        for (method, path) in [
            ("POST", "/v2.0/log/logs"),
            ("PUT", "/v2.0/log/logs/4522efdf-8d44-4e19-b237-64cafc49469b"),
            ("PUT", "/v1/limits"),
        ] {
            let answer = agent.ask(method, path, "", body);
            // A log object that is not there is noticed before its body is read.
            assert!(matches!(answer.status(), 400 | 404), "{answer:?}");
            answer.error();
        }
        assert_eq!(agent.create(body).status(), 400);
    }
    agent.end();
}

#[test]
fn text_that_is_no_text_is_refused() {
    let agent = Agent::start("");
    let answer =
        agent.create(b"{\"log\": {\"resource_type\": \"security_group\", \"name\": \"\xff\"}}");
    assert_eq!(
        (answer.status(), answer.error()),
        (400, "MalformedRequestBody".to_owned())
    );
    for bytes in [&b"\xff\xfe{\0}\0"[..], b"\0", b"\xc0\xaf", b"\xed\xa0\x80"] {
        assert_eq!(agent.create(bytes).status(), 400, "{bytes:?}");
    }
    for (path, status) in [
        ("/v2.0/log/logs/%ff%fe", 404),
        ("/v2.0/log/logs/%00", 404),
        ("/v2.0/log/logs/..%2f..%2fetc%2fpasswd", 404),
        ("/v2.0/log/logs/../../../etc/passwd", 404),
        ("/v2.0/%6c%6f%67/logs", 200),
        ("/%c0%ae%c0%ae/", 404),
        ("/v2.0/log/logs?name=%ff%fe", 200),
        ("/v2.0/log/logs?name=%00", 200),
        ("/v2.0/log/logs?%ff=x", 400),
        ("/v2.0/log/logs?fields=%ff", 200),
        ("/v2.0/log/logs?limit=%ff", 400),
        ("/v2.0/log/logs?limit=5&marker=%ff", 200),
        ("/v2.0/log/logs?sort_key=%ff&sort_dir=asc", 400),
        ("/v2.0/log/logs?name=%", 200),
        ("/v2.0/log/logs?name=%zz&name=%u0041", 200),
        ("/v2.0/log/logs?limit=99999999999999999999999999", 200),
        ("/v2.0/log/logs?limit=-1", 400),
        ("/v2.0/log/logs?name='%20OR%201=1--", 200),
    ] {
        let answer = agent.ask("GET", path, "", "");
        assert_eq!(answer.status(), status, "{path}: {answer:?}");
    }
    // Bytes of a path or query that are no ASCII at all.
    for line in [
        &b"GET /v2.0/log/logs/\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"GET /v2.0/log/logs?name=\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2.0/log/logs\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = agent.send(line);
        assert!(matches!(answer.status(), 0 | 200 | 400 | 404), "{answer:?}");
    }
    agent.end();
}

#[test]
fn heads_without_end_are_refused() {
    let agent = Agent::start("");
    let thousands = "X-A: b\r\n".repeat(5000);
    let large = format!("X-A: {}\r\n", "b".repeat(1_000_000));
    let name = format!("{}: b\r\n", "X".repeat(1_000_000));
    for headers in [&thousands, &large, &name] {
        let answer = agent.ask("GET", "/v2.0/log/logs", headers, "");
        // What the agent does not read may cost the caller the answer.
        assert!(matches!(answer.status(), 431 | 0), "{answer:?}");
    }
    let answer = agent.ask("GET", "/v2.0/log/logs", &"X-A: b\r\n".repeat(100), "");
    assert_eq!(answer.status(), 431);
    let answer = agent.ask(
        "GET",
        &format!("/v2.0/log/logs?name={}", "x".repeat(1_000_000)),
        "",
        "",
    );
    assert!(matches!(answer.status(), 414 | 431 | 0), "{answer:?}");
    // A method, and a trailer, without end.
    assert!(matches!(
        agent.send("G".repeat(1_000_000).as_bytes()).status(),
        400 | 431 | 0
    ));
    let trailer = format!(
        "POST /v2.0/log/logs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}",
        "X-A: b\r\n".repeat(100_000)
    );
    assert!(matches!(agent.send(trailer.as_bytes()).status(), 400 | 0));
    agent.end();
}

#[test]
fn slow_callers_do_not_keep_others_waiting() {
    const CALLERS: usize = 300;
    let agent = Agent::start("");
    let heads = "GET / HTTP/1.1\r\nHost: agent\r\nX-Slow: ";
    let bodies = "POST /v2.0/log/logs HTTP/1.1\r\nHost: agent\r\nContent-Length: 1000\r\n\r\n";
    let mut slow: Vec<_> = [heads, bodies]
        .into_iter()
        .cycle()
        .take(CALLERS)
        .map(|begin| {
            let mut connection = agent.connect();
            connection.write_all(begin.as_bytes()).unwrap();
            connection
        })
        .collect();
    // They go on, a byte at a time, until every one of them is cut off.
    let begin = clock::monotonic();
    while !slow.is_empty() {
        assert!(
            clock::monotonic() < begin + PATIENCE,
            "{} are left",
            slow.len()
        );
        agent.serves();
        slow.retain_mut(|connection| {
            connection.set_nonblocking(true).unwrap();
            let ended = matches!(connection.read(&mut [0; 1024]), Ok(0))
                || connection.write_all(b"a").is_err();
            !ended
        });
    }
    agent.end();
}

#[test]
fn thousands_of_silent_connections_do_not_keep_others_out() {
    const CONNECTIONS: u64 = 3000;
    let mut files = getrlimit(Resource::Nofile);
    let wanted = CONNECTIONS + 200;
    if files.current.is_some_and(|current| current < wanted) {
        files = Rlimit {
            current: Some(wanted),
            maximum: files.maximum.map(|maximum| maximum.max(wanted)),
        };
        setrlimit(Resource::Nofile, files).unwrap();
    }
    let agent = Agent::start("");
    let mut silent = Vec::new();
    for number in 0..CONNECTIONS {
        silent.push(agent.connect());
        if number % 500 == 499 {
            agent.serves();
        }
    }
    agent.serves();
    // Nor do they when each has sent a request before it fell silent.
    for connection in &mut silent {
        let _ = connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: agent\r\n\r\n");
    }
    agent.serves();
    agent.end();
}

#[test]
fn requests_in_one_go_are_answered_in_their_order() {
    let agent = Agent::start("");
    let mut requests = Vec::new();
    for _ in 0..200 {
        requests.extend_from_slice(b"GET /healthz HTTP/1.1\r\nHost: agent\r\n\r\n");
        requests.extend_from_slice(b"GET /v2.0/nothing HTTP/1.1\r\nHost: agent\r\n\r\n");
    }
    requests.extend_from_slice(&request("GET", "/v2.0/log/logs", "", b""));
    let answer = agent.send(&requests);
    let expected: Vec<u16> = [200, 404].repeat(200).into_iter().chain([200]).collect();
    assert_eq!(answer.statuses, expected);
    agent.end();
}

#[test]
fn what_is_no_http_is_refused_or_cut() {
    let agent = Agent::start("");
    let create = r#"{"log": {"resource_type": "security_group"}}"#;
    let length = create.len();
    // Two lengths, or a length and chunks: who reads them differently could smuggle a request.
    let smuggled = [
        format!("Content-Length: {length}\r\nContent-Length: 3\r\n\r\n{create}"),
        format!("Content-Length: {length}, 3\r\n\r\n{create}"),
        format!("Content-Length: -{length}\r\n\r\n{create}"),
        format!("Content-Length: +{length}\r\n\r\n{create}"),
        format!("Content-Length: 0x{length:x}\r\n\r\n{create}"),
        "Content-Length: 99999999999999999999999999\r\n\r\n".to_owned(),
        format!("Content-Length : {length}\r\n\r\n{create}"),
        format!("Transfer-Encoding: gzip\r\n\r\n{create}"),
        format!("Transfer-Encoding: chunked, gzip\r\n\r\n{length:x}\r\n{create}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: xchunked\r\n\r\n{create}"),
        format!("Transfer-Encoding : chunked\r\n\r\n{length:x}\r\n{create}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n-1\r\n{create}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\nzz\r\n{create}\r\n0\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n{create}"),
        format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{create}"),
        format!("Content-Length: {}\r\n\r\n{create}", length + 1),
        format!("X-A: b\r\n c: d\r\nContent-Length: {length}\r\n\r\n{create}"),
        format!("X-A: b\0c\r\nContent-Length: {length}\r\n\r\n{create}"),
        format!("X-A: b\rc\r\nContent-Length: {length}\r\n\r\n{create}"),
    ];
    for rest in &smuggled {
        let bytes =
            format!("POST /v2.0/log/logs HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{rest}");
        let answer = agent.send(bytes.as_bytes());
        assert!(
            matches!(answer.status(), 400 | 413 | 501 | 0),
            "{bytes:?}: {answer:?}"
        );
    }
    // HTTP has chunks go before a length, and says that this may be an attack (RFC 9112, 6.3).
    let both = format!(
        "POST /v2.0/log/logs HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\
         Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{create}\r\n0\r\n\r\n\
         GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    let answer = agent.send(both.as_bytes());
    assert!(
        answer.statuses.len() <= 1,
        "the connection is closed: {answer:?}"
    );

    let mut noise = Vec::new();
    let mut state = 1_u32;
    for _ in 0..100_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push(state.to_be_bytes()[0]);
    }
    for bytes in [
        &b"GET /\r\n"[..],
        b"GET /v2.0/log/logs\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b" GET / HTTP/1.1\r\n\r\n",
        b"G\0T / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\r\n\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &noise,
    ] {
        let answer = agent.send(bytes);
        assert!(matches!(answer.status(), 400 | 431 | 505 | 0), "{answer:?}");
    }
    // Not what a client sends, but HTTP.
    for (line, statuses) in [
        ("OPTIONS * HTTP/1.1", [200, 200]),
        ("CONNECT h:80 HTTP/1.1", [404, 405]),
        ("TRACE / HTTP/1.1", [405, 405]),
        ("GET http://h/healthz HTTP/1.1", [200, 200]),
        ("GET //healthz HTTP/1.0", [200, 404]),
    ] {
        let bytes = format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = agent.send(bytes.as_bytes());
        assert!(statuses.contains(&answer.status()), "{line}: {answer:?}");
    }
    let logs = agent.ask("GET", "/v2.0/log/logs", "", "").body();
    let made = logs["logs"].as_array().unwrap().len();
    assert!(
        made <= 1,
        "only the request of RFC 9112 can have made one: {logs}"
    );
    agent.end();
}

#[test]
fn odd_values_are_refused_or_kept_as_they_are() {
    let agent = Agent::start("");
    let log = |attributes: &str| {
        format!(r#"{{"log": {{"resource_type": "security_group", {attributes}}}}}"#)
    };
    let name = |length: usize| format!(r#""name": "{}""#, "n".repeat(length));
    let description = |length: usize| format!(r#""description": "{}""#, "é".repeat(length));
    for (attributes, status) in [
        (name(255), 201),
        (name(256), 400),
        (name(100_000), 400),
        (description(255), 201),
        (description(256), 400),
        (r#""name": "a\u0000b""#.to_owned(), 400),
        (r#""name": "\ud800""#.to_owned(), 400),
        (r#""name": NaN"#.to_owned(), 400),
        (r#""name": Infinity"#.to_owned(), 400),
        (r#""name": 1e999"#.to_owned(), 400),
        (r#""enabled": 1e999"#.to_owned(), 400),
        (r#""enabled": NaN"#.to_owned(), 400),
        (format!(r#""enabled": {}"#, "9".repeat(10_000)), 400),
        (format!(r#""name": {}"#, "9".repeat(10_000)), 400),
        (r#""name": {"a": "b"}"#.to_owned(), 400),
        (r#""name": null"#.to_owned(), 400),
        (r#""enabled": "tRuE""#.to_owned(), 201),
        (r#""revision_number": 7"#.to_owned(), 400),
        (r#""resource_id": "\u0000""#.to_owned(), 400),
        (r#""target_id": "';DROP TABLE logs;--""#.to_owned(), 400),
    ] {
        let answer = agent.create(log(&attributes));
        let shown: String = attributes.chars().take(60).collect();
        assert_eq!(answer.status(), status, "{shown}: {}", answer.text);
        if status == 400 {
            answer.error();
        }
    }
    // As in Python, the last of two members of one name counts.
    let twice = agent.create(log(r#""name": "first", "name": "second""#));
    assert_eq!(twice.body()["log"]["name"], "second");
    let logs = agent.ask("GET", "/v2.0/log/logs?name=a%00b", "", "").body();
    assert_eq!(logs["logs"].as_array().map(Vec::len), Some(0));
    for body in [
        "",
        " ",
        "null",
        "[]",
        "0",
        "\"log\"",
        "{}",
        r#"{"log": null}"#,
        r#"{"logs": {}}"#,
    ] {
        let answer = agent.create(body);
        assert_eq!(answer.status(), 400, "{body}");
        answer.error();
    }
    agent.end();
}

#[test]
fn headers_cannot_forge_who_calls_nor_what_is_answered() {
    let host = Host::new();
    let tokens = host.path("tokens.json");
    fs::write(
        &tokens,
        r#"[{"token": "mmm", "user_id": "alice", "project_id": "a", "roles": ["member"]}]"#,
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&tokens, mode).unwrap();
    let agent = Agent::start(&format!(
        "auth_strategy = static-tokens\ntokens_file = {}\n[audit]\npath = {}\n",
        tokens.display(),
        host.path("audit.log").display(),
    ));
    let create = r#"{"log": {"resource_type": "security_group"}}"#;
    let forged = "X-Roles: admin\r\nX-Project-Id: b\r\nX-User-Id: root\r\nX-Is-Admin: True\r\n\
                  X-Forwarded-For: 203.0.113.9\r\nX-Identity-Status: Confirmed\r\n";
    let answer = agent.ask("POST", "/v2.0/log/logs", forged, create);
    assert_eq!(answer.status(), 401);
    let member = format!("{forged}X-Auth-Token: mmm\r\n");
    let answer = agent.ask("POST", "/v2.0/log/logs", &member, create);
    assert_eq!(answer.status(), 403);

    // What a caller sends does not come back in a header; the id of a request is the agent's own.
    let own = "X-Auth-Token: mmm\r\nX-Request-Id: req-mine\r\n\
               X-OpenStack-Request-Id: req-mine\r\nUser-Agent: \u{202e}\r\n";
    let answer = agent.ask("POST", "/v2.0/log/logs", own, create);
    assert_eq!(answer.status(), 403);
    assert!(!answer.text.contains("req-mine"), "{answer:?}");

    let control = "X-Auth-Token: mmm\r\nUser-Agent: \u{1b}[31m\r\n";
    let answer = agent.ask("POST", "/v2.0/log/logs", control, create);
    assert_eq!(answer.status(), 400);
    agent.serves();
    agent.stop();

    let audit = fs::read_to_string(host.path("audit.log")).unwrap();
    let refused: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|entry: &Value| entry["action"] == "create" && entry["outcome"] == "failure")
        .collect();
    assert!(
        !audit.contains("203.0.113.9") && !audit.contains(['\u{1b}', '\u{202e}']),
        "{audit}"
    );
    let users: Vec<_> = refused
        .iter()
        .map(|entry| &entry["initiator"]["id"])
        .collect();
    assert_eq!(
        users,
        [&json!("unknown"), &json!("alice"), &json!("alice")],
        "{audit}"
    );
}

#[test]
fn a_flood_of_refusals_leaves_few_entries_that_count_them_all() {
    const REFUSED: u64 = 300;
    let host = Host::new();
    let agent = Agent::start(&format!(
        "auth_strategy = trusted-headers\ntrusted_peers = 127.0.0.1\n[audit]\npath = {}\n",
        host.path("audit.log").display(),
    ));
    // The proxy, which is believed, says where each request comes from.
    let forwarded = "X-Forwarded-For: 10.0.0.1, 203.0.113.9\r\n";
    for _ in 0..REFUSED {
        let answer = agent.ask("POST", "/v2.0/log/logs", forwarded, "{}");
        assert_eq!(answer.status(), 401);
    }
    agent.stop();
    let audit = fs::read_to_string(host.path("audit.log")).unwrap();
    let refused: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|entry: &Value| entry["initiator"]["host"]["address"] == "203.0.113.9")
        .collect();
    assert!(
        !audit.contains(r#""address":"127.0.0.1"#),
        "the proxy in an entry: {audit}"
    );
    let counted = |entry: &Value| {
        let more = entry["attachments"].as_array().unwrap().iter();
        more.filter_map(|one| one["content"]["codes"]["401"].as_u64())
            .sum::<u64>()
    };
    let told = refused
        .iter()
        .filter(|entry| entry["reason"]["reasonCode"] == "401")
        .count();
    let counted: u64 = refused.iter().map(counted).sum();
    assert_eq!(told as u64 + counted, REFUSED, "{audit}");
    assert!(refused.len() < 50, "{} entries", refused.len());
}
