//! What is printed while the work goes on.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use demos::print::say;

#[derive(Debug)]
pub(crate) struct Report {
    start: Instant,
    total: usize,
    done: AtomicUsize,
}

impl Report {
    pub(crate) fn new(total: usize) -> Self {
        Self {
            start: Instant::now(),
            total,
            done: AtomicUsize::new(0),
        }
    }

    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    pub(crate) fn say(&self, line: impl fmt::Display) {
        say!("[{:5.1} s] {line}", self.start.elapsed().as_secs_f64());
    }

    /// Counts a request that is done; says so for every tenth of all.
    pub(crate) fn done(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(self.total.div_ceil(10)) || done == self.total {
            self.say(format_args!("{done} of {} requests done", self.total));
        }
    }
}
