//! What is contended for: a recipe, and what is done under it with which care.

use std::fmt;

use zookeeper_recipes::{
    Coordinator, Error, FairLock, FairLockGuard, Hold, LeaderElection, Leadership, Permit, PermitError, ReleaseError,
    RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore,
};

/// All readers together are fewer.
pub(super) const READERS: u32 = 100;

/// A recipe, and how many shares of it there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Recipe {
    FairLock,
    RwLock,
    /// With so many permits.
    Semaphore(u32),
    LeaderElection,
}

/// What is done while it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Duty {
    /// Nothing: the lock itself is judged.
    Mutex,
    /// An element is added to a set, in a file that all processes share and that knows of no lock.
    SetInMemory(Care),
    /// An element is added to a set in the ensemble.
    SetInEnsemble(Care),
    /// A register in the ensemble is read, and written with the next number.
    Register(Care),
}

/// What the holder does against a pause that outlasts its hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Care {
    /// Nothing: it writes what it has decided to write, until that is written.
    Blind,
    /// It looks at its guard before it writes.
    Looked,
    /// It writes by the guard's own transaction.
    Fenced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) recipe: Recipe,
    pub(crate) duty: Duty,
    /// Several, so that not all clients soon wait behind one that is dead.
    pub(crate) copy: u8,
}

const COPIES: u8 = 4;

use self::{Care::*, Duty::*, Recipe as R};

const fn place(recipe: R, duty: Duty) -> Place {
    Place { recipe, duty, copy: 0 }
}

/// Each group is served by one task of each client.
pub(crate) const GROUPS: &[&[Place]] = &[
    &[
        place(R::FairLock, Mutex),
        place(R::RwLock, Mutex),
        place(R::Semaphore(3), Mutex),
        place(R::LeaderElection, Mutex),
    ],
    &[
        place(R::FairLock, SetInMemory(Blind)),
        place(R::FairLock, SetInMemory(Looked)),
        place(R::RwLock, SetInMemory(Blind)),
        place(R::RwLock, SetInMemory(Looked)),
        place(R::Semaphore(1), SetInMemory(Blind)),
        place(R::Semaphore(1), SetInMemory(Looked)),
    ],
    &[
        place(R::FairLock, SetInEnsemble(Blind)),
        place(R::FairLock, SetInEnsemble(Fenced)),
        place(R::RwLock, SetInEnsemble(Blind)),
        place(R::RwLock, SetInEnsemble(Fenced)),
        place(R::Semaphore(1), SetInEnsemble(Blind)),
        place(R::Semaphore(1), SetInEnsemble(Fenced)),
    ],
    &[
        place(R::LeaderElection, Register(Blind)),
        place(R::LeaderElection, Register(Fenced)),
    ],
];

pub(crate) fn all() -> impl Iterator<Item = Place> {
    let places = GROUPS.iter().flat_map(|group| group.iter());
    places.flat_map(|place| (0..COPIES).map(|copy| Place { copy, ..*place }))
}

impl Place {
    /// One of a group.
    pub(super) fn random(group: &[Self], random: &mut fastrand::Rng) -> Self {
        Self {
            copy: random.u8(..COPIES),
            ..group[random.usize(..group.len())]
        }
    }

    /// What is judged, in one word.
    pub(crate) fn subject(self) -> String {
        let recipe = match self.recipe {
            R::Semaphore(permits) => format!("Semaphore{permits}"),
            recipe => format!("{recipe:?}"),
        };
        match self.duty {
            Mutex => format!("{recipe}-Mutex"),
            SetInMemory(care) => format!("{recipe}-SetInMemory-{care:?}"),
            SetInEnsemble(care) => format!("{recipe}-SetInEnsemble-{care:?}"),
            Register(care) => format!("{recipe}-Register-{care:?}"),
        }
    }

    /// Where no node is in the end.
    pub(crate) fn emptied(self) -> Vec<String> {
        let line = self.line();
        match self.recipe {
            R::Semaphore(_) => vec![format!("{line}/locks"), format!("{line}/leases")],
            _ => vec![line],
        }
    }

    /// Where the recipe is.
    pub(crate) fn line(self) -> String {
        format!("/jepsen/{self}")
    }

    /// Where the set or the register in the ensemble is.
    pub(crate) fn node(self) -> String {
        format!("/kept/{self}")
    }

    /// How many shares there are: a writer takes all.
    pub(crate) fn limit(self) -> u32 {
        match self.recipe {
            R::RwLock => READERS,
            R::Semaphore(permits) => permits,
            R::FairLock | R::LeaderElection => 1,
        }
    }

    pub(crate) fn care(self) -> Care {
        match self.duty {
            Mutex => Looked,
            SetInMemory(care) | SetInEnsemble(care) | Register(care) => care,
        }
    }

    /// Waits for so many shares.
    pub(super) async fn take(self, zk: &Coordinator, shares: u32) -> Result<Taken, String> {
        let (line, text) = (self.line(), |error: Error| error.to_string());
        Ok(match self.recipe {
            R::FairLock => {
                let lock = FairLock::new(zk, &line).map_err(text)?;
                Taken::Lock(lock.acquire().await.map_err(text)?)
            }
            R::RwLock => {
                let lock = RwLock::new(zk, &line).map_err(text)?;
                match shares {
                    READERS => Taken::Writer(lock.write().await.map_err(text)?),
                    _ => Taken::Reader(lock.read().await.map_err(text)?),
                }
            }
            R::Semaphore(permits) => {
                let semaphore = Semaphore::new(zk, &line, permits).map_err(text)?;
                let permit = semaphore.acquire_many(shares).await;
                Taken::Permit(permit.map_err(|error: PermitError| error.to_string())?)
            }
            R::LeaderElection => {
                let election = LeaderElection::new(zk, &line).map_err(text)?;
                Taken::Leader(Box::new(election.campaign("").await.map_err(text)?))
            }
        })
    }
}

/// For the log and for paths: one word.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.subject(), self.copy)
    }
}

/// A guard of any recipe.
pub(super) enum Taken {
    Lock(FairLockGuard),
    Writer(RwLockWriteGuard),
    Reader(RwLockReadGuard),
    Permit(Permit),
    Leader(Box<Leadership>),
}

impl Taken {
    pub(super) fn hold(&self) -> &Hold {
        match self {
            Self::Lock(guard) => guard,
            Self::Writer(guard) => guard,
            Self::Reader(guard) => guard,
            Self::Permit(permit) => permit,
            Self::Leader(leadership) => leadership,
        }
    }

    pub(super) async fn release(self) -> Result<(), ReleaseError> {
        match self {
            Self::Lock(guard) => guard.release().await,
            Self::Writer(guard) => guard.release().await,
            Self::Reader(guard) => guard.release().await,
            Self::Permit(permit) => permit.release().await,
            Self::Leader(leadership) => leadership.resign().await,
        }
    }
}
