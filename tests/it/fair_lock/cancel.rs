//! Whatever is dropped wherever, nothing of it is left in the directory while the session lives, and whoever is behind
//! gets its turn.

use std::future::{self, Future};
use std::pin::Pin;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use zookeeper_recipes::{Coordinator, Error, FairLock, FairLockGuard, LossReason, RunError, TryAcquireError};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::polls::poll_times;
use crate::support::{
    LONG, PATIENCE, SILENCE, acquire, connect, connect_here, granted, join_line, lock, loss, session_id, start_each,
};

/// What is in front of the contender that is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    Nobody,
    /// A holder that stays until the cancellation is over.
    Stays,
    /// A holder that releases as soon as somebody stands behind it.
    Leaves,
}

/// When the one behind joins the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    BeforeTheDrop,
    AfterTheDrop,
}

const FRONTS: [Front; 3] = [Front::Nobody, Front::Stays, Front::Leaves];
const BEHINDS: [Behind; 2] = [Behind::BeforeTheDrop, Behind::AfterTheDrop];

type Attempt<'a> = Pin<Box<dyn Future<Output = Option<FairLockGuard>> + 'a>>;

/// Three sessions on one lock.
struct Line {
    fixture: Fixture,
    mine: (Coordinator, i64),
    front: FairLock,
    behind: (FairLock, i64),
}

impl Line {
    async fn new(name: &str) -> Self {
        let (fixture, [mine, front, behind]) = start_each(name).await;
        Self {
            mine: (mine.clone(), session_id(&mine).await),
            front: lock(&front, "/l"),
            behind: (lock(&behind, "/l"), session_id(&behind).await),
            fixture,
        }
    }

    fn mine(&self) -> FairLock {
        lock(&self.mine.0, "/l")
    }

    /// Cancels `attempt` after `polls` polls. Returns whether it had been done, or would have waited for long.
    async fn round(&self, mut attempt: Attempt<'_>, polls: usize, front: Front, behind: Behind) -> bool {
        let holder = match front {
            Front::Nobody => None,
            Front::Stays | Front::Leaves => Some(acquire(&self.front).await),
        };
        let (holder, leaving) = match (front, holder) {
            (Front::Leaves, Some(guard)) => (None, Some(tokio::spawn(leave(self.front.clone(), guard)))),
            (_, holder) => (holder, None),
        };
        let polled = poll_times(attempt.as_mut(), polls);
        let output = match front {
            // Whoever waits for the holder waits for ever.
            Front::Stays => tokio::time::timeout(SILENCE, polled).await.unwrap_or(Some(None)),
            Front::Nobody | Front::Leaves => within(PATIENCE, format!("{polls} polls"), polled).await,
        };
        let (is_over, output) = (output.is_some(), output.flatten());
        assert!(holder.is_none() || output.is_none(), "granted while another holds it");

        let next = match behind {
            Behind::BeforeTheDrop => {
                let next = tokio::spawn(acquire_task(self.behind.0.clone()));
                eventually(PATIENCE, "the one behind stands in line", || async {
                    let owners: Vec<i64> = self.fixture.ephemerals().await.into_values().collect();
                    owners.contains(&self.behind.1)
                })
                .await;
                drop(attempt);
                next
            }
            Behind::AfterTheDrop => {
                drop(attempt);
                tokio::spawn(acquire_task(self.behind.0.clone()))
            }
        };
        drop(output);
        if let Some(leaving) = leaving {
            leaving.abort();
        }
        if let Some(holder) = holder {
            assert!(!next.is_finished(), "granted while another holds it");
            holder.release().await.unwrap();
        }
        granted(next).await.release().await.unwrap();
        self.fixture.until_children("/l", 0).await;
        is_over
    }

    /// Cancels at every await point, in every situation, `rounds` times at least.
    async fn walk(&self, rounds: usize, attempt: impl for<'a> Fn(&'a FairLock) -> Attempt<'a>) {
        let mine = self.mine();
        let (mut total, mut most) = (0, 0);
        while total < rounds {
            for (front, behind) in FRONTS
                .into_iter()
                .flat_map(|front| BEHINDS.map(|behind| (front, behind)))
            {
                for polls in 0.. {
                    total += 1;
                    most = most.max(polls);
                    if self.round(attempt(&mine), polls, front, behind).await {
                        break;
                    }
                }
            }
        }
        println!("{total} rounds, dropped after up to {most} polls");
        self.finish().await;
    }

    /// Nothing is left while the session of the cancelled ones still lives.
    async fn finish(&self) {
        self.fixture.until_children("/l", 0).await;
        let (zk, id) = &self.mine;
        assert_eq!(session_id(zk).await, *id, "the session must outlive what was cancelled");
        zk.client().await.unwrap().check_stat("/").await.unwrap();
        self.fixture.assert_no_nodes_left(&["/l"]).await;
    }
}

async fn leave(lock: FairLock, guard: FairLockGuard) {
    while lock.contenders().await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    guard.release().await.unwrap();
}

async fn acquire_task(lock: FairLock) -> Result<FairLockGuard, Error> {
    lock.acquire().await
}

#[tokio::test]
async fn an_acquire_dropped_anywhere_leaves_nothing() {
    let line = Line::new("acquire").await;
    line.walk(200, |lock| Box::pin(async { Some(lock.acquire().await.unwrap()) }))
        .await;
}

#[tokio::test]
async fn an_acquire_timeout_dropped_anywhere_leaves_nothing() {
    let line = Line::new("acquire_timeout").await;
    line.walk(60, |lock| {
        Box::pin(async { Some(lock.acquire_timeout(LONG).await.unwrap()) })
    })
    .await;
}

#[tokio::test]
async fn an_acquire_dropped_at_its_deadline_leaves_nothing() {
    let line = Line::new("acquire_timeout elapses").await;
    let limit = SILENCE / 20;
    line.walk(60, |lock| {
        Box::pin(async move { lock.acquire_timeout(limit).await.ok() })
    })
    .await;
}

#[tokio::test]
async fn a_try_acquire_dropped_anywhere_leaves_nothing() {
    let line = Line::new("try_acquire").await;
    line.walk(60, |lock| {
        Box::pin(async {
            match lock.try_acquire().await {
                Ok(guard) => Some(guard),
                Err(TryAcquireError::Contended) => None,
                Err(err) => panic!("{err}"),
            }
        })
    })
    .await;
}

#[tokio::test]
async fn a_run_dropped_anywhere_leaves_nothing() {
    let line = Line::new("run").await;
    line.walk(60, |lock| {
        Box::pin(async {
            let work = lock.run(|_| async {
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                }
            });
            work.await.unwrap();
            None
        })
    })
    .await;
}

#[tokio::test]
async fn a_release_dropped_anywhere_releases() {
    let line = Line::new("release").await;
    let mine = line.mine();
    for _ in 0..10 {
        for polls in 0.. {
            let guard = acquire(&mine).await;
            let next = join_line(&line.fixture, &line.behind.0, 2).await;
            let mut release = Box::pin(guard.release());
            let released = within(PATIENCE, "polled", poll_times(release.as_mut(), polls)).await;
            drop(release);
            granted(next).await.release().await.unwrap();
            line.fixture.until_children("/l", 0).await;
            if let Some(released) = released {
                released.unwrap();
                break;
            }
        }
    }
    line.finish().await;
}

#[tokio::test]
async fn a_close_polled_once_closes_though_dropped() {
    let line = Line::new("close").await;
    for _ in 0..3 {
        for polls in 0.. {
            let zk = connect(&line.fixture).await;
            let guard = acquire(&lock(&zk, "/l")).await;
            let next = join_line(&line.fixture, &line.behind.0, 2).await;
            let mut close = Box::pin(zk.close());
            let closed = within(PATIENCE, "polled", poll_times(close.as_mut(), polls)).await;
            drop(close);
            if polls == 0 {
                assert!(guard.is_held(), "a close that was never polled closes nothing");
                guard.release().await.unwrap();
            } else {
                assert_eq!(within(PATIENCE, "closed", guard.lost()).await, LossReason::Closed);
            }
            granted(next).await.release().await.unwrap();
            line.fixture.until_children("/l", 0).await;
            if closed.is_some() {
                break;
            }
        }
    }
    line.finish().await;
}

#[tokio::test]
async fn an_acquire_dropped_by_a_timeout_leaves_nothing() {
    let line = Line::new("timeout").await;
    let mine = line.mine();
    for round in 0..60_u64 {
        let holder = if round % 2 == 0 {
            Some(acquire(&line.front).await)
        } else {
            None
        };
        let limit = Duration::from_micros(round * 200);
        let result = tokio::time::timeout(limit, mine.acquire()).await;
        assert!(holder.is_none() || result.is_err(), "granted while another holds it");
        let next = tokio::spawn(acquire_task(line.behind.0.clone()));
        drop((result, holder));
        granted(next).await.release().await.unwrap();
        line.fixture.until_children("/l", 0).await;
    }
    line.finish().await;
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_runtime_shut_down_mid_acquire_leaves_nothing() {
    let line = Line::new("other runtime").await;
    for wait_for_the_node in [true, false, true] {
        let holder = acquire(&line.front).await;
        let other = runtime();
        other.spawn(acquire_task(line.mine()));
        let running = lock(&line.mine.0, "/m");
        other.spawn(async move { running.run(|_| future::pending::<()>()).await });
        if wait_for_the_node {
            line.fixture.until_children("/l", 2).await;
            line.fixture.until_children("/m", 1).await;
        }
        let next = join_behind(&line, holder.path()).await;
        other.shutdown_background();
        holder.release().await.unwrap();
        granted(next).await.release().await.unwrap();
        line.fixture.until_children("/l", 0).await;
        line.fixture.until_children("/m", 0).await;
    }
    line.finish().await;
}

/// Begins to acquire behind `holder` and whoever else is there.
async fn join_behind(line: &Line, holder: &str) -> tokio::task::JoinHandle<Result<FairLockGuard, Error>> {
    let next = tokio::spawn(acquire_task(line.behind.0.clone()));
    eventually(PATIENCE, format!("somebody stands behind {holder}"), || async {
        line.fixture
            .ephemerals()
            .await
            .into_values()
            .any(|owner| owner == line.behind.1)
    })
    .await;
    next
}

/// Nobody is left to remove anything, so it goes with the session. What still waits elsewhere is told.
#[tokio::test]
async fn all_calls_end_with_the_coordinators_runtime() {
    let line = Line::new("own runtime").await;
    let own = runtime();
    let servers = line.fixture.connect_string();
    let connecting = own.spawn(async move { connect_here(&servers, Duration::from_secs(2)).await });
    let zk = connecting.await.unwrap();
    let guard = acquire(&lock(&zk, "/held")).await;
    let holder = acquire(&line.front).await;
    // One that waits here, and one that waits in the runtime itself.
    let here = join_line(&line.fixture, &lock(&zk, "/l"), 2).await;
    own.spawn(acquire_task(lock(&zk, "/l")));
    line.fixture.until_children("/l", 3).await;

    own.shutdown_background();
    loss(&guard).await;
    assert!(!guard.is_held());
    let failed = within(PATIENCE, "the waiter is told", here).await.unwrap();
    assert_eq!(failed.unwrap_err(), Error::Closed);
    for end in [
        lock(&zk, "/l").acquire().await.map(drop),
        lock(&zk, "/l").contenders().await.map(drop),
    ] {
        assert_eq!(end.unwrap_err(), Error::Closed);
    }
    assert!(guard.release().await.is_err());
    zk.close().await;

    holder.release().await.unwrap();
    line.fixture.until_children("/l", 0).await;
    line.fixture.until_children("/held", 0).await;
    line.finish().await;
}

#[tokio::test]
async fn panicking_work_gives_the_lock_back() {
    let line = Line::new("panic").await;
    let mine = line.mine();
    let (panic, is_time) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(async move {
        let work = mine.run(|_| async {
            is_time.await.unwrap();
            panic!("as planned");
        });
        work.await
    });
    line.fixture.until_children("/l", 1).await;
    let next = join_line(&line.fixture, &line.behind.0, 2).await;
    panic.send(()).unwrap();
    let ended: Result<Result<(), RunError>, _> = within(PATIENCE, "the panic arrives", running).await;
    assert!(ended.unwrap_err().is_panic());
    granted(next).await.release().await.unwrap();
    line.finish().await;
}

/// A drop neither awaits nor spawns, so it needs no runtime.
#[tokio::test]
async fn guards_dropped_outside_a_runtime_are_removed() {
    let line = Line::new("no runtime").await;
    let guard = acquire(&line.mine()).await;
    let mine = line.mine();
    let mut pending = Box::pin(async move { mine.acquire().await.map(drop) });
    while line.fixture.children("/l").await.len() < 2 {
        let polled = tokio::time::timeout(Duration::from_millis(10), pending.as_mut()).await;
        assert!(polled.is_err(), "granted while another holds it");
    }
    let next = join_line(&line.fixture, &line.behind.0, 3).await;
    std::thread::spawn(move || drop((pending, guard))).join().unwrap();
    granted(next).await.release().await.unwrap();
    line.finish().await;
}
