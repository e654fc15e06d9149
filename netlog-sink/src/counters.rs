//! What became of the records offered to a sink.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Reason;

/// Counts of a running [`Worker`](crate::Worker), kept by it and its handles, readable from
/// anywhere.
#[derive(Debug, Default)]
pub struct Counters {
    offered: AtomicU64,
    written: AtomicU64,
    written_bytes: AtomicU64,
    failed: [AtomicU64; Reason::ALL.len()],
    torn: AtomicU64,
    retries: AtomicU64,
}

/// A reading of [`Counters`], since the sink was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records given to the sink, whether or not its queue had room.
    pub offered: u64,
    /// Records delivered.
    pub written: u64,
    /// Bytes delivered, in whole lines.
    pub written_bytes: u64,
    /// Parts of lines that failed writes left behind. Their records were delivered whole by a
    /// later attempt, or have failed.
    pub torn: u64,
    /// Attempts after a failure that may pass.
    pub retries: u64,
    failed: [u64; Reason::ALL.len()],
}

impl Counters {
    /// The counts as they stand. They are read one after the other, and the records offered last:
    /// those still on their way are never fewer than none.
    pub fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        Counts {
            written: read(&self.written),
            written_bytes: read(&self.written_bytes),
            torn: read(&self.torn),
            retries: read(&self.retries),
            failed: self.failed.each_ref().map(read),
            offered: read(&self.offered),
        }
    }

    pub(crate) fn offer(&self, records: u64) {
        self.offered.fetch_add(records, Ordering::Release);
    }

    pub(crate) fn write(&self, records: u64, bytes: usize) {
        self.written.fetch_add(records, Ordering::Release);
        self.written_bytes
            .fetch_add(bytes as u64, Ordering::Release);
    }

    pub(crate) fn fail(&self, reason: Reason, records: u64) {
        self.failed[reason as usize].fetch_add(records, Ordering::Release);
    }

    pub(crate) fn tear(&self) {
        self.torn.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Release);
    }
}

impl Counts {
    /// Records not delivered for `reason`.
    pub fn failed(&self, reason: Reason) -> u64 {
        self.failed[reason as usize]
    }

    /// Records not delivered for any reason.
    pub fn failed_total(&self) -> u64 {
        self.failed.iter().sum()
    }

    /// Records whose fate is not known yet: queued or being written.
    pub fn pending(&self) -> u64 {
        self.offered
            .saturating_sub(self.written + self.failed_total())
    }
}
