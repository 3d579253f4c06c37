//! `FifoQueue` and Curator's `SimpleDistributedQueue`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use zookeeper_recipes::Coordinator;
use zookeeper_recipes::queue::FifoQueue;
use zookeeper_testkit::{Fixture, eventually, within};

use crate::peer::Peer;
use crate::support::{PATIENCE, SHORT, connect, connect_mortal, expire};

const PATH: &str = "/queues/mails";
const LINE: &str = "/queues/mails-__fifo__/line";
const LEDGERS: &str = "/queues/mails-__fifo__/ledgers";

fn queue(zk: &Coordinator) -> FifoQueue {
    FifoQueue::new(zk, PATH).expect("a path")
}

/// As the peer writes items.
fn hex(item: &[u8]) -> String {
    if item.is_empty() {
        return "-".to_owned();
    }
    item.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes_of_all_kinds() -> Vec<Vec<u8>> {
    let all = (0..=255).collect();
    vec![
        vec![],
        vec![0],
        vec![0, 0, 1],
        b"plain".to_vec(),
        all,
        vec![0xff; 3],
        vec![9; 5000],
    ]
}

async fn clean(fixture: &Fixture, ours: Vec<FifoQueue>) {
    drop(ours);
    fixture.assert_no_nodes_left(&[PATH, LINE, LEDGERS]).await;
}

#[tokio::test]
async fn what_curator_offers_we_pop_and_what_we_push_it_takes_in_order_and_as_it_is() {
    let fixture = Fixture::new("queue, both ways").await;
    let ours = queue(&connect(&fixture).await);
    let java = Peer::curator().actor(&fixture, "queue", PATH).await;
    let items = bytes_of_all_kinds();
    for (number, item) in items.iter().enumerate() {
        match number % 2 {
            0 => drop(java.ask(&format!("offer {}", hex(item))).await),
            _ => ours.push(item.clone()).await.expect("pushed"),
        }
    }
    assert_eq!(ours.len().await, Ok(items.len()));
    assert_eq!(java.ask("peek").await, hex(&items[0]));
    // Each of them takes what both have put in.
    for (number, item) in items.iter().enumerate() {
        match number / 2 % 2 {
            0 => assert_eq!(within(PATIENCE, "an item", ours.pop()).await.expect("popped"), item),
            _ => assert_eq!(java.ask("take").await, hex(item)),
        }
    }
    assert_eq!(java.ask("poll").await, "none");
    assert_eq!(java.ask("remove").await, "none");
    assert_eq!(ours.try_pop().await, Ok(None));
    clean(&fixture, vec![ours]).await;
}

#[tokio::test]
async fn a_consumer_of_either_kind_that_waits_is_woken_by_a_producer_of_the_other() {
    let fixture = Fixture::new("queue, waiting").await;
    let ours = queue(&connect(&fixture).await);
    let java = Peer::curator().actor(&fixture, "queue", PATH).await;
    let taking = java.tell("take");
    // It makes the queue's directory before it waits.
    eventually(PATIENCE, "it waits", || async {
        fixture.raw().check_stat(PATH).await.is_ok_and(|stat| stat.is_some())
    })
    .await;
    assert!(taking.is_pending());
    ours.push("a").await.expect("pushed");
    assert_eq!(taking.done().await, hex(b"a"));

    let popping = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fixture.until_children(LINE, 1).await;
    java.ask(&format!("offer {}", hex(b"b"))).await;
    let popped = within(PATIENCE, "an item", popping).await.expect("no panic");
    assert_eq!(popped.expect("popped"), "b");
    clean(&fixture, vec![ours]).await;
}

/// The session of a consumer of ours ends while it waits, that of one of Curator's as well: both go on.
#[tokio::test]
async fn many_of_both_take_each_item_once() {
    const ITEMS: usize = 120;
    let fixture = Fixture::new("queue, many").await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(connect_mortal(&fixture).await);
    }
    let curator = Peer::curator();
    let servers = fixture.connect_string();
    let mut actors = Vec::new();
    for _ in 0..2 {
        actors.push(curator.actor_with(&servers, SHORT, "queue", PATH, &[]).await);
    }
    let ours: Vec<_> = sessions[1..].iter().map(queue).collect();
    let mut consumers = Vec::new();
    for queue in ours.clone() {
        consumers.push(tokio::spawn(async move {
            let mut popped = Vec::new();
            while let Ok(item) = queue.pop().await {
                if item == "end" {
                    break;
                }
                popped.push(String::from_utf8(item.to_vec()).expect("text"));
            }
            popped
        }));
    }
    let (taker, producer) = (actors.remove(0), actors.remove(0));
    let mortal = taker.clone();
    let java_consumer = tokio::spawn(async move {
        let mut taken = Vec::new();
        loop {
            match taker.ask("take").await {
                item if item == hex(b"end") => break taken,
                item => taken.push(item),
            }
        }
    });
    expire(&fixture, &sessions[1]).await;
    mortal.expire().await;
    let first = queue(&sessions[0]);
    for number in 0..ITEMS {
        match number % 2 {
            0 => first.push(format!("{number:03}")).await.expect("pushed"),
            _ => {
                let offer = format!("offer {}", hex(format!("{number:03}").as_bytes()));
                producer.ask(&offer).await;
            }
        }
    }
    for _ in 0..3 {
        first.push("end").await.expect("pushed");
    }
    let mut all = Vec::new();
    for consumer in consumers {
        let popped = within(PATIENCE, "ours have popped", consumer).await.expect("no panic");
        assert!(popped.is_sorted(), "in order: {popped:?}");
        all.extend(popped);
    }
    let taken = within(PATIENCE, "Curator has taken", java_consumer)
        .await
        .expect("no panic");
    assert!(taken.is_sorted(), "in order: {taken:?}");
    all.extend(taken.iter().map(|item| {
        let digits = (0..item.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&item[at..at + 2], 16));
        String::from_utf8(digits.map(|digit| digit.expect("hex")).collect()).expect("text")
    }));
    let once: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!((once.len(), all.len()), (ITEMS, ITEMS));
    clean(&fixture, ours.into_iter().chain([first]).collect()).await;
}

/// What we keep beside the queue, Curator neither sees nor warns of: only items stand in its directory.
#[tokio::test]
async fn nothing_of_ours_but_items_stands_in_the_queues_directory() {
    let fixture = Fixture::new("queue, beside").await;
    let ours = queue(&connect(&fixture).await);
    let java = Peer::curator().actor(&fixture, "queue", PATH).await;
    java.ask("offer 61").await;
    ours.push("b").await.expect("pushed");
    assert_eq!(ours.pop().await.expect("popped"), "a");
    assert_eq!(fixture.children(PATH).await, ["qn-0000000001"]);
    assert_eq!(fixture.children(LEDGERS).await.len(), 1);
    assert_eq!(java.ask("take").await, "62");
    let waiting = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fixture.until_children(LINE, 1).await;
    assert_eq!(fixture.children(PATH).await.len(), 0);
    waiting.abort();
    clean(&fixture, vec![ours]).await;
}
