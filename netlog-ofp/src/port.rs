//! Ports: their numbers, descriptions and status (OpenFlow 1.3.5, 7.2.1 and
//! 7.4.3; OpenFlow 1.4.1, 7.2.1).

use std::fmt;

use crate::{
    codec::{Put, Reader, Result},
    header::Version,
    wire_enum::{wire_enum, wire_flags},
};

wire_enum! {
    /// A port number (`OFPP_*`).
    #[derive(Default)]
    pub struct PortNo(u32) {
        /// The port the packet came from.
        IN_PORT = 0xffff_fff8,
        /// The flow tables, for packet-outs.
        TABLE = 0xffff_fff9,
        /// The switch's own forwarding.
        NORMAL = 0xffff_fffa,
        /// Every port but those blocked and the input port.
        FLOOD = 0xffff_fffb,
        /// Every port but the input port.
        ALL = 0xffff_fffc,
        /// The controllers.
        CONTROLLER = 0xffff_fffd,
        /// The switch's own port.
        LOCAL = 0xffff_fffe,
        /// No port, or any: a wildcard in requests.
        ANY = 0xffff_ffff,
    }
}

impl PortNo {
    /// Widens a 16-bit number of OpenFlow 1.0, as NXM fields and Nicira
    /// actions use it: `0xff00` and above are the reserved ports.
    pub const fn from_u16(port: u16) -> Self {
        if port < 0xff00 {
            Self(port as u32)
        } else {
            Self(port as u32 | 0xffff_0000)
        }
    }

    /// Narrows to a 16-bit number of OpenFlow 1.0; a port that has none
    /// becomes `OFPP_NONE`.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both arms keep the low half"
    )]
    pub const fn to_u16(self) -> u16 {
        match self.0 {
            0..0xff00 | 0xffff_ff00.. => self.0 as u16,
            _ => 0xffff,
        }
    }
}

wire_flags! {
    /// How a port is configured (`OFPPC_*`).
    pub struct PortConfig(u32) {
        /// Administratively down.
        PORT_DOWN = 1,
        /// Packets it receives are dropped.
        NO_RECV = 1 << 2,
        /// Packets for it are dropped.
        NO_FWD = 1 << 5,
        /// Gives no packet-ins.
        NO_PACKET_IN = 1 << 6,
    }
}

wire_flags! {
    /// The state of a port (`OFPPS_*`).
    pub struct PortState(u32) {
        /// No link.
        LINK_DOWN = 1,
        /// Blocked.
        BLOCKED = 1 << 1,
        /// Live, for fast-failover groups.
        LIVE = 1 << 2,
    }
}

/// A port (`ofp_port`), without the features of its medium.
#[derive(Clone, PartialEq, Eq)]
pub struct Port {
    /// The number of the port (`ofport`).
    pub port_no: PortNo,
    /// Its Ethernet address.
    pub hw_addr: [u8; 6],
    /// Its name, padded with zeros; see [`name`](Self::name).
    pub raw_name: [u8; 16],
    /// How it is configured.
    pub config: PortConfig,
    /// Its state.
    pub state: PortState,
    /// What the medium can do, as on the wire: the six words of
    /// OpenFlow 1.3, or the properties of 1.4.
    pub features: Vec<u8>,
}

impl Port {
    /// The name of the port; what is not UTF-8 is replaced.
    pub fn name(&self) -> std::borrow::Cow<'_, str> {
        let name = self.raw_name.split(|&byte| byte == 0).next();
        String::from_utf8_lossy(name.unwrap_or_default())
    }

    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_port");
        let port_no = PortNo(r.u32()?);
        let mut port = if version >= Version::V1_4 {
            let length = r.u16()?;
            let mut port = r.body("ofp_port", length, 6)?;
            port.skip(2)?;
            port
        } else {
            let mut port = r.sub("ofp_port", 60)?;
            port.skip(4)?;
            port
        };
        let hw_addr = port.take_array()?;
        port.skip(2)?;
        Ok(Self {
            port_no,
            hw_addr,
            raw_name: port.take_array()?,
            config: PortConfig(port.u32()?),
            state: PortState(port.u32()?),
            features: port.take_rest().to_vec(),
        })
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let start = out.position();
        out.u32(self.port_no.0);
        out.zeros(4);
        out.bytes(&self.hw_addr);
        out.zeros(2);
        out.bytes(&self.raw_name);
        out.u32(self.config.0);
        out.u32(self.state.0);
        out.bytes(&self.features);
        if version >= Version::V1_4 {
            out.set_length(start + 4, start);
        } else {
            // The features of 1.3 are always six words.
            out.resize(start + 64, 0);
        }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("port_no", &self.port_no)
            .field("name", &self.name())
            .field("config", &self.config)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

wire_enum! {
    /// What happened to a port (`OFPPR_*`).
    pub struct PortReason(u8) {
        /// It was added.
        ADD = 0,
        /// It was removed.
        DELETE = 1,
        /// Something about it changed.
        MODIFY = 2,
    }
}

/// A port came, went or changed (`OFPT_PORT_STATUS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStatus {
    /// What happened.
    pub reason: PortReason,
    /// The port.
    pub port: Port,
}

impl PortStatus {
    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_port_status");
        let reason = PortReason(r.u8()?);
        r.skip(7)?;
        Ok(Self {
            reason,
            port: Port::decode(r, version)?,
        })
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        out.u8(self.reason.0);
        out.zeros(7);
        self.port.encode(version, out);
    }
}
