//! Whatever strikes, every item that was pushed is done exactly once, or dead.
//!
//! Four producers and six consumers over six sessions, whose links are cut in the middle of transactions, whose sessions
//! are taken away, which vanish in mid-work, and whose server is killed. A quarter of the items belongs to groups. A
//! consumer waits a tenth of a second for an item, or as long as it takes for many; now and then it holds one for longer
//! than its claim. `WORK_QUEUE_ITEMS` says how many items go through (2,000 unless set), `WORK_QUEUE_SEED` repeats a run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zookeeper_recipes::queue::{AckError, Delivery, NewItem, Order, PushOptions, WorkQueue};
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Coordinator, FencedWriteError, TimeoutError};
use zookeeper_testkit::{Fixture, Op, Proxy, When, eventually, within};

use super::books::{Books, EFFECTS, End, check, check_groups};
use super::{PATH, built};
use crate::support::connect_to;
use crate::support::sessions::session_of;

const PRODUCERS: usize = 4;
const GROUPS: usize = 17;
const CONSUMERS: [usize; 4] = [2, 2, 1, 1];
const WAVE: usize = 50;
const TIMEOUT: Duration = Duration::from_secs(2);
/// What a consumer holds for longer may be taken over.
const CLAIM_TIMEOUT: Duration = Duration::from_secs(3);
/// One of so many items is held for too long at its first attempt.
const STUCK: usize = 997;
const LIMIT: Duration = Duration::from_secs(400);

/// The group of an item, if it has one.
fn group_of(number: usize) -> Option<String> {
    (number % PRODUCERS == 3).then(|| format!("group {}", number / PRODUCERS % GROUPS))
}

struct Stage {
    order: Order,
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
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }

    async fn site(self: &Arc<Self>, consumers: usize, random: &mut Rng) -> Site {
        let (proxy, servers) = self.fixture.proxied().await;
        let zk = connect_to(&servers, TIMEOUT).await;
        let consumers = (0..consumers).map(|_| {
            let (stage, zk, random) = (Arc::clone(self), zk.clone(), random.fork());
            tokio::spawn(async move { stage.consume(&eight(&zk, stage.order), random).await })
        });
        Site {
            consumers: consumers.collect(),
            proxy,
            zk,
        }
    }

    /// Pushes its share of the items in one of four manners, never far ahead of the consumers.
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
                            self.books().note_push(&[*number], pushed.map(|id| vec![id]), true);
                        }
                    }
                }
                1 | 3 => {
                    let pushes = numbers.iter().map(|number| {
                        let options = PushOptions::new();
                        let options = match group_of(*number) {
                            Some(group) => options.group(group),
                            None => options,
                        };
                        queue.push(item(number, options))
                    });
                    for (number, pushed) in numbers.iter().zip(future::join_all(pushes).await) {
                        self.books().note_push(&[*number], pushed.map(|id| vec![id]), false);
                    }
                }
                _ => {
                    let options = PushOptions::new()
                        .priority(random.u8(98..103))
                        .delay(Duration::from_millis(random.u64(0..2) * 200));
                    let items: Vec<_> = numbers.iter().map(|number| item(number, options.clone())).collect();
                    let pushed = queue.push_all(items).await;
                    self.books().note_push(numbers, pushed, false);
                }
            }
        }
    }

    async fn consume(&self, queue: &WorkQueue, mut random: Rng) {
        let mut over = self.over.subscribe();
        loop {
            let (most, short) = (random.usize(1..=128), random.u8(..) < 64);
            let taking = async {
                if !short {
                    return queue.pop_batch(most).await.unwrap();
                }
                match queue.pop_timeout(Duration::from_millis(100)).await {
                    Ok(delivery) => vec![delivery],
                    Err(TimeoutError::Elapsed { .. }) => Vec::new(),
                    Err(error) => panic!("{error}"),
                }
            };
            let batch = tokio::select! {
                batch = taking => batch,
                _ = over.wait_for(|over| *over) => return,
            };
            for delivery in &batch {
                self.books().note_delivery(delivery, End::Open);
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
        if number.is_multiple_of(STUCK) && delivery.attempt() == 1 {
            // Another item of its claim may put the end off.
            within(LIMIT, "the claim ends", delivery.lost()).await;
            let held = delivery.is_held();
            let late = delivery.ack().await;
            assert!(
                !held && matches!(late, Err(AckError::Lost(_))),
                "{id} is held for too long: {late:?}"
            );
            self.books().note_end((&id, token), End::NotDone);
            return;
        }
        if (24..32).contains(&chance) {
            // An error is told again when it is settled.
            let _ = delivery.extend(CLAIM_TIMEOUT).await;
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
        if self.books().note_end((&id, token), end) {
            self.settled.send_modify(|settled| *settled += 1);
        }
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
    let rounds = (stage.items / 100).clamp(10, 30);
    for round in 0..rounds {
        let due = round * stage.items / (rounds + 4);
        let progress = settled.wait_for(|settled| *settled >= due);
        // The time is up: nothing goes on until a session has expired.
        let _ = tokio::time::timeout(TIMEOUT / 2, progress).await;
        let consumers = random.usize(..CONSUMERS.len());
        let any = random.usize(..sites.len());
        let strike = match round {
            _ if round == rounds / 2 => Strike::Restarted,
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

/// The queue, of which an item has eight attempts.
fn eight(zk: &Coordinator, order: Order) -> WorkQueue {
    built(zk, |queue| {
        queue.max_attempts(8).claim_timeout(CLAIM_TIMEOUT).order(order)
    })
}

/// Without faults, what is pushed to a strict queue is delivered in that order, whichever consumer takes it.
async fn check_order(stage: &Stage, bystander: &WorkQueue) {
    let pushes = (0..LAST).map(|number| bystander.push(number.to_string()));
    future::try_join_all(pushes).await.unwrap();
    let taken = Mutex::new(BTreeMap::new());
    let consumers = future::join_all((0..4).map(|_| connect_to_stage(stage))).await;
    future::join_all(consumers.iter().map(|queue| async {
        while let Some(delivery) = within(LIMIT, "an answer", queue.try_pop()).await.unwrap() {
            let number: usize = std::str::from_utf8(delivery.payload()).unwrap().parse().unwrap();
            assert_eq!(delivery.attempt(), 1, "{number}");
            taken.lock().unwrap().insert(delivery.token().as_i64(), number);
            delivery.ack().await.unwrap();
        }
    }))
    .await;
    let order: Vec<usize> = taken.into_inner().unwrap().into_values().collect();
    assert_eq!(order, (0..LAST).collect::<Vec<_>>(), "by token");
}

/// So many items go through in order at the end.
const LAST: usize = 200;

async fn connect_to_stage(stage: &Stage) -> WorkQueue {
    eight(&connect_to(&stage.fixture.connect_string(), TIMEOUT).await, stage.order)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strikes_leave_every_item_done_once_or_dead() {
    every_item_is_done_once_or_dead(Order::Strict).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windowed_items_are_done_once_or_dead() {
    every_item_is_done_once_or_dead(Order::Window(16)).await;
}

async fn every_item_is_done_once_or_dead(order: Order) {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let items = from_env("WORK_QUEUE_ITEMS").map_or(2_000, |items| usize::try_from(items).unwrap());
    let seed = from_env("WORK_QUEUE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let server = zookeeper_testkit::Backend::from_env();
    println!("{server:?}: WORK_QUEUE_ITEMS={items} WORK_QUEUE_SEED={seed}");
    let started = Instant::now();
    let mut random = Rng::with_seed(seed);
    let stage = Arc::new(Stage {
        order,
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
    for sessions in [vec![0, 1], vec![2, 3]] {
        let site = stage.site(0, &mut random).await;
        for who in sessions {
            let (stage, queue, random) = (Arc::clone(&stage), eight(&site.zk, stage.order), random.fork());
            producers.push(tokio::spawn(async move { stage.produce(&queue, who, random).await }));
        }
        sites.push(site);
    }
    let struck = within(LIMIT, "all strikes", strike(&stage, &mut sites, &mut random)).await;
    for producer in producers {
        within(LIMIT, "all is pushed", producer).await.unwrap();
    }
    println!("{:?}: {struck:?}, all is pushed", started.elapsed());
    let bystander = eight(&connect_to(&stage.fixture.connect_string(), TIMEOUT).await, order);
    eventually(LIMIT, "all items are settled", || async {
        let stats = bystander.stats().await.unwrap();
        stats.ready + stats.delayed + stats.claimed == 0
    })
    .await;
    stage.over.send_replace(true);
    for consumer in sites.iter_mut().flat_map(|site| site.consumers.drain(..)) {
        within(LIMIT, "the consumer ends", consumer).await.unwrap();
    }
    let books = std::mem::take(&mut *stage.books());
    check(&stage.fixture, &bystander, &books).await;
    check_groups(&books, group_of);
    if order == Order::Strict {
        check_order(&stage, &bystander).await;
    }
    println!("{:?} in all", started.elapsed());
    drop(sites);
    drop(bystander);
    // Not all of the tree is looked at, for there are the keys and results of all items in it.
    for directory in ["consumers", "ledgers"] {
        stage.fixture.until_children(&format!("{PATH}/{directory}"), 0).await;
    }
}
