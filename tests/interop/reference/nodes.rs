//! Barriers, values, groups and the queue; and what is nobody's in a directory of ours.

use std::time::Duration;

use bytes::Bytes;
use zookeeper_recipes::{
    Barrier, DoubleBarrier, FairLock, Group, LeaderElection, RwLock, Semaphore, SharedCounter, SharedValue,
    WaitTimeoutError, queue::FifoQueue,
};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{Lines, connect_as_curator, make, written};
use crate::support::{PATIENCE, connect};

const BARRIER: &Lines = &["/barrier P 127.0.0.1"];
const DOUBLE_BARRIER: &Lines = &[
    "/dbl P",
    "/dbl/<uuid> E 127.0.0.1",
    "/dbl/<uuid> E 127.0.0.1",
    "/dbl/ready P 127.0.0.1",
];
const VALUE: &Lines = &["/value P some bytes"];
const COUNT: &Lines = &["/count P 0x00000007"];
const NEGATIVE_COUNT: &Lines = &["/count P 0xfffffffe"];
const ATOMIC_LONG: &Lines = &["/along P 0x0000000000000102"];
const ATOMIC_INTEGER: &Lines = &["/aint P 0xffffffff"];
const GROUP: &Lines = &["/group P", "/group/me E 127.0.0.1"];
const SIMPLE_QUEUE: &Lines = &["/sq P", "/sq/qn-0000000000 P raw"];

/// Of recipes that have no counterpart here: in a directory of ours they are nobody's.
const FOREIGN: &Lines = &[
    "/_c_<uuid>-n-0000000000 E data",
    "/touch P 127.0.0.1",
    "/queue-0000000000 P 0x000100010100000002414202",
    "/queue-0000000001 P 0x000100010100000001780100000002797a02",
    "/queue-|id_1_2|0000000000 P 0x0001000101000000017602",
    "/queue-1000000050000000000 P 0x000100010100000002703502",
    "/queue-0FFFFFFFB0000000001 P 0x0001000101000000026d3502",
    "/queue-|18BCFE56800|0000000000 P 0x0001000101000000016402",
    "/queue-|000000FF|0000000001 P 0x0001000101000000016502",
    "/entry-100-0000000000 P payload",
    "/lease_holder P {}",
    "/x-72057594037927936-0000000001 E",
    "/n_0000000001 E",
];

#[tokio::test]
async fn distributed_barrier() {
    let fixture = Fixture::new("layout of a barrier").await;
    let ours = Barrier::new(&connect_as_curator(&fixture).await, "/barrier").unwrap();
    make(fixture.raw(), "", BARRIER).await;
    let closed = ours.wait_timeout(Duration::from_millis(200)).await;
    assert!(matches!(closed, Err(WaitTimeoutError::Elapsed { .. })), "{closed:?}");
    let waiting = tokio::spawn({
        let ours = ours.clone();
        async move { ours.wait().await }
    });
    ours.lift().await.unwrap();
    within(PATIENCE, "it is open", waiting).await.unwrap().unwrap();
    assert!(fixture.tree().await.is_empty());
    ours.set().await.unwrap();
    assert_eq!(written(&fixture, "/barrier").await, BARRIER);
    ours.lift().await.unwrap();
    fixture.assert_no_nodes_left(&["/"]).await;
}

#[tokio::test]
async fn distributed_double_barrier() {
    let fixture = Fixture::new("layout of a double barrier, read").await;
    let ours = DoubleBarrier::new(&connect(&fixture).await, "/dbl", 2).unwrap();
    let theirs = make(fixture.raw(), "", DOUBLE_BARRIER).await;
    assert_eq!(ours.members().await, Ok(2));
    let inside = within(PATIENCE, "it is open", ours.enter()).await.unwrap();
    let mut leaving = tokio::spawn(inside.leave());
    let early = tokio::time::timeout(Duration::from_millis(200), &mut leaving).await;
    assert!(early.is_err(), "theirs are inside: {early:?}");
    fixture.raw().delete(&theirs[1], None).await.unwrap();
    fixture.raw().delete(&theirs[2], None).await.unwrap();
    within(PATIENCE, "all have left", leaving).await.unwrap().unwrap();

    let fixture = Fixture::new("layout of a double barrier, written").await;
    let ours = DoubleBarrier::new(&connect_as_curator(&fixture).await, "/dbl", 2).unwrap();
    let both = async { tokio::join!(ours.enter(), ours.enter()) };
    let (one, other) = within(PATIENCE, "both are inside", both).await;
    assert_eq!(written(&fixture, "/dbl").await, DOUBLE_BARRIER);
    let both = async { tokio::join!(one.unwrap().leave(), other.unwrap().leave()) };
    let (one, other) = within(PATIENCE, "both have left", both).await;
    one.unwrap();
    other.unwrap();
    eventually(PATIENCE, "the barrier is as it was", || async {
        fixture.children("/dbl").await.is_empty()
    })
    .await;
}

/// What a write leaves: the mark that tells of its fate is removed behind it.
async fn assert_left(fixture: &Fixture, path: &str, lines: &Lines) {
    eventually(PATIENCE, format!("{lines:?}"), || async {
        written(fixture, path).await == lines
    })
    .await;
}

#[tokio::test]
async fn shared_value_and_count_and_the_distributed_atomics() {
    let fixture = Fixture::new("layout of values").await;
    let zk = connect(&fixture).await;
    for (lines, number, is_long) in [
        (COUNT, 7, false),
        (NEGATIVE_COUNT, -2, false),
        (ATOMIC_INTEGER, -1, false),
        (ATOMIC_LONG, 258, true),
    ] {
        let path = lines[0].split(' ').next().unwrap();
        let new = if is_long {
            SharedCounter::new
        } else {
            SharedCounter::new_shared_count
        };
        let ours = new(&zk, path).unwrap();
        make(fixture.raw(), "", lines).await;
        assert_eq!(ours.get().await, Ok(number));
        fixture.raw().delete(path, None).await.unwrap();
        ours.set(number).await.unwrap();
        assert_left(&fixture, path, lines).await;
        fixture.raw().delete(path, None).await.unwrap();
    }
    let ours = SharedValue::new(&zk, "/value").unwrap();
    make(fixture.raw(), "", VALUE).await;
    assert_eq!(ours.get().await.unwrap().unwrap().value, "some bytes");
    fixture.raw().delete("/value", None).await.unwrap();
    ours.set("some bytes").await.unwrap();
    assert_left(&fixture, "/value", VALUE).await;
    fixture.assert_no_nodes_left(&["/value"]).await;
}

/// And kazoo's `Party`, whose members have other names.
#[tokio::test]
async fn group_member() {
    let fixture = Fixture::new("layout of a group").await;
    let ours = Group::new(&connect(&fixture).await, "/group").unwrap();
    let theirs = make(fixture.raw(), "", GROUP).await;
    let party = make(fixture.raw(), "/group", &["/<hex>__party__ E 127.0.0.1"]).await;
    let members = ours.members().await.unwrap();
    let mut paths: Vec<_> = members.iter().map(|member| format!("/group/{}", member.id)).collect();
    paths.sort_by_key(|path| *path != theirs[1]);
    assert_eq!(paths, [&*theirs[1], &*party[0]]);
    assert!(members.iter().all(|member| member.data == "127.0.0.1"));
    for path in [&theirs[1], &party[0]] {
        fixture.raw().delete(path, None).await.unwrap();
    }
    let membership = ours.join("me", "127.0.0.1").await.unwrap();
    assert_eq!(written(&fixture, "/group").await, GROUP);
    membership.leave().await;
    fixture.assert_no_nodes_left(&["/group"]).await;
}

#[tokio::test]
async fn simple_distributed_queue() {
    let fixture = Fixture::new("layout of a queue, read").await;
    let ours = FifoQueue::new(&connect(&fixture).await, "/sq").unwrap();
    make(fixture.raw(), "", SIMPLE_QUEUE).await;
    assert_eq!(ours.len().await, Ok(1));
    assert_eq!(ours.try_pop().await.unwrap(), Some(Bytes::from_static(b"raw")));
    drop(ours);
    fixture.assert_no_nodes_left(&["/sq"]).await;

    let fixture = Fixture::new("layout of a queue, written").await;
    let ours = FifoQueue::new(&connect(&fixture).await, "/sq").unwrap();
    ours.push("raw").await.unwrap();
    assert_eq!(written(&fixture, "/sq").await, SIMPLE_QUEUE);
    assert_eq!(ours.try_pop().await.unwrap(), Some(Bytes::from_static(b"raw")));
    drop(ours);
    fixture.assert_no_nodes_left(&["/sq"]).await;
}

#[tokio::test]
async fn what_has_no_counterpart_here_is_nobodys() {
    let fixture = Fixture::new("layout of others").await;
    let zk = connect(&fixture).await;
    for dir in ["/mutex", "/rw", "/latch", "/sq", "/sem", "/sem/locks", "/sem/leases"] {
        make(fixture.raw(), "", &[&format!("{dir} P")]).await;
        make(fixture.raw(), dir, FOREIGN).await;
    }
    let ours = FairLock::new(&zk, "/mutex").unwrap();
    assert_eq!(ours.contenders().await.unwrap(), []);
    ours.try_acquire().await.unwrap().release().await.unwrap();
    let ours = RwLock::new(&zk, "/rw").unwrap();
    ours.try_write().await.unwrap().release().await.unwrap();
    let ours = LeaderElection::new(&zk, "/latch").unwrap();
    assert_eq!(ours.participants().await.unwrap(), []);
    ours.try_campaign("ours").await.unwrap().resign().await.unwrap();
    let ours = FifoQueue::new(&zk, "/sq").unwrap();
    assert_eq!((ours.len().await, ours.try_pop().await), (Ok(0), Ok(None)));
    let ours = Semaphore::new(&zk, "/sem", 1).unwrap();
    assert_eq!(ours.available_permits().await, Ok(1));
    ours.try_acquire().await.unwrap().release().await.unwrap();
}
