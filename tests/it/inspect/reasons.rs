//! Why a contender wants its place, and who holds a lock now.

use std::time::Duration;

use zookeeper_recipes::inspect::Inspector;
use zookeeper_recipes::{FairLock, LeaderElection, MultiLock, RwLock, Semaphore};
use zookeeper_testkit::{Fixture, within};

use super::connect_as;
use crate::support::{PATIENCE, acquire, lock, start_each};

#[tokio::test]
async fn others_read_the_reason_of_a_contender() {
    let fixture = Fixture::new("reasons").await;
    let zk = connect_as(&fixture, "web-3:4711").await;
    let inspector = Inspector::new(&zk);
    let fair = lock(&zk, "/fair").acquire_as("nightly settlement").await.unwrap();
    let write = RwLock::new(&zk, "/rw").unwrap().write_as("rebuild").await.unwrap();
    let multi = MultiLock::new(&zk, ["/m/a", "/m/b"])
        .unwrap()
        .acquire_as("transfer")
        .await
        .unwrap();
    let semaphore = Semaphore::new(&zk, "/sem", 2).unwrap();
    let permit = semaphore.acquire_many_as(2, "batch").await.unwrap();
    for (path, reason) in [
        ("/fair", "nightly settlement"),
        ("/rw", "rebuild"),
        ("/m/a", "transfer"),
        ("/m/b", "transfer"),
        ("/sem", "batch"),
    ] {
        let line = inspector.line(path).await.unwrap().unwrap();
        let holder = line.holders().next().unwrap();
        assert_eq!(holder.reason.as_deref(), Some(reason), "{path}");
        assert_eq!(
            (&holder.identity[..], holder.pid()),
            (&b"web-3:4711"[..], Some(4711)),
            "{path}"
        );
    }
    let holders = semaphore.holders().await.unwrap();
    assert_eq!(holders[0].reason.as_deref(), Some("batch"));
    assert_eq!(holders[0].identity, "web-3:4711");
    let plain = acquire(&lock(&zk, "/plain")).await;
    let contenders = lock(&zk, "/plain").contenders().await.unwrap();
    assert_eq!(contenders[0].reason, None);
    fair.release().await.unwrap();
    write.release().await.unwrap();
    multi.release().await.unwrap();
    permit.release().await.unwrap();
    plain.release().await.unwrap();
}

#[tokio::test]
async fn a_reason_survives_a_request_to_make_way() {
    let fixture = Fixture::new("reason and request").await;
    let zk = connect_as(&fixture, "web-3:4711").await;
    let fair = lock(&zk, "/fair");
    let guard = fair.acquire_as("nightly").await.unwrap();
    let holder = fair.contenders().await.unwrap().remove(0);
    assert_eq!(fair.request_revocation(&holder, "deploy").await, Ok(true));
    let holder = fair.contenders().await.unwrap().remove(0);
    assert_eq!(
        (holder.reason.as_deref(), &holder.identity[..]),
        (Some("nightly"), &b"web-3:4711"[..])
    );
    assert_eq!(holder.asked.unwrap().reason.as_deref(), Some("deploy"));
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/fair"]).await;
}

#[tokio::test]
async fn observers_see_each_holder_and_none() {
    let (fixture, [one, other]) = start_each("observe a lock").await;
    let mut holder = FairLock::new(&other, "/fair").unwrap().observe().await.unwrap();
    assert_eq!(holder.current(), None);
    let guard = lock(&one, "/fair").acquire_as("first").await.unwrap();
    let is_first = |now: &Option<zookeeper_recipes::Contender>| now.is_some();
    let seen = within(PATIENCE, "the holder is seen", holder.wait_for(is_first))
        .await
        .unwrap();
    assert_eq!(seen.unwrap().reason.as_deref(), Some("first"));
    guard.release().await.unwrap();
    within(PATIENCE, "nobody holds", holder.wait_for(Option::is_none))
        .await
        .unwrap();
    drop(holder);
    fixture.assert_no_nodes_left(&["/fair"]).await;
}

#[tokio::test]
async fn a_candidate_says_why_it_stands() {
    let fixture = Fixture::new("reasons_of_candidates").await;
    let zk = connect_as(&fixture, "web-3:4711").await;
    let election = LeaderElection::new(&zk, "/e").unwrap();
    let value = "{\n \"at\": \"10.0.0.7\"\n}";
    let leadership = election.campaign_as(value, "deploy").await.unwrap();
    let leader = election.leader().await.unwrap().unwrap();
    assert_eq!(
        (&leader.value[..], leader.reason.as_deref()),
        (value.as_bytes(), Some("deploy"))
    );
    let line = Inspector::new(&zk).election("/e").await.unwrap().unwrap();
    assert_eq!(line.contenders[0].reason.as_deref(), Some("deploy"));
    assert_eq!(line.contenders[0].identity, value);
    // Neither a proclamation nor a request to make way takes it away.
    leadership.proclaim("10.0.0.8").await.unwrap();
    election.request_revocation(&leader, "reboot").await.unwrap();
    let leader = election.leader().await.unwrap().unwrap();
    assert_eq!(
        (&leader.value[..], leader.reason.as_deref()),
        (&b"10.0.0.8"[..], Some("deploy"))
    );
    let refused = election.try_campaign_as("other", "deploy").await;
    assert!(refused.is_err());
    let late = election
        .campaign_timeout_as("other", "deploy", Duration::from_millis(100))
        .await;
    assert!(late.is_err());
    leadership.resign().await.unwrap();
    let plain = election.campaign("plain").await.unwrap();
    assert_eq!(election.leader().await.unwrap().unwrap().reason, None);
    plain.resign().await.unwrap();
    zk.close().await;
    fixture.assert_no_nodes_left(&["/e"]).await;
}
