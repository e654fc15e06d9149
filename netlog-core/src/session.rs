//! Session folding: one ACCEPT for each new session and port.
//!
//! The switch reports a session as new with every packet until the first reply. The table here
//! remembers sessions that were seen, so that the repeats fold into the first.
//!
//! # When the table is full
//!
//! It is bounded: sets of eight entries, chosen by a keyed hash, so that an attacker who does
//! not know the key cannot aim at one set. A session is looked up in one set only, so that the
//! cost does not depend on how many are known.
//!
//! When a set is full of live entries, one of them makes room, and the eviction is counted. It is
//! the least recently seen entry of the port that has most entries in the set: a port that floods
//! forgets its own sessions, not those of others. Another port's session is forgotten only when
//! no port, the newcomer's counted with the new session, has more entries in the set than it:
//! where the sessions of others alone fill the set.
//!
//! So one port alone makes no other forget. Many ports that open sessions at once outrun the table
//! when as many come between two packets of a session as there is room for: with a quarter of
//! that, a repeat in a hundred at most is a second event.
//!
//! An evicted session that is still unanswered, and shows up again, is reported once more: an
//! event too many, not one too few.
//!
//! # What is kept of a session
//!
//! Not the session itself, but its [mark]: two keyed hashes of it, so that a set is two cache lines
//! of this processor's next to each other, whatever the address family. Keeping sessions whole took
//! eight lines, of which the one that a new session is written to could not be fetched ahead: which
//! entry makes room is known too late, and while such a line comes from memory, all that is written
//! after it (the record) has to wait.
//!
//! Two sessions would be taken for one where 80 bits of mark and the bits that choose the set are
//! the same: with 65,536 sessions in the table, once in 2<sup>77</sup> new ones.
//!
//! [mark]: Place

use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::time::Duration;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use netlog_packet::{Network, Summary, Transport};

use crate::flow::Slot;
use crate::prefetch::prefetch;
use crate::rule::Direction;

/// Flag of the TCP header that opens a session (RFC 9293, section 3.1).
const SYN: u8 = 0x02;

/// Entries in one set.
const WAYS: usize = 8;

/// What makes two packets one session of one port.
///
/// The 5-tuple, the port and the direction. TCP sessions are told apart by the sequence number
/// of their SYN as well, because the switch never shows how a session ends; ICMP echoes by their
/// identifier.
///
/// All of it is three numbers, so that hashing takes few steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionKey {
    src: u128,
    dst: u128,
    /// From the highest bits: slot (32); initial sequence number (32); source and destination
    /// port, or ICMP identifier and type (32); direction, address family and protocol (32).
    rest: u128,
}

impl SessionKey {
    /// The session that an accepted packet belongs to; `None` for packets that are not IP.
    #[inline]
    pub fn new(slot: Slot, direction: Direction, packet: &Summary) -> Option<Self> {
        let (src, dst, ipv6): (u128, u128, u32) = match packet.network {
            Network::Ipv4 { src, dst } => (src.to_bits().into(), dst.to_bits().into(), 0),
            Network::Ipv6 { src, dst } => (src.to_bits(), dst.to_bits(), 1),
            _ => return None,
        };
        let (src_port, dst_port, sequence) = match packet.transport {
            Transport::Tcp {
                src_port,
                dst_port,
                seq,
                flags,
            } => (src_port, dst_port, if flags & SYN == 0 { 0 } else { seq }),
            Transport::Udp { src_port, dst_port }
            | Transport::Sctp {
                src_port, dst_port, ..
            } => (src_port, dst_port, 0),
            Transport::Icmp { kind, id, .. } | Transport::Icmpv6 { kind, id, .. } => {
                (id.unwrap_or(0), kind.into(), 0)
            }
            Transport::None => (0, 0, 0),
        };
        let ports = u64::from(src_port) << 16 | u64::from(dst_port);
        let egress = u32::from(direction == Direction::Egress);
        let kind = egress << 16 | ipv6 << 8 | u32::from(packet.protocol.unwrap_or(0));
        let high = u64::from(slot) << 32 | u64::from(sequence);
        let low = ports << 32 | u64::from(kind);
        Some(Self {
            src,
            dst,
            rest: u128::from(high) << 64 | u128::from(low),
        })
    }

    /// The port that the session belongs to.
    const fn slot(&self) -> Slot {
        (self.rest >> 96) as Slot
    }

    const fn direction(&self) -> Direction {
        match self.rest >> 16 & 1 {
            1 => Direction::Egress,
            _ => Direction::Ingress,
        }
    }
}

/// What the table knows of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is new: this packet is the event.
    First,
    /// It is new, and another session had to be forgotten for it.
    FirstEvicting,
    /// It was seen within the idle time: the packet folds into the first.
    Again,
}

/// Where a [table](SessionTable) keeps a session, and the mark by which it knows it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    set: usize,
    tag: u16,
    mark: u64,
    slot: Slot,
    direction: Direction,
}

impl Place {
    /// The port and the direction of the session.
    #[inline]
    pub fn is_of(&self, slot: Slot, direction: Direction) -> bool {
        self.slot == slot && self.direction == direction
    }
}

/// Entries among which a session is looked for: two cache lines.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(128))]
struct Set {
    /// The other part of each entry's mark.
    marks: [u64; WAYS],
    /// A part of the mark of each entry, or [`FREE`].
    tags: [u16; WAYS],
    /// The low bits of the slot of each entry's port. Ports whose slots are 65,536 apart share
    /// what room a port has.
    slots: [u16; WAYS],
    /// When each entry was last seen, in [ticks].
    last_seen: [u32; WAYS],
}

/// The tag of an entry that was never used.
const FREE: u16 = 0;

/// The sessions that were seen lately.
#[derive(Debug)]
pub struct SessionTable {
    sets: Box<[Set]>,
    /// In [ticks].
    idle: u32,
    /// All key the hashes.
    seed: u64,
    seeds: Box<[SharedSeed; 2]>,
}

impl SessionTable {
    /// Entries of a table where nothing else is asked for.
    pub const DEFAULT_CAPACITY: usize = 65_536;
    /// How long a session is remembered after its last packet where nothing else is asked for.
    pub const DEFAULT_IDLE: Duration = Duration::from_secs(60);

    /// A table for at least `capacity` sessions, which are forgotten `idle` after their last
    /// packet, to a sixteenth of a second. `seed` keys the hash and should not be guessable.
    pub fn new(capacity: usize, idle: Duration, seed: u64) -> Self {
        let sets = capacity.div_ceil(WAYS).next_power_of_two();
        Self {
            sets: vec![Set::default(); sets].into_boxed_slice(),
            idle: u32::try_from(idle.as_secs())
                .ok()
                .and_then(|seconds| seconds.checked_mul(TICKS_A_SECOND))
                .map_or(u32::MAX, |whole| {
                    whole.saturating_add(idle.subsec_nanos() / TICK_NANOS)
                }),
            seed,
            seeds: Box::new([seed, !seed].map(SharedSeed::from_u64)),
        }
    }

    /// Where the table keeps a session, or would keep it.
    #[expect(
        clippy::inline_always,
        reason = "the place goes to the caller in registers"
    )]
    #[inline(always)]
    pub fn place(&self, key: &SessionKey) -> Place {
        let [one, other] = &*self.seeds;
        let (mark, hash) = (self.hash(key, one), self.hash(key, other));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any bits of the hash will do"
        )]
        let (tag, at) = ((hash >> 48) as u16 | 1, hash as usize);
        Place {
            set: at & (self.sets.len() - 1),
            tag,
            mark,
            slot: key.slot(),
            direction: key.direction(),
        }
    }

    #[expect(clippy::inline_always, reason = "as of what calls it")]
    #[inline(always)]
    fn hash(&self, key: &SessionKey, seeds: &SharedSeed) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, seeds);
        key.hash(&mut hasher);
        hasher.finish()
    }

    /// Has the processor fetch what [`see_at`](Self::see_at) will look at, if it is told soon enough
    /// before. The place is one of this table.
    #[inline]
    pub fn prefetch(&self, place: &Place) {
        let set = &self.sets[place.set];
        prefetch(&set.marks);
        prefetch(&set.tags);
    }

    /// Looks a session up and remembers it as seen at `now`, a time since any fixed moment.
    pub fn see(&mut self, key: &SessionKey, now: Duration) -> Seen {
        self.see_at(&self.place(key), now)
    }

    /// [`see`](Self::see) of a session whose place in this table is known.
    pub fn see_at(&mut self, place: &Place, now: Duration) -> Seen {
        let Place { set, tag, mark, .. } = *place;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the low bits are asked for"
        )]
        let slot = place.slot as u16;
        let (set, now) = (&mut self.sets[set], ticks(now));

        let live = |set: &Set, way: usize| {
            set.tags[way] != FREE && now.wrapping_sub(set.last_seen[way]) < self.idle
        };
        // All are looked at, which takes fewer steps than to decide at each.
        let may_be_known = set
            .tags
            .iter()
            .fold(0, |any, known| any | u8::from(*known == tag));
        if may_be_known != 0 {
            for way in 0..WAYS {
                if set.tags[way] == tag && set.marks[way] == mark && live(set, way) {
                    set.last_seen[way] = now;
                    return Seen::Again;
                }
            }
        }
        let (way, seen) = match (0..WAYS).find(|way| !live(set, *way)) {
            Some(way) => (way, Seen::First),
            None => (set.victim(slot, now), Seen::FirstEvicting),
        };
        (set.marks[way], set.tags[way]) = (mark, tag);
        (set.slots[way], set.last_seen[way]) = (slot, now);
        seen
    }
}

impl Set {
    /// Which entry of a full set makes room for a session of the port `newcomer`: the oldest of
    /// the port with most entries, the newcomer's own counted in.
    fn victim(&self, newcomer: u16, now: u32) -> usize {
        let mut shares = self.slots.map(|slot| u16::from(slot == newcomer));
        for other in self.slots {
            // Not shown to the compiler, nor what comes of it, which would see that each pair is
            // compared twice, and compare 28 pairs one by one where all entries can be compared at
            // once.
            let other = black_box(other);
            for (share, slot) in shares.iter_mut().zip(self.slots) {
                *share += u16::from(slot == other);
            }
        }
        let ages = self.last_seen.map(|seen| now.wrapping_sub(seen) & AGE);
        let (mut victim, mut most) = (0, 0);
        for (way, (share, age)) in black_box(shares).into_iter().zip(ages).enumerate() {
            // One number, because many are compared: the share, then the age.
            let rank = u32::from(share) << AGE.count_ones() | age;
            if rank >= most {
                (victim, most) = (way, rank);
            }
        }
        victim
    }
}

/// What is compared of an age, in [ticks]: half a year.
const AGE: u32 = u32::MAX >> 4;

const TICKS_A_SECOND: u32 = 16;
const TICK_NANOS: u32 = 1_000_000_000 / TICKS_A_SECOND;

/// A time in sixteenths of a second. It starts again at zero after eight years, so that only
/// differences count.
#[expect(clippy::cast_possible_truncation, reason = "ticks start again at zero")]
const fn ticks(time: Duration) -> u32 {
    (time.as_secs() as u32).wrapping_mul(TICKS_A_SECOND) + time.subsec_nanos() / TICK_NANOS
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use netlog_packet::{Fragment, MacAddr};
    use proptest::prelude::*;

    use super::*;

    fn packet(transport: Transport, protocol: u8) -> Summary {
        Summary {
            network: Network::Ipv4 {
                src: [10, 0, 0, 1].into(),
                dst: [10, 0, 0, 2].into(),
            },
            protocol: Some(protocol),
            fragment: Fragment::None,
            transport,
            dl_src: MacAddr([0; 6]),
            dl_dst: MacAddr([0; 6]),
            ..Summary::default()
        }
    }

    fn tcp(src_port: u16, seq: u32, flags: u8) -> Summary {
        packet(
            Transport::Tcp {
                src_port,
                dst_port: 80,
                seq,
                flags,
            },
            6,
        )
    }

    fn key(packet: &Summary) -> SessionKey {
        SessionKey::new(1, Direction::Ingress, packet).unwrap()
    }

    fn second(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn repeats_fold_and_new_sessions_do_not() {
        let mut table = SessionTable::new(64, second(60), 7);
        let mut see = |packet: &Summary, at| table.see(&key(packet), second(at));
        assert_eq!(see(&tcp(1000, 1, SYN), 0), Seen::First);
        assert_eq!(
            see(&tcp(1000, 1, SYN), 1),
            Seen::Again,
            "a retransmitted SYN"
        );
        assert_eq!(
            see(&tcp(1000, 2, SYN), 2),
            Seen::First,
            "another session from the same port"
        );
        assert_eq!(
            see(&tcp(1001, 1, SYN), 2),
            Seen::First,
            "another source port"
        );
        let udp = packet(
            Transport::Udp {
                src_port: 5,
                dst_port: 53,
            },
            17,
        );
        assert_eq!(see(&udp, 2), Seen::First);
        assert_eq!(see(&udp, 61), Seen::Again);
        assert_eq!(
            see(&udp, 120),
            Seen::Again,
            "the idle time starts again with each packet"
        );
        assert_eq!(see(&udp, 180), Seen::First, "idle for 60 s");
        let echo = |id| {
            packet(
                Transport::Icmp {
                    kind: 8,
                    code: 0,
                    id: Some(id),
                },
                1,
            )
        };
        assert_eq!(see(&echo(1), 180), Seen::First);
        assert_eq!(see(&echo(1), 181), Seen::Again);
        assert_eq!(see(&echo(2), 181), Seen::First);
    }

    #[test]
    fn the_same_packet_is_one_session_for_each_port_and_direction() {
        let mut table = SessionTable::new(64, second(60), 7);
        let packet = tcp(1000, 1, SYN);
        for slot in [1, 2] {
            for direction in [Direction::Ingress, Direction::Egress] {
                let key = SessionKey::new(slot, direction, &packet).unwrap();
                assert_eq!(table.see(&key, second(0)), Seen::First);
                assert_eq!(table.see(&key, second(0)), Seen::Again);
            }
        }
    }

    #[test]
    fn a_flood_from_one_port_makes_no_other_port_forget() {
        let mut table = SessionTable::new(1024, second(60), 7);
        let quiet = |slot: Slot| SessionKey::new(slot, Direction::Ingress, &tcp(1000, 1, SYN));
        for slot in 2..200 {
            assert_eq!(table.see(&quiet(slot).unwrap(), second(0)), Seen::First);
        }
        // Port 1 opens a hundred times as many sessions as there is room for.
        for n in 0..102_400 {
            table.see(&key(&tcp(2000, n, SYN)), second(1));
        }
        let again = (2..200)
            .filter(|slot| table.see(&quiet(*slot).unwrap(), second(2)) == Seen::Again)
            .count();
        assert_eq!(again, 198);
    }

    /// What is seen again before a quarter of the table's size in new sessions has come is hardly
    /// ever forgotten, however many ports open them.
    #[test]
    fn a_flood_over_many_ports_forgets_no_faster_than_the_table_is_large() {
        let mut table = SessionTable::new(1024, second(60), 7);
        let (mut doubled, mut opened) = (0, 0);
        for now in 0..60 {
            for slot in 0..50 {
                let key = SessionKey::new(slot, Direction::Ingress, &tcp(1000, 1, SYN));
                let seen = table.see(&key.unwrap(), second(now));
                doubled += u32::from(now > 0 && seen != Seen::Again);
            }
            for _ in 0..256 {
                opened += 1;
                let slot = 1000 + opened % 5000;
                let key = SessionKey::new(slot, Direction::Ingress, &tcp(2000, opened, SYN));
                assert_ne!(table.see(&key.unwrap(), second(now)), Seen::Again);
            }
        }
        // Of 2,950 repeats.
        assert!(doubled < 30, "{doubled}");
    }

    /// A full set takes its time, whatever the ports: what goes is what the module says.
    #[test]
    fn a_full_set_forgets_the_oldest_of_the_port_with_most() {
        let set = |slots: [u16; WAYS], last_seen: [u32; WAYS]| Set {
            marks: [1; WAYS],
            tags: [1; WAYS],
            slots,
            last_seen,
        };
        let ages = [7, 6, 5, 4, 3, 2, 1, 0];
        for (slots, newcomer, victim) in [
            // One port has all.
            ([1; WAYS], 1, 7),
            ([1; WAYS], 2, 7),
            // Everybody has one: the oldest goes, or the newcomer's own.
            ([1, 2, 3, 4, 5, 6, 7, 8], 9, 7),
            ([1, 2, 3, 4, 5, 6, 7, 8], 3, 2),
            // The port with most, the newcomer's next one counted in.
            ([1, 1, 1, 2, 2, 3, 4, 5], 3, 2),
            ([1, 1, 2, 2, 3, 4, 5, 6], 1, 1),
        ] {
            assert_eq!(
                set(slots, ages).victim(newcomer, 8),
                victim,
                "{slots:?} {newcomer}"
            );
        }
    }

    proptest! {
        /// A naive table without bounds: as long as nothing is evicted, the two agree.
        #[test]
        fn agrees_with_a_list_of_all_sessions(
            packets in prop::collection::vec((0..4_u32, 0..6_u16, 0..3_u32, 0..40_u64), 1..200),
        ) {
            let mut table = SessionTable::new(4096, second(60), 7);
            let mut list: HashMap<(u32, u16, u32), u64> = HashMap::new();
            let mut now = 0;
            for (slot, port, seq, wait) in packets {
                now += wait;
                let key = SessionKey::new(slot, Direction::Egress, &tcp(port, seq, SYN)).unwrap();
                let last = list.insert((slot, port, seq), now);
                let expected = match last {
                    Some(last) if now - last < 60 => Seen::Again,
                    _ => Seen::First,
                };
                prop_assert_eq!(table.see(&key, second(now)), expected);
            }
        }
    }

    #[test]
    fn the_table_is_bounded_and_counts_what_it_forgets() {
        let mut table = SessionTable::new(64, second(60), 7);
        let mut evicted = 0;
        for port in 0..1000 {
            match table.see(&key(&tcp(port, 1, SYN)), second(0)) {
                Seen::FirstEvicting => evicted += 1,
                Seen::First => {}
                Seen::Again => panic!("port {port} was never seen"),
            }
        }
        assert_eq!(evicted, 1000 - 64);
        assert_eq!(
            table.see(&key(&tcp(999, 1, SYN)), second(0)),
            Seen::Again,
            "the newest stays"
        );
    }
}
