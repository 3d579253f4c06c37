//! Kinds, contenders, and what is not recognised.

use std::time::SystemTime;

use zookeeper_recipes::inspect::{Detail, Inspector, PlaceKind};
use zookeeper_recipes::queue::{FifoQueue, WorkQueue};
use zookeeper_recipes::{
    ContenderLayout, CountDownLatch, Error, FairLock, Group, Layout, LeaderElection, Mode, RwLock, Semaphore,
};
use zookeeper_testkit::Fixture;

use super::{SECOND, connect_as, make, places, told};
use crate::support::{acquire, join_line, lock, start};

#[tokio::test]
async fn each_of_our_recipes_is_recognised() {
    let (_fixture, zk) = start("inspect our recipes").await;
    let inspector = Inspector::new(&zk);
    let held = acquire(&lock(&zk, "/t/lock")).await;
    let kazoo = FairLock::builder(&zk, "/t/kazoo")
        .layout(Layout::Kazoo)
        .build()
        .unwrap();
    let kazoo = kazoo.acquire().await.unwrap();
    let reader = RwLock::new(&zk, "/t/rw").unwrap().read().await.unwrap();
    let leader = LeaderElection::new(&zk, "/t/leader")
        .unwrap()
        .campaign("a")
        .await
        .unwrap();
    let permit = Semaphore::new(&zk, "/t/bank", 3)
        .unwrap()
        .acquire_many(2)
        .await
        .unwrap();
    let latch = CountDownLatch::new(&zk, "/t/latch", 2).unwrap();
    latch.count_down().await.unwrap();
    let member = Group::new(&zk, "/t/group").unwrap().join("w7", "data").await.unwrap();
    let fifo = FifoQueue::new(&zk, "/t/fifo").unwrap();
    fifo.push("item").await.unwrap();
    let queue = WorkQueue::builder(&zk, "/t/queue").build().unwrap();
    queue.push("item").await.unwrap();

    let seen = places(&inspector, "/t").await;
    let queue_path = seen.iter().find(|place| place.path == "/t/queue").unwrap();
    assert_eq!((queue_path.kind, queue_path.certain), (PlaceKind::WorkQueue(2), true));
    let without_queue: Vec<_> = told(&seen)
        .into_iter()
        .filter(|line| !line.contains("/t/queue"))
        .collect();
    assert_eq!(
        without_queue,
        [
            "/t/bank semaphore 2",
            "/t/fifo fifo 1",
            "/t/group group? 1",
            "/t/kazoo lock 1",
            "/t/latch latch 1",
            "/t/leader election 1",
            "/t/lock lock 1",
            "/t/rw rwlock 1",
        ]
    );
    let bank = inspector.line("/t/bank").await.unwrap().unwrap();
    assert_eq!((bank.permits, bank.holders().count()), (Some(3), 2));
    assert_eq!(
        inspector.line("/t/nothing").await.unwrap().map(|place| place.path),
        None
    );
    let no_line = inspector.line("/t/fifo").await.unwrap_err();
    assert!(matches!(no_line, Error::Layout { .. }), "{no_line}");
    assert!(matches!(inspector.places("/t/").await, Err(Error::InvalidPath { .. })));
    drop((held, kazoo, reader, leader, permit, member));
    zk.close().await;
}

#[tokio::test]
async fn a_line_tells_holder_waiters_and_ages() {
    let fixture = Fixture::new("inspect a line").await;
    let (one, other) = (
        connect_as(&fixture, "web-3:4711").await,
        connect_as(&fixture, "10.0.0.9").await,
    );
    let inspector = Inspector::new(&one);
    let guard = acquire(&lock(&one, "/accounts/17")).await;
    let waiting = join_line(&fixture, &lock(&other, "/accounts/17"), 2).await;

    let line = inspector.line("/accounts/17").await.unwrap().unwrap();
    let [holder, waiter] = &line.contenders[..] else {
        panic!("{line:?}")
    };
    assert_eq!(
        (holder.is_holder, holder.token, holder.position),
        (true, guard.token(), 0)
    );
    assert_eq!((holder.host(), holder.pid()), (Some("web-3"), Some(4711)));
    assert_eq!(
        (waiter.is_holder, waiter.host(), waiter.pid()),
        (false, Some("10.0.0.9"), None)
    );
    assert_eq!((waiter.mode, waiter.layout), (Mode::Exclusive, ContenderLayout::Ours));
    assert_ne!(holder.session_id, waiter.session_id);
    assert_eq!(line.oldest_wait(), Some(waiter.since));
    let age = SystemTime::now().duration_since(holder.since).unwrap_or_default();
    assert!(age < 120 * SECOND, "{age:?}");
    // It held when the other one joined behind it, at the latest.
    assert_eq!(line.held_since(holder), (holder.since, Some(waiter.since)));
    assert_eq!(line.next_sequence, Some(2));

    waiting.abort();
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/accounts", "/accounts/17"]).await;
}

#[tokio::test]
async fn names_of_others_are_told_apart() {
    let (fixture, zk) = start("inspect names of others").await;
    make(
        &fixture,
        &[
            "/t",
            "/t/mutex",
            "/t/mutex/_c_U-lock-0000000000!",
            "/t/mutex/H__lock__0000000001!",
            "/t/latch",
            "/t/latch/_c_U-latch-0000000000!",
            "/t/go",
            "/t/go/_c_H-lock-0000000000!",
            "/t/sem",
            "/t/sem/locks",
            "/t/sem/leases",
            "/t/sem/leases/_c_U-lease-0000000000!",
            "/t/shipped",
            "/t/shipped/x-72057594037927936-0000000000!",
            "/t/mixed",
            "/t/mixed/_c_U-lock-0000000000!",
            "/t/mixed/_c_U-latch-0000000001!",
            "/t/unknown",
            "/t/unknown/job-0000000003!",
            "/t/unknown/job-0000000001!",
            "/t/registry",
            "/t/registry/host-a!",
            "/t/plain",
            "/t/plain/below",
        ],
    )
    .await;
    let inspector = Inspector::new(&zk);
    let seen = places(&inspector, "/t").await;
    assert_eq!(
        told(&seen),
        [
            "/t/go lock 1",
            "/t/latch election 1",
            "/t/mixed mixed? 2",
            "/t/mutex lock 2",
            "/t/registry group? 1",
            "/t/sem semaphore 1",
            "/t/shipped lock? 1",
            "/t/unknown line? 2",
        ]
    );
    let layouts = |path: &str| {
        let place = seen.iter().find(|place| place.path == path).unwrap();
        place
            .layouts()
            .into_iter()
            .map(|layout| layout.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(layouts("/t/mutex"), ["curator", "kazoo"]);
    assert_eq!(layouts("/t/go"), ["go"]);
    assert_eq!(layouts("/t/shipped"), ["zookeeper"]);
    let unknown = seen.iter().find(|place| place.path == "/t/unknown").unwrap();
    let first = unknown.holders().next().unwrap();
    assert!(first.path.ends_with("0000000001") && unknown.holders().count() == 1);
    let mixed = seen.iter().find(|place| place.path == "/t/mixed").unwrap();
    assert_eq!(mixed.misfits.len(), 1);
    let nodes: Vec<_> = seen
        .iter()
        .filter(|place| place.kind == PlaceKind::Node)
        .map(|place| &*place.path)
        .collect();
    assert_eq!(nodes, ["/t", "/t/plain", "/t/plain/below"]);
}

#[tokio::test]
async fn counts_cost_one_list_for_each_directory() {
    let (_fixture, zk) = start("inspect counts").await;
    let inspector = Inspector::with_limit(&zk, 4);
    let guards = [
        acquire(&lock(&zk, "/t/a")).await,
        acquire(&lock(&zk, "/t/b")).await,
        acquire(&lock(&zk, "/t/c")).await,
    ];
    let mut locks = 0;
    let visit = |place: zookeeper_recipes::inspect::PlaceInfo| {
        locks += usize::from(place.kind.is_lock());
        assert!(place.contenders.is_empty());
    };
    inspector.for_each("/t", Detail::Counts, visit).await.unwrap();
    // A sync, four lists, and a look at whether the children of /t are ephemeral.
    assert_eq!((locks, inspector.requests()), (3, 6));
    assert!(inspector.most_in_flight() <= 4);
    for guard in guards {
        guard.release().await.unwrap();
    }
}
