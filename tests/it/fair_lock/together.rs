//! Many calls of one session at once: what they ask for goes out in few packets, and each has its own answer.

use futures::future;
use tokio::task::JoinHandle;
use zookeeper_recipes::{Error, FairLock, FairLockGuard};
use zookeeper_testkit::{Fixture, Op, When, eventually, within};

use crate::support::cost::{Counted, make_dir};
use crate::support::{PATIENCE, lock};

const LOCKS: usize = 20;

/// Two of a kind are under way at once; 18 wait, and go out as 16 and 2.
const PACKETS: usize = 4;

fn locks(counted: &Counted) -> Vec<FairLock> {
    let locks = (0..LOCKS).map(|number| lock(&counted.zk, &format!("/l{number}")));
    locks.collect()
}

/// Directories that stay.
async fn make_dirs(fixture: &Fixture) {
    for number in 0..LOCKS {
        make_dir(fixture, &format!("/l{number}")).await;
    }
}

/// Holds all of them.
async fn hold_all(counted: &Counted) -> Vec<FairLockGuard> {
    let acquired = future::try_join_all(locks(counted).iter().map(FairLock::acquire)).await;
    acquired.unwrap()
}

/// Acquires all of them, and gets no answer: all are created, and two lists are under way.
async fn acquire_unanswered(counted: &Counted) -> JoinHandle<Result<Vec<FairLockGuard>, Error>> {
    counted.proxy.black_hole_replies();
    let locks = locks(counted);
    let acquiring = tokio::spawn(async move { future::try_join_all(locks.iter().map(FairLock::acquire)).await });
    eventually(PATIENCE, "all are created", || async {
        counted.proxy.requests().creates() == LOCKS && counted.proxy.requests().lists() == 2
    })
    .await;
    acquiring
}

async fn assert_nothing_left(fixture: &Fixture) {
    let paths: Vec<String> = (0..LOCKS).map(|number| format!("/l{number}")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    fixture.assert_no_nodes_left(&paths).await;
}

#[tokio::test]
async fn many_locks_of_a_session_share_packets() {
    let fixture = Fixture::new("together").await;
    let counted = Counted::connect(&fixture).await;
    make_dirs(&fixture).await;

    let acquiring = acquire_unanswered(&counted).await;
    counted.proxy.heal();
    let guards = within(PATIENCE, "all are held", acquiring).await.unwrap().unwrap();
    let counts = counted.requests(0).await;
    let lists = counts.lists() + counts.of(Op::MultiRead);
    assert_eq!((counts.creates(), lists), (LOCKS, PACKETS), "{counts}");

    counted.proxy.black_hole_replies();
    let releasing = tokio::spawn(future::try_join_all(guards.into_iter().map(FairLockGuard::release)));
    eventually(PATIENCE, "two are deleted", || async {
        counted.proxy.requests().of(Op::Delete) == 2
    })
    .await;
    counted.proxy.heal();
    within(PATIENCE, "all are released", releasing).await.unwrap().unwrap();
    let counts = counted.requests(0).await;
    let deletes = counts.matching(|request| request.op == Op::Delete || request.paths.len() > 1);
    assert_eq!(deletes.total(), PACKETS, "{counts}");
    assert_nothing_left(&fixture).await;
}

/// A transaction that one of them fails is no answer for the others.
#[tokio::test]
async fn a_removed_node_fails_its_own_release_alone() {
    let fixture = Fixture::new("together removed").await;
    let counted = Counted::connect(&fixture).await;
    let guards = hold_all(&counted).await;
    counted.proxy.black_hole_replies();
    let removed = guards[LOCKS - 1].path().to_owned();
    let releasing = tokio::spawn(future::join_all(guards.into_iter().map(FairLockGuard::release)));
    eventually(PATIENCE, "two are deleted", || async {
        counted.proxy.requests().of(Op::Delete) == 2
    })
    .await;
    fixture.raw().delete(&removed, None).await.unwrap();
    counted.proxy.heal();
    let released = within(PATIENCE, "all are released", releasing).await.unwrap();
    let failed: Vec<usize> = (0..LOCKS).filter(|number| released[*number].is_err()).collect();
    assert_eq!(failed, [LOCKS - 1], "{released:?}");
    assert_nothing_left(&fixture).await;
}

#[tokio::test]
async fn a_lost_reply_for_many_is_asked_again() {
    let fixture = Fixture::new("together lost").await;
    let counted = Counted::connect(&fixture).await;
    for op in [Op::MultiRead, Op::Multi] {
        let lost = counted.proxy.lose_reply(When::request(op));
        let guards = within(PATIENCE, "all are held", hold_all(&counted)).await;
        let released = future::try_join_all(guards.into_iter().map(FairLockGuard::release));
        within(PATIENCE, "all are released", released).await.unwrap();
        assert!(lost.has_fired(), "{op:?}");
        assert_nothing_left(&fixture).await;
    }
}

/// What waits for its turn is dropped with its caller.
#[tokio::test]
async fn a_caller_that_is_gone_lists_nothing() {
    let fixture = Fixture::new("together gone").await;
    let counted = Counted::connect(&fixture).await;
    make_dirs(&fixture).await;
    let acquiring = acquire_unanswered(&counted).await;
    acquiring.abort();
    assert!(acquiring.await.unwrap_err().is_cancelled());
    counted.proxy.heal();
    assert_nothing_left(&fixture).await;
    let shared = counted.requests(0).await.of(Op::MultiRead);
    assert_eq!(shared, 0);
}

/// Its request is on its way, and its answer is for the others to wait for as well.
#[tokio::test]
async fn callers_that_are_not_polled_hold_nobody_up() {
    let fixture = Fixture::new("together unpolled").await;
    let counted = Counted::connect(&fixture).await;
    make_dirs(&fixture).await;
    let locks = locks(&counted);
    let mut unpolled: Vec<_> = locks[..3].iter().map(|lock| Box::pin(lock.acquire())).collect();
    for acquiring in &mut unpolled {
        tokio::select! {
            biased;
            acquired = acquiring => panic!("acquired without an answer: {acquired:?}"),
            () = std::future::ready(()) => {}
        }
    }
    let guard = within(PATIENCE, "held", locks[3].acquire()).await.unwrap();
    within(PATIENCE, "released", guard.release()).await.unwrap();
    drop(unpolled);
    assert_nothing_left(&fixture).await;
}
