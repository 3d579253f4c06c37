//! When it opens, and when it is left.

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{DoubleBarrier, Error, ReleaseError};
use zookeeper_testkit::{Fixture, within};

use super::{PATH, READY, all_inside, all_leave, barrier, enter, entered, is_ready, leave, left};
use crate::support::{PATIENCE, assert_waits, connect, start, start_each};

#[tokio::test]
async fn members_enter_together_and_leave_together() {
    let (fixture, zks) = start_each::<3>("all").await;
    for _ in 0..3 {
        let one = enter(&zks[0], 3, 1).await;
        let two = enter(&zks[1], 3, 2).await;
        assert_waits(&one).await;
        assert_waits(&two).await;
        assert!(!is_ready(&fixture).await);
        let three = enter(&zks[2], 3, 0).await;
        let (one, two, three) = (entered(one).await, entered(two).await, entered(three).await);
        assert!(one.is_held() && two.is_held() && three.is_held());
        assert!(is_ready(&fixture).await);
        let tree = fixture.ephemerals().await;
        assert!(tree.contains_key(one.path()) && tree.len() == 3, "{tree:?}");

        let (one, two) = (leave(one), leave(two));
        assert_waits(&one).await;
        assert_waits(&two).await;
        let three = leave(three);
        for leaving in [one, two, three] {
            left(leaving).await;
        }
        assert!(fixture.children(PATH).await.is_empty(), "the last one removes `ready`");
    }
    fixture.assert_no_nodes_left(&["/phases"]).await;
}

#[tokio::test]
async fn barriers_open_for_one_party_or_one_session() {
    let (fixture, zk) = start("one").await;
    assert_eq!(barrier(&zk, 2).path(), PATH);
    for parties in [0, 1] {
        let inside = within(PATIENCE, "entered", barrier(&zk, parties).enter())
            .await
            .unwrap();
        within(PATIENCE, "left", inside.leave()).await.unwrap();
    }
    let zks = [zk.clone(), zk.clone(), zk];
    all_leave(all_inside(&zks).await).await;
    assert!(matches!(
        DoubleBarrier::new(&zks[0], "x", 2),
        Err(Error::InvalidPath { .. })
    ));
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn a_late_member_enters_and_is_waited_for() {
    let (fixture, zks) = start_each::<4>("more").await;
    let mut inside = all_inside(&zks[..2]).await;
    for zk in &zks[2..] {
        inside.push(within(PATIENCE, "entered", barrier(zk, 2).enter()).await.unwrap());
    }
    while inside.len() > 1 {
        let leaving = leave(inside.remove(0));
        assert_waits(&leaving).await;
        leaving.abort();
    }
    all_leave(inside).await;
    // And when all have left, one has to wait again.
    let waits = enter(&zks[0], 2, 1).await;
    assert_waits(&waits).await;
    waits.abort();
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Curator's members are nodes with a UUID as name; whoever comes last creates `ready`.
#[tokio::test]
async fn members_of_curator_are_counted_and_count_us() {
    let fixture = Fixture::new("curator").await;
    let (zk, peer) = (connect(&fixture).await, fixture.connect().await);
    let ephemeral = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
    let persistent = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    fixture.raw().mkdir(PATH, &persistent).await.unwrap();
    // Lower than any name of ours, and higher.
    for member in [
        "00000000-0000-4000-8000-000000000000",
        "ffffffff-ffff-4fff-bfff-ffffffffffff",
    ] {
        let node = format!("{PATH}/{member}");
        // We come last.
        peer.create(&node, b"127.0.0.1", &ephemeral).await.unwrap();
        let inside = within(PATIENCE, "entered", barrier(&zk, 2).enter()).await.unwrap();
        assert!(is_ready(&fixture).await);
        let leaving = leave(inside);
        assert_waits(&leaving).await;
        peer.delete(&node, None).await.unwrap();
        left(leaving).await;
        // As each of Curator's does when it has left.
        let gone = peer.delete(READY, None).await;
        assert!(matches!(gone, Ok(()) | Err(zk::Error::NoNode)), "{gone:?}");

        // It comes last.
        let entering = enter(&zk, 2, 1).await;
        peer.create(&node, b"127.0.0.1", &ephemeral).await.unwrap();
        assert_waits(&entering).await;
        peer.create(READY, b"127.0.0.1", &persistent).await.unwrap();
        let inside = entered(entering).await;
        peer.delete(&node, None).await.unwrap();
        left(leave(inside)).await;
        assert!(fixture.children(PATH).await.is_empty());
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn calls_on_a_closed_coordinator_fail() {
    let (fixture, zks) = start_each::<2>("closed").await;
    let mut inside = all_inside(&zks).await;
    let leaving = leave(inside.remove(0));
    assert_waits(&leaving).await;
    zks[0].clone().close().await;
    let end = within(PATIENCE, "told", leaving).await.unwrap();
    assert_eq!(end, Err(ReleaseError::Error(Error::Closed)));
    assert_eq!(barrier(&zks[0], 2).enter().await.unwrap_err(), Error::Closed);
    all_leave(inside).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}
