//! The server as clients see it, through an unmodified client.

#![allow(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod basics;
mod faults;
mod lag;
mod outside;
mod request_log;
mod restart;
mod support;
