//! The command as its users see it: arguments in, text and exit code out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agent;
mod decode;
mod explain;
mod generate;
mod limits;
mod openstack;
mod output;
mod support;
mod usage;
