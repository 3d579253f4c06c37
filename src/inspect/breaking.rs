//! Taking one contender out of a line, and proof that a circle stands.

use std::sync::Arc;

use tracing::warn;

use super::Inspector;
use super::cycles::Cycle;
use super::recognise::Shape;
use crate::error::Error;
use crate::line::Contender;
use crate::session::{Interrupted, Operation, Retry, Session, owning_session, refused};
use crate::znode::{FencingToken, Transaction, commit, read, retry_across_sessions, sync};

impl Inspector {
    /// Removes the node of `contender` if it is still the one with this token: one read, and one transaction that checks the
    /// directory and deletes the node.
    ///
    /// Returns false if that contender is gone. Nothing but that one node is ever removed: a name with a guid belongs to one
    /// contender for ever. A name without one is guarded by the version of its data.
    ///
    /// **What its owner notices.** A holder of this crate is told at once, and its work is dropped, but some moments lie
    /// between. Curator's `InterProcessMutex` and `LeaderLatch` and kazoo's `Lock` are **not told and go on believing**: stop
    /// that process first. Let what the lock protects check the token.
    ///
    /// # Errors
    /// [`Error::Layout`] for a node that is not ephemeral. [`Error::Denied`] without the right to delete it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the contender is removed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use zookeeper_recipes::FencingToken;
    /// use zookeeper_recipes::inspect::Inspector;
    ///
    /// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
    /// let inspector = Inspector::new(&zk);
    /// // What an operator has seen and typed.
    /// let token = FencingToken::from(21_474_839_063);
    /// if let Some(line) = inspector.line("/accounts/17").await? {
    ///     if let Some(contender) = line.contender(token) {
    ///         inspector.break_contender(contender, token).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn break_contender(&self, contender: &Contender, expected: FencingToken) -> Result<bool, Error> {
        let path = contender.path.as_str();
        let attempt = |session| async move { remove(&session, path, expected).await };
        let removed = retry_across_sessions(&self.reader.zk, attempt).await?;
        if removed {
            let identity = String::from_utf8_lossy(&contender.identity);
            let session = contender.session_id;
            warn!(path, token = %expected, %identity, session = format_args!("{session:#x}"), "a contender was removed by hand");
        }
        Ok(removed)
    }

    /// Returns whether all that stands in a circle stood there at one moment: each node is read twice, all first reads before
    /// all second ones, and is the same both times.
    ///
    /// A circle that passes was one. It may end by itself: by a wait with a time limit, or by another task.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn confirm(&self, cycle: &Cycle) -> Result<bool, Error> {
        let nodes = || cycle.members.iter().flat_map(|member| [&member.holds, &member.waits]);
        if let Some(first) = nodes().next() {
            self.reader.sync(&first.path).await?;
        }
        for _ in 0..2 {
            let read = self
                .reader
                .read_all(nodes().map(|one| one.path.clone()).collect())
                .await?;
            let is_there = |one: &Contender| {
                read.iter()
                    .any(|node| node.path == one.path && node.stat.czxid == one.token.as_i64())
            };
            if !nodes().all(is_there) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

async fn remove(session: &Arc<Session>, path: &str, expected: FencingToken) -> Result<bool, Interrupted> {
    let mut retry = Retry::new(session, path, 0);
    let mut sent = false;
    loop {
        sync(session, path).await?;
        let Some((_, stat)) = read(session, path).await? else {
            // Its name was its own: after a lost reply it was ours, or it went by itself at that moment.
            return Ok(sent);
        };
        if stat.czxid != expected.as_i64() {
            return Ok(sent);
        }
        if owning_session(&stat) == 0 {
            let reason = "it is no ephemeral node and belongs to no session; remove it by hand if it has to go";
            return Err(Error::layout(path, reason).into());
        }
        let (parent, name) = path.rsplit_once('/').unwrap_or_default();
        let parent = if parent.is_empty() { "/" } else { parent };
        let has_guid = matches!(Shape::of(name), Shape::Contender(_) | Shape::Guid);
        let version = (!has_guid).then_some(stat.version);
        let steps = [Operation::exists(parent), Operation::delete(path, version)];
        match commit(&mut retry, session, &steps).await? {
            Transaction::Applied(_) => return Ok(true),
            Transaction::Refused(_, zookeeper_client::Error::NoNode) => return Ok(sent),
            // Another client wrote into it: it is looked at again.
            Transaction::Refused(_, zookeeper_client::Error::BadVersion) => retry.raced().await?,
            Transaction::Refused(_, source) => return Err(refused(path, source)),
            Transaction::Unknown => sent = true,
        }
    }
}
