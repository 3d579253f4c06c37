//! Somebody deletes nodes by hand.

use std::time::{Duration, Instant};

use zookeeper_recipes::{LossReason, Lost, ReleaseError};
use zookeeper_testkit::Fixture;

use crate::support::{LONG, acquire, connect, granted, join_line, lock, loss, start, start_each, start_proxied};

#[tokio::test]
async fn a_holder_learns_of_its_deletion_at_once() {
    let (fixture, [zk, other]) = start_each("holder deleted").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let waiter = join_line(&fixture, &lock(&other, "/l"), 2).await;

    fixture.raw().delete(guard.path(), None).await.unwrap();
    let deleted = Instant::now();
    assert_eq!(loss(&guard).await, LossReason::NodeRemoved);
    let noticed = deleted.elapsed();
    assert!(noticed < Duration::from_secs(1), "noticed after {noticed:?}");
    assert!(!guard.is_held());
    assert_eq!(guard.remaining(), Duration::ZERO);
    let reason = LossReason::NodeRemoved;
    assert_eq!(guard.release().await.unwrap_err(), ReleaseError::Lost(Lost { reason }));

    granted(waiter).await.release().await.unwrap();
    // The session is none the worse for it.
    acquire(&lock(&zk, "/l")).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// A guard granted after a wait is watched as well as one granted at once.
#[tokio::test]
async fn a_holder_that_waited_learns_of_its_deletion() {
    let (fixture, [zk, other]) = start_each("waited, then deleted").await;
    let first = acquire(&lock(&zk, "/l")).await;
    let waiter = join_line(&fixture, &lock(&other, "/l"), 2).await;
    first.release().await.unwrap();
    let guard = granted(waiter).await;

    fixture.raw().delete(guard.path(), None).await.unwrap();
    let deleted = Instant::now();
    assert_eq!(loss(&guard).await, LossReason::NodeRemoved);
    assert!(deleted.elapsed() < Duration::from_secs(1));
    drop(guard);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_deleted_waiter_joins_again_at_the_tail() {
    let (fixture, [zk, second, third]) = start_each("waiter deleted").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let deleted = join_line(&fixture, &lock(&second, "/l"), 2).await;
    let behind = join_line(&fixture, &lock(&third, "/l"), 3).await;
    let observer = lock(&zk, "/l");
    let before = observer.contenders().await.unwrap();

    fixture.raw().delete(&before[1].path, None).await.unwrap();
    fixture.until_children("/l", 3).await;
    let after = observer.contenders().await.unwrap();
    assert_eq!(after[0], before[0]);
    assert_eq!(after[1].path, before[2].path, "whoever was behind moves up");
    assert_eq!(
        after[2].session_id, before[1].session_id,
        "and the other stands at the tail"
    );
    assert!(after[2].token > before[2].token);

    guard.release().await.unwrap();
    let next = granted(behind).await;
    assert!(!deleted.is_finished());
    next.release().await.unwrap();
    let last = granted(deleted).await;
    assert_eq!(last.token(), after[2].token);
    last.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_node_deleted_during_a_disconnect_is_lost() {
    let (fixture, proxy, zk) = start_proxied("deleted behind a cut", LONG).await;
    let guard = acquire(&lock(&zk, "/l")).await;

    proxy.refuse().await;
    fixture.raw().delete(guard.path(), None).await.unwrap();
    assert!(guard.is_held(), "the lease runs");
    proxy.accept().await;
    assert_eq!(loss(&guard).await, LossReason::NodeRemoved);
    drop(guard);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_node_written_by_hand_stays_watched() {
    let (fixture, zk) = start("written").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    for version in 0..5 {
        fixture
            .raw()
            .set_data(guard.path(), b"scribble", Some(version))
            .await
            .unwrap();
        zk.client().await.unwrap().sync("/").await.unwrap();
        assert!(guard.is_held());
    }
    fixture.raw().delete(guard.path(), None).await.unwrap();
    assert_eq!(loss(&guard).await, LossReason::NodeRemoved);
    drop(guard);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// `deleteall` on a lock in use: the holder loses it, and everybody who waits gets it after all.
#[tokio::test]
async fn waiters_remake_a_removed_directory() {
    let fixture = Fixture::new("deleteall").await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(connect(&fixture).await);
    }
    let guard = acquire(&lock(&sessions[0], "/dir/l")).await;
    let mut waiters = Vec::new();
    for number in 0..6 {
        waiters.push(join_line(&fixture, &lock(&sessions[number % 3], "/dir/l"), number + 2).await);
    }

    // In one transaction, because the waiters are back as soon as they can.
    let mut deleteall = fixture.raw().new_multi_writer();
    for child in fixture.children("/dir/l").await {
        deleteall.add_delete(&format!("/dir/l/{child}"), None).unwrap();
    }
    deleteall.add_delete("/dir/l", None).unwrap();
    deleteall.add_delete("/dir", None).unwrap();
    deleteall.commit().await.unwrap();

    assert_eq!(loss(&guard).await, LossReason::NodeRemoved);
    drop(guard);
    // In whatever order they came back.
    let releases = waiters
        .into_iter()
        .map(|waiter| async { granted(waiter).await.release().await });
    for released in futures::future::join_all(releases).await {
        released.unwrap();
    }
    fixture.assert_no_nodes_left(&["/dir/l"]).await;
}
