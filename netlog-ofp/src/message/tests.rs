//! Every message is read as it was written, and nothing makes a decoder panic.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    action::{Action, Controller},
    bundle::{BundleControlType, BundleFlags},
    codec::padding,
    error::ErrorCode,
    features::Capabilities,
    flow_mod::{FlowCommand, FlowFlags},
    flow_removed::FlowRemovedReason,
    header::Messages,
    instruction::Instruction,
    meter::{MeterBand, MeterCommand, MeterFlags, MeterId},
    multipart::{
        AggregateStats, Desc, FlowMonitorCommand, FlowMonitorFlags, FlowStats, FlowStatsRequest,
        FlowUpdate, FlowUpdateEvent, FullFlowUpdate, MeterBandStats, MeterConfig, MeterFeatures,
        MeterStats, PortStats, TableStats,
    },
    oxm::{Field, Match, Oxm},
    packet_in::{Metadata, PacketIn, PacketInReason},
    port::{Port, PortConfig, PortNo, PortReason, PortState},
    request_forward::RequestForward,
    role::ControllerRole,
    testdata::{self, messages},
};

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

/// Bytes whose number and `header` make a multiple of eight.
fn aligned(header: usize, max: usize) -> impl Strategy<Value = Vec<u8>> {
    bytes(max).prop_map(move |mut bytes| {
        bytes.resize(bytes.len() + padding(bytes.len() + header), 7);
        bytes
    })
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u32>(), 0..1_000_000_000u32).prop_map(|(s, n)| Duration::new(s.into(), n))
}

fn port_no() -> impl Strategy<Value = PortNo> {
    prop_oneof![
        any::<u16>().prop_map(PortNo::from_u16),
        any::<u32>().prop_map(PortNo)
    ]
}

fn oxm() -> impl Strategy<Value = Oxm> {
    let field = prop_oneof![
        (0..16u8).prop_map(Field::reg),
        (0..1u32 << 23).prop_map(Field),
    ];
    prop_oneof![
        (field.clone(), any::<[u8; 4]>()).prop_map(|(field, value)| Oxm::new(field, value)),
        (field.clone(), any::<[u8; 16]>()).prop_map(|(field, value)| Oxm::new(field, value)),
        (field, any::<[u8; 6]>(), any::<[u8; 6]>())
            .prop_map(|(field, value, mask)| Oxm::masked(field, value, mask)),
        any::<u32>().prop_map(|port| Oxm::new(Field::IN_PORT, port.to_be_bytes())),
    ]
}

fn r#match() -> impl Strategy<Value = Match> {
    vec(oxm(), 0..5).prop_map(Match)
}

fn action() -> impl Strategy<Value = Action> {
    let controller = (
        any::<u16>(),
        any::<u16>(),
        any::<u8>().prop_map(PacketInReason),
        bytes(20),
        any::<bool>(),
        option::of(any::<u32>()),
    );
    prop_oneof![
        (port_no(), any::<u16>()).prop_map(|(port, max_len)| Action::Output { port, max_len }),
        any::<u32>().prop_map(Action::Group),
        oxm().prop_map(Action::SetField),
        controller.prop_map(
            |(max_len, controller_id, reason, userdata, pause, meter_id)| {
                Action::Controller(Controller {
                    max_len,
                    controller_id,
                    reason,
                    userdata,
                    pause,
                    meter_id,
                })
            }
        ),
        (any::<u16>(), option::of(any::<u8>())).prop_map(|(port, table)| Action::Resubmit {
            in_port: PortNo::from_u16(port),
            table,
        }),
        // Subtype 0 is none that is known.
        (any::<u32>(), aligned(10, 30)).prop_map(|(experimenter, body)| Action::Experimenter {
            experimenter,
            body: [&[0, 0][..], &body].concat(),
        }),
        (26..0xffffu16, aligned(8, 30)).prop_map(|(kind, body)| Action::Other {
            kind,
            body: [&[1; 4][..], &body].concat(),
        }),
    ]
}

fn instruction() -> impl Strategy<Value = Instruction> {
    prop_oneof![
        any::<u8>().prop_map(Instruction::GotoTable),
        any::<(u64, u64)>()
            .prop_map(|(metadata, mask)| Instruction::WriteMetadata { metadata, mask }),
        vec(action(), 0..4).prop_map(Instruction::WriteActions),
        vec(action(), 0..4).prop_map(Instruction::ApplyActions),
        Just(Instruction::ClearActions),
        any::<u32>().prop_map(Instruction::Meter),
        (7..=0xffffu16, aligned(4, 30)).prop_map(|(kind, body)| Instruction::Other { kind, body }),
    ]
}

fn instructions() -> impl Strategy<Value = Vec<Instruction>> {
    vec(instruction(), 0..4)
}

/// OpenFlow 1.3 has no importance.
fn importance(version: Version) -> impl Strategy<Value = u16> {
    any::<u16>().prop_map(move |importance| match version {
        Version::V1_3 => 0,
        _ => importance,
    })
}

fn flow_mod(version: Version) -> impl Strategy<Value = FlowMod> {
    (
        (any::<u64>(), any::<u64>(), any::<u8>(), 0..6u8),
        (any::<u16>(), any::<u16>(), any::<u16>()),
        (option::of(0..0xffff_ffffu32), port_no(), any::<u32>()),
        (any::<u16>(), importance(version)),
        r#match(),
        instructions(),
    )
        .prop_map(
            |(
                (cookie, cookie_mask, table_id, command),
                (idle_timeout, hard_timeout, priority),
                (buffer_id, out_port, out_group),
                (flags, importance),
                r#match,
                instructions,
            )| FlowMod {
                cookie,
                cookie_mask,
                table_id,
                command: FlowCommand(command),
                idle_timeout,
                hard_timeout,
                priority,
                buffer_id,
                out_port,
                out_group,
                flags: FlowFlags(flags),
                importance,
                r#match,
                instructions,
            },
        )
}

fn flow_removed() -> impl Strategy<Value = FlowRemoved> {
    (
        (any::<u64>(), any::<u16>(), 0..7u8, any::<u8>()),
        duration(),
        any::<(u16, u16)>(),
        any::<(u64, u64)>(),
        r#match(),
    )
        .prop_map(
            |(
                (cookie, priority, reason, table_id),
                duration,
                (idle_timeout, hard_timeout),
                (packet_count, byte_count),
                r#match,
            )| FlowRemoved {
                cookie,
                priority,
                reason: FlowRemovedReason(reason),
                table_id,
                duration,
                idle_timeout,
                hard_timeout,
                packet_count,
                byte_count,
                r#match,
            },
        )
}

fn port(version: Version) -> impl Strategy<Value = Port> {
    // Six words in 1.3, any properties in 1.4.
    let features = match version {
        Version::V1_3 => vec(any::<u8>(), 24..25),
        _ => vec(any::<u8>(), 0..40),
    };
    let rest = (any::<[u8; 16]>(), any::<(u32, u32)>(), features);
    (port_no(), any::<[u8; 6]>(), rest).prop_map(
        |(port_no, hw_addr, (raw_name, (config, state), features))| Port {
            port_no,
            hw_addr,
            raw_name,
            config: PortConfig(config),
            state: PortState(state),
            features,
        },
    )
}

fn bands() -> impl Strategy<Value = Vec<MeterBand>> {
    let band = prop_oneof![
        any::<(u32, u32)>().prop_map(|(rate, burst_size)| MeterBand::Drop { rate, burst_size }),
        (2..=0xffffu16, any::<(u32, u32)>(), bytes(9)).prop_map(
            |(kind, (rate, burst_size), body)| MeterBand::Other {
                kind,
                rate,
                burst_size,
                body,
            }
        ),
    ];
    vec(band, 0..4)
}

fn async_config(properties: bool) -> impl Strategy<Value = AsyncConfig> {
    let other = vec((6..=0xffffu16, bytes(12)), 0..3);
    // What the words of 1.3 cannot say is that one is left as it is.
    let word = move || {
        let word = option::of(any::<u32>());
        word.prop_map(move |word| if properties { word } else { word.or(Some(0)) })
    };
    let pair = move || [word(), word()];
    ([pair(), pair(), pair()], other).prop_map(
        move |([packet_in, port_status, flow_removed], other)| AsyncConfig {
            packet_in,
            port_status,
            flow_removed,
            other: if properties { other } else { Vec::new() },
        },
    )
}

fn flow_stats_request() -> impl Strategy<Value = FlowStatsRequest> {
    let numbers = (any::<u8>(), port_no(), any::<(u32, u64, u64)>());
    (numbers, r#match()).prop_map(
        |((table_id, out_port, (out_group, cookie, cookie_mask)), r#match)| FlowStatsRequest {
            table_id,
            out_port,
            out_group,
            cookie,
            cookie_mask,
            r#match,
        },
    )
}

fn flow_monitor_request(version: Version) -> impl Strategy<Value = FlowMonitorRequest> {
    let numbers = (any::<u32>(), port_no(), any::<(u16, u8)>());
    (numbers, any::<u32>(), 0..3u8, r#match()).prop_map(
        move |((monitor_id, out_port, (flags, table_id)), out_group, command, r#match)| {
            let request = FlowMonitorRequest::new(monitor_id, table_id, FlowMonitorFlags(flags));
            let (out_group, command) = match version {
                Version::V1_3 => (request.out_group, request.command),
                _ => (out_group, FlowMonitorCommand(command)),
            };
            FlowMonitorRequest {
                out_port,
                out_group,
                command,
                r#match,
                ..request
            }
        },
    )
}

fn multipart_request(version: Version) -> impl Strategy<Value = MultipartRequest> {
    use MultipartRequest as Request;
    prop_oneof![
        Just(Request::Desc),
        flow_stats_request().prop_map(Request::Flow),
        flow_stats_request().prop_map(Request::Aggregate),
        Just(Request::Table),
        port_no().prop_map(Request::PortStats),
        Just(Request::PortDesc),
        any::<u32>().prop_map(|id| Request::Meter(MeterId(id))),
        any::<u32>().prop_map(|id| Request::MeterConfig(MeterId(id))),
        Just(Request::MeterFeatures),
        vec(flow_monitor_request(version), 0..3).prop_map(Request::FlowMonitor),
        (17..=0xffffu16, bytes(30)).prop_map(|(kind, body)| Request::Other { kind, body }),
    ]
}

fn flow_stats(version: Version) -> impl Strategy<Value = FlowStats> {
    (
        (any::<u8>(), duration(), any::<(u16, u16, u16, u16)>()),
        importance(version),
        any::<(u64, u64, u64)>(),
        r#match(),
        instructions(),
    )
        .prop_map(
            |(
                (table_id, duration, (priority, idle_timeout, hard_timeout, flags)),
                importance,
                (cookie, packet_count, byte_count),
                r#match,
                instructions,
            )| FlowStats {
                table_id,
                duration,
                priority,
                idle_timeout,
                hard_timeout,
                flags: FlowFlags(flags),
                importance,
                cookie,
                packet_count,
                byte_count,
                r#match,
                instructions,
            },
        )
}

fn port_stats(version: Version) -> impl Strategy<Value = PortStats> {
    let medium = match version {
        Version::V1_3 => vec(any::<u8>(), 32..33),
        _ => vec(any::<u8>(), 0..40),
    };
    (port_no(), option::of(duration()), any::<[u64; 8]>(), medium).prop_map(
        |(port_no, duration, counters, medium)| {
            let [
                rx_packets,
                tx_packets,
                rx_bytes,
                tx_bytes,
                rx_dropped,
                tx_dropped,
                rx_errors,
                tx_errors,
            ] = counters;
            PortStats {
                port_no,
                duration,
                rx_packets,
                tx_packets,
                rx_bytes,
                tx_bytes,
                rx_dropped,
                tx_dropped,
                rx_errors,
                tx_errors,
                medium,
            }
        },
    )
}

fn meter_stats() -> impl Strategy<Value = MeterStats> {
    let bands = vec(
        any::<(u64, u64)>().prop_map(|(packet_count, byte_count)| MeterBandStats {
            packet_count,
            byte_count,
        }),
        0..4,
    );
    (any::<(u32, u32, u64, u64)>(), duration(), bands).prop_map(
        |((meter_id, flow_count, packet_in_count, byte_in_count), duration, bands)| MeterStats {
            meter_id: MeterId(meter_id),
            flow_count,
            packet_in_count,
            byte_in_count,
            duration,
            bands,
        },
    )
}

fn flow_update(version: Version) -> BoxedStrategy<FlowUpdate> {
    // 1.3 tells what there was as added, and pauses in messages of their own.
    let first = u16::from(version == Version::V1_3);
    let full = (
        (first..4u16, any::<u8>(), any::<u8>()),
        any::<(u16, u16, u16, u64)>(),
        r#match(),
        instructions(),
    )
        .prop_map(
            |(
                (event, table_id, reason),
                (idle_timeout, hard_timeout, priority, cookie),
                r#match,
                instructions,
            )| {
                FlowUpdate::Full(FullFlowUpdate {
                    event: FlowUpdateEvent(event),
                    table_id,
                    reason: FlowRemovedReason(reason),
                    idle_timeout,
                    hard_timeout,
                    priority,
                    cookie,
                    r#match,
                    instructions,
                })
            },
        );
    let common = prop_oneof![
        full,
        any::<u32>().prop_map(|xid| FlowUpdate::Abbrev(Xid(xid))),
        (7..=0xffffu16, bytes(12)).prop_map(|(event, body)| FlowUpdate::Other { event, body }),
    ];
    if version == Version::V1_3 {
        return common.boxed();
    }
    prop_oneof![common, Just(FlowUpdate::Paused), Just(FlowUpdate::Resumed)].boxed()
}

fn multipart_reply(version: Version) -> impl Strategy<Value = MultipartReply> {
    use MultipartReply as Reply;
    let desc = (
        ["[a-z ]{0,255}", "[a-z]{0,9}", "[0-9.]{0,9}"],
        "[a-z]{0,31}",
    )
        .prop_map(|([manufacturer, hardware, software], serial_number)| Desc {
            datapath: software.clone(),
            manufacturer,
            hardware,
            software,
            serial_number,
        });
    let table = any::<(u8, u32, u64, u64)>().prop_map(
        |(table_id, active_count, lookup_count, matched_count)| TableStats {
            table_id,
            active_count,
            lookup_count,
            matched_count,
        },
    );
    let config =
        (any::<(u16, u32)>(), bands()).prop_map(|((flags, meter_id), bands)| MeterConfig {
            flags: MeterFlags(flags),
            meter_id: MeterId(meter_id),
            bands,
        });
    let features = any::<(u32, u32, u32, u8, u8)>().prop_map(
        |(max_meter, band_types, capabilities, max_bands, max_color)| MeterFeatures {
            max_meter,
            band_types,
            capabilities,
            max_bands,
            max_color,
        },
    );
    let aggregate = any::<(u64, u64, u32)>().prop_map(|(packet_count, byte_count, flow_count)| {
        AggregateStats {
            packet_count,
            byte_count,
            flow_count,
        }
    });
    prop_oneof![
        desc.prop_map(|desc| Reply::Desc(Box::new(desc))),
        vec(flow_stats(version), 0..4).prop_map(Reply::Flow),
        aggregate.prop_map(Reply::Aggregate),
        vec(table, 0..4).prop_map(Reply::Table),
        vec(port_stats(version), 0..4).prop_map(Reply::PortStats),
        vec(port(version), 0..4).prop_map(Reply::PortDesc),
        vec(meter_stats(), 0..4).prop_map(Reply::Meter),
        vec(config, 0..4).prop_map(Reply::MeterConfig),
        features.prop_map(Reply::MeterFeatures),
        vec(flow_update(version), 0..4).prop_map(Reply::FlowMonitor),
        (17..=0xffffu16, bytes(30)).prop_map(|(kind, body)| Reply::Other { kind, body }),
    ]
}

fn error_message() -> impl Strategy<Value = ErrorMessage> {
    let code = prop_oneof![
        (0..0xb0c2u16, any::<u16>()).prop_map(|(kind, code)| ErrorCode::Standard { kind, code }),
        any::<(u32, u16)>()
            .prop_map(|(experimenter, code)| ErrorCode::Experimenter { experimenter, code }),
        any::<(u32, u16, u16)>().prop_map(|(vendor, kind, code)| ErrorCode::Vendor {
            vendor,
            kind,
            code
        }),
    ];
    (code, bytes(90)).prop_map(|(code, data)| ErrorMessage { code, data })
}

/// Every body but that of adding to a bundle.
fn plain_body(version: Version) -> BoxedStrategy<Body> {
    let symmetric = prop_oneof![
        bytes(30).prop_map(|body| Body::Hello(Hello::decode(&mut Reader::new("test", &body)))),
        error_message().prop_map(Body::Error),
        bytes(30).prop_map(Body::EchoRequest),
        bytes(30).prop_map(Body::EchoReply),
        select(vec![
            Body::FeaturesRequest,
            Body::GetConfigRequest,
            Body::BarrierRequest,
            Body::BarrierReply,
            Body::GetAsyncRequest,
            Body::FlowMonitorPaused,
            Body::FlowMonitorResumed,
        ]),
    ];
    let config = any::<(u16, u16)>().prop_map(|(flags, miss_send_len)| SwitchConfig {
        flags,
        miss_send_len,
    });
    let features = any::<(u64, u32, u8, u8, u32)>().prop_map(
        |(datapath_id, n_buffers, n_tables, auxiliary_id, capabilities)| Features {
            datapath_id,
            n_buffers,
            n_tables,
            auxiliary_id,
            capabilities: Capabilities(capabilities),
        },
    );
    let role = any::<(u32, u64)>().prop_map(|(role, generation_id)| Role {
        role: ControllerRole(role),
        generation_id,
    });
    let asynchronous = async_config(version >= Version::V1_4);
    let session = prop_oneof![
        features.prop_map(Body::FeaturesReply),
        config.clone().prop_map(Body::GetConfigReply),
        config.prop_map(Body::SetConfig),
        role.clone().prop_map(Body::RoleRequest),
        role.prop_map(Body::RoleReply),
        async_config(version >= Version::V1_4).prop_map(Body::GetAsyncReply),
        asynchronous.prop_map(Body::SetAsync),
        any::<u16>().prop_map(Body::SetControllerId),
        any::<u32>().prop_map(|format| Body::SetPacketInFormat(PacketInFormat(format))),
        async_config(true).prop_map(Body::NxtSetAsyncConfig2),
        async_config(false).prop_map(Body::NxtSetAsyncConfig),
    ];
    let packet_out = (
        option::of(0..0xffff_ffffu32),
        port_no(),
        vec(action(), 0..4),
        bytes(99),
    )
        .prop_map(|(buffer_id, in_port, actions, data)| PacketOut {
            buffer_id,
            in_port,
            actions,
            data,
        });
    let meter_mod =
        (any::<(u16, u16, u32)>(), bands()).prop_map(|((command, flags, meter_id), bands)| {
            MeterMod {
                command: MeterCommand(command),
                flags: MeterFlags(flags),
                meter_id: MeterId(meter_id),
                bands,
            }
        });
    let control =
        (any::<(u32, u16, u16)>(), bytes(20)).prop_map(|((bundle_id, kind, flags), properties)| {
            BundleControl {
                bundle_id,
                kind: BundleControlType(kind),
                flags: BundleFlags(flags),
                properties,
            }
        });
    let status = (0..4u8, port(version)).prop_map(|(reason, port)| PortStatus {
        reason: PortReason(reason),
        port,
    });
    let forwarding = prop_oneof![
        flow_mod(version).prop_map(Body::FlowMod),
        flow_removed().prop_map(Body::FlowRemoved),
        flow_removed().prop_map(|removed| Body::NxtFlowRemoved(FlowRemoved {
            hard_timeout: 0,
            ..removed
        })),
        status.prop_map(Body::PortStatus),
        packet_out.prop_map(Body::PacketOut),
        meter_mod.prop_map(Body::MeterMod),
        control.prop_map(Body::BundleControl),
    ];
    let multipart = prop_oneof![
        (any::<bool>(), multipart_request(version))
            .prop_map(|(more, request)| Body::MultipartRequest { more, request }),
        (any::<bool>(), multipart_reply(version))
            .prop_map(|(more, reply)| Body::MultipartReply { more, reply }),
    ];
    // Subtype 0 is none that is known.
    let unknown = prop_oneof![
        (any::<u32>(), bytes(20)).prop_map(|(experimenter, body)| Body::Experimenter {
            experimenter,
            body: [&[0; 4][..], &body].concat(),
        }),
        (35..=0xffu8, bytes(20)).prop_map(|(number, body)| Body::Other {
            message_type: MessageType(number),
            body,
        }),
    ];
    let common = prop_oneof![symmetric, session, forwarding, multipart, unknown];
    if version == Version::V1_3 {
        // In 1.4, this is a flow monitor request.
        prop_oneof![9 => common, 1 => any::<u32>().prop_map(Body::FlowMonitorCancel)].boxed()
    } else {
        common.boxed()
    }
}

fn body(version: Version) -> impl Strategy<Value = Body> {
    let add = (any::<(u32, u16)>(), plain_body(version), bytes(20)).prop_map(
        |((bundle_id, flags), message, properties)| {
            Body::BundleAdd(BundleAdd {
                bundle_id,
                flags: BundleFlags(flags),
                message: Box::new(message),
                properties,
            })
        },
    );
    let forward = (any::<u32>(), plain_body(version)).prop_map(|(xid, request)| {
        Body::RequestForward(RequestForward {
            xid: Xid(xid),
            request: Box::new(request),
        })
    });
    prop_oneof![9 => plain_body(version), 1 => add, 1 => forward]
}

/// Puts a message into another.
type Around<'a> = &'a dyn Fn(&[u8]) -> Body;

/// However deep they are, they must be read with the stack of a thread.
#[test]
fn messages_in_messages_do_not_exhaust_the_stack() {
    let forward = |inner: &[u8]| Body::Other {
        message_type: MessageType::REQUESTFORWARD,
        body: inner.to_vec(),
    };
    let add = |inner: &[u8]| Body::Other {
        message_type: MessageType::BUNDLE_ADD_MESSAGE,
        body: [&[0; 8], inner].concat(),
    };
    let onf_forward = |inner: &[u8]| Body::Experimenter {
        experimenter: ONF,
        body: [&2350u32.to_be_bytes(), inner].concat(),
    };
    let onf_add = |inner: &[u8]| Body::Experimenter {
        experimenter: ONF,
        body: [&2301u32.to_be_bytes(), &[0; 8][..], inner].concat(),
    };
    let around: [(Version, Around<'_>); 4] = [
        (Version::V1_4, &forward),
        (Version::V1_4, &add),
        (Version::V1_3, &onf_forward),
        (Version::V1_3, &onf_add),
    ];
    for (version, around) in around {
        let mut body = Body::EchoRequest(Vec::new());
        let mut deepest = Vec::new();
        loop {
            let mut bytes = Vec::new();
            if body.encode(version, Xid(0), &mut bytes).is_err() {
                break;
            }
            body = around(&bytes);
            deepest = bytes;
        }
        assert!(deepest.len() > 65_000);
        let message = Message::decode(RawMessage::new(&deepest).unwrap()).unwrap();
        assert!(matches!(
            message.body,
            Body::RequestForward(_) | Body::BundleAdd(_)
        ));
        let mut again = Vec::new();
        message.encode(&mut again).unwrap();
        assert_eq!(again, deepest);
    }
}

fn message() -> impl Strategy<Value = Message> {
    select(vec![Version::V1_3, Version::V1_4])
        .prop_flat_map(|version| (Just(version), any::<u32>(), body(version)))
        .prop_map(|(version, xid, body)| Message {
            version,
            xid: Xid(xid),
            body,
        })
}

fn recorded() -> Vec<Vec<u8>> {
    [
        testdata::STANDARD,
        testdata::NXT,
        testdata::NXT2,
        testdata::USERDATA,
    ]
    .into_iter()
    .flat_map(messages)
    .collect()
}

/// Reads `bytes` in every way there is. What can be read can be written.
fn read_everything(bytes: &[u8]) {
    for message in Messages::new(bytes).flatten() {
        let _ = PacketIn::parse(message);
        if let Ok(message) = Message::decode(message) {
            let _ = format!("{message:?}");
            let mut out = Vec::new();
            message.encode(&mut out).unwrap();
        }
    }
    let _ = Metadata::parse(bytes);
}

/// What a switch sent is read, and written as it came.
#[test]
fn recorded_messages_are_written_as_they_came() {
    for session in [testdata::SWITCH_1_3, testdata::SWITCH_1_4] {
        for raw in Messages::new(session) {
            let raw = raw.unwrap();
            let message = Message::decode(raw).unwrap_or_else(|e| panic!("{raw:?}: {e}"));
            let mut out = Vec::new();
            message.encode(&mut out).unwrap();
            assert_eq!(out, raw.bytes(), "{message:?}");
        }
    }
}

/// The flows that came: what happened, the cookie, register 5.
type News = (FlowUpdateEvent, u64, Option<u32>);

/// The same things happened in both sessions, and read the same.
#[test]
fn recorded_sessions_tell_the_same_in_both_versions() {
    for (session, version, at_first) in [
        (testdata::SWITCH_1_3, Version::V1_3, FlowUpdateEvent::ADDED),
        (
            testdata::SWITCH_1_4,
            Version::V1_4,
            FlowUpdateEvent::INITIAL,
        ),
    ] {
        let mut flows = Vec::new();
        let mut news: Vec<News> = Vec::new();
        let mut abbreviated = Vec::new();
        let mut ports = Vec::new();
        let mut rest = Vec::new();
        for raw in Messages::new(session).skip(1) {
            let message = Message::decode(raw.unwrap()).unwrap();
            assert_eq!(message.version, version);
            match message.body {
                Body::MultipartReply { more, reply } => {
                    assert!(!more);
                    match reply {
                        MultipartReply::Flow(list) => flows.extend(list),
                        MultipartReply::FlowMonitor(updates) => {
                            for update in updates {
                                match update {
                                    FlowUpdate::Full(flow) => news.push((
                                        flow.event,
                                        flow.cookie,
                                        flow.r#match.get_u32(Field::REG5),
                                    )),
                                    FlowUpdate::Abbrev(xid) => abbreviated.push(xid),
                                    update => panic!("{update:?}"),
                                }
                            }
                        }
                        reply => rest.push(format!("{reply:?}")),
                    }
                }
                Body::PortStatus(status) => {
                    ports.push((status.reason, status.port.name().into_owned()));
                }
                Body::FlowRemoved(removed) => {
                    assert_eq!((removed.cookie, removed.table_id), (7, 94));
                    assert_eq!(removed.reason, FlowRemovedReason::DELETE);
                }
                Body::Error(error) => {
                    assert_eq!(error.to_string(), "OFPMMFC_METER_EXISTS for METER_MOD 0x7");
                }
                _ => {}
            }
        }

        assert_eq!(flows.len(), 331);
        let conjunctions = flows.iter().filter(|flow| {
            flow.instructions.iter().any(|instruction| {
                // NXAST_CONJUNCTION is none of ours, and is kept.
                matches!(instruction, Instruction::ApplyActions(actions)
                    if matches!(&actions[..], [Action::Experimenter { body, .. }, ..]
                        if body.starts_with(&[0, 34])))
            })
        });
        assert!(conjunctions.count() > 10);
        let to_94 = flows.iter().find(|flow| flow.table_id == 91).unwrap();
        assert_eq!(
            to_94.instructions,
            [Instruction::ApplyActions(vec![Action::resubmit(94)])]
        );

        assert_eq!(abbreviated, [Xid(31)]);
        assert_eq!(
            news[1..],
            [
                (FlowUpdateEvent::ADDED, 0, Some(8)),
                (FlowUpdateEvent::MODIFIED, 0, Some(8)),
                (FlowUpdateEvent::REMOVED, 0, Some(8)),
                (FlowUpdateEvent::REMOVED, 7, Some(9)),
            ]
        );
        assert_eq!(news[0].0, at_first);
        let came_and_went = [PortReason::ADD, PortReason::DELETE];
        assert_eq!(ports, came_and_went.map(|reason| (reason, "pX".to_owned())));
        assert_eq!(rest.len(), 8);
        assert_eq!(rest[0], "Desc(Open vSwitch 3.1.0)");
        assert!(rest[1].contains("flow_count: 331"), "{}", rest[1]);
        assert!(rest[6].contains("rate: 100, burst_size: 25"), "{}", rest[6]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_written_is_read(message in message()) {
        let mut out = vec![0xaa; 3];
        message.encode(&mut out).unwrap();
        let raw = RawMessage::new(&out[3..]).unwrap();
        prop_assert_eq!(raw.message_type(), message.body.message_type(message.version));
        prop_assert_eq!(Message::decode(raw).unwrap(), message);
    }

    #[test]
    fn packet_ins_that_are_written_are_read(
        numbers in any::<(u64, u8, u8)>(),
        buffer_id in option::of(0..0xffff_ffffu32),
        fields in r#match(),
        userdata in bytes(30),
        data in bytes(200),
        cut in any::<u8>(),
        format in 0..3u32,
    ) {
        let fields = fields.to_bytes();
        let Ok(metadata) = Metadata::parse(&fields) else {
            // A field with a value shorter than its own.
            return Ok(());
        };
        let (cookie, table_id, reason) = numbers;
        let format = PacketInFormat(format);
        let packet = PacketIn {
            cookie,
            table_id,
            reason: PacketInReason(reason),
            buffer_id,
            total_len: u32::try_from(data.len()).unwrap() + u32::from(cut),
            metadata,
            userdata: if format == PacketInFormat::NXT_PACKET_IN2 { &userdata } else { &[] },
            data: &data,
        };
        let mut out = Vec::new();
        packet.encode(format, Version::V1_4, Xid(0), &mut out).unwrap();
        let raw = RawMessage::new(&out).unwrap();
        prop_assert_eq!(PacketIn::parse(raw).unwrap(), Some(packet));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(
        version in 4..6u8,
        message_type in 0..36u8,
        mut body in bytes(300),
    ) {
        let length = u16::try_from(body.len() + 8).unwrap();
        let mut bytes = vec![version, message_type];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.append(&mut body);
        read_everything(&bytes);
    }

    #[test]
    fn no_change_to_a_message_makes_a_decoder_panic(
        message in message(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes).unwrap();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_everything(&bytes);
    }

    #[test]
    fn no_change_to_a_recorded_message_makes_a_decoder_panic(
        which in any::<prop::sample::Index>(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = which.get(&recorded()).clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_everything(&bytes);
    }
}
