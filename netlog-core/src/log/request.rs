//! Request bodies, read as Neutron's API reads them.
//!
//! Neutron looks at a body in a fixed order, and answers with the first thing that is wrong:
//! the envelope, the project, unknown attributes, attributes that the operation does not take,
//! then the values in the order of [`ATTRIBUTES`].

use serde_json::{Map, Value};
use time::UtcDateTime;
use uuid::Uuid;

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use super::{LogDrivers, LogError, LogObject, LoggedEvent};
use crate::inventory::Inventory;
use crate::python;

/// The most characters of a name, a description, a resource type or a project id.
const MAX_LENGTH: usize = 255;

/// An attribute of a log object and who may set it.
struct Attribute {
    name: &'static str,
    in_create: bool,
    in_update: bool,
}

/// Shorthand for the table below.
const fn attribute(name: &'static str, in_create: bool, in_update: bool) -> Attribute {
    Attribute {
        name,
        in_create,
        in_update,
    }
}

/// Every attribute, in Neutron's order.
const ATTRIBUTES: [Attribute; 12] = [
    attribute("id", false, false),
    attribute("project_id", true, false),
    attribute("name", true, true),
    attribute("resource_type", true, false),
    attribute("resource_id", true, false),
    attribute("event", true, false),
    attribute("target_id", true, false),
    attribute("enabled", true, true),
    attribute("revision_number", false, false),
    attribute("description", true, true),
    attribute("created_at", false, false),
    attribute("updated_at", false, false),
];

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The project that the caller acts for.
    pub project_id: Option<&'a str>,
    /// Whether the caller may act for any project.
    pub any_project: bool,
}

impl Caller<'_> {
    /// Whether objects of this project exist for the caller.
    pub fn sees(&self, project_id: &str) -> bool {
        self.any_project || self.project_id == Some(project_id)
    }
}

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

/// The body of a create request: one log object, or a list of them that is created whole or
/// not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewLogs {
    /// `{"log": {…}}`
    One(NewLog),
    /// `{"logs": [{…}, …]}`
    Bulk(Vec<NewLog>),
}

impl NewLogs {
    /// Reads the body of a create request.
    ///
    /// ```
    /// use netlog_core::log::{Caller, NewLogs};
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
        let mut body = envelope(body)?;
        match body.remove("logs") {
            Some(logs) => bulk(logs, "log", |log| NewLog::read(log, caller)).map(Self::Bulk),
            None => NewLog::read(member(&mut body, "log")?, caller).map(Self::One),
        }
    }

    /// The log objects of the request.
    pub fn into_vec(self) -> Vec<NewLog> {
        match self {
            Self::One(log) => vec![log],
            Self::Bulk(logs) => logs,
        }
    }
}

impl NewLog {
    /// Reads one log object of a create request.
    fn read(mut log: Map<String, Value>, caller: Caller<'_>) -> Result<Self, LogError> {
        let given_project = take_project(&mut log, caller)?;
        if given_project.is_none() && caller.project_id.is_none_or(str::is_empty) {
            return Err(LogError::NoProject);
        }
        refuse_unknown(&log)?;
        for attribute in &ATTRIBUTES {
            if !attribute.in_create && log.contains_key(attribute.name) {
                return Err(LogError::NotInCreate(attribute.name));
            }
            if attribute.name == "resource_type" && !log.contains_key("resource_type") {
                return Err(LogError::Missing("resource_type"));
            }
        }
        let project_id = match given_project {
            Some(project) => string("project_id", project)?,
            None => caller.project_id.unwrap_or_default().to_owned(),
        };
        Ok(Self {
            project_id,
            name: optional(&mut log, "name", name)?.unwrap_or_default(),
            resource_type: optional(&mut log, "resource_type", string)?.unwrap_or_default(),
            resource_id: optional(&mut log, "resource_id", id)?.flatten(),
            event: optional(&mut log, "event", |_, value| event(&value))?.unwrap_or_default(),
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
        let mut body = change(body)?;
        match body.remove("logs") {
            // Neutron looks at the log objects of a bulk update before it fails.
            Some(logs) => {
                bulk(logs, "log", |log| Self::read(log, caller)).and(Err(LogError::NoMember("log")))
            }
            None => Self::read(member(&mut body, "log")?, caller),
        }
    }

    /// Reads the body of an update request where Neutron takes no list.
    pub fn parse_one(body: &[u8], caller: Caller<'_>) -> Result<Self, LogError> {
        match envelope(body)? {
            body if body.contains_key("logs") => Err(LogError::NoBulk),
            mut body => Self::read(member(&mut body, "log")?, caller),
        }
    }

    /// Reads a change of one log object.
    fn read(mut log: Map<String, Value>, caller: Caller<'_>) -> Result<Self, LogError> {
        let project = take_project(&mut log, caller)?;
        refuse_unknown(&log)?;
        for attribute in &ATTRIBUTES {
            let given = log.contains_key(attribute.name)
                || (attribute.name == "project_id" && project.is_some());
            if given && !attribute.in_update {
                return Err(LogError::ReadOnly(attribute.name));
            }
        }
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
pub fn refuse_type(body: &[u8]) -> LogError {
    let refused = LogError::NotInCreate("type");
    match envelope(body).and_then(|body| check_types(body, &refused)) {
        Err(error) => error,
        Ok(()) => refused,
    }
}

/// What is wrong with a request to change a loggable type; nothing if it changes nothing.
pub fn refuse_type_change(body: &[u8]) -> Result<(), LogError> {
    check_types(change(body)?, &LogError::ReadOnly("type"))
}

/// Refuses loggable types of a body that have attributes: with `refused` if it is only the type.
fn check_types(mut body: Map<String, Value>, refused: &LogError) -> Result<(), LogError> {
    const MEMBER: &str = "loggable_resource";
    let check = |given: Map<String, Value>| {
        let has_type = given.contains_key("type");
        let names = given.into_iter().map(|(name, _)| name);
        let unknown: Vec<String> = names.filter(|name| name != "type").collect();
        match (unknown.is_empty(), has_type) {
            (false, _) => Err(LogError::UnknownAttributes(unknown)),
            (true, true) => Err(refused.clone()),
            (true, false) => Ok(()),
        }
    };
    match body.remove("loggable_resources") {
        Some(types) => bulk(types, MEMBER, check).map(drop),
        None => check(member(&mut body, MEMBER)?),
    }
}

/// What is wrong with a body where Neutron's other API code reads it, which wants an object with a
/// `log` or `logs` and tells nothing else apart.
pub fn check_object(body: &[u8]) -> Result<(), LogError> {
    if body.is_empty() {
        return Err(LogError::NoMember("log"));
    }
    match json(body) {
        Ok(Value::Object(body)) if body.contains_key("log") || body.contains_key("logs") => Ok(()),
        Ok(Value::Object(_)) => Err(LogError::NoMember("log")),
        _ => Err(LogError::InvalidBody),
    }
}

/// Whether a body is empty or JSON; Neutron looks at that before it asks whether it wants one.
pub fn check_json(body: &[u8]) -> Result<(), LogError> {
    if body.is_empty() {
        Ok(())
    } else {
        json(body).map(drop)
    }
}

fn json(body: &[u8]) -> Result<Value, LogError> {
    serde_json::from_slice(body).map_err(|_| LogError::MalformedBody)
}

/// The JSON object that a body is.
fn envelope(body: &[u8]) -> Result<Map<String, Value>, LogError> {
    if body.is_empty() {
        return Err(LogError::BodyRequired);
    }
    match json(body)? {
        body if python::is_falsy(&body) => Err(LogError::BodyRequired),
        Value::Object(body) => Ok(body),
        _ => Err(LogError::InvalidBody),
    }
}

/// The JSON object that the body of a change is.
fn change(body: &[u8]) -> Result<Map<String, Value>, LogError> {
    if !matches!(body.trim_ascii_start(), [b'{' | b'[', ..]) {
        if !body.is_empty() {
            json(body)?;
        }
        return Err(LogError::BareBody(python::bytes(body)));
    }
    envelope(body)
}

/// The object in a body.
fn member(
    body: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Map<String, Value>, LogError> {
    match body.remove(name) {
        None | Some(Value::Null) => Err(LogError::NoMember(name)),
        Some(Value::Object(member)) => Ok(member),
        Some(_) => Err(LogError::NotAnObject(name)),
    }
}

/// Reads the objects of a bulk request, each by itself or in an envelope of its own. What is no
/// list is walked through as Python does.
fn bulk<T>(
    objects: Value,
    name: &'static str,
    read: impl Fn(Map<String, Value>) -> Result<T, LogError>,
) -> Result<Vec<T>, LogError> {
    let objects: Vec<Value> = match objects {
        objects if python::is_falsy(&objects) => return Err(LogError::NoLogs),
        Value::Array(objects) => objects,
        Value::String(text) => text.chars().map(|c| Value::from(c.to_string())).collect(),
        Value::Object(members) => members.into_iter().map(|(name, _)| name.into()).collect(),
        _ => return Err(LogError::InvalidBody),
    };
    let members = |object| match object {
        Value::Object(mut envelope) if envelope.contains_key(name) => member(&mut envelope, name),
        Value::Object(members) => Ok(members),
        Value::String(text) if !text.contains(name) => Err(LogError::NotAnObject(name)),
        Value::Array(items) if !items.contains(&name.into()) => Err(LogError::NotAnObject(name)),
        _ => Err(LogError::InvalidBody),
    };
    objects
        .into_iter()
        .map(|object| read(members(object)?))
        .collect()
}

/// Takes the project out, by either of its names, if the caller may act for it.
fn take_project(
    log: &mut Map<String, Value>,
    caller: Caller<'_>,
) -> Result<Option<Value>, LogError> {
    let project = match (
        log.shift_remove("project_id"),
        log.shift_remove("tenant_id"),
    ) {
        (Some(project), Some(tenant)) if project != tenant => {
            return Err(LogError::ProjectMismatch);
        }
        (project, tenant) => project.or(tenant),
    };
    match &project {
        Some(Value::String(id)) if caller.sees(id) => Ok(project),
        // No project is that of a caller who has none; as a value it is refused later.
        Some(Value::Null) if caller.project_id.is_none() => Ok(project),
        Some(_) if !caller.any_project => Err(LogError::ForeignProject),
        _ => Ok(project),
    }
}

/// Refuses attributes that a log object does not have.
fn refuse_unknown(log: &Map<String, Value>) -> Result<(), LogError> {
    let known = |name: &str| ATTRIBUTES.iter().any(|attribute| attribute.name == name);
    let unknown: Vec<String> = log.keys().filter(|name| !known(name)).cloned().collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(LogError::UnknownAttributes(unknown))
    }
}

/// An attribute's value, if it is given.
fn optional<T>(
    log: &mut Map<String, Value>,
    attribute: &'static str,
    read: impl FnOnce(&'static str, Value) -> Result<T, LogError>,
) -> Result<Option<T>, LogError> {
    log.remove(attribute)
        .map(|value| read(attribute, value))
        .transpose()
}

/// A string that is not too long.
fn string(attribute: &'static str, value: Value) -> Result<String, LogError> {
    match value {
        Value::String(value) if value.chars().count() > MAX_LENGTH => Err(LogError::TooLong {
            attribute,
            value,
            limit: MAX_LENGTH,
        }),
        Value::String(value) => Ok(value),
        other => Err(LogError::NotAString {
            attribute,
            value: python::str(&other),
        }),
    }
}

/// A name: a string of printable characters without blanks around it. Neutron's expression for it
/// knows no characters beyond the Basic Multilingual Plane, and lets a line feed pass at the end.
fn name(attribute: &'static str, value: Value) -> Result<String, LogError> {
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
        Err(LogError::NotAString { attribute, value })
    }
}

/// A UUID as the caller wrote it, or null. Neutron takes one with `urn:`, `uuid:` and braces around
/// it and hyphens anywhere.
fn id(attribute: &'static str, value: Value) -> Result<Option<String>, LogError> {
    let is_uuid = |text: &str| {
        let bare = text.replace("urn:", "").replace("uuid:", "");
        let mut digits = bare.trim_matches(['{', '}']).chars().filter(|&c| c != '-');
        digits
            .by_ref()
            .take(32)
            .filter(char::is_ascii_hexdigit)
            .count()
            == 32
            && digits.next().is_none()
    };
    match value {
        Value::Null => Ok(None),
        Value::String(text) if is_uuid(&text) => Ok(Some(text)),
        other => Err(LogError::NotAnId {
            attribute,
            value: python::str(&other),
        }),
    }
}

/// One of Neutron's events, spelled exactly.
fn event(value: &Value) -> Result<LoggedEvent, LogError> {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| LogError::UnknownEvent(python::str(value)))
}

/// A truth value as OpenStack takes it: `true`, `"yes"`, `"on"`, `1`, … and their opposites
/// (oslo.utils, `bool_from_string` with `strict`).
pub fn boolean(value: &Value) -> Result<bool, LogError> {
    let text = python::str(value);
    match text.trim().to_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Ok(false),
        _ => Err(LogError::NotBoolean(text)),
    }
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
            (json!(false), LogError::BodyRequired),
            (json!([1]), LogError::InvalidBody),
            (json!({"logs": null}), LogError::NoLogs),
            (json!({"logs": [null]}), LogError::InvalidBody),
            (json!({"logs": "x"}), LogError::NotAnObject("log")),
            (json!({"logs": {"log": 1}}), LogError::InvalidBody),
            (json!({"logs": 1}), LogError::InvalidBody),
            (json!({"logs": [{"log": null}]}), LogError::NoMember("log")),
            (
                json!({"log": {"resource_type": "t", "project_id": ["p"]}}),
                LogError::NotAString {
                    attribute: "project_id",
                    value: "['p']".to_owned(),
                },
            ),
        ] {
            assert_eq!(parse(&body).unwrap_err(), expected, "{body}");
        }
    }

    #[test]
    fn a_name_is_measured_in_characters() {
        let named = |name: String| parse(&json!({"log": {"resource_type": "t", "name": name}}));
        named("ж".repeat(255)).unwrap();
        let error = named("ж".repeat(256)).unwrap_err();
        assert!(matches!(error, LogError::TooLong { limit: 255, .. }));
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
        assert_eq!(error, LogError::ForeignProject);
        let error = parse(of("b"), caller(None, false)).unwrap_err();
        assert_eq!(error, LogError::ForeignProject);
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
