//! How many permits there are: agreed by all, in the data of the semaphore's node.

use std::sync::Arc;

use zookeeper_client as zk;

use super::errors::PermitError;
use crate::error::Error;
use crate::session::{Interrupted, Operation, Retry, Session, refused};
use crate::znode::{NodePath, Parents, Transaction, commit, ensure_path, read, write};

/// A persistent child of the semaphore's node that keeps the server from removing it, a container, while the number in
/// force is not the agreed one: it would be forgotten.
const KEEPER: &str = "keep";

/// The number of permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// What the semaphore's users were configured with.
    pub(super) agreed: u32,
    /// What it was changed to since; else the agreed number.
    pub(super) in_force: u32,
}

/// What a request for permits comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PermitDecision {
    Grant,
    Wait,
    /// There will never be so many.
    Unsatisfiable,
}

impl Limit {
    pub(super) fn new(permits: u32) -> Self {
        Self {
            agreed: permits,
            in_force: permits,
        }
    }

    /// Decimal digits, `3`; where the number was changed the one in force behind it, `3 5`.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut numbers = std::str::from_utf8(data).ok()?.split(' ');
        let agreed = parse_number(numbers.next()?)?;
        let in_force = numbers.next().map_or(Some(agreed), parse_number)?;
        numbers.next().is_none().then_some(Self { agreed, in_force })
    }

    pub(super) fn to_data(self) -> String {
        if self.is_changed() {
            format!("{} {}", self.agreed, self.in_force)
        } else {
            self.agreed.to_string()
        }
    }

    fn is_changed(self) -> bool {
        self.agreed != self.in_force
    }

    /// Whether a handle with `permits` means this semaphore. The number in force is right, too: a change
    /// that is to stay is followed by one of the configuration.
    fn agrees_with(self, permits: u32) -> bool {
        permits == self.agreed || permits == self.in_force
    }

    /// What comes of a request for `wanted` permits by the one at the head of the line, while `taken` are out.
    pub(super) fn judge(self, taken: usize, wanted: u32) -> PermitDecision {
        let free = usize::try_from(self.in_force).map_or(0, |limit| limit.saturating_sub(taken));
        match usize::try_from(wanted) {
            _ if wanted == 0 || wanted > self.in_force => PermitDecision::Unsatisfiable,
            Ok(wanted) if wanted <= free => PermitDecision::Grant,
            _ => PermitDecision::Wait,
        }
    }
}

/// The rule of permits, for a model.
#[cfg(feature = "_model")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct PermitLimit(Limit);

#[cfg(feature = "_model")]
impl PermitLimit {
    pub(crate) fn of(permits: u32) -> Self {
        Self(Limit::new(permits))
    }

    /// Whether `wanted` are granted while `taken` are out; `None` if they never will be.
    pub(crate) fn is_granted(self, taken: usize, wanted: u32) -> Option<bool> {
        match self.0.judge(taken, wanted) {
            PermitDecision::Grant => Some(true),
            PermitDecision::Wait => Some(false),
            PermitDecision::Unsatisfiable => None,
        }
    }
}

fn parse_number(digits: &str) -> Option<u32> {
    let number: u32 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// Where the number stands, and what we were configured with.
#[derive(Clone, Debug)]
pub(super) struct Agreement {
    pub(super) path: NodePath,
    pub(super) permits: u32,
}

impl Agreement {
    /// The number in the data of the node; `None` if none is agreed yet.
    pub(super) fn check(&self, data: &[u8]) -> Result<Option<Limit>, PermitError> {
        if data.is_empty() {
            return Ok(None);
        }
        let Some(limit) = Limit::parse(data) else {
            let path = self.path.as_str().to_owned();
            let reason = "its data is not the number of permits of a semaphore; use another path, or empty it";
            return Err(Error::Layout { path, reason }.into());
        };
        if !limit.agrees_with(self.permits) {
            return Err(PermitError::Mismatch {
                path: self.path.as_str().to_owned(),
                ours: self.permits,
                agreed: limit.agreed,
            });
        }
        Ok(Some(limit))
    }

    /// Reads the number, or agrees on ours if there is none, and the version of the data that says so.
    pub(super) async fn read(&self, session: &Arc<Session>) -> Result<(Limit, i32), Interrupted<PermitError>> {
        loop {
            let Some((data, stat)) = read(session, self.path.as_str()).await? else {
                ensure_path(session, &self.path, Parents::Containers).await?;
                continue;
            };
            match self.check(&data)? {
                Some(limit) => return Ok((limit, stat.version)),
                None => self.propose(session, stat.version).await?,
            }
        }
    }

    /// Writes our number where there is none.
    async fn propose(&self, session: &Arc<Session>, version: i32) -> Result<(), Interrupted<PermitError>> {
        let (path, data) = (self.path.as_str(), Limit::new(self.permits).to_data());
        let data = data.as_bytes();
        let proposed = write(session, path, data.len(), |client| async move {
            client.set_data(path, data, Some(version)).await
        });
        match proposed.await? {
            // Another process was faster, maybe this one, with a reply that was lost.
            Ok(_) | Err(zk::Error::BadVersion | zk::Error::NoNode) => Ok(()),
            Err(source) => Err(refused(path, source).into()),
        }
    }

    /// Puts another number in force.
    pub(super) async fn change(&self, session: &Arc<Session>, in_force: u32) -> Result<(), Interrupted<PermitError>> {
        let keeper = self.path.child(KEEPER);
        let mut retry = Retry::new(session, self.path.as_str(), 0);
        let mut is_kept = None;
        loop {
            let (before, version) = self.read(session).await?;
            let after = Limit {
                // A handle with the number in force has made that the agreed one.
                agreed: self.permits,
                in_force,
            };
            if after == before {
                return Ok(());
            }
            let is_there = is_kept.unwrap_or(before.is_changed());
            let mut steps = vec![Operation::set_data(self.path.as_str(), after.to_data(), version)];
            match (is_there, after.is_changed()) {
                (false, true) => steps.push(Operation::create(&keeper, Vec::new(), zk::CreateMode::Persistent)),
                (true, false) => steps.push(Operation::delete(&keeper, None)),
                _ => {}
            }
            match commit(&mut retry, session, &steps).await? {
                Transaction::Applied(_) => return Ok(()),
                Transaction::Refused(0, zk::Error::BadVersion | zk::Error::NoNode) => retry.raced().await?,
                Transaction::Refused(1, zk::Error::NodeExists | zk::Error::NoNode) => is_kept = Some(!is_there),
                Transaction::Refused(_, source) => {
                    return Err(refused(self.path.as_str(), source).into());
                }
                Transaction::Unknown => {
                    // Whatever has been written since at this version came after ours, or in its place.
                    let now = read(session, self.path.as_str()).await?;
                    if now.is_some_and(|(_, stat)| stat.version != version) {
                        return Ok(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_written_and_nothing_else_is_one() {
        for (data, limit) in [
            ("3", Some((3, 3))),
            ("0", Some((0, 0))),
            ("3 5", Some((3, 5))),
            ("", None),
            ("03", None),
            ("+3", None),
            ("3 ", None),
            ("3 5 7", None),
            ("127.0.0.1", None),
            ("4294967296", None),
        ] {
            let parsed = Limit::parse(data.as_bytes()).map(|limit| (limit.agreed, limit.in_force));
            assert_eq!(parsed, limit, "{data:?}");
        }
    }

    #[test]
    fn a_number_is_written_once_unless_it_was_changed() {
        assert_eq!(Limit::new(3).to_data(), "3");
        let changed = Limit { agreed: 3, in_force: 5 };
        assert_eq!(changed.to_data(), "3 5");
    }

    #[test]
    fn handles_with_the_agreed_number_or_that_in_force_agree() {
        let path = NodePath::new("/s").unwrap();
        let check = |permits, data: &str| {
            let path = path.clone();
            Agreement { path, permits }.check(data.as_bytes())
        };
        let changed = Limit { agreed: 3, in_force: 5 };
        assert_eq!(
            [check(3, "3 5"), check(5, "3 5")],
            [Ok(Some(changed)), Ok(Some(changed))]
        );
        assert_eq!(check(3, ""), Ok(None));
        let mismatch = PermitError::Mismatch {
            path: "/s".to_owned(),
            ours: 4,
            agreed: 3,
        };
        assert_eq!(check(4, "3 5"), Err(mismatch));
        assert!(matches!(
            check(3, "three"),
            Err(PermitError::Error(Error::Layout { .. }))
        ));
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(agreed: u32, in_force: u32) {
            let limit = Limit { agreed, in_force };
            prop_assert_eq!(Limit::parse(limit.to_data().as_bytes()), Some(limit));
        }

        #[test]
        fn no_data_panics(data: Vec<u8>) {
            Limit::parse(&data);
        }

        /// A grant never exceeds the limit, and a waiter would be granted if all permits came back.
        #[test]
        fn grants_stay_within_the_limit(in_force in 0_u32..20, taken in 0_usize..30, wanted in 0_u32..30) {
            let limit = Limit { agreed: 1, in_force };
            match limit.judge(taken, wanted) {
                PermitDecision::Grant => prop_assert!(wanted > 0 && taken + wanted as usize <= in_force as usize),
                PermitDecision::Wait => {
                    prop_assert!(taken + wanted as usize > in_force as usize);
                    prop_assert_eq!(limit.judge(0, wanted), PermitDecision::Grant);
                }
                PermitDecision::Unsatisfiable => prop_assert!(wanted == 0 || wanted > in_force),
            }
        }
    }
}
