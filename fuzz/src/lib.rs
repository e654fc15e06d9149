//! What holds for a record in any layout, whatever the frame.

use netlog_core::record::{
    Action, Format, Layout, Prefix, Reason, Recorder, Scope, Timestamp, Verdict, port_text,
};
use netlog_core::rule::Direction;
use netlog_packet::{Packet, Payload};
use uuid::Uuid;

/// Writes records of this frame, accepted and dropped, with and without payload.
///
/// # Panics
/// When a record is not one line of valid UTF-8 without control characters, or not JSON where
/// JSON is promised.
pub fn records(layout: Layout, frame: &[u8]) {
    let packet = Packet::decode(frame);
    let rule = [Uuid::from_u128(1), Uuid::from_u128(2)];
    for payload in [Payload::Omit, Payload::Include] {
        let format = Format { layout, payload, ..Format::default() };
        let verdicts = [
            (Action::Accept, Verdict::Rules(&rule)),
            (Action::Accept, Verdict::Rules(&[])),
            (Action::Drop, Verdict::Reason(Reason::NoRule)),
        ];
        for (action, verdict) in verdicts {
            let scope = Scope { action, project_id: "demo", logs: &rule };
            let (mut head, mut tail, mut line) = (Vec::new(), Vec::new(), Vec::new());
            format.head(&scope, &mut head);
            format.tail(Direction::Ingress, &verdict, &mut tail);
            let time = Timestamp { unix_nanos: 1_525_511_107_000_123_456, utc_offset: 0 };
            let port = port_text(Uuid::from_u128(3));
            let prefix = Prefix { head: &head, port: &port, tail: &tail };
            Recorder::new(format).write(time, &prefix, &packet, &mut line);

            let text = std::str::from_utf8(&line).expect("UTF-8");
            let text = text.strip_suffix('\n').expect("a line");
            assert!(!text.chars().any(char::is_control), "{text:?}");
            if matches!(layout, Layout::Json | Layout::Ecs | Layout::Ocsf) {
                serde_json::from_str::<serde::de::IgnoredAny>(text).expect("JSON");
            }
        }
    }
}
