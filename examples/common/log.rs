//! What happens, and when.

use std::fmt;
use std::time::Instant;

use super::print::say;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Log {
    start: Instant,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Prints a line of someone who does or says something.
    pub(crate) fn note(self, name: &str, what: impl fmt::Display) {
        say!("{:6.2} s  {name} {what}", self.start.elapsed().as_secs_f64());
    }
}
