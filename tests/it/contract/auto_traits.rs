//! `Send`, `Sync` and `Unpin` of every public type and of every future, pinned: losing one breaks users, and having one
//! by accident is a promise.

use std::ops::ControlFlow;
use std::time::Duration;

use zookeeper_recipes::inspect::doctor::{Diagnosis, Doctor};
use zookeeper_recipes::inspect::{Cycle, Inspector, PlaceInfo, PlaceKind, WaitGraph};
#[cfg(feature = "serde")]
use zookeeper_recipes::queue::Json;
use zookeeper_recipes::queue::{
    AckError, CancelError, ClaimInfo, Completion, DeadItem, DeadItemError, Delivery, FifoPopError, FifoPopTimeoutError,
    FifoPushError, FifoQueue, InvalidItemId, ItemId, ItemStatus, Job, NewItem, Order, PastAttempt, PushError,
    PushOptions, PushTimeoutError, QueueStats, ResultError, ResultTimeoutError, RetryPolicy, Summary, Turnover,
    WorkQueue, WorkQueueBuilder, Worker,
};
use zookeeper_recipes::{
    AcquireTimeoutError, Barrier, CheckWriter, CompleteError, ConnectError, ConnectOptions, Contender, ContenderLayout,
    Coordinator, CountDownLatch, DoubleBarrier, DowngradeError, DueRun, ElectionLayout, Entered, Error, FairLock,
    FairLockBuilder, FairLockGuard, FencedWriteError, FencingToken, Group, GroupObserver, Health, Hold, InvalidLayout,
    InvalidToken, JoinError, LatchError, LatchTimeoutError, Layout, LeaderElection, LeaderElectionBuilder, Leadership,
    LeaveTimeoutError, LossReason, Lost, LostSignal, Member, MemberChange, Membership, Misfire, Mode, MultiLock,
    MultiLockBuilder, MultiLockGuard, NodePath, Observer, OncePerError, Participant, Permit, PermitError, PermitHolder,
    PermitTimeoutError, Presence, ProclaimError, Relay, ReleaseError, Revocation, RunError, RwLock, RwLockBuilder,
    RwLockReadGuard, RwLockWriteGuard, Schedule, ScheduleBuilder, ScheduleError, ScheduleProgress, Semaphore,
    SessionKind, SessionState, SessionStats, SharedCounter, SharedCounterError, SharedValue, SharedValueError,
    ShutdownReport, Starts, Stats, TimeoutError, Timetable, TryAcquireError, TryPermitError, Turn, Versioned,
    WaitTimeoutError, connect,
};

fn plain<T: Send + Sync + Unpin>() {}

/// One line per public type; the test below finds what is missing here.
#[test]
fn every_type_is_send_sync_and_unpin() {
    plain::<AckError>();
    plain::<AcquireTimeoutError>();
    plain::<Barrier>();
    plain::<CheckWriter<'static>>();
    plain::<CompleteError>();
    plain::<ConnectError>();
    plain::<ConnectOptions>();
    plain::<Contender>();
    plain::<Coordinator>();
    plain::<CountDownLatch>();
    plain::<DeadItem>();
    plain::<DeadItemError>();
    plain::<Delivery>();
    plain::<DoubleBarrier>();
    plain::<DowngradeError>();
    plain::<ElectionLayout>();
    plain::<Entered>();
    plain::<Error>();
    plain::<FairLock>();
    plain::<FairLockBuilder>();
    plain::<FairLockGuard>();
    plain::<FencedWriteError>();
    plain::<FencingToken>();
    plain::<FifoPopError>();
    plain::<FifoPopTimeoutError>();
    plain::<FifoPushError>();
    plain::<FifoQueue>();
    plain::<Group>();
    plain::<GroupObserver>();
    plain::<Health>();
    plain::<Hold>();
    plain::<ContenderLayout>();
    plain::<Mode>();
    plain::<Inspector>();
    plain::<Cycle>();
    plain::<Diagnosis>();
    plain::<Doctor>();
    plain::<WaitGraph>();
    plain::<PlaceInfo>();
    plain::<PlaceKind>();
    plain::<InvalidItemId>();
    plain::<ItemId>();
    plain::<ItemStatus>();
    plain::<InvalidLayout>();
    plain::<InvalidToken>();
    plain::<NodePath>();
    plain::<JoinError>();
    plain::<LatchError>();
    plain::<LatchTimeoutError>();
    plain::<Layout>();
    plain::<LeaderElection>();
    plain::<LeaderElectionBuilder>();
    plain::<Leadership>();
    plain::<LeaveTimeoutError>();
    plain::<LossReason>();
    plain::<Lost>();
    plain::<LostSignal>();
    plain::<Member>();
    plain::<MemberChange>();
    plain::<Membership>();
    plain::<MultiLock>();
    plain::<MultiLockBuilder>();
    plain::<MultiLockGuard>();
    plain::<NewItem>();
    plain::<Observer<u8>>();
    plain::<Participant>();
    plain::<Permit>();
    plain::<PermitError>();
    plain::<PermitHolder>();
    plain::<PermitTimeoutError>();
    plain::<Presence>();
    plain::<ProclaimError>();
    plain::<PushError>();
    plain::<PushOptions>();
    plain::<PushTimeoutError>();
    plain::<Relay>();
    plain::<ReleaseError>();
    plain::<ResultError>();
    plain::<ResultTimeoutError>();
    plain::<Revocation>();
    plain::<RunError>();
    plain::<RwLock>();
    plain::<RwLockBuilder>();
    plain::<RwLockReadGuard>();
    plain::<RwLockWriteGuard>();
    plain::<Semaphore>();
    plain::<SessionKind>();
    plain::<SessionState>();
    plain::<SessionStats>();
    plain::<Stats>();
    plain::<SharedCounter>();
    plain::<SharedCounterError>();
    plain::<SharedValue>();
    plain::<DueRun>();
    plain::<Misfire>();
    plain::<OncePerError>();
    plain::<Schedule>();
    plain::<ScheduleBuilder>();
    plain::<ScheduleError>();
    plain::<ScheduleProgress>();
    plain::<Starts>();
    plain::<Timetable>();
    plain::<SharedValueError>();
    plain::<ShutdownReport>();
    plain::<TimeoutError<Error>>();
    plain::<TryAcquireError>();
    plain::<TryPermitError>();
    #[cfg(feature = "serde")]
    plain::<Delivery<Json<u8>>>();
    plain::<WorkQueue<std::cell::Cell<u8>>>();
    plain::<Turn>();
    plain::<Versioned>();
    plain::<WaitTimeoutError>();
    plain::<WorkQueue>();
    plain::<CancelError>();
    plain::<ClaimInfo>();
    plain::<Completion>();
    plain::<Job>();
    #[cfg(feature = "serde")]
    plain::<Json<u8>>();
    plain::<Order>();
    plain::<PastAttempt>();
    plain::<QueueStats>();
    plain::<Turnover>();
    plain::<RetryPolicy>();
    plain::<Summary>();
    plain::<WorkQueueBuilder>();
    plain::<Worker>();
}

#[test]
fn every_public_type_is_pinned() {
    let code: String = include_str!("../../../src/lib.rs")
        .lines()
        .filter(|line| !line.starts_with("//"))
        .collect();
    let exports = code.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    let names: Vec<&str> = exports
        .flat_map(|export| export.split([':', ',', '{', '}', ' ']))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect();
    assert!(
        names.contains(&"FairLock"),
        "src/lib.rs exports in another way: adapt this test"
    );
    let pinned = |name: &&&str| {
        let pin = |end: char| include_str!("auto_traits.rs").contains(&format!("plain::<{name}{end}"));
        ['>', '<'].into_iter().any(pin)
    };
    // Traits have no auto traits.
    let traits = ["Payload"];
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !pinned(name) && !traits.contains(name))
        .collect();
    assert!(missing.is_empty(), "add a line for each of {missing:?}");
}

/// Whoever holds a place holds it once.
#[test]
fn guards_are_not_clone() {
    trait Ambiguous<A> {
        fn lacks_clone() {}
    }
    impl<T: ?Sized> Ambiguous<()> for T {}
    impl<T: Clone> Ambiguous<u8> for T {}
    <Hold as Ambiguous<_>>::lacks_clone();
    <FairLockGuard as Ambiguous<_>>::lacks_clone();
    <Leadership as Ambiguous<_>>::lacks_clone();
    <Membership as Ambiguous<_>>::lacks_clone();
    <RwLockReadGuard as Ambiguous<_>>::lacks_clone();
    <RwLockWriteGuard as Ambiguous<_>>::lacks_clone();
    <MultiLockGuard as Ambiguous<_>>::lacks_clone();
    <Permit as Ambiguous<_>>::lacks_clone();
    <Delivery as Ambiguous<_>>::lacks_clone();
    #[cfg(feature = "serde")]
    <Delivery<Json<u8>> as Ambiguous<_>>::lacks_clone();
    <Turn as Ambiguous<_>>::lacks_clone();
    <Entered as Ambiguous<_>>::lacks_clone();
    <CheckWriter<'static> as Ambiguous<_>>::lacks_clone();
}

/// Asking for `lacks_unpin` without saying of which implementation does not compile for what has both.
trait AmbiguousIfUnpin<A> {
    fn lacks_unpin(&self) {}
}
impl<T: ?Sized> AmbiguousIfUnpin<()> for T {}
impl<T: ?Sized + Unpin> AmbiguousIfUnpin<u8> for T {}

/// As above, of `Sync`.
trait AmbiguousIfSync<A> {
    fn lacks_sync(&self) {}
}
impl<T: ?Sized> AmbiguousIfSync<()> for T {}
impl<T: ?Sized + Sync> AmbiguousIfSync<u8> for T {}

fn future<F: Future + Send + Sync>(future: F) -> F {
    future
}

fn send<F: Future + Send>(future: F) -> F {
    future
}

/// Only compiled: no future is polled.
#[allow(dead_code)]
fn every_future_is_send_and_not_unpin_and_all_but_connect_are_sync(
    (zk, other): (Coordinator, Coordinator),
    (guard, mut observer, contender): (FairLockGuard, Observer<u8>, Contender),
) {
    // The client's own future of a connect is not `Sync`.
    send(connect("")).lacks_sync();
    send(connect("")).lacks_unpin();
    send(ConnectOptions::new().connect("")).lacks_sync();
    send(ConnectOptions::new().connect("")).lacks_unpin();
    future(zk.client()).lacks_unpin();
    future(other.close()).lacks_unpin();
    future(observer.changed()).lacks_unpin();
    future(observer.wait_for(|_| true)).lacks_unpin();
    let lock = FairLock::new(&zk, "/l").unwrap();
    future(lock.acquire()).lacks_unpin();
    future(lock.try_acquire()).lacks_unpin();
    future(lock.acquire_timeout(Duration::ZERO)).lacks_unpin();
    future(lock.run(|_| async {})).lacks_unpin();
    future(lock.run_revocable(|_| async {})).lacks_unpin();
    future(lock.contenders()).lacks_unpin();
    future(lock.request_revocation(&contender, "")).lacks_unpin();
    future(guard.run_until_lost(async {})).lacks_unpin();
    future(guard.revocation()).lacks_unpin();
    future(guard.fenced().commit()).lacks_unpin();
    future(guard.release()).lacks_unpin();
}

#[allow(dead_code)]
fn every_future_of_the_other_locks_too(
    zk: Coordinator,
    (read, write, another): (RwLockReadGuard, RwLockWriteGuard, RwLockWriteGuard),
    several: MultiLockGuard,
) {
    let lock = RwLock::new(&zk, "/l").unwrap();
    future(lock.read()).lacks_unpin();
    future(lock.try_read()).lacks_unpin();
    future(lock.read_timeout(Duration::ZERO)).lacks_unpin();
    future(lock.write()).lacks_unpin();
    future(lock.try_write()).lacks_unpin();
    future(lock.write_timeout(Duration::ZERO)).lacks_unpin();
    future(lock.contenders()).lacks_unpin();
    future(read.release()).lacks_unpin();
    future(write.downgrade()).lacks_unpin();
    future(another.release()).lacks_unpin();
    let locks = MultiLock::new(&zk, ["/l"]).unwrap();
    future(locks.acquire()).lacks_unpin();
    future(locks.try_acquire()).lacks_unpin();
    future(locks.acquire_timeout(Duration::ZERO)).lacks_unpin();
    future(several.release()).lacks_unpin();
}

/// Only compiled: no future is polled.
#[allow(dead_code)]
fn every_future_of_the_election_the_group_and_the_values_too(
    zk: Coordinator,
    (leadership, membership, mut observer): (Leadership, Membership, GroupObserver),
    participant: Participant,
) {
    let election = LeaderElection::new(&zk, "/e").unwrap();
    future(election.campaign("")).lacks_unpin();
    future(election.try_campaign("")).lacks_unpin();
    future(election.campaign_timeout("", Duration::ZERO)).lacks_unpin();
    future(election.run("", |_| async { ControlFlow::Break(()) })).lacks_unpin();
    let shutdown = std::future::ready(());
    future(election.run_until(shutdown, "", |_| async { ControlFlow::Break(()) })).lacks_unpin();
    future(election.leader()).lacks_unpin();
    future(election.participants()).lacks_unpin();
    future(election.observe()).lacks_unpin();
    future(election.request_revocation(&participant, "")).lacks_unpin();
    future(leadership.proclaim("")).lacks_unpin();
    future(leadership.ready()).lacks_unpin();
    future(leadership.outranked()).lacks_unpin();
    future(leadership.resign()).lacks_unpin();
    let group = Group::new(&zk, "/g").unwrap();
    future(group.join("", "")).lacks_unpin();
    future(group.join_when_free("", "")).lacks_unpin();
    future(group.members()).lacks_unpin();
    future(group.observe()).lacks_unpin();
    future(membership.update("")).lacks_unpin();
    future(membership.leave()).lacks_unpin();
    future(observer.changed()).lacks_unpin();
    future(observer.wait_for(|_| true)).lacks_unpin();
    let value = SharedValue::new(&zk, "/v").unwrap();
    future(value.get()).lacks_unpin();
    future(value.set("")).lacks_unpin();
    future(value.compare_and_set(None, "")).lacks_unpin();
    future(value.update(|_| "")).lacks_unpin();
    future(value.observe()).lacks_unpin();
    let counter = SharedCounter::new(&zk, "/c").unwrap();
    future(counter.get()).lacks_unpin();
    future(counter.set(0)).lacks_unpin();
    future(counter.fetch_add(0)).lacks_unpin();
    future(counter.compare_and_set(0, 0)).lacks_unpin();
    future(counter.observe()).lacks_unpin();
}

#[test]
fn the_stream_of_an_observer_is_plain() {
    fn stream(observer: Observer<u8>) -> impl Send + Unpin {
        observer.into_stream()
    }
    let _ = stream;
}

/// Only compiled, as well.
#[allow(dead_code)]
fn every_future_of_permits_barriers_and_latches(
    zk: Coordinator,
    permit: Permit,
    holder: PermitHolder,
    inside: [Entered; 2],
) {
    let semaphore = Semaphore::new(&zk, "/s", 1).unwrap();
    future(semaphore.acquire()).lacks_unpin();
    future(semaphore.acquire_many(2)).lacks_unpin();
    future(semaphore.try_acquire()).lacks_unpin();
    future(semaphore.try_acquire_many(2)).lacks_unpin();
    future(semaphore.acquire_timeout(Duration::ZERO)).lacks_unpin();
    future(semaphore.acquire_many_timeout(2, Duration::ZERO)).lacks_unpin();
    future(semaphore.available_permits()).lacks_unpin();
    future(semaphore.set_permits(2)).lacks_unpin();
    future(semaphore.holders()).lacks_unpin();
    future(semaphore.request_revocation(&holder, "")).lacks_unpin();
    future(permit.release()).lacks_unpin();
    let barrier = Barrier::new(&zk, "/b").unwrap();
    future(barrier.set()).lacks_unpin();
    future(barrier.lift()).lacks_unpin();
    future(barrier.wait()).lacks_unpin();
    future(barrier.wait_timeout(Duration::ZERO)).lacks_unpin();
    let barrier = DoubleBarrier::new(&zk, "/d", 1).unwrap();
    future(barrier.enter()).lacks_unpin();
    future(barrier.enter_timeout(Duration::ZERO)).lacks_unpin();
    future(barrier.members()).lacks_unpin();
    let [one, two] = inside;
    future(one.leave()).lacks_unpin();
    future(two.leave_timeout(Duration::ZERO)).lacks_unpin();
    let latch = CountDownLatch::new(&zk, "/c", 1).unwrap();
    future(latch.count_down()).lacks_unpin();
    future(latch.count_down_as("")).lacks_unpin();
    future(latch.count()).lacks_unpin();
    future(latch.wait()).lacks_unpin();
    future(latch.wait_timeout(Duration::ZERO)).lacks_unpin();
    future(latch.remove()).lacks_unpin();
}

/// Only compiled, as well.
#[allow(dead_code)]
fn every_future_of_the_fifo_queue_and_the_relay(zk: Coordinator, turns: [Turn; 2]) {
    let queue = FifoQueue::new(&zk, "/q").unwrap();
    future(queue.push("")).lacks_unpin();
    future(queue.pop()).lacks_unpin();
    future(queue.try_pop()).lacks_unpin();
    future(queue.pop_timeout(Duration::ZERO)).lacks_unpin();
    future(queue.peek()).lacks_unpin();
    future(queue.len()).lacks_unpin();
    future(queue.is_empty()).lacks_unpin();
    future(queue.close()).lacks_unpin();
    let relay = Relay::new(&zk, "/r").unwrap();
    future(relay.join()).lacks_unpin();
    future(relay.try_join()).lacks_unpin();
    future(relay.join_timeout(Duration::ZERO)).lacks_unpin();
    future(relay.latest()).lacks_unpin();
    future(relay.contenders()).lacks_unpin();
    future(relay.remove()).lacks_unpin();
    let [one, two] = turns;
    future(one.complete("")).lacks_unpin();
    future(two.release()).lacks_unpin();
}

/// Only compiled, as well.
#[allow(dead_code)]
fn every_future_of_the_work_queue(zk: Coordinator, id: ItemId, deliveries: [Delivery; 6]) {
    let queue = WorkQueue::new(&zk, "/q").unwrap();
    future(queue.push("")).lacks_unpin();
    future(queue.push_with("", PushOptions::new())).lacks_unpin();
    future(queue.try_push("")).lacks_unpin();
    future(queue.push_timeout("", Duration::ZERO)).lacks_unpin();
    future(queue.push_all([""])).lacks_unpin();
    future(queue.pop()).lacks_unpin();
    future(queue.try_pop()).lacks_unpin();
    future(queue.pop_timeout(Duration::ZERO)).lacks_unpin();
    future(queue.pop_batch(1)).lacks_unpin();
    future(queue.len()).lacks_unpin();
    future(queue.is_empty()).lacks_unpin();
    future(queue.status(&id)).lacks_unpin();
    future(queue.result(&id)).lacks_unpin();
    future(queue.result_timeout(&id, Duration::ZERO)).lacks_unpin();
    future(queue.dead_letters()).lacks_unpin();
    future(queue.redrive(&id)).lacks_unpin();
    future(queue.purge(&id)).lacks_unpin();
    future(queue.redrive_all()).lacks_unpin();
    future(queue.purge_all()).lacks_unpin();
    future(queue.dead_letters_page(None, 1)).lacks_unpin();
    future(queue.cancel(&id)).lacks_unpin();
    future(queue.pause()).lacks_unpin();
    future(queue.resume()).lacks_unpin();
    future(queue.stats()).lacks_unpin();
    future(queue.close()).lacks_unpin();
    let [a, b, c, d, e, f] = deliveries;
    future(a.extend(Duration::ZERO)).lacks_unpin();
    future(a.progress("")).lacks_unpin();
    future(a.ack()).lacks_unpin();
    future(b.ack_with("")).lacks_unpin();
    future(c.ack_then([""])).lacks_unpin();
    future(d.nack()).lacks_unpin();
    future(e.nack_after(Duration::ZERO)).lacks_unpin();
    future(f.reject("")).lacks_unpin();
}

#[test]
fn the_streams_of_a_queue_are_send_and_unpin() {
    fn stream(queue: &WorkQueue) -> impl Send + Unpin + use<> {
        queue.deliveries(1)
    }
    let _ = stream;
    #[cfg(feature = "serde")]
    {
        fn typed(queue: &WorkQueue<Json<u8>>) -> impl Send + Unpin + use<> {
            queue.deliveries(1)
        }
        let _ = typed;
    }
}
