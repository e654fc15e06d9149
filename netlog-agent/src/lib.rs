//! The netlog agent, as a library: it joins the pure crates to the world.
//!
//! One agent runs on a host beside `ovs-vswitchd`. It learns from ovsdb-server which ports are on
//! the bridge ([`ovsdb`]), from a file which security groups and rules exist ([`inventory`]), and
//! from operators what to log ([`api`], kept in [`store`]). From these it works out the log flows
//! that the switch should have, puts them in force ([`switch`]), and turns what they report into
//! records ([`pipeline`]). What happens to the logging itself goes to the audit log ([`audit`]).
//! [`agent`] is the composition, the only module that knows all the others.
//!
//! # Threads
//!
//! | thread | what it does |
//! |---|---|
//! | main | works through messages: something changed, so plan, tables and log flows are made anew |
//! | `packets` | reads packet-ins and runs the pipeline, from socket to finished batch |
//! | `control` | compares the switch's flows with those wanted, and changes them |
//! | `sink-…` | writes batches |
//! | `ovsdb` | keeps a monitor session with ovsdb-server |
//! | `inventory`, `policy` | wait for the file to change |
//! | `api` | serves HTTP on tokio's current-thread runtime |
//! | `signals` | turns signals into messages |
//!
//! State has one owner each. The main thread shares what others need as immutable snapshots that
//! are swapped in whole; the thread of the hot path takes no lock and waits for nobody.
//!
//! # Example
//!
//! ```no_run
//! use netlog_agent::agent;
//! use netlog_agent::config::{Config, Location};
//!
//! let files = [Location::File("/etc/netlog/netlog.conf".into())];
//! let (config, warnings) = Config::load(&files)?;
//! for warning in warnings {
//!     eprintln!("{warning}");
//! }
//! agent::run(&config, &files)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod agent;
pub mod api;
pub mod audit;
pub mod clock;
pub mod config;
pub mod inventory;
pub mod ledger;
pub mod limits;
pub mod metrics;
pub mod ovsdb;
pub mod pipeline;
pub mod reload;
mod service;
pub mod store;
pub mod switch;
