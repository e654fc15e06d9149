//! Flow monitors: word of every change to flows, whoever makes it.
//!
//! OpenFlow 1.4 has them (`OFPMP_FLOW_MONITOR`; 1.4.1, 7.3.5.17), and for 1.3
//! the ONF defined an extension with the layout of Nicira's older one. Open
//! vSwitch 3.1 takes Nicira's own (`NXST_FLOW_MONITOR`) only from OpenFlow 1.0
//! to 1.2, the ONF's only with 1.3, and OpenFlow's only from 1.4 on; so one
//! request here is written in the layout of the connection's version.

use crate::{
    codec::{Problem, Put, Reader, Result},
    flow_mod::{ALL_TABLES, ANY_GROUP},
    flow_removed::FlowRemovedReason,
    header::{Version, Xid},
    instruction::Instruction,
    oxm::Match,
    port::PortNo,
    wire_enum::{wire_enum, wire_flags},
};

pub(crate) const ONFT_FLOW_MONITOR_CANCEL: u32 = 1870;
pub(crate) const ONFT_FLOW_MONITOR_PAUSED: u32 = 1871;
pub(crate) const ONFT_FLOW_MONITOR_RESUMED: u32 = 1872;

wire_flags! {
    /// What a monitor tells (`OFPFMF_*`, `ONFFMF_*`).
    pub struct FlowMonitorFlags(u16) {
        /// The flows that are there when the monitor begins.
        INITIAL = 1,
        /// Flows that are added.
        ADD = 1 << 1,
        /// Flows that go.
        REMOVED = 1 << 2,
        /// Flows that change.
        MODIFY = 1 << 3,
        /// What the flows do.
        INSTRUCTIONS = 1 << 4,
        /// The whole of our own changes, not only their xid. Open vSwitch 3.1
        /// refuses it with OpenFlow 1.4 (`OFPMOFC_BAD_FLAGS`).
        NO_ABBREV = 1 << 5,
        /// Nothing of what others change (1.4).
        ONLY_OWN = 1 << 6,
    }
}

wire_enum! {
    /// What to do with a monitor (`OFPFMC_*`).
    pub struct FlowMonitorCommand(u8) {
        /// Begin it.
        ADD = 0,
        /// Change it.
        MODIFY = 1,
        /// End it.
        DELETE = 2,
    }
}

/// Which changes to tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMonitorRequest {
    /// A number of the controller's choice.
    pub monitor_id: u32,
    /// Only flows that output to this port.
    pub out_port: PortNo,
    /// Only flows that output to this group (1.4).
    pub out_group: u32,
    /// What to tell.
    pub flags: FlowMonitorFlags,
    /// The table, or [`ALL_TABLES`].
    pub table_id: u8,
    /// What to do (1.4; in 1.3, always [`FlowMonitorCommand::ADD`]).
    pub command: FlowMonitorCommand,
    /// Only flows that match at least this.
    pub r#match: Match,
}

impl FlowMonitorRequest {
    /// A monitor of all flows of a table, or with [`ALL_TABLES`] of all.
    pub const fn new(monitor_id: u32, table_id: u8, flags: FlowMonitorFlags) -> Self {
        Self {
            monitor_id,
            out_port: PortNo::ANY,
            out_group: ANY_GROUP,
            flags,
            table_id,
            command: FlowMonitorCommand::ADD,
            r#match: Match::any(),
        }
    }

    /// Ends a monitor (1.4).
    pub(crate) const fn delete(monitor_id: u32) -> Self {
        let mut request = Self::new(monitor_id, ALL_TABLES, FlowMonitorFlags::NONE);
        request.command = FlowMonitorCommand::DELETE;
        request
    }

    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_flow_monitor_request");
        let mut request = Self::new(r.u32()?, ALL_TABLES, FlowMonitorFlags::NONE);
        if version >= Version::V1_4 {
            request.out_port = PortNo(r.u32()?);
            request.out_group = r.u32()?;
            request.flags = FlowMonitorFlags(r.u16()?);
            request.table_id = r.u8()?;
            request.command = FlowMonitorCommand(r.u8()?);
        } else {
            request.flags = FlowMonitorFlags(r.u16()?);
            r.skip(2)?;
            request.out_port = PortNo(r.u32()?);
            request.table_id = r.u8()?;
            r.skip(3)?;
        }
        request.r#match = Match::decode(r)?;
        Ok(request)
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        out.u32(self.monitor_id);
        if version >= Version::V1_4 {
            out.u32(self.out_port.0);
            out.u32(self.out_group);
            out.u16(self.flags.0);
            out.u8(self.table_id);
            out.u8(self.command.0);
            self.r#match.encode(out);
        } else {
            out.u16(self.flags.0);
            let length = out.position();
            out.u16(0);
            out.u32(self.out_port.0);
            out.u8(self.table_id);
            out.zeros(3);
            encode_measured_match(&self.r#match, length, out);
        }
    }
}

/// Writes a match, and its length without padding to the 16 bits at `length`.
fn encode_measured_match(r#match: &Match, length: usize, out: &mut Vec<u8>) {
    let start = out.position();
    r#match.encode(out);
    let Some(&field) = out
        .get(start + 2..start + 4)
        .and_then(<[u8]>::first_chunk::<2>)
    else {
        return;
    };
    if let Some(copy) = out.get_mut(length..length + 2) {
        copy.copy_from_slice(&field);
    }
}

wire_enum! {
    /// What happened to a flow (`OFPFME_*`).
    pub struct FlowUpdateEvent(u16) {
        /// It was there when the monitor began (1.4; in 1.3 such flows are
        /// [`ADDED`](Self::ADDED)).
        INITIAL = 0,
        /// It was added.
        ADDED = 1,
        /// It went.
        REMOVED = 2,
        /// It changed.
        MODIFIED = 3,
    }
}

const ABBREV: u16 = 4;
const PAUSED: u16 = 5;
const RESUMED: u16 = 6;

/// One piece of news from a flow monitor (`ofp_flow_update_header`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowUpdate {
    /// A flow came, went or changed.
    Full(FullFlowUpdate),
    /// Our own message with this xid took effect; of a bundle, its first.
    Abbrev(Xid),
    /// The switch has no room for more news: what is known of its flows is
    /// out of date until [`Resumed`](Self::Resumed) (1.4; see also
    /// [`Body::FlowMonitorPaused`](crate::Body::FlowMonitorPaused)).
    Paused,
    /// What is known of the flows is complete again (1.4; see also
    /// [`Body::FlowMonitorResumed`](crate::Body::FlowMonitorResumed)).
    Resumed,
    /// Something else.
    Other {
        /// The event, in the numbers of the connection's version.
        event: u16,
        /// What follows it.
        body: Vec<u8>,
    },
}

/// A flow that came, went or changed (`ofp_flow_update_full`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullFlowUpdate {
    /// What happened to it.
    pub event: FlowUpdateEvent,
    /// The table it is in.
    pub table_id: u8,
    /// Why it went, if it did.
    pub reason: FlowRemovedReason,
    /// Its idle timeout in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout in seconds.
    pub hard_timeout: u16,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Which packets it matches.
    pub r#match: Match,
    /// What happens to them, if the monitor asked for it.
    pub instructions: Vec<Instruction>,
}

/// The numbers of 1.4 for those of 1.3, which lack the first.
const fn event_from_wire(event: u16, version: Version) -> u16 {
    if version.0 < Version::V1_4.0 && event < ABBREV {
        event + 1
    } else {
        event
    }
}

const fn event_to_wire(event: u16, version: Version) -> u16 {
    if version.0 < Version::V1_4.0 && event <= ABBREV {
        // What there was is told as added.
        event.saturating_sub(1)
    } else {
        event
    }
}

impl FlowUpdate {
    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_flow_update");
        let length = r.u16()?;
        let mut r = r.body("ofp_flow_update", length, 2)?;
        let wire = r.u16()?;
        let event = event_from_wire(wire, version);
        let update = match event {
            0..ABBREV => Self::Full(FullFlowUpdate::decode(
                &mut r,
                FlowUpdateEvent(event),
                version,
            )?),
            ABBREV => Self::Abbrev(Xid(r.u32()?)),
            PAUSED if version >= Version::V1_4 => {
                r.skip(4)?;
                Self::Paused
            }
            RESUMED if version >= Version::V1_4 => {
                r.skip(4)?;
                Self::Resumed
            }
            _ => Self::Other {
                event: wire,
                body: r.take_rest().to_vec(),
            },
        };
        r.finish(update)
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let start = out.position();
        out.u16(0);
        match self {
            Self::Full(update) => {
                out.u16(event_to_wire(update.event.0, version));
                update.encode(version, out);
            }
            Self::Abbrev(xid) => {
                out.u16(event_to_wire(ABBREV, version));
                out.u32(xid.0);
            }
            Self::Paused => {
                out.u16(PAUSED);
                out.zeros(4);
            }
            Self::Resumed => {
                out.u16(RESUMED);
                out.zeros(4);
            }
            Self::Other { event, body } => {
                out.u16(*event);
                out.bytes(body);
            }
        }
        out.set_length(start, start);
    }
}

impl FullFlowUpdate {
    fn decode(r: &mut Reader<'_>, event: FlowUpdateEvent, version: Version) -> Result<Self> {
        let mut update = Self {
            event,
            table_id: 0,
            reason: FlowRemovedReason(0),
            idle_timeout: 0,
            hard_timeout: 0,
            priority: 0,
            cookie: 0,
            r#match: Match::any(),
            instructions: Vec::new(),
        };
        if version >= Version::V1_4 {
            update.table_id = r.u8()?;
            update.reason = FlowRemovedReason(r.u8()?);
            update.idle_timeout = r.u16()?;
            update.hard_timeout = r.u16()?;
            update.priority = r.u16()?;
            r.skip(4)?;
        } else {
            let reason = r.u16()?;
            update.reason = FlowRemovedReason(
                u8::try_from(reason).map_err(|_| r.error(Problem::Unsupported(reason.into())))?,
            );
            update.priority = r.u16()?;
            update.idle_timeout = r.u16()?;
            update.hard_timeout = r.u16()?;
            r.skip(2)?;
            update.table_id = r.u8()?;
            r.skip(1)?;
        }
        update.cookie = r.u64()?;
        update.r#match = Match::decode(r)?;
        update.instructions = r.all(Instruction::decode)?;
        Ok(update)
    }

    fn encode(&self, version: Version, out: &mut Vec<u8>) {
        if version >= Version::V1_4 {
            out.u8(self.table_id);
            out.u8(self.reason.0);
            out.u16(self.idle_timeout);
            out.u16(self.hard_timeout);
            out.u16(self.priority);
            out.zeros(4);
            out.u64(self.cookie);
            self.r#match.encode(out);
        } else {
            out.u16(self.reason.0.into());
            out.u16(self.priority);
            out.u16(self.idle_timeout);
            out.u16(self.hard_timeout);
            let length = out.position();
            out.u16(0);
            out.u8(self.table_id);
            out.zeros(1);
            out.u64(self.cookie);
            encode_measured_match(&self.r#match, length, out);
        }
        for instruction in &self.instructions {
            instruction.encode(out);
        }
    }
}
