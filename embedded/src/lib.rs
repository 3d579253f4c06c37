//! A single-node, in-memory ZooKeeper server for tests and first runs.
