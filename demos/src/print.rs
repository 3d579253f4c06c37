//! Printing that outlives its reader: a closed pipe or terminal must not keep a run from clearing up.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use crate::{complain, say};

static LAST_LINE: LazyLock<Mutex<Instant>> = LazyLock::new(|| Mutex::new(Instant::now()));

/// A line is printed now.
pub fn note_line() {
    *LAST_LINE.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
}

/// For how long no line was printed.
pub(crate) fn quiet_for() -> Duration {
    LAST_LINE.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
}

/// Prints a line; does nothing where its reader is gone. (`println!` panics there.)
#[macro_export]
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        $crate::print::note_line();
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}

/// As [`say`], on standard error.
#[macro_export]
macro_rules! complain {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($line)*);
    }};
}
