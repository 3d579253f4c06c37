//! What permits cost, counted by a proxy: every request but pings.

use zookeeper_recipes::{Coordinator, Semaphore, TryPermitError};
use zookeeper_testkit::{Fixture, Op, within};

use crate::support::cost::{Counted, make_dir};
use crate::support::{PATIENCE, connect};

const PATH: &str = "/s";

fn semaphore(zk: &Coordinator, permits: u32) -> Semaphore {
    Semaphore::new(zk, PATH, permits).unwrap()
}

/// With its directories made, and kept from being reaped, and its number agreed.
async fn ready(fixture: &Fixture, permits: u32) -> Counted {
    for path in ["/s", "/s/locks", "/s/leases"] {
        make_dir(fixture, path).await;
    }
    fixture
        .raw()
        .set_data("/s", permits.to_string().as_bytes(), None)
        .await
        .unwrap();
    Counted::connect(fixture).await
}

async fn finish(fixture: &Fixture) {
    fixture.assert_no_nodes_left(&["/s/locks", "/s/leases"]).await;
}

/// What servers that send no Stat for creates in a transaction are asked for afterwards: a sync and a read per permit.
fn without_stats_of(counts: &zookeeper_testkit::Counts) -> usize {
    let syncs = counts.of(Op::Sync);
    counts.total() - 2 * syncs
}

#[tokio::test]
async fn uncontended_permits_are_nine_requests() {
    let fixture = Fixture::new("uncontended").await;
    let counted = ready(&fixture, 5).await;
    for permits in [1, 3] {
        let permit = semaphore(&counted.zk, 5).acquire_many(permits).await.unwrap();
        let watches = permits as usize;
        let counts = counted.requests(6 + watches).await;
        // The number, a place in line; the number and the permits that are out; one transaction; a watch on each permit.
        assert_eq!(
            (
                counts.of(Op::GetData),
                counts.creates(),
                counts.lists(),
                counts.of(Op::Multi)
            ),
            (2, 1, 2, 1),
            "{counts}"
        );
        assert_eq!(without_stats_of(&counts), 6 + watches, "{counts}");
        permit.release().await.unwrap();
        let counts = counted.requests(1).await;
        assert_eq!(counts.total(), 1, "{counts}");
    }
    finish(&fixture).await;
}

#[tokio::test]
async fn a_try_that_finds_none_is_three_reads() {
    let fixture = Fixture::new("try").await;
    let (counted, other) = (ready(&fixture, 1).await, connect(&fixture).await);
    let permit = semaphore(&other, 1).acquire().await.unwrap();
    for _ in 0..5 {
        let none = semaphore(&counted.zk, 1).try_acquire().await.unwrap_err();
        assert_eq!(none, TryPermitError::NoPermits);
        let counts = counted.requests(3).await;
        assert_eq!(
            (counts.lists(), counts.of(Op::GetData), counts.total()),
            (2, 1, 3),
            "{counts}"
        );
    }
    assert_eq!(semaphore(&counted.zk, 1).available_permits().await.unwrap(), 0);
    let counts = counted.requests(2).await;
    assert_eq!(counts.total(), 2, "{counts}");
    permit.release().await.unwrap();
    finish(&fixture).await;
}

/// Of those who wait, the first alone watches the permits. While nothing changes, nobody sends anything.
#[tokio::test]
async fn a_release_wakes_the_first_waiter_alone() {
    let fixture = Fixture::new("herd").await;
    let holder = ready(&fixture, 1).await;
    let held = semaphore(&holder.zk, 1);
    let permit = within(PATIENCE, "free", held.acquire()).await.unwrap();
    let (mut counted, mut waiting) = (Vec::new(), Vec::new());
    for place in 1..=4 {
        let waiter = Counted::connect(&fixture).await;
        let semaphore = semaphore(&waiter.zk, 1);
        waiting.push(tokio::spawn(async move { semaphore.acquire().await.unwrap() }));
        fixture.until_children("/s/locks", place).await;
        // With its watches, on the own node and on the one ahead, or on the permits and their number.
        waiter.requests(if place == 1 { 8 } else { 5 }).await;
        counted.push(waiter);
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    for waiter in &counted {
        let counts = waiter.requests(0).await;
        assert_eq!(counts.total(), 0, "{counts}");
    }
    permit.release().await.unwrap();
    let first = within(PATIENCE, "granted", waiting.remove(0)).await.unwrap();
    let second = counted[1].requests(1).await;
    assert!(second.lists() >= 1, "its turn to look: {second}");
    for waiter in &counted[2..] {
        let counts = waiter.requests(0).await;
        assert_eq!(counts.total(), 0, "{counts}");
    }
    first.release().await.unwrap();
    for waiter in waiting {
        within(PATIENCE, "granted", waiter)
            .await
            .unwrap()
            .release()
            .await
            .unwrap();
    }
    finish(&fixture).await;
}
