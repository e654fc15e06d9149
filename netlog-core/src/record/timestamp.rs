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

/// Writes timestamps; each is rendered once, and the packet-ins of one read share it.
#[derive(Debug)]
pub(super) struct Clock {
    style: TimestampStyle,
    /// Digits of a second in [`TimestampStyle::Rfc3339`].
    digits: usize,
    rendered: Option<Timestamp>,
    /// Longer than any timestamp.
    text: [u8; 32],
    len: usize,
}

impl Clock {
    /// A clock of microseconds, whose timestamps stand before something.
    pub(super) const fn new(style: TimestampStyle) -> Self {
        Self {
            style,
            digits: 6,
            rendered: None,
            text: [0; 32],
            len: 0,
        }
    }

    /// A clock of nanoseconds.
    pub(super) const fn precise() -> Self {
        Self {
            digits: 9,
            ..Self::new(TimestampStyle::Rfc3339)
        }
    }

    /// Appends the timestamp, with a space behind it if there is one and the clock is not a
    /// precise one.
    #[inline]
    pub(super) fn write(&mut self, time: Timestamp, out: &mut Room<'_>) {
        if self.rendered != Some(time) {
            self.render(time);
        }
        out.prefix(self.text, self.len);
    }

    #[cold]
    fn render(&mut self, time: Timestamp) {
        const NANOS: i64 = 1_000_000_000;
        self.rendered = Some(time);
        self.len = 0;
        let (second, nanos) = (
            time.unix_nanos.div_euclid(NANOS),
            time.unix_nanos.rem_euclid(NANOS),
        );
        let utc = OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        match self.style {
            TimestampStyle::None => {}
            TimestampStyle::Rfc3164 => {
                let offset =
                    UtcOffset::from_whole_seconds(time.utc_offset).unwrap_or(UtcOffset::UTC);
                let local = utc.to_offset(offset);
                self.put(abbreviation(local.month()));
                self.put(" ");
                self.two_digits(local.day(), b' ');
                self.put(" ");
                self.time_of_day(local);
                self.put(" ");
            }
            TimestampStyle::Rfc3339 => {
                let year = utc.year().unsigned_abs();
                let (century, year) = ((year / 100 % 100) as u8, (year % 100) as u8);
                self.two_digits(century, b'0');
                self.two_digits(year, b'0');
                self.put("-");
                self.two_digits(utc.month().into(), b'0');
                self.put("-");
                self.two_digits(utc.day(), b'0');
                self.put("T");
                self.time_of_day(utc);
                self.put(".");
                let digits = fraction(nanos.unsigned_abs());
                self.bytes(&digits[..self.digits]);
                self.put(if self.digits == 9 { "Z" } else { "Z " });
            }
        }
    }

    /// `hh:mm:ss`
    fn time_of_day(&mut self, time: OffsetDateTime) {
        self.two_digits(time.hour(), b'0');
        self.put(":");
        self.two_digits(time.minute(), b'0');
        self.put(":");
        self.two_digits(time.second(), b'0');
    }

    fn two_digits(&mut self, value: u8, pad: u8) {
        let tens = if value < 10 { pad } else { b'0' + value / 10 };
        self.bytes(&[tens, b'0' + value % 10]);
    }

    fn put(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(place) = self.text.get_mut(self.len..end) {
            place.copy_from_slice(bytes);
            self.len = end;
        }
    }
}

/// Nine digits.
fn fraction(mut nanos: u64) -> [u8; 9] {
    let mut text = [0; 9];
    for digit in text.iter_mut().rev() {
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
    fn the_rendered_text_follows_time_and_offset() {
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
