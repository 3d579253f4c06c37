//! What many of a thing cost, in requests: linear with a small factor, mostly far less than one each.

use futures::future;
use zookeeper_recipes::queue::{Delivery, NewItem, PushOptions, WorkQueue};
use zookeeper_testkit::{Fixture, Op, Request, eventually, within};

use super::{PATH, batch, built, claims, clean, pop, queue};
use crate::support::cost::Counted;
use crate::support::sessions::session_of;
use crate::support::{LONG, PATIENCE, connect, connect_to, start};

/// t10: a pop beside 2,000 open claims costs what a pop costs beside none, and acknowledging them is linear.
#[tokio::test]
async fn open_claims_do_not_make_a_pop_expensive() {
    const CLAIMS: usize = 2_000;
    const POPS: usize = 50;
    const HANDLES: usize = 21;
    let fixture = Fixture::new("t10").await;
    let counted = Counted::connect(&fixture).await;
    let (ours, producers) = (queue(&counted.zk), connect(&fixture).await);
    // One after the other, so that each stands alone and takes a claim of its own.
    future::join_all((0..HANDLES).map(|_| async {
        let theirs = queue(&producers);
        for _ in 0..(CLAIMS + 2 * POPS) / HANDLES {
            theirs.push("x").await.unwrap();
        }
    }))
    .await;
    let mut held = Vec::new();
    let before = requests_of_pops(&counted, &ours, POPS, &mut held).await;
    held.extend(batch(&ours, CLAIMS).await);
    let claimed = claims(&fixture, PATH).await;
    assert_eq!(claimed, CLAIMS + POPS, "each item has its claim");
    let beside = requests_of_pops(&counted, &ours, POPS, &mut held).await;
    println!("{POPS} pops took {before} requests alone, {beside} beside {claimed} claims");
    assert!(
        beside <= 3 * before,
        "{POPS} pops took {before} requests alone, {beside} beside {claimed} claims"
    );
    counted.requests(0).await;
    future::try_join_all(held.into_iter().map(Delivery::ack)).await.unwrap();
    let total = counted.requests(0).await.without_heartbeats().total();
    println!("their acks took {total} requests");
    assert!(total <= CLAIMS / 10, "their acks took {total} requests");
    clean(&fixture, [ours]).await;
}

async fn requests_of_pops(counted: &Counted, queue: &WorkQueue, pops: usize, held: &mut Vec<Delivery>) -> usize {
    counted.requests(0).await;
    for _ in 0..pops {
        held.push(pop(queue).await);
    }
    counted.requests(0).await.without_heartbeats().total()
}

/// t13, 500 last attempts: nothing of it is a claim for each.
#[tokio::test]
async fn failures_are_not_isolated_at_their_last_attempt() {
    const ITEMS: usize = 500;
    let fixture = Fixture::new("t13").await;
    let (proxy, servers) = fixture.proxied().await;
    let ours = built(&connect_to(&servers, LONG).await, |queue| queue.max_attempts(2));
    ours.push_all((0..ITEMS).map(|number| number.to_string()))
        .await
        .unwrap();
    for attempt in 1..=2 {
        proxy.reset_counts();
        let held = batch(&ours, ITEMS).await;
        let claimed = proxy.requests().of(Op::Multi);
        assert!(
            claimed <= 20,
            "{claimed} transactions for {ITEMS} items at attempt {attempt}"
        );
        assert!(held.iter().all(|delivery| delivery.attempt() == attempt));
        future::try_join_all(held.into_iter().map(Delivery::nack))
            .await
            .unwrap();
    }
    assert_eq!(ours.purge_all().await.unwrap(), ITEMS);
    clean(&fixture, [ours]).await;
}

/// What is lost at the last attempt is put to the dead letters by the consumer that looks next, many at once.
#[tokio::test]
async fn items_lost_on_their_last_attempt_die() {
    const ITEMS: usize = 500;
    let (fixture, zk) = start("lost last").await;
    let ours = built(&zk, |queue| queue.max_attempts(1));
    // One after the other, so that each stands alone.
    for number in 0..ITEMS {
        ours.push(number.to_string()).await.unwrap();
    }
    let held = batch(&ours, ITEMS).await;
    fixture.expire(&session_of(&zk).await).await;
    drop(held);
    let counted = Counted::connect(&fixture).await;
    let theirs = queue(&counted.zk);
    eventually(PATIENCE, "all are dead", || async {
        assert!(theirs.try_pop().await.unwrap().is_none());
        theirs.dead_letters().await.unwrap().len() == ITEMS
    })
    .await;
    let counts = counted.proxy.requests().without_heartbeats();
    let is_burial =
        |request: &Request| request.op == Op::Multi && request.paths.iter().any(|path| path.contains("/dead/"));
    let burials = counts.matching(is_burial).total();
    let all = counts.of(Op::Multi);
    println!("{ITEMS} items died by {burials} transactions, of {all}");
    assert!(
        burials <= ITEMS / 16 && all <= ITEMS / 10,
        "{burials} transactions of {all}"
    );
    let dead = theirs.dead_letters().await.unwrap();
    assert!(
        dead.iter()
            .all(|letter| letter.attempts == 1 && letter.reason.contains("lost"))
    );
    assert_eq!(theirs.purge_all().await.unwrap(), ITEMS);
    clean(&fixture, [ours, theirs]).await;
}

/// t18: the claims of a dead consumer need no recovery.
#[tokio::test]
async fn a_dead_consumers_thousand_claims_free_at_once() {
    const ITEMS: usize = 1_000;
    let (fixture, zk) = start("t18").await;
    let ours = queue(&zk);
    for part in 0..10 {
        future::try_join_all((0..100).map(|number| {
            let ours = &ours;
            async move { ours.push(format!("{}", part * 100 + number)).await }
        }))
        .await
        .unwrap();
    }
    let mut held = Vec::new();
    while held.len() < ITEMS {
        held.extend(within(PATIENCE, "items", ours.pop_batch(1)).await.unwrap());
    }
    fixture.expire(&session_of(&zk).await).await;
    eventually(PATIENCE, "the claims are gone", || async {
        claims(&fixture, PATH).await == 0
    })
    .await;
    drop(held);
    let counted = Counted::connect(&fixture).await;
    let theirs = queue(&counted.zk);
    let items = batch(&theirs, ITEMS).await;
    let multis = counted.proxy.requests().of(Op::Multi);
    assert!(multis <= 20, "{multis} transactions");
    assert!(items.iter().all(|delivery| delivery.attempt() == 2));
    future::try_join_all(items.into_iter().map(Delivery::ack))
        .await
        .unwrap();
    clean(&fixture, [ours, theirs]).await;
}

/// t11: first keys and first results share their requests.
#[tokio::test]
async fn first_keys_and_first_results_share_their_requests() {
    const ITEMS: usize = 1_000;
    let fixture = Fixture::new("t11").await;
    let counted = Counted::connect(&fixture).await;
    let ours = queue(&counted.zk);
    ours.push("warm").await.unwrap();
    pop(&ours).await.ack().await.unwrap();
    counted.requests(0).await;
    let keyed = (0..ITEMS).map(|number| NewItem::new("x").with(PushOptions::new().key(number.to_string())));
    ours.push_all(keyed).await.unwrap();
    let counts = counted.requests(1).await.without_heartbeats();
    assert!(counts.total() <= 12, "1,000 first keys: {counts}");
    let held = batch(&ours, ITEMS).await;
    counted.requests(0).await;
    future::try_join_all(held.into_iter().map(|delivery| delivery.ack_with("r")))
        .await
        .unwrap();
    let counts = counted.requests(1).await.without_heartbeats();
    assert!(counts.total() <= 60, "1,000 first results: {counts}");
    clean(&fixture, [ours]).await;
}
