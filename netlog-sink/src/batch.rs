//! Finished lines on their way to a sink.

/// Records, one a line, each ended by `'\n'`, with a mark of how far they have been delivered.
///
/// The pipeline fills a batch with [`push`](Self::push); a [`Sink`](crate::Sink) takes
/// [`rest`](Self::rest) or [`line`](Self::line) and reports with [`advance`](Self::advance).
/// [`clear`](Self::clear) keeps the memory, so that a batch that is used again allocates nothing.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    records: u64,
    /// Bytes delivered.
    offset: usize,
    /// Bytes delivered in whole lines; at most `offset`.
    whole: usize,
    /// Records of which the end is not delivered.
    rest: u64,
}

impl Batch {
    /// An empty batch with room for `bytes` bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Adds one record: what `write` appends, ended by a newline if it does not end in one.
    ///
    /// `write` must not append a newline in any other place, and must leave what the buffer
    /// already holds.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        if self.bytes.len() == start || self.bytes.last() != Some(&b'\n') {
            self.bytes.push(b'\n');
        }
        debug_assert_eq!(newlines(&self.bytes[start..]), 1, "a record is one line");
        self.records += 1;
        self.rest += 1;
    }

    /// All lines, delivered or not.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
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
        (self.records, self.offset, self.whole, self.rest) = (0, 0, 0, 0);
    }

    /// The bytes not yet delivered.
    pub fn rest(&self) -> &[u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
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
