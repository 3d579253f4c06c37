//! The claim of a work queue: consumers that look, claim, work and settle, on a block of segments. Without time but for
//! deadlines, every interleaving.
//!
//! What consumers choose, and what each transaction writes and checks, is decided by the crate's own functions. The model
//! has the nodes, the sessions, and what may go wrong between them.

mod act;
mod consumer;
mod cover;
mod settle;
mod tree;

use std::time::Duration;

use stateright::{Model, Property};
use zookeeper_recipes::model::queue::{ModelClaim, ModelLack, ModelQueue};

pub(crate) use self::act::Action;
use self::consumer::{Consumer, Flight, Phase};
use self::cover::Cover;
use self::tree::Tree;

/// A claim may be taken over after so many milliseconds, and the crate's margin.
const TIMEOUT: u64 = 1000;

/// So much time passes at once: then what was claimed before is overdue.
const STEP: i64 = 2000;

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Without {
    /// The probe for the claim before, when a range is claimed again.
    Probe,
    /// The name of that probe.
    RightProbe,
    /// The version of a range's tally.
    TallyVersion,
    /// The look for the segment, when a single item is claimed for the first time.
    SegmentCheck,
    /// The ledger, which tells a consumer what became of a transaction whose reply was lost.
    Ledger,
    /// The ledger of a producer.
    PushLedger,
    /// The list behind the claim of a strict queue.
    List,
    /// The end of a claim at its holder, before others may take it over.
    OwnDeadline,
    /// The version of a claim that is taken over.
    ClaimVersion,
    /// The look for the own claim in what settles an item.
    ClaimCheck,
    /// The look for the own claim, and the version of the tally, in what settles an item.
    ClaimAndTally,
    /// What the tally of a range says of the place where it begins.
    Firsts,
    /// The end of a claim ahead of a piece that was taken out of its range.
    Cut,
    /// The look for pieces that were taken out of the midst of what was claimed.
    Pieces,
}

/// What is in the queue, and who wants it.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    /// How many items each push has.
    pub(crate) segments: Vec<usize>,
    /// How many items each consumer claims at once.
    pub(crate) wanted: [usize; 2],
    /// In a window instead of in strict order.
    pub(crate) window: Option<u16>,
    /// Whether claims have a deadline.
    pub(crate) has_deadlines: bool,
    /// Requests and replies that are lost, consumers that crash, deadlines that pass.
    pub(crate) faults: u8,
    /// Items that are given back after work or before it, and deadlines that are put off.
    pub(crate) choices: u8,
}

/// Where items come from, by the name of a segment.
#[derive(Clone, Copy, Debug)]
struct Source {
    first: usize,
    count: usize,
}

#[derive(Debug)]
pub(crate) struct Setting {
    rules: ModelQueue,
    block: String,
    fixed: Vec<String>,
    /// The names of segments that are pushed, and of items that are taken out.
    names: Vec<(String, Source)>,
    scene: Scene,
}

#[derive(Debug)]
pub(crate) struct QueueModel {
    setting: Setting,
    without: Option<Without>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    tree: Tree,
    consumers: Vec<Consumer>,
    /// How many segments the producer has pushed, as it knows.
    pushed: usize,
    push: Option<Flight>,
    /// How many were pushed in fact.
    in_queue: usize,
    /// Sessions of consumers that are gone.
    orphans: Vec<u8>,
    sessions: u8,
    now: i64,
    faults: u8,
    choices: u8,
    /// How often each item was acknowledged, and the last attempt at which it was handed out.
    done: Vec<u8>,
    attempts: Vec<u32>,
    broken: Option<&'static str>,
}

pub(crate) const ONE_PLACE: &str = "each item is in one place, and ends once";
pub(crate) const TWO_HOLD: &str = "no two believe to hold";
pub(crate) const REFUSED: &str = "what is free can be claimed";
pub(crate) const TOLD: &str = "what a consumer is told is true";
const GROWS: &str = "attempts of an item grow";
pub(crate) const ORDER: &str = "a strict queue keeps its order";

impl Setting {
    fn new(scene: Scene, without: Option<Without>) -> Option<Self> {
        let timeout = scene.has_deadlines.then_some(Duration::from_millis(TIMEOUT));
        let lack = match without {
            Some(Without::Firsts) => Some(ModelLack::Firsts),
            Some(Without::Cut) => Some(ModelLack::Cut),
            _ => None,
        };
        let rules = ModelQueue::new(scene.window, 3, timeout)?.without(lack);
        let mut names = Vec::new();
        let mut first = 0;
        for (push, count) in scene.segments.iter().copied().enumerate() {
            names.push((ModelQueue::guid(&format!("s{push}")), Source { first, count }));
            first += count;
        }
        let taken_out = (0..first).map(|first| (ModelQueue::guid(&format!("b{first}")), Source { first, count: 1 }));
        names.extend(taken_out.collect::<Vec<_>>());
        Some(Self {
            block: rules.block(),
            fixed: rules.fixed().into(),
            rules,
            names,
            scene,
        })
    }

    fn items(&self) -> usize {
        self.scene.segments.iter().sum()
    }

    fn source(&self, guid: &str) -> Source {
        let found = self.names.iter().find(|(name, _)| name == guid);
        found.expect("names are made by the model").1
    }

    /// The number of an item, from its id.
    fn item(&self, id: &str) -> usize {
        let (rest, index) = id.rsplit_once('.').expect("an id");
        let guid = &rest[rest.len() - 16..];
        self.source(guid).first + index.parse::<usize>().expect("an index")
    }

    /// The number of the push that an item came with.
    fn push_of(&self, item: usize) -> usize {
        let pushes = &self.names[..self.scene.segments.len()];
        pushes.iter().filter(|(_, push)| push.first <= item).count()
    }

    fn is_strict(&self) -> bool {
        self.scene.window.is_none()
    }
}

impl QueueModel {
    pub(crate) fn new(scene: Scene, without: Option<Without>) -> Self {
        let setting = Setting::new(scene, without).expect("the queue has a path");
        Self { setting, without }
    }

    fn lacks(&self, safeguard: Without) -> bool {
        self.without == Some(safeguard)
    }

    /// Looks at all that has to hold in a state that was just reached.
    fn judge(&self, state: &mut State) {
        let cover = Cover::of(&self.setting, &state.tree);
        let mut pushed = vec![false; self.setting.items()];
        for (_, source) in &self.setting.names[..state.in_queue] {
            pushed[source.first..source.first + source.count].fill(true);
        }
        let in_one_place = |item: usize| {
            let places = cover.places[item] + state.done[item] + cover.dead[item];
            places == u8::from(pushed[item]) && cover.claims[item] <= 1
        };
        if cover.is_torn || !(0..pushed.len()).all(in_one_place) {
            state.broken.get_or_insert(ONE_PLACE);
        }
        let counted = |item: usize| cover.places[item] == 0 || cover.attempts[item] >= state.attempts[item];
        if !(0..pushed.len()).all(counted) {
            state.broken.get_or_insert(GROWS);
        }
        let held: Vec<usize> = state
            .consumers
            .iter()
            .flat_map(|consumer| self.held(consumer))
            .collect();
        if held
            .iter()
            .enumerate()
            .any(|(place, item)| held[..place].contains(item))
        {
            state.broken.get_or_insert(TWO_HOLD);
        }
        for consumer in &mut state.consumers {
            if matches!(consumer.phase, Phase::Claimed(_) | Phase::Holding(_)) {
                for (item, was_first) in &mut consumer.new_items {
                    *was_first |= !cover.is_free_before(*item);
                }
            }
        }
    }

    fn held(&self, consumer: &Consumer) -> Vec<usize> {
        let items = consumer.held().iter().flat_map(ModelClaim::items);
        items.map(|(_, id)| self.setting.item(id)).collect()
    }

    fn is_finished(&self, state: &State) -> bool {
        let is_idle = |consumer: &Consumer| consumer.phase == Phase::Idle && consumer.strays.is_empty();
        let cover = Cover::of(&self.setting, &state.tree);
        state.pushed == self.setting.scene.segments.len()
            && state.orphans.is_empty()
            && state.consumers.iter().all(is_idle)
            && cover.places.iter().all(|places| *places == 0)
    }

    /// Whether nothing more happens, but for faults and for what users may do or not.
    fn is_over(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        act::candidates(self, state, &mut actions);
        let goes_on = |action: &Action| action.is_due() && act::act(self, state, action.clone()).is_some();
        !actions.iter().any(goes_on)
    }
}

impl Model for QueueModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let items = self.setting.items();
        let consumer = |session| Consumer {
            session,
            ..Consumer::default()
        };
        vec![State {
            tree: Tree::default(),
            consumers: (0..2).map(consumer).collect(),
            pushed: 0,
            push: None,
            in_queue: 0,
            orphans: Vec::new(),
            sessions: 2,
            now: 0,
            faults: self.setting.scene.faults,
            choices: self.setting.scene.choices,
            done: vec![0; items],
            attempts: vec![0; items],
            broken: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What is broken stays so.
        if state.broken.is_none() {
            act::candidates(self, state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = act::act(self, state, action)?;
        self.judge(&mut next);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(ONE_PLACE, |_, state| state.broken != Some(ONE_PLACE)),
            Property::<Self>::always(TWO_HOLD, |_, state| state.broken != Some(TWO_HOLD)),
            Property::<Self>::always(TOLD, |_, state| state.broken != Some(TOLD)),
            Property::<Self>::always(REFUSED, |_, state| state.broken != Some(REFUSED)),
            Property::<Self>::always(GROWS, |_, state| state.broken != Some(GROWS)),
            Property::<Self>::always(ORDER, |_, state| state.broken != Some(ORDER)),
            Property::<Self>::always("no item is stuck, nothing is left behind", |model, state| {
                let is_dead = |path: &String| path.starts_with("/q/dead/");
                state.broken.is_some()
                    || !model.is_over(state)
                    || model.is_finished(state) && state.tree.nodes.keys().all(is_dead)
            }),
            Property::<Self>::sometimes("all items are done", |_, state| {
                state.done.iter().all(|done| *done == 1)
            }),
        ]
    }
}
