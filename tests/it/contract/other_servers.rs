//! Servers that are not ZooKeeper, by the fault script of the embedded one: they know no containers, show an owner of
//! containers, or replace sessions silently (see also `session::replaced`).

use std::time::{Duration, Instant};

use zookeeper_embedded::{ErrorCode, Op, Rule};
use zookeeper_recipes::queue::{FifoQueue, WorkQueue};
use zookeeper_recipes::{
    Coordinator, CountDownLatch, Group, JoinError, LeaderElection, MultiLock, Relay, RwLock, Semaphore, SharedCounter,
    SharedValue,
};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::{LONG, PATIENCE, acquire, connect, connect_to, faults, lock, session_id};

/// How a server shows that it knows no containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shows {
    Refusal(ErrorCode),
    ClosedConnection,
}

const ALL: [Shows; 3] = [
    Shows::Refusal(ErrorCode::Unimplemented),
    Shows::Refusal(ErrorCode::BadArguments),
    Shows::ClosedConnection,
];

fn without_containers(fixture: &Fixture, shows: Shows) -> Rule {
    let rule = faults(fixture).on([Op::CreateContainer]).always();
    match shows {
        Shows::Refusal(error) => rule.refuse(error),
        Shows::ClosedConnection => rule.drop_before_apply(),
    }
}

/// Each recipe once, each with directories of its own.
async fn use_all(zk: &Coordinator) {
    acquire(&lock(zk, "/a/lock")).await.release().await.unwrap();
    let read = RwLock::new(zk, "/a/rw").unwrap().read().await.unwrap();
    read.release().await.unwrap();
    let both = MultiLock::new(zk, ["/b/1", "/b/2"]).unwrap().acquire().await.unwrap();
    both.release().await.unwrap();
    let permit = Semaphore::new(zk, "/c/s", 2).unwrap().acquire().await.unwrap();
    permit.release().await.unwrap();
    let leadership = LeaderElection::new(zk, "/d/e").unwrap().campaign("x").await.unwrap();
    leadership.ready().await.unwrap();
    leadership.resign().await.unwrap();
    Group::new(zk, "/e/g")
        .unwrap()
        .join("m", "")
        .await
        .unwrap()
        .leave()
        .await;
    SharedValue::new(zk, "/f/v").unwrap().set("1").await.unwrap();
    assert_eq!(SharedCounter::new(zk, "/f/c").unwrap().fetch_add(1).await, Ok(0));
    CountDownLatch::new(zk, "/g/l", 1).unwrap().count_down().await.unwrap();
    let queue = WorkQueue::new(zk, "/h/q").unwrap();
    queue.push("x").await.unwrap();
    queue.pop().await.unwrap().ack().await.unwrap();
    queue.close().await;
    let fifo = FifoQueue::new(zk, "/i/f").unwrap();
    fifo.push("x").await.unwrap();
    assert_eq!(fifo.pop().await.unwrap(), "x");
    let turn = Relay::new(zk, "/j/r").unwrap().join().await.unwrap();
    turn.complete("x").await.unwrap();
}

#[tokio::test]
async fn every_recipe_works_where_containers_are_unknown() {
    for shows in ALL {
        let fixture = Fixture::with_embedded_server("no containers").await;
        let rule = without_containers(&fixture, shows);
        let zk = connect(&fixture).await;
        // What is held meanwhile is kept, and the session with it.
        let session = session_id(&zk).await;
        let began = Instant::now();
        let held = acquire(&lock(&zk, "/held")).await;
        within(PATIENCE, format!("{shows:?}: all recipes"), use_all(&zk)).await;
        let asked = rule.hits();
        println!(
            "measured: {shows:?}: {asked} containers asked for, {:?}",
            began.elapsed()
        );
        // It is remembered; two connections are closed before it is believed.
        let expected = if shows == Shows::ClosedConnection { 2 } else { 1 };
        assert_eq!(asked, expected, "{shows:?}");
        assert!(held.is_held() && session_id(&zk).await == session, "{shows:?}");
        held.release().await.unwrap();
        zk.close().await;
        // The directories that were made in their place are gone, unless something stands in them.
        let left = fixture.tree().await;
        for gone in ["/a", "/b", "/c/s/locks", "/c/s/leases", "/d", "/e", "/held"] {
            assert!(!left.contains_key(gone), "{shows:?}: {gone} is left");
        }
        for stays in ["/f/v", "/f/c", "/h/q"] {
            assert!(left.contains_key(stays), "{shows:?}: {stays} is gone");
        }
    }
}

#[tokio::test]
async fn directories_instead_of_containers_are_removed_when_empty() {
    let fixture = Fixture::with_embedded_server("sweep").await;
    without_containers(&fixture, Shows::Refusal(ErrorCode::BadArguments));
    let zk = connect_to(&fixture.connect_string(), Duration::from_secs(1)).await;
    let held = acquire(&lock(&zk, "/dir/held")).await;
    acquire(&lock(&zk, "/dir/free")).await.release().await.unwrap();
    eventually(PATIENCE, "the empty one is removed", || async {
        !fixture.tree().await.contains_key("/dir/free")
    })
    .await;
    assert!(held.is_held());
    // The lock goes on with it or without it.
    acquire(&lock(&zk, "/dir/free")).await.release().await.unwrap();
    held.release().await.unwrap();
    eventually(PATIENCE, "all are removed", || async {
        !fixture.tree().await.contains_key("/dir")
    })
    .await;
    fixture.assert_no_nodes_left(&[]).await;
}

/// One process at a time removes and makes the directory; none of them notices.
#[tokio::test]
async fn a_directory_removed_by_others_is_made_again() {
    let fixture = Fixture::with_embedded_server("removed directory").await;
    without_containers(&fixture, Shows::Refusal(ErrorCode::Unimplemented));
    for _ in 0..10 {
        let (one, two) = (connect(&fixture).await, connect(&fixture).await);
        let (first, second) = (lock(&one, "/dir/l"), lock(&two, "/dir/l"));
        acquire(&first).await.release().await.unwrap();
        let closing = tokio::spawn(one.close());
        let guard = acquire(&second).await;
        closing.await.unwrap();
        assert!(guard.is_held());
        guard.release().await.unwrap();
        two.close().await;
    }
    fixture.assert_no_nodes_left(&["/dir/l"]).await;
}

#[tokio::test]
async fn a_container_with_an_owner_is_no_member() {
    let fixture = Fixture::with_embedded_server("container owner").await;
    faults(&fixture).show_container_owners(true);
    let zk = connect(&fixture).await;
    let group = Group::new(&zk, "/g").unwrap();
    let membership = group.join("ours", "").await.unwrap();
    let held = acquire(&lock(&zk, "/g/locks")).await;
    let shown = fixture.raw().check_stat("/g/locks").await.unwrap().unwrap();
    assert_eq!(shown.ephemeral_owner, i64::MIN);
    let ids: Vec<_> = group
        .members()
        .await
        .unwrap()
        .into_iter()
        .map(|member| member.id)
        .collect();
    assert_eq!(ids, ["ours"]);
    let mut observer = group.observe().await.unwrap();
    assert_eq!(observer.members().len(), 1);
    for joined in [
        group.join("locks", "").await.map(drop),
        within(PATIENCE, "refused", group.join_when_free("locks", ""))
            .await
            .map(drop),
    ] {
        // It never goes by itself with a session.
        assert!(
            matches!(&joined, Err(JoinError::Taken { session_id: 0, .. })),
            "{joined:?}"
        );
    }
    held.release().await.unwrap();
    membership.leave().await;
}

#[tokio::test]
async fn members_outlive_a_silently_replaced_session() {
    let fixture = Fixture::with_embedded_server("replaced member").await;
    let zk = connect_to(&fixture.connect_string(), Duration::from_secs(2)).await;
    let group = Group::new(&zk, "/g").unwrap();
    let membership = group.join("ours", "data").await.unwrap();
    let before = session_id(&zk).await;
    faults(&fixture).adopt_new_sessions(true);
    faults(&fixture).cut(before);
    let server = fixture.server().embedded().unwrap();
    eventually(PATIENCE, "it is back, in another session", || async {
        server.requests().op(Op::Connect).session(before).len() == 1
    })
    .await;
    faults(&fixture).adopt_new_sessions(false);
    eventually(PATIENCE, "it is a member in a session of its own", || async {
        let members = Group::new(&zk, "/g").unwrap().members().await.unwrap();
        members.iter().any(|member| member.session_id != before)
    })
    .await;
    assert_ne!(session_id(&zk).await, before);
    membership.leave().await;
    fixture.assert_no_nodes_left(&["/g"]).await;
}

/// Without an operation that shows whose session it is, a counter and a value work on.
#[tokio::test]
async fn counters_and_values_outlive_a_silently_replaced_session() {
    let fixture = Fixture::with_embedded_server("replaced session of values").await;
    let zk = connect_to(&fixture.connect_string(), LONG).await;
    let (counter, value) = (
        SharedCounter::new(&zk, "/c").unwrap(),
        SharedValue::new(&zk, "/v").unwrap(),
    );
    counter.fetch_add(1).await.unwrap();
    for number in 1..=3 {
        let before = session_id(&zk).await;
        faults(&fixture).adopt_new_sessions(true);
        faults(&fixture).cut(before);
        assert_eq!(within(PATIENCE, "added", counter.fetch_add(1)).await, Ok(number));
        within(PATIENCE, "written", value.set(number.to_string()))
            .await
            .unwrap();
        faults(&fixture).adopt_new_sessions(false);
        assert_eq!(counter.get().await, Ok(number + 1));
        assert_eq!(value.get().await.unwrap().unwrap().value, number.to_string());
    }
    fixture.assert_no_nodes_left(&["/c", "/v"]).await;
}
