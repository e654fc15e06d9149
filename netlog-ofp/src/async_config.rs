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

impl AsyncConfig {
    /// The words in the order of the wire, which is also that of the property
    /// types of 1.4 (`OFPACPT_*`): secondary before primary there.
    fn words(&self) -> [u32; 6] {
        let [p, s, f] = [self.packet_in, self.port_status, self.flow_removed];
        [p[0], p[1], s[0], s[1], f[0], f[1]]
    }

    fn word_mut(&mut self, index: u16) -> Option<&mut u32> {
        let pair = match index / 2 {
            0 => &mut self.packet_in,
            1 => &mut self.port_status,
            2 => &mut self.flow_removed,
            _ => return None,
        };
        pair.get_mut(usize::from(index % 2))
    }

    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_async_config");
        let mut config = Self::default();
        if version < Version::V1_4 {
            for index in 0..6 {
                let value = r.u32()?;
                if let Some(word) = config.word_mut(index) {
                    *word = value;
                }
            }
            return Ok(config);
        }
        while !r.is_empty() {
            let (kind, mut value) = r.property("ofp_async_config_prop")?;
            // Even types are for the secondary role, odd ones for the others.
            match config.word_mut(kind ^ 1) {
                Some(word) => *word = value.u32()?,
                None => config.other.push((kind, value.take_rest().to_vec())),
            }
        }
        Ok(config)
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        if version < Version::V1_4 {
            self.words().into_iter().for_each(|word| out.u32(word));
            return;
        }
        for (index, word) in (0..).zip(self.words()) {
            out.property(index ^ 1, |out| out.u32(word));
        }
        for (kind, value) in &self.other {
            out.property(*kind, |out| out.bytes(value));
        }
    }
}
