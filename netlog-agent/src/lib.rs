//! To come.
pub mod api;
pub mod store;
