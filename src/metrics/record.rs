//! How metrics are recorded: with the feature through the facade crate, else not at all.

use std::sync::Arc;

use super::{ACQUIRE_DURATION, WAITERS};

/// Values of labels.
pub(crate) type Labels<'a> = &'a [(&'static str, &'static str)];

/// The label `name`: what the user has given. Empty unless one was.
#[derive(Clone, Debug, Default)]
#[cfg_attr(
    not(feature = "metrics"),
    allow(dead_code, reason = "it is recorded with the feature alone")
)]
pub(crate) struct UserName(Option<Arc<str>>);

impl UserName {
    pub(crate) fn new(name: &str) -> Self {
        Self(Some(name.into()))
    }
}

/// The labels of one series, put together.
#[derive(Debug, Default)]
pub(super) struct Series {
    #[cfg(feature = "metrics")]
    labels: Vec<::metrics::Label>,
}

#[cfg(feature = "metrics")]
impl Series {
    /// With what the user has given under this label; without it if nothing was.
    pub(super) fn destination(user: &UserName, label: &'static str) -> Self {
        let name = user.0.as_ref().filter(|name| !name.is_empty());
        let name = name.map(|name| ::metrics::Label::new(label, Arc::clone(name)));
        Self {
            labels: name.into_iter().collect(),
        }
    }

    pub(super) fn push(&mut self, label: &'static str, value: &'static str) {
        self.labels.push(::metrics::Label::from_static_parts(label, value));
    }
}

#[cfg(not(feature = "metrics"))]
impl Series {
    pub(super) fn destination(_: &UserName, _: &'static str) -> Self {
        Self::default()
    }

    #[allow(clippy::unused_self, reason = "it does so with the feature alone")]
    pub(super) fn push(&mut self, _: &'static str, _: &'static str) {}
}

#[cfg(feature = "metrics")]
pub(super) fn count_series(metric: &'static str, series: Series, by: u64) {
    ::metrics::counter!(metric, series.labels).increment(by);
}

#[cfg(feature = "metrics")]
pub(super) fn observe_series(metric: &'static str, series: Series, value: f64) {
    ::metrics::histogram!(metric, series.labels).record(value);
}

#[cfg(not(feature = "metrics"))]
pub(super) fn count_series(_: &'static str, _: Series, _: u64) {}

#[cfg(not(feature = "metrics"))]
pub(super) fn observe_series(_: &'static str, _: Series, _: f64) {}

#[cfg(feature = "metrics")]
fn series(user: Option<&UserName>, labels: Labels<'_>) -> Vec<::metrics::Label> {
    let name = user.map(|UserName(name)| match name {
        Some(name) => ::metrics::Label::new("name", Arc::clone(name)),
        None => ::metrics::Label::from_static_parts("name", ""),
    });
    let others = labels
        .iter()
        .map(|&(label, value)| ::metrics::Label::from_static_parts(label, value));
    name.into_iter().chain(others).collect()
}

#[cfg(feature = "metrics")]
pub(crate) fn count(metric: &'static str, user: Option<&UserName>, labels: Labels<'_>, by: u64) {
    ::metrics::counter!(metric, series(user, labels)).increment(by);
}

#[cfg(feature = "metrics")]
pub(crate) fn observe(metric: &'static str, user: Option<&UserName>, labels: Labels<'_>, value: f64) {
    ::metrics::histogram!(metric, series(user, labels)).record(value);
}

#[cfg(feature = "metrics")]
pub(crate) fn set(metric: &'static str, user: Option<&UserName>, labels: Labels<'_>, value: f64) {
    ::metrics::gauge!(metric, series(user, labels)).set(value);
}

#[cfg(feature = "metrics")]
fn add(metric: &'static str, user: Option<&UserName>, labels: Labels<'_>, difference: f64) {
    ::metrics::gauge!(metric, series(user, labels)).increment(difference);
}

#[cfg(not(feature = "metrics"))]
pub(crate) fn count(_: &'static str, _: Option<&UserName>, _: Labels<'_>, _: u64) {}

#[cfg(not(feature = "metrics"))]
pub(crate) fn observe(_: &'static str, _: Option<&UserName>, _: Labels<'_>, _: f64) {}

#[cfg(not(feature = "metrics"))]
pub(crate) fn set(_: &'static str, _: Option<&UserName>, _: Labels<'_>, _: f64) {}

#[cfg(not(feature = "metrics"))]
fn add(_: &'static str, _: Option<&UserName>, _: Labels<'_>, _: f64) {}

/// One more, until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard {
    metric: &'static str,
    user: Option<UserName>,
    label: Option<(&'static str, &'static str)>,
}

impl GaugeGuard {
    pub(crate) fn new(
        metric: &'static str,
        user: Option<&UserName>,
        label: Option<(&'static str, &'static str)>,
    ) -> Self {
        add(metric, user, label.as_slice(), 1.0);
        let user = user.cloned();
        Self { metric, user, label }
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        add(self.metric, self.user.as_ref(), self.label.as_slice(), -1.0);
    }
}

/// Measures one call that waits for a place. Dropped without an outcome, the call was cancelled.
#[derive(Debug)]
pub(crate) struct AcquireTimer {
    recipe: &'static str,
    user: UserName,
    began: std::time::Instant,
    outcome: &'static str,
    _waiters: GaugeGuard,
}

impl AcquireTimer {
    pub(crate) fn start(recipe: &'static str, user: &UserName) -> Self {
        Self {
            recipe,
            user: user.clone(),
            began: std::time::Instant::now(),
            outcome: "cancelled",
            _waiters: GaugeGuard::new(WAITERS, Some(user), Some(("recipe", recipe))),
        }
    }

    pub(crate) fn ended(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for AcquireTimer {
    fn drop(&mut self) {
        let labels = [("recipe", self.recipe), ("outcome", self.outcome)];
        observe(
            ACQUIRE_DURATION,
            Some(&self.user),
            &labels,
            self.began.elapsed().as_secs_f64(),
        );
    }
}
