//! The netlog agent, as a library.

pub mod agent;
pub mod api;
pub mod clock;
pub mod config;
pub mod inventory;
pub mod ovsdb;
pub mod pipeline;
pub mod store;
pub mod switch;
