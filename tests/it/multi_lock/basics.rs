//! All or none, on one path or several, in any order.

use std::time::{Duration, Instant};

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Error, Layout, LossReason, MultiLock, TryAcquireError};
use zookeeper_testkit::{Fixture, History, Mode, within};

use super::{PATHS, all, counts, join, only_child, take};
use crate::support::{
    PATIENCE, acquire, connect, elapsed, granted, join_line, lock, session_id, start, start_each, start_proxied,
};

#[tokio::test]
async fn all_locks_are_held_from_acquire_to_release() {
    let (fixture, [one, two]) = start_each("held").await;
    let guard = take(&all(&one)).await;
    assert!(guard.is_held() && guard.lost().reason().is_none());
    let tree = fixture.tree().await;
    for path in PATHS {
        let own = tree[&only_child(&fixture, path).await];
        assert_eq!(own.czxid, guard.token().as_i64(), "one token for every path");
        assert_eq!(own.ephemeral_owner, session_id(&one).await);
        let single = lock(&two, path).try_acquire().await;
        assert_eq!(single.unwrap_err(), TryAcquireError::Contended, "{path}");
    }
    let waiter = join_line(&fixture, &lock(&two, PATHS[1]), 2).await;
    let (token, signal) = (guard.token(), guard.lost());
    within(PATIENCE, "released", guard.release()).await.unwrap();
    assert_eq!(signal.await, LossReason::Released);
    assert_eq!(
        counts(&fixture).await,
        [0, 1, 0],
        "a release returns when the nodes are gone"
    );
    let next = granted(waiter).await;
    assert!(next.token() > token);
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn a_dropped_guard_gives_all_locks_back() {
    let (fixture, [one, two]) = start_each("dropped").await;
    let guard = take(&all(&one)).await;
    let next = join(&fixture, all(&two), 2).await;
    drop(guard);
    granted(next).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn paths_are_checked_and_count_once() {
    let (fixture, zk) = start("paths").await;
    assert!(matches!(MultiLock::new(&zk, [""; 0]), Err(Error::InvalidPath { .. })));
    match MultiLock::new(&zk, ["/a", "b"]) {
        Err(Error::InvalidPath { path, .. }) => assert_eq!(path, "b"),
        other => panic!("{other:?}"),
    }
    let twice = MultiLock::builder(&zk, ["/m/a", "/m/b", "/m/a"])
        .layout(Layout::Kazoo)
        .build()
        .unwrap();
    assert_eq!(twice.paths().collect::<Vec<_>>(), ["/m/a", "/m/b"]);
    let guard = take(&twice).await;
    assert!(only_child(&fixture, "/m/a").await.contains("__lock__"));
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn one_path_is_a_multi_lock_too() {
    let (fixture, zk) = start("one").await;
    let guard = take(&MultiLock::new(&zk, ["/m/a"]).unwrap()).await;
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

/// The order in which the paths are given differs, and they overlap: taking one lock after the other would deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_locks_in_any_order_never_deadlock() {
    let fixture = Fixture::new("any order").await;
    let history = History::new();
    let orders = [
        vec!["/m/a", "/m/b", "/other/c"],
        vec!["/other/c", "/m/b", "/m/a"],
        vec!["/m/b", "/m/a"],
        vec!["/other/c", "/m/a"],
        vec!["/m/b", "/other/c"],
        vec!["/m/a", "/other/c"],
    ];
    let mut workers = Vec::new();
    for (worker, paths) in orders.into_iter().enumerate() {
        let (zk, history) = (connect(&fixture).await, history.clone());
        workers.push(tokio::spawn(async move {
            let locks = MultiLock::new(&zk, &paths).unwrap();
            for _ in 0..15 {
                let guard = locks.acquire().await.unwrap();
                let token = guard.token().as_i64();
                let record = |path: &&str| history.record_grant(path, worker, Mode::Exclusive, token);
                let held: Vec<_> = paths.iter().map(record).collect();
                tokio::task::yield_now().await;
                drop(held);
                guard.release().await.unwrap();
            }
        }));
    }
    for worker in workers {
        within(PATIENCE * 4, "no deadlock", worker).await.unwrap();
    }
    let summary = history.assert_sound();
    assert_eq!(
        (summary.paths, summary.grants),
        (3, 15 * (3 + 3 + 2 + 2 + 2 + 2)),
        "{summary}"
    );
    fixture.assert_no_nodes_left(&PATHS).await;
}

/// Curator's multi-lock goes on to the next lock after one threw, and tells the last error only.
#[tokio::test]
async fn curator_multi_lock_one_error_takes_nothing() {
    let (fixture, zk) = start("error").await;
    let ephemeral = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
    fixture.raw().create("/leaf", b"", &ephemeral).await.unwrap();
    let bad = MultiLock::new(&zk, ["/m/a", "/leaf", "/other/c"]).unwrap();
    for _ in 0..2 {
        match within(PATIENCE, "told", bad.acquire()).await {
            Err(Error::Layout { path, .. }) => assert_eq!(path, "/leaf"),
            other => panic!("{other:?}"),
        }
        match within(PATIENCE, "told", bad.try_acquire()).await {
            Err(TryAcquireError::Error(Error::Layout { path, .. })) => assert_eq!(path, "/leaf"),
            other => panic!("{other:?}"),
        }
        assert_eq!(counts(&fixture).await, [0, 0, 0]);
    }
    take(&all(&zk)).await.release().await.unwrap();
    fixture.raw().delete("/leaf", None).await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

/// Curator's timeout applies to each lock anew.
#[tokio::test]
async fn curator_multi_lock_one_timeout_bounds_all() {
    let (fixture, [one, two]) = start_each("timeout").await;
    let holders = [
        acquire(&lock(&one, PATHS[0])).await,
        acquire(&lock(&one, PATHS[2])).await,
    ];
    let after = Duration::from_secs(2);
    let pending = tokio::spawn({
        let locks = all(&two);
        async move {
            let started = Instant::now();
            (locks.acquire_timeout(after).await, started.elapsed())
        }
    });
    fixture.until_children(PATHS[2], 2).await;
    let [first, last] = holders;
    first.release().await.unwrap();
    let (outcome, took) = within(PATIENCE, "elapsed", pending).await.unwrap();
    assert_eq!(elapsed(outcome), Some(after));
    assert!(
        took >= after && took < after * 2,
        "{took:?}: not {after:?} for each lock"
    );
    assert_eq!(counts(&fixture).await, [0, 0, 1], "no node is left");
    last.release().await.unwrap();
    let guard = all(&two).acquire_timeout(PATIENCE).await.unwrap();
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn try_acquire_takes_all_or_none() {
    let (fixture, proxy, zk) = start_proxied("try", PATIENCE).await;
    let other = connect(&fixture).await;
    let holder = acquire(&lock(&other, PATHS[1])).await;
    proxy.reset_counts();
    assert_eq!(all(&zk).try_acquire().await.unwrap_err(), TryAcquireError::Contended);
    let requests = proxy.requests();
    assert_eq!(
        (requests.lists(), requests.total()),
        (PATHS.len(), PATHS.len()),
        "{requests}"
    );
    holder.release().await.unwrap();
    let guard = all(&zk).try_acquire().await.unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}
