//! ZooKeeper coordination recipes.
