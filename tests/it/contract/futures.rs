//! `Send` and `Sync` of every future and stream, and that no future is `Unpin`: pinned, for losing one breaks users.

use std::ops::ControlFlow;
use std::time::Duration;

use zookeeper_recipes::inspect::Inspector;
use zookeeper_recipes::inspect::doctor::Doctor;
#[cfg(feature = "serde")]
use zookeeper_recipes::queue::Json;
use zookeeper_recipes::queue::{Delivery, FifoQueue, ItemId, PushOptions, WorkQueue};
use zookeeper_recipes::{
    Barrier, ConnectOptions, Contender, Coordinator, CountDownLatch, DoubleBarrier, Entered, FairLock, FairLockGuard,
    Group, GroupObserver, LeaderElection, Leadership, Membership, MultiLock, MultiLockGuard, Observer, Participant,
    Permit, PermitHolder, Relay, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SharedCounter, SharedValue,
    Turn, connect,
};

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
    future(queue.pause_because("")).lacks_unpin();
    future(queue.peek(1)).lacks_unpin();
    future(queue.resume()).lacks_unpin();
    future(queue.stats()).lacks_unpin();
    future(queue.claims()).lacks_unpin();
    future(queue.item(&id)).lacks_unpin();
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
fn streams_of_a_queue_are_send_and_unpin() {
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

/// Only compiled, as well.
#[allow(dead_code)]
fn every_future_of_a_doctor(zk: Coordinator) {
    let doctor = Doctor::new(&Inspector::new(&zk));
    send(doctor.diagnose("/")).lacks_unpin();
    send(doctor.examine("/", &[])).lacks_unpin();
}
