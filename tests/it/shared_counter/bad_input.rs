//! Data of others, and results without room.

use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Error, SharedCounter, SharedCounterError};
use zookeeper_testkit::{Fixture, within};

use super::{COUNT, LAYOUTS, clean};
use crate::support::{PATIENCE, connect, start};

#[tokio::test]
async fn foreign_data_is_an_error_and_stays() {
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
async fn an_overflowing_addition_counts_nothing() {
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
