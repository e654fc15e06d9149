//! Messages of the Nicira extension, whose fields are one number
//! (Open vSwitch, `nicira-ext.h`).

use crate::{
    codec::{Put, Reader, Result},
    packet_in::PacketInFormat,
};

/// The experimenter id of the Nicira extensions.
pub const NICIRA: u32 = 0x0000_2320;
/// The experimenter id of the Open Networking Foundation.
pub const ONF: u32 = 0x4f4e_4600;

pub(crate) const NXT_FLOW_REMOVED: u32 = 14;
pub(crate) const NXT_SET_PACKET_IN_FORMAT: u32 = 16;
pub(crate) const NXT_SET_ASYNC_CONFIG: u32 = 19;
pub(crate) const NXT_SET_CONTROLLER_ID: u32 = 20;
pub(crate) const NXT_SET_ASYNC_CONFIG2: u32 = 27;

pub(crate) fn decode_packet_in_format(r: &mut Reader<'_>) -> Result<PacketInFormat> {
    r.enter("nxt_set_packet_in_format");
    r.u32().map(PacketInFormat)
}

pub(crate) fn encode_packet_in_format(format: PacketInFormat, out: &mut Vec<u8>) {
    out.u32(format.0);
}

pub(crate) fn decode_controller_id(r: &mut Reader<'_>) -> Result<u16> {
    r.enter("nx_controller_id");
    r.skip(6)?;
    r.u16()
}

pub(crate) fn encode_controller_id(id: u16, out: &mut Vec<u8>) {
    out.zeros(6);
    out.u16(id);
}
