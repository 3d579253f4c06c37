//! What others do with our nodes, and beside them.

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{LossReason, Lost, ReleaseError};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{LEASES, LOCKS, PATH, finish, join_line, semaphore, start_semaphores, take};
use crate::support::{PATIENCE, assert_waits, connect, create, granted};

#[tokio::test]
async fn deleted_nodes_are_lost_or_made_again() {
    let (fixture, [mine, theirs]) = start_semaphores("operator", 3).await;
    // One of three permits: the whole is lost, and the rest comes back.
    for victim in 0..3 {
        let three = take(&mine, 3).await;
        let lease = fixture.children(LEASES).await.remove(victim);
        fixture.raw().delete(&format!("{LEASES}/{lease}"), None).await.unwrap();
        let reason = within(PATIENCE, "told", three.lost()).await;
        assert_eq!(reason, LossReason::NodeRemoved);
        assert!(!three.is_held());
        assert_eq!(three.release().await, Err(ReleaseError::Lost(Lost { reason })));
        fixture.until_children(LEASES, 0).await;
    }
    // The place at the head of the line, and one behind.
    let holder = take(&mine, 3).await;
    let head = join_line(&fixture, &theirs, 2, 1).await;
    let behind = join_line(&fixture, &theirs, 1, 2).await;
    for _ in 0..3 {
        for place in fixture.children(LOCKS).await {
            fixture.raw().delete(&format!("{LOCKS}/{place}"), None).await.unwrap();
            eventually(PATIENCE, "it stands in line again", || async {
                let line = fixture.children(LOCKS).await;
                line.len() == 2 && !line.contains(&place)
            })
            .await;
        }
    }
    assert!(!head.is_finished() && !behind.is_finished());
    holder.release().await.unwrap();
    drop((granted(head).await, granted(behind).await));
    finish(&fixture, &mine, 3).await;
}

/// Curator counts the children of `leases`, and whoever waits has its own there already.
#[tokio::test]
async fn permits_of_curator_count_foreign_children_not() {
    let fixture = Fixture::new("curator").await;
    let (zk, peer) = (connect(&fixture).await, fixture.connect().await);
    let mine = semaphore(&zk, 2);
    // No containers: the peer creates its nodes in directories that are empty by then.
    for directory in ["/bank", PATH, LOCKS, LEASES] {
        create(&fixture, directory, zk::CreateMode::Persistent).await;
    }
    take(&mine, 1).await.release().await.unwrap();
    let sequential = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_all());
    let lock = format!("{LOCKS}/_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-lock-");
    let lease = format!("{LEASES}/_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e12-lease-");
    create(&fixture, &format!("{LEASES}/foreign"), zk::CreateMode::Persistent).await;

    // It holds one, without the lock.
    let (_, sequence) = peer.create(&lease, b"127.0.0.1", &sequential).await.unwrap();
    let theirs = format!("{lease}{sequence}");
    assert_eq!(mine.available_permits().await.unwrap(), 1);
    let ours = take(&mine, 1).await;
    // It waits for a second one: it has the lock, and its own node among the children.
    let (_, sequence) = peer.create(&lock, b"127.0.0.1", &sequential).await.unwrap();
    let mutex = format!("{lock}{sequence}");
    let (_, sequence) = peer.create(&lease, b"127.0.0.1", &sequential).await.unwrap();
    let second = format!("{lease}{sequence}");
    assert_eq!(mine.available_permits().await.unwrap(), 0);
    let waiter = join_line(&fixture, &mine, 1, 2).await;
    ours.release().await.unwrap();
    // Now it has it, by its rule; and leaves the lock. We wait for the first one's return.
    peer.delete(&mutex, None).await.unwrap();
    assert_waits(&waiter).await;
    peer.delete(&theirs, None).await.unwrap();
    let ours = granted(waiter).await;
    let name = ours.path().rsplit('/').next().unwrap();
    assert!(name.starts_with("_c_") && name.contains("-lease-"), "{name}");
    peer.delete(&second, None).await.unwrap();
    drop(ours);
    fixture.raw().delete(&format!("{LEASES}/foreign"), None).await.unwrap();
    finish(&fixture, &mine, 2).await;
}
