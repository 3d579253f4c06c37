//! What each step of the read-write lock costs, counted by a proxy: every request but pings.

use tokio::task::JoinHandle;
use zookeeper_recipes::{Coordinator, Error, RwLock, RwLockReadGuard, TryAcquireError};
use zookeeper_testkit::{Fixture, Op, within};

use crate::support::cost::{Counted, make_dir};
use crate::support::{PATIENCE, connect, granted, start};

fn rw(zk: &Coordinator) -> RwLock {
    RwLock::new(zk, "/rw").unwrap()
}

#[tokio::test]
async fn an_uncontended_hold_is_four_requests() {
    let fixture = Fixture::new("uncontended").await;
    make_dir(&fixture, "/rw").await;
    let counted = Counted::connect(&fixture).await;
    for _ in 0..2 {
        let reader = rw(&counted.zk).read().await.unwrap();
        let counts = counted.requests(3).await;
        let seen = (counts.creates(), counts.lists(), counts.of(Op::Exists), counts.total());
        assert_eq!(seen, (1, 1, 1, 3), "{counts}");
        counted.assert_one_delete(reader.release()).await;

        let writer = rw(&counted.zk).write().await.unwrap();
        let counts = counted.requests(3).await;
        let seen = (counts.creates(), counts.lists(), counts.of(Op::Exists), counts.total());
        assert_eq!(seen, (1, 1, 1, 3), "{counts}");
        counted.assert_one_delete(writer.release()).await;
    }
    fixture.assert_no_nodes_left(&["/rw"]).await;
}

#[tokio::test]
async fn a_downgrade_is_one_transaction_and_one_watch() {
    let fixture = Fixture::new("downgrade").await;
    let counted = Counted::connect(&fixture).await;
    let writer = rw(&counted.zk).write().await.unwrap();
    counted.after_grant(writer.path()).await;
    let reader = writer.downgrade().await.unwrap();
    let counts = counted.requests(2).await;
    let seen = (counts.of(Op::Multi), counts.of(Op::Exists), counts.total());
    assert_eq!(seen, (1, 1, 2), "{counts}");
    counted.assert_one_delete(reader.release()).await;
    fixture.assert_no_nodes_left(&["/rw"]).await;
}

#[tokio::test]
async fn a_contended_try_is_one_read() {
    let fixture = Fixture::new("try").await;
    let (counted, other) = (Counted::connect(&fixture).await, connect(&fixture).await);
    let reader = rw(&other).read().await.unwrap();
    assert_eq!(
        rw(&counted.zk).try_write().await.unwrap_err(),
        TryAcquireError::Contended
    );
    counted.assert_one_list().await;
    reader.release().await.unwrap();
    let writer = rw(&other).write().await.unwrap();
    assert_eq!(
        rw(&counted.zk).try_read().await.unwrap_err(),
        TryAcquireError::Contended
    );
    counted.assert_one_list().await;
    writer.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/rw"]).await;
}

/// The readers of one process that a writer frees share lists; the readers of others, behind a writer that still waits, not at all.
#[tokio::test]
async fn a_hundred_woken_readers_share_lists() {
    const SESSIONS: usize = 4;
    const READERS: usize = 100;
    let (fixture, other) = start("a hundred readers").await;
    let writer = rw(&other).write().await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(Counted::connect(&fixture).await);
    }
    let mut readers: Vec<JoinHandle<Result<RwLockReadGuard, Error>>> = Vec::new();
    for number in 0..READERS {
        let lock = rw(&sessions[number % SESSIONS].zk);
        readers.push(tokio::spawn(async move { lock.read().await }));
    }
    fixture.until_children("/rw", READERS + 1).await;
    let behind = Counted::connect(&fixture).await;
    let next = tokio::spawn({
        let lock = rw(&other);
        async move { lock.write().await }
    });
    fixture.until_children("/rw", READERS + 2).await;
    let late = tokio::spawn({
        let lock = rw(&behind.zk);
        async move { lock.read().await }
    });
    fixture.until_children("/rw", READERS + 3).await;
    behind.requests(4).await;
    let each = READERS / SESSIONS;
    for session in &sessions {
        // Each creates and sets two watches.
        let counts = session.requests(3 * each + 1).await;
        assert_eq!(counts.total() - counts.lists(), 3 * each, "{counts}");
        assert!((1..=each).contains(&counts.lists()), "{counts}");
    }

    writer.release().await.unwrap();
    let mut guards = Vec::new();
    for reader in readers {
        guards.push(within(PATIENCE, "freed", reader).await.unwrap().unwrap());
    }
    assert!(guards.iter().all(|guard| guard.is_held()));
    for session in &sessions {
        let counts = session.requests(1).await;
        assert_eq!(counts.lists(), counts.without_heartbeats().total(), "{counts}");
        assert!((1..=each).contains(&counts.lists()), "{counts}");
        assert!(counts.heartbeats() <= 2, "{counts}");
    }
    assert_eq!(behind.requests(0).await.total(), 0, "its writer still waits");
    assert!(!next.is_finished() && !late.is_finished());
    drop(guards);
    granted(next).await.release().await.unwrap();
    granted(late).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/rw"]).await;
}
