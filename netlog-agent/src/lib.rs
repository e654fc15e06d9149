//! To come.

pub mod config;
pub mod ovsdb;
