//! One line of contenders of several implementations: who is granted when, and what becomes of it when sessions end.

use std::fmt::Debug;
use std::ops::Deref;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::{
    Coordinator, FairLockGuard, Hold, Leadership, LostSignal, Permit, ReleaseError, RwLockReadGuard, RwLockWriteGuard,
};
use zookeeper_testkit::{Fixture, Mode, eventually, within};

use crate::peer::{Actor, Told};
use crate::support::{Intervals, Nanos, PATIENCE, expire};

/// In which a wrong grant would have come. One that comes later is seen elsewhere, if at all.
const A_WHILE: Duration = Duration::from_millis(200);

type Step<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Somebody who will stand in line, once.
pub(crate) struct Contender {
    who: String,
    client: ClientOf,
    acquire: Step<Held>,
}

#[derive(Clone)]
enum ClientOf {
    Ours(Coordinator),
    Theirs(Actor),
}

/// A place that is held.
struct Held {
    since: Nanos,
    /// Ours alone signal a loss.
    lost: Option<LostSignal>,
    release: Step<()>,
}

/// A contender that stands in line.
struct Standing {
    who: String,
    client: ClientOf,
    granted: JoinHandle<Held>,
}

/// A guard of any recipe of ours.
pub(crate) trait Guard: Deref<Target = Hold> + Send + 'static {
    fn give_up(self) -> impl Future<Output = Result<(), ReleaseError>> + Send;
}

impl Guard for FairLockGuard {
    fn give_up(self) -> impl Future<Output = Result<(), ReleaseError>> + Send {
        self.release()
    }
}

impl Guard for RwLockReadGuard {
    fn give_up(self) -> impl Future<Output = Result<(), ReleaseError>> + Send {
        self.release()
    }
}

impl Guard for RwLockWriteGuard {
    fn give_up(self) -> impl Future<Output = Result<(), ReleaseError>> + Send {
        self.release()
    }
}

impl Guard for Permit {
    fn give_up(self) -> impl Future<Output = Result<(), ReleaseError>> + Send {
        self.release()
    }
}

impl Guard for Leadership {
    fn give_up(self) -> impl Future<Output = Result<(), ReleaseError>> + Send {
        self.resign()
    }
}

impl Contender {
    /// Ours, with what it does to be granted.
    pub(crate) fn ours<G: Guard, E: Debug>(
        zk: &Coordinator,
        acquire: impl Future<Output = Result<G, E>> + Send + 'static,
    ) -> Self {
        let acquire = Box::pin(async move {
            let guard = acquire.await.unwrap_or_else(|err| panic!("not acquired: {err:?}"));
            let since = Nanos::now();
            let lost = Some(guard.lost());
            let release: Step<()> = Box::pin(async move {
                let released = guard.give_up().await;
                released.unwrap_or_else(|err| panic!("not released: {err}"));
            });
            Held { since, lost, release }
        });
        Self {
            who: "ours".to_owned(),
            client: ClientOf::Ours(zk.clone()),
            acquire,
        }
    }

    /// Theirs, with the commands by which it acquires and releases.
    pub(crate) fn theirs(actor: &Actor, acquire: &str, release: &str) -> Self {
        let (telling, acquire, release) = (actor.clone(), acquire.to_owned(), release.to_owned());
        let acquire = Box::pin(async move {
            let told = telling.tell(&acquire);
            let answer = told.answer().await.expect("the peer lives");
            let text = answer
                .outcome
                .unwrap_or_else(|failure| panic!("not acquired: {failure}"));
            assert_ne!(text, "timeout");
            let release: Step<()> = Box::pin(async move {
                telling.ask(&release).await;
            });
            Held {
                since: answer.at,
                lost: None,
                release,
            }
        });
        Self {
            who: "theirs".to_owned(),
            client: ClientOf::Theirs(actor.clone()),
            acquire,
        }
    }

    /// Joins the line in `dir` as its `place`-th contender, and waits until it stands there.
    async fn join(self, fixture: &Fixture, dir: &str, place: usize) -> Standing {
        let granted = tokio::spawn(self.acquire);
        let (who, client) = (format!("{} {place}", self.who), self.client);
        fixture.until_children(dir, place).await;
        Standing { who, client, granted }
    }
}

impl Standing {
    async fn held(&mut self) -> Held {
        let held = within(PATIENCE, format!("{} is granted", self.who), &mut self.granted).await;
        held.unwrap_or_else(|err| panic!("{}: {err}", self.who))
    }

    async fn expire(&self, fixture: &Fixture) {
        match &self.client {
            ClientOf::Ours(zk) => expire(fixture, zk).await,
            ClientOf::Theirs(actor) => actor.expire().await,
        }
    }

    /// Ends its session while it waits, and waits until it stands in the line again, at the tail.
    async fn expire_waiting(&self, fixture: &Fixture, dir: &str) {
        let before = fixture.children(dir).await;
        assert!(!self.granted.is_finished(), "{} waits", self.who);
        self.expire(fixture).await;
        eventually(PATIENCE, format!("{} stands in line again", self.who), || async {
            let now = fixture.children(dir).await;
            now.len() == before.len() && now != before
        })
        .await;
    }
}

/// Puts `contenders` in line in `dir` one after the other, and lets each hold the place until it is the next one's turn.
/// Each must be granted in its turn and only after the one before it has begun to release.
pub(crate) async fn is_served_in_order(fixture: &Fixture, dir: &str, contenders: Vec<Contender>) {
    let turns = contenders.into_iter().map(|contender| vec![contender]);
    is_served_in_turns(fixture, dir, turns.collect()).await;
}

/// As [`is_served_in_order`], with turns of several contenders who share the place.
pub(crate) async fn is_served_in_turns(fixture: &Fixture, dir: &str, turns: Vec<Vec<Contender>>) {
    is_served_in_turns_after(fixture, dir, turns, async {}).await;
}

/// As [`is_served_in_turns`], where none of them is granted before `gate` opens, once all stand in line.
pub(crate) async fn is_served_in_turns_after(
    fixture: &Fixture,
    dir: &str,
    turns: Vec<Vec<Contender>>,
    gate: impl Future<Output = ()>,
) {
    let mut line: Vec<Vec<Standing>> = Vec::new();
    let mut places = 1..;
    for turn in turns {
        let mut standing = Vec::new();
        for (contender, place) in turn.into_iter().zip(&mut places) {
            standing.push(contender.join(fixture, dir, place).await);
        }
        line.push(standing);
    }
    gate.await;
    let intervals = Intervals::new();
    let mut tokens = 0..;
    for turn in 0..line.len() {
        let mode = if line[turn].len() > 1 {
            Mode::Shared
        } else {
            Mode::Exclusive
        };
        let mut all_held = Vec::new();
        for standing in &mut line[turn] {
            all_held.push((standing.who.clone(), standing.held().await));
        }
        // A wrong grant needs its time to come. One that comes later still shows in the intervals.
        tokio::time::sleep(A_WHILE).await;
        for other in line[turn + 1..].iter().flatten() {
            assert!(!other.granted.is_finished(), "{} is granted in turn {turn}", other.who);
        }
        for (who, held) in all_held {
            let token = tokens.next().expect("a short line");
            intervals.record(dir, &who, mode, token, held.since, Nanos::now());
            within(PATIENCE, format!("{who} releases"), held.release).await;
        }
    }
    intervals.history().assert_sound();
    fixture.assert_no_nodes_left(&[dir]).await;
}

/// Lets sessions of waiters and holders end, in a line of theirs, ours, theirs, ours: nobody else loses its turn, and the
/// waiters come again, at the tail.
pub(crate) async fn survives_the_end_of_sessions(fixture: &Fixture, dir: &str, contenders: [Contender; 4]) {
    let mut line = Vec::new();
    for contender in contenders {
        line.push(contender.join(fixture, dir, line.len() + 1).await);
    }
    let [mut theirs_first, mut ours_first, mut theirs_second, mut ours_second] =
        line.try_into().ok().expect("there are four");
    let held = theirs_first.held().await;

    ours_first.expire_waiting(fixture, dir).await;
    theirs_second.expire_waiting(fixture, dir).await;
    // Now: theirs_first (holds), ours_second, ours_first, theirs_second.
    theirs_first.expire(fixture).await;
    let ours_held = ours_second.held().await;
    // It does not learn that the place is no longer its own, and its release takes nothing from anybody.
    within(PATIENCE, "the loser releases what it has lost", held.release).await;
    assert!(!ours_first.granted.is_finished() && !theirs_second.granted.is_finished());

    ours_second.expire(fixture).await;
    let lost = ours_held.lost.expect("ours signal a loss");
    within(PATIENCE, "the loss is signalled", lost).await;
    drop(ours_held.release);

    let held = ours_first.held().await;
    assert!(!theirs_second.granted.is_finished(), "it stands behind");
    within(PATIENCE, "release", held.release).await;
    let held = theirs_second.held().await;
    within(PATIENCE, "release", held.release).await;
    fixture.assert_no_nodes_left(&[dir]).await;
}

/// Whether `told` is still under way after a while in which what it waits for would have reached it.
pub(crate) async fn still_waits(told: &Told) -> bool {
    tokio::time::sleep(A_WHILE).await;
    told.is_pending()
}

/// As [`still_waits`], of a task of ours.
pub(crate) async fn waits_on<T>(task: &JoinHandle<T>) -> bool {
    tokio::time::sleep(A_WHILE).await;
    !task.is_finished()
}
