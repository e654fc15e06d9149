//! Actions (OpenFlow 1.3.5, 7.2.5 "Action Structures") and the Nicira ones
//! that logging needs (ovs-actions(7)).

use crate::{
    codec::{Problem, Put, Reader, Result, padding},
    nicira::NICIRA,
    oxm::Oxm,
    packet_in::PacketInReason,
    port::PortNo,
};

const OFPAT_OUTPUT: u16 = 0;
const OFPAT_GROUP: u16 = 22;
const OFPAT_SET_FIELD: u16 = 25;
const OFPAT_EXPERIMENTER: u16 = 0xffff;
const NXAST_RESUBMIT: u16 = 1;
const NXAST_RESUBMIT_TABLE: u16 = 14;
const NXAST_CONTROLLER: u16 = 20;
const NXAST_CONTROLLER2: u16 = 37;

/// What a flow does with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sends it to a port (`OFPAT_OUTPUT`).
    Output {
        /// The port.
        port: PortNo,
        /// When the port is the controller: how many bytes to send.
        max_len: u16,
    },
    /// Gives it to a group (`OFPAT_GROUP`).
    Group(u32),
    /// Writes a header or metadata field (`OFPAT_SET_FIELD`).
    SetField(Oxm),
    /// Sends a copy to controllers (`NXAST_CONTROLLER`, `NXAST_CONTROLLER2`).
    Controller(Controller),
    /// Looks it up in another table and goes on here afterwards
    /// (`NXAST_RESUBMIT`, `NXAST_RESUBMIT_TABLE`).
    Resubmit {
        /// The input port to pretend; [`PortNo::IN_PORT`] for the real one.
        in_port: PortNo,
        /// The table; `None` for the one the flow is in.
        table: Option<u8>,
    },
    /// Another action of an extension.
    Experimenter {
        /// Whose extension.
        experimenter: u32,
        /// What follows.
        body: Vec<u8>,
    },
    /// Another action of OpenFlow.
    Other {
        /// The type (`OFPAT_*`).
        kind: u16,
        /// What follows the length.
        body: Vec<u8>,
    },
}

impl Action {
    /// Sends the packet to a port.
    pub const fn output(port: PortNo) -> Self {
        Self::Output { port, max_len: 0 }
    }

    /// `resubmit(,table)`: looks the packet up in `table`, with the port it
    /// came from.
    pub const fn resubmit(table: u8) -> Self {
        Self::Resubmit {
            in_port: PortNo::IN_PORT,
            table: Some(table),
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        let (kind, mut action) = r.tlv("ofp_action")?;
        if action.remaining() < 4 {
            return Err(action.error(Problem::Length(action.remaining() + 4)));
        }
        match kind {
            OFPAT_OUTPUT => {
                let output = Self::Output {
                    port: PortNo(action.u32()?),
                    max_len: action.u16()?,
                };
                action.skip(6)?;
                action.finish(output)
            }
            OFPAT_GROUP => {
                let group = Self::Group(action.u32()?);
                action.finish(group)
            }
            OFPAT_SET_FIELD => Oxm::decode(&mut action).map(Self::SetField),
            OFPAT_EXPERIMENTER => Self::decode_experimenter(action),
            _ => Ok(Self::Other {
                kind,
                body: action.take_rest().to_vec(),
            }),
        }
    }

    fn decode_experimenter(mut action: Reader<'_>) -> Result<Self> {
        let experimenter = action.u32()?;
        let mut nicira = action.clone();
        let known = if experimenter == NICIRA {
            match nicira.u16()? {
                NXAST_RESUBMIT => Some(Self::Resubmit {
                    in_port: PortNo::from_u16(nicira.u16()?),
                    table: None,
                }),
                NXAST_RESUBMIT_TABLE => Some(Self::Resubmit {
                    in_port: PortNo::from_u16(nicira.u16()?),
                    table: Some(nicira.u8()?),
                }),
                NXAST_CONTROLLER => Some(Self::Controller(Controller {
                    max_len: nicira.u16()?,
                    controller_id: nicira.u16()?,
                    reason: PacketInReason(nicira.u8()?),
                    ..Controller::default()
                })),
                NXAST_CONTROLLER2 => Controller::decode2(nicira)?.map(Self::Controller),
                _ => None,
            }
        } else {
            None
        };
        Ok(known.unwrap_or_else(|| Self::Experimenter {
            experimenter,
            body: action.take_rest().to_vec(),
        }))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Output { port, max_len } => padded(out, OFPAT_OUTPUT, |out| {
                out.u32(port.0);
                out.u16(*max_len);
                out.zeros(6);
            }),
            Self::Group(group) => padded(out, OFPAT_GROUP, |out| out.u32(*group)),
            Self::SetField(oxm) => padded(out, OFPAT_SET_FIELD, |out| oxm.encode(out)),
            Self::Controller(controller) => controller.encode(out),
            Self::Resubmit {
                in_port,
                table: None,
            } => nicira(out, NXAST_RESUBMIT, |out| out.u16(in_port.to_u16())),
            Self::Resubmit {
                in_port,
                table: Some(table),
            } => nicira(out, NXAST_RESUBMIT_TABLE, |out| {
                out.u16(in_port.to_u16());
                out.u8(*table);
            }),
            Self::Experimenter { experimenter, body } => padded(out, OFPAT_EXPERIMENTER, |out| {
                out.u32(*experimenter);
                out.bytes(body);
            }),
            Self::Other { kind, body } => padded(out, *kind, |out| out.bytes(body)),
        }
    }
}

impl From<Controller> for Action {
    fn from(controller: Controller) -> Self {
        Self::Controller(controller)
    }
}

/// Sends a copy of the packet to the controllers with an id
/// (`NXAST_CONTROLLER`; with more than that can carry, `NXAST_CONTROLLER2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controller {
    /// How many bytes of the packet; 65535 for all of it.
    pub max_len: u16,
    /// Which controllers: those whose id this is. It is 0 until they set it
    /// with [`Body::SetControllerId`](crate::Body::SetControllerId).
    pub controller_id: u16,
    /// The reason that the packet-in gives.
    pub reason: PacketInReason,
    /// What the packet-in carries along, if its format is `NXT_PACKET_IN2`.
    pub userdata: Vec<u8>,
    /// Whether the packet waits until the controller resumes it.
    pub pause: bool,
    /// The meter that limits the packet-ins; without it, the controller's.
    pub meter_id: Option<u32>,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            max_len: u16::MAX,
            controller_id: 0,
            reason: PacketInReason::ACTION,
            userdata: Vec::new(),
            pause: false,
            meter_id: None,
        }
    }
}

/// Properties of `NXAST_CONTROLLER2` (`NXAC2PT_*`).
mod property {
    pub(super) const MAX_LEN: u16 = 0;
    pub(super) const CONTROLLER_ID: u16 = 1;
    pub(super) const REASON: u16 = 2;
    pub(super) const USERDATA: u16 = 3;
    pub(super) const PAUSE: u16 = 4;
    pub(super) const METER_ID: u16 = 5;
}

impl Controller {
    /// Reads the properties; `None` when one of them is unknown and would be
    /// lost.
    fn decode2(mut r: Reader<'_>) -> Result<Option<Self>> {
        let mut controller = Self::default();
        r.skip(6)?;
        while !r.is_empty() {
            let (kind, mut value) = r.property("nx_action_controller2")?;
            match kind {
                property::MAX_LEN => controller.max_len = value.u16()?,
                property::CONTROLLER_ID => controller.controller_id = value.u16()?,
                property::REASON => controller.reason = PacketInReason(value.u8()?),
                property::USERDATA => controller.userdata = value.take_rest().to_vec(),
                property::PAUSE => controller.pause = true,
                property::METER_ID => controller.meter_id = Some(value.u32()?),
                _ => return Ok(None),
            }
        }
        Ok(Some(controller))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        if self.userdata.is_empty() && !self.pause && self.meter_id.is_none() {
            return nicira(out, NXAST_CONTROLLER, |out| {
                out.u16(self.max_len);
                out.u16(self.controller_id);
                out.u8(self.reason.0);
                out.u8(0);
            });
        }
        nicira(out, NXAST_CONTROLLER2, |out| {
            out.zeros(6);
            // What is as by default is left out. A 16-bit property has two
            // bytes of padding inside.
            if self.max_len != u16::MAX {
                out.property(property::MAX_LEN, |out| {
                    out.u16(self.max_len);
                    out.u16(0);
                });
            }
            if self.controller_id != 0 {
                out.property(property::CONTROLLER_ID, |out| {
                    out.u16(self.controller_id);
                    out.u16(0);
                });
            }
            if self.reason != PacketInReason::ACTION {
                out.property(property::REASON, |out| out.u8(self.reason.0));
            }
            if !self.userdata.is_empty() {
                out.property(property::USERDATA, |out| out.bytes(&self.userdata));
            }
            if self.pause {
                out.property(property::PAUSE, |_| {});
            }
            if let Some(meter_id) = self.meter_id {
                out.property(property::METER_ID, |out| out.u32(meter_id));
            }
        });
    }
}

/// An action, whose length counts its padding.
fn padded(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    out.tlv(kind, |out| {
        let start = out.position();
        body(out);
        out.zeros(padding(out.position() - start + 4));
    });
}

fn nicira(out: &mut Vec<u8>, subtype: u16, body: impl FnOnce(&mut Vec<u8>)) {
    padded(out, OFPAT_EXPERIMENTER, |out| {
        out.u32(NICIRA);
        out.u16(subtype);
        body(out);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testdata::from_hex;

    /// What is not known in whole is kept in whole.
    #[test]
    fn a_controller_action_with_an_unknown_property_is_kept_as_it_is() {
        let bytes = from_hex("ffff0018000023200025000000000000000900080000abcd");
        let mut r = Reader::new("test", &bytes);
        let action = Action::decode(&mut r).unwrap();
        assert!(matches!(action, Action::Experimenter { .. }), "{action:?}");
        let mut out = Vec::new();
        action.encode(&mut out);
        assert_eq!(out, bytes);
    }

    #[test]
    fn an_action_without_a_body_is_an_error() {
        let mut r = Reader::new("test", &[0, 0, 0, 4]);
        let error = Action::decode(&mut r).unwrap_err();
        assert_eq!(error.problem, Problem::Length(4));
    }

    #[test]
    fn resubmit_has_the_ports_of_openflow_1_0() {
        let mut out = Vec::new();
        Action::resubmit(94).encode(&mut out);
        assert_eq!(out, from_hex("ffff001000002320000efff85e000000"));
    }
}
