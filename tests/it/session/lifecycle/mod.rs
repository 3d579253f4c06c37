//! The life of a service: its start, whether it works, and the ways to its end.

mod health;
mod processes;
mod scope;
mod shutdown;
mod start;

use std::time::Duration;

/// How soon the next contender is granted where a server answers.
const HAND_OVER: Duration = Duration::from_millis(100);
