//! Internet Control Message Protocol for IPv6 (RFC 4443), with neighbour
//! discovery (RFC 4861) and multicast listener discovery (RFC 2710, RFC 3810).

use std::net::Ipv6Addr;

use crate::MacAddr;
use crate::layer::Layer;
use crate::text::{Comma, Nowhere, Sink};
use crate::wire::Reader;

/// An ICMPv6 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmpv6<'a> {
    /// Type.
    pub type_: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub csum: u16,
    /// All that follows the first four bytes.
    pub body: &'a [u8],
}

/// Message types (IANA "ICMPv6 Type Numbers").
mod kind {
    pub(super) const ECHO_REQUEST: u8 = 128;
    pub(super) const ECHO_REPLY: u8 = 129;
    pub(super) const MLD_LISTENER_QUERY: u8 = 130;
    pub(super) const MLD_LISTENER_REPORT: u8 = 131;
    pub(super) const MLD_LISTENER_DONE: u8 = 132;
    pub(super) const ND_ROUTER_SOLICIT: u8 = 133;
    pub(super) const ND_ROUTER_ADVERT: u8 = 134;
    pub(super) const ND_NEIGHBOR_SOLICIT: u8 = 135;
    pub(super) const ND_NEIGHBOR_ADVERT: u8 = 136;
    pub(super) const MLDV2_LISTENER_REPORT: u8 = 143;
}

impl<'a> Icmpv6<'a> {
    /// The first four bytes alone.
    pub(crate) fn decode_fixed(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let [type_, code] = r.array()?;
        Some(Self {
            type_,
            code,
            csum: r.u16()?,
            body: r.rest(),
        })
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, Layer, &'a [u8])> {
        let header = Self::decode_fixed(bytes)?;
        header.write_data(&mut Nowhere)?;
        Some((header, Layer::None, &[]))
    }

    /// The identifier of an echo request or reply.
    pub fn echo_id(&self) -> Option<u16> {
        matches!(self.type_, kind::ECHO_REPLY | kind::ECHO_REQUEST)
            .then(|| Reader::new(self.body).u16())
            .flatten()
    }

    pub(crate) fn write(&self, to: &mut impl Sink) {
        to.octet("icmpv6(code=", self.code);
        to.num(",csum=", self.csum);
        to.put(",data=");
        self.write_data(to);
        to.octet(",type_=", self.type_);
        to.put(")");
    }

    /// `None` where the message is cut short or contradicts itself.
    fn write_data(&self, to: &mut impl Sink) -> Option<()> {
        let mut r = Reader::new(self.body);
        if self.body.is_empty() {
            to.payload("", self.body);
            return Some(());
        }
        match self.type_ {
            kind::ECHO_REQUEST | kind::ECHO_REPLY => {
                let (id, seq) = (r.u16()?, r.u16()?);
                to.payload_or_none("echo(data=", r.rest());
                to.num(",id=", id);
                to.num(",seq=", seq);
                to.put(")");
            }
            kind::ND_NEIGHBOR_SOLICIT | kind::ND_NEIGHBOR_ADVERT => {
                let flags = r.u32()?;
                to.ipv6("nd_neighbor(dst=", read_ipv6(&mut r)?);
                to.put(",option=");
                write_nd_option(r.rest(), &[nd::SLA, nd::TLA], to)?;
                to.num(",res=", flags >> 29);
                to.put(")");
            }
            kind::ND_ROUTER_SOLICIT => {
                let reserved = r.u32()?;
                to.put("nd_router_solicit(option=");
                write_nd_option(r.rest(), &[nd::SLA], to)?;
                to.num(",res=", reserved);
                to.put(")");
            }
            kind::ND_ROUTER_ADVERT => write_router_advert(r, to)?,
            kind::MLD_LISTENER_QUERY | kind::MLD_LISTENER_REPORT | kind::MLD_LISTENER_DONE => {
                write_mld(r, to)?;
            }
            kind::MLDV2_LISTENER_REPORT => write_mldv2_report(r, to)?,
            _ => to.payload("", self.body),
        }
        Some(())
    }
}

fn read_ipv6(r: &mut Reader<'_>) -> Option<Ipv6Addr> {
    r.array::<16>().map(Ipv6Addr::from)
}

/// Neighbour discovery options (RFC 4861, section 4.6).
mod nd {
    pub(super) const SLA: u8 = 1;
    pub(super) const TLA: u8 = 2;
    pub(super) const PREFIX_INFORMATION: u8 = 3;
    pub(super) const MTU: u8 = 5;
}

/// The option of a solicitation or neighbour advertisement: none, one link-layer
/// address of the `known` kinds and all that follows it, or bytes.
fn write_nd_option(bytes: &[u8], known: &[u8], to: &mut impl Sink) -> Option<()> {
    if bytes.is_empty() {
        to.put("None");
        return Some(());
    }
    let [kind, length] = Reader::new(bytes).array()?;
    if length == 0 {
        return None;
    }
    if known.contains(&kind) {
        write_link_layer_address(bytes, to)
    } else {
        to.bytes("", bytes);
        Some(())
    }
}

fn write_link_layer_address(bytes: &[u8], to: &mut impl Sink) -> Option<()> {
    let mut r = Reader::new(bytes);
    let [kind, length] = r.array()?;
    let address = MacAddr(r.array()?);
    to.put(if kind == nd::SLA {
        "nd_option_sla"
    } else {
        "nd_option_tla"
    });
    to.bytes_or_none("(data=", r.rest());
    to.mac(",hw_src=", address);
    to.octet(",length=", length);
    to.put(")");
    Some(())
}

fn write_router_advert(mut r: Reader<'_>, to: &mut impl Sink) -> Option<()> {
    let [hop_limit, flags] = r.array()?;
    let (lifetime, reachable, retrans) = (r.u16()?, r.u32()?, r.u32()?);
    to.octet("nd_router_advert(ch_l=", hop_limit);
    to.put(",options=[");
    let mut options = r.rest();
    let mut comma = Comma::default();
    while !options.is_empty() {
        comma.before_item(to);
        let len = write_router_advert_option(options, to)?;
        options = options.get(len..)?;
    }
    to.num("],rea_t=", reachable);
    to.octet(",res=", flags >> 6);
    to.num(",ret_t=", retrans);
    to.num(",rou_l=", lifetime);
    to.put(")");
    Some(())
}

/// Writes the first option and returns where the next one starts.
fn write_router_advert_option(bytes: &[u8], to: &mut impl Sink) -> Option<usize> {
    let mut r = Reader::new(bytes);
    let [kind, length] = r.array()?;
    if length == 0 {
        return None;
    }
    match kind {
        nd::SLA => {
            write_link_layer_address(bytes, to)?;
            Some(bytes.len())
        }
        nd::PREFIX_INFORMATION => {
            let [prefix_length, flags] = r.array()?;
            let (valid, preferred, reserved) = (r.u32()?, r.u32()?, r.u32()?);
            let prefix = read_ipv6(&mut r)?;
            to.octet("nd_option_pi(length=", length);
            to.octet(",pl=", prefix_length);
            to.num(",pre_l=", preferred);
            to.ipv6(",prefix=", prefix);
            to.octet(",res1=", flags >> 5);
            to.num(",res2=", reserved);
            to.num(",val_l=", valid);
            to.put(")");
            Some(bytes.len() - r.rest().len())
        }
        // Neutron fails here and writes no record.
        nd::MTU => {
            r.skip(2)?;
            to.num("nd_option_mtu(length=0,mtu=", r.u32()?);
            to.put(")");
            Some(bytes.len() - r.rest().len())
        }
        _ => {
            let len = (usize::from(length) * 8).min(bytes.len());
            to.bytes("", bytes.get(..len)?);
            Some(len)
        }
    }
}

fn write_mld(mut r: Reader<'_>, to: &mut impl Sink) -> Option<()> {
    let maxresp = r.u16()?;
    r.skip(2)?;
    let address = read_ipv6(&mut r)?;
    if r.rest().is_empty() {
        to.ipv6("mld(address=", address);
        to.num(",maxresp=", maxresp);
    } else {
        let [s_qrv, qqic] = r.array()?;
        let num = r.u16()?;
        to.ipv6("mldv2_query(address=", address);
        to.num(",maxresp=", maxresp);
        to.num(",num=", num);
        to.octet(",qqic=", qqic);
        to.octet(",qrv=", s_qrv & 7);
        to.octet(",s_flg=", s_qrv >> 3 & 1);
        write_sources(&mut r, num, to)?;
    }
    to.put(")");
    Some(())
}

fn write_mldv2_report(mut r: Reader<'_>, to: &mut impl Sink) -> Option<()> {
    r.skip(2)?;
    let record_num = r.u16()?;
    to.num("mldv2_report(record_num=", record_num);
    to.put(",records=[");
    let mut comma = Comma::default();
    for _ in 0..record_num {
        comma.before_item(to);
        let [type_, aux_len] = r.array()?;
        let num = r.u16()?;
        let address = read_ipv6(&mut r)?;
        let mut sources = r;
        r.skip(usize::from(num) * 16)?;
        let aux = r.take(usize::from(aux_len) * 4)?;
        to.ipv6("mldv2_report_group(address=", address);
        to.bytes_or_none(",aux=", aux);
        to.octet(",aux_len=", aux_len);
        to.num(",num=", num);
        write_sources(&mut sources, num, to)?;
        to.octet(",type_=", type_);
        to.put(")");
    }
    to.put("])");
    Some(())
}

fn write_sources(r: &mut Reader<'_>, num: u16, to: &mut impl Sink) -> Option<()> {
    to.put(",srcs=[");
    let mut comma = Comma::default();
    for _ in 0..num {
        comma.before_item(to);
        to.ipv6("", read_ipv6(r)?);
    }
    to.put("]");
    Some(())
}
