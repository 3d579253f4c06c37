//! The session below the recipes: how it begins and ends, and what becomes of holds and waiters meanwhile.

mod adopted;
mod availability;
mod close;
mod connect_strings;
mod connecting;
mod ensemble;
mod expiry;
mod ghosts;
mod lifecycle;
mod partition;
mod pool;
mod reconnect;
mod replaced;
mod retry;
mod stats;
mod unknown_hosts;
mod watching;
