//! What there is to see at `/metrics`: every family of metrics, in one list.
//!
//! To add one, add it to [`Status::families`], and to `docs/grafana` or `docs/prometheus` what
//! makes use of it.

use std::borrow::Cow;

use netlog_core::ledger::{EventFigures, PortCounters, Totals};
use netlog_sink::{Counts, Reason};

use super::status::{LoggedPort, Status};
use crate::limits::HostLimits;
use crate::metrics::{Family, Label};

/// The port of a series.
fn port(port: &LoggedPort) -> Label {
    ("port", port.id().to_string().into())
}

/// One of a port's numbers.
type Read = fn(&PortCounters) -> u64;

/// What the limits of the host and of log objects refuse, by their names in `netlog status`.
const fn suppressed(events: &EventFigures) -> [(&'static str, u64); 2] {
    [
        ("rate-limit", events.suppressed),
        ("log-limit", events.log_limited),
    ]
}

impl Status {
    /// Every family with what it counts now; `port_series` ports have series of their own.
    pub(super) fn families(&self, limits: &HostLimits, port_series: usize) -> Vec<Family> {
        let mut families = self.agent(limits);
        families.extend(self.events());
        families.extend(self.ports_of_their_own(port_series));
        families.extend(sink(
            &self.sink_counts(),
            [
                (
                    "netlog_records_written",
                    "Records that the sink has written",
                ),
                (
                    "netlog_records_failed",
                    "Records that the sink could not write",
                ),
            ],
        ));
        families.extend(sink(
            &self.audit_counts(),
            [
                (
                    "netlog_audit_entries_written",
                    "Entries written to the audit log",
                ),
                (
                    "netlog_audit_entries_failed",
                    "Entries that the audit log could not be given",
                ),
            ],
        ));
        let records = self.sink_counts();
        families.extend([
            Family::counter(
                "netlog_records_written_bytes",
                "Bytes of the records written",
            )
            .is(records.written_bytes),
            Family::gauge("netlog_records_pending", "Records that wait for the sink")
                .is(records.pending()),
            Family::counter(
                "netlog_sink_retries",
                "Attempts of the sink after a failure",
            )
            .is(records.retries),
        ]);
        families
    }

    /// The agent, its bridge and what it was told to do.
    fn agent(&self, limits: &HostLimits) -> Vec<Family> {
        let current = limits.current();
        let limit = |family: Family, limit: Option<u32>| match limit {
            Some(limit) => family.is(limit.into()),
            None => family,
        };
        let figures = self.figures();
        vec![
            Family::gauge(
                "netlog_build_info",
                "The agent's version; the value is always 1",
            )
            .with([("version", env!("CARGO_PKG_VERSION").into())], 1),
            Family::gauge(
                "process_start_time_seconds",
                "When the agent started, in seconds since 1970",
            )
            .with_f64([], self.started_at()),
            Family::gauge(
                "netlog_switch_connected",
                "Whether packet-ins are being read from the bridge",
            )
            .with(
                [("bridge", Cow::from(self.bridge().to_owned()))],
                self.is_attached().into(),
            ),
            Family::counter(
                "netlog_switch_detachments",
                "Times that the bridge went away",
            )
            .is(figures.detachments.get()),
            Family::gauge("netlog_log_objects", "Log objects")
                .with([("enabled", "true".into())], figures.enabled_logs.get())
                .with([("enabled", "false".into())], figures.disabled_logs.get()),
            Family::gauge("netlog_logged_ports", "Ports on the bridge that are logged")
                .is(self.logged_ports().len() as u64),
            Family::gauge("netlog_log_flows", "Log flows that the bridge should have")
                .is(figures.log_flows.get()),
            Family::counter(
                "netlog_log_flow_heals",
                "Times that log flows were put back which others had deleted or changed",
            )
            .is(figures.heals.get()),
            Family::counter(
                "netlog_meter_heals",
                "Meters of log flows that were put back after others had deleted or changed them",
            )
            .is(figures.meter_heals.get()),
            Family::counter(
                "netlog_meter_refusals",
                "Times that the bridge could not meter all log flows",
            )
            .is(figures.unmetered.get()),
            Family::counter(
                "netlog_log_flow_refusals",
                "Times that the bridge began to refuse log flows",
            )
            .is(figures.refusals.get()),
            Family::gauge(
                "netlog_log_flow_obstacles",
                "Flows of others that are in the way of log flows",
            )
            .is(figures.obstacles.get()),
            limit(
                Family::gauge(
                    "netlog_rate_limit",
                    "Records a second that may be written; absent without a limit",
                ),
                current.rate,
            ),
            limit(
                Family::gauge(
                    "netlog_burst_limit",
                    "Events that may wait to be recorded; absent without a limit",
                ),
                current.rate.map(|_| current.burst),
            ),
        ]
    }

    /// What became of packet-ins and events, of all ports together.
    fn events(&self) -> Vec<Family> {
        let ledger = self.ledger();
        let figures = self.books().figures();
        let Totals {
            recorded,
            drifted,
            events,
            ..
        } = ledger.totals();
        let reason = |reason: &'static str| [("reason", Cow::from(reason))];
        vec![
            Family::counter("netlog_packet_ins", "Packet-ins received from the bridge")
                .is(ledger.received.get()),
            Family::counter("netlog_packets_matched", "Packets that log flows matched")
                .is(figures.matched),
            Family::counter(
                "netlog_packets_metered",
                "Packets that log flows matched, and the meter of the log flow cut",
            )
            .is(figures.metered),
            Family::counter(
                "netlog_packets_lost_in_switch",
                "Packets that log flows matched, and that were neither cut nor received",
            )
            .is(figures.lost),
            Family::counter(
                "netlog_packets_uncounted",
                "Packets metered or received that the switch never counted as matched",
            )
            .is(figures.uncounted),
            Family::gauge(
                "netlog_gaps_open",
                "Ports, or whole bridges, where something was lost in the last [audit] gap_interval",
            )
            .with_each(self.books().gaps_open().into_iter().map(
                |((source, reason), places)| {
                    (
                        [("source", source.into()), ("reason", reason.into())],
                        places,
                    )
                },
            )),
            Family::counter(
                "netlog_packet_ins_discarded",
                "Packet-ins that gave no event: no log object wants them, no known log flow sent \
                 them, or they cannot be read",
            )
            .with(reason("unwanted"), ledger.unwanted.get())
            .with(reason("unknown-flow"), ledger.unknown_flow.get())
            .with(reason("malformed"), ledger.malformed.get()),
            Family::counter("netlog_events", "Events that some log object wants").is(events.events),
            Family::counter("netlog_events_recorded", "Events that became a record").is(recorded),
            Family::counter(
                "netlog_events_folded",
                "Events that repeated a session which is already recorded",
            )
            .is(events.folded),
            Family::counter(
                "netlog_events_suppressed",
                "Events refused by the limit of the host, or by those of all log objects that \
                 want them",
            )
            .with_each(suppressed(&events).map(|(name, count)| (reason(name), count))),
            Family::gauge(
                "netlog_events_queued",
                "Events that wait for the rate limit",
            )
            .is(ledger.queued.get()),
            Family::counter(
                "netlog_events_drifted",
                "Events that the known rules do not explain, after a time of grace",
            )
            .is(drifted),
            Family::counter(
                "netlog_events_drift_unjudged",
                "Unexplained events that were not judged, because too many came at once",
            )
            .is(ledger.drift_unjudged.get()),
            Family::counter(
                "netlog_sessions_evicted",
                "Sessions forgotten because the session table was full",
            )
            .is(ledger.sessions_evicted.get()),
        ]
    }

    /// The same for single ports.
    fn ports_of_their_own(&self, most: usize) -> Vec<Family> {
        const FAMILIES: [(&str, &str, Read); 5] = [
            (
                "netlog_port_packet_ins",
                "Packet-ins from the port's log flows",
                PortCounters::received_total,
            ),
            (
                "netlog_port_events",
                "Events of the port that some log object wants",
                |port| port.events.total.get(),
            ),
            (
                "netlog_port_events_recorded",
                "Events of the port that became a record",
                |port| port.events.recorded.get(),
            ),
            (
                "netlog_port_events_folded",
                "Events of the port that repeated a session",
                |port| port.events.folded.get(),
            ),
            (
                "netlog_port_events_drifted",
                "Events of the port that the known rules do not explain",
                |port| port.drifted.get(),
            ),
        ];
        let ports = self.logged_ports();
        let shown = ports.get(..most.min(ports.len())).unwrap_or_default();
        let mut families: Vec<Family> = FAMILIES
            .iter()
            .map(|(name, help, read)| {
                let series = shown.iter().map(|of| ([port(of)], read(of.counters())));
                Family::counter(name, help).with_each(series)
            })
            .collect();
        let refused = shown.iter().flat_map(|of| {
            suppressed(&of.counters().events.read())
                .map(|(reason, count)| ([port(of), ("reason", reason.into())], count))
        });
        families.extend([
            Family::counter(
                "netlog_port_events_suppressed",
                "Events of the port refused by a limit",
            )
            .with_each(refused),
            Family::gauge(
                "netlog_ports_without_series",
                "Logged ports beyond [metrics] port_series, which only the totals count",
            )
            .is((ports.len() - shown.len()) as u64),
        ]);
        families
    }
}

/// What a sink has written and what not.
fn sink(counts: &Counts, names: [(&'static str, &'static str); 2]) -> [Family; 2] {
    let [written, failed] = names.map(|(name, help)| Family::counter(name, help));
    let reasons = Reason::ALL.map(|reason| {
        (
            [("reason", Cow::from(reason.name()))],
            counts.failed(reason),
        )
    });
    [written.is(counts.written), failed.with_each(reasons)]
}
