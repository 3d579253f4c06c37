//! Metrics, through the facade crate [`metrics`](https://docs.rs/metrics): what this crate counts and measures.
//!
//! With the feature `metrics`, install an exporter of your choice and call [`describe`]. Without an exporter each one costs a
//! few nanoseconds. Names have dots; exporters write `_` where they must. Labels are `recipe`, `outcome`, `operation` and
//! `error.type`, of which there are a few values each: **never a path, a session, an identity**. So the number of series is
//! bounded, however many locks there are.
//!
//! All of them are in [`TABLE`] and in [docs/metrics.md](https://github.com/zookeeper-recipes/zookeeper-recipes/blob/main/docs/metrics.md).

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its unit, as OpenTelemetry writes it: `s`, `{hold}`.
    pub unit: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub description: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    unit: &'static str,
    labels: &'static [&'static str],
    description: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        unit,
        labels,
        description,
    }
}

pub(crate) const ACQUIRE_DURATION: &str = "zookeeper_recipes.acquire.duration";
pub(crate) const WAITERS: &str = "zookeeper_recipes.waiters";
pub(crate) const HOLD_DURATION: &str = "zookeeper_recipes.hold.duration";
pub(crate) const HOLDS: &str = "zookeeper_recipes.holds";
pub(crate) const LOSSES: &str = "zookeeper_recipes.losses";
pub(crate) const SLOW_WAITS: &str = "zookeeper_recipes.slow_waits";
pub(crate) const REQUEST_DURATION: &str = "zookeeper_recipes.request.duration";
pub(crate) const REQUESTS_IN_FLIGHT: &str = "zookeeper_recipes.requests.inflight";
pub(crate) const REQUEST_RETRIES: &str = "zookeeper_recipes.request.retries";

/// All metrics that this crate records.
pub const TABLE: &[Metric] = &[
    metric(
        ACQUIRE_DURATION,
        MetricKind::Histogram,
        "s",
        &["recipe", "outcome"],
        "How long a call waited for its place; outcome: granted, timeout, contended, cancelled, error",
    ),
    metric(
        WAITERS,
        MetricKind::Gauge,
        "{waiter}",
        &["recipe"],
        "How many calls wait for a place at this moment",
    ),
    metric(
        HOLD_DURATION,
        MetricKind::Histogram,
        "s",
        &["recipe", "outcome"],
        "How long a place was held; outcome: released, dropped, lost",
    ),
    metric(
        HOLDS,
        MetricKind::Gauge,
        "{hold}",
        &["recipe"],
        "How many guards live at this moment",
    ),
    metric(
        LOSSES,
        MetricKind::Counter,
        "{hold}",
        &["recipe", "error.type"],
        "Holds that were lost, counted when the guard is dropped; error.type: session_expired, lease_lapsed, node_removed, \
         revoked, closed, given_up",
    ),
    metric(
        SLOW_WAITS,
        MetricKind::Counter,
        "{wait}",
        &["recipe"],
        "How often a wait was longer than ConnectOptions::long_wait; the log names the holder",
    ),
    metric(
        REQUEST_DURATION,
        MetricKind::Histogram,
        "s",
        &["operation", "error.type"],
        "How long a request took; operation: read, write, transaction; error.type: none, refused, busy, no_answer",
    ),
    metric(
        REQUESTS_IN_FLIGHT,
        MetricKind::Gauge,
        "{request}",
        &[],
        "How many requests are on their way",
    ),
    metric(
        REQUEST_RETRIES,
        MetricKind::Counter,
        "{retry}",
        &[],
        "How many requests were sent again",
    ),
];

/// Registers names, units and descriptions of all metrics with the recorder that is installed. Call it once, behind the
/// installation of the exporter.
#[cfg(feature = "metrics")]
pub fn describe() {
    for metric in TABLE {
        let unit = match metric.unit {
            "s" => ::metrics::Unit::Seconds,
            _ => ::metrics::Unit::Count,
        };
        match metric.kind {
            MetricKind::Counter => ::metrics::describe_counter!(metric.name, unit, metric.description),
            MetricKind::Gauge => ::metrics::describe_gauge!(metric.name, unit, metric.description),
            MetricKind::Histogram => ::metrics::describe_histogram!(metric.name, unit, metric.description),
        }
    }
}

/// Values of labels.
pub(crate) type Labels<'a> = &'a [(&'static str, &'static str)];

#[cfg(feature = "metrics")]
pub(crate) fn count(name: &'static str, labels: Labels<'_>) {
    ::metrics::counter!(name, labels).increment(1);
}

#[cfg(feature = "metrics")]
pub(crate) fn observe(name: &'static str, labels: Labels<'_>, value: std::time::Duration) {
    ::metrics::histogram!(name, labels).record(value);
}

#[cfg(feature = "metrics")]
fn add(name: &'static str, labels: Labels<'_>, difference: f64) {
    ::metrics::gauge!(name, labels).increment(difference);
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn count(_: &'static str, _: Labels<'_>) {}

#[cfg(not(feature = "metrics"))]
pub(crate) fn observe(_: &'static str, _: Labels<'_>, _: std::time::Duration) {}

#[cfg(not(feature = "metrics"))]
fn add(_: &'static str, _: Labels<'_>, _: f64) {}

/// One more, until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard {
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
}

impl GaugeGuard {
    pub(crate) fn new(name: &'static str, label: Option<(&'static str, &'static str)>) -> Self {
        add(name, label.as_slice(), 1.0);
        Self { name, label }
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        add(self.name, self.label.as_slice(), -1.0);
    }
}

/// Measures one call that waits for a place. Dropped without an outcome, the call was cancelled.
#[derive(Debug)]
pub(crate) struct AcquireTimer {
    recipe: &'static str,
    began: std::time::Instant,
    outcome: &'static str,
    _waiters: GaugeGuard,
}

impl AcquireTimer {
    pub(crate) fn start(recipe: &'static str) -> Self {
        Self {
            recipe,
            began: std::time::Instant::now(),
            outcome: "cancelled",
            _waiters: GaugeGuard::new(WAITERS, Some(("recipe", recipe))),
        }
    }

    pub(crate) fn ended(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for AcquireTimer {
    fn drop(&mut self) {
        let labels = [("recipe", self.recipe), ("outcome", self.outcome)];
        observe(ACQUIRE_DURATION, &labels, self.began.elapsed());
    }
}
