//! Group membership: who is there, through expiries, cuts and operators; and Curator's known mistakes (`GroupMember`,
//! `PersistentNode`), which are named after their issue.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{
    Coordinator, Error, FairLock, Group, GroupObserver, JoinError, MemberChange, Membership, Presence,
};
use zookeeper_testkit::{Fixture, Op, When, eventually, within};

use crate::support::{LONG, PATIENCE, connect, connect_to, session_id};

const GROUP: &str = "/group";

fn group(zk: &Coordinator) -> Group {
    Group::new(zk, GROUP).unwrap()
}

async fn join(group: &Group, id: &str, data: &str) -> Membership {
    within(PATIENCE, "joined", group.join(id, data.to_owned()))
        .await
        .unwrap()
}

/// Ids and data of all members.
async fn members(group: &Group) -> Vec<(String, String)> {
    let members = group.members().await.unwrap();
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    members
        .into_iter()
        .map(|member| (member.id, text(&member.data)))
        .collect()
}

async fn changed(observer: &mut GroupObserver) -> Vec<String> {
    let changes = within(PATIENCE, "a change", observer.changed()).await.unwrap();
    let tell = |change| match change {
        MemberChange::Joined(member) => format!("+{}", member.id),
        MemberChange::Left(member) => format!("-{}", member.id),
        MemberChange::Changed(member) => format!("~{}", member.id),
        other => format!("{other:?}"),
    };
    changes.into_iter().map(tell).collect()
}

async fn until(observer: &mut GroupObserver, ids: &[&str]) {
    let there = observer.wait_for(|members| members.iter().map(|member| member.id.as_str()).eq(ids.iter().copied()));
    within(PATIENCE, format!("{ids:?} are there"), there).await.unwrap();
}

async fn presence(membership: &Membership, presence: Presence) {
    let mut observer = membership.presence();
    within(
        PATIENCE,
        format!("{presence:?}"),
        observer.wait_for(|now| *now == presence),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn members_come_change_and_go() {
    let fixture = Fixture::new("members").await;
    let (one, two) = (group(&connect(&fixture).await), group(&connect(&fixture).await));
    let mut observer = one.observe().await.unwrap();
    assert_eq!(observer.members(), [], "the path does not even exist");
    assert_eq!(one.members().await.unwrap(), []);

    let a = join(&one, "a", "1").await;
    assert_eq!(changed(&mut observer).await, ["+a"]);
    let b = join(&two, "b", "2").await;
    assert_eq!(changed(&mut observer).await, ["+b"]);
    assert_eq!(
        members(&one).await,
        [("a".into(), "1".into()), ("b".into(), "2".into())]
    );
    assert!(a.is_present() && b.is_present());
    assert_eq!((a.id(), a.path()), ("a", "/group/a"));

    b.update("3").await.unwrap();
    assert_eq!(changed(&mut observer).await, ["~b"]);
    assert_eq!(members(&one).await[1].1, "3");
    b.leave().await;
    assert_eq!(fixture.children(GROUP).await, ["a"], "it is gone when leave returns");
    assert_eq!(changed(&mut observer).await, ["-b"]);
    drop(a);
    assert_eq!(changed(&mut observer).await, ["-a"]);
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

#[tokio::test]
async fn the_layout_is_that_of_curators_group_member() {
    let fixture = Fixture::new("group layout").await;
    let zk = connect(&fixture).await;
    let membership = join(&group(&zk), "me", "payload").await;
    let (data, stat) = fixture.raw().get_data("/group/me").await.unwrap();
    assert_eq!(
        (data.as_slice(), stat.ephemeral_owner),
        (&b"payload"[..], session_id(&zk).await)
    );
    // One of Curator's, seen by us; and a node that is no member.
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    fixture
        .raw()
        .create("/group/theirs", b"127.0.0.1", &options)
        .await
        .unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    fixture.raw().create("/group/notes", b"", &options).await.unwrap();
    let seen: Vec<_> = members(&group(&zk)).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(seen, ["me", "theirs"]);
    fixture.raw().delete("/group/theirs", None).await.unwrap();
    fixture.raw().delete("/group/notes", None).await.unwrap();
    membership.leave().await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

#[tokio::test]
async fn a_member_registers_again_in_each_new_session_with_its_latest_data() {
    let fixture = Fixture::new("register again").await;
    let (zk, bystander) = (connect(&fixture).await, connect(&fixture).await);
    let membership = join(&group(&zk), "a", "0").await;
    let mut observer = group(&bystander).observe().await.unwrap();
    for round in 1..4 {
        let session = zk.client().await.unwrap().session().clone();
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
async fn curator_154_an_update_across_a_cut_an_expiry_or_a_lost_reply_is_not_lost() {
    let fixture = Fixture::new("update across").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
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

    let session = zk.client().await.unwrap().session().clone();
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

/// Curator's `GroupMember`: two members with one id silently share one node, the last one overwrites the data, and a
/// close deletes the node of the other.
#[tokio::test]
async fn curator_group_member_same_id_is_an_error() {
    let fixture = Fixture::new("same id").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let first = join(&group(&zk), "a", "first").await;
    let holder = session_id(&zk).await;
    for zk in [&other, &zk] {
        let error = within(PATIENCE, "refused", group(zk).join("a", "second"))
            .await
            .unwrap_err();
        let session_id = holder;
        assert_eq!(
            error,
            JoinError::Taken {
                id: "a".into(),
                session_id
            }
        );
    }
    assert_eq!(members(&group(&zk)).await, [("a".into(), "first".into())]);
    first.leave().await;
    let second = join(&group(&other), "a", "second").await;
    assert_eq!(members(&group(&zk)).await, [("a".into(), "second".into())]);
    second.leave().await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

/// CURATOR-620's kind of mistake: the node of the old session taken as own, which then vanishes.
#[tokio::test]
async fn curator_620_the_node_of_an_own_dying_session_is_waited_out() {
    let fixture = Fixture::new("own dying session").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, Duration::from_secs(3)).await;
    // Kept past its session, this client keeps that alive at the server, and the node with it.
    let old = zk.client().await.unwrap();
    let membership = join(&group(&zk), "a", "1").await;
    let lock = FairLock::new(&zk, "/held").unwrap().acquire().await.unwrap();
    // Only replies are lost: the old session lives on at the server while its lease runs out here.
    proxy.black_hole_replies();
    within(PATIENCE, "the lease lapses", lock.lost()).await;
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
async fn joining_again_waits_out_the_node_of_an_own_dying_session() {
    let fixture = Fixture::new("join after lapse").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, Duration::from_secs(3)).await;
    let old = zk.client().await.unwrap();
    let membership = join(&group(&zk), "a", "1").await;
    let lock = FairLock::new(&zk, "/held").unwrap().acquire().await.unwrap();
    proxy.black_hole_replies();
    within(PATIENCE, "the lease lapses", lock.lost()).await;
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
async fn an_id_can_be_joined_again_right_after_it_was_dropped() {
    let fixture = Fixture::new("join again").await;
    let group = group(&connect(&fixture).await);
    for round in 0..20 {
        let membership = join(&group, "a", &round.to_string()).await;
        assert_eq!(members(&group).await, [("a".into(), round.to_string())]);
        drop(membership);
    }
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

#[tokio::test]
async fn a_member_whose_id_was_taken_meanwhile_leaves_the_other_alone_and_waits() {
    let fixture = Fixture::new("displaced").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect_to(&servers, LONG).await, connect(&fixture).await);
    let membership = join(&group(&zk), "a", "old").await;
    let session = zk.client().await.unwrap().session().clone();
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
    let session = zk.client().await.unwrap().session().clone();
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
    let fixture = Fixture::new("conditional removal").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
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
async fn curator_97_53_a_member_that_an_operator_deletes_is_back_every_time() {
    let fixture = Fixture::new("operator deletes member").await;
    let zk = connect(&fixture).await;
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
async fn curator_297_nothing_is_left_by_a_join_that_is_dropped_or_whose_reply_is_lost() {
    let fixture = Fixture::new("dropped join").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
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

#[tokio::test]
async fn an_observer_tells_who_left_and_joined_while_it_was_cut_off() {
    let fixture = Fixture::new("cut-off group observer").await;
    let (proxy, servers) = fixture.proxied().await;
    let bystander = connect_to(&servers, LONG).await;
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

    let session = bystander.client().await.unwrap().session().clone();
    fixture.expire(&session).await;
    joins.leave().await;
    assert_eq!(changed(&mut observer).await, ["-joins"]);
    drop((stays, again));
    until(&mut observer, &[]).await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

#[tokio::test]
async fn idle_members_and_observers_cost_no_requests() {
    let fixture = Fixture::new("idle group").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
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

#[tokio::test]
async fn bad_input_is_an_error_that_names_it() {
    let fixture = Fixture::new("group bad input").await;
    let zk = connect(&fixture).await;
    assert!(matches!(Group::new(&zk, "group"), Err(Error::InvalidPath { .. })));
    for id in ["", "a/b", "/", ".", "..", "a\0b"] {
        let error = group(&zk).join(id, "").await.unwrap_err();
        assert!(
            matches!(&error, JoinError::Error(Error::InvalidPath { path, .. }) if path.contains(id)),
            "{error}"
        );
    }
    let large = vec![b'x'; 1024 * 1024 + 1];
    let error = group(&zk).join("a", large.clone()).await.unwrap_err();
    assert!(matches!(&error, JoinError::Error(Error::TooLarge { .. })), "{error}");
    let membership = join(&group(&zk), "a", "1").await;
    let error = membership.update(large).await.unwrap_err();
    assert!(matches!(&error, Error::TooLarge { .. }), "{error}");
    assert_eq!(members(&group(&zk)).await, [("a".into(), "1".into())]);
    membership.leave().await;
    // Somebody's persistent node is no member to be waited for.
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let _ = fixture.raw().create(GROUP, b"", &options).await;
    fixture.raw().create("/group/a", b"", &options).await.unwrap();
    let error = group(&zk).join("a", "").await.unwrap_err();
    assert_eq!(
        error,
        JoinError::Taken {
            id: "a".into(),
            session_id: 0
        }
    );
    fixture.raw().delete("/group/a", None).await.unwrap();
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

#[tokio::test]
async fn a_closed_coordinator_ends_memberships_and_observers() {
    let fixture = Fixture::new("closed group").await;
    let zk = connect(&fixture).await;
    let membership = join(&group(&zk), "a", "1").await;
    let mut observer = group(&zk).observe().await.unwrap();
    zk.close().await;
    assert_eq!(fixture.children(GROUP).await, [""; 0], "closing removes the member");
    eventually(PATIENCE, "it knows", || async { !membership.is_present() }).await;
    assert_eq!(
        within(PATIENCE, "answered", membership.update("2")).await.unwrap_err(),
        Error::Closed
    );
    assert_eq!(within(PATIENCE, "the end", observer.changed()).await, None);
    within(PATIENCE, "left", membership.leave()).await;
    fixture.assert_no_nodes_left(&[GROUP]).await;
}
