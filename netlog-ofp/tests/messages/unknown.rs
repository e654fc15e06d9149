//! What this crate has no name for is kept: read, and written as it came.

use netlog_ofp::{
    Action, Body, ErrorCode, Field, Instruction, MessageType, MeterBand, MultipartReply,
    MultipartRequest, Oxm, RawMessage,
};

use super::{decode, encode, from_hex, to_hex};

/// A message of these bytes, whose length is put into its header.
fn message(version: u8, message_type: u8, body: &str) -> Vec<u8> {
    let body = from_hex(body);
    let length = u16::try_from(body.len() + 8).unwrap();
    let header = [version, message_type];
    [&header, &length.to_be_bytes()[..], &[0, 0, 0, 7], &body].concat()
}

/// What was read, after it was seen that it is written as it came.
fn kept(bytes: &[u8]) -> Body {
    let read = decode(bytes);
    let again = encode(read.version, read.xid, &read.body);
    assert_eq!(to_hex(&again), to_hex(bytes), "{read:?}");
    read.body
}

/// A flow-mod in table 91 with this match and these instructions.
fn flow_mod(rest: &str) -> Vec<u8> {
    let fixed = "6e4c000000000001\
                 0000000000000000\
                 5b00000000000064ffffffffffffffffffffffff00000000";
    message(4, 14, &format!("{fixed}{rest}"))
}

const MATCH_ANY: &str = "0001000400000000";

#[test]
fn a_message_of_an_unknown_type() {
    for version in [4, 5] {
        let body = kept(&message(version, 99, "0102030405"));
        let expected = Body::Other {
            message_type: MessageType(99),
            body: vec![1, 2, 3, 4, 5],
        };
        assert_eq!(body, expected);
    }
}

#[test]
fn a_message_of_an_unknown_version() {
    let body = kept(&message(9, 14, "0102030405"));
    assert!(matches!(body, Body::Other { message_type, .. } if message_type == MessageType(14)));
}

#[test]
fn a_message_of_an_unknown_extension() {
    for (bytes, who) in [
        ("0000232000001234aabb", 0x2320),
        ("0badcafe00000001", 0x0bad_cafe),
    ] {
        let body = kept(&message(4, 4, bytes));
        assert!(
            matches!(body, Body::Experimenter { experimenter, .. } if experimenter == who),
            "{body:?}"
        );
    }
}

#[test]
fn an_unknown_element_of_a_hello() {
    let body = kept(&message(5, 0, "0001000800000030002a0006abcd0000"));
    assert!(matches!(body, Body::Hello(hello) if hello.versions() == Some(0x30)));
}

#[test]
fn an_unknown_error() {
    let body = kept(&message(4, 1, "0042004300"));
    let code = ErrorCode::Standard {
        kind: 0x42,
        code: 0x43,
    };
    assert!(
        matches!(&body, Body::Error(error) if error.code == code),
        "{body:?}"
    );
    assert!(matches!(
        kept(&message(4, 1, "ffff00420badcafe00")),
        Body::Error(error) if error.code == ErrorCode::Experimenter {
            experimenter: 0x0bad_cafe,
            code: 0x42,
        }
    ));
}

#[test]
fn an_unknown_multipart_request_or_reply() {
    let body = kept(&message(4, 18, "4321000000000000aabb"));
    assert!(
        matches!(&body, Body::MultipartRequest { request: MultipartRequest::Other { kind, .. }, .. }
            if *kind == 0x4321),
        "{body:?}"
    );
    // Of an extension, with more to come.
    let body = kept(&message(5, 19, "ffff0001000000000badcafe00000001"));
    assert!(
        matches!(&body, Body::MultipartReply { more: true, reply: MultipartReply::Other { kind, .. } }
            if *kind == 0xffff),
        "{body:?}"
    );
}

#[test]
fn an_unknown_instruction() {
    let body = kept(&flow_mod(&format!("{MATCH_ANY}0077000c0102030405060708")));
    let Body::FlowMod(flow) = body else {
        panic!("{body:?}");
    };
    let expected = Instruction::Other {
        kind: 0x77,
        body: vec![1, 2, 3, 4, 5, 6, 7, 8],
    };
    assert_eq!(flow.instructions, [expected]);
}

#[test]
fn unknown_actions() {
    // One of OpenFlow, one of Nicira (NXAST_NOTE), one of another extension, and a controller
    // action with a property that is not known.
    let actions = "00990010010203040506070809101112".to_owned()
        + "ffff0010000023200008aabbccddeeff"
        + "ffff00100badcafe0102030405060708"
        + "ffff0018000023200025000000000000000900080000abcd";
    let instruction = format!("0004{:04x}00000000", actions.len() / 2 + 8);
    let body = kept(&flow_mod(&format!("{MATCH_ANY}{instruction}{actions}")));
    let Body::FlowMod(flow) = body else {
        panic!("{body:?}");
    };
    let [Instruction::ApplyActions(actions)] = &flow.instructions[..] else {
        panic!("{:?}", flow.instructions);
    };
    assert!(
        matches!(
            &actions[..],
            [
                Action::Other { kind: 0x99, .. },
                Action::Experimenter { .. },
                Action::Experimenter {
                    experimenter: 0x0bad_cafe,
                    ..
                },
                Action::Experimenter { .. },
            ]
        ),
        "{actions:?}"
    );
}

#[test]
fn unknown_fields() {
    // A field of OpenFlow, one of Nicira with a mask, one of an experimenter, one of another class.
    let fields = [
        "8000fe0401020304",
        "0001ff0412343fff",
        "fffffe060badcafe0102",
        "abcd0202aabb",
    ];
    let fields = fields.concat();
    let length = fields.len() / 2 + 4;
    let padding = "00".repeat(length.next_multiple_of(8) - length);
    let body = kept(&flow_mod(&format!("0001{length:04x}{fields}{padding}")));
    let Body::FlowMod(flow) = body else {
        panic!("{body:?}");
    };
    let fields: Vec<_> = flow.r#match.0.iter().map(Oxm::field).collect();
    let field = |class: u32, number: u32| Field(class << 7 | number);
    assert_eq!(
        fields,
        [
            field(0x8000, 127),
            field(1, 127),
            field(0xffff, 127),
            field(0xabcd, 1),
        ]
    );
    assert_eq!(flow.r#match.0[1].mask(), Some(&[0x3f, 0xff][..]));
    assert_eq!(flow.r#match.0[2].value(), [1, 2]);
}

#[test]
fn an_unknown_band_of_a_meter() {
    let body = kept(&message(
        4,
        29,
        "00000001000000070042001000000001000000020a0b0c0d",
    ));
    let Body::MeterMod(meter) = body else {
        panic!("{body:?}");
    };
    let expected = MeterBand::Other {
        kind: 0x42,
        rate: 1,
        burst_size: 2,
        body: vec![10, 11, 12, 13],
    };
    assert_eq!(meter.bands, [expected]);
}

#[test]
fn an_unknown_property_of_asynchronous_messages() {
    let body = kept(&message(5, 28, "0001000800000002004200060a0b0000"));
    let Body::SetAsync(config) = body else {
        panic!("{body:?}");
    };
    assert_eq!(
        config.packet_in,
        [Some(2), None],
        "the other is left as it is"
    );
    assert_eq!(config.port_status, [None, None]);
    assert_eq!(config.other, [(0x42, vec![10, 11])]);
}

/// `NXPINT_CONTINUATION`, of a packet that waits, is among the properties that we have no use for.
#[test]
fn an_unknown_property_of_a_packet_in() {
    let packet = "00000006aabb0000";
    let continuation = "8000000800000000000800080a0b0c0d";
    let bytes = message(4, 4, &format!("000023200000001e{packet}{continuation}"));
    kept(&bytes);
    let packet = netlog_ofp::PacketIn::parse(RawMessage::new(&bytes).unwrap());
    assert_eq!(packet.unwrap().unwrap().data, [0xaa, 0xbb]);
}
