//! OpenFlow 1.3 and 1.4 with the Nicira extensions, as Open vSwitch speaks
//! them: messages to bytes and back, and a connection as a state machine.
//!
//! Nothing here does I/O, reads a clock or starts a thread. Whoever has a
//! socket owns a read buffer and calls a [`Connection`]:
//!
//! - **Bytes in**: [`Connection::handle_input`] takes what was read and says
//!   how much of it is consumed. What is left is the beginning of a message:
//!   keep it in front of the next read. A message has at most 65,535 bytes, so
//!   a buffer of 64 KiB never gets stuck; a greater one gives more messages for
//!   each `read()`.
//! - **Packet-ins** go to the closure given with the bytes, as [`PacketIn`]s
//!   that borrow from the buffer: no queue, no copy, no allocation. All else is
//!   decoded and becomes an [`Event`] to be taken with
//!   [`Connection::poll_event`].
//! - **Bytes out**: send what [`Connection::poll_transmit`] shows after every
//!   other call, and say with [`Connection::transmitted`] how much was taken.
//! - **Time**: a [`Duration`](std::time::Duration) since any one moment.
//!   [`Connection::poll_timeout`] says when [`Connection::handle_timeout`] is
//!   due.
//! - **Requests** are answered exactly once, by an event with the
//!   [`Xid`] that the request returned: done, answered, refused (with the
//!   message that was refused), timed out, or lost with the connection.
//!
//! ```
//! use std::time::Duration;
//! use netlog_ofp::{
//!     Action, AsyncConfig, Body, BundleFlags, Config, Connection, ConnectionError,
//!     Controller, Event, FlowMod, Match, PacketInFormat, PacketInReason,
//! };
//!
//! # struct Socket;
//! # impl Socket {
//! #     fn read(&mut self, _: &mut [u8]) -> usize { 0 }
//! #     fn write(&mut self, bytes: &[u8]) -> usize { bytes.len() }
//! # }
//! # fn now() -> Duration { Duration::ZERO }
//! fn serve(mut socket: Socket) -> Result<(), ConnectionError> {
//!     let config = Config {
//!         setup: vec![
//!             Body::SetControllerId(42),
//!             Body::SetPacketInFormat(PacketInFormat::NXT_PACKET_IN2),
//!             Body::SetAsync(AsyncConfig {
//!                 packet_in: [Some(1 << PacketInReason::ACTION.0); 2],
//!                 ..AsyncConfig::default()
//!             }),
//!         ],
//!         ..Config::default()
//!     };
//!     let mut connection = Connection::new(config, now());
//!     let mut buffer = vec![0; 256 * 1024];
//!     let mut filled = 0;
//!     let mut packets: u64 = 0;
//!     loop {
//!         while let Some(bytes) = connection.poll_transmit() {
//!             let written = socket.write(bytes);
//!             connection.transmitted(written);
//!         }
//!         // Wait here for the socket, but not past `connection.poll_timeout()`.
//!         connection.handle_timeout(now())?;
//!         match socket.read(&mut buffer[filled..]) {
//!             0 => {
//!                 connection.handle_eof();
//!                 return Ok(());
//!             }
//!             read => filled += read,
//!         }
//!         let consumed = connection.handle_input(&buffer[..filled], now(), &mut |packet| {
//!             packets += 1;
//!             println!("cookie {:#x}, {} bytes", packet.cookie, packet.data.len());
//!         })?;
//!         buffer.copy_within(consumed..filled, 0);
//!         filled -= consumed;
//!         while let Some(event) = connection.poll_event() {
//!             match event {
//!                 Event::Ready { .. } => {
//!                     let log = Controller { controller_id: 42, ..Controller::default() };
//!                     let flow = FlowMod::add(
//!                         91,
//!                         100,
//!                         0x6e4c_0000_0000_0001,
//!                         Match::any().reg(5, 1),
//!                         vec![log.into(), Action::resubmit(94)],
//!                     );
//!                     let flags = BundleFlags::ATOMIC | BundleFlags::ORDERED;
//!                     // A flow is short, and the connection is ready: it is sent.
//!                     let sent = connection.bundle(vec![flow], flags, now());
//!                     println!("installing: {sent:?}");
//!                 }
//!                 Event::Failed { xid, error } => println!("request {xid}: {error}"),
//!                 event => println!("{event:?}"),
//!             }
//!         }
//!     }
//! }
//! # serve(Socket).unwrap();
//! ```
//!
//! # How messages are read
//!
//! There are two paths. Packet-ins come a hundred thousand a second and are
//! read by hand, in one pass over slices ([`PacketIn::parse`]). Everything else
//! comes a few times a minute, and there the code shall look like the
//! specification: a decoder is the list of fields in the order of the wire, an
//! encoder is its mirror, and both stand in one module for each structure, the
//! only place that knows its layout. The cursor below them is made of [`nom`]'s
//! parsers; on its own it adds the name of the structure to errors, and bounds
//! for what has a length field.
//!
//! A switch may be newer than this crate. Numbers of the wire are newtypes
//! with named values, so an unknown one is kept; unknown messages, actions,
//! instructions, fields and properties are kept as bytes, and written as they
//! came. Reserved bytes are not looked at.
//!
//! What OpenFlow 1.3 lacks and Open vSwitch has for it as an extension of the
//! ONF, [bundles](BundleAdd) and [flow monitors](multipart::FlowMonitorRequest),
//! is one type here for both versions, written in the layout of the
//! connection's.
//!
//! Sources: the OpenFlow Switch Specifications 1.3.5 and 1.4.1, and Open
//! vSwitch 3.1's `nicira-ext.h`, ovs-fields(7) and ovs-actions(7). Recorded
//! messages of a real switch, what Open vSwitch reads in ours, and the bytes of
//! its own tests are the tests' ground truth: `MESSAGES.md` has a table.

#![forbid(unsafe_code)]

mod action;
mod async_config;
mod backoff;
mod bundle;
mod codec;
mod connection;
mod error;
mod features;
mod flow_mod;
mod flow_removed;
mod header;
mod hello;
mod instruction;
mod message;
mod meter;
pub mod multipart;
mod nicira;
mod oxm;
mod packet_in;
mod packet_out;
mod port;
mod request_forward;
mod role;
#[cfg(test)]
mod testdata;
mod wire_enum;

pub use self::{
    action::{Action, Controller},
    async_config::AsyncConfig,
    backoff::Backoff,
    bundle::{BundleAdd, BundleControl, BundleControlType, BundleFlags},
    codec::{DecodeError, Problem},
    connection::{Config, Connection, ConnectionError, Event, RequestError, SendError},
    error::{ErrorCode, ErrorMessage},
    features::{Capabilities, Features, SwitchConfig},
    flow_mod::{ALL_TABLES, ANY_GROUP, FlowCommand, FlowFlags, FlowMod},
    flow_removed::{FlowRemoved, FlowRemovedReason},
    header::{
        HEADER_LEN, Header, MessageTooLong, MessageType, Messages, RawMessage, Version, Xid,
        split_message,
    },
    hello::Hello,
    instruction::Instruction,
    message::{Body, Message},
    meter::{MeterBand, MeterCommand, MeterFlags, MeterId, MeterMod},
    multipart::{MultipartReply, MultipartRequest},
    nicira::{NICIRA, ONF},
    oxm::{Field, Match, Oxm, RawOxm, RawOxms},
    packet_in::{Metadata, PacketIn, PacketInFormat, PacketInReason, ct_state},
    packet_out::PacketOut,
    port::{Port, PortConfig, PortNo, PortReason, PortState, PortStatus},
    request_forward::{RequestForward, RequestForwardReason},
    role::{ControllerRole, Role},
};
