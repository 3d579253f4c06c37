//! The double barrier: all begin together and all end together, whoever dies, gives up or comes late.
//!
//! Known mistakes of Curator's `DistributedDoubleBarrier`, and the tests that would show them here.
//!
//! | row | mistake | test |
//! |---|---|---|
//! | #1290 | a timed enter passes on a wake that means nothing | `curator_1290_…` |
//! | regression of #1290 | a member that wakes late waits for ever | `curator_1290_regression_…` |
//! | CURATOR-318, 80 | a member that gave up is counted | `curator_318_…` |
//! | CURATOR-330 | who was lost cannot enter again | `curator_330_…` |
//! | CURATOR-233, 536 | leave ignores its timeout, or loops | `curator_233_…` |
//! | PR#416 | a late `ready` event wakes who leaves | `curator_pr_416_…` |
//! | stale `ready` | one of three passes alone | `a_stale_ready_…` |

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{
    Coordinator, DoubleBarrier, Entered, Error, LeaveTimeoutError, LossReason, Lost, ReleaseError, WaitTimeoutError,
};
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use crate::cancellation::poll_times;
use crate::sessions::{assert_expired, expire};
use crate::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, connect, connect_to, create, session_id};

const PATH: &str = "/phases/one";
const READY: &str = "/phases/one/ready";

/// How long something that must not happen is given to happen.
const SILENCE: Duration = Duration::from_millis(200);

fn barrier(zk: &Coordinator, parties: u32) -> DoubleBarrier {
    DoubleBarrier::new(zk, PATH, parties).unwrap()
}

type Entering = JoinHandle<Result<Entered, Error>>;
type Leaving = JoinHandle<Result<(), ReleaseError>>;

/// Begins to enter, and returns when as many members are there.
async fn enter(zk: &Coordinator, parties: u32, members: usize) -> Entering {
    let barrier = barrier(zk, parties);
    let task = barrier.clone();
    let entering = tokio::spawn(async move { task.enter().await });
    eventually(PATIENCE, format!("{members} members"), || async {
        barrier.members().await.unwrap() >= members
    })
    .await;
    entering
}

async fn entered(entering: Entering) -> Entered {
    within(PATIENCE, "entered", entering).await.unwrap().unwrap()
}

fn leave(entered: Entered) -> Leaving {
    tokio::spawn(entered.leave())
}

async fn left(leaving: Leaving) {
    within(PATIENCE, "left", leaving).await.unwrap().unwrap();
}

async fn assert_waits<T>(waiting: &JoinHandle<T>) {
    tokio::time::sleep(SILENCE).await;
    assert!(!waiting.is_finished(), "it went on");
}

async fn sessions(fixture: &Fixture, count: usize) -> Vec<Coordinator> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(connect(fixture).await);
    }
    sessions
}

/// Lets this many members in.
async fn all_inside(sessions: &[Coordinator]) -> Vec<Entered> {
    let parties = u32::try_from(sessions.len()).unwrap();
    let mut entering = Vec::new();
    for zk in sessions {
        entering.push(enter(zk, parties, 0).await);
    }
    let mut inside = Vec::new();
    for one in entering {
        inside.push(entered(one).await);
    }
    inside
}

async fn all_leave(inside: impl IntoIterator<Item = Entered>) {
    for leaving in inside.into_iter().map(leave).collect::<Vec<_>>() {
        left(leaving).await;
    }
}

async fn is_ready(fixture: &Fixture) -> bool {
    fixture.raw().check_stat(READY).await.unwrap().is_some()
}

#[tokio::test]
async fn it_opens_when_all_are_there_and_is_left_when_all_have_left() {
    let fixture = Fixture::new("all").await;
    let zks = sessions(&fixture, 3).await;
    for _ in 0..3 {
        let one = enter(&zks[0], 3, 1).await;
        let two = enter(&zks[1], 3, 2).await;
        assert_waits(&one).await;
        assert_waits(&two).await;
        assert!(!is_ready(&fixture).await);
        let three = enter(&zks[2], 3, 0).await;
        let (one, two, three) = (entered(one).await, entered(two).await, entered(three).await);
        assert!(one.is_held() && two.is_held() && three.is_held());
        assert!(is_ready(&fixture).await);
        let tree = fixture.ephemerals().await;
        assert!(tree.contains_key(one.path()) && tree.len() == 3, "{tree:?}");

        let (one, two) = (leave(one), leave(two));
        assert_waits(&one).await;
        assert_waits(&two).await;
        let three = leave(three);
        for leaving in [one, two, three] {
            left(leaving).await;
        }
        assert!(fixture.children(PATH).await.is_empty(), "the last one removes `ready`");
    }
    fixture.assert_no_nodes_left(&["/phases"]).await;
}

#[tokio::test]
async fn a_barrier_for_one_or_none_opens_at_once_and_several_of_a_session_may_enter() {
    let fixture = Fixture::new("one").await;
    let zk = connect(&fixture).await;
    assert_eq!(barrier(&zk, 2).path(), PATH);
    for parties in [0, 1] {
        let inside = within(PATIENCE, "entered", barrier(&zk, parties).enter())
            .await
            .unwrap();
        within(PATIENCE, "left", inside.leave()).await.unwrap();
    }
    let zks = [zk.clone(), zk.clone(), zk];
    all_leave(all_inside(&zks).await).await;
    assert!(matches!(
        DoubleBarrier::new(&zks[0], "x", 2),
        Err(Error::InvalidPath { .. })
    ));
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// #1290: since 4.1.0 a timed enter returned true on any event, so that one member alone passed.
#[tokio::test]
async fn curator_1290_a_wake_that_means_nothing_lets_nobody_pass() {
    let fixture = Fixture::new("spurious").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect_to(&servers, LONG).await, connect(&fixture).await);
    let entering = tokio::spawn({
        let barrier = barrier(&zk, 2);
        async move { barrier.enter_timeout(2 * PATIENCE).await }
    });
    fixture.until_children(PATH, 1).await;
    for _ in 0..3 {
        proxy.cut();
        assert_waits(&entering).await;
    }
    // A change of its own node, and a `ready` that nobody opened and that is none of a member's either.
    let own = fixture.children(PATH).await.remove(0);
    fixture
        .raw()
        .set_data(&format!("{PATH}/{own}"), b"x", None)
        .await
        .unwrap();
    create(&fixture, &format!("{PATH}/foreign"), zk::CreateMode::Persistent).await;
    assert_waits(&entering).await;
    let two = enter(&other, 2, 2).await;
    let one = within(PATIENCE, "entered", entering).await.unwrap().unwrap();
    all_leave([one, entered(two).await]).await;
    fixture.raw().delete(&format!("{PATH}/foreign"), None).await.unwrap();
    fixture.assert_no_nodes_left(&["/phases"]).await;
}

/// The fix of #1290 decides by the count of children, which has fallen when the late one looks.
#[tokio::test]
async fn curator_1290_regression_a_member_that_wakes_late_passes_though_others_have_left() {
    let fixture = Fixture::new("late").await;
    let (proxy, servers) = fixture.proxied().await;
    let zks = sessions(&fixture, 3).await;
    let slow = connect_to(&servers, LONG).await;
    for _ in 0..3 {
        let late = enter(&slow, 4, 1).await;
        assert_waits(&late).await;
        proxy.black_hole_replies();
        let mut entering = Vec::new();
        for zk in &zks {
            entering.push(enter(zk, 4, 0).await);
        }
        let mut leaving = Vec::new();
        for one in entering {
            leaving.push(leave(entered(one).await));
        }
        // The late one, the lowest of the others unless that is the late one itself, and `ready`.
        eventually(PATIENCE, "the others have left as far as they can", || async {
            fixture.children(PATH).await.len() <= 3
        })
        .await;
        for one in &leaving {
            assert!(!one.is_finished(), "left while one is inside");
        }
        assert!(!late.is_finished());
        proxy.heal();
        let late = entered(late).await;
        for one in &leaving {
            assert_waits(one).await;
        }
        left(leave(late)).await;
        for one in leaving {
            left(one).await;
        }
        assert!(fixture.children(PATH).await.is_empty());
    }
    fixture.assert_no_nodes_left(&["/phases"]).await;
}

/// CURATOR-318, CURATOR-80: the node of a member that gave up stays, and later ones count it.
#[tokio::test]
async fn curator_318_a_member_that_gave_up_is_not_counted() {
    let fixture = Fixture::new("ghosts").await;
    let zks = sessions(&fixture, 3).await;
    let after = Duration::from_millis(100);
    let timed = barrier(&zks[0], 3).enter_timeout(after).await;
    assert!(matches!(timed, Err(WaitTimeoutError::Elapsed { after: limit }) if limit == after));
    assert!(fixture.children(PATH).await.is_empty(), "withdrawn before it returns");

    let dropped = enter(&zks[0], 3, 1).await;
    dropped.abort();
    fixture.until_children(PATH, 0).await;
    let two = enter(&zks[1], 3, 1).await;
    let three = enter(&zks[2], 3, 2).await;
    assert_waits(&two).await;
    assert_waits(&three).await;
    let one = enter(&zks[0], 3, 0).await;
    all_leave([entered(one).await, entered(two).await, entered(three).await]).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn a_member_that_dies_before_the_barrier_opens_is_not_counted() {
    let fixture = Fixture::new("dies before").await;
    let zks = sessions(&fixture, 3).await;
    let dying = enter(&zks[0], 3, 1).await;
    dying.abort();
    zks[0].clone().close().await;
    let two = enter(&zks[1], 3, 1).await;
    let three = enter(&zks[2], 3, 2).await;
    assert_waits(&two).await;
    let substitute = connect(&fixture).await;
    let one = enter(&substitute, 3, 0).await;
    all_leave([entered(one).await, entered(two).await, entered(three).await]).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn a_waiter_whose_session_expires_or_whose_node_is_deleted_is_a_member_again() {
    let fixture = Fixture::new("again").await;
    let zks = sessions(&fixture, 2).await;
    let one = enter(&zks[0], 2, 1).await;
    let before = fixture.children(PATH).await;
    expire(&fixture, &zks[0]).await;
    let changed = |before: Vec<String>| {
        let fixture = &fixture;
        async move {
            eventually(PATIENCE, "another member", || async {
                let now = fixture.children(PATH).await;
                now.len() == 1 && now != before
            })
            .await;
            fixture.children(PATH).await
        }
    };
    let before = changed(before).await;
    fixture
        .raw()
        .delete(&format!("{PATH}/{}", before[0]), None)
        .await
        .unwrap();
    changed(before).await;
    assert_waits(&one).await;
    let two = enter(&zks[1], 2, 0).await;
    all_leave([entered(one).await, entered(two).await]).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn a_member_that_dies_inside_is_told_and_not_waited_for() {
    let fixture = Fixture::new("dies inside").await;
    let zks = sessions(&fixture, 3).await;
    let mut inside = all_inside(&zks).await;
    let (three, two) = (inside.pop().unwrap(), inside.pop().unwrap());
    let one = leave(inside.pop().unwrap());
    assert_waits(&one).await;

    expire(&fixture, &zks[2]).await;
    let reason = within(PATIENCE, "told", three.lost()).await;
    assert_expired(reason);
    assert_eq!(three.leave().await, Err(ReleaseError::Lost(Lost { reason })));
    assert_waits(&one).await;

    fixture.raw().delete(two.path(), None).await.unwrap();
    let reason = within(PATIENCE, "told", two.lost()).await;
    assert_eq!(reason, LossReason::NodeRemoved);
    left(one).await;
    let lost = two.leave_timeout(LONG).await;
    assert_eq!(lost, Err(LeaveTimeoutError::Lost(Lost { reason })));
    assert!(fixture.children(PATH).await.is_empty());
    all_leave(all_inside(&zks).await).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// CURATOR-330: enter fails with NodeExists on the own node after a lost connection.
#[tokio::test]
async fn curator_330_who_was_lost_enters_again_and_is_waited_for_again() {
    let fixture = Fixture::new("re-enter").await;
    let zks = sessions(&fixture, 2).await;
    let mut inside = all_inside(&zks).await;
    let lost = inside.remove(0);
    expire(&fixture, &zks[0]).await;
    within(PATIENCE, "told", lost.lost()).await;
    drop(lost);
    // The other one is still inside: the barrier is open.
    let again = within(PATIENCE, "entered", barrier(&zks[0], 2).enter()).await.unwrap();
    let leaving = leave(inside.remove(0));
    assert_waits(&leaving).await;
    left(leave(again)).await;
    left(leaving).await;
    assert!(fixture.children(PATH).await.is_empty());
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// CURATOR-233, CURATOR-536: leave ignores its timeout, or loops without end.
#[tokio::test]
async fn curator_233_a_timed_leave_returns_in_time_and_has_left() {
    let fixture = Fixture::new("leave timeout").await;
    let zks = sessions(&fixture, 3).await;
    let inside = all_inside(&zks).await;
    let after = Duration::from_millis(100);
    let mut members = 3;
    let mut stays = None;
    for entered in inside {
        if members == 1 {
            stays = Some(entered);
            break;
        }
        let timed = within(PATIENCE, "in time", entered.leave_timeout(after)).await;
        assert_eq!(timed, Err(LeaveTimeoutError::Elapsed { after }));
        members -= 1;
        assert_eq!(barrier(&zks[0], 3).members().await.unwrap(), members);
    }
    assert!(is_ready(&fixture).await, "one is inside");
    within(PATIENCE, "alone", stays.unwrap().leave_timeout(LONG))
        .await
        .unwrap();
    assert!(fixture.children(PATH).await.is_empty());
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// PR#416: enter and leave share a watcher, and an event of `ready` ends a leave.
#[tokio::test]
async fn curator_pr_416_an_event_of_ready_lets_nobody_leave() {
    let fixture = Fixture::new("events").await;
    let zks = sessions(&fixture, 2).await;
    let mut inside = all_inside(&zks).await;
    let leaving = leave(inside.remove(0));
    for _ in 0..3 {
        fixture.raw().set_data(READY, b"x", None).await.unwrap();
        assert_waits(&leaving).await;
    }
    // Not even if somebody removes it, as a Curator does that gave up leaving.
    fixture.raw().delete(READY, None).await.unwrap();
    assert_waits(&leaving).await;
    left(leave(inside.remove(0))).await;
    left(leaving).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// All of them died inside: with Curator, every later member passes at once, alone.
#[tokio::test]
async fn a_stale_ready_opens_nothing_and_is_removed() {
    let fixture = Fixture::new("stale").await;
    let zks = sessions(&fixture, 3).await;
    for died in [false, true] {
        if died {
            drop(all_inside(&zks).await);
            fixture.until_children(PATH, 1).await;
        } else {
            let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
            fixture.raw().mkdir(PATH, &options).await.unwrap();
            create(&fixture, READY, zk::CreateMode::Persistent).await;
        }
        assert_eq!(fixture.children(PATH).await, ["ready"]);
        let one = enter(&zks[0], 3, 1).await;
        eventually(PATIENCE, "it is removed", || async { !is_ready(&fixture).await }).await;
        let two = enter(&zks[1], 3, 2).await;
        assert_waits(&one).await;
        assert_waits(&two).await;
        let three = enter(&zks[2], 3, 0).await;
        all_leave([entered(one).await, entered(two).await, entered(three).await]).await;
        assert!(fixture.children(PATH).await.is_empty());
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Several come to a stale `ready` at once, all of them see it, and all want to remove it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_come_to_a_stale_ready_at_once() {
    let fixture = Fixture::new("stale race").await;
    let zks = sessions(&fixture, 4).await;
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    fixture.raw().mkdir(PATH, &options).await.unwrap();
    for _ in 0..10 {
        create(&fixture, READY, zk::CreateMode::Persistent).await;
        all_leave(all_inside(&zks).await).await;
        assert!(fixture.children(PATH).await.is_empty());
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn who_comes_while_it_is_open_enters_and_is_waited_for() {
    let fixture = Fixture::new("more").await;
    let zks = sessions(&fixture, 4).await;
    let mut inside = all_inside(&zks[..2]).await;
    for zk in &zks[2..] {
        inside.push(within(PATIENCE, "entered", barrier(zk, 2).enter()).await.unwrap());
    }
    while inside.len() > 1 {
        let leaving = leave(inside.remove(0));
        assert_waits(&leaving).await;
        leaving.abort();
    }
    all_leave(inside).await;
    // And when all have left, one has to wait again.
    let waits = enter(&zks[0], 2, 1).await;
    assert_waits(&waits).await;
    waits.abort();
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Curator's members are nodes with a UUID as name; whoever comes last creates `ready`.
#[tokio::test]
async fn members_of_curator_are_counted_and_count_us() {
    let fixture = Fixture::new("curator").await;
    let (zk, peer) = (connect(&fixture).await, fixture.connect().await);
    let ephemeral = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
    let persistent = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    fixture.raw().mkdir(PATH, &persistent).await.unwrap();
    // Lower than any name of ours, and higher.
    for member in [
        "00000000-0000-4000-8000-000000000000",
        "ffffffff-ffff-4fff-bfff-ffffffffffff",
    ] {
        let node = format!("{PATH}/{member}");
        // We come last.
        peer.create(&node, b"127.0.0.1", &ephemeral).await.unwrap();
        let inside = within(PATIENCE, "entered", barrier(&zk, 2).enter()).await.unwrap();
        assert!(is_ready(&fixture).await);
        let leaving = leave(inside);
        assert_waits(&leaving).await;
        peer.delete(&node, None).await.unwrap();
        left(leaving).await;
        // As each of Curator's does when it has left.
        let gone = peer.delete(READY, None).await;
        assert!(matches!(gone, Ok(()) | Err(zk::Error::NoNode)), "{gone:?}");

        // It comes last.
        let entering = enter(&zk, 2, 1).await;
        peer.create(&node, b"127.0.0.1", &ephemeral).await.unwrap();
        assert_waits(&entering).await;
        peer.create(READY, b"127.0.0.1", &persistent).await.unwrap();
        let inside = entered(entering).await;
        peer.delete(&node, None).await.unwrap();
        left(leave(inside)).await;
        assert!(fixture.children(PATH).await.is_empty());
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn a_directory_removed_under_its_members_is_made_again() {
    let fixture = Fixture::new("deleteall").await;
    let zks = sessions(&fixture, 2).await;
    let one = enter(&zks[0], 2, 1).await;
    let mut deleteall = fixture.raw().new_multi_writer();
    for child in fixture.children(PATH).await {
        deleteall.add_delete(&format!("{PATH}/{child}"), None).unwrap();
    }
    deleteall.add_delete(PATH, None).unwrap();
    deleteall.commit().await.unwrap();
    fixture.until_children(PATH, 1).await;
    assert_waits(&one).await;
    let two = enter(&zks[1], 2, 0).await;
    all_leave([entered(one).await, entered(two).await]).await;
    fixture.assert_no_nodes_left(&["/phases/one"]).await;
}

#[tokio::test]
async fn calls_on_a_closed_coordinator_fail() {
    let fixture = Fixture::new("closed").await;
    let zks = sessions(&fixture, 2).await;
    let mut inside = all_inside(&zks).await;
    let leaving = leave(inside.remove(0));
    assert_waits(&leaving).await;
    zks[0].clone().close().await;
    let end = within(PATIENCE, "told", leaving).await.unwrap();
    assert_eq!(end, Err(ReleaseError::Error(Error::Closed)));
    assert_eq!(barrier(&zks[0], 2).enter().await.unwrap_err(), Error::Closed);
    all_leave(inside).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Drops `attempt` of one of two after every number of polls, with the other one waiting or coming later.
async fn walk<F: Future<Output = Option<Entered>>>(name: &str, attempt: impl Fn(DoubleBarrier) -> F) {
    let fixture = Fixture::new(name).await;
    let zks = sessions(&fixture, 3).await;
    let id = session_id(&zks[0]).await;
    let mut rounds = 0;
    for other_waits in [false, true] {
        for polls in 0.. {
            rounds += 1;
            let waiting = match other_waits {
                true => Some(enter(&zks[1], 2, 1).await),
                false => None,
            };
            let mut attempt = Box::pin(attempt(barrier(&zks[0], 2)));
            let polled = poll_times(attempt.as_mut(), polls);
            // Alone it waits for ever.
            let done = match other_waits {
                true => within(PATIENCE, "polled", polled).await,
                false => tokio::time::timeout(SILENCE, polled).await.unwrap_or(Some(None)),
            };
            drop(attempt);
            let is_over = done.is_some();
            drop(done);
            if let Some(waiting) = waiting {
                // It may have been let in. If not, somebody else has to come.
                let third = enter(&zks[2], 2, 0).await;
                all_leave([entered(waiting).await, entered(third).await]).await;
            }
            // Nobody is counted who is gone, once it is gone.
            fixture.until_children_but_ready(0).await;
            if is_over {
                break;
            }
        }
    }
    println!("{name}: {rounds} rounds");
    assert!(rounds > 6, "it was never dropped half-way");
    assert_eq!(session_id(&zks[0]).await, id, "the session outlives what was cancelled");
    all_leave(all_inside(&zks).await).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn an_enter_dropped_at_any_await_point_leaves_nothing() {
    walk("enter", |barrier| async move { Some(barrier.enter().await.unwrap()) }).await;
}

#[tokio::test]
async fn an_enter_timeout_dropped_at_any_await_point_leaves_nothing() {
    walk("enter_timeout", |barrier| async move {
        Some(barrier.enter_timeout(LONG).await.unwrap())
    })
    .await;
}

#[tokio::test]
async fn a_leave_dropped_at_any_await_point_has_left() {
    let fixture = Fixture::new("leave").await;
    let zks = sessions(&fixture, 2).await;
    for other_leaves in [false, true] {
        for polls in 0.. {
            let mut inside = all_inside(&zks).await;
            let other = inside.pop().unwrap();
            let mut leaving = Box::pin(inside.pop().unwrap().leave());
            let other = match other_leaves {
                true => Ok(leave(other)),
                false => Err(other),
            };
            let polled = poll_times(leaving.as_mut(), polls);
            let done = tokio::time::timeout(if other_leaves { PATIENCE } else { SILENCE }, polled).await;
            assert!(other_leaves || !matches!(done, Ok(Some(_))), "left while one is inside");
            drop(leaving);
            let leaving = match other {
                Ok(leaving) => leaving,
                Err(other) => leave(other),
            };
            left(leaving).await;
            fixture.until_children_but_ready(0).await;
            if !matches!(done, Ok(None)) {
                break;
            }
        }
    }
    all_leave(all_inside(&zks).await).await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    for we_come_last in [false, true] {
        strike_each_request("double barrier", move |fixture, zk, path| async move {
            let other = connect(&fixture).await;
            let (mine, theirs) = (
                DoubleBarrier::new(&zk, &path, 2).unwrap(),
                DoubleBarrier::new(&other, &path, 2).unwrap(),
            );
            let (first, last) = if we_come_last { (theirs, mine) } else { (mine, theirs) };
            let entering = tokio::spawn({
                let first = first.clone();
                async move { first.enter().await }
            });
            eventually(PATIENCE, "one is there", || async {
                fixture.children(&path).await.len() == 1
            })
            .await;
            assert!(!entering.is_finished());
            let last = last.enter().await.unwrap();
            let first = entering.await.unwrap().unwrap();
            assert!(first.is_held() && last.is_held());
            let leaving = leave(first);
            tokio::time::sleep(Duration::from_millis(20)).await;
            assert!(!leaving.is_finished(), "left while one is inside");
            last.leave().await.unwrap();
            left(leaving).await;
            assert!(fixture.children(&path).await.is_empty());
        })
        .await;
    }
}

/// The connection breaks at the transaction that opens the barrier, on a real server as well.
#[tokio::test]
async fn an_opening_whose_reply_is_lost_is_seen() {
    let fixture = Fixture::new("lost opening").await;
    let (proxy, servers) = fixture.proxied().await;
    let zks = [connect(&fixture).await, connect_to(&servers, LONG).await];
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        let one = enter(&zks[0], 2, 1).await;
        let fault = proxy.inject(When::request(Op::Multi), injection);
        let two = enter(&zks[1], 2, 0).await;
        fault.fired().await;
        all_leave([entered(one).await, entered(two).await]).await;
    }
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Rounds of all workers, while sessions expire and members give up: never open before enough are there, never left
/// before all have, and nobody is left waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rounds_of_many_are_all_together_while_some_die() {
    const WORKERS: usize = 5;
    const ROUNDS: usize = 12;
    let fixture = Arc::new(Fixture::new("rounds").await);
    // Of each round: how many have begun to enter, and how many are inside for certain.
    let counts: Arc<Vec<[AtomicUsize; 2]>> = Arc::new((0..ROUNDS).map(|_| Default::default()).collect());
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        let (fixture, counts) = (Arc::clone(&fixture), Arc::clone(&counts));
        workers.push(tokio::spawn(async move {
            let zk = connect(&fixture).await;
            for (round, [begun, inside]) in counts.iter().enumerate() {
                let barrier = DoubleBarrier::new(&zk, &format!("{PATH}/{round}"), WORKERS as u32).unwrap();
                if (worker + round) % 4 == 1 {
                    // Gives up at first.
                    let timed = barrier.enter_timeout(Duration::from_millis(worker as u64)).await;
                    assert!(timed.is_err(), "let in before all were there");
                }
                begun.fetch_add(1, Ordering::SeqCst);
                let entered = barrier.enter().await.unwrap();
                assert_eq!(begun.load(Ordering::SeqCst), WORKERS, "let in before all were there");
                inside.fetch_add(1, Ordering::SeqCst);
                if (worker + round) % 5 == 0 {
                    inside.fetch_sub(1, Ordering::SeqCst);
                    fixture.expire(&zk.client().await.unwrap().session().clone()).await;
                    within(PATIENCE, "told", entered.lost()).await;
                    assert!(entered.leave().await.is_err());
                } else {
                    tokio::time::sleep(Duration::from_millis(worker as u64 * 3)).await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    entered.leave().await.unwrap();
                    assert_eq!(inside.load(Ordering::SeqCst), 0, "left while others are inside");
                }
            }
        }));
    }
    for worker in workers {
        within(PATIENCE * 4, "all rounds", worker).await.unwrap();
    }
    fixture.assert_no_nodes_left(&[]).await;
}

trait Members {
    async fn until_children_but_ready(&self, count: usize);
}

impl Members for Fixture {
    /// Waits until there are so many members.
    async fn until_children_but_ready(&self, count: usize) {
        eventually(PATIENCE, format!("{count} members"), || async {
            let children = self.children(PATH).await;
            children.iter().filter(|name| *name != "ready").count() == count
        })
        .await;
    }
}
