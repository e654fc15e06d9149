//! The driver against a real ovsdb-server, private to each test.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::{Disconnect, Driver, Endpoint, Event, SessionError, Topology};

/// Longer than anything here takes, so that a failure is told and not waited
/// for without end.
const PATIENCE: Duration = Duration::from_secs(60);

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A directory with a database in it, and the server while it runs.
struct Server {
    dir: tempfile::TempDir,
    process: Option<Child>,
}

impl Server {
    fn new() -> Self {
        let server = Self {
            dir: tempfile::tempdir().unwrap(),
            process: None,
        };
        let mut create = Command::new("ovsdb-tool");
        run(create.arg("create").arg(server.path("conf.db")).arg(SCHEMA));
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.path("db.sock"))
    }

    fn start(&mut self) {
        let mut command = Command::new("ovsdb-server");
        command
            .arg(self.path("conf.db"))
            .arg(format!("--remote=p{}", self.endpoint()))
            .arg(format!("--unixctl={}", self.path("ctl").display()))
            .arg("--verbose=off")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("ovsdb-server (of package openvswitch-switch) does not start: {error}")
        });
        self.process = Some(child);
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Runs ovs-vsctl, which waits until the server is there.
    fn vsctl(&self, arguments: &str) {
        let mut command = Command::new("ovs-vsctl");
        command
            .args(["--no-wait", "--retry"])
            .arg("--timeout=60")
            .arg(format!("--db={}", self.endpoint()))
            .args(arguments.split(' '));
        run(&mut command);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?} does not start ({error}): install package openvswitch-switch")
    });
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn start(endpoint: Endpoint) -> (Driver, Receiver<Event>) {
    let (sender, receiver) = mpsc::channel();
    let driver = Driver::start(endpoint, move |event| {
        let _ = sender.send(event);
    });
    (driver.unwrap(), receiver)
}

fn next(events: &Receiver<Event>) -> Event {
    events.recv_timeout(PATIENCE).unwrap()
}

/// The first topology from now on that is as wanted.
fn until(events: &Receiver<Event>, wanted: impl Fn(&Topology) -> bool) -> Arc<Topology> {
    loop {
        if let Event::Topology(topology) = next(events)
            && wanted(&topology)
        {
            return topology;
        }
    }
}

fn disconnected(events: &Receiver<Event>) -> Disconnect {
    loop {
        if let Event::Disconnected(reason) = next(events) {
            return reason;
        }
    }
}

fn ofport(topology: &Topology, iface_id: &str) -> Option<u32> {
    topology.port("br-int", iface_id)?.ofport
}

#[test]
fn a_switch_is_followed_through_changes_and_a_restart() {
    let mut server = Server::new();
    server.start();
    server.vsctl("add-br br-int");
    let (driver, events) = start(server.endpoint());
    assert!(matches!(next(&events), Event::Connected));
    let first = until(&events, |_| true);
    assert_eq!(first.bridges().collect::<Vec<_>>(), ["br-int"]);
    assert_eq!(first.ports("br-int").count(), 1);

    server.vsctl(
        "add-port br-int tap1 -- set Interface tap1 external_ids:iface-id=a \
         external_ids:attached-mac=\"fa:16:3e:00:00:01\"",
    );
    let added = until(&events, |topology| topology.port("br-int", "a").is_some());
    assert_eq!(ofport(&added, "a"), None);
    // There is no ovs-vswitchd here, so we write what it would.
    server.vsctl("add-port br-int tap2 -- set Interface tap2 external_ids:iface-id=b ofport=2");
    server.vsctl("set Interface tap1 ofport=1 link_state=up");
    let both = until(&events, |topology| ofport(topology, "a").is_some());
    assert_eq!((ofport(&both, "a"), ofport(&both, "b")), (Some(1), Some(2)));

    server.vsctl("set Interface tap1 ofport=2 -- set Interface tap2 ofport=1");
    let swapped = until(&events, |topology| *topology != *both);
    assert_eq!(
        (ofport(&swapped, "a"), ofport(&swapped, "b")),
        (Some(2), Some(1))
    );

    server.vsctl(
        "del-port br-int tap1 -- add-port br-int tap1 -- \
         set Interface tap1 external_ids:iface-id=a ofport=2",
    );
    let plugged = until(&events, |topology| *topology != *swapped);
    assert_eq!(ofport(&plugged, "a"), Some(2));
    assert_ne!(
        plugged.port("br-int", "a").unwrap().uuid,
        swapped.port("br-int", "a").unwrap().uuid
    );

    server.vsctl("remove Interface tap2 external_ids iface-id -- clear Interface tap1 ofport");
    let removed = until(&events, |topology| *topology != *plugged);
    assert_eq!(removed.port("br-int", "b"), None);
    assert_eq!(ofport(&removed, "a"), None);

    server.stop();
    let reason = disconnected(&events);
    assert!(
        matches!(reason, Disconnect::Closed | Disconnect::Io(_)),
        "{reason}"
    );
    server.start();
    server.vsctl("del-port br-int tap2");
    let again = until(&events, |topology| topology.ports("br-int").count() == 2);
    assert_eq!(again.port("br-int", "a"), removed.port("br-int", "a"));

    server.vsctl("del-br br-int");
    until(&events, |topology| !topology.has_bridge("br-int"));
    driver.stop();
    assert!(
        events
            .try_iter()
            .all(|event| !matches!(event, Event::Disconnected(_)))
    );
    assert!(events.recv().is_err(), "the thread has ended");
}

#[test]
fn a_server_that_comes_late_is_found() {
    let mut server = Server::new();
    let (_driver, events) = start(server.endpoint());
    let reason = disconnected(&events);
    assert!(
        reason
            .to_string()
            .starts_with(&format!("cannot connect to {}", server.endpoint())),
        "{reason}"
    );
    server.start();
    until(&events, |_| true);
}

#[test]
fn tcp_works_as_well() {
    let mut server = Server::new();
    server.start();
    server.vsctl("add-br br-int");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let endpoint: Endpoint = format!("tcp:127.0.0.1:{port}").parse().unwrap();
    let (driver, events) = start(endpoint.clone());
    let (client, _) = listener.accept().unwrap();
    let behind = UnixStream::connect(server.path("db.sock")).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            // A reset ends it as well.
            let _ = io::copy(&mut &client, &mut &behind);
            behind.shutdown(Shutdown::Both).unwrap();
        });
        scope.spawn(|| io::copy(&mut &behind, &mut &client));
        until(&events, |topology| topology.has_bridge("br-int"));
        driver.stop();
    });
    // Nobody listens any more.
    drop(listener);
    let (_driver, events) = start(endpoint);
    let reason = disconnected(&events);
    assert!(matches!(reason, Disconnect::Connect { .. }), "{reason}");
}

/// Passes the bytes of one connection on to `to`, as they are or changed.
fn pass(mut from: UnixStream, mut to: UnixStream, change: fn(String) -> String) {
    loop {
        let text = read_some(&mut from);
        if text.is_empty() || to.write_all(change(text).as_bytes()).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}

// A server of before 2016 is a server of now that does not hear "monitor_cond":
// its own "unknown method", and its own notifications of the older kind.
#[test]
fn an_old_server_is_followed_too() {
    let mut server = Server::new();
    server.start();
    server.vsctl("add-br br-int");
    let (_dir, listener, endpoint) = listen();
    let (driver, events) = start(endpoint);
    let (client, _) = listener.accept().unwrap();
    let behind = UnixStream::connect(server.path("db.sock")).unwrap();
    let (client_too, behind_too) = (client.try_clone().unwrap(), behind.try_clone().unwrap());
    let forth = thread::spawn(move || {
        pass(client, behind, |text| {
            text.replace("monitor_cond", "monitor_none")
        });
    });
    let back = thread::spawn(move || {
        pass(behind_too, client_too, |text| {
            assert!(!text.contains("update2"), "{text}");
            text
        });
    });

    until(&events, |topology| topology.has_bridge("br-int"));
    server.vsctl("add-port br-int tap1 -- set Interface tap1 external_ids:iface-id=a ofport=3");
    let added = until(&events, |topology| topology.port("br-int", "a").is_some());
    assert_eq!(ofport(&added, "a"), Some(3));
    server.vsctl("set Interface tap1 ofport=4 external_ids:attached-mac=m link_state=up");
    let changed = until(&events, |topology| *topology != *added);
    let port = changed.port("br-int", "a").unwrap();
    assert_eq!((port.ofport, port.link_up), (Some(4), true));
    assert_eq!(port.attached_mac.as_deref(), Some("m"));
    server.vsctl("del-port br-int tap1");
    until(&events, |topology| topology.ports("br-int").count() == 1);
    driver.stop();
    forth.join().unwrap();
    back.join().unwrap();
}

/// A server of our own, for what ovsdb-server never does.
fn listen() -> (tempfile::TempDir, UnixListener, Endpoint) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let listener = UnixListener::bind(&path).unwrap();
    (dir, listener, Endpoint::Unix(path))
}

fn read_some(stream: &mut UnixStream) -> String {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..count]).into_owned()
}

#[test]
fn another_server_is_refused_and_tried_again() {
    let (_dir, listener, endpoint) = listen();
    let (_driver, events) = start(endpoint);
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(read_some(&mut stream).contains("list_dbs"));
        stream
            .write_all(b"{\"id\":1,\"result\":[\"hardware_vtep\"],\"error\":null}")
            .unwrap();
        assert!(matches!(next(&events), Event::Connected));
        assert!(matches!(
            next(&events),
            Event::Disconnected(Disconnect::Session(SessionError::NoDatabase(_)))
        ));
        assert_eq!(read_some(&mut stream), "", "we closed it");
    }
}

#[test]
fn stopping_does_not_wait_for_a_silent_server() {
    let (_dir, listener, endpoint) = listen();
    let (driver, events) = start(endpoint);
    let (mut stream, _) = listener.accept().unwrap();
    assert!(matches!(next(&events), Event::Connected));
    assert!(read_some(&mut stream).contains("list_dbs"));
    driver.stop();
    assert_eq!(read_some(&mut stream), "", "we closed it");
    assert!(events.recv().is_err(), "the thread has ended");
}

#[test]
fn dropping_stops_while_waiting_to_connect_again() {
    let (dir, listener, endpoint) = listen();
    drop(listener);
    drop(dir);
    let (driver, events) = start(endpoint);
    disconnected(&events);
    drop(driver);
    for event in &events {
        assert!(matches!(event, Event::Disconnected(_)), "{event:?}");
    }
}
