//! What runs in this process: it talks to the store, and knows no user.
//!
//! * `push`, `keys`, `room` – pushing, and waiting for room
//! * `view`, `select`, `firsts` – what was last seen of the queue, and what of it comes next
//! * `demand`, `pop`, `wait` – taking items, and waiting for them
//! * `peek` – what the next claims would take
//! * `prepare`, `bury`, `claiming`, `holding` – a claim, from what has to be known for it to the items that are held
//! * `claim`, `group`, `assignment` – what is held
//! * `settle`, `judge` – what becomes of it
//! * `tidy` – what is left over

mod assignment;
mod bury;
mod claim;
mod claiming;
mod demand;
mod firsts;
mod group;
mod holding;
mod judge;
mod keys;
#[cfg(feature = "_model")]
pub(crate) mod model;
mod peek;
mod pop;
mod prepare;
mod push;
mod room;
mod select;
mod settle;
mod tidy;
mod view;
mod wait;

use uuid::Uuid;

pub(crate) use self::assignment::{Assignment, Settlement, Settling, Verdict};
pub(crate) use self::demand::{CLAIM_ITEMS, Demand};
pub(crate) use self::peek::peek;
pub(crate) use self::pop::{Popper, take_all};
pub(crate) use self::push::{Push, check_entries, push_all};
pub(crate) use self::settle::{Settler, settle_all};
pub(crate) use self::tidy::tidy_all;

/// A random number below 1.
fn random() -> f64 {
    let bits = u32::try_from(Uuid::new_v4().as_u128() >> 96).unwrap_or_default();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

/// A random number.
fn random_index() -> usize {
    usize::try_from(Uuid::new_v4().as_u128() & 0xffff_ffff).unwrap_or_default()
}
