//! What requests say about log objects and loggable types.

use serde_json::{Map, Value};
use time::UtcDateTime;
use uuid::Uuid;

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use super::{LogDrivers, LogError, LogObject, LoggedEvent};
use crate::inventory::Inventory;
use crate::python;
use crate::request::{
    self, Asked, Attribute, Caller, InCreate, RequestError, boolean, check_change, string,
    take_project_of_new,
};

const MEMBERS: (&str, &str) = ("log", "logs");

/// Every attribute, in Neutron's order.
const ATTRIBUTES: [Attribute; 12] = [
    Attribute::new("id", InCreate::No, false),
    Attribute::new("project_id", InCreate::Optional, false),
    Attribute::new("name", InCreate::Optional, true),
    Attribute::new("resource_type", InCreate::Required, false),
    Attribute::new("resource_id", InCreate::Optional, false),
    Attribute::new("event", InCreate::Optional, false),
    Attribute::new("target_id", InCreate::Optional, false),
    Attribute::new("enabled", InCreate::Optional, true),
    Attribute::new("revision_number", InCreate::No, false),
    Attribute::new("description", InCreate::Optional, true),
    Attribute::new("created_at", InCreate::No, false),
    Attribute::new("updated_at", InCreate::No, false),
];

/// A log object that a caller asks for, its values checked but not what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLog {
    /// The project that will own it.
    pub project_id: String,
    /// Its name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// The type of resource to log.
    pub resource_type: String,
    /// The resource to log, as the caller wrote it.
    pub resource_id: Option<String>,
    /// The port to log, as the caller wrote it.
    pub target_id: Option<String>,
    /// Which events to log.
    pub event: LoggedEvent,
    /// Whether to log at once.
    pub enabled: bool,
}

/// What a create request asks for: one log object, or a list of them.
pub type NewLogs = Asked<NewLog>;

impl NewLogs {
    /// Reads the body of a create request.
    ///
    /// ```
    /// use netlog_core::log::NewLogs;
    /// use netlog_core::request::Caller;
    /// let caller = Caller { project_id: Some("demo"), any_project: false };
    /// let body = br#"{"log": {"resource_type": "security_group", "enabled": "off"}}"#;
    /// let NewLogs::One(log) = NewLogs::parse(body, caller)? else { unreachable!() };
    /// assert_eq!((log.project_id.as_str(), log.enabled), ("demo", false));
    ///
    /// let body = br#"{"log": {"resource_type": "security_group", "event": "REJECT"}}"#;
    /// let error = NewLogs::parse(body, caller).unwrap_err();
    /// assert_eq!(error.to_string(), "Invalid input for event. Reason: REJECT is not in valid_values.");
    /// # Ok::<(), netlog_core::log::LogError>(())
    /// ```
    pub fn parse(body: &[u8], caller: Caller<'_>) -> Result<Self, LogError> {
        request::create(body, MEMBERS, |log| NewLog::read(log, caller))
    }
}

impl NewLog {
    /// Reads one log object of a create request.
    fn read(mut log: Map<String, Value>, caller: Caller<'_>) -> Result<Self, LogError> {
        let project_id = take_project_of_new(&mut log, &ATTRIBUTES, caller)?;
        Ok(Self {
            project_id,
            name: optional(&mut log, "name", name)?.unwrap_or_default(),
            resource_type: optional(&mut log, "resource_type", string)?.unwrap_or_default(),
            resource_id: optional(&mut log, "resource_id", id)?.flatten(),
            event: optional(&mut log, "event", |name, value| event(name, &value))?
                .unwrap_or_default(),
            target_id: optional(&mut log, "target_id", id)?.flatten(),
            enabled: optional(&mut log, "enabled", |_, value| boolean(&value))?.unwrap_or(true),
            description: optional(&mut log, "description", string)?.unwrap_or_default(),
        })
    }

    /// The log object, after its driver has found what it names.
    pub fn resolve(
        self,
        id: Uuid,
        now: UtcDateTime,
        drivers: &LogDrivers,
        inventory: &Inventory,
        caller: Caller<'_>,
    ) -> Result<LogObject, LogError> {
        let scope = drivers
            .get(&self.resource_type)?
            .resolve(&self, inventory, caller)?;
        let now = whole_seconds(now);
        Ok(LogObject {
            id,
            project_id: self.project_id,
            name: self.name,
            description: self.description,
            resource_type: self.resource_type,
            resource_id: scope.resource_id,
            target_id: scope.target_id,
            event: self.event,
            enabled: self.enabled,
            revision_number: 0,
            created_at: now,
            updated_at: now,
        })
    }
}

/// A change of a log object; what is not given stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogChange {
    /// The new name.
    pub name: Option<String>,
    /// The new description.
    pub description: Option<String>,
    /// Whether it is to be in force.
    pub enabled: Option<bool>,
}

impl LogChange {
    /// Reads the body of an update request.
    pub fn parse(body: &[u8], caller: Caller<'_>) -> Result<Self, LogError> {
        request::update(body, MEMBERS, |log| Self::read(log, caller))
    }

    /// Reads the body of an update request where Neutron takes no list.
    pub fn parse_one(body: &[u8], caller: Caller<'_>) -> Result<Self, LogError> {
        request::update_one(body, MEMBERS, |log| Self::read(log, caller))
    }

    /// Reads a change of one log object.
    fn read(mut log: Map<String, Value>, caller: Caller<'_>) -> Result<Self, LogError> {
        check_change(&mut log, &ATTRIBUTES, caller)?;
        Ok(Self {
            name: optional(&mut log, "name", name)?,
            enabled: optional(&mut log, "enabled", |_, value| boolean(&value))?,
            description: optional(&mut log, "description", string)?,
        })
    }

    /// Changes a log object. Its revision and time of change move only if something changed;
    /// the answer says whether it did.
    pub fn apply(self, log: &mut LogObject, now: UtcDateTime) -> bool {
        let mut changed = false;
        if let Some(name) = self.name {
            changed |= name != log.name;
            log.name = name;
        }
        if let Some(description) = self.description {
            changed |= description != log.description;
            log.description = description;
        }
        if let Some(enabled) = self.enabled {
            changed |= enabled != log.enabled;
            log.enabled = enabled;
        }
        if changed {
            log.revision_number += 1;
            log.updated_at = whole_seconds(now);
        }
        changed
    }
}

/// Neutron keeps times in whole seconds.
fn whole_seconds(at: UtcDateTime) -> UtcDateTime {
    at.replace_nanosecond(0).unwrap_or(at)
}

/// What is wrong with a request to make a loggable type: nothing can be right with it.
pub fn refuse_type(body: &[u8]) -> RequestError {
    let refused = RequestError::NotInCreate("type");
    let checked = request::create(body, TYPE_MEMBERS, |given| check_type(&given, &refused));
    match checked {
        Err(error) => error,
        Ok(_) => refused,
    }
}

/// What is wrong with a request to change a loggable type; nothing if it changes nothing.
pub fn refuse_type_change(body: &[u8]) -> Result<(), RequestError> {
    let refused = RequestError::ReadOnly("type");
    request::update(body, TYPE_MEMBERS, |given| check_type(&given, &refused))
}

const TYPE_MEMBERS: (&str, &str) = ("loggable_resource", "loggable_resources");

/// Refuses a loggable type that has attributes: with `refused` if it is only the type.
fn check_type(given: &Map<String, Value>, refused: &RequestError) -> Result<(), RequestError> {
    let unknown: Vec<String> = given
        .keys()
        .filter(|&name| name != "type")
        .cloned()
        .collect();
    match (unknown.is_empty(), given.contains_key("type")) {
        (false, _) => Err(RequestError::UnknownAttributes(unknown)),
        (true, true) => Err(refused.clone()),
        (true, false) => Ok(()),
    }
}

/// What is wrong with a body where Neutron's newer code reads it.
pub fn check_object(body: &[u8]) -> Result<(), RequestError> {
    request::check_object(body, MEMBERS)
}

/// An attribute's value, if it is given.
fn optional<T, E>(
    log: &mut Map<String, Value>,
    attribute: &'static str,
    read: impl FnOnce(&'static str, Value) -> Result<T, E>,
) -> Result<Option<T>, E> {
    log.remove(attribute)
        .map(|value| read(attribute, value))
        .transpose()
}

/// A name: a string of printable characters without blanks around it. Neutron's expression for it
/// knows no characters beyond the Basic Multilingual Plane, and lets a line feed pass at the end.
fn name(attribute: &'static str, value: Value) -> Result<String, RequestError> {
    let value = string(attribute, value)?;
    let is_blank = |c: char| c.general_category() == GeneralCategory::SpaceSeparator;
    let is_printable = |c: char| {
        let group = c.general_category_group();
        let other = matches!(
            group,
            GeneralCategoryGroup::Other | GeneralCategoryGroup::Separator
        );
        c < '\u{ffff}' && (!other || is_blank(c))
    };
    let line = match value.strip_suffix('\n') {
        Some(line) if !line.is_empty() => line,
        _ => &value,
    };
    if line.chars().all(is_printable) && !line.starts_with(is_blank) && !line.ends_with(is_blank) {
        Ok(value)
    } else {
        Err(RequestError::NotAString { attribute, value })
    }
}

/// An id, or null.
fn id(attribute: &'static str, value: Value) -> Result<Option<String>, RequestError> {
    match value {
        Value::Null => Ok(None),
        value => request::id(attribute, value).map(Some),
    }
}

/// One of Neutron's events, spelled exactly.
fn event(attribute: &'static str, value: &Value) -> Result<LoggedEvent, RequestError> {
    let event = value.as_str().and_then(|text| text.parse().ok());
    event.ok_or_else(|| RequestError::NotAChoice {
        attribute,
        value: python::str(value),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const ADMIN: Caller<'_> = Caller {
        project_id: Some("admins"),
        any_project: true,
    };

    fn parse(body: &Value) -> Result<Vec<NewLog>, LogError> {
        NewLogs::parse(body.to_string().as_bytes(), ADMIN).map(NewLogs::into_vec)
    }

    #[test]
    fn bodies_that_the_recording_lacks() {
        let log = json!({"resource_type": "security_group"});
        // A bulk request may wrap each of its log objects.
        let bulk = parse(&json!({"logs": [{"log": log}, log]})).unwrap();
        assert_eq!((bulk.len(), &bulk[0]), (2, &bulk[1]));
        for (body, expected) in [
            (json!(false), RequestError::BodyRequired),
            (json!([1]), RequestError::InvalidBody),
            (json!({"logs": null}), RequestError::NoObjects),
            (json!({"logs": [null]}), RequestError::InvalidBody),
            (json!({"logs": "x"}), RequestError::NotAnObject("log")),
            (json!({"logs": {"log": 1}}), RequestError::InvalidBody),
            (json!({"logs": 1}), RequestError::InvalidBody),
            (
                json!({"logs": [{"log": null}]}),
                RequestError::NoMember("log"),
            ),
            (
                json!({"log": {"resource_type": "t", "project_id": ["p"]}}),
                RequestError::NotAString {
                    attribute: "project_id",
                    value: "['p']".to_owned(),
                },
            ),
        ] {
            assert_eq!(parse(&body).unwrap_err(), expected.into(), "{body}");
        }
    }

    #[test]
    fn a_name_is_measured_in_characters() {
        let named = |name: String| parse(&json!({"log": {"resource_type": "t", "name": name}}));
        named("ж".repeat(255)).unwrap();
        let LogError::Request(error) = named("ж".repeat(256)).unwrap_err() else {
            panic!("it is the name that is wrong");
        };
        assert!(matches!(error, RequestError::TooLong { limit: 255, .. }));
    }

    #[test]
    fn a_caller_acts_for_their_own_project() {
        let caller = |project_id, any_project| Caller {
            project_id,
            any_project,
        };
        let parse = |body: Value, caller| {
            NewLogs::parse(body.to_string().as_bytes(), caller)
                .map(|logs| logs.into_vec().remove(0).project_id)
        };
        let of = |project: &str| json!({"log": {"resource_type": "t", "project_id": project}});
        assert_eq!(parse(of("a"), caller(Some("a"), false)).unwrap(), "a");
        assert_eq!(parse(of("b"), caller(Some("a"), true)).unwrap(), "b");
        let error = parse(of("b"), caller(Some("a"), false)).unwrap_err();
        assert_eq!(error, RequestError::ForeignProject.into());
        let error = parse(of("b"), caller(None, false)).unwrap_err();
        assert_eq!(error, RequestError::ForeignProject.into());
    }

    /// JSON of any shape, with the names that matter in it.
    fn any_json() -> impl Strategy<Value = Value> {
        let word = prop::sample::select(
            &[
                "log",
                "logs",
                "name",
                "event",
                "enabled",
                "resource_type",
                "resource_id",
                "project_id",
                "tenant_id",
                "x",
            ][..],
        );
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,5}".prop_map(Value::from),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((word.clone(), inner), 0..6).prop_map(|members| {
                    members
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect::<Map<_, _>>()
                        .into()
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_body_is_taken_or_refused(body in any_json(), bytes: Vec<u8>) {
            for body in [body.to_string().into_bytes(), bytes] {
                let _ = NewLogs::parse(&body, ADMIN);
                let _ = LogChange::parse(&body, ADMIN);
            }
        }

        /// A change is counted once, and only if it is one.
        #[test]
        fn a_change_made_twice_is_made_once(
            name in prop::option::of("[a-c]"),
            description in prop::option::of("[a-c]"),
            enabled: Option<bool>,
        ) {
            let mut log = parse(&json!({"log": {"resource_type": "security_group", "name": "a"}}))
                .unwrap()
                .remove(0)
                .resolve(
                    Uuid::nil(),
                    UtcDateTime::UNIX_EPOCH,
                    &LogDrivers::default(),
                    &Inventory::default(),
                    ADMIN,
                )
                .unwrap();
            let before = log.clone();
            let later = UtcDateTime::from_unix_timestamp(5).unwrap();
            let change = LogChange { name, description, enabled };
            let changed = change.clone().apply(&mut log, later);
            prop_assert_eq!(changed, log != before);
            prop_assert_eq!(log.revision_number, u64::from(changed));
            prop_assert_eq!(log.updated_at == later, changed);
            let after = log.clone();
            prop_assert!(!change.apply(&mut log, UtcDateTime::MAX));
            prop_assert_eq!(log, after);
        }
    }
}
