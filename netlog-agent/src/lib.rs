//! The netlog agent, as a library.

pub mod clock;
pub mod config;
pub mod inventory;
pub mod ovsdb;
pub mod pipeline;
pub mod store;
