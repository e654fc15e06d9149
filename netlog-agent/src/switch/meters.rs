//! The meters that keep a flood on one port from the switch and from the other ports' events.

use netlog_core::flow::Slot;
use netlog_ofp::MeterId;

/// Our meters have the ids from here on: the first byte is ours, the rest is the slot. Neutron's
/// quality of service counts from 1 upwards.
const FIRST: u32 = 0x6e00_0000;

/// One more than the greatest slot that has a meter.
const SLOTS: u32 = 1 << 24;

/// The port that a meter is for; `None` if it is someone else's.
pub(super) fn slot(meter: MeterId) -> Option<Slot> {
    meter.0.checked_sub(FIRST).filter(|slot| *slot < SLOTS)
}
