//! What may happen next, and what comes of it. An action that changes nothing is none.

use zookeeper_recipes::model::{Place, place};

use super::client::{Cleanup, Client, Phase};
use super::ensemble::{Node, name};
use super::{LineModel, State, Without};

/// What happens; the number is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The client asks for the place: its create goes out.
    Acquire(usize),
    /// The leader commits the create.
    CommitCreate(usize),
    /// The reply to the create arrives.
    ReplyArrives(usize),
    /// The client sends a `sync` before it looks for a node whose create got no reply.
    Sync(usize),
    /// The client lists the line and looks for its node by the guid.
    FindByGuid(usize),
    /// The client lists the line and looks where it stands.
    Look(usize),
    /// It sets its watch on the one that blocks it.
    Watch(usize),
    /// The watch fires.
    Wake(usize),
    /// It sees that its own node is gone.
    OwnNodeGone(usize),
    /// Its session is proven; it believes to hold.
    Grant(usize),
    /// The work ends and the guard is dropped.
    EndWork(usize),
    /// The reaper removes what was handed to it.
    Reap(usize),
    /// A create whose future was dropped, or whose connection broke, is committed.
    StrayCommit(usize),
    /// The client learns that its session has expired.
    LearnExpiry(usize),
    /// Reconnects, to the follower if that is `true`.
    Reconnect(usize, bool),
    /// The follower applies the next change.
    FollowerApplies,
    /// The follower gets its leader back.
    Heal,
    /// Fault: the connection breaks; a request that is not committed may or may not arrive.
    Break(usize),
    /// Fault: the lease runs out; the session is not used any more.
    Lapse(usize),
    /// Fault: the leader expires the session.
    Expire(usize),
    /// Fault: the leader expires the session of a hold that lapsed before.
    ExpireHeld(usize),
    /// Fault: an operator deletes the node.
    OperatorDeletes(usize),
    /// Fault: the follower is cut off from the leader.
    Cut,
    /// Fault: the future is dropped.
    Cancel(usize),
}

impl Action {
    pub(super) fn is_fault(self) -> bool {
        use Action::*;
        matches!(
            self,
            Break(_) | Lapse(_) | Expire(_) | ExpireHeld(_) | OperatorDeletes(_) | Cut | Cancel(_)
        )
    }
}

pub(super) fn candidates(state: &State, actions: &mut Vec<Action>) {
    use Action::*;
    actions.extend([FollowerApplies, Heal, Cut]);
    for client in 0..state.clients.len() {
        actions.extend(match state.clients[client].phase {
            Phase::Idle => Some(Acquire(client)),
            Phase::Creating => Some(CommitCreate(client)),
            Phase::Created(_) => Some(ReplyArrives(client)),
            Phase::Unknown => Some(FindByGuid(client)),
            Phase::Synced(_) => Some(FindByGuid(client)),
            Phase::Looking => Some(Look(client)),
            Phase::Blocked(_) => Some(Watch(client)),
            Phase::Waiting(_) => Some(Wake(client)),
            Phase::Proving(_) => Some(Grant(client)),
            Phase::Holding | Phase::Lost => Some(EndWork(client)),
            Phase::Done => None,
        });
        actions.extend([Sync, OwnNodeGone, Reap, StrayCommit, LearnExpiry].map(|action| action(client)));
        if state.faults.any > 0 {
            actions.extend([Break, Lapse, Expire, ExpireHeld, OperatorDeletes, Cancel].map(|action| action(client)));
        }
        actions.extend([false, true].map(|at_follower| Reconnect(client, at_follower)));
    }
}

pub(super) fn act(model: &LineModel, before: &State, action: Action) -> Option<State> {
    use Action::*;
    let mut state = before.clone();
    let happened = match action {
        Acquire(client) => acquire(&mut state, client),
        CommitCreate(client) => commit_create(model, &mut state, client),
        ReplyArrives(client) => reply_arrives(&mut state, client),
        Sync(client) => sync(model, &mut state, client),
        FindByGuid(client) => find_by_guid(model, &mut state, client),
        Look(client) => look(model, &mut state, client),
        Watch(client) => watch(&mut state, client),
        Wake(client) => wake(&mut state, client),
        OwnNodeGone(client) => own_node_gone(model, &mut state, client),
        Grant(client) => grant(model, &mut state, client),
        EndWork(client) => end_work(&mut state, client),
        Reap(client) => reap(model, &mut state, client),
        StrayCommit(client) => stray_commit(model, &mut state, client),
        LearnExpiry(client) => learn_expiry(&mut state, client),
        Reconnect(client, at_follower) => reconnect(&mut state, client, at_follower),
        FollowerApplies => !state.ensemble.is_cut && state.ensemble.apply(),
        Heal => std::mem::take(&mut state.ensemble.is_cut),
        fault => strike(model, &mut state, fault),
    };
    happened.then_some(state)
}

/// Whether the leader hears the client.
fn reaches_leader(state: &State, client: usize) -> bool {
    let client = &state.clients[client];
    client.connected && !(client.at_follower && state.ensemble.is_cut)
}

fn create(model: &LineModel, state: &mut State, client: usize, guid: u8, session: u8) -> u8 {
    let shared = model.shared[client];
    state.ensemble.create(Node {
        client,
        guid,
        session,
        number: 0,
        shared,
    })
}

/// The client was answered by its server: it has seen what that has applied.
fn answered(state: &mut State, client: usize) {
    let applied = state.ensemble.applied(state.clients[client].at_follower);
    let client = &mut state.clients[client];
    client.seen = client.seen.max(applied);
}

fn acquire(state: &mut State, client: usize) -> bool {
    let client = &mut state.clients[client];
    if !client.connected || client.stray.is_some() {
        return false;
    }
    client.guid += 1;
    client.phase = Phase::Creating;
    true
}

fn commit_create(model: &LineModel, state: &mut State, client: usize) -> bool {
    let (guid, session) = (state.clients[client].guid, state.clients[client].session);
    if !reaches_leader(state, client) || state.clients[client].expired {
        return false;
    }
    state.clients[client].phase = Phase::Created(create(model, state, client, guid, session));
    true
}

fn adopt(client: &mut Client, number: u8) {
    client.own = number;
    client.own_session = client.session;
    client.reconnected = false;
    client.phase = Phase::Looking;
}

fn reply_arrives(state: &mut State, client: usize) -> bool {
    let Phase::Created(number) = state.clients[client].phase else {
        return false;
    };
    let at_follower = state.clients[client].at_follower;
    let shown = !at_follower || number_applied(state, number);
    if !state.clients[client].connected || !shown {
        return false;
    }
    adopt(&mut state.clients[client], number);
    answered(state, client);
    true
}

/// Whether the follower has applied the creation of that node, or even its end.
fn number_applied(state: &State, number: u8) -> bool {
    state.ensemble.follower.iter().any(|node| node.number >= number) || state.ensemble.lag() == 0
}

fn sync(model: &LineModel, state: &mut State, client: usize) -> bool {
    let unknown = state.clients[client].phase == Phase::Unknown && state.clients[client].stray.is_none();
    if model.lacks(Without::Sync) || !unknown || !reaches_leader(state, client) {
        return false;
    }
    state.clients[client].phase = Phase::Synced(state.ensemble.zxid);
    true
}

fn find_by_guid(model: &LineModel, state: &mut State, client: usize) -> bool {
    let who = &state.clients[client];
    let applied = state.ensemble.applied(who.at_follower);
    let ready = match who.phase {
        Phase::Synced(zxid) => zxid <= applied,
        Phase::Unknown => model.lacks(Without::Sync) && who.stray.is_none(),
        _ => false,
    };
    if !ready || !who.connected {
        return false;
    }
    let tree = state.ensemble.tree(who.at_follower);
    let ours = |node: &&Node| (node.client, node.guid, node.session) == (client, who.guid, who.session);
    match tree.iter().find(ours).map(|node| node.number) {
        Some(number) => adopt(&mut state.clients[client], number),
        None => state.clients[client].phase = Phase::Creating,
    }
    answered(state, client);
    true
}

fn look(model: &LineModel, state: &mut State, client: usize) -> bool {
    let who = &state.clients[client];
    if !who.connected {
        return false;
    }
    let own = name(client, who.guid, who.own, model.shared[client]);
    let mut names: Vec<String> = state.ensemble.tree(who.at_follower).iter().map(Node::name).collect();
    let listed = names.contains(&own);
    if model.lacks(Without::OwnNodeCheck) && !listed {
        names.push(own.clone());
    }
    let phase = match place(&own, &names) {
        Some(Place::Granted) => Phase::Proving(listed),
        Some(Place::BlockedBy(blocker)) => {
            let number = blocker.rsplit("__").next().and_then(|digits| digits.parse().ok());
            Phase::Blocked(number.unwrap_or_default())
        }
        // The client lists again, or sees that its node is gone.
        Some(Place::Missing) | None => return false,
    };
    state.clients[client].phase = phase;
    answered(state, client);
    true
}

fn stands(state: &State, client: usize, number: u8) -> bool {
    let tree = state.ensemble.tree(state.clients[client].at_follower);
    tree.iter().any(|node| node.number == number)
}

fn watch(state: &mut State, client: usize) -> bool {
    let Phase::Blocked(number) = state.clients[client].phase else {
        return false;
    };
    if !state.clients[client].connected {
        return false;
    }
    let there = stands(state, client, number);
    state.clients[client].phase = if there { Phase::Waiting(number) } else { Phase::Looking };
    answered(state, client);
    true
}

fn wake(state: &mut State, client: usize) -> bool {
    let Phase::Waiting(number) = state.clients[client].phase else {
        return false;
    };
    if !state.clients[client].connected || stands(state, client, number) {
        return false;
    }
    state.clients[client].phase = Phase::Looking;
    answered(state, client);
    true
}

/// A `sync` and a read, or the watch on the own node: the node is not there, and the server is not behind.
fn own_node_gone(model: &LineModel, state: &mut State, client: usize) -> bool {
    let who = &state.clients[client];
    let number = who.own;
    let known = who.knows_own() || who.phase == Phase::Holding;
    let applied = !who.at_follower || number_applied(state, number);
    if !known || !who.connected || !applied || stands(state, client, number) {
        return false;
    }
    // Without the check the waiter has no ear for its own node.
    if model.lacks(Without::OwnNodeCheck) && who.knows_own() {
        return false;
    }
    if who.phase == Phase::Holding {
        state.clients[client].phase = Phase::Lost;
    } else {
        state.clients[client].rejoin();
    }
    answered(state, client);
    true
}

fn grant(model: &LineModel, state: &mut State, client: usize) -> bool {
    let Phase::Proving(listed) = state.clients[client].phase else {
        return false;
    };
    let who = &state.clients[client];
    let (number, needs_check) = (who.own, who.reconnected && !model.lacks(Without::OwnNodeCheck));
    // The proof: a request that the leader commits in this session.
    if !reaches_leader(state, client) || who.expired {
        return false;
    }
    if needs_check && !stands(state, client, number) {
        return false;
    }
    let there = state.ensemble.has(number);
    if there {
        let shared = model.shared[client];
        let ahead = |node: &&Node| node.number < number && model.conflict(client, node.client);
        if state.ensemble.leader.iter().any(|node| ahead(&node)) {
            state.broken = Some("granted while a conflicting contender stands ahead");
        }
        let floor = if shared { state.exclusive_token } else { state.any_token };
        if number <= floor {
            state.broken = Some("a token that did not grow");
        }
        state.any_token = state.any_token.max(number);
        if !shared {
            state.exclusive_token = state.exclusive_token.max(number);
        }
    }
    let who = &mut state.clients[client];
    who.phase = Phase::Holding;
    who.works = true;
    // The operator's delete came between the list and the grant: the guard hears of it right after.
    who.excused = !there && listed;
    true
}

fn end_work(state: &mut State, client: usize) -> bool {
    let who = &mut state.clients[client];
    who.cleanup(Cleanup::Node(who.own));
    who.finish_round();
    true
}

fn reap(model: &LineModel, state: &mut State, client: usize) -> bool {
    let who = &state.clients[client];
    let Some(cleanup) = who.cleanups.first().copied() else {
        return false;
    };
    if !reaches_leader(state, client) {
        return false;
    }
    let found = match cleanup {
        Cleanup::Node(number) => Some(number),
        Cleanup::Guid(guid) => {
            let synced = !who.at_follower || state.ensemble.lag() == 0 || model.lacks(Without::Sync);
            if who.stray.is_some() || !synced {
                return false;
            }
            let tree = state.ensemble.tree(who.at_follower);
            let ours = |node: &&Node| (node.client, node.guid) == (client, guid);
            tree.iter().find(ours).map(|node| node.number)
        }
    };
    if let Some(number) = found {
        state.ensemble.delete(number);
    }
    state.clients[client].cleanups.remove(0);
    true
}

fn stray_commit(model: &LineModel, state: &mut State, client: usize) -> bool {
    let who = &state.clients[client];
    let Some((guid, session)) = who.stray else {
        return false;
    };
    let path = !(who.at_follower && state.ensemble.is_cut);
    if !path || who.expired || session != who.session {
        return false;
    }
    create(model, state, client, guid, session);
    state.clients[client].stray = None;
    true
}

fn learn_expiry(state: &mut State, client: usize) -> bool {
    let happened = state.clients[client].expired && reaches_leader(state, client);
    if happened {
        state.clients[client].lose_session();
    }
    happened
}

fn reconnect(state: &mut State, client: usize, at_follower: bool) -> bool {
    let who = &state.clients[client];
    let behind = state.ensemble.applied(at_follower) < who.seen;
    if who.connected || (at_follower && state.ensemble.is_cut) || behind {
        return false;
    }
    let who = &mut state.clients[client];
    if who.expired {
        who.lose_session();
    }
    who.connected = true;
    who.at_follower = at_follower;
    who.reconnected = true;
    // The leader refuses what another server still forwards for this session.
    who.stray = None;
    true
}

/// Faults, as far as they are allowed.
fn strike(model: &LineModel, state: &mut State, fault: Action) -> bool {
    let kind = match fault {
        Action::Break(_) => &mut state.faults.breaks,
        Action::Lapse(_) | Action::Expire(_) | Action::ExpireHeld(_) => &mut state.faults.ends,
        Action::OperatorDeletes(_) => &mut state.faults.deletes,
        Action::Cut => &mut state.faults.cuts,
        _ => &mut state.faults.cancels,
    };
    if *kind == 0 || state.faults.any == 0 {
        return false;
    }
    *kind -= 1;
    state.faults.any -= 1;
    match fault {
        Action::Break(client) => break_connection(state, client),
        Action::Lapse(client) => lapse(model, state, client),
        Action::Expire(client) => expire(model, state, client),
        Action::ExpireHeld(client) => expire_held(state, client),
        Action::OperatorDeletes(client) => operator_deletes(state, client),
        Action::Cut => !std::mem::replace(&mut state.ensemble.is_cut, true),
        Action::Cancel(client) => cancel(state, client),
        _ => false,
    }
}

fn break_connection(state: &mut State, client: usize) -> bool {
    let who = &mut state.clients[client];
    if !who.connected {
        return false;
    }
    who.connected = false;
    match who.phase {
        Phase::Creating => {
            who.stray = Some((who.guid, who.session));
            who.phase = Phase::Unknown;
        }
        Phase::Created(_) | Phase::Synced(_) => who.phase = Phase::Unknown,
        _ => {}
    }
    true
}

fn lapse(model: &LineModel, state: &mut State, client: usize) -> bool {
    let who = &mut state.clients[client];
    if who.phase != Phase::Holding {
        return false;
    }
    if model.lacks(Without::LostIsNotRemoved) {
        who.cleanup(Cleanup::Node(who.own));
    }
    let expired = who.expired;
    who.lose_session();
    who.excused |= expired;
    true
}

fn expire(model: &LineModel, state: &mut State, client: usize) -> bool {
    let who = &state.clients[client];
    let (session, believes) = (who.session, who.phase == Phase::Holding);
    if who.expired || who.phase == Phase::Done || (believes && !model.lacks(Without::Lease)) {
        return false;
    }
    state.clients[client].expired = true;
    state.ensemble.expire(client, session);
    true
}

fn expire_held(state: &mut State, client: usize) -> bool {
    let who = &state.clients[client];
    let (session, held) = (
        who.own_session,
        who.phase == Phase::Lost && who.own_session < who.session,
    );
    if !held || !state.ensemble.has(who.own) {
        return false;
    }
    state.ensemble.expire(client, session);
    state.clients[client].excused = true;
    true
}

fn operator_deletes(state: &mut State, client: usize) -> bool {
    let who = &mut state.clients[client];
    let number = match who.phase {
        Phase::Created(number) => number,
        Phase::Proving(_) | Phase::Holding | Phase::Lost => {
            who.excused = who.phase != Phase::Proving(false);
            who.own
        }
        _ => who.own,
    };
    let there = state.ensemble.has(number);
    state.ensemble.delete(number);
    there
}

fn cancel(state: &mut State, client: usize) -> bool {
    let who = &mut state.clients[client];
    if !who.is_on_its_way() {
        return false;
    }
    if who.phase == Phase::Creating {
        who.stray = Some((who.guid, who.session));
    }
    let cleanup = if who.knows_own() {
        Cleanup::Node(who.own)
    } else {
        Cleanup::Guid(who.guid)
    };
    who.cleanup(cleanup);
    who.finish_round();
    true
}
