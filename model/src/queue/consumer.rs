//! What a consumer is at, and what is on its way.

use zookeeper_recipes::model::queue::{ModelClaim, ModelFirsts, ModelNode, ModelStep, ModelTaking};

/// A transaction whose reply did not come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub(super) steps: Vec<ModelStep>,
    pub(super) purpose: Purpose,
    /// Whether it was committed, which the client does not know.
    pub(super) is_committed: bool,
    /// The deadline of what it settles passed in the meantime: that is held no more, whatever becomes of it.
    pub(super) is_over: bool,
}

/// What a transaction is for, and what is held once it is committed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Push(usize),
    Claim(Vec<ModelTaking>),
    Release(Vec<ModelTaking>),
    Bury,
    /// It settles something of the first claim, and these are held then.
    Settle {
        before: Vec<ModelClaim>,
        after: Vec<ModelClaim>,
        /// The item that is done.
        done: Option<usize>,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    #[default]
    Idle,
    InDoubt(Flight),
    /// Its claim is committed; the list behind it is still to be seen.
    Claimed(Vec<ModelTaking>),
    /// Something free stands ahead of what it claimed.
    Behind(Vec<ModelTaking>),
    Holding(Vec<ModelClaim>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Consumer {
    pub(super) session: u8,
    /// The names in the block as it last saw them.
    pub(super) view: Option<Vec<String>>,
    /// What it read of the nodes that it is about to claim.
    pub(super) read: Option<Vec<(String, Option<ModelNode>)>>,
    /// Where ranges begin, as far as it has read it.
    pub(super) firsts: ModelFirsts,
    pub(super) phase: Phase,
    /// What it claimed of the first push of its claim, until that is handed out. The flag: since the claim there was a moment
    /// at which nothing ahead was free.
    pub(super) new_items: Vec<(usize, bool)>,
    /// The names in the block once its claim was committed, if it knew all when it claimed.
    pub(super) expected: Option<Vec<String>>,
    /// Claims of its own that ended and are still to be deleted.
    pub(super) strays: Vec<String>,
}

impl Consumer {
    /// It begins again, and knows nothing but where ranges begin.
    pub(super) fn rest(&mut self) {
        self.phase = Phase::Idle;
        self.view = None;
        self.read = None;
        self.new_items.clear();
        self.expected = None;
    }

    pub(super) fn known(&self, path: &str) -> Option<ModelNode> {
        let read = self.read.as_ref()?;
        read.iter().find(|(known, _)| known == path)?.1.clone()
    }

    /// What it believes to hold: until it is told what became of a transaction, what that leaves in its hands.
    pub(super) fn held(&self) -> &[ModelClaim] {
        match &self.phase {
            Phase::Holding(claims) => claims,
            Phase::InDoubt(Flight {
                purpose: Purpose::Settle { after, .. },
                is_over: false,
                ..
            }) => after,
            _ => &[],
        }
    }
}
