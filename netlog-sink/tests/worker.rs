//! The worker against a sink that does as it is told.

#![expect(
    clippy::unwrap_used,
    reason = "also in the helpers, a failure is a failed test"
)]

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netlog_sink::{
    Accounts, Batch, Counts, Fate, Reason, Retry, Settled, Sink, SinkError, Worker, WorkerError,
};
use proptest::prelude::*;

const SOON: Duration = Duration::from_secs(30);

/// What a sink is told to do with one write.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Deliver everything.
    Write,
    /// Deliver so many bytes, then fail.
    Fail(usize),
    /// Deliver so many whole lines, then fail the next.
    Refuse(usize),
    Panic,
}

/// Takes an order for each write, and waits for it.
struct Puppet {
    orders: Receiver<Order>,
    delivered: Arc<Mutex<Vec<u8>>>,
    writes: Sender<()>,
    torn: bool,
}

struct Strings {
    orders: Sender<Order>,
    delivered: Arc<Mutex<Vec<u8>>>,
    /// One for each write that has begun.
    writes: Receiver<()>,
}

fn puppet() -> (Puppet, Strings) {
    let (orders, ordered) = mpsc::channel();
    let (began, writes) = mpsc::channel();
    let delivered = Arc::default();
    let puppet = Puppet {
        orders: ordered,
        delivered: Arc::clone(&delivered),
        writes: began,
        torn: false,
    };
    (
        puppet,
        Strings {
            orders,
            delivered,
            writes,
        },
    )
}

impl Strings {
    fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
    }

    fn delivered(&self) -> String {
        String::from_utf8(self.delivered.lock().unwrap().clone()).unwrap()
    }
}

impl Puppet {
    fn deliver(&mut self, batch: &mut Batch, bytes: usize) {
        let mut delivered = self.delivered.lock().unwrap();
        if self.torn {
            delivered.push(b'\n');
        }
        let bytes = bytes.min(batch.rest().len());
        delivered.extend_from_slice(&batch.rest()[..bytes]);
        batch.advance(bytes);
        self.torn = batch.is_torn();
        if self.torn && batch.rest().starts_with(b"\n") {
            batch.advance(1);
        }
    }
}

impl Sink for Puppet {
    fn name(&self) -> &'static str {
        "puppet"
    }

    fn write(&mut self, batch: &mut Batch) -> Result<(), SinkError> {
        let _ = self.writes.send(());
        // When nobody gives orders any more, it works.
        match self.orders.recv().unwrap_or(Order::Write) {
            Order::Write => {
                self.deliver(batch, usize::MAX);
                Ok(())
            }
            Order::Fail(bytes) => {
                self.deliver(batch, bytes);
                Err(SinkError::Write {
                    path: "puppet".into(),
                    source: ErrorKind::StorageFull.into(),
                })
            }
            Order::Refuse(lines) => {
                let bytes = batch
                    .rest()
                    .split_inclusive(|&b| b == b'\n')
                    .take(lines)
                    .map(<[u8]>::len)
                    .sum();
                self.deliver(batch, bytes);
                if batch.rest().is_empty() {
                    return Ok(());
                }
                Err(SinkError::TooLong {
                    path: "puppet".into(),
                    len: 1,
                })
            }
            Order::Panic => panic!("as told"),
        }
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        self.delivered
            .lock()
            .unwrap()
            .extend_from_slice(b"-- reopened --\n");
        Ok(())
    }
}

fn batch(lines: &[&str]) -> Batch {
    let mut batch = Batch::default();
    for line in lines {
        batch.push(|bytes| bytes.extend_from_slice(line.as_bytes()));
    }
    batch
}

fn retry(attempts: u32) -> Retry {
    Retry {
        attempts,
        pause: Duration::ZERO,
    }
}

fn balance(counts: Counts) -> [u64; 4] {
    [
        counts.offered,
        counts.written,
        counts.failed_total(),
        counts.pending(),
    ]
}

#[test]
fn a_full_queue_refuses_and_counts() {
    let (sink, strings) = puppet();
    let worker = Worker::spawn(sink, 2, retry(1)).unwrap();
    let producer = worker.handle();
    producer.try_send(batch(&["being written"])).unwrap();
    strings.writes.recv().unwrap();
    producer.try_send(batch(&["queued"])).unwrap();
    producer.try_send(batch(&["queued"])).unwrap();

    let refused = producer.try_send(batch(&["too", "many"])).unwrap_err();
    assert_eq!(refused.bytes(), b"too\nmany\n");
    let counters = worker.counters();
    assert_eq!(counters.read().failed(Reason::QueueFull), 2);
    assert_eq!(balance(counters.read()), [5, 0, 2, 3]);

    drop(strings.orders);
    worker.close(SOON).unwrap();
    assert_eq!(balance(counters.read()), [5, 3, 2, 0]);
}

#[test]
fn a_failure_that_passes_is_repeated_from_where_it_was() {
    let (sink, strings) = puppet();
    let worker = Worker::spawn(sink, 2, retry(3)).unwrap();
    worker
        .handle()
        .try_send(batch(&["one", "two", "three"]))
        .unwrap();
    strings.order(Order::Fail(6));
    strings.order(Order::Fail(0));
    strings.order(Order::Write);
    worker.flush(SOON).unwrap();

    // The torn line is there twice: its part, and whole.
    assert_eq!(strings.delivered(), "one\ntw\ntwo\nthree\n");
    let counts = worker.counters().read();
    assert_eq!(balance(counts), [3, 3, 0, 0]);
    assert_eq!(
        (counts.written_bytes, counts.torn, counts.retries),
        (14, 1, 2)
    );
    assert!(worker.error().is_none());
    drop(strings.orders);
    worker.close(SOON).unwrap();
}

#[test]
fn attempts_are_bounded_and_only_one_while_it_goes_on_failing() {
    let (sink, strings) = puppet();
    let worker = Worker::spawn(sink, 4, retry(2)).unwrap();
    let producer = worker.handle();
    for order in [
        Order::Fail(4),
        Order::Fail(0),
        Order::Fail(0),
        Order::Write,
        Order::Fail(0),
        Order::Write,
    ] {
        strings.order(order);
    }
    producer.try_send(batch(&["one", "two"])).unwrap();
    producer.try_send(batch(&["three"])).unwrap();
    producer.try_send(batch(&["four"])).unwrap();
    producer.try_send(batch(&["five"])).unwrap();
    worker.flush(SOON).unwrap();

    assert_eq!(strings.delivered(), "one\nfour\nfive\n");
    let counts = worker.counters().read();
    assert_eq!(balance(counts), [5, 3, 2, 0]);
    assert_eq!((counts.failed(Reason::StorageFull), counts.retries), (2, 2));
    drop(strings.orders);
    worker.close(SOON).unwrap();
}

#[test]
fn a_record_that_cannot_be_delivered_is_passed_over() {
    let (sink, strings) = puppet();
    let worker = Worker::spawn(sink, 4, retry(1)).unwrap();
    strings.order(Order::Refuse(1));
    strings.order(Order::Refuse(0));
    strings.order(Order::Refuse(1));
    worker
        .handle()
        .try_send(batch(&["one", "two", "three", "four"]))
        .unwrap();
    worker.flush(SOON).unwrap();
    assert_eq!(strings.delivered(), "one\nfour\n");
    let counts = worker.counters().read();
    assert_eq!(balance(counts), [4, 2, 2, 0]);
    assert_eq!(counts.failed(Reason::TooLong), 2);
    drop(strings.orders);
    worker.close(SOON).unwrap();
}

#[test]
fn closing_drains_the_queue_and_refuses_the_rest() {
    let (sink, strings) = puppet();
    let worker = Worker::spawn(sink, 100, retry(1)).unwrap();
    let (producer, counters) = (worker.handle(), worker.counters());
    for _ in 0..100 {
        producer.try_send(batch(&["line"])).unwrap();
    }
    drop(strings.orders);
    worker.close(SOON).unwrap();
    assert_eq!(balance(counters.read()), [100, 100, 0, 0]);

    assert!(producer.try_send(batch(&["late"])).is_err());
    assert_eq!(counters.read().failed(Reason::Closed), 1);
    assert_eq!(balance(counters.read()), [101, 100, 1, 0]);
}

#[test]
fn closing_ends_at_its_deadline_and_the_rest_is_counted() {
    let (sink, strings) = puppet();
    let worker = Worker::spawn(sink, 4, retry(1)).unwrap();
    let (producer, counters) = (worker.handle(), worker.counters());
    producer.try_send(batch(&["hangs"])).unwrap();
    producer.try_send(batch(&["queued", "queued"])).unwrap();
    strings.writes.recv().unwrap();

    let error = worker.close(Duration::from_millis(1)).unwrap_err();
    assert_eq!(
        error,
        WorkerError::Deadline {
            sink: "puppet",
            pending: 3
        }
    );
    assert_eq!(
        error.to_string(),
        "the puppet sink did not finish in time: 3 records are not written"
    );

    // It comes back after all: what it wrote is written, and the rest has failed.
    strings.order(Order::Write);
    while strings.writes.recv().is_ok() {}
    drop(producer);
    assert_eq!(counters.read().written, 1);
    while counters.read().pending() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(balance(counters.read()), [3, 1, 2, 0]);
    assert_eq!(counters.read().failed(Reason::Closed), 2);
}

#[test]
fn a_long_pause_does_not_outlive_the_deadline() {
    let (sink, strings) = puppet();
    let worker = Worker::spawn(
        sink,
        4,
        Retry {
            attempts: 9,
            pause: Duration::from_secs(3600),
        },
    )
    .unwrap();
    let counters = worker.counters();
    strings.order(Order::Fail(0));
    worker.handle().try_send(batch(&["line"])).unwrap();
    strings.writes.recv().unwrap();
    assert!(worker.close(Duration::from_millis(1)).is_err());
    // The sink is dropped with its thread.
    assert!(strings.writes.recv().is_err());
    assert_eq!(balance(counters.read()), [1, 0, 1, 0]);
    assert_eq!(counters.read().failed(Reason::StorageFull), 1);
}

#[test]
fn a_panic_of_the_sink_is_reported_and_its_records_are_counted() {
    let (sink, strings) = puppet();
    let worker = Worker::spawn(sink, 4, retry(1)).unwrap();
    let (producer, counters) = (worker.handle(), worker.counters());
    producer.try_send(batch(&["one", "two"])).unwrap();
    producer.try_send(batch(&["three"])).unwrap();
    strings.writes.recv().unwrap();
    strings.order(Order::Panic);
    assert_eq!(
        worker.flush(SOON),
        Err(WorkerError::Panicked { sink: "puppet" })
    );
    assert!(producer.try_send(batch(&["four"])).is_err());
    assert_eq!(
        worker.close(SOON),
        Err(WorkerError::Panicked { sink: "puppet" })
    );
    assert_eq!(counters.read().failed(Reason::Closed), 4);
    assert_eq!(balance(counters.read()), [4, 0, 4, 0]);
}

#[test]
fn reopening_happens_before_the_next_batch_or_at_once() {
    let (sink, strings) = puppet();
    drop(strings.orders);
    let worker = Worker::spawn(sink, 4, retry(1)).unwrap();
    let producer = worker.handle();
    producer.try_send(batch(&["one"])).unwrap();
    worker.flush(SOON).unwrap();
    worker.reopen();
    worker.flush(SOON).unwrap();
    let delivered = strings.delivered.lock().unwrap().clone();
    assert_eq!(delivered, b"one\n-- reopened --\n");
    producer.try_send(batch(&["two"])).unwrap();
    worker.close(SOON).unwrap();
    let delivered = strings.delivered.lock().unwrap().clone();
    assert_eq!(delivered, b"one\n-- reopened --\ntwo\n");
}

#[test]
fn memory_is_used_again() {
    let (sink, strings) = puppet();
    drop(strings.orders);
    let worker = Worker::spawn(sink, 2, retry(1)).unwrap();
    let producer = worker.handle();
    let mut batch = Batch::with_capacity(4096);
    batch.push(|bytes| bytes.extend_from_slice(b"line"));
    let memory = batch.bytes().as_ptr();
    for _ in 0..10 {
        producer.try_send(batch).unwrap();
        worker.flush(SOON).unwrap();
        batch = producer.batch();
        assert!(batch.is_empty());
        batch.push(|bytes| bytes.extend_from_slice(b"line"));
        assert_eq!(batch.bytes().as_ptr(), memory);
    }
    worker.close(SOON).unwrap();
}

#[test]
fn a_dropped_worker_writes_what_its_handles_sent() {
    let (sink, strings) = puppet();
    let worker = Worker::spawn(sink, 8, retry(1)).unwrap();
    let (producer, counters) = (worker.handle(), worker.counters());
    drop(worker);
    producer.try_send(batch(&["one"])).unwrap();
    producer.try_send(batch(&["two"])).unwrap();
    drop(producer);
    drop(strings.orders);
    while strings.writes.recv().is_ok() {}
    assert_eq!(balance(counters.read()), [2, 2, 0, 0]);
}

fn any_order() -> impl Strategy<Value = Order> {
    prop_oneof![
        4 => Just(Order::Write),
        3 => (0_usize..40).prop_map(Order::Fail),
        2 => (0_usize..6).prop_map(Order::Refuse),
    ]
}

/// What was told of each account: records written and failed.
#[derive(Debug, Default)]
struct Book(Mutex<BTreeMap<u64, (u64, u64)>>);

impl Accounts for Book {
    fn settle(&self, fate: Fate, settled: Settled<'_>) {
        for (account, records) in settled {
            let mut book = self.0.lock().unwrap();
            let (written, failed) = book.entry(account).or_default();
            match fate {
                Fate::Written => *written += records,
                Fate::Failed(_) => *failed += records,
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the sink does: each record offered is written or has failed, exactly what counts
    /// as written is there, whole and in order, and each torn part is counted.
    #[test]
    fn offered_is_written_plus_failed(
        orders in prop::collection::vec(any_order(), 0..40),
        sizes in prop::collection::vec(1_usize..8, 1..20),
        attempts in 1_u32..4,
        capacity in 1_usize..6,
    ) {
        let (sink, strings) = puppet();
        for order in orders {
            strings.order(order);
        }
        drop(strings.orders);
        let book = Arc::new(Book::default());
        let accounts = Arc::clone(&book) as Arc<dyn Accounts>;
        let worker = Worker::spawn_for(sink, capacity, retry(attempts), accounts).unwrap();
        let (producer, counters) = (worker.handle(), worker.counters());
        let (mut offered, mut sent) = (0_u64, 0);
        for size in sizes {
            let mut batch = producer.batch();
            for _ in 0..size {
                let record = format!("record {offered:06}");
                batch.push_for(offered / 3, |bytes| bytes.extend_from_slice(record.as_bytes()));
                offered += 1;
            }
            sent += usize::from(producer.try_send(batch).is_ok());
        }
        worker.close(SOON).unwrap();

        let counts = counters.read();
        prop_assert_eq!(counts.offered, offered);
        prop_assert_eq!(counts.pending(), 0);
        prop_assert_eq!(counts.written + counts.failed_total(), offered);
        prop_assert!(sent > 0);

        let delivered = String::from_utf8(strings.delivered.lock().unwrap().clone()).unwrap();
        let (whole, parts): (Vec<&str>, Vec<&str>) = delivered
            .lines()
            .filter(|line| !line.is_empty())
            .partition(|line| line.len() == "record 000000".len());
        prop_assert_eq!(whole.len() as u64, counts.written);
        prop_assert_eq!(whole.len() as u64 * 14, counts.written_bytes);
        prop_assert_eq!(parts.len() as u64, counts.torn);
        prop_assert!(whole.is_sorted());

        let mut written = BTreeMap::<u64, u64>::new();
        for line in whole {
            let number: u64 = line["record ".len()..].parse().unwrap();
            *written.entry(number / 3).or_default() += 1;
        }
        let book = book.0.lock().unwrap();
        let failed: u64 = book.values().map(|(_, failed)| failed).sum();
        prop_assert_eq!(failed, counts.failed_total());
        for (account, (told, failed)) in &*book {
            prop_assert_eq!(*told, written.remove(account).unwrap_or(0));
            prop_assert_eq!(told + failed, (offered - account * 3).min(3));
        }
        prop_assert!(written.is_empty());
    }
}
