//! One contender's way from the tail of the line to its head.

use std::sync::Arc;

use futures::future;
use tracing::{debug, info};

use super::blocker::{Mode, Standing, standing};
use super::{Enrolment, Line};
use crate::error::Error;
use crate::session::{Lost, Session, Witness};
use crate::znode::{Ephemeral, Hold, Interrupted, NewChild, list, watch_existing};

/// A contender of ours that stands in the line. Dropping it withdraws it.
#[derive(Debug)]
pub(crate) struct Enrolled<'a> {
    line: &'a Line,
    node: Ephemeral,
    mode: Mode,
    /// The line as listed last, unless it has to be listed again.
    listed: Option<Vec<String>>,
}

/// What one look at the line brought.
enum Look {
    Granted,
    Behind(String),
    /// The list did not show us though our node is there: it came from a server that lags.
    Stale,
}

impl<'a> Enrolled<'a> {
    /// Joins the line at its tail: one round trip, create and list back to back.
    pub(crate) async fn enrol(
        line: &'a Line,
        session: &Arc<Session>,
        enrolment: &Enrolment,
        witness: Option<&Witness>,
    ) -> Result<Self, Interrupted> {
        let new = NewChild {
            parent: &line.path,
            tag: line.dialect.tag(enrolment.mode),
            data: enrolment.data.as_deref().unwrap_or(session.identity()),
            parents: line.dialect.parents,
            witness,
        };
        let (node, listed) = Ephemeral::create(session, new).await?;
        debug!(node = node.path(), "enrolled");
        Ok(Self {
            line,
            node,
            mode: Mode::Exclusive,
            listed,
        })
    }

    /// Waits until the place is granted.
    pub(crate) async fn granted(mut self) -> Result<Hold, Interrupted> {
        let mut watched = false;
        loop {
            let blocker = match self.look().await? {
                Look::Granted => return self.into_hold(watched).await,
                Look::Stale => continue,
                Look::Behind(blocker) => blocker,
            };
            if !watched {
                self.node.watch();
                watched = true;
            }
            let Some(mut watch) = watch_existing(self.node.session(), &self.line.path.child(&blocker)).await? else {
                continue;
            };
            debug!(node = self.node.path(), blocker, "waiting");
            tokio::select! {
                () = watch.changed() => {}
                reason = self.node.end().reached() => return Err(Lost { reason }.into()),
            }
            // Most likely the place is ours now: the proof that a hold needs goes out together with the list.
            let session = Arc::clone(self.node.session());
            let (listed, proven) = future::join(list(&session, &self.line.path), session.prove()).await;
            proven?;
            self.listed = Some(listed?);
        }
    }

    /// Takes the place if it is granted right away, else leaves the line.
    pub(crate) async fn grant_or_withdraw(mut self) -> Result<Option<Hold>, Interrupted> {
        loop {
            match self.look().await? {
                Look::Granted => return self.into_hold(false).await.map(Some),
                Look::Stale => {}
                Look::Behind(_) => {
                    self.node.remove().await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Looks where we stand, in a list that is not older than our node.
    async fn look(&mut self) -> Result<Look, Interrupted> {
        let listed = match self.listed.take() {
            Some(listed) => listed,
            None => list(self.node.session(), &self.line.path).await?,
        };
        let Some(own) = self.node.child_name(self.line.dialect.tag(self.mode)) else {
            let reason = "the server gave our node a name that it should not have";
            return Err(Error::Layout {
                path: self.node.path().to_owned(),
                reason,
            }
            .into());
        };
        Ok(match standing(&own, self.mode, self.line.contenders_in(&listed)) {
            Standing::Granted => Look::Granted,
            Standing::Behind(blocker) => Look::Behind(blocker.to_owned()),
            Standing::Missing => {
                self.node.recheck().await?;
                Look::Stale
            }
        })
    }

    /// Makes a hold of a granted place, once it is proven: the list that granted it may come from a server that is
    /// cut off from the ensemble, or from another session than that of our node.
    async fn into_hold(self, watched: bool) -> Result<Hold, Interrupted> {
        let session = Arc::clone(self.node.session());
        self.node.recheck_after_reconnect().await?;
        session.prove().await?;
        if !watched {
            self.node.watch();
        }
        if let Some(reason) = self.node.end().reason() {
            return Err(Lost { reason }.into());
        }
        let hold = Hold::new(self.node, self.line.coordinator.clone());
        info!(node = hold.path(), token = %hold.token(), "granted");
        Ok(hold)
    }
}
