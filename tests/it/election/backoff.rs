//! Leaders that fail soon after their election, and the one signal that ends waiting, leading and pausing.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use zookeeper_recipes::{Coordinator, LeaderElection, Leadership};
use zookeeper_testkit::{Fixture, within};

use super::{LEADER, lead};
use crate::support::cost::make_dir;
use crate::support::{LONG, PATIENCE, connect, connect_to, start};

/// By how much the minute is shortened, and all pauses with it. `ELECTION_FULL_LENGTH=1` takes the minute as it is.
fn scale() -> u32 {
    match std::env::var("ELECTION_FULL_LENGTH") {
        Ok(_) => 1,
        Err(_) => 20,
    }
}

fn with_backoff(zk: &Coordinator, scale: u32) -> LeaderElection {
    let (first, longest) = (Duration::from_secs(4) / scale, Duration::from_secs(60) / scale);
    let builder = LeaderElection::builder(zk, LEADER).backoff(first, longest);
    builder.build().unwrap()
}

async fn fails(_: Arc<Leadership>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[tokio::test]
async fn a_lone_leader_that_fails_storms_nobody() {
    let fixture = Fixture::new("lone failing leader").await;
    let (proxy, servers) = fixture.proxied().await;
    let election = with_backoff(&connect_to(&servers, LONG).await, scale());
    let minute = Duration::from_secs(60) / scale();
    // The servers of tests remove an empty container within a moment; others look once a minute.
    make_dir(&fixture, LEADER).await;
    lead(&election, "a").await.resign().await.unwrap();
    proxy.reset_counts();
    let mut terms = 0;
    let run = election.run("a", |leadership| {
        terms += 1;
        fails(leadership)
    });
    assert!(tokio::time::timeout(minute, run).await.is_err(), "it goes on");
    let counts = proxy.requests();
    println!(
        "a lone failing leader: {terms} terms and {} requests in the first minute ({minute:?})",
        counts.total()
    );
    assert!(terms > 1 && counts.total() <= 20, "{terms} terms, {counts}");
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn another_candidate_leads_within_the_first_pause() {
    let fixture = Fixture::new("second candidate").await;
    let failing = with_backoff(&connect(&fixture).await, 1);
    let other = LeaderElection::new(&connect(&fixture).await, LEADER).unwrap();
    let (fail, failed) = oneshot::channel::<()>();
    let mut failed = Some(failed);
    let running = tokio::spawn(async move {
        let work = |_| {
            let failed = failed.take();
            async move {
                match failed {
                    Some(failed) => _ = failed.await,
                    None => pending().await,
                }
                ControlFlow::<()>::Continue(())
            }
        };
        failing.run("a", work).await
    });
    fixture.until_children(LEADER, 1).await;
    let waiting = tokio::spawn(async move { other.campaign("b").await });
    fixture.until_children(LEADER, 2).await;
    let began = Instant::now();
    fail.send(()).unwrap();
    let leadership = within(PATIENCE, "the other leads", waiting).await.unwrap().unwrap();
    println!(
        "the other candidate leads {:?} after the failure; the first pause is 2 s to 4 s",
        began.elapsed()
    );
    assert_eq!(fixture.children(LEADER).await.len(), 1, "the one that failed pauses");
    // It stands again, behind the other.
    fixture.until_children(LEADER, 2).await;
    assert!(leadership.is_held());
    running.abort();
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn one_signal_ends_wait_work_and_pause() {
    let (fixture, zk) = start("run until").await;
    let election = with_backoff(&zk, 1);

    // While it waits: the candidate is gone at the return.
    let leadership = lead(&election, "first").await;
    let (stop, stopped) = oneshot::channel::<()>();
    let waiting = tokio::spawn({
        let election = election.clone();
        async move { election.run_until(async { _ = stopped.await }, "a", fails).await }
    });
    fixture.until_children(LEADER, 2).await;
    stop.send(()).unwrap();
    let ended = within(PATIENCE, "it ends", waiting).await.unwrap();
    assert_eq!(ended, Ok(None));
    assert_eq!(fixture.children(LEADER).await.len(), 1);
    leadership.resign().await.unwrap();

    // While it leads: the work is dropped, and the node is gone at the return.
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, mut starts) = mpsc::unbounded_channel();
    let leading = tokio::spawn({
        let election = election.clone();
        async move {
            let work = |leadership| {
                started.send(()).unwrap();
                async move {
                    let _leadership: Arc<Leadership> = leadership;
                    pending::<ControlFlow<()>>().await
                }
            };
            election.run_until(async { _ = stopped.await }, "a", work).await
        }
    });
    within(PATIENCE, "the work runs", starts.recv()).await.unwrap();
    stop.send(()).unwrap();
    assert_eq!(within(PATIENCE, "it ends", leading).await.unwrap(), Ok(None));
    assert_eq!(fixture.children(LEADER).await.len(), 0);

    // While it pauses, and when the signal was given before.
    let signal = tokio::time::sleep(Duration::from_millis(300));
    let ended = within(PATIENCE, "it ends", election.run_until(signal, "a", fails)).await;
    assert_eq!(ended, Ok(None));
    assert_eq!(election.run_until(async {}, "a", fails).await, Ok(None));

    // The work has the last word where it is done.
    let done = election
        .run_until(pending(), "a", async |_| ControlFlow::Break(7))
        .await;
    assert_eq!(done, Ok(Some(7)));
    fixture.assert_no_nodes_left(&[LEADER]).await;
}
