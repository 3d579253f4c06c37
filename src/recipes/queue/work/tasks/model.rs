//! The decisions of a consumer for a model checker: what was read is handed in, what is written is handed out.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zookeeper_client as zk;

use super::super::store::{
    Asked, ClaimData, Draft, Drafted, Guid, Header, Knowledge, Lane, NewEntry, Order, Picture, QueueLayout, Role,
    Slots, Taking, Tally, decode_items,
};
use super::assignment::Verdict;
use super::bury::LostItems;
use super::claim::Open;
use super::claiming::draft_release;
use super::firsts::Firsts;
use super::holding::own_items;
use super::judge::draft_verdicts;
use super::prepare::{KnownRange, Prepared, RangeNodes, Unusable, claimable};
use super::select::{Candidate, choose};
use super::view::{Aim, View};
use crate::session::Operation;
use crate::znode::NodePath;

const LANE: Lane = Lane::Ready(100);

/// An operation of a transaction: a path, data, and the version that it relies on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ModelStep {
    /// The node is there.
    Check(String, Option<i32>),
    /// Creates a persistent node; with the flag the server appends a number to the name.
    Create(String, Vec<u8>, bool),
    /// Creates an ephemeral node.
    CreateEphemeral(String, Vec<u8>),
    /// Writes the node.
    Set(String, Vec<u8>, Option<i32>),
    /// Deletes the node.
    Delete(String, Option<i32>),
}

/// What a node has: its data and its version.
pub type ModelNode = (Vec<u8>, i32);

/// What becomes of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelVerdict {
    /// It is acknowledged.
    Done,
    /// It is given back after work.
    Failed,
    /// It is given back before that.
    NotDelivered,
    /// It is about to be handed out.
    Note,
    /// Its claim's deadline is put off.
    Extend(Duration),
}

/// A range that a transaction claims.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelTaking(Taking);

/// A range that is held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelClaim {
    taking: Taking,
    open: Open,
}

/// Where ranges begin, as far as a consumer has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ModelFirsts(Firsts);

/// What a consumer does with what it sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelTurn {
    /// There is nothing to claim.
    Nothing,
    /// What was seen is outdated: it looks again.
    Outdated,
    /// By what it has read, something else comes first.
    Learned(ModelFirsts),
    /// It puts what was lost at its last attempt to the dead letters.
    Bury(Vec<ModelStep>),
    /// It claims these, and knows where ranges begin.
    Claim(Vec<ModelStep>, Vec<ModelTaking>, ModelFirsts),
}

/// What is taken away from these decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelLack {
    /// What a tally says of the place where its range begins.
    Firsts,
    /// The end of a claim ahead of a piece that was taken out of its range.
    Cut,
}

/// The rules of a queue with one lane and one block.
#[derive(Debug)]
pub struct ModelQueue {
    layout: QueueLayout,
    header: Header,
    tails: HashMap<Lane, i32>,
    lack: Option<ModelLack>,
}

impl ModelQueue {
    /// A queue at `/q`; none if there is no such path.
    pub fn new(window: Option<u16>, max_attempts: u32, claim_timeout: Option<Duration>) -> Option<Self> {
        let asked = Asked {
            order: window.map(Order::Window),
            max_attempts: Some(max_attempts),
            claim_timeout: Some(claim_timeout),
            ..Asked::default()
        };
        Some(Self {
            layout: QueueLayout::new(NodePath::new("/q").ok()?),
            header: Header::new(asked.options()),
            tails: HashMap::from([(LANE, 0)]),
            lack: None,
        })
    }

    /// The same without a safeguard.
    pub fn without(self, lack: Option<ModelLack>) -> Self {
        Self { lack, ..self }
    }

    /// The queue's own node, its bell, and its lane.
    pub fn fixed(&self) -> [String; 3] {
        let lane = self.layout.lane(LANE).as_str().to_owned();
        [self.layout.root().as_str().to_owned(), self.layout.bell(), lane]
    }

    /// The block of the lane.
    pub fn block(&self) -> String {
        self.layout.lane(LANE).child("0")
    }

    /// A name as those that are drawn at random.
    pub fn guid(text: &str) -> String {
        Guid::of_text(text).to_string()
    }

    fn draft<T>(&self, now: i64, write: impl FnOnce(&mut Draft<'_>) -> T) -> (Vec<ModelStep>, T) {
        let known = Knowledge {
            layout: &self.layout,
            tails: &self.tails,
            header: &self.header,
            level: None,
            now,
        };
        let mut draft = Draft::new(known);
        let value = write(&mut draft);
        let steps = match draft.finish() {
            Drafted::Complete { steps, .. } => steps.into_iter().map(step_of).collect(),
            Drafted::Missing(_) | Drafted::Paused => unreachable!("the model has no lanes and no pause"),
        };
        (steps, value)
    }

    /// Pushes so many items at once.
    pub fn push(&self, items: usize, now: i64) -> Vec<ModelStep> {
        let entry = NewEntry {
            payload: Bytes::new(),
            priority: 100,
            delay: Duration::ZERO,
            key: None,
            group: None,
            expires_after: None,
            wants_outcome: false,
        };
        let entries = vec![entry; items];
        self.draft(now, |draft| draft.push(&entries)).0
    }

    fn view(&self, names: &[String], own: &[ModelTaking], firsts: &ModelFirsts, now: i64) -> View {
        let lanes = self.layout.directory("lanes").as_str().to_owned();
        let [_, _, lane] = self.fixed();
        let delayed = self.layout.slots(Slots::Delayed).as_str().to_owned();
        let lists = [
            (lanes, vec![LANE.to_string()]),
            (delayed, Vec::new()),
            (lane, vec!["0".to_owned()]),
            (self.block(), names.to_vec()),
        ];
        let looked = Instant::now();
        let lists = lists.into_iter().map(|(path, names)| (path, (looked, names)));
        View::of(&self.layout, lists.collect(), &self.aim(own, firsts, now))
    }

    fn aim(&self, own: &[ModelTaking], firsts: &ModelFirsts, now: i64) -> Aim {
        Aim {
            firsts: Arc::new(firsts.0.clone()),
            own: own.iter().map(|taking| taking.0.claim).collect(),
            ..Aim::of(&self.header, now)
        }
    }

    fn chosen(&self, view: &View, wanted: usize, random: usize) -> Vec<(Candidate, usize)> {
        choose(&view.line, wanted, self.header.options.order, random)
    }

    /// How many choices the order leaves.
    pub fn choices(&self, names: &[String], now: i64) -> usize {
        match self.header.options.order {
            Order::Strict => 1,
            Order::Window(width) => self
                .view(names, &[], &ModelFirsts::default(), now)
                .line
                .len()
                .min(usize::from(width)),
        }
    }

    /// The nodes that have to be read before what is seen can be claimed.
    pub fn unread(
        &self,
        names: &[String],
        firsts: &ModelFirsts,
        wanted: usize,
        random: usize,
        now: i64,
    ) -> Vec<String> {
        let view = self.view(names, &[], firsts, now);
        let chosen = self.chosen(&view, wanted, random);
        let nodes = |candidate| {
            let nodes = RangeNodes::of(&self.layout, candidate).ok().flatten()?;
            let segment = claimable(candidate).segment_path(&self.layout);
            Some([Some(nodes.opened), nodes.claim.map(|(path, _)| path), Some(segment)])
        };
        let nodes = chosen.iter().filter_map(|(candidate, _)| nodes(candidate));
        nodes.flatten().flatten().collect()
    }

    /// What a consumer of so many items does, of which it hands out one after the other.
    pub fn turn(
        &self,
        names: &[String],
        firsts: &ModelFirsts,
        wanted: usize,
        random: usize,
        node: impl Fn(&str) -> Option<ModelNode>,
        now: i64,
    ) -> ModelTurn {
        let view = self.view(names, &[], firsts, now);
        let chosen = self.chosen(&view, wanted, random);
        let noted: Vec<bool> = (0..wanted).map(|place| place == 0).collect();
        let known = |candidate: &Candidate| match RangeNodes::of(&self.layout, candidate)? {
            None => Ok(None),
            Some(nodes) => {
                let claim = nodes.claim.as_ref().and_then(|(path, _)| node(path));
                nodes.judge(node(&nodes.opened), claim, now).map(Some)
            }
        };
        let pieces: &[Candidate] = if self.lack == Some(ModelLack::Cut) {
            &[]
        } else {
            &view.line
        };
        let of_chosen = chosen.iter().map(|(candidate, _)| known(candidate)).collect();
        let prepared = Prepared::with(pieces, &chosen, of_chosen, &noted, &self.header, now);
        let (mut firsts, mut line) = (firsts.clone(), view.line.clone());
        if self.lack != Some(ModelLack::Firsts) {
            prepared.learn(&mut firsts.0);
        }
        firsts.0.sort(&mut line);
        if self.header.options.order == Order::Strict && line != view.line {
            return ModelTurn::Learned(firsts);
        }
        if prepared.has_dead {
            let lost = |candidate| self.lost(candidate, known(candidate), &node, now);
            let lost: Vec<_> = chosen.iter().filter_map(|(candidate, _)| lost(candidate)).collect();
            let steps = self.draft(now, |draft| {
                draft.check_header();
                for (position, lost) in lost.iter().enumerate() {
                    lost.draft(draft, position, self.header.options.max_attempts);
                }
            });
            return ModelTurn::Bury(steps.0);
        }
        if prepared.takings.is_empty() {
            return match prepared.is_outdated {
                true => ModelTurn::Outdated,
                false => ModelTurn::Nothing,
            };
        }
        let steps = self.draft(now, |draft| {
            draft.check_running();
            for (position, taking) in prepared.takings.iter().enumerate() {
                let path = taking.claim.claim_path(&self.layout);
                draft.take(position, taking, &path, ClaimData::default().encode());
            }
        });
        ModelTurn::Claim(steps.0, prepared.takings.into_iter().map(ModelTaking).collect(), firsts)
    }

    fn lost<'c>(
        &self,
        candidate: &'c Candidate,
        known: Result<Option<KnownRange>, Unusable>,
        node: &impl Fn(&str) -> Option<ModelNode>,
        now: i64,
    ) -> Option<LostItems<'c>> {
        let (data, _) = node(&claimable(candidate).segment_path(&self.layout))?;
        LostItems::of(candidate, known.ok()??, &Bytes::from(data), &self.header, now)
    }

    /// Whether nothing is free ahead of what was just claimed, by a list that came after that.
    pub fn is_first(&self, names: &[String], takings: &[ModelTaking], firsts: &ModelFirsts, now: i64) -> bool {
        let claimed: Vec<Taking> = takings.iter().map(|taking| taking.0.clone()).collect();
        let aim = self.aim(takings, firsts, now);
        self.view(names, takings, firsts, now).is_first(&aim, &claimed)
    }

    /// Whether the first of what was just claimed is ahead of all that is free.
    pub fn begins_first(&self, names: &[String], takings: &[ModelTaking], firsts: &ModelFirsts, now: i64) -> bool {
        let aim = self.aim(takings, firsts, now);
        self.view(names, takings, firsts, now).settle_own(&aim)
    }

    /// Gives back what was claimed and not handed out.
    pub fn release(&self, takings: &[ModelTaking], now: i64) -> Vec<ModelStep> {
        let write = |draft: &mut Draft<'_>| {
            for (position, taking) in takings.iter().enumerate() {
                draft_release(draft, position, &taking.0);
            }
        };
        self.draft(now, write).0
    }

    /// What is held once a claim is committed and its segment read; none if nothing of it can be read.
    pub fn claim(&self, taking: &ModelTaking, segment: &[u8]) -> Option<ModelClaim> {
        let taking = taking.0.clone();
        let items = own_items(&taking, &decode_items(&Bytes::copy_from_slice(segment))?);
        let open = Open::new(&taking, items, Bytes::new(), 0);
        (!open.items.is_empty()).then_some(ModelClaim { taking, open })
    }

    /// The path of the claim, and of its segment.
    pub fn paths(&self, taking: &ModelTaking) -> (String, String) {
        let claim = &taking.0.claim;
        (claim.claim_path(&self.layout), claim.segment_path(&self.layout))
    }

    /// What verdicts make of a claim: the transaction, and what is held after it.
    pub fn settle(
        &self,
        claim: &ModelClaim,
        verdicts: &[(u8, ModelVerdict)],
        now: i64,
    ) -> (Vec<ModelStep>, ModelClaim) {
        let verdicts: Vec<(u8, Verdict)> = verdicts.iter().map(|(at, verdict)| (*at, verdict.of())).collect();
        let at = &claim.taking.claim;
        let (steps, after) = self.draft(now, |draft| draft_verdicts(draft, at, &claim.open, &verdicts));
        let mut claim = claim.clone();
        claim.open.settled(after, 0);
        (steps, claim)
    }

    /// Segments of several items that are done and were left behind.
    pub fn left_over(&self, names: &[String]) -> Vec<String> {
        let done = Picture::of(names).done;
        done.iter().map(|name| format!("{}/{name}", self.block())).collect()
    }
}

/// What the data of an opened range says: the number of its latest claim, and the attempts of the items that are left.
pub fn model_tally(data: &[u8], from: u8, to: u8) -> Option<(u32, Vec<(u8, u32)>)> {
    let tally = Tally::decode(data)?;
    let left = (from..to).filter(|index| !tally.is_done(*index));
    let left = left.map(|index| (index, tally.attempts(index))).collect();
    Some((tally.epoch, left))
}

fn step_of((operation, _): (Operation, Role)) -> ModelStep {
    match operation {
        Operation::Check(path, version) => ModelStep::Check(path, (version != -1).then_some(version)),
        Operation::Create(path, data, zk::CreateMode::Persistent) => ModelStep::Create(path, data.into(), false),
        Operation::Create(path, data, zk::CreateMode::PersistentSequential) => {
            ModelStep::Create(path, data.into(), true)
        }
        Operation::Create(path, data, zk::CreateMode::Ephemeral) => ModelStep::CreateEphemeral(path, data.into()),
        Operation::SetData(path, data, version) => ModelStep::Set(path, data.into(), version),
        Operation::Delete(path, version) => ModelStep::Delete(path, version),
        other => unreachable!("the model does not know {other:?}"),
    }
}

mod held;
#[cfg(test)]
mod tests;
