//! Known mistakes of Curator's `DistributedDoubleBarrier`, and the tests that would show them here.
//!
//! | row | mistake | test |
//! |---|---|---|
//! | #1290 | a timed enter passes on a wake that means nothing | `curator_1290_…` |
//! | regression of #1290 | a member that wakes late waits for ever | `curator_1290_regression_…` |
//! | CURATOR-318, 80 | a member that gave up is counted | `curator_318_…` |
//! | CURATOR-330 | who was lost cannot enter again | `curator_330_…` |
//! | CURATOR-233, 536 | leave ignores its timeout, or loops | `curator_233_…` |
//! | PR#416 | a late `ready` event wakes who leaves | `curator_pr_416_…` |
//! | stale `ready` | one of three passes alone | `a_stale_ready_…`, `many_come_to_a_stale_ready_…` |

use std::time::Duration;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, eventually, within};

use super::{PATH, READY, all_inside, all_leave, barrier, enter, entered, is_ready, leave, left};
use crate::support::sessions::expire;
use crate::support::{
    LONG, PATIENCE, assert_waits, connect, connect_each, connect_to, create, elapsed, start_each, start_proxied,
};

/// #1290: since 4.1.0 a timed enter returned true on any event, so that one member alone passed.
#[tokio::test]
async fn curator_1290_a_spurious_wake_lets_nobody_pass() {
    let (fixture, proxy, zk) = start_proxied("spurious", LONG).await;
    let other = connect(&fixture).await;
    let entering = tokio::spawn({
        let barrier = barrier(&zk, 2);
        async move { barrier.enter_timeout(2 * PATIENCE).await }
    });
    fixture.until_children(PATH, 1).await;
    for _ in 0..3 {
        proxy.cut();
        assert_waits(&entering).await;
    }
    // A change of its own node, and a `ready` that nobody opened and that is none of a member's either.
    let own = fixture.children(PATH).await.remove(0);
    fixture
        .raw()
        .set_data(&format!("{PATH}/{own}"), b"x", None)
        .await
        .unwrap();
    create(&fixture, &format!("{PATH}/foreign"), zk::CreateMode::Persistent).await;
    assert_waits(&entering).await;
    let two = enter(&other, 2, 2).await;
    let one = within(PATIENCE, "entered", entering).await.unwrap().unwrap();
    all_leave([one, entered(two).await]).await;
    fixture.raw().delete(&format!("{PATH}/foreign"), None).await.unwrap();
    fixture.assert_no_nodes_left(&["/phases"]).await;
}

/// The fix of #1290 decides by the count of children, which has fallen when the late one looks.
#[tokio::test]
async fn curator_1290_regression_a_late_waker_still_passes() {
    let fixture = Fixture::new("late").await;
    let (proxy, servers) = fixture.proxied().await;
    let zks = connect_each::<3>(&fixture).await;
    let slow = connect_to(&servers, LONG).await;
    for _ in 0..3 {
        let late = enter(&slow, 4, 1).await;
        assert_waits(&late).await;
        proxy.black_hole_replies();
        let mut entering = Vec::new();
        for zk in &zks {
            entering.push(enter(zk, 4, 0).await);
        }
        let mut leaving = Vec::new();
        for one in entering {
            leaving.push(leave(entered(one).await));
        }
        // The late one, the lowest of the others unless that is the late one itself, and `ready`.
        eventually(PATIENCE, "the others have left as far as they can", || async {
            fixture.children(PATH).await.len() <= 3
        })
        .await;
        for one in &leaving {
            assert!(!one.is_finished(), "left while one is inside");
        }
        assert!(!late.is_finished());
        proxy.heal();
        let late = entered(late).await;
        for one in &leaving {
            assert_waits(one).await;
        }
        left(leave(late)).await;
        for one in leaving {
            left(one).await;
        }
        assert!(fixture.children(PATH).await.is_empty());
    }
    fixture.assert_no_nodes_left(&["/phases"]).await;
}

/// CURATOR-318, CURATOR-80: the node of a member that gave up stays, and later ones count it.
#[tokio::test]
async fn curator_318_members_giving_up_do_not_count() {
    let (fixture, zks) = start_each::<3>("ghosts").await;
    let after = Duration::from_millis(100);
    let timed = barrier(&zks[0], 3).enter_timeout(after).await;
    assert_eq!(elapsed(timed), Some(after));
    assert!(fixture.children(PATH).await.is_empty(), "withdrawn before it returns");

    let dropped = enter(&zks[0], 3, 1).await;
    dropped.abort();
    fixture.until_children(PATH, 0).await;
    let two = enter(&zks[1], 3, 1).await;
    let three = enter(&zks[2], 3, 2).await;
    assert_waits(&two).await;
    assert_waits(&three).await;
    let one = enter(&zks[0], 3, 0).await;
    all_leave([entered(one).await, entered(two).await, entered(three).await]).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// CURATOR-330: enter fails with NodeExists on the own node after a lost connection.
#[tokio::test]
async fn curator_330_a_lost_member_enters_again() {
    let (fixture, zks) = start_each::<2>("re-enter").await;
    let mut inside = all_inside(&zks).await;
    let lost = inside.remove(0);
    expire(&fixture, &zks[0]).await;
    within(PATIENCE, "told", lost.lost()).await;
    drop(lost);
    // The other one is still inside: the barrier is open.
    let again = within(PATIENCE, "entered", barrier(&zks[0], 2).enter()).await.unwrap();
    let leaving = leave(inside.remove(0));
    assert_waits(&leaving).await;
    left(leave(again)).await;
    left(leaving).await;
    assert!(fixture.children(PATH).await.is_empty());
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// CURATOR-233, CURATOR-536: leave ignores its timeout, or loops without end.
#[tokio::test]
async fn curator_233_a_timed_leave_returns_in_time() {
    let (fixture, zks) = start_each::<3>("leave timeout").await;
    let inside = all_inside(&zks).await;
    let after = Duration::from_millis(100);
    let mut members = 3;
    let mut stays = None;
    for entered in inside {
        if members == 1 {
            stays = Some(entered);
            break;
        }
        let timed = within(PATIENCE, "in time", entered.leave_timeout(after)).await;
        assert_eq!(elapsed(timed), Some(after));
        members -= 1;
        assert_eq!(barrier(&zks[0], 3).members().await.unwrap(), members);
    }
    assert!(is_ready(&fixture).await, "one is inside");
    within(PATIENCE, "alone", stays.unwrap().leave_timeout(LONG))
        .await
        .unwrap();
    assert!(fixture.children(PATH).await.is_empty());
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// PR#416: enter and leave share a watcher, and an event of `ready` ends a leave.
#[tokio::test]
async fn curator_pr_416_ready_events_let_nobody_leave() {
    let (fixture, zks) = start_each::<2>("events").await;
    let mut inside = all_inside(&zks).await;
    let leaving = leave(inside.remove(0));
    for _ in 0..3 {
        fixture.raw().set_data(READY, b"x", None).await.unwrap();
        assert_waits(&leaving).await;
    }
    // Not even if somebody removes it, as a Curator does that gave up leaving.
    fixture.raw().delete(READY, None).await.unwrap();
    assert_waits(&leaving).await;
    left(leave(inside.remove(0))).await;
    left(leaving).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// All of them died inside: with Curator, every later member passes at once, alone.
#[tokio::test]
async fn a_stale_ready_opens_nothing_and_is_removed() {
    let (fixture, zks) = start_each::<3>("stale").await;
    for died in [false, true] {
        if died {
            drop(all_inside(&zks).await);
            fixture.until_children(PATH, 1).await;
        } else {
            let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
            fixture.raw().mkdir(PATH, &options).await.unwrap();
            create(&fixture, READY, zk::CreateMode::Persistent).await;
        }
        assert_eq!(fixture.children(PATH).await, ["ready"]);
        let one = enter(&zks[0], 3, 1).await;
        eventually(PATIENCE, "it is removed", || async { !is_ready(&fixture).await }).await;
        let two = enter(&zks[1], 3, 2).await;
        assert_waits(&one).await;
        assert_waits(&two).await;
        let three = enter(&zks[2], 3, 0).await;
        all_leave([entered(one).await, entered(two).await, entered(three).await]).await;
        assert!(fixture.children(PATH).await.is_empty());
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Several come to a stale `ready` at once, all of them see it, and all want to remove it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_come_to_a_stale_ready_at_once() {
    let (fixture, zks) = start_each::<4>("stale race").await;
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    fixture.raw().mkdir(PATH, &options).await.unwrap();
    for _ in 0..10 {
        create(&fixture, READY, zk::CreateMode::Persistent).await;
        all_leave(all_inside(&zks).await).await;
        assert!(fixture.children(PATH).await.is_empty());
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}
