//! Any bytes are a message or an error. What is read, then written and read
//! once, stays the same from then on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netlog_ofp::{Message, PacketIn, RawMessage};

fn rewrite(message: &Message) -> Option<Message> {
    let mut out = Vec::new();
    // Padding that was missing may make it too long.
    message.encode(&mut out).ok()?;
    let raw = RawMessage::new(&out).expect("a header of our own");
    Some(Message::decode(raw).expect("a message of our own"))
}

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    let Ok(length) = u16::try_from(data.len()) else {
        return;
    };
    // Lengths are hard to guess.
    if let Some(field) = data.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    let Ok(raw) = RawMessage::new(&data) else {
        return;
    };
    if let Ok(Some(packet)) = PacketIn::parse(raw) {
        assert!(packet.metadata.fields().count() <= data.len() / 4);
    }
    let Ok(message) = Message::decode(raw) else {
        return;
    };
    let _ = format!("{message:?}");
    if let Some(once) = rewrite(&message) {
        let twice = rewrite(&once).expect("as long as before");
        assert_eq!(once, twice);
    }
});
