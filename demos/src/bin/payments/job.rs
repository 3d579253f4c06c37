//! What the workers have in common: the requests, of which each takes the next, until none is left or they are to stop.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::report::Report;
use crate::stall::Stall;
use crate::timeline::Timeline;
use demos::BoxError;
use demos::payment::Payment;

#[derive(Debug)]
pub(crate) struct Job {
    requests: Vec<Payment>,
    taken: AtomicUsize,
    is_stopped: watch::Sender<bool>,
    pub(crate) stall: Stall,
    pub(crate) report: Report,
    pub(crate) timeline: Timeline,
}

impl Job {
    pub(crate) fn new(requests: Vec<Payment>) -> Result<Self, BoxError> {
        let stall =
            Stall::plan(&requests).ok_or("the input has no account that two payments in its second half go to")?;
        let report = Report::new(requests.len());
        Ok(Self {
            timeline: Timeline::new(stall.account(), report.start()),
            stall,
            report,
            requests,
            taken: AtomicUsize::new(0),
            is_stopped: watch::Sender::new(false),
        })
    }

    /// The next request; each is given out once.
    pub(crate) fn take(&self) -> Option<&Payment> {
        if *self.is_stopped.borrow() {
            return None;
        }
        self.requests.get(self.taken.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn requests(&self) -> &[Payment] {
        &self.requests
    }

    /// From now on nothing more is begun.
    pub(crate) fn stop(&self) {
        self.is_stopped.send_replace(true);
        self.stall.end();
    }

    /// Waits for [`Job::stop`].
    pub(crate) async fn stopped(&self) {
        // An error would mean that we are gone.
        let _ = self.is_stopped.subscribe().wait_for(|is_stopped| *is_stopped).await;
    }
}
