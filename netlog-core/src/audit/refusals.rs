//! Refused attempts, of which a flood must not fill the audit log.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use time::UtcDateTime;

use super::{Action, Event, Host, Outcome, Resource};

/// For how long refusals are told and counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// Refusals of one source that have entries of their own in a window.
const TOLD_OF_ONE: u32 = 20;
/// Refusals of all sources that have entries of their own in a window.
const TOLD_OF_ALL: u32 = 200;
/// Sources that are counted each by itself in a window.
const SOURCES: usize = 64;

/// Decides which refused attempts have an entry of their own, and counts the others.
///
/// The first few of each source in a window are told one by one. The others come to one entry a
/// source at the window's end: how many, by their codes, and when the first and the last was. With
/// too many sources at once, the later ones are counted together. So the entries of a window are
/// bounded, and each refusal is in one of them.
///
/// ```
/// use std::time::Duration;
/// use netlog_core::audit::Refusals;
/// use time::UtcDateTime;
///
/// let mut refusals = Refusals::default();
/// let (now, time) = (Duration::from_secs(7), UtcDateTime::UNIX_EPOCH);
/// let told = (0..1000).filter(|_| refusals.tell("192.0.2.1", 401, now, time)).count();
/// let rest = refusals.end(now + Duration::from_secs(60));
/// assert_eq!((told, rest.len()), (20, 1));
/// assert_eq!(rest[0].count(), 980);
/// ```
#[derive(Debug, Default)]
pub struct Refusals {
    /// When the window began; `None` before the first refusal in it.
    began: Option<Duration>,
    told: u32,
    sources: BTreeMap<String, Source>,
    /// Those of sources beyond [`SOURCES`].
    others: Option<Untold>,
}

#[derive(Debug, Default)]
struct Source {
    told: u32,
    untold: Option<Untold>,
}

/// Refusals that have no entry of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Untold {
    /// How many there were with each code.
    codes: BTreeMap<u16, u64>,
    first: UtcDateTime,
    last: UtcDateTime,
}

/// What one entry tells of many refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoreRefused {
    /// Where they came from; `None` for many places.
    source: Option<String>,
    untold: Untold,
}

impl Refusals {
    /// Whether a refusal, at `now` (a time since any fixed moment, or `time` of day), is to have an
    /// entry of its own. If not, it is counted. Windows have to be [ended](Self::end) in time.
    pub fn tell(&mut self, source: &str, code: u16, now: Duration, time: UtcDateTime) -> bool {
        self.began.get_or_insert(now);
        if !self.sources.contains_key(source) && self.sources.len() >= SOURCES {
            count(&mut self.others, code, time);
            return false;
        }
        let source = self.sources.entry(source.to_owned()).or_default();
        if source.told < TOLD_OF_ONE && self.told < TOLD_OF_ALL {
            source.told += 1;
            self.told += 1;
            return true;
        }
        count(&mut source.untold, code, time);
        false
    }

    /// When the window is to be ended; `None` if there is nothing to tell yet.
    pub fn deadline(&self) -> Option<Duration> {
        self.began.map(|began| began + WINDOW)
    }

    /// Ends the window if its time has come: what is to be told of the refusals that have no entry
    /// of their own.
    pub fn end(&mut self, now: Duration) -> Vec<MoreRefused> {
        match self.deadline() {
            Some(deadline) if now >= deadline => self.end_now(),
            _ => Vec::new(),
        }
    }

    /// Ends the window before its time, since there will be no later.
    pub fn end_now(&mut self) -> Vec<MoreRefused> {
        let Self {
            sources, others, ..
        } = std::mem::take(self);
        let known = sources
            .into_iter()
            .map(|(name, source)| (Some(name), source.untold));
        known
            .chain([(None, others)])
            .filter_map(|(source, untold)| untold.map(|untold| MoreRefused { source, untold }))
            .collect()
    }
}

fn count(untold: &mut Option<Untold>, code: u16, time: UtcDateTime) {
    let untold = untold.get_or_insert_with(|| Untold {
        codes: BTreeMap::new(),
        first: time,
        last: time,
    });
    untold.last = time;
    *untold.codes.entry(code).or_default() += 1;
}

impl MoreRefused {
    /// How many were refused.
    pub fn count(&self) -> u64 {
        self.untold.codes.values().sum()
    }

    /// The entry: someone from there tried something with `target` many times.
    pub fn event(&self, target: Resource) -> Event {
        let source = self.source.as_deref();
        let initiator = Resource {
            host: source.map(|address| Host {
                address: address.to_owned(),
                agent: None,
            }),
            ..Resource::new("service/security/account/user", "unknown")
        };
        let count = self.count();
        let source = source.unwrap_or("other addresses");
        Event::activity(Action::Authenticate, Outcome::Failure, initiator, target)
            .message(format_args!(
                "{count} more refused from {source}, which have no entries of their own"
            ))
            .object(
                "refused",
                json!({
                    "count": count,
                    "codes": self.untold.codes,
                    "first": super::timestamp(self.untold.first),
                    "last": super::timestamp(self.untold.last),
                }),
            )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether each was told, and what the windows' ends told, of refusals a second apart.
    fn flood(sources: &[String], seconds: u64) -> (u64, Vec<MoreRefused>) {
        let mut refusals = Refusals::default();
        let (mut told, mut rest) = (0, Vec::new());
        for second in 0..seconds {
            let now = Duration::from_secs(second);
            rest.extend(refusals.end(now));
            for source in sources {
                let time = UtcDateTime::UNIX_EPOCH + now;
                told += u64::from(refusals.tell(source, 401, now, time));
            }
        }
        rest.extend(refusals.end_now());
        (told, rest)
    }

    #[test]
    fn a_few_are_told_as_they_are() {
        let (told, rest) = flood(&["a".to_owned()], 20);
        assert_eq!((told, rest), (20, Vec::new()));
    }

    #[test]
    fn the_rest_of_a_window_is_one_entry_with_their_count_codes_and_times() {
        let mut refusals = Refusals::default();
        let at = |second| {
            (
                Duration::from_secs(second),
                UtcDateTime::UNIX_EPOCH + Duration::from_secs(second),
            )
        };
        assert_eq!(refusals.deadline(), None);
        for second in 0..59 {
            let (now, time) = at(second);
            assert_eq!(refusals.end(now), []);
            refusals.tell("192.0.2.1", if second < 30 { 401 } else { 413 }, now, time);
        }
        assert_eq!(refusals.deadline(), Some(Duration::from_secs(60)));
        let rest = refusals.end(Duration::from_secs(60));
        assert_eq!(refusals.deadline(), None);
        let [rest] = &rest[..] else {
            panic!("{rest:?}")
        };
        let line = rest
            .event(Resource::new("service/network/netlog", "api"))
            .to_line(
                uuid::Uuid::nil(),
                UtcDateTime::UNIX_EPOCH,
                &Resource::new("x", "y"),
            );
        let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(entry["initiator"]["host"]["address"], "192.0.2.1");
        assert_eq!(entry["outcome"], "failure");
        let text = "39 more refused from 192.0.2.1, which have no entries of their own";
        assert_eq!(entry["attachments"][0]["content"], text);
        let refused = json!({
            "count": 39, "codes": {"401": 10, "413": 29},
            "first": "1970-01-01T00:00:20.000000+00:00",
            "last": "1970-01-01T00:00:58.000000+00:00",
        });
        assert_eq!(entry["attachments"][1]["content"], refused);
        // The next window begins anew.
        let (now, time) = at(61);
        assert!(refusals.tell("192.0.2.1", 401, now, time));
    }

    #[test]
    fn a_flood_of_one_source_does_not_hide_another() {
        let sources: Vec<_> = ["loud"; 500]
            .into_iter()
            .chain(["quiet"])
            .map(str::to_owned)
            .collect();
        let (_, rest) = flood(&sources, 1);
        assert_eq!(rest.len(), 1, "the quiet one was told: {rest:?}");
    }

    #[test]
    fn any_number_of_sources_takes_a_bounded_number_of_entries() {
        let sources: Vec<_> = (0..10_000).map(|n| format!("2001:db8::{n:x}")).collect();
        let (told, rest) = flood(&sources, 50);
        assert!(told <= u64::from(TOLD_OF_ALL), "{told}");
        assert!(rest.len() <= SOURCES + 1, "{}", rest.len());
        let counted: u64 = rest.iter().map(MoreRefused::count).sum();
        assert_eq!(told + counted, 500_000);
    }

    proptest! {
        /// Whatever comes when, each refusal is told or counted once.
        #[test]
        fn none_is_lost(refused in prop::collection::vec((0..200_u8, 400..599_u16, 0..30_u64), 0..2000)) {
            let mut refusals = Refusals::default();
            let (mut now, mut told, mut counted) = (Duration::ZERO, 0, 0);
            let mut in_window = 0;
            for (source, code, pause) in &refused {
                now += Duration::from_secs(*pause);
                if refusals.deadline().is_some_and(|deadline| now >= deadline) {
                    let rest = refusals.end(now);
                    in_window = 0;
                    counted += rest.iter().map(MoreRefused::count).sum::<u64>();
                }
                if refusals.tell(&source.to_string(), *code, now, UtcDateTime::UNIX_EPOCH) {
                    told += 1;
                    in_window += 1;
                }
                prop_assert!(in_window <= TOLD_OF_ALL);
            }
            counted += refusals.end_now().iter().map(MoreRefused::count).sum::<u64>();
            prop_assert_eq!(told + counted, refused.len() as u64);
        }
    }
}
