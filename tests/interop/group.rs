//! `Group`, Curator's `GroupMember` and kazoo's `Party`.

use zookeeper_recipes::{Group, JoinError};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::peer::Peer;
use crate::support::{PATIENCE, SHORT, connect, connect_mortal, expire};

const PATH: &str = "/members";

fn texts(members: &[zookeeper_recipes::Member]) -> Vec<String> {
    let texts = members.iter();
    texts
        .map(|member| format!("{}={}", member.id, String::from_utf8_lossy(&member.data)))
        .collect()
}

#[tokio::test]
async fn curators_members_and_ours_see_each_other_come_change_and_go() {
    let fixture = Fixture::new("curators_members_and_ours_see_each_other").await;
    let zk = connect(&fixture).await;
    let group = Group::new(&zk, PATH).expect("a path");
    let mut observer = group.observe().await.expect("observed");
    let curator = Peer::curator();
    let java = curator
        .actor_with(&fixture.connect_string(), SHORT, "group", PATH, &["java", "10.0.0.1"])
        .await;
    let joined = observer.wait_for(|members| texts(members) == ["java=10.0.0.1"]);
    within(PATIENCE, "ours sees Curator's", joined)
        .await
        .expect("it goes on");

    let membership = group.join("ours", "10.0.0.2").await.expect("joined");
    let curator_sees = async |expected: &str| {
        eventually(PATIENCE, format!("Curator sees {expected}"), || async {
            java.ask("members").await == expected
        })
        .await;
    };
    curator_sees("java=10.0.0.1 ours=10.0.0.2").await;
    membership.update("10.0.0.3").await.expect("updated");
    curator_sees("java=10.0.0.1 ours=10.0.0.3").await;
    java.ask("update 10.0.0.4").await;
    let changed = observer.wait_for(|members| texts(members) == ["java=10.0.0.4", "ours=10.0.0.3"]);
    within(PATIENCE, "ours sees the change", changed)
        .await
        .expect("it goes on");

    membership.leave().await;
    curator_sees("java=10.0.0.4").await;
    java.ask("close").await;
    let left = observer.wait_for(<[_]>::is_empty);
    within(PATIENCE, "ours sees Curator's leave", left)
        .await
        .expect("it goes on");
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn members_of_either_side_come_again_after_the_end_of_their_session() {
    let fixture = Fixture::new("members_of_either_side_come_again").await;
    let zk = connect_mortal(&fixture).await;
    let group = Group::new(&zk, PATH).expect("a path");
    let membership = group.join("ours", "b").await.expect("joined");
    let curator = Peer::curator();
    let java = curator
        .actor_with(&fixture.connect_string(), SHORT, "group", PATH, &["java", "a"])
        .await;
    fixture.until_children(PATH, 2).await;
    let before = fixture.ephemerals().await;
    java.expire().await;
    expire(&fixture, &zk).await;
    eventually(PATIENCE, "both are there again, in other sessions", || async {
        let now = fixture.ephemerals().await;
        now.len() == 2 && now.iter().all(|(path, session)| before.get(path) != Some(session))
    })
    .await;
    let members = group.members().await.expect("listed");
    assert_eq!(texts(&members), ["java=a", "ours=b"]);
    membership.leave().await;
    java.ask("close").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// Two of Curator's members with one id share a node, and the first to leave takes it from the other. Ours refuses.
#[tokio::test]
async fn an_id_that_one_of_curators_has_is_taken() {
    let fixture = Fixture::new("an_id_that_one_of_curators_has_is_taken").await;
    let zk = connect(&fixture).await;
    let group = Group::new(&zk, PATH).expect("a path");
    let curator = Peer::curator();
    let java = curator
        .actor_with(&fixture.connect_string(), SHORT, "group", PATH, &["one", "a"])
        .await;
    fixture.until_children(PATH, 1).await;
    let refused = group.join("one", "b").await.err();
    assert!(matches!(refused, Some(JoinError::Taken { .. })), "{refused:?}");
    java.ask("close").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// kazoo looks only at names with `__party__`; ours looks at all. So an id of ours has to contain it.
#[tokio::test]
async fn kazoos_parties_see_those_of_us_whose_id_says_party() {
    let fixture = Fixture::new("kazoos_parties_see_those_of_us_whose_id_says_party").await;
    let zk = connect(&fixture).await;
    let group = Group::new(&zk, PATH).expect("a path");
    let kazoo = Peer::kazoo();
    let python = kazoo
        .actor_with(&fixture.connect_string(), SHORT, "party", PATH, &["10.0.0.1"])
        .await;
    python.ask("join").await;
    let members = group.members().await.expect("listed");
    assert_eq!(members.len(), 1);
    assert!(members[0].id.ends_with("__party__"));
    assert_eq!(&members[0].data[..], b"10.0.0.1");

    let unseen = group.join("ours", "10.0.0.2").await.expect("joined");
    assert_eq!(python.ask("members").await, "10.0.0.1");
    let seen = group.join("ours-2__party__", "10.0.0.3").await.expect("joined");
    assert_eq!(python.ask("members").await, "10.0.0.1 10.0.0.3");
    seen.leave().await;
    assert_eq!(python.ask("members").await, "10.0.0.1");
    unseen.leave().await;
    python.ask("leave").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}
