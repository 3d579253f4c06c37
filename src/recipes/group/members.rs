//! The members of a group, now and as they change.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future;

use super::Group;
use crate::error::Error;
use crate::observer::Observer;
use crate::session::{Interrupted, Session, owning_session};
use crate::znode::{NodeData, NodePath, Observe, WatchContext, Watched, list, observe, reads, retry_across_sessions};

/// One member of a group, as seen at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its id.
    pub id: String,
    /// Its data.
    pub data: Bytes,
    /// The session that it belongs to.
    pub session_id: i64,
    /// The zxid at which it joined: grows with every join, so that it tells a member from another of the same id.
    pub joined: i64,
}

/// What happened to a member between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemberChange {
    /// It was not there before.
    Joined(Member),
    /// It is not there any more; with the data seen last.
    Left(Member),
    /// It is the same with other data.
    Changed(Member),
}

type Members = Arc<BTreeMap<String, Member>>;

impl Group {
    /// All members, ordered by id: one list, and one read for each of them, all sent together.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        retry_across_sessions(&self.zk, |session| async move { self.members_in(&session).await }).await
    }

    /// Follows the members. Returns with those of now.
    ///
    /// The latest state is never missed, also across lost connections and sessions; while there is no connection, it
    /// is the last one known. Clone the observer rather than to observe twice: it ends, and its watches with it, when
    /// its last clone is dropped.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    pub async fn observe(&self) -> Result<GroupObserver, Error> {
        let view = MembersView {
            group: self.path.clone(),
            children: None,
            members: BTreeMap::new(),
        };
        let members = observe(&self.zk, view).await?;
        let seen = members.current();
        Ok(GroupObserver { members, seen })
    }

    async fn members_in(&self, session: &Arc<Session>) -> Result<Vec<Member>, Interrupted> {
        let mut ids = list(session, &self.path).await?;
        ids.sort();
        let nodes = reads(session, &self.path, ids.iter().map(String::as_str)).await?;
        let members = ids.iter().zip(nodes).filter_map(|(id, node)| {
            let (_, data, stat) = node?;
            let data = data.into();
            Member::new(id, &NodeData { data, stat })
        });
        Ok(members.collect())
    }
}

impl Member {
    /// None for a node that is not ephemeral: it is no member.
    fn new(id: &str, node: &NodeData) -> Option<Self> {
        let session_id = owning_session(&node.stat);
        (session_id != 0).then(|| Self {
            id: id.to_owned(),
            data: node.data.clone(),
            session_id,
            joined: node.stat.czxid,
        })
    }
}

/// The members of a group, followed. Clones follow independently of each other.
///
/// # Examples
/// ```no_run
/// # async fn example(workers: zookeeper_recipes::Group) -> Result<(), Box<dyn std::error::Error>> {
/// let mut observer = workers.observe().await?;
/// println!("{} members", observer.members().len());
/// while let Some(changes) = observer.changed().await {
///     println!("{changes:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GroupObserver {
    members: Observer<Members>,
    seen: Members,
}

impl GroupObserver {
    /// The members of now, ordered by id. They count as seen: [`changed`](Self::changed) tells what comes after.
    pub fn members(&mut self) -> Vec<Member> {
        self.seen = self.members.current_and_update();
        self.seen.values().cloned().collect()
    }

    /// Waits until anything differs from what this observer has seen, and tells what; `None` once nothing more can
    /// come, because the coordinator has ended.
    ///
    /// Changes that follow each other faster than they are read become one difference: a member that joins and leaves in
    /// between is not told, and one that leaves and joins again is told as both.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Option<Vec<MemberChange>> {
        loop {
            let members = self.members.changed().await?;
            let changes = changes(&self.seen, &members);
            self.seen = members;
            if !changes.is_empty() {
                return Some(changes);
            }
        }
    }

    /// Waits until the members satisfy `predicate`, those of now included, which count as seen; `None` once nothing
    /// more can come.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn wait_for(&mut self, mut predicate: impl FnMut(&[Member]) -> bool) -> Option<Vec<Member>> {
        loop {
            let members = self.members();
            if predicate(&members) {
                return Some(members);
            }
            self.members.changed().await?;
        }
    }
}

fn changes(before: &BTreeMap<String, Member>, now: &BTreeMap<String, Member>) -> Vec<MemberChange> {
    let left = before
        .values()
        .filter(|old| now.get(&old.id).is_none_or(|new| new.joined != old.joined));
    let left = left.cloned().map(MemberChange::Left);
    let here = now.values().filter_map(|new| match before.get(&new.id) {
        Some(old) if old.joined == new.joined => (old != new).then(|| MemberChange::Changed(new.clone())),
        _ => Some(MemberChange::Joined(new.clone())),
    });
    left.chain(here).collect()
}

struct MembersView {
    group: NodePath,
    children: Option<Watched<Vec<String>>>,
    members: BTreeMap<String, Watched<NodeData>>,
}

impl Observe for MembersView {
    type Value = Members;

    async fn refresh(&mut self, context: &WatchContext) -> Result<Members, Interrupted> {
        let children = match self.children.take() {
            Some(children) if children.is_current(context) => children,
            _ => context.children(self.group.as_str()).await?,
        };
        let here: HashSet<&String> = children.value.iter().collect();
        self.members.retain(|id, _| here.contains(id));
        let unread = children.value.iter().filter(|id| {
            let known = self.members.get(*id);
            !known.is_some_and(|known| known.is_current(context))
        });
        let reads = unread.map(|id| {
            let path = self.group.child(id);
            async move { Ok::<_, Interrupted>((id, context.existing(&path).await?)) }
        });
        for (id, node) in future::try_join_all(reads).await? {
            match node {
                Some(node) => _ = self.members.insert(id.clone(), node),
                None => _ = self.members.remove(id),
            }
        }
        self.children = Some(children);
        let members = self
            .members
            .iter()
            .filter_map(|(id, node)| Member::new(id, &node.value));
        Ok(Arc::new(members.map(|member| (member.id.clone(), member)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(members: &[(&str, i64, &str)]) -> BTreeMap<String, Member> {
        let member = |(id, joined, data): &(&str, i64, &str)| Member {
            id: (*id).to_owned(),
            data: data.to_string().into(),
            session_id: 1,
            joined: *joined,
        };
        members
            .iter()
            .map(|entry| (entry.0.to_owned(), member(entry)))
            .collect()
    }

    fn told(before: &[(&str, i64, &str)], now: &[(&str, i64, &str)]) -> Vec<String> {
        let tell = |change| match change {
            MemberChange::Joined(member) => format!("+{}", member.id),
            MemberChange::Left(member) => format!("-{}", member.id),
            MemberChange::Changed(member) => format!("~{}", member.id),
        };
        changes(&group(before), &group(now)).into_iter().map(tell).collect()
    }

    #[test]
    fn who_joined_left_and_changed_is_told_apart() {
        let before = [("a", 1, "x"), ("b", 2, "x"), ("c", 3, "x"), ("d", 4, "x")];
        let now = [("b", 2, "x"), ("c", 3, "y"), ("d", 9, "x"), ("e", 8, "x")];
        assert_eq!(told(&before, &now), ["-a", "-d", "~c", "+d", "+e"]);
        assert_eq!(told(&before, &before), [""; 0]);
        assert_eq!(told(&[], &[("a", 1, "x")]), ["+a"]);
    }
}
