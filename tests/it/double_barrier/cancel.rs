//! Calls that are dropped at any await point leave nothing.

use zookeeper_recipes::{DoubleBarrier, Entered};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{PATH, all_inside, all_leave, barrier, enter, entered, leave, left};
use crate::support::polls::poll_times;
use crate::support::{LONG, PATIENCE, SILENCE, session_id, start_each};

/// Drops `attempt` of one of two after every number of polls, with the other one waiting or coming later.
async fn walk<F: Future<Output = Option<Entered>>>(name: &str, attempt: impl Fn(DoubleBarrier) -> F) {
    let (fixture, zks) = start_each::<3>(name).await;
    let id = session_id(&zks[0]).await;
    let mut rounds = 0;
    for other_waits in [false, true] {
        for polls in 0.. {
            rounds += 1;
            let waiting = match other_waits {
                true => Some(enter(&zks[1], 2, 1).await),
                false => None,
            };
            let mut attempt = Box::pin(attempt(barrier(&zks[0], 2)));
            let polled = poll_times(attempt.as_mut(), polls);
            // Alone it waits for ever.
            let done = match other_waits {
                true => within(PATIENCE, "polled", polled).await,
                false => tokio::time::timeout(SILENCE, polled).await.unwrap_or(Some(None)),
            };
            drop(attempt);
            let is_over = done.is_some();
            drop(done);
            if let Some(waiting) = waiting {
                // It may have been let in. If not, somebody else has to come.
                let third = enter(&zks[2], 2, 0).await;
                all_leave([entered(waiting).await, entered(third).await]).await;
            }
            // Nobody is counted who is gone, once it is gone.
            fixture.until_children_but_ready(0).await;
            if is_over {
                break;
            }
        }
    }
    println!("{name}: {rounds} rounds");
    assert!(rounds > 6, "it was never dropped half-way");
    assert_eq!(session_id(&zks[0]).await, id, "the session outlives what was cancelled");
    all_leave(all_inside(&zks).await).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn an_enter_dropped_anywhere_leaves_nothing() {
    walk("enter", |barrier| async move { Some(barrier.enter().await.unwrap()) }).await;
}

#[tokio::test]
async fn an_enter_timeout_dropped_anywhere_leaves_nothing() {
    walk("enter_timeout", |barrier| async move {
        Some(barrier.enter_timeout(LONG).await.unwrap())
    })
    .await;
}

#[tokio::test]
async fn a_leave_dropped_anywhere_has_left() {
    let (fixture, zks) = start_each::<2>("leave").await;
    for other_leaves in [false, true] {
        for polls in 0.. {
            let mut inside = all_inside(&zks).await;
            let other = inside.pop().unwrap();
            let mut leaving = Box::pin(inside.pop().unwrap().leave());
            let other = match other_leaves {
                true => Ok(leave(other)),
                false => Err(other),
            };
            let polled = poll_times(leaving.as_mut(), polls);
            let done = tokio::time::timeout(if other_leaves { PATIENCE } else { SILENCE }, polled).await;
            assert!(other_leaves || !matches!(done, Ok(Some(_))), "left while one is inside");
            drop(leaving);
            let leaving = match other {
                Ok(leaving) => leaving,
                Err(other) => leave(other),
            };
            left(leaving).await;
            fixture.until_children_but_ready(0).await;
            if !matches!(done, Ok(None)) {
                break;
            }
        }
    }
    all_leave(all_inside(&zks).await).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

trait Members {
    async fn until_children_but_ready(&self, count: usize);
}

impl Members for Fixture {
    /// Waits until there are so many members.
    async fn until_children_but_ready(&self, count: usize) {
        eventually(PATIENCE, format!("{count} members"), || async {
            let children = self.children(PATH).await;
            children.iter().filter(|name| *name != "ready").count() == count
        })
        .await;
    }
}
