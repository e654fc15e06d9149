//! To come.

mod endpoint;

pub use endpoint::{Endpoint, EndpointError};
