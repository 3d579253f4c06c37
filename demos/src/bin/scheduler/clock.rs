//! A clock that is the same in all processes, on which a minute is short.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a minute of the demo takes.
const MINUTE: Duration = Duration::from_millis(200);

/// Counts minutes from the start of the demo.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Duration,
}

impl Clock {
    pub(crate) fn start_now() -> Self {
        Self { start: since_epoch() }
    }

    /// The clock that another process has started.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let start = Duration::from_millis(text.parse().ok()?);
        Some(Self { start })
    }

    pub(crate) fn to_text(self) -> String {
        self.start.as_millis().to_string()
    }

    /// Waits until the minute has come.
    pub(crate) async fn wait_for(self, minute: u32) {
        let elapsed = since_epoch().saturating_sub(self.start);
        tokio::time::sleep((MINUTE * minute).saturating_sub(elapsed)).await;
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
