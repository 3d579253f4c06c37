//! What is claimed and held, as a model sees it.

use std::time::Duration;

use super::super::super::store::{AttemptEnd, Outcome};
use super::super::assignment::Verdict;
use super::{ModelClaim, ModelTaking, ModelVerdict};

impl ModelVerdict {
    pub(super) fn of(self) -> Verdict {
        match self {
            Self::Done => Verdict::Done {
                outcome: Outcome::DoneWithoutResult,
                next: Vec::new(),
            },
            Self::Failed => Verdict::Failed {
                delay: Some(Duration::ZERO),
                how: AttemptEnd::GivenBack,
                reason: String::new(),
            },
            Self::NotDelivered => Verdict::NotDelivered,
            Self::Note => Verdict::Note,
            Self::Extend(by) => Verdict::Extend(by),
        }
    }
}

impl ModelTaking {
    /// When the claim may be taken over.
    pub fn deadline(&self) -> Option<i64> {
        self.0.claim.deadline
    }
}

impl ModelClaim {
    /// What was claimed.
    pub fn taking(&self) -> ModelTaking {
        ModelTaking(self.taking.clone())
    }

    /// When it may be taken over.
    pub fn deadline(&self) -> Option<i64> {
        let deadline = self.taking.claim.deadline?;
        Some(deadline.max(self.open.data.deadline))
    }

    /// The items that are left: the index and the id of each.
    pub fn items(&self) -> impl Iterator<Item = (u8, &str)> {
        self.open.items.iter().map(|(index, item)| (*index, item.id.as_str()))
    }

    /// The number of the item's attempt, if it is noted.
    pub fn attempt(&self, index: u8) -> Option<u32> {
        let is_noted = self.open.noted.contains_key(&index);
        is_noted.then(|| self.open.tally.attempts(index))
    }

    /// Its item is with the user.
    pub fn hand_out(&mut self, index: u8) {
        self.open.handed_out.insert(index);
    }

    /// Whether the item is with the user.
    pub fn is_handed_out(&self, index: u8) -> bool {
        self.open.handed_out.contains(&index)
    }
}
