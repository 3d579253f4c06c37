//! Several locks at once: all or none, whatever happens to one of them.

mod basics;
mod budget;
mod cancel;
mod loss;
mod replies;

use zookeeper_recipes::{Coordinator, MultiLock, MultiLockGuard};
use zookeeper_testkit::{Fixture, within};

use crate::support::{PATIENCE, Pending};

const PATHS: [&str; 3] = ["/m/a", "/m/b", "/other/c"];

fn all(zk: &Coordinator) -> MultiLock {
    MultiLock::new(zk, PATHS).unwrap()
}

async fn take(locks: &MultiLock) -> MultiLockGuard {
    within(PATIENCE, "all locks", locks.acquire()).await.unwrap()
}

/// Begins to acquire in a task, and returns when its contender stands as number `place` on every path.
async fn join(fixture: &Fixture, locks: MultiLock, place: usize) -> Pending<MultiLockGuard> {
    let paths: Vec<String> = locks.paths().map(str::to_owned).collect();
    let pending = tokio::spawn(async move { locks.acquire().await });
    for path in paths {
        fixture.until_children(&path, place).await;
    }
    pending
}

/// How many children each path has.
async fn counts(fixture: &Fixture) -> Vec<usize> {
    let mut counts = Vec::new();
    for path in PATHS {
        counts.push(fixture.children(path).await.len());
    }
    counts
}

async fn only_child(fixture: &Fixture, dir: &str) -> String {
    let children = fixture.children(dir).await;
    assert_eq!(children.len(), 1, "{dir}: {children:?}");
    format!("{dir}/{}", children[0])
}
