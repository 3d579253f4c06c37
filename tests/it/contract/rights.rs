//! A recipe needs rights where it works, and nowhere else.

use std::time::Duration;

use zookeeper_recipes::queue::{FifoQueue, WorkQueue};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{
    AcquireTimeoutError, Barrier, Coordinator, CountDownLatch, DoubleBarrier, Error, FairLock, Group, LeaderElection,
    MultiLock, Relay, RwLock, Semaphore, SharedCounter, SharedValue,
};
use zookeeper_testkit::{Fixture, within};

use crate::support::{PATIENCE, connect_to, create, lock};

const LOCK: &str = "/lock";

async fn allow(fixture: &Fixture, path: &str, rights: zk::Permission) {
    let acl = zk::Acl::new(rights, zk::AuthId::anyone());
    fixture.raw().set_acl(path, &[acl], None).await.unwrap();
}

/// `/top` may only be read, `/top/secure` is ours, and `/top` is the chroot of the coordinator.
async fn read_only_root(fixture: &Fixture) -> Coordinator {
    create(fixture, "/top", zk::CreateMode::Persistent).await;
    create(fixture, "/top/secure", zk::CreateMode::Persistent).await;
    allow(fixture, "/top", zk::Permission::READ).await;
    let servers = format!("{}/top", fixture.connect_string());
    connect_to(&servers, Duration::from_secs(10)).await
}

macro_rules! needs_no_rights_above {
    ($name:ident, |$zk:ident| $play:expr) => {
        #[tokio::test]
        async fn $name() {
            let fixture = Fixture::new(stringify!($name)).await;
            let $zk = read_only_root(&fixture).await;
            let play = async { Ok::<_, Box<dyn std::error::Error>>($play) };
            let played = within(PATIENCE, stringify!($name), play).await;
            assert!(played.is_ok(), "{}", played.err().unwrap());
            $zk.close().await;
            fixture.assert_no_nodes_left(&[]).await;
        }
    };
}

needs_no_rights_above!(a_lock_needs_no_rights_above, |zk| {
    FairLock::new(&zk, "/secure/r")?.acquire().await?.release().await?;
});
needs_no_rights_above!(a_rw_lock_needs_no_rights_above, |zk| {
    RwLock::new(&zk, "/secure/r")?
        .write()
        .await?
        .downgrade()
        .await?
        .release()
        .await?;
});
needs_no_rights_above!(a_multi_lock_needs_no_rights_above, |zk| {
    MultiLock::new(&zk, ["/secure/r", "/secure/s"])?
        .acquire()
        .await?
        .release()
        .await?;
});
needs_no_rights_above!(a_semaphore_needs_no_rights_above, |zk| {
    Semaphore::new(&zk, "/secure/r", 2)?
        .acquire_many(2)
        .await?
        .release()
        .await?;
});
needs_no_rights_above!(an_election_needs_no_rights_above, |zk| {
    LeaderElection::new(&zk, "/secure/r")?
        .campaign("")
        .await?
        .resign()
        .await?;
});
needs_no_rights_above!(a_relay_needs_no_rights_above, |zk| {
    Relay::new(&zk, "/secure/r")?.join().await?.complete("").await?;
});
needs_no_rights_above!(a_group_needs_no_rights_above, |zk| {
    Group::new(&zk, "/secure/r")?.join("a", "").await?.leave().await;
});
needs_no_rights_above!(a_barrier_needs_no_rights_above, |zk| {
    let barrier = Barrier::new(&zk, "/secure/r")?;
    barrier.set().await?;
    barrier.lift().await?;
    barrier.wait().await?;
});
needs_no_rights_above!(a_double_barrier_needs_no_rights_above, |zk| {
    DoubleBarrier::new(&zk, "/secure/r", 1)?.enter().await?.leave().await?;
});
needs_no_rights_above!(a_latch_needs_no_rights_above, |zk| {
    let latch = CountDownLatch::new(&zk, "/secure/r", 1)?;
    latch.count_down().await?;
    latch.wait().await?;
});
needs_no_rights_above!(a_value_needs_no_rights_above, |zk| {
    SharedValue::new(&zk, "/secure/r")?.set("one").await?;
});
needs_no_rights_above!(a_counter_needs_no_rights_above, |zk| {
    SharedCounter::new(&zk, "/secure/r")?.fetch_add(1).await?;
});
needs_no_rights_above!(a_work_queue_needs_no_rights_above, |zk| {
    let queue = WorkQueue::new(&zk, "/secure/r")?;
    queue.push("one").await?;
    queue.pop().await?.ack().await?;
});
needs_no_rights_above!(a_fifo_queue_needs_no_rights_above, |zk| {
    let queue = FifoQueue::new(&zk, "/secure/r")?;
    queue.push("one").await?;
    queue.pop().await?;
});

/// What is granted is given back, or is refused before it is granted: no process waits for a dead node of its own.
#[tokio::test]
async fn without_delete_rights_no_later_acquire_hangs() {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let fixture = Fixture::new("no delete, again").await;
    create(&fixture, LOCK, zk::CreateMode::Persistent).await;
    let all_but_delete = zk::Permission::READ | zk::Permission::WRITE | zk::Permission::CREATE;
    allow(&fixture, LOCK, all_but_delete).await;
    let zk = connect_to(&fixture.connect_string(), TIMEOUT).await;
    let lock = lock(&zk, LOCK);
    for round in 0..3 {
        match within(PATIENCE, "an answer", lock.acquire_timeout(3 * TIMEOUT)).await {
            // It may say that the node stays, and do something about it.
            Ok(guard) => _ = within(PATIENCE, "released", guard.release()).await,
            Err(AcquireTimeoutError::Error(Error::Denied { path })) => assert!(path.starts_with(LOCK), "{path}"),
            Err(error) => panic!("round {round}: {error}"),
        }
    }
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[LOCK]).await;
}
