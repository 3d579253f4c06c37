//! The recipes against a real ZooKeeper and against the embedded one: one module per recipe and per fault.

mod expiry;

mod sessions;
