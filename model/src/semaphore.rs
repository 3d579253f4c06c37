//! Permits behind a turnstile, on a leader and a follower that lags: without time, every interleaving.
//!
//! The crate's own functions decide who is at the head of the turnstile, and whether so many permits are granted. What the
//! lease model shows is assumed: a holder whose session expires has stopped to believe before.

use std::collections::VecDeque;

use stateright::{Model, Property};
use zookeeper_recipes::model::{Place, permits, place};

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// The turnstile: each contender counts and takes.
    Turnstile,
    /// The permits come in the transaction that ends the place in the turnstile.
    OneTransaction,
    /// That transaction checks the version of the number of permits.
    LimitCheck,
}

#[derive(Clone, Debug)]
pub(crate) struct SemaphoreModel {
    /// How many permits each client wants.
    pub(crate) wanted: Vec<u32>,
    pub(crate) limit: u32,
    /// How many sessions expire, places are deleted, futures are dropped and limits are changed, together.
    pub(crate) faults: u8,
    pub(crate) without: Option<Without>,
}

/// What a server has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Tree {
    /// The turnstile: clients, and the numbers of their nodes.
    line: Vec<(usize, u8)>,
    /// The permits that are out, by client.
    leases: Vec<usize>,
    limit: u32,
    version: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    /// It has a place in the turnstile.
    InLine,
    /// The place with this number is ahead.
    Blocked(u8),
    Head,
    /// There are enough permits, by this version of their number.
    Enough(u8),
    /// There were not: so many were taken, by that version.
    Waiting(usize, u8),
    /// Only where [`Without::OneTransaction`] is set: its place has ended, its permits are still to be made.
    Between,
    Holding,
    Lost,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Client {
    phase: Phase,
    own: u8,
    /// So many changes its server has to apply before it answers.
    owed: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// What was committed and is not applied everywhere: the follower has the first one, the leader the last.
    trees: VecDeque<Tree>,
    clients: Vec<Client>,
    latest: u8,
    faults: u8,
    /// A grant that broke a rule.
    broken: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Enter(usize),
    Look(usize),
    Wake(usize),
    Count(usize),
    Take(usize),
    MakePermits(usize),
    OwnPlaceGone(usize),
    Release(usize),
    FollowerApplies,
    /// Fault: the session expires.
    Expire(usize),
    /// Fault: an operator deletes the place.
    OperatorDeletes(usize),
    /// Fault: the future is dropped; the reaper removes the place.
    Cancel(usize),
    /// Fault: the number of permits is changed.
    SetLimit(u32),
}

impl Action {
    fn is_fault(self) -> bool {
        use Action::*;
        matches!(self, Expire(_) | OperatorDeletes(_) | Cancel(_) | SetLimit(_))
    }
}

impl State {
    fn leader(&self) -> &Tree {
        self.trees.back().expect("the leader has one")
    }

    /// The first client is connected to the leader, the others to the follower.
    fn seen_by(&self, client: usize) -> &Tree {
        let tree = if client == 0 {
            self.trees.back()
        } else {
            self.trees.front()
        };
        tree.expect("each server has one")
    }

    fn commit(&mut self, change: impl FnOnce(&mut Tree)) {
        let mut tree = self.leader().clone();
        change(&mut tree);
        self.trees.push_back(tree);
    }

    /// The answer comes when its server has applied what was committed last.
    fn owe(&mut self, client: usize) {
        self.clients[client].owed = if client == 0 { 0 } else { self.trees.len() - 1 };
    }

    fn has_place(&self, client: usize) -> bool {
        let own = self.clients[client].own;
        self.leader().line.contains(&(client, own))
    }
}

fn name(client: usize, number: u8) -> String {
    format!("_c_{client}-__WRIT__{number:010}")
}

impl SemaphoreModel {
    fn lacks(&self, safeguard: Without) -> bool {
        self.without == Some(safeguard)
    }

    fn act(&self, before: &State, action: Action) -> Option<State> {
        use Action::*;
        let mut state = before.clone();
        match action {
            Enter(client) => {
                state.latest += 1;
                let own = state.latest;
                state.commit(|tree| tree.line.push((client, own)));
                state.clients[client].own = own;
                state.clients[client].phase = Phase::InLine;
                state.owe(client);
            }
            Look(client) => self.look(&mut state, client)?,
            Wake(client) => self.wake(&mut state, client)?,
            Count(client) => self.count(&mut state, client),
            Take(client) => self.take(&mut state, client),
            MakePermits(client) => self.make_permits(&mut state, client),
            OwnPlaceGone(client) => {
                let own = (client, state.clients[client].own);
                if state.seen_by(client).line.contains(&own) {
                    return None;
                }
                state.clients[client].phase = Phase::Idle;
            }
            Release(client) => {
                state.commit(|tree| tree.leases.retain(|owner| *owner != client));
                state.clients[client].phase = Phase::Done;
            }
            FollowerApplies => {
                if state.trees.len() == 1 {
                    return None;
                }
                state.trees.pop_front();
                for client in &mut state.clients {
                    client.owed = client.owed.saturating_sub(1);
                }
            }
            fault => {
                state.faults = state.faults.checked_sub(1)?;
                self.strike(&mut state, fault)?;
            }
        }
        Some(state)
    }

    fn look(&self, state: &mut State, client: usize) -> Option<()> {
        let own = state.clients[client].own;
        let line = &state.seen_by(client).line;
        let names: Vec<String> = line.iter().map(|(client, number)| name(*client, *number)).collect();
        let found = match self.lacks(Without::Turnstile) {
            true => Place::Granted,
            false => place(&name(client, own), &names)?,
        };
        state.clients[client].phase = match found {
            Place::Missing => return None,
            Place::Granted => Phase::Head,
            Place::BlockedBy(ahead) => {
                let ahead = line.iter().find(|(client, number)| name(*client, *number) == ahead)?;
                Phase::Blocked(ahead.1)
            }
        };
        Some(())
    }

    fn wake(&self, state: &mut State, client: usize) -> Option<()> {
        let tree = state.seen_by(client);
        let (phase, is_news) = match state.clients[client].phase {
            Phase::Blocked(ahead) => (Phase::InLine, tree.line.iter().all(|(_, number)| *number != ahead)),
            Phase::Waiting(taken, version) => (Phase::Head, (tree.leases.len(), tree.version) != (taken, version)),
            _ => return None,
        };
        state.clients[client].phase = phase;
        is_news.then_some(())
    }

    fn count(&self, state: &mut State, client: usize) {
        let tree = state.seen_by(client).clone();
        state.clients[client].phase = match permits(tree.limit, tree.leases.len(), self.wanted[client]) {
            Some(true) => Phase::Enough(tree.version),
            Some(false) => Phase::Waiting(tree.leases.len(), tree.version),
            None => {
                let own = (client, state.clients[client].own);
                state.commit(|tree| tree.line.retain(|place| *place != own));
                Phase::Done
            }
        };
    }

    /// The transaction that ends the place and makes the permits: as a whole, or not at all.
    fn take(&self, state: &mut State, client: usize) {
        let Phase::Enough(version) = state.clients[client].phase else {
            return;
        };
        if !state.has_place(client) {
            state.clients[client].phase = Phase::Idle;
            return;
        }
        if state.leader().version != version && !self.lacks(Without::LimitCheck) {
            state.clients[client].phase = Phase::Head;
            return;
        }
        let own = state.clients[client].own;
        if state.leader().line.iter().any(|(_, number)| *number < own) {
            state.broken = Some("order");
        }
        if self.lacks(Without::OneTransaction) {
            state.commit(|tree| tree.line.retain(|place| *place != (client, own)));
            state.clients[client].phase = Phase::Between;
            return;
        }
        self.make_permits(state, client);
    }

    fn make_permits(&self, state: &mut State, client: usize) {
        let (own, wanted) = (state.clients[client].own, self.wanted[client]);
        state.commit(|tree| {
            tree.line.retain(|place| *place != (client, own));
            tree.leases.extend((0..wanted).map(|_| client));
            tree.leases.sort_unstable();
        });
        let tree = state.leader();
        if u32::try_from(tree.leases.len()).is_ok_and(|out| out > tree.limit) {
            state.broken.get_or_insert("limit");
        }
        state.clients[client].phase = Phase::Holding;
        state.owe(client);
    }

    fn strike(&self, state: &mut State, fault: Action) -> Option<()> {
        let own = |state: &State, client: usize| (client, state.clients[client].own);
        match fault {
            Action::Expire(client) => {
                let phase = state.clients[client].phase;
                if matches!(phase, Phase::Idle | Phase::Done | Phase::Between | Phase::Lost) {
                    return None;
                }
                state.commit(|tree| {
                    tree.line.retain(|(owner, _)| *owner != client);
                    tree.leases.retain(|owner| *owner != client);
                });
                if phase == Phase::Holding {
                    state.clients[client].phase = Phase::Lost;
                }
            }
            Action::OperatorDeletes(client) => {
                let own = own(state, client);
                state.has_place(client).then_some(())?;
                state.commit(|tree| tree.line.retain(|place| *place != own));
            }
            Action::Cancel(client) => {
                let own = own(state, client);
                state.has_place(client).then_some(())?;
                state.commit(|tree| tree.line.retain(|place| *place != own));
                state.clients[client].phase = Phase::Done;
            }
            Action::SetLimit(limit) => {
                if state.leader().limit == limit {
                    return None;
                }
                state.commit(|tree| {
                    tree.limit = limit;
                    tree.version += 1;
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn is_stuck(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        let goes_on = |action: &Action| !action.is_fault() && self.act(state, *action).is_some();
        state.clients.iter().any(|client| client.phase != Phase::Done) && !actions.iter().any(goes_on)
    }
}

impl Model for SemaphoreModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let tree = Tree {
            limit: self.limit,
            ..Tree::default()
        };
        let client = Client {
            phase: Phase::Idle,
            own: 0,
            owed: 0,
        };
        vec![State {
            trees: VecDeque::from([tree]),
            clients: vec![client; self.wanted.len()],
            latest: 0,
            faults: self.faults,
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        use Action::*;
        actions.push(FollowerApplies);
        for (client, Client { phase, owed, .. }) in state.clients.iter().enumerate() {
            if *owed == 0 {
                actions.extend(match phase {
                    Phase::Idle => Some(Enter(client)),
                    Phase::InLine => Some(Look(client)),
                    Phase::Blocked(_) | Phase::Waiting(..) => Some(Wake(client)),
                    Phase::Head => Some(Count(client)),
                    Phase::Enough(_) => Some(Take(client)),
                    Phase::Between => Some(MakePermits(client)),
                    Phase::Holding | Phase::Lost => Some(Release(client)),
                    Phase::Done => None,
                });
                if matches!(phase, Phase::InLine | Phase::Blocked(_) | Phase::Waiting(..)) {
                    actions.push(OwnPlaceGone(client));
                }
            }
            if state.faults > 0 {
                actions.extend([Expire(client), OperatorDeletes(client), Cancel(client)]);
            }
        }
        if state.faults > 0 {
            actions.extend([SetLimit(self.limit - 1), SetLimit(self.limit + 1)]);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.act(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("permits stay within their number", |_, state| {
                state.broken != Some("limit")
            }),
            Property::<Self>::always("grants keep the order", |_, state| state.broken != Some("order")),
            Property::<Self>::always("no waiter is stuck", |model, state| !model.is_stuck(state)),
            Property::<Self>::always("nothing is left behind", |_, state| {
                let tree = state.leader();
                state.clients.iter().any(|client| client.phase != Phase::Done)
                    || (tree.line.is_empty() && tree.leases.is_empty())
            }),
            Property::<Self>::sometimes("all have finished", |_, state| {
                state.clients.iter().all(|client| client.phase == Phase::Done)
            }),
        ]
    }
}
