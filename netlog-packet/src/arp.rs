//! Address Resolution Protocol for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use crate::MacAddr;
use crate::layer::Layer;
use crate::text::Sink;
use crate::wire::Reader;

/// An ARP message with addresses of 6 and 4 bytes, whatever its length fields
/// say: 28 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Hardware type; 1 is Ethernet.
    pub hwtype: u16,
    /// Protocol type, an EtherType.
    pub proto: u16,
    /// Hardware address length.
    pub hlen: u8,
    /// Protocol address length.
    pub plen: u8,
    /// 1 is a request, 2 a reply.
    pub opcode: u16,
    /// Sender hardware address.
    pub src_mac: MacAddr,
    /// Sender protocol address.
    pub src_ip: Ipv4Addr,
    /// Target hardware address.
    pub dst_mac: MacAddr,
    /// Target protocol address.
    pub dst_ip: Ipv4Addr,
}

impl Arp {
    const LEN: usize = 28;

    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, Layer, &[u8])> {
        let (header, rest) = bytes.split_at_checked(Self::LEN)?;
        let mut r = Reader::new(header);
        let header = Self {
            hwtype: r.u16()?,
            proto: r.u16()?,
            hlen: r.u8()?,
            plen: r.u8()?,
            opcode: r.u16()?,
            src_mac: MacAddr(r.array()?),
            src_ip: r.array::<4>()?.into(),
            dst_mac: MacAddr(r.array()?),
            dst_ip: r.array::<4>()?.into(),
        };
        Some((header, Layer::None, rest))
    }

    pub(crate) fn write(&self, to: &mut impl Sink) {
        to.ipv4("arp(dst_ip=", self.dst_ip);
        to.mac(",dst_mac=", self.dst_mac);
        to.octet(",hlen=", self.hlen);
        to.num(",hwtype=", self.hwtype);
        to.num(",opcode=", self.opcode);
        to.octet(",plen=", self.plen);
        to.num(",proto=", self.proto);
        to.ipv4(",src_ip=", self.src_ip);
        to.mac(",src_mac=", self.src_mac);
        to.put(")");
    }
}
