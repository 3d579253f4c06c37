//! Calls that are dropped.

use super::{LINE, complete, finish, join, start_relays, told};
use crate::support::PATIENCE;
use crate::support::polls::poll_times;

/// Dropped after any number of polls, a join leaves no node; the next one is told of a lost predecessor at most.
#[tokio::test]
async fn calls_dropped_anywhere_leave_nothing() {
    let (fixture, [ours, others]) = start_relays("dropped").await;
    let mut steps = 0;
    for polls in 1..30 {
        let mut joining = Box::pin(ours.join());
        let polled = tokio::time::timeout(PATIENCE, poll_times(joining.as_mut(), polls)).await;
        let joined = polled.ok().flatten();
        drop(joining);
        if let Some(turn) = joined {
            let mut completing = Box::pin(turn.unwrap().complete("ours"));
            let polled = poll_times(completing.as_mut(), polls % 5 + 1).await;
            drop(completing);
            assert!(matches!(polled, None | Some(Ok(()))), "{polled:?}");
        }
        fixture.until_children(LINE, 0).await;
        let turn = join(&others).await;
        assert!(turn.step() == steps || (turn.step() == steps + 1 && !turn.predecessor_lost()));
        steps = turn.step() + 1;
        complete(turn, "theirs").await;
        let turn = join(&others).await;
        assert_eq!(told(&turn), (Some(&b"theirs"[..]), false, steps), "{polls} polls");
        steps += 1;
        complete(turn, "theirs").await;
    }
    finish(&fixture, &ours).await;
}
