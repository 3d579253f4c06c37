//! How many permits there are, how many are free, and who gets them.

use std::time::{Duration, Instant};

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Error, LossReason, PermitError, PermitTimeoutError, Semaphore, TryPermitError};
use zookeeper_testkit::{Fixture, within};

use super::{LEASES, LOCKS, PATH, finish, join_line, semaphore, start_semaphores, take};
use crate::support::{LONG, PATIENCE, assert_waits, connect, create, elapsed, faults, granted, start, start_each};

#[tokio::test]
async fn permits_are_taken_and_given_back() {
    let (fixture, [mine, theirs]) = start_semaphores("permits", 3).await;
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
async fn try_forms_never_wait() {
    let (fixture, [mine, theirs]) = start_semaphores("try", 2).await;
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
    let (fixture, [mine, theirs]) = start_semaphores("timeout", 2).await;
    let one = take(&mine, 1).await;
    let after = Duration::from_millis(150);
    let started = Instant::now();
    let outcome = theirs.acquire_many_timeout(2, after).await;
    assert!(started.elapsed() >= after);
    assert_eq!(elapsed(outcome), Some(after));
    assert!(fixture.children(LOCKS).await.is_empty(), "removed before it returns");
    assert_eq!(fixture.children(LEASES).await.len(), 1);
    let two = theirs.acquire_timeout(LONG).await.unwrap();
    drop((one, two));
    finish(&fixture, &mine, 2).await;
}

#[tokio::test]
async fn asking_beyond_the_limit_is_an_error() {
    let (fixture, [mine, theirs]) = start_semaphores("too many", 2).await;
    let all = take(&theirs, 2).await;
    let waiter = join_line(&fixture, &theirs, 1, 1).await;
    for requested in [0, 3, u32::MAX] {
        let error = PermitError::Unsatisfiable { requested, permits: 2 };
        let refused = within(PATIENCE, "at once", mine.acquire_many(requested)).await;
        assert_eq!(refused.unwrap_err(), error);
        let refused = mine.try_acquire_many(requested).await;
        assert_eq!(refused.unwrap_err(), TryPermitError::Permit(error.clone()));
        let refused = mine.acquire_many_timeout(requested, LONG).await;
        assert_eq!(refused.unwrap_err(), PermitTimeoutError::Error(error));
    }
    fixture.until_children(LOCKS, 1).await;
    drop(all);
    granted(waiter).await.release().await.unwrap();
    finish(&fixture, &mine, 2).await;
}

#[tokio::test]
async fn a_differing_number_is_a_mismatch() {
    let (fixture, zk) = start("mismatch").await;
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
async fn growing_grants_waiters_and_shrinking_revokes_nothing() {
    let (fixture, [zk, other]) = start_each("live").await;
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
async fn waiters_beyond_a_lowered_limit_are_told() {
    let (fixture, [mine, theirs]) = start_semaphores("shrunk", 3).await;
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

#[tokio::test]
async fn closed_coordinators_and_bad_paths_are_errors() {
    let (fixture, zk) = start("refused").await;
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
