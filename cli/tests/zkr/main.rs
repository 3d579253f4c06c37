//! Drives the real binary, on the embedded server or on a real one (`ZK_TEST_SERVER`).

mod bad_input;
mod every;
mod harness;
mod held;
mod ladder;
mod looking;
mod queue;
mod sasl;
mod schema;
mod sessions;
mod terminal;
mod top;
mod values;
mod watching;
