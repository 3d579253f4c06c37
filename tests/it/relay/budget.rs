//! What each step costs.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_testkit::{Fixture, Op};

use super::{LINE, complete, finish, join, join_line, relay};
use crate::support::cost::Counted;
use crate::support::{connect, create, granted};

#[tokio::test]
async fn a_turn_is_seven_requests_and_waiting_none() {
    let fixture = Fixture::new("budget").await;
    let (counted, other) = (Counted::connect(&fixture).await, relay(&connect(&fixture).await));
    let ours = relay(&counted.zk);
    // Kept, so that the line is not reaped.
    let keep = format!("{LINE}/keep");
    complete(join(&other).await, "a").await;
    create(&fixture, &keep, zk::CreateMode::Persistent).await;
    for _ in 0..3 {
        let turn = join(&ours).await;
        // Create, list; two reads; the transaction; the watch on the own node.
        let counts = counted.requests(6).await;
        assert_eq!(
            (
                counts.creates(),
                counts.lists(),
                counts.of(Op::GetData),
                counts.of(Op::Multi),
                counts.of(Op::Exists)
            ),
            (1, 1, 2, 1, 1),
            "{counts}"
        );
        assert_eq!(counts.total(), 6, "{counts}");
        complete(turn, "b").await;
        let counts = counted.requests(1).await;
        assert_eq!((counts.of(Op::Multi), counts.total()), (1, 1), "{counts}");
    }
    let turn = join(&other).await;
    let waiting = join_line(&fixture, &ours, 3).await;
    let counts = counted.requests(4).await;
    assert_eq!(counts.total(), 4, "{counts}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(counted.requests(0).await.total(), 0);
    complete(turn, "c").await;
    let turn = granted(waiting).await;
    // A list; two reads; the transaction.
    let counts = counted.requests(4).await;
    assert_eq!(counts.without_heartbeats().total(), 4, "{counts}");
    complete(turn, "d").await;
    fixture.raw().delete(&keep, None).await.unwrap();
    finish(&fixture, &ours).await;
}
