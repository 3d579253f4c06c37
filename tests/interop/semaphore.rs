//! `Semaphore` and Curator's `InterProcessSemaphoreV2`. kazoo's has another layout.

use std::sync::Arc;
use std::time::Duration;

use zookeeper_recipes::{Coordinator, Semaphore, TryPermitError};
use zookeeper_testkit::{Fixture, Mode, within};

use crate::line::{Contender, is_served_in_turns_after, still_waits};
use crate::peer::{Actor, Peer};
use crate::support::{Intervals, Nanos, PATIENCE, SHORT, connect, connect_mortal, expire};

const PATH: &str = "/sem";
const LINE: &str = "/sem/locks";
const LEASES: &str = "/sem/leases";

fn semaphore(zk: &Coordinator, permits: u32) -> Semaphore {
    Semaphore::new(zk, PATH, permits).expect("a valid path")
}

async fn curators(peer: &Peer, fixture: &Fixture, permits: u32) -> Actor {
    let options = [permits.to_string()];
    let options = [options[0].as_str()];
    peer.actor_with(&fixture.connect_string(), SHORT, "semaphore", PATH, &options)
        .await
}

#[tokio::test]
async fn permits_of_curator_and_ours_are_counted_together() {
    let fixture = Fixture::new("permits_of_curator_and_ours_are_counted_together").await;
    let zk = connect(&fixture).await;
    let java = curators(&Peer::curator(), &fixture, 3).await;
    let ours = semaphore(&zk, 3);
    let permit = ours.acquire().await.expect("3 are free");
    java.ask("acquire 2").await;
    assert_eq!(ours.available_permits().await, Ok(0));
    assert_eq!(ours.try_acquire().await.err(), Some(TryPermitError::NoPermits));
    assert_eq!(java.ask("acquire 1 300").await, "timeout");
    let participants = java.ask("participants").await;
    assert_eq!(participants.split(' ').count(), 3, "{participants}");

    let waits = java.tell("acquire 1");
    fixture.until_children(LINE, 1).await;
    assert!(still_waits(&waits).await);
    permit.release().await.expect("held until now");
    waits.done().await;
    java.ask("release").await;
    let permit = ours.try_acquire().await;
    assert_eq!(permit.expect("Curator gave two back").permits(), 1);
    java.ask("release").await;
    fixture.assert_no_nodes_left(&[LINE, LEASES]).await;
}

#[tokio::test]
async fn curator_and_we_are_granted_in_order_of_arrival() {
    let fixture = Fixture::new("semaphore_in_order_of_arrival").await;
    let curator = Peer::curator();
    let zk = connect(&fixture).await;
    let gate = semaphore(&zk, 1).acquire().await.expect("one is free");
    let mut turns = Vec::new();
    for is_ours in [false, true, true, false, false, true] {
        turns.push(vec![if is_ours {
            let zk = connect(&fixture).await;
            let semaphore = semaphore(&zk, 1);
            Contender::ours(&zk, async move { semaphore.acquire().await })
        } else {
            Contender::theirs(&curators(&curator, &fixture, 1).await, "acquire 1", "release")
        }]);
    }
    let opened = async { gate.release().await.expect("held until now") };
    is_served_in_turns_after(&fixture, LINE, turns, opened).await;
    fixture.assert_no_nodes_left(&[LEASES]).await;
}

/// Ours takes several permits all at once or none; Curator takes them one by one, and two of its clients that want two of
/// two can each take one and wait for ever.
#[tokio::test]
async fn who_wants_many_is_not_overtaken_and_takes_none_meanwhile() {
    let fixture = Fixture::new("who_wants_many_is_not_overtaken").await;
    let zk = connect(&fixture).await;
    let curator = Peer::curator();
    let (holder, next) = (
        curators(&curator, &fixture, 2).await,
        curators(&curator, &fixture, 2).await,
    );
    holder.ask("acquire 1").await;
    let many = tokio::spawn({
        let semaphore = semaphore(&zk, 2);
        async move { semaphore.acquire_many(2).await }
    });
    fixture.until_children(LINE, 1).await;
    let waits = next.tell("acquire 1");
    fixture.until_children(LINE, 2).await;
    assert!(still_waits(&waits).await);
    assert!(!many.is_finished());
    assert_eq!(fixture.children(LEASES).await.len(), 1);

    holder.ask("release").await;
    let permit = within(PATIENCE, "two permits", many)
        .await
        .expect("no panic")
        .expect("granted");
    assert_eq!(permit.permits(), 2);
    assert!(still_waits(&waits).await);
    permit.release().await.expect("held until now");
    waits.done().await;
    next.ask("release").await;
    fixture.assert_no_nodes_left(&[LINE, LEASES]).await;
}

/// kazoo counts the children of the path itself, of which we have two, whatever is held.
#[tokio::test]
async fn kazoos_semaphore_does_not_count_our_permits() {
    let fixture = Fixture::new("kazoos_semaphore_does_not_count_our_permits").await;
    let zk = connect(&fixture).await;
    let permit = semaphore(&zk, 3).acquire_many(3).await.expect("3 are free");
    let servers = fixture.connect_string();
    let python = Peer::kazoo()
        .actor_with(&servers, SHORT, "semaphore", PATH, &["3"])
        .await;
    assert_eq!(python.ask("acquire 5000").await, "acquired", "four of three permits");
    assert!(permit.is_held());
    python.ask("release").await;
    permit.release().await.expect("held until now");
    fixture.assert_no_nodes_left(&[LINE, LEASES]).await;
}

#[tokio::test]
async fn the_end_of_a_session_on_either_side_frees_its_permits() {
    let fixture = Fixture::new("the_end_of_a_session_frees_its_permits").await;
    let zk = connect_mortal(&fixture).await;
    let curator = Peer::curator();
    let (java_1, java_2) = (
        curators(&curator, &fixture, 1).await,
        curators(&curator, &fixture, 1).await,
    );
    java_1.ask("acquire 1").await;
    let waiting = tokio::spawn({
        let semaphore = semaphore(&zk, 1);
        async move { semaphore.acquire().await }
    });
    fixture.until_children(LINE, 1).await;
    let java_waits = java_2.tell("acquire 1");
    fixture.until_children(LINE, 2).await;

    // A waiter of ours stands again, behind Curator's, which is next.
    let first = fixture.children(LINE).await;
    expire(&fixture, &zk).await;
    zookeeper_testkit::eventually(PATIENCE, "ours stands in line again", || async {
        let now = fixture.children(LINE).await;
        now.len() == 2 && now != first
    })
    .await;
    java_1.expire().await;
    java_waits.done().await;
    assert!(!waiting.is_finished(), "it stands behind");
    // It does not learn that it has lost its permit. Giving it back takes nothing from anybody.
    java_1.ask("release").await;

    java_2.expire().await;
    let permit = within(PATIENCE, "a permit", waiting)
        .await
        .expect("no panic")
        .expect("granted");
    let java_waits = java_1.tell("acquire 1");
    fixture.until_children(LINE, 1).await;
    expire(&fixture, &zk).await;
    within(PATIENCE, "the loss is signalled", permit.lost()).await;
    drop(permit);
    java_waits.done().await;
    java_1.ask("release").await;
    fixture.assert_no_nodes_left(&[LINE, LEASES]).await;
}

#[tokio::test]
async fn under_load_no_more_are_out_than_there_are() {
    const PERMITS: u32 = 3;
    let fixture = Fixture::new("under_load_no_more_are_out_than_there_are").await;
    let curator = Peer::curator();
    let intervals = Arc::new(Intervals::new());
    let mut contenders = Vec::new();
    for name in ["curator 1", "curator 2"] {
        let (java, intervals) = (curators(&curator, &fixture, PERMITS).await, Arc::clone(&intervals));
        let raw = fixture.connect().await;
        contenders.push(tokio::spawn(async move {
            for _ in 0..15 {
                let granted = java.tell("acquire 1").answer().await.expect("the peer lives");
                let node = format!("{LEASES}/{}", granted.outcome.expect("granted"));
                let stat = raw
                    .check_stat(&node)
                    .await
                    .expect("an answer")
                    .expect("its node is there");
                tokio::time::sleep(Duration::from_millis(fastrand::u64(1..15))).await;
                let mode = Mode::Permits {
                    taken: 1,
                    limit: PERMITS,
                };
                intervals.record(PATH, name, mode, stat.czxid, granted.at, Nanos::now());
                java.ask("release").await;
            }
        }));
    }
    for (name, taken) in [("ours 1", 1), ("ours 2", 2), ("ours 3", 3)] {
        let (zk, intervals) = (connect(&fixture).await, Arc::clone(&intervals));
        contenders.push(tokio::spawn(async move {
            for _ in 0..15 {
                let permit = semaphore(&zk, PERMITS).acquire_many(taken).await.expect("granted");
                let since = Nanos::now();
                tokio::time::sleep(Duration::from_millis(fastrand::u64(1..15))).await;
                let mode = Mode::Permits { taken, limit: PERMITS };
                intervals.record(PATH, name, mode, permit.token().as_i64(), since, Nanos::now());
                permit.release().await.expect("held until now");
            }
        }));
    }
    for contender in contenders {
        within(PATIENCE, "all have had their turns", contender)
            .await
            .expect("a contender ends well");
    }
    let summary = intervals.history().assert_sound();
    assert_eq!(summary.grants, 75);
    fixture.assert_no_nodes_left(&[LINE, LEASES]).await;
}
