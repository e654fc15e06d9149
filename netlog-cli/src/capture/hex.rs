//! Frames as text: one a line, in hex digits. Blanks and colons between digits do not
//! count, nor does what follows a `#`.

use std::io::{BufRead, Read};

use super::{CaptureError, Frame, Input, RECORD_LIMIT};

/// The longest line that is read: a frame in digits with room for blanks.
const LINE_LIMIT: usize = 4 * RECORD_LIMIT;

/// The lines of a text.
#[derive(Default)]
pub(super) struct Lines {
    line: u64,
    frame: Vec<u8>,
}

impl Lines {
    pub(super) fn next_frame<R: BufRead>(
        &mut self,
        input: &mut Input<R>,
    ) -> Result<Option<Frame<'_>>, CaptureError> {
        loop {
            input.buffer.clear();
            let read = (&mut input.reader)
                .take(LINE_LIMIT as u64)
                .read_until(b'\n', &mut input.buffer)?;
            if read == 0 {
                return Ok(None);
            }
            input.offset += read as u64;
            self.line += 1;
            if read == LINE_LIMIT && !input.buffer.ends_with(b"\n") {
                return Err(self.error(format!("longer than {LINE_LIMIT} characters")));
            }
            self.parse(&input.buffer)?;
            if !self.frame.is_empty() {
                break;
            }
        }
        Ok(Some(Frame {
            time: None,
            data: &self.frame,
            length: self.frame.len(),
        }))
    }

    fn parse(&mut self, line: &[u8]) -> Result<(), CaptureError> {
        self.frame.clear();
        let mut half = None;
        for c in String::from_utf8_lossy(line).chars() {
            if c == '#' {
                break;
            }
            if c.is_whitespace() || c == ':' {
                continue;
            }
            let digit = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let Some(digit) = digit else {
                return Err(self.error(format!("{c:?} is not a hex digit")));
            };
            match half.take() {
                None => half = Some(digit),
                Some(high) => self.frame.push(high << 4 | digit),
            }
        }
        match half {
            None => Ok(()),
            Some(_) => Err(self.error("an odd number of hex digits".to_owned())),
        }
    }

    fn error(&self, cause: String) -> CaptureError {
        CaptureError::Hex {
            line: self.line,
            cause,
        }
    }
}
