//! The syslog sink against a service of the test's own.

#![expect(
    clippy::unwrap_used,
    reason = "also in the helpers, a failure is a failed test"
)]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use netlog_sink::{Batch, Facility, Reason, Retry, Sink, SyslogSink, Worker};

const SOON: Duration = Duration::from_secs(30);
const ONCE: Retry = Retry {
    attempts: 1,
    pause: Duration::ZERO,
};

fn batch(lines: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for line in lines {
        batch.push(|bytes| bytes.extend_from_slice(line.as_bytes()));
    }
    batch
}

fn service(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    socket
}

/// The next message: priority, and what follows the time.
fn receive(socket: &UnixDatagram) -> (String, String) {
    let mut buffer = vec![0; 1 << 20];
    let len = socket.recv(&mut buffer).unwrap();
    let message = String::from_utf8(buffer[..len].to_vec()).unwrap();
    let (priority, rest) = message.strip_prefix('<').unwrap().split_once('>').unwrap();
    // "Mmm dd hh:mm:ss "
    assert_eq!(rest.as_bytes()[15], b' ', "{message}");
    (priority.to_owned(), rest[16..].to_owned())
}

fn text(socket: &UnixDatagram) -> String {
    let (_, message) = receive(socket);
    message.split_once(": ").unwrap().1.to_owned()
}

#[test]
fn one_message_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let service = service(&path);
    let mut sink = SyslogSink::new(&path, Facility::LOG_LOCAL3, "netlog");
    sink.write(&mut batch(&["action=ACCEPT vm_port=1", "action=DROP"]))
        .unwrap();

    // LOCAL3 is 19, info is 6.
    let tag = format!("netlog[{}]: ", std::process::id());
    assert_eq!(
        receive(&service),
        (
            (19 * 8 + 6).to_string(),
            tag.clone() + "action=ACCEPT vm_port=1"
        )
    );
    assert_eq!(
        receive(&service),
        ((19 * 8 + 6).to_string(), tag + "action=DROP")
    );
}

#[test]
fn a_record_that_is_too_long_fails_alone_and_is_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let service = service(&path);
    let worker = Worker::spawn(
        SyslogSink::new(&path, Facility::LOG_USER, "netlog"),
        4,
        ONCE,
    )
    .unwrap();
    let long = "x".repeat(8 << 20);
    worker
        .handle()
        .try_send(batch(&["before", &long, "after"]))
        .unwrap();
    let counters = worker.counters();
    worker.close(SOON).unwrap();

    assert_eq!(
        (text(&service), text(&service)),
        ("before".into(), "after".into())
    );
    let counts = counters.read();
    assert_eq!(
        (counts.offered, counts.written, counts.pending()),
        (3, 2, 0)
    );
    assert_eq!(counts.failed(Reason::TooLong), 1);
    assert_eq!(counts.written_bytes, 13);
}

#[test]
fn the_service_may_start_later_stop_and_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut sink = SyslogSink::new(&path, Facility::LOG_USER, "netlog");
    let error = sink.reopen().unwrap_err();
    assert_eq!(error.reason(), Reason::Unavailable);
    assert_eq!(
        error.to_string(),
        format!(
            "cannot connect to syslog at {}: No such file or directory (os error 2); \
             start the syslog service",
            path.display()
        )
    );

    let worker = Worker::spawn(sink, 8, ONCE).unwrap();
    let producer = worker.handle();
    let send = |line| {
        producer.try_send(batch(&[line])).unwrap();
        worker.flush(SOON).unwrap();
    };
    let failed = || worker.counters().read().failed(Reason::Unavailable);

    send("nobody there");
    assert_eq!(failed(), 1);

    let first = service(&path);
    send("one");
    assert_eq!(text(&first), "one");

    // Restarted between two records: nothing is lost.
    drop(first);
    fs::remove_file(&path).unwrap();
    let second = service(&path);
    send("two");
    assert_eq!(text(&second), "two");
    assert_eq!(failed(), 1);

    // Stopped: the socket file is still there, and nobody behind it.
    drop(second);
    send("lost");
    assert_eq!(failed(), 2);
    assert_eq!(worker.error().unwrap().reason(), Reason::Unavailable);
    fs::remove_file(&path).unwrap();
    send("lost too");
    assert_eq!(failed(), 3);

    let third = service(&path);
    send("three");
    assert_eq!(text(&third), "three");
    assert!(worker.error().is_none());

    let counters = worker.counters();
    worker.close(SOON).unwrap();
    let counts = counters.read();
    assert_eq!(
        (counts.offered, counts.written, counts.failed_total()),
        (6, 3, 3)
    );
}

#[test]
fn a_service_that_hangs_fails_records_in_bounded_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let service = service(&path);
    let worker = Worker::spawn(
        SyslogSink::new(&path, Facility::LOG_USER, "netlog"),
        4,
        ONCE,
    )
    .unwrap();
    // More than the socket holds; nobody reads.
    let mut batch = Batch::default();
    for number in 0..10_000 {
        batch.push(|bytes| bytes.extend_from_slice(number.to_string().as_bytes()));
    }
    worker.handle().try_send(batch).unwrap();
    let counters = worker.counters();
    worker.close(SOON).unwrap();

    let counts = counters.read();
    assert_eq!(counts.offered, counts.written + counts.failed_total());
    assert_eq!(counts.failed(Reason::Blocked), counts.failed_total());
    assert!(counts.failed_total() > 0);
    // What counts as written is there.
    for number in 0..counts.written {
        assert_eq!(text(&service), number.to_string());
    }
    service.set_nonblocking(true).unwrap();
    assert!(service.recv(&mut [0; 64]).is_err());
}

#[test]
fn a_socket_of_another_kind_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stream");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = SyslogSink::new(&path, Facility::LOG_USER, "netlog")
        .write(&mut batch(&["x"]))
        .unwrap_err();
    assert!(
        error.to_string().contains("Protocol wrong type for socket"),
        "{error}"
    );
}
