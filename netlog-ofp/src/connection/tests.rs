//! A connection and a model of a switch, in virtual time.

#![expect(
    clippy::needless_pass_by_value,
    reason = "the table of what is answered reads better"
)]

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    Action, BundleControl, BundleControlType, Capabilities, Match, MeterId, MeterMod,
    MultipartRequest, PacketInFormat, PortNo, SwitchConfig,
    multipart::{FlowStats, FlowStatsRequest},
    testdata::{self, messages},
};

const FEATURES: Features = Features {
    datapath_id: 0x42,
    n_buffers: 0,
    n_tables: 254,
    auxiliary_id: 0,
    capabilities: Capabilities::FLOW_STATS,
};

/// The other end: reads what the connection sends and answers as told.
struct Pair {
    connection: Connection,
    now: Duration,
    version: Version,
    packets: usize,
}

impl Pair {
    /// A connection whose hello has been read.
    fn new(config: Config) -> Self {
        let mut pair = Self {
            connection: Connection::new(config, Duration::ZERO),
            now: Duration::ZERO,
            version: Version::V1_4,
            packets: 0,
        };
        let sent = pair.sent();
        assert!(matches!(
            sent[..],
            [Message {
                body: Body::Hello(_),
                ..
            }]
        ));
        pair
    }

    /// A connection that is ready.
    fn ready() -> Self {
        let mut pair = Self::new(Config::default());
        pair.shake_hands();
        pair
    }

    fn shake_hands(&mut self) {
        self.answer(Xid(9), Body::Hello(Hello::new(&[self.version])));
        let [
            Message {
                xid,
                body: Body::FeaturesRequest,
                ..
            },
        ] = self.sent()[..]
        else {
            panic!("the features must be asked for");
        };
        self.answer(xid, Body::FeaturesReply(FEATURES));
        let barrier = self.sent().pop().unwrap();
        assert_eq!(barrier.body, Body::BarrierRequest);
        self.answer(barrier.xid, Body::BarrierReply);
        let ready = Event::Ready {
            version: self.version,
            features: FEATURES,
        };
        assert_eq!(self.events(), [ready]);
    }

    /// What the connection has sent, as the switch reads it.
    fn sent(&mut self) -> Vec<Message> {
        let bytes = self.connection.poll_transmit().unwrap_or_default().to_vec();
        self.connection.transmitted(bytes.len());
        assert_eq!(self.connection.poll_transmit(), None);
        let mut messages = Messages::new(&bytes);
        let sent = messages
            .by_ref()
            .map(|message| Message::decode(message.unwrap()).unwrap())
            .collect();
        assert_eq!(messages.remainder(), b"");
        sent
    }

    fn input(&mut self, bytes: &[u8]) -> Result<usize, ConnectionError> {
        let packets = &mut self.packets;
        self.connection
            .handle_input(bytes, self.now, &mut |_| *packets += 1)
    }

    fn try_answer(&mut self, xid: Xid, body: Body) -> Result<usize, ConnectionError> {
        let mut bytes = Vec::new();
        body.encode(self.version, xid, &mut bytes).unwrap();
        self.input(&bytes)
    }

    fn answer(&mut self, xid: Xid, body: Body) {
        self.try_answer(xid, body).unwrap();
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.connection.poll_event()).collect()
    }

    /// Lets the time come that the connection waits for.
    fn sleep(&mut self) -> Result<(), ConnectionError> {
        self.now = self.connection.poll_timeout().unwrap();
        self.connection.handle_timeout(self.now)
    }
}

fn error(code: ErrorCode) -> Body {
    Body::Error(ErrorMessage {
        code,
        data: Vec::new(),
    })
}

#[test]
fn the_handshake_ends_with_ready() {
    let pair = Pair::ready();
    assert!(pair.connection.is_ready());
    assert_eq!(pair.connection.version(), Version::V1_4);
    assert_eq!(pair.connection.features(), Some(&FEATURES));
}

#[test]
fn the_setup_is_sent_before_ready_and_confirmed() {
    let setup = vec![
        Body::SetControllerId(7),
        Body::SetPacketInFormat(PacketInFormat::NXT_PACKET_IN2),
        Body::SetConfig(SwitchConfig {
            flags: 0,
            miss_send_len: 0xffff,
        }),
    ];
    let mut pair = Pair::new(Config {
        setup: setup.clone(),
        ..Config::default()
    });
    pair.answer(Xid(0), Body::Hello(Hello::new(&[Version::V1_4])));
    let features = pair.sent()[0].xid;
    pair.answer(features, Body::FeaturesReply(FEATURES));
    let sent = pair.sent();
    let bodies: Vec<_> = sent.iter().map(|message| message.body.clone()).collect();
    assert_eq!(bodies[..3], setup);
    assert_eq!(bodies[3..], [Body::BarrierRequest]);
    assert_eq!(pair.events(), []);
    assert_eq!(
        pair.connection.send(&Body::BarrierRequest),
        Err(SendError::NotReady)
    );

    // The switch knows no packet-in formats.
    pair.answer(sent[1].xid, error(ErrorCode::BAD_TYPE));
    let failed = pair.try_answer(sent[3].xid, Body::BarrierReply);
    let Err(ConnectionError::Setup(RequestError::Refused { culprit, .. })) = failed else {
        panic!("the setup must fail: {failed:?}");
    };
    assert_eq!(culprit, Some((1, Box::new(setup[1].clone()))));
    assert_eq!(pair.connection.poll_timeout(), None);
}

#[test]
fn no_common_version_is_said_to_both_sides() {
    let mut pair = Pair::new(Config::default());
    let hello = Hello::new(&[Version::V1_0, Version::V1_5]);
    let failed = pair.try_answer(Xid(1), Body::Hello(hello.clone()));
    assert_eq!(
        failed,
        Err(ConnectionError::Version {
            ours: vec![Version::V1_3, Version::V1_4],
            theirs: hello,
        })
    );
    let sent = pair.sent();
    assert!(
        matches!(&sent[0].body, Body::Error(error) if error.code == ErrorCode::INCOMPATIBLE),
        "{sent:?}"
    );
    assert_eq!(pair.input(b""), Err(ConnectionError::Closed));
}

#[test]
fn the_switch_may_refuse_the_handshake() {
    let mut pair = Pair::new(Config::default());
    let failed = pair.try_answer(Xid(1), error(ErrorCode::INCOMPATIBLE));
    assert!(matches!(failed, Err(ConnectionError::Refused(_))));
}

#[test]
fn a_switch_that_says_nothing_times_out() {
    let mut pair = Pair::new(Config::default());
    assert_eq!(
        pair.sleep(),
        Err(ConnectionError::HandshakeTimeout(Duration::from_secs(10)))
    );
}

#[test]
fn a_setup_that_is_not_confirmed_times_out_with_the_handshake() {
    let mut pair = Pair::new(Config {
        request_timeout: Duration::from_secs(1),
        versions: vec![Version::V1_4, Version::V1_5],
        ..Config::default()
    });
    pair.answer(
        Xid(0),
        Body::Hello(Hello::new(&[Version::V1_4, Version::V1_5])),
    );
    let features = pair.sent()[0].xid;
    pair.answer(features, Body::FeaturesReply(FEATURES));
    assert!(matches!(
        pair.sleep(),
        Err(ConnectionError::HandshakeTimeout(_))
    ));
    assert_eq!(pair.now, Duration::from_secs(10));
    assert_eq!(pair.events(), []);
    assert_eq!(
        pair.connection.handle_timeout(pair.now),
        Err(ConnectionError::Closed)
    );
}

#[test]
fn silence_is_probed_and_then_ends_the_connection() {
    let mut pair = Pair::ready();
    pair.sleep().unwrap();
    assert_eq!(pair.now, Duration::from_secs(5));
    let sent = pair.sent();
    assert_eq!(sent[0].body, Body::EchoRequest(Vec::new()));

    // Any byte is a sign of life.
    pair.now = Duration::from_secs(9);
    pair.answer(sent[0].xid, Body::EchoReply(Vec::new()));
    assert_eq!(pair.events(), []);
    pair.sleep().unwrap();
    assert_eq!(pair.now, Duration::from_secs(14));
    assert_eq!(pair.sent().len(), 1);

    let xid = pair
        .connection
        .request(Body::GetConfigRequest, pair.now)
        .unwrap();
    assert_eq!(
        pair.sleep(),
        Err(ConnectionError::EchoTimeout(Duration::from_secs(10)))
    );
    let error = RequestError::Closed;
    assert_eq!(pair.events(), [Event::Failed { xid, error }]);
}

#[test]
fn an_early_timeout_does_no_harm() {
    let mut pair = Pair::ready();
    let due = pair.connection.poll_timeout();
    pair.connection
        .handle_timeout(Duration::from_secs(1))
        .unwrap();
    assert_eq!(pair.connection.poll_timeout(), due);
    assert_eq!(pair.sent(), []);
}

#[test]
fn echoes_are_answered_with_their_bytes() {
    let mut pair = Pair::ready();
    pair.answer(Xid(77), Body::EchoRequest(b"abc".to_vec()));
    let reply = Message {
        version: Version::V1_4,
        xid: Xid(77),
        body: Body::EchoReply(b"abc".to_vec()),
    };
    assert_eq!(pair.sent(), [reply]);
}

#[test]
fn a_switch_that_only_asks_for_echoes_is_left() {
    let mut pair = Pair::ready();
    pair.connection.config.max_output = 100;
    let request = Body::EchoRequest(vec![0; 100]);
    pair.answer(Xid(1), request.clone());
    assert_eq!(
        pair.try_answer(Xid(2), request),
        Err(ConnectionError::Stalled(108))
    );
}

#[test]
fn packet_ins_go_to_the_sink_and_nothing_else_does() {
    let mut pair = Pair::ready();
    let mut stream = messages(testdata::NXT2)[2..].concat();
    let end = stream.len();
    stream.extend_from_slice(&[5, 3, 0, 9]);
    assert_eq!(pair.input(&stream), Ok(end));
    assert_eq!(pair.packets, 6);
    assert_eq!(pair.events(), []);
}

#[test]
fn answers_find_their_requests() {
    let mut pair = Pair::ready();
    let now = pair.now;
    let first = pair
        .connection
        .request(Body::GetConfigRequest, now)
        .unwrap();
    let second = pair.connection.request(Body::BarrierRequest, now).unwrap();
    let third = pair
        .connection
        .request(Body::GetConfigRequest, now)
        .unwrap();
    assert_eq!(
        pair.sent().iter().map(|m| m.xid).collect::<Vec<_>>(),
        [first, second, third]
    );
    let config = Body::GetConfigReply(SwitchConfig {
        flags: 0,
        miss_send_len: 9,
    });
    pair.answer(third, config.clone());
    pair.answer(first, error(ErrorCode::BAD_TYPE));
    pair.answer(second, Body::BarrierReply);
    let refused = ErrorMessage {
        code: ErrorCode::BAD_TYPE,
        data: Vec::new(),
    };
    assert_eq!(
        pair.events(),
        [
            Event::Reply {
                xid: third,
                body: Box::new(config.clone()),
            },
            Event::Failed {
                xid: first,
                error: RequestError::Refused {
                    error: refused,
                    culprit: None,
                },
            },
            Event::Reply {
                xid: second,
                body: Box::new(Body::BarrierReply),
            },
        ]
    );
    // An answer that comes twice belongs to nothing any more.
    pair.answer(third, config);
    assert!(matches!(pair.events()[..], [Event::Message(_)]));
}

fn flow(cookie: u64) -> FlowStats {
    FlowStats {
        table_id: 91,
        duration: Duration::new(3, 4),
        priority: 100,
        idle_timeout: 0,
        hard_timeout: 0,
        flags: crate::FlowFlags::NONE,
        importance: 0,
        cookie,
        packet_count: 5,
        byte_count: 6,
        r#match: Match::any().reg(5, 1),
        instructions: Vec::new(),
    }
}

fn flows(more: bool, cookies: &[u64]) -> Body {
    Body::MultipartReply {
        more,
        reply: MultipartReply::Flow(cookies.iter().copied().map(flow).collect()),
    }
}

fn request_flows(pair: &mut Pair) -> Xid {
    let request = MultipartRequest::Flow(FlowStatsRequest::default());
    let xid = pair.connection.request(request.into(), pair.now).unwrap();
    pair.sent();
    xid
}

#[test]
fn a_reply_in_parts_is_put_together() {
    let mut pair = Pair::ready();
    let xid = request_flows(&mut pair);
    pair.answer(xid, flows(true, &[1, 2]));
    pair.answer(xid, flows(true, &[]));
    assert_eq!(pair.events(), []);
    pair.answer(xid, flows(false, &[3]));
    let reply = MultipartReply::Flow([1, 2, 3].map(flow).to_vec());
    assert_eq!(pair.events(), [Event::Multipart { xid, reply }]);
}

#[test]
fn parts_that_do_not_belong_together_fail() {
    let mut pair = Pair::ready();
    let xid = request_flows(&mut pair);
    pair.answer(xid, flows(true, &[1]));
    let reply = MultipartReply::Table(Vec::new());
    pair.answer(xid, Body::MultipartReply { more: false, reply });
    let error = RequestError::Reply;
    assert_eq!(pair.events(), [Event::Failed { xid, error }]);
}

#[test]
fn a_reply_to_another_question_fails() {
    let mut pair = Pair::ready();
    let request = MultipartRequest::MeterFeatures;
    let xid = pair.connection.request(request.into(), pair.now).unwrap();
    pair.sent();
    pair.answer(xid, flows(false, &[1]));
    let error = RequestError::Reply;
    assert_eq!(pair.events(), [Event::Failed { xid, error }]);
}

#[test]
fn a_reply_without_end_fails() {
    let mut pair = Pair::ready();
    pair.connection.config.max_reply = 100;
    let xid = request_flows(&mut pair);
    pair.answer(xid, flows(true, &[1]));
    pair.answer(xid, flows(true, &[2]));
    let error = RequestError::Reply;
    assert_eq!(pair.events(), [Event::Failed { xid, error }]);
}

#[test]
fn a_request_times_out_unless_its_parts_keep_coming() {
    let mut pair = Pair::ready();
    pair.connection.config.echo_interval = Duration::from_secs(1000);
    let xid = request_flows(&mut pair);
    pair.now = Duration::from_secs(29);
    pair.answer(xid, flows(true, &[1]));
    pair.sleep().unwrap();
    assert_eq!(pair.now, Duration::from_secs(59));
    let error = RequestError::TimedOut(Duration::from_secs(30));
    assert_eq!(pair.events(), [Event::Failed { xid, error }]);
}

#[test]
fn an_answer_that_cannot_be_read_fails_its_request() {
    let mut pair = Pair::ready();
    let xid = request_flows(&mut pair);
    let [x0, x1, x2, x3] = xid.0.to_be_bytes();
    let body = [0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
    let mut bytes = vec![5, 19, 0, 18, x0, x1, x2, x3];
    bytes.extend(body);
    pair.input(&bytes).unwrap();
    assert!(matches!(
        pair.events()[..],
        [Event::Failed {
            error: RequestError::BadReply(_),
            ..
        }]
    ));
}

#[test]
fn what_cannot_be_read_is_told_and_does_not_end_the_connection() {
    let mut pair = Pair::ready();
    // A packet-in and a port status, both empty.
    pair.input(&[5, 10, 0, 8, 0, 0, 0, 0, 5, 12, 0, 8, 0, 0, 0, 0])
        .unwrap();
    let lost: Vec<_> = pair
        .events()
        .into_iter()
        .map(|event| match event {
            Event::Undecodable { header, .. } => header.message_type,
            event => panic!("{event:?}"),
        })
        .collect();
    assert_eq!(lost, [MessageType::PACKET_IN, MessageType::PORT_STATUS]);
    assert!(pair.connection.is_ready());
}

#[test]
fn what_is_not_openflow_ends_the_connection() {
    let mut pair = Pair::ready();
    let failed = pair.input(b"HTTP/1.1 400 Bad Request");
    // "HT" is a version and a type, "TP" a length of 21584: nothing to see.
    assert_eq!(failed, Ok(0));
    let failed = pair.input(&[5, 0, 0, 0, 0, 0, 0, 0]);
    assert!(matches!(failed, Err(ConnectionError::NotOpenFlow(_))));
}

fn log_flow(slot: u32) -> FlowMod {
    FlowMod::add(
        91,
        100,
        0x6e4c_0000_0000_0000 | u64::from(slot),
        Match::any().reg(5, slot),
        vec![crate::Controller::default().into(), Action::resubmit(94)],
    )
}

#[test]
fn a_message_without_an_answer_is_confirmed_by_a_barrier() {
    let mut pair = Pair::ready();
    let body = Body::MeterMod(MeterMod::delete(MeterId::ALL));
    let xid = pair.connection.request(body.clone(), pair.now).unwrap();
    let sent = pair.sent();
    assert_eq!(sent[0].body, body);
    assert_eq!(sent[1].body, Body::BarrierRequest);
    pair.answer(sent[1].xid, Body::BarrierReply);
    assert_eq!(pair.events(), [Event::Done { xid }]);
}

#[test]
fn a_batch_fails_with_the_first_message_that_was_refused() {
    let mut pair = Pair::ready();
    let bodies: Vec<Body> = (0..3).map(|slot| log_flow(slot).into()).collect();
    let xid = pair.connection.batch(bodies.clone(), pair.now).unwrap();
    let sent = pair.sent();
    pair.answer(sent[1].xid, error(ErrorCode::BAD_TYPE));
    pair.answer(sent[2].xid, error(ErrorCode::INCOMPATIBLE));
    pair.answer(sent[3].xid, Body::BarrierReply);
    let [
        Event::Failed {
            xid: failed,
            error: RequestError::Refused { error, culprit },
        },
    ] = &pair.events()[..]
    else {
        panic!("the batch must fail");
    };
    assert_eq!(*failed, xid);
    assert_eq!(error.code, ErrorCode::BAD_TYPE);
    assert_eq!(*culprit, Some((1, Box::new(bodies[1].clone()))));
}

#[test]
fn a_message_sent_without_waiting_gives_its_xid_to_the_error() {
    let mut pair = Pair::ready();
    let xid = pair.connection.send(&log_flow(1).into()).unwrap();
    pair.answer(xid, error(ErrorCode::BAD_TYPE));
    assert!(matches!(pair.events()[..], [Event::Error { xid: x, .. }] if x == xid));
}

/// A bundle of three flows, and what has been sent of it.
fn begin_bundle(pair: &mut Pair) -> (Xid, Vec<Message>) {
    let flow_mods = (0..3).map(log_flow).collect();
    let xid = pair
        .connection
        .bundle(flow_mods, BundleFlags::ATOMIC, pair.now)
        .unwrap();
    let sent = pair.sent();
    assert_eq!(sent.len(), 5);
    assert!(matches!(
        &sent[0].body,
        Body::BundleControl(control) if control.kind == BundleControlType::OPEN_REQUEST
    ));
    for (slot, message) in (0..).zip(&sent[1..4]) {
        let Body::BundleAdd(add) = &message.body else {
            panic!("{message:?} adds nothing");
        };
        assert_eq!(*add.message, Body::FlowMod(log_flow(slot)));
    }
    assert_eq!(sent[4].body, Body::BarrierRequest);
    pair.answer(
        sent[0].xid,
        control(&sent[0], BundleControlType::OPEN_REPLY),
    );
    (xid, sent)
}

fn control(request: &Message, kind: BundleControlType) -> Body {
    match &request.body {
        Body::BundleControl(control) => Body::BundleControl(BundleControl {
            kind,
            ..control.clone()
        }),
        body => panic!("{body:?} controls no bundle"),
    }
}

fn kind(message: &Message) -> BundleControlType {
    match &message.body {
        Body::BundleControl(control) => control.kind,
        body => panic!("{body:?} controls no bundle"),
    }
}

#[test]
fn a_bundle_is_committed_when_the_switch_has_taken_all_of_it() {
    for version in [Version::V1_3, Version::V1_4] {
        let mut pair = Pair::new(Config::default());
        pair.version = version;
        pair.shake_hands();
        let (xid, sent) = begin_bundle(&mut pair);
        pair.answer(sent[4].xid, Body::BarrierReply);
        let commit = pair.sent().remove(0);
        assert_eq!(kind(&commit), BundleControlType::COMMIT_REQUEST);
        assert_eq!(pair.events(), []);
        pair.answer(
            commit.xid,
            control(&commit, BundleControlType::COMMIT_REPLY),
        );
        assert_eq!(pair.events(), [Event::Done { xid }]);
    }
}

#[test]
fn a_bundle_is_discarded_when_the_switch_refused_a_part_of_it() {
    let mut pair = Pair::ready();
    let (xid, sent) = begin_bundle(&mut pair);
    pair.answer(sent[2].xid, error(ErrorCode::BAD_TYPE));
    pair.answer(sent[4].xid, Body::BarrierReply);
    let discard = pair.sent().remove(0);
    assert_eq!(kind(&discard), BundleControlType::DISCARD_REQUEST);
    pair.answer(
        discard.xid,
        control(&discard, BundleControlType::DISCARD_REPLY),
    );
    assert_refused(&pair.events(), xid, 1);
}

/// Open vSwitch blames the flow-mod first, and then the commit.
#[test]
fn a_bundle_that_fails_at_the_commit_names_the_flow() {
    let mut pair = Pair::ready();
    let (xid, sent) = begin_bundle(&mut pair);
    pair.answer(sent[4].xid, Body::BarrierReply);
    let commit = pair.sent().remove(0);
    pair.answer(sent[3].xid, error(ErrorCode::BAD_TYPE));
    pair.answer(
        commit.xid,
        error(ErrorCode::Standard { kind: 17, code: 13 }),
    );
    assert_refused(&pair.events(), xid, 2);
}

fn assert_refused(events: &[Event], bundle: Xid, index: u32) {
    let [
        Event::Failed {
            xid,
            error: RequestError::Refused { error, culprit },
        },
    ] = events
    else {
        panic!("the bundle must fail: {events:?}");
    };
    assert_eq!(*xid, bundle);
    assert_eq!(error.code, ErrorCode::BAD_TYPE);
    let flow = Box::new(Body::FlowMod(log_flow(index)));
    assert_eq!(*culprit, Some((index as usize, flow)));
}

#[test]
fn a_bundle_that_is_too_long_leaves_nothing_behind() {
    let mut pair = Pair::ready();
    let mut long = log_flow(1);
    long.instructions = vec![crate::Instruction::ApplyActions(vec![
        Action::output(
            PortNo(1)
        );
        5000
    ])];
    let flow_mods = vec![log_flow(1), long];
    let failed = pair
        .connection
        .bundle(flow_mods, BundleFlags::ATOMIC, pair.now);
    assert!(matches!(failed, Err(SendError::TooLong(_))));
    assert_eq!(pair.sent(), []);
    pair.connection.handle_eof();
    assert_eq!(pair.events(), []);
}

#[test]
fn the_end_of_the_stream_fails_every_request_once() {
    let mut pair = Pair::ready();
    let one = request_flows(&mut pair);
    let two = pair
        .connection
        .bundle(vec![log_flow(1)], BundleFlags::ATOMIC, pair.now)
        .unwrap();
    pair.connection.handle_eof();
    pair.connection.handle_eof();
    let failed = |xid| Event::Failed {
        xid,
        error: RequestError::Closed,
    };
    assert_eq!(pair.events(), [failed(one), failed(two)]);
    assert_eq!(
        pair.connection.request(Body::BarrierRequest, pair.now),
        Err(SendError::NotReady)
    );
}

#[test]
fn news_of_flows_come_as_one_event_in_both_versions() {
    use crate::multipart::FlowUpdate;
    for (version, paused) in [
        (Version::V1_3, Body::FlowMonitorPaused),
        (
            Version::V1_4,
            Body::MultipartReply {
                more: false,
                reply: MultipartReply::FlowMonitor(vec![FlowUpdate::Paused]),
            },
        ),
    ] {
        let mut pair = Pair::new(Config::default());
        pair.version = version;
        pair.shake_hands();
        pair.answer(Xid(0), paused);
        let news = Event::FlowUpdates(vec![FlowUpdate::Paused]);
        assert_eq!(pair.events(), [news]);
    }
}

/// What Open vSwitch 3.1.0 says when a flow monitor of OpenFlow 1.4 asks for
/// `NO_ABBREV`.
#[test]
fn an_error_in_another_version_does_not_end_the_connection() {
    let mut pair = Pair::ready();
    let recorded = testdata::from_hex("0101001800000000b0c20000000023200001020600010004");
    pair.input(&recorded).unwrap();
    assert!(matches!(
        pair.events()[..],
        [Event::Error { xid: Xid(0), .. }]
    ));
    let echo = [4, 2, 0, 8, 0, 0, 0, 1];
    pair.input(&echo).unwrap();
    let failed = pair.input(&[4, 21, 0, 8, 0, 0, 0, 1]);
    assert_eq!(
        failed,
        Err(ConnectionError::Unexpected {
            message_type: MessageType::BARRIER_REPLY,
            version: Version::V1_3,
        })
    );
}

#[test]
fn xids_skip_zero_when_they_wrap() {
    let mut pair = Pair::ready();
    pair.connection.next_xid = u32::MAX - 2;
    let (xid, sent) = begin_bundle(&mut pair);
    assert_eq!(xid, Xid(1));
    assert_eq!(sent[4].xid, Xid(5));
}

/// What the switch may say: packet-ins, news, answers that fit, and others.
fn anything(xids: std::ops::Range<u32>) -> impl Strategy<Value = Vec<u8>> {
    let bodies = select(vec![
        Body::BarrierReply,
        Body::EchoRequest(b"?".to_vec()),
        Body::FlowMonitorPaused,
        Body::GetConfigReply(SwitchConfig {
            flags: 0,
            miss_send_len: 1,
        }),
        error(ErrorCode::BAD_TYPE),
        flows(true, &[1]),
        flows(false, &[2, 3]),
        Body::BundleControl(BundleControl {
            bundle_id: 1,
            kind: BundleControlType::COMMIT_REPLY,
            flags: BundleFlags::ATOMIC,
            properties: Vec::new(),
        }),
    ]);
    let answer = (bodies, xids).prop_map(|(body, xid)| {
        let mut bytes = Vec::new();
        body.encode(Version::V1_4, Xid(xid), &mut bytes).unwrap();
        bytes
    });
    let packets = messages(testdata::NXT2)[2..].to_vec();
    prop_oneof![3 => answer, 1 => select(packets)]
}

/// A connection with one request of each kind, and their xids.
fn three_requests() -> (Pair, [Xid; 3]) {
    let mut pair = Pair::ready();
    let reply = request_flows(&mut pair);
    let now = pair.now;
    let batch = pair.connection.request(log_flow(1).into(), now).unwrap();
    let flow_mods = vec![log_flow(2), log_flow(3)];
    let flags = BundleFlags::ATOMIC;
    let bundle = pair.connection.bundle(flow_mods, flags, now).unwrap();
    (pair, [reply, batch, bundle])
}

proptest! {
    /// The reader's part of the contract: what is not consumed comes again.
    #[test]
    fn it_does_not_matter_how_the_stream_is_cut(
        stream in vec(anything(0..13), 0..40),
        cuts in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let stream = stream.concat();
        let (mut whole, _) = three_requests();
        prop_assert_eq!(whole.input(&stream), Ok(stream.len()));

        let (mut cut, _) = three_requests();
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        let mut begin = 0;
        for end in ends {
            begin += cut.input(&stream[begin..end]).unwrap();
        }
        prop_assert_eq!(begin, stream.len());
        prop_assert_eq!(cut.packets, whole.packets);
        prop_assert_eq!(cut.events(), whole.events());
        prop_assert_eq!(cut.sent(), whole.sent());
    }

    /// Whatever the switch says, in whatever order.
    #[test]
    fn every_request_ends_exactly_once(stream in vec(anything(3..13), 0..40)) {
        let (mut pair, requests) = three_requests();
        pair.input(&stream.concat()).unwrap();
        pair.connection.handle_eof();
        let mut ended: Vec<_> = pair
            .events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Done { xid }
                | Event::Reply { xid, .. }
                | Event::Multipart { xid, .. }
                | Event::Failed { xid, .. } => Some(xid),
                _ => None,
            })
            .collect();
        ended.sort();
        prop_assert_eq!(ended, requests);
    }

    #[test]
    fn no_bytes_make_a_connection_panic(stream in vec(any::<u8>(), 0..200)) {
        let (mut pair, _) = three_requests();
        let _ = pair.input(&stream);
        let mut pair = Pair::new(Config::default());
        let _ = pair.input(&stream);
    }
}
