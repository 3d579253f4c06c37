//! What happens, and when.

use std::fmt;
use std::time::Instant;

use crate::print::say;

#[derive(Clone, Copy, Debug)]
pub struct Log {
    start: Instant,
}

impl Log {
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Prints a line of someone who does or says something.
    pub fn note(self, name: &str, what: impl fmt::Display) {
        say!("{:6.2} s  {name} {what}", self.start.elapsed().as_secs_f64());
    }
}
