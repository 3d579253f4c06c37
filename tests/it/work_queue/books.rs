//! What was told to the producers and consumers of a queue, and whether the ensemble agrees in the end.

use std::collections::{BTreeMap, BTreeSet};

use futures::future;
use zookeeper_recipes::queue::{Delivery, ItemId, PushError, WorkQueue};
use zookeeper_testkit::Fixture;

use super::PATH;

/// Where a delivery may leave an effect, in a node of its own.
pub(super) const EFFECTS: &str = "/effects";

/// What a consumer knows of how a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    Done,
    Maybe,
    NotDone,
}

/// What the producers and the consumers were told.
#[derive(Debug, Default)]
pub(super) struct Books {
    pushed: BTreeMap<ItemId, usize>,
    /// Those of one push, which are all there or none.
    doubtful: Vec<Vec<(ItemId, usize)>>,
    /// By item and token: which attempt it was, and its end.
    deliveries: BTreeMap<ItemId, BTreeMap<i64, (u32, End)>>,
}

impl Books {
    pub(super) fn note_push(&mut self, numbers: &[usize], pushed: Result<Vec<ItemId>, PushError>, keyed: bool) {
        match pushed {
            Ok(ids) => {
                assert_eq!(ids.len(), numbers.len());
                for (id, number) in ids.into_iter().zip(numbers) {
                    let earlier = self.pushed.insert(id.clone(), *number);
                    assert!(earlier.is_none_or(|earlier| keyed && earlier == *number), "{id} twice");
                }
            }
            Err(PushError::Indeterminate { ids }) => {
                assert!(!keyed, "a push with a key is tried until its outcome is known");
                self.doubtful
                    .push(ids.into_iter().zip(numbers.iter().copied()).collect());
            }
            Err(error) => panic!("{numbers:?} not pushed: {error}"),
        }
    }

    pub(super) fn note_delivery(&mut self, delivery: &Delivery, end: End) {
        let tokens = self.deliveries.entry(delivery.id().clone()).or_default();
        let earlier = tokens.insert(delivery.token().as_i64(), (delivery.attempt(), end));
        assert_eq!(earlier, None, "{} was delivered twice under one claim", delivery.id());
    }

    /// Says whether this settled the item, or may have.
    pub(super) fn note_end(&mut self, (id, token): (&ItemId, i64), end: End) -> bool {
        self.deliveries.get_mut(id).unwrap().get_mut(&token).unwrap().1 = end;
        end != End::NotDone
    }
}

/// What the ensemble has in the end is what everybody was told.
pub(super) async fn check(fixture: &Fixture, queue: &WorkQueue, books: &Books) {
    let results = results(fixture).await;
    let dead = queue.dead_letters().await.unwrap();
    let ended: BTreeSet<&ItemId> = results.keys().chain(dead.iter().map(|dead| &dead.id)).collect();
    assert_eq!(ended.len(), results.len() + dead.len(), "an item is done and dead");
    for dead in &dead {
        assert_eq!(dead.attempts, 8, "{dead:?}");
    }
    let lost: Vec<_> = books.pushed.iter().filter(|(id, _)| !ended.contains(id)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let mut known = books.pushed.clone();
    for push in &books.doubtful {
        let there = push.iter().filter(|(id, _)| ended.contains(id)).count();
        assert!(there == 0 || there == push.len(), "half of a push: {push:?}");
        known.extend(push.iter().filter(|(id, _)| ended.contains(id)).cloned());
    }
    let unknown: Vec<_> = ended.iter().filter(|id| !known.contains_key(**id)).collect();
    assert!(unknown.is_empty(), "nobody pushed {unknown:?}");
    let numbers: BTreeSet<usize> = known.values().copied().collect();
    assert_eq!(numbers.len(), known.len(), "an item was pushed twice");
    let (mut again, mut doubted) = (0, 0);
    for (id, deliveries) in &books.deliveries {
        let attempts: Vec<u32> = deliveries.values().map(|(attempt, _)| *attempt).collect();
        assert!(attempts.is_sorted_by(|one, next| one < next), "{id}: {deliveries:?}");
        again += attempts.len() - 1;
        doubted += deliveries.values().filter(|(_, end)| *end == End::Maybe).count();
        let done: Vec<i64> = deliveries
            .iter()
            .filter(|(_, (_, end))| *end == End::Done)
            .map(|(token, _)| *token)
            .collect();
        assert!(done.len() <= 1, "{id} was acknowledged twice: {deliveries:?}");
        let last = deliveries.last_key_value().unwrap();
        match results.get(id) {
            // The newest delivery has done it, and nobody was given the item after that.
            Some(token) => {
                assert_eq!(token, last.0, "{id}: {deliveries:?}");
                assert_ne!(last.1.1, End::NotDone, "{id}: {deliveries:?}");
            }
            None => assert!(done.is_empty(), "{id} has no result: {deliveries:?}"),
        }
    }
    let undelivered = results.keys().filter(|id| !books.deliveries.contains_key(id));
    assert_eq!(undelivered.count(), 0, "done without a delivery");
    let effects = effects(fixture).await;
    for (id, token, written) in &effects {
        let next = books.deliveries[id].keys().find(|next| *next > token);
        assert!(
            next.is_none_or(|next| written < next),
            "{id}: a late effect of {token}, at {written}"
        );
    }
    println!(
        "{} done, {} dead, {again} deliveries again, {doubted} acks and {} pushes in doubt, {} fenced effects",
        results.len(),
        dead.len(),
        books.doubtful.len(),
        effects.len()
    );
}

/// Of each group, no item was delivered before all that were pushed ahead of it had ended.
pub(super) fn check_groups(books: &Books, group_of: impl Fn(usize) -> Option<String>) {
    let doubtful = books.doubtful.iter().flatten().map(|(id, number)| (id, *number));
    let known = books.pushed.iter().map(|(id, number)| (id, *number)).chain(doubtful);
    let mut groups = BTreeMap::<String, BTreeMap<usize, _>>::new();
    for (id, number) in known {
        if let (Some(group), Some(deliveries)) = (group_of(number), books.deliveries.get(id)) {
            groups.entry(group).or_default().insert(number, deliveries);
        }
    }
    for (group, items) in &groups {
        let mut ahead = None;
        for (number, deliveries) in items {
            let first = deliveries.first_key_value().map(|(token, _)| *token);
            assert!(
                first > ahead,
                "{group}: {number} was delivered at {first:?}, before {ahead:?}"
            );
            ahead = deliveries.last_key_value().map(|(token, _)| *token);
        }
    }
    let items: usize = groups.values().map(BTreeMap::len).sum();
    println!("{items} items of {} groups were delivered in order", groups.len());
}

/// Which delivery did an item, by the result that it left.
async fn results(fixture: &Fixture) -> BTreeMap<ItemId, i64> {
    let mut results = BTreeMap::new();
    let directory = format!("{PATH}/results");
    for shard in fixture.children(&directory).await {
        let shard = format!("{directory}/{shard}");
        let reads = fixture.children(&shard).await.into_iter().map(async |id| {
            let (outcome, _) = fixture.raw().get_data(&format!("{shard}/{id}")).await.unwrap();
            // The format and the kind of the outcome come first.
            let token = String::from_utf8(outcome[2..].to_vec()).unwrap();
            (id.parse().unwrap(), token.parse().unwrap())
        });
        results.extend(future::join_all(reads).await);
    }
    results
}

/// Items, tokens that wrote for them, and when.
async fn effects(fixture: &Fixture) -> Vec<(ItemId, i64, i64)> {
    let names = fixture.children(EFFECTS).await;
    let stats = names.iter().map(async |name| {
        let (id, token) = name.split_once('@').unwrap();
        let stat = fixture
            .raw()
            .check_stat(&format!("{EFFECTS}/{name}"))
            .await
            .unwrap()
            .unwrap();
        (id.parse().unwrap(), token.parse().unwrap(), stat.czxid)
    });
    future::join_all(stats).await
}
