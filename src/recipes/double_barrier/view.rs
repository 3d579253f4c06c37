//! Looking at the barrier, and the transactions on `ready`.

use std::sync::Arc;

use uuid::Uuid;
use zookeeper_client as zk;

use super::rule::{Arrival, Ready};
use crate::session::{Interrupted, Operation, Retry, Session, refused};
use crate::znode::{NodePath, NodeWatch, Transaction, commit, read, stat, stat_and_watch, stats};

/// Name of the node that opens the barrier.
const READY: &str = "ready";

/// The directory of a barrier.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) path: NodePath,
}

/// The directory's own data, which every opening writes again: its version is a fence against openings in between.
#[derive(Debug)]
pub(super) struct Fence {
    data: Vec<u8>,
    version: i32,
}

impl Directory {
    pub(super) fn ready(&self) -> String {
        self.path.child(READY)
    }

    /// `ready`, if it is there.
    pub(super) async fn read_ready(&self, session: &Arc<Session>) -> Result<Option<Ready>, Interrupted> {
        Ok(stat(session, &self.ready()).await?.map(Ready::from))
    }

    /// `ready`, if it is there, and a watch on it if one is wanted.
    pub(super) async fn see_ready(
        &self,
        session: &Arc<Session>,
        watched: bool,
    ) -> Result<(Option<Ready>, Option<NodeWatch>), Interrupted> {
        if watched {
            let (ready, watch) = self.watch_ready(session).await?;
            return Ok((ready, Some(watch)));
        }
        Ok((self.read_ready(session).await?, None))
    }

    /// `ready`, if it is there, and a watch on it.
    pub(super) async fn watch_ready(&self, session: &Arc<Session>) -> Result<(Option<Ready>, NodeWatch), Interrupted> {
        let (stat, watch) = stat_and_watch(session, &self.ready()).await?;
        Ok((stat.map(Ready::from), watch))
    }

    /// The members among `children`, without `own`, when they came if `ages` has to be known.
    pub(super) async fn others<'a>(
        &self,
        session: &Arc<Session>,
        children: &'a [String],
        own: &str,
        ages: bool,
    ) -> Result<Vec<Arrival<'a>>, Interrupted> {
        let names = members(children).filter(|name| *name != own);
        if !ages {
            return Ok(names.map(|name| Arrival { name, czxid: 0 }).collect());
        }
        let stats = stats(session, &self.path, names).await?;
        let aged = stats.into_iter().map(|(name, stat)| Arrival {
            name,
            czxid: stat.czxid,
        });
        Ok(aged.collect())
    }

    /// To be read before what is decided on.
    pub(super) async fn fence(&self, session: &Arc<Session>) -> Result<Option<Fence>, Interrupted> {
        let read = read(session, self.path.as_str()).await?;
        Ok(read.map(|(data, stat)| Fence {
            data,
            version: stat.version,
        }))
    }

    /// Opens the barrier if all these members are there at that moment. False if it was not done, or is to be looked
    /// at.
    pub(super) async fn open<'a>(
        &self,
        session: &Arc<Session>,
        fence: &Fence,
        members: impl Iterator<Item = &'a str>,
    ) -> Result<bool, Interrupted> {
        let mut steps = vec![Operation::set_data(
            self.path.as_str(),
            fence.data.clone(),
            fence.version,
        )];
        steps.extend(members.map(|member| Operation::exists(self.path.child(member))));
        let identity = session.identity().to_vec();
        steps.push(Operation::create(self.ready(), identity, zk::CreateMode::Persistent));
        self.commit(session, &steps).await
    }

    /// Stamps `ready` again, so that all members that are there now are inside, if `inside` is still there.
    pub(super) async fn join(&self, session: &Arc<Session>, ready: Ready, inside: &str) -> Result<bool, Interrupted> {
        let steps = [
            Operation::exists(self.path.child(inside)),
            Operation::set_data(self.ready(), session.identity().to_vec(), ready.version),
        ];
        self.commit(session, &steps).await
    }

    /// Removes `ready`, unless the barrier was opened since `fence` was read.
    pub(super) async fn clear(&self, session: &Arc<Session>, fence: &Fence, ready: Ready) -> Result<bool, Interrupted> {
        let steps = [
            Operation::check(self.path.as_str(), fence.version),
            Operation::delete(self.ready(), ready.version),
        ];
        self.commit(session, &steps).await
    }

    /// A transaction that came too late, or whose outcome is not known, means to look again, after a pause.
    async fn commit(&self, session: &Arc<Session>, steps: &[Operation]) -> Result<bool, Interrupted> {
        let ready = self.ready();
        let mut retry = Retry::new(session, &ready, steps.iter().map(Operation::size).sum());
        match commit(&mut retry, session, steps).await? {
            Transaction::Applied(_) => Ok(true),
            Transaction::Refused(_, zk::Error::NoNode | zk::Error::NodeExists | zk::Error::BadVersion) => {
                retry.raced().await?;
                Ok(false)
            }
            Transaction::Unknown => Ok(false),
            Transaction::Refused(_, source) => Err(refused(&ready, source)),
        }
    }
}

impl From<zk::Stat> for Ready {
    fn from(stat: zk::Stat) -> Self {
        Self {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            version: stat.version,
        }
    }
}

/// The members among the children of a barrier: Curator's and ours are UUIDs, kazoo's the same without hyphens.
pub(super) fn members(children: &[String]) -> impl Iterator<Item = &str> {
    children
        .iter()
        .map(String::as_str)
        .filter(|name| Uuid::try_parse(name).is_ok())
}

pub(super) fn has_ready(children: &[String]) -> bool {
    children.iter().any(|name| name == READY)
}
