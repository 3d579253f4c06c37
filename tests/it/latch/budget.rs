//! What counts and waits cost, counted by a proxy: every request but pings.

use zookeeper_testkit::{Fixture, Op};

use super::{finish, latch, wait};
use crate::support::cost::Counted;
use crate::support::{passes, stands_still};

#[tokio::test]
async fn only_the_last_count_wakes_each_waiter() {
    let fixture = Fixture::new("budget").await;
    let (counted, other) = (Counted::connect(&fixture).await, Counted::connect(&fixture).await);
    latch(&other.zk, 3).count_down().await.unwrap();
    other.requests(1).await;
    let waiter = wait(&counted.zk, 3);
    let counts = counted.requests(2).await;
    assert_eq!(
        (counts.of(Op::GetData), counts.of(Op::Exists), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    latch(&other.zk, 3).count_down().await.unwrap();
    let counts = other.requests(2).await;
    assert_eq!(
        (counts.of(Op::GetData), counts.of(Op::Multi), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    stands_still(&counted.zk, &waiter).await;
    let counts = counted.requests(0).await.matching(|request| request.op != Op::Sync);
    assert_eq!(counts.total(), 0, "{counts}");
    latch(&other.zk, 3).count_down().await.unwrap();
    passes(waiter).await;
    let counts = counted.requests(1).await;
    assert_eq!((counts.of(Op::Exists), counts.total()), (1, 1), "{counts}");
    finish(&fixture, &latch(&counted.zk, 3)).await;
}
