//! What holds for the crate as a whole.

mod auto_traits;
mod errors;
mod layers;
mod layouts;
mod other_servers;
mod pages;
#[path = "../../interop/reference/mod.rs"]
mod reference;
mod rights;
