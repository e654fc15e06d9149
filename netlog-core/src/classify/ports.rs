//! The logged ports of a snapshot.
//!
//! Ports are kept by slot, in blocks that the next snapshot shares as long as none of their ports
//! changes. Where the blocks are is little and stays in the processor's caches, and what an event
//! needs of a port fills one cache line, as do its counters. Both are found by the slot alone, so
//! that the processor fetches them at the same time.

use std::sync::Arc;

use uuid::Uuid;

use super::PortClass;
use crate::flow::{AttachedPort, Slot};
use crate::ledger::{self, Ledger, PortCounters};
use crate::plan::PortPlan;
use crate::prefetch::prefetch;
use crate::record::PortText;

/// What events need of a port.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Seat {
    pub(super) class: Arc<PortClass>,
    pub(super) slot: Slot,
    pub(super) ofport: u32,
    pub(super) text: PortText,
}

const _: () = assert!(
    size_of::<Option<Seat>>() == 64,
    "what events need of a port fills one cache line"
);

/// What else is known of a port.
#[derive(Clone, Debug, Default)]
struct Rest {
    id: Uuid,
    /// What the class was made for.
    plan: Option<Arc<PortPlan>>,
}

/// A logged port.
#[derive(Clone, Copy, Debug)]
pub(super) struct PortTable<'a> {
    pub(super) seat: &'a Seat,
    pub(super) counters: &'a PortCounters,
    rest: &'a Rest,
}

impl<'a> PortTable<'a> {
    pub(super) fn class(&self) -> &'a Arc<PortClass> {
        &self.seat.class
    }

    pub(super) fn id(&self) -> &'a Uuid {
        &self.rest.id
    }

    /// Whether it was made for this.
    pub(super) fn is_for(&self, attached: &AttachedPort, plan: &Arc<PortPlan>) -> bool {
        let Seat { slot, ofport, .. } = *self.seat;
        let same_plan = |own: &Arc<PortPlan>| Arc::ptr_eq(own, plan) || own == plan;
        (slot, ofport, self.rest.id) == (attached.slot, attached.ofport, attached.id)
            && self.rest.plan.as_ref().is_some_and(same_plan)
    }
}

/// So many ports are copied when one of them changes.
const BLOCK: usize = 128;

/// Ports whose slots are next to each other.
#[derive(Clone, Debug)]
struct Block {
    seats: [Option<Seat>; BLOCK],
    rests: [Rest; BLOCK],
}

impl Default for Block {
    fn default() -> Self {
        Self {
            seats: [const { None }; BLOCK],
            rests: std::array::from_fn(|_| Rest::default()),
        }
    }
}

/// The logged ports, by slot and by ofport.
#[derive(Clone, Debug, Default)]
pub(super) struct Ports {
    blocks: Vec<Option<Arc<Block>>>,
    /// Those of every port that is here, and of others.
    counters: ledger::Ports,
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
    pub(super) fn get(&self, slot: Slot) -> Option<PortTable<'_>> {
        let block = self.block(slot)?;
        Some(PortTable {
            seat: block.seats[slot as usize % BLOCK].as_ref()?,
            counters: self.counters.get(slot)?,
            rest: &block.rests[slot as usize % BLOCK],
        })
    }

    /// The port at this ofport.
    #[inline]
    pub(super) fn at(&self, ofport: u32) -> Option<PortTable<'_>> {
        self.get(*self.at.get(ofport as usize)?)
    }

    /// Has the processor fetch what an event needs of the port with this slot.
    #[inline]
    pub(super) fn prefetch(&self, slot: Slot) {
        if let (Some(block), Some(counters)) = (self.block(slot), self.counters.get(slot)) {
            prefetch(&block.seats[slot as usize % BLOCK]);
            prefetch(counters);
        }
    }

    /// Has the processor fetch what an event needs of the port at this ofport.
    #[inline]
    pub(super) fn prefetch_at(&self, ofport: u32) {
        if let Some(slot) = self.at.get(ofport as usize) {
            self.prefetch(*slot);
        }
    }

    #[inline]
    fn block(&self, slot: Slot) -> Option<&Block> {
        self.blocks.get(slot as usize / BLOCK)?.as_deref()
    }

    /// Every port, in the order of slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = PortTable<'_>> {
        let seats = self.blocks.iter().flatten().flat_map(|it| &it.seats);
        seats.flatten().filter_map(|seat| self.get(seat.slot))
    }

    /// The same ports, and room for those with these slots, which are counted in this ledger.
    /// [`keep`](Self::keep) finds them by their ofports again.
    pub(super) fn with_room(&self, slots: impl Iterator<Item = Slot>, ledger: &Ledger) -> Self {
        if let Some(highest) = slots.max() {
            ledger.port(highest);
        }
        Self {
            blocks: self.blocks.clone(),
            counters: ledger.ports().clone(),
            at: Vec::new(),
        }
    }

    /// Puts a port in the place of its slot, for which there is room.
    pub(super) fn put(&mut self, seat: Seat, id: Uuid, plan: &Arc<PortPlan>) {
        let slot = seat.slot as usize;
        if self.blocks.len() <= slot / BLOCK {
            self.blocks.resize(slot / BLOCK + 1, None);
        }
        let block = Arc::make_mut(self.blocks[slot / BLOCK].get_or_insert_default());
        block.seats[slot % BLOCK] = Some(seat);
        block.rests[slot % BLOCK] = Rest {
            id,
            plan: Some(Arc::clone(plan)),
        };
    }

    /// Takes the port with this slot away.
    fn remove(&mut self, slot: Slot) {
        let block = self.blocks.get_mut(slot as usize / BLOCK);
        if let Some(block) = block.and_then(Option::as_mut).map(Arc::make_mut) {
            block.seats[slot as usize % BLOCK] = None;
            block.rests[slot as usize % BLOCK] = Rest::default();
        }
    }

    /// Keeps only the ports that are attached, all of which are here, and finds them by their
    /// ofports; of several at one ofport the last.
    pub(super) fn keep<'a>(&mut self, attached: impl Iterator<Item = &'a AttachedPort> + Clone) {
        let highest = |number: &dyn Fn(&AttachedPort) -> u32| attached.clone().map(number).max();
        let places = |highest: Option<u32>| highest.map_or(0, |highest| highest as usize + 1);
        let mut keep = vec![false; places(highest(&|port| port.slot))];
        let ofport = |port: &AttachedPort| port.ofport.min(Self::MAX_OFPORT);
        self.at = vec![NOBODY; places(highest(&ofport))];
        for port in attached {
            keep[port.slot as usize] = true;
            if port.ofport <= Self::MAX_OFPORT {
                self.at[port.ofport as usize] = port.slot;
            }
        }
        let is_gone = |slot: &Slot| !keep.get(*slot as usize).copied().unwrap_or(false);
        let slots = self.iter().map(|port| port.seat.slot);
        let gone: Vec<Slot> = slots.filter(is_gone).collect();
        for slot in gone {
            self.remove(slot);
        }
    }
}
