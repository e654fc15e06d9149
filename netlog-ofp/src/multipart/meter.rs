//! Meters: counters, settings and abilities (`OFPMP_METER`,
//! `OFPMP_METER_CONFIG`, `OFPMP_METER_FEATURES`; OpenFlow 1.3.5, 7.3.5.12 to
//! 7.3.5.14).

use std::time::Duration;

use crate::{
    codec::{Put, Reader, Result},
    meter::{MeterBand, MeterFlags, MeterId},
};

/// What a band of a meter cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeterBandStats {
    /// How many packets.
    pub packet_count: u64,
    /// How many bytes they had.
    pub byte_count: u64,
}

/// The counters of a meter (`ofp_meter_stats`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterStats {
    /// Which meter.
    pub meter_id: MeterId,
    /// How many flows use it.
    pub flow_count: u32,
    /// How many packets came to it.
    pub packet_in_count: u64,
    /// How many bytes they had.
    pub byte_in_count: u64,
    /// How long it has been there.
    pub duration: Duration,
    /// What each band cut off.
    pub bands: Vec<MeterBandStats>,
}

impl MeterStats {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_meter_stats");
        let meter_id = MeterId(r.u32()?);
        let length = r.u16()?;
        let mut r = r.body("ofp_meter_stats", length, 6)?;
        r.skip(6)?;
        Ok(Self {
            meter_id,
            flow_count: r.u32()?,
            packet_in_count: r.u64()?,
            byte_in_count: r.u64()?,
            duration: r.duration()?,
            bands: r.all(|r| {
                Ok(MeterBandStats {
                    packet_count: r.u64()?,
                    byte_count: r.u64()?,
                })
            })?,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.position();
        out.u32(self.meter_id.0);
        out.zeros(8);
        out.u32(self.flow_count);
        out.u64(self.packet_in_count);
        out.u64(self.byte_in_count);
        out.duration(self.duration);
        for band in &self.bands {
            out.u64(band.packet_count);
            out.u64(band.byte_count);
        }
        out.set_length(start + 4, start);
    }
}

/// How a meter is set (`ofp_meter_config`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterConfig {
    /// How it counts.
    pub flags: MeterFlags,
    /// Which meter.
    pub meter_id: MeterId,
    /// Its bands.
    pub bands: Vec<MeterBand>,
}

impl MeterConfig {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_meter_config");
        let length = r.u16()?;
        let mut r = r.body("ofp_meter_config", length, 2)?;
        Ok(Self {
            flags: MeterFlags(r.u16()?),
            meter_id: MeterId(r.u32()?),
            bands: r.all(MeterBand::decode)?,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.position();
        out.u16(0);
        out.u16(self.flags.0);
        out.u32(self.meter_id.0);
        for band in &self.bands {
            band.encode(out);
        }
        out.set_length(start, start);
    }
}

/// What meters can do (`ofp_meter_features`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeterFeatures {
    /// How many meters there can be; 0 when there are none.
    pub max_meter: u32,
    /// Types of bands: bit `1 << n` stands for type `n`.
    pub band_types: u32,
    /// What a meter can count.
    pub capabilities: u32,
    /// How many bands a meter can have.
    pub max_bands: u8,
    /// The greatest colour value.
    pub max_color: u8,
}

impl MeterFeatures {
    pub(crate) fn decode(r: &mut Reader<'_>) -> Result<Self> {
        r.enter("ofp_meter_features");
        let features = Self {
            max_meter: r.u32()?,
            band_types: r.u32()?,
            capabilities: r.u32()?,
            max_bands: r.u8()?,
            max_color: r.u8()?,
        };
        r.skip(2)?;
        Ok(features)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.max_meter);
        out.u32(self.band_types);
        out.u32(self.capabilities);
        out.u8(self.max_bands);
        out.u8(self.max_color);
        out.zeros(2);
    }
}
