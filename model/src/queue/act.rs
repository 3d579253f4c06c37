//! What may happen next, and what comes of it.

use zookeeper_recipes::model::queue::{ModelQueue, ModelStep, ModelTurn, ModelVerdict};

use super::consumer::{Consumer, Flight, Phase, Purpose};
use super::{QueueModel, REFUSED, STEP, State, Without};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Delivery {
    Answered,
    /// Fault: it is done, and the client does not hear of it.
    ReplyLost,
    /// Fault: it does not arrive.
    RequestLost,
}

pub(super) const DELIVERIES: [Delivery; 3] = [Delivery::Answered, Delivery::ReplyLost, Delivery::RequestLost];

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Push(Delivery),
    PushAgain(Delivery),
    Look(usize),
    Read(usize, usize),
    /// A consumer claims what it saw: the choice of this number, if it has a window.
    Claim(usize, usize, Delivery),
    SeeList(usize),
    Release(usize, Delivery),
    HandOut(usize),
    /// It notes the next item that it hands out.
    Note(usize, Delivery),
    Ack(usize, Delivery),
    SendAgain(usize, Delivery),
    ClearAway(usize),
    DeleteStray(usize),
    Expire(u8),
    Nack(usize, Delivery),
    GiveBack(usize, Delivery),
    /// It gives back the second item of a claim, and works on the first.
    GiveBackSecond(usize, Delivery),
    Extend(usize, Delivery),
    /// Fault: a consumer is gone, or its lease has lapsed; its session lives on for a while.
    Crash(usize),
    /// Fault: so much time passes that the deadlines of all claims do.
    DeadlinesPass,
}

impl Action {
    /// Whether it happens at some time, whatever users do and whatever goes wrong.
    pub(super) fn is_due(&self) -> bool {
        use Action::*;
        match self {
            Nack(..) | GiveBack(..) | GiveBackSecond(..) | Extend(..) | Crash(_) | DeadlinesPass => false,
            Push(delivery)
            | PushAgain(delivery)
            | Claim(_, _, delivery)
            | Release(_, delivery)
            | Note(_, delivery)
            | Ack(_, delivery)
            | SendAgain(_, delivery) => *delivery == Delivery::Answered,
            Look(_) | Read(..) | SeeList(_) | HandOut(_) | ClearAway(_) | DeleteStray(_) | Expire(_) => true,
        }
    }
}

pub(super) fn candidates(model: &QueueModel, state: &State, actions: &mut Vec<Action>) {
    use Action::*;
    let deliveries = &DELIVERIES[..if state.faults > 0 { 3 } else { 1 }];
    match &state.push {
        Some(_) => actions.extend(deliveries.iter().map(|delivery| PushAgain(*delivery))),
        None if state.pushed < model.setting.scene.segments.len() => {
            actions.extend(deliveries.iter().map(|delivery| Push(*delivery)));
        }
        None => {}
    }
    actions.extend(state.orphans.iter().map(|session| Expire(*session)));
    for (index, consumer) in state.consumers.iter().enumerate() {
        let all =
            |action: fn(usize, Delivery) -> Action| deliveries.iter().map(move |delivery| action(index, *delivery));
        match &consumer.phase {
            Phase::Idle => idle(model, state, index, deliveries, actions),
            Phase::InDoubt(_) => actions.extend(all(SendAgain)),
            Phase::Claimed(_) => actions.push(SeeList(index)),
            Phase::Behind(_) => actions.extend(all(Release)),
            Phase::Holding(claims) => {
                let claim = &claims[0];
                let (item, _) = claim.items().next().expect("a claim that is held has items");
                let choices: &[fn(usize, Delivery) -> Action] = match (claim.is_handed_out(item), claim.attempt(item)) {
                    (true, _) => &[Ack, Nack, Extend],
                    (false, Some(_)) => {
                        actions.push(HandOut(index));
                        &[GiveBack]
                    }
                    (false, None) => &[Note, GiveBack],
                };
                choices.iter().for_each(|action| actions.extend(all(*action)));
                if claim.items().count() > 1 {
                    actions.extend(all(GiveBackSecond));
                }
            }
        }
        if !consumer.strays.is_empty() {
            actions.push(DeleteStray(index));
        }
        if consumer.view.is_some() {
            actions.push(ClearAway(index));
        }
        if state.faults > 0 && consumer.phase != Phase::Idle {
            actions.push(Crash(index));
        }
    }
    if state.faults > 0 && model.setting.scene.has_deadlines {
        actions.push(DeadlinesPass);
    }
}

fn idle(model: &QueueModel, state: &State, index: usize, deliveries: &[Delivery], actions: &mut Vec<Action>) {
    actions.push(Action::Look(index));
    let Some(view) = &state.consumers[index].view else {
        return;
    };
    for choice in 0..model.setting.rules.choices(view, state.now) {
        actions.push(Action::Read(index, choice));
        actions.extend(
            deliveries
                .iter()
                .map(|delivery| Action::Claim(index, choice, *delivery)),
        );
    }
}

/// What comes of an action; none if it cannot happen, or changes nothing.
pub(super) fn act(model: &QueueModel, before: &State, action: Action) -> Option<State> {
    use Action::*;
    let mut state = before.clone();
    match action {
        Push(_) | PushAgain(_) | Expire(_) | Crash(_) | DeadlinesPass => happen(model, &mut state, action)?,
        _ => consume(model, &mut state, action)?,
    }
    Some(state)
}

/// What consumers do.
fn consume(model: &QueueModel, state: &mut State, action: Action) -> Option<()> {
    use Action::*;
    match action {
        Look(index) => {
            let names = state.tree.list(&model.setting.block);
            let consumer = &mut state.consumers[index];
            if consumer.view.as_ref() == Some(&names) {
                return None;
            }
            consumer.view = Some(names);
            consumer.read = None;
        }
        Read(index, choice) => read(model, state, index, choice)?,
        Claim(index, choice, delivery) => claim(model, state, index, choice, delivery)?,
        SeeList(index) => see_list(model, state, index)?,
        Release(index, delivery) => {
            let Phase::Behind(takings) = &state.consumers[index].phase else {
                return None;
            };
            let steps = model.setting.rules.release(takings, state.now);
            let purpose = Purpose::Release(takings.clone());
            model.transact(state, index, Flight::new(steps, purpose), delivery)?;
        }
        HandOut(index) => model.hand_out(state, index)?,
        Note(index, delivery) => model.settle(state, index, 0, ModelVerdict::Note, delivery)?,
        Ack(index, delivery) => model.settle(state, index, 0, ModelVerdict::Done, delivery)?,
        Nack(index, delivery) => model.choose(state, index, ModelVerdict::Failed, delivery)?,
        GiveBack(index, delivery) => model.choose(state, index, ModelVerdict::NotDelivered, delivery)?,
        GiveBackSecond(index, delivery) => {
            state.choices = state.choices.checked_sub(1)?;
            model.settle(state, index, 1, ModelVerdict::NotDelivered, delivery)?;
        }
        Extend(index, delivery) => model.choose(state, index, model.extension()?, delivery)?,
        SendAgain(index, delivery) => {
            let Phase::InDoubt(flight) = state.consumers[index].phase.clone() else {
                return None;
            };
            model.transact(state, index, flight, delivery)?;
        }
        ClearAway(index) => {
            let view = state.consumers[index].view.as_ref()?;
            let left_over = model.setting.rules.left_over(view);
            let path = left_over.into_iter().find(|path| state.tree.nodes.contains_key(path))?;
            state.tree.nodes.remove(&path);
        }
        DeleteStray(index) => {
            let path = state.consumers[index].strays.pop()?;
            state.tree.nodes.remove(&path);
        }
        Push(_) | PushAgain(_) | Expire(_) | Crash(_) | DeadlinesPass => return None,
    }
    Some(())
}

/// What the producer, the leader, faults and time do.
fn happen(model: &QueueModel, state: &mut State, action: Action) -> Option<()> {
    use Action::*;
    match action {
        Push(delivery) => {
            let number = state.pushed;
            let steps = model
                .setting
                .rules
                .push(model.setting.scene.segments[number], state.now);
            let steps = renamed(steps, "/s-", &ModelQueue::guid(&format!("s{number}")));
            model.transact_push(state, Flight::new(steps, Purpose::Push(number)), delivery)?;
        }
        PushAgain(delivery) => {
            let flight = state.push.take()?;
            model.transact_push(state, flight, delivery)?;
        }
        Expire(session) => {
            state.orphans.retain(|orphan| *orphan != session);
            state.tree.expire(session);
        }
        Crash(index) => {
            state.faults = state.faults.checked_sub(1)?;
            state.orphans.push(state.consumers[index].session);
            state.consumers[index] = Consumer {
                session: state.sessions,
                ..Consumer::default()
            };
            state.sessions += 1;
        }
        DeadlinesPass => {
            state.faults = state.faults.checked_sub(1)?;
            state.now += STEP;
            model.end_overdue(state);
        }
        _ => return None,
    }
    Some(())
}

fn read(model: &QueueModel, state: &mut State, index: usize, choice: usize) -> Option<()> {
    let consumer = &mut state.consumers[index];
    let (view, wanted) = (consumer.view.as_ref()?, model.setting.scene.wanted[index]);
    let paths = model
        .setting
        .rules
        .unread(view, &consumer.firsts, wanted, choice, state.now);
    let found = paths.into_iter().map(|path| (path.clone(), state.tree.read(&path)));
    let found: Vec<_> = found.collect();
    if found.is_empty() || consumer.read.is_some() {
        return None;
    }
    consumer.read = Some(found);
    Some(())
}

fn claim(model: &QueueModel, state: &mut State, index: usize, choice: usize, delivery: Delivery) -> Option<()> {
    let consumer = &state.consumers[index];
    let (view, wanted) = (consumer.view.as_ref()?, model.setting.scene.wanted[index]);
    let rules = &model.setting.rules;
    let unread = rules.unread(view, &consumer.firsts, wanted, choice, state.now);
    let is_read = |path: &String| consumer.read.iter().flatten().any(|(known, _)| known == path);
    if !unread.iter().all(is_read) {
        return None;
    }
    let known = |path: &str| consumer.known(path);
    let turn = rules.turn(view, &consumer.firsts, wanted, choice, known, state.now);
    let (steps, purpose) = match turn {
        ModelTurn::Nothing => return None,
        ModelTurn::Outdated => {
            model.judge_refusal(state, index);
            state.consumers[index].rest();
            return (delivery == Delivery::Answered).then_some(());
        }
        ModelTurn::Learned(firsts) => {
            let consumer = &mut state.consumers[index];
            (consumer.firsts, consumer.read) = (firsts, None);
            return (delivery == Delivery::Answered).then_some(());
        }
        ModelTurn::Bury(steps) => (steps, Purpose::Bury),
        ModelTurn::Claim(steps, takings, firsts) => {
            state.consumers[index].firsts = firsts;
            (steps, Purpose::Claim(takings))
        }
    };
    let knows_all = model.knows_all(state, index);
    model.transact(state, index, Flight::new(steps, purpose), delivery)?;
    let consumer = &mut state.consumers[index];
    if knows_all && matches!(consumer.phase, Phase::Claimed(_)) {
        consumer.expected = Some(state.tree.list(&model.setting.block));
    }
    Some(())
}

fn see_list(model: &QueueModel, state: &mut State, index: usize) -> Option<()> {
    let names = state.tree.list(&model.setting.block);
    let Phase::Claimed(takings) = state.consumers[index].phase.clone() else {
        return None;
    };
    let consumer = &mut state.consumers[index];
    let rules = &model.setting.rules;
    let is_first = match model.without {
        Some(Without::List) => true,
        Some(Without::Pieces | Without::Firsts) => rules.begins_first(&names, &takings, &consumer.firsts, state.now),
        _ => rules.is_first(&names, &takings, &consumer.firsts, state.now),
    };
    // Where nothing has changed since it chose what comes first, it would choose the same again, for ever.
    let is_expected = consumer.expected.take().is_some_and(|expected| expected == names);
    if !is_first && is_expected {
        state.broken.get_or_insert(REFUSED);
    }
    consumer.view = Some(names);
    consumer.read = None;
    match is_first {
        true => model.hold(state, index, &takings),
        false => state.consumers[index].phase = Phase::Behind(takings),
    }
    Some(())
}

/// Puts a name of the model in the place of the one that was drawn at random for a segment, so that states can be alike.
pub(super) fn renamed(steps: Vec<ModelStep>, kind: &str, name: &str) -> Vec<ModelStep> {
    let drawn = steps.iter().find_map(|step| match step {
        ModelStep::Create(path, ..) => {
            let place = path.find(kind)? + kind.len();
            path.get(place..place + 16).map(str::to_owned)
        }
        _ => None,
    });
    let Some(drawn) = drawn else { return steps };
    let of_path = |path: String| path.replace(&drawn, name);
    let of_data = |mut data: Vec<u8>| {
        while let Some(place) = data.windows(16).position(|part| part == drawn.as_bytes()) {
            data[place..place + 16].copy_from_slice(name.as_bytes());
        }
        data
    };
    let of_step = |step| match step {
        ModelStep::Check(path, version) => ModelStep::Check(of_path(path), version),
        ModelStep::Create(path, data, numbered) => ModelStep::Create(of_path(path), of_data(data), numbered),
        ModelStep::CreateEphemeral(path, data) => ModelStep::CreateEphemeral(of_path(path), of_data(data)),
        ModelStep::Set(path, data, version) => ModelStep::Set(of_path(path), of_data(data), version),
        ModelStep::Delete(path, version) => ModelStep::Delete(of_path(path), version),
    };
    steps.into_iter().map(of_step).collect()
}
