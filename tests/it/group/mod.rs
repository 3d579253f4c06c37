//! Group membership: who is there, through expiries, cuts and operators; and Curator's known mistakes (`GroupMember`,
//! `PersistentNode`), which are named after their issue.

mod basics;
mod loss;
mod observe;

use zookeeper_recipes::{Coordinator, Group, GroupObserver, MemberChange, Membership, Presence};
use zookeeper_testkit::within;

use crate::support::PATIENCE;

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
