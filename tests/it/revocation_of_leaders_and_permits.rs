//! Asking a leader to resign, and a holder of permits to give them back: what Curator's recipes cannot (CURATOR-650).

use std::ops::ControlFlow;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Coordinator, ElectionLayout, Error, LeaderElection, Leadership, Permit, Semaphore};
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use crate::budget::Counted;
use crate::revocation::{CURATORS, asked, by, connect_as};
use crate::support::{LONG, PATIENCE, connect, connect_to, create, start, start_each};

const LEADER: &str = "/leader";
const BANK: &str = "/bank";
const LEASES: &str = "/bank/leases";
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

fn semaphore(zk: &Coordinator) -> Semaphore {
    Semaphore::new(zk, BANK, 3).unwrap()
}

async fn take(semaphore: &Semaphore, permits: u32) -> Permit {
    let acquired = within(PATIENCE, "permits", semaphore.acquire_many(permits));
    acquired.await.unwrap()
}

/// A node like one of Curator's, whose guid is of version 4.
async fn curators(fixture: &Fixture, dir: &str, kind: &str, data: &[u8]) -> String {
    let options = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_all());
    let prefix = format!("{dir}/_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-{kind}-");
    let (_, sequence) = fixture.raw().create(&prefix, data, &options).await.unwrap();
    format!("{prefix}{sequence}")
}

/// Asking would do nothing but overwrite what the others know it by.
fn is_refused(told: &Result<bool, Error>, node: &str) -> bool {
    matches!(told, Err(Error::Layout { path, .. }) if path == node)
}

#[tokio::test]
async fn a_leader_learns_who_asks_and_why_and_decides_itself() {
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
async fn a_candidate_that_is_asked_in_line_learns_of_it_when_it_leads() {
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
async fn a_leader_in_run_hands_over_when_asked_and_stands_again() {
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
async fn a_request_and_a_proclamation_at_the_same_moment_are_both_kept() {
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
async fn a_proclamation_behind_a_request_costs_a_read_and_its_lost_reply_changes_nothing() {
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
async fn a_candidate_that_runs_curator_is_not_asked_since_it_would_not_hear() {
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

#[tokio::test]
async fn holders_of_permits_are_listed_in_the_order_in_which_they_came() {
    let fixture = Fixture::new("holders").await;
    let (one, two) = (connect_as(&fixture, "one").await, connect_as(&fixture, "two").await);
    let holders = || async { semaphore(&one).holders().await.unwrap() };
    assert_eq!(holders().await, [], "the path does not even exist");
    let (first, second) = (take(&semaphore(&two), 2).await, take(&semaphore(&one), 1).await);
    let listed = holders().await;
    for (holder, (permit, who)) in listed.iter().zip([(&first, "two"), (&second, "one")]) {
        assert_eq!((holder.permits, holder.token), (permit.permits(), permit.token()));
        assert_eq!(holder.identity, who);
        assert_eq!(holder.session_id, fixture.ephemerals().await[&holder.path]);
        assert!(holder.path.starts_with(LEASES), "{holder:?}");
    }
    assert_eq!(listed.len(), 2);
    first.release().await.unwrap();
    assert_eq!(holders().await, listed[1..]);
    second.release().await.unwrap();
    assert_eq!(holders().await, []);
    // What is no permit is nobody's.
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    let note = format!("{LEASES}/note");
    let made = fixture.raw().mkdir(&note, &options).await;
    made.unwrap();
    assert_eq!(holders().await, []);
    fixture.raw().delete(&note, None).await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES]).await;
}

#[tokio::test]
async fn a_holder_of_permits_learns_who_asks_and_why_and_decides_itself() {
    let fixture = Fixture::new("permits asked").await;
    let (zk, other) = (
        connect_as(&fixture, "the holder").await,
        connect_as(&fixture, "the asker").await,
    );
    let (one, two) = (take(&semaphore(&zk), 1).await, take(&semaphore(&zk), 2).await);
    let theirs = semaphore(&other);
    let waiter = tokio::spawn({
        let theirs = theirs.clone();
        async move { theirs.acquire_many(2).await }
    });
    fixture.until_children("/bank/locks", 1).await;
    let holders = theirs.holders().await.unwrap();
    let many = holders.iter().find(|holder| holder.permits == 2).unwrap();
    assert_eq!(theirs.request_revocation(many, "two are needed").await, Ok(true));
    // One permit or the other, it is the same hold.
    assert_eq!(asked(&two).await, by("the asker", "two are needed"));
    assert!(two.is_held() && !waiter.is_finished(), "nothing happens by itself");
    assert_eq!(theirs.holders().await.unwrap(), holders, "still known by its identity");
    let unasked = tokio::time::timeout(std::time::Duration::from_millis(100), one.revocation());
    assert!(unasked.await.is_err(), "nobody asked for the other one");

    two.release().await.unwrap();
    let next = within(PATIENCE, "granted", waiter).await.unwrap().unwrap();
    assert_eq!(theirs.request_revocation(many, "too late").await, Ok(false));
    next.release().await.unwrap();
    one.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES, "/bank/locks"]).await;
}

/// The one at the head of the line watches the permits, but not what is in them.
#[tokio::test]
async fn asking_for_permits_costs_a_read_and_a_write_and_wakes_nobody_but_the_holder() {
    let fixture = Fixture::new("permits asked, cost").await;
    let (holder, asker, waiter) = (
        Counted::connect(&fixture).await,
        Counted::connect(&fixture).await,
        Counted::connect(&fixture).await,
    );
    let permit = take(&semaphore(&holder.zk), 3).await;
    let waiting = tokio::spawn({
        let semaphore = semaphore(&waiter.zk);
        async move { semaphore.acquire().await }
    });
    fixture.until_children("/bank/locks", 1).await;
    let holders = semaphore(&asker.zk).holders().await.unwrap();
    let counts = asker.requests(4).await;
    assert_eq!(
        (counts.lists(), counts.of(Op::GetData), counts.total()),
        (1, 3, 4),
        "{counts}"
    );
    // It has set its watches: on its own place, on the permits and, last of all, on their number.
    eventually(PATIENCE, "it waits", || async {
        let counts = waiter.proxy.requests();
        let own = counts.requests().iter().position(|request| request.op == Op::Exists);
        own.is_some_and(|own| counts.requests()[own..].iter().any(|request| request.op == Op::GetData))
    })
    .await;
    waiter.requests(0).await;
    let told = semaphore(&asker.zk).request_revocation(&holders[0], "cost").await;
    assert_eq!(told, Ok(true));
    let counts = asker.requests(2).await;
    assert_eq!(
        (counts.of(Op::GetData), counts.of(Op::SetData), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    asked(&permit).await;
    let counts = waiter.requests(0).await;
    assert_eq!(counts.total(), 0, "{counts}");
    permit.release().await.unwrap();
    let next = within(PATIENCE, "granted", waiting).await.unwrap().unwrap();
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES]).await;
}

#[tokio::test]
async fn a_holder_that_runs_curator_is_listed_but_not_asked_since_it_would_not_hear() {
    let (fixture, zk) = start("Curator's lease").await;
    let ours = semaphore(&zk);
    take(&ours, 1).await.release().await.unwrap();
    let path = curators(&fixture, LEASES, "lease", b"127.0.0.1").await;
    let holders = ours.holders().await.unwrap();
    assert_eq!(
        (holders.len(), holders[0].permits, &*holders[0].identity),
        (1, 1, &b"127.0.0.1"[..])
    );
    let told = ours.request_revocation(&holders[0], "please").await;
    assert!(is_refused(&told, &path), "{told:?}");
    assert_eq!(fixture.raw().get_data(&path).await.unwrap().0, b"127.0.0.1");
    fixture.raw().delete(&path, None).await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES]).await;
}

#[tokio::test]
async fn holders_are_listed_and_asked_through_a_lost_connection() {
    let fixture = Fixture::new("permits asked, cut").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect(&fixture).await, connect_to(&servers, LONG).await);
    let permit = take(&semaphore(&zk), 2).await;
    let theirs = semaphore(&other);
    for when in [When::list(), When::request(Op::GetData).nth(2)] {
        let fault = proxy.lose_reply(when);
        let holders = within(PATIENCE, "listed", theirs.holders()).await.unwrap();
        fault.fired().await;
        assert_eq!((holders.len(), holders[0].permits), (1, 2));
    }
    let holders = theirs.holders().await.unwrap();
    let fault = proxy.lose_reply(When::request(Op::SetData));
    let told = within(PATIENCE, "told", theirs.request_revocation(&holders[0], "once")).await;
    fault.fired().await;
    assert_eq!(told, Ok(true));
    assert_eq!(asked(&permit).await.1.as_deref(), Some("once"));
    permit.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LEASES]).await;
}
