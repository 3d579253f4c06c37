//! What holds of a queue's nodes after each step, whatever the steps are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fastrand::Rng;
use zookeeper_recipes::queue::{Delivery, ItemId, NewItem, Order, PushOptions, WorkQueue};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{PATH, built, clean, drain};
use crate::support::sessions::session_of;
use crate::support::{PATIENCE, connect};

/// A block and the guid of a segment in it, and what was found of that.
#[derive(Debug, Default)]
struct Parts {
    count: Option<usize>,
    fresh: Vec<usize>,
    opened: BTreeSet<(usize, usize)>,
    claims: Vec<(usize, usize, u32, String)>,
}

fn numbers(parts: &[&str]) -> Vec<usize> {
    parts.iter().map(|part| part.parse().unwrap()).collect()
}

/// All blocks of lanes and slots. One list of a block is one consistent picture.
async fn blocks(fixture: &Fixture) -> Vec<String> {
    let tree = fixture.tree().await;
    let is_block = |path: &String| {
        let relative = path.strip_prefix(PATH).unwrap_or_default();
        let depth = relative.matches('/').count();
        (relative.starts_with("/lanes/") && depth == 3) || (relative.starts_with("/delayed/") && depth == 4)
    };
    tree.into_keys().filter(is_block).collect()
}

async fn parts(fixture: &Fixture) -> BTreeMap<(String, String), Parts> {
    let mut found: BTreeMap<(String, String), Parts> = BTreeMap::new();
    for block in blocks(fixture).await {
        for name in fixture.children(&block).await {
            let (kind, rest) = name.split_once('-').unwrap();
            let fields: Vec<&str> = rest.split('-').next().unwrap().split('.').collect();
            let parts = found.entry((block.clone(), fields[0].to_owned())).or_default();
            match kind {
                "s" | "b" | "g" => parts.count = Some(numbers(&fields[1..2])[0]),
                "f" => parts.fresh.extend(numbers(&fields[1..])),
                "o" => {
                    let span = numbers(&fields[1..]);
                    parts.opened.insert((span[0], span[1]));
                }
                "c" => {
                    let span = numbers(&fields[1..4]);
                    let epoch = u32::try_from(span[2]).unwrap();
                    parts.claims.push((span[0], span[1], epoch, format!("{block}/{name}")));
                }
                _ => {}
            }
        }
    }
    found
}

/// Ranges of a segment do not overlap, each belongs to a segment, and each claim to a range that knows its number.
async fn check(fixture: &Fixture) {
    for ((block, guid), parts) in parts(fixture).await {
        let place = format!("{block} {guid}: {parts:?}");
        let count = parts
            .count
            .unwrap_or_else(|| panic!("a range without its segment: {place}"));
        let fresh = parts.fresh.iter().map(|from| (*from, count));
        let ranges: BTreeSet<(usize, usize)> = parts.opened.iter().copied().chain(fresh).collect();
        assert_eq!(ranges.len(), parts.opened.len() + parts.fresh.len(), "{place}");
        let ordered: Vec<_> = ranges.into_iter().collect();
        assert!(
            ordered.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "ranges overlap: {place}"
        );
        assert!(ordered.iter().all(|(from, to)| from < to && *to <= count), "{place}");
        for (from, to, epoch, path) in &parts.claims {
            assert!(
                parts.opened.contains(&(*from, *to)),
                "a claim without its range: {place}"
            );
            let opened = format!("{block}/o-{guid}.{from}.{to}");
            // Both may have gone since they were listed.
            if let Ok((tally, _)) = fixture.raw().get_data(&opened).await {
                let known = u32::from_be_bytes(tally[1..5].try_into().unwrap());
                let stands = fixture.raw().check_stat(path).await.unwrap().is_some();
                assert!(
                    known == *epoch || !stands,
                    "claim {epoch} of a range that knows {known}: {place}"
                );
            }
        }
    }
}

struct Play {
    fixture: Fixture,
    queues: Vec<WorkQueue>,
    sessions: Vec<zookeeper_recipes::Coordinator>,
    held: Vec<Delivery>,
    waiting: Vec<ItemId>,
    items: usize,
}

impl Play {
    async fn step(&mut self, random: &mut Rng) {
        let queue = self.queues[random.usize(..self.queues.len())].clone();
        match random.u8(..12) {
            0 => self.waiting.push(queue.push("single").await.unwrap()),
            1 => {
                let items = (0..random.usize(2..100)).map(|number| number.to_string());
                self.waiting.extend(queue.push_all(items).await.unwrap());
            }
            2 => {
                let group = random.choice(["a", "b"]).unwrap();
                let item = NewItem::new("grouped").with(PushOptions::new().group(group).priority(random.u8(99..102)));
                self.waiting.push(queue.push(item).await.unwrap());
            }
            3..=5 => self
                .held
                .extend(within(PATIENCE, "items", queue.try_pop()).await.unwrap()),
            6 if !queue.is_empty().await.unwrap() => {
                let most = random.usize(1..40);
                let limit = Duration::from_millis(500);
                if let Ok(batch) = tokio::time::timeout(limit, queue.pop_batch(most)).await {
                    self.held.extend(batch.unwrap());
                }
            }
            7 => {
                let id = random.choice(&self.waiting).cloned();
                if let Some(id) = id {
                    self.items += usize::from(queue.cancel(&id).await.is_ok());
                }
            }
            8 if random.u8(..3) == 0 => {
                let session = session_of(random.choice(&self.sessions).unwrap()).await;
                self.fixture.expire(&session).await;
            }
            _ => self.settle(random).await,
        }
    }

    async fn settle(&mut self, random: &mut Rng) {
        for _ in 0..random.usize(..8).min(self.held.len()) {
            let delivery = self.held.swap_remove(random.usize(..self.held.len()));
            // Each may have been lost.
            match random.u8(..8) {
                0 => drop(delivery.nack().await),
                1 => drop(delivery.nack_after(Duration::from_millis(1)).await),
                2 => drop(delivery),
                3 => self.items += usize::from(delivery.reject("no").await.is_ok()),
                _ => self.items += usize::from(delivery.ack().await.is_ok()),
            }
        }
    }
}

async fn play(order: Order, seed: u64) {
    println!("{order:?}, seed {seed}");
    let mut random = Rng::with_seed(seed);
    let fixture = Fixture::new("invariants").await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(connect(&fixture).await);
    }
    let queues: Vec<_> = sessions
        .iter()
        .map(|zk| built(zk, |queue| queue.order(order).max_attempts(1000)))
        .collect();
    let mut play = Play {
        fixture,
        queues,
        sessions,
        held: Vec::new(),
        waiting: Vec::new(),
        items: 0,
    };
    for _ in 0..120 {
        play.step(&mut random).await;
        check(&play.fixture).await;
    }
    play.held.clear();
    let Play {
        fixture,
        queues,
        waiting,
        items,
        ..
    } = play;
    let drained = std::cell::Cell::new(0);
    eventually(PATIENCE, "all is accounted for", || async {
        drained.set(drained.get() + drain(&queues[0]).await.len());
        let stats = queues[0].stats().await.unwrap();
        stats.ready + stats.delayed + stats.claimed == 0
    })
    .await;
    assert_eq!(drained.get() + items, waiting.len(), "each item has ended once");
    check(&fixture).await;
    clean(&fixture, queues).await;
}

#[tokio::test]
async fn a_strict_queue_is_consistent_after_each_step() {
    play(Order::Strict, fastrand::u64(..)).await;
}

#[tokio::test]
async fn a_windowed_queue_is_consistent_after_each_step() {
    play(Order::Window(8), fastrand::u64(..)).await;
}
