//! What stands in an ensemble, read by any client: locks, lines, elections, queues, and which process waits for which.
//!
//! [`Inspector`] reads a tree and recognises recipes by the names and the layout of their nodes: those of this crate, of
//! Apache Curator, of kazoo and of some others. What it does not recognise is listed as such. Looking never writes.
//!
//! * `inspector` – [`Inspector`], the handle
//! * `place` – [`PlaceInfo`], what stands at one path
//! * `recognise` – which recipe it is, pure
//! * `reading` – requests, so many at a time
//! * `walk` – a tree, directory by directory
//! * `observing` – a place that is looked at again when it changes
//! * `contenders` – the nodes of a place, read and put in order
//! * `graph` – [`WaitGraph`], which process waits for which; `cycles` – its circles; `drawing` – it as text; all pure
//! * `breaking` – taking one contender out of a line
//! * [`doctor`] – what is wrong in a tree

mod breaking;
mod contenders;
mod cycles;
pub mod doctor;
mod drawing;
mod graph;
mod inspector;
mod observing;
mod place;
mod reading;
mod recognise;
mod walk;

pub use self::cycles::{Confidence, Cycle, CycleMember};
pub use self::graph::{Wait, WaitGraph, WaitingProcess};
pub use self::inspector::Inspector;
pub use self::place::{Detail, PlaceInfo, PlaceKind};
