//! Drives the real binary, on the embedded server or on a real one (`ZK_TEST_SERVER`).

mod bad_input;
mod every;
mod harness;
mod held;
mod ladder;
mod listing;
mod looking;
mod queue;
mod sasl;
mod schema;
mod screen;
mod sessions;
mod terminal;
mod top;
mod top_keys;
mod values;
mod watching;
