//! The packet-ins of a switch.

use clap::ValueEnum;
use netlog_core::flow::{Cookie, FlowKind};
use netlog_ofp::{
    Match, MessageTooLong, Metadata, PacketIn, PacketInFormat, PacketInReason, PortNo, Version,
    Xid, ct_state,
};

use crate::frames;

/// The version that the switch speaks.
pub const VERSION: Version = Version::V1_4;

/// The ofport of the patch port to the other hosts, which no port of the site has.
const PATCH_PORT: u32 = 0xfe00;

/// What kind of packets come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Mix {
    /// TCP SYNs with options.
    Syn,
    /// DNS queries.
    Dns,
    /// Neighbour solicitations.
    Icmpv6,
    /// One of each in turn.
    Mixed,
}

/// A kind of frame, and where it differs from one packet to the next.
struct Kind {
    frame: &'static str,
    /// Bytes that are random: addresses, ports, checksums, identifications.
    random: &'static [usize],
    /// The four bytes that make a session another one.
    session: usize,
}

/// Hardware source; IPv4 identification, checksum, source; source port, sequence number, window,
/// checksum; the timestamp option's value.
const SYN: Kind = Kind {
    frame: frames::TCP_SYN,
    random: &[
        9, 10, 11, 18, 19, 24, 25, 26, 27, 28, 29, 34, 35, 38, 39, 40, 41, 48, 49, 50, 51, 62, 63,
        64, 65,
    ],
    session: 38,
};

/// Hardware source; IPv4 identification, checksum, source; source port, checksum.
const DNS: Kind = Kind {
    frame: frames::UDP_DNS,
    random: &[9, 10, 11, 18, 19, 24, 25, 26, 27, 28, 29, 34, 35, 40, 41],
    session: 26,
};

/// Hardware source; source address; checksum.
const ICMPV6: Kind = Kind {
    frame: frames::ICMPV6_NS,
    random: &[9, 10, 11, 30, 31, 32, 33, 34, 35, 36, 37, 56, 57],
    session: 34,
};

impl Mix {
    const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Syn => &[SYN],
            Self::Dns => &[DNS],
            Self::Icmpv6 => &[ICMPV6],
            Self::Mixed => &[SYN, DNS, ICMPV6],
        }
    }
}

/// Numbers without a pattern, always the same.
struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Encoded packet-ins, each of a new session that a rule let in.
///
/// Sent again they would fold into the ones before: [`renew`](Self::renew) makes other sessions
/// of them.
#[derive(Clone, Debug)]
pub struct Stream {
    bytes: Vec<u8>,
    /// Where each message begins, and where its session's four bytes are.
    places: Vec<(usize, usize)>,
    sessions: u32,
}

impl Stream {
    /// So many packet-ins to random ones of the first `ports` ports.
    ///
    /// # Errors
    /// Never: a packet-in of these frames is short.
    pub fn new(mix: Mix, ports: u32, count: usize) -> Result<Self, MessageTooLong> {
        let mut random = Xorshift(88_172_645_463_325_252);
        let mut stream = Self {
            bytes: Vec::new(),
            places: Vec::new(),
            sessions: 0,
        };
        for (kind, xid) in mix.kinds().iter().cycle().zip(0..).take(count) {
            let mut frame = frames::bytes(kind.frame);
            for &at in kind.random {
                frame[at] = (random.next() >> 20).to_le_bytes()[0];
            }
            let slot = 1 + u32::try_from(random.next() % u64::from(ports)).unwrap_or(0);
            let fields = Match::any()
                .in_port(PortNo(PATCH_PORT))
                .reg(5, slot)
                .with(netlog_ofp::Oxm::new(
                    netlog_ofp::Field::CT_STATE,
                    (ct_state::NEW | ct_state::TRK).to_be_bytes(),
                ))
                .to_bytes();
            let packet = PacketIn {
                cookie: Cookie {
                    kind: FlowKind::IngressAccept,
                    slot,
                }
                .to_bits(),
                table_id: 92,
                reason: PacketInReason::ACTION,
                buffer_id: None,
                total_len: u32::try_from(frame.len()).unwrap_or(u32::MAX),
                metadata: Metadata::parse(&fields).unwrap_or_default(),
                userdata: &[],
                data: &frame,
            };
            let start = stream.bytes.len();
            packet.encode(
                PacketInFormat::STANDARD,
                VERSION,
                Xid(xid),
                &mut stream.bytes,
            )?;
            // The frame comes last.
            let frame_at = stream.bytes.len() - frame.len();
            stream.places.push((start, frame_at + kind.session));
        }
        Ok(stream)
    }

    /// How many messages there are.
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// All messages.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The messages from number `from` to number `to`, the last not included.
    pub fn slice(&self, from: usize, to: usize) -> &[u8] {
        let start = |number: usize| {
            self.places
                .get(number)
                .map_or(self.bytes.len(), |(start, _)| *start)
        };
        self.bytes.get(start(from)..start(to)).unwrap_or_default()
    }

    /// Makes each message one of a session that was not there before.
    pub fn renew(&mut self) {
        for &(_, session) in &self.places {
            self.sessions = self.sessions.wrapping_add(1);
            // An odd factor: no number comes twice before all have come.
            let number = self.sessions.wrapping_mul(2_654_435_761);
            if let Some(place) = self.bytes.get_mut(session..session + 4) {
                place.copy_from_slice(&number.to_be_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use netlog_core::rule::Direction;
    use netlog_core::session::SessionKey;
    use netlog_ofp::Messages;
    use netlog_packet::Packet;

    use super::*;

    #[test]
    fn every_message_is_a_session_of_its_own() {
        for mix in [Mix::Syn, Mix::Dns, Mix::Icmpv6, Mix::Mixed] {
            let mut stream = Stream::new(mix, 7, 500).unwrap();
            let mut sessions = HashSet::new();
            for _ in 0..3 {
                stream.renew();
                for message in Messages::new(stream.bytes()) {
                    let packet = PacketIn::parse(message.unwrap()).unwrap().unwrap();
                    let cookie = Cookie::from_bits(packet.cookie).unwrap();
                    let summary = Packet::decode(packet.data).summary();
                    let key = SessionKey::new(cookie.slot, Direction::Ingress, &summary);
                    sessions.insert(key.unwrap());
                }
            }
            assert_eq!(sessions.len(), 3 * stream.len(), "{mix:?}");
        }
    }

    #[test]
    fn slices_are_whole_messages() {
        let stream = Stream::new(Mix::Mixed, 7, 10).unwrap();
        assert_eq!(Messages::new(stream.slice(2, 6)).count(), 4);
        assert_eq!(stream.slice(0, 10), stream.bytes());
    }
}
