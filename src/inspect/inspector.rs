//! [`Inspector`]: the handle that reads a tree.

use super::graph::WaitGraph;
use super::place::{Detail, PlaceInfo, PlaceKind};
use super::reading::Reader;
use super::walk::WantedPlaces;
use crate::error::Error;
use crate::session::Coordinator;
use crate::znode::NodePath;

/// How many requests are in flight at a time.
const IN_FLIGHT: usize = 64;

/// Reads what stands in an ensemble, whatever client made it.
///
/// A path is absolute, below the chroot; `/` is the whole tree. Looking never writes. A walk is not a snapshot: places
/// that change while it runs are seen as they were when they were read.
///
/// # Cost
/// One list for each directory, and one read for each contender that is shown. At most 64 requests are in flight at a
/// time.
///
/// # Errors
/// All methods fail with an [`Error`] that retrying would not help. Directories that the ACL hides are no error: they
/// are listed as [`PlaceKind::NoRights`].
///
/// # Cancel safety
/// Dropping a future loses nothing.
///
/// # Examples
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use zookeeper_recipes::inspect::Inspector;
///
/// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
/// for lock in Inspector::new(&zk).locks("/accounts").await? {
///     let holder = lock.holders().next();
///     println!("{}: {:?}, {} wait", lock.path, holder.and_then(|one| one.host()), lock.waiters().count());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Inspector {
    pub(super) reader: Reader,
}

impl Inspector {
    /// An inspector of the ensemble of `zk`. Nothing is sent.
    pub fn new(zk: &Coordinator) -> Self {
        Self::with_limit(zk, IN_FLIGHT)
    }

    /// As [`new`](Self::new), with at most so many requests in flight at a time, one at least.
    pub fn with_limit(zk: &Coordinator, requests_in_flight: usize) -> Self {
        Self {
            reader: Reader::new(zk, requests_in_flight),
        }
    }

    /// Returns how many requests this inspector and its clones have sent.
    pub fn requests(&self) -> u64 {
        self.reader.requests()
    }

    /// Returns how many requests were in flight at most.
    pub fn most_in_flight(&self) -> usize {
        self.reader.most_in_flight()
    }

    /// Visits all that stands at and below `tree`, place by place, without keeping any of it.
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn for_each(&self, tree: &str, detail: Detail, visit: impl FnMut(PlaceInfo)) -> Result<(), Error> {
        let kind = |_| true;
        self.visit(tree, WantedPlaces { kind, detail }, visit).await
    }

    /// Returns all that stands at and below `tree`, sorted by path.
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn places(&self, tree: &str) -> Result<Vec<PlaceInfo>, Error> {
        self.of_kind(tree, |_| true).await
    }

    /// Returns the locks and read-write locks at and below `tree`, sorted by path.
    ///
    /// A directory without contenders cannot be told from any other and is not among them.
    ///
    /// # Errors
    /// See [`Inspector`].
    #[doc(alias = "getParticipantNodes")]
    pub async fn locks(&self, tree: &str) -> Result<Vec<PlaceInfo>, Error> {
        self.of_kind(tree, PlaceKind::is_lock).await
    }

    /// Returns the elections at and below `tree`. One that writes a lock's names is among the [`locks`](Self::locks).
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn elections(&self, tree: &str) -> Result<Vec<PlaceInfo>, Error> {
        self.of_kind(tree, |kind| kind == PlaceKind::Election).await
    }

    /// Returns the semaphores at and below `tree`.
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn semaphores(&self, tree: &str) -> Result<Vec<PlaceInfo>, Error> {
        self.of_kind(tree, |kind| kind == PlaceKind::Semaphore).await
    }

    /// Returns the double barriers and count-down latches at and below `tree`. A [`Barrier`](crate::Barrier) is one
    /// node, which only its users know: it is among the [`values`](Self::values).
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn barriers(&self, tree: &str) -> Result<Vec<PlaceInfo>, Error> {
        let kind = |kind| matches!(kind, PlaceKind::DoubleBarrier | PlaceKind::CountDownLatch);
        self.of_kind(tree, kind).await
    }

    /// Returns the relays at and below `tree`.
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn relays(&self, tree: &str) -> Result<Vec<PlaceInfo>, Error> {
        self.of_kind(tree, |kind| kind == PlaceKind::Relay).await
    }

    /// Returns the queues at and below `tree`.
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn queues(&self, tree: &str) -> Result<Vec<PlaceInfo>, Error> {
        self.of_kind(tree, PlaceKind::is_queue).await
    }

    /// Returns the groups at and below `tree`. Any directory of ephemeral nodes alone is taken for one, with a doubt.
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn groups(&self, tree: &str) -> Result<Vec<PlaceInfo>, Error> {
        self.of_kind(tree, |kind| kind == PlaceKind::Group).await
    }

    /// Returns the nodes without children at and below `tree`: values, counters, closed barriers, empty directories.
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn values(&self, tree: &str) -> Result<Vec<PlaceInfo>, Error> {
        let mut nodes = self.of_kind(tree, |kind| kind == PlaceKind::Node).await?;
        nodes.retain(|node| node.count == 0);
        Ok(nodes)
    }

    /// Returns what stands at `path`; `None` if there is no node.
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn place(&self, path: &str) -> Result<Option<PlaceInfo>, Error> {
        check(path)?;
        let kind = |_| true;
        let detail = Detail::Contenders;
        self.reader.sync(path).await?;
        let look = self.reader.look(path, WantedPlaces { kind, detail }).await?;
        Ok(look.map(|(place, _)| place))
    }

    /// Returns the line at `path`: a lock, a read-write lock, an election, a semaphore, a relay. `None` if no contender
    /// stands there.
    ///
    /// # Errors
    /// [`Error::Layout`] if what stands there is no line, and see [`Inspector`].
    pub async fn line(&self, path: &str) -> Result<Option<PlaceInfo>, Error> {
        self.place_of(
            path,
            PlaceKind::is_line,
            "no clients stand in line there; list it to see what it is",
        )
        .await
    }

    /// Returns the election at `path`, also one that writes a lock's names; `None` if no contender stands there.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub async fn election(&self, path: &str) -> Result<Option<PlaceInfo>, Error> {
        let kind = |kind| matches!(kind, PlaceKind::Election | PlaceKind::Lock);
        self.place_of(path, kind, "it is no election; list it to see what it is")
            .await
    }

    /// Returns the queue at `path`; `None` if there is none. What a [`WorkQueue`](crate::queue::WorkQueue) holds is
    /// told by its `stats`.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub async fn queue(&self, path: &str) -> Result<Option<PlaceInfo>, Error> {
        self.place_of(path, PlaceKind::is_queue, "it is no queue; list it to see what it is")
            .await
    }

    /// Returns the waits at and below `tree`: candidates of deadlocks are its [`cycles`](WaitGraph::cycles).
    ///
    /// It keeps the contenders that wait or are waited for, and nothing else of the tree.
    ///
    /// # Errors
    /// See [`Inspector`].
    pub async fn waits_for(&self, tree: &str) -> Result<WaitGraph, Error> {
        let mut graph = WaitGraph::default();
        let wanted = WantedPlaces {
            kind: PlaceKind::is_line,
            detail: Detail::Contenders,
        };
        self.visit(tree, wanted, |place| graph.add(&place)).await?;
        Ok(graph)
    }

    async fn place_of(
        &self,
        path: &str,
        is_it: impl Fn(PlaceKind) -> bool,
        reason: &'static str,
    ) -> Result<Option<PlaceInfo>, Error> {
        match self.place(path).await? {
            Some(place) if is_it(place.kind) => Ok(Some(place)),
            // A directory without contenders.
            Some(place) if place.kind == PlaceKind::Node && place.count == 0 => Ok(None),
            Some(place) if place.kind == PlaceKind::NoRights => Err(Error::Denied { path: place.path }),
            Some(place) => Err(Error::layout(&place.path, reason)),
            None => Ok(None),
        }
    }

    async fn of_kind(&self, tree: &str, kind: fn(PlaceKind) -> bool) -> Result<Vec<PlaceInfo>, Error> {
        let detail = Detail::Contenders;
        let mut places = Vec::new();
        self.visit(tree, WantedPlaces { kind, detail }, |place| places.push(place))
            .await?;
        places.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(places)
    }

    pub(super) async fn visit(
        &self,
        tree: &str,
        wanted: WantedPlaces,
        visit: impl FnMut(PlaceInfo),
    ) -> Result<(), Error> {
        check(tree)?;
        self.reader.walk(tree, wanted, visit).await
    }
}

/// Refuses a path that is none; the root is one here.
pub(super) fn check(path: &str) -> Result<(), Error> {
    match path {
        "/" => Ok(()),
        path => NodePath::new(path).map(|_| ()),
    }
}
