//! Records: one line for each security event.
//!
//! A record has three parts: the time; what is known before the packet (who logs it, for which
//! port, and the verdict); and the packet's headers. The middle part, the [`Prefix`], is rendered
//! when tables change, in three pieces: the [head](Format::head), one for each project, action and
//! set of log objects; the [port](port_text); and the [tail](Format::tail), one for each rule or
//! reason. Only the time and the headers are rendered for each event.

pub mod ecs;
mod facts;
pub mod json;
pub mod ocsf;
mod put;
mod text;
mod timestamp;

use std::fmt;

use netlog_packet::room::{Append, Room};
use netlog_packet::{Packet, Payload};
use uuid::Uuid;

pub use timestamp::{Timestamp, TimestampStyle};

use put::Put;
use timestamp::Clock;

use crate::rule::Direction;

/// What the firewall did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It let a new session pass.
    Accept,
    /// It dropped a packet.
    Drop,
}

impl Action {
    /// Neutron's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
        }
    }
}

/// Why a packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No rule of the port allows it.
    NoRule,
    /// Connection tracking finds that it belongs to no connection and opens none.
    InvalidState,
    /// It left a port with an address that is not the port's.
    AntiSpoof,
    /// A port sent what only DHCP servers and routers may send. To the switch it looks like
    /// [`AntiSpoof`](Self::AntiSpoof); the packet tells.
    DhcpOrRaServer,
    /// The rule that allowed its connection is gone.
    RuleWithdrawn,
    /// A rule of the port allows it, as far as is known, and the switch dropped it nevertheless:
    /// the inventory or the switch is not up to date.
    RuleNotApplied,
    /// The switch did not say.
    Unknown,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::NoRule,
        Self::InvalidState,
        Self::AntiSpoof,
        Self::DhcpOrRaServer,
        Self::RuleWithdrawn,
        Self::RuleNotApplied,
        Self::Unknown,
    ];

    /// The word that stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRule => "no-rule",
            Self::InvalidState => "invalid-state",
            Self::AntiSpoof => "anti-spoof",
            Self::DhcpOrRaServer => "dhcp-or-ra-server",
            Self::RuleWithdrawn => "rule-withdrawn",
            Self::RuleNotApplied => "rule-not-applied",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose event it is: the part of a record that depends on the log objects that want it.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// What the firewall did.
    pub action: Action,
    /// The port's project.
    pub project_id: &'a str,
    /// The log objects that want the event.
    pub logs: &'a [Uuid],
}

/// A port's id as all layouts write it.
pub type PortText = [u8; uuid::fmt::Hyphenated::LENGTH];

/// A port's id as all layouts write it.
pub fn port_text(port: Uuid) -> PortText {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    port.hyphenated().encode_lower(&mut text);
    text
}

/// What a record says before the packet's headers, rendered by one [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix<'a> {
    /// [What stands before the port](Format::head).
    pub head: &'a [u8],
    /// [The port](port_text).
    pub port: &'a PortText,
    /// [What stands behind it](Format::tail).
    pub tail: &'a [u8],
}

impl Prefix<'_> {
    /// The three pieces one behind the other.
    pub fn to_vec(&self) -> Vec<u8> {
        [self.head, self.port, self.tail].concat()
    }
}

/// Why the firewall did it: the part of a record that depends on the rule or reason.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// These rules allow the session, the one that names the event first; empty when no known
    /// rule does.
    Rules(&'a [Uuid]),
    /// The packet was dropped for this reason.
    Reason(Reason),
}

/// The layout of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// The layout of the reference's documentation, with direction and rule or reason added.
    #[default]
    Text,
    /// What the reference's driver writes after its log prefix.
    Neutron,
    /// One flat [JSON object](json).
    Json,
    /// [Elastic Common Schema](ecs).
    Ecs,
    /// [Open Cybersecurity Schema Framework](ocsf).
    Ocsf,
}

/// How records are written.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The layout.
    pub layout: Layout,
    /// How [`Layout::Text`] starts a record.
    pub timestamp: TimestampStyle,
    /// Whether [`Layout::Text`] shows `direction=` and `security_group_rule_id=` or `reason=`.
    pub extra_fields: bool,
    /// Whether the bytes behind the decoded headers are shown.
    pub payload: Payload,
}

impl Default for Format {
    fn default() -> Self {
        Self {
            layout: Layout::Text,
            timestamp: TimestampStyle::Rfc3164,
            extra_fields: true,
            payload: Payload::Omit,
        }
    }
}

impl Format {
    /// The part of a record that says who logs it, up to the id of the port.
    pub fn head(self, scope: &Scope<'_>, out: &mut Vec<u8>) {
        out.append_with(PART_BYTES, |out| match self.layout {
            Layout::Text | Layout::Neutron => text::head(scope, out),
            Layout::Json => json::head(scope, out),
            Layout::Ecs => ecs::head(scope, out),
            Layout::Ocsf => ocsf::head(scope, out),
        });
    }

    /// The part of a record that goes on behind the id of the port, and says why the firewall did
    /// it.
    pub fn tail(self, direction: Direction, verdict: &Verdict<'_>, out: &mut Vec<u8>) {
        out.append_with(PART_BYTES, |out| match self.layout {
            Layout::Text if self.extra_fields => text::tail(direction, verdict, out),
            Layout::Text | Layout::Neutron => {}
            Layout::Json => json::tail(direction, verdict, out),
            Layout::Ecs => ecs::tail(direction, verdict, out),
            Layout::Ocsf => ocsf::tail(direction, verdict, out),
        });
    }

    /// Whether a record names every rule that allows a session, and not the first only.
    pub const fn names_every_rule(self) -> bool {
        match self.layout {
            Layout::Text | Layout::Neutron | Layout::Ocsf => false,
            Layout::Json | Layout::Ecs => true,
        }
    }
}

/// Writes records, each a line.
#[derive(Debug)]
pub struct Recorder {
    format: Format,
    clock: Clock,
}

impl Recorder {
    /// A writer of records in this format.
    pub fn new(format: Format) -> Self {
        Self {
            format,
            clock: match format.layout {
                Layout::Text | Layout::Neutron => Clock::new(format.timestamp),
                Layout::Json | Layout::Ecs | Layout::Ocsf => Clock::precise(),
            },
        }
    }

    /// The format.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Appends one record, line feed included.
    ///
    /// `prefix` must come from the same [`Format`].
    pub fn write(
        &mut self,
        time: Timestamp,
        prefix: &Prefix<'_>,
        packet: &Packet<'_>,
        out: &mut impl Append,
    ) {
        let Prefix { head, port, tail } = prefix;
        let expected = head.len() + port.len() + tail.len() + HEADERS_BYTES;
        out.append_with(expected, |room| {
            let mut out = room.take();
            // The usual layout's time in line: the call took as long as what it does.
            if self.format.layout == Layout::Text {
                self.clock.write(time, &mut out);
            } else {
                self.write_time(Some(time), &mut out);
            }
            out.bytes(head);
            out.bytes(&port[..]);
            out.bytes(tail);
            if matches!(self.format.layout, Layout::Text | Layout::Neutron) {
                out.put(" ");
            }
            *room = self.write_headers(packet, out);
        });
    }

    /// Appends a line about a packet that no firewall judged, line feed included: a record
    /// without head and tail, and without its time where that is not known.
    pub fn write_packet(
        &mut self,
        time: Option<Timestamp>,
        packet: &Packet<'_>,
        out: &mut impl Append,
    ) {
        out.append_with(HEADERS_BYTES, |room| {
            self.write_time(time, room);
            match self.format.layout {
                Layout::Text | Layout::Neutron | Layout::Json => {}
                Layout::Ecs => ecs::no_verdict(room),
                Layout::Ocsf => ocsf::no_verdict(room),
            }
            *room = self.write_headers(packet, room.take());
        });
    }

    /// Starts a record.
    #[inline]
    fn write_time(&mut self, time: Option<Timestamp>, out: &mut Room<'_>) {
        match (self.format.layout, time) {
            (Layout::Neutron, _) | (Layout::Text, None) => {}
            (Layout::Text, Some(time)) => self.clock.write(time, out),
            (Layout::Json | Layout::Ecs | Layout::Ocsf, None) => out.put("{"),
            (Layout::Json, Some(time)) => {
                out.put(r#"{"time":""#);
                self.clock.write(time, out);
                out.put(r#"","#);
            }
            (Layout::Ecs, Some(time)) => {
                out.put(r#"{"@timestamp":""#);
                self.clock.write(time, out);
                out.put(r#"","#);
            }
            (Layout::Ocsf, Some(time)) => {
                out.integer(r#"{"time":"#, time.unix_nanos.div_euclid(1_000_000));
                out.put(r#","time_dt":""#);
                self.clock.write(time, out);
                out.put(r#"","#);
            }
        }
    }

    /// Ends a record. Room goes in and comes out in registers.
    #[inline]
    fn write_headers<'r>(&self, packet: &Packet<'_>, mut out: Room<'r>) -> Room<'r> {
        let payload = self.format.payload;
        match self.format.layout {
            Layout::Text => {
                out = packet.write_text_in(payload, out);
                out.put("\n");
            }
            Layout::Neutron => {
                out.put("pkt=");
                out = packet.write_text_in(payload, out);
                out.put("\n");
            }
            Layout::Json => json::packet(packet, payload, &mut out),
            Layout::Ecs => ecs::packet(packet, payload, &mut out),
            Layout::Ocsf => ocsf::packet(packet, payload, &mut out),
        }
        if !matches!(self.format.layout, Layout::Text | Layout::Neutron) {
            out.put("}\n");
        }
        out
    }
}

/// More than the headers of most packets take in any layout.
const HEADERS_BYTES: usize = 1024;

/// More than most heads and tails take.
const PART_BYTES: usize = 512;
