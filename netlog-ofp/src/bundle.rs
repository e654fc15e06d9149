//! Bundles: several changes that happen all or not at all (OpenFlow 1.4.1,
//! 7.3.9 "Bundle messages"). With OpenFlow 1.3 they are an extension of the ONF
//! with the same layout.

use crate::{
    codec::{Problem, Put, Reader, Result, padding},
    header::{RawMessage, Version, Xid},
    message::Body,
    wire_enum::{wire_enum, wire_flags},
};

pub(crate) const ONFT_BUNDLE_CONTROL: u32 = 2300;
pub(crate) const ONFT_BUNDLE_ADD_MESSAGE: u32 = 2301;

wire_enum! {
    /// What to do with a bundle, or what was done (`OFPBCT_*`).
    pub struct BundleControlType(u16) {
        /// Open it.
        OPEN_REQUEST = 0,
        /// It is open.
        OPEN_REPLY = 1,
        /// Take no more messages.
        CLOSE_REQUEST = 2,
        /// It is closed.
        CLOSE_REPLY = 3,
        /// Do what is in it.
        COMMIT_REQUEST = 4,
        /// It is done.
        COMMIT_REPLY = 5,
        /// Forget it.
        DISCARD_REQUEST = 6,
        /// It is forgotten.
        DISCARD_REPLY = 7,
    }
}

wire_flags! {
    /// How a bundle is carried out (`OFPBF_*`).
    pub struct BundleFlags(u16) {
        /// Packets see all of it or nothing.
        ATOMIC = 1,
        /// In the order of its messages.
        ORDERED = 1 << 1,
    }
}

/// Opens, closes, commits or discards a bundle (`OFPT_BUNDLE_CONTROL`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleControl {
    /// Which bundle.
    pub bundle_id: u32,
    /// What to do.
    pub kind: BundleControlType,
    /// How it is carried out; the same in all messages of a bundle.
    pub flags: BundleFlags,
    /// Properties, as on the wire.
    pub properties: Vec<u8>,
}

impl BundleControl {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_bundle_ctrl_msg");
        Ok(Self {
            bundle_id: r.u32()?,
            kind: BundleControlType(r.u16()?),
            flags: BundleFlags(r.u16()?),
            properties: r.take_rest().to_vec(),
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.bundle_id);
        out.u16(self.kind.0);
        out.u16(self.flags.0);
        out.bytes(&self.properties);
    }
}

/// Puts a message into a bundle (`OFPT_BUNDLE_ADD_MESSAGE`).
///
/// The message in it has the same version and xid as the one around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleAdd {
    /// Which bundle.
    pub bundle_id: u32,
    /// How it is carried out; the same in all messages of a bundle.
    pub flags: BundleFlags,
    /// What to add.
    pub message: Box<Body>,
    /// Properties, as on the wire.
    pub properties: Vec<u8>,
}

impl BundleAdd {
    pub(crate) fn decode(r: &mut Reader<'_>, version: Version, xid: Xid) -> Result<Self> {
        r.enter("ofp_bundle_add_msg");
        let bundle_id = r.u32()?;
        r.skip(2)?;
        let flags = BundleFlags(r.u16()?);
        let (inner, length) = {
            let header = r.clone().take(4)?;
            let [_, _, l0, l1] = *header else {
                return Err(r.error(Problem::Length(header.len())));
            };
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            (RawMessage::new(r.take(length)?)?, length)
        };
        if inner.version() != version || inner.xid() != xid {
            return Err(r.error(Problem::Unsupported(inner.xid().0)));
        }
        if !r.is_empty() {
            r.skip(padding(length))?;
        }
        Ok(Self {
            bundle_id,
            flags,
            message: Box::new(Body::decode_inner(inner)?),
            properties: r.take_rest().to_vec(),
        })
    }

    pub(crate) fn encode(&self, version: Version, xid: Xid, out: &mut Vec<u8>) {
        out.u32(self.bundle_id);
        out.zeros(2);
        out.u16(self.flags.0);
        let start = out.position();
        self.message.write(version, xid, out);
        if !self.properties.is_empty() {
            out.pad(start);
            out.bytes(&self.properties);
        }
    }
}
