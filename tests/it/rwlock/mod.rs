//! The read-write lock: who shares, who waits for whom, and how a writer becomes a reader.

mod basics;
mod budget;
mod cancel;
mod downgrade;
mod history;
mod loss;
mod replies;

use std::time::Duration;

use zookeeper_recipes::{Coordinator, RwLock, RwLockReadGuard, RwLockWriteGuard};
use zookeeper_testkit::{Fixture, within};

use crate::support::{PATIENCE, Pending, stand_in_line};

const DIR: &str = "/rw";

fn rw(zk: &Coordinator) -> RwLock {
    RwLock::new(zk, DIR).unwrap()
}

async fn read(lock: &RwLock) -> RwLockReadGuard {
    within(PATIENCE, "read", lock.read()).await.unwrap()
}

async fn write(lock: &RwLock) -> RwLockWriteGuard {
    within(PATIENCE, "write", lock.write()).await.unwrap()
}

/// Begins to read in a task, and returns when the contender stands in line as number `place`.
async fn join_reader(fixture: &Fixture, zk: &Coordinator, place: usize) -> Pending<RwLockReadGuard> {
    let lock = rw(zk);
    stand_in_line(fixture, DIR, place, async move { lock.read().await }).await
}

async fn join_writer(fixture: &Fixture, zk: &Coordinator, place: usize) -> Pending<RwLockWriteGuard> {
    let lock = rw(zk);
    stand_in_line(fixture, DIR, place, async move { lock.write().await }).await
}

/// Everybody who would be granted by now has been: a contender that joined later on the same session has had its answer.
async fn assert_waits<G>(fixture: &Fixture, zk: &Coordinator, pending: &Pending<G>) {
    for _ in 0..3 {
        fixture.raw().sync("/").await.unwrap();
        zk.client().await.unwrap().check_stat("/").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!pending.is_finished(), "granted too early");
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}
