//! More watches than a session can set again after a reconnect: a session that only watches, unseen.

use std::time::Duration;

use futures::future;
use zookeeper_recipes::{Coordinator, Group, SessionKind, SessionState, SessionStats};
use zookeeper_testkit::{Fixture, eventually, within};

use super::pool::{long, take_all};
use crate::support::{LONG, PATIENCE, connect_to, granted, join_line, lock, start, start_proxied};

/// What a session watches itself.
const OWN: usize = 98_304;

/// So many holds, of some 800 bytes each, are watched elsewhere in part.
const HOLDS: usize = 300;

fn of_kind(zk: &Coordinator, kind: SessionKind) -> Option<SessionStats> {
    zk.stats().sessions.into_iter().find(|session| session.kind == kind)
}

fn watched(zk: &Coordinator, kind: SessionKind) -> usize {
    of_kind(zk, kind).map_or(0, |session| session.watched)
}

/// Waits until all nodes of the coordinator are watched, one way or the other.
async fn all_watched(zk: &Coordinator) {
    eventually(PATIENCE, "all nodes are watched", || async {
        let stats = zk.stats().sessions;
        // Four bytes of each node are not of its path.
        let paths: usize = stats.iter().map(|session| session.bytes - 4 * session.nodes).sum();
        stats.iter().map(|session| session.watched).sum::<usize>() == paths
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_beyond_the_watch_limit_are_watched_elsewhere() {
    let (fixture, zk) = start("watching").await;
    let mut guards = take_all(&zk, "watched", HOLDS).await;
    all_watched(&zk).await;
    let own = watched(&zk, SessionKind::Holding);
    assert!(own <= OWN && own > OWN / 2, "{own}");
    let watching = of_kind(&zk, SessionKind::Watching).unwrap();
    assert_eq!((watching.holds, watching.nodes, watching.is_connected), (0, 0, true));
    assert_eq!(zk.stats().sessions.len(), 2);

    // One that is watched here, and one that is watched there.
    for broken in [guards.remove(0), guards.pop().unwrap()] {
        fixture.raw().delete(broken.path(), None).await.unwrap();
        within(PATIENCE, "the removal is told", broken.lost()).await;
    }
    assert!(guards.iter().all(|guard| guard.is_held()));
    drop(guards);
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_costs_neither_holds_nor_watches() {
    let (fixture, proxy, zk) = start_proxied("watching is cut", LONG).await;
    let mut guards = take_all(&zk, "cut", HOLDS).await;
    all_watched(&zk).await;
    let before = of_kind(&zk, SessionKind::Watching).unwrap();
    let contended = guards.remove(0);
    let waiter = join_line(&fixture, &lock(&zk, &long("cut", 0)), 2).await;

    proxy.refuse().await;
    let suspended = || async { zk.states().current() == SessionState::Suspended };
    eventually(PATIENCE, "the cut is seen", suspended).await;
    proxy.accept().await;
    eventually(PATIENCE, "all is watched again", || async {
        let watching = of_kind(&zk, SessionKind::Watching);
        watching.is_some_and(|now| now.id != before.id && now.watched >= before.watched)
    })
    .await;
    assert!(guards.iter().all(|guard| guard.is_held()));
    assert_eq!(zk.stats().sessions_lost, 0);
    let broken = guards.pop().unwrap();
    fixture.raw().delete(broken.path(), None).await.unwrap();
    within(PATIENCE, "the removal is told", broken.lost()).await;
    contended.release().await.unwrap();
    granted(waiter).await.release().await.unwrap();
    drop((guards, broken));
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_beyond_the_watch_limit_keep_order() {
    let (fixture, proxy, zk) = start_proxied("watching waiters", LONG).await;
    let guards = take_all(&zk, "full", HOLDS).await;
    all_watched(&zk).await;
    let line = lock(&zk, &long("full", 7));
    let mut waiters = Vec::new();
    for place in 0..20 {
        waiters.push(join_line(&fixture, &line, place + 2).await);
    }
    let mut holder = guards.into_iter().nth(7).unwrap();
    for (place, waiter) in waiters.into_iter().enumerate() {
        assert!(!waiter.is_finished(), "{place} is not granted before its turn");
        if place % 5 == 0 {
            // All that is watched elsewhere loses its session while the line moves.
            proxy.cut();
        }
        holder.release().await.unwrap();
        holder = granted(waiter).await;
    }
    holder.release().await.unwrap();
    assert_eq!(zk.stats().sessions_lost, 0);
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watching_session_that_nothing_needs_is_closed() {
    let fixture = Fixture::new("watching ends").await;
    let zk = connect_to(&fixture.connect_string(), Duration::from_secs(4)).await;
    for _ in 0..2 {
        let guards = take_all(&zk, "idle", HOLDS).await;
        all_watched(&zk).await;
        assert!(of_kind(&zk, SessionKind::Watching).is_some());
        drop(guards);
        let is_closed = || async { of_kind(&zk, SessionKind::Watching).is_none() };
        eventually(PATIENCE, "it is closed", is_closed).await;
    }
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_beyond_the_watch_limit_stay_observed() {
    const MEMBERS: usize = 150;
    let (fixture, zk) = start("watching members").await;
    let path = long("members", 0);
    let group = Group::new(&zk, &path).unwrap();
    let joining = (0..MEMBERS).map(|number| {
        let group = group.clone();
        async move { group.join(&format!("m{number:03}"), "-").await.unwrap() }
    });
    let mut members = within(PATIENCE, "all have joined", future::join_all(joining)).await;

    let (proxy, servers) = fixture.proxied().await;
    let observing = connect_to(&servers, LONG).await;
    let observed = Group::new(&observing, &path).unwrap();
    let mut observer = within(PATIENCE, "observed", observed.observe()).await.unwrap();
    assert_eq!(observer.members().len(), MEMBERS);
    assert!(watched(&observing, SessionKind::Holding) <= OWN);
    let before = of_kind(&observing, SessionKind::Watching).unwrap();
    for cut in 0..2 {
        for member in [&members[0], &members[MEMBERS - 2]] {
            member.update(format!("{cut}")).await.unwrap();
        }
        let is_new = |seen: &[zookeeper_recipes::Member]| {
            let new = seen.iter().filter(|member| member.data == format!("{cut}").as_bytes());
            new.count() == 2
        };
        let seen = within(PATIENCE, "the changes are seen", observer.wait_for(is_new)).await;
        assert_eq!(seen.unwrap().len(), MEMBERS);
        proxy.cut();
    }
    members.pop().unwrap().leave().await;
    let is_gone = |seen: &[zookeeper_recipes::Member]| seen.len() == MEMBERS - 1;
    within(PATIENCE, "the leave is seen", observer.wait_for(is_gone))
        .await
        .unwrap();
    assert_ne!(of_kind(&observing, SessionKind::Watching).unwrap().id, before.id);
    assert_eq!(observing.stats().sessions_lost, 0);
    drop(members);
    within(PATIENCE, "closed", observing.close()).await;
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[&path]).await;
}
