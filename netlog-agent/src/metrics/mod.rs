//! Metrics for Prometheus, at `/metrics`.
//!
//! The agent counts for its own purposes, in the ledger and the sinks. A scrape reads these
//! counters and gives them names ([`Family`]); nothing is counted twice. What there is to see is
//! decided by the agent's composition, in one place. Names and units are by Prometheus'
//! conventions: `netlog_` in front, base units, `_total` at the end of what only grows.
//!
//! The number of time series is bounded. Labels have few values that are known beforehand (reasons,
//! sinks, HTTP statuses), with one exception: ports. Totals have no label for the port, so that they are
//! complete; beside them there are series for each port (`netlog_port_…`), for as many ports as
//! `[metrics] port_series` allows, and `netlog_ports_without_series` says how many have none.
//!
//! [`Metrics::page`] writes `OpenMetrics` 1.0 for those who ask for it, and else the text format
//! that everything reads (0.0.4). Both are of prometheus-client's making; they differ in how the
//! family of a counter is named.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

/// The text format of Prometheus, version 0.0.4.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// `OpenMetrics` 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a family of metrics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It grows and shrinks.
    Gauge,
}

/// A name, and the series under it.
#[derive(Clone, Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<Sample>,
}

/// One series: its labels and its value now.
#[derive(Clone, Debug)]
struct Sample {
    labels: Vec<Label>,
    value: f64,
}

/// A name and a value.
pub type Label = (&'static str, Cow<'static, str>);

impl Family {
    /// A family that only grows. `name` is without `_total`, `help` without a full stop.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Counter)
    }

    /// A family that grows and shrinks.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Gauge)
    }

    fn new(name: &'static str, help: &'static str, kind: Kind) -> Self {
        Self {
            name,
            help,
            kind,
            samples: Vec::new(),
        }
    }

    /// The family with its one series.
    #[must_use]
    pub fn is(self, value: u64) -> Self {
        self.with([], value)
    }

    /// The family with one more series.
    #[must_use]
    pub fn with(self, labels: impl Into<Vec<Label>>, value: u64) -> Self {
        // Exact up to 2^53: a century of ten million events a second is less.
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let value = value as f64;
        self.with_f64(labels, value)
    }

    /// The family with one more series whose value is no whole number.
    #[must_use]
    pub fn with_f64(mut self, labels: impl Into<Vec<Label>>, value: f64) -> Self {
        self.samples.push(Sample {
            labels: labels.into(),
            value,
        });
        self
    }

    /// The family with one more series for each of these.
    #[must_use]
    pub fn with_each<L: Into<Vec<Label>>>(
        self,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> Self {
        samples
            .into_iter()
            .fold(self, |family, (labels, value)| family.with(labels, value))
    }

    /// The name of its series.
    pub fn series_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge => self.name.to_owned(),
        }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        const NONE: Option<&Exemplar<[(&str, &str); 0], f64>> = None;
        let kind = match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
        };
        // A full stop at its end, as in all that prometheus-client registers.
        let help = format!("{}.", self.help);
        let mut encoder = encoder.encode_descriptor(self.name, &help, None, kind)?;
        for Sample { labels, value } in &self.samples {
            if labels.is_empty() {
                match self.kind {
                    Kind::Counter => encoder.encode_counter(value, NONE)?,
                    Kind::Gauge => encoder.encode_gauge(value)?,
                }
                continue;
            }
            let labels: Vec<(&str, String)> = labels
                .iter()
                .map(|(name, value)| (*name, escape(value)))
                .collect();
            let mut encoder = encoder.encode_family(&labels)?;
            match self.kind {
                Kind::Counter => encoder.encode_counter(value, NONE)?,
                Kind::Gauge => encoder.encode_gauge(value)?,
            }
        }
        Ok(())
    }
}

/// A label's value as both formats write it, which prometheus-client leaves to its caller.
fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
}

/// What one scrape has read.
#[derive(Debug)]
struct Reading(Vec<Family>);

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|family| family.encode(&mut encoder))
    }
}

/// All metrics of an agent.
pub struct Metrics {
    read: Box<dyn Fn() -> Vec<Family> + Send + Sync>,
    /// Answers of the API by status.
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl Metrics {
    /// Metrics that `read` reads anew for each scrape.
    pub fn new(read: impl Fn() -> Vec<Family> + Send + Sync + 'static) -> Self {
        Self {
            read: Box::new(read),
            answers: Mutex::default(),
        }
    }

    /// Counts an answer of the API. There are no more statuses than the API knows.
    pub fn answered(&self, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(status).or_default() += 1;
    }

    /// The names of all series.
    pub fn names(&self) -> Vec<String> {
        self.families().iter().map(Family::series_name).collect()
    }

    /// A page and its content type, for a client that accepts this.
    pub fn page(&self, accept: Option<&str>) -> (&'static str, String) {
        let families = self.families();
        let counters: Vec<&str> = families
            .iter()
            .filter(|family| family.kind == Kind::Counter)
            .map(|family| family.name)
            .collect();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Reading(families)));
        let mut page = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut page, &registry);
        if accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            (OPEN_METRICS, page)
        } else {
            (PROMETHEUS, to_prometheus(&page, &counters))
        }
    }

    fn families(&self) -> Vec<Family> {
        let answers = self
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut families = (self.read)();
        families.push(
            Family::counter("netlog_api_answers", "Answers of the API by HTTP status").with_each(
                answers
                    .into_iter()
                    .map(|(status, count)| ([("code", status.to_string().into())], count)),
            ),
        );
        families
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The older text format, in which the family of a counter bears the name of its series, and whose
/// end is not marked.
fn to_prometheus(open_metrics: &str, counters: &[&str]) -> String {
    let mut page = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(about), Some(name), Some(rest)) if counters.contains(&name) => {
                page.extend(["# ", about, " ", name, "_total ", rest]);
            }
            _ => page.push_str(line),
        }
        page.push('\n');
    }
    page
}
