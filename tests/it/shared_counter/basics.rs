//! What is counted, and in which bytes.

use zookeeper_recipes::SharedCounter;
use zookeeper_testkit::{Fixture, within};

use super::{COUNT, LAYOUTS, clean};
use crate::support::{PATIENCE, connect, start};

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
