//! A leader, and a follower that applies what the leader committed, one change after the other.

use std::collections::VecDeque;

/// A contender's node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) client: usize,
    pub(super) guid: u8,
    pub(super) session: u8,
    /// Its sequence number; it grows with the zxid of its creation and is the token.
    pub(super) number: u8,
    pub(super) shared: bool,
}

impl Node {
    /// As Curator's read-write locks write it.
    pub(super) fn name(&self) -> String {
        name(self.client, self.guid, self.number, self.shared)
    }
}

pub(super) fn name(client: usize, guid: u8, number: u8, shared: bool) -> String {
    let tag = if shared { "__READ__" } else { "__WRIT__" };
    format!("_c_{client}x{guid}-{tag}{number:010}")
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Change {
    Created(Node),
    Deleted(u8),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ensemble {
    pub(super) leader: Vec<Node>,
    pub(super) follower: Vec<Node>,
    /// What the follower has not applied yet.
    log: VecDeque<Change>,
    /// The follower is cut off.
    pub(super) is_cut: bool,
    /// The number of the node created last.
    latest: u8,
    pub(super) zxid: u8,
}

impl Ensemble {
    pub(super) fn create(&mut self, mut node: Node) -> u8 {
        self.latest += 1;
        node.number = self.latest;
        self.leader.push(node.clone());
        self.commit(Change::Created(node));
        self.latest
    }

    pub(super) fn delete(&mut self, number: u8) {
        if self.leader.iter().any(|node| node.number == number) {
            self.leader.retain(|node| node.number != number);
            self.commit(Change::Deleted(number));
        }
    }

    pub(super) fn expire(&mut self, client: usize, session: u8) {
        let owned = |node: &&Node| node.client == client && node.session == session;
        let numbers: Vec<u8> = self.leader.iter().filter(owned).map(|node| node.number).collect();
        for number in numbers {
            self.delete(number);
        }
    }

    fn commit(&mut self, change: Change) {
        self.zxid += 1;
        self.log.push_back(change);
    }

    /// The follower applies the next change.
    pub(super) fn apply(&mut self) -> bool {
        match self.log.pop_front() {
            Some(Change::Created(node)) => self.follower.push(node),
            Some(Change::Deleted(number)) => self.follower.retain(|node| node.number != number),
            None => return false,
        }
        true
    }

    pub(super) fn lag(&self) -> u8 {
        u8::try_from(self.log.len()).unwrap_or(u8::MAX)
    }

    /// What the server of a client has applied.
    pub(super) fn applied(&self, at_follower: bool) -> u8 {
        if at_follower { self.zxid - self.lag() } else { self.zxid }
    }

    pub(super) fn tree(&self, at_follower: bool) -> &[Node] {
        if at_follower { &self.follower } else { &self.leader }
    }

    pub(super) fn has(&self, number: u8) -> bool {
        self.leader.iter().any(|node| node.number == number)
    }
}
