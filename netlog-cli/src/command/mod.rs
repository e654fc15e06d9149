//! The commands, one module each.

pub mod log;
pub mod loggable;
