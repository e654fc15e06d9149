//! Internet Group Management Protocol (RFC 1112, RFC 2236, RFC 3376).

use std::net::Ipv4Addr;

use crate::layer::Layer;
use crate::text::{Comma, Nowhere, Sink};
use crate::wire::Reader;

/// An IGMP message of any version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Igmp<'a> {
    /// Type; in IGMPv1 version and type.
    pub msgtype: u8,
    message: &'a [u8],
}

const MEMBERSHIP_QUERY: u8 = 0x11;
const V3_MEMBERSHIP_REPORT: u8 = 0x22;

impl<'a> Igmp<'a> {
    const LEN: usize = 8;

    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, Layer, &'a [u8])> {
        let header = Self {
            msgtype: *bytes.first()?,
            message: bytes,
        };
        if bytes.len() < Self::LEN {
            return None;
        }
        let rest = header.write_message(&mut Nowhere)?;
        Some((header, Layer::None, rest))
    }

    pub(crate) fn write(&self, to: &mut impl Sink) {
        self.write_message(to);
    }

    /// Returns what follows the message.
    fn write_message(&self, to: &mut impl Sink) -> Option<&'a [u8]> {
        let mut r = Reader::new(self.message);
        match self.msgtype {
            MEMBERSHIP_QUERY if self.message.len() >= 12 => write_v3_query(&mut r, to)?,
            V3_MEMBERSHIP_REPORT => write_v3_report(&mut r, to)?,
            _ => {
                let [msgtype, maxresp] = r.array()?;
                let csum = r.u16()?;
                to.ipv4("igmp(address=", read_ipv4(&mut r)?);
                to.num(",csum=", csum);
                to.octet(",maxresp=", maxresp);
                to.octet(",msgtype=", msgtype);
            }
        }
        to.put(")");
        Some(r.rest())
    }
}

fn read_ipv4(r: &mut Reader<'_>) -> Option<Ipv4Addr> {
    r.array::<4>().map(Ipv4Addr::from)
}

fn write_v3_query(r: &mut Reader<'_>, to: &mut impl Sink) -> Option<()> {
    let [msgtype, maxresp] = r.array()?;
    let csum = r.u16()?;
    let address = read_ipv4(r)?;
    let [s_qrv, qqic] = r.array()?;
    let num = r.u16()?;
    to.ipv4("igmpv3_query(address=", address);
    to.num(",csum=", csum);
    to.octet(",maxresp=", maxresp);
    to.octet(",msgtype=", msgtype);
    to.num(",num=", num);
    to.octet(",qqic=", qqic);
    to.octet(",qrv=", s_qrv & 7);
    to.octet(",s_flg=", s_qrv >> 3 & 1);
    write_sources(r, num, to)
}

fn write_v3_report(r: &mut Reader<'_>, to: &mut impl Sink) -> Option<()> {
    let [msgtype, _reserved] = r.array()?;
    let csum = r.u16()?;
    r.skip(2)?;
    let record_num = r.u16()?;
    to.num("igmpv3_report(csum=", csum);
    to.octet(",msgtype=", msgtype);
    to.num(",record_num=", record_num);
    to.put(",records=[");
    let mut comma = Comma::default();
    for _ in 0..record_num {
        comma.before_item(to);
        let [type_, aux_len] = r.array()?;
        let num = r.u16()?;
        let address = read_ipv4(r)?;
        let mut sources = *r;
        r.skip(usize::from(num) * 4)?;
        let aux = r.take(usize::from(aux_len) * 4)?;
        to.ipv4("igmpv3_report_group(address=", address);
        to.bytes_or_none(",aux=", aux);
        to.octet(",aux_len=", aux_len);
        to.num(",num=", num);
        write_sources(&mut sources, num, to)?;
        to.octet(",type_=", type_);
        to.put(")");
    }
    to.put("]");
    Some(())
}

fn write_sources(r: &mut Reader<'_>, num: u16, to: &mut impl Sink) -> Option<()> {
    to.put(",srcs=[");
    let mut comma = Comma::default();
    for _ in 0..num {
        comma.before_item(to);
        to.ipv4("", read_ipv4(r)?);
    }
    to.put("]");
    Some(())
}
