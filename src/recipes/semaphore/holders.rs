//! The holders of the permits.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Semaphore;
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{
    ChildName, FencingToken, Tag, check_listener, count_asked, list, own_data, reads, request_revocation,
    retry_across_sessions, split_reason,
};

/// A holder of permits of a semaphore, as seen at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PermitHolder {
    /// How many, as one [`Permit`](crate::Permit).
    pub permits: u32,
    /// What it says of itself: [`ConnectOptions::identity`](crate::ConnectOptions::identity), or what another client
    /// wrote.
    pub identity: Bytes,
    /// Why it wants them, if it says so: [`Semaphore::acquire_many_as`](crate::Semaphore::acquire_many_as).
    pub reason: Option<String>,
    /// The token of its [`Permit`](crate::Permit).
    pub token: FencingToken,
    /// Path of the node of one of its permits, from the chroot.
    pub path: String,
    /// The session that it belongs to.
    pub session_id: i64,
}

impl Semaphore {
    /// Returns the holders, in the order in which they were granted: one list, and one read for each permit, all sent
    /// together.
    ///
    /// It is what the ensemble sees: a holder whose process has died is seen until its session expires.
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn holders(&self) -> Result<Vec<PermitHolder>, Error> {
        retry_across_sessions(&self.zk, |session| async move { self.holders_seen_by(&session).await }).await
    }

    /// Asks `holder` to give its permits back, and says why. Whether it does is its own decision: it sees the request
    /// with [`Hold::revocation`](crate::Hold::revocation) of its [`Permit`](crate::Permit), which is one for all of its
    /// permits.
    ///
    /// Returns false if it has given them back already. A later request replaces an earlier one.
    ///
    /// ```no_run
    /// # async fn example(semaphore: zookeeper_recipes::Semaphore) -> Result<(), Box<dyn std::error::Error>> {
    /// // The newest holder of many makes way.
    /// let holders = semaphore.holders().await?;
    /// if let Some(holder) = holders.iter().rev().find(|holder| holder.permits > 1) {
    ///     semaphore.request_revocation(holder, "a payment of the first class").await?;
    /// }
    /// let permit = semaphore.acquire().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help: [`Error::Denied`] if the holder's node may not be written,
    /// [`Error::Layout`] for a holder that runs Curator, which has no ear for it: its semaphore is not `Revocable`
    /// (CURATOR-650).
    ///
    /// # Cancel safety
    /// Dropping the future leaves open whether the holder is asked.
    ///
    /// # Cost
    /// One read and one write. It wakes the holder alone.
    pub async fn request_revocation(&self, holder: &PermitHolder, reason: &str) -> Result<bool, Error> {
        check_listener(&holder.path)?;
        let asked = retry_across_sessions(&self.zk, |session| async move {
            request_revocation(&session, &holder.path, reason).await
        })
        .await?;
        count_asked(&self.zk, "semaphore", asked);
        Ok(asked)
    }

    async fn holders_seen_by(&self, session: &Arc<Session>) -> Result<Vec<PermitHolder>, Interrupted> {
        let children = list(session, &self.leases).await?;
        let leases = children
            .iter()
            .filter(|name| ChildName::parse(name, [Tag::Lease]).is_some());
        let answers = reads(session, &self.leases, leases.map(String::as_str)).await?;
        let mut holders: BTreeMap<i64, PermitHolder> = BTreeMap::new();
        for (path, data, stat) in answers.into_iter().flatten() {
            // The permits of one holder, and of no other, were created in one transaction.
            let holder = holders.entry(stat.czxid).or_insert_with(|| {
                let own = own_data(&data);
                let (identity, reason) = split_reason(&path, own);
                PermitHolder {
                    permits: 0,
                    identity: Bytes::copy_from_slice(&own[..identity]),
                    reason: reason.map(str::to_owned),
                    token: FencingToken::from_i64(stat.czxid),
                    path,
                    session_id: stat.ephemeral_owner,
                }
            });
            holder.permits += 1;
        }
        Ok(holders.into_values().collect())
    }
}
