//! What the store has answered survives `kill -9`.
//!
//! The test starts itself again as a writer, which changes log objects without end and says so
//! on its standard output after each answer. It is killed at random moments, many times; each
//! time, everything that it was told is done must be there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use netlog_agent::store::{Store, StoreError};
use netlog_core::log::LogObject;
use uuid::Uuid;

const KILLS: usize = 200;
/// Tells the test binary to be the writer, on this database.
const WRITER: &str = "NETLOG_TEST_STORE_WRITER";

fn sample(id: Uuid) -> LogObject {
    LogObject {
        description: "x".repeat(200),
        ..LogObject::new(id, "demo")
    }
}

/// Creates, changes and deletes log objects, and takes slots, until killed. Each line says what
/// is about to be done (`?`) or was answered (`!`).
fn write(path: &Path) {
    let store = Store::open(path).unwrap();
    let mut output = std::io::stdout().lock();
    let mut say = |what: &str, id: Uuid, value: u64| {
        writeln!(output, "{what} {id} {value}").unwrap();
        output.flush().unwrap();
    };
    loop {
        let id = Uuid::new_v4();
        say("?log", id, 0);
        store.create_logs(&[sample(id)]).unwrap();
        say("!log", id, 0);
        for revision in 1..4 {
            say("?log", id, revision);
            store
                .update_log::<StoreError>(id, |log| {
                    log.revision_number = revision;
                    Ok(true)
                })
                .unwrap();
            say("!log", id, revision);
        }
        if id.as_u128().is_multiple_of(2) {
            say("?delete", id, 0);
            store.delete_log::<StoreError>(id, |_| Ok(())).unwrap();
            say("!delete", id, 0);
        }
        let slots = store.slots(&[id]).unwrap();
        say("!slot", id, slots[0].into());
    }
}

#[test]
fn writer() {
    if let Some(path) = std::env::var_os(WRITER) {
        write(Path::new(&path));
    }
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture", "--quiet"])
        .env(WRITER, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What must be there, and what may be there as well because it was under way.
#[derive(Default)]
struct Expected {
    /// Revisions; `None` when deleted.
    logs: BTreeMap<Uuid, Option<u64>>,
    slots: BTreeMap<Uuid, u32>,
    under_way: Option<(Uuid, Option<u64>)>,
}

impl Expected {
    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (Some(what), Some(id), Some(value)) = (words.next(), words.next(), words.next()) else {
            // What the test harness prints.
            return;
        };
        let (Ok(id), Ok(value)) = (id.parse::<Uuid>(), value.parse::<u64>()) else {
            return;
        };
        match what {
            "?log" => self.under_way = Some((id, Some(value))),
            "?delete" => self.under_way = Some((id, None)),
            "!log" => {
                self.logs.insert(id, Some(value));
                self.under_way = None;
            }
            "!delete" => {
                self.logs.insert(id, None);
                self.under_way = None;
            }
            "!slot" => {
                self.slots.insert(id, value.try_into().unwrap());
            }
            other => panic!("{other}"),
        }
    }

    /// Compares with the store, and takes over what was under way and got through.
    fn check(&mut self, store: &Store) {
        let mut found: BTreeMap<Uuid, u64> = store
            .logs()
            .unwrap()
            .into_iter()
            .map(|log| (log.id, log.revision_number))
            .collect();
        if let Some((id, revision)) = self.under_way.take() {
            let there = found.get(&id).copied();
            if there == revision {
                self.logs.insert(id, revision);
            }
        }
        for (id, revision) in &self.logs {
            assert_eq!(found.remove(id), *revision, "log object {id}");
        }
        assert!(found.is_empty(), "nobody asked for {found:?}");
        let ports: Vec<Uuid> = self.slots.keys().copied().collect();
        let slots: Vec<u32> = self.slots.values().copied().collect();
        assert_eq!(store.slots(&ports).unwrap(), slots);
    }
}

#[test]
fn what_was_answered_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("netlog.db");
    let mut expected = Expected::default();
    let mut answered = 0;
    for _ in 0..KILLS {
        let mut child = start(&path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // A random moment: some lines later, in the midst of whatever the writer does then.
        let patience = 1 + Uuid::new_v4().as_bytes()[0] % 24;
        for line in lines.by_ref().take(patience.into()) {
            expected.hear(&line.unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts, up to the line that it did not finish.
        for line in lines.map_while(Result::ok) {
            expected.hear(&line);
        }
        answered = expected.logs.len();
        expected.check(&Store::open(&path).unwrap());
    }
    assert!(
        answered > KILLS / 4,
        "the writer got only {answered} answers"
    );
}
