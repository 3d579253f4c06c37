//! Counts that are dropped.

use super::{finish, latch, wait};
use crate::support::polls::drop_after;
use crate::support::{LONG, passes, session_id, start_each};

/// With its id a count that was dropped is made up for, and counted once.
#[tokio::test]
async fn dropped_calls_count_at_most_once() {
    let (fixture, [zk, other]) = start_each("cancelled").await;
    let id = session_id(&zk).await;
    let (mut counted, mut not) = (0, 0);
    for form in ["count_down_as", "wait", "wait_timeout"] {
        for polls in 0.. {
            let ours = latch(&zk, 2);
            let attempt = Box::pin(async move {
                match form {
                    "count_down_as" => assert_eq!(ours.count_down_as("a").await.unwrap(), 1),
                    "wait" => ours.wait().await.unwrap(),
                    _ => ours.wait_timeout(LONG).await.unwrap(),
                }
            });
            let is_over = drop_after(polls, attempt, &zk).await;
            let settled = latch(&other, 2);
            other.client().await.unwrap().sync("/").await.unwrap();
            match settled.count().await.unwrap() {
                1 if form == "count_down_as" => counted += 1,
                missing => {
                    assert_eq!(missing, 2, "{form} after {polls} polls");
                    not += 1;
                }
            }
            assert_eq!(settled.count_down_as("a").await.unwrap(), 1);
            let waiter = wait(&zk, 2);
            assert_eq!(settled.count_down_as("b").await.unwrap(), 0);
            passes(waiter).await;
            finish(&fixture, &settled).await;
            if is_over {
                break;
            }
        }
    }
    assert!(counted > 0 && not > 0, "{counted} counted, {not} not");
    assert_eq!(session_id(&zk).await, id, "the session outlives what was cancelled");
}
