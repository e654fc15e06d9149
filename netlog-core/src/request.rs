//! What requests to Neutron's API have in common: bodies, attributes, and who may set them.
//!
//! Neutron looks at a body in a fixed order, and answers with the first thing that is wrong: the
//! envelope, the project, unknown attributes, attributes that the operation does not take, then the
//! values.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::python;

/// The most characters of a name, a description, a resource type or a project id.
const MAX_LENGTH: usize = 255;

/// Why a request is refused, whatever it is about.
///
/// The text is what Neutron's API answers as `message`; [`kind`](Self::kind) is its `type`. The
/// status is always 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The body is not JSON.
    #[error("Malformed request body: Cannot understand JSON.")]
    MalformedBody,
    /// The body of an update is not there at all, or a mere value. Holds its bytes as Python
    /// prints them.
    #[error("Bad body request: Invalid format: {0}.")]
    BareBody(String),
    /// The body says nothing.
    #[error("Resource body required")]
    BodyRequired,
    /// The body is not a JSON object.
    #[error("Body contains invalid data")]
    InvalidBody,
    /// The body has no member of this name.
    #[error("Unable to find '{0}' in request body")]
    NoMember(&'static str),
    /// The member of the body is not an object.
    #[error("Object '{0}' contains invalid data")]
    NotAnObject(&'static str),
    /// The list of a bulk request is empty.
    #[error("Resources required")]
    NoObjects,
    /// A bulk request where there is none.
    #[error("Bulk operation not supported")]
    NoBulk,
    /// An object has no such attributes.
    #[error("Unrecognized attribute(s) '{}'", .0.join(", "))]
    UnknownAttributes(Vec<String>),
    /// An attribute without a default is missing.
    #[error("Failed to parse request. Required attribute '{0}' not specified")]
    Missing(&'static str),
    /// An attribute that only the server sets.
    #[error("Attribute '{0}' not allowed in POST")]
    NotInCreate(&'static str),
    /// An attribute that never changes.
    #[error("Cannot update read-only attribute {0}")]
    ReadOnly(&'static str),
    /// Both names of the project are given, with two values.
    #[error("'project_id' and 'tenant_id' do not match")]
    ProjectMismatch,
    /// A caller acts for a project that is not theirs.
    #[error(
        "Specifying 'project_id' other than the authenticated project in request is not allowed \
         for the current user."
    )]
    ForeignProject,
    /// Neither the caller nor the request has a project.
    #[error("Running without keystone AuthN requires that project_id is specified")]
    NoProject,
    /// A value that is not a string.
    #[error("Invalid input for {attribute}. Reason: '{value}' is not a valid string.")]
    NotAString {
        /// The attribute.
        attribute: &'static str,
        /// The value, as Python prints it.
        value: String,
    },
    /// A string that is too long.
    #[error("Invalid input for {attribute}. Reason: '{value}' exceeds maximum length of {limit}.")]
    TooLong {
        /// The attribute.
        attribute: &'static str,
        /// The value.
        value: String,
        /// The most characters that it may have.
        limit: usize,
    },
    /// A value that is not a UUID.
    #[error("Invalid input for {attribute}. Reason: '{value}' is not a valid UUID.")]
    NotAnId {
        /// The attribute.
        attribute: &'static str,
        /// The value, as Python prints it.
        value: String,
    },
    /// A value that is none of those that there are.
    #[error("Invalid input for {attribute}. Reason: {value} is not in valid_values.")]
    NotAChoice {
        /// The attribute.
        attribute: &'static str,
        /// The value, as Python prints it.
        value: String,
    },
    /// A value that is neither true nor false. Holds it as Python prints it.
    #[error("Invalid input for operation: '{0}' cannot be converted to boolean.")]
    NotBoolean(String),
}

impl RequestError {
    /// Neutron's name of the error.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MalformedBody => "MalformedRequestBody",
            Self::BareBody(_) => "BadRequest",
            Self::NotBoolean(_) => "InvalidInput",
            _ => "HTTPBadRequest",
        }
    }
}

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

/// What a create request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<T> {
    /// One object.
    One(T),
    /// A list of them, which is created whole or not at all.
    Bulk(Vec<T>),
}

impl<T> Asked<T> {
    /// The objects of the request.
    pub fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(object) => vec![object],
            Self::Bulk(objects) => objects,
        }
    }
}

/// Whether those who create an object set an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InCreate {
    No,
    Optional,
    Required,
}

/// An attribute of a kind of object, and who may set it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: &'static str,
    pub(crate) in_create: InCreate,
    pub(crate) in_update: bool,
}

impl Attribute {
    pub(crate) const fn new(name: &'static str, in_create: InCreate, in_update: bool) -> Self {
        Self {
            name,
            in_create,
            in_update,
        }
    }

    /// Whether it is given, in an object without its project, which [`take_project`] took out.
    fn is_given(&self, object: &Map<String, Value>, project: Option<&Value>) -> bool {
        match self.name {
            "project_id" | "tenant_id" => project.is_some(),
            name => object.contains_key(name),
        }
    }
}

/// The objects of a create request: the one in the body, or those of its list.
pub(crate) fn create<T, E: From<RequestError>>(
    body: &[u8],
    (member, members): (&'static str, &'static str),
    read: impl Fn(Map<String, Value>) -> Result<T, E>,
) -> Result<Asked<T>, E> {
    let mut body = envelope(body)?;
    match body.remove(members) {
        Some(objects) => bulk(objects, member, read).map(Asked::Bulk),
        None => read(one(&mut body, member)?).map(Asked::One),
    }
}

/// The object of a change.
pub(crate) fn update<T, E: From<RequestError>>(
    body: &[u8],
    (member, members): (&'static str, &'static str),
    read: impl Fn(Map<String, Value>) -> Result<T, E>,
) -> Result<T, E> {
    let mut body = change(body)?;
    match body.remove(members) {
        // Neutron looks at the objects of a bulk update before it fails.
        Some(objects) => {
            bulk(objects, member, read).and(Err(RequestError::NoMember(member).into()))
        }
        None => read(one(&mut body, member)?),
    }
}

/// The object of a change where Neutron takes no list.
pub(crate) fn update_one<T, E: From<RequestError>>(
    body: &[u8],
    (member, members): (&'static str, &'static str),
    read: impl Fn(Map<String, Value>) -> Result<T, E>,
) -> Result<T, E> {
    let mut body = envelope(body)?;
    if body.contains_key(members) {
        return Err(RequestError::NoBulk.into());
    }
    read(one(&mut body, member)?)
}

/// What is wrong with a body where Neutron's newer code reads it, which wants an object with one
/// of these members and tells nothing else apart.
pub(crate) fn check_object(
    body: &[u8],
    (member, members): (&'static str, &'static str),
) -> Result<(), RequestError> {
    if body.is_empty() {
        return Err(RequestError::NoMember(member));
    }
    match json(body) {
        Ok(Value::Object(body)) if body.contains_key(member) || body.contains_key(members) => {
            Ok(())
        }
        Ok(Value::Object(_)) => Err(RequestError::NoMember(member)),
        _ => Err(RequestError::InvalidBody),
    }
}

/// Whether a body is empty or JSON; Neutron looks at that before it asks whether it wants one.
pub fn check_json(body: &[u8]) -> Result<(), RequestError> {
    if body.is_empty() {
        Ok(())
    } else {
        json(body).map(drop)
    }
}

fn json(body: &[u8]) -> Result<Value, RequestError> {
    serde_json::from_slice(body).map_err(|_| RequestError::MalformedBody)
}

/// The JSON object that a body is.
pub(crate) fn envelope(body: &[u8]) -> Result<Map<String, Value>, RequestError> {
    if body.is_empty() {
        return Err(RequestError::BodyRequired);
    }
    match json(body)? {
        body if python::is_falsy(&body) => Err(RequestError::BodyRequired),
        Value::Object(body) => Ok(body),
        _ => Err(RequestError::InvalidBody),
    }
}

/// The JSON object that the body of a change is.
fn change(body: &[u8]) -> Result<Map<String, Value>, RequestError> {
    if !matches!(body.trim_ascii_start(), [b'{' | b'[', ..]) {
        if !body.is_empty() {
            json(body)?;
        }
        return Err(RequestError::BareBody(python::bytes(body)));
    }
    envelope(body)
}

/// The object in a body.
fn one(
    body: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Map<String, Value>, RequestError> {
    match body.remove(name) {
        None | Some(Value::Null) => Err(RequestError::NoMember(name)),
        Some(Value::Object(member)) => Ok(member),
        Some(_) => Err(RequestError::NotAnObject(name)),
    }
}

/// Reads the objects of a bulk request, each by itself or in an envelope of its own. What is no
/// list is walked through as Python does.
fn bulk<T, E: From<RequestError>>(
    objects: Value,
    name: &'static str,
    read: impl Fn(Map<String, Value>) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let objects: Vec<Value> = match objects {
        objects if python::is_falsy(&objects) => return Err(RequestError::NoObjects.into()),
        Value::Array(objects) => objects,
        Value::String(text) => text.chars().map(|c| Value::from(c.to_string())).collect(),
        Value::Object(members) => members.into_iter().map(|(name, _)| name.into()).collect(),
        _ => return Err(RequestError::InvalidBody.into()),
    };
    let members = |object| match object {
        Value::Object(mut envelope) if envelope.contains_key(name) => one(&mut envelope, name),
        Value::Object(members) => Ok(members),
        Value::String(text) if !text.contains(name) => Err(RequestError::NotAnObject(name)),
        Value::Array(items) if !items.contains(&name.into()) => {
            Err(RequestError::NotAnObject(name))
        }
        _ => Err(RequestError::InvalidBody),
    };
    objects
        .into_iter()
        .map(|object| read(members(object)?))
        .collect()
}

/// Takes the project out, by either of its names, if the caller may act for it.
pub(crate) fn take_project(
    object: &mut Map<String, Value>,
    caller: Caller<'_>,
) -> Result<Option<Value>, RequestError> {
    let project = match (
        object.shift_remove("project_id"),
        object.shift_remove("tenant_id"),
    ) {
        (Some(project), Some(tenant)) if project != tenant => {
            return Err(RequestError::ProjectMismatch);
        }
        (project, tenant) => project.or(tenant),
    };
    match &project {
        Some(Value::String(id)) if caller.sees(id) => Ok(project),
        // No project is that of a caller who has none; as a value it is refused later.
        Some(Value::Null) if caller.project_id.is_none() => Ok(project),
        Some(_) if !caller.any_project => Err(RequestError::ForeignProject),
        _ => Ok(project),
    }
}

/// Takes out the project that a new object is of: as the request says, or the caller's. Checks
/// that all other attributes are known, and set by those who may set them.
pub(crate) fn take_project_of_new(
    object: &mut Map<String, Value>,
    attributes: &[Attribute],
    caller: Caller<'_>,
) -> Result<String, RequestError> {
    let given = take_project(object, caller)?;
    if given.is_none() && caller.project_id.is_none_or(str::is_empty) {
        return Err(RequestError::NoProject);
    }
    refuse_unknown(object, attributes)?;
    for attribute in attributes {
        let is_given = attribute.is_given(object, given.as_ref());
        match attribute.in_create {
            InCreate::No if is_given => return Err(RequestError::NotInCreate(attribute.name)),
            InCreate::Required if !is_given => return Err(RequestError::Missing(attribute.name)),
            _ => {}
        }
    }
    match given {
        Some(project) => string("project_id", project),
        None => Ok(caller.project_id.unwrap_or_default().to_owned()),
    }
}

/// Refuses a change of what is not known or never changes.
pub(crate) fn check_change(
    object: &mut Map<String, Value>,
    attributes: &[Attribute],
    caller: Caller<'_>,
) -> Result<(), RequestError> {
    let project = take_project(object, caller)?;
    refuse_unknown(object, attributes)?;
    let is_fixed = |attribute: &&Attribute| {
        !attribute.in_update && attribute.is_given(object, project.as_ref())
    };
    match attributes.iter().find(is_fixed) {
        Some(attribute) => Err(RequestError::ReadOnly(attribute.name)),
        None => Ok(()),
    }
}

/// Refuses attributes that an object does not have.
fn refuse_unknown(
    object: &Map<String, Value>,
    attributes: &[Attribute],
) -> Result<(), RequestError> {
    let known = |name: &str| attributes.iter().any(|attribute| attribute.name == name);
    let unknown: Vec<String> = object.keys().filter(|name| !known(name)).cloned().collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(RequestError::UnknownAttributes(unknown))
    }
}

/// A string that is not too long.
pub(crate) fn string(attribute: &'static str, value: Value) -> Result<String, RequestError> {
    match value {
        Value::String(value) if value.chars().count() > MAX_LENGTH => Err(RequestError::TooLong {
            attribute,
            value,
            limit: MAX_LENGTH,
        }),
        Value::String(value) => Ok(value),
        other => Err(RequestError::NotAString {
            attribute,
            value: python::str(&other),
        }),
    }
}

/// A UUID as the caller wrote it. Neutron takes one with `urn:`, `uuid:` and braces around it and
/// hyphens anywhere.
pub(crate) fn id(attribute: &'static str, value: Value) -> Result<String, RequestError> {
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
        Value::String(text) if is_uuid(&text) => Ok(text),
        other => Err(RequestError::NotAnId {
            attribute,
            value: python::str(&other),
        }),
    }
}

/// An id in the one spelling that Neutron stores; ids are compared as text, so that another spelling
/// names nothing.
pub fn canonical_id(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.hyphenated().to_string() == text).then_some(id)
}

/// A truth value as OpenStack takes it: `true`, `"yes"`, `"on"`, `1`, … and their opposites
/// (oslo.utils, `bool_from_string` with `strict`).
pub fn boolean(value: &Value) -> Result<bool, RequestError> {
    let text = python::str(value);
    match text.trim().to_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Ok(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Ok(false),
        _ => Err(RequestError::NotBoolean(text)),
    }
}
