//! What a switch is and how it is configured (OpenFlow 1.3.5, 7.3.1
//! "Handshake" and 7.3.2 "Switch Configuration").

use crate::{
    codec::{Put, Reader, Result},
    wire_enum::wire_flags,
};

wire_flags! {
    /// What a switch can do (`OFPC_*`).
    pub struct Capabilities(u32) {
        /// Flow statistics.
        FLOW_STATS = 1,
        /// Table statistics.
        TABLE_STATS = 1 << 1,
        /// Port statistics.
        PORT_STATS = 1 << 2,
        /// Group statistics.
        GROUP_STATS = 1 << 3,
        /// Reassembles IP fragments.
        IP_REASM = 1 << 5,
        /// Queue statistics.
        QUEUE_STATS = 1 << 6,
        /// Blocks looping ports.
        PORT_BLOCKED = 1 << 8,
        /// Bundles (1.4.1).
        BUNDLES = 1 << 9,
        /// Flow monitors (1.4.1).
        FLOW_MONITORING = 1 << 10,
    }
}

/// What a switch is (`ofp_switch_features`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// The datapath id of the bridge.
    pub datapath_id: u64,
    /// How many packets it can keep at once.
    pub n_buffers: u32,
    /// How many tables it has.
    pub n_tables: u8,
    /// Which auxiliary connection this is; 0 for a main one.
    pub auxiliary_id: u8,
    /// What it can do.
    pub capabilities: Capabilities,
}

impl Features {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_switch_features");
        let features = Self {
            datapath_id: r.u64()?,
            n_buffers: r.u32()?,
            n_tables: r.u8()?,
            auxiliary_id: r.u8()?,
            capabilities: {
                r.skip(2)?;
                Capabilities(r.u32()?)
            },
        };
        r.skip(4)?;
        Ok(features)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.datapath_id);
        out.u32(self.n_buffers);
        out.u8(self.n_tables);
        out.u8(self.auxiliary_id);
        out.zeros(2);
        out.u32(self.capabilities.0);
        out.zeros(4);
    }
}

/// The switch configuration (`ofp_switch_config`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchConfig {
    /// How fragments are treated (`OFPC_FRAG_*`); 0 is "like other packets".
    /// Open vSwitch sets it for the whole bridge, not for the connection.
    pub flags: u16,
    /// How many bytes of a packet go into a packet-in that no action asked
    /// for. A service connection of Open vSwitch gets no asynchronous
    /// messages while this is 0, as it is at first;
    /// [`Body::SetAsync`](crate::Body::SetAsync) sets it as well.
    pub miss_send_len: u16,
}

impl SwitchConfig {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_switch_config");
        Ok(Self {
            flags: r.u16()?,
            miss_send_len: r.u16()?,
        })
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.u16(self.flags);
        out.u16(self.miss_send_len);
    }
}
