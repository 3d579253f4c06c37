//! Asking a leader to resign: what Curator's recipes cannot (CURATOR-650).

use std::ops::ControlFlow;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Coordinator, ElectionLayout, LeaderElection, Leadership};
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use crate::support::asking::{CURATORS, asked, by, connect_as, curators, is_refused};
use crate::support::cost::Counted;
use crate::support::{PATIENCE, connect, create, start, start_each};

const LEADER: &str = "/leader";
const LAYOUTS: [ElectionLayout; 2] = [ElectionLayout::LeaderLatch, ElectionLayout::LeaderSelector];

fn election(zk: &Coordinator) -> LeaderElection {
    LeaderElection::new(zk, LEADER).unwrap()
}

fn election_of(zk: &Coordinator, layout: ElectionLayout) -> LeaderElection {
    LeaderElection::builder(zk, LEADER).layout(layout).build().unwrap()
}

async fn lead(election: &LeaderElection, value: &'static str) -> Leadership {
    within(PATIENCE, "elected", election.campaign(value)).await.unwrap()
}

/// The value of the one who leads.
async fn leader(election: &LeaderElection) -> String {
    let leader = election.leader().await.unwrap().unwrap();
    String::from_utf8(leader.value.to_vec()).unwrap()
}

async fn ask_leader(election: &LeaderElection, reason: &str) {
    let leader = election.leader().await.unwrap().unwrap();
    assert_eq!(election.request_revocation(&leader, reason).await, Ok(true));
}

#[tokio::test]
async fn the_leader_decides_on_a_request_itself() {
    for layout in LAYOUTS {
        let fixture = Fixture::new("leader asked").await;
        let (zk, other) = (connect(&fixture).await, connect_as(&fixture, "the asker").await);
        let (ours, theirs) = (election_of(&zk, layout), election_of(&other, layout));
        let leadership = lead(&ours, "a").await;
        let mut observer = theirs.observe().await.unwrap();
        let before = observer.current().unwrap();
        ask_leader(&theirs, "a reboot").await;
        assert_eq!(asked(&leadership).await, by("the asker", "a reboot"));
        assert!(leadership.is_held(), "nothing happens by itself");
        assert_eq!(asked(&leadership).await, by("the asker", "a reboot"), "seen again");
        // To all others it is the leader that it was.
        assert_eq!(theirs.leader().await.unwrap().unwrap(), before);
        assert_eq!(theirs.participants().await.unwrap(), std::slice::from_ref(&before));
        assert_eq!(observer.current().as_ref(), Some(&before));
        leadership.resign().await.unwrap();
        let gone = within(PATIENCE, "nobody leads", observer.wait_for(Option::is_none));
        gone.await.unwrap();
        assert_eq!(theirs.request_revocation(&before, "too late").await, Ok(false));
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}

#[tokio::test]
async fn a_waiting_candidate_learns_of_requests_when_elected() {
    let fixture = Fixture::new("candidate asked").await;
    let (zk, other) = (connect(&fixture).await, connect_as(&fixture, "the asker").await);
    let first = lead(&election(&other), "a").await;
    let candidate = tokio::spawn(async move { election(&zk).campaign("b").await });
    fixture.until_children(LEADER, 2).await;
    let theirs = election(&other);
    let participants = theirs.participants().await.unwrap();
    let told = theirs.request_revocation(&participants[1], "not this one");
    assert_eq!(told.await, Ok(true));
    assert_eq!(leader(&theirs).await, "a");
    first.resign().await.unwrap();
    let next = within(PATIENCE, "elected", candidate).await.unwrap().unwrap();
    assert_eq!(asked(&next).await, by("the asker", "not this one"));
    next.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

/// The way that the documentation shows.
#[tokio::test]
async fn run_hands_over_on_request_and_stands_again() {
    let (fixture, [zk, other]) = start_each("asked in run").await;
    let running = tokio::spawn(async move {
        let mut terms = Vec::new();
        let ours = election(&zk);
        let run = ours.run("a", |leadership| {
            terms.push(leadership.token());
            let is_second = terms.len() == 2;
            async move {
                if is_second {
                    return ControlFlow::Break(());
                }
                leadership.revocation().await.unwrap();
                ControlFlow::Continue(())
            }
        });
        run.await.unwrap();
        terms
    });
    fixture.until_children(LEADER, 1).await;
    let ours = election(&other);
    let next = tokio::spawn({
        let ours = ours.clone();
        async move { ours.campaign("b").await }
    });
    fixture.until_children(LEADER, 2).await;
    ask_leader(&ours, "now").await;
    let next = within(PATIENCE, "handed over", next).await.unwrap().unwrap();
    assert!(!running.is_finished());
    let between = next.token();
    next.resign().await.unwrap();
    let terms = within(PATIENCE, "leads again", running).await.unwrap();
    assert!(
        terms.len() == 2 && terms[0] < between && between < terms[1],
        "{terms:?}, {between}"
    );
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn a_proclamation_leaves_a_request_as_it_is() {
    let fixture = Fixture::new("asked, then proclaims").await;
    let (zk, other) = (connect(&fixture).await, connect_as(&fixture, "the asker").await);
    let (ours, theirs) = (election(&zk), election(&other));
    let leadership = lead(&ours, "a").await;
    leadership.proclaim("b").await.unwrap();
    ask_leader(&theirs, "one").await;
    for value in ["c", "", "d"] {
        leadership.proclaim(value).await.unwrap();
        assert_eq!(asked(&leadership).await, by("the asker", "one"));
        assert_eq!(leader(&theirs).await, value);
    }
    ask_leader(&theirs, "two").await;
    assert_eq!(leader(&theirs).await, "d");
    leadership.proclaim("e").await.unwrap();
    eventually(PATIENCE, "the last one is seen", || async {
        asked(&leadership).await == by("the asker", "two")
    })
    .await;

    // Curator's bytes have taken the place of the value.
    fixture.raw().set_data(leadership.path(), CURATORS, None).await.unwrap();
    eventually(PATIENCE, "Curator's is seen", || async {
        asked(&leadership).await == (None, None)
    })
    .await;
    leadership.proclaim("f").await.unwrap();
    assert_eq!(asked(&leadership).await, (None, None));
    assert_eq!(leader(&theirs).await, "f");
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn a_simultaneous_request_and_proclamation_both_stay() {
    let (fixture, [zk, other]) = start_each("at the same moment").await;
    let (ours, theirs) = (election(&zk), election(&other));
    for round in 0..100 {
        let leadership = lead(&ours, "a").await;
        let participant = theirs.leader().await.unwrap().unwrap();
        let (proclaimed, told) = tokio::join!(
            leadership.proclaim("b"),
            theirs.request_revocation(&participant, "please"),
        );
        proclaimed.unwrap();
        assert_eq!(told, Ok(true));
        assert_eq!(leader(&theirs).await, "b", "round {round}");
        assert_eq!(asked(&leadership).await.1.as_deref(), Some("please"), "round {round}");
        leadership.resign().await.unwrap();
    }
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn a_proclamation_behind_a_request_costs_one_read() {
    let fixture = Fixture::new("asked, cost").await;
    let counted = Counted::connect(&fixture).await;
    let other = connect_as(&fixture, "the asker").await;
    let leadership = lead(&election(&counted.zk), "a").await;
    counted.requests(1).await;
    ask_leader(&election(&other), "please").await;
    let version = || async { fixture.raw().get_data(leadership.path()).await.unwrap().1.version };
    for (value, reads, writes) in [("b", 1, 2), ("c", 1, 1)] {
        let before = version().await;
        counted.requests(0).await;
        leadership.proclaim(value).await.unwrap();
        let counts = counted.requests(reads + writes).await;
        assert_eq!(
            (counts.of(Op::GetData), counts.of(Op::SetData)),
            (reads, writes),
            "{value}: {counts}"
        );
        assert_eq!(version().await, before + 1, "{value}");
    }
    for (value, injection) in [("d", Injection::LoseReply), ("e", Injection::CutBefore)] {
        let before = version().await;
        let fault = counted.proxy.inject(When::request(Op::SetData), injection);
        within(PATIENCE, "proclaimed", leadership.proclaim(value))
            .await
            .unwrap();
        fault.fired().await;
        assert_eq!(leader(&election(&other)).await, value);
        assert_eq!(version().await, before + 1, "{injection:?}: written once");
    }
    assert_eq!(asked(&leadership).await, by("the asker", "please"));
    leadership.resign().await.unwrap();
    fixture.assert_no_nodes_left(&[LEADER]).await;
}

#[tokio::test]
async fn candidates_of_curator_are_not_asked() {
    for (layout, kind) in LAYOUTS.into_iter().zip(["latch", "lock"]) {
        let (fixture, zk) = start("Curator's candidate").await;
        let election = election_of(&zk, layout);
        create(&fixture, LEADER, zk::CreateMode::Persistent).await;
        let path = curators(&fixture, LEADER, kind, b"participant-7").await;
        let participant = election.leader().await.unwrap().unwrap();
        let told = election.request_revocation(&participant, "please").await;
        assert!(is_refused(&told, &path), "{told:?}");
        assert_eq!(leader(&election).await, "participant-7");
        fixture.raw().delete(&path, None).await.unwrap();
        fixture.assert_no_nodes_left(&[LEADER]).await;
    }
}
