//! The server as clients see it, through an unmodified client.

mod basics;
mod support;
