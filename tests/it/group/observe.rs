//! What observers see, and what being there costs.

use std::time::Duration;

use zookeeper_testkit::{Op, eventually};

use super::{GROUP, changed, group, join, until};
use crate::support::sessions::expire;
use crate::support::{LONG, PATIENCE, connect, start_proxied};

#[tokio::test]
async fn an_observer_tells_of_changes_during_a_cut() {
    let (fixture, proxy, bystander) = start_proxied("cut-off group observer", LONG).await;
    let members = group(&connect(&fixture).await);
    let (stays, leaves, again) = (
        join(&members, "stays", "1").await,
        join(&members, "leaves", "1").await,
        join(&members, "again", "1").await,
    );
    let mut observer = group(&bystander).observe().await.unwrap();
    until(&mut observer, &["again", "leaves", "stays"]).await;
    proxy.refuse().await;
    // With the same version and data as before: only the zxid tells.
    let back = || async { fixture.children(GROUP).await.len() == 3 };
    fixture.raw().delete("/group/again", None).await.unwrap();
    eventually(PATIENCE, "it is back", back).await;
    stays.update("2").await.unwrap();
    leaves.leave().await;
    let joins = join(&members, "joins", "1").await;
    proxy.accept().await;
    assert_eq!(
        changed(&mut observer).await,
        ["-again", "-leaves", "+again", "+joins", "~stays"]
    );

    expire(&fixture, &bystander).await;
    joins.leave().await;
    assert_eq!(changed(&mut observer).await, ["-joins"]);
    drop((stays, again));
    until(&mut observer, &[]).await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

#[tokio::test]
async fn idle_members_and_observers_cost_no_requests() {
    let (fixture, proxy, zk) = start_proxied("idle group", LONG).await;
    let memberships = [join(&group(&zk), "a", "1").await, join(&group(&zk), "b", "1").await];
    let mut observer = group(&zk).observe().await.unwrap();
    eventually(PATIENCE, "the watches are set", || async {
        proxy.requests().of(Op::Exists) >= 2
    })
    .await;
    proxy.reset_counts();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counts = proxy.requests();
    assert_eq!(counts.total(), 0, "{counts}");
    // One that comes costs a list and a read of that one.
    let newcomer = join(&group(&connect(&fixture).await), "c", "1").await;
    until(&mut observer, &["a", "b", "c"]).await;
    let counts = proxy.requests();
    assert_eq!(
        (counts.total(), counts.lists(), counts.of(Op::GetData)),
        (2, 1, 1),
        "{counts}"
    );
    newcomer.leave().await;
    until(&mut observer, &["a", "b"]).await;
    drop((memberships, observer));
    fixture.assert_no_nodes_left(&[GROUP]).await;
}
