//! Which asynchronous messages a connection gets (OpenFlow 1.3.5, 7.3.10
//! "Set Asynchronous Configuration Message"; OpenFlow 1.4.1, 7.3.10).
//!
//! 1.3 sends six words, and so does `NXT_SET_ASYNC_CONFIG` in every version; 1.4 a property for each
//! word that is set.

use crate::{
    codec::{Put, Reader, Result},
    header::Version,
};

/// The reasons for which each kind of message is sent: bit `1 << n` stands for
/// reason `n` (`OFPR_*`, `OFPPR_*`, `OFPRR_*`).
///
/// The first of each pair counts while the connection's role is equal or
/// primary, the second while it is secondary. `None` leaves as it is what the connection gets; 1.3
/// cannot say so, and gets a zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsyncConfig {
    /// Packet-ins, by [`PacketInReason`](crate::PacketInReason).
    pub packet_in: [Option<u32>; 2],
    /// Port status, by [`PortReason`](crate::PortReason).
    pub port_status: [Option<u32>; 2],
    /// Removed flows, by [`FlowRemovedReason`](crate::FlowRemovedReason).
    pub flow_removed: [Option<u32>; 2],
    /// Further properties of OpenFlow 1.4: type and value.
    pub other: Vec<(u16, Vec<u8>)>,
}

/// None of these messages.
impl Default for AsyncConfig {
    fn default() -> Self {
        Self {
            packet_in: [Some(0); 2],
            port_status: [Some(0); 2],
            flow_removed: [Some(0); 2],
            other: Vec::new(),
        }
    }
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

    /// The words in the order of 1.3; for 1.4, those of each pair change places.
    const fn pairs(&self) -> [[Option<u32>; 2]; 3] {
        [self.packet_in, self.port_status, self.flow_removed]
    }

    /// Reads the six words of 1.3.
    pub(crate) fn decode_words(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_async_config");
        Ok(Self {
            packet_in: [Some(r.u32()?), Some(r.u32()?)],
            port_status: [Some(r.u32()?), Some(r.u32()?)],
            flow_removed: [Some(r.u32()?), Some(r.u32()?)],
            other: Vec::new(),
        })
    }

    /// Reads the properties of 1.4.
    pub(crate) fn decode_properties(r: &mut Reader<'_>) -> Result<Self> {
        let mut config = Self {
            packet_in: [None; 2],
            port_status: [None; 2],
            flow_removed: [None; 2],
            other: Vec::new(),
        };
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
            *word = Some(value.u32()?);
        }
        Ok(config)
    }

    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        if version < Version::V1_4 {
            Self::decode_words(r)
        } else {
            Self::decode_properties(r)
        }
    }

    pub(crate) fn encode_words(&self, out: &mut Vec<u8>) {
        for word in self.pairs().as_flattened() {
            out.u32(word.unwrap_or(0));
        }
    }

    pub(crate) fn encode_properties(&self, out: &mut Vec<u8>) {
        let words = self
            .pairs()
            .map(|[primary, secondary]| [secondary, primary]);
        for (kind, word) in (0..).zip(words.as_flattened()) {
            if let Some(word) = word {
                out.property(kind, |out| out.u32(*word));
            }
        }
        for (kind, value) in &self.other {
            out.property(*kind, |out| out.bytes(value));
        }
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        if version < Version::V1_4 {
            self.encode_words(out);
        } else {
            self.encode_properties(out);
        }
    }
}
