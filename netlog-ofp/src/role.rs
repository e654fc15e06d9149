//! Controller roles (OpenFlow 1.3.5, 7.3.9 "Role Request Message").

use crate::{
    codec::{Put, Reader, Result},
    wire_enum::wire_enum,
};

wire_enum! {
    /// The role of a controller (`OFPCR_ROLE_*`).
    pub struct ControllerRole(u32) {
        /// As it is.
        NOCHANGE = 0,
        /// Full access; the role at first.
        EQUAL = 1,
        /// Full access, and one controller at most.
        PRIMARY = 2,
        /// Read only.
        SECONDARY = 3,
    }
}

/// A role asked for or granted (`ofp_role_request`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// The role.
    pub role: ControllerRole,
    /// Orders elections; a smaller one than before is refused.
    pub generation_id: u64,
}

impl Role {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_role_request");
        let role = ControllerRole(r.u32()?);
        r.skip(4)?;
        Ok(Self {
            role,
            generation_id: r.u64()?,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.role.0);
        out.zeros(4);
        out.u64(self.generation_id);
    }
}
