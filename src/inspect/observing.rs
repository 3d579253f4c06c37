//! [`Inspector::observe`]: a place that is looked at again when it changes.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::Inspector;
use super::contenders::join;
use super::inspector::check;
use super::place::{Detail, PlaceInfo, PlaceKind};
use super::reading::{ListedChildren, ReadNode, Reader};
use super::walk::WantedPlaces;
use crate::error::Error;
use crate::observer::Observer;
use crate::session::Interrupted;
use crate::znode::{NodeData, Observe, WatchContext, Watched, observe};

/// Between two looks: a long line that moves fast is not listed at each step.
const PAUSE: Duration = Duration::from_millis(200);

/// The data of so many holders is watched, for requests to make way.
const WATCHED_HOLDERS: usize = 64;

impl Inspector {
    /// Observes what stands at `path`, `None` while there is no node: contenders that join, are granted, leave, or are asked
    /// to make way.
    ///
    /// # Cost
    /// At first as [`place`](Self::place). Then, for each change, one list, and one read of each contender that is new; at
    /// most five times a second. Nothing while nothing changes. Changes that cancel each other out between two looks are not
    /// seen. Of a work queue only the root is watched: poll its [`stats`](crate::queue::WorkQueue::stats).
    ///
    /// # Errors
    /// An [`Error`] that retrying would not help, and [`Error::Denied`] without the right to list it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing. Observing ends with the last clone of the observer.
    ///
    /// # When the session is lost
    /// The observer goes on in a new session.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use zookeeper_recipes::inspect::Inspector;
    ///
    /// let zk = zookeeper_recipes::connect("127.0.0.1:2181").await?;
    /// let mut line = Inspector::new(&zk).observe("/accounts/17").await?;
    /// while let Some(place) = line.changed().await {
    ///     let waiting = place.map_or(0, |place| place.waiters().count());
    ///     println!("{waiting} wait");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn observe(&self, path: &str) -> Result<Observer<Option<PlaceInfo>>, Error> {
        check(path)?;
        let view = PlaceView {
            reader: self.reader.keeping(),
            path: path.to_owned(),
            listings: HashMap::new(),
            data: None,
            holders: HashMap::new(),
            looked: None,
        };
        observe(&self.reader.zk, view).await
    }
}

/// What is watched of one place.
struct PlaceView {
    reader: Reader,
    path: String,
    listings: HashMap<String, Watched<Option<ListedChildren>>>,
    data: Option<Watched<Option<NodeData>>>,
    holders: HashMap<String, Watched<NodeData>>,
    looked: Option<Instant>,
}

impl Observe for PlaceView {
    type Value = Option<PlaceInfo>;

    async fn refresh(&mut self, context: &WatchContext) -> Result<Self::Value, Interrupted> {
        if let Some(looked) = self.looked {
            context.session().sleep(PAUSE.saturating_sub(looked.elapsed())).await?;
        }
        self.looked = Some(Instant::now());
        let is_current = |path: &str, holder: &Watched<NodeData>| {
            let current = holder.is_current(context);
            if !current {
                self.reader.retain(|kept| kept != path);
            }
            current
        };
        self.holders.retain(|path, holder| is_current(path, holder));
        if self.data.as_ref().is_some_and(|data| !data.is_current(context)) {
            self.data = None;
            self.listings.remove(&self.path);
        }
        let Some(place) = self.look(context).await? else {
            return Ok(None);
        };
        // What is watched now may have changed since it was read.
        let is_listed = self.watch_parts(context, &place).await?;
        let is_written = self.watch_data(context, &place).await?;
        let is_told = self.watch_holders(context, &place).await?;
        match is_listed || is_written || is_told {
            true => self.look(context).await,
            false => Ok(Some(place)),
        }
    }
}

impl PlaceView {
    /// Lists a directory, unless it is as it was.
    async fn list(&mut self, context: &WatchContext, path: &str) -> Result<Option<ListedChildren>, Interrupted> {
        if let Some(known) = self.listings.get(path).filter(|known| known.is_current(context)) {
            return Ok(known.value.clone());
        }
        let listing = context.listing(path).await?;
        let value = listing.value.clone();
        self.listings.insert(path.to_owned(), listing);
        Ok(value)
    }

    async fn look(&mut self, context: &WatchContext) -> Result<Option<PlaceInfo>, Interrupted> {
        let path = self.path.clone();
        let Some(listing) = self.list(context, &path).await? else {
            return Ok(None);
        };
        let wanted = WantedPlaces {
            kind: |_| true,
            detail: Detail::Contenders,
        };
        let place = self.reader.look_at(&path, listing, wanted).await?;
        let Some((place, _)) = place else { return Ok(None) };
        let standing: HashSet<&str> = place.contenders.iter().map(|one| one.path.as_str()).collect();
        self.reader.retain(|path| standing.contains(path));
        Ok(Some(place))
    }

    /// Watches the directories in which the contenders stand; tells whether one is new.
    async fn watch_parts(&mut self, context: &WatchContext, place: &PlaceInfo) -> Result<bool, Interrupted> {
        let mut is_new = false;
        for part in parts(place) {
            let is_known = self.listings.get(&part).is_some_and(|known| known.is_current(context));
            is_new |= !is_known;
            self.list(context, &part).await?;
        }
        Ok(is_new)
    }

    /// Watches the data of the place itself, but of a line; tells whether it is another than was read.
    async fn watch_data(&mut self, context: &WatchContext, place: &PlaceInfo) -> Result<bool, Interrupted> {
        if place.kind.is_line() || self.data.is_some() {
            return Ok(false);
        }
        let data = context.data(&self.path).await?;
        let is_same = data
            .value
            .as_ref()
            .is_some_and(|node| node.stat.mzxid == place.stat.mzxid);
        self.data = Some(data);
        if !is_same {
            self.listings.remove(&self.path);
        }
        Ok(!is_same)
    }

    /// Watches the data of the holders; tells whether a new one is among them.
    async fn watch_holders(&mut self, context: &WatchContext, place: &PlaceInfo) -> Result<bool, Interrupted> {
        let holders = || place.holders().take(WATCHED_HOLDERS);
        self.holders
            .retain(|path, _| holders().any(|holder| holder.path == *path));
        let mut is_new = false;
        for holder in holders().filter(|_| place.kind.is_line()) {
            if self.holders.contains_key(&holder.path) {
                continue;
            }
            if let Some(watched) = context.existing(&holder.path).await? {
                let NodeData { data, stat } = &watched.value;
                let (path, data) = (holder.path.clone(), data.to_vec());
                self.reader.keep(ReadNode {
                    path,
                    data,
                    stat: *stat,
                });
                self.holders.insert(holder.path.clone(), watched);
                is_new = true;
            }
        }
        Ok(is_new)
    }
}

/// The directories in which the contenders of a place stand, if it is not the place itself.
fn parts(place: &PlaceInfo) -> Vec<String> {
    let names: &[&str] = match place.kind {
        PlaceKind::Semaphore => &["leases", "locks"],
        PlaceKind::Relay => &["line"],
        _ => &[],
    };
    names.iter().map(|name| join(&place.path, name)).collect()
}
