//! The counters of ports (`OFPMP_PORT_STATS`; OpenFlow 1.3.5, 7.3.5.6;
//! OpenFlow 1.4.1, 7.3.5.7).

use std::time::Duration;

use crate::{
    codec::{Put, Reader, Result},
    header::Version,
    port::PortNo,
};

/// The counters of a port (`ofp_port_stats`). One that the switch does not
/// keep is all ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStats {
    /// Which port.
    pub port_no: PortNo,
    /// How long it has been there, if the switch knows.
    pub duration: Option<Duration>,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets dropped when received.
    pub rx_dropped: u64,
    /// Packets dropped when sent.
    pub tx_dropped: u64,
    /// Errors when receiving.
    pub rx_errors: u64,
    /// Errors when sending.
    pub tx_errors: u64,
    /// Counters of the medium, as on the wire: four of 64 bits in OpenFlow
    /// 1.3, properties in 1.4.
    pub medium: Vec<u8>,
}

impl PortStats {
    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<Self> {
        r.enter("ofp_port_stats");
        if version >= Version::V1_4 {
            let length = r.u16()?;
            let mut r = r.body("ofp_port_stats", length, 2)?;
            r.skip(2)?;
            let port_no = PortNo(r.u32()?);
            let duration = r.duration_if_known()?;
            let mut stats = Self::decode_counters(&mut r, port_no)?;
            stats.duration = duration;
            stats.medium = r.take_rest().to_vec();
            return Ok(stats);
        }
        let port_no = PortNo(r.u32()?);
        r.skip(4)?;
        let mut stats = Self::decode_counters(r, port_no)?;
        stats.medium = r.take(32)?.to_vec();
        stats.duration = r.duration_if_known()?;
        Ok(stats)
    }

    fn decode_counters(r: &mut Reader<'_>, port_no: PortNo) -> Result<Self> {
        Ok(Self {
            port_no,
            duration: None,
            rx_packets: r.u64()?,
            tx_packets: r.u64()?,
            rx_bytes: r.u64()?,
            tx_bytes: r.u64()?,
            rx_dropped: r.u64()?,
            tx_dropped: r.u64()?,
            rx_errors: r.u64()?,
            tx_errors: r.u64()?,
            medium: Vec::new(),
        })
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Vec<u8>) {
        let start = out.position();
        if version >= Version::V1_4 {
            out.zeros(4);
            out.u32(self.port_no.0);
            out.duration_if_known(self.duration);
            self.encode_counters(out);
            out.bytes(&self.medium);
            out.set_length(start, start);
        } else {
            out.u32(self.port_no.0);
            out.zeros(4);
            self.encode_counters(out);
            out.bytes(&self.medium);
            // The counters of the medium are always four in 1.3.
            out.resize(start + 104, 0);
            out.duration_if_known(self.duration);
        }
    }

    fn encode_counters(&self, out: &mut Vec<u8>) {
        for counter in [
            self.rx_packets,
            self.tx_packets,
            self.rx_bytes,
            self.tx_bytes,
            self.rx_dropped,
            self.tx_dropped,
            self.rx_errors,
            self.tx_errors,
        ] {
            out.u64(counter);
        }
    }
}
