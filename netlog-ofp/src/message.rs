//! Messages: one value for each type, and the way from bytes to it and back.

use crate::{
    async_config::AsyncConfig,
    bundle::{BundleAdd, BundleControl, ONFT_BUNDLE_ADD_MESSAGE, ONFT_BUNDLE_CONTROL},
    codec::{DecodeError, Put, Reader, Result},
    error::ErrorMessage,
    features::{Features, SwitchConfig},
    flow_mod::FlowMod,
    flow_removed::FlowRemoved,
    header::{MessageTooLong, MessageType, RawMessage, Version, Xid, encode_message},
    hello::Hello,
    meter::MeterMod,
    multipart::{
        FlowMonitorRequest, MultipartReply, MultipartRequest, ONFT_FLOW_MONITOR_CANCEL,
        ONFT_FLOW_MONITOR_PAUSED, ONFT_FLOW_MONITOR_RESUMED,
    },
    nicira::{
        self, NICIRA, NXT_FLOW_REMOVED, NXT_SET_ASYNC_CONFIG, NXT_SET_ASYNC_CONFIG2,
        NXT_SET_CONTROLLER_ID, NXT_SET_PACKET_IN_FORMAT, ONF,
    },
    packet_in::PacketInFormat,
    packet_out::PacketOut,
    port::PortStatus,
    request_forward::{ONFT_REQUESTFORWARD, RequestForward},
    role::Role,
};

/// A message: what it says, and the version and xid it says it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The version that it is written in.
    pub version: Version,
    /// The transaction id.
    pub xid: Xid,
    /// What it says.
    pub body: Body,
}

impl Message {
    /// Reads a message.
    ///
    /// Of the versions besides 1.3 and 1.4, only what they share with these is
    /// read: hello, error and echo. Everything else becomes [`Body::Other`],
    /// and so do packet-ins, which [`PacketIn`](crate::PacketIn) reads.
    ///
    /// A message that holds a message which holds a message is read no further: the innermost is
    /// part of a [`Body::Other`] or [`Body::Experimenter`].
    pub fn decode(message: RawMessage<'_>) -> Result<Self, DecodeError> {
        let (version, xid) = (message.version(), message.xid());
        Ok(Self {
            version,
            xid,
            body: Body::decode(message, Place::Outer)?,
        })
    }

    /// Appends the message to `out`; on an error, nothing.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), MessageTooLong> {
        self.body.encode(self.version, self.xid, out)
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// The versions that one side speaks.
    Hello(Hello),
    /// A message could not be obeyed.
    Error(ErrorMessage),
    /// Are you there? With bytes to send back.
    EchoRequest(Vec<u8>),
    /// I am, and here are your bytes.
    EchoReply(Vec<u8>),
    /// Who are you?
    FeaturesRequest,
    /// This is who I am.
    FeaturesReply(Features),
    /// How are you configured?
    GetConfigRequest,
    /// This is how.
    GetConfigReply(SwitchConfig),
    /// Be configured so. There is no reply.
    SetConfig(SwitchConfig),
    /// A flow is gone.
    FlowRemoved(FlowRemoved),
    /// A port came, went or changed.
    PortStatus(PortStatus),
    /// Send this packet.
    PacketOut(PacketOut),
    /// Change flows. There is no reply.
    FlowMod(FlowMod),
    /// Tell me something, perhaps at length.
    MultipartRequest {
        /// Whether more of the request follows.
        more: bool,
        /// What is asked for.
        request: MultipartRequest,
    },
    /// This is it.
    MultipartReply {
        /// Whether more of the reply follows.
        more: bool,
        /// This part of it.
        reply: MultipartReply,
    },
    /// Reply when all that I sent before is done.
    BarrierRequest,
    /// It is done.
    BarrierReply,
    /// Give me this role.
    RoleRequest(Role),
    /// This is your role.
    RoleReply(Role),
    /// Which asynchronous messages do I get?
    GetAsyncRequest,
    /// These.
    GetAsyncReply(AsyncConfig),
    /// Send me these asynchronous messages. There is no reply.
    SetAsync(AsyncConfig),
    /// Change meters. There is no reply.
    MeterMod(MeterMod),
    /// Open, commit or discard a bundle, or the reply to that.
    BundleControl(BundleControl),
    /// Put this into a bundle. There is no reply.
    BundleAdd(BundleAdd),
    /// Another connection had a meter or group changed.
    RequestForward(RequestForward),
    /// Send me packet-ins in this layout (`NXT_SET_PACKET_IN_FORMAT`).
    SetPacketInFormat(PacketInFormat),
    /// Send me what `controller` actions send to this id
    /// (`NXT_SET_CONTROLLER_ID`).
    SetControllerId(u16),
    /// A flow is gone, told in Nicira's layout (`NXT_FLOW_REMOVED`), which has no hard timeout.
    NxtFlowRemoved(FlowRemoved),
    /// Send me these asynchronous messages, in the words of OpenFlow 1.3
    /// (`NXT_SET_ASYNC_CONFIG`, in every version).
    NxtSetAsyncConfig(AsyncConfig),
    /// Send me these asynchronous messages, in the properties of OpenFlow 1.4
    /// (`NXT_SET_ASYNC_CONFIG2`; Open vSwitch takes it up to 1.3).
    NxtSetAsyncConfig2(AsyncConfig),
    /// End a flow monitor. With OpenFlow 1.4 this is written as a
    /// [`FlowMonitorRequest`] and read as one.
    FlowMonitorCancel(u32),
    /// The switch has no room for more news of flows (1.3).
    FlowMonitorPaused,
    /// News of flows are complete again (1.3).
    FlowMonitorResumed,
    /// Another message of an extension.
    Experimenter {
        /// Whose extension.
        experimenter: u32,
        /// What follows.
        body: Vec<u8>,
    },
    /// Another message.
    Other {
        /// The type.
        message_type: MessageType,
        /// What follows the header.
        body: Vec<u8>,
    },
}

/// Where a message stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outer,
    /// Within another message. It holds none itself, or else a message could be so deep that
    /// nobody has the stack to read it.
    Inner,
}

impl Body {
    /// The type in the header, which may depend on the version.
    pub const fn message_type(&self, version: Version) -> MessageType {
        use MessageType as Type;
        let native_bundles = version.0 >= Version::V1_4.0;
        match self {
            Self::Hello(_) => Type::HELLO,
            Self::Error(_) => Type::ERROR,
            Self::EchoRequest(_) => Type::ECHO_REQUEST,
            Self::EchoReply(_) => Type::ECHO_REPLY,
            Self::FeaturesRequest => Type::FEATURES_REQUEST,
            Self::FeaturesReply(_) => Type::FEATURES_REPLY,
            Self::GetConfigRequest => Type::GET_CONFIG_REQUEST,
            Self::GetConfigReply(_) => Type::GET_CONFIG_REPLY,
            Self::SetConfig(_) => Type::SET_CONFIG,
            Self::FlowRemoved(_) => Type::FLOW_REMOVED,
            Self::PortStatus(_) => Type::PORT_STATUS,
            Self::PacketOut(_) => Type::PACKET_OUT,
            Self::FlowMod(_) => Type::FLOW_MOD,
            Self::MultipartRequest { .. } => Type::MULTIPART_REQUEST,
            Self::MultipartReply { .. } => Type::MULTIPART_REPLY,
            Self::BarrierRequest => Type::BARRIER_REQUEST,
            Self::BarrierReply => Type::BARRIER_REPLY,
            Self::RoleRequest(_) => Type::ROLE_REQUEST,
            Self::RoleReply(_) => Type::ROLE_REPLY,
            Self::GetAsyncRequest => Type::GET_ASYNC_REQUEST,
            Self::GetAsyncReply(_) => Type::GET_ASYNC_REPLY,
            Self::SetAsync(_) => Type::SET_ASYNC,
            Self::MeterMod(_) => Type::METER_MOD,
            Self::BundleControl(_) if native_bundles => Type::BUNDLE_CONTROL,
            Self::BundleAdd(_) if native_bundles => Type::BUNDLE_ADD_MESSAGE,
            Self::RequestForward(_) if native_bundles => Type::REQUESTFORWARD,
            Self::FlowMonitorCancel(_) if native_bundles => Type::MULTIPART_REQUEST,
            Self::BundleControl(_)
            | Self::BundleAdd(_)
            | Self::RequestForward(_)
            | Self::SetPacketInFormat(_)
            | Self::SetControllerId(_)
            | Self::NxtFlowRemoved(_)
            | Self::NxtSetAsyncConfig(_)
            | Self::NxtSetAsyncConfig2(_)
            | Self::FlowMonitorCancel(_)
            | Self::FlowMonitorPaused
            | Self::FlowMonitorResumed
            | Self::Experimenter { .. } => Type::EXPERIMENTER,
            Self::Other { message_type, .. } => *message_type,
        }
    }

    /// Reads what a message says that stands within another.
    pub(crate) fn decode_inner(message: RawMessage<'_>) -> Result<Self> {
        Self::decode(message, Place::Inner)
    }

    fn decode(message: RawMessage<'_>, place: Place) -> Result<Self> {
        use MessageType as Type;
        let outer = place == Place::Outer;
        let (version, xid) = (message.version(), message.xid());
        let mut reader = Reader::new("ofp_header", message.body());
        let r = &mut reader;
        let native_bundles = version >= Version::V1_4;
        let body = match message.message_type() {
            Type::HELLO => Self::Hello(Hello::decode(r)),
            Type::ERROR => Self::Error(ErrorMessage::decode(r)?),
            Type::ECHO_REQUEST => Self::EchoRequest(r.take_rest().to_vec()),
            Type::ECHO_REPLY => Self::EchoReply(r.take_rest().to_vec()),
            message_type if !version.is_spoken() => Self::other(message_type, r),
            Type::FEATURES_REQUEST => Self::FeaturesRequest,
            Type::FEATURES_REPLY => Self::FeaturesReply(Features::decode(r)?),
            Type::GET_CONFIG_REQUEST => Self::GetConfigRequest,
            Type::GET_CONFIG_REPLY => Self::GetConfigReply(SwitchConfig::decode(r)?),
            Type::SET_CONFIG => Self::SetConfig(SwitchConfig::decode(r)?),
            Type::FLOW_REMOVED => Self::FlowRemoved(FlowRemoved::decode(r)?),
            Type::PORT_STATUS => Self::PortStatus(PortStatus::decode(r, version)?),
            Type::PACKET_OUT => Self::PacketOut(PacketOut::decode(r)?),
            Type::FLOW_MOD => Self::FlowMod(FlowMod::decode(r, version)?),
            Type::MULTIPART_REQUEST => {
                let (more, request) = MultipartRequest::decode(r, version)?;
                Self::MultipartRequest { more, request }
            }
            Type::MULTIPART_REPLY => {
                let (more, reply) = MultipartReply::decode(r, version)?;
                Self::MultipartReply { more, reply }
            }
            Type::BARRIER_REQUEST => Self::BarrierRequest,
            Type::BARRIER_REPLY => Self::BarrierReply,
            Type::ROLE_REQUEST => Self::RoleRequest(Role::decode(r)?),
            Type::ROLE_REPLY => Self::RoleReply(Role::decode(r)?),
            Type::GET_ASYNC_REQUEST => Self::GetAsyncRequest,
            Type::GET_ASYNC_REPLY => Self::GetAsyncReply(AsyncConfig::decode(r, version)?),
            Type::SET_ASYNC => Self::SetAsync(AsyncConfig::decode(r, version)?),
            Type::METER_MOD => Self::MeterMod(MeterMod::decode(r)?),
            Type::BUNDLE_CONTROL if native_bundles => {
                Self::BundleControl(BundleControl::decode(r)?)
            }
            Type::BUNDLE_ADD_MESSAGE if native_bundles && outer => {
                Self::BundleAdd(BundleAdd::decode(r, version, xid)?)
            }
            Type::REQUESTFORWARD if native_bundles && outer => {
                Self::RequestForward(RequestForward::decode(r, version)?)
            }
            Type::EXPERIMENTER => Self::decode_experimenter(r, version, xid, place)?,
            message_type => Self::other(message_type, r),
        };
        reader.finish(body)
    }

    fn other(message_type: MessageType, r: &mut Reader<'_>) -> Self {
        Self::Other {
            message_type,
            body: r.take_rest().to_vec(),
        }
    }

    fn decode_experimenter(
        r: &mut Reader<'_>,
        version: Version,
        xid: Xid,
        place: Place,
    ) -> Result<Self> {
        let outer = place == Place::Outer;
        r.enter("ofp_experimenter_header");
        let experimenter = r.u32()?;
        let unknown = r.clone();
        if matches!(experimenter, NICIRA | ONF) {
            let body = match (experimenter, r.u32()?) {
                (NICIRA, NXT_SET_PACKET_IN_FORMAT) => {
                    Some(Self::SetPacketInFormat(nicira::decode_packet_in_format(r)?))
                }
                (NICIRA, NXT_SET_CONTROLLER_ID) => {
                    Some(Self::SetControllerId(nicira::decode_controller_id(r)?))
                }
                (NICIRA, NXT_FLOW_REMOVED) => {
                    Some(Self::NxtFlowRemoved(FlowRemoved::decode_nxt(r)?))
                }
                (NICIRA, NXT_SET_ASYNC_CONFIG) => {
                    Some(Self::NxtSetAsyncConfig(AsyncConfig::decode_words(r)?))
                }
                (NICIRA, NXT_SET_ASYNC_CONFIG2) => {
                    Some(Self::NxtSetAsyncConfig2(AsyncConfig::decode_properties(r)?))
                }
                (ONF, ONFT_BUNDLE_CONTROL) if version == Version::V1_3 => {
                    Some(Self::BundleControl(BundleControl::decode(r)?))
                }
                (ONF, ONFT_BUNDLE_ADD_MESSAGE) if version == Version::V1_3 && outer => {
                    Some(Self::BundleAdd(BundleAdd::decode(r, version, xid)?))
                }
                (ONF, ONFT_REQUESTFORWARD) if version == Version::V1_3 && outer => {
                    Some(Self::RequestForward(RequestForward::decode(r, version)?))
                }
                (ONF, ONFT_FLOW_MONITOR_CANCEL) if version == Version::V1_3 => {
                    Some(Self::FlowMonitorCancel(r.u32()?))
                }
                (ONF, ONFT_FLOW_MONITOR_PAUSED) => Some(Self::FlowMonitorPaused),
                (ONF, ONFT_FLOW_MONITOR_RESUMED) => Some(Self::FlowMonitorResumed),
                _ => None,
            };
            if let Some(body) = body {
                return Ok(body);
            }
        }
        *r = unknown;
        Ok(Self::Experimenter {
            experimenter,
            body: r.take_rest().to_vec(),
        })
    }

    /// Appends a message that says this to `out`; on an error, nothing.
    pub fn encode(
        &self,
        version: Version,
        xid: Xid,
        out: &mut Vec<u8>,
    ) -> Result<(), MessageTooLong> {
        encode_message(out, version, self.message_type(version), xid, |out| {
            self.write_body(version, xid, out);
        })
    }

    /// Appends a message within another, whose length is checked outside.
    pub(crate) fn write(&self, version: Version, xid: Xid, out: &mut Vec<u8>) {
        crate::header::write_message(out, version, self.message_type(version), xid, |out| {
            self.write_body(version, xid, out);
        });
    }

    fn write_body(&self, version: Version, xid: Xid, out: &mut Vec<u8>) {
        let native_bundles = version >= Version::V1_4;
        match self {
            Self::Hello(hello) => hello.encode(out),
            Self::Error(error) => error.encode(out),
            Self::EchoRequest(data) | Self::EchoReply(data) => out.bytes(data),
            Self::FeaturesRequest
            | Self::GetConfigRequest
            | Self::BarrierRequest
            | Self::BarrierReply
            | Self::GetAsyncRequest => {}
            Self::FeaturesReply(features) => features.encode(out),
            Self::GetConfigReply(config) | Self::SetConfig(config) => config.encode(out),
            Self::FlowRemoved(removed) => removed.encode(out),
            Self::PortStatus(status) => status.encode(version, out),
            Self::PacketOut(packet) => packet.encode(out),
            Self::FlowMod(flow_mod) => flow_mod.encode(version, out),
            Self::MultipartRequest { more, request } => request.encode(*more, version, out),
            Self::MultipartReply { more, reply } => reply.encode(*more, version, out),
            Self::RoleRequest(role) | Self::RoleReply(role) => role.encode(out),
            Self::GetAsyncReply(config) | Self::SetAsync(config) => config.encode(version, out),
            Self::MeterMod(meter) => meter.encode(out),
            Self::BundleControl(control) => {
                if !native_bundles {
                    experimenter(ONF, ONFT_BUNDLE_CONTROL, out);
                }
                control.encode(out);
            }
            Self::BundleAdd(add) => {
                if !native_bundles {
                    experimenter(ONF, ONFT_BUNDLE_ADD_MESSAGE, out);
                }
                add.encode(version, xid, out);
            }
            Self::RequestForward(forward) => {
                if !native_bundles {
                    experimenter(ONF, ONFT_REQUESTFORWARD, out);
                }
                forward.encode(version, out);
            }
            Self::SetPacketInFormat(format) => {
                experimenter(NICIRA, NXT_SET_PACKET_IN_FORMAT, out);
                nicira::encode_packet_in_format(*format, out);
            }
            Self::SetControllerId(id) => {
                experimenter(NICIRA, NXT_SET_CONTROLLER_ID, out);
                nicira::encode_controller_id(*id, out);
            }
            Self::NxtFlowRemoved(removed) => {
                experimenter(NICIRA, NXT_FLOW_REMOVED, out);
                removed.encode_nxt(out);
            }
            Self::NxtSetAsyncConfig(config) => {
                experimenter(NICIRA, NXT_SET_ASYNC_CONFIG, out);
                config.encode_words(out);
            }
            Self::NxtSetAsyncConfig2(config) => {
                experimenter(NICIRA, NXT_SET_ASYNC_CONFIG2, out);
                config.encode_properties(out);
            }
            Self::FlowMonitorCancel(id) if native_bundles => {
                MultipartRequest::FlowMonitor(vec![FlowMonitorRequest::delete(*id)])
                    .encode(false, version, out);
            }
            Self::FlowMonitorCancel(id) => {
                experimenter(ONF, ONFT_FLOW_MONITOR_CANCEL, out);
                out.u32(*id);
            }
            Self::FlowMonitorPaused => experimenter(ONF, ONFT_FLOW_MONITOR_PAUSED, out),
            Self::FlowMonitorResumed => experimenter(ONF, ONFT_FLOW_MONITOR_RESUMED, out),
            Self::Experimenter { experimenter, body } => {
                out.u32(*experimenter);
                out.bytes(body);
            }
            Self::Other { body, .. } => out.bytes(body),
        }
    }
}

impl From<MultipartRequest> for Body {
    fn from(request: MultipartRequest) -> Self {
        Self::MultipartRequest {
            more: false,
            request,
        }
    }
}

impl From<FlowMod> for Body {
    fn from(flow_mod: FlowMod) -> Self {
        Self::FlowMod(flow_mod)
    }
}

fn experimenter(id: u32, kind: u32, out: &mut Vec<u8>) {
    out.u32(id);
    out.u32(kind);
}

#[cfg(test)]
mod tests;
