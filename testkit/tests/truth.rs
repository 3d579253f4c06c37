//! Belief is held against what the server saw.

use std::time::Duration;

use zookeeper_client::{Acls, CreateMode};
use zookeeper_testkit::{Fixture, History, Mode, ServerTruth, Violation};

#[tokio::test]
async fn a_hold_that_outlives_its_node_is_found() {
    let fixture = Fixture::new("truth").await;
    let (client, history) = (fixture.connect().await, History::new());
    let _truth = ServerTruth::record(fixture.raw(), "/", &history).await;
    let ephemeral = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());

    let (stat, _) = client.create("/lock-", b"", &ephemeral).await.unwrap();
    let honest = history.record_grant("/", "honest", Mode::Exclusive, stat.czxid);
    tokio::time::sleep(Duration::from_millis(100)).await;
    honest.end();
    client.delete("/lock-0000000000", None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(history.assert_sound().grants, 1);

    let (stat, _) = client.create("/lock-", b"", &ephemeral).await.unwrap();
    let deceived = history.record_grant("/", "deceived", Mode::Exclusive, stat.czxid);
    // Its session ends, and it does not notice.
    fixture.expire(client.session()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    deceived.end();
    let violations = history.check().unwrap_err();
    assert!(
        matches!(&violations[..], [Violation::HeldAfterDeletion { grant, .. }] if grant.who == "deceived"),
        "{violations:?}"
    );
}
