//! Printing that outlives its reader: a closed pipe or terminal must not keep a run from clearing up.

/// Prints a line; does nothing where nobody can read it. (`println!` panics there.)
#[macro_export]
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
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

pub use crate::{complain, say};
