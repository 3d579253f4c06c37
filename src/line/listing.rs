//! The contenders in a line.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use zookeeper_client as zk;

use super::names::mode_of;
use super::order::CreationOrder;
use super::position::{Mode, Position, position_of};
use super::{ContenderLayout, Line};
use crate::error::Error;
use crate::session::{GuidPrefix, Interrupted, Session};
use crate::znode::{
    ChildName, FencingToken, Revocation, Sequence, asked, list, own_data, read, reads, retry_across_sessions,
    split_reason,
};

/// One contender of a line, as seen at one moment.
///
/// # Examples
/// ```no_run
/// # async fn example(lock: zookeeper_recipes::FairLock) -> Result<(), Box<dyn std::error::Error>> {
/// for contender in lock.contenders().await? {
///     println!("{:?} on {:?}, token {}", contender.identity, contender.host(), contender.token);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contender {
    /// Path of its node, from the chroot.
    pub path: String,
    /// What it says of itself: [`ConnectOptions::identity`](crate::ConnectOptions::identity), or what another client
    /// wrote (Curator: its address; `__REVOKE__` once it was asked to make way).
    pub identity: Bytes,
    /// Why it wants the place, if it says so: [`FairLock::acquire_as`](crate::FairLock::acquire_as).
    pub reason: Option<String>,
    /// Its fencing token, should it be granted.
    pub token: FencingToken,
    /// Its place in line, from 0.
    pub position: usize,
    /// Whether it holds the place.
    pub is_holder: bool,
    /// What it asks for.
    pub mode: Mode,
    /// Which library named it.
    pub layout: ContenderLayout,
    /// Another contender has asked it to make way.
    pub asked: Option<Revocation>,
    /// The session that it belongs to.
    pub session_id: i64,
    /// When it joined the line, by the ensemble's clock. That is not when it was granted: no node changes at a grant.
    pub since: SystemTime,
    /// The data of its node as its owner wrote it.
    pub(crate) own_data: Bytes,
}

impl Contender {
    pub(crate) fn new(path: String, data: &[u8], stat: &zk::Stat, position: usize, is_holder: bool) -> Self {
        let name = path.rsplit('/').next().unwrap_or_default();
        let (mode, layout) = (mode_of(name), ContenderLayout::of(name));
        let own = own_data(data);
        let (identity, reason) = split_reason(&path, own);
        let reason = reason.map(str::to_owned);
        let own_data = Bytes::copy_from_slice(own);
        Self {
            identity: own_data.slice(..identity),
            reason,
            token: FencingToken::from(stat.czxid),
            position,
            is_holder,
            mode,
            layout,
            asked: asked(data),
            session_id: stat.ephemeral_owner,
            since: UNIX_EPOCH + Duration::from_millis(u64::try_from(stat.ctime).unwrap_or_default()),
            own_data,
            path,
        }
    }

    /// Returns the host on which it runs, as far as its data tells: `web-3` of the identity `web-3:4711`, or the address
    /// that Curator writes by default.
    ///
    /// An address may be that of a gateway, or `127.0.0.1`.
    pub fn host(&self) -> Option<&str> {
        let identity = self.text()?;
        if identity.parse::<IpAddr>().is_ok() {
            return Some(identity);
        }
        split_pid(identity).map(|(host, _)| host)
    }

    /// Returns the id of its process, as far as its data tells: `4711` of the identity `web-3:4711`.
    pub fn pid(&self) -> Option<u32> {
        split_pid(self.text()?).map(|(_, pid)| pid)
    }

    /// Returns what tells its process from others: the contenders of one coordinator, in whichever of its sessions, have the
    /// same. `None` of another library, whose process is known by its session alone.
    pub fn process(&self) -> Option<String> {
        GuidPrefix::of(&self.path).map(|prefix| prefix.to_string())
    }

    fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.identity).ok()
    }
}

/// `HOST:PID`, as ours has it by default, or `HOST-PID`, as kazoo's double barrier has it.
fn split_pid(identity: &str) -> Option<(&str, u32)> {
    let (host, pid) = identity.rsplit_once([':', '-'])?;
    let is_number = !host.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    Some((host, pid.parse().ok().filter(|_| is_number)?))
}

/// A contender whose node was read.
#[derive(Debug)]
pub(crate) struct ReadContender<'a> {
    pub(crate) name: ChildName<'a>,
    pub(crate) mode: Mode,
    pub(crate) path: String,
    pub(crate) data: Vec<u8>,
    pub(crate) stat: zk::Stat,
}

/// The contenders of one line in their order. The holders are an exclusive one with no contender ahead, or sharing ones
/// with no exclusive one ahead.
pub(crate) fn contenders_of(mut line: Vec<ReadContender<'_>>) -> Vec<Contender> {
    let mut creations = CreationOrder::default();
    for one in &line {
        creations.add(&one.name, one.stat.czxid);
    }
    let Some(oldest) = Sequence::oldest(line.iter().map(|one| one.name.sequence)) else {
        return Vec::new();
    };
    let place = |one: &ReadContender<'_>| creations.place(oldest, one.name.numbered());
    line.sort_by_key(place);
    let first = line.first().map(place);
    let exclusive = line.iter().find(|one| one.mode == Mode::Exclusive).map(place);
    let contenders = line.into_iter().enumerate().map(|(position, one)| {
        let ahead = if one.mode == Mode::Exclusive { first } else { exclusive };
        let is_holder = ahead.is_none_or(|ahead| ahead >= place(&one));
        let mut contender = Contender::new(one.path, &one.data, &one.stat, position, is_holder);
        contender.mode = one.mode;
        contender
    });
    contenders.collect()
}

impl Line {
    /// All contenders in order: one list, and one read for each of them; where there are many, for 64 of them.
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
        let read = answers.into_iter().zip(line).filter_map(|(answer, (name, mode))| {
            let (path, data, stat) = answer?;
            Some(ReadContender {
                name,
                mode,
                path,
                data,
                stat,
            })
        });
        Ok(contenders_of(read.collect()))
    }
}
