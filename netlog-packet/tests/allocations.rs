//! Decoding allocates nothing, and neither does writing into a buffer that has
//! grown once.

mod common;

use common::frames;
use netlog_packet::{Packet, Payload};

#[test]
fn nothing_is_allocated_in_steady_state() {
    let frames = frames();
    let mut out = Vec::with_capacity(64 * 1024);
    let mut write_all = || {
        for frame in &frames {
            for payload in [Payload::Omit, Payload::Include] {
                out.clear();
                let packet = Packet::decode(frame);
                packet.write_text(payload, &mut out);
                std::hint::black_box((packet.summary(), packet.stop(), &out));
            }
        }
    };
    write_all();
    let info = allocation_counter::measure(write_all);
    assert_eq!(info.count_total, 0);
}
