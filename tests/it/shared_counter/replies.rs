//! Replies that are lost.

use zookeeper_testkit::{Fixture, Op, When, within};

use super::{COUNT, LAYOUTS, clean};
use crate::support::{LONG, PATIENCE, connect, connect_to};

/// Curator's `DistributedAtomicLong`: an addition that was applied and whose reply was lost is added again.
#[tokio::test]
async fn curator_atomic_double_apply_lost_replies_count_once() {
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
