//! What contenders do, over and over, with whatever recipe it is.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use zookeeper_client as zk;
use zookeeper_recipes::queue::{FifoQueue, WorkQueue};
use zookeeper_recipes::{
    AcquireTimeoutError, Coordinator, Error, Hold, ReleaseError, TimeoutError, TryAcquireError, TryPermitError,
};
use zookeeper_testkit::{Fixture, Mode};

use crate::belief::{Entry, Log};
use crate::books::{Event, Fact};
use crate::ensemble::SESSION;
use crate::recipes::{DIRECTORIES, Recipe};

/// Below which holders leave their tokens, in a node for each place.
const FENCED: &str = "/fenced";

/// For how long places are held, and how many there are; each pace has its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// Few places, so that lines form.
    Crowded,
    /// Many places, so that not everybody soon waits behind somebody who is dead.
    Brisk,
    /// Held for up to three sessions, so that there is always somebody to strike at while he holds.
    Slow,
}

impl Pace {
    pub(crate) const ALL: [Self; 3] = [Self::Crowded, Self::Brisk, Self::Slow];

    fn longest_hold(self) -> Duration {
        match self {
            Self::Crowded | Self::Brisk => Duration::from_millis(40),
            Self::Slow => 3 * SESSION,
        }
    }

    /// Of a few of them: where contenders are to be together.
    pub(crate) fn meeting_places(self) -> impl ExactSizeIterator<Item = String> {
        let places = self.places();
        let few = places.len().div_ceil(6);
        places.take(few)
    }

    /// The names of the places.
    pub(crate) fn places(self) -> impl ExactSizeIterator<Item = String> {
        let count = match self {
            Self::Crowded => 2,
            Self::Brisk => 24,
            Self::Slow => 8,
        };
        (0..count).map(move |place| format!("{self:?}-{place}"))
    }
}

/// Who contends, with what.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) zk: Coordinator,
    pub(crate) who: String,
    /// As `who`, and another one after its process was killed.
    name: String,
    pub(crate) log: Log,
    pub(crate) random: fastrand::Rng,
    pace: Pace,
    recipes: &'static [Recipe],
    stop: watch::Receiver<bool>,
    own: Arc<Mutex<Own>>,
    /// The way to take a place is the one that waits for it, however long it takes.
    patient: bool,
}

impl Contender {
    pub(crate) fn new(
        zk: Coordinator,
        who: String,
        log: Log,
        (pace, recipes): (Pace, &'static [Recipe]),
        seed: u64,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            zk,
            name: format!("{who}-{seed:x}"),
            who,
            log,
            random: fastrand::Rng::with_seed(seed),
            pace,
            recipes,
            stop,
            own: Arc::default(),
            patient: false,
        }
    }

    /// One that comes after all others, to see what they left.
    pub(crate) fn last(zk: &Coordinator, log: &Log, pace: Pace) -> Self {
        let (_, stopped) = watch::channel(true);
        Self::new(zk.clone(), "last".to_owned(), log.clone(), (pace, &[]), 0, stopped)
    }

    /// Contends with random recipes until told to stop, then once more with each, so that everybody is granted in the
    /// end. Returns itself, for its queues have what they have removed for pops that were dropped.
    pub(crate) async fn contend(mut self) -> Self {
        while !*self.stop.borrow() {
            let recipe = self.recipes[self.random.usize(..self.recipes.len())];
            self.once(recipe).await;
        }
        self.patient = true;
        for recipe in self.recipes {
            self.once(*recipe).await;
        }
        self
    }

    async fn once(&mut self, recipe: Recipe) {
        let twin = Self {
            random: self.random.fork(),
            ..self.clone()
        };
        if let Err(problem) = recipe(twin).await {
            self.log.record(Entry::Broken(format!("{}: {problem}", self.who)));
        }
        self.log.record(Entry::Operation);
    }

    /// Whether this is the last time, to be granted for sure.
    pub(crate) fn is_patient(&self) -> bool {
        self.patient
    }

    /// Whether its process may be killed, of which nothing is left then but its log.
    pub(crate) fn is_mortal(&self) -> bool {
        matches!(self.log, Log::File(_))
    }

    /// Notes a fact.
    pub(crate) fn note(&self, path: &str, event: Event, subject: &str, token: i64) {
        self.log.record(Entry::Fact(Fact {
            who: self.name.clone(),
            path: path.to_owned(),
            event,
            subject: subject.to_owned(),
            token,
        }));
    }

    /// A name for an item that no other has; they are numbered.
    pub(crate) fn name_item(&self) -> String {
        let mut own = self.own();
        own.items += 1;
        format!("{}.{}", self.name, own.items)
    }

    /// Its queue at `path`, which is the same each time.
    pub(crate) fn queue<Q: Clone>(
        &self,
        path: &str,
        known: impl FnOnce(&mut Queues) -> &mut BTreeMap<String, Q>,
        new: impl FnOnce(&Self, &str) -> Result<Q, String>,
    ) -> Result<Q, String> {
        let mut own = self.own();
        let known = known(&mut own.queues);
        if let Some(queue) = known.get(path) {
            return Ok(queue.clone());
        }
        let queue = new(self, path)?;
        known.insert(path.to_owned(), queue.clone());
        Ok(queue)
    }

    /// Its FIFO queues, with their paths.
    pub(crate) fn fifo_queues(&self) -> BTreeMap<String, FifoQueue> {
        self.own().queues.fifo.clone()
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Own> {
        self.own.lock().expect("no panic while it is locked")
    }

    /// How long to wait for a place where the way to take it has a limit.
    pub(crate) fn limit(&mut self) -> Duration {
        Duration::from_millis(self.random.u64(1..400))
    }

    /// Takes a place in one of four ways; `None` if that way ended without it, as it may.
    pub(crate) async fn take<G>(
        &mut self,
        limit: Duration,
        tried: impl Future<Output = Result<G, impl NotNow>>,
        limited: impl Future<Output = Result<G, impl NotNow>>,
        waited: impl Future<Output = Result<G, impl ToString>>,
    ) -> Result<Option<G>, String> {
        let way = if self.patient { 9 } else { self.random.u8(..10) };
        match way {
            0 => timeout(limit, tried).await.map_or(Ok(None), taken),
            1 | 2 => taken(limited.await),
            3 => match timeout(limit, waited).await {
                Err(_) => Ok(None),
                Ok(place) => place.map(Some).map_err(text),
            },
            _ => waited.await.map(Some).map_err(text),
        }
    }

    /// A random place below `dir`.
    pub(crate) fn place(&mut self, dir: &str) -> String {
        let place = self.random.choice(self.pace.places());
        format!("{dir}/{}", place.expect("there are places"))
    }

    /// As [`place`](Self::place), where contenders are to be together.
    pub(crate) fn meeting_place(&mut self, dir: &str) -> String {
        let place = self.random.choice(self.pace.meeting_places());
        format!("{dir}/{}", place.expect("there are places"))
    }

    /// Believes in `hold` for a while.
    pub(crate) async fn believe(&mut self, paths: &[&str], mode: Mode, hold: &Hold) {
        let longest = if self.patient { Pace::Brisk } else { self.pace }.longest_hold();
        let long = longest.mul_f64(self.random.f64());
        let mut stop = self.stop.clone();
        let done = async {
            tokio::select! {
                () = tokio::time::sleep(long) => {}
                _ = stop.wait_for(|stop| *stop), if !self.patient => {}
            }
        };
        self.log.believe(paths, &self.who, mode, hold, done).await;
    }

    /// Leaves the token of an exclusive `hold`, now and then. That must not succeed once a later holder has left its own.
    pub(crate) async fn write_fenced(&mut self, place: &str, hold: &Hold) -> Result<(), String> {
        if self.random.u8(..4) != 0 {
            return Ok(());
        }
        let path = format!("{FENCED}{place}");
        let client = self.zk.client().await.map_err(text)?;
        let Ok((found, _)) = client.get_data(&path).await else {
            return Ok(());
        };
        let found = String::from_utf8_lossy(&found).parse::<i64>().unwrap_or_default();
        let token = hold.token().as_i64();
        let mut write = hold.fenced();
        write.add_set_data(&path, token.to_string().as_bytes(), None);
        match write.commit().await {
            Ok(_) if found > token => Err(format!("a write with token {token} was let in after one with {found}")),
            _ => Ok(()),
        }
    }

    /// Gives a place back, by a release or a drop.
    pub(crate) async fn give_back(
        &mut self,
        release: impl Future<Output = Result<(), ReleaseError>>,
    ) -> Result<(), String> {
        if self.random.u8(..4) == 0 {
            return Ok(());
        }
        match release.await {
            Ok(()) | Err(ReleaseError::Lost(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What stays with a contender from one recipe to the next.
#[derive(Default)]
struct Own {
    items: u64,
    queues: Queues,
}

/// By their paths.
#[derive(Default)]
pub(crate) struct Queues {
    pub(crate) work: BTreeMap<String, WorkQueue>,
    pub(crate) fifo: BTreeMap<String, FifoQueue>,
}

/// Waits until nothing is left in the places.
pub(crate) async fn assert_nothing_left(fixture: &Fixture, patience: Duration) {
    let places: Vec<String> = all_places().map(|(place, emptied)| place + emptied).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    fixture.assert_no_nodes_left_within(patience, &places).await;
}

/// Each with the part of it that is empty in the end.
fn all_places() -> impl Iterator<Item = (String, &'static str)> {
    let places = || Pace::ALL.into_iter().flat_map(Pace::places);
    DIRECTORIES
        .iter()
        .flat_map(move |(dir, emptied)| places().map(move |place| (format!("{dir}/{place}"), *emptied)))
}

/// Makes what the workload needs.
pub(crate) async fn prepare(fixture: &Fixture) {
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    for (place, _) in all_places() {
        let made = fixture.raw().mkdir(&format!("{FENCED}{place}"), &options).await;
        made.expect("a fresh chroot takes nodes");
    }
}

/// An error that may say no more than that there was no place at the moment.
pub(crate) trait NotNow: ToString {
    fn is_not_now(&self) -> bool;
}

impl NotNow for TryAcquireError {
    fn is_not_now(&self) -> bool {
        matches!(self, Self::Contended)
    }
}

impl<E> NotNow for TimeoutError<E>
where
    Self: ToString,
{
    fn is_not_now(&self) -> bool {
        matches!(self, Self::Elapsed { .. })
    }
}

impl NotNow for AcquireTimeoutError {
    fn is_not_now(&self) -> bool {
        self.is_timeout()
    }
}

impl NotNow for TryPermitError {
    fn is_not_now(&self) -> bool {
        matches!(self, Self::NoPermits)
    }
}

/// Why a try came to nothing.
pub(crate) enum Tried {
    Nothing,
    Error(Error),
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("there is nothing"),
            Self::Error(error) => error.fmt(f),
        }
    }
}

impl NotNow for Tried {
    fn is_not_now(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// What was taken; `None` if there was no place at the moment.
pub(crate) fn taken<G>(place: Result<G, impl NotNow>) -> Result<Option<G>, String> {
    match place {
        Ok(place) => Ok(Some(place)),
        Err(error) if error.is_not_now() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn text(error: impl ToString) -> String {
    error.to_string()
}
