//! What contenders do, over and over, with whatever recipe it is.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use zookeeper_client as zk;
use zookeeper_recipes::{AcquireTimeoutError, Coordinator, Error, Hold, ReleaseError, TryAcquireError};
use zookeeper_testkit::{Fixture, Mode};

use crate::belief::{Entry, Log};
use crate::recipes::{DIRECTORIES, RECIPES, Recipe};

/// How many places of each kind there are to contend for.
pub(crate) const PLACES: usize = 8;

/// Below which holders leave their tokens, in a node for each place.
const FENCED: &str = "/fenced";

/// Waits until nothing is left in the places.
pub(crate) async fn assert_nothing_left(fixture: &Fixture, patience: Duration) {
    let places = |dir: &&str| (0..PLACES).map(|place| format!("{dir}/{place}")).collect::<Vec<_>>();
    let places: Vec<String> = DIRECTORIES.iter().flat_map(places).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    fixture.assert_no_nodes_left_within(patience, &places).await;
}

/// Who contends, with what.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) zk: Coordinator,
    pub(crate) who: String,
    pub(crate) log: Log,
    pub(crate) random: fastrand::Rng,
    /// How long a place is held at most.
    longest: Duration,
    /// The way to take a place is the one that waits for it, however long it takes.
    patient: bool,
}

impl Contender {
    pub(crate) fn new(zk: Coordinator, who: String, log: Log, longest: Duration, seed: u64) -> Self {
        Self {
            zk,
            who,
            log,
            random: fastrand::Rng::with_seed(seed),
            longest,
            patient: false,
        }
    }

    /// Contends with random recipes until told to stop, then once more with each, so that everybody is granted in the
    /// end.
    pub(crate) async fn contend(mut self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow_and_update() {
            let recipe = RECIPES[self.random.usize(..RECIPES.len())];
            self.once(recipe).await;
        }
        self.patient = true;
        for recipe in RECIPES {
            self.once(*recipe).await;
        }
        self.zk.close().await;
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

    /// How long to wait for a place where the way to take it has a limit.
    pub(crate) fn limit(&mut self) -> Duration {
        Duration::from_millis(self.random.u64(1..400))
    }

    /// Takes a place in one of four ways; `None` if that way ended without it, as it may.
    pub(crate) async fn take<G>(
        &mut self,
        limit: Duration,
        tried: impl Future<Output = Result<G, TryAcquireError>>,
        limited: impl Future<Output = Result<G, AcquireTimeoutError>>,
        waited: impl Future<Output = Result<G, Error>>,
    ) -> Result<Option<G>, String> {
        let way = if self.patient { 9 } else { self.random.u8(..10) };
        let taken = match way {
            0 => match timeout(limit, tried).await {
                Ok(Err(TryAcquireError::Contended)) | Err(_) => return Ok(None),
                Ok(taken) => taken.map_err(text),
            },
            1 | 2 => match limited.await {
                Err(AcquireTimeoutError::Elapsed { .. }) => return Ok(None),
                taken => taken.map_err(text),
            },
            3 => match timeout(limit, waited).await {
                Err(_) => return Ok(None),
                Ok(taken) => taken.map_err(text),
            },
            _ => waited.await.map_err(text),
        };
        taken.map(Some)
    }

    /// Believes in `hold` for a while; for long now and then, so that faults strike at it.
    pub(crate) async fn believe(&mut self, paths: &[&str], mode: Mode, hold: &Hold) {
        let short = Duration::from_millis(self.random.u64(..40));
        let stubborn = !self.patient && self.random.u8(..30) == 0;
        let long = if stubborn {
            self.longest.mul_f64(self.random.f64())
        } else {
            short
        };
        self.log.believe(paths, &self.who, mode, hold, long).await;
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

/// Makes what the workload needs.
pub(crate) async fn prepare(fixture: &Fixture) {
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    for dir in DIRECTORIES {
        for place in 0..PLACES {
            let made = fixture.raw().mkdir(&format!("{FENCED}{dir}/{place}"), &options).await;
            made.expect("a fresh chroot takes nodes");
        }
    }
}

pub(crate) fn text(error: impl ToString) -> String {
    error.to_string()
}
