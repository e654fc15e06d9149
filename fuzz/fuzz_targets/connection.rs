//! Whatever a switch says, however it is cut: the same events, and each
//! request ends exactly once.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use netlog_ofp::{
    Body, BundleFlags, Capabilities, Config, Connection, Event, Features, FlowCommand, FlowMod,
    Hello, MultipartRequest, Version, Xid, multipart::FlowStatsRequest,
};

const NOW: Duration = Duration::ZERO;

/// A ready connection with a request of each kind, and their xids.
fn connection() -> (Connection, [Xid; 3]) {
    let mut connection = Connection::new(Config::default(), NOW);
    let features = Features {
        datapath_id: 1,
        n_buffers: 0,
        n_tables: 254,
        auxiliary_id: 0,
        capabilities: Capabilities::NONE,
    };
    // Our hello has the xid 1.
    let handshake = [
        Body::Hello(Hello::new(&[Version::V1_4])),
        Body::FeaturesReply(features),
        Body::BarrierReply,
    ];
    let mut bytes = Vec::new();
    for (xid, body) in (1..).zip(handshake) {
        body.encode(Version::V1_4, Xid(xid), &mut bytes)
            .expect("short");
    }
    connection
        .handle_input(&bytes, NOW, &mut |_| ())
        .expect("a handshake");
    assert!(matches!(connection.poll_event(), Some(Event::Ready { .. })));
    let flow = FlowMod::new(FlowCommand::DELETE, 1);
    let request = MultipartRequest::Flow(FlowStatsRequest::default());
    let requests = [
        connection.request(request.into(), NOW),
        connection.request(flow.clone().into(), NOW),
        connection.bundle(vec![flow.clone(), flow], BundleFlags::ATOMIC, NOW),
    ];
    (
        connection,
        requests.map(|xid| xid.expect("ready and short")),
    )
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

fuzz_target!(|data: &[u8]| {
    let (mut whole, requests) = connection();
    let mut packets = 0;
    let taken = whole.handle_input(data, NOW, &mut |_| packets += 1);

    let (mut cut, _) = connection();
    let middle = data.len() / 2;
    let mut cut_packets = 0;
    let first = cut.handle_input(&data[..middle], NOW, &mut |_| cut_packets += 1);
    let both = first.and_then(|first| {
        let second = cut.handle_input(&data[first..], NOW, &mut |_| cut_packets += 1);
        second.map(|second| first + second)
    });
    assert_eq!(taken, both);
    assert_eq!(packets, cut_packets);
    assert_eq!(whole.poll_transmit(), cut.poll_transmit());

    whole.handle_eof();
    cut.handle_eof();
    let events = events(&mut whole);
    assert_eq!(events, self::events(&mut cut));
    let mut ended: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Done { xid }
            | Event::Reply { xid, .. }
            | Event::Multipart { xid, .. }
            | Event::Failed { xid, .. } => Some(*xid),
            _ => None,
        })
        .collect();
    ended.sort();
    assert_eq!(ended, requests);
});
