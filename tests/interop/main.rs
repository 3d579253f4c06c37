//! Our recipes on the same znodes as Java's Curator and Python's kazoo, the real ones: `scripts/interop-test.sh` installs
//! and compiles them and runs this. What shares a path with what: `docs/interop.md`.
//!
//! * `peer` – a process that runs their recipes as it is told
//! * `line` – contenders of several implementations in one line
//! * `reference` – what they wrote, through our parsers and back
//! * `soak` – all of them on one lock for a while, with sessions that end at random
//! * the others – one module for each recipe

mod line;
mod peer;
mod support;

mod barrier;
mod double_barrier;
mod election;
mod group;
mod inspect;
mod mutex;
mod queue;
mod reference;
mod revocation;
mod rwlock;
mod semaphore;
mod soak;
mod values;
