//! Log flows: which flows make the switch report what a port accepts and drops.
//!
//! The firewall's pipeline ends in tables that exist to be logged: every packet of a new session
//! passes one of them, with the port that the lookup was about in a register. A log flow in such
//! a table sends the packet to us and lets it go on as before. Its [`Cookie`] tells which port
//! and what kind of event it stands for, so that a packet-in needs no lookup by text or hash.

use uuid::Uuid;

use crate::plan::PortPlan;
use crate::rule::Direction;

/// What a log flow reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum FlowKind {
    /// Sessions that the port's rules let out.
    EgressAccept = 1,
    /// Sessions that the port's rules let in.
    IngressAccept = 2,
    /// Packets that were dropped on the way out of the port or into it.
    Drop = 3,
    /// Sessions that the port's rules let out, to a port of the same host that let them in.
    SameHostAccept = 4,
    /// Sessions that the port's rules let out, to a port of the same host that dropped them.
    SameHostDrop = 5,
}

impl FlowKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::EgressAccept,
        Self::IngressAccept,
        Self::Drop,
        Self::SameHostAccept,
        Self::SameHostDrop,
    ];

    /// The place of this kind in an array of all kinds, in the order of [`ALL`](Self::ALL).
    pub const fn index(self) -> usize {
        // Kinds are numbered from 1.
        self as usize - 1
    }

    /// The direction of the sessions that it reports as accepted by the port; `None` for drops.
    pub const fn accepts(self) -> Option<Direction> {
        match self {
            Self::EgressAccept | Self::SameHostAccept => Some(Direction::Egress),
            Self::IngressAccept => Some(Direction::Ingress),
            Self::Drop | Self::SameHostDrop => None,
        }
    }

    /// The kind with this number.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            1 => Some(Self::EgressAccept),
            2 => Some(Self::IngressAccept),
            3 => Some(Self::Drop),
            4 => Some(Self::SameHostAccept),
            5 => Some(Self::SameHostDrop),
            _ => None,
        }
    }
}

/// The number of a port in cookies and tables.
///
/// It belongs to the port's id, not to its ofport, and stays the same over restarts of the agent
/// and of the switch.
pub type Slot = u32;

/// The cookie of a log flow: owner (16 bits), generation (8), [`FlowKind`] (8), [`Slot`] (32).
///
/// ```
/// use netlog_core::flow::{Cookie, FlowKind};
/// let cookie = Cookie { kind: FlowKind::Drop, slot: 7 };
/// assert_eq!(cookie.to_bits(), 0x6e4c_0103_0000_0007);
/// assert_eq!(Cookie::from_bits(cookie.to_bits()), Some(cookie));
/// assert_eq!(Cookie::from_bits(0x1122_3344_5566_7788), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cookie {
    /// What the flow reports.
    pub kind: FlowKind,
    /// The port that it reports about.
    pub slot: Slot,
}

impl Cookie {
    /// The owner's bits: every flow whose cookie starts with them is ours, no other is.
    pub const OWNER: u64 = 0x6e4c << 48;
    /// The bits of a cookie that name the owner.
    pub const OWNER_MASK: u64 = 0xffff << 48;
    /// Changes when the meaning of cookies changes, so that older flows are replaced.
    const GENERATION: u64 = 1 << 40;

    /// The cookie as it stands in a flow.
    pub const fn to_bits(self) -> u64 {
        Self::OWNER | Self::GENERATION | (self.kind as u64) << 32 | self.slot as u64
    }

    /// Reads a cookie; `None` when the flow is not ours or of another generation.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the fields are cut out of the cookie"
    )]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if bits >> 40 != (Self::OWNER | Self::GENERATION) >> 40 {
            return None;
        }
        match FlowKind::from_bits((bits >> 32) as u8) {
            Some(kind) => Some(Self {
                kind,
                slot: bits as u32,
            }),
            None => None,
        }
    }
}

/// Where the firewall's pipeline lets itself be logged.
///
/// The default is the pipeline of Neutron's `openvswitch` firewall driver
/// (`neutron/agent/linux/openvswitch_firewall`, tables 91 to 94).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowProfile {
    /// Table that new sessions pass once the source port's rules let them out.
    pub accepted_egress_table: u8,
    /// Table that new sessions pass once the destination port's rules let them in.
    pub accepted_ingress_table: u8,
    /// Table that dropped packets end in.
    pub dropped_table: u8,
    /// Table that forwards after [`accepted_egress_table`](Self::accepted_egress_table); a flow
    /// in that table has to resubmit to it.
    pub accepted_egress_normal_table: u8,
    /// Number of the register that holds the ofport of the port that the lookup is about.
    pub port_register: u8,
    /// Priority of log flows that match the register.
    pub priority: u16,
    /// Priority of log flows that match the port where the packet came in.
    pub same_host_priority: u16,
}

impl Default for FlowProfile {
    fn default() -> Self {
        Self {
            accepted_egress_table: 91,
            accepted_ingress_table: 92,
            dropped_table: 93,
            accepted_egress_normal_table: 94,
            port_register: 5,
            priority: 100,
            same_host_priority: 90,
        }
    }
}

/// What a log flow matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FlowMatch {
    /// The profile's port register holds this ofport.
    PortRegister(u32),
    /// The packet came in through this ofport.
    InPort(u32),
}

/// One log flow, complete but for the id of the connection that it reports to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogFlow {
    /// Its table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// What it matches.
    pub matches: FlowMatch,
    /// The table that it resubmits to after the report; `None` where the pipeline ends.
    pub resubmit: Option<u8>,
    /// Whose event it reports.
    pub cookie: Cookie,
}

impl FlowProfile {
    /// The table that log flows of this kind are in.
    pub const fn table(&self, kind: FlowKind) -> u8 {
        match kind {
            FlowKind::EgressAccept => self.accepted_egress_table,
            FlowKind::IngressAccept | FlowKind::SameHostAccept => self.accepted_ingress_table,
            FlowKind::Drop | FlowKind::SameHostDrop => self.dropped_table,
        }
    }

    /// The log flows of one port.
    ///
    /// A port that logs only DROP needs one flow. A port that logs ACCEPT needs four: sessions to
    /// a port of the same host never pass the egress table, so that two of them match the source
    /// where the destination's verdict is reported.
    pub fn log_flows(&self, plan: &PortPlan, slot: Slot, ofport: u32) -> Vec<LogFlow> {
        let flow = |kind| {
            let matches = match kind {
                FlowKind::EgressAccept | FlowKind::IngressAccept | FlowKind::Drop => {
                    FlowMatch::PortRegister(ofport)
                }
                FlowKind::SameHostAccept | FlowKind::SameHostDrop => FlowMatch::InPort(ofport),
            };
            LogFlow {
                table: self.table(kind),
                priority: match matches {
                    FlowMatch::PortRegister(_) => self.priority,
                    FlowMatch::InPort(_) => self.same_host_priority,
                },
                matches,
                resubmit: (kind == FlowKind::EgressAccept)
                    .then_some(self.accepted_egress_normal_table),
                cookie: Cookie { kind, slot },
            }
        };
        let wanted = |kind: &FlowKind| match kind {
            FlowKind::Drop => plan.logs_drop(),
            _ => plan.logs_accept(),
        };
        FlowKind::ALL.into_iter().filter(wanted).map(flow).collect()
    }
}

/// A logged port as the switch knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedPort {
    /// The port's id.
    pub id: Uuid,
    /// Its number in cookies.
    pub slot: Slot,
    /// Its number on the bridge now.
    pub ofport: u32,
}
