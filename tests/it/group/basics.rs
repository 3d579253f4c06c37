//! Who comes, changes and goes, and what is refused.

use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Error, Group, JoinError};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{GROUP, changed, group, join, members};
use crate::support::cost::make_dir;
use crate::support::{PATIENCE, connect, session_id, start, start_each};

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
    let (fixture, zk) = start("group layout").await;
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
async fn a_dropped_id_can_be_joined_at_once() {
    let fixture = Fixture::new("join again").await;
    let group = group(&connect(&fixture).await);
    for round in 0..20 {
        let membership = join(&group, "a", &round.to_string()).await;
        assert_eq!(members(&group).await, [("a".into(), round.to_string())]);
        drop(membership);
    }
    fixture.assert_no_nodes_left(&[GROUP]).await;
}

/// Curator's `GroupMember`: two members with one id silently share one node, the last one overwrites the data, and a
/// close deletes the node of the other.
#[tokio::test]
async fn curator_group_member_same_id_is_an_error() {
    let (fixture, [zk, other]) = start_each("same id").await;
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

#[tokio::test]
async fn bad_input_is_an_error_that_names_it() {
    let fixture = Fixture::new("group bad input").await;
    make_dir(&fixture, GROUP).await;
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
    let (fixture, zk) = start("closed group").await;
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
