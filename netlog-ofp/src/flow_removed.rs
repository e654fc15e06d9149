//! Flows that are gone (`OFPT_FLOW_REMOVED`; OpenFlow 1.3.5, 7.4.2), also as Open vSwitch told of
//! them before there were OXM fields (`NXT_FLOW_REMOVED`, `nicira-ext.h`).

use std::time::Duration;

use crate::{
    codec::{Put, Reader, Result, padding},
    oxm::Match,
    wire_enum::wire_enum,
};

wire_enum! {
    /// Why a flow is gone (`OFPRR_*`).
    pub struct FlowRemovedReason(u8) {
        /// No packets for its idle timeout.
        IDLE_TIMEOUT = 0,
        /// Its hard timeout passed.
        HARD_TIMEOUT = 1,
        /// A flow-mod deleted it.
        DELETE = 2,
        /// Its group was deleted.
        GROUP_DELETE = 3,
        /// Its meter was deleted (1.4).
        METER_DELETE = 4,
        /// It was evicted for lack of room (1.4).
        EVICTION = 5,
    }
}

/// A flow that is gone and was added with
/// [`FlowFlags::SEND_FLOW_REM`](crate::FlowFlags::SEND_FLOW_REM).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRemoved {
    /// Its cookie.
    pub cookie: u64,
    /// Its priority.
    pub priority: u16,
    /// Why it is gone.
    pub reason: FlowRemovedReason,
    /// The table it was in.
    pub table_id: u8,
    /// How long it was there.
    pub duration: Duration,
    /// Its idle timeout in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout in seconds.
    pub hard_timeout: u16,
    /// How many packets it matched.
    pub packet_count: u64,
    /// How many bytes they had.
    pub byte_count: u64,
    /// Which packets it matched.
    pub r#match: Match,
}

impl FlowRemoved {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_flow_removed");
        Ok(Self {
            cookie: r.u64()?,
            priority: r.u16()?,
            reason: FlowRemovedReason(r.u8()?),
            table_id: r.u8()?,
            duration: r.duration()?,
            idle_timeout: r.u16()?,
            hard_timeout: r.u16()?,
            packet_count: r.u64()?,
            byte_count: r.u64()?,
            r#match: Match::decode(r)?,
        })
    }

    /// Reads an `nx_flow_removed`. It counts tables from one, with zero for one that is not known,
    /// which becomes 255 here; and it has no hard timeout.
    pub(crate) fn decode_nxt(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("nx_flow_removed");
        let mut removed = Self {
            cookie: r.u64()?,
            priority: r.u16()?,
            reason: FlowRemovedReason(r.u8()?),
            table_id: r.u8()?.wrapping_sub(1),
            duration: r.duration()?,
            idle_timeout: r.u16()?,
            hard_timeout: 0,
            packet_count: 0,
            byte_count: 0,
            r#match: Match::any(),
        };
        let match_len = r.u16()?;
        removed.packet_count = r.u64()?;
        removed.byte_count = r.u64()?;
        removed.r#match = Match::decode_nxm(r, match_len)?;
        Ok(removed)
    }

    pub(crate) fn encode_nxt(&self, out: &mut Vec<u8>) {
        out.u64(self.cookie);
        out.u16(self.priority);
        out.u8(self.reason.0);
        out.u8(self.table_id.wrapping_add(1));
        out.duration(self.duration);
        out.u16(self.idle_timeout);
        let fields = self.r#match.to_bytes();
        // A match that is longer makes the message too long as well, which is refused.
        out.u16(u16::try_from(fields.len()).unwrap_or(u16::MAX));
        out.u64(self.packet_count);
        out.u64(self.byte_count);
        out.bytes(&fields);
        out.zeros(padding(fields.len()));
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.cookie);
        out.u16(self.priority);
        out.u8(self.reason.0);
        out.u8(self.table_id);
        out.duration(self.duration);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        out.u64(self.packet_count);
        out.u64(self.byte_count);
        self.r#match.encode(out);
    }
}
