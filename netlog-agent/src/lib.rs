//! To come.

pub mod clock;
pub mod config;
pub mod ovsdb;
