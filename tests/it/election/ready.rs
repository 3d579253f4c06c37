//! Elected and ready are two states.

use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zookeeper_recipes::{LeaderElection, Leadership, LossReason, Participant, ProclaimError};
use zookeeper_testkit::{Fixture, Op, When, within};

use super::{LAYOUTS, LEADER, MARKS, elected, election, lead, leads, stand, value};
use crate::support::sessions::expire;
use crate::support::{LONG, PATIENCE, connect, start, start_proxied};

fn is_ready(who: &str) -> impl Fn(&Option<Participant>) -> bool {
    move |leader| {
        leader
            .as_ref()
            .is_some_and(|leader| value(leader) == who && leader.is_ready)
    }
}

#[tokio::test]
async fn all_see_whether_the_leader_is_ready() {
    for layout in LAYOUTS {
        let (fixture, zk) = start("ready").await;
        let ours = election(&zk, layout);
        let bystander = election(&connect(&fixture).await, layout);
        let leadership = lead(&ours, "a").await;
        let next = stand(&bystander, "b");
        fixture.until_children(LEADER, 2).await;
        let mut observer = bystander.observe().await.unwrap();
        let leader = observer.current().unwrap();
        assert!(leader.is_leader && !leader.is_ready && !leadership.is_ready());
        let before = fixture.raw().get_data(leadership.path()).await.unwrap();
        leadership.ready().await.unwrap();
        leadership.ready().await.unwrap();
        assert!(leadership.is_ready());
        within(PATIENCE, "seen", observer.wait_for(is_ready("a")))
            .await
            .unwrap();
        assert!(bystander.leader().await.unwrap().unwrap().is_ready);
        let participants = bystander.participants().await.unwrap();
        let ready: Vec<_> = participants.iter().map(|one| one.is_ready).collect();
        assert_eq!(ready, [true, false]);
        let after = fixture.raw().get_data(leadership.path()).await.unwrap();
        assert_eq!(before, after, "a latch of Curator's would miss its turn");

        // The state is that of this leader alone.
        leadership.resign().await.unwrap();
        let next = elected(next).await;
        let leader = within(PATIENCE, "seen", observer.wait_for(leads("b"))).await.unwrap();
        assert!(!leader.unwrap().is_ready);
        next.resign().await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER, MARKS]).await;
    }
}

#[tokio::test]
async fn a_leader_that_is_lost_is_not_ready() {
    let (fixture, proxy, zk) = start_proxied("ready after loss", LONG).await;
    let election = LeaderElection::new(&zk, LEADER).unwrap();
    // A reply that is lost on the way leaves one mark.
    let leadership = lead(&election, "a").await;
    let fault = proxy.lose_reply(When::create().path("__election__/ready"));
    within(PATIENCE, "ready", leadership.ready()).await.unwrap();
    assert!(fault.has_fired());
    assert_eq!(fixture.children(MARKS).await.len(), 1);
    assert_eq!(proxy.requests().of(Op::SetData), 0);
    expire(&fixture, &zk).await;
    within(PATIENCE, "lost", leadership.lost()).await;
    assert!(matches!(leadership.ready().await, Ok(()) | Err(ProclaimError::Lost(_))));
    drop(leadership);
    let leadership = lead(&election, "a").await;
    fixture.raw().delete(leadership.path(), None).await.unwrap();
    within(PATIENCE, "lost", leadership.lost()).await;
    let refused = leadership.ready().await;
    assert!(
        matches!(&refused, Err(ProclaimError::Lost(lost)) if lost.reason == LossReason::NodeRemoved),
        "{refused:?}"
    );
    drop(leadership);
    fixture.assert_no_nodes_left(&[LEADER, MARKS]).await;
}

#[tokio::test]
async fn a_leader_never_ready_is_replaced_in_time() {
    let fixture = Fixture::new("never ready").await;
    let bound = Duration::from_millis(500);
    let builder = LeaderElection::builder(&connect(&fixture).await, LEADER).ready_within(bound);
    let stuck = builder.build().unwrap();
    let other = LeaderElection::builder(&connect(&fixture).await, LEADER).ready_within(bound);
    let other = other.build().unwrap();
    let began = Instant::now();
    let first = tokio::spawn(async move {
        let hang = |_: Arc<Leadership>| pending::<ControlFlow<()>>();
        stuck.run("stuck", hang).await
    });
    fixture.until_children(LEADER, 1).await;
    let mut observer = other.observe().await.unwrap();
    let second = tokio::spawn(async move {
        let work = async |leadership: Arc<Leadership>| {
            leadership.ready().await.unwrap();
            leadership.lost().await;
            ControlFlow::<()>::Continue(())
        };
        other.run("good", work).await
    });
    within(PATIENCE, "replaced", observer.wait_for(is_ready("good")))
        .await
        .unwrap();
    println!(
        "a leader that is never ready is replaced {:?} after its start; the bound is {bound:?}",
        began.elapsed()
    );
    assert!(began.elapsed() >= bound);
    // One that is ready stays.
    tokio::time::sleep(2 * bound).await;
    assert!(is_ready("good")(&observer.current()));
    first.abort();
    second.abort();
    fixture.assert_no_nodes_left(&[LEADER, MARKS]).await;
}

#[tokio::test]
async fn a_process_follows_whether_it_leads() {
    let (fixture, zk) = start("is leader").await;
    let ours = LeaderElection::new(&zk, LEADER).unwrap();
    let mut leads_now = ours.clone().is_leader();
    assert!(!leads_now.current());
    let leadership = lead(&ours, "a").await;
    assert!(leads_now.current_and_update());
    leadership.resign().await.unwrap();
    assert!(!leads_now.current());
    let leadership = lead(&ours, "a").await;
    leads_now.current_and_update();
    expire(&fixture, &zk).await;
    within(PATIENCE, "told", leads_now.wait_for(|leads| !leads))
        .await
        .unwrap();
    assert!(!leadership.is_held());
    drop(leadership);
    drop(ours);
    let ended = within(PATIENCE, "the observer ends", async {
        while leads_now.changed().await.is_some() {}
    });
    ended.await;
    fixture.assert_no_nodes_left(&[LEADER]).await;
}
