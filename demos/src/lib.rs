//! What the demos have in common: how they start and end, what they run on, and how they keep books.

#![allow(
    missing_docs,
    missing_debug_implementations,
    reason = "for the demos of this package alone"
)]

pub mod books;
mod chroot;
pub mod commands;
pub mod database;
pub mod environment;
mod interrupt;
pub mod log;
pub mod payment;
pub mod print;
pub mod processes;
pub mod scratch;
pub mod session;
pub mod start;

use std::error::Error;

pub type BoxError = Box<dyn Error + Send + Sync>;
