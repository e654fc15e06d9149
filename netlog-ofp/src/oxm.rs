//! Match fields as type, length and value: OXM (OpenFlow 1.3.5, 7.2.3
//! "Flow Match Structures") and its ancestor NXM, which share one layout.
//!
//! ```text
//!  0               16      23 24      32
//! +----------------+-------+-+--------+------------------+
//! | class          | field |M| length | value [and mask] |
//! +----------------+-------+-+--------+------------------+
//! ```

use std::{fmt, net::Ipv4Addr};

use crate::{
    codec::{Problem, Put, Reader, Result},
    port::PortNo,
    wire_enum::wire_enum,
};

/// Field `number` of OpenFlow itself (`OFPXMC_OPENFLOW_BASIC`).
const fn openflow(number: u8) -> u32 {
    0x8000 << 7 | number as u32
}

/// Field `number` of Nicira (`NXM_NX_*`).
const fn nicira(number: u8) -> u32 {
    1 << 7 | number as u32
}

/// The class whose values begin with an experimenter id.
const EXPERIMENTER_CLASS: u32 = 0xffff;

wire_enum! {
    /// Which field: the class and the number within it, the upper 23 bits of
    /// the header.
    pub struct Field(u32) {
        /// Input port, 32 bits (`OXM_OF_IN_PORT`).
        IN_PORT = openflow(0),
        /// Table metadata, 64 bits (`OXM_OF_METADATA`).
        METADATA = openflow(2),
        /// Ethernet destination (`OXM_OF_ETH_DST`).
        ETH_DST = openflow(3),
        /// Ethernet source (`OXM_OF_ETH_SRC`).
        ETH_SRC = openflow(4),
        /// Ethernet type, 16 bits (`OXM_OF_ETH_TYPE`).
        ETH_TYPE = openflow(5),
        /// VLAN id with the "present" bit, 16 bits (`OXM_OF_VLAN_VID`).
        VLAN_VID = openflow(6),
        /// IP protocol, 8 bits (`OXM_OF_IP_PROTO`).
        IP_PROTO = openflow(10),
        /// IPv4 source (`OXM_OF_IPV4_SRC`).
        IPV4_SRC = openflow(11),
        /// IPv4 destination (`OXM_OF_IPV4_DST`).
        IPV4_DST = openflow(12),
        /// TCP source port (`OXM_OF_TCP_SRC`).
        TCP_SRC = openflow(13),
        /// TCP destination port (`OXM_OF_TCP_DST`).
        TCP_DST = openflow(14),
        /// UDP source port (`OXM_OF_UDP_SRC`).
        UDP_SRC = openflow(15),
        /// UDP destination port (`OXM_OF_UDP_DST`).
        UDP_DST = openflow(16),
        /// IPv6 source (`OXM_OF_IPV6_SRC`).
        IPV6_SRC = openflow(26),
        /// IPv6 destination (`OXM_OF_IPV6_DST`).
        IPV6_DST = openflow(27),
        /// Tunnel id, 64 bits (`OXM_OF_TUNNEL_ID`).
        TUNNEL_ID = openflow(38),
        /// Input port, 16 bits (`NXM_OF_IN_PORT`).
        NXM_IN_PORT = 0,
        /// Register 0; see [`Field::reg`] (`NXM_NX_REG0`).
        REG0 = nicira(0),
        /// Register 5 (`NXM_NX_REG5`).
        REG5 = nicira(5),
        /// Register 6 (`NXM_NX_REG6`).
        REG6 = nicira(6),
        /// Register 7 (`NXM_NX_REG7`).
        REG7 = nicira(7),
        /// Connection state, 32 bits (`NXM_NX_CT_STATE`).
        CT_STATE = nicira(105),
        /// Connection tracking zone, 16 bits (`NXM_NX_CT_ZONE`).
        CT_ZONE = nicira(106),
        /// Connection mark, 32 bits (`NXM_NX_CT_MARK`).
        CT_MARK = nicira(107),
        /// Connection label, 128 bits (`NXM_NX_CT_LABEL`).
        CT_LABEL = nicira(108),
        /// Protocol of the connection's original direction
        /// (`NXM_NX_CT_NW_PROTO`).
        CT_NW_PROTO = nicira(119),
        /// IPv4 source of the original direction (`NXM_NX_CT_NW_SRC`).
        CT_NW_SRC = nicira(120),
        /// IPv4 destination of the original direction (`NXM_NX_CT_NW_DST`).
        CT_NW_DST = nicira(121),
        /// IPv6 source of the original direction (`NXM_NX_CT_IPV6_SRC`).
        CT_IPV6_SRC = nicira(122),
        /// IPv6 destination of the original direction
        /// (`NXM_NX_CT_IPV6_DST`).
        CT_IPV6_DST = nicira(123),
        /// Source port of the original direction (`NXM_NX_CT_TP_SRC`).
        CT_TP_SRC = nicira(124),
        /// Destination port of the original direction (`NXM_NX_CT_TP_DST`).
        CT_TP_DST = nicira(125),
    }
}

impl Field {
    /// Register `number`, which is below 16.
    ///
    /// Open vSwitch has more registers since 3.7, in another class: the number
    /// is taken modulo 16.
    pub const fn reg(number: u8) -> Self {
        Self(nicira(number % 16))
    }

    /// The class, the upper 16 bits of the header.
    pub const fn class(self) -> u32 {
        self.0 >> 7
    }
}

/// One field as it stands in a buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawOxm<'a> {
    field: Field,
    has_mask: bool,
    payload: &'a [u8],
}

impl<'a> RawOxm<'a> {
    /// Which field.
    pub const fn field(self) -> Field {
        self.field
    }

    /// The value, big-endian.
    pub fn value(self) -> &'a [u8] {
        self.halves().0
    }

    /// The mask, when the field has one: a 1 bit is significant.
    pub fn mask(self) -> Option<&'a [u8]> {
        self.has_mask.then_some(self.halves().1)
    }

    fn halves(self) -> (&'a [u8], &'a [u8]) {
        let id = if self.field.class() == EXPERIMENTER_CLASS {
            4
        } else {
            0
        };
        let bytes = self.payload.get(id..).unwrap_or_default();
        let value = if self.has_mask {
            bytes.len() / 2
        } else {
            bytes.len()
        };
        bytes.split_at(value)
    }

    /// Cuts the first field off `bytes`.
    #[inline]
    pub(crate) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&header, rest) = bytes.split_first_chunk()?;
        let header = u32::from_be_bytes(header);
        let (payload, rest) = rest.split_at_checked((header & 0xff) as usize)?;
        let oxm = Self {
            field: Field(header >> 9),
            has_mask: header & 0x100 != 0,
            payload,
        };
        Some((oxm, rest))
    }

    /// The first `N` bytes of the value.
    #[inline]
    pub(crate) fn array<const N: usize>(self) -> Option<[u8; N]> {
        self.payload.first_chunk().copied()
    }
}

impl fmt::Debug for RawOxm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}=", self.field)?;
        hex(f, self.value())?;
        match self.mask() {
            Some(mask) => {
                f.write_str("/")?;
                hex(f, mask)
            }
            None => Ok(()),
        }
    }
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    f.write_str("0x")?;
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// The fields in a buffer, one after the other, without copying.
///
/// Ends at the first one that is not complete.
#[derive(Debug, Clone)]
pub struct RawOxms<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for RawOxms<'a> {
    type Item = RawOxm<'a>;

    fn next(&mut self) -> Option<RawOxm<'a>> {
        let (oxm, rest) = RawOxm::split(self.0)?;
        self.0 = rest;
        Some(oxm)
    }
}

/// One field with its value and perhaps a mask.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Oxm {
    field: Field,
    has_mask: bool,
    payload: Vec<u8>,
}

impl Oxm {
    /// A field that must have this value, big-endian.
    pub fn new<const N: usize>(field: Field, value: [u8; N]) -> Self {
        const { assert!(N <= 255, "a field has at most 255 bytes") };
        Self {
            field,
            has_mask: false,
            payload: value.to_vec(),
        }
    }

    /// A field whose value matters where `mask` has 1 bits, big-endian.
    pub fn masked<const N: usize>(field: Field, value: [u8; N], mask: [u8; N]) -> Self {
        const { assert!(N <= 127, "value and mask have at most 255 bytes") };
        Self {
            field,
            has_mask: true,
            payload: [value, mask].concat(),
        }
    }

    /// Which field.
    pub const fn field(&self) -> Field {
        self.field
    }

    /// The value, big-endian.
    pub fn value(&self) -> &[u8] {
        self.as_raw().value()
    }

    /// The mask, when the field has one.
    pub fn mask(&self) -> Option<&[u8]> {
        self.as_raw().mask()
    }

    fn as_raw(&self) -> RawOxm<'_> {
        RawOxm {
            field: self.field,
            has_mask: self.has_mask,
            payload: &self.payload,
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("oxm");
        let header = r.u32()?;
        Ok(Self {
            field: Field(header >> 9),
            has_mask: header & 0x100 != 0,
            payload: r.take((header & 0xff) as usize)?.to_vec(),
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        // The payload came from 8-bit length or passed the constructors'
        // checks, so its length fits.
        let length = u32::try_from(self.payload.len()).unwrap_or(0xff) & 0xff;
        out.u32(self.field.0 << 9 | u32::from(self.has_mask) << 8 | length);
        out.bytes(&self.payload);
    }
}

impl fmt::Debug for Oxm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_raw().fmt(f)
    }
}

/// Which packets a flow is for: all fields must match (`ofp_match`).
///
/// Open vSwitch wants the prerequisites of a field before it, such as
/// `eth_type` before `ip_proto`; this is not checked here.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Match(pub Vec<Oxm>);

impl Match {
    /// Matches every packet.
    pub const fn any() -> Self {
        Self(Vec::new())
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, oxm: Oxm) -> Self {
        self.0.push(oxm);
        self
    }

    /// The input port.
    #[must_use]
    pub fn in_port(self, port: PortNo) -> Self {
        self.with(Oxm::new(Field::IN_PORT, port.0.to_be_bytes()))
    }

    /// Register `number`, below 16.
    #[must_use]
    pub fn reg(self, number: u8, value: u32) -> Self {
        self.with(Oxm::new(Field::reg(number), value.to_be_bytes()))
    }

    /// The bits of register `number` that are set in `mask`.
    #[must_use]
    pub fn reg_masked(self, number: u8, value: u32, mask: u32) -> Self {
        self.with(Oxm::masked(
            Field::reg(number),
            value.to_be_bytes(),
            mask.to_be_bytes(),
        ))
    }

    /// The Ethernet type.
    #[must_use]
    pub fn eth_type(self, eth_type: u16) -> Self {
        self.with(Oxm::new(Field::ETH_TYPE, eth_type.to_be_bytes()))
    }

    /// The IP protocol.
    #[must_use]
    pub fn ip_proto(self, protocol: u8) -> Self {
        self.with(Oxm::new(Field::IP_PROTO, [protocol]))
    }

    /// The IPv4 source address.
    #[must_use]
    pub fn ipv4_src(self, address: Ipv4Addr) -> Self {
        self.with(Oxm::new(Field::IPV4_SRC, address.octets()))
    }

    /// The IPv4 destination address.
    #[must_use]
    pub fn ipv4_dst(self, address: Ipv4Addr) -> Self {
        self.with(Oxm::new(Field::IPV4_DST, address.octets()))
    }

    /// The bits of the connection state that are set in `mask`.
    #[must_use]
    pub fn ct_state(self, state: u32, mask: u32) -> Self {
        self.with(Oxm::masked(
            Field::CT_STATE,
            state.to_be_bytes(),
            mask.to_be_bytes(),
        ))
    }

    /// What the match says about `field`.
    pub fn get(&self, field: Field) -> Option<&Oxm> {
        self.0.iter().find(|oxm| oxm.field == field)
    }

    /// The 32-bit value that `field` must have, when it has no mask.
    pub fn get_u32(&self, field: Field) -> Option<u32> {
        let oxm = self.get(field).filter(|oxm| !oxm.has_mask)?;
        Some(u32::from_be_bytes(oxm.value().try_into().ok()?))
    }

    /// Reads an `ofp_match`: type, length, fields and padding.
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_match");
        let kind = r.u16()?;
        if kind != OFPMT_OXM {
            return Err(r.error(Problem::Unsupported(kind.into())));
        }
        let length = r.u16()?;
        let mut fields = r.body("ofp_match", length, 4)?;
        r.skip(crate::codec::padding(length.into()))?;
        fields.all(Oxm::decode).map(Self)
    }

    /// Reads `length` bytes of fields and their padding: an `nx_match`, which has no header.
    pub(crate) fn decode_nxm(r: &mut Reader<'_>, length: u16) -> Result<Self> {
        let mut fields = r.sub("nx_match", length.into())?;
        r.skip(crate::codec::padding(length.into()))?;
        fields.all(Oxm::decode).map(Self)
    }

    /// Writes an `ofp_match`: type, length, fields and padding.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.property(OFPMT_OXM, |out| self.encode_fields(out));
    }

    /// The fields as on the wire, without the header of an `ofp_match`: what a
    /// packet-in has as its [`Metadata`](crate::Metadata).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_fields(&mut out);
        out
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        for oxm in &self.0 {
            oxm.encode(out);
        }
    }
}

const OFPMT_OXM: u16 = 1;

impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.0).finish()
    }
}
