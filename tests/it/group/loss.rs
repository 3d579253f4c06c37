//! Members outlive their sessions, their links and their nodes, and leave those of others alone.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::{Coordinator, FairLockGuard, Membership, Presence};
use zookeeper_testkit::{Op, Proxy, When, eventually, within};

use super::{GROUP, group, join, members, presence, until};
use crate::support::sessions::session_of;
use crate::support::{LONG, PATIENCE, acquire, connect, lock, start, start_each, start_proxied};

#[tokio::test]
async fn members_register_again_with_their_latest_data() {
    let (fixture, [zk, bystander]) = start_each("register again").await;
    let membership = join(&group(&zk), "a", "0").await;
    let mut observer = group(&bystander).observe().await.unwrap();
    for round in 1..4 {
        let session = session_of(&zk).await;
        membership.update(round.to_string()).await.unwrap();
        fixture.expire(&session).await;
        let again = observer.wait_for(|members| members.len() == 1 && members[0].session_id != session.id().0);
        let members = within(PATIENCE, "registered again", again).await.unwrap();
        assert_eq!(members[0].data, round.to_string());
        presence(&membership, Presence::Present).await;
    }
    membership.leave().await;
    until(&mut observer, &[]).await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

/// CURATOR-190, -154: a data update is lost on a disconnect.
#[tokio::test]
async fn curator_154_updates_survive_faults() {
    let (fixture, proxy, zk) = start_proxied("update across", LONG).await;
    let membership = join(&group(&zk), "a", "0").await;
    let asking = group(&connect(&fixture).await);

    let fault = proxy.lose_reply(When::request(Op::SetData));
    within(PATIENCE, "updated", membership.update("lost reply"))
        .await
        .unwrap();
    fault.fired().await;
    assert_eq!(members(&asking).await, [("a".into(), "lost reply".into())]);

    let fault = proxy.cut_before(When::request(Op::SetData));
    within(PATIENCE, "updated", membership.update("cut")).await.unwrap();
    fault.fired().await;
    assert_eq!(members(&asking).await, [("a".into(), "cut".into())]);

    let session = session_of(&zk).await;
    proxy.refuse().await;
    let update = membership.update("expired");
    let expire_and_heal = async {
        fixture.expire(&session).await;
        proxy.accept().await;
    };
    let (updated, ()) = within(PATIENCE, "updated", futures::future::join(update, expire_and_heal)).await;
    updated.unwrap();
    assert_eq!(members(&asking).await, [("a".into(), "expired".into())]);
    membership.leave().await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

/// A member and a hold whose session is lost to us, and lives on at the server for as long as its client is kept.
async fn lapsed(proxy: &Proxy, zk: &Coordinator) -> (Client, Membership, FairLockGuard) {
    let old = zk.client().await.unwrap();
    let membership = join(&group(zk), "a", "1").await;
    let guard = acquire(&lock(zk, "/held")).await;
    // Only replies are lost: the lease runs out here alone.
    proxy.black_hole_replies();
    within(PATIENCE, "the lease lapses", guard.lost()).await;
    (old, membership, guard)
}

/// CURATOR-620's kind of mistake: the node of the old session taken as own, which then vanishes.
#[tokio::test]
async fn curator_620_an_own_dying_node_is_awaited() {
    let (fixture, proxy, zk) = start_proxied("own dying session", Duration::from_secs(3)).await;
    let (old, membership, lock) = lapsed(&proxy, &zk).await;
    proxy.heal();
    let asking = group(&connect(&fixture).await);
    let old_id = old.session_id().0;
    let registered_again = || async {
        let members = asking.members().await.unwrap();
        members.len() == 1 && members[0].session_id != old_id
    };
    drop(lock);
    presence(&membership, Presence::Absent).await;
    assert!(
        !registered_again().await,
        "somebody else's node was deleted or taken as own"
    );
    drop(old);
    eventually(PATIENCE, "registered in the new session", registered_again).await;
    presence(&membership, Presence::Present).await;
    membership.leave().await;
    fixture.assert_no_nodes_left(&[GROUP, "/held"]).await;
}

#[tokio::test]
async fn joining_again_waits_for_an_own_dying_node() {
    let (fixture, proxy, zk) = start_proxied("join after lapse", Duration::from_secs(3)).await;
    let (old, membership, lock) = lapsed(&proxy, &zk).await;
    drop((membership, lock));
    proxy.reset_counts();
    proxy.heal();
    let joining = tokio::spawn({
        let group = group(&zk);
        async move { group.join("a", "2").await }
    });
    let asked = || async {
        proxy
            .requests()
            .matching(|request| request.op == Op::Create2)
            .under("/group/a")
            .total()
            > 0
    };
    eventually(PATIENCE, "the id is found in use", asked).await;
    let asking = group(&connect(&fixture).await);
    assert_eq!(members(&asking).await, [("a".into(), "1".into())]);
    assert!(!joining.is_finished());
    drop(old);
    let membership = within(PATIENCE, "joined", joining).await.unwrap().unwrap();
    assert_eq!(members(&asking).await, [("a".into(), "2".into())]);
    membership.leave().await;
    fixture.assert_no_nodes_left(&[GROUP, "/held"]).await;
}

#[tokio::test]
async fn a_member_waits_for_its_taken_id() {
    let (fixture, proxy, zk) = start_proxied("displaced", LONG).await;
    let other = connect(&fixture).await;
    let membership = join(&group(&zk), "a", "old").await;
    let session = session_of(&zk).await;
    proxy.refuse().await;
    fixture.expire(&session).await;
    let newcomer = join(&group(&other), "a", "new").await;
    proxy.accept().await;
    presence(&membership, Presence::Displaced).await;
    assert!(!membership.is_present());
    assert_eq!(members(&group(&other)).await, [("a".into(), "new".into())]);
    newcomer.leave().await;
    presence(&membership, Presence::Present).await;
    assert_eq!(members(&group(&other)).await, [("a".into(), "old".into())]);

    // And one that gives up while it is displaced does not take the other's node with it.
    let session = session_of(&zk).await;
    proxy.refuse().await;
    fixture.expire(&session).await;
    let newcomer = join(&group(&other), "a", "new").await;
    proxy.accept().await;
    presence(&membership, Presence::Displaced).await;
    within(PATIENCE, "left", membership.leave()).await;
    assert_eq!(members(&group(&other)).await, [("a".into(), "new".into())]);
    newcomer.leave().await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

#[tokio::test]
async fn leaving_never_deletes_the_node_of_another_session() {
    let (fixture, proxy, zk) = start_proxied("conditional removal", LONG).await;
    let membership = join(&group(&zk), "a", "ours").await;
    // Our link is silent while an operator deletes our node and somebody else takes the id.
    proxy.black_hole();
    fixture.raw().delete("/group/a", None).await.unwrap();
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    fixture.raw().create("/group/a", b"theirs", &options).await.unwrap();
    drop(membership);
    proxy.heal();
    // When the session answers again, its reaper has had its turn.
    join(&group(&zk), "b", "").await.leave().await;
    zk.close().await;
    let (data, _) = fixture.raw().get_data("/group/a").await.unwrap();
    assert_eq!(data, b"theirs");
    fixture.raw().delete("/group/a", None).await.unwrap();
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

/// CURATOR-97, -53, -258: a node that is not created again, or no longer watched after the first event.
#[tokio::test]
async fn curator_97_53_a_deleted_member_comes_back() {
    let (fixture, zk) = start("operator deletes member").await;
    let membership = join(&group(&zk), "a", "1").await;
    for _ in 0..3 {
        let (_, stat) = fixture.raw().get_data("/group/a").await.unwrap();
        fixture.raw().delete("/group/a", None).await.unwrap();
        let back = || async {
            let now = fixture.raw().check_stat("/group/a").await.unwrap();
            now.is_some_and(|now| now.czxid != stat.czxid)
        };
        eventually(PATIENCE, "it is back", back).await;
    }
    membership.leave().await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

/// CURATOR-297: a node left behind by a quick close, or by a create whose reply is lost.
#[tokio::test]
async fn curator_297_a_failed_join_leaves_nothing() {
    let (fixture, proxy, zk) = start_proxied("dropped join", LONG).await;
    join(&group(&zk), "first", "").await.leave().await;
    for injection in 0..2 {
        let when = When::create().path("/group/a");
        let fault = if injection == 0 {
            proxy.lose_reply(when)
        } else {
            proxy.cut_before(when)
        };
        let membership = join(&group(&zk), "a", "1").await;
        fault.fired().await;
        assert_eq!(members(&group(&zk)).await, [("a".into(), "1".into())]);
        membership.leave().await;
    }
    for polls in 0..6 {
        let group = group(&zk);
        let mut joining = Box::pin(group.join("a", "1"));
        for _ in 0..polls {
            if futures::poll!(&mut joining).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(joining);
    }
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

/// A process that restarts faster than its former session expires meets its own node.
#[tokio::test]
async fn a_fast_restart_waits_for_its_former_session() {
    let (fixture, [zk, restarted]) = start_each("own ghost").await;
    let ghost = join(&group(&zk), "ghost-7", "before").await;
    let session = session_of(&zk).await;
    let again = group(&restarted);
    let joining = tokio::spawn(async move { again.join_when_free("ghost-7", "after").await });
    let waits = || async {
        !crate::support::events::about(tracing::Level::INFO, "ghost-7")
            .iter()
            .all(|text| !text.contains("the id is in use"))
    };
    eventually(PATIENCE, "the log says for whom it waits", waits).await;
    assert!(!joining.is_finished());
    assert!(ghost.is_present(), "what looks dead may be frozen, and work on");
    let told = crate::support::events::about(tracing::Level::INFO, "the id is in use");
    let names = format!("{:#x}", session.id().0);
    assert!(told.iter().any(|text| text.contains(&names)), "{told:?}");
    assert_eq!(members(&group(&restarted)).await, [("ghost-7".into(), "before".into())]);
    // The process is gone, and so is its session after a while.
    drop((ghost, zk));
    let membership = within(PATIENCE, "joined", joining).await.unwrap().unwrap();
    assert_eq!(members(&group(&restarted)).await, [("ghost-7".into(), "after".into())]);
    membership.leave().await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

#[tokio::test]
async fn a_persistent_node_is_not_waited_for() {
    let (fixture, zk) = start("no member").await;
    crate::support::create(&fixture, GROUP, CreateMode::Persistent).await;
    crate::support::create(&fixture, &format!("{GROUP}/a"), CreateMode::Persistent).await;
    let taken = within(PATIENCE, "refused", group(&zk).join_when_free("a", "")).await;
    assert!(
        matches!(taken, Err(zookeeper_recipes::JoinError::Taken { session_id: 0, .. })),
        "{taken:?}"
    );
}
