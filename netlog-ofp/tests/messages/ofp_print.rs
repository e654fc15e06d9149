//! What Open vSwitch reads in messages that this crate writes.
//!
//! `ofp_print.txt` has for each message its bytes and what `ovs-ofctl ofp-print`
//! of Open vSwitch 3.1.0 says of them. After a change to the list below, run the
//! test with `UPDATE_OFP_PRINT=1` where `ovs-ofctl` is installed, and read what
//! has changed.

use std::{fmt::Write as _, process::Command};

use netlog_ofp::{
    ALL_TABLES, Action, AsyncConfig, Body, BundleAdd, BundleControl, BundleControlType,
    BundleFlags, Controller, ControllerRole, ErrorCode, ErrorMessage, Features, Field, FlowCommand,
    FlowFlags, FlowMod, FlowRemoved, FlowRemovedReason, Hello, Instruction, Match, MeterCommand,
    MeterId, MeterMod, MultipartReply, MultipartRequest, NICIRA, ONF, Oxm, PacketInFormat,
    PacketInReason, PacketOut, Port, PortConfig, PortNo, PortReason, PortState, PortStatus,
    RequestForward, RequestForwardReason, Role, SwitchConfig, Version, Xid, ct_state,
    multipart::{
        AggregateStats, FlowMonitorFlags, FlowMonitorRequest, FlowStats, FlowStatsRequest,
        FlowUpdate, FlowUpdateEvent, FullFlowUpdate, MeterBandStats, MeterConfig, MeterFeatures,
        MeterStats, PortStats, TableStats,
    },
};

use super::{encode, to_hex};

const RECORDED: &str = include_str!("ofp_print.txt");

fn log_actions() -> Vec<Action> {
    let controller = Controller {
        controller_id: 0x6e4c,
        userdata: b"nl".to_vec(),
        meter_id: Some(91),
        ..Controller::default()
    };
    vec![controller.into(), Action::resubmit(94)]
}

fn log_flow() -> FlowMod {
    FlowMod::add(
        91,
        100,
        0x6e4c_0100_0000_0007,
        Match::any().reg(5, 7),
        log_actions(),
    )
}

/// A flow with everything that a flow can have.
fn full_flow() -> FlowMod {
    let r#match = Match::any()
        .in_port(PortNo(6))
        .eth_type(0x0800)
        .ip_proto(6)
        .ipv4_src("10.1.0.0".parse().unwrap())
        .ipv4_dst("10.1.0.11".parse().unwrap())
        .with(Oxm::masked(Field::TCP_DST, [0x1f, 0x40], [0xff, 0xf8]))
        .reg(0, 1)
        .reg_masked(15, 0x10, 0xf0)
        .ct_state(ct_state::NEW | ct_state::TRK, ct_state::NEW | ct_state::TRK);
    FlowMod {
        idle_timeout: 10,
        hard_timeout: 20,
        flags: FlowFlags::SEND_FLOW_REM | FlowFlags::CHECK_OVERLAP,
        importance: 3,
        instructions: vec![
            Instruction::Meter(5),
            Instruction::ApplyActions(vec![
                Action::SetField(Oxm::new(Field::REG6, [0, 0, 0, 2])),
                Action::Controller(Controller {
                    max_len: 128,
                    controller_id: 3,
                    reason: PacketInReason::NO_MATCH,
                    ..Controller::default()
                }),
                Action::Controller(Controller {
                    max_len: 128,
                    reason: PacketInReason::INVALID_TTL,
                    pause: true,
                    ..Controller::default()
                }),
                Action::Resubmit {
                    in_port: PortNo(9),
                    table: None,
                },
                Action::Group(4),
                Action::output(PortNo::NORMAL),
            ]),
            Instruction::ClearActions,
            Instruction::WriteActions(vec![Action::Output {
                port: PortNo::CONTROLLER,
                max_len: 0xffff,
            }]),
            Instruction::WriteMetadata {
                metadata: 0x12,
                mask: 0xff,
            },
            Instruction::GotoTable(99),
        ],
        ..FlowMod::add(60, 7, 0x1234, r#match, Vec::new())
    }
}

fn port(version: Version) -> Port {
    let mut raw_name = [0; 16];
    raw_name[..8].copy_from_slice(b"tap12345");
    let words = [1u32 << 6, 0, 1 << 6, 0, 10_000_000, 10_000_000];
    let mut features = words.map(u32::to_be_bytes).concat();
    if version >= Version::V1_4 {
        features = [&[0, 0, 0, 32, 0, 0, 0, 0][..], &features].concat();
    }
    Port {
        port_no: PortNo(7),
        hw_addr: [0xfe, 0x16, 0x3e, 0, 1, 1],
        raw_name,
        config: PortConfig::NO_FWD,
        state: PortState::LIVE,
        features,
    }
}

fn port_stats(version: Version) -> PortStats {
    let mut medium = [1u64, 2, 3, 4].map(u64::to_be_bytes).concat();
    if version >= Version::V1_4 {
        medium = [&[0, 0, 0, 40, 0, 0, 0, 0][..], &medium].concat();
    }
    PortStats {
        port_no: PortNo(7),
        duration: Some(std::time::Duration::new(12, 345_000_000)),
        rx_packets: 11,
        tx_packets: 12,
        rx_bytes: 13,
        tx_bytes: 14,
        rx_dropped: 15,
        tx_dropped: 16,
        rx_errors: 17,
        tx_errors: 18,
        medium,
    }
}

fn flow_stats() -> FlowStats {
    FlowStats {
        table_id: 91,
        duration: std::time::Duration::new(3, 500_000_000),
        priority: 100,
        idle_timeout: 1,
        hard_timeout: 2,
        flags: FlowFlags::SEND_FLOW_REM,
        importance: 9,
        cookie: 0x6e4c_0100_0000_0007,
        packet_count: 21,
        byte_count: 22,
        r#match: Match::any().reg(5, 7),
        instructions: vec![Instruction::ApplyActions(log_actions())],
    }
}

fn flow_update(event: FlowUpdateEvent) -> FlowUpdate {
    FlowUpdate::Full(FullFlowUpdate {
        event,
        table_id: 91,
        reason: FlowRemovedReason::DELETE,
        idle_timeout: 1,
        hard_timeout: 2,
        priority: 100,
        cookie: 0x6e4c_0100_0000_0007,
        r#match: Match::any().reg(5, 7),
        instructions: vec![Instruction::ApplyActions(log_actions())],
    })
}

fn reply(reply: MultipartReply) -> Body {
    Body::MultipartReply { more: true, reply }
}

fn control(kind: BundleControlType) -> Body {
    Body::BundleControl(BundleControl {
        bundle_id: 1,
        kind,
        flags: BundleFlags::ATOMIC | BundleFlags::ORDERED,
        properties: Vec::new(),
    })
}

/// Every message that the crate writes.
pub(super) fn bodies(version: Version) -> Vec<Body> {
    let monitor = FlowMonitorFlags::INITIAL
        | FlowMonitorFlags::ADD
        | FlowMonitorFlags::REMOVED
        | FlowMonitorFlags::MODIFY
        | FlowMonitorFlags::INSTRUCTIONS;
    let mut offender = Vec::new();
    Body::from(log_flow())
        .encode(version, Xid(9), &mut offender)
        .unwrap();
    // OFPBFC_MSG_FAILED of the ONF in 1.3, OFPBFC_BAD_VERSION of Nicira in 1.4.
    let (experimenter, code) = match version {
        Version::V1_3 => (ONF, 2313),
        _ => (NICIRA, 22),
    };
    let asynchronous = AsyncConfig {
        packet_in: [Some(0b11), Some(0b10)],
        port_status: [Some(0b111), Some(0b100)],
        flow_removed: [Some(0b1111), Some(0)],
        other: Vec::new(),
    }
    .with_request_forward(1 << RequestForwardReason::METER_MOD.0);
    let mut bodies = vec![
        Body::Hello(Hello::new(&[Version::V1_3, Version::V1_4])),
        Body::Error(ErrorMessage {
            code: ErrorCode::Standard { kind: 5, code: 3 },
            data: offender.clone(),
        }),
        Body::Error(ErrorMessage {
            code: ErrorCode::Experimenter { experimenter, code },
            data: offender,
        }),
        Body::EchoRequest(b"ping".to_vec()),
        Body::EchoReply(b"ping".to_vec()),
        Body::FeaturesRequest,
        Body::FeaturesReply(Features {
            datapath_id: 0xfedc,
            n_buffers: 1,
            n_tables: 254,
            auxiliary_id: 0,
            capabilities: netlog_ofp::Capabilities::FLOW_STATS,
        }),
        Body::GetConfigRequest,
        Body::GetConfigReply(SwitchConfig {
            flags: 1,
            miss_send_len: 128,
        }),
        Body::SetConfig(SwitchConfig {
            flags: 0,
            miss_send_len: 0xffff,
        }),
        Body::FlowRemoved(FlowRemoved {
            cookie: 0x1234,
            priority: 7,
            reason: FlowRemovedReason::IDLE_TIMEOUT,
            table_id: 3,
            duration: std::time::Duration::new(4, 500_000_000),
            idle_timeout: 5,
            hard_timeout: 6,
            packet_count: 7,
            byte_count: 8,
            r#match: Match::any().in_port(PortNo(2)),
        }),
        Body::PortStatus(PortStatus {
            reason: PortReason::ADD,
            port: port(version),
        }),
        Body::PacketOut(PacketOut {
            buffer_id: None,
            in_port: PortNo::CONTROLLER,
            actions: vec![Action::output(PortNo(1)), Action::resubmit(60)],
            data: [[0xff; 6], [2, 0, 0, 0, 0, 1], [0x88, 0xb5, 0, 0, 0, 0]].concat(),
        }),
        Body::FlowMod(log_flow()),
        Body::FlowMod(full_flow()),
        Body::FlowMod(FlowMod {
            command: FlowCommand::MODIFY_STRICT,
            ..log_flow()
        }),
        Body::FlowMod(FlowMod::delete_by_cookie(
            ALL_TABLES,
            0x6e4c_0000_0000_0000,
            0xffff_0000_0000_0000,
        )),
        Body::FlowMod(FlowMod::delete_strict(91, 100, Match::any().reg(5, 7))),
        Body::BarrierRequest,
        Body::BarrierReply,
        Body::RoleRequest(Role {
            role: ControllerRole::SECONDARY,
            generation_id: 3,
        }),
        Body::RoleReply(Role {
            role: ControllerRole::EQUAL,
            generation_id: 3,
        }),
        Body::GetAsyncRequest,
        Body::GetAsyncReply(asynchronous.clone()),
        Body::SetAsync(asynchronous.clone()),
        Body::MeterMod(MeterMod::packets_per_second(
            MeterCommand::ADD,
            MeterId(91),
            100,
            25,
        )),
        Body::MeterMod(MeterMod::delete(MeterId::ALL)),
        Body::RequestForward(RequestForward {
            xid: Xid(7),
            request: Box::new(Body::MeterMod(MeterMod::delete(MeterId(91)))),
        }),
        control(BundleControlType::OPEN_REQUEST),
        control(BundleControlType::COMMIT_REPLY),
        Body::BundleAdd(BundleAdd {
            bundle_id: 1,
            flags: BundleFlags::ATOMIC | BundleFlags::ORDERED,
            message: Box::new(log_flow().into()),
            properties: Vec::new(),
        }),
        Body::SetPacketInFormat(PacketInFormat::NXT_PACKET_IN2),
        Body::SetControllerId(0x6e4c),
        Body::NxtSetAsyncConfig(asynchronous.clone()),
        Body::NxtFlowRemoved(FlowRemoved {
            cookie: 0x1234,
            priority: 7,
            reason: FlowRemovedReason::DELETE,
            table_id: 3,
            duration: std::time::Duration::new(4, 500_000_000),
            idle_timeout: 5,
            hard_timeout: 0,
            packet_count: 7,
            byte_count: 8,
            // An NXM field, which is an OXM field of another class.
            r#match: Match::any().with(Oxm::new(Field::NXM_IN_PORT, [0, 2])),
        }),
        MultipartRequest::Desc.into(),
        MultipartRequest::Flow(FlowStatsRequest {
            table_id: 91,
            r#match: Match::any().reg(5, 7),
            ..FlowStatsRequest::by_cookie(0x6e4c_0000_0000_0000, 0xffff_0000_0000_0000)
        })
        .into(),
        MultipartRequest::Aggregate(FlowStatsRequest::default()).into(),
        MultipartRequest::Table.into(),
        MultipartRequest::PortStats(PortNo::ANY).into(),
        MultipartRequest::PortDesc.into(),
        MultipartRequest::Meter(MeterId::ALL).into(),
        MultipartRequest::MeterConfig(MeterId(91)).into(),
        MultipartRequest::MeterFeatures.into(),
        MultipartRequest::FlowMonitor(vec![
            FlowMonitorRequest::new(1, ALL_TABLES, monitor),
            FlowMonitorRequest {
                out_port: PortNo(3),
                r#match: Match::any().reg(5, 7),
                ..FlowMonitorRequest::new(2, 93, monitor)
            },
        ])
        .into(),
        reply(MultipartReply::Flow(vec![flow_stats(), flow_stats()])),
        reply(MultipartReply::Aggregate(AggregateStats {
            packet_count: 1,
            byte_count: 2,
            flow_count: 3,
        })),
        reply(MultipartReply::Table(vec![TableStats {
            table_id: 91,
            active_count: 5,
            lookup_count: 6,
            matched_count: 7,
        }])),
        reply(MultipartReply::PortStats(vec![port_stats(version)])),
        reply(MultipartReply::PortDesc(vec![port(version)])),
        reply(MultipartReply::Meter(vec![MeterStats {
            meter_id: MeterId(91),
            flow_count: 1,
            packet_in_count: 2,
            byte_in_count: 3,
            duration: std::time::Duration::new(4, 500_000_000),
            bands: vec![MeterBandStats {
                packet_count: 5,
                byte_count: 6,
            }],
        }])),
        reply(MultipartReply::MeterConfig(vec![MeterConfig {
            flags: netlog_ofp::MeterFlags::PKTPS,
            meter_id: MeterId(91),
            bands: vec![netlog_ofp::MeterBand::Drop {
                rate: 100,
                burst_size: 0,
            }],
        }])),
        reply(MultipartReply::MeterFeatures(MeterFeatures {
            max_meter: 100,
            band_types: 2,
            capabilities: 6,
            max_bands: 1,
            max_color: 0,
        })),
        reply(MultipartReply::FlowMonitor(vec![
            flow_update(FlowUpdateEvent::ADDED),
            flow_update(FlowUpdateEvent::REMOVED),
            flow_update(FlowUpdateEvent::MODIFIED),
            FlowUpdate::Abbrev(Xid(0x77)),
        ])),
        Body::FlowMonitorCancel(2),
    ];
    if version >= Version::V1_4 {
        bodies.push(reply(MultipartReply::FlowMonitor(vec![
            flow_update(FlowUpdateEvent::INITIAL),
            FlowUpdate::Paused,
            FlowUpdate::Resumed,
        ])));
    } else {
        bodies.push(Body::NxtSetAsyncConfig2(asynchronous.clone()));
        bodies.push(Body::FlowMonitorPaused);
        bodies.push(Body::FlowMonitorResumed);
    }
    bodies
}

fn written() -> Vec<String> {
    [Version::V1_3, Version::V1_4]
        .into_iter()
        .flat_map(|version| {
            bodies(version)
                .into_iter()
                .map(move |body| to_hex(&encode(version, Xid(0x42), &body)))
        })
        .collect()
}

#[test]
fn open_vswitch_reads_what_is_written() {
    let written = written();
    if std::env::var_os("UPDATE_OFP_PRINT").is_some() {
        let mut file = String::new();
        for hex in written {
            let print = Command::new("ovs-ofctl")
                .args(["ofp-print", &hex])
                .output()
                .unwrap();
            let print = String::from_utf8(print.stdout).unwrap();
            let _ = writeln!(file, "# {hex}\n{}", print.trim_end());
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages/ofp_print.txt");
        std::fs::write(path, file).unwrap();
        return;
    }
    let recorded: Vec<_> = RECORDED
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .collect();
    for (place, (written, recorded)) in written.iter().zip(&recorded).enumerate() {
        assert_eq!(written, recorded, "message {place}");
    }
    assert_eq!(written.len(), recorded.len());
    assert!(!RECORDED.contains("decode error"));
    assert!(!RECORDED.contains("***"));
}
