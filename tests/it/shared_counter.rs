//! Shared counters: every addition counts once, in both of Curator's layouts; and its known mistakes (`SharedCount`,
//! `DistributedAtomicLong`), which are named after their issue.

use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Coordinator, Error, SharedCounter, SharedCounterError};
use zookeeper_testkit::{Fixture, Op, When, within};

use crate::support::{LONG, PATIENCE, connect, connect_to, start};

const COUNT: &str = "/count";

type New = fn(&Coordinator, &str) -> Result<SharedCounter, Error>;
const LAYOUTS: [New; 2] = [SharedCounter::new, SharedCounter::new_shared_count];

async fn clean(fixture: &Fixture) {
    fixture.assert_no_nodes_left(&[COUNT]).await;
}

#[tokio::test]
async fn a_counter_counts_from_zero() {
    for new in LAYOUTS {
        let fixture = Fixture::new("count").await;
        let counter = new(&connect(&fixture).await, COUNT).unwrap();
        assert_eq!(counter.get().await.unwrap(), 0);
        assert_eq!(counter.fetch_add(5).await.unwrap(), 0);
        assert_eq!(counter.fetch_add(-7).await.unwrap(), 5);
        assert_eq!(counter.get().await.unwrap(), -2);
        assert!(!counter.compare_and_set(0, 1).await.unwrap());
        assert!(counter.compare_and_set(-2, 40).await.unwrap());
        counter.set(41).await.unwrap();
        assert_eq!(counter.fetch_add(1).await.unwrap(), 41);
        clean(&fixture).await;
    }
}

#[tokio::test]
async fn the_bytes_are_curators() {
    let (fixture, zk) = start("count layout").await;
    let (long, int) = (
        SharedCounter::new(&zk, "/long").unwrap(),
        SharedCounter::new_shared_count(&zk, "/int").unwrap(),
    );
    long.fetch_add(258).await.unwrap();
    int.fetch_add(-2).await.unwrap();
    assert_eq!(
        fixture.raw().get_data("/long").await.unwrap().0,
        [0, 0, 0, 0, 0, 0, 1, 2]
    );
    assert_eq!(
        fixture.raw().get_data("/int").await.unwrap().0,
        [0xff, 0xff, 0xff, 0xfe]
    );
    fixture.raw().set_data("/int", &[0, 0, 0, 7], None).await.unwrap();
    assert_eq!(int.get().await.unwrap(), 7);
    fixture.assert_no_nodes_left(&["/long", "/int"]).await;
}

#[tokio::test]
async fn additions_of_many_at_once_all_count() {
    for new in LAYOUTS {
        let fixture = Fixture::new("concurrent additions").await;
        let mut adding = Vec::new();
        for _ in 0..4 {
            let counter = new(&connect(&fixture).await, COUNT).unwrap();
            adding.push(tokio::spawn(async move {
                let mut before = Vec::new();
                for _ in 0..10 {
                    before.push(counter.fetch_add(1).await.unwrap());
                }
                before
            }));
        }
        let mut numbers = Vec::new();
        for task in adding {
            numbers.extend(within(PATIENCE, "counted", task).await.unwrap());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..40).collect::<Vec<_>>(), "a number was lost or given twice");
        clean(&fixture).await;
    }
}

/// Curator's `DistributedAtomicLong`: an addition that was applied and whose reply was lost is added again.
#[tokio::test]
async fn curator_atomic_double_apply_an_addition_whose_reply_is_lost_counts_once() {
    for new in LAYOUTS {
        let fixture = Fixture::new("lost additions").await;
        let (proxy, servers) = fixture.proxied().await;
        let ours = new(&connect_to(&servers, LONG).await, COUNT).unwrap();
        let theirs = new(&connect(&fixture).await, COUNT).unwrap();
        for round in 0..4 {
            let when = When::request(Op::Multi);
            let fault = if round % 2 == 0 {
                proxy.lose_reply(when)
            } else {
                proxy.cut_before(when)
            };
            // Another client adds the same in the meantime: the bytes alone do not tell who did.
            let overtake = async {
                fault.fired().await;
                proxy.refuse().await;
                theirs.fetch_add(1).await.unwrap();
                proxy.accept().await;
            };
            let (before, ()) = within(PATIENCE, "counted", futures::future::join(ours.fetch_add(1), overtake)).await;
            let expected = 2 * round + i64::from(round % 2 == 1);
            assert_eq!(before.unwrap(), expected);
            assert_eq!(ours.get().await.unwrap(), 2 * (round + 1));
        }
        clean(&fixture).await;
    }
}

/// CURATOR-688: a count that is stuck when the data version overflows.
#[tokio::test]
async fn curator_688_an_observer_goes_by_the_zxid_and_not_by_the_version() {
    for new in LAYOUTS {
        let fixture = Fixture::new("count observer").await;
        let (proxy, servers) = fixture.proxied().await;
        let observed = new(&connect_to(&servers, LONG).await, COUNT).unwrap();
        let counter = new(&connect(&fixture).await, COUNT).unwrap();
        let mut observer = observed.observe().await.unwrap();
        assert_eq!(observer.current(), Ok(0));
        for _ in 0..3 {
            counter.fetch_add(1).await.unwrap();
        }
        within(PATIENCE, "3", observer.wait_for(|count| *count == Ok(3)))
            .await
            .unwrap()
            .unwrap();
        // The version falls from 2 to 0, as after an overflow.
        proxy.refuse().await;
        clean(&fixture).await;
        fixture.raw().delete(COUNT, None).await.unwrap();
        counter.set(9).await.unwrap();
        proxy.accept().await;
        within(PATIENCE, "9", observer.wait_for(|count| *count == Ok(9)))
            .await
            .unwrap()
            .unwrap();
        clean(&fixture).await;
    }
}

#[tokio::test]
async fn wrong_data_under_the_path_is_an_error_and_stays_as_it_is() {
    for (new, wrong) in LAYOUTS.into_iter().zip([&[0; 4][..], &[0; 8][..]]) {
        let fixture = Fixture::new("wrong data").await;
        let counter = new(&connect(&fixture).await, COUNT).unwrap();
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        fixture.raw().create(COUNT, b"127.0.0.1", &options).await.unwrap();
        for wrong in [b"127.0.0.1", wrong] {
            fixture.raw().set_data(COUNT, wrong, None).await.unwrap();
            let error = counter.get().await.unwrap_err();
            assert!(matches!(&error, Error::Layout { path, .. } if path == COUNT), "{error}");
            assert_eq!(
                counter.fetch_add(1).await.unwrap_err(),
                SharedCounterError::Error(error.clone())
            );
            assert_eq!(
                counter.compare_and_set(0, 1).await.unwrap_err(),
                SharedCounterError::Error(error)
            );
            assert_eq!(fixture.raw().get_data(COUNT).await.unwrap().0, wrong);
        }
        // An observer tells, and goes on when the data is mended.
        let mut observer = counter.observe().await.unwrap();
        assert!(matches!(observer.current(), Err(Error::Layout { .. })));
        counter.set(1).await.unwrap();
        within(PATIENCE, "mended", observer.wait_for(|count| *count == Ok(1)))
            .await
            .unwrap()
            .unwrap();
        // An empty node counts as nothing, as for Curator.
        fixture.raw().set_data(COUNT, b"", None).await.unwrap();
        assert_eq!(counter.fetch_add(1).await.unwrap(), 0);
        clean(&fixture).await;
    }
}

#[tokio::test]
async fn a_result_without_room_is_an_error_and_nothing_is_counted() {
    let (fixture, zk) = start("overflow").await;
    let (long, int) = (
        SharedCounter::new(&zk, "/long").unwrap(),
        SharedCounter::new_shared_count(&zk, "/int").unwrap(),
    );
    long.set(i64::MAX).await.unwrap();
    assert_eq!(long.fetch_add(1).await, Err(SharedCounterError::Overflow));
    assert_eq!(long.get().await.unwrap(), i64::MAX);
    int.set(i32::MAX.into()).await.unwrap();
    assert_eq!(int.fetch_add(1).await, Err(SharedCounterError::Overflow));
    assert_eq!(int.set(1 << 40).await, Err(SharedCounterError::Overflow));
    assert_eq!(int.get().await.unwrap(), i64::from(i32::MAX));
    fixture.assert_no_nodes_left(&["/long", "/int"]).await;
}
