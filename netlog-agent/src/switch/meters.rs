//! The meters that keep a flood on one port from the switch and from the other ports' events.
//!
//! Each logged port has one meter, which all its log flows report through. Open vSwitch looks up
//! the meter of a flow when the flow is added or modified, and never again: a meter that was
//! deleted limits nothing any more, and one that is made in its place limits only flows that are
//! written after it. A meter that is set anew keeps its flows.
//!
//! A meter passes what the host's limiter could record of a port that has the host to itself:
//! `rate_limit` packets a second, and `burst_limit` and a second's worth at once. It is there to
//! bound the work of the switch, not to choose between events.

use std::collections::{BTreeMap, BTreeSet};

use netlog_core::flow::Slot;
use netlog_ofp::multipart::{MeterConfig, MeterFeatures};
use netlog_ofp::{Body, MeterBand, MeterCommand, MeterFlags, MeterId, MeterMod};
use netlog_ratelimit::Limits;

/// Our meters have the ids from here on: the first byte is ours, the rest is the slot. Neutron's
/// quality of service counts from 1 upwards.
const FIRST: u32 = 0x6e00_0000;

/// One more than the greatest slot that has a meter.
const SLOTS: u32 = 1 << 24;

/// The port that a meter is for; `None` if it is someone else's.
pub(super) fn slot(meter: MeterId) -> Option<Slot> {
    meter.0.checked_sub(FIRST).filter(|slot| *slot < SLOTS)
}

/// The meter of a port.
pub(super) fn meter(slot: Slot) -> Option<MeterId> {
    (slot < SLOTS).then_some(MeterId(FIRST + slot))
}

/// Whether a request of someone else's may have changed a meter of ours.
pub(super) fn may_touch(request: &Body) -> bool {
    matches!(request, Body::MeterMod(change)
        if change.meter_id == MeterId::ALL || slot(change.meter_id).is_some())
}

/// Whether such meters can count packets and drop some.
pub(super) fn suffice(features: &MeterFeatures) -> bool {
    let counts = MeterFlags::PKTPS.0;
    features.max_meter > 0
        && features.capabilities & u32::from(counts) != 0
        && features.band_types & MeterBand::DROP_TYPES != 0
}

/// How a meter is set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    flags: MeterFlags,
    bands: Vec<MeterBand>,
}

impl Setting {
    fn of(limits: Limits) -> Self {
        let (rate, burst) = (limits.rate(), limits.burst());
        let meter = MeterMod::packets_per_second(
            MeterCommand::ADD,
            MeterId(FIRST),
            rate,
            rate.saturating_add(burst),
        );
        Self {
            flags: meter.flags,
            bands: meter.bands,
        }
    }
}

/// The meters of ours that the switch has.
#[derive(Clone, Debug, Default)]
pub(super) struct Meters(BTreeMap<Slot, Setting>);

impl Meters {
    /// What the switch says of all meters.
    pub(super) fn found(configs: &[MeterConfig]) -> Self {
        let ours = |config: &MeterConfig| {
            let setting = Setting {
                flags: config.flags,
                bands: config.bands.clone(),
            };
            Some((slot(config.meter_id)?, setting))
        };
        Self(configs.iter().filter_map(ours).collect())
    }

    pub(super) fn contains(&self, slot: Slot) -> bool {
        self.0.contains_key(&slot)
    }

    /// Those of these ports that are not there, and those that are set in another way.
    pub(super) fn differ(&self, slots: &BTreeSet<Slot>, limits: Limits) -> [BTreeSet<Slot>; 2] {
        let wanted = Setting::of(limits);
        let [mut missing, mut altered] = [BTreeSet::new(), BTreeSet::new()];
        for slot in slots.iter().filter(|slot| meter(**slot).is_some()) {
            match self.0.get(slot) {
                None => missing.insert(*slot),
                Some(setting) => *setting != wanted && altered.insert(*slot),
            };
        }
        [missing, altered]
    }

    /// What gives these ports their meters.
    pub(super) fn setting(&self, slots: &BTreeSet<Slot>, limits: Limits) -> Vec<MeterMod> {
        let [missing, altered] = self.differ(slots, limits);
        let Setting { flags, bands } = Setting::of(limits);
        let set = |command: MeterCommand| {
            let bands = bands.clone();
            move |slot: Slot| {
                Some(MeterMod {
                    command,
                    flags,
                    meter_id: meter(slot)?,
                    bands: bands.clone(),
                })
            }
        };
        let add = missing.into_iter().filter_map(set(MeterCommand::ADD));
        let modify = altered.into_iter().filter_map(set(MeterCommand::MODIFY));
        add.chain(modify).collect()
    }

    /// What takes away the meters of all ports but these.
    pub(super) fn clearing(&self, slots: &BTreeSet<Slot>) -> Vec<MeterMod> {
        let surplus = self.0.keys().filter(|slot| !slots.contains(slot));
        surplus
            .filter_map(|slot| Some(MeterMod::delete(meter(*slot)?)))
            .collect()
    }

    /// Takes note of changes that the switch has made.
    pub(super) fn apply(&mut self, changes: &[MeterMod]) {
        for change in changes {
            let Some(slot) = slot(change.meter_id) else {
                continue;
            };
            if change.command == MeterCommand::DELETE {
                self.0.remove(&slot);
            } else {
                let setting = Setting {
                    flags: change.flags,
                    bands: change.bands.clone(),
                };
                self.0.insert(slot, setting);
            }
        }
    }
}
