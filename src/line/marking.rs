//! How a contender leaves the mark of the head and looks for it; what it decides is in `head_mark`.

use std::sync::Arc;

use futures::FutureExt;
use tracing::debug;
use zookeeper_client as zk;

use super::contender::{Enrolled, Purpose};
use super::head_mark::{MarkVerdict, judge, mark, may_replace};
use super::line_state::LineState;
use super::position::Mode;
use super::waking::beside_proof;
use crate::session::{End, Interrupted, Reply, Session};
use crate::znode::{NodePath, WatchOutcome, multi_read, stat};

/// What the data of a line's directory was.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineData {
    version: i32,
    takes_mark: bool,
}

impl Enrolled<'_> {
    pub(super) fn looks_for_mark(&self, told: WatchOutcome) -> bool {
        let is_marked = self.state.is_long() && self.line.names.marks && self.mode == Mode::Exclusive;
        is_marked && told == WatchOutcome::Deleted
    }

    /// Whether the mark of the head shows that no contender is ahead, now that `blocker` is gone; see `head_mark`.
    pub(super) async fn ask_mark(
        &mut self,
        blocker: &str,
        told: WatchOutcome,
        purpose: Purpose,
    ) -> Result<bool, Interrupted> {
        let session = Arc::clone(self.node.session());
        if self.state.was_head(blocker) {
            // One of ours: what the mark would say is known, and our own node is looked at.
            let stat = beside_proof(&session, self.node.end(), purpose, stat(&session, self.node.path())).await?;
            let data = mark(blocker);
            let is_shown = stat.is_some_and(|stat| stat.ephemeral_owner == session.id());
            return self.believe(judge(blocker, told, Some(&data), is_shown)).await;
        }
        if !self.state.is_worth_a_look() {
            self.state.missed();
            return Ok(false);
        }
        let paths = [self.line.path.as_str(), self.node.path()];
        let answers = beside_proof(&session, self.node.end(), purpose, multi_read(&session, &paths)).await?;
        let [parent, own] = <[_; 2]>::try_from(answers).unwrap_or([Err(zk::Error::NoNode), Err(zk::Error::NoNode)]);
        let (data, stat) = parent.ok().unzip();
        if let (Some(data), Some(stat)) = (&data, stat) {
            self.state.saw(usize::try_from(stat.num_children).unwrap_or_default());
            self.directory = Some(LineData {
                version: stat.version,
                takes_mark: may_replace(data),
            });
        }
        let is_shown = own.is_ok_and(|(_, stat)| stat.ephemeral_owner == session.id());
        let verdict = judge(blocker, told, data.as_deref(), is_shown);
        match verdict {
            MarkVerdict::Head => self.state.found(),
            MarkVerdict::List | MarkVerdict::Recheck => self.state.missed(),
        }
        self.believe(verdict).await
    }

    async fn believe(&self, verdict: MarkVerdict) -> Result<bool, Interrupted> {
        match verdict {
            MarkVerdict::Head => Ok(true),
            MarkVerdict::List => Ok(false),
            MarkVerdict::Recheck => self.node.recheck().await.map(|()| false),
        }
    }

    /// Leaves the mark of the head, once the place is at the head: in a long line, off the path, and only if others
    /// than our own contenders need it.
    pub(super) fn mark_head(&self) {
        if self.mode != Mode::Exclusive || !self.line.names.marks {
            return;
        }
        let others_need_it = self.state.came_to_head(self.node.name());
        if self.state.is_long() && others_need_it && self.state.takes_marks() {
            let session = Arc::clone(self.node.session());
            let (state, directory) = (Arc::clone(&self.state), self.directory);
            let (path, name) = (self.line.path.clone(), self.node.name().to_owned());
            let end = Arc::clone(self.node.end());
            let mut marking = Box::pin(leave_mark(Arc::clone(&session), path, name, directory, state, end));
            // Sent before this returns, so that it precedes the release.
            if marking.as_mut().now_or_never().is_none() {
                session.runtime().spawn(marking);
            }
        }
    }
}

/// Writes the mark of the head, unless the directory has data of others. What goes wrong costs the next one a list.
async fn leave_mark(
    session: Arc<Session>,
    path: NodePath,
    name: String,
    directory: Option<LineData>,
    state: Arc<LineState>,
    end: Arc<End>,
) {
    let path = path.as_str();
    let directory = match directory {
        Some(directory) => directory,
        None => match session.read(|client| async move { client.get_data(path).await }).await {
            Ok(Reply::Answer((data, stat))) => LineData {
                version: stat.version,
                takes_mark: may_replace(&data),
            },
            Ok(Reply::Refused(zk::Error::NoAuth)) => return state.take_no_mark(),
            _ => return,
        },
    };
    if !directory.takes_mark {
        return state.take_no_mark();
    }
    // It would be true of a node that is released by now as well, but of no use to anybody.
    if end.reason().is_some() {
        return;
    }
    let data = &mark(&name);
    let version = Some(directory.version);
    let written = session.write(|client| async move { client.set_data(path, data, version).await });
    match written.await {
        Ok(Reply::Refused(zk::Error::NoAuth)) => state.take_no_mark(),
        Ok(Reply::Refused(error)) => debug!(path, %error, "no mark of the head"),
        _ => {}
    }
}
