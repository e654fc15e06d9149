//! The commands, one module each.

pub mod decode;
pub mod explain;
pub mod generate;
pub mod limits;
pub mod log;
pub mod loggable;
pub mod status;
