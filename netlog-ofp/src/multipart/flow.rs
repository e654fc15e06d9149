//! Flows and their counters (`OFPMP_FLOW`, `OFPMP_AGGREGATE`; OpenFlow 1.3.5,
//! 7.3.5.2 and 7.3.5.3).

use std::time::Duration;

use crate::{
    codec::{Put, Reader, Result},
    flow_mod::{ALL_TABLES, ANY_GROUP, FlowFlags, importance},
    header::Version,
    instruction::Instruction,
    oxm::Match,
    port::PortNo,
};

/// Which flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStatsRequest {
    /// The table, or [`ALL_TABLES`].
    pub table_id: u8,
    /// Only flows that output to this port.
    pub out_port: PortNo,
    /// Only flows that output to this group.
    pub out_group: u32,
    /// Only flows whose cookie agrees with this one.
    pub cookie: u64,
    /// Which bits of the cookie must agree.
    pub cookie_mask: u64,
    /// Only flows that match at least this.
    pub r#match: Match,
}

impl Default for FlowStatsRequest {
    /// All flows of all tables.
    fn default() -> Self {
        Self {
            table_id: ALL_TABLES,
            out_port: PortNo::ANY,
            out_group: ANY_GROUP,
            cookie: 0,
            cookie_mask: 0,
            r#match: Match::any(),
        }
    }
}

impl FlowStatsRequest {
    /// All flows whose cookie agrees with `cookie` where `mask` has 1 bits.
    pub fn by_cookie(cookie: u64, mask: u64) -> Self {
        Self {
            cookie,
            cookie_mask: mask,
            ..Self::default()
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_flow_stats_request");
        let table_id = r.u8()?;
        r.skip(3)?;
        let out_port = PortNo(r.u32()?);
        let out_group = r.u32()?;
        r.skip(4)?;
        Ok(Self {
            table_id,
            out_port,
            out_group,
            cookie: r.u64()?,
            cookie_mask: r.u64()?,
            r#match: Match::decode(r)?,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u8(self.table_id);
        out.zeros(3);
        out.u32(self.out_port.0);
        out.u32(self.out_group);
        out.zeros(4);
        out.u64(self.cookie);
        out.u64(self.cookie_mask);
        self.r#match.encode(out);
    }
}

/// A flow and its counters (`ofp_flow_stats`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStats {
    /// The table it is in.
    pub table_id: u8,
    /// How long it has been there.
    pub duration: Duration,
    /// Its priority.
    pub priority: u16,
    /// Its idle timeout in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout in seconds.
    pub hard_timeout: u16,
    /// Its properties.
    pub flags: FlowFlags,
    /// How late it is evicted (1.4).
    pub importance: u16,
    /// Its cookie.
    pub cookie: u64,
    /// How many packets it has matched.
    pub packet_count: u64,
    /// How many bytes they had.
    pub byte_count: u64,
    /// Which packets it matches.
    pub r#match: Match,
    /// What happens to them.
    pub instructions: Vec<Instruction>,
}

impl FlowStats {
    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_flow_stats");
        let length = r.u16()?;
        let mut r = r.body("ofp_flow_stats", length, 2)?;
        let table_id = r.u8()?;
        r.skip(1)?;
        let mut stats = Self {
            table_id,
            duration: r.duration()?,
            priority: r.u16()?,
            idle_timeout: r.u16()?,
            hard_timeout: r.u16()?,
            flags: FlowFlags(r.u16()?),
            importance: importance(r.u16()?, version),
            cookie: {
                r.skip(2)?;
                r.u64()?
            },
            packet_count: r.u64()?,
            byte_count: r.u64()?,
            r#match: Match::decode(&mut r)?,
            instructions: Vec::new(),
        };
        stats.instructions = r.all(Instruction::decode)?;
        Ok(stats)
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let start = out.position();
        out.u16(0);
        out.u8(self.table_id);
        out.zeros(1);
        out.duration(self.duration);
        out.u16(self.priority);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        out.u16(self.flags.0);
        out.u16(importance(self.importance, version));
        out.zeros(2);
        out.u64(self.cookie);
        out.u64(self.packet_count);
        out.u64(self.byte_count);
        self.r#match.encode(out);
        for instruction in &self.instructions {
            instruction.encode(out);
        }
        out.set_length(start, start);
    }
}

/// The counters of flows, added up (`ofp_aggregate_stats_reply`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AggregateStats {
    /// How many packets they have matched.
    pub packet_count: u64,
    /// How many bytes those had.
    pub byte_count: u64,
    /// How many flows.
    pub flow_count: u32,
}

impl AggregateStats {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_aggregate_stats_reply");
        let stats = Self {
            packet_count: r.u64()?,
            byte_count: r.u64()?,
            flow_count: r.u32()?,
        };
        r.skip(4)?;
        Ok(stats)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.packet_count);
        out.u64(self.byte_count);
        out.u32(self.flow_count);
        out.zeros(4);
    }
}
