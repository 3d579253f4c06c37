//! Calls that are dropped at any await point leave nothing.

use std::pin::Pin;
use std::time::Duration;

use zookeeper_recipes::{Permit, Semaphore};
use zookeeper_testkit::within;

use super::{LEASES, LOCKS, finish, semaphore, take};
use crate::support::polls::poll_times;
use crate::support::{LONG, PATIENCE, SILENCE, session_id, start, start_each};

type Attempt = Pin<Box<dyn Future<Output = Option<Permit>> + Send>>;

/// Drops `attempt` after every number of polls, with all permits free, all taken for long, or given back meanwhile.
async fn walk(name: &str, attempt: impl Fn(Semaphore) -> Attempt) {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Others {
        Nobody,
        HoldAll,
        GiveBack,
    }
    let (fixture, [zk, other]) = start_each(name).await;
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
async fn curator_462_an_acquire_dropped_anywhere_leaves_nothing() {
    walk("acquire", |semaphore| {
        Box::pin(async move { Some(semaphore.acquire_many(2).await.unwrap()) })
    })
    .await;
}

#[tokio::test]
async fn an_acquire_timeout_dropped_anywhere_leaves_nothing() {
    walk("acquire_timeout", |semaphore| {
        Box::pin(async move { Some(semaphore.acquire_many_timeout(2, LONG).await.unwrap()) })
    })
    .await;
}

#[tokio::test]
async fn a_try_acquire_dropped_anywhere_leaves_nothing() {
    walk("try_acquire", |semaphore| {
        Box::pin(async move { semaphore.try_acquire_many(2).await.ok() })
    })
    .await;
}

#[tokio::test]
async fn a_release_dropped_anywhere_gives_back() {
    let (fixture, zk) = start("release").await;
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
