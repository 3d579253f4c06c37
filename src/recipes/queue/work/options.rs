//! How a queue is used.

use std::time::Duration;

/// What the builder methods of a [`WorkQueue`](super::WorkQueue) set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) max_attempts: u32,
    pub(super) capacity: Option<u64>,
    pub(super) claim_timeout: Option<Duration>,
    pub(super) result_retention: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            capacity: None,
            claim_timeout: None,
            result_retention: Duration::from_secs(24 * 60 * 60),
        }
    }
}
