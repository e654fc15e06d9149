//! Records in the `ecs` layout.

#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    netlog_fuzz::records(netlog_core::record::Layout::Ecs, frame);
});
