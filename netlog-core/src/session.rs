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
//! An evicted session that is still unanswered, and shows up again, is reported once more: an
//! event too many, never one too few.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::quality::FixedState;
use netlog_packet::{Network, Summary, Transport};

use crate::flow::Slot;
use crate::prefix::{Ethertype, address_bits};
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
/// All of it is numbers, so that comparing and hashing take few steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionKey {
    src: u128,
    dst: u128,
    slot: Slot,
    /// Initial sequence number.
    sequence: u32,
    /// Source and destination port, or ICMP identifier and type; direction, address family and
    /// protocol.
    rest: u64,
}

impl SessionKey {
    /// The session that an accepted packet belongs to; `None` for packets that are not IP.
    #[inline]
    pub fn new(slot: Slot, direction: Direction, packet: &Summary) -> Option<Self> {
        let (src, dst): (IpAddr, IpAddr) = match packet.network {
            Network::Ipv4 { src, dst } => (src.into(), dst.into()),
            Network::Ipv6 { src, dst } => (src.into(), dst.into()),
            _ => return None,
        };
        let (ports, sequence) = match packet.transport {
            Transport::Tcp {
                src_port,
                dst_port,
                seq,
                flags,
            } => ((src_port, dst_port), if flags & SYN == 0 { 0 } else { seq }),
            Transport::Udp { src_port, dst_port }
            | Transport::Sctp {
                src_port, dst_port, ..
            } => ((src_port, dst_port), 0),
            Transport::Icmp { kind, id, .. } | Transport::Icmpv6 { kind, id, .. } => {
                ((id.unwrap_or(0), kind.into()), 0)
            }
            Transport::None => ((0, 0), 0),
        };
        let [[a, b], [c, d]] = [ports.0.to_be_bytes(), ports.1.to_be_bytes()];
        let egress = u8::from(direction == Direction::Egress);
        let ipv6 = u8::from(Ethertype::of(src) == Ethertype::IPv6);
        let protocol = packet.protocol.unwrap_or(0);
        Some(Self {
            src: address_bits(src),
            dst: address_bits(dst),
            slot,
            sequence,
            rest: u64::from_be_bytes([a, b, c, d, 0, egress, ipv6, protocol]),
        })
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

/// What has to be looked at of a set's entries before one is found: a cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Set {
    /// A part of the hash of each entry's key, or [`FREE`].
    tags: [u32; WAYS],
    /// When each entry was last seen, in [ticks].
    last_seen: [u32; WAYS],
}

/// The tag of an entry that was never used.
const FREE: u32 = 0;

/// The sessions that were seen lately.
#[derive(Debug)]
pub struct SessionTable {
    sets: Box<[Set]>,
    keys: Box<[[SessionKey; WAYS]]>,
    /// In [ticks].
    idle: u32,
    hasher: FixedState,
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
            keys: vec![[SessionKey::default(); WAYS]; sets].into_boxed_slice(),
            idle: u32::try_from(idle.as_secs())
                .ok()
                .and_then(|seconds| seconds.checked_mul(TICKS_A_SECOND))
                .map_or(u32::MAX, |whole| {
                    whole.saturating_add(idle.subsec_nanos() / TICK_NANOS)
                }),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// Looks a session up and remembers it as seen at `now`, a time since any fixed moment.
    pub fn see(&mut self, key: &SessionKey, now: Duration) -> Seen {
        let hash = self.hasher.hash_one(key);
        let now = ticks(now);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any bits of the hash will do"
        )]
        let (tag, at) = ((hash >> 32) as u32 | 1, hash as usize);
        let at = at & (self.sets.len() - 1);
        let (set, keys) = (&mut self.sets[at], &mut self.keys[at]);

        let mut free = None;
        let entries = set.tags.iter().zip(&mut set.last_seen).zip(&*keys);
        for (way, ((&found, last_seen), known)) in entries.enumerate() {
            if found == FREE || now.wrapping_sub(*last_seen) >= self.idle {
                free = Some(way);
            } else if found == tag && known == key {
                *last_seen = now;
                return Seen::Again;
            }
        }
        let (way, seen) = match free {
            Some(way) => (way, Seen::First),
            None => (victim(set, keys, now, key.slot), Seen::FirstEvicting),
        };
        (set.tags[way], set.last_seen[way]) = (tag, now);
        keys[way] = *key;
        seen
    }
}

/// Which entry of a full set makes room for a session of the port `newcomer`: the oldest of the
/// port with most entries, the newcomer's own counted in.
fn victim(set: &Set, keys: &[SessionKey; WAYS], now: u32, newcomer: Slot) -> usize {
    let share = |slot| {
        let own = keys.iter().filter(|key| key.slot == slot).count();
        own + usize::from(slot == newcomer)
    };
    let rank = |way: &usize| {
        (
            share(keys[*way].slot),
            now.wrapping_sub(set.last_seen[*way]),
        )
    };
    (0..WAYS).max_by_key(rank).unwrap_or(0)
}

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
