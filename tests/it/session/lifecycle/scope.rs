//! A scope closes on every way out.

use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures::FutureExt;
use zookeeper_recipes::{ConnectOptions, Coordinator, FairLockGuard, SessionState};
use zookeeper_testkit::{Fixture, within};

use super::HAND_OVER;
use crate::support::{LONG, PATIENCE, Pending, acquire, connect, granted, join_line, lock};

fn options() -> ConnectOptions {
    ConnectOptions::new().session_timeout(LONG)
}

/// The contender that waits behind the holder of the lock.
async fn next(fixture: &Fixture) -> Pending<FairLockGuard> {
    fixture.until_children("/l", 1).await;
    join_line(fixture, &lock(&connect(fixture).await, "/l"), 2).await
}

/// Shows that the next one was granted soon after `ended`.
async fn assert_granted(fixture: &Fixture, next: Pending<FairLockGuard>, ended: Instant) {
    let guard = granted(next).await;
    let took = ended.elapsed();
    println!("measured: granted after {took:?}");
    assert!(took < LONG / 10, "it waited for the session to expire: {took:?}");
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_scope_that_returns_an_error_is_closed() {
    let fixture = Fixture::new("scope").await;
    let mut kept: Option<Coordinator> = None;
    let (clone, waiter) = (&mut kept, &fixture);
    let servers = fixture.connect_string();
    let scoped = options().scope(&servers, |zk| async move {
        *clone = Some(zk.clone());
        let _guard = acquire(&lock(&zk, "/l")).await;
        let waiter = next(waiter).await;
        Err::<(), _>((waiter, Instant::now()))
    });
    let (waiter, ended) = within(PATIENCE, "closed", scoped).await.unwrap().unwrap_err();
    assert_eq!(kept.unwrap().states().current(), SessionState::Closed);
    assert_granted(&fixture, waiter, ended).await;
}

#[tokio::test]
async fn a_panic_passes_through_a_closed_scope() {
    let fixture = Fixture::new("scope with a panic").await;
    let (told, ended) = std::sync::mpsc::channel();
    let waiter = &fixture;
    let servers = fixture.connect_string();
    let scoped = options().scope(&servers, |zk| async move {
        let _guard = acquire(&lock(&zk, "/l")).await;
        told.send((next(waiter).await, Instant::now())).unwrap();
        panic!("on purpose");
    });
    let panicked = within(PATIENCE, "it ends", AssertUnwindSafe(scoped).catch_unwind()).await;
    let message = panicked.map(drop).unwrap_err();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"on purpose"));
    let (waiter, ended) = ended.recv().unwrap();
    assert_granted(&fixture, waiter, ended).await;
}

#[tokio::test]
async fn a_dropped_scope_is_closed_at_once() {
    let fixture = Fixture::new("dropped scope").await;
    let servers = fixture.connect_string();
    let scoped = tokio::spawn(async move {
        options()
            .scope(&servers, |zk| async move {
                let _guard = acquire(&lock(&zk, "/l")).await;
                pending::<()>().await;
            })
            .await
    });
    let waiter = next(&fixture).await;
    let ended = Instant::now();
    scoped.abort();
    assert!(scoped.await.unwrap_err().is_cancelled());
    println!("measured: dropped within {:?}", ended.elapsed());
    let owners: Vec<i64> = fixture.ephemerals().await.into_values().collect();
    assert_eq!(owners.len(), 1, "all that is left is the place of the next one");
    assert_granted(&fixture, waiter, ended).await;
}

#[test]
fn a_scope_closes_with_its_runtime() {
    let own = tokio::runtime::Runtime::new().unwrap();
    own.block_on(async {
        let fixture = Fixture::new("dropped runtime").await;
        let servers = fixture.connect_string();
        let theirs = tokio::runtime::Runtime::new().unwrap();
        theirs.spawn(async move {
            let scoped = options().scope(&servers, |zk| async move {
                let _guard = acquire(&lock(&zk, "/l")).await;
                pending::<()>().await;
            });
            scoped.await
        });
        let waiter = next(&fixture).await;
        let ended = Instant::now();
        theirs.shutdown_background();
        assert_granted(&fixture, waiter, ended).await;
    });
}

#[tokio::test]
async fn a_frozen_server_delays_a_scope_boundedly() {
    let timeout = Duration::from_secs(3);
    for dropped in [false, true] {
        let fixture = Fixture::with_own_server("scope on a frozen server").await;
        let waiter = &fixture;
        let (tell, held) = tokio::sync::oneshot::channel();
        let servers = fixture.connect_string();
        let scoped = options().session_timeout(timeout).scope(&servers, |zk| async move {
            let _guard = acquire(&lock(&zk, "/l")).await;
            waiter.server().freeze().await;
            tell.send(Instant::now()).unwrap();
            if dropped {
                pending::<()>().await;
            }
        });
        let mut scoped = Box::pin(scoped);
        let began = match dropped {
            true => tokio::select! {
                began = held => began.unwrap(),
                _ = &mut scoped => unreachable!("it is pending"),
            },
            false => {
                within(PATIENCE, "left", &mut scoped).await.unwrap();
                held.await.unwrap()
            }
        };
        drop(scoped);
        let took = began.elapsed();
        println!("measured: dropped {dropped}: left after {took:?}");
        // A third of the session timeout, or half a second; and something for a busy machine.
        let bound = if dropped {
            Duration::from_millis(500)
        } else {
            timeout / 3
        };
        assert!(took < bound + Duration::from_millis(500), "{took:?}");
        fixture.server().thaw().await;
    }
}

/// The figure that the docs give.
#[tokio::test]
async fn a_hand_over_takes_under_100_ms() {
    let mut best = LONG;
    for _ in 0..5 {
        let fixture = Fixture::new("measured scope").await;
        let waiter = &fixture;
        let servers = fixture.connect_string();
        let scoped = options().scope(&servers, |zk| async move {
            let _guard = acquire(&lock(&zk, "/l")).await;
            (next(waiter).await, Instant::now())
        });
        let (granting, closed) = within(PATIENCE, "closed", scoped).await.unwrap();
        let guard = granted(granting).await;
        best = best.min(closed.elapsed());
        guard.release().await.unwrap();
    }
    println!("measured: granted after {best:?} at best");
    assert!(best < HAND_OVER, "{best:?}");
}
