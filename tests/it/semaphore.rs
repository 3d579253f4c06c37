//! The semaphore: so many at once, all or nothing, in order, and every permit comes back.
//!
//! Known mistakes of Curator's `InterProcessSemaphoreV2`, and the tests that would show them here.
//!
//! | row | mistake | test |
//! |---|---|---|
//! | semaphore qty | two who ask for two of two take one each and wait for ever | `curator_semaphore_qty_…` |
//! | semaphore convoy | a big request at the head stops all small ones: fairness, also here | `curator_semaphore_convoy_…` |
//! | semaphore release failure | a permit is taken, then leaving the line fails, and it is lost | `curator_semaphore_release_failure_…` |
//! | CURATOR-315, 335, 462 | orphan permits after a reconnect, a failed list, an interrupt | `curator_315_…`, `…_335_…`, `…_462_…` |
//! | CURATOR-376 | acquire returns without a permit | `curator_376_…` |
//! | CURATOR-180 | NoNode when the directory is reaped in between | `curator_180_…` |
//! | CURATOR-595 | permits of a lost session are not free for others | `curator_595_…` |

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::Future;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use zookeeper_recipes::zookeeper_client::{self as zk, AddWatchMode, EventType};
use zookeeper_recipes::{
    Coordinator, Error, LossReason, Lost, Permit, PermitError, PermitTimeoutError, ReleaseError, Semaphore,
    TryPermitError,
};
use zookeeper_testkit::{Fixture, History, Injection, Mode, Op, ServerTruth, When, eventually, within};

use crate::cancellation::poll_times;
use crate::sessions::{assert_expired, expire};
use crate::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, connect, connect_to, create, faults, session_id};

const PATH: &str = "/bank/lines";
const LOCKS: &str = "/bank/lines/locks";
const LEASES: &str = "/bank/lines/leases";

/// How long something that must not happen is given to happen.
const SILENCE: Duration = Duration::from_millis(200);

fn semaphore(zk: &Coordinator, permits: u32) -> Semaphore {
    Semaphore::new(zk, PATH, permits).unwrap()
}

async fn take(semaphore: &Semaphore, permits: u32) -> Permit {
    within(PATIENCE, "permits", semaphore.acquire_many(permits))
        .await
        .unwrap()
}

type Pending = JoinHandle<Result<Permit, PermitError>>;

/// Begins to acquire in a task, and returns when the contender stands in line as number `place`.
async fn join_line(fixture: &Fixture, semaphore: &Semaphore, permits: u32, place: usize) -> Pending {
    let task = semaphore.clone();
    let pending = tokio::spawn(async move { task.acquire_many(permits).await });
    fixture.until_children(LOCKS, place).await;
    pending
}

async fn granted(pending: Pending) -> Permit {
    within(PATIENCE, "granted", pending).await.unwrap().unwrap()
}

async fn assert_waits<T>(waiting: &JoinHandle<T>) {
    tokio::time::sleep(SILENCE).await;
    assert!(!waiting.is_finished(), "it went on");
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

#[tokio::test]
async fn permits_are_taken_and_given_back() {
    let fixture = Fixture::new("permits").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (semaphore(&zk, 3), semaphore(&other, 3));
    assert_eq!(mine.path(), PATH);
    assert_eq!(mine.available_permits().await.unwrap(), 3);
    let two = take(&mine, 2).await;
    assert_eq!((two.permits(), mine.available_permits().await.unwrap()), (2, 1));
    assert!(two.is_held() && two.lost().reason().is_none());
    let one = take(&theirs, 1).await;
    assert!(one.token() > two.token());
    assert_eq!(theirs.available_permits().await.unwrap(), 0);
    let tree = fixture.tree().await;
    assert_eq!(two.token().as_i64(), tree[two.path()].czxid);
    assert_eq!(fixture.children(LEASES).await.len(), 3);
    assert!(fixture.children(LOCKS).await.is_empty(), "nobody stands in line");

    let waiter = join_line(&fixture, &theirs, 2, 1).await;
    assert_waits(&waiter).await;
    one.release().await.unwrap();
    assert_waits(&waiter).await;
    two.release().await.unwrap();
    let next = granted(waiter).await;
    assert_eq!(fixture.children(LEASES).await.len(), 2);
    drop(next);
    finish(&fixture, &mine, 3).await;
}

#[tokio::test]
async fn try_forms_take_what_is_free_and_never_wait() {
    let fixture = Fixture::new("try").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (semaphore(&zk, 2), semaphore(&other, 2));
    let one = within(PATIENCE, "free", mine.try_acquire()).await.unwrap();
    assert_eq!(theirs.try_acquire_many(2).await.unwrap_err(), TryPermitError::NoPermits);
    let two = theirs.try_acquire().await.unwrap();
    assert_eq!(mine.try_acquire().await.unwrap_err(), TryPermitError::NoPermits);
    one.release().await.unwrap();
    // One is free, but it is not for who comes last.
    let waiter = join_line(&fixture, &mine, 2, 1).await;
    assert_eq!(theirs.try_acquire().await.unwrap_err(), TryPermitError::NoPermits);
    two.release().await.unwrap();
    granted(waiter).await.release().await.unwrap();
    finish(&fixture, &mine, 2).await;
}

#[tokio::test]
async fn a_timeout_elapses_and_leaves_nothing() {
    let fixture = Fixture::new("timeout").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (semaphore(&zk, 2), semaphore(&other, 2));
    let one = take(&mine, 1).await;
    let after = Duration::from_millis(150);
    let started = Instant::now();
    let elapsed = theirs.acquire_many_timeout(2, after).await.unwrap_err();
    assert!(started.elapsed() >= after);
    assert_eq!(elapsed, PermitTimeoutError::Elapsed { after });
    assert!(fixture.children(LOCKS).await.is_empty(), "removed before it returns");
    assert_eq!(fixture.children(LEASES).await.len(), 1);
    let two = theirs.acquire_timeout(LONG).await.unwrap();
    drop((one, two));
    finish(&fixture, &mine, 2).await;
}

#[tokio::test]
async fn more_than_there_are_is_an_error_at_once() {
    let fixture = Fixture::new("too many").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (semaphore(&zk, 2), semaphore(&other, 2));
    let all = take(&theirs, 2).await;
    let waiter = join_line(&fixture, &theirs, 1, 1).await;
    for requested in [0, 3, u32::MAX] {
        let error = PermitError::Unsatisfiable { requested, permits: 2 };
        let refused = within(PATIENCE, "at once", mine.acquire_many(requested)).await;
        assert_eq!(refused.unwrap_err(), error);
        let refused = mine.try_acquire_many(requested).await;
        assert_eq!(refused.unwrap_err(), TryPermitError::Permit(error.clone()));
        let refused = mine.acquire_many_timeout(requested, LONG).await;
        assert_eq!(refused.unwrap_err(), PermitTimeoutError::Permit(error));
    }
    fixture.until_children(LOCKS, 1).await;
    drop(all);
    granted(waiter).await.release().await.unwrap();
    finish(&fixture, &mine, 2).await;
}

#[tokio::test]
async fn the_number_is_agreed_on_and_another_is_a_mismatch() {
    let fixture = Fixture::new("mismatch").await;
    let zk = connect(&fixture).await;
    let permit = take(&semaphore(&zk, 3), 1).await;
    assert_eq!(fixture.raw().get_data(PATH).await.unwrap().0, b"3");
    let wrong = semaphore(&zk, 4);
    let mismatch = PermitError::Mismatch {
        path: PATH.to_owned(),
        ours: 4,
        agreed: 3,
    };
    assert_eq!(wrong.acquire().await.unwrap_err(), mismatch);
    assert_eq!(
        wrong.try_acquire().await.unwrap_err(),
        TryPermitError::Permit(mismatch.clone())
    );
    assert_eq!(wrong.available_permits().await.unwrap_err(), mismatch);
    assert_eq!(wrong.set_permits(5).await.unwrap_err(), mismatch);
    permit.release().await.unwrap();

    // As somebody leaves it who creates nodes with Curator's default data.
    fixture.raw().set_data(PATH, b"127.0.0.1", None).await.unwrap();
    let refused = within(PATIENCE, "refused", semaphore(&zk, 3).acquire())
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, PermitError::Error(Error::Layout { path, .. }) if path == PATH),
        "{refused:?}"
    );
    fixture.raw().set_data(PATH, b"", None).await.unwrap();
    finish(&fixture, &semaphore(&zk, 4), 4).await;
}

#[tokio::test]
async fn growing_lets_waiters_in_and_shrinking_takes_nothing_away() {
    let fixture = Fixture::new("live").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (semaphore(&zk, 2), semaphore(&other, 2));
    let first = take(&mine, 2).await;
    let waiter = join_line(&fixture, &theirs, 1, 1).await;
    assert_waits(&waiter).await;
    mine.set_permits(4).await.unwrap();
    let second = granted(waiter).await;
    assert_eq!(theirs.available_permits().await.unwrap(), 1);
    // Who is configured with the new number agrees, too; the old one still does.
    let third = take(&semaphore(&other, 4), 1).await;
    assert_eq!(fixture.raw().get_data(PATH).await.unwrap().0, b"2 4");

    theirs.set_permits(1).await.unwrap();
    assert!(first.is_held() && second.is_held() && third.is_held());
    assert_eq!(mine.available_permits().await.unwrap(), 0);
    let waiter = join_line(&fixture, &theirs, 1, 1).await;
    drop(first);
    fixture.until_children(LEASES, 2).await;
    drop(second);
    fixture.until_children(LEASES, 1).await;
    assert_waits(&waiter).await;
    third.release().await.unwrap();
    let last = granted(waiter).await;
    mine.set_permits(2).await.unwrap();
    assert_eq!(fixture.raw().get_data(PATH).await.unwrap().0, b"2");
    drop(last);
    finish(&fixture, &mine, 2).await;
}

#[tokio::test]
async fn who_waits_for_more_than_are_left_is_told() {
    let fixture = Fixture::new("shrunk").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (semaphore(&zk, 3), semaphore(&other, 3));
    let one = take(&mine, 1).await;
    let three = join_line(&fixture, &theirs, 3, 1).await;
    let two = join_line(&fixture, &theirs, 2, 2).await;
    assert_waits(&three).await;
    mine.set_permits(2).await.unwrap();
    let told = within(PATIENCE, "told", three).await.unwrap().unwrap_err();
    assert_eq!(
        told,
        PermitError::Unsatisfiable {
            requested: 3,
            permits: 2
        }
    );
    one.release().await.unwrap();
    granted(two).await.release().await.unwrap();
    finish(&fixture, &mine, 2).await;
}

/// The idle semaphore is a container, which a server removes with its data, but not while the number was changed.
#[tokio::test]
async fn a_changed_number_outlives_the_idle_semaphore() {
    let fixture = Fixture::with_embedded_server("keeper").await;
    let zk = connect(&fixture).await;
    let mine = semaphore(&zk, 2);
    take(&mine, 1).await.release().await.unwrap();
    mine.set_permits(1).await.unwrap();
    faults(&fixture).reap_now();
    faults(&fixture).reap_now();
    assert_eq!(fixture.children(PATH).await, ["keep"]);
    assert_eq!(mine.available_permits().await.unwrap(), 1);
    // An operator is free to remove it, or to make it.
    fixture.raw().delete(&format!("{PATH}/keep"), None).await.unwrap();
    mine.set_permits(2).await.unwrap();
    create(&fixture, &format!("{PATH}/keep"), zk::CreateMode::Persistent).await;
    mine.set_permits(5).await.unwrap();
    assert_eq!(mine.available_permits().await.unwrap(), 5);
    mine.set_permits(2).await.unwrap();
    assert!(fixture.children(PATH).await.is_empty());
    faults(&fixture).reap_now();
    faults(&fixture).reap_now();
    assert!(fixture.children("/").await.is_empty(), "nothing is left of an idle one");
    finish(&fixture, &mine, 2).await;
}

/// Two clients that each ask for two of two: with Curator, none of 80 calls came to an end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn curator_semaphore_qty_two_of_two_by_two_never_deadlock() {
    let fixture = Fixture::new("qty").await;
    let zks = [connect(&fixture).await, connect(&fixture).await];
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
async fn curator_semaphore_convoy_a_big_request_at_the_head_is_not_overtaken() {
    let fixture = Fixture::new("convoy").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (semaphore(&zk, 3), semaphore(&other, 3));
    let one = take(&mine, 1).await;
    let big = join_line(&fixture, &theirs, 3, 1).await;
    let small = join_line(&fixture, &mine, 1, 2).await;
    assert_eq!(mine.available_permits().await.unwrap(), 2);
    assert_waits(&small).await;
    let after = Duration::from_millis(50);
    assert_eq!(
        mine.acquire_timeout(after).await.unwrap_err(),
        PermitTimeoutError::Elapsed { after }
    );
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
async fn curator_semaphore_release_failure_and_315_a_lost_reply_loses_no_permit() {
    let fixture = Fixture::new("lost replies").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect_to(&servers, LONG).await, connect(&fixture).await);
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
    let fixture = Fixture::new("failed list").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect_to(&servers, LONG).await, connect(&fixture).await);
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

type Attempt = Pin<Box<dyn Future<Output = Option<Permit>> + Send>>;

/// Drops `attempt` after every number of polls, with all permits free, all taken for long, or given back meanwhile.
async fn walk(name: &str, attempt: impl Fn(Semaphore) -> Attempt) {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Others {
        Nobody,
        HoldAll,
        GiveBack,
    }
    let fixture = Fixture::new(name).await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let id = session_id(&zk).await;
    let (mine, theirs) = (semaphore(&zk, 3), semaphore(&other, 3));
    let (mut rounds, mut most) = (0, 0);
    for others in [Others::Nobody, Others::HoldAll, Others::GiveBack] {
        for polls in 0.. {
            rounds += 1;
            most = most.max(polls);
            let mut all = match others {
                Others::Nobody => None,
                _ => Some(take(&theirs, 3).await),
            };
            let mut attempt = attempt(mine.clone());
            let polled = poll_times(attempt.as_mut(), polls);
            let giving_back = match (others, all.take()) {
                (Others::GiveBack, Some(all)) => tokio::spawn({
                    let mine = theirs.clone();
                    async move {
                        // Once somebody waits.
                        while let Ok(2..) = mine.available_permits().await {}
                        tokio::time::sleep(Duration::from_millis(5)).await;
                        all.release().await.unwrap();
                    }
                }),
                (_, keep) => {
                    all = keep;
                    tokio::spawn(async {})
                }
            };
            // Whoever waits for the others waits for ever.
            let done = match others {
                Others::HoldAll => tokio::time::timeout(SILENCE, polled).await.unwrap_or(Some(None)),
                _ => within(PATIENCE, format!("{polls} polls"), polled).await,
            };
            let is_over = done.is_some();
            drop(attempt);
            drop(done);
            drop(all);
            giving_back.await.unwrap();
            // All come back, and none is taken twice.
            take(&theirs, 3).await.release().await.unwrap();
            fixture.until_children(LOCKS, 0).await;
            fixture.until_children(LEASES, 0).await;
            if is_over {
                break;
            }
        }
    }
    println!("{name}: {rounds} rounds, dropped after up to {most} polls");
    assert!(rounds > 8, "it was never dropped half-way");
    assert_eq!(session_id(&zk).await, id, "the session outlives what was cancelled");
    finish(&fixture, &mine, 3).await;
}

#[tokio::test]
async fn curator_462_an_acquire_dropped_at_any_await_point_leaves_nothing() {
    walk("acquire", |semaphore| {
        Box::pin(async move { Some(semaphore.acquire_many(2).await.unwrap()) })
    })
    .await;
}

#[tokio::test]
async fn an_acquire_timeout_dropped_at_any_await_point_leaves_nothing() {
    walk("acquire_timeout", |semaphore| {
        Box::pin(async move { Some(semaphore.acquire_many_timeout(2, LONG).await.unwrap()) })
    })
    .await;
}

#[tokio::test]
async fn a_try_acquire_dropped_at_any_await_point_leaves_nothing() {
    walk("try_acquire", |semaphore| {
        Box::pin(async move { semaphore.try_acquire_many(2).await.ok() })
    })
    .await;
}

#[tokio::test]
async fn a_release_dropped_at_any_await_point_gives_back() {
    let fixture = Fixture::new("release").await;
    let zk = connect(&fixture).await;
    let mine = semaphore(&zk, 3);
    for polls in 0.. {
        let permit = take(&mine, 2).await;
        let mut release = Box::pin(permit.release());
        let released = within(PATIENCE, "polled", poll_times(release.as_mut(), polls)).await;
        drop(release);
        fixture.until_children(LEASES, 0).await;
        if released.is_some() {
            break;
        }
    }
    finish(&fixture, &mine, 3).await;
}

/// A race lets Curator's acquire return without a permit while the client is closed.
#[tokio::test]
async fn curator_376_whoever_is_told_of_a_permit_has_it() {
    let fixture = Fixture::new("closed").await;
    let other = connect(&fixture).await;
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
async fn curator_180_a_directory_reaped_in_between_is_made_again() {
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
async fn curator_595_the_permits_of_a_lost_session_come_back() {
    let fixture = Fixture::new("expired").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
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

#[tokio::test]
async fn waiters_whose_session_expires_stand_in_line_again_at_the_tail() {
    let fixture = Fixture::new("waiters expire").await;
    let zks = [
        connect(&fixture).await,
        connect(&fixture).await,
        connect(&fixture).await,
    ];
    let semaphores = zks.each_ref().map(|zk| semaphore(zk, 1));
    let holder = take(&semaphores[0], 1).await;
    // The one who watches the permits, then the one who watches the one ahead.
    let mut pending = vec![join_line(&fixture, &semaphores[1], 1, 1).await];
    pending.push(join_line(&fixture, &semaphores[2], 1, 2).await);
    for expired in [1, 2, 1] {
        let old = expire(&fixture, &zks[expired]).await;
        eventually(PATIENCE, "it stands in line again", || async {
            let owners: Vec<i64> = fixture.ephemerals().await.into_values().collect();
            owners.len() == 3 && !owners.contains(&old)
        })
        .await;
    }
    assert!(pending.iter().all(|pending| !pending.is_finished()));
    holder.release().await.unwrap();
    // The last to expire is the last.
    let second = granted(pending.remove(1)).await;
    assert_waits(&pending[0]).await;
    second.release().await.unwrap();
    granted(pending.remove(0)).await.release().await.unwrap();
    finish(&fixture, &semaphores[0], 1).await;
}

#[tokio::test]
async fn what_an_operator_deletes_is_lost_or_made_again() {
    let fixture = Fixture::new("operator").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (semaphore(&zk, 3), semaphore(&other, 3));
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
async fn permits_of_curator_count_and_foreign_children_do_not() {
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

#[tokio::test]
async fn calls_on_a_closed_coordinator_fail_and_bad_paths_are_refused() {
    let fixture = Fixture::new("refused").await;
    let zk = connect(&fixture).await;
    assert!(matches!(Semaphore::new(&zk, "bank", 2), Err(Error::InvalidPath { .. })));
    let mine = semaphore(&zk, 2);
    let permit = take(&mine, 2).await;
    let waiter = join_line(&fixture, &mine, 1, 1).await;
    zk.close().await;
    assert_eq!(within(PATIENCE, "told", permit.lost()).await, LossReason::Closed);
    let closed = PermitError::Error(Error::Closed);
    assert_eq!(within(PATIENCE, "told", waiter).await.unwrap().unwrap_err(), closed);
    assert_eq!(mine.acquire().await.unwrap_err(), closed);
    assert_eq!(mine.set_permits(3).await.unwrap_err(), closed);
    fixture.assert_no_nodes_left(&[LOCKS, LEASES]).await;
}

#[tokio::test]
async fn a_change_of_the_number_whose_reply_is_lost_is_made_once() {
    let fixture = Fixture::new("lost change").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect_to(&servers, LONG).await, connect(&fixture).await);
    let (mine, theirs) = (semaphore(&zk, 2), semaphore(&other, 2));
    for (permits, injection) in [
        (5, Injection::LoseReply),
        (2, Injection::LoseReply),
        (5, Injection::CutBefore),
        (2, Injection::CutBefore),
    ] {
        let fault = proxy.inject(When::request(Op::Multi), injection);
        within(PATIENCE, "changed", mine.set_permits(permits)).await.unwrap();
        assert!(fault.has_fired());
        assert_eq!(theirs.available_permits().await.unwrap(), permits);
        assert_eq!(fixture.children(PATH).await.contains(&"keep".to_owned()), permits == 5);
    }
    finish(&fixture, &mine, 2).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    for contended in [false, true] {
        strike_each_request("semaphore", move |fixture, zk, path| async move {
            let other = connect(&fixture).await;
            let mine = Semaphore::new(&zk, &path, 3).unwrap();
            let theirs = Semaphore::new(&other, &path, 3).unwrap();
            let all = match contended {
                true => Some(theirs.acquire_many(3).await.unwrap()),
                false => None,
            };
            let acquiring = tokio::spawn({
                let mine = mine.clone();
                async move { mine.acquire_many(2).await }
            });
            if let Some(all) = all {
                tokio::time::sleep(Duration::from_millis(30)).await;
                assert!(!acquiring.is_finished(), "granted while another holds all");
                all.release().await.unwrap();
            }
            let permit = acquiring.await.unwrap().unwrap();
            assert!(permit.is_held());
            assert_eq!(fixture.children(&format!("{path}/leases")).await.len(), 2);
            fixture.until_children(&format!("{path}/locks"), 0).await;
            assert_eq!(theirs.available_permits().await.unwrap(), 1);
            permit.release().await.unwrap();
            assert_eq!(theirs.available_permits().await.unwrap(), 3);
        })
        .await;
    }
}

/// Counts the nodes below `leases` in the order of the server's transactions.
async fn never_more_than(fixture: &Fixture, limit: usize) -> JoinHandle<usize> {
    let client = fixture.connect().await;
    let mut watcher = client.watch(LEASES, AddWatchMode::PersistentRecursive).await.unwrap();
    tokio::spawn(async move {
        let _session = client;
        let (mut leases, mut most) = (0_usize, 0);
        loop {
            let event = watcher.changed().await;
            match event.event_type {
                EventType::NodeCreated if event.path.contains("-lease-") => leases += 1,
                EventType::NodeDeleted if event.path.contains("-lease-") => leases -= 1,
                // The end of the test.
                EventType::NodeDeleted => return most,
                _ => {}
            }
            most = most.max(leases);
            assert!(leases <= limit, "{leases} permits of {limit}");
        }
    })
}

/// Everything at once: big and small requests, timeouts, drops, expiries, deletes and cuts. Never over the limit, by the
/// server's truth and by belief, and nobody is left waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn permits_never_exceed_the_limit_whatever_happens_to_their_holders() {
    const LIMIT: u32 = 4;
    const WORKERS: u32 = 6;
    let fixture = Arc::new(Fixture::new("history").await);
    let history = History::new();
    let first = connect(&fixture).await;
    take(&semaphore(&first, LIMIT), 1).await.release().await.unwrap();
    create(&fixture, &format!("{LEASES}/keep"), zk::CreateMode::Persistent).await;
    let _truth = ServerTruth::record(fixture.raw(), LEASES, &history).await;
    let counting = never_more_than(&fixture, LIMIT as usize).await;
    let together = Arc::new(Barrier::new(2));
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let (fixture, history) = (Arc::clone(&fixture), history.clone());
        let together = Arc::clone(&together);
        workers.push(tokio::spawn(async move {
            let (proxy, servers) = fixture.proxied().await;
            let zk = connect_to(&servers, LONG).await;
            let mine = semaphore(&zk, LIMIT);
            for round in 0..14_u32 {
                let taken = [1, 2, 1, 1, 3, 1, 2, LIMIT][(worker + round) as usize % 8];
                let mix = (worker * 5 + round * 3) % 9;
                if mix == 1 {
                    proxy.cut();
                }
                let permit = match mix {
                    2 => match mine.acquire_many_timeout(taken, Duration::from_millis(20)).await {
                        Ok(permit) => permit,
                        Err(_) => continue,
                    },
                    3 => match mine.try_acquire_many(taken).await {
                        Ok(permit) => permit,
                        Err(_) => continue,
                    },
                    4 => {
                        let patience = tokio::time::sleep(Duration::from_millis(u64::from(round)));
                        tokio::select! {
                            permit = mine.acquire_many(taken) => permit.unwrap(),
                            () = patience => continue,
                        }
                    }
                    _ => mine.acquire_many(taken).await.unwrap(),
                };
                let mode = Mode::Permits { taken, limit: LIMIT };
                let held = history.record_grant(PATH, format!("{worker}.{round}"), mode, permit.token().as_i64());
                if round == 0 && worker < 2 {
                    // With one and two of four permits: some hold at once for certain.
                    together.wait().await;
                }
                tokio::time::sleep(Duration::from_millis(u64::from(10 * (round % 3)))).await;
                // A delete and an expiry by another client cannot be known before they happen.
                held.end();
                match mix {
                    5 => {
                        fixture.expire(&zk.client().await.unwrap().session().clone()).await;
                        within(PATIENCE, "told", permit.lost()).await;
                    }
                    6 => {
                        fixture.raw().delete(permit.path(), None).await.unwrap();
                        within(PATIENCE, "told", permit.lost()).await;
                    }
                    7 => drop(permit),
                    _ => _ = permit.release().await,
                }
            }
            // While the proxy is there to carry it.
            zk.close().await;
        }));
    }
    for worker in workers {
        within(PATIENCE * 4, "all rounds", worker).await.unwrap();
    }
    let summary = history.assert_sound();
    println!("{summary}");
    assert!(summary.grants > 40 && summary.most_at_once > 1, "{summary}");
    fixture.until_children(LEASES, 1).await;
    fixture.raw().delete(&format!("{LEASES}/keep"), None).await.unwrap();
    let most = within(PATIENCE, "counted", counting).await.unwrap();
    assert!(most > 1 && most <= LIMIT as usize, "{most}");
    finish(&fixture, &semaphore(&first, LIMIT), LIMIT).await;
}
