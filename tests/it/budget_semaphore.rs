//! What permits and barriers cost, counted by a proxy: every request but pings.

use zookeeper_recipes::{Barrier, Coordinator, DoubleBarrier, Semaphore, TryPermitError};
use zookeeper_testkit::{Fixture, Op, within};

use crate::budget::{Counted, make_dir};
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
async fn uncontended_permits_are_eight_requests_and_one_to_give_them_back() {
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
async fn a_release_wakes_the_first_waiter_alone_and_idle_waiters_cost_nothing() {
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

#[tokio::test]
async fn a_barrier_is_one_create_two_reads_to_wait_and_one_to_pass() {
    let fixture = Fixture::new("barrier").await;
    let (counted, other) = (Counted::connect(&fixture).await, Counted::connect(&fixture).await);
    let (mine, theirs) = (
        Barrier::new(&counted.zk, "/gate").unwrap(),
        Barrier::new(&other.zk, "/gate").unwrap(),
    );
    mine.wait().await.unwrap();
    let counts = counted.requests(2).await;
    assert_eq!(
        (counts.of(Op::Sync), counts.of(Op::Exists), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    theirs.set().await.unwrap();
    let counts = other.requests(1).await;
    assert_eq!((counts.creates(), counts.total()), (1, 1), "{counts}");
    let waiting = tokio::spawn(async move { mine.wait().await });
    let counts = counted.requests(3).await;
    assert_eq!(
        (counts.of(Op::Sync), counts.of(Op::Exists), counts.total()),
        (1, 2, 3),
        "{counts}"
    );
    theirs.lift().await.unwrap();
    let counts = other.requests(2).await;
    assert_eq!(
        (counts.of(Op::Exists), counts.of(Op::Multi), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    within(PATIENCE, "passed", waiting).await.unwrap().unwrap();
    let counts = counted.requests(1).await;
    assert_eq!((counts.of(Op::Exists), counts.total()), (1, 1), "{counts}");
    fixture.assert_no_nodes_left(&["/"]).await;
}

/// Each member is woken once by the opening, and lists once to leave, besides the last ones.
#[tokio::test]
async fn a_double_barrier_wakes_each_member_once_to_enter() {
    const MEMBERS: usize = 6;
    let fixture = Fixture::new("double barrier").await;
    make_dir(&fixture, "/d").await;
    make_dir(&fixture, "/d/b").await;
    let mut counted = Vec::new();
    let mut entering = Vec::new();
    for member in 1..=MEMBERS {
        let zk = Counted::connect(&fixture).await;
        let barrier = DoubleBarrier::new(&zk.zk, "/d/b", MEMBERS).unwrap();
        entering.push(tokio::spawn(async move { barrier.enter().await.unwrap() }));
        if member < MEMBERS {
            fixture.until_children("/d/b", member).await;
            let counts = zk.requests(4).await;
            // A node, a list, a watch on `ready`, a watch on the own node.
            let ops = (counts.creates(), counts.lists(), counts.of(Op::Exists));
            assert_eq!((ops, counts.total()), ((1, 1, 2), 4), "{counts}");
        }
        counted.push(zk);
    }
    let mut inside = Vec::new();
    for (zk, entering) in counted.iter().zip(entering) {
        inside.push(within(PATIENCE, "entered", entering).await.unwrap());
        let counts = zk.requests(3).await.without_heartbeats();
        // The last one creates, lists, reads twice, opens, reads `ready`; then, as all others: is the own node there?
        let most = if inside.len() == MEMBERS { (1, 9) } else { (0, 3) };
        assert!((counts.lists(), counts.total()) <= most, "{counts}");
    }
    let leaving: Vec<_> = inside.into_iter().map(|one| tokio::spawn(one.leave())).collect();
    for one in leaving {
        within(PATIENCE, "left", one).await.unwrap().unwrap();
    }
    let mut lists = 0;
    for zk in &counted {
        lists += zk.requests(1).await.lists();
    }
    println!("{MEMBERS} members left with {lists} lists in all");
    assert!(lists <= 6 * MEMBERS, "{lists} lists");
    fixture.assert_no_nodes_left(&["/d/b"]).await;
}
