//! What each step of the multi-lock costs, counted by a proxy: every request but pings.

use zookeeper_recipes::MultiLock;
use zookeeper_testkit::{Fixture, Op, eventually, within};

use crate::support::cost::{Counted, make_dir};
use crate::support::{PATIENCE, acquire, connect, lock};

#[tokio::test]
async fn one_transaction_then_list_and_watch_per_path() {
    let fixture = Fixture::new("multi").await;
    let paths = ["/a", "/b", "/c", "/d"];
    for path in paths {
        make_dir(&fixture, path).await;
    }
    let (counted, other) = (Counted::connect(&fixture).await, connect(&fixture).await);
    let locks = MultiLock::new(&counted.zk, paths).unwrap();
    for _ in 0..2 {
        let guard = locks.acquire().await.unwrap();
        let seen = acquired(&counted, 9).await;
        assert_eq!(seen, [1, 4, 4, 9], "transactions, lists, watches, in all");
        guard.release().await.unwrap();
        let counts = counted.requests(1).await;
        assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");
    }

    // A waiter watches the one in front, and lists that line once more in its turn.
    let holder = acquire(&lock(&other, "/c")).await;
    let waiting = tokio::spawn(async move { locks.acquire().await });
    let seen = acquired(&counted, 10).await;
    assert_eq!(seen, [1, 4, 5, 10], "transactions, lists, watches, in all");
    holder.release().await.unwrap();
    let guard = within(PATIENCE, "granted", waiting).await.unwrap().unwrap();
    counted.assert_one_list_woken().await;
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&paths).await;
}

/// Transactions, lists, watches and all requests of an acquire of several locks, once there are `at_least` so many.
/// Without the one question for the zxid of the transaction that servers need which send no Stat in its reply
/// (ZOOKEEPER-4026, ZOOKEEPER-4667): a sync and a look at the first node.
async fn acquired(counted: &Counted, at_least: usize) -> [usize; 4] {
    let is_enough = || async {
        let counts = counted.proxy.requests();
        counts.total() >= at_least + 2 * counts.of(Op::Sync)
    };
    eventually(PATIENCE, format!("{at_least} requests passed"), is_enough).await;
    let counts = counted.requests(at_least).await;
    let asked = counts.of(Op::Sync);
    assert!(asked <= 1, "{counts}");
    let watches = counts.of(Op::Exists) - asked;
    [
        counts.of(Op::Multi),
        counts.lists(),
        watches,
        counts.total() - 2 * asked,
    ]
}
