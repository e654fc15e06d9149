//! Adding, changing and deleting flows (`OFPT_FLOW_MOD`; OpenFlow 1.3.5,
//! 7.3.4.1).

use crate::{
    action::Action,
    codec::{Put, Reader, Result},
    header::Version,
    instruction::Instruction,
    oxm::Match,
    port::PortNo,
    wire_enum::{wire_enum, wire_flags},
};

wire_enum! {
    /// What to do with flows (`OFPFC_*`).
    pub struct FlowCommand(u8) {
        /// Adds a flow, in place of one with the same match and priority.
        ADD = 0,
        /// Changes the flows that are matched.
        MODIFY = 1,
        /// Changes the flow with exactly this match and priority.
        MODIFY_STRICT = 2,
        /// Deletes the flows that are matched.
        DELETE = 3,
        /// Deletes the flow with exactly this match and priority.
        DELETE_STRICT = 4,
    }
}

wire_flags! {
    /// Properties of a flow (`OFPFF_*`).
    pub struct FlowFlags(u16) {
        /// Tell the controller when it is gone.
        SEND_FLOW_REM = 1,
        /// Refuse it if it overlaps another of the same priority.
        CHECK_OVERLAP = 1 << 1,
        /// Set the counters to zero.
        RESET_COUNTS = 1 << 2,
        /// Do not count packets.
        NO_PKT_COUNTS = 1 << 3,
        /// Do not count bytes.
        NO_BYT_COUNTS = 1 << 4,
    }
}

/// All tables (`OFPTT_ALL`), in requests and deletions.
pub const ALL_TABLES: u8 = 0xff;
/// Any group (`OFPG_ANY`).
pub const ANY_GROUP: u32 = 0xffff_ffff;
const NO_BUFFER: u32 = 0xffff_ffff;

/// Adds, changes or deletes flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMod {
    /// The cookie of the flow, or that which the flows to change must have.
    pub cookie: u64,
    /// Which bits of the cookie the flows to change must have; 0 for none.
    pub cookie_mask: u64,
    /// The table, or [`ALL_TABLES`] in deletions.
    pub table_id: u8,
    /// What to do.
    pub command: FlowCommand,
    /// The flow goes after this many seconds without packets; 0 for never.
    pub idle_timeout: u16,
    /// The flow goes after this many seconds; 0 for never.
    pub hard_timeout: u16,
    /// A greater one wins.
    pub priority: u16,
    /// A packet that the switch keeps, to send through the flow.
    pub buffer_id: Option<u32>,
    /// Deletes only flows that output to this port.
    pub out_port: PortNo,
    /// Deletes only flows that output to this group.
    pub out_group: u32,
    /// Properties of the flow.
    pub flags: FlowFlags,
    /// A greater one is evicted later (1.4; 1.3 cannot say it).
    pub importance: u16,
    /// Which packets.
    pub r#match: Match,
    /// What happens to them.
    pub instructions: Vec<Instruction>,
}

impl FlowMod {
    /// A command that matches every packet and restricts nothing.
    pub const fn new(command: FlowCommand, table_id: u8) -> Self {
        Self {
            cookie: 0,
            cookie_mask: 0,
            table_id,
            command,
            idle_timeout: 0,
            hard_timeout: 0,
            priority: 0,
            buffer_id: None,
            out_port: PortNo::ANY,
            out_group: ANY_GROUP,
            flags: FlowFlags::NONE,
            importance: 0,
            r#match: Match::any(),
            instructions: Vec::new(),
        }
    }

    /// Adds a flow that does `actions`.
    pub fn add(
        table_id: u8,
        priority: u16,
        cookie: u64,
        r#match: Match,
        actions: Vec<Action>,
    ) -> Self {
        Self {
            cookie,
            priority,
            r#match,
            instructions: vec![Instruction::ApplyActions(actions)],
            ..Self::new(FlowCommand::ADD, table_id)
        }
    }

    /// Deletes all flows of a table whose cookie agrees with `cookie` where
    /// `mask` has 1 bits.
    pub const fn delete_by_cookie(table_id: u8, cookie: u64, mask: u64) -> Self {
        let mut delete = Self::new(FlowCommand::DELETE, table_id);
        delete.cookie = cookie;
        delete.cookie_mask = mask;
        delete
    }

    /// Deletes the flow with exactly this priority and match.
    pub fn delete_strict(table_id: u8, priority: u16, r#match: Match) -> Self {
        Self {
            priority,
            r#match,
            ..Self::new(FlowCommand::DELETE_STRICT, table_id)
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_flow_mod");
        Ok(Self {
            cookie: r.u64()?,
            cookie_mask: r.u64()?,
            table_id: r.u8()?,
            command: FlowCommand(r.u8()?),
            idle_timeout: r.u16()?,
            hard_timeout: r.u16()?,
            priority: r.u16()?,
            buffer_id: Some(r.u32()?).filter(|&buffer| buffer != NO_BUFFER),
            out_port: PortNo(r.u32()?),
            out_group: r.u32()?,
            flags: FlowFlags(r.u16()?),
            importance: importance(r.u16()?, version),
            r#match: Match::decode(r)?,
            instructions: r.all(Instruction::decode)?,
        })
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        out.u64(self.cookie);
        out.u64(self.cookie_mask);
        out.u8(self.table_id);
        out.u8(self.command.0);
        out.u16(self.idle_timeout);
        out.u16(self.hard_timeout);
        out.u16(self.priority);
        out.u32(self.buffer_id.unwrap_or(NO_BUFFER));
        out.u32(self.out_port.0);
        out.u32(self.out_group);
        out.u16(self.flags.0);
        out.u16(importance(self.importance, version));
        self.r#match.encode(out);
        for instruction in &self.instructions {
            instruction.encode(out);
        }
    }
}

/// The importance of a flow, which is padding before 1.4.
pub(crate) const fn importance(value: u16, version: Version) -> u16 {
    if version.0 < Version::V1_4.0 {
        0
    } else {
        value
    }
}
