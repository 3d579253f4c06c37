//! Somebody deletes nodes of a queue by hand, or puts others there.

use tokio::task::JoinHandle;
use zookeeper_recipes::queue::{AckError, Delivery, NewItem, PushError, PushOptions, WorkQueue};
use zookeeper_recipes::zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Error, LossReason, Lost};
use zookeeper_testkit::{Fixture, eventually, within};

use super::{PATH, claims, clean, drain, pop, queue, start_queue, start_queues, text};
use crate::support::{PATIENCE, connect};

async fn delete(fixture: &Fixture, path: &str) {
    fixture.raw().delete(path, None).await.unwrap();
}

/// Deletes a node with all that is below it, whatever others put there meanwhile.
async fn delete_all(fixture: &Fixture, path: &str) {
    loop {
        let tree = fixture.tree().await;
        let nodes = tree.keys().rev().filter(|node| node.starts_with(path));
        let mut left = false;
        for node in nodes {
            left = true;
            // It may be gone, or have got a child again.
            let _ = fixture.raw().delete(node, None).await;
        }
        if !left {
            return;
        }
    }
}

async fn wait_in_line(fixture: &Fixture, queue: &WorkQueue) -> JoinHandle<Result<Delivery, Error>> {
    let queue = queue.clone();
    let popping = tokio::spawn(async move { queue.pop().await });
    fixture.until_children(&format!("{PATH}/consumers"), 1).await;
    popping
}

async fn popped(popping: JoinHandle<Result<Delivery, Error>>) -> String {
    let delivery = within(PATIENCE, "an item", popping).await.unwrap().unwrap();
    let item = text(&delivery);
    delivery.ack().await.unwrap();
    item
}

/// The node beside a claim that says what is done.
fn opened_of(claim: &str) -> String {
    let (block, name) = claim.rsplit_once("/c-").unwrap();
    let parts: Vec<&str> = name.split('.').take(3).collect();
    format!("{block}/o-{}", parts.join("."))
}

const REMOVED: AckError = AckError::Lost(Lost {
    reason: LossReason::NodeRemoved,
});

#[tokio::test]
async fn a_deleted_claim_takes_its_items_away() {
    let (fixture, [ours, theirs]) = start_queues("claim deleted").await;
    ours.push_all(["a", "b"]).await.unwrap();
    let mut held = within(PATIENCE, "items", ours.pop_batch(2)).await.unwrap();
    let waiting = wait_in_line(&fixture, &theirs).await;
    delete(&fixture, held[0].path()).await;
    let told = within(PATIENCE, "the consumer is told", held[0].lost()).await;
    assert_eq!(told, LossReason::NodeRemoved);
    assert_eq!(popped(waiting).await, "a");
    for late in held.drain(..) {
        assert_eq!(late.ack().await, Err(REMOVED));
    }
    assert_eq!(drain(&ours).await, ["b"]);
    clean(&fixture, [ours, theirs]).await;
}

/// The claim is gone and its consumer does not know it yet: it is the transaction that refuses the ack.
#[tokio::test]
async fn an_ack_within_a_deleted_claim_is_refused() {
    let (fixture, [ours, theirs]) = start_queues("claim deleted before an ack").await;
    ours.push_all(["a", "b"]).await.unwrap();
    let mut held = within(PATIENCE, "items", ours.pop_batch(2)).await.unwrap();
    delete(&fixture, held[0].path()).await;
    assert_eq!(held.remove(0).ack().await, Err(REMOVED));
    assert_eq!(drain(&theirs).await, ["a", "b"]);
    assert_eq!(held.remove(0).ack().await, Err(REMOVED));
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_held_item_deleted_is_a_loss() {
    let (fixture, ours) = start_queue("claimed deleted").await;
    ours.push("a").await.unwrap();
    let held = pop(&ours).await;
    delete(&fixture, &opened_of(held.path())).await;
    assert_eq!(held.ack().await, Err(REMOVED));
    eventually(PATIENCE, "nothing is claimed", || async {
        claims(&fixture, PATH).await == 0
    })
    .await;
    ours.push("b").await.unwrap();
    assert_eq!(drain(&ours).await, ["a", "b"], "its segment is fresh again");
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn the_queue_goes_on_without_deleted_parts() {
    let (fixture, [ours, theirs]) = start_queues("deleted").await;
    let block = format!("{PATH}/lanes/100/0");
    for part in [
        "segment",
        "/lanes/100/0",
        "/lanes/100",
        "/lanes",
        "/bell",
        "/delayed",
        "/ledgers",
        "/consumers",
        "",
    ] {
        ours.push("a").await.unwrap();
        let again = pop(&ours).await;
        again.nack().await.unwrap();
        drain(&theirs).await;
        ours.push("gone").await.unwrap();
        let path = match part {
            "segment" => format!("{block}/{}", fixture.children(&block).await[0]),
            part => format!("{PATH}{part}"),
        };
        delete_all(&fixture, &path).await;
        let kept = matches!(part, "/bell" | "/delayed" | "/ledgers" | "/consumers");
        assert_eq!(ours.len().await.unwrap(), usize::from(kept), "{part}");
        ours.push("b").await.unwrap();
        assert_eq!(
            drain(&theirs).await,
            if kept { vec!["gone", "b"] } else { vec!["b"] },
            "{part}"
        );
        theirs.push("c").await.unwrap();
        assert_eq!(drain(&ours).await, ["c"], "{part}");
    }
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn idle_consumers_survive_deletions_by_an_operator() {
    let (fixture, [ours, theirs]) = start_queues("deleted while waiting").await;
    for part in ["place", "/consumers", "/bell", ""] {
        let waiting = wait_in_line(&fixture, &ours).await;
        let path = match part {
            "place" => {
                let line = format!("{PATH}/consumers");
                format!("{line}/{}", fixture.children(&line).await[0])
            }
            part => format!("{PATH}{part}"),
        };
        match part {
            // It is made again as soon as it is gone.
            "/bell" => drop(fixture.raw().delete(&path, None).await),
            "place" => delete(&fixture, &path).await,
            _ => {
                let mut nodes: Vec<_> = fixture.tree().await.into_keys().collect();
                nodes.retain(|node| node.starts_with(&path));
                for node in nodes.iter().rev() {
                    let _ = fixture.raw().delete(node, None).await;
                }
            }
        }
        theirs.push("a").await.unwrap();
        assert_eq!(popped(waiting).await, "a", "{part}");
    }
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn an_ack_into_a_deleted_queue_fails() {
    let (fixture, ours) = start_queue("queue deleted while holding").await;
    ours.push("a").await.unwrap();
    let held = pop(&ours).await;
    delete_all(&fixture, PATH).await;
    assert_eq!(held.ack().await, Err(REMOVED));
    ours.push("b").await.unwrap();
    assert_eq!(drain(&ours).await, ["b"]);
    clean(&fixture, [ours]).await;
}

/// What is pushed together travels together, but fails alone.
#[tokio::test]
async fn a_foreign_key_fails_its_producer_alone() {
    let (fixture, ours) = start_queue("foreign key").await;
    let keyed = |key: &str| NewItem::new(key.to_owned()).with(PushOptions::new().key(key));
    ours.push(keyed("bad")).await.unwrap();
    let tree = fixture.tree().await;
    let path = tree.keys().find(|path| path.ends_with("/bad")).unwrap();
    fixture.raw().set_data(path, b"something else", None).await.unwrap();
    let pushes = tokio::join!(ours.push("a"), ours.push(keyed("bad")), ours.push(keyed("good")));
    pushes.0.unwrap();
    assert!(
        matches!(pushes.1, Err(PushError::Error(Error::Layout { .. }))),
        "{:?}",
        pushes.1
    );
    pushes.2.unwrap();
    assert_eq!(drain(&ours).await, ["bad", "a", "good"]);
    // And so are acknowledgements with next steps.
    ours.push_all(["one", "two", "three"]).await.unwrap();
    let mut held = within(PATIENCE, "items", ours.pop_batch(3)).await.unwrap().into_iter();
    let mut next = || held.next().unwrap();
    let acks = tokio::join!(next().ack(), next().ack_then([keyed("bad")]), next().ack_then(["next"]));
    acks.0.unwrap();
    assert!(
        matches!(acks.1, Err(AckError::Error(Error::Layout { .. }))),
        "{:?}",
        acks.1
    );
    acks.2.unwrap();
    assert_eq!(drain(&ours).await, ["two", "next"]);
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn foreign_nodes_in_the_directories_are_left_alone() {
    let (fixture, ours) = start_queue("foreign children").await;
    ours.push("a").await.unwrap();
    pop(&ours).await.nack().await.unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let foreign: Vec<String> = [
        "lanes",
        "lanes/100",
        "lanes/100/0",
        "delayed",
        "groups",
        "moved",
        "consumers",
        "dead",
        "keys",
    ]
    .iter()
    .map(|directory| format!("{PATH}/{directory}/foreign"))
    .collect();
    // An empty directory may just have been reaped.
    for path in foreign.iter().filter_map(|path| path.strip_suffix("/foreign")) {
        let _ = fixture.raw().create(path, b"", &options).await;
    }
    for path in &foreign {
        fixture.raw().create(path, b"x", &options).await.unwrap();
    }
    ours.push("b").await.unwrap();
    assert_eq!(drain(&ours).await, ["a", "b"]);
    assert_eq!(
        (ours.len().await.unwrap(), ours.dead_letters().await.unwrap().len()),
        (0, 0)
    );
    for path in &foreign {
        delete(&fixture, path).await;
    }
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_pause_says_by_whom_and_why() {
    let fixture = Fixture::new("pause reason").await;
    let (ours, theirs) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    ours.push("a").await.unwrap();
    ours.pause_because("the card network\nis away").await.unwrap();
    let told = async || {
        // A handle that reads the queue for the first time.
        let stats = queue(&connect(&fixture).await).stats().await.unwrap();
        (stats.paused, stats.paused_by.is_some(), stats.pause_reason)
    };
    assert_eq!(told().await, (true, true, Some("the card network is away".to_owned())));
    theirs.pause().await.unwrap();
    assert_eq!(told().await, (true, true, None));
    theirs.resume().await.unwrap();
    assert_eq!(told().await, (false, false, None));
    assert_eq!(drain(&ours).await, ["a"]);
    clean(&fixture, [ours, theirs]).await;
}
