//! Security group rules compiled for matching.
//!
//! The question is always the same: which rules of a group allow this packet, and which of them
//! is the most specific? The answer must cost the same with ten rules and with a thousand, and
//! the same whether a remote group has ten members or ten thousand. So the rules of a group are
//! sorted into *cells*, and a packet looks into three of them at most:
//!
//! 1. rules for any protocol,
//! 2. rules for its protocol and any port,
//! 3. rules for its protocol and its destination port (or ICMP type and code): port ranges are
//!    cut where one of them begins or ends, so that each piece has the same rules throughout.
//!
//! In a cell, rules with a remote prefix are found by comparing where there are few prefixes, and
//! else by hash, one probe for each prefix length that the cell has; rules with a remote group or
//! address group by asking the set of its addresses, which is a hash again. A set is shared by all
//! rules that name it, and changes without the rules being compiled anew. What is left that grows
//! is the number of *different* groups that rules of one cell name: each is asked.
//!
//! Rules are kept most specific first, so that a rule's position tells how specific it is, and
//! each family has its own index with addresses of its own width. The piece of a port is found by
//! counting bits, and a cell holds its first rule, so that what a packet looks at of a thousand
//! rules is one cache line or two that no other packet has to look at.
//!
//! Many ranges that overlap each other cut each other to pieces: a thousand random ones take some
//! megabytes. Rules with single ports or ranges apart take some tens of bytes each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU64;

use foldhash::fast::FixedState;
use netlog_packet::{Fragment, MacAddr, Network, Summary, Transport};
use uuid::Uuid;

use crate::inventory::Port;
use crate::prefix::{Ethertype, IpPrefix};
use crate::rule::{Direction, Protocol, SecurityGroupRule};

/// An address of one family, as a number.
trait Address: Copy + Ord + Hash + Default {
    const FAMILY: Ethertype;
    /// The address, if it is of this family.
    fn of(address: IpAddr) -> Option<Self>;
    /// The leading `length` bits, and zeros.
    fn network(self, length: u8) -> Self;
    /// How many leading bits the two have in common.
    fn common_bits(self, other: Self) -> u32;
    /// What it has in common with 63 neighbours, and which of them it is, as one bit.
    fn in_row(self) -> (Self, u64);
    /// The addresses of this family in a set.
    fn of_set(set: &AddressSet) -> &FamilySet<Self>;
}

impl Address for u32 {
    const FAMILY: Ethertype = Ethertype::IPv4;

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(_) => None,
        }
    }

    fn network(self, length: u8) -> Self {
        self & !Self::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    fn common_bits(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    fn in_row(self) -> (Self, u64) {
        (self >> 6, 1 << (self & 63))
    }

    fn of_set(set: &AddressSet) -> &FamilySet<Self> {
        &set.v4
    }
}

impl Address for u128 {
    const FAMILY: Ethertype = Ethertype::IPv6;

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address.to_bits()),
        }
    }

    fn network(self, length: u8) -> Self {
        self & !Self::MAX.checked_shr(length.into()).unwrap_or(0)
    }

    fn common_bits(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    fn in_row(self) -> (Self, u64) {
        (self >> 6, 1 << (self & 63))
    }

    fn of_set(set: &AddressSet) -> &FamilySet<Self> {
        &set.v6
    }
}

/// A set of addresses made of prefixes, asked for the longest that holds an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: FamilySet<u32>,
    v6: FamilySet<u128>,
}

/// The addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FamilySet<A: Address> {
    /// Single addresses: which of 64 in a row are there, by what they have in common. Members of a
    /// group are neighbours, so that caches hold those of ten thousand.
    single: HashMap<A, u64, FixedState>,
    /// The networks of each shorter prefix length, longest first.
    lengths: Vec<(u8, HashSet<A, FixedState>)>,
    /// Members that may use any address, told by their hardware address.
    by_mac: HashSet<MacAddr, FixedState>,
}

impl AddressSet {
    /// The addresses of these members of a security group.
    ///
    /// These are the fixed addresses and the allowed address pairs. An IPv6 link-local address
    /// is neither, so that it is left out. A pair that is all addresses (`0.0.0.0/0`) allows only
    /// frames that come from its hardware address, as Neutron's firewall has it
    /// (`create_flows_for_ip_address_and_mac`).
    pub fn of_members<'a>(members: impl IntoIterator<Item = &'a Port>) -> Self {
        let mut set = Self::default();
        for (prefix, mac) in members.into_iter().flat_map(Port::addresses_with_mac) {
            if prefix.length() == 0
                && let Some(mac) = mac
            {
                match prefix.family() {
                    Ethertype::IPv4 => set.v4.by_mac.insert(mac),
                    Ethertype::IPv6 => set.v6.by_mac.insert(mac),
                };
            } else if !is_link_local(&prefix) {
                set.insert(&prefix);
            }
        }
        set
    }

    fn insert(&mut self, prefix: &IpPrefix) {
        match prefix.network() {
            IpAddr::V4(network) => self.v4.insert(network.to_bits(), prefix.length()),
            IpAddr::V6(network) => self.v6.insert(network.to_bits(), prefix.length()),
        }
    }

    /// The length of the longest prefix of the set that holds `address`.
    pub fn longest_match(&self, address: IpAddr) -> Option<u8> {
        match address {
            IpAddr::V4(address) => self.v4.longest_match(address.to_bits()),
            IpAddr::V6(address) => self.v6.longest_match(address.to_bits()),
        }
    }

    /// The length of the longest prefix of the set that allows a frame to or from `address`.
    pub fn allows(&self, address: IpAddr, dl_src: MacAddr) -> Option<u8> {
        match address {
            IpAddr::V4(address) => self.v4.allows(address.to_bits(), dl_src),
            IpAddr::V6(address) => self.v6.allows(address.to_bits(), dl_src),
        }
    }
}

impl FromIterator<IpPrefix> for AddressSet {
    fn from_iter<I: IntoIterator<Item = IpPrefix>>(prefixes: I) -> Self {
        let mut set = Self::default();
        for prefix in prefixes {
            set.insert(&prefix);
        }
        set
    }
}

impl<A: Address> Default for FamilySet<A> {
    fn default() -> Self {
        Self {
            single: HashMap::default(),
            lengths: Vec::new(),
            by_mac: HashSet::default(),
        }
    }
}

impl<A: Address> FamilySet<A> {
    fn insert(&mut self, network: A, length: u8) {
        if length == A::FAMILY.bits() {
            let (row, bit) = network.in_row();
            *self.single.entry(row).or_default() |= bit;
            return;
        }
        let key = |(length, _): &(u8, _)| Reverse(*length);
        let at = match self.lengths.binary_search_by_key(&Reverse(length), key) {
            Ok(at) => at,
            Err(at) => {
                self.lengths.insert(at, (length, HashSet::default()));
                at
            }
        };
        self.lengths[at].1.insert(network);
    }

    fn longest_match(&self, address: A) -> Option<u8> {
        let (row, bit) = address.in_row();
        if self.single.get(&row).is_some_and(|there| there & bit != 0) {
            return Some(A::FAMILY.bits());
        }
        self.lengths
            .iter()
            .find(|(length, networks)| networks.contains(&address.network(*length)))
            .map(|(length, _)| *length)
    }

    fn allows(&self, address: A, dl_src: MacAddr) -> Option<u8> {
        self.longest_match(address)
            .or_else(|| self.by_mac.contains(&dl_src).then_some(0))
    }
}

fn is_link_local(prefix: &IpPrefix) -> bool {
    matches!(prefix.network(), IpAddr::V6(address) if address.is_unicast_link_local())
}

/// What a rule asks of the transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Nothing.
    Any,
    /// A destination port from the first to the last of these.
    Range(u16, u16),
    /// An ICMP type, and its code where given.
    Icmp(u8, Option<u8>),
    /// An ICMP type or code that does not exist: Neutron refuses such a rule, and no flow can
    /// match it.
    Impossible,
}

impl Ports {
    /// What this rule asks, as the Open vSwitch firewall driver reads it.
    pub fn of(rule: &SecurityGroupRule) -> Self {
        let Protocol::Number(protocol) = rule.protocol() else {
            return Self::Any;
        };
        match (protocol, rule.port_range_min, rule.port_range_max) {
            (Protocol::ICMP | Protocol::ICMPV6, Some(kind), code) => {
                match (u8::try_from(kind), code.map(u8::try_from).transpose()) {
                    (Ok(kind), Ok(code)) => Self::Icmp(kind, code),
                    _ => Self::Impossible,
                }
            }
            // The firewall driver takes a zero for "not given".
            (_, Some(min @ 1..), Some(max @ 1..)) if Protocol::has_ports(protocol) => {
                Self::Range(min, max)
            }
            _ => Self::Any,
        }
    }

    /// Whether the packet's transport header fits. A fragment without one fits only `Any`.
    pub fn allow(self, packet: &Summary) -> bool {
        self == Self::Any
            || selector(packet).is_some_and(|selector| {
                self.interval()
                    .is_some_and(|(first, last)| (first..=last).contains(&selector))
            })
    }

    /// How many values it allows: the fewer, the more specific.
    pub const fn width(self) -> u32 {
        match self {
            Self::Any => 1 << 16,
            Self::Range(min, max) => max.saturating_sub(min) as u32 + 1,
            Self::Icmp(_, None) => 1 << 8,
            Self::Icmp(_, Some(_)) => 1,
            Self::Impossible => 0,
        }
    }

    /// The [selectors](selector) that fit; `None` where all do, or none can.
    const fn interval(self) -> Option<(u16, u16)> {
        match self {
            Self::Any | Self::Impossible => None,
            Self::Range(min, max) => Some((min, max)),
            Self::Icmp(kind, None) => Some(((kind as u16) << 8, (kind as u16) << 8 | 0xff)),
            Self::Icmp(kind, Some(code)) => {
                let both = (kind as u16) << 8 | code as u16;
                Some((both, both))
            }
        }
    }
}

/// What port ranges look at: the destination port, or the ICMP type and code in one number.
fn selector(packet: &Summary) -> Option<u16> {
    if packet.fragment == Fragment::Later {
        return None;
    }
    match packet.transport {
        Transport::Tcp { dst_port, .. }
        | Transport::Udp { dst_port, .. }
        | Transport::Sctp { dst_port, .. } => Some(dst_port),
        Transport::Icmp { kind, code, .. } | Transport::Icmpv6 { kind, code, .. } => {
            Some(u16::from_be_bytes([kind, code]))
        }
        Transport::None => None,
    }
}

/// The address of the other side, seen from the port; `None` for packets that are not IP.
pub const fn remote_address(packet: &Summary, direction: Direction) -> Option<IpAddr> {
    match (packet.network, direction) {
        (Network::Ipv4 { src, .. }, Direction::Ingress) => Some(IpAddr::V4(src)),
        (Network::Ipv4 { dst, .. }, Direction::Egress) => Some(IpAddr::V4(dst)),
        (Network::Ipv6 { src, .. }, Direction::Ingress) => Some(IpAddr::V6(src)),
        (Network::Ipv6 { dst, .. }, Direction::Egress) => Some(IpAddr::V6(dst)),
        _ => None,
    }
}

/// What only DHCP servers (RFC 2131, RFC 8415) and routers (RFC 4861, section 4.2) send.
pub(crate) const fn is_dhcp_or_ra_server(packet: &Summary) -> bool {
    matches!(
        packet.transport,
        Transport::Udp {
            src_port: 67,
            dst_port: 68
        } | Transport::Udp {
            src_port: 547,
            dst_port: 546
        } | Transport::Icmpv6 { kind: 134, .. }
    )
}

/// How specific a match is; the greatest names the event.
///
/// The longest remote prefix wins, then a given protocol, then the narrowest port range or ICMP
/// type, then the smallest id.
pub type Specificity = (u8, bool, Reverse<u32>, Reverse<Uuid>);

/// How specific a rule is that allows a packet by a remote prefix of this length.
pub fn specificity(rule: &SecurityGroupRule, length: u8) -> Specificity {
    let given = rule.protocol() != Protocol::Any;
    (
        length,
        given,
        Reverse(Ports::of(rule).width()),
        Reverse(rule.id),
    )
}

/// Whose addresses an [`AddressSet`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RemoteGroup {
    /// The members of this security group.
    Members(Uuid),
    /// What this address group lists.
    Addresses(Uuid),
}

impl RemoteGroup {
    /// The group that a rule names as its remote side.
    pub fn of(rule: &SecurityGroupRule) -> Option<Self> {
        let members = rule.remote_group_id.map(Self::Members);
        members.or_else(|| rule.remote_address_group_id.map(Self::Addresses))
    }
}

/// A range of positions in a vector.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of<T>(self, all: &[T]) -> &[T] {
        // Spans are made together with their vector, and point into it.
        all.get(self.start as usize..self.end as usize)
            .unwrap_or(&[])
    }
}

/// A position in one of the vectors here, which hold far fewer entries than 2³².
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The remote side that a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remote<A> {
    /// A prefix; where the rule names none, that of length 0.
    Prefix(A, u8),
    /// The number of an [`AddressSet`].
    Set(u32),
}

/// A rule in a cell.
#[derive(Clone, Copy, Debug)]
struct Entry<A> {
    remote: Remote<A>,
    /// The rule's position.
    rule: u32,
    /// So many entries after this one have the same remote side.
    rest: u32,
}

/// Rules that differ in what they ask of the remote side only.
///
/// Its entries are those of the same remote side together, and of these the most specific first.
/// Most cells have one entry, which is in the same cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Cell<A> {
    first: Option<Entry<A>>,
    /// The other entries, in the family's list.
    others: Span,
    /// The number, from 1 on, of the table in which further entries are found by hash; 0 where
    /// there is none.
    table: u32,
}

impl<A> Default for Cell<A> {
    fn default() -> Self {
        Self {
            first: None,
            others: Span::default(),
            table: 0,
        }
    }
}

/// Up to so many prefixes of a cell are compared one by one; more are found by hash.
const FEW: usize = 8;

/// Entries by remote prefix.
#[derive(Clone, Debug)]
struct PrefixTable<A> {
    /// For each prefix length, longest first, where its entries are.
    lengths: Vec<(u8, HashMap<A, Span, FixedState>)>,
}

/// The rules of one protocol.
#[derive(Clone, Debug)]
struct ByPort<A> {
    /// Rules for any port.
    bare: Cell<A>,
    /// Where the pieces of port ranges begin; what comes before the first has no rules.
    starts: Starts,
    /// The cell of each piece.
    cells: Vec<Cell<A>>,
}

impl<A> ByPort<A> {
    /// The cell of the piece that a selector is in.
    fn piece(&self, selector: u16) -> Option<&Cell<A>> {
        self.cells.get(self.starts.up_to(selector).checked_sub(1)?)
    }
}

/// Some of the selectors, to count those up to any one.
#[derive(Clone, Debug)]
enum Starts {
    /// In order, to be searched.
    Few(Vec<u16>),
    /// As bits, to be counted: whatever their number, that is one cache line.
    Many {
        /// The number of the first word, where all words are numbered.
        first: usize,
        words: Vec<Word>,
    },
}

/// Which of 64 selectors in a row are there.
#[derive(Clone, Copy, Debug)]
struct Word {
    bits: u64,
    /// How many are there in the words before.
    before: u32,
}

impl Starts {
    /// From selectors in order.
    fn new(starts: Vec<u16>) -> Self {
        let word = |start: u16| usize::from(start) / 64;
        let (Some(first), Some(last)) = (starts.first(), starts.last()) else {
            return Self::Few(starts);
        };
        let (first, last) = (word(*first), word(*last));
        // Words are there where they take no more than the cells do.
        let cells = starts.len() * size_of::<Cell<u32>>();
        if (last - first + 1) * size_of::<Word>() > cells {
            return Self::Few(starts);
        }
        let mut words = vec![Word { bits: 0, before: 0 }; last - first + 1];
        for start in starts {
            words[word(start) - first].bits |= 1 << (start % 64);
        }
        let mut before = 0;
        for word in &mut words {
            word.before = before;
            before += word.bits.count_ones();
        }
        Self::Many { first, words }
    }

    /// How many are there up to this one.
    #[inline]
    fn up_to(&self, selector: u16) -> usize {
        match self {
            Self::Few(starts) => starts.partition_point(|start| *start <= selector),
            Self::Many { first, words } => {
                let Some(at) = (usize::from(selector) / 64).checked_sub(*first) else {
                    return 0;
                };
                let (word, upto) = match words.get(at) {
                    Some(word) => (word, u64::MAX >> (63 - selector % 64)),
                    None => (&words[words.len() - 1], u64::MAX),
                };
                (word.before + (word.bits & upto).count_ones()) as usize
            }
        }
    }
}

/// The rules of one address family.
#[derive(Clone, Debug)]
struct FamilyIndex<A> {
    /// Rules for any protocol.
    any: Cell<A>,
    /// The protocols that rules name.
    protocols: Vec<u8>,
    /// The rules of each.
    by_port: Vec<ByPort<A>>,
    entries: Vec<Entry<A>>,
    tables: Vec<PrefixTable<A>>,
}

impl<A> Default for FamilyIndex<A> {
    fn default() -> Self {
        Self {
            any: Cell::default(),
            protocols: Vec::new(),
            by_port: Vec::new(),
            entries: Vec::new(),
            tables: Vec::new(),
        }
    }
}

/// A rule as its family's index is made from it.
#[derive(Clone, Copy, Debug)]
struct Compiled<A> {
    ports: Ports,
    remote: Remote<A>,
    /// Its position.
    rule: u32,
}

impl<A: Address> FamilyIndex<A> {
    /// Compiles the rules of this family. They come most specific first. `set` gives the number
    /// of the address set of a remote group or address group.
    fn new(rules: &[&SecurityGroupRule], set: &mut impl FnMut(RemoteGroup) -> u32) -> Self {
        let mut index = Self::default();
        let mut by_protocol: BTreeMap<Protocol, Vec<Compiled<A>>> = BTreeMap::new();
        for (rule, position) in rules.iter().zip(0..) {
            if rule.ethertype != A::FAMILY {
                continue;
            }
            let remote = match (RemoteGroup::of(rule), rule.remote_ip_prefix) {
                (Some(group), _) => Remote::Set(set(group)),
                (None, None) => Remote::Prefix(A::default(), 0),
                (None, Some(prefix)) => match A::of(prefix.network()) {
                    Some(network) => Remote::Prefix(network, prefix.length()),
                    // No packet of this family comes from there.
                    None => continue,
                },
            };
            by_protocol
                .entry(rule.protocol())
                .or_default()
                .push(Compiled {
                    ports: Ports::of(rule),
                    remote,
                    rule: position,
                });
        }
        for (protocol, rules) in by_protocol {
            let bare = rules.iter().filter(|rule| rule.ports == Ports::Any);
            let bare = index.add_cell(bare);
            let Protocol::Number(number) = protocol else {
                index.any = bare;
                continue;
            };
            let mut starts: Vec<u16> = rules
                .iter()
                .filter_map(|rule| rule.ports.interval())
                .flat_map(|(first, last)| [Some(first), last.checked_add(1)])
                .flatten()
                .collect();
            starts.sort_unstable();
            starts.dedup();
            let piece = |start: &u16| {
                let here = rules.iter().filter(|rule| {
                    let interval = rule.ports.interval();
                    interval.is_some_and(|(first, last)| (first..=last).contains(start))
                });
                index.add_cell(here)
            };
            let cells = starts.iter().map(piece).collect();
            index.protocols.push(number);
            index.by_port.push(ByPort {
                bare,
                starts: Starts::new(starts),
                cells,
            });
        }
        index
    }

    /// Makes a cell of rules that come most specific first.
    fn add_cell<'a>(&mut self, rules: impl Iterator<Item = &'a Compiled<A>>) -> Cell<A>
    where
        A: 'a,
    {
        let mut by_remote: BTreeMap<Remote<A>, Vec<u32>> = BTreeMap::new();
        for rule in rules {
            by_remote.entry(rule.remote).or_default().push(rule.rule);
        }
        let is_prefix = |remote: &Remote<A>| matches!(remote, Remote::Prefix(..));
        let many = by_remote.keys().filter(|remote| is_prefix(remote)).count() > FEW;
        let mut table = BTreeMap::<Reverse<u8>, HashMap<A, Span, FixedState>>::new();
        let mut looked_through = Vec::new();
        for (remote, rules) in by_remote {
            let rest = (0..position(rules.len())).rev();
            let rules = rules.iter().zip(rest);
            let run = rules.map(|(&rule, rest)| Entry { remote, rule, rest });
            match remote {
                Remote::Prefix(network, length) if many => {
                    let networks = table.entry(Reverse(length)).or_default();
                    networks.insert(network, self.add_entries(run));
                }
                _ => looked_through.extend(run),
            }
        }
        let mut looked_through = looked_through.into_iter();
        let mut cell = Cell {
            first: looked_through.next(),
            others: self.add_entries(looked_through),
            table: 0,
        };
        if many {
            let lengths = table.into_iter().map(|(Reverse(length), of)| (length, of));
            self.tables.push(PrefixTable {
                lengths: lengths.collect(),
            });
            cell.table = position(self.tables.len());
        }
        cell
    }

    /// Appends entries to the list.
    fn add_entries(&mut self, entries: impl Iterator<Item = Entry<A>>) -> Span {
        let start = position(self.entries.len());
        self.entries.extend(entries);
        Span {
            start,
            end: position(self.entries.len()),
        }
    }

    /// The most specific rule that allows the packet.
    fn best(&self, remote: A, asked: &Question, sets: &[impl AsRef<AddressSet>]) -> Option<Match> {
        let mut best: Option<Match> = None;
        self.each(remote, asked, sets, |first, _, length| {
            // The first of a run is its most specific.
            best = best.max(Some(Match::new(length, first.rule)));
        });
        best
    }

    /// Calls `found` with every rule that allows the packet.
    fn all(
        &self,
        remote: A,
        asked: &Question,
        sets: &[impl AsRef<AddressSet>],
        mut found: impl FnMut(Match),
    ) {
        self.each(remote, asked, sets, |first, others, length| {
            found(Match::new(length, first.rule));
            for entry in others.iter().take(first.rest as usize) {
                found(Match::new(length, entry.rule));
            }
        });
    }

    /// The rules of a protocol.
    #[inline]
    fn by_port(&self, protocol: Option<u8>) -> Option<&ByPort<A>> {
        let protocol = protocol?;
        let at = self.protocols.iter().position(|known| *known == protocol);
        self.by_port.get(at?)
    }

    /// A part of the cell for the port that a packet is to.
    #[inline]
    fn late(&self, asked: &Question) -> Option<&u32> {
        let cell = self.by_port(asked.protocol)?.piece(asked.selector?)?;
        Some(&cell.table)
    }

    /// Calls `found` for each remote side that allows the packet, with its first entry, a slice
    /// that begins with the rest of them, and the length of the remote prefix by which it does.
    fn each(
        &self,
        remote: A,
        asked: &Question,
        sets: &[impl AsRef<AddressSet>],
        mut found: impl FnMut(&Entry<A>, &[Entry<A>], u8),
    ) {
        self.each_of_cell(&self.any, remote, asked, sets, &mut found);
        let Some(by_port) = self.by_port(asked.protocol) else {
            return;
        };
        self.each_of_cell(&by_port.bare, remote, asked, sets, &mut found);
        if let Some(cell) = asked.selector.and_then(|selector| by_port.piece(selector)) {
            self.each_of_cell(cell, remote, asked, sets, &mut found);
        }
    }

    /// In line: most cells have one entry, or none.
    #[expect(
        clippy::inline_always,
        reason = "three calls took as long as what they do"
    )]
    #[inline(always)]
    fn each_of_cell(
        &self,
        cell: &Cell<A>,
        remote: A,
        asked: &Question,
        sets: &[impl AsRef<AddressSet>],
        found: &mut impl FnMut(&Entry<A>, &[Entry<A>], u8),
    ) {
        let mut next = cell.first.as_ref();
        let mut others = cell.others.of(&self.entries);
        while let Some(first) = next {
            let length = match first.remote {
                Remote::Prefix(network, length) => {
                    (remote.common_bits(network) >= length.into()).then_some(length)
                }
                Remote::Set(set) => sets
                    .get(set as usize)
                    .and_then(|set| A::of_set(set.as_ref()).allows(remote, asked.dl_src)),
            };
            if let Some(length) = length {
                found(first, others, length);
            }
            others = others.get(first.rest as usize..).unwrap_or(&[]);
            next = others.split_off_first();
        }
        if cell.table > 0 {
            self.each_of_table(cell.table, remote, found);
        }
    }

    /// Entries that are found by hash.
    #[cold]
    fn each_of_table(
        &self,
        number: u32,
        remote: A,
        found: &mut impl FnMut(&Entry<A>, &[Entry<A>], u8),
    ) {
        let table = self.tables.get(number as usize - 1);
        for (length, networks) in table.iter().flat_map(|table| &table.lengths) {
            let span = networks.get(&remote.network(*length));
            let entries = span.and_then(|span| span.of(&self.entries).split_first());
            if let Some((first, others)) = entries {
                found(first, others, *length);
            }
        }
    }
}

/// A rule as far as a packet that is already known to match needs it.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: Uuid,
    width: u32,
    given: bool,
}

/// From so many rules on, what tells them apart is read ahead.
const MANY: usize = 32;

/// The rules of one direction of one security group, ready for matching.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    /// The most specific first, as far as they are no matter of the remote side.
    rules: Vec<Candidate>,
    v4: FamilyIndex<u32>,
    v6: FamilyIndex<u128>,
}

/// What is asked of a rule index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    remote: IpAddr,
    protocol: Option<u8>,
    selector: Option<u16>,
    dl_src: MacAddr,
}

impl Question {
    /// Which rules of a port allow this packet in this direction? `None` for packets that are
    /// not IP, which no rule allows.
    #[inline]
    pub(crate) fn new(packet: &Summary, direction: Direction) -> Option<Self> {
        Some(Self {
            remote: remote_address(packet, direction)?,
            protocol: packet.protocol,
            selector: selector(packet),
            dl_src: packet.dl_src,
        })
    }
}

impl RuleIndex {
    /// Compiles rules. `set` gives the number of the address set of a remote group or address
    /// group.
    fn new<'a>(
        rules: impl Iterator<Item = &'a SecurityGroupRule>,
        mut set: impl FnMut(RemoteGroup) -> u32,
    ) -> Self {
        let mut rules: Vec<&SecurityGroupRule> = rules.collect();
        rules.sort_by_cached_key(|rule| Reverse(specificity(rule, 0)));
        let candidate = |rule: &&SecurityGroupRule| Candidate {
            id: rule.id,
            width: Ports::of(rule).width(),
            given: rule.protocol() != Protocol::Any,
        };
        Self {
            v4: FamilyIndex::new(&rules, &mut set),
            v6: FamilyIndex::new(&rules, &mut set),
            rules: rules.iter().map(candidate).collect(),
        }
    }

    /// How specifically the rule at a position allows a packet by a remote prefix of this length.
    pub(crate) fn specificity(&self, by: Match) -> Option<Specificity> {
        let rule = self.rules.get(by.rule() as usize)?;
        Some((
            by.length(),
            rule.given,
            Reverse(rule.width),
            Reverse(rule.id),
        ))
    }

    /// The id of the rule of a match: where it is, so that only who wants to know reads it.
    #[inline]
    pub(crate) fn id(&self, by: Match) -> Option<&Uuid> {
        self.rules.get(by.rule() as usize).map(|rule| &rule.id)
    }

    /// A part of what [`best`](Self::best) will have to wait for, not read yet, where there are so
    /// many rules that no cache holds those of many groups.
    #[inline]
    pub(crate) fn late(&self, packet: &Summary, direction: Direction) -> Option<&u32> {
        if self.rules.len() < MANY {
            return None;
        }
        let asked = Question::new(packet, direction)?;
        match asked.remote {
            IpAddr::V4(_) => self.v4.late(&asked),
            IpAddr::V6(_) => self.v6.late(&asked),
        }
    }

    /// The most specific rule that allows the packet.
    #[inline]
    pub(crate) fn best(&self, asked: &Question, sets: &[impl AsRef<AddressSet>]) -> Option<Match> {
        match asked.remote {
            IpAddr::V4(remote) => self.v4.best(remote.to_bits(), asked, sets),
            IpAddr::V6(remote) => self.v6.best(remote.to_bits(), asked, sets),
        }
    }

    /// Appends every rule that allows the packet: how specifically, its id in it.
    pub(crate) fn all(
        &self,
        asked: &Question,
        sets: &[impl AsRef<AddressSet>],
        matches: &mut Vec<Specificity>,
    ) {
        match asked.remote {
            IpAddr::V4(remote) => self.v4.all(remote.to_bits(), asked, sets, |by| {
                matches.extend(self.specificity(by));
            }),
            IpAddr::V6(remote) => self.v6.all(remote.to_bits(), asked, sets, |by| {
                matches.extend(self.specificity(by));
            }),
        }
    }

    /// The ids of the rules, by position.
    pub(crate) fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.rules.iter().map(|rule| rule.id)
    }
}

/// A rule that allows a packet. Within a group the greatest is the most specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Match(
    /// From the highest bits: the length of the remote prefix by which it does (31), the rule's
    /// position, inverted (32), and a one. One number, because many are compared.
    NonZeroU64,
);

impl Match {
    fn new(length: u8, rule: u32) -> Self {
        Self(NonZeroU64::MIN | u64::from(length) << 33 | u64::from(!rule) << 1)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the length is cut out")]
    const fn length(self) -> u8 {
        (self.0.get() >> 33) as u8
    }

    /// The rule's position.
    #[expect(clippy::cast_possible_truncation, reason = "the position is cut out")]
    pub(crate) const fn rule(self) -> u32 {
        !((self.0.get() >> 1) as u32)
    }
}

/// The compiled rules of one security group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupRules {
    ingress: RuleIndex,
    egress: RuleIndex,
}

impl GroupRules {
    /// Compiles a group's rules. `set` gives the number of the address set of a remote group or
    /// address group.
    pub(crate) fn new(
        rules: &[SecurityGroupRule],
        mut set: impl FnMut(RemoteGroup) -> u32,
    ) -> Self {
        let of = |direction| rules.iter().filter(move |rule| rule.direction == direction);
        Self {
            ingress: RuleIndex::new(of(Direction::Ingress), &mut set),
            egress: RuleIndex::new(of(Direction::Egress), &mut set),
        }
    }

    /// The rules of one direction.
    #[inline]
    pub(crate) const fn of(&self, direction: Direction) -> &RuleIndex {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes() -> impl Strategy<Value = IpPrefix> {
        // Few distinct bits, so that prefixes overlap and addresses hit them.
        prop_oneof![
            (0u32..64, 26u8..=32).prop_map(|(low, length)| {
                IpPrefix::new(std::net::Ipv4Addr::from(0x0a00_0000 + low).into(), length).unwrap()
            }),
            (0u128..64, 120u8..=128).prop_map(|(low, length)| {
                IpPrefix::new(std::net::Ipv6Addr::from(low).into(), length).unwrap()
            }),
            Just("0.0.0.0/0".parse().unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn counted_starts_agree_with_counting_one_by_one(
            starts in prop_oneof![
                prop::collection::btree_set(any::<u16>(), 0..40),
                prop::collection::btree_set(60_000_u16..=u16::MAX, 0..400),
            ],
            selector in prop_oneof![any::<u16>(), 59_900_u16..=u16::MAX],
        ) {
            let naive = starts.iter().filter(|start| **start <= selector).count();
            let starts = Starts::new(starts.into_iter().collect());
            prop_assert_eq!(starts.up_to(selector), naive, "{:?}", starts);
        }

        #[test]
        fn longest_match_agrees_with_trying_every_prefix(
            prefixes in prop::collection::vec(prefixes(), 0..12),
            low in 0u32..64,
        ) {
            let set: AddressSet = prefixes.iter().copied().collect();
            for address in [
                IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + low)),
                IpAddr::from(std::net::Ipv6Addr::from(u128::from(low))),
            ] {
                let naive =
                    prefixes.iter().filter(|p| p.contains(address)).map(IpPrefix::length).max();
                prop_assert_eq!(set.longest_match(address), naive);
            }
        }
    }
}
