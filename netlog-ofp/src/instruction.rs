//! Instructions (OpenFlow 1.3.5, 7.2.4 "Flow Instruction Structures").

use crate::{
    action::Action,
    codec::{Put, Reader, Result},
};

const OFPIT_GOTO_TABLE: u16 = 1;
const OFPIT_WRITE_METADATA: u16 = 2;
const OFPIT_WRITE_ACTIONS: u16 = 3;
const OFPIT_APPLY_ACTIONS: u16 = 4;
const OFPIT_CLEAR_ACTIONS: u16 = 5;
const OFPIT_METER: u16 = 6;

/// What happens to packets that a flow matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// Goes on in a later table.
    GotoTable(u8),
    /// Writes the bits of the table metadata that `mask` has set.
    WriteMetadata {
        /// The value.
        metadata: u64,
        /// Which bits of it.
        mask: u64,
    },
    /// Adds to the action set.
    WriteActions(Vec<Action>),
    /// Does these actions at once.
    ApplyActions(Vec<Action>),
    /// Empties the action set.
    ClearActions,
    /// Applies a meter.
    Meter(u32),
    /// Another instruction.
    Other {
        /// The type (`OFPIT_*`).
        kind: u16,
        /// What follows the length.
        body: Vec<u8>,
    },
}

impl Instruction {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        let (kind, mut body) = r.tlv("ofp_instruction")?;
        Ok(match kind {
            OFPIT_GOTO_TABLE => {
                let table = body.u8()?;
                body.skip(3)?;
                body.finish(Self::GotoTable(table))?
            }
            OFPIT_WRITE_METADATA => {
                body.skip(4)?;
                let metadata = body.u64()?;
                let mask = body.u64()?;
                body.finish(Self::WriteMetadata { metadata, mask })?
            }
            OFPIT_WRITE_ACTIONS => {
                body.skip(4)?;
                Self::WriteActions(body.all(Action::decode)?)
            }
            OFPIT_APPLY_ACTIONS => {
                body.skip(4)?;
                Self::ApplyActions(body.all(Action::decode)?)
            }
            OFPIT_CLEAR_ACTIONS => {
                body.skip(4)?;
                body.finish(Self::ClearActions)?
            }
            OFPIT_METER => {
                let meter = body.u32()?;
                body.finish(Self::Meter(meter))?
            }
            _ => Self::Other {
                kind,
                body: body.take_rest().to_vec(),
            },
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::GotoTable(table) => out.tlv(OFPIT_GOTO_TABLE, |out| {
                out.u8(*table);
                out.zeros(3);
            }),
            Self::WriteMetadata { metadata, mask } => out.tlv(OFPIT_WRITE_METADATA, |out| {
                out.zeros(4);
                out.u64(*metadata);
                out.u64(*mask);
            }),
            Self::WriteActions(list) => actions(out, OFPIT_WRITE_ACTIONS, list),
            Self::ApplyActions(list) => actions(out, OFPIT_APPLY_ACTIONS, list),
            Self::ClearActions => actions(out, OFPIT_CLEAR_ACTIONS, &[]),
            Self::Meter(meter) => out.tlv(OFPIT_METER, |out| out.u32(*meter)),
            Self::Other { kind, body } => out.tlv(*kind, |out| out.bytes(body)),
        }
    }
}

fn actions(out: &mut Vec<u8>, kind: u16, actions: &[Action]) {
    out.tlv(kind, |out| {
        out.zeros(4);
        for action in actions {
            action.encode(out);
        }
    });
}
