//! Members that die, and nodes that are removed.

use zookeeper_recipes::{LeaveTimeoutError, LossReason, Lost, ReleaseError};
use zookeeper_testkit::{eventually, within};

use super::{PATH, all_inside, all_leave, enter, entered, leave, left};
use crate::support::sessions::{assert_expired, expire};
use crate::support::{LONG, PATIENCE, assert_waits, connect, start_each};

#[tokio::test]
async fn members_dead_before_the_opening_do_not_count() {
    let (fixture, zks) = start_each::<3>("dies before").await;
    let dying = enter(&zks[0], 3, 1).await;
    dying.abort();
    zks[0].clone().close().await;
    let two = enter(&zks[1], 3, 1).await;
    let three = enter(&zks[2], 3, 2).await;
    assert_waits(&two).await;
    let substitute = connect(&fixture).await;
    let one = enter(&substitute, 3, 0).await;
    all_leave([entered(one).await, entered(two).await, entered(three).await]).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn a_waiter_that_lost_its_node_enters_again() {
    let (fixture, zks) = start_each::<2>("again").await;
    let one = enter(&zks[0], 2, 1).await;
    let before = fixture.children(PATH).await;
    expire(&fixture, &zks[0]).await;
    let changed = |before: Vec<String>| {
        let fixture = &fixture;
        async move {
            eventually(PATIENCE, "another member", || async {
                let now = fixture.children(PATH).await;
                now.len() == 1 && now != before
            })
            .await;
            fixture.children(PATH).await
        }
    };
    let before = changed(before).await;
    fixture
        .raw()
        .delete(&format!("{PATH}/{}", before[0]), None)
        .await
        .unwrap();
    changed(before).await;
    assert_waits(&one).await;
    let two = enter(&zks[1], 2, 0).await;
    all_leave([entered(one).await, entered(two).await]).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn a_member_that_dies_inside_is_not_awaited() {
    let (fixture, zks) = start_each::<3>("dies inside").await;
    let mut inside = all_inside(&zks).await;
    let (three, two) = (inside.pop().unwrap(), inside.pop().unwrap());
    let one = leave(inside.pop().unwrap());
    assert_waits(&one).await;

    expire(&fixture, &zks[2]).await;
    let reason = within(PATIENCE, "told", three.lost()).await;
    assert_expired(reason);
    assert_eq!(three.leave().await, Err(ReleaseError::Lost(Lost { reason })));
    assert_waits(&one).await;

    fixture.raw().delete(two.path(), None).await.unwrap();
    let reason = within(PATIENCE, "told", two.lost()).await;
    assert_eq!(reason, LossReason::NodeRemoved);
    left(one).await;
    let lost = two.leave_timeout(LONG).await;
    assert_eq!(lost, Err(LeaveTimeoutError::Error(ReleaseError::Lost(Lost { reason }))));
    assert!(fixture.children(PATH).await.is_empty());
    all_leave(all_inside(&zks).await).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn a_removed_directory_is_made_again() {
    let (fixture, zks) = start_each::<2>("deleteall").await;
    let one = enter(&zks[0], 2, 1).await;
    let mut deleteall = fixture.raw().new_multi_writer();
    for child in fixture.children(PATH).await {
        deleteall.add_delete(&format!("{PATH}/{child}"), None).unwrap();
    }
    deleteall.add_delete(PATH, None).unwrap();
    deleteall.commit().await.unwrap();
    fixture.until_children(PATH, 1).await;
    assert_waits(&one).await;
    let two = enter(&zks[1], 2, 0).await;
    all_leave([entered(one).await, entered(two).await]).await;
    fixture.assert_no_nodes_left(&["/phases/one"]).await;
}
