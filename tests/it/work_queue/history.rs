//! Whatever strikes, every item that was pushed is done exactly once, or dead.
//!
//! Three producers and six consumers over six sessions, whose links are cut in the middle of transactions, whose sessions
//! are taken away, which vanish in mid-work, and whose server is killed. `WORK_QUEUE_ITEMS` says how many items go through
//! (2,000 unless set), `WORK_QUEUE_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zookeeper_recipes::queue::{AckError, Delivery, ItemId, NewItem, PushError, PushOptions, WorkQueue};
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Coordinator, FencedWriteError};
use zookeeper_testkit::{Fixture, Op, Proxy, When, eventually, within};

use super::{PATH, queue};
use crate::sessions::session_of;
use crate::support::connect_to;

const PRODUCERS: usize = 3;
const CONSUMERS: [usize; 4] = [2, 2, 1, 1];
const WAVE: usize = 50;
const STRIKES: usize = 40;
const TIMEOUT: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(240);
const EFFECTS: &str = "/effects";

/// What a consumer knows of how a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Done,
    Maybe,
    NotDone,
}

/// What the producers and the consumers were told.
#[derive(Debug, Default)]
struct Books {
    pushed: BTreeMap<ItemId, usize>,
    /// Those of one push, which are all there or none.
    doubtful: Vec<Vec<(ItemId, usize)>>,
    /// By item and token: which attempt it was, and its end.
    deliveries: BTreeMap<ItemId, BTreeMap<i64, (u32, End)>>,
}

struct Stage {
    fixture: Fixture,
    items: usize,
    books: Mutex<Books>,
    settled: watch::Sender<usize>,
    over: watch::Sender<bool>,
}

/// A session, and the link that it goes through.
struct Site {
    proxy: Proxy,
    zk: Coordinator,
    consumers: Vec<JoinHandle<()>>,
}

impl Stage {
    fn note_push(&self, numbers: &[usize], pushed: Result<Vec<ItemId>, PushError>, keyed: bool) {
        let mut books = self.books.lock().unwrap();
        match pushed {
            Ok(ids) => {
                assert_eq!(ids.len(), numbers.len());
                for (id, number) in ids.into_iter().zip(numbers) {
                    let earlier = books.pushed.insert(id.clone(), *number);
                    assert!(earlier.is_none_or(|earlier| keyed && earlier == *number), "{id} twice");
                }
            }
            Err(PushError::Indeterminate { ids }) => {
                assert!(!keyed, "a push with a key is tried until its outcome is known");
                books
                    .doubtful
                    .push(ids.into_iter().zip(numbers.iter().copied()).collect());
            }
            Err(error) => panic!("{numbers:?} not pushed: {error}"),
        }
    }

    fn note_delivery(&self, delivery: &Delivery, end: End) {
        let mut books = self.books.lock().unwrap();
        let tokens = books.deliveries.entry(delivery.id().clone()).or_default();
        let earlier = tokens.insert(delivery.token().as_i64(), (delivery.attempt(), end));
        assert_eq!(earlier, None, "{} was delivered twice under one claim", delivery.id());
    }

    fn note_end(&self, (id, token): (&ItemId, i64), end: End) {
        let mut books = self.books.lock().unwrap();
        books.deliveries.get_mut(id).unwrap().get_mut(&token).unwrap().1 = end;
        if end != End::NotDone {
            self.settled.send_modify(|settled| *settled += 1);
        }
    }

    async fn site(self: &Arc<Self>, consumers: usize, random: &mut Rng) -> Site {
        let (proxy, servers) = self.fixture.proxied().await;
        let zk = connect_to(&servers, TIMEOUT).await;
        let consumers = (0..consumers).map(|_| {
            let (stage, zk, random) = (Arc::clone(self), zk.clone(), random.fork());
            tokio::spawn(async move { stage.consume(&queue(&zk).max_attempts(8), random).await })
        });
        Site {
            consumers: consumers.collect(),
            proxy,
            zk,
        }
    }

    /// Pushes its share of the items in one of three manners, never far ahead of the consumers.
    async fn produce(&self, queue: &WorkQueue, who: usize, mut random: Rng) {
        let mine: Vec<usize> = (0..self.items).filter(|number| number % PRODUCERS == who).collect();
        let mut settled = self.settled.subscribe();
        for (wave, numbers) in mine.chunks(WAVE).enumerate() {
            let needed = (wave * WAVE * PRODUCERS).saturating_sub(self.items / 4);
            settled.wait_for(|settled| *settled >= needed).await.unwrap();
            let item = |number: &usize, options| NewItem::new(number.to_string()).with(options);
            match who {
                0 => {
                    for _ in 0..random.usize(1..=2) {
                        let pushes = numbers
                            .iter()
                            .map(|number| queue.push(item(number, PushOptions::new().key(format!("a/b|{number}")))));
                        for (number, pushed) in numbers.iter().zip(future::join_all(pushes).await) {
                            self.note_push(&[*number], pushed.map(|id| vec![id]), true);
                        }
                    }
                }
                1 => {
                    let pushes = numbers
                        .iter()
                        .map(|number| queue.push(item(number, PushOptions::new())));
                    for (number, pushed) in numbers.iter().zip(future::join_all(pushes).await) {
                        self.note_push(&[*number], pushed.map(|id| vec![id]), false);
                    }
                }
                _ => {
                    let options = PushOptions::new()
                        .priority(random.u8(98..103))
                        .delay(Duration::from_millis(random.u64(0..2) * 200));
                    let items: Vec<_> = numbers.iter().map(|number| item(number, options.clone())).collect();
                    self.note_push(numbers, queue.push_all(items).await, false);
                }
            }
        }
    }

    async fn consume(&self, queue: &WorkQueue, mut random: Rng) {
        let mut over = self.over.subscribe();
        loop {
            let batch = tokio::select! {
                batch = queue.pop_batch(random.usize(1..40)) => batch.unwrap(),
                _ = over.wait_for(|over| *over) => return,
            };
            for delivery in &batch {
                self.note_delivery(delivery, End::Open);
            }
            let work = batch.into_iter().map(|delivery| self.work(delivery, random.u8(..)));
            future::join_all(work).await;
        }
    }

    async fn work(&self, delivery: Delivery, chance: u8) {
        let (id, token) = (delivery.id().clone(), delivery.token().as_i64());
        let number: usize = std::str::from_utf8(delivery.payload()).unwrap().parse().unwrap();
        if number.is_multiple_of(8) {
            let path = format!("{EFFECTS}/{id}@{token}");
            let mut write = delivery.fenced();
            write.add_create(&path, b"", CreateMode::Persistent);
            match write.commit().await {
                Ok(_) | Err(FencedWriteError::Lost(_) | FencedWriteError::Indeterminate) => {}
                Err(error) => panic!("{path}: {error}"),
            }
        }
        let settled = match chance {
            0..8 => delivery.nack().await.map(|()| false),
            8..16 => delivery.nack_after(Duration::from_millis(200)).await.map(|()| false),
            16..24 => {
                drop(delivery);
                Ok(false)
            }
            _ => delivery.ack_with(token.to_string()).await.map(|()| true),
        };
        let end = match settled {
            Ok(true) => End::Done,
            Ok(false) | Err(AckError::Lost(_)) => End::NotDone,
            Err(AckError::Indeterminate) if chance < 24 => End::NotDone,
            Err(AckError::Indeterminate) => End::Maybe,
            Err(error) => panic!("{id}: {error}"),
        };
        self.note_end((&id, token), end);
    }
}

/// What struck, how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strike {
    Expired,
    Cut,
    ReplyLost,
    Dropped,
    Silenced,
    Restarted,
}

/// Strikes as the work goes on, a fixed number of times.
async fn strike(stage: &Arc<Stage>, sites: &mut [Site], random: &mut Rng) -> BTreeMap<Strike, usize> {
    let (mut struck, mut armed, mut silent) = (BTreeMap::new(), Vec::new(), Vec::new());
    let mut settled = stage.settled.subscribe();
    for round in 0..STRIKES {
        let due = round * stage.items / (STRIKES + 4);
        let progress = settled.wait_for(|settled| *settled >= due);
        // The time is up: nothing goes on until a session has expired.
        let _ = tokio::time::timeout(TIMEOUT / 4, progress).await;
        let consumers = random.usize(..CONSUMERS.len());
        let any = random.usize(..sites.len());
        let strike = match round {
            _ if round == STRIKES / 2 => Strike::Restarted,
            _ => [
                Strike::Expired,
                Strike::Cut,
                Strike::ReplyLost,
                Strike::Dropped,
                Strike::Silenced,
            ][random.usize(..5)],
        };
        match strike {
            Strike::Expired => stage.fixture.expire(&session_of(&sites[any].zk).await).await,
            Strike::Cut => sites[any].proxy.cut(),
            Strike::ReplyLost => {
                let when = When::request(Op::Multi).nth(random.usize(1..4));
                armed.push(sites[any].proxy.lose_reply(when));
            }
            Strike::Dropped | Strike::Silenced => {
                let next = stage.site(CONSUMERS[consumers], random).await;
                let last = std::mem::replace(&mut sites[consumers], next);
                if strike == Strike::Silenced {
                    last.proxy.black_hole();
                }
                for consumer in &last.consumers {
                    consumer.abort();
                }
                for consumer in last.consumers {
                    assert!(
                        consumer.await.is_err_and(|error| error.is_cancelled()),
                        "a consumer failed"
                    );
                }
                drop(last.zk);
                silent.push(last.proxy);
            }
            Strike::Restarted => stage.fixture.server().restart().await,
        }
        *struck.entry(strike).or_default() += 1;
    }
    let fired = armed.iter().filter(|fault| fault.has_fired()).count();
    println!("{fired} of {} replies were lost", armed.len());
    struck
}

/// What the ensemble has in the end is what everybody was told.
async fn check(stage: &Stage, queue: &WorkQueue) {
    let books = std::mem::take(&mut *stage.books.lock().unwrap());
    let results = results(&stage.fixture).await;
    let dead = queue.dead().await.unwrap();
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
            None => assert_eq!(done, [], "{id} has no result: {deliveries:?}"),
        }
    }
    let undelivered = results.keys().filter(|id| !books.deliveries.contains_key(id));
    assert_eq!(undelivered.count(), 0, "done without a delivery");
    let effects = effects(&stage.fixture).await;
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

/// Which delivery did an item, by the result that it left.
async fn results(fixture: &Fixture) -> BTreeMap<ItemId, i64> {
    let mut results = BTreeMap::new();
    let directory = format!("{PATH}/results");
    for shard in fixture.children(&directory).await {
        for id in fixture.children(&format!("{directory}/{shard}")).await {
            let (token, _) = fixture
                .raw()
                .get_data(&format!("{directory}/{shard}/{id}"))
                .await
                .unwrap();
            let token = String::from_utf8(token).unwrap().parse().unwrap();
            results.insert(id.parse().unwrap(), token);
        }
    }
    results
}

/// Items, tokens that wrote for them, and when.
async fn effects(fixture: &Fixture) -> Vec<(ItemId, i64, i64)> {
    let mut effects = Vec::new();
    for name in fixture.children(EFFECTS).await {
        let (id, token) = name.split_once('@').unwrap();
        let stat = fixture
            .raw()
            .check_stat(&format!("{EFFECTS}/{name}"))
            .await
            .unwrap()
            .unwrap();
        effects.push((id.parse().unwrap(), token.parse().unwrap(), stat.czxid));
    }
    effects
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_item_is_done_once_or_dead_whatever_strikes() {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let items = from_env("WORK_QUEUE_ITEMS").map_or(2_000, |items| usize::try_from(items).unwrap());
    let seed = from_env("WORK_QUEUE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("WORK_QUEUE_ITEMS={items} WORK_QUEUE_SEED={seed}");
    let started = Instant::now();
    let mut random = Rng::with_seed(seed);
    let stage = Arc::new(Stage {
        fixture: Fixture::with_own_server("history").await,
        items,
        books: Mutex::default(),
        settled: watch::Sender::new(0),
        over: watch::Sender::new(false),
    });
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    stage.fixture.raw().create(EFFECTS, b"", &options).await.unwrap();
    let mut sites = Vec::new();
    for consumers in CONSUMERS {
        sites.push(stage.site(consumers, &mut random).await);
    }
    let mut producers = Vec::new();
    for sessions in [vec![0, 1], vec![2]] {
        let site = stage.site(0, &mut random).await;
        for who in sessions {
            let (stage, queue, random) = (Arc::clone(&stage), queue(&site.zk), random.fork());
            producers.push(tokio::spawn(async move { stage.produce(&queue, who, random).await }));
        }
        sites.push(site);
    }
    let struck = within(LIMIT, "all strikes", strike(&stage, &mut sites, &mut random)).await;
    for producer in producers {
        within(LIMIT, "all is pushed", producer).await.unwrap();
    }
    println!("{:?}: {struck:?}, all is pushed", started.elapsed());
    let bystander = queue(&connect_to(&stage.fixture.connect_string(), TIMEOUT).await);
    let claimed = format!("{PATH}/claimed");
    eventually(LIMIT, "all items are settled", || async {
        stage.fixture.children(&claimed).await.is_empty()
            && bystander.is_empty().await.unwrap()
            && stage.fixture.children(&claimed).await.is_empty()
            && bystander.is_empty().await.unwrap()
    })
    .await;
    stage.over.send_replace(true);
    for consumer in sites.iter_mut().flat_map(|site| site.consumers.drain(..)) {
        within(LIMIT, "the consumer ends", consumer).await.unwrap();
    }
    check(&stage, &bystander).await;
    println!("{:?} in all", started.elapsed());
    drop(sites);
    super::clean(&stage.fixture, [bystander]).await;
}
