//! More places than one session may own: further sessions, unseen.
//!
//! Paths of some 800 bytes, so that a hundred fill a session.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future;
use tracing::Level;
use zookeeper_recipes::inspect::Inspector;
use zookeeper_recipes::queue::WorkQueue;
use zookeeper_recipes::{
    ConnectOptions, Coordinator, Error, FairLockGuard, Group, Membership, MultiLock, Semaphore, SessionState,
};
use zookeeper_testkit::{Fixture, Op, When, eventually, within};

use crate::support::events;
use crate::support::sessions::{assert_expired, expire};
use crate::support::{LONG, PATIENCE, acquire, granted, join_line, lock};

/// What a session takes before the next one is opened, where requests are limited.
const LIMIT: usize = 98_304;

/// A coordinator whose sessions own no more than that.
async fn connect(fixture: &Fixture) -> Coordinator {
    connect_small(&fixture.connect_string(), LONG, 16).await
}

async fn connect_small(servers: &str, timeout: Duration, sessions: usize) -> Coordinator {
    events::record();
    let options = ConnectOptions::new().session_timeout(timeout).max_sessions(sessions);
    let connecting = options.request_limit(LIMIT / 3 * 4).connect(servers);
    within(PATIENCE, "a session", connecting).await.unwrap()
}

/// A path of 700 bytes and more.
pub(crate) fn long(name: &str, number: usize) -> String {
    format!("/{}/{name}-{number:04}", "p".repeat(700))
}

/// Takes so many locks at once.
async fn take(zk: &Coordinator, name: &str, locks: usize) -> Vec<Result<FairLockGuard, Error>> {
    let taking = (0..locks).map(|number| {
        let lock = lock(zk, &long(name, number));
        async move { lock.acquire().await }
    });
    within(4 * PATIENCE, "an answer to each", future::join_all(taking)).await
}

pub(crate) async fn take_all(zk: &Coordinator, name: &str, locks: usize) -> Vec<FairLockGuard> {
    let taken = take(zk, name, locks).await;
    taken
        .into_iter()
        .map(|taken| taken.unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

/// Takes so many locks, one after the other, which fills the first session before the next.
async fn fill(zk: &Coordinator, name: &str, locks: usize) -> Vec<FairLockGuard> {
    let mut guards = Vec::new();
    for number in 0..locks {
        guards.push(acquire(&lock(zk, &long(name, number))).await);
    }
    guards
}

/// The sessions that own nodes.
async fn owners(fixture: &Fixture) -> BTreeSet<i64> {
    fixture.ephemerals().await.into_values().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_session_brings_further_ones() {
    let fixture = Fixture::new("pool").await;
    let zk = connect(&fixture).await;
    let guards = take_all(&zk, "spread", 250).await;
    let stats = zk.stats();
    assert_eq!(stats.holds, 250);
    assert!(stats.sessions.len() > 2, "{stats:?}");
    assert!(stats.sessions.iter().all(|session| session.bytes <= LIMIT), "{stats:?}");
    let known: BTreeSet<i64> = stats.sessions.iter().map(|session| session.id).collect();
    assert!(owners(&fixture).await.is_subset(&known), "{stats:?}");
    assert!(guards.iter().all(|guard| guard.is_held()));
    assert_eq!(zk.states().current(), SessionState::Connected);
    drop(guards);
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_too_many_is_refused_with_advice() {
    let fixture = Fixture::new("pool is full").await;
    let zk = connect_small(&fixture.connect_string(), LONG, 2).await;
    let (mut guards, mut refused) = (Vec::new(), Vec::new());
    for taken in take(&zk, "full", 400).await {
        match taken {
            Ok(guard) => guards.push(guard),
            Err(error) => refused.push(error),
        }
    }
    assert!(guards.len() > 100 && !refused.is_empty(), "{} held", guards.len());
    for error in refused {
        assert!(
            matches!(
                error,
                Error::SessionsFull {
                    sessions: 2,
                    max_sessions: 2,
                    ..
                }
            ),
            "{error:?}"
        );
        let told = error.to_string();
        assert!(
            told.contains("max_sessions") && told.contains("maxClientCnxns"),
            "{told}"
        );
    }
    assert_eq!(zk.stats().sessions.len(), 2);
    assert!(guards.iter().all(|guard| guard.is_held()));
    // What is released makes room.
    drop(guards.split_off(50));
    let again = lock(&zk, &long("again", 0));
    let try_again = || async { again.acquire().await.is_ok() };
    eventually(PATIENCE, "there is room again", try_again).await;
    drop(guards);
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

/// More than 131,072 bytes of watches in one session, and it would not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cutting_every_link_costs_no_place() {
    let fixture = Fixture::new("pool is cut").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_small(&servers, LONG, 16).await;
    let mut guards = take_all(&zk, "cut", 300).await;
    let contended = guards.remove(0);
    let waiter = join_line(&fixture, &lock(&zk, &long("cut", 0)), 2).await;
    let before = fixture.ephemerals().await;

    proxy.refuse().await;
    let is_cut = |stats: zookeeper_recipes::Stats| stats.sessions.iter().all(|session| !session.is_connected);
    eventually(PATIENCE, "the cut is seen", || async { is_cut(zk.stats()) }).await;
    assert_eq!(zk.states().current(), SessionState::Suspended);
    proxy.accept().await;
    let back = |session: &zookeeper_recipes::SessionStats| session.is_connected;
    eventually(PATIENCE, "all are back", || async {
        zk.stats().sessions.iter().all(back)
    })
    .await;
    // Each has to answer again, its watches set: a hold that is taken away is told of.
    assert_eq!(fixture.ephemerals().await, before);
    assert!(guards.iter().all(|guard| guard.is_held()));
    let broken = guards.pop().unwrap();
    fixture.raw().delete(broken.path(), None).await.unwrap();
    within(PATIENCE, "the removal is told", broken.lost()).await;
    contended.release().await.unwrap();
    granted(waiter).await.release().await.unwrap();
    assert_eq!(zk.stats().sessions_lost, 0);
    drop((guards, broken));
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_one_session_costs_the_others_nothing() {
    let fixture = Fixture::new("one of the pool").await;
    let zk = connect(&fixture).await;
    let guards = take_all(&zk, "loss", 200).await;
    let owners = fixture.ephemerals().await;
    let lost = expire(&fixture, &zk).await;
    let (of_the_lost, of_others): (Vec<_>, Vec<_>) = guards.into_iter().partition(|guard| owners[guard.path()] == lost);
    assert!(!of_the_lost.is_empty() && !of_others.is_empty());
    for guard in &of_the_lost {
        assert_expired(within(PATIENCE, "the loss is told", guard.lost()).await);
    }
    assert!(of_others.iter().all(|guard| guard.is_held()));
    drop(of_the_lost);
    let again = take_all(&zk, "after-the-loss", 50).await;
    assert_eq!(zk.stats().sessions_lost, 1);
    assert!(of_others.iter().all(|guard| guard.is_held()));
    drop((again, of_others));
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

/// All nodes of one operation are in one session, whose transaction takes or checks them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operation_stays_in_one_session() {
    let fixture = Fixture::new("pool and operations").await;
    let zk = connect(&fixture).await;
    let guards = take_all(&zk, "others", 60).await;
    let paths: Vec<_> = (0..40).map(|number| long("many", number)).collect();
    let many = MultiLock::new(&zk, &paths).unwrap();
    let many = within(PATIENCE, "all of them", many.acquire()).await.unwrap();
    let permits = Semaphore::new(&zk, &long("permits", 0), 40).unwrap();
    let permits = within(PATIENCE, "permits", permits.acquire_many(40)).await.unwrap();
    let mut sessions = [BTreeSet::new(), BTreeSet::new()];
    for (path, owner) in fixture.ephemerals().await {
        sessions[0].extend(path.contains("/many-").then_some(owner));
        sessions[1].extend(path.contains("/permits-").then_some(owner));
    }
    assert!(sessions.iter().all(|owners| owners.len() == 1), "{sessions:?}");
    assert!(zk.stats().sessions.len() > 1);
    drop((many, permits, guards));
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_session_that_owns_nothing_is_closed() {
    let fixture = Fixture::new("pool shrinks").await;
    let zk = connect_small(&fixture.connect_string(), Duration::from_secs(4), 16).await;
    let guards = take_all(&zk, "idle", 150).await;
    assert!(zk.stats().sessions.len() > 1);
    drop(guards);
    eventually(PATIENCE, "one session is left", || async {
        zk.stats().sessions.len() == 1
    })
    .await;
    assert_eq!(zk.stats().sessions_lost, 0);
    assert_eq!(zk.states().current(), SessionState::Connected);
    let again = take_all(&zk, "idle", 150).await;
    drop(again);
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_creates_leave_nothing_anywhere() {
    let fixture = Fixture::new("pool and cancellation").await;
    let zk = connect(&fixture).await;
    let contending = (0..3).map(|_| {
        let zk = zk.clone();
        tokio::spawn(async move { take(&zk, "given-up", 200).await })
    });
    let contending: Vec<_> = contending.collect();
    eventually(PATIENCE, "several sessions own nodes", || async {
        zk.stats().sessions.iter().filter(|session| session.nodes > 0).count() > 1
    })
    .await;
    contending.iter().for_each(tokio::task::JoinHandle::abort);
    eventually(PATIENCE, "nothing is left", || async {
        let stats = zk.stats();
        stats.reaper_backlog == 0 && stats.sessions.iter().all(|session| session.nodes == 0)
    })
    .await;
    assert!(owners(&fixture).await.is_empty());
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_behind_an_own_session_warns() {
    let fixture = Fixture::new("pool waits for itself").await;
    let zk = connect(&fixture).await;
    let held = acquire(&lock(&zk, &long("itself", 0))).await;
    let guards = fill(&zk, "beside", 130).await;
    let waiter = join_line(&fixture, &lock(&zk, &long("itself", 0)), 2).await;
    let ephemerals = fixture.ephemerals().await;
    let of_both = ephemerals.iter().filter(|(path, _)| path.contains("/itself-"));
    let owners: BTreeSet<i64> = of_both.map(|(_, owner)| *owner).collect();
    assert_eq!(owners.len(), 2, "the waiter is in a further session");
    let name = held.path().rsplit('/').next().unwrap().to_owned();
    eventually(PATIENCE, "the warning", || async {
        events::about(Level::WARN, &name)
            .iter()
            .any(|told| told.contains("waits behind a place of its own"))
    })
    .await;
    held.release().await.unwrap();
    drop((granted(waiter).await, guards));
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_one_coordinator_are_one_process() {
    let fixture = Fixture::new("pool inspected").await;
    let zk = connect(&fixture).await;
    let guards = fill(&zk, "held", 130).await;
    let sessions = owners(&fixture).await;
    assert_eq!(sessions.len(), 2);
    let other = connect(&fixture).await;
    let mut waiting = Vec::new();
    for number in [0, 129] {
        waiting.push(join_line(&fixture, &lock(&other, &long("held", number)), 2).await);
    }

    let graph = Inspector::new(&other).waits_for("/").await.unwrap();
    assert_eq!(graph.waits().len(), 2);
    let processes: Vec<_> = graph.processes().iter().map(|process| &process.sessions).collect();
    assert_eq!(processes.len(), 2, "{processes:?}");
    assert!(processes.contains(&&sessions), "{processes:?}");

    drop(guards);
    for waiting in waiting {
        drop(granted(waiting).await);
    }
    for zk in [zk, other] {
        within(PATIENCE, "closed", zk.close()).await;
    }
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_consumers_find_room_in_further_sessions() {
    let fixture = Fixture::new("pool of members").await;
    let zk = connect(&fixture).await;
    let group = Group::new(&zk, &format!("/{}", "g".repeat(700))).unwrap();
    let joining = (0..150).map(|number| {
        let group = group.clone();
        async move { group.join(&format!("member-{number}"), "").await }
    });
    let joined = within(PATIENCE, "the members", future::try_join_all(joining))
        .await
        .unwrap();
    assert!(joined.iter().all(Membership::is_present));
    // While a node is created, it counts beside the room that was reserved for it: twice 150 paths fill three sessions.
    let sessions = owners(&fixture).await.len();
    assert!((2..=3).contains(&sessions), "{sessions} sessions");

    let path = format!("/{}", "q".repeat(700));
    let consuming: Vec<_> = (0..150)
        .map(|_| {
            let queue = WorkQueue::new(&zk, &path).unwrap();
            tokio::spawn(async move { queue.pop().await.unwrap().ack().await.unwrap() })
        })
        .collect();
    fixture.until_children(&format!("{path}/consumers"), 150).await;
    assert!(owners(&fixture).await.len() > 2);
    let semaphore = Semaphore::new(&zk, &long("permits", 0), 150).unwrap();
    let taking = future::try_join_all((0..150).map(|_| semaphore.acquire()));
    let permits = within(PATIENCE, "the permits", taking).await.unwrap();

    let queue = WorkQueue::new(&zk, &path).unwrap();
    for number in 0..150 {
        queue.push(number.to_string()).await.unwrap();
    }
    within(2 * PATIENCE, "an item for each", future::join_all(consuming)).await;
    assert_eq!(queue.len().await, Ok(0));
    drop((permits, joined));
    within(PATIENCE, "closed", zk.close()).await;
    assert!(owners(&fixture).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_moves_between_our_sessions() {
    let fixture = Fixture::new("pool and a name").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_small(&servers, LONG, 16).await;
    let group = Group::new(&zk, &format!("/{}", "g".repeat(700))).unwrap();
    let joined = group.join("member", "of the first session").await.unwrap();
    let guards = fill(&zk, "beside", 130).await;
    // Its place is on its way out while the next session asks for it.
    let leaving = proxy.cut_before(When::request(Op::Delete).path("member"));
    drop(joined);
    leaving.fired().await;
    let joining = group.join("member", "of the next one");
    let joined = within(PATIENCE, "the member", joining).await.unwrap();
    assert_eq!(owners(&fixture).await.len(), 2);
    assert!(joined.is_present());
    drop((joined, guards));
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn no_session_is_no_option() {
    let refused = ConnectOptions::new().max_sessions(0).connect("127.0.0.1:1").await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("one session"), "{refused}");
}
