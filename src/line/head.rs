//! The head of a line: the first contender whose node can be read, now and as it changes.

use std::sync::Arc;

use zookeeper_client as zk;

use super::order::in_order;
use super::{Contender, Line};
use crate::error::Error;
use crate::session::{Interrupted, Session};
use crate::znode::{ChildName, NodeData, Observe, WatchContext, Watched, list, read, retry_across_sessions};

impl Line {
    /// The contender at the head of the line: one list and one read.
    pub(crate) async fn head(&self) -> Result<Option<Contender>, Error> {
        retry_across_sessions(&self.zk, |session| async move { self.head_seen_by(&session).await }).await
    }

    /// The contenders among `children`, first come first.
    async fn in_order<'a>(
        &'a self,
        session: &Arc<Session>,
        children: &'a [String],
    ) -> Result<Vec<ChildName<'a>>, Interrupted> {
        let line = self.contenders_in(children).map(|(name, _)| name).collect();
        in_order(session, &self.path, line, ChildName::numbered).await
    }

    async fn head_seen_by(&self, session: &Arc<Session>) -> Result<Option<Contender>, Interrupted> {
        let children = list(session, &self.path).await?;
        for name in self.in_order(session, &children).await? {
            let path = self.path.child(name.text);
            if let Some((data, stat)) = read(session, &path).await? {
                return Ok(Some(Contender::at_head(path, &data, &stat)));
            }
        }
        Ok(None)
    }
}

/// Watches the head of a line: the node of the contender at the head, or the line's directory while the line is empty. A
/// contender that joins behind the head wakes no observer.
#[derive(Debug)]
pub(crate) struct HeadView {
    line: Line,
    seen: Option<Head>,
}

/// What is at the head of a line.
#[derive(Debug)]
enum Head {
    Contender(String, Watched<NodeData>),
    Empty { _line: Watched<Vec<String>> },
}

impl HeadView {
    pub(crate) fn new(line: Line) -> Self {
        Self { line, seen: None }
    }

    /// Looks for the head from the list on.
    async fn find(&self, context: &WatchContext) -> Result<Head, Interrupted> {
        loop {
            let children = list(context.session(), &self.line.path).await?;
            for name in self.line.in_order(context.session(), &children).await? {
                let path = self.line.path.child(name.text);
                if let Some(node) = context.existing(&path).await? {
                    return Ok(Head::Contender(path, node));
                }
            }
            let children = context.children(self.line.path.as_str()).await?;
            if self.line.contenders_in(&children.value).next().is_none() {
                return Ok(Head::Empty { _line: children });
            }
        }
    }
}

impl Observe for HeadView {
    type Value = Option<Contender>;

    async fn refresh(&mut self, context: &WatchContext) -> Result<Self::Value, Interrupted> {
        // No contender can join ahead of the head, so the head stays the head while its node exists.
        let known = match &self.seen {
            Some(Head::Contender(path, _)) => {
                let node = context.existing(path).await?;
                node.map(|node| Head::Contender(path.clone(), node))
            }
            Some(Head::Empty { .. }) | None => None,
        };
        let head = match known {
            Some(known) => known,
            None => self.find(context).await?,
        };
        let contender = match &head {
            Head::Contender(path, node) => Some(Contender::at_head(path.clone(), &node.value.data, &node.value.stat)),
            Head::Empty { .. } => None,
        };
        self.seen = Some(head);
        Ok(contender)
    }
}

impl Contender {
    fn at_head(path: String, data: &[u8], stat: &zk::Stat) -> Self {
        Self::new(path, data, stat, 0, true)
    }
}
