//! The counters of ports, by slot.
//!
//! They lie in blocks that never move, which everybody shares who counts or reads. Where the
//! counters of a port are follows from its slot alone, so that nothing else is waited for.

use std::array;
use std::mem::offset_of;
use std::ops::Deref;
use std::sync::Arc;

use super::{Counter, EventCounters};
use crate::flow::{FlowKind, Slot};

/// What became of one port's packet-ins and events.
///
/// What is counted for every packet-in fills one cache line, so that counting costs the same with
/// any number of ports, and is not in one with what the sink's thread counts.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct PortCounters {
    received: [Counter; FlowKind::ALL.len()],
    /// The port's events.
    pub events: EventCounters,
    /// Events that the known rules still did not explain after a time of grace: accepted
    /// sessions that no rule allows, and dropped packets that a rule allows.
    pub drifted: Counter,
}

/// Its first cache line ends where what is not counted for every packet-in begins.
const _: () = assert!(
    offset_of!(PortCounters, events) + offset_of!(EventCounters, suppressed) == 64,
    "what is counted for every packet-in fills one cache line"
);

impl PortCounters {
    /// Packet-ins that the port's log flow of this kind sent.
    pub fn received(&self, kind: FlowKind) -> &Counter {
        &self.received[kind.index()]
    }

    /// Packet-ins that the port's log flows sent.
    pub fn received_total(&self) -> u64 {
        self.received.iter().map(Counter::get).sum()
    }
}

/// So many ports have their counters in one block.
const BLOCK: usize = 128;

/// The counters of all ports, by slot. A copy has the same counters.
#[derive(Clone, Debug, Default)]
pub struct Ports {
    blocks: Vec<Arc<[PortCounters; BLOCK]>>,
    /// Slots that have counters: the last block has room for more.
    len: usize,
}

impl Ports {
    /// Those of the port with this slot, if there is room for it.
    #[inline]
    pub fn get(&self, slot: Slot) -> Option<&PortCounters> {
        let block = self.blocks.get(slot as usize / BLOCK)?;
        Some(&block[slot as usize % BLOCK])
    }

    /// Those of every slot that has some, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = &PortCounters> {
        let all = self.blocks.iter().flat_map(|block| &**block);
        all.take(self.len)
    }

    /// Those of the port with this slot, if it has any, to keep.
    pub(super) fn share(&self, slot: Slot) -> Option<SharedPort> {
        let slot = slot as usize;
        let block = self.blocks.get(slot / BLOCK).filter(|_| slot < self.len)?;
        Some(SharedPort {
            block: Arc::clone(block),
            at: slot % BLOCK,
        })
    }

    /// Those of the port with this slot, to keep, made where there are none.
    pub(super) fn make(&mut self, slot: Slot) -> SharedPort {
        let (block, at) = (slot as usize / BLOCK, slot as usize % BLOCK);
        self.len = self.len.max(slot as usize + 1);
        if self.blocks.len() <= block {
            let new = || Arc::new(array::from_fn(|_| PortCounters::default()));
            self.blocks.resize_with(block + 1, new);
        }
        let block = Arc::clone(&self.blocks[block]);
        SharedPort { block, at }
    }
}

/// The counters of one port, for as long as somebody needs them.
#[derive(Clone, Debug)]
pub struct SharedPort {
    block: Arc<[PortCounters; BLOCK]>,
    /// Less than [`BLOCK`].
    at: usize,
}

impl Deref for SharedPort {
    type Target = PortCounters;

    fn deref(&self) -> &PortCounters {
        &self.block[self.at]
    }
}
