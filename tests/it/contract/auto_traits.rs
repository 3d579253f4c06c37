//! `Send`, `Sync` and `Unpin` of every public type, pinned: losing one breaks users, and having one by accident is a promise.

use zookeeper_recipes::inspect::doctor::{Diagnosis, Doctor};
use zookeeper_recipes::inspect::{Cycle, Inspector, PlaceInfo, PlaceKind, WaitGraph};
#[cfg(feature = "serde")]
use zookeeper_recipes::queue::Json;
use zookeeper_recipes::queue::{
    AckError, CancelError, ClaimInfo, Completion, DeadItem, DeadItemError, Delivery, FifoPopError, FifoPopTimeoutError,
    FifoPushError, FifoQueue, InvalidItemId, ItemId, ItemInfo, ItemStatus, Job, NewItem, Order, PastAttempt, PushError,
    PushOptions, PushTimeoutError, QueueClaims, QueueStats, ReadyItem, ResultError, ResultTimeoutError, RetryPolicy,
    Summary, Turnover, WorkQueue, WorkQueueBuilder, Worker,
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
    WaitTimeoutError,
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
    plain::<QueueClaims>();
    plain::<ItemInfo>();
    plain::<ReadyItem>();
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
