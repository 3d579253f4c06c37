//! What a barrier costs, counted by a proxy: every request but pings.

use zookeeper_recipes::Barrier;
use zookeeper_testkit::{Fixture, Op, within};

use crate::support::PATIENCE;
use crate::support::cost::Counted;

#[tokio::test]
async fn setting_waiting_and_passing_keep_to_their_budget() {
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
