//! The logged ports of a snapshot.
//!
//! Ports are kept by slot, in blocks that the next snapshot shares as long as none of their ports
//! changes. Where the blocks are is little and stays in the processor's caches, and what an event
//! needs of a port fills one cache line, so that a port is found by one read that others do not
//! share.

use std::sync::Arc;

use uuid::Uuid;

use super::PortClass;
use crate::flow::{AttachedPort, Slot};
use crate::ledger::PortCounters;
use crate::plan::PortPlan;
use crate::prefetch::prefetch;
use crate::record::PortText;

/// One logged port. What an event needs of it comes first and fills one cache line.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct PortTable {
    pub(super) counters: Arc<PortCounters>,
    pub(super) class: Arc<PortClass>,
    pub(super) slot: Slot,
    pub(super) ofport: u32,
    pub(super) text: PortText,
    pub(super) id: Uuid,
    /// What the class was made for.
    pub(super) plan: Arc<PortPlan>,
}

impl PortTable {
    /// Whether it was made for this.
    pub(super) fn is_for(&self, attached: &AttachedPort, plan: &Arc<PortPlan>) -> bool {
        (self.slot, self.ofport, self.id) == (attached.slot, attached.ofport, attached.id)
            && (Arc::ptr_eq(&self.plan, plan) || self.plan == *plan)
    }
}

/// So many ports are copied when one of them changes.
const BLOCK: usize = 128;

/// Ports whose slots are next to each other.
#[derive(Clone, Debug)]
struct Block([Option<PortTable>; BLOCK]);

impl Default for Block {
    fn default() -> Self {
        Self([const { None }; BLOCK])
    }
}

/// The logged ports, by slot and by ofport.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    blocks: Vec<Option<Arc<Block>>>,
    /// The slot of the port at each ofport; [`NOBODY`] where there is none.
    at: Vec<Slot>,
}

/// A slot that no port has: it would take more memory than there is.
const NOBODY: Slot = Slot::MAX;

impl Ports {
    /// The most that an ofport can be (`OFPP_MAX` of OpenFlow 1.0, which Open vSwitch keeps to).
    const MAX_OFPORT: u32 = 0xff00;

    /// The port with this slot.
    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Option<&PortTable> {
        self.seat(slot)?.as_ref()
    }

    /// The port at this ofport.
    #[inline]
    pub(super) fn at(&self, ofport: u32) -> Option<&PortTable> {
        self.get(*self.at.get(ofport as usize)?)
    }

    /// Has the processor fetch the ports with this slot and at this ofport.
    #[inline]
    pub(super) fn prefetch(&self, slot: Slot, ofport: u32) {
        let at = self.at.get(ofport as usize);
        for slot in at.into_iter().chain([&slot]) {
            if let Some(seat) = self.seat(*slot) {
                prefetch(seat);
            }
        }
    }

    /// Where a port with this slot is.
    #[inline]
    fn seat(&self, slot: Slot) -> Option<&Option<PortTable>> {
        let slot = slot as usize;
        let block = self.blocks.get(slot / BLOCK)?.as_ref()?;
        Some(&block.0[slot % BLOCK])
    }

    /// Every port, in the order of slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PortTable> {
        let blocks = self.blocks.iter().flatten();
        blocks.flat_map(|block| block.0.iter().flatten())
    }

    /// The place of a slot, which is made where it is not there.
    fn place(&mut self, slot: Slot) -> &mut Option<PortTable> {
        let slot = slot as usize;
        if self.blocks.len() <= slot / BLOCK {
            self.blocks.resize(slot / BLOCK + 1, None);
        }
        let block = self.blocks[slot / BLOCK].get_or_insert_default();
        &mut Arc::make_mut(block).0[slot % BLOCK]
    }

    /// Puts a port in the place of its slot.
    pub(super) fn put(&mut self, port: PortTable) {
        let slot = port.slot;
        *self.place(slot) = Some(port);
    }

    /// Keeps only the ports that are attached, all of which are here, and finds them by their
    /// ofports; of several at one ofport the last.
    pub(super) fn keep<'a>(&mut self, attached: impl Iterator<Item = &'a AttachedPort> + Clone) {
        let highest = |number: &dyn Fn(&AttachedPort) -> u32| attached.clone().map(number).max();
        let places = |highest: Option<u32>| highest.map_or(0, |highest| highest as usize + 1);
        let mut keep = vec![false; places(highest(&|port| port.slot))];
        self.at.clear();
        let ofport = |port: &AttachedPort| port.ofport.min(Self::MAX_OFPORT);
        self.at.resize(places(highest(&ofport)), NOBODY);
        for port in attached {
            keep[port.slot as usize] = true;
            if port.ofport <= Self::MAX_OFPORT {
                self.at[port.ofport as usize] = port.slot;
            }
        }
        let is_gone = |port: &PortTable| !keep.get(port.slot as usize).copied().unwrap_or(false);
        let gone: Vec<Slot> = self
            .iter()
            .filter(|it| is_gone(it))
            .map(|it| it.slot)
            .collect();
        for slot in gone {
            *self.place(slot) = None;
        }
    }
}
