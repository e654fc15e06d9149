//! The meters that keep a flood from the switch and from the events of others.
//!
//! Each log flow has a meter of its own, so that a flood of drops leaves room for what the same
//! port accepts, and so that what a meter cut is known for each log flow. Open vSwitch looks up the
//! meter of a flow when the flow is added or modified, and never again: a meter that was deleted
//! limits nothing any more, and one that is made in its place limits only flows that are written
//! after it. A meter that is set anew keeps its flows.
//!
//! A meter passes what the host's limiter could record of a log flow that has the host to itself:
//! `rate_limit` packets a second, and `burst_limit` and a second's worth at once. It is there to
//! bound the work of the switch, not to choose between events.
//!
//! # How many there can be
//!
//! The userspace datapath of Open vSwitch has room for 262,144 meters (`MAX_METERS` in
//! `lib/dpif-netdev.c`), that of Linux for 200,000 at most (`DP_METER_NUM_MAX` in
//! `net/openvswitch/meter.h`), which the bridges of a host share. A port that logs everything has
//! five. The switch says how many there can be (`OFPMP_METER_FEATURES`), and no more are asked for:
//! the log flows beyond that, those of sessions before those of drops, report without a meter, and
//! this is told ([`Event::Unmetered`](super::Event::Unmetered)).

use std::collections::{BTreeMap, BTreeSet};

use netlog_core::flow::{Cookie, FlowKind, Slot};
use netlog_ofp::multipart::{MeterConfig, MeterFeatures};
use netlog_ofp::{Body, MeterBand, MeterCommand, MeterFlags, MeterId, MeterMod};
use netlog_ratelimit::Limits;

/// The first byte of our meters' ids. Neutron's quality of service counts from 1 upwards.
const OWNER: u32 = 0x6e;

/// How many bits of an id are the slot; between these and the owner's is the [`FlowKind`].
const SLOT_BITS: u32 = 21;

/// One more than the greatest slot whose log flows have meters.
const SLOTS: Slot = 1 << SLOT_BITS;

/// Whether a meter is ours.
const fn is_ours(meter: MeterId) -> bool {
    meter.0 >> 24 == OWNER
}

/// The log flow that a meter is for; `None` if it is someone else's.
pub(super) fn cookie(meter: MeterId) -> Option<Cookie> {
    let bits = u8::try_from(meter.0 >> SLOT_BITS & 0b111).ok()?;
    let kind = FlowKind::from_bits(bits).filter(|_| is_ours(meter))?;
    let slot = meter.0 % SLOTS;
    Some(Cookie { kind, slot })
}

/// The meter of a log flow.
pub(super) fn meter(Cookie { kind, slot }: Cookie) -> Option<MeterId> {
    (slot < SLOTS).then_some(MeterId(OWNER << 24 | (kind as u32) << SLOT_BITS | slot))
}

/// Whether a request of someone else's may have changed a meter of ours.
pub(super) fn may_touch(request: &Body) -> bool {
    matches!(request, Body::MeterMod(change)
        if change.meter_id == MeterId::ALL || is_ours(change.meter_id))
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
            MeterId(OWNER << 24),
            rate,
            rate.saturating_add(burst),
        );
        Self {
            flags: meter.flags,
            bands: meter.bands,
        }
    }
}

/// The meters that the switch has.
#[derive(Clone, Debug, Default)]
pub(super) struct Meters {
    ours: BTreeMap<MeterId, Setting>,
    /// How many others have.
    others: usize,
}

impl Meters {
    /// What the switch says of all meters.
    pub(super) fn found(configs: &[MeterConfig]) -> Self {
        let setting = |config: &MeterConfig| Setting {
            flags: config.flags,
            bands: config.bands.clone(),
        };
        let ours = configs.iter().filter(|config| is_ours(config.meter_id));
        let ours: BTreeMap<_, _> = ours
            .map(|config| (config.meter_id, setting(config)))
            .collect();
        Self {
            others: configs.len() - ours.len(),
            ours,
        }
    }

    pub(super) fn contains(&self, cookie: Cookie) -> bool {
        meter(cookie).is_some_and(|id| self.ours.contains_key(&id))
    }

    /// Those of these log flows whose meters are not there, and those whose meters are set in
    /// another way.
    pub(super) fn differ(
        &self,
        cookies: &BTreeSet<Cookie>,
        limits: Limits,
    ) -> [BTreeSet<Cookie>; 2] {
        let wanted = Setting::of(limits);
        let [mut missing, mut altered] = [BTreeSet::new(), BTreeSet::new()];
        for cookie in cookies {
            let Some(id) = meter(*cookie) else {
                continue;
            };
            match self.ours.get(&id) {
                None => missing.insert(*cookie),
                Some(setting) => *setting != wanted && altered.insert(*cookie),
            };
        }
        [missing, altered]
    }

    /// What gives these log flows their meters, as far as a switch with room for so many can.
    pub(super) fn setting(
        &self,
        cookies: &BTreeSet<Cookie>,
        limits: Limits,
        room: u32,
    ) -> Vec<MeterMod> {
        let [missing, altered] = self.differ(cookies, limits);
        let mut missing: Vec<Cookie> = missing.into_iter().collect();
        // Anyone can make a port drop packets.
        missing.sort_by_key(|cookie| cookie.kind != FlowKind::Drop);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        missing.truncate(room.saturating_sub(self.others + self.ours.len()));
        let Setting { flags, bands } = Setting::of(limits);
        let set = |command: MeterCommand| {
            let bands = bands.clone();
            move |cookie: Cookie| {
                Some(MeterMod {
                    command,
                    flags,
                    meter_id: meter(cookie)?,
                    bands: bands.clone(),
                })
            }
        };
        let add = missing.into_iter().filter_map(set(MeterCommand::ADD));
        let modify = altered.into_iter().filter_map(set(MeterCommand::MODIFY));
        add.chain(modify).collect()
    }

    /// What takes away all meters of ours but those of these log flows.
    pub(super) fn clearing(&self, cookies: &BTreeSet<Cookie>) -> Vec<MeterMod> {
        let is_surplus =
            |id: &&MeterId| cookie(**id).is_none_or(|cookie| !cookies.contains(&cookie));
        let surplus = self.ours.keys().filter(is_surplus);
        surplus.map(|id| MeterMod::delete(*id)).collect()
    }

    /// Takes note of changes of ours that the switch has made.
    pub(super) fn apply(&mut self, changes: &[MeterMod]) {
        for change in changes {
            if change.command == MeterCommand::DELETE {
                self.ours.remove(&change.meter_id);
            } else {
                let setting = Setting {
                    flags: change.flags,
                    bands: change.bands.clone(),
                };
                self.ours.insert(change.meter_id, setting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_of_a_log_flow_names_it() {
        for kind in FlowKind::ALL {
            for slot in [0, 1, SLOTS - 1] {
                let of = Cookie { kind, slot };
                let id = meter(of).unwrap();
                assert!(is_ours(id));
                assert_eq!(cookie(id), Some(of));
            }
            assert_eq!(meter(Cookie { kind, slot: SLOTS }), None);
        }
        for others in [0, 1, 7, 0x6d00_0001, 0x6f60_0001, 0xffff_ffff] {
            assert_eq!(cookie(MeterId(others)), None, "{others:#x}");
        }
    }
}
