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
use std::path::Path;

pub type BoxError = Box<dyn Error + Send + Sync>;

/// The path of an input file, as a reader of the sources knows it.
pub fn shown(path: &str) -> impl std::fmt::Display + '_ {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let path = Path::new(path);
    root.and_then(|root| path.strip_prefix(root).ok())
        .unwrap_or(path)
        .display()
}
