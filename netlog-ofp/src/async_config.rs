//! Which asynchronous messages a connection gets (OpenFlow 1.3.5, 7.3.10
//! "Set Asynchronous Configuration Message"; OpenFlow 1.4.1, 7.3.10).
//!
//! 1.3 sends six words; 1.4 a property for each word that is set.

use crate::{
    codec::{Put, Reader, Result},
    header::Version,
};

/// The reasons for which each kind of message is sent: bit `1 << n` stands for
/// reason `n` (`OFPR_*`, `OFPPR_*`, `OFPRR_*`).
///
/// The first of each pair counts while the connection's role is equal or
/// primary, the second while it is secondary.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AsyncConfig {
    /// Packet-ins, by [`PacketInReason`](crate::PacketInReason).
    pub packet_in: [u32; 2],
    /// Port status, by [`PortReason`](crate::PortReason).
    pub port_status: [u32; 2],
    /// Removed flows, by [`FlowRemovedReason`](crate::FlowRemovedReason).
    pub flow_removed: [u32; 2],
    /// Further properties of OpenFlow 1.4: type and value.
    pub other: Vec<(u16, Vec<u8>)>,
}

/// `OFPACPT_REQUESTFORWARD_SLAVE` and `_MASTER`.
const REQUESTFORWARD: [u16; 2] = [10, 11];

impl AsyncConfig {
    /// Asks as well for what other connections change, by
    /// [`RequestForwardReason`](crate::RequestForwardReason), in any role. Only OpenFlow 1.4 has
    /// words for that.
    #[must_use]
    pub fn with_request_forward(mut self, reasons: u32) -> Self {
        let property = |kind| (kind, reasons.to_be_bytes().to_vec());
        self.other.extend(REQUESTFORWARD.map(property));
        self
    }

    /// The pairs in the order of the wire.
    const fn pairs(&self) -> [[u32; 2]; 3] {
        [self.packet_in, self.port_status, self.flow_removed]
    }

    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_async_config");
        if version < Version::V1_4 {
            return Ok(Self {
                packet_in: [r.u32()?, r.u32()?],
                port_status: [r.u32()?, r.u32()?],
                flow_removed: [r.u32()?, r.u32()?],
                other: Vec::new(),
            });
        }
        let mut config = Self::default();
        while !r.is_empty() {
            let (kind, mut value) = r.property("ofp_async_config_prop")?;
            // A type for the secondary role and then one for the others, for
            // each pair (`OFPACPT_*`).
            let word = match kind {
                0 => &mut config.packet_in[1],
                1 => &mut config.packet_in[0],
                2 => &mut config.port_status[1],
                3 => &mut config.port_status[0],
                4 => &mut config.flow_removed[1],
                5 => &mut config.flow_removed[0],
                _ => {
                    config.other.push((kind, value.take_rest().to_vec()));
                    continue;
                }
            };
            *word = value.u32()?;
        }
        Ok(config)
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        for (place, [primary, secondary]) in (0..).zip(self.pairs()) {
            if version < Version::V1_4 {
                out.u32(primary);
                out.u32(secondary);
            } else {
                out.property(2 * place, |out| out.u32(secondary));
                out.property(2 * place + 1, |out| out.u32(primary));
            }
        }
        if version >= Version::V1_4 {
            for (kind, value) in &self.other {
                out.property(*kind, |out| out.bytes(value));
            }
        }
    }
}
