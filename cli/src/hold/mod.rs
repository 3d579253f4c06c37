//! Commands that hold a place while another program runs: `lock`, `read`, `write`, `permit`, `elect`.

pub(crate) mod args;
mod guard;
pub(crate) mod ladder;
pub(crate) mod monitor;
pub(crate) mod nested;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod signals;
pub(crate) mod stub;
mod wait;
