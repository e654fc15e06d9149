//! OpenFlow 1.3 and 1.4 with the Nicira extensions, as Open vSwitch speaks
//! them: messages to bytes and back, and a connection as a state machine.

mod action;
mod async_config;
mod bundle;
mod codec;
mod error;
mod features;
mod flow_mod;
mod flow_removed;
mod header;
mod hello;
mod instruction;
mod message;
mod meter;
pub mod multipart;
mod nicira;
mod oxm;
mod packet_in;
mod packet_out;
mod port;
mod role;
#[cfg(test)]
mod testdata;
mod wire_enum;

pub use self::{
    action::{Action, Controller},
    async_config::AsyncConfig,
    bundle::{BundleAdd, BundleControl, BundleControlType, BundleFlags},
    codec::{DecodeError, Problem},
    error::{ErrorCode, ErrorMessage},
    features::{Capabilities, Features, SwitchConfig},
    flow_mod::{ALL_TABLES, ANY_GROUP, FlowCommand, FlowFlags, FlowMod},
    flow_removed::{FlowRemoved, FlowRemovedReason},
    header::{
        HEADER_LEN, Header, MessageTooLong, MessageType, Messages, RawMessage, Version, Xid,
        split_message,
    },
    hello::Hello,
    instruction::Instruction,
    message::{Body, Message},
    meter::{MeterBand, MeterCommand, MeterFlags, MeterId, MeterMod},
    multipart::{MultipartReply, MultipartRequest},
    nicira::{NICIRA, ONF},
    oxm::{Field, Match, Oxm, RawOxm, RawOxms},
    packet_in::{Metadata, PacketIn, PacketInFormat, PacketInReason, ct_state},
    packet_out::PacketOut,
    port::{Port, PortConfig, PortNo, PortReason, PortState, PortStatus},
    role::{ControllerRole, Role},
};
