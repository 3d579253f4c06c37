//! The barrier: closed while its node exists.

mod bad_input;
mod basics;
mod budget;
mod cancel;
mod loss;
mod replies;

use tokio::task::JoinHandle;
use zookeeper_recipes::{Barrier, Coordinator, Error};

const PATH: &str = "/gates/freeze";

fn barrier(zk: &Coordinator) -> Barrier {
    Barrier::new(zk, PATH).unwrap()
}

type Waiting = JoinHandle<Result<(), Error>>;

fn wait(zk: &Coordinator) -> Waiting {
    let barrier = barrier(zk);
    tokio::spawn(async move { barrier.wait().await })
}
