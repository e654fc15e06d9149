//! Sending a packet through the switch (`OFPT_PACKET_OUT`; OpenFlow 1.3.5,
//! 7.3.7).

use crate::{
    action::Action,
    codec::{Put, Reader, Result},
    port::PortNo,
};

const NO_BUFFER: u32 = 0xffff_ffff;

/// A packet and what to do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOut {
    /// A packet that the switch keeps, in place of `data`.
    pub buffer_id: Option<u32>,
    /// The port it came from, or [`PortNo::CONTROLLER`].
    pub in_port: PortNo,
    /// What to do with it.
    pub actions: Vec<Action>,
    /// The Ethernet frame.
    pub data: Vec<u8>,
}

impl PacketOut {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_packet_out");
        let buffer_id = Some(r.u32()?).filter(|&buffer| buffer != NO_BUFFER);
        let in_port = PortNo(r.u32()?);
        let length = r.u16()?;
        r.skip(6)?;
        Ok(Self {
            buffer_id,
            in_port,
            actions: r
                .sub("ofp_packet_out", length.into())?
                .all(Action::decode)?,
            data: r.take_rest().to_vec(),
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.buffer_id.unwrap_or(NO_BUFFER));
        out.u32(self.in_port.0);
        let length = out.position();
        out.zeros(8);
        let start = out.position();
        for action in &self.actions {
            action.encode(out);
        }
        out.set_length(length, start);
        out.bytes(&self.data);
    }
}
