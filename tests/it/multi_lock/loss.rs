//! What one lock loses, all have lost; and writes that check them all.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{FencedWriteError, LossReason, Lost, ReleaseError};
use zookeeper_testkit::{Fixture, Op, eventually, within};

use super::{PATHS, all, counts, join, only_child, take};
use crate::support::sessions::{assert_expired, expire};
use crate::support::{PATIENCE, granted, lock, session_id, start, start_each, start_proxied};

#[tokio::test]
async fn losing_one_lock_loses_all() {
    let (fixture, [zk, other]) = start_each("loss of one").await;
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
    let (fixture, zk) = start("release, delete").await;
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
    let (fixture, proxy, zk) = start_proxied("fenced", PATIENCE).await;
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
async fn losing_one_place_rejoins_all_lines() {
    let (fixture, [one, two, three]) = start_each("one place").await;
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
async fn an_expired_waiter_joins_all_lines_again() {
    let (fixture, [one, two]) = start_each("expiry").await;
    let holder = take(&all(&one)).await;
    let waiting = join(&fixture, all(&two), 2).await;
    let before = session_id(&two).await;
    expire(&fixture, &two).await;
    let rejoined = || async { session_id(&two).await != before && counts(&fixture).await == [2, 2, 2] };
    eventually(PATIENCE, "joined again", rejoined).await;
    expire(&fixture, &one).await;
    assert_expired(within(PATIENCE, "told", holder.lost()).await);
    granted(waiting).await.release().await.unwrap();
    drop(holder);
    fixture.assert_no_nodes_left(&PATHS).await;
}
