//! The file sink against rotation, removal, and a disk that refuses.

#![expect(
    clippy::unwrap_used,
    reason = "also in the helpers, a failure is a failed test"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netlog_sink::{Batch, FileSink, Reason, Retry, Sink, SinkError, Worker};

const SOON: Duration = Duration::from_secs(30);

fn batch(lines: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for line in lines {
        batch.push(|bytes| bytes.extend_from_slice(line.as_bytes()));
    }
    batch
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn open_error(path: impl AsRef<Path>) -> (Reason, String) {
    let error = FileSink::open(path.as_ref()).unwrap_err();
    (error.reason(), error.to_string())
}

#[test]
fn appends_and_creates_readable_for_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("security.log");
    FileSink::open(&path)
        .unwrap()
        .write(&mut batch(&["one"]))
        .unwrap();
    FileSink::open(&path)
        .unwrap()
        .write(&mut batch(&["two", "three"]))
        .unwrap();
    assert_eq!(read(&path), "one\ntwo\nthree\n");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

#[test]
fn follows_a_renamed_and_a_removed_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
    let mut sink = FileSink::open(&path).unwrap();
    sink.write(&mut batch(&["one"])).unwrap();

    fs::rename(&path, &rotated).unwrap();
    sink.write(&mut batch(&["two"])).unwrap();
    assert_eq!(
        (read(&rotated), read(&path)),
        ("one\n".into(), "two\n".into())
    );

    fs::remove_file(&path).unwrap();
    sink.write(&mut batch(&["three"])).unwrap();
    assert_eq!(read(&path), "three\n");

    // Another file under the same name, as logrotate's `create` makes it.
    fs::rename(&path, &rotated).unwrap();
    fs::write(&path, "").unwrap();
    sink.write(&mut batch(&["four"])).unwrap();
    assert_eq!(read(&path), "four\n");

    // `copytruncate`: the same file, shorter.
    fs::write(&path, "").unwrap();
    sink.write(&mut batch(&["five"])).unwrap();
    assert_eq!(read(&path), "five\n");
}

#[test]
fn a_line_torn_by_a_crash_spoils_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, "whole\nhal").unwrap();
    let mut sink = FileSink::open(&path).unwrap();
    sink.write(&mut batch(&["next"])).unwrap();
    sink.write(&mut batch(&["last"])).unwrap();
    assert_eq!(read(&path), "whole\nhal\nnext\nlast\n");
}

#[test]
fn a_file_that_was_emptied_begins_with_no_empty_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, "whole\nhal").unwrap();
    let mut sink = FileSink::open(&path).unwrap();
    fs::write(&path, "").unwrap();
    sink.write(&mut batch(&["next"])).unwrap();
    assert_eq!(read(&path), "next\n");
}

#[test]
fn open_errors_name_path_and_cause() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();

    let (reason, text) = open_error(dir.path());
    assert_eq!(reason, Reason::Unavailable);
    assert!(text.contains(dir.path().to_str().unwrap()), "{text}");
    assert!(
        text.contains("s a directory (os error 21); give the name of a file"),
        "{text}"
    );

    let (reason, text) = open_error(file.join("log"));
    assert_eq!(reason, Reason::Unavailable);
    assert!(
        text.contains("/file/log: Not a directory (os error 20); a part of"),
        "{text}"
    );

    let (reason, text) = open_error(dir.path().join("missing/log"));
    assert_eq!(reason, Reason::Unavailable);
    assert!(
        text.contains("/missing/log: No such file or directory (os error 2); create"),
        "{text}"
    );
}

/// A file that the kernel lets nobody write, the superuser neither.
#[test]
fn permission_denied_is_its_own_reason() {
    let (reason, text) = open_error("/sys/kernel/uevent_seqnum");
    assert_eq!(reason, Reason::PermissionDenied);
    assert!(
        text.starts_with("cannot open log file /sys/kernel/uevent_seqnum: "),
        "{text}"
    );
}

#[test]
fn a_full_disk_fails_records_by_reason_and_recovers() {
    let worker = Worker::spawn(
        FileSink::open("/dev/full").unwrap(),
        8,
        Retry {
            attempts: 3,
            pause: Duration::from_millis(1),
        },
    )
    .unwrap();
    let producer = worker.handle();
    producer.try_send(batch(&["one", "two"])).unwrap();
    producer.try_send(batch(&["three"])).unwrap();
    worker.flush(SOON).unwrap();

    let counts = worker.counters().read();
    assert_eq!(
        (counts.offered, counts.written, counts.pending()),
        (3, 0, 0)
    );
    assert_eq!(counts.failed(Reason::StorageFull), 3);
    assert_eq!(counts.retries, 2, "only the first batch is repeated");
    let error = worker.error().unwrap();
    assert!(matches!(*error, SinkError::Write { .. }));
    assert_eq!(
        error.to_string(),
        "cannot write log file /dev/full: No space left on device (os error 28); \
         free space on its file system"
    );
    worker.close(SOON).unwrap();
}

#[test]
fn large_batches_are_written_whole_and_take_no_more_of_the_disk_than_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut sink = FileSink::open(&path).unwrap();
    let mut expected = String::new();
    for round in 0..4 {
        let lines: Vec<String> = (0..7_001)
            .map(|line| format!("{round} {line:0>99}"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let mut batch = batch(&lines);
        assert!(batch.bytes().len() > 512 * 1024);
        expected.push_str(str::from_utf8(batch.bytes()).unwrap());
        sink.write(&mut batch).unwrap();
        assert_eq!(batch.rest_records(), 0);
    }
    assert!(read(&path) == expected, "every line once, in order");
    let metadata = fs::metadata(&path).unwrap();
    let taken = metadata.blocks() * 512;
    assert!(
        taken <= metadata.len() + 64 * 1024,
        "{taken} bytes of the disk for {}",
        metadata.len()
    );
}

#[test]
fn a_directory_that_comes_back_ends_the_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (logs, gone) = (dir.path().join("logs"), dir.path().join("gone"));
    fs::create_dir(&logs).unwrap();
    let path = logs.join("log");
    let retry = Retry {
        attempts: 1,
        pause: Duration::ZERO,
    };
    let worker = Worker::spawn(FileSink::open(&path).unwrap(), 8, retry).unwrap();
    let producer = worker.handle();

    fs::rename(&logs, &gone).unwrap();
    producer.try_send(batch(&["one"])).unwrap();
    worker.flush(SOON).unwrap();
    assert_eq!(worker.error().unwrap().reason(), Reason::Unavailable);

    fs::create_dir(&logs).unwrap();
    producer.try_send(batch(&["two"])).unwrap();
    worker.flush(SOON).unwrap();
    assert!(worker.error().is_none());

    let counters = worker.counters();
    worker.close(SOON).unwrap();
    let counts = counters.read();
    assert_eq!(
        (
            counts.offered,
            counts.written,
            counts.failed(Reason::Unavailable)
        ),
        (2, 1, 1)
    );
    assert_eq!(
        (read(&gone.join("log")), read(&path)),
        (String::new(), "two\n".into())
    );
}

#[test]
fn rotation_under_load_loses_and_repeats_nothing() {
    const BATCHES: usize = 2_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let worker = Worker::spawn(FileSink::open(&path).unwrap(), 16, Retry::default()).unwrap();
    let producer = worker.handle();
    let done = AtomicBool::new(false);

    thread::scope(|scope| {
        let rotate = scope.spawn(|| {
            let mut rotated = 0;
            while !done.load(Ordering::Acquire) {
                let to = dir.path().join(format!("log.{rotated}"));
                if fs::rename(&path, to).is_ok() {
                    rotated += 1;
                }
                thread::yield_now();
            }
            rotated
        });
        for number in 0..BATCHES {
            let mut next = producer.batch();
            for line in 0..3 {
                next.push(|bytes| bytes.extend_from_slice(format!("{number}.{line}").as_bytes()));
            }
            producer.try_send(next).unwrap();
            if number % 16 == 15 {
                worker.flush(SOON).unwrap();
            }
        }
        done.store(true, Ordering::Release);
        assert!(rotate.join().unwrap() > 0);
    });
    let counters = worker.counters();
    worker.close(SOON).unwrap();

    let mut found = Vec::new();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let text = read(&entry.unwrap().path());
        assert!(text.is_empty() || text.ends_with('\n'));
        found.extend(text.lines().map(str::to_owned));
    }
    found.sort_unstable();
    let mut expected: Vec<_> = (0..BATCHES)
        .flat_map(|number| (0..3).map(move |line| format!("{number}.{line}")))
        .collect();
    expected.sort_unstable();
    assert!(
        found == expected,
        "{} of {} lines",
        found.len(),
        expected.len()
    );
    let counts = counters.read();
    assert_eq!(
        (counts.offered, counts.written, counts.failed_total()),
        (6_000, 6_000, 0)
    );
}

/// Runs `test` in a process that may write one block to a file: then the system writes a part and
/// refuses the rest, as a disk does that fills up. The limit is the process's, so the test binary
/// runs itself again, for the test of this name.
fn with_small_files(name: &str, test: impl FnOnce(&Path)) {
    const DIR: &str = "NETLOG_SINK_TEST_DIR";
    if let Some(dir) = std::env::var_os(DIR) {
        return test(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = std::env::current_exe().unwrap();
    // A block has 512 or 1024 bytes. Without the signal, the write returns the error.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 1; exec "$0" --exact "$1""#])
        .args([binary.as_os_str(), name.as_ref()])
        .env(DIR, dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
fn a_partial_write_tears_no_line_silently() {
    with_small_files("a_partial_write_tears_no_line_silently", |dir| {
        let (path, full) = (dir.join("log"), dir.join("log.full"));
        let retry = Retry {
            attempts: 2,
            pause: Duration::ZERO,
        };
        let worker = Worker::spawn(FileSink::open(&path).unwrap(), 8, retry).unwrap();
        let producer = worker.handle();
        let lines: Vec<String> = (0..20).map(|number| format!("{number:0>99}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        producer.try_send(batch(&lines)).unwrap();
        worker.flush(SOON).unwrap();

        let counters = worker.counters();
        let counts = counters.read();
        let limit = fs::metadata(&path).unwrap().len();
        assert!(limit == 512 || limit == 1024, "{limit}");
        assert_eq!(counts.written, limit / 100);
        assert_eq!(counts.written_bytes, limit / 100 * 100);
        assert_eq!(counts.failed(Reason::StorageFull), 20 - limit / 100);
        assert_eq!(counts.torn, 1);

        // Room again: the torn line is ended, and what follows is whole.
        let keep = fs::read(&path).unwrap();
        fs::write(&path, &keep[250..]).unwrap();
        producer.try_send(batch(&["next"])).unwrap();
        worker.flush(SOON).unwrap();
        let text = read(&path);
        assert!(text.ends_with("\nnext\n"), "{text}");
        assert!(
            !text.ends_with("9\nnext\n"),
            "the line before is the torn one: {text}"
        );

        // And in a new file nothing is left of it.
        fs::rename(&path, &full).unwrap();
        producer.try_send(batch(&["last"])).unwrap();
        worker.close(SOON).unwrap();
        assert_eq!(read(&path), "last\n");
        let counts = counters.read();
        assert_eq!((counts.offered, counts.pending()), (22, 0));
        assert_eq!(counts.offered, counts.written + counts.failed_total());
    });
}

/// A record that lacks only its newline is written, not torn and not written twice.
#[test]
fn a_partial_write_just_before_a_newline_loses_nothing() {
    with_small_files(
        "a_partial_write_just_before_a_newline_loses_nothing",
        |dir| {
            let path = dir.join("log");
            let retry = Retry {
                attempts: 1,
                pause: Duration::ZERO,
            };
            let worker = Worker::spawn(FileSink::open(&path).unwrap(), 8, retry).unwrap();
            let producer = worker.handle();
            // Newlines at 512 and at 1024.
            let (first, second) = ("a".repeat(512), "b".repeat(511));
            producer.try_send(batch(&[&first, &second, "c"])).unwrap();
            worker.flush(SOON).unwrap();
            let written = worker.counters().read().written;
            assert_eq!(fs::metadata(&path).unwrap().len(), written * 512);

            // Room again, with the end of the file as it was.
            let text = read(&path);
            fs::write(&path, &text[text.len() - 100..]).unwrap();
            producer.try_send(batch(&["next"])).unwrap();
            let counters = worker.counters();
            worker.close(SOON).unwrap();
            assert_eq!(
                read(&path),
                format!("{}\nnext\n", &text[text.len() - 100..])
            );
            let counts = counters.read();
            assert_eq!((counts.torn, counts.written), (0, written + 1));
            assert_eq!(counts.failed(Reason::StorageFull), 3 - written);
        },
    );
}

/// Killed in the middle of writing: every line but the last is whole and in order, and the next
/// run goes on with a line of its own.
#[test]
fn a_kill_tears_at_most_the_last_line() {
    const NAME: &str = "a_kill_tears_at_most_the_last_line";
    const PATH: &str = "NETLOG_SINK_TEST_PATH";
    let line = |number: u32| format!("{number:0>140}");

    if let Some(path) = std::env::var_os(PATH) {
        let mut sink = FileSink::open(path).unwrap();
        let (mut batch, mut number) = (Batch::default(), 0);
        loop {
            batch.clear();
            for _ in 0..500 {
                batch.push(|bytes| bytes.extend_from_slice(line(number).as_bytes()));
                number += 1;
            }
            sink.write(&mut batch).unwrap();
        }
    }

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .env(PATH, &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while fs::metadata(&path).map_or(0, |metadata| metadata.len()) < 1 << 20 {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let killed = read(&path);
    FileSink::open(&path)
        .unwrap()
        .write(&mut batch(&["after"]))
        .unwrap();
    let text = read(&path);
    let (before, after) = text.split_at(killed.len());
    assert_eq!(before, killed);
    assert_eq!(after.trim_start_matches('\n'), "after\n");

    let lines: Vec<&str> = text.lines().collect();
    let (after, lines) = lines.split_last().unwrap();
    let (last, whole) = lines.split_last().unwrap();
    assert_eq!(*after, "after");
    for (number, found) in (0..).zip(whole) {
        assert_eq!(*found, line(number));
    }
    assert!(
        line(u32::try_from(whole.len()).unwrap()).starts_with(last),
        "{last}"
    );
}
