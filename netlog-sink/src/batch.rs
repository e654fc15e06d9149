//! Finished lines on their way to a sink.

use netlog_packet::room::Buffer;

/// Records, one a line, each ended by `'\n'`, with a mark of how far they have been delivered.
///
/// The pipeline fills a batch with [`push`](Self::push); a [`Sink`](crate::Sink) takes
/// [`rest`](Self::rest) or [`line`](Self::line) and reports with [`advance`](Self::advance).
/// [`clear`](Self::clear) keeps the memory, so that a batch that is used again allocates nothing.
///
/// A record can belong to an account of its producer's: a number that [`Accounts`](crate::Accounts)
/// hear of when its fate is known. Records of one account that follow each other share one entry.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Buffer,
    records: u64,
    runs: Vec<Run>,
    /// The run that the next record to settle is in, and how many records of it are settled.
    settled: (usize, u64),
    /// Bytes delivered.
    offset: usize,
    /// Bytes delivered in whole lines; at most `offset`.
    whole: usize,
    /// Records of which the end is not delivered.
    rest: u64,
}

/// Records of one account that follow each other.
#[derive(Clone, Copy, Debug)]
struct Run {
    account: u64,
    records: u64,
}

impl Batch {
    /// An empty batch with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Buffer::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Adds one record of account 0; [`push_for`](Self::push_for) says how.
    pub fn push(&mut self, write: impl FnOnce(&mut Buffer)) {
        self.push_for(0, write);
    }

    /// Adds one record of an account: what `write` appends, ended by a newline if it does not end
    /// in one.
    ///
    /// `write` must not append a newline in any other place, and must leave what the buffer
    /// already holds.
    pub fn push_for(&mut self, account: u64, write: impl FnOnce(&mut Buffer)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        if self.bytes.as_slice()[start..].last() != Some(&b'\n') {
            self.bytes.extend_from_slice(b"\n");
        }
        debug_assert_eq!(
            newlines(&self.bytes.as_slice()[start..]),
            1,
            "a record is one line"
        );
        self.records += 1;
        self.rest += 1;
        match self.runs.last_mut() {
            Some(run) if run.account == account => run.records += 1,
            _ => self.runs.push(Run {
                account,
                records: 1,
            }),
        }
    }

    /// All lines, delivered or not.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// How many records it holds, delivered or not.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Empties it, and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.settled = (0, 0);
        (self.records, self.offset, self.whole, self.rest) = (0, 0, 0, 0);
    }

    /// The bytes not yet delivered.
    pub fn rest(&self) -> &[u8] {
        self.bytes().get(self.offset..).unwrap_or_default()
    }

    /// How many records are not yet delivered to their end.
    pub fn rest_records(&self) -> u64 {
        self.rest
    }

    /// The first line not yet delivered, with its newline.
    pub fn line(&self) -> Option<&[u8]> {
        self.rest().split_inclusive(|&byte| byte == b'\n').next()
    }

    /// Notes that the first `bytes` bytes of [`rest`](Self::rest) are delivered.
    pub fn advance(&mut self, bytes: usize) {
        if bytes >= self.rest().len() {
            // All of it, and every record ends in a newline.
            (self.offset, self.whole, self.rest) = (self.bytes.len(), self.bytes.len(), 0);
            return;
        }
        let delivered = self.rest().get(..bytes).unwrap_or_default();
        let (len, lines) = (delivered.len(), newlines(delivered));
        let tail = delivered
            .iter()
            .rev()
            .take_while(|&&byte| byte != b'\n')
            .count();
        self.offset += len;
        if lines > 0 {
            self.rest = self.rest.saturating_sub(lines);
            self.whole = self.offset - tail;
        }
    }

    /// Whether delivery stands in the middle of a line.
    pub fn is_torn(&self) -> bool {
        self.offset != self.whole
    }

    /// The accounts of the next so many records whose fate is known, and how many of them each
    /// has. The same account can come more than once.
    pub(crate) fn settle(&mut self, records: u64) -> Settled<'_> {
        Settled {
            batch: self,
            left: records,
        }
    }

    /// Bytes delivered in whole lines.
    pub(crate) fn whole(&self) -> usize {
        self.whole
    }

    /// Takes delivery back to the start of the line in which it stands.
    pub(crate) fn rewind_line(&mut self) {
        self.offset = self.whole;
    }

    /// Passes over the line at which delivery stands.
    pub(crate) fn skip_line(&mut self) {
        let len = self.line().map_or(0, <[u8]>::len);
        self.advance(len);
    }
}

/// Accounts, each with a number of records that share a fate.
#[derive(Debug)]
pub struct Settled<'a> {
    batch: &'a mut Batch,
    left: u64,
}

impl Settled<'_> {
    /// The account that comes so many entries after the next, if the batch has as many.
    #[inline]
    pub fn ahead(&self, by: usize) -> Option<u64> {
        let run = self.batch.runs.get(self.batch.settled.0 + by)?;
        Some(run.account)
    }
}

impl Iterator for Settled<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        let (at, settled) = self.batch.settled;
        let run = self.batch.runs.get(at)?;
        let records = (run.records - settled).min(self.left);
        if records == 0 {
            return None;
        }
        self.left -= records;
        self.batch.settled = if settled + records == run.records {
            (at + 1, 0)
        } else {
            (at, settled + records)
        };
        Some((run.account, records))
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lines: &[&str]) -> Batch {
        let mut batch = Batch::default();
        for line in lines {
            batch.push(|bytes| bytes.extend_from_slice(line.as_bytes()));
        }
        batch
    }

    #[test]
    fn every_record_ends_in_one_newline() {
        let batch = batch(&["one", "two\n", ""]);
        assert_eq!(batch.bytes(), b"one\ntwo\n\n");
        assert_eq!(batch.records(), 3);
    }

    #[test]
    fn delivery_counts_whole_lines_only() {
        let mut batch = batch(&["one", "two", "three"]);
        batch.advance(2);
        assert_eq!(
            (batch.rest_records(), batch.whole(), batch.is_torn()),
            (3, 0, true)
        );
        batch.advance(4);
        assert_eq!(
            (batch.rest_records(), batch.whole(), batch.is_torn()),
            (2, 4, true)
        );
        batch.rewind_line();
        assert_eq!(
            (batch.rest(), batch.is_torn()),
            (&b"two\nthree\n"[..], false)
        );
        batch.advance(4);
        assert_eq!(
            (batch.rest_records(), batch.whole(), batch.is_torn()),
            (1, 8, false)
        );
        assert_eq!(batch.line(), Some(&b"three\n"[..]));
        batch.skip_line();
        assert_eq!((batch.rest_records(), batch.line()), (0, None));
        batch.skip_line();
        assert_eq!((batch.rest_records(), batch.rest()), (0, &b""[..]));
    }

    #[test]
    fn advance_stops_at_the_end() {
        let mut batch = batch(&["one"]);
        batch.advance(usize::MAX);
        assert_eq!((batch.rest_records(), batch.rest()), (0, &b""[..]));
    }

    #[test]
    fn accounts_are_settled_in_the_order_of_the_records() {
        let mut batch = Batch::default();
        for account in [7, 7, 7, 8, 7] {
            batch.push_for(account, |bytes| bytes.extend_from_slice(b"x"));
        }
        let ahead = |by| batch.settle(0).ahead(by);
        assert_eq!([0, 1, 2, 3].map(ahead), [Some(7), Some(8), Some(7), None]);
        let mut settle = |records| batch.settle(records).collect::<Vec<_>>();
        assert_eq!(settle(0), []);
        assert_eq!(settle(2), [(7, 2)]);
        assert_eq!(settle(2), [(7, 1), (8, 1)]);
        assert_eq!(settle(9), [(7, 1)]);
        batch.clear();
        batch.push(|bytes| bytes.extend_from_slice(b"x"));
        assert_eq!(batch.settle(1).collect::<Vec<_>>(), [(0, 1)]);
    }

    #[test]
    fn clear_keeps_the_memory() {
        let mut batch = batch(&["one", "two"]);
        batch.advance(5);
        let capacity = batch.bytes.capacity();
        batch.clear();
        assert!(batch.is_empty() && !batch.is_torn());
        assert_eq!(
            (batch.records(), batch.rest_records(), batch.rest()),
            (0, 0, &b""[..])
        );
        assert_eq!(batch.bytes.capacity(), capacity);
    }
}
