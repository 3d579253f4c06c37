//! Turns that end without a result, and participants that lose their place.

use zookeeper_recipes::{CompleteError, LossReason, Lost};
use zookeeper_testkit::{eventually, within};

use super::{LINE, complete, finish, join, join_line, relay, start_relays, told};
use crate::support::sessions::{assert_expired, expire};
use crate::support::{PATIENCE, connect, granted, start, start_each};

/// In every way in which a turn can end without a result.
#[tokio::test]
async fn a_turn_without_result_hands_on_the_last() {
    let (fixture, [zk, other]) = start_each("lost").await;
    let (ours, others) = (relay(&zk), relay(&other));
    let mut before: Option<String> = None;
    for (step, way) in ["dropped", "released", "removed", "expired"].into_iter().enumerate() {
        let turn = join(&ours).await;
        assert_eq!(
            told(&turn),
            (before.as_ref().map(String::as_bytes), false, step as u64),
            "{way}"
        );
        let next = join_line(&fixture, &others, 2).await;
        match way {
            "dropped" => drop(turn),
            "released" => turn.release().await.unwrap(),
            "removed" => {
                fixture.raw().delete(turn.path(), None).await.unwrap();
                let lost = within(PATIENCE, "told", turn.lost()).await;
                assert_eq!(lost, LossReason::NodeRemoved);
                let reason = LossReason::NodeRemoved;
                assert_eq!(turn.complete("late").await, Err(CompleteError::Lost(Lost { reason })));
            }
            _ => {
                expire(&fixture, &zk).await;
                assert_expired(within(PATIENCE, "told", turn.lost()).await);
                assert!(matches!(turn.complete("late").await, Err(CompleteError::Lost(_))));
            }
        }
        let turn = granted(next).await;
        assert_eq!(
            told(&turn),
            (before.as_ref().map(String::as_bytes), true, step as u64),
            "{way}"
        );
        // Of two that are lost in a row, the second was told of the first, and so is the third of the second.
        drop(turn);
        let turn = join(&others).await;
        assert_eq!(
            told(&turn),
            (before.as_ref().map(String::as_bytes), true, step as u64),
            "{way}"
        );
        complete(turn, way).await;
        before = Some(way.to_owned());
    }
    let turn = join(&ours).await;
    assert_eq!(told(&turn), (Some(&b"expired"[..]), false, 4));
    complete(turn, "end").await;
    finish(&fixture, &ours).await;
}

/// Who left the line before it was its turn is nobody's predecessor.
#[tokio::test]
async fn a_waiter_that_leaves_is_no_lost_predecessor() {
    let (fixture, [one, two, three]) = start_relays("left").await;
    let turn = join(&one).await;
    let leaves = join_line(&fixture, &two, 2).await;
    let next = join_line(&fixture, &three, 3).await;
    leaves.abort();
    fixture.until_children(LINE, 2).await;
    complete(turn, "a").await;
    let turn = granted(next).await;
    assert_eq!(told(&turn), (Some(&b"a"[..]), false, 1));
    complete(turn, "b").await;
    finish(&fixture, &one).await;
}

#[tokio::test]
async fn a_waiting_participant_survives_its_session() {
    let (fixture, zk) = start("expired").await;
    let (ours, others) = (relay(&zk), relay(&connect(&fixture).await));
    let turn = join(&others).await;
    let waiting = join_line(&fixture, &ours, 2).await;
    let before = expire(&fixture, &zk).await;
    eventually(PATIENCE, "in line again", || async {
        let owners: Vec<_> = fixture.ephemerals().await.into_values().collect();
        owners.len() == 2 && !owners.contains(&before)
    })
    .await;
    complete(turn, "a").await;
    let turn = granted(waiting).await;
    assert_eq!(told(&turn), (Some(&b"a"[..]), false, 1));
    complete(turn, "b").await;
    finish(&fixture, &ours).await;
}
