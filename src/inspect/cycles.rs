//! Circles in a [`WaitGraph`]: candidates of dead-locks.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::time::SystemTime;

use super::graph::{Wait, WaitGraph};
use crate::line::Contender;

/// From so many members of a component the shortest circle is looked for.
const STARTS: usize = 64;

/// A process with more waits than this serves so many tasks that a circle says little.
const MANY: usize = 10;

/// How sure it is that a circle is a dead-lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Confidence {
    /// A process took what it holds after it began to wait, or waits in more than ten places: other tasks are at work.
    Unlikely,
    /// A process waits in several places, or behind itself.
    Possible,
    /// Each process waits in one place, for what it wanted after it took what it holds.
    Likely,
}

/// `unlikely`, `possible` or `likely`.
impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unlikely => "unlikely",
            Self::Possible => "possible",
            Self::Likely => "likely",
        })
    }
}

/// Processes that wait in a circle.
///
/// A process may serve several tasks, so a circle is a *candidate* of a dead-lock. And a walk is no snapshot: see
/// [`Inspector::confirm`](super::Inspector::confirm).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Cycle {
    /// The processes: each waits for what the next one holds.
    pub members: Vec<CycleMember>,
    /// How sure it is.
    pub confidence: Confidence,
    /// Since when all of them wait, by the ensemble's clock.
    pub since: SystemTime,
}

/// One process of a [`Cycle`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CycleMember {
    /// Its index in [`WaitGraph::processes`].
    pub process: usize,
    /// The place where it is in the way.
    pub holds_at: String,
    /// What it holds there; rarely, a place in line ahead of the contender that waits for it.
    pub holds: Contender,
    /// The place where it waits.
    pub waits_at: String,
    /// What waits there.
    pub waits: Contender,
}

impl Cycle {
    /// Returns the member whose wait is the youngest. To break what it holds ends the circle, and most likely loses least.
    pub fn youngest(&self) -> Option<&CycleMember> {
        self.members
            .iter()
            .max_by_key(|member| (member.waits.since, member.waits.token))
    }

    /// Returns the paths of the places, in the order of the members that wait there.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.waits_at.as_str())
    }
}

impl WaitGraph {
    /// Returns the candidates of dead-locks: of each set of processes that all wait for each other, the shortest circle.
    ///
    /// A process that waits for any of several permits counts only if all their holders wait for it in turn.
    pub fn cycles(&self) -> Vec<Cycle> {
        let alive = self.in_circles();
        let component = self.components(&alive);
        let mut members: HashMap<usize, Vec<usize>> = HashMap::new();
        for (process, component) in component.iter().enumerate() {
            members.entry(*component).or_default().push(process);
        }
        let edges = self.edges(&alive, &component);
        let circles = members.into_values().filter(|members| members.len() > 1);
        let mut cycles: Vec<_> = circles
            .filter_map(|members| shortest(&members, &edges, &self.waits))
            .filter_map(|circle| self.cycle(&circle))
            .collect();
        cycles.sort_by_key(|cycle| (Reverse(cycle.confidence), cycle.since));
        cycles
    }

    /// The indices of the waits that are a part of a circle.
    pub(super) fn circular(&self) -> HashSet<usize> {
        let alive = self.in_circles();
        let component = self.components(&alive);
        let waits = self.waits().iter().enumerate();
        let circular = waits.filter(|(index, wait)| alive[*index] && component[wait.from] == component[wait.to]);
        circular.map(|(index, _)| index).collect()
    }

    /// Which waits count: not for oneself, and for any of several only if all of those are in the same component.
    fn in_circles(&self) -> Vec<bool> {
        let mut alive: Vec<bool> = self.waits.iter().map(|wait| wait.from != wait.to).collect();
        let is_free = |wait: &Wait, component: &[usize]| wait.any && component[wait.from] != component[wait.to];
        loop {
            let component = self.components(&alive);
            let free: HashSet<i64> = (self.waits.iter().zip(&alive))
                .filter(|(wait, _)| is_free(wait, &component))
                .map(|(wait, _)| wait.waiter.token.as_i64())
                .collect();
            let mut changed = false;
            for (wait, alive) in self.waits.iter().zip(&mut alive) {
                if *alive && wait.any && free.contains(&wait.waiter.token.as_i64()) {
                    (*alive, changed) = (false, true);
                }
            }
            if !changed {
                return alive;
            }
        }
    }

    /// The waits within components, by the process that waits, those for holders first.
    fn edges(&self, alive: &[bool], component: &[usize]) -> Vec<Vec<usize>> {
        let mut edges = vec![Vec::new(); self.processes().len()];
        for (index, wait) in self.waits.iter().enumerate() {
            if alive[index] && component[wait.from] == component[wait.to] {
                edges[wait.from].push(index);
            }
        }
        for edges in &mut edges {
            edges.sort_by_key(|index| !self.waits[*index].is_hard());
        }
        edges
    }

    /// The strongly connected component of each process: Tarjan's algorithm, without recursion.
    fn components(&self, alive: &[bool]) -> Vec<usize> {
        let mut next = vec![Vec::new(); self.processes().len()];
        for (wait, alive) in self.waits.iter().zip(alive) {
            if *alive {
                next[wait.from].push(wait.to);
            }
        }
        let mut search = ComponentSearch::new(&next);
        (0..next.len()).for_each(|root| search.from(root));
        search.component
    }

    fn cycle(&self, circle: &[usize]) -> Option<Cycle> {
        let waits: Vec<&Wait> = circle.iter().map(|index| &self.waits[*index]).collect();
        let before = waits.iter().cycle().skip(waits.len().checked_sub(1)?);
        let members = waits.iter().zip(before).map(|(wait, before)| CycleMember {
            process: wait.from,
            holds_at: before.path.clone(),
            holds: (*before.blocker).clone(),
            waits_at: wait.path.clone(),
            waits: (*wait.waiter).clone(),
        });
        let members: Vec<_> = members.collect();
        let since = members.iter().map(|member| member.waits.since).max()?;
        let confidence = members.iter().map(|member| self.confidence(member)).min()?;
        Some(Cycle {
            members,
            confidence,
            since,
        })
    }

    fn confidence(&self, member: &CycleMember) -> Confidence {
        // The places of a MultiLock have one token: they are one wait.
        let of_process = self.waits.iter().filter(|wait| wait.from == member.process);
        let waits: HashSet<i64> = of_process.map(|wait| wait.waiter.token.as_i64()).collect();
        if waits.len() > MANY || (member.holds.is_holder && member.holds.token > member.waits.token) {
            Confidence::Unlikely
        } else if waits.len() > 1 || !member.holds.is_holder || member.holds_at == member.waits_at {
            Confidence::Possible
        } else {
            Confidence::Likely
        }
    }
}

/// The shortest circle within one component, as waits.
fn shortest(members: &[usize], edges: &[Vec<usize>], waits: &[Wait]) -> Option<Vec<usize>> {
    let circles = members
        .iter()
        .take(STARTS)
        .filter_map(|start| circle_from(*start, edges, waits));
    let soft = |circle: &[usize]| circle.iter().filter(|index| !waits[**index].is_hard()).count();
    circles.min_by_key(|circle| (circle.len(), soft(circle)))
}

/// The shortest circle through `start`: breadth first.
fn circle_from(start: usize, edges: &[Vec<usize>], waits: &[Wait]) -> Option<Vec<usize>> {
    let mut reached_by: HashMap<usize, usize> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(process) = queue.pop_front() {
        for index in &edges[process] {
            let to = waits[*index].to;
            if to == start {
                let mut circle = vec![*index];
                let mut at = process;
                while at != start {
                    let index = *reached_by.get(&at)?;
                    circle.push(index);
                    at = waits[index].from;
                }
                circle.reverse();
                return Some(circle);
            }
            reached_by.entry(to).or_insert_with(|| {
                queue.push_back(to);
                *index
            });
        }
    }
    None
}

/// The state of Tarjan's algorithm.
struct ComponentSearch<'a> {
    next: &'a [Vec<usize>],
    number: Vec<Option<usize>>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    numbered: usize,
    component: Vec<usize>,
    components: usize,
}

impl<'a> ComponentSearch<'a> {
    fn new(next: &'a [Vec<usize>]) -> Self {
        let len = next.len();
        Self {
            next,
            number: vec![None; len],
            low: vec![0; len],
            on_stack: vec![false; len],
            stack: Vec::new(),
            numbered: 0,
            component: vec![0; len],
            components: 0,
        }
    }

    fn from(&mut self, root: usize) {
        if self.number[root].is_some() {
            return;
        }
        self.enter(root);
        let mut path = vec![(root, 0)];
        while let Some((node, at)) = path.last_mut() {
            let node = *node;
            if let Some(to) = self.next[node].get(*at).copied() {
                *at += 1;
                match self.number[to] {
                    None => {
                        self.enter(to);
                        path.push((to, 0));
                    }
                    Some(number) if self.on_stack[to] => self.low[node] = self.low[node].min(number),
                    Some(_) => {}
                }
                continue;
            }
            path.pop();
            if let Some((parent, _)) = path.last() {
                self.low[*parent] = self.low[*parent].min(self.low[node]);
            }
            if self.number[node] == Some(self.low[node]) {
                self.close(node);
            }
        }
    }

    fn enter(&mut self, node: usize) {
        (self.number[node], self.low[node]) = (Some(self.numbered), self.numbered);
        self.numbered += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
    }

    fn close(&mut self, root: usize) {
        while let Some(node) = self.stack.pop() {
            self.on_stack[node] = false;
            self.component[node] = self.components;
            if node == root {
                break;
            }
        }
        self.components += 1;
    }
}

#[cfg(test)]
#[path = "cycles_tests.rs"]
mod tests;
