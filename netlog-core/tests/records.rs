//! Records, whole: against the documentation, against Neutron, against published schemas, and
//! from packets that no one would send.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt;
use std::net::IpAddr;

use netlog_core::record::{
    Action, Format, Layout, Prefix, Reason, Recorder, Scope, Timestamp, TimestampStyle, Verdict,
    port_text,
};
use netlog_core::rule::Direction;
use netlog_packet::{Packet, Payload};
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

const LAYOUTS: [Layout; 5] = [
    Layout::Text,
    Layout::Neutron,
    Layout::Json,
    Layout::Ecs,
    Layout::Ocsf,
];

/// 2018-05-05 09:05:07.000123456 UTC.
const TIME: Timestamp = Timestamp {
    unix_nanos: 1_525_511_107_000_123_456,
    utc_offset: 0,
};

/// The documentation's records; it has a '>' for the comma before `window_size`.
const DOCUMENTED_ACCEPT: &str = "\
May 5 09:05:07 action=ACCEPT project_id=736672c700cd43e1bd321aeaf940365c
log_resource_ids=[ '4522efdf-8d44-4e19-b237-64cafc49469b', '42332d89-df42-4588-a2bb-3ce50829ac51' ]
vm_port=e0259ade-86de-482e-a717-f58258f7173f
ethernet(dst='fa:16:3e:ec:36:32',ethertype=2048,src='fa:16:3e:50:aa:b5'),
ipv4(csum=62071,dst='10.0.0.4',flags=2,header_length=5,identification=36638,offset=0,
option=None,proto=6,src='172.24.4.10',tos=0,total_length=60,ttl=63,version=4),
tcp(ack=0,bits=2,csum=15097,dst_port=80,offset=10,option=[TCPOptionMaximumSegmentSize(kind=2,length=4,max_seg_size=1460),
TCPOptionSACKPermitted(kind=4,length=2), TCPOptionTimestamps(kind=8,length=10,ts_ecr=0,ts_val=196418896),
TCPOptionNoOperation(kind=1,length=1), TCPOptionWindowScale(kind=3,length=3,shift_cnt=3)],
seq=3284890090,src_port=47825,urgent=0,window_size=14600)";

const DOCUMENTED_DROP: &str = "\
May 5 09:05:07 action=DROP project_id=736672c700cd43e1bd321aeaf940365c
log_resource_ids=[ '4522efdf-8d44-4e19-b237-64cafc49469b' ] vm_port=e0259ade-86de-482e-a717-f58258f7173f
ethernet(dst='fa:16:3e:ec:36:32',ethertype=2048,src='fa:16:3e:50:aa:b5'),
ipv4(csum=62071,dst='10.0.0.4',flags=2,header_length=5,identification=36638,offset=0,
option=None,proto=6,src='172.24.4.10',tos=0,total_length=60,ttl=63,version=4),
tcp(ack=0,bits=2,csum=15097,dst_port=80,offset=10,option=[TCPOptionMaximumSegmentSize(kind=2,length=4,max_seg_size=1460),
TCPOptionSACKPermitted(kind=4,length=2), TCPOptionTimestamps(kind=8,length=10,ts_ecr=0,ts_val=196418896),
TCPOptionNoOperation(kind=1,length=1), TCPOptionWindowScale(kind=3,length=3,shift_cnt=3)],
seq=3284890090,src_port=47825,urgent=0,window_size=14600)";

/// The packet of the documentation's records.
fn documented_frame() -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend([0xfa, 0x16, 0x3e, 0xec, 0x36, 0x32]);
    frame.extend([0xfa, 0x16, 0x3e, 0x50, 0xaa, 0xb5]);
    frame.extend(2048_u16.to_be_bytes());
    // IPv4.
    frame.extend([4 << 4 | 5, 0]);
    frame.extend(60_u16.to_be_bytes());
    frame.extend(36638_u16.to_be_bytes());
    frame.extend((2_u16 << 13).to_be_bytes());
    frame.extend([63, 6]);
    frame.extend(62071_u16.to_be_bytes());
    frame.extend([172, 24, 4, 10]);
    frame.extend([10, 0, 0, 4]);
    // TCP.
    frame.extend(47825_u16.to_be_bytes());
    frame.extend(80_u16.to_be_bytes());
    frame.extend(3_284_890_090_u32.to_be_bytes());
    frame.extend(0_u32.to_be_bytes());
    frame.extend([10 << 4, 2]);
    frame.extend(14600_u16.to_be_bytes());
    frame.extend(15097_u16.to_be_bytes());
    frame.extend(0_u16.to_be_bytes());
    // Its options.
    frame.extend([2, 4]);
    frame.extend(1460_u16.to_be_bytes());
    frame.extend([4, 2]);
    frame.extend([8, 10]);
    frame.extend(196_418_896_u32.to_be_bytes());
    frame.extend(0_u32.to_be_bytes());
    frame.extend([1, 3, 3, 3]);
    frame
}

fn id(text: &str) -> Uuid {
    text.parse().unwrap()
}

/// Whose event it is, as in the documentation.
fn scope(action: Action, logs: &[Uuid]) -> Scope<'_> {
    Scope {
        action,
        project_id: "736672c700cd43e1bd321aeaf940365c",
        logs,
    }
}

fn port() -> Uuid {
    id("e0259ade-86de-482e-a717-f58258f7173f")
}

fn record(
    format: Format,
    scope: &Scope<'_>,
    port: Uuid,
    direction: Direction,
    verdict: &Verdict<'_>,
    frame: &[u8],
) -> String {
    let (mut head, mut tail, mut line) = (Vec::new(), Vec::new(), Vec::new());
    format.head(scope, &mut head);
    format.tail(direction, verdict, &mut tail);
    let prefix = Prefix {
        head: &head,
        port: &port_text(port),
        tail: &tail,
    };
    let packet = Packet::decode(frame);
    Recorder::new(format).write(TIME, &prefix, &packet, &mut line);
    String::from_utf8(line).unwrap()
}

#[test]
fn as_documented() {
    let format = Format {
        extra_fields: false,
        ..Format::default()
    };
    let logs = [
        id("4522efdf-8d44-4e19-b237-64cafc49469b"),
        id("42332d89-df42-4588-a2bb-3ce50829ac51"),
    ];
    let frame = documented_frame();
    let accept = record(
        format,
        &scope(Action::Accept, &logs),
        port(),
        Direction::Ingress,
        &Verdict::Rules(&[]),
        &frame,
    );
    let drop = record(
        format,
        &scope(Action::Drop, &logs[..1]),
        port(),
        Direction::Ingress,
        &Verdict::Reason(Reason::NoRule),
        &frame,
    );
    // The documentation breaks lines, and puts blanks behind brackets.
    let fields = |record: &str| -> Vec<String> {
        let text: String = record.split_whitespace().collect();
        text.split_inclusive([',', '(', ')', '[', ']', '='])
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(fields(&accept), fields(DOCUMENTED_ACCEPT));
    assert_eq!(fields(&drop), fields(DOCUMENTED_DROP));
    let start = "May  5 09:05:07 action=ACCEPT project_id=736672c700cd43e1bd321aeaf940365c \
        log_resource_ids=['4522efdf-8d44-4e19-b237-64cafc49469b', \
        '42332d89-df42-4588-a2bb-3ce50829ac51'] vm_port=e0259ade-86de-482e-a717-f58258f7173f \
        ethernet(dst=";
    assert_eq!(&accept[..start.len()], start);
}

#[test]
fn text_names_the_rule_or_the_reason() {
    let frame = documented_frame();
    let logs = [id("4522efdf-8d44-4e19-b237-64cafc49469b")];
    let rules = [
        id("85c3a9a1-9d5c-4f5e-8f4a-2c41d0a7e1b2"),
        id("00000000-0000-4000-8000-000000000002"),
    ];
    let middle = |verdict: &Verdict<'_>| {
        let scope = scope(Action::Accept, &logs);
        let line = record(
            Format::default(),
            &scope,
            port(),
            Direction::Egress,
            verdict,
            &frame,
        );
        let start = line.find("vm_port=").unwrap() + "vm_port=".len() + 36;
        line[start..line.find("ethernet(").unwrap()].to_owned()
    };
    assert_eq!(
        middle(&Verdict::Rules(&rules)),
        " direction=egress security_group_rule_id=85c3a9a1-9d5c-4f5e-8f4a-2c41d0a7e1b2 "
    );
    assert_eq!(
        middle(&Verdict::Rules(&[])),
        " direction=egress security_group_rule_id=none "
    );
    assert_eq!(
        middle(&Verdict::Reason(Reason::InvalidState)),
        " direction=egress reason=invalid-state "
    );
}

/// Frames and Neutron's records of them.
const RECORDED: &str = include_str!("../../netlog-packet/tests/fixtures/neutron_records.json");

fn recorded_frames() -> Vec<Vec<u8>> {
    let recorded: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
    let frame = |recorded: &Value| bytes(recorded["packet_hex"].as_str().unwrap());
    recorded.iter().map(frame).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

#[test]
fn neutron_byte_for_byte() {
    let recorded: Vec<Value> = serde_json::from_str(RECORDED).unwrap();
    let format = Format {
        layout: Layout::Neutron,
        payload: Payload::Include,
        ..Format::default()
    };
    let mut compared = 0;
    for recorded in &recorded {
        if recorded["scope"] != "required" {
            continue;
        }
        let text = recorded["record"].as_str().unwrap();
        let frame = bytes(recorded["packet_hex"].as_str().unwrap());
        if let Some(text) = text.strip_prefix("Unknown cookie=42 packet_in ") {
            // The driver did not know whose packet it was: it wrote the packet, and its error.
            let (text, _) = text.split_once(": neutron.services.").unwrap();
            let mut line = Vec::new();
            Recorder::new(format).write_packet(None, &Packet::decode(&frame), &mut line);
            assert_eq!(line, format!("{text}\n").as_bytes(), "{}", recorded["name"]);
            compared += 1;
            continue;
        }
        let field = |name: &str| {
            let start = text.find(name).unwrap() + name.len();
            text[start..].split(' ').next().unwrap()
        };
        let logs = text.split("['").nth(1).unwrap().split("']").next().unwrap();
        let logs: Vec<Uuid> = logs.split("', '").map(id).collect();
        let scope = Scope {
            action: match field("action=") {
                "ACCEPT" => Action::Accept,
                "DROP" => Action::Drop,
                other => panic!("{other}"),
            },
            project_id: field("project_id="),
            logs: &logs,
        };
        let port = id(field("vm_port="));
        let verdict = Verdict::Reason(Reason::NoRule);
        let line = record(format, &scope, port, Direction::Ingress, &verdict, &frame);
        assert_eq!(line, format!("{text}\n"), "{}", recorded["name"]);
        compared += 1;
    }
    assert_eq!(compared, 60);
}

/// A JSON object whose names are unique, in their order.
struct Object(Vec<(String, Value)>);

impl Object {
    fn parse(line: &str) -> Self {
        let object: Self = serde_json::from_str(line).unwrap();
        let map = object.to_map();
        assert_eq!(map.len(), object.0.len(), "a name twice: {line}");
        object
    }

    fn to_map(&self) -> Map<String, Value> {
        self.0.iter().cloned().collect()
    }

    /// Asserts that the names are among these, in this order.
    fn assert_order(&self, names: &[&str]) {
        let mut names = names.iter();
        for (name, _) in &self.0 {
            assert!(names.any(|known| known == name), "{name} is out of order");
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

const JSON: &[&str] = &[
    "time",
    "action",
    "project_id",
    "log_resource_ids",
    "port_id",
    "direction",
    "security_group_rule_id",
    "security_group_rule_ids",
    "reason",
    "eth_src",
    "eth_dst",
    "eth_type",
    "vlan_id",
    "src_ip",
    "dst_ip",
    "arp_op",
    "arp_sha",
    "ip_length",
    "protocol",
    "protocol_number",
    "fragment",
    "src_port",
    "dst_port",
    "tcp_flags",
    "tcp_seq",
    "sctp_tag",
    "icmp_type",
    "icmp_code",
    "icmp_id",
    "payload",
];

fn check_json(line: &str) {
    let object = Object::parse(line);
    object.assert_order(JSON);
    for (name, value) in &object.0 {
        let right = match name.as_str() {
            "log_resource_ids" | "security_group_rule_ids" | "tcp_flags" => {
                let items = value.as_array().unwrap();
                items.iter().all(Value::is_string)
            }
            "eth_type" | "vlan_id" | "arp_op" | "ip_length" | "protocol_number" | "src_port"
            | "dst_port" | "tcp_seq" | "sctp_tag" | "icmp_type" | "icmp_code" | "icmp_id" => {
                value.is_u64()
            }
            "src_ip" | "dst_ip" => is_ip(value),
            "time" => is_time(value),
            _ => value.is_string(),
        };
        assert!(right, "{name} of {line}");
    }
}

fn is_ip(value: &Value) -> bool {
    value.as_str().unwrap().parse::<IpAddr>().is_ok()
}

fn is_time(value: &Value) -> bool {
    let time = OffsetDateTime::parse(value.as_str().unwrap(), &Rfc3339).unwrap();
    time.unix_timestamp_nanos() == i128::from(TIME.unix_nanos)
}

fn is_mac(text: &str, separator: char, digit: impl Fn(char) -> bool) -> bool {
    let octets: Vec<&str> = text.split(separator).collect();
    octets.len() == 6
        && octets
            .iter()
            .all(|octet| octet.len() == 2 && octet.chars().all(&digit))
}

const ECS: &[&str] = &[
    "@timestamp",
    "ecs.version",
    "event.kind",
    "event.module",
    "event.dataset",
    "observer.type",
    "observer.product",
    "event.category",
    "event.type",
    "event.action",
    "event.outcome",
    "cloud.provider",
    "cloud.project.id",
    "labels.log_resource_ids",
    "labels.port_id",
    "network.direction",
    "rule.id",
    "labels.security_group_rule_ids",
    "event.reason",
    "source.mac",
    "destination.mac",
    "network.vlan.id",
    "labels.eth_type",
    "network.type",
    "source.ip",
    "destination.ip",
    "network.bytes",
    "network.transport",
    "network.iana_number",
    "labels.fragment",
    "source.port",
    "destination.port",
    "labels.tcp_flags",
    "labels.icmp_type",
    "labels.icmp_code",
    "labels.payload",
];

/// Checks a line against the published schema.
fn check_ecs(line: &str) {
    let schema: Value = serde_json::from_str(include_str!("fixtures/ecs.json")).unwrap();
    let object = Object::parse(line);
    object.assert_order(ECS);
    for (name, value) in &object.0 {
        if let Some(label) = name.strip_prefix("labels.") {
            assert!(!label.contains('.'), "{name}");
            // Labels are keywords; any field can have several values.
            let one = std::slice::from_ref(value);
            let values = value.as_array().map_or(one, Vec::as_slice);
            assert!(values.iter().all(Value::is_string), "{name} of {line}");
            continue;
        }
        let field = &schema["fields"][name];
        assert!(field.is_object(), "{name} is not in the schema");
        let values = match value {
            Value::Array(values) => {
                assert_eq!(field["array"], true, "{name}");
                values.as_slice()
            }
            value => {
                assert!(field["array"].is_null(), "{name}");
                std::slice::from_ref(value)
            }
        };
        for value in values {
            let right = match field["type"].as_str().unwrap() {
                "keyword" => value.is_string(),
                "long" => value.is_u64(),
                "ip" => is_ip(value),
                "date" => is_time(value),
                other => panic!("{name}: {other}"),
            };
            assert!(right, "{name} of {line}");
            if let Some(allowed) = field["values"].as_array() {
                assert!(allowed.contains(value), "{name}: {value}");
            }
            if field["pattern"] == "^[A-F0-9]{2}(-[A-F0-9]{2}){5,}$" {
                let upper = |digit| matches!(digit, '0'..='9' | 'A'..='F');
                assert!(is_mac(value.as_str().unwrap(), '-', upper), "{value}");
            } else {
                assert!(field["pattern"].is_null(), "{name}");
            }
        }
    }
    let object = object.to_map();
    assert_eq!(object["ecs.version"], schema["version"]);
    let expected = schema["event_types_of_network"].as_array().unwrap();
    for kind in object["event.type"].as_array().unwrap() {
        assert!(expected.contains(kind), "{kind}");
    }
}

const OCSF: &[&str] = &[
    "time",
    "time_dt",
    "category_uid",
    "class_uid",
    "severity_id",
    "activity_id",
    "type_uid",
    "action_id",
    "disposition_id",
    "cloud",
    "metadata",
    "device",
    "firewall_rule",
    "status_detail",
    "observation_point_id",
    "connection_info",
    "src_endpoint",
    "dst_endpoint",
    "traffic",
    "packet_list",
    "unmapped",
];

/// Checks a line against the published schema.
fn check_ocsf(line: &str) {
    let schema: Value = serde_json::from_str(include_str!("fixtures/ocsf.json")).unwrap();
    let object = Object::parse(line);
    object.assert_order(OCSF);
    let object = Value::Object(object.to_map());
    check_ocsf_object(&schema["objects"], "network_activity", &object);
    assert_eq!(object["metadata"]["version"], schema["version"]);
    assert_eq!(
        object["type_uid"].as_u64().unwrap(),
        object["class_uid"].as_u64().unwrap() * 100 + object["activity_id"].as_u64().unwrap()
    );
    // A profile stands for the attributes that it adds.
    let profiles = object["metadata"]["profiles"].as_array().unwrap();
    for (profile, attribute) in [
        ("cloud", "cloud"),
        ("datetime", "time_dt"),
        ("host", "device"),
        ("security_control", "action_id"),
    ] {
        assert_eq!(
            profiles.iter().any(|named| named == profile),
            object.get(attribute).is_some(),
            "{profile}"
        );
    }
}

fn check_ocsf_object(schema: &Value, class: &str, object: &Value) {
    let class_schema = &schema[class];
    assert!(class_schema.is_object(), "{class} is not in the schema");
    let object = object.as_object().unwrap();
    let has = |name: &Value| object.contains_key(name.as_str().unwrap());
    let required = class_schema["required"].as_array().unwrap();
    assert!(required.iter().all(has), "{class}: {required:?}");
    if let Some(names) = class_schema["at_least_one"].as_array() {
        assert!(names.iter().any(has), "{class}: {names:?}");
    }
    for (name, value) in object {
        let attribute = &class_schema["attributes"][name];
        let Some(kind) = attribute["type"].as_str() else {
            panic!("{class}.{name} is not in the schema");
        };
        let values = match value {
            Value::Array(values) => {
                assert_eq!(attribute["array"], true, "{class}.{name}");
                values.as_slice()
            }
            value => {
                assert!(attribute["array"].is_null(), "{class}.{name}");
                std::slice::from_ref(value)
            }
        };
        for value in values {
            let right = match kind {
                "integer_t" | "long_t" => value.is_i64() || value.is_u64(),
                "port_t" => value.as_u64().is_some_and(|port| port <= 65_535),
                "string_t" => value.is_string(),
                "ip_t" => is_ip(value),
                "mac_t" => is_mac(value.as_str().unwrap(), ':', |digit| {
                    digit.is_ascii_hexdigit()
                }),
                "datetime_t" => is_time(value),
                "timestamp_t" => value.as_i64() == Some(TIME.unix_nanos / 1_000_000),
                "object" => value.is_object(),
                class => {
                    check_ocsf_object(schema, class, value);
                    true
                }
            };
            assert!(right, "{class}.{name}: {value}");
            if let Some(allowed) = attribute["enum"].as_object() {
                assert!(allowed.contains_key(&value.to_string()), "{name}: {value}");
            }
        }
    }
}

/// One line of printable ASCII, that parses as what it is.
fn check(layout: Layout, line: &str) {
    let text = line.strip_suffix('\n').unwrap();
    assert!(
        text.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "{text}"
    );
    match layout {
        Layout::Json => check_json(text),
        Layout::Ecs => check_ecs(text),
        Layout::Ocsf => check_ocsf(text),
        _ => assert!(
            text.starts_with("May  5 ") || text.starts_with("action=") || text.starts_with("pkt=")
        ),
    }
}

/// Writes and checks a record, and the line of the packet alone, in each layout.
fn check_all(scope: &Scope<'_>, direction: Direction, verdict: &Verdict<'_>, frame: &[u8]) {
    for layout in LAYOUTS {
        for payload in [Payload::Omit, Payload::Include] {
            let format = Format {
                layout,
                payload,
                ..Format::default()
            };
            check(
                layout,
                &record(format, scope, port(), direction, verdict, frame),
            );
            let mut line = Vec::new();
            let packet = Packet::decode(frame);
            Recorder::new(format).write_packet(Some(TIME), &packet, &mut line);
            check(layout, str::from_utf8(&line).unwrap());
        }
    }
}

#[test]
fn recorded_frames_in_every_layout() {
    let logs = [id("4522efdf-8d44-4e19-b237-64cafc49469b")];
    let rules = [id("85c3a9a1-9d5c-4f5e-8f4a-2c41d0a7e1b2")];
    for frame in recorded_frames() {
        let accept = scope(Action::Accept, &logs);
        check_all(&accept, Direction::Ingress, &Verdict::Rules(&rules), &frame);
        check_all(&accept, Direction::Egress, &Verdict::Rules(&[]), &frame);
        let drop = scope(Action::Drop, &logs);
        for reason in Reason::ALL {
            check_all(&drop, Direction::Ingress, &Verdict::Reason(reason), &frame);
        }
    }
}

/// Any bytes, or a recorded frame with some bytes changed and its end cut off.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let changed = (
        proptest::sample::select(recorded_frames()),
        proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        any::<proptest::sample::Index>(),
    )
        .prop_map(|(mut frame, changes, end)| {
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            frame.truncate(end.index(frame.len()) + 1);
            frame
        });
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..200),
        changed.boxed()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_in_every_layout(
        frame in frames(),
        project_id: String,
        ids in proptest::collection::vec(any::<u128>(), 3..6),
        drop: bool,
        ingress: bool,
        reason in proptest::sample::select(Reason::ALL.to_vec()),
    ) {
        let ids: Vec<Uuid> = ids.into_iter().map(Uuid::from_u128).collect();
        let scope = Scope {
            action: if drop { Action::Drop } else { Action::Accept },
            project_id: &project_id,
            logs: &ids[..2],
        };
        let direction = if ingress { Direction::Ingress } else { Direction::Egress };
        let verdict = if drop { Verdict::Reason(reason) } else { Verdict::Rules(&ids[3..]) };
        check_all(&scope, direction, &verdict, &frame);
    }
}

#[test]
fn nothing_is_allocated_in_steady_state() {
    let frames = recorded_frames();
    let logs = [id("4522efdf-8d44-4e19-b237-64cafc49469b")];
    for layout in LAYOUTS {
        for payload in [Payload::Omit, Payload::Include] {
            let format = Format {
                layout,
                payload,
                timestamp: TimestampStyle::Rfc3164,
                extra_fields: true,
            };
            let (mut head, mut tail, mut line) = (Vec::new(), Vec::new(), Vec::new());
            format.head(&scope(Action::Drop, &logs), &mut head);
            let verdict = Verdict::Reason(Reason::NoRule);
            format.tail(Direction::Ingress, &verdict, &mut tail);
            let prefix = Prefix {
                head: &head,
                port: &port_text(port()),
                tail: &tail,
            };
            let mut recorder = Recorder::new(format);
            let mut time = TIME;
            let mut write_all = || {
                for frame in &frames {
                    line.clear();
                    let packet = Packet::decode(frame);
                    // Seconds that are rendered anew too.
                    time.unix_nanos += 400_000_000;
                    recorder.write(time, &prefix, &packet, &mut line);
                    std::hint::black_box(&line);
                }
            };
            write_all();
            let info = allocation_counter::measure(write_all);
            assert_eq!(info.count_total, 0, "{layout:?}");
        }
    }
}

#[test]
fn packets_alone_have_no_verdict() {
    let frame = documented_frame();
    let packet = Packet::decode(&frame);
    let line = |layout, time| {
        let format = Format {
            layout,
            timestamp: TimestampStyle::Rfc3339,
            ..Format::default()
        };
        let mut line = Vec::new();
        Recorder::new(format).write_packet(time, &packet, &mut line);
        String::from_utf8(line).unwrap()
    };
    let mut headers = Vec::new();
    packet.write_text(Payload::Omit, &mut headers);
    let headers = String::from_utf8(headers).unwrap();
    assert_eq!(line(Layout::Text, None), format!("{headers}\n"));
    assert_eq!(
        line(Layout::Text, Some(TIME)),
        format!("2018-05-05T09:05:07.000123Z {headers}\n")
    );
    assert_eq!(
        line(Layout::Neutron, Some(TIME)),
        format!("pkt={headers}\n")
    );
    assert!(line(Layout::Json, None).starts_with("{\"eth_src\":"));
    for layout in [Layout::Json, Layout::Ecs, Layout::Ocsf] {
        for name in [
            "action",
            "rule",
            "direction\":\"",
            "reason",
            "disposition_id",
            "cloud",
        ] {
            assert!(
                !line(layout, Some(TIME)).contains(name),
                "{layout:?} {name}"
            );
        }
    }
}
