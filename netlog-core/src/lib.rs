//! The domain of security group logging: everything that can be decided without a switch, a file
//! or a clock.
//!
//! # From log objects to records
//!
//! Operators create [log objects](log): "log everything in project demo", "log what this security
//! group accepts on that port". The [inventory] says which ports, security groups and rules exist.
//! Together they make the [plan]: per port, which log objects want its accepted sessions and
//! which its dropped packets.
//!
//! The plan is put into two forms. Its [log flows](flow) make the switch report packets of new
//! sessions and dropped packets of exactly the ports that are logged; a cookie in each says which
//! port and what kind of event it stands for. Its [tables](classify::Tables) turn such a report
//! into security events: [`classify`](classify::Tables::classify) finds port, direction, and the
//! rule that allowed the session or the reason of the drop, and which log objects want to know.
//! The switch reports a session with every packet until the first reply, so that a bounded
//! [table of sessions](session) folds the repeats. A [recorder](record::Recorder) writes what is
//! left, a line for each event. The [ledger] counts everything on the way.
//!
//! What happens to the logging itself is told in entries of another log, [audit].
//!
//! # Why it is pure
//!
//! Nothing here reads a clock, opens a file or socket, starts a thread or knows what async is.
//! Time comes in as an argument, and so do observations. So every rule of the domain can be
//! tested with tables and properties in virtual time, and whoever embeds the crate chooses threads
//! and I/O.
//!
//! # Why it is fast
//!
//! [`Tables`](classify::Tables) is an immutable snapshot, built when something changes and swapped
//! in whole. It holds every part of a record that does not depend on the packet, rendered once.
//! Classifying a packet indexes arrays by slot and ofport, evaluates the rules of one port, and
//! allocates nothing; so does writing the record, into the caller's buffer.
//!
//! # Example
//!
//! ```
//! use netlog_core::inventory::Inventory;
//! use netlog_core::plan::plan;
//!
//! let inventory = Inventory::parse(
//!     r#"{"ports": [{"id": "11111111-0000-4000-8000-000000000001", "project_id": "demo"}]}"#,
//! )?;
//! // Without log objects nothing is logged, and no log flow is wanted.
//! assert!(plan([], &inventory).is_empty());
//! # Ok::<(), netlog_core::inventory::InventoryError>(())
//! ```
//!
//! `examples/embed` in the repository goes the whole way from a frame to a record.

pub mod audit;
pub mod classify;
pub mod drift;
pub mod explain;
pub mod flow;
pub mod inventory;
pub mod ledger;
pub mod log;
pub mod plan;
pub mod policy;
mod prefetch;
pub mod prefix;
mod python;
pub mod record;
pub mod request;
pub mod rule;
pub mod ruleset;
pub mod session;
