//! [`LeaderElectionBuilder`]: the options of an election, before there is one.

use super::LeaderElection;
use crate::error::Error;
use crate::line::{ContenderNames, Line};
use crate::session::Coordinator;
use crate::znode::NodePath;

/// The names under which candidates stand for election. All at one path must use the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElectionLayout {
    /// `_c_<uuid>-latch-<seq>`, as Curator's `LeaderLatch`, with the value where that has its id.
    #[default]
    LeaderLatch,
    /// `_c_<uuid>-lock-<seq>`, as Curator's `LeaderSelector`, with the value where that has its id. A
    /// [`FairLock`](crate::FairLock) at the same path stands in the same line.
    LeaderSelector,
}

/// The options of a [`LeaderElection`].
///
/// # Examples
/// ```no_run
/// # async fn example(zk: zookeeper_recipes::Coordinator) -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::{ElectionLayout, LeaderElection};
///
/// // Among the candidates of Curator's LeaderSelector.
/// let election = LeaderElection::builder(&zk, "/scheduler").layout(ElectionLayout::LeaderSelector).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until `build` is called"]
pub struct LeaderElectionBuilder {
    zk: Coordinator,
    path: String,
    layout: ElectionLayout,
}

impl LeaderElectionBuilder {
    pub(super) fn new(zk: &Coordinator, path: &str) -> Self {
        Self {
            zk: zk.clone(),
            path: path.to_owned(),
            layout: ElectionLayout::default(),
        }
    }

    /// Chooses the names to write.
    pub fn layout(mut self, layout: ElectionLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Builds the election. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn build(self) -> Result<LeaderElection, Error> {
        let path = NodePath::new(&self.path)?;
        let names = match self.layout {
            ElectionLayout::LeaderLatch => ContenderNames::CURATOR_LATCH,
            ElectionLayout::LeaderSelector => ContenderNames::CURATOR_SELECTOR,
        };
        Ok(LeaderElection {
            line: Line::new(self.zk, path, names),
        })
    }
}
