//! Several locks at once: all or none, whatever happens to one of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{
    AcquireTimeoutError, Coordinator, Error, FencedWriteError, Layout, LossReason, Lost, MultiLock, MultiLockGuard,
    ReleaseError, TryAcquireError,
};
use zookeeper_testkit::{Fixture, History, Injection, Mode, Op, When, eventually, within};

use crate::cancellation::poll_times;
use crate::sessions::assert_expired;
use crate::support::{PATIENCE, acquire, connect, connect_to, granted as lock_granted, join_line, lock, session_id};

const PATHS: [&str; 3] = ["/m/a", "/m/b", "/other/c"];

fn all(zk: &Coordinator) -> MultiLock {
    MultiLock::new(zk, PATHS).unwrap()
}

async fn take(locks: &MultiLock) -> MultiLockGuard {
    within(PATIENCE, "all locks", locks.acquire()).await.unwrap()
}

/// Begins to acquire in a task, and returns when its contender stands as number `place` on every path.
async fn join(fixture: &Fixture, locks: MultiLock, place: usize) -> JoinHandle<Result<MultiLockGuard, Error>> {
    let paths: Vec<String> = locks.paths().map(str::to_owned).collect();
    let pending = tokio::spawn(async move { locks.acquire().await });
    for path in paths {
        fixture.until_children(&path, place).await;
    }
    pending
}

async fn granted(pending: JoinHandle<Result<MultiLockGuard, Error>>) -> MultiLockGuard {
    within(PATIENCE, "granted", pending).await.unwrap().unwrap()
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

#[tokio::test]
async fn all_locks_are_held_from_acquire_to_release() {
    let fixture = Fixture::new("held").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
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
    let next = lock_granted(waiter).await;
    assert!(next.token() > token);
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn a_dropped_guard_gives_all_locks_back() {
    let fixture = Fixture::new("dropped").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let guard = take(&all(&one)).await;
    let next = join(&fixture, all(&two), 2).await;
    drop(guard);
    granted(next).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn paths_are_checked_and_count_once() {
    let fixture = Fixture::new("paths").await;
    let zk = connect(&fixture).await;
    assert!(matches!(MultiLock::new(&zk, [""; 0]), Err(Error::InvalidPath { .. })));
    match MultiLock::new(&zk, ["/a", "b"]) {
        Err(Error::InvalidPath { path, .. }) => assert_eq!(path, "b"),
        other => panic!("{other:?}"),
    }
    let twice = MultiLock::new(&zk, ["/m/a", "/m/b", "/m/a"])
        .unwrap()
        .layout(Layout::Kazoo);
    assert_eq!(twice.paths().collect::<Vec<_>>(), ["/m/a", "/m/b"]);
    let guard = take(&twice).await;
    assert!(only_child(&fixture, "/m/a").await.contains("__lock__"));
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn one_path_is_a_multi_lock_too() {
    let fixture = Fixture::new("one").await;
    let zk = connect(&fixture).await;
    let guard = take(&MultiLock::new(&zk, ["/m/a"]).unwrap()).await;
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

/// The order in which the paths are given differs, and they overlap: taking one lock after the other would deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_multi_locks_in_any_order_do_not_deadlock() {
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
async fn curator_multi_lock_an_error_on_one_path_takes_nothing_and_is_told() {
    let fixture = Fixture::new("error").await;
    let zk = connect(&fixture).await;
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
async fn curator_multi_lock_one_timeout_bounds_all_locks_together() {
    let fixture = Fixture::new("timeout").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
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
    assert_eq!(outcome.unwrap_err(), AcquireTimeoutError::Elapsed { after });
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
async fn try_acquire_reads_first_and_takes_all_or_none() {
    let fixture = Fixture::new("try").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect_to(&servers, PATIENCE).await, connect(&fixture).await);
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

#[tokio::test]
async fn the_loss_of_one_lock_is_the_loss_of_all() {
    let fixture = Fixture::new("loss of one").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    for path in PATHS {
        let guard = take(&all(&zk)).await;
        let next = join(&fixture, all(&other), 2).await;
        let mut own = all_owned(&fixture, session_id(&zk).await).await;
        own.retain(|node| node.starts_with(path));
        assert_eq!(own.len(), 1);
        let work = guard.run_until_lost(std::future::pending::<()>());
        let (ended, deleted) = tokio::join!(within(PATIENCE, "told", work), fixture.raw().delete(&own[0], None));
        deleted.unwrap();
        let reason = LossReason::NodeRemoved;
        assert_eq!(ended.unwrap_err(), Lost { reason });
        assert!(!guard.is_held() && guard.remaining().is_zero());
        assert_eq!(guard.release().await.unwrap_err(), ReleaseError::Lost(Lost { reason }));
        granted(next).await.release().await.unwrap();
        fixture.assert_no_nodes_left(&PATHS).await;
    }
}

async fn all_owned(fixture: &Fixture, session: i64) -> Vec<String> {
    let ephemerals = fixture.ephemerals().await.into_iter();
    ephemerals
        .filter(|(_, owner)| *owner == session)
        .map(|(path, _)| path)
        .collect()
}

/// A release that comes upon a node that somebody has just deleted is no success, and leaves nothing.
#[tokio::test]
async fn a_release_beside_an_operators_delete_leaves_nothing() {
    let fixture = Fixture::new("release, delete").await;
    let zk = connect(&fixture).await;
    for path in PATHS {
        let guard = take(&all(&zk)).await;
        let own = only_child(&fixture, path).await;
        let (_, released) = tokio::join!(fixture.raw().delete(&own, None), guard.release());
        let reason = LossReason::NodeRemoved;
        assert!(
            matches!(released, Ok(()) | Err(ReleaseError::Lost(Lost { .. }))),
            "{released:?}, {reason}"
        );
        fixture.assert_no_nodes_left(&PATHS).await;
    }
}

#[tokio::test]
async fn a_fenced_write_checks_all_nodes() {
    let fixture = Fixture::new("fenced").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, PATIENCE).await;
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    fixture.raw().create("/data", b"0", &options).await.unwrap();
    let guard = take(&all(&zk)).await;
    proxy.reset_counts();
    let mut write = guard.fenced();
    let results = write.add_set_data("/data", b"1", None).commit().await.unwrap();
    assert_eq!(results.len(), 1, "the checks are none of the user's operations");
    let requests = proxy.requests().without_heartbeats();
    let requests = requests.matching(|request| request.op == Op::Multi);
    let inner = &requests.requests()[0].inner;
    assert_eq!(*inner, [Op::Check, Op::Check, Op::Check, Op::SetData], "{requests}");
    let refused = write.add_set_data("/data", b"2", Some(7)).commit().await.unwrap_err();
    assert_eq!(
        refused,
        FencedWriteError::Refused {
            index: 0,
            source: zk::Error::BadVersion
        }
    );

    // The notification of the delete is held back, so only the check can tell.
    proxy.delay_replies(Duration::from_millis(300));
    let own = only_child(&fixture, PATHS[2]).await;
    fixture.raw().delete(&own, None).await.unwrap();
    let lost = write.add_set_data("/data", b"3", None).commit().await.unwrap_err();
    let reason = LossReason::NodeRemoved;
    assert_eq!(lost, FencedWriteError::Lost(Lost { reason }));
    assert!(!guard.is_held());
    assert_eq!(fixture.raw().get_data("/data").await.unwrap().0, b"1");
    drop(guard);
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn contenders_are_created_in_one_transaction_and_found_again_when_its_reply_is_lost() {
    let fixture = Fixture::new("lost reply").await;
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        for dirs in ["missing", "there"] {
            let (proxy, servers) = fixture.proxied().await;
            let zk = connect_to(&servers, PATIENCE).await;
            // Where the directories are missing, the first transaction is refused.
            let nth = if dirs == "missing" { 2 } else { 1 };
            if dirs == "missing" {
                for path in PATHS {
                    let _ = fixture.raw().delete(path, None).await;
                }
            }
            let fault = proxy.inject(When::request(Op::Multi).path("-lock-").nth(nth), injection);
            let guard = take(&all(&zk)).await;
            fault.fired().await;
            assert!(guard.is_held());
            assert_eq!(counts(&fixture).await, [1, 1, 1], "{injection:?}, {dirs}");
            let stat = fixture.tree().await[guard.path()];
            assert_eq!(stat.czxid, guard.token().as_i64());
            guard.release().await.unwrap();
            fixture.assert_no_nodes_left(&PATHS).await;
        }
    }
}

/// Of the nodes of a transaction whose reply is lost, somebody deletes one before they are found: the order of the
/// lines is broken, so all lines are joined anew.
#[tokio::test]
async fn nodes_of_a_lost_reply_of_which_one_was_deleted_are_given_up() {
    let fixture = Fixture::new("lost reply, delete").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect_to(&servers, PATIENCE).await, connect(&fixture).await);
    take(&all(&other)).await.release().await.unwrap();
    let fault = proxy.inject(When::request(Op::Multi).path("-lock-"), Injection::SilenceReply);
    let pending = tokio::spawn({
        let locks = all(&zk);
        async move { locks.acquire().await }
    });
    fault.fired().await;
    let own = only_child(&fixture, PATHS[1]).await;
    let first = only_child(&fixture, PATHS[0]).await;
    fixture.raw().delete(&own, None).await.unwrap();
    proxy.refuse().await;
    proxy.heal();
    proxy.accept().await;
    let guard = granted(pending).await;
    assert_ne!(guard.path(), first);
    for path in PATHS {
        fixture.until_children(path, 1).await;
    }
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn a_release_whose_reply_is_lost_is_resolved() {
    let fixture = Fixture::new("release, lost reply").await;
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_to(&servers, PATIENCE).await;
        let guard = take(&all(&zk)).await;
        let fault = proxy.inject(When::request(Op::Multi).path("-lock-"), injection);
        within(PATIENCE, "released", guard.release()).await.unwrap();
        fault.fired().await;
        assert_eq!(counts(&fixture).await, [0, 0, 0], "{injection:?}");
        fixture.assert_no_nodes_left(&PATHS).await;
    }
}

#[tokio::test]
async fn a_waiter_that_loses_one_place_joins_all_lines_again() {
    let fixture = Fixture::new("one place").await;
    let (one, two, three) = (
        connect(&fixture).await,
        connect(&fixture).await,
        connect(&fixture).await,
    );
    let holder = take(&all(&one)).await;
    let waiting = join(&fixture, all(&two), 2).await;
    let behind = join(&fixture, all(&three), 3).await;
    let waiter = session_id(&two).await;
    for place in [1, 2] {
        // It waits on the first path; its node on another one is deleted.
        let line = lock(&one, PATHS[2]).contenders().await.unwrap();
        let own = line.iter().find(|contender| contender.session_id == waiter).unwrap();
        assert_eq!(own.position, place);
        fixture.raw().delete(&own.path, None).await.unwrap();
        for path in PATHS {
            eventually(PATIENCE, "it is at the tail everywhere, once", || async {
                let line = lock(&one, path).contenders().await.unwrap();
                line.len() == 3 && line[2].session_id == waiter && line[2].token > own.token
            })
            .await;
        }
    }
    holder.release().await.unwrap();
    granted(behind).await.release().await.unwrap();
    granted(waiting).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&PATHS).await;
}

#[tokio::test]
async fn an_expired_waiter_joins_all_lines_again_and_an_expired_holder_is_told() {
    let fixture = Fixture::new("expiry").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let holder = take(&all(&one)).await;
    let waiting = join(&fixture, all(&two), 2).await;
    let before = session_id(&two).await;
    fixture.expire(&two.client().await.unwrap().session().clone()).await;
    let rejoined = || async { session_id(&two).await != before && counts(&fixture).await == [2, 2, 2] };
    eventually(PATIENCE, "joined again", rejoined).await;
    fixture.expire(&one.client().await.unwrap().session().clone()).await;
    assert_expired(within(PATIENCE, "told", holder.lost()).await);
    granted(waiting).await.release().await.unwrap();
    drop(holder);
    fixture.assert_no_nodes_left(&PATHS).await;
}

/// With and without somebody ahead, on the first path or on the last.
#[tokio::test]
async fn an_acquire_dropped_at_any_await_point_leaves_nothing() {
    let fixture = Arc::new(Fixture::new("cancelled").await);
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let id = session_id(&zk).await;
    let mut rounds = 0;
    for blocked in [None, Some(PATHS[0]), Some(PATHS[2])] {
        for form in ["acquire", "acquire_timeout", "try_acquire", "release"] {
            for polls in 0.. {
                rounds += 1;
                let holder = match blocked {
                    Some(path) => Some(acquire(&lock(&other, path)).await),
                    None => None,
                };
                let locks = all(&zk);
                let mut attempt = Box::pin(async move {
                    match form {
                        "acquire" => drop(locks.acquire().await.unwrap()),
                        "acquire_timeout" => drop(locks.acquire_timeout(PATIENCE).await.unwrap()),
                        "try_acquire" => drop(locks.try_acquire().await),
                        _ => locks.acquire().await.unwrap().release().await.unwrap(),
                    }
                });
                let polled = poll_times(attempt.as_mut(), polls);
                // Whoever waits for the holder waits for ever.
                let done = match blocked {
                    Some(_) => tokio::time::timeout(Duration::from_millis(200), polled)
                        .await
                        .unwrap_or(Some(())),
                    None => within(PATIENCE, "polled", polled).await,
                };
                drop(attempt);
                drop(holder);
                take(&all(&other)).await.release().await.unwrap();
                for path in PATHS {
                    fixture.until_children(path, 0).await;
                }
                if done.is_some() {
                    break;
                }
            }
        }
    }
    assert!(rounds > 24, "it was never dropped half-way");
    assert_eq!(session_id(&zk).await, id, "the session outlives what was cancelled");
    fixture.assert_no_nodes_left(&PATHS).await;
}
