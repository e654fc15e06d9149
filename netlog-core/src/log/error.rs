//! What can be wrong with a request about log objects.

use uuid::Uuid;

/// Why a request about log objects is refused.
///
/// The text is what Neutron's API answers as `message`; [`kind`](Self::kind) is its `type`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
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
    NoLogs,
    /// A bulk request where there is none.
    #[error("Bulk operation not supported")]
    NoBulk,
    /// A log object has no such attributes.
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
    /// An event that is none of `ALL`, `ACCEPT` and `DROP`. Holds it as Python prints it.
    #[error("Invalid input for event. Reason: {0} is not in valid_values.")]
    UnknownEvent(String),
    /// A value that is neither true nor false. Holds it as Python prints it.
    #[error("Invalid input for operation: '{0}' cannot be converted to boolean.")]
    NotBoolean(String),
    /// A type of resource that no driver logs.
    #[error("Invalid log resource_type: {0}.")]
    UnknownResourceType(String),
    /// The resource does not exist, or not for this caller.
    #[error("Resource {0} could not be found.")]
    ResourceNotFound(String),
    /// The target does not exist, or not for this caller.
    #[error("Target resource {0} could not be found.")]
    TargetNotFound(String),
    /// The target is a port that the driver cannot log.
    #[error("Logging type {resource_type} is not supported on port {port}.")]
    Unsupported {
        /// The type of resource.
        resource_type: String,
        /// The port.
        port: Uuid,
    },
    /// The target is not a member of the resource.
    #[error(
        "Invalid resource constraint between resource ({resource_type} {resource}) and target \
         resource (port {target})."
    )]
    NotAMember {
        /// The type of resource.
        resource_type: String,
        /// The resource.
        resource: Uuid,
        /// The port.
        target: Uuid,
    },
    /// There is no log object with this id.
    #[error("Log resource {0} could not be found.")]
    LogNotFound(String),
    /// The `If-Match` of a request names another revision.
    #[error("Constrained to {wanted}, but current revision is {current}")]
    Revision {
        /// The revision that the caller saw, a number of any size.
        wanted: String,
        /// The revision that there is.
        current: u64,
    },
}

impl LogError {
    /// Neutron's name of the error.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MalformedBody => "MalformedRequestBody",
            Self::BareBody(_) => "BadRequest",
            Self::NotBoolean(_) => "InvalidInput",
            Self::UnknownResourceType(_) => "InvalidLogResourceType",
            Self::ResourceNotFound(_) => "ResourceNotFound",
            Self::TargetNotFound(_) => "TargetResourceNotFound",
            Self::Unsupported { .. } => "LoggingTypeNotSupported",
            Self::NotAMember { .. } => "InvalidResourceConstraint",
            Self::LogNotFound(_) => "LogResourceNotFound",
            Self::Revision { .. } => "RevisionNumberConstraintFailed",
            _ => "HTTPBadRequest",
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::ResourceNotFound(_) | Self::TargetNotFound(_) | Self::LogNotFound(_) => 404,
            Self::Unsupported { .. } => 409,
            Self::Revision { .. } => 412,
            _ => 400,
        }
    }
}
