//! [`WatchBudget`]: how much one session may watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::metrics;

/// How many bytes of paths one session watches, of how many at most.
#[derive(Debug)]
pub(super) struct WatchBudget {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// A part of a [`WatchBudget`], until it is dropped.
#[derive(Debug)]
pub(crate) struct WatchShare {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

impl WatchBudget {
    pub(super) fn new(limit: usize) -> Self {
        let used = Arc::default();
        Self { used, limit }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn charge(&self, bytes: usize) -> WatchShare {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        measure(before + bytes);
        let used = Arc::clone(&self.used);
        WatchShare { used, bytes }
    }

    pub(super) fn share(&self, bytes: usize) -> Option<WatchShare> {
        let take = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let used = Arc::clone(&self.used);
        taken.ok().map(|before| {
            measure(before + bytes);
            WatchShare { used, bytes }
        })
    }
}

fn measure(used: usize) {
    let bytes = f64::from(u32::try_from(used).unwrap_or(u32::MAX));
    metrics::observe(metrics::WATCHED, None, &[], bytes);
}

impl Drop for WatchShare {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_shared_than_there_is() {
        let budget = WatchBudget::new(10);
        let shares = [budget.share(4), budget.share(6), budget.share(1)];
        assert_eq!(shares.each_ref().map(Option::is_some), [true, true, false]);
        drop(shares);
        assert_eq!(budget.used(), 0);
    }
}
