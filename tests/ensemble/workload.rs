//! What contenders do, over and over: a row of [`RECIPES`] for each recipe.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::watch;
use tokio::time::timeout;
use zookeeper_client as zk;
use zookeeper_recipes::{
    AcquireTimeoutError, Coordinator, FairLock, FairLockGuard, Hold, ReleaseError, TryAcquireError,
};
use zookeeper_testkit::{Fixture, Mode};

use crate::belief::{Entry, Log};

/// How many places of each recipe there are to contend for.
const PLACES: usize = 6;

/// Where holders leave their tokens, a node for each place.
const FENCED: &str = "/fenced";

/// A recipe under test. A row here is all that the contests and the soak need to know of it.
struct Recipe {
    /// What one contender does: it takes a place, in one of the ways there are, believes in it, and gives it back.
    once: fn(Contender) -> BoxFuture<'static, Result<(), String>>,
    /// The directory of its places, which are named by their numbers.
    dir: &'static str,
}

const RECIPES: &[Recipe] = &[Recipe {
    once: |contender| lock(contender).boxed(),
    dir: "/locks",
}];

/// The directories in which nothing may be left.
fn directories() -> Vec<String> {
    let places = |recipe: &Recipe| {
        (0..PLACES)
            .map(|place| format!("{}/{place}", recipe.dir))
            .collect::<Vec<_>>()
    };
    RECIPES.iter().flat_map(places).collect()
}

/// Waits until nothing is left in them.
pub(crate) async fn assert_nothing_left(fixture: &Fixture, patience: Duration) {
    let directories = directories();
    let directories: Vec<&str> = directories.iter().map(String::as_str).collect();
    fixture.assert_no_nodes_left_within(patience, &directories).await;
}

/// Who contends, with what.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) zk: Coordinator,
    pub(crate) who: String,
    pub(crate) log: Log,
    pub(crate) random: fastrand::Rng,
    /// The way to take a place is the one that waits for it, however long it takes.
    patient: bool,
}

impl Contender {
    pub(crate) fn new(zk: Coordinator, who: String, log: Log, seed: u64) -> Self {
        Self {
            zk,
            who,
            log,
            random: fastrand::Rng::with_seed(seed),
            patient: false,
        }
    }

    /// Contends with random recipes until told to stop, then once more with each, so that everybody is granted in the
    /// end.
    pub(crate) async fn contend(mut self, mut stop: watch::Receiver<bool>) {
        while !*stop.borrow_and_update() {
            let recipe = &RECIPES[self.random.usize(..RECIPES.len())];
            self.once(recipe).await;
        }
        self.patient = true;
        for recipe in RECIPES {
            self.once(recipe).await;
        }
        self.zk.close().await;
    }

    async fn once(&mut self, recipe: &Recipe) {
        let twin = Self {
            random: self.random.fork(),
            ..self.clone()
        };
        if let Err(problem) = (recipe.once)(twin).await {
            self.log.record(Entry::Broken(format!("{}: {problem}", self.who)));
        }
        self.log.record(Entry::Operation);
    }

    /// Believes in `hold` for a while, and writes fenced now and then.
    async fn believe(&mut self, path: &str, place: usize, mode: Mode, hold: &Hold) -> Result<(), String> {
        let long = Duration::from_millis(self.random.u64(0..40));
        self.log.believe(path, &self.who, mode, hold, long).await;
        if mode == Mode::Exclusive && self.random.u8(..4) == 0 {
            self.write_fenced(place, hold).await?;
        }
        Ok(())
    }

    /// Leaves the token of `hold`. That must not succeed once a later holder has left its own.
    async fn write_fenced(&self, place: usize, hold: &Hold) -> Result<(), String> {
        let path = format!("{FENCED}/{place}");
        let client = self.zk.client().await.map_err(|error| error.to_string())?;
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
}

/// Makes what the workload needs.
pub(crate) async fn prepare(fixture: &Fixture) {
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    for place in 0..PLACES {
        let made = fixture.raw().mkdir(&format!("{FENCED}/{place}"), &options).await;
        made.expect("a fresh chroot takes nodes");
    }
}

async fn lock(mut contender: Contender) -> Result<(), String> {
    let place = contender.random.usize(..PLACES);
    let path = format!("/locks/{place}");
    let lock = FairLock::new(&contender.zk, &path).map_err(|error| error.to_string())?;
    let Some(guard) = take_lock(&mut contender, &lock).await? else {
        return Ok(());
    };
    contender.believe(&path, place, Mode::Exclusive, &guard).await?;
    if contender.random.u8(..4) == 0 {
        drop(guard);
        return Ok(());
    }
    match guard.release().await {
        Ok(()) | Err(ReleaseError::Lost(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// One of the ways to take a lock; `None` if that way ended without it, as it may.
async fn take_lock(contender: &mut Contender, lock: &FairLock) -> Result<Option<FairLockGuard>, String> {
    let patience = Duration::from_millis(contender.random.u64(1..400));
    let way = if contender.patient {
        9
    } else {
        contender.random.u8(..10)
    };
    let taken = match way {
        0 => match timeout(patience, lock.try_acquire()).await {
            Ok(Err(TryAcquireError::Contended)) | Err(_) => return Ok(None),
            Ok(taken) => taken.map_err(|error| error.to_string()),
        },
        1 | 2 => match lock.acquire_timeout(patience).await {
            Err(AcquireTimeoutError::Elapsed { .. }) => return Ok(None),
            taken => taken.map_err(|error| error.to_string()),
        },
        3 => match timeout(patience, lock.acquire()).await {
            Err(_) => return Ok(None),
            Ok(taken) => taken.map_err(|error| error.to_string()),
        },
        _ => lock.acquire().await.map_err(|error| error.to_string()),
    };
    taken.map(Some)
}
