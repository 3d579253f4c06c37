//! What a client process does: turns at random places, and what it writes of them.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;
use zookeeper_recipes::{Coordinator, FencedWriteError, Hold, ReleaseError};

use super::call::{Call, What};
use super::place::{Care, Duty, GROUPS, Place, READERS, Recipe};
use crate::belief::{Entry, Log, now};
use crate::recipes::WORK;
use crate::workload::{Contender, Pace, text};

/// How often a guard is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// The longest time between what is read and what is written.
const LONGEST: Duration = Duration::from_millis(100);

/// Works until told to stop.
pub(crate) async fn work(
    zk: &Coordinator,
    who: &str,
    log: &Log,
    directory: &Path,
    seed: u64,
    stop: watch::Receiver<bool>,
) {
    let turns = Cell::new(0);
    let who = who.trim_start_matches("client-");
    let groups = GROUPS.iter().zip(1..).map(|(places, salt)| {
        let mut worker = Worker {
            zk,
            who: format!("{who}-{:x}", seed as u32),
            log,
            directory,
            turns: &turns,
            random: fastrand::Rng::with_seed(seed.wrapping_add(salt)),
        };
        let stop = stop.clone();
        async move {
            while !*stop.borrow() {
                let place = Place::random(places, &mut worker.random);
                if let Err(problem) = worker.turn(place).await {
                    log.record(Entry::Broken(format!("{place}: {problem}")));
                }
            }
        }
    });
    let queue = Contender::new(
        zk.clone(),
        who.to_owned(),
        log.clone(),
        (Pace::Brisk, WORK),
        seed,
        stop.clone(),
    );
    tokio::join!(join_all(groups), queue.contend());
}

struct Worker<'a> {
    zk: &'a Coordinator,
    who: String,
    log: &'a Log,
    directory: &'a Path,
    turns: &'a Cell<u64>,
    random: fastrand::Rng,
}

impl Worker<'_> {
    async fn turn(&mut self, place: Place) -> Result<(), String> {
        self.turns.set(self.turns.get() + 1);
        let shares = match (place.duty, place.recipe) {
            (Duty::Mutex, Recipe::RwLock) if self.random.bool() => 1,
            (Duty::Mutex, Recipe::Semaphore(permits)) => self.random.u32(1..=permits),
            (_, Recipe::RwLock) => READERS,
            _ => 1,
        };
        let mut call = Call {
            turn: format!("{}.{}", self.who, self.turns.get()),
            place: place.to_string(),
            what: What::Acquire,
            number: 0,
            shares,
            called: now(),
            returned: None,
        };
        let taken = place.take(self.zk, shares).await?;
        let granted = now();
        let acquired = Call {
            number: taken.hold().token().as_i64(),
            returned: Some(granted),
            ..call.clone()
        };
        call.called = granted;
        self.note(&acquired, What::Acquire, None);
        let last_look = match place.duty {
            Duty::Mutex => {
                self.note(&call, What::Release, None);
                Some(self.hold(taken.hold(), granted).await)
            }
            _ => {
                self.change(place, taken.hold(), &call).await?;
                None
            }
        };
        let released = now();
        let is_lost = match taken.release().await {
            Ok(()) => false,
            Err(ReleaseError::Lost(_)) => true,
            Err(error) => return Err(text(error)),
        };
        if place.duty == Duty::Mutex {
            let ended = Some(now());
            call.called = released;
            self.note(&call, What::BlindRelease, ended);
            if let Some(last_look) = last_look.filter(|_| is_lost) {
                call.called = last_look;
            }
            self.note(&call, What::Release, ended);
        }
        Ok(())
    }

    fn note(&self, call: &Call, what: What, returned: Option<Duration>) {
        let returned = returned.or(call.returned);
        let call = Call {
            what,
            returned,
            ..call.clone()
        };
        if matches!(what, What::Acquire) {
            self.log.record(Entry::Operation);
        }
        self.log.record(Entry::Call(call));
    }

    /// Takes its time, whether the hold is lost or not. Returns when that was last seen to be held.
    async fn hold(&mut self, hold: &Hold, granted: Duration) -> Duration {
        let until = now() + LONGEST.mul_f64(self.random.f64());
        let (mut last, mut is_held) = (granted, true);
        while now() < until {
            sleep(LOOK).await;
            let look = now();
            is_held &= hold.is_held();
            if is_held {
                last = look;
            }
        }
        last
    }

    /// Reads, takes its time, and writes.
    async fn change(&mut self, place: Place, hold: &Hold, turn: &Call) -> Result<(), String> {
        let found = self.read(place).await;
        let mut call = Call {
            called: now(),
            ..turn.clone()
        };
        let changed = match place.duty {
            Duty::Register(_) => {
                call.number = found.parse().unwrap_or_default();
                (call.number + 1).to_string()
            }
            _ => format!("{found}{} ", turn.turn),
        };
        self.note(&call, What::Change, None);
        sleep(LONGEST.mul_f64(self.random.f64())).await;
        self.note(&call, What::Write, None);
        match self.write(place, hold, &changed).await? {
            Written::Yes => self.note(&call, What::Change, Some(now())),
            Written::No => self.note(&call, What::NoChange, None),
            Written::Unknown => {}
        }
        Ok(())
    }

    async fn read(&self, place: Place) -> String {
        if matches!(place.duty, Duty::SetInMemory(_)) {
            return std::fs::read_to_string(self.directory.join(place.to_string())).unwrap_or_default();
        }
        loop {
            if let Ok(client) = self.zk.client().await {
                if let Ok((found, _)) = client.get_data(&place.node()).await {
                    return String::from_utf8_lossy(&found).into_owned();
                }
            }
            sleep(LOOK * 10).await;
        }
    }

    async fn write(&self, place: Place, hold: &Hold, changed: &str) -> Result<Written, String> {
        if matches!(place.duty, Duty::SetInMemory(_)) {
            let file = self.directory.join(place.to_string());
            let next = file.with_extension(&self.who);
            std::fs::write(&next, changed).map_err(text)?;
            if place.care() == Care::Looked && !hold.is_held() {
                return Ok(Written::No);
            }
            std::fs::rename(&next, &file).map_err(text)?;
            return Ok(Written::Yes);
        }
        if place.care() == Care::Fenced {
            let mut write = hold.fenced();
            write.add_set_data(&place.node(), changed.as_bytes(), None);
            return match write.commit().await {
                Ok(_) => Ok(Written::Yes),
                Err(FencedWriteError::Lost(_)) => Ok(Written::No),
                Err(FencedWriteError::Indeterminate) => Ok(Written::Unknown),
                Err(error) => Err(text(error)),
            };
        }
        loop {
            if let Ok(client) = self.zk.client().await {
                if client.set_data(&place.node(), changed.as_bytes(), None).await.is_ok() {
                    return Ok(Written::Yes);
                }
            }
            sleep(LOOK * 10).await;
        }
    }
}

enum Written {
    Yes,
    No,
    Unknown,
}
