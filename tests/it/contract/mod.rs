//! What holds for the crate as a whole.

mod auto_traits;
mod errors;
mod futures;
mod layers;
mod layouts;
mod names;
mod other_servers;
mod pages;
#[path = "../../interop/reference/mod.rs"]
mod reference;
mod rights;
mod style;
