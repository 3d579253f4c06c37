//! What the examples have in common: how they start and end, what they run on, and how they keep books.

#![allow(dead_code, reason = "every example uses a part of it")]

pub(crate) mod books;
mod chroot;
pub(crate) mod commands;
pub(crate) mod database;
mod ensemble;
pub(crate) mod environment;
mod interrupt;
pub(crate) mod log;
pub(crate) mod payment;
pub(crate) mod print;
pub(crate) mod processes;
pub(crate) mod scratch;
pub(crate) mod session;
pub(crate) mod start;

use std::error::Error;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
