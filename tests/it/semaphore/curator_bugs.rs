//! Known mistakes of Curator's `InterProcessSemaphoreV2`, and the tests that would show them here.
//!
//! | row | mistake | test |
//! |---|---|---|
//! | semaphore qty | two who ask for two of two take one each and wait for ever | `curator_semaphore_qty_…` |
//! | semaphore convoy | a big request at the head stops all small ones: fairness, also here | `curator_semaphore_convoy_…` |
//! | semaphore release failure | a permit is taken, then leaving the line fails, and it is lost | `curator_315_…` |
//! | CURATOR-315, 335 | orphan permits after a reconnect, a failed list | `curator_315_…`, `…_335_…` |
//! | CURATOR-462 | and after an interrupt | `curator_462_…` in `cancel` |
//! | CURATOR-376 | acquire returns without a permit | `curator_376_…` |
//! | CURATOR-180 | NoNode when the directory is reaped in between | `curator_180_…` |
//! | CURATOR-595 | permits of a lost session are not free for others | `curator_595_…` |

use std::sync::Arc;
use std::time::Duration;

use zookeeper_recipes::{Error, LossReason, Lost, PermitError, ReleaseError};
use zookeeper_testkit::{Fixture, History, Injection, Mode, Op, When, within};

use super::{LEASES, LOCKS, PATH, finish, join_line, semaphore, start_semaphores, take};
use crate::support::sessions::{assert_expired, expire};
use crate::support::{LONG, PATIENCE, assert_waits, connect, elapsed, granted, start, start_each, start_proxied};

/// Two clients that each ask for two of two: with Curator, none of 80 calls came to an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn curator_semaphore_qty_two_by_two_never_deadlock() {
    let (fixture, zks) = start_each::<2>("qty").await;
    let history = History::new();
    let workers = (0..4).map(|worker| {
        let (mine, history) = (semaphore(&zks[worker % 2], 2), history.clone());
        tokio::spawn(async move {
            for _ in 0..20 {
                let permit = mine.acquire_many(2).await.unwrap();
                let mode = Mode::Permits { taken: 2, limit: 2 };
                let held = history.record_grant(PATH, worker, mode, permit.token().as_i64());
                held.end();
                permit.release().await.unwrap();
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        within(PATIENCE * 2, "all had their turns", worker).await.unwrap();
    }
    assert_eq!(history.assert_sound().grants, 80);
    finish(&fixture, &semaphore(&zks[0], 2), 2).await;
}

/// Fairness to the big has its price, here as there: while it waits at the head, nobody overtakes it with few. What is
/// better here is that a timeout bounds the whole call.
#[tokio::test]
async fn curator_semaphore_convoy_big_requests_are_not_overtaken() {
    let (fixture, [mine, theirs]) = start_semaphores("convoy", 3).await;
    let one = take(&mine, 1).await;
    let big = join_line(&fixture, &theirs, 3, 1).await;
    let small = join_line(&fixture, &mine, 1, 2).await;
    assert_eq!(mine.available_permits().await.unwrap(), 2);
    assert_waits(&small).await;
    let after = Duration::from_millis(50);
    assert_eq!(elapsed(mine.acquire_timeout(after).await), Some(after));
    one.release().await.unwrap();
    let big = granted(big).await;
    assert_waits(&small).await;
    big.release().await.unwrap();
    granted(small).await.release().await.unwrap();

    // And when the big one gives up, the small ones go on.
    let one = take(&mine, 1).await;
    let big = join_line(&fixture, &theirs, 3, 1).await;
    let small = join_line(&fixture, &mine, 1, 2).await;
    big.abort();
    let small = granted(small).await;
    drop((one, small));
    finish(&fixture, &mine, 3).await;
}

/// A permit is taken and the line is left in one transaction: there is no failure between the two.
#[tokio::test]
async fn curator_315_a_lost_reply_loses_no_permit() {
    let (fixture, proxy, zk) = start_proxied("lost replies", LONG).await;
    let other = connect(&fixture).await;
    let (mine, theirs) = (semaphore(&zk, 3), semaphore(&other, 3));
    take(&mine, 3).await.release().await.unwrap();
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        for when in [
            When::create(),
            When::request(Op::GetData),
            When::list(),
            When::list().nth(2),
            When::request(Op::Multi),
            When::request(Op::Exists),
        ] {
            let fault = proxy.inject(when, injection);
            let permit = take(&mine, 2).await;
            fault.fired().await;
            assert_eq!(fixture.children(LEASES).await.len(), 2, "{injection:?}");
            fixture.until_children(LOCKS, 0).await;
            assert_eq!(theirs.available_permits().await.unwrap(), 1);
            let fault = proxy.inject(When::request(Op::Multi), injection);
            let released = within(PATIENCE, "released", permit.release()).await;
            assert_eq!(released, Ok(()));
            assert!(fault.has_fired());
            assert_eq!(theirs.available_permits().await.unwrap(), 3);
        }
    }
    finish(&fixture, &theirs, 3).await;
}

/// A list that fails while permits are waited for, or the watch on them.
#[tokio::test]
async fn curator_335_a_failed_list_loses_no_permit() {
    let (fixture, proxy, zk) = start_proxied("failed list", LONG).await;
    let other = connect(&fixture).await;
    let (mine, theirs) = (semaphore(&zk, 2), semaphore(&other, 2));
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        for nth in 1..=3 {
            let all = take(&theirs, 2).await;
            let fault = proxy.inject(When::list().nth(nth), injection);
            let waiter = join_line(&fixture, &mine, 1, 1).await;
            fault.fired().await;
            assert_waits(&waiter).await;
            let list = proxy.inject(When::list(), injection);
            all.release().await.unwrap();
            let permit = granted(waiter).await;
            assert!(list.has_fired());
            assert_eq!(fixture.children(LEASES).await.len(), 1);
            permit.release().await.unwrap();
        }
    }
    finish(&fixture, &theirs, 2).await;
}

/// A race lets Curator's acquire return without a permit while the client is closed.
#[tokio::test]
async fn curator_376_a_granted_permit_is_there() {
    let (fixture, other) = start("closed").await;
    let theirs = semaphore(&other, 1);
    for round in 0..20_u64 {
        let zk = connect(&fixture).await;
        let acquiring = tokio::spawn({
            let mine = semaphore(&zk, 1);
            async move { mine.acquire().await }
        });
        tokio::time::sleep(Duration::from_micros(300 * round)).await;
        zk.close().await;
        match within(PATIENCE, "an end", acquiring).await.unwrap() {
            Ok(permit) => {
                assert_eq!(within(PATIENCE, "told", permit.lost()).await, LossReason::Closed);
                assert!(!permit.is_held());
            }
            Err(error) => assert_eq!(error, PermitError::Error(Error::Closed)),
        }
        take(&theirs, 1).await.release().await.unwrap();
    }
    for _ in 0..10 {
        let permit = take(&theirs, 1).await;
        assert!(fixture.raw().check_stat(permit.path()).await.unwrap().is_some());
        permit.release().await.unwrap();
    }
    finish(&fixture, &theirs, 1).await;
}

/// The directories vanish again and again, as a server does with empty containers, at any moment.
#[tokio::test]
async fn curator_180_a_reaped_directory_is_made_again() {
    let fixture = Arc::new(Fixture::new("reaped").await);
    let zk = connect(&fixture).await;
    let mine = semaphore(&zk, 2);
    let reaping = tokio::spawn({
        let fixture = Arc::clone(&fixture);
        async move {
            loop {
                for directory in [LOCKS, LEASES, PATH] {
                    _ = fixture.raw().delete(directory, None).await;
                }
            }
        }
    });
    for round in 0..40_u32 {
        let permit = take(&mine, 1 + round % 2).await;
        assert!(permit.is_held());
        permit.release().await.unwrap();
    }
    reaping.abort();
    finish(&fixture, &mine, 2).await;
}

#[tokio::test]
async fn curator_595_a_lost_sessions_permits_come_back() {
    let (fixture, [zk, other]) = start_each("expired").await;
    let (mine, theirs) = (semaphore(&zk, 3), semaphore(&other, 3));
    for _ in 0..3 {
        let two = take(&mine, 2).await;
        let waiter = join_line(&fixture, &theirs, 3, 1).await;
        assert_waits(&waiter).await;
        expire(&fixture, &zk).await;
        let reason = within(PATIENCE, "told", two.lost()).await;
        assert_expired(reason);
        let three = granted(waiter).await;
        assert_eq!(two.release().await, Err(ReleaseError::Lost(Lost { reason })));
        assert!(three.is_held());
        three.release().await.unwrap();
    }
    finish(&fixture, &mine, 3).await;
}
