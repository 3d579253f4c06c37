//! Where each item is, by the nodes alone.

use zookeeper_recipes::model::queue::model_tally;

use super::Setting;
use super::tree::Tree;

/// What the nodes say of each item.
#[derive(Debug, Default)]
pub(super) struct Cover {
    /// In how many places it waits or is claimed.
    pub(super) places: Vec<u8>,
    /// How many claims it has.
    pub(super) claims: Vec<u8>,
    pub(super) dead: Vec<u8>,
    /// How often it was tried, where that is noted.
    pub(super) attempts: Vec<u32>,
    /// A node without another one that belongs to it.
    pub(super) is_torn: bool,
}

impl Cover {
    pub(super) fn of(setting: &Setting, tree: &Tree) -> Self {
        let items = setting.items();
        let mut cover = Self {
            places: vec![0; items],
            claims: vec![0; items],
            dead: vec![0; items],
            attempts: vec![0; items],
            is_torn: false,
        };
        for name in tree.list(&setting.block) {
            cover.add(setting, tree, &name);
        }
        for path in tree.nodes.keys().filter(|path| path.starts_with("/q/dead/")) {
            let id = path.rsplit('/').next().unwrap_or_default();
            cover.dead[setting.item(id)] += 1;
        }
        cover
    }

    fn add(&mut self, setting: &Setting, tree: &Tree, name: &str) {
        let (kind, rest) = name.split_at(2);
        let (guid, rest) = rest.split_at(16);
        let numbers = rest.split(['.', '-']).filter(|part| !part.is_empty());
        let numbers: Vec<u32> = numbers.filter_map(|part| part.parse().ok()).collect();
        let number = |place: usize| numbers[place] as u8;
        let source = setting.source(guid);
        match kind {
            // Of a single item that was never claimed, nothing else is there.
            "s-" if number(0) == 1 && !self.is_opened(setting, tree, guid) => self.places[source.first] += 1,
            // Else its items are in the ranges that were opened of it.
            "s-" | "b-" => {}
            "f-" => {
                let items = source.first + usize::from(number(0))..source.first + source.count;
                items.for_each(|item| self.places[item] += 1);
            }
            "o-" => {
                self.is_torn |= !self.has_segment(setting, tree, guid);
                let data = &tree.nodes[&format!("{}/{name}", setting.block)].data;
                let (epoch, left) = model_tally(data, number(0), number(1)).expect("a tally");
                let claim = format!("{}/c-{guid}{rest}.", setting.block);
                let claims = tree.nodes.keys().filter(|path| path.starts_with(&claim));
                let epochs: Vec<u32> = claims.map(|path| epoch_of(&path[claim.len()..])).collect();
                self.is_torn |= epochs.iter().any(|of| *of != epoch);
                for (index, attempts) in left {
                    let item = source.first + usize::from(index);
                    self.places[item] += 1;
                    self.claims[item] += epochs.len() as u8;
                    self.attempts[item] = attempts;
                }
            }
            "c-" => {
                let opened = format!("{}/o-{guid}.{}.{}", setting.block, numbers[0], numbers[1]);
                self.is_torn |= !tree.nodes.contains_key(&opened);
            }
            kind => unreachable!("the model does not know the nodes {kind}"),
        }
    }

    fn is_opened(&self, setting: &Setting, tree: &Tree, guid: &str) -> bool {
        tree.nodes.contains_key(&format!("{}/o-{guid}.0.1", setting.block))
    }

    fn has_segment(&self, setting: &Setting, tree: &Tree, guid: &str) -> bool {
        let is_segment = |kind: &str| {
            let prefix = format!("{}/{kind}-{guid}", setting.block);
            tree.nodes.keys().any(|path| path.starts_with(&prefix))
        };
        is_segment("s") || is_segment("b")
    }

    /// Whether an item before this one waits and nobody has it.
    pub(super) fn is_free_before(&self, item: usize) -> bool {
        (0..item).any(|ahead| self.places[ahead] > 0 && self.claims[ahead] == 0)
    }
}

fn epoch_of(rest: &str) -> u32 {
    rest.split('.')
        .next()
        .and_then(|epoch| epoch.parse().ok())
        .expect("a claim has its number")
}
