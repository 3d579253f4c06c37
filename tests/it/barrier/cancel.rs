//! Calls that are dropped, and waits that time out.

use std::time::Duration;

use zookeeper_recipes::WaitTimeoutError;
use zookeeper_testkit::{Fixture, eventually};

use super::{barrier, wait};
use crate::support::polls::drop_after;
use crate::support::{LONG, PATIENCE, connect, passes, session_id, start_each};

/// CURATOR-654: the watch of a wait that is over stays.
#[tokio::test]
async fn curator_654_timed_out_waits_leave_no_watch() {
    let fixture = Fixture::with_own_server("watches").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    barrier(&other).set().await.unwrap();
    let watches = || async {
        let counts = zookeeper_testkit::four_letter::mntr(fixture.server().addr())
            .await
            .unwrap();
        counts["zk_watch_count"].parse::<usize>().unwrap()
    };
    let before = watches().await;
    let gate = barrier(&zk);
    for _ in 0..10 {
        let timed = gate.wait_timeout(Duration::from_millis(20)).await;
        assert!(matches!(timed, Err(WaitTimeoutError::Elapsed { .. })));
        tokio::select! {
            biased;
            waited = gate.wait() => panic!("{waited:?}"),
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
    }
    eventually(PATIENCE, "no watch is left", || async { watches().await == before }).await;
    gate.lift().await.unwrap();
    fixture.assert_no_nodes_left(&["/gates"]).await;
}

/// Whether a call that was dropped has closed or opened the barrier is open; that the next calls do what they say is not.
#[tokio::test]
async fn calls_dropped_anywhere_leave_nothing() {
    let (fixture, [zk, other]) = start_each("cancelled").await;
    let id = session_id(&zk).await;
    let mut rounds = 0;
    for form in ["set", "lift", "wait", "wait_timeout"] {
        for polls in 0.. {
            rounds += 1;
            if form != "set" {
                barrier(&other).set().await.unwrap();
            }
            let gate = barrier(&zk);
            let attempt = Box::pin(async move {
                match form {
                    "set" => gate.set().await.unwrap(),
                    "lift" => gate.lift().await.unwrap(),
                    "wait" => gate.wait().await.unwrap(),
                    _ => gate.wait_timeout(LONG).await.unwrap(),
                }
            });
            let is_over = drop_after(polls, attempt, &zk).await;
            let again = barrier(&other);
            again.set().await.unwrap();
            let waiter = wait(&zk);
            again.lift().await.unwrap();
            passes(waiter).await;
            if is_over {
                break;
            }
        }
    }
    assert!(rounds > 8, "nothing was dropped half-way");
    assert_eq!(session_id(&zk).await, id, "the session outlives what was cancelled");
    fixture.assert_no_nodes_left(&["/gates"]).await;
}
