use super::*;
use crate::{
    header::{HEADER_LEN, Messages},
    testdata::{self, messages},
};

/// cookie, table, length, port, reg5, reg6, `ct_state`, `ct_zone`, and the
/// original destination port of the connection.
type Row = (
    u64,
    u8,
    u32,
    u32,
    u32,
    u32,
    Option<u32>,
    Option<u16>,
    Option<u16>,
);

/// What `ovs-ofctl ofp-print` says of the six packets that each of the three
/// files has in its own layout.
const SIX: [Row; 6] = [
    (0x6e6c_9200_0000_0001, 92, 74, 6, 1, 1, None, None, None),
    (
        0x6e6c_9300_0000_0001,
        93,
        74,
        6,
        1,
        1,
        Some(NEW_TRK),
        Some(1),
        Some(80),
    ),
    (
        0x6e6c_9300_0000_0003,
        93,
        74,
        3,
        3,
        1,
        Some(NEW_TRK),
        Some(1),
        Some(443),
    ),
    (0x6e6c_9100_0000_0001, 91, 94, 1, 1, 1, None, None, None),
    (0x6e6c_9200_0000_0002, 92, 74, 1, 2, 1, None, None, None),
    (
        0x6e6c_9300_0000_0001,
        93,
        94,
        6,
        1,
        1,
        Some(NEW_TRK),
        Some(1),
        Some(80),
    ),
];
const NEW_TRK: u32 = ct_state::NEW | ct_state::TRK;

fn row(packet: &PacketIn<'_>) -> Row {
    let metadata = packet.metadata;
    (
        packet.cookie,
        packet.table_id,
        packet.total_len,
        metadata.in_port.0,
        metadata.reg5.unwrap(),
        metadata.reg6.unwrap(),
        metadata.ct_state,
        metadata.ct_zone,
        metadata
            .get(Field::CT_TP_DST)
            .map(|oxm| u16_of(oxm).unwrap()),
    )
}

fn packet_ins(file: &[Vec<u8>]) -> Vec<PacketIn<'_>> {
    file.iter()
        .filter_map(|bytes| PacketIn::parse(RawMessage::new(bytes).unwrap()).unwrap())
        .collect()
}

#[test]
fn the_same_packets_in_three_layouts() {
    for file in [testdata::STANDARD, testdata::NXT, testdata::NXT2] {
        let file = messages(file);
        let packets = packet_ins(&file);
        assert_eq!(packets.iter().map(row).collect::<Vec<_>>(), SIX);
        for packet in packets {
            assert_eq!(packet.reason, PacketInReason::ACTION);
            assert_eq!(packet.buffer_id, None);
            assert_eq!(packet.userdata, b"");
            assert_eq!(packet.metadata.ct_mark, None);
            assert_eq!(packet.data.len(), packet.total_len as usize);
            assert_eq!(packet.data[..4], [0xfa, 0x16, 0x3e, 0]);
        }
    }
}

#[test]
fn userdata_is_what_the_action_carried() {
    let file = messages(testdata::USERDATA);
    let packets = packet_ins(&file);
    let lengths: Vec<_> = packets.iter().map(|packet| packet.total_len).collect();
    assert_eq!(lengths, [74, 74, 642]);
    for packet in packets {
        assert_eq!(packet.userdata, [0x6e, 0x6c, 1, 2]);
    }
}

#[test]
fn packets_of_the_management_socket() {
    for file in [testdata::STANDARD_UNIX, testdata::NXT2_UNIX] {
        let file = messages(file);
        let packets = packet_ins(&file);
        assert_eq!(packets.len(), 2);
        for packet in packets {
            assert_eq!(packet.cookie, 0x1122_3344_5566_7788);
            assert_eq!(packet.table_id, 0);
            assert_eq!(packet.metadata.in_port, PortNo(3));
            assert_eq!(packet.metadata.reg5, None);
            assert_eq!(packet.data.len(), 74);
        }
    }
}

#[test]
fn other_messages_are_no_packet_ins() {
    for file in [testdata::STANDARD, testdata::NXT2] {
        for bytes in &messages(file)[..2] {
            let message = RawMessage::new(bytes).unwrap();
            assert_eq!(PacketIn::parse(message), Ok(None));
        }
    }
}

/// Whoever cuts a packet-in short gets an error or a shorter packet, and never
/// a wrong field.
#[test]
fn a_packet_in_cut_short_is_an_error_or_a_shorter_frame() {
    for file in [testdata::STANDARD, testdata::NXT, testdata::NXT2] {
        for bytes in messages(file) {
            let Some(whole) = PacketIn::parse(RawMessage::new(&bytes).unwrap()).unwrap() else {
                continue;
            };
            for length in HEADER_LEN..bytes.len() {
                let mut cut = bytes[..length].to_vec();
                let end = u16::try_from(length).unwrap();
                cut[2..4].copy_from_slice(&end.to_be_bytes());
                if let Ok(Some(packet)) = PacketIn::parse(RawMessage::new(&cut).unwrap()) {
                    assert!(whole.data.starts_with(packet.data));
                }
            }
        }
    }
}

#[test]
fn recorded_packets_are_written_as_they_came() {
    use PacketInFormat as Format;
    for (file, format) in [
        (testdata::STANDARD, Format::STANDARD),
        (testdata::NXT, Format::NXT_PACKET_IN),
        (testdata::NXT2, Format::NXT_PACKET_IN2),
        (testdata::USERDATA, Format::NXT_PACKET_IN2),
    ] {
        for bytes in messages(file) {
            let message = RawMessage::new(&bytes).unwrap();
            if let Some(packet) = PacketIn::parse(message).unwrap() {
                let mut out = Vec::new();
                packet
                    .encode(format, message.version(), message.xid(), &mut out)
                    .unwrap();
                assert_eq!(out, bytes);
            }
        }
    }
}

#[test]
fn a_recorded_session_has_its_packet_ins_and_echoes() {
    let stream = testdata::tcp_stream(testdata::SESSION, 54880);
    let mut messages = Messages::new(&stream);
    let (mut packets, mut echoes) = (0, 0);
    for message in messages.by_ref() {
        let message = message.unwrap();
        match PacketIn::parse(message).unwrap() {
            Some(packet) => {
                assert!(matches!(packet.table_id, 91..=93), "{packet:?}");
                assert_eq!(packet.data.len(), packet.total_len as usize);
                assert_ne!(packet.metadata.in_port, PortNo(0));
                packets += 1;
            }
            None if message.message_type() == MessageType::ECHO_REQUEST => echoes += 1,
            None => panic!("{message:?}"),
        }
    }
    assert_eq!(messages.remainder(), b"");
    assert_eq!((packets, echoes), (58, 10));
}

/// The common order of properties is read in one step; every other one gives the same packet-in.
#[test]
fn properties_in_any_order_are_the_same_packet_in() {
    let fields = crate::Match::any()
        .in_port(PortNo(6))
        .reg(5, 1)
        .with(crate::Oxm::masked(
            Field::CT_STATE,
            NEW_TRK.to_be_bytes(),
            [0xff; 4],
        ))
        .reg(6, 2)
        .to_bytes();
    let packet = PacketIn {
        cookie: 0x6e4c_0102_0000_0007,
        table_id: 92,
        reason: PacketInReason::ACTION,
        buffer_id: Some(3),
        total_len: 70,
        metadata: Metadata::parse(&fields).unwrap(),
        userdata: b"userdata",
        data: &[0xab; 61],
    };
    assert_eq!(packet.metadata.reg6, Some(2));
    assert_eq!(packet.metadata.ct_state, Some(NEW_TRK));

    let mut body = Vec::new();
    packet.encode_nxt2(&mut body);
    let mut properties = Vec::new();
    let mut rest = &body[..];
    while let [_, _, l0, l1, ..] = rest {
        let length = usize::from(u16::from_be_bytes([*l0, *l1])).next_multiple_of(8);
        let (property, after) = rest.split_at(length);
        properties.push(property);
        rest = after;
    }
    assert_eq!(properties.len(), 8);
    for first in 0..properties.len() {
        for second in 0..properties.len() {
            properties.swap(first, second);
            let body = properties.concat();
            assert_eq!(PacketIn::parse_nxt2(&body), Ok(packet));
        }
    }
    // A packet-in that ends within the common part.
    let mut short = PacketIn {
        buffer_id: None,
        total_len: 61,
        ..packet
    };
    short.userdata = &[];
    body.clear();
    short.encode_nxt2(&mut body);
    for end in 0..body.len() {
        let cut = PacketIn::parse_nxt2(&body[..end]);
        assert!(cut != Ok(short) || end + 8 > body.len(), "{end}");
    }
    assert_eq!(PacketIn::parse_nxt2(&body), Ok(short));
}
