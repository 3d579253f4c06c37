//! The semaphore: so many at once, all or nothing, in order, and every permit comes back.

mod basics;
mod budget;
mod cancel;
mod curator_bugs;
mod history;
mod loss;
mod operator;
mod replies;
mod revocation;

use zookeeper_recipes::{Coordinator, Permit, PermitError, Semaphore};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::{PATIENCE, Pending, stand_in_line, start_each};

const PATH: &str = "/bank/lines";
const LOCKS: &str = "/bank/lines/locks";
const LEASES: &str = "/bank/lines/leases";

fn semaphore(zk: &Coordinator, permits: u32) -> Semaphore {
    Semaphore::new(zk, PATH, permits).unwrap()
}

/// A fresh chroot, and the same semaphore in two sessions.
async fn start_semaphores(name: &str, permits: u32) -> (Fixture, [Semaphore; 2]) {
    let (fixture, sessions) = start_each(name).await;
    (fixture, sessions.map(|zk| semaphore(&zk, permits)))
}

async fn take(semaphore: &Semaphore, permits: u32) -> Permit {
    within(PATIENCE, "permits", semaphore.acquire_many(permits))
        .await
        .unwrap()
}

/// Begins to acquire in a task, and returns when the contender stands in line as number `place`.
async fn join_line(
    fixture: &Fixture,
    semaphore: &Semaphore,
    permits: u32,
    place: usize,
) -> Pending<Permit, PermitError> {
    let task = semaphore.clone();
    stand_in_line(fixture, LOCKS, place, async move { task.acquire_many(permits).await }).await
}

/// All permits have come back, and nothing is left of anybody.
async fn finish(fixture: &Fixture, semaphore: &Semaphore, permits: u32) {
    eventually(PATIENCE, "all permits are back", || async {
        semaphore.available_permits().await.unwrap() == permits
    })
    .await;
    take(semaphore, permits).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCKS, LEASES]).await;
}
