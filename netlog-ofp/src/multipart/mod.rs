//! Statistics and descriptions, which may come in several messages
//! (OpenFlow 1.3.5, 7.3.5 "Multipart Messages").

mod desc;
mod flow;
mod meter;
mod monitor;
mod port;
mod table;

pub(crate) use self::monitor::{
    ONFT_FLOW_MONITOR_CANCEL, ONFT_FLOW_MONITOR_PAUSED, ONFT_FLOW_MONITOR_RESUMED,
};
pub use self::{
    desc::Desc,
    flow::{AggregateStats, FlowStats, FlowStatsRequest},
    meter::{MeterBandStats, MeterConfig, MeterFeatures, MeterStats},
    monitor::{
        FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest, FlowUpdate, FlowUpdateEvent,
        FullFlowUpdate,
    },
    port::PortStats,
    table::TableStats,
};

use crate::{
    codec::{Put, Reader, Result},
    header::Version,
    meter::MeterId,
    nicira::ONF,
    port::{Port, PortNo},
};

const DESC: u16 = 0;
const FLOW: u16 = 1;
const AGGREGATE: u16 = 2;
const TABLE: u16 = 3;
const PORT_STATS: u16 = 4;
const METER: u16 = 9;
const METER_CONFIG: u16 = 10;
const METER_FEATURES: u16 = 11;
const PORT_DESC: u16 = 13;
const FLOW_MONITOR: u16 = 16;
const EXPERIMENTER: u16 = 0xffff;
const ONFST_FLOW_MONITOR: u32 = 1870;

const MORE: u16 = 1;

/// What is asked for (`OFPMP_*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultipartRequest {
    /// Who made the switch.
    Desc,
    /// Each flow and its counters.
    Flow(FlowStatsRequest),
    /// The counters of flows, added up.
    Aggregate(FlowStatsRequest),
    /// The counters of each table.
    Table,
    /// The counters of a port, or with [`PortNo::ANY`] of each.
    PortStats(PortNo),
    /// What ports there are.
    PortDesc,
    /// The counters of a meter, or with [`MeterId::ALL`] of each.
    Meter(MeterId),
    /// How a meter is set, or with [`MeterId::ALL`] each.
    MeterConfig(MeterId),
    /// What meters can do.
    MeterFeatures,
    /// Word of every change to flows, from now on. When Open vSwitch 3.1
    /// refuses it, the error has the xid 0 and the version 1.0.
    FlowMonitor(Vec<FlowMonitorRequest>),
    /// Something else.
    Other {
        /// The type (`OFPMP_*`).
        kind: u16,
        /// The body.
        body: Vec<u8>,
    },
}

impl MultipartRequest {
    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<(bool, Self)> {
        let (kind, more) = decode_header(r)?;
        let request = match kind {
            DESC => Self::Desc,
            FLOW => Self::Flow(FlowStatsRequest::decode(r)?),
            AGGREGATE => Self::Aggregate(FlowStatsRequest::decode(r)?),
            TABLE => Self::Table,
            PORT_STATS => Self::PortStats(PortNo(decode_u32_padded(r)?)),
            PORT_DESC => Self::PortDesc,
            METER => Self::Meter(MeterId(decode_u32_padded(r)?)),
            METER_CONFIG => Self::MeterConfig(MeterId(decode_u32_padded(r)?)),
            METER_FEATURES => Self::MeterFeatures,
            _ if skip_monitor_header(r, kind, version) => {
                Self::FlowMonitor(r.all(|r| FlowMonitorRequest::decode(r, version))?)
            }
            _ => Self::Other {
                kind,
                body: r.take_rest().to_vec(),
            },
        };
        Ok((more, request))
    }

    pub(crate) fn encode(&self, more: bool, version: Version, out: &mut Vec<u8>) {
        encode_header(self.kind(version), more, out);
        match self {
            Self::Desc | Self::Table | Self::PortDesc | Self::MeterFeatures => {}
            Self::Flow(request) | Self::Aggregate(request) => request.encode(out),
            Self::PortStats(port) => encode_u32_padded(port.0, out),
            Self::Meter(meter) | Self::MeterConfig(meter) => encode_u32_padded(meter.0, out),
            Self::FlowMonitor(monitors) => {
                encode_monitor_header(version, out);
                for monitor in monitors {
                    monitor.encode(version, out);
                }
            }
            Self::Other { body, .. } => out.bytes(body),
        }
    }

    const fn kind(&self, version: Version) -> u16 {
        match self {
            Self::Desc => DESC,
            Self::Flow(_) => FLOW,
            Self::Aggregate(_) => AGGREGATE,
            Self::Table => TABLE,
            Self::PortStats(_) => PORT_STATS,
            Self::PortDesc => PORT_DESC,
            Self::Meter(_) => METER,
            Self::MeterConfig(_) => METER_CONFIG,
            Self::MeterFeatures => METER_FEATURES,
            Self::FlowMonitor(_) => monitor_kind(version),
            Self::Other { kind, .. } => *kind,
        }
    }

    /// Whether `reply` is of the type that is asked for.
    pub(crate) const fn is_answered_by(&self, reply: &MultipartReply) -> bool {
        // Only the type of flow monitors depends on the version, and alike for both.
        let version = Version::V1_4;
        self.kind(version) == reply.kind(version)
    }
}

/// The answer, or one part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultipartReply {
    /// Who made the switch.
    Desc(Box<Desc>),
    /// Flows and their counters.
    Flow(Vec<FlowStats>),
    /// The counters of flows, added up.
    Aggregate(AggregateStats),
    /// The counters of tables.
    Table(Vec<TableStats>),
    /// The counters of ports.
    PortStats(Vec<PortStats>),
    /// Ports.
    PortDesc(Vec<Port>),
    /// The counters of meters.
    Meter(Vec<MeterStats>),
    /// How meters are set.
    MeterConfig(Vec<MeterConfig>),
    /// What meters can do.
    MeterFeatures(MeterFeatures),
    /// Changes to flows.
    FlowMonitor(Vec<FlowUpdate>),
    /// Something else.
    Other {
        /// The type (`OFPMP_*`).
        kind: u16,
        /// The body.
        body: Vec<u8>,
    },
}

impl MultipartReply {
    pub(crate) fn decode(r: &mut Reader<'_>, version: Version) -> Result<(bool, Self)> {
        let (kind, more) = decode_header(r)?;
        let reply = match kind {
            DESC => Self::Desc(Box::new(Desc::decode(r)?)),
            FLOW => Self::Flow(r.all(|r| FlowStats::decode(r, version))?),
            AGGREGATE => Self::Aggregate(AggregateStats::decode(r)?),
            TABLE => Self::Table(r.all(TableStats::decode)?),
            PORT_STATS => Self::PortStats(r.all(|r| PortStats::decode(r, version))?),
            PORT_DESC => Self::PortDesc(r.all(|r| Port::decode(r, version))?),
            METER => Self::Meter(r.all(MeterStats::decode)?),
            METER_CONFIG => Self::MeterConfig(r.all(MeterConfig::decode)?),
            METER_FEATURES => Self::MeterFeatures(MeterFeatures::decode(r)?),
            _ if skip_monitor_header(r, kind, version) => {
                Self::FlowMonitor(r.all(|r| FlowUpdate::decode(r, version))?)
            }
            _ => Self::Other {
                kind,
                body: r.take_rest().to_vec(),
            },
        };
        Ok((more, reply))
    }

    pub(crate) fn encode(&self, more: bool, version: Version, out: &mut Vec<u8>) {
        encode_header(self.kind(version), more, out);
        match self {
            Self::Desc(desc) => desc.encode(out),
            Self::Flow(list) => {
                for item in list {
                    item.encode(version, out);
                }
            }
            Self::Aggregate(stats) => stats.encode(out),
            Self::Table(list) => {
                for item in list {
                    item.encode(out);
                }
            }
            Self::PortStats(list) => {
                for item in list {
                    item.encode(version, out);
                }
            }
            Self::PortDesc(list) => {
                for item in list {
                    item.encode(version, out);
                }
            }
            Self::Meter(list) => {
                for item in list {
                    item.encode(out);
                }
            }
            Self::MeterConfig(list) => {
                for item in list {
                    item.encode(out);
                }
            }
            Self::MeterFeatures(features) => features.encode(out),
            Self::FlowMonitor(list) => {
                encode_monitor_header(version, out);
                for item in list {
                    item.encode(version, out);
                }
            }
            Self::Other { body, .. } => out.bytes(body),
        }
    }

    const fn kind(&self, version: Version) -> u16 {
        match self {
            Self::Desc(_) => DESC,
            Self::Flow(_) => FLOW,
            Self::Aggregate(_) => AGGREGATE,
            Self::Table(_) => TABLE,
            Self::PortStats(_) => PORT_STATS,
            Self::PortDesc(_) => PORT_DESC,
            Self::Meter(_) => METER,
            Self::MeterConfig(_) => METER_CONFIG,
            Self::MeterFeatures(_) => METER_FEATURES,
            Self::FlowMonitor(_) => monitor_kind(version),
            Self::Other { kind, .. } => *kind,
        }
    }

    /// Adds the next part of the same answer; gives it back when it is no part
    /// of this one.
    pub fn append(&mut self, next: Self) -> std::result::Result<(), Self> {
        match (self, next) {
            (Self::Flow(list), Self::Flow(more)) => list.extend(more),
            (Self::Table(list), Self::Table(more)) => list.extend(more),
            (Self::PortStats(list), Self::PortStats(more)) => list.extend(more),
            (Self::PortDesc(list), Self::PortDesc(more)) => list.extend(more),
            (Self::Meter(list), Self::Meter(more)) => list.extend(more),
            (Self::MeterConfig(list), Self::MeterConfig(more)) => list.extend(more),
            (Self::FlowMonitor(list), Self::FlowMonitor(more)) => list.extend(more),
            (Self::Other { kind, body }, Self::Other { kind: k, body: b }) if *kind == k => {
                body.extend(b);
            }
            (_, next) => return Err(next),
        }
        Ok(())
    }
}

fn decode_header(r: &mut Reader<'_>) -> Result<(u16, bool)> {
    r.enter("ofp_multipart");
    let kind = r.u16()?;
    let more = r.u16()? & MORE != 0;
    r.skip(4)?;
    Ok((kind, more))
}

fn encode_header(kind: u16, more: bool, out: &mut Vec<u8>) {
    out.u16(kind);
    out.u16(if more { MORE } else { 0 });
    out.zeros(4);
}

/// Flow monitors are an extension of the ONF in OpenFlow 1.3.
const fn monitor_kind(version: Version) -> u16 {
    if version.0 < Version::V1_4.0 {
        EXPERIMENTER
    } else {
        FLOW_MONITOR
    }
}

fn encode_monitor_header(version: Version, out: &mut Vec<u8>) {
    if monitor_kind(version) == EXPERIMENTER {
        out.u32(ONF);
        out.u32(ONFST_FLOW_MONITOR);
    }
}

/// Whether the body is that of a flow monitor; passes over the experimenter
/// header if so.
fn skip_monitor_header(r: &mut Reader<'_>, kind: u16, version: Version) -> bool {
    if kind != monitor_kind(version) {
        return false;
    }
    if kind == FLOW_MONITOR {
        return true;
    }
    let mut header = r.clone();
    if (header.u32(), header.u32()) == (Ok(ONF), Ok(ONFST_FLOW_MONITOR)) {
        *r = header;
        return true;
    }
    false
}

fn decode_u32_padded(r: &mut Reader<'_>) -> Result<u32> {
    let value = r.u32()?;
    r.skip(4)?;
    Ok(value)
}

fn encode_u32_padded(value: u32, out: &mut Vec<u8>) {
    out.u32(value);
    out.zeros(4);
}
