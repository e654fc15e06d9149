//! The audit log: who did what to the logging itself, and what came of it.
//!
//! An entry is an event of the Cloud Auditing Data Federation (CADF 1.0, DMTF DSP0262), the format
//! of OpenStack's own audit logs, as one line of JSON. Entries never stand in the security event
//! log, nor security events here.
//!
//! ```
//! use netlog_core::audit::{Action, Event, Outcome, Resource};
//! use time::UtcDateTime;
//! use uuid::Uuid;
//!
//! let agent = Resource::new("service/network/netlog", "host-1");
//! let event = Event::activity(Action::Start, Outcome::Success, agent.clone(), agent.clone());
//! let line = event.to_line(Uuid::nil(), UtcDateTime::UNIX_EPOCH, &agent);
//! assert!(line.starts_with(r#"{"typeURI":"http://schemas.dmtf.org/cloud/audit/1.0/event","#));
//! ```

mod refusals;

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::Value;
use time::UtcDateTime;
use time::format_description::FormatItem;
use time::macros::format_description;
use uuid::Uuid;

pub use refusals::{MoreRefused, Refusals};

/// The type of every entry (DSP0262 section 6.2).
const EVENT_TYPE_URI: &str = "http://schemas.dmtf.org/cloud/audit/1.0/event";

/// How CADF writes a time (DSP0262 section 5.5.5): with microseconds and an offset.
const TIMESTAMP: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]+00:00");

/// The most characters of a text. Some of it may be what a caller sent.
const MAX_TEXT: usize = 512;

/// The type of an event (DSP0262 section 6.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// Something was done, or tried.
    Activity,
    /// The state of something was observed.
    Monitor,
}

/// What was done: the words of CADF's action taxonomy (DSP0262 annex A.3) that are needed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A caller said who they are.
    Authenticate,
    /// A new configuration was put in force.
    Configure,
    /// Something was made.
    Create,
    /// Something was deleted.
    Delete,
    /// Something was observed; the action of every [`EventType::Monitor`].
    Monitor,
    /// Something was read.
    Read,
    /// Something was brought back.
    Restore,
    /// Something began to work.
    Start,
    /// Something ended its work.
    Stop,
    /// Something was changed.
    Update,
}

/// What came of it (DSP0262 annex A.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done, or is well.
    Success,
    /// It was refused, did not work, or is not well.
    Failure,
}

/// Someone or something that takes part in an event (DSP0262 section 6.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// What kind of thing it is, in CADF's resource taxonomy (annex A.2).
    #[serde(rename = "typeURI")]
    pub type_uri: &'static str,
    /// Its id; `unknown` for someone who did not say.
    pub id: String,
    /// Its name, where it has one beside the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The project that it belongs to or acts for; OpenStack's addition to CADF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_id: Option<String>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
}

impl Resource {
    /// A resource of which nothing more is known.
    pub fn new(type_uri: &'static str, id: impl Into<String>) -> Self {
        Self {
            type_uri,
            id: id.into(),
            name: None,
            project_id: None,
            host: None,
        }
    }
}

/// Where a resource is (DSP0262 section 6.3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Host {
    /// Its address.
    pub address: String,
    /// The program that it uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// Why an outcome is what it is (DSP0262 section 6.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// What the code is one of, such as `HTTP`.
    pub reason_type: &'static str,
    /// The code.
    pub reason_code: String,
}

/// What else belongs to an event (DSP0262 section 6.8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// The type of the content.
    #[serde(rename = "typeURI")]
    pub type_uri: &'static str,
    /// What it is.
    pub name: &'static str,
    /// The content.
    pub content: Value,
}

/// An event, before someone observes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    #[serde(rename = "eventType")]
    kind: EventType,
    action: Action,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    initiator: Resource,
    target: Resource,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Attachment>,
}

impl Event {
    /// `initiator` did or tried something with `target`.
    pub const fn activity(
        action: Action,
        outcome: Outcome,
        initiator: Resource,
        target: Resource,
    ) -> Self {
        Self {
            kind: EventType::Activity,
            action,
            outcome,
            reason: None,
            initiator,
            target,
            attachments: Vec::new(),
        }
    }

    /// `initiator` observed the state of `target`.
    pub fn monitor(outcome: Outcome, initiator: Resource, target: Resource) -> Self {
        Self {
            kind: EventType::Monitor,
            ..Self::activity(Action::Monitor, outcome, initiator, target)
        }
    }

    /// The same event with the code that stands for its outcome.
    #[must_use]
    pub fn because(mut self, reason_type: &'static str, code: u16) -> Self {
        self.reason = Some(Reason {
            reason_type,
            reason_code: code.to_string(),
        });
        self
    }

    /// The same event with an explanation for people. A long one is cut.
    #[must_use]
    pub fn message(self, text: impl fmt::Display) -> Self {
        self.text("message", text)
    }

    /// The same event with a text that belongs to it. A long one is cut.
    #[must_use]
    pub fn text(self, name: &'static str, text: impl fmt::Display) -> Self {
        let mut text = text.to_string();
        if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
            text.truncate(end);
            text.push('…');
        }
        self.attach("text/plain", name, Value::String(text))
    }

    /// The same event with something that belongs to it, such as an object before its change.
    #[must_use]
    pub fn object(self, name: &'static str, content: Value) -> Self {
        self.attach("application/json", name, content)
    }

    fn attach(mut self, type_uri: &'static str, name: &'static str, content: Value) -> Self {
        self.attachments.push(Attachment {
            type_uri,
            name,
            content,
        });
        self
    }

    /// The entry, one line of JSON without its end. It holds no control characters, nor such
    /// as would lead a terminal to show it in another order.
    pub fn to_line(&self, id: Uuid, time: UtcDateTime, observer: &Resource) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry<'a> {
            #[serde(rename = "typeURI")]
            type_uri: &'static str,
            id: Uuid,
            event_time: String,
            #[serde(flatten)]
            event: &'a Event,
            observer: &'a Resource,
        }
        let entry = Entry {
            type_uri: EVENT_TYPE_URI,
            id,
            event_time: timestamp(time),
            event: self,
            observer,
        };
        // Making JSON of these types does not fail.
        escape(&serde_json::to_string(&entry).unwrap_or_default())
    }
}

/// A time as CADF writes it.
fn timestamp(time: UtcDateTime) -> String {
    // Formatting with a format that was checked at compile time does not fail.
    time.format(TIMESTAMP).unwrap_or_default()
}

/// Escapes what JSON leaves as it is and a terminal does not. Outside of strings JSON has ASCII
/// only.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use time::macros::utc_datetime;

    use super::*;

    fn agent() -> Resource {
        Resource {
            host: Some(Host {
                address: "host-1".to_owned(),
                agent: None,
            }),
            ..Resource::new("service/network/netlog", "netlog-agent")
        }
    }

    #[test]
    fn an_entry_is_a_cadf_event() {
        let alice = Resource {
            project_id: Some("p".to_owned()),
            host: Some(Host {
                address: "127.0.0.1:5".to_owned(),
                agent: Some("curl".to_owned()),
            }),
            ..Resource::new("service/security/account/user", "alice")
        };
        let log = Resource {
            name: Some("mine".to_owned()),
            ..Resource::new("service/network/log", "1")
        };
        let line = Event::activity(Action::Update, Outcome::Failure, alice, log)
            .because("HTTP", 403)
            .message("no")
            .object("before", json!({"enabled": true}))
            .to_line(
                Uuid::nil(),
                utc_datetime!(2026-05-05 09:05:07.001_002),
                &agent(),
            );
        let expected = json!({
            "typeURI": "http://schemas.dmtf.org/cloud/audit/1.0/event",
            "id": "00000000-0000-0000-0000-000000000000",
            "eventTime": "2026-05-05T09:05:07.001002+00:00",
            "eventType": "activity",
            "action": "update",
            "outcome": "failure",
            "reason": {"reasonType": "HTTP", "reasonCode": "403"},
            "initiator": {"typeURI": "service/security/account/user", "id": "alice",
                "project_id": "p", "host": {"address": "127.0.0.1:5", "agent": "curl"}},
            "target": {"typeURI": "service/network/log", "id": "1", "name": "mine"},
            "attachments": [
                {"typeURI": "text/plain", "name": "message", "content": "no"},
                {"typeURI": "application/json", "name": "before", "content": {"enabled": true}}],
            "observer": {"typeURI": "service/network/netlog", "id": "netlog-agent",
                "host": {"address": "host-1"}},
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);

        let seen = Event::monitor(Outcome::Success, agent(), agent());
        let line = seen.to_line(Uuid::nil(), UtcDateTime::UNIX_EPOCH, &agent());
        assert!(
            line.contains(r#""eventType":"monitor","action":"monitor""#),
            "{line}"
        );
    }

    #[test]
    fn long_explanations_are_cut() {
        let event = Event::monitor(Outcome::Failure, agent(), agent()).message("é".repeat(9000));
        let Some(Value::String(text)) = event.attachments.first().map(|a| &a.content) else {
            panic!("no message: {event:?}");
        };
        assert_eq!(text.chars().count(), MAX_TEXT + 1);
    }

    proptest! {
        /// Whatever callers put into names, an entry is one line that no terminal obeys, and
        /// nothing is lost.
        #[test]
        fn an_entry_is_one_harmless_line(
            text in "[\\PC\\p{Cc}\\p{Cf}]{0,20}",
            message in "[\\PC\\p{Cc}\\p{Cf}]{0,20}",
        ) {
            let target = Resource::new("service/network/log", text.clone());
            let event = Event::monitor(Outcome::Failure, agent(), target).message(message.clone());
            let line = event.to_line(Uuid::nil(), UtcDateTime::UNIX_EPOCH, &agent());
            prop_assert!(!line.chars().any(char::is_control), "{:?}", line);
            prop_assert!(!line.contains(['\u{2028}', '\u{202e}', '\u{2066}']), "{:?}", line);
            let entry: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&entry["target"]["id"], &text);
            prop_assert_eq!(&entry["attachments"][0]["content"], &message);
        }
    }
}
