//! [`Guard`]: what is held, whichever recipe gave it.

use std::time::Duration;

use zookeeper_recipes::{
    AcquireTimeoutError, Coordinator, ElectionLayout, FairLock, FairLockGuard, Hold, Layout, LeaderElection,
    Leadership, MultiLock, MultiLockGuard, Permit, PermitError, PermitTimeoutError, ReleaseError, RwLock,
    RwLockReadGuard, RwLockWriteGuard, Semaphore, TimeoutError, TryAcquireError, TryPermitError,
};

use super::args::{ElectLayout, LockLayout, Place};
use crate::failure::{Failure, chain};

/// A held place.
#[derive(Debug)]
pub(super) enum Guard {
    Lock(FairLockGuard),
    All(MultiLockGuard),
    Read(RwLockReadGuard),
    Write(RwLockWriteGuard),
    Permit(Permit),
    Leader(Box<Leadership>),
}

impl Guard {
    fn leader(leadership: Leadership) -> Self {
        Self::Leader(Box::new(leadership))
    }

    pub(super) fn hold(&self) -> &Hold {
        match self {
            Self::Lock(guard) => guard,
            Self::All(guard) => guard,
            Self::Read(guard) => guard,
            Self::Write(guard) => guard,
            Self::Permit(guard) => guard,
            Self::Leader(guard) => guard,
        }
    }

    pub(super) async fn release(self) -> Result<(), ReleaseError> {
        match self {
            Self::Lock(guard) => guard.release().await,
            Self::All(guard) => guard.release().await,
            Self::Read(guard) => guard.release().await,
            Self::Write(guard) => guard.release().await,
            Self::Permit(guard) => guard.release().await,
            Self::Leader(guard) => guard.resign().await,
        }
    }
}

/// Calls a method of a recipe, with the reason where there is one.
macro_rules! because {
    ($why:expr, $recipe:expr, $plain:ident, $with:ident $(, $limit:expr)?) => {
        match $why {
            Some(why) => $recipe.$with(why $(, $limit)?).await,
            None => $recipe.$plain($($limit)?).await,
        }
    };
}

/// A recipe at a path.
#[derive(Debug)]
pub(super) enum Recipe {
    Lock(FairLock),
    All(MultiLock),
    Read(RwLock),
    Write(RwLock),
    Permit(Semaphore, u32),
    Elect(LeaderElection, String),
}

impl Recipe {
    pub(super) fn new(zk: &Coordinator, path: &str, place: &Place, id: &str) -> Result<Self, Failure> {
        Ok(match place {
            Place::Lock { layout, also } => {
                let layout = match layout {
                    LockLayout::Curator => Layout::Curator,
                    LockLayout::Kazoo => Layout::Kazoo,
                };
                let all = std::iter::once(path).chain(also.iter().map(String::as_str));
                match also.is_empty() {
                    true => Self::Lock(FairLock::builder(zk, path).layout(layout).build()?),
                    false => Self::All(MultiLock::builder(zk, all).layout(layout).build()?),
                }
            }
            Place::Read => Self::Read(RwLock::new(zk, path)?),
            Place::Write => Self::Write(RwLock::new(zk, path)?),
            Place::Permit { of, take } => Self::Permit(Semaphore::new(zk, path, *of)?, *take),
            Place::Elect { layout, .. } => {
                let layout = match layout {
                    ElectLayout::Latch => ElectionLayout::LeaderLatch,
                    ElectLayout::Selector => ElectionLayout::LeaderSelector,
                };
                let election = LeaderElection::builder(zk, path).layout(layout).build()?;
                Self::Elect(election, id.to_owned())
            }
        })
    }

    /// Takes the place. No limit waits for ever, a limit of zero reads and leaves no node.
    pub(super) async fn acquire(&self, limit: Option<Duration>, why: Option<&str>) -> Result<Guard, Failure> {
        match limit {
            None => self.wait(why).await,
            Some(Duration::ZERO) => self.take(why).await,
            Some(limit) => self.wait_for(limit, why).await,
        }
    }

    async fn wait(&self, why: Option<&str>) -> Result<Guard, Failure> {
        Ok(match self {
            Self::Lock(lock) => Guard::Lock(because!(why, lock, acquire, acquire_as)?),
            Self::All(lock) => Guard::All(because!(why, lock, acquire, acquire_as)?),
            Self::Read(lock) => Guard::Read(because!(why, lock, read, read_as)?),
            Self::Write(lock) => Guard::Write(because!(why, lock, write, write_as)?),
            Self::Permit(semaphore, take) => {
                let permits = match why {
                    Some(why) => semaphore.acquire_many_as(*take, why).await,
                    None => semaphore.acquire_many(*take).await,
                };
                Guard::Permit(permits.map_err(permit)?)
            }
            Self::Elect(election, id) => Guard::leader(match why {
                Some(why) => election.campaign_as(id.clone(), why).await?,
                None => election.campaign(id.clone()).await?,
            }),
        })
    }

    async fn take(&self, why: Option<&str>) -> Result<Guard, Failure> {
        match self {
            Self::Lock(lock) => because!(why, lock, try_acquire, try_acquire_as)
                .map(Guard::Lock)
                .map_err(contended),
            Self::All(lock) => because!(why, lock, try_acquire, try_acquire_as)
                .map(Guard::All)
                .map_err(contended),
            Self::Read(lock) => because!(why, lock, try_read, try_read_as)
                .map(Guard::Read)
                .map_err(contended),
            Self::Write(lock) => because!(why, lock, try_write, try_write_as)
                .map(Guard::Write)
                .map_err(contended),
            Self::Elect(election, id) => {
                let campaign = match why {
                    Some(why) => election.try_campaign_as(id.clone(), why).await,
                    None => election.try_campaign(id.clone()).await,
                };
                campaign.map(Guard::leader).map_err(contended)
            }
            Self::Permit(semaphore, take) => match semaphore.try_acquire_many(*take).await {
                Ok(guard) => Ok(Guard::Permit(guard)),
                Err(TryPermitError::Permit(error)) => Err(permit(error)),
                Err(error) => Err(Failure::no(format!("{}: {error}", semaphore.path()))),
            },
        }
    }

    async fn wait_for(&self, limit: Duration, why: Option<&str>) -> Result<Guard, Failure> {
        match self {
            Self::Lock(lock) => because!(why, lock, acquire_timeout, acquire_timeout_as, limit)
                .map(Guard::Lock)
                .map_err(elapsed),
            Self::All(lock) => because!(why, lock, acquire_timeout, acquire_timeout_as, limit)
                .map(Guard::All)
                .map_err(elapsed),
            Self::Read(lock) => because!(why, lock, read_timeout, read_timeout_as, limit)
                .map(Guard::Read)
                .map_err(elapsed),
            Self::Write(lock) => because!(why, lock, write_timeout, write_timeout_as, limit)
                .map(Guard::Write)
                .map_err(elapsed),
            Self::Elect(election, id) => {
                let campaign = match why {
                    Some(why) => election.campaign_timeout_as(id.clone(), why, limit).await,
                    None => election.campaign_timeout(id.clone(), limit).await,
                };
                campaign.map(Guard::leader).map_err(elapsed)
            }
            Self::Permit(semaphore, take) => {
                let permits = match why {
                    Some(why) => semaphore.acquire_many_timeout_as(*take, why, limit).await,
                    None => semaphore.acquire_many_timeout(*take, limit).await,
                };
                permits.map(Guard::Permit).map_err(permits_elapsed)
            }
        }
    }

    /// Who is waited for, and how many are ahead, as a line for people.
    pub(super) async fn blocker(&self, own: &str) -> Option<String> {
        let ahead: Vec<(Vec<u8>, Duration)> = match self {
            Self::Lock(lock) => lock.contenders().await.ok()?.into_iter().map(seen).collect(),
            Self::Read(lock) | Self::Write(lock) => lock.contenders().await.ok()?.into_iter().map(seen).collect(),
            Self::Permit(..) => return Some("no permits are free".to_owned()),
            Self::All(_) => return Some("one of its paths is held; zkr who tells by whom".to_owned()),
            Self::Elect(election, _) => {
                let leader = election.leader().await.ok()??;
                return Some(format!("{} leads", crate::output::clean(&leader.value)));
            }
        };
        let place = ahead.iter().position(|(identity, _)| identity == own.as_bytes())?;
        let (holder, age) = ahead.first().filter(|_| place > 0)?;
        Some(format!(
            "held by {} ({}), {} ahead",
            crate::output::clean(holder),
            crate::time::show_duration(*age),
            place - 1
        ))
    }
}

fn seen(contender: zookeeper_recipes::Contender) -> (Vec<u8>, Duration) {
    (contender.identity.to_vec(), crate::time::age(contender.since))
}

fn contended(error: TryAcquireError) -> Failure {
    match error {
        TryAcquireError::Error(error) => error.into(),
        other => Failure::no(chain(&other)),
    }
}

fn elapsed(error: AcquireTimeoutError) -> Failure {
    match error {
        AcquireTimeoutError::Error(error) => error.into(),
        AcquireTimeoutError::Elapsed {
            connected: false,
            ref path,
            after,
            ..
        } => Failure::no(format!(
            "{path}: not granted within {} ms; could not tell who holds it: not connected",
            after.as_millis()
        )),
        other => Failure::no(chain(&other)),
    }
}

fn permit(error: PermitError) -> Failure {
    match error {
        PermitError::Error(error) => error.into(),
        PermitError::Mismatch { .. } => Failure::layout(chain(&error)),
        other => Failure::usage(chain(&other)),
    }
}

fn permits_elapsed(error: PermitTimeoutError) -> Failure {
    match error {
        TimeoutError::Error(error) => permit(error),
        other => Failure::no(chain(&other)),
    }
}
