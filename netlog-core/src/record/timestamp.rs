//! The time of a record.

use netlog_packet::room::Room;
use time::{Month, OffsetDateTime, UtcOffset};

/// The moment of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Nanoseconds since the Unix epoch.
    pub unix_nanos: i64,
    /// Seconds that local time is ahead of UTC at that moment.
    pub utc_offset: i32,
}

/// How a record starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimestampStyle {
    /// `Mmm dd hh:mm:ss` in local time, as RFC 3164, section 4.1.2 has it and the reference's
    /// documentation shows.
    #[default]
    Rfc3164,
    /// RFC 3339 in UTC with microseconds.
    Rfc3339,
    /// Nothing: where the line goes, a timestamp is put before it.
    None,
}

/// Writes timestamps; what changes once a second is rendered once a second.
#[derive(Debug)]
pub(super) struct Clock {
    style: TimestampStyle,
    second: Option<(i64, i32)>,
    /// Longer than any timestamp.
    rendered: [u8; 32],
    rendered_len: usize,
}

impl Clock {
    pub(super) const fn new(style: TimestampStyle) -> Self {
        Self {
            style,
            second: None,
            rendered: [0; 32],
            rendered_len: 0,
        }
    }

    /// Appends the timestamp and a space, or nothing.
    pub(super) fn write(&mut self, time: Timestamp, out: &mut Room<'_>) {
        let nanos = self.write_second(time, out);
        if self.style == TimestampStyle::Rfc3339 {
            out.prefix(fraction(nanos), 7);
            out.put("Z ");
        }
    }

    /// Appends the timestamp of a clock of [`TimestampStyle::Rfc3339`] with nanoseconds.
    pub(super) fn write_nanos(&mut self, time: Timestamp, out: &mut Room<'_>) {
        let nanos = self.write_second(time, out);
        out.bytes(&fraction(nanos));
        out.put("Z");
    }

    /// Appends the second and returns the nanoseconds since then.
    fn write_second(&mut self, time: Timestamp, out: &mut Room<'_>) -> u64 {
        const NANOS: i64 = 1_000_000_000;
        let second = time.unix_nanos.div_euclid(NANOS);
        if self.second != Some((second, time.utc_offset)) {
            self.second = Some((second, time.utc_offset));
            self.render(second, time.utc_offset);
        }
        out.prefix(self.rendered, self.rendered_len);
        time.unix_nanos.rem_euclid(NANOS).unsigned_abs()
    }

    fn render(&mut self, second: i64, utc_offset: i32) {
        self.rendered_len = 0;
        let utc = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        match self.style {
            TimestampStyle::None => {}
            TimestampStyle::Rfc3164 => {
                let offset = UtcOffset::from_whole_seconds(utc_offset).unwrap_or(UtcOffset::UTC);
                let local = utc.to_offset(offset);
                self.text(abbreviation(local.month()));
                self.text(" ");
                self.two_digits(local.day(), b' ');
                self.text(" ");
                self.clock(local);
                self.text(" ");
            }
            TimestampStyle::Rfc3339 => {
                let year = utc.year().unsigned_abs();
                let (century, year) = ((year / 100 % 100) as u8, (year % 100) as u8);
                self.two_digits(century, b'0');
                self.two_digits(year, b'0');
                self.text("-");
                self.two_digits(utc.month().into(), b'0');
                self.text("-");
                self.two_digits(utc.day(), b'0');
                self.text("T");
                self.clock(utc);
            }
        }
    }

    /// `hh:mm:ss`
    fn clock(&mut self, time: OffsetDateTime) {
        self.two_digits(time.hour(), b'0');
        self.text(":");
        self.two_digits(time.minute(), b'0');
        self.text(":");
        self.two_digits(time.second(), b'0');
    }

    fn two_digits(&mut self, value: u8, pad: u8) {
        let tens = if value < 10 { pad } else { b'0' + value / 10 };
        self.bytes(&[tens, b'0' + value % 10]);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.rendered_len + bytes.len();
        if let Some(place) = self.rendered.get_mut(self.rendered_len..end) {
            place.copy_from_slice(bytes);
            self.rendered_len = end;
        }
    }
}

/// A point and nine digits.
fn fraction(mut nanos: u64) -> [u8; 10] {
    let mut text = *b".000000000";
    for digit in text[1..].iter_mut().rev() {
        *digit = b'0' + (nanos % 10) as u8;
        nanos /= 10;
    }
    text
}

const fn abbreviation(month: Month) -> &'static str {
    match month {
        Month::January => "Jan",
        Month::February => "Feb",
        Month::March => "Mar",
        Month::April => "Apr",
        Month::May => "May",
        Month::June => "Jun",
        Month::July => "Jul",
        Month::August => "Aug",
        Month::September => "Sep",
        Month::October => "Oct",
        Month::November => "Nov",
        Month::December => "Dec",
    }
}

#[cfg(test)]
mod tests {
    use netlog_packet::room::Append;

    use super::*;

    fn written(style: TimestampStyle, unix_nanos: i64, utc_offset: i32) -> String {
        let mut out = Vec::new();
        out.append_with(0, |room| {
            let time = Timestamp {
                unix_nanos,
                utc_offset,
            };
            Clock::new(style).write(time, room);
        });
        String::from_utf8(out).unwrap()
    }

    /// 2018-05-05 09:05:07.000123 UTC.
    const DOCUMENTED: i64 = 1_525_511_107_000_123_000;

    #[test]
    fn as_documented() {
        assert_eq!(
            written(TimestampStyle::Rfc3164, DOCUMENTED, 0),
            "May  5 09:05:07 "
        );
        assert_eq!(
            written(TimestampStyle::Rfc3164, DOCUMENTED, 3 * 3600),
            "May  5 12:05:07 "
        );
        assert_eq!(
            written(TimestampStyle::Rfc3164, DOCUMENTED, -10 * 3600),
            "May  4 23:05:07 "
        );
        assert_eq!(
            written(TimestampStyle::Rfc3339, DOCUMENTED, 3 * 3600),
            "2018-05-05T09:05:07.000123Z "
        );
        assert_eq!(written(TimestampStyle::None, DOCUMENTED, 0), "");
        assert_eq!(
            written(TimestampStyle::Rfc3339, -1, 0),
            "1969-12-31T23:59:59.999999Z "
        );
    }

    #[test]
    fn the_rendered_second_follows_time_and_offset() {
        let mut clock = Clock::new(TimestampStyle::Rfc3164);
        let mut line = |unix_nanos, utc_offset| {
            let mut out = Vec::new();
            out.append_with(0, |room| {
                let time = Timestamp {
                    unix_nanos,
                    utc_offset,
                };
                clock.write(time, room);
            });
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(DOCUMENTED, 0), "May  5 09:05:07 ");
        assert_eq!(line(DOCUMENTED + 999_000_000, 0), "May  5 09:05:07 ");
        assert_eq!(line(DOCUMENTED + 1_000_000_000, 0), "May  5 09:05:08 ");
        assert_eq!(line(DOCUMENTED + 1_000_000_000, 3600), "May  5 10:05:08 ");
    }
}
