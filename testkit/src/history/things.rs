//! Things whose histories can be [linearizable](super::linear::linearizable).

use super::linear::Sequential;

/// What is held in shares: of a lock there is one, of a semaphore there are its permits, and a writer takes all of them.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// How many there are.
    pub limit: u32,
}

/// What holders do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Takes so many shares; all of them with a greater token than those that were granted before.
    Acquire {
        /// How many shares.
        shares: u32,
        /// The fencing token.
        token: i64,
    },
    /// Gives so many back.
    Release {
        /// How many shares.
        shares: u32,
    },
}

/// How many shares are taken, and the greatest tokens of a grant of all of them, and of any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Taken {
    shares: u32,
    of_all: i64,
    of_any: i64,
}

impl Sequential for Shares {
    type State = Taken;
    type Op = Holding;

    fn start(&self) -> Taken {
        Taken {
            shares: 0,
            of_all: i64::MIN,
            of_any: i64::MIN,
        }
    }

    fn step(&self, taken: &Taken, op: &Holding) -> Option<Taken> {
        let mut after = *taken;
        match *op {
            Holding::Acquire { shares, token } => {
                after.shares = taken.shares.checked_add(shares).filter(|sum| *sum <= self.limit)?;
                let is_all = shares == self.limit;
                if token <= if is_all { taken.of_any } else { taken.of_all } {
                    return None;
                }
                after.of_any = taken.of_any.max(token);
                if is_all {
                    after.of_all = token;
                }
            }
            Holding::Release { shares } => after.shares = taken.shares.checked_sub(shares)?,
        }
        Some(after)
    }
}

/// A register that is read, and then written with what comes next.
#[derive(Debug, Clone, Copy)]
pub struct Register;

/// What is done to a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It holds this.
    Read(u64),
    /// It held the first, and holds the second from then on.
    Change(u64, u64),
}

impl Sequential for Register {
    type State = u64;
    type Op = Access;

    fn start(&self) -> u64 {
        0
    }

    fn step(&self, held: &u64, op: &Access) -> Option<u64> {
        match *op {
            Access::Read(found) => (found == *held).then_some(found),
            Access::Change(from, to) => (from == *held).then_some(to),
        }
    }
}
