//! Work under a leadership, from its start to its end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use zookeeper_recipes::{ElectionLayout, LeaderElection, Leadership, LossReason, LostSignal};
use zookeeper_testkit::{Fixture, within};

use super::{LAYOUTS, LEADER, election};
use crate::support::sessions::{assert_expired, expire};
use crate::support::{PATIENCE, connect, start};

/// Tells when the work is dropped, and whether the hold under it was still there then.
struct Dropped {
    lost: LostSignal,
    tell: mpsc::UnboundedSender<Option<LossReason>>,
}

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.tell.send(self.lost.reason());
    }
}

/// CURATOR-15, -16, -73, -104, -468: the selector stopped to elect after an expiry, silently. CURATOR-573: work that
/// swallows the interrupt blocks the election.
#[tokio::test]
async fn curator_15_573_run_campaigns_again_after_losses() {
    for layout in LAYOUTS {
        let (fixture, zk) = start("run").await;
        let (tell, mut dropped) = mpsc::unbounded_channel();
        let (started, mut starts) = mpsc::unbounded_channel();
        let running = tokio::spawn({
            let election = election(&zk, layout);
            async move {
                let mut terms = Vec::new();
                let work = |leadership: Arc<Leadership>| {
                    terms.push(leadership.token());
                    started.send(terms.len()).unwrap();
                    let (terms, lost, tell) = (terms.clone(), leadership.lost(), tell.clone());
                    async move {
                        let _dropped = Dropped { lost, tell };
                        if terms.len() < 3 {
                            std::future::pending::<()>().await;
                        }
                        ControlFlow::Break(terms)
                    }
                };
                election.run("a", work).await
            }
        });
        for round in 1..3 {
            assert_eq!(within(PATIENCE, "the work runs", starts.recv()).await, Some(round));
            expire(&fixture, &zk).await;
            let reason = within(PATIENCE, "the work is dropped", dropped.recv()).await.unwrap();
            assert_expired(reason.unwrap());
        }
        let terms = within(PATIENCE, "run returns", running).await.unwrap().unwrap();
        assert!(terms.is_sorted() && terms.len() == 3, "{terms:?}");
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn run_hands_over_and_stands_at_the_tail() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("requeue").await;
        let turns = Arc::new(std::sync::Mutex::new(Vec::new()));
        let together = Arc::new(AtomicUsize::new(0));
        let mut running = Vec::new();
        for (index, who) in ["a", "b", "c"].into_iter().enumerate() {
            let zk = connect(&fixture).await;
            let builder = LeaderElection::builder(&zk, LEADER).layout(layout);
            // Each hands over at once, and has not failed.
            let election = builder.backoff(Duration::ZERO, Duration::ZERO).build().unwrap();
            let (turns, together) = (Arc::clone(&turns), Arc::clone(&together));
            let raw = fixture.raw().clone();
            running.push(tokio::spawn(async move {
                let mut rounds = 0;
                let work = |leadership: Arc<Leadership>| {
                    rounds += 1;
                    let (turns, together, raw) = (Arc::clone(&turns), Arc::clone(&together), raw.clone());
                    async move {
                        assert_eq!(together.fetch_add(1, Ordering::SeqCst), 0, "two lead");
                        // Until all stand in line, the one before us behind the others again.
                        while rounds < 3 && raw.list_children(LEADER).await.unwrap().len() < 3 {
                            tokio::task::yield_now().await;
                        }
                        turns.lock().unwrap().push(who);
                        assert!(leadership.is_held());
                        together.fetch_sub(1, Ordering::SeqCst);
                        if rounds == 3 {
                            ControlFlow::Break(())
                        } else {
                            ControlFlow::Continue(())
                        }
                    }
                };
                election.run(who, work).await
            }));
            if index < 2 {
                fixture.until_children(LEADER, index + 1).await;
            }
        }
        for run in running {
            within(PATIENCE, "run returns", run).await.unwrap().unwrap();
        }
        assert_eq!(*turns.lock().unwrap(), ["a", "b", "c", "a", "b", "c", "a", "b", "c"]);
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn a_dropped_run_ends_its_work_before_resigning() {
    let fixture = Fixture::new("dropped run").await;
    let election = election(&connect(&fixture).await, ElectionLayout::default());
    let (tell, mut dropped) = mpsc::unbounded_channel();
    let (started, mut starts) = mpsc::unbounded_channel();
    let running = tokio::spawn(async move {
        election
            .run("a", |leadership| {
                let dropped = Dropped {
                    lost: leadership.lost(),
                    tell: tell.clone(),
                };
                started.send(()).unwrap();
                async move {
                    let _dropped = dropped;
                    std::future::pending::<ControlFlow<()>>().await
                }
            })
            .await
    });
    within(PATIENCE, "the work runs", starts.recv()).await.unwrap();
    running.abort();
    let reason = within(PATIENCE, "the work is dropped", dropped.recv()).await.unwrap();
    assert_eq!(reason, None, "resigned while the work ran");
    fixture.assert_no_nodes_left(&[LEADER]).await;
}
