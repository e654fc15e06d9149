//! Errors (`OFPT_ERROR`; OpenFlow 1.3.5, 7.5.4).

use std::fmt;

use crate::{
    codec::{Put, Reader, Result},
    header::Header,
    nicira::{NICIRA, ONF},
};

const OFPET_EXPERIMENTER: u16 = 0xffff;
/// The type that Open vSwitch chose for errors of extensions before OpenFlow
/// had one.
const NXET_VENDOR: u16 = 0xb0c2;
const NXVC_VENDOR_ERROR: u16 = 0;

/// Why a request failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// An error of OpenFlow: its type (`OFPET_*`) and the code within it.
    Standard {
        /// The type.
        kind: u16,
        /// The code.
        code: u16,
    },
    /// An error of an extension. Open vSwitch sends errors that OpenFlow 1.3
    /// has no number for with those of the ONF, and its own with Nicira's.
    Experimenter {
        /// Whose extension.
        experimenter: u32,
        /// The code.
        code: u16,
    },
    /// An error of an extension in the form of OpenFlow 1.0 and 1.1. Open
    /// vSwitch 3.1 refuses flow monitors in this form in all versions.
    Vendor {
        /// Whose extension.
        vendor: u32,
        /// The type.
        kind: u16,
        /// The code.
        code: u16,
    },
}

impl ErrorCode {
    /// `OFPBRC_BAD_TYPE`: the switch does not know the message.
    pub const BAD_TYPE: Self = Self::Standard { kind: 1, code: 1 };
    /// `OFPHFC_INCOMPATIBLE`: no version in common.
    pub const INCOMPATIBLE: Self = Self::Standard { kind: 0, code: 0 };

    /// The name of the error in Open vSwitch, such as `OFPFMFC_TABLE_FULL`.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Standard { kind, code } => standard(kind, code),
            Self::Experimenter { experimenter, code } => extension(experimenter, code),
            Self::Vendor { vendor, kind, code } => vendor_error(vendor, kind, code),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self) {
            (Some(name), _) => f.write_str(name),
            (None, Self::Standard { kind, code }) => write!(f, "error {kind},{code}"),
            (None, Self::Experimenter { experimenter, code }) => {
                write!(f, "error {code} of experimenter {experimenter:#x}")
            }
            (None, Self::Vendor { vendor, kind, code }) => {
                write!(f, "error {kind},{code} of vendor {vendor:#x}")
            }
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the peer says of a message that it could not obey.
#[derive(Clone, PartialEq, Eq)]
pub struct ErrorMessage {
    /// Why.
    pub code: ErrorCode,
    /// The beginning of the message that failed, 64 bytes of it or more; for
    /// `OFPHFC_INCOMPATIBLE`, a text.
    pub data: Vec<u8>,
}

impl ErrorMessage {
    /// The header of the message that failed.
    ///
    /// Its length may be greater than what [`data`](Self::data) has.
    pub fn offender(&self) -> Option<Header> {
        match self.code {
            ErrorCode::Standard { kind: 0, .. } => None,
            _ => Header::read(&self.data),
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_error_msg");
        let kind = r.u16()?;
        let code = r.u16()?;
        let code = match (kind, code) {
            (OFPET_EXPERIMENTER, code) => ErrorCode::Experimenter {
                experimenter: r.u32()?,
                code,
            },
            (NXET_VENDOR, NXVC_VENDOR_ERROR) => ErrorCode::Vendor {
                vendor: r.u32()?,
                kind: r.u16()?,
                code: r.u16()?,
            },
            _ => ErrorCode::Standard { kind, code },
        };
        let data = r.take_rest().to_vec();
        Ok(Self { code, data })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self.code {
            ErrorCode::Standard { kind, code } => {
                out.u16(kind);
                out.u16(code);
            }
            ErrorCode::Experimenter { experimenter, code } => {
                out.u16(OFPET_EXPERIMENTER);
                out.u16(code);
                out.u32(experimenter);
            }
            ErrorCode::Vendor { vendor, kind, code } => {
                out.u16(NXET_VENDOR);
                out.u16(NXVC_VENDOR_ERROR);
                out.u32(vendor);
                out.u16(kind);
                out.u16(code);
            }
        }
        out.bytes(&self.data);
    }
}

impl fmt::Display for ErrorMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        match self.offender() {
            Some(header) => write!(f, " for {} {}", header.message_type, header.xid),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ErrorMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The names of the codes of OpenFlow, as Open vSwitch prints them.
const fn standard(kind: u16, code: u16) -> Option<&'static str> {
    Some(match (kind, code) {
        (0, 0) => "OFPHFC_INCOMPATIBLE",
        (0, 1) => "OFPHFC_EPERM",
        (1, 0) => "OFPBRC_BAD_VERSION",
        (1, 1) => "OFPBRC_BAD_TYPE",
        (1, 2) => "OFPBRC_BAD_STAT",
        (1, 3) => "OFPBRC_BAD_VENDOR",
        (1, 4) => "OFPBRC_BAD_SUBTYPE",
        (1, 5) => "OFPBRC_EPERM",
        (1, 6) => "OFPBRC_BAD_LEN",
        (1, 7) => "OFPBRC_BUFFER_EMPTY",
        (1, 8) => "OFPBRC_BUFFER_UNKNOWN",
        (1, 9) => "OFPBRC_BAD_TABLE_ID",
        (1, 10) => "OFPBRC_IS_SECONDARY",
        (1, 11) => "OFPBRC_BAD_PORT",
        (1, 12) => "OFPBRC_BAD_PACKET",
        (1, 13) => "OFPBRC_MULTIPART_BUFFER_OVERFLOW",
        (1, 14) => "OFPBRC_MULTIPART_REQUEST_TIMEOUT",
        (1, 15) => "OFPBRC_MULTIPART_REPLY_TIMEOUT",
        (2, 0) => "OFPBAC_BAD_TYPE",
        (2, 1) => "OFPBAC_BAD_LEN",
        (2, 2) => "OFPBAC_BAD_VENDOR",
        (2, 3) => "OFPBAC_BAD_VENDOR_TYPE",
        (2, 4) => "OFPBAC_BAD_OUT_PORT",
        (2, 5) => "OFPBAC_BAD_ARGUMENT",
        (2, 6) => "OFPBAC_EPERM",
        (2, 7) => "OFPBAC_TOO_MANY",
        (2, 8) => "OFPBAC_BAD_QUEUE",
        (2, 9) => "OFPBAC_BAD_OUT_GROUP",
        (2, 10) => "OFPBAC_MATCH_INCONSISTENT",
        (2, 11) => "OFPBAC_UNSUPPORTED_ORDER",
        (2, 12) => "OFPBAC_BAD_TAG",
        (2, 13) => "OFPBAC_BAD_SET_TYPE",
        (2, 14) => "OFPBAC_BAD_SET_LEN",
        (2, 15) => "OFPBAC_BAD_SET_ARGUMENT",
        (3, 0) => "OFPBIC_UNKNOWN_INST",
        (3, 1) => "OFPBIC_UNSUP_INST",
        (3, 2) => "OFPBIC_BAD_TABLE_ID",
        (3, 3) => "OFPBIC_UNSUP_METADATA",
        (3, 4) => "OFPBIC_UNSUP_METADATA_MASK",
        (3, 5) => "OFPBIC_BAD_EXPERIMENTER",
        (3, 6) => "OFPBIC_BAD_EXP_TYPE",
        (3, 7) => "OFPBIC_BAD_LEN",
        (3, 8) => "OFPBIC_EPERM",
        (3, 9) => "OFPBIC_DUP_INST",
        (4, 0) => "OFPBMC_BAD_TYPE",
        (4, 1) => "OFPBMC_BAD_LEN",
        (4, 2) => "OFPBMC_BAD_TAG",
        (4, 3) => "OFPBMC_BAD_DL_ADDR_MASK",
        (4, 4) => "OFPBMC_BAD_NW_ADDR_MASK",
        (4, 5) => "OFPBMC_BAD_WILDCARDS",
        (4, 6) => "OFPBMC_BAD_FIELD",
        (4, 7) => "OFPBMC_BAD_VALUE",
        (4, 8) => "OFPBMC_BAD_MASK",
        (4, 9) => "OFPBMC_BAD_PREREQ",
        (4, 10) => "OFPBMC_DUP_FIELD",
        (4, 11) => "OFPBMC_EPERM",
        (5, 0) => "OFPFMFC_UNKNOWN",
        (5, 1) => "OFPFMFC_TABLE_FULL",
        (5, 2) => "OFPFMFC_BAD_TABLE_ID",
        (5, 3) => "OFPFMFC_OVERLAP",
        (5, 4) => "OFPFMFC_EPERM",
        (5, 5) => "OFPFMFC_BAD_TIMEOUT",
        (5, 6) => "OFPFMFC_BAD_COMMAND",
        (5, 7) => "OFPFMFC_BAD_FLAGS",
        (5, 8) => "OFPFMFC_CANT_SYNC",
        (5, 9) => "OFPFMFC_BAD_PRIORITY",
        (5, 10) => "OFPFMFC_IS_SYNC",
        (6, 0) => "OFPGMFC_GROUP_EXISTS",
        (6, 1) => "OFPGMFC_INVALID_GROUP",
        (6, 2) => "OFPGMFC_WEIGHT_UNSUPPORTED",
        (6, 3) => "OFPGMFC_OUT_OF_GROUPS",
        (6, 4) => "OFPGMFC_OUT_OF_BUCKETS",
        (6, 5) => "OFPGMFC_CHAINING_UNSUPPORTED",
        (6, 6) => "OFPGMFC_WATCH_UNSUPPORTED",
        (6, 7) => "OFPGMFC_LOOP",
        (6, 8) => "OFPGMFC_UNKNOWN_GROUP",
        (6, 9) => "OFPGMFC_CHAINED_GROUP",
        (6, 10) => "OFPGMFC_BAD_TYPE",
        (6, 11) => "OFPGMFC_BAD_COMMAND",
        (6, 12) => "OFPGMFC_BAD_BUCKET",
        (6, 13) => "OFPGMFC_BAD_WATCH",
        (6, 14) => "OFPGMFC_EPERM",
        (7, 0) => "OFPPMFC_BAD_PORT",
        (7, 1) => "OFPPMFC_BAD_HW_ADDR",
        (7, 2) => "OFPPMFC_BAD_CONFIG",
        (7, 3) => "OFPPMFC_BAD_ADVERTISE",
        (7, 4) => "OFPPMFC_EPERM",
        (8, 0) => "OFPTMFC_BAD_TABLE",
        (8, 1) => "OFPTMFC_BAD_CONFIG",
        (8, 2) => "OFPTMFC_EPERM",
        (9, 0) => "OFPQOFC_BAD_PORT",
        (9, 1) => "OFPQOFC_BAD_QUEUE",
        (9, 2) => "OFPQOFC_EPERM",
        (10, 0) => "OFPSCFC_BAD_FLAGS",
        (10, 1) => "OFPSCFC_BAD_LEN",
        (10, 2) => "OFPSCFC_EPERM",
        (11, 0) => "OFPRRFC_STALE",
        (11, 1) => "OFPRRFC_UNSUP",
        (11, 2) => "OFPRRFC_BAD_ROLE",
        (12, 0) => "OFPMMFC_UNKNOWN",
        (12, 1) => "OFPMMFC_METER_EXISTS",
        (12, 2) => "OFPMMFC_INVALID_METER",
        (12, 3) => "OFPMMFC_UNKNOWN_METER",
        (12, 4) => "OFPMMFC_BAD_COMMAND",
        (12, 5) => "OFPMMFC_BAD_FLAGS",
        (12, 6) => "OFPMMFC_BAD_RATE",
        (12, 7) => "OFPMMFC_BAD_BURST",
        (12, 8) => "OFPMMFC_BAD_BAND",
        (12, 9) => "OFPMMFC_BAD_BAND_VALUE",
        (12, 10) => "OFPMMFC_OUT_OF_METERS",
        (12, 11) => "OFPMMFC_OUT_OF_BANDS",
        (13, 0) => "OFPTFFC_BAD_TABLE",
        (13, 1) => "OFPTFFC_BAD_METADATA",
        (13, 2) | (14, 0) => "OFPBPC_BAD_TYPE",
        (13, 3) | (14, 1) => "OFPBPC_BAD_LEN",
        (13, 4) | (14, 2) => "OFPBPC_BAD_VALUE",
        (13, 5) => "OFPTFFC_EPERM",
        (14, 3) => "OFPBPC_TOO_MANY",
        (14, 4) => "OFPBPC_DUP_TYPE",
        (14, 5) => "OFPBPC_BAD_EXPERIMENTER",
        (14, 6) => "OFPBPC_BAD_EXP_TYPE",
        (14, 7) => "OFPBPC_BAD_EXP_VALUE",
        (14, 8) => "OFPBPC_EPERM",
        (15, 0) => "OFPACFC_INVALID",
        (15, 1) => "OFPACFC_UNSUPPORTED",
        (15, 2) => "OFPACFC_EPERM",
        (16, 0) => "OFPMOFC_UNKNOWN",
        (16, 1) => "OFPMOFC_MONITOR_EXISTS",
        (16, 2) => "OFPMOFC_INVALID_MONITOR",
        (16, 3) => "OFPMOFC_UNKNOWN_MONITOR",
        (16, 4) => "OFPMOFC_BAD_COMMAND",
        (16, 5) => "OFPMOFC_BAD_FLAGS",
        (16, 6) => "OFPMOFC_BAD_TABLE_ID",
        (16, 7) => "OFPMOFC_BAD_OUT",
        (17, 0) => "OFPBFC_UNKNOWN",
        (17, 1) => "OFPBFC_EPERM",
        (17, 2) => "OFPBFC_BAD_ID",
        (17, 3) => "OFPBFC_BUNDLE_EXIST",
        (17, 4) => "OFPBFC_BUNDLE_CLOSED",
        (17, 5) => "OFPBFC_OUT_OF_BUNDLES",
        (17, 6) => "OFPBFC_BAD_TYPE",
        (17, 7) => "OFPBFC_BAD_FLAGS",
        (17, 8) => "OFPBFC_MSG_BAD_LEN",
        (17, 9) => "OFPBFC_MSG_BAD_XID",
        (17, 10) => "OFPBFC_MSG_UNSUP",
        (17, 11) => "OFPBFC_MSG_CONFLICT",
        (17, 12) => "OFPBFC_MSG_TOO_MANY",
        (17, 13) => "OFPBFC_MSG_FAILED",
        (17, 14) => "OFPBFC_TIMEOUT",
        (17, 15) => "OFPBFC_BUNDLE_IN_PROGRESS",
        _ => return None,
    })
}

/// The names of the codes of extensions.
const fn extension(id: u32, code: u16) -> Option<&'static str> {
    Some(match (id, code) {
        (NICIRA, 2) => "NXBRC_NXM_INVALID",
        (NICIRA, 3) => "NXBRC_NXM_BAD_TYPE",
        (NICIRA, 4) => "NXBRC_MUST_BE_ZERO",
        (NICIRA, 5) => "NXBRC_BAD_REASON",
        (NICIRA, 6) => "OFPMOFC_MONITOR_EXISTS",
        (NICIRA, 7) => "OFPMOFC_BAD_FLAGS",
        (NICIRA, 8) => "OFPMOFC_UNKNOWN_MONITOR",
        (NICIRA, 9) => "NXBRC_FM_BAD_EVENT",
        (NICIRA, 10) => "NXBRC_UNENCODABLE_ERROR",
        (NICIRA, 11) => "NXBAC_MUST_BE_ZERO",
        (NICIRA, 12) => "NXFMFC_HARDWARE",
        (NICIRA, 13) => "NXFMFC_BAD_TABLE_ID",
        (NICIRA, 15) => "NXBAC_BAD_CONJUNCTION",
        (NICIRA, 16) => "NXTTMFC_BAD_COMMAND",
        (NICIRA, 17) => "NXTTMFC_BAD_OPT_LEN",
        (NICIRA, 18) => "NXTTMFC_BAD_FIELD_IDX",
        (NICIRA, 19) => "NXTTMFC_TABLE_FULL",
        (NICIRA, 20) => "NXTTMFC_ALREADY_MAPPED",
        (NICIRA, 21) => "NXTTMFC_DUP_ENTRY",
        (NICIRA, 22) => "OFPBFC_BAD_VERSION",
        (NICIRA, 23) => "NXQOFC_QUEUE_ERROR",
        (NICIRA, 34) => "NXR_NOT_SUPPORTED",
        (NICIRA, 35) => "NXR_STALE",
        (NICIRA, 36) => "NXST_NOT_CONFIGURED",
        (NICIRA, 37) => "NXFMFC_INVALID_TLV_FIELD",
        (NICIRA, 38) => "NXTTMFC_INVALID_TLV_DEL",
        (NICIRA, 39) => "NXBAC_BAD_HEADER_TYPE",
        (NICIRA, 40) => "NXBAC_UNKNOWN_ED_PROP",
        (NICIRA, 41) => "NXBAC_BAD_ED_PROP",
        (NICIRA, 42) => "NXBAC_CT_DATAPATH_SUPPORT",
        (NICIRA, 43) => "NXBMC_CT_DATAPATH_SUPPORT",
        (NICIRA, 44) => "NXTFFC_DUP_TABLE",
        (ONF, 2300) => "OFPBFC_UNKNOWN",
        (ONF, 2301) => "OFPBFC_EPERM",
        (ONF, 2302) => "OFPBFC_BAD_ID",
        (ONF, 2303) => "OFPBFC_BUNDLE_EXIST",
        (ONF, 2304) => "OFPBFC_BUNDLE_CLOSED",
        (ONF, 2305) => "OFPBFC_OUT_OF_BUNDLES",
        (ONF, 2306) => "OFPBFC_BAD_TYPE",
        (ONF, 2307) => "OFPBFC_BAD_FLAGS",
        (ONF, 2308) => "OFPBFC_MSG_BAD_LEN",
        (ONF, 2309) => "OFPBFC_MSG_BAD_XID",
        (ONF, 2310) => "OFPBFC_MSG_UNSUP",
        (ONF, 2311) => "OFPBFC_MSG_CONFLICT",
        (ONF, 2312) => "OFPBFC_MSG_TOO_MANY",
        (ONF, 2313) => "OFPBFC_MSG_FAILED",
        (ONF, 2314) => "OFPBFC_TIMEOUT",
        (ONF, 2315) => "OFPBFC_BUNDLE_IN_PROGRESS",
        (ONF, 2360) => "OFPFMFC_BAD_PRIORITY",
        (ONF, 2370) => "OFPACFC_INVALID",
        (ONF, 2371) => "OFPACFC_UNSUPPORTED",
        (ONF, 2372) => "OFPACFC_EPERM",
        (ONF, 2600) => "OFPBIC_DUP_INST",
        (ONF, 2640) => "OFPBRC_MULTIPART_REQUEST_TIMEOUT",
        (ONF, 2641) => "OFPBRC_MULTIPART_REPLY_TIMEOUT",
        (ONF, 4250) => "OFPBAC_BAD_SET_MASK",
        (ONF, 4443) => "OFPBPC_TOO_MANY",
        (ONF, 4444) => "OFPBPC_DUP_TYPE",
        (ONF, 4445) => "OFPBPC_BAD_EXPERIMENTER",
        (ONF, 4446) => "OFPBPC_BAD_EXP_TYPE",
        (ONF, 4447) => "OFPBPC_BAD_EXP_VALUE",
        (ONF, 4448) => "OFPBPC_EPERM",
        _ => return None,
    })
}

/// The names of what a flow monitor can be refused for in this form.
const fn vendor_error(vendor: u32, kind: u16, code: u16) -> Option<&'static str> {
    Some(match (vendor, kind, code) {
        (NICIRA, 1, 512) => "OFPBRC_BAD_TABLE_ID",
        (NICIRA, 1, 514) => "OFPBRC_BAD_PORT",
        (NICIRA, 1, 517) => "OFPMOFC_MONITOR_EXISTS",
        (NICIRA, 1, 518) => "OFPMOFC_BAD_FLAGS",
        (NICIRA, 1, 519) => "OFPMOFC_UNKNOWN_MONITOR",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::MessageType;

    #[test]
    fn errors_have_the_names_of_open_vswitch() {
        let standard = |kind, code| ErrorCode::Standard { kind, code }.to_string();
        assert_eq!(standard(0, 0), "OFPHFC_INCOMPATIBLE");
        assert_eq!(standard(5, 1), "OFPFMFC_TABLE_FULL");
        assert_eq!(standard(12, 3), "OFPMMFC_UNKNOWN_METER");
        assert_eq!(standard(17, 13), "OFPBFC_MSG_FAILED");
        assert_eq!(standard(17, 99), "error 17,99");
        let extension = |experimenter, code| ErrorCode::Experimenter { experimenter, code };
        assert_eq!(extension(ONF, 2313).to_string(), "OFPBFC_MSG_FAILED");
        assert_eq!(extension(NICIRA, 4).to_string(), "NXBRC_MUST_BE_ZERO");
        let vendor = ErrorCode::Vendor {
            vendor: NICIRA,
            kind: 1,
            code: 518,
        };
        assert_eq!(vendor.to_string(), "OFPMOFC_BAD_FLAGS");
        let unknown = extension(1, 2).to_string();
        assert_eq!(unknown, "error 2 of experimenter 0x1");
    }

    #[test]
    fn an_error_names_the_message_that_failed() {
        let mut error = ErrorMessage {
            code: ErrorCode::BAD_TYPE,
            data: vec![4, 14, 0, 56, 0, 0, 0, 7],
        };
        let offender = error.offender().unwrap();
        assert_eq!(offender.message_type, MessageType::FLOW_MOD);
        assert_eq!(error.to_string(), "OFPBRC_BAD_TYPE for FLOW_MOD 0x7");
        error.code = ErrorCode::INCOMPATIBLE;
        assert_eq!(error.offender(), None);
    }
}
