//! The command as its users see it: arguments in, text and exit code out.

mod openstack;
mod output;
mod support;
