//! Meters (OpenFlow 1.3.5, 7.3.4.4 "Meter Modification Message").

use crate::{
    codec::{Put, Reader, Result},
    wire_enum::{wire_enum, wire_flags},
};

wire_enum! {
    /// A meter (`OFPM_*`).
    pub struct MeterId(u32) {
        /// The meter of the slow path.
        SLOWPATH = 0xffff_fffd,
        /// The meter of the controller connection.
        CONTROLLER = 0xffff_fffe,
        /// All meters, in requests.
        ALL = 0xffff_ffff,
    }
}

wire_enum! {
    /// What to do with a meter (`OFPMC_*`).
    pub struct MeterCommand(u16) {
        /// Add it.
        ADD = 0,
        /// Change it.
        MODIFY = 1,
        /// Delete it.
        DELETE = 2,
    }
}

wire_flags! {
    /// How a meter counts (`OFPMF_*`).
    pub struct MeterFlags(u16) {
        /// In kilobits a second.
        KBPS = 1,
        /// In packets a second.
        PKTPS = 1 << 1,
        /// The bands have burst sizes.
        BURST = 1 << 2,
        /// Keep statistics.
        STATS = 1 << 3,
    }
}

/// What happens above a rate (`ofp_meter_band_header`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeterBand {
    /// Packets are dropped.
    Drop {
        /// The rate, in the unit of the meter.
        rate: u32,
        /// How much may come at once.
        burst_size: u32,
    },
    /// Another kind of band, with what follows its burst size.
    Other {
        /// The type of the band.
        kind: u16,
        /// The rate, in the unit of the meter.
        rate: u32,
        /// How much may come at once.
        burst_size: u32,
        /// What is in the rest of the band.
        body: Vec<u8>,
    },
}

const OFPMBT_DROP: u16 = 1;

impl MeterBand {
    /// The bit of [`Self::Drop`] among the types of bands that a switch can have
    /// ([`MeterFeatures::band_types`](crate::multipart::MeterFeatures::band_types)).
    pub const DROP_TYPES: u32 = 1 << OFPMBT_DROP;

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        let (kind, mut band) = r.tlv("ofp_meter_band")?;
        let rate = band.u32()?;
        let burst_size = band.u32()?;
        let body = band.take_rest();
        Ok(match (kind, body) {
            (OFPMBT_DROP, [0, 0, 0, 0]) => Self::Drop { rate, burst_size },
            _ => Self::Other {
                kind,
                rate,
                burst_size,
                body: body.to_vec(),
            },
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, rate, burst_size, body) = match self {
            Self::Drop { rate, burst_size } => (OFPMBT_DROP, rate, burst_size, &[0; 4][..]),
            Self::Other {
                kind,
                rate,
                burst_size,
                body,
            } => (*kind, rate, burst_size, &body[..]),
        };
        out.tlv(kind, |out| {
            out.u32(*rate);
            out.u32(*burst_size);
            out.bytes(body);
        });
    }
}

/// Adds, changes or deletes a meter (`OFPT_METER_MOD`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterMod {
    /// What to do.
    pub command: MeterCommand,
    /// How it counts.
    pub flags: MeterFlags,
    /// Which meter.
    pub meter_id: MeterId,
    /// Its bands.
    pub bands: Vec<MeterBand>,
}

impl MeterMod {
    /// A meter that lets `rate` packets a second pass, and `burst_size` at
    /// once, and counts.
    pub fn packets_per_second(
        command: MeterCommand,
        meter_id: MeterId,
        rate: u32,
        burst_size: u32,
    ) -> Self {
        Self {
            command,
            flags: MeterFlags::PKTPS | MeterFlags::BURST | MeterFlags::STATS,
            meter_id,
            bands: vec![MeterBand::Drop { rate, burst_size }],
        }
    }

    /// Deletes a meter, or with [`MeterId::ALL`] all of them.
    pub const fn delete(meter_id: MeterId) -> Self {
        Self {
            command: MeterCommand::DELETE,
            flags: MeterFlags::NONE,
            meter_id,
            bands: Vec::new(),
        }
    }

    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_meter_mod");
        Ok(Self {
            command: MeterCommand(r.u16()?),
            flags: MeterFlags(r.u16()?),
            meter_id: MeterId(r.u32()?),
            bands: r.all(MeterBand::decode)?,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u16(self.command.0);
        out.u16(self.flags.0);
        out.u32(self.meter_id.0);
        for band in &self.bands {
            band.encode(out);
        }
    }
}
