//! What other connections had changed (`OFPT_REQUESTFORWARD`; OpenFlow 1.4.1, 7.4.6). With
//! OpenFlow 1.3 it is an extension of the ONF with the same layout.

use crate::{
    codec::{Problem, Reader, Result},
    header::{RawMessage, Version, Xid},
    message::Body,
    wire_enum::wire_enum,
};

pub(crate) const ONFT_REQUESTFORWARD: u32 = 2350;

wire_enum! {
    /// What is told of (`OFPRFR_*`).
    pub struct RequestForwardReason(u8) {
        /// Changes of groups.
        GROUP_MOD = 0,
        /// Changes of meters.
        METER_MOD = 1,
    }
}

/// A request of another connection that the switch has obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestForward {
    /// Its xid on that connection.
    pub xid: Xid,
    /// What it said.
    pub request: Box<Body>,
}

impl RequestForward {
    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_requestforward_header");
        let inner = RawMessage::new(r.take_rest())?;
        if inner.version() != version {
            return Err(r.error(Problem::Unsupported(inner.version().0.into())));
        }
        Ok(Self {
            xid: inner.xid(),
            request: Box::new(Body::decode_inner(inner)?),
        })
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        self.request.write(version, self.xid, out);
    }
}
