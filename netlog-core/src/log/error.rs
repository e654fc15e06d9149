//! What can be wrong with a request about log objects.

use uuid::Uuid;

use crate::request::RequestError;

/// Why a request about log objects is refused.
///
/// The text is what Neutron's API answers as `message`; [`kind`](Self::kind) is its `type`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The request itself.
    #[error(transparent)]
    Request(#[from] RequestError),
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
            Self::Request(error) => error.kind(),
            Self::UnknownResourceType(_) => "InvalidLogResourceType",
            Self::ResourceNotFound(_) => "ResourceNotFound",
            Self::TargetNotFound(_) => "TargetResourceNotFound",
            Self::Unsupported { .. } => "LoggingTypeNotSupported",
            Self::NotAMember { .. } => "InvalidResourceConstraint",
            Self::LogNotFound(_) => "LogResourceNotFound",
            Self::Revision { .. } => "RevisionNumberConstraintFailed",
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
