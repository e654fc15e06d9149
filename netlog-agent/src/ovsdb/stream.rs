//! Cutting a byte stream into JSON objects.
//!
//! OVSDB has no framing: objects follow one another, with or without white
//! space between them (RFC 7047 section 4.1). Only brackets and strings have to
//! be understood to find where one ends, and both are ASCII, so that a read may
//! end anywhere, even within a UTF-8 sequence or an escape. Whether what lies
//! between is JSON is left to `serde_json`.

use serde_json::{Map, Value};

/// Collects bytes, and gives them back as JSON objects.
#[derive(Debug)]
pub(super) struct Splitter {
    buffer: Vec<u8>,
    /// Where the object being read begins.
    start: usize,
    /// The first byte that has not been looked at.
    next: usize,
    /// Brackets that are open; 0 between objects.
    depth: usize,
    in_string: bool,
    escaped: bool,
    limit: usize,
}

/// The stream is not one of JSON objects that we are willing to hold.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// An object is longer than the limit.
    #[error("a message is longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// Something other than an object stands between objects.
    #[error("a message begins with byte {0:#04x}, not with a brace")]
    NotAnObject(u8),
    /// What looked like an object is not JSON.
    #[error("a message is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
}

impl Splitter {
    /// A splitter for objects of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            next: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            limit,
        }
    }

    /// Takes what was read. Call [`Self::next`] until it has nothing more
    /// before the next push.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.next -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete object, or `None` until more is pushed. After an
    /// error the stream cannot be followed any more.
    pub(super) fn next(&mut self) -> Result<Option<Map<String, Value>>, StreamError> {
        while let Some(&byte) = self.buffer.get(self.next) {
            self.next += 1;
            if self.depth == 0 {
                match byte {
                    b' ' | b'\t' | b'\r' | b'\n' => self.start = self.next,
                    b'{' => self.depth = 1,
                    other => return Err(StreamError::NotAnObject(other)),
                }
            } else if self.escaped {
                self.escaped = false;
            } else if self.in_string {
                match byte {
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth -= 1,
                    _ => {}
                }
                if self.depth == 0 {
                    let object = self.buffer.get(self.start..self.next);
                    self.start = self.next;
                    return Ok(Some(serde_json::from_slice(object.unwrap_or_default())?));
                }
            }
        }
        if self.next - self.start > self.limit {
            return Err(StreamError::TooLong { limit: self.limit });
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn split(chunks: &[&[u8]]) -> Result<Vec<Value>, StreamError> {
        let mut splitter = Splitter::new(1000);
        let mut objects = Vec::new();
        for chunk in chunks {
            splitter.push(chunk);
            while let Some(object) = splitter.next()? {
                objects.push(Value::Object(object));
            }
        }
        Ok(objects)
    }

    #[test]
    fn objects_need_nothing_between_them() {
        assert_eq!(
            split(&[b"{}{\"a\":[{}]} \r\n\t{\"b\":{}}"]).unwrap(),
            [json!({}), json!({"a": [{}]}), json!({"b": {}})]
        );
    }

    #[test]
    fn brackets_and_quotes_in_strings_are_text() {
        let object = json!({"}{][": "\"}\\\"{\\", "\\": "\\\\\""});
        let text = object.to_string();
        assert_eq!(split(&[text.as_bytes()]).unwrap(), [object]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "null", "1", "\"a\"", "}", "{},{}"] {
            assert!(
                matches!(split(&[text.as_bytes()]), Err(StreamError::NotAnObject(_))),
                "{text}"
            );
        }
        for text in [&b"{]"[..], b"{\"a\"}", b"{\"a\":\"\xff\"}", b"{a:1}"] {
            assert!(
                matches!(split(&[text]), Err(StreamError::NotJson(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(400), "]".repeat(400));
        assert!(matches!(
            split(&[text.as_bytes()]),
            Err(StreamError::NotJson(_))
        ));
    }

    #[test]
    fn an_object_without_end_is_refused_at_the_limit() {
        let chunk = [b'['; 100];
        let mut splitter = Splitter::new(1000);
        splitter.push(b"{");
        for _ in 0..9 {
            splitter.push(&chunk);
            assert!(matches!(splitter.next(), Ok(None)));
        }
        splitter.push(&chunk);
        assert!(matches!(
            splitter.next(),
            Err(StreamError::TooLong { limit: 1000 })
        ));
    }

    #[test]
    fn many_small_objects_are_not_one_long_one() {
        let text = "{} ".repeat(1000);
        assert_eq!(split(&[text.as_bytes()]).unwrap().len(), 1000);
    }

    proptest! {
        #[test]
        fn reads_may_end_anywhere(
            strings in prop::collection::vec(any::<String>(), 1..5),
            cuts in prop::collection::vec(1_usize..7, 1..20),
        ) {
            let objects: Vec<Value> = strings
                .iter()
                .map(|string| json!({string.as_str(): [string, {"é": string}]}))
                .collect();
            let text: String = objects.iter().map(Value::to_string).collect();
            prop_assume!(objects.iter().all(|object| object.to_string().len() < 1000));
            let mut rest = text.as_bytes();
            let mut chunks = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at(rest.len().min(*cut));
                chunks.push(chunk);
                rest = after;
            }
            prop_assert_eq!(split(&chunks).unwrap(), objects);
        }

        #[test]
        fn any_bytes_are_split_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = split(&[b"{", &bytes]);
            let _ = split(&[&bytes]);
        }
    }
}
