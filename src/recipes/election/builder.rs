//! [`LeaderElectionBuilder`]: the options of an election, before there is one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::LeaderElection;
use super::local::LocalLeader;
use super::marks::Marks;
use super::rank::{RankOptions, spread_rank};
use crate::error::Error;
use crate::line::{ContenderNames, InvalidLayout, Line};
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

/// `leader-latch` or `leader-selector`.
impl fmt::Display for ElectionLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaderLatch => "leader-latch",
            Self::LeaderSelector => "leader-selector",
        })
    }
}

/// As it is displayed.
impl FromStr for ElectionLayout {
    type Err = InvalidLayout;

    fn from_str(name: &str) -> Result<Self, InvalidLayout> {
        InvalidLayout::find(&[Self::LeaderLatch, Self::LeaderSelector], name)
    }
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
    spread_as: Option<String>,
    options: ElectionOptions,
}

/// What a handle does its own way; candidates at one path may differ in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ElectionOptions {
    /// The longest first pause and the longest pause of all.
    pub(super) backoff: (Duration, Duration),
    pub(super) ready_within: Option<Duration>,
    pub(super) rank: RankOptions,
}

impl LeaderElectionBuilder {
    pub(super) fn new(zk: &Coordinator, path: &str) -> Self {
        Self {
            zk: zk.clone(),
            path: path.to_owned(),
            layout: ElectionLayout::default(),
            spread_as: None,
            options: ElectionOptions {
                backoff: (Duration::from_secs(4), Duration::from_secs(60)),
                ready_within: None,
                rank: RankOptions {
                    rank: None,
                    grace: Duration::from_secs(1),
                    hold_down: Duration::from_secs(60),
                },
            },
        }
    }

    /// Chooses the names to write.
    pub fn layout(mut self, layout: ElectionLayout) -> Self {
        self.layout = layout;
        self
    }

    /// Sets the pauses of [`run`](LeaderElection::run) after a leader that has failed: the first is up to `first`, each
    /// further one up to twice as long, and none is above `longest`. 4 s and 60 s by default, with which a lone
    /// candidate that fails at once leads five times in its first minute. Zero turns it off.
    ///
    /// A leader has failed whose work says `Continue` less than ten seconds after the election, or that was not
    /// [ready](Self::ready_within) in time.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.options.backoff = (first, longest);
        self
    }

    /// Sets how long a leader under [`run`](LeaderElection::run) may take until it is
    /// [`ready`](super::Leadership::ready). After that its work is dropped, it resigns and backs off. Without a limit
    /// by default.
    ///
    /// The leader's own process sees to it. A process that is frozen or blocked is replaced when its session expires,
    /// or not at all while only its work hangs in a call that never yields.
    pub fn ready_within(mut self, limit: Duration) -> Self {
        self.options.ready_within = Some(limit);
        self
    }

    /// Sets the rank of this candidate: of those that stand for election the one of the highest rank should lead.
    /// **All candidates of the election need a rank**; one without neither asks nor makes way, nor does Curator.
    ///
    /// The order of the line stays as it is. A waiting candidate of higher rank asks the leader, through a node beside
    /// the election (`<path>-__election__`), to resign. Candidates of lower rank that wait ahead of it go to the tail.
    /// The leader's work has the [grace](Self::rank_grace) to come to its end. A leader that took over from one of
    /// higher rank makes way only after the [hold-down](Self::hold_down).
    ///
    /// Only [`run`](LeaderElection::run) resigns by itself; after a [`campaign`](LeaderElection::campaign) see
    /// [`Leadership::outranked`](super::Leadership::outranked). [`try_campaign`](LeaderElection::try_campaign) and
    /// [`campaign_timeout`](LeaderElection::campaign_timeout) do not ask others, but make way.
    ///
    /// # Cost
    /// A leader: two creates, and two deletes at its end. A waiting candidate: one watch; each change of leader wakes
    /// all of them, for one list.
    pub fn rank(mut self, rank: u32) -> Self {
        self.options.rank.rank = Some(rank);
        self
    }

    /// Sets the rank by rendezvous hashing of the election's path and `id`: of many elections each process leads about
    /// its share of those at which it stands. `id` names the process, for example its id in a [`Group`](crate::Group);
    /// it has to stay the same over a restart, and to differ between processes.
    ///
    /// When a process ends, each of its elections goes to the one of the next rank. When it is back, it gets those of
    /// old back, and no others move.
    pub fn spread_as(mut self, id: impl Into<String>) -> Self {
        self.spread_as = Some(id.into());
        self
    }

    /// Sets how long the work of a leader goes on after a candidate of higher rank has asked. 1 s by default.
    pub fn rank_grace(mut self, grace: Duration) -> Self {
        self.options.rank.grace = grace;
        self
    }

    /// Sets for how long a leader that took over from one of higher rank leads at least, before it makes way: a
    /// preferred process that crashes again and again shall not drag the leadership with it. 60 s by default.
    ///
    /// It doubles, up to 64 times, with each leader of higher rank in sequence that led for less than it.
    pub fn hold_down(mut self, hold_down: Duration) -> Self {
        self.options.rank.hold_down = hold_down;
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
        let mut options = self.options;
        if let Some(id) = &self.spread_as {
            options.rank.rank = Some(spread_rank(path.as_str(), id));
        }
        Ok(LeaderElection {
            marks: Marks::of(&path)?,
            line: Line::new(self.zk, path, names),
            options,
            leading: LocalLeader::new(),
            flaps: Arc::default(),
            reason: None,
        })
    }
}
