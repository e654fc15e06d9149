//! A client of ovsdb-server (RFC 7047) that knows which ports are on which
//! bridge, and learns of every change at once.
//!
//! The log flows of a Neutron port name its OpenFlow port number, and only
//! OVSDB knows which number a port has: it is given by ovs-vswitchd some time
//! after a port was plugged, and can change, even be swapped between two ports,
//! when a host starts again. So the agent keeps a replica of the few columns
//! that tell, and acts on what it holds *now*.
//!
//! - [`Session`] is the protocol without I/O: it can be tested with recorded
//!   messages and invented time. Its parts, one a module: cutting the stream
//!   into messages, the schema check, the replica of rows, and the typed view
//!   of them.
//! - [`Driver`] is the thread around it: socket, clock, reconnect.
//! - [`Topology`] is what comes out: an immutable value that can be shared and
//!   compared. Whoever receives one compares it with what it has done, instead
//!   of replaying events; nothing is lost when states in between were skipped.
//!
//! A state is never half of a transaction: OVSDB sends each transaction in one
//! message, and the view is made from whole messages. If the replica could be
//! wrong (an unknown row changes, a message is malformed), the session ends, and
//! the next one starts from a fresh copy.
//!
//! ```no_run
//! use netlog_agent::ovsdb::{Driver, Event};
//!
//! let (sender, events) = std::sync::mpsc::channel();
//! let endpoint = "unix:/var/run/openvswitch/db.sock".parse()?;
//! let driver = Driver::start(endpoint, move |event| {
//!     // The receiver may have gone; then the driver is about to stop too.
//!     let _ = sender.send(event);
//! })?;
//! for event in &events {
//!     if let Event::Topology(topology) = event {
//!         for port in topology.ports("br-int") {
//!             println!("{} is port {:?}", port.name, port.ofport);
//!         }
//!         break;
//!     }
//! }
//! driver.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod driver;
mod endpoint;
#[cfg(test)]
mod live_tests;
mod replica;
mod schema;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod topology;

pub use driver::{Disconnect, Driver, Event};
pub use endpoint::{Endpoint, EndpointError};
pub use replica::ReplicaError;
pub use session::{PROBE_INTERVAL, Session, SessionError, SessionEvent};
pub use stream::StreamError;
pub use topology::{Interface, Topology};
