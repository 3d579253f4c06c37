//! Who stands in a line.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use zookeeper_client as zk;

use super::Line;
use super::order::CreationOrder;
use super::position::{Mode, Position, position_of};
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{ChildName, FencingToken, Sequence, list, own_data, read, reads, retry_across_sessions};

/// One contender of a line, as seen at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contender {
    /// Path of its node, from the chroot.
    pub path: String,
    /// What it says of itself: [`ConnectOptions::identity`](crate::ConnectOptions::identity), or what another client
    /// wrote (Curator: its address; `__REVOKE__` once it was asked to make way).
    pub identity: Bytes,
    /// Its fencing token, should it be granted.
    pub token: FencingToken,
    /// Its place in line, from 0.
    pub position: usize,
    /// Whether it holds the place.
    pub is_holder: bool,
    /// The session that it belongs to.
    pub session_id: i64,
    /// When it joined the line, by the ensemble's clock.
    pub since: SystemTime,
}

impl Contender {
    pub(super) fn new(path: String, data: &[u8], stat: &zk::Stat, position: usize, is_holder: bool) -> Self {
        Self {
            path,
            identity: Bytes::copy_from_slice(own_data(data)),
            token: FencingToken::from(stat.czxid),
            position,
            is_holder,
            session_id: stat.ephemeral_owner,
            since: UNIX_EPOCH + Duration::from_millis(u64::try_from(stat.ctime).unwrap_or_default()),
        }
    }
}

impl Line {
    /// All contenders in order: one list, and one read for each of them, all sent together.
    pub(crate) async fn contenders(&self) -> Result<Vec<Contender>, Error> {
        let attempt = |session| async move { self.contenders_seen_by(&session).await };
        retry_across_sessions(&self.zk, attempt).await
    }

    /// The contender whose node is at `path`: one list and one read. Its position is as the sequence numbers tell.
    pub(super) async fn contender_at(
        &self,
        session: &Arc<Session>,
        path: &str,
    ) -> Result<Option<Contender>, Interrupted> {
        let children = list(session, &self.path).await?;
        let text = path.rsplit('/').next().unwrap_or_default();
        let (Some((own, mode)), Some((data, stat))) = (self.names.parse(text), read(session, path).await?) else {
            return Ok(None);
        };
        let order = CreationOrder::default();
        let ahead = |(other, _): &(ChildName<'_>, Mode)| order.distance(&own, other).is_some_and(|far| far < (0, 0));
        let position = self.contenders_in(&children).filter(ahead).count();
        let is_holder = position_of(&own, mode, self.contenders_in(&children), &order) == Position::Granted;
        Ok(Some(Contender::new(path.to_owned(), &data, &stat, position, is_holder)))
    }

    async fn contenders_seen_by(&self, session: &Arc<Session>) -> Result<Vec<Contender>, Interrupted> {
        let children = list(session, &self.path).await?;
        let line: Vec<(ChildName<'_>, Mode)> = self.contenders_in(&children).collect();
        let answers = reads(session, &self.path, line.iter().map(|(name, _)| name.text)).await?;
        let mut present = Vec::with_capacity(answers.len());
        let mut creations = CreationOrder::default();
        for (answer, (name, mode)) in answers.into_iter().zip(&line) {
            if let Some((path, data, stat)) = answer {
                creations.add(name, stat.czxid);
                present.push((*name, *mode, path, data, stat));
            }
        }
        let Some(oldest) = Sequence::oldest(present.iter().map(|(name, ..)| name.sequence)) else {
            return Ok(Vec::new());
        };
        present.sort_by_key(|(name, ..)| creations.place(oldest, name.numbered()));
        let names: Vec<_> = present.iter().map(|(name, mode, ..)| (*name, *mode)).collect();
        let contenders = present.into_iter().enumerate();
        let contenders = contenders.map(|(position, (name, mode, path, data, stat))| {
            let is_holder = position_of(&name, mode, names.iter().copied(), &creations) == Position::Granted;
            Contender::new(path, &data, &stat, position, is_holder)
        });
        Ok(contenders.collect())
    }
}
