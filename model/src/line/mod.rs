//! A line of contenders on a leader and a follower that lags: without time, every interleaving.
//!
//! What the lease model shows is assumed here: the leader expires the session of a holder only after the holder has
//! stopped to believe ([`Action::Lapse`] before [`Action::ExpireHeld`]). Where a contender stands is decided by the
//! crate's own function.

mod act;
mod client;
mod ensemble;

use stateright::{Model, Property};

pub(crate) use self::act::Action;
use self::client::{Client, Phase};
use self::ensemble::Ensemble;

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// The look for the own node in a list that grants.
    OwnNodeCheck,
    /// The `sync` before a node is looked for whose create got no reply.
    Sync,
    /// The lease: the leader may expire the session of a holder that still believes.
    Lease,
    /// The node of a lost hold stays until the work has ended.
    LostIsNotRemoved,
}

/// How often each fault may strike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// Connections that break, with the request or the reply that was on its way.
    pub(crate) breaks: u8,
    /// Sessions that the leader expires, and leases that lapse.
    pub(crate) ends: u8,
    /// Nodes that an operator deletes.
    pub(crate) deletes: u8,
    /// Times that the follower is cut off from the leader.
    pub(crate) cuts: u8,
    /// Futures that are dropped while they wait.
    pub(crate) cancels: u8,
    /// All of them together.
    pub(crate) any: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct LineModel {
    /// What each client asks for: `true` is shared.
    pub(crate) shared: Vec<bool>,
    /// How often each client acquires.
    pub(crate) rounds: u8,
    pub(crate) faults: Faults,
    pub(crate) without: Option<Without>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    ensemble: Ensemble,
    clients: Vec<Client>,
    faults: Faults,
    /// The greatest token of an exclusive grant, and of any.
    exclusive_token: u8,
    any_token: u8,
    /// A grant that broke a rule.
    broken: Option<&'static str>,
}

impl LineModel {
    fn lacks(&self, safeguard: Without) -> bool {
        self.without == Some(safeguard)
    }

    fn conflict(&self, one: usize, other: usize) -> bool {
        !(self.shared[one] && self.shared[other])
    }

    /// Whether no two clients of whom this holds stand in conflict.
    fn disjoint(&self, state: &State, is_in: impl Fn(&Client) -> bool) -> bool {
        let inside: Vec<_> = (0..state.clients.len())
            .filter(|index| is_in(&state.clients[*index]))
            .collect();
        let pairs = inside
            .iter()
            .flat_map(|one| inside.iter().map(move |other| (*one, *other)));
        pairs
            .into_iter()
            .all(|(one, other)| one >= other || !self.conflict(one, other))
    }

    fn is_stuck(&self, state: &State) -> bool {
        let finished = |client: &Client| client.phase == Phase::Done && client.cleanups.is_empty();
        if state.clients.iter().all(finished) {
            return false;
        }
        let mut actions = Vec::new();
        act::candidates(state, &mut actions);
        // Faults may never strike: what can only go on by a fault is stuck.
        let goes_on = |action: &Action| !action.is_fault() && act::act(self, state, *action).is_some();
        !actions.iter().any(goes_on)
    }

    fn leaves_something(&self, state: &State) -> bool {
        let finished = |client: &Client| client.phase == Phase::Done && client.cleanups.is_empty();
        state
            .clients
            .iter()
            .all(|client| finished(client) && client.stray.is_none())
            && !state.ensemble.leader.is_empty()
    }
}

impl Model for LineModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let client = |index| Client::new(index == 0, self.rounds);
        vec![State {
            ensemble: Ensemble::default(),
            clients: (0..self.shared.len()).map(client).collect(),
            faults: self.faults,
            exclusive_token: 0,
            any_token: 0,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        act::candidates(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        act::act(self, state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("no two believe to hold", |model, state| {
                model.disjoint(state, |client| client.phase == Phase::Holding && !client.excused)
            }),
            Property::<Self>::always("work ends before the next begins", |model, state| {
                model.disjoint(state, |client| client.works && !client.excused)
            }),
            Property::<Self>::always("tokens grow, grants keep the order", |_, state| state.broken.is_none()),
            Property::<Self>::always("no waiter is stuck", |model, state| !model.is_stuck(state)),
            Property::<Self>::always("nothing is left behind", |model, state| !model.leaves_something(state)),
            Property::<Self>::sometimes("all have finished", |_, state| {
                state.clients.iter().all(|client| client.phase == Phase::Done)
            }),
        ]
    }
}
