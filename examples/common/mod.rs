//! What the examples have in common: how they start and end, what they run on, and how they keep books.

#![allow(dead_code, reason = "every example uses a part of it")]

pub(crate) mod books;
pub(crate) mod cast;
mod chroot;
pub(crate) mod database;
mod ensemble;
mod interrupt;
pub(crate) mod log;
pub(crate) mod orders;
pub(crate) mod payment;
pub(crate) mod print;
pub(crate) mod scratch;
pub(crate) mod session;
pub(crate) mod site;
pub(crate) mod start;

use std::error::Error;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;
