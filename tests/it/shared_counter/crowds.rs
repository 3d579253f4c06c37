//! Shared counters that many count with at the same time, from one process and from several.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future;
use zookeeper_recipes::{Error, SharedCounter, SharedCounterError};
use zookeeper_testkit::{Fixture, Op, When, within};

use crate::support::cost::Counted;
use crate::support::{LONG, PATIENCE, connect_to, start, start_proxied};

const COUNT: &str = "/count";
const ENOUGH: Duration = Duration::from_secs(120);

async fn clean(fixture: &Fixture) {
    fixture.assert_no_nodes_left(&[COUNT]).await;
}

/// Each has its own value. `TIMES=1000` makes a million of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn additions_of_a_process_share_transactions() {
    const TASKS: usize = 1_000;
    let times: usize = std::env::var("TIMES").map_or(20, |times| times.parse().unwrap());
    let fixture = Fixture::new("combined").await;
    let counted = Counted::connect(&fixture).await;
    let adding = (0..TASKS).map(|_| {
        // A handle of its own: what is shared is the coordinator's.
        let counter = SharedCounter::new(&counted.zk, COUNT).unwrap();
        tokio::spawn(async move {
            let mut before = Vec::with_capacity(times);
            for _ in 0..times {
                before.push(counter.fetch_add(1).await.unwrap());
            }
            before
        })
    });
    let mut numbers = Vec::new();
    for task in adding.collect::<Vec<_>>() {
        let before = within(ENOUGH, "counted", task).await.unwrap();
        assert!(before.is_sorted(), "the additions of one task are in order");
        numbers.extend(before);
    }
    numbers.sort_unstable();
    let all = i64::try_from(TASKS * times).unwrap();
    assert!(numbers.into_iter().eq(0..all), "a number was lost or given twice");
    let transactions = counted.proxy.requests().of(Op::Multi);
    println!("{transactions} transactions for {all} additions");
    assert!(transactions * 10 <= TASKS * times, "{transactions} transactions");
    clean(&fixture).await;
}

#[tokio::test]
async fn eight_processes_need_few_transactions_an_addition() {
    const PROCESSES: usize = 8;
    const TIMES: usize = 15;
    let fixture = Fixture::new("processes").await;
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        processes.push(Counted::connect(&fixture).await);
    }
    let adding = processes.iter().map(|process| {
        let counter = SharedCounter::new(&process.zk, COUNT).unwrap();
        async move {
            for _ in 0..TIMES {
                counter.fetch_add(1).await.unwrap();
            }
        }
    });
    within(ENOUGH, "counted", future::join_all(adding)).await;
    let counter = SharedCounter::new(&processes[0].zk, COUNT).unwrap();
    assert_eq!(counter.get().await.unwrap(), 120);
    let transactions = processes.iter().map(|process| process.proxy.requests().of(Op::Multi));
    let transactions: usize = transactions.sum();
    println!("{transactions} transactions for 120 additions");
    assert!(transactions <= 3 * PROCESSES * TIMES, "{transactions} transactions");
    clean(&fixture).await;
}

/// Whenever a caller is dropped, the additions of the others count once each.
#[tokio::test]
async fn a_dropped_addition_disturbs_no_other() {
    let (fixture, zk) = start("dropped additions").await;
    let counter = SharedCounter::new(&zk, COUNT).unwrap();
    let mut kept = BTreeSet::new();
    for polls in 0..20 {
        let other = counter.fetch_add(1);
        let mut dropped = Box::pin(counter.fetch_add(1_000));
        let also = counter.fetch_add(1);
        let drop_it = async {
            for _ in 0..polls {
                if futures::poll!(&mut dropped).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(dropped);
        };
        let (one, (), two) = within(PATIENCE, "counted", future::join3(other, drop_it, also)).await;
        kept.extend([one.unwrap(), two.unwrap()]);
    }
    assert_eq!(kept.len(), 40, "a value was given twice");
    assert_eq!(counter.fetch_add(0).await.unwrap() % 1_000, 40);
    clean(&fixture).await;
}

#[tokio::test]
async fn an_addition_dropped_before_its_turn_counts_nothing() {
    let fixture = Fixture::new("dropped early").await;
    let (proxy, servers) = fixture.proxied().await;
    let counter = SharedCounter::new(&connect_to(&servers, LONG).await, COUNT).unwrap();
    counter.fetch_add(1).await.unwrap();
    proxy.delay(Duration::from_millis(300));
    let first = tokio::spawn({
        let counter = counter.clone();
        async move { counter.fetch_add(1).await }
    });
    // The first one's transaction was sent; what comes now waits for the next one.
    let fault_free = || async { proxy.requests().of(Op::Multi) >= 2 };
    zookeeper_testkit::eventually(PATIENCE, "the transaction is on its way", fault_free).await;
    let late = tokio::time::timeout(Duration::from_millis(20), counter.fetch_add(1_000));
    assert!(late.await.is_err(), "it went too fast for this test");
    proxy.delay(Duration::ZERO);
    assert_eq!(within(PATIENCE, "counted", first).await.unwrap().unwrap(), 1);
    assert_eq!(counter.fetch_add(1).await.unwrap(), 2);
    clean(&fixture).await;
}

#[tokio::test]
async fn an_addition_without_room_fails_alone() {
    let (fixture, zk) = start("no room").await;
    let counter = SharedCounter::new_shared_count(&zk, COUNT).unwrap();
    counter.set(i64::from(i32::MAX) - 3).await.unwrap();
    let additions = [1, 5, 1, 1, 1, -2].map(|delta| counter.fetch_add(delta));
    let counted = within(PATIENCE, "counted", future::join_all(additions)).await;
    let max = i64::from(i32::MAX);
    let expected = [
        Ok(max - 3),
        Err(SharedCounterError::Overflow),
        Ok(max - 2),
        Ok(max - 1),
        Err(SharedCounterError::Overflow),
        Ok(max),
    ];
    assert_eq!(counted, expected);
    assert_eq!(counter.get().await.unwrap(), max - 2);
    clean(&fixture).await;
}

/// The session ends while the reply is on its way: all in the transaction are told that its fate is open.
#[tokio::test]
async fn an_unknown_fate_is_told_to_all() {
    let (fixture, proxy, zk) = start_proxied("open fate", LONG).await;
    let counter = SharedCounter::new(&zk, COUNT).unwrap();
    counter.set(0).await.unwrap();
    let session = zk.client().await.unwrap().session().clone();
    let fault = proxy.lose_reply(When::request(Op::Multi));
    let additions = future::join_all([1, 2, 3].map(|delta| counter.fetch_add(delta)));
    let expire = async {
        fault.fired().await;
        proxy.refuse().await;
        fixture.expire(&session).await;
        proxy.accept().await;
    };
    let (counted, ()) = within(PATIENCE, "answered", future::join(additions, expire)).await;
    let open: Vec<_> = counted
        .iter()
        .filter(|answer| matches!(answer, Err(SharedCounterError::Indeterminate)))
        .collect();
    let now = counter.get().await.unwrap();
    // The first may have gone alone; whatever shared its transaction shares its fate.
    assert!(!open.is_empty() && now == 6, "{counted:?}, {now}");
    clean(&fixture).await;
}

#[tokio::test]
async fn waiting_additions_end_with_the_coordinator() {
    let (_fixture, proxy, zk) = start_proxied("closed", LONG).await;
    let counter = SharedCounter::new(&zk, COUNT).unwrap();
    counter.fetch_add(1).await.unwrap();
    proxy.black_hole();
    let additions: Vec<_> = (0..5)
        .map(|_| {
            let counter = counter.clone();
            tokio::spawn(async move { counter.fetch_add(1).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let closing = tokio::spawn(zk.close());
    for addition in additions {
        let answer = within(PATIENCE, "answered", addition).await.unwrap();
        let is_told = matches!(
            answer,
            Err(SharedCounterError::Indeterminate | SharedCounterError::Error(Error::Closed))
        );
        assert!(is_told, "{answer:?}");
    }
    proxy.heal();
    within(PATIENCE, "closed", closing).await.unwrap();
}
