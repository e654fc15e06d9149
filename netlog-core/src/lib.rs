//! The domain of security group logging.

pub mod classify;
pub mod drift;
pub mod explain;
pub mod flow;
pub mod inventory;
pub mod ledger;
pub mod log;
pub mod plan;
pub mod policy;
pub mod prefix;
pub mod record;
pub mod rule;
pub mod ruleset;
pub mod session;
