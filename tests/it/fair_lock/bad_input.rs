//! Bad paths, bad parents, bad options: a clear error value, or ignored with one warning; never a hang, never a panic.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{AcquireTimeoutError, Error, FairLock, RunError, RwLock, TryAcquireError};
use zookeeper_testkit::proxy::When;
use zookeeper_testkit::{Fixture, Injection, ServerOptions, within};

use crate::support::warnings::Warnings;
use crate::support::{LONG, PATIENCE, acquire, connect, connect_to, create, granted, join_line, lock, start};

/// Every call on `lock` fails with `expected`.
async fn every_call_fails(lock: &FairLock, expected: &Error) {
    let all = async {
        assert_eq!(lock.acquire().await.unwrap_err(), *expected);
        assert_eq!(
            lock.try_acquire().await.unwrap_err(),
            TryAcquireError::Error(expected.clone())
        );
        let bounded = lock.acquire_timeout(LONG).await;
        assert_eq!(bounded.unwrap_err(), AcquireTimeoutError::Error(expected.clone()));
        let ran = lock.run(|_| async { panic!("there is nothing to run under") });
        assert_eq!(ran.await.unwrap_err(), RunError::Error(expected.clone()));
    };
    within(PATIENCE, format!("{} fails and does not hang", lock.path()), all).await;
}

#[tokio::test]
async fn a_bad_path_is_an_error_naming_it() {
    let (fixture, zk) = start("bad paths").await;
    for path in [
        "",
        "a",
        "a/b",
        "/",
        "//",
        "/a/",
        "/a//b",
        "/.",
        "/a/..",
        "/./a",
        "/a\0b",
        "/\u{7f}",
        "/\u{fff0}",
        "/🔒",
    ] {
        let error = FairLock::new(&zk, path).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidPath { path: named, .. } if named == path),
            "{path:?}: {error}"
        );
        assert!(error.to_string().contains(&format!("{path:?}")), "{error}");
        assert!(RwLock::new(&zk, path).is_err());
    }
    for path in ["/zookeeper-locks", "/a b/ü/\u{ffef}", "/..a"] {
        acquire(&lock(&zk, path)).await.release().await.unwrap();
    }
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn a_path_through_an_ephemeral_node_is_refused() {
    let (fixture, zk) = start("ephemeral parent").await;
    create(&fixture, "/e", zk::CreateMode::Ephemeral).await;
    for path in ["/e", "/e/below", "/e/far/below"] {
        let lock = lock(&zk, path);
        let error = within(PATIENCE, "an error", lock.acquire()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Layout { path: named, .. } if named == path),
            "{error}"
        );
        every_call_fails(&lock, &error).await;
        assert!(lock.contenders().await.unwrap().is_empty());
    }
    fixture.raw().delete("/e", None).await.unwrap();
    acquire(&lock(&zk, "/e")).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[]).await;
}

/// The path is Curator's and the names are anybody's.
const FOREIGN: [&str; 8] = [
    "0",
    "zzz",
    "lock-",
    "lock-notanumber",
    "_c_x-lock-99",
    "_c_x-lock-99999999999",
    "_c_x-latch-0000000000",
    "löck-0000000000",
];

async fn create_foreign(fixture: &Fixture) {
    create(fixture, "/l", zk::CreateMode::Persistent).await;
    for name in FOREIGN {
        create(fixture, &format!("/l/{name}"), zk::CreateMode::Persistent).await;
    }
}

#[tokio::test]
async fn foreign_children_are_ignored_with_one_warning() {
    let (fixture, zk) = start("foreign").await;
    create_foreign(&fixture).await;
    let warnings = Warnings::capture();
    let lock = lock(&zk, "/l");
    for _ in 0..3 {
        let guard = acquire(&lock).await;
        let contenders = lock.contenders().await.unwrap();
        assert_eq!(contenders.iter().map(|c| &c.path).collect::<Vec<_>>(), [guard.path()]);
        let waiter = join_line(&fixture, &lock, FOREIGN.len() + 2).await;
        guard.release().await.unwrap();
        granted(waiter).await.release().await.unwrap();
        lock.try_acquire().await.unwrap().release().await.unwrap();
    }
    let about = warnings.about("/l");
    // The waiter is a clone of the handle, made anew each time.
    let mine = about.iter().filter(|warning| warning.contains("ignored")).count();
    assert!((1..=4).contains(&mine), "{about:#?}");
    assert_eq!(fixture.children("/l").await.len(), FOREIGN.len());
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn a_handle_warns_once_of_foreign_children() {
    let (fixture, zk) = start("warn once").await;
    create_foreign(&fixture).await;
    let warnings = Warnings::capture();
    let lock = lock(&zk, "/l");
    for _ in 0..5 {
        acquire(&lock).await.release().await.unwrap();
        lock.try_acquire().await.unwrap().release().await.unwrap();
        assert!(lock.contenders().await.unwrap().is_empty());
    }
    let about = warnings.about("/l");
    assert_eq!(about.len(), 1, "{about:#?}");
    assert!(about[0].contains("ignored"), "{about:#?}");
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn in_calm_weather_there_are_no_warnings() {
    let fixture = Fixture::new("calm").await;
    let warnings = Warnings::capture();
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let guard = acquire(&lock(&zk, "/calm")).await;
    let waiter = join_line(&fixture, &lock(&other, "/calm"), 2).await;
    drop(guard);
    granted(waiter).await.release().await.unwrap();
    zk.close().await;
    other.close().await;
    assert_eq!(warnings.about(""), Vec::<String>::new());
    fixture.assert_no_nodes_left(&[]).await;
}

/// Sequences from around the overflow of the counter, in the order of their creation.
const AROUND_THE_OVERFLOW: [&str; 5] = ["2147483646", "2147483647", "-2147483648", "-2147483647", "-2147483646"];

#[tokio::test]
async fn contenders_around_the_overflow_keep_their_order() {
    let (fixture, zk) = start("overflow by hand").await;
    create(&fixture, "/l", zk::CreateMode::Persistent).await;
    for sequence in AROUND_THE_OVERFLOW {
        let name = format!("/l/_c_by-hand-lock-{sequence}");
        create(&fixture, &name, zk::CreateMode::Persistent).await;
    }
    let contenders = lock(&zk, "/l").contenders().await.unwrap();
    let sequences: Vec<&str> = contenders
        .iter()
        .map(|c| c.path.strip_prefix("/l/_c_by-hand-lock-").unwrap())
        .collect();
    assert_eq!(sequences, AROUND_THE_OVERFLOW);
    assert_eq!(
        contenders.iter().map(|c| c.is_holder).collect::<Vec<_>>(),
        [true, false, false, false, false]
    );
    fixture.assert_no_nodes_left(&[]).await;
}

/// Ours is the fifth child or so: the negative numbers right before zero are ahead of it, and the largest ones, of which
/// it is not known whether they are to come or long past, are behind.
#[tokio::test]
async fn negative_numbers_stand_ahead_of_the_largest() {
    let (fixture, zk) = start("negative by hand").await;
    create(&fixture, "/l", zk::CreateMode::Persistent).await;
    for sequence in ["-000000002", "2147483647", "-000000001", "2147480000"] {
        create(
            &fixture,
            &format!("/l/_c_by-hand-lock-{sequence}"),
            zk::CreateMode::Persistent,
        )
        .await;
    }
    let waiter = join_line(&fixture, &lock(&zk, "/l"), 5).await;
    let last_ahead = "/l/_c_by-hand-lock--000000001";
    for (path, is_granted) in [("/l/_c_by-hand-lock--000000002", false), (last_ahead, true)] {
        assert!(!waiter.is_finished());
        fixture.raw().delete(path, None).await.unwrap();
        let contenders = lock(&zk, "/l").contenders().await.unwrap();
        assert_eq!(contenders[0].path.contains("by-hand"), !is_granted);
    }
    granted(waiter).await.release().await.unwrap();
    assert_eq!(fixture.children("/l").await.len(), 2);
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn a_directory_removed_before_the_create_is_remade() {
    let fixture = Fixture::new("removed in between").await;
    let (proxy, servers) = fixture.proxied().await;
    let lock = lock(&connect_to(&servers, LONG).await, "/deep/l");
    // The first create finds no directory; the second one finds that it is gone again; the third comes to pass.
    for nth in [2, 1] {
        let fault = proxy.inject(When::create().path("-lock-").nth(nth), Injection::SilenceBefore);
        let (guard, ()) = tokio::join!(acquire(&lock), async {
            fault.fired().await;
            for path in ["/deep/l", "/deep"] {
                // The server may have been quicker: they are containers.
                let deleted = fixture.raw().delete(path, None).await;
                assert!(
                    matches!(deleted, Ok(()) | Err(zk::Error::NoNode)),
                    "{path}: {deleted:?}"
                );
            }
            proxy.heal();
        });
        guard.release().await.unwrap();
    }
    fixture.assert_no_nodes_left(&["/deep/l"]).await;
}

/// Containers vanish at any moment, also in the middle of everything.
#[tokio::test]
async fn an_eager_reaper_of_containers_is_no_hindrance() {
    let eager = ServerOptions::new().container_check_interval(Duration::from_millis(1));
    let fixture = Fixture::with_own_server_options("eager reaper", eager).await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (lock(&zk, "/a/b/l"), lock(&other, "/a/b/l"));
    for round in 0..100_u64 {
        acquire(&mine).await.release().await.unwrap();
        tokio::time::sleep(Duration::from_micros(round * 50)).await;
        acquire(&theirs).await.release().await.unwrap();
        within(PATIENCE, "taken", theirs.try_acquire())
            .await
            .unwrap()
            .release()
            .await
            .unwrap();
    }
    fixture.assert_no_nodes_left(&[]).await;
}
