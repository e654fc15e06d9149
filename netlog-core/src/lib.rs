//! The domain of security group logging.

pub mod inventory;
pub mod log;
pub mod policy;
pub mod prefix;
pub mod rule;
