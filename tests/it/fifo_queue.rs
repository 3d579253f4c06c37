//! The FIFO queue: each item once, in order, on the znodes of Curator's `SimpleDistributedQueue`; and that one's known
//! mistakes, which the tests are named after.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::bytes::Bytes;
use zookeeper_recipes::queue::{FifoPopError, FifoPopTimeoutError, FifoPushError, FifoQueue};
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Coordinator, Error, FairLock};
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use crate::budget::{Counted, make_dir};
use crate::cancellation::poll_times;
use crate::sessions::{expire, expire_unseen, session_of};
use crate::strike::strike_each_request;
use crate::support::{LONG, PATIENCE, connect, connect_to, create, faults, session_id};

const PATH: &str = "/queues/mails";
const LINE: &str = "/queues/mails-__fifo__/line";
const LEDGERS: &str = "/queues/mails-__fifo__/ledgers";

fn queue(zk: &Coordinator) -> FifoQueue {
    FifoQueue::new(zk, PATH).unwrap()
}

async fn push(queue: &FifoQueue, item: &str) {
    let pushed = within(PATIENCE, format!("{item} is pushed"), queue.push(item.to_owned())).await;
    pushed.unwrap_or_else(|err| panic!("{item} not pushed: {err}"));
}

async fn pop(queue: &FifoQueue) -> String {
    text(within(PATIENCE, "an item", queue.pop()).await.unwrap())
}

async fn drain(queue: &FifoQueue) -> Vec<String> {
    let mut items = Vec::new();
    while let Some(item) = within(PATIENCE, "an answer", queue.try_pop()).await.unwrap() {
        items.push(text(item));
    }
    items
}

fn text(item: Bytes) -> String {
    String::from_utf8(item.to_vec()).unwrap()
}

type Popping = JoinHandle<Result<Bytes, FifoPopError>>;

/// Begins to pop in a task, and returns when it stands in line as number `place`.
async fn wait_in_line(fixture: &Fixture, queue: &FifoQueue, place: usize) -> Popping {
    let queue = queue.clone();
    let popping = tokio::spawn(async move { queue.pop().await });
    fixture.until_children(LINE, place).await;
    popping
}

async fn popped(popping: Popping) -> String {
    text(within(PATIENCE, "an item", popping).await.unwrap().unwrap())
}

/// No item, no consumer and nothing else is left.
async fn clean(fixture: &Fixture, queues: impl IntoIterator<Item = FifoQueue>) {
    drop(queues.into_iter().collect::<Vec<_>>());
    fixture.assert_no_nodes_left(&[PATH, LINE, LEDGERS]).await;
}

#[tokio::test]
async fn items_leave_in_the_order_in_which_they_came_whatever_bytes_they_are() {
    let fixture = Fixture::new("order").await;
    let (ours, theirs) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    let items: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        (0..=255).collect(),
        b"\xff\xfe/|\0".to_vec(),
        vec![7; 100_000],
    ];
    for item in &items {
        ours.push(item.clone()).await.unwrap();
    }
    assert_eq!(theirs.len().await.unwrap(), items.len());
    for item in &items {
        assert_eq!(theirs.peek().await.unwrap().as_deref(), Some(item.as_slice()));
        assert_eq!(theirs.pop().await.unwrap(), item);
    }
    assert_eq!(theirs.try_pop().await.unwrap(), None);
    assert_eq!(
        (theirs.peek().await.unwrap(), theirs.is_empty().await.unwrap()),
        (None, true)
    );
    clean(&fixture, [ours, theirs]).await;
}

#[tokio::test]
async fn a_queue_that_nobody_has_made_is_empty() {
    let fixture = Fixture::new("nothing").await;
    let queue = queue(&connect(&fixture).await);
    assert_eq!(queue.path(), PATH);
    assert_eq!(
        (queue.try_pop().await.unwrap(), queue.peek().await.unwrap()),
        (None, None)
    );
    assert_eq!(queue.len().await.unwrap(), 0);
    assert_eq!(fixture.tree().await.len(), 0, "reading makes no node");
}

#[tokio::test]
async fn the_layout_is_that_of_curators_simple_distributed_queue() {
    let fixture = Fixture::new("layout").await;
    let queue = queue(&connect(&fixture).await);
    push(&queue, "raw").await;
    assert_eq!(
        fixture.children(PATH).await,
        ["qn-0000000000"],
        "and nothing of ours beside it"
    );
    let (data, stat) = fixture.raw().get_data("/queues/mails/qn-0000000000").await.unwrap();
    assert_eq!((data.as_slice(), stat.ephemeral_owner), (&b"raw"[..], 0));
    let options = zk::CreateMode::PersistentSequential.with_acls(zk::Acls::anyone_all());
    fixture
        .raw()
        .create("/queues/mails/qn-", b"theirs", &options)
        .await
        .unwrap();
    assert_eq!(drain(&queue).await, ["raw", "theirs"]);
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn a_consumer_waits_for_an_item_and_waiting_ones_get_them_in_turn() {
    let fixture = Fixture::new("wait").await;
    let (one, two) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    let producer = queue(&connect(&fixture).await);
    let first = wait_in_line(&fixture, &one, 1).await;
    let second = wait_in_line(&fixture, &two, 2).await;
    push(&producer, "a").await;
    assert_eq!(popped(first).await, "a");
    assert!(!second.is_finished());
    push(&producer, "b").await;
    assert_eq!(popped(second).await, "b");
    clean(&fixture, [one, two, producer]).await;
}

#[tokio::test]
async fn a_pop_with_a_limit_gives_up_and_leaves_the_line() {
    let fixture = Fixture::new("limit").await;
    let queue = queue(&connect(&fixture).await);
    let after = Duration::from_millis(100);
    assert_eq!(
        queue.pop_timeout(after).await,
        Err(FifoPopTimeoutError::Elapsed { after })
    );
    assert_eq!(fixture.children(LINE).await.len(), 0);
    push(&queue, "a").await;
    assert_eq!(queue.pop_timeout(LONG).await.unwrap(), "a");
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn children_that_are_no_items_are_ignored() {
    let fixture = Fixture::new("foreign").await;
    let (queue, producer) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    push(&producer, "a").await;
    let foreign = [
        "0",
        "qn-",
        "qn-poison",
        "queue-0000000000",
        "entry-100-0000000000",
        "zzz",
    ];
    for name in foreign {
        create(&fixture, &format!("{PATH}/{name}"), zk::CreateMode::Persistent).await;
    }
    assert_eq!(queue.len().await.unwrap(), 1);
    assert_eq!(pop(&queue).await, "a");
    let waiting = wait_in_line(&fixture, &queue, 1).await;
    create(&fixture, &format!("{PATH}/late"), zk::CreateMode::Persistent).await;
    push(&producer, "b").await;
    assert_eq!(popped(waiting).await, "b");
    for name in foreign.into_iter().chain(["late"]) {
        fixture.raw().delete(&format!("{PATH}/{name}"), None).await.unwrap();
    }
    clean(&fixture, [queue, producer]).await;
}

/// Curator, row "lost item without lock": its delete is sent again, fails, and is taken for another consumer's.
#[tokio::test]
async fn curator_lost_item_a_pop_whose_reply_is_lost_delivers_its_item() {
    let fixture = Fixture::new("lost pop").await;
    let (proxy, servers) = fixture.proxied().await;
    let queue = queue(&connect_to(&servers, LONG).await);
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        for item in ["a", "b", "c"] {
            push(&queue, item).await;
        }
        assert_eq!(pop(&queue).await, "a");
        let fault = proxy.inject(When::request(Op::Multi).path("qn-"), injection);
        assert_eq!(pop(&queue).await, "b", "{injection:?}");
        fault.fired().await;
        assert_eq!(drain(&queue).await, ["c"], "{injection:?}");
    }
    clean(&fixture, [queue]).await;
}

/// As above, in the presence of another consumer, who has removed the item in the meantime.
#[tokio::test]
async fn a_pop_that_was_cut_off_is_not_confused_with_that_of_another_consumer() {
    let fixture = Fixture::new("cut pop").await;
    let (proxy, servers) = fixture.proxied().await;
    let (ours, other) = (
        queue(&connect_to(&servers, LONG).await),
        queue(&connect(&fixture).await),
    );
    for item in ["a", "b", "c"] {
        push(&other, item).await;
    }
    assert_eq!(pop(&ours).await, "a");
    let fault = proxy.inject(When::request(Op::Multi).path("qn-"), Injection::SilenceBefore);
    let popping = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fault.fired().await;
    assert_eq!(pop(&other).await, "b");
    proxy.cut();
    proxy.heal();
    assert_eq!(popped(popping).await, "c");
    clean(&fixture, [ours, other]).await;
}

/// A removal that was cut off is not for the item that has its name and version later, in a directory made anew.
#[tokio::test]
async fn a_pop_that_was_cut_off_does_not_remove_an_item_that_took_the_name_of_the_one_it_had_read() {
    let fixture = Fixture::new("same name").await;
    let (proxy, servers) = fixture.proxied().await;
    let (ours, other) = (
        queue(&connect_to(&servers, LONG).await),
        queue(&connect(&fixture).await),
    );
    push(&ours, "a").await;
    let fault = proxy.inject(When::request(Op::Multi).path("qn-"), Injection::SilenceBefore);
    let popping = tokio::spawn({
        let ours = ours.clone();
        async move { ours.pop().await }
    });
    fault.fired().await;
    assert_eq!(pop(&other).await, "a");
    fixture.raw().delete(PATH, None).await.unwrap();
    push(&other, "b").await;
    assert_eq!(fixture.children(PATH).await, ["qn-0000000000"]);
    proxy.cut();
    proxy.heal();
    assert_eq!(popped(popping).await, "b");
    assert_eq!(drain(&other).await.len(), 0);
    clean(&fixture, [ours, other]).await;
}

/// Ledgers that an operator has removed are no sign of a lost session: after a reconnect another node tells.
#[tokio::test]
async fn dead_ledgers_cost_no_hold_after_a_reconnect() {
    const LEASE: Duration = Duration::from_secs(4);
    let fixture = Fixture::new("dead ledgers").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LEASE).await;
    let lock = FairLock::new(&zk, "/lock").unwrap();
    let hold = within(PATIENCE, "held", lock.acquire()).await.unwrap();
    let mut queues = Vec::new();
    for number in 0..8 {
        let path = format!("/queue-{number}");
        let queue = FifoQueue::new(&zk, &path).unwrap();
        push(&queue, "a").await;
        let directory = format!("{path}-__fifo__/ledgers");
        for name in fixture.children(&directory).await {
            let ledger = format!("{directory}/{name}");
            fixture.raw().delete(&ledger, None).await.unwrap();
        }
        if number % 2 == 0 {
            fixture.raw().delete(&directory, None).await.unwrap();
        }
        queues.push(queue);
    }
    proxy.cut();
    // As long as it takes to lose a hold that nothing proves.
    let lost = tokio::time::timeout(2 * LEASE, hold.lost()).await;
    assert!(lost.is_err(), "{lost:?}");
    assert!(hold.is_held());
    for queue in &queues {
        assert_eq!(drain(queue).await, ["a"]);
    }
    hold.release().await.unwrap();
}

/// Curator, row "duplicate put": its create is sent again, and both are applied.
#[tokio::test]
async fn curator_duplicate_put_a_push_whose_reply_is_lost_is_pushed_once() {
    let fixture = Fixture::new("lost push").await;
    let (proxy, servers) = fixture.proxied().await;
    let queue = queue(&connect_to(&servers, LONG).await);
    push(&queue, "a").await;
    for (item, injection) in [("b", Injection::LoseReply), ("c", Injection::CutBefore)] {
        let fault = proxy.inject(When::request(Op::Multi), injection);
        push(&queue, item).await;
        fault.fired().await;
    }
    assert_eq!(drain(&queue).await, ["a", "b", "c"]);
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn the_reply_of_any_request_may_be_lost() {
    strike_each_request("fifo", |fixture, zk, path| async move {
        let queue = FifoQueue::new(&zk, &format!("{path}/q")).unwrap();
        let other = FifoQueue::new(&connect(&fixture).await, queue.path()).unwrap();
        for item in ["a", "b"] {
            queue.push(item).await.unwrap();
        }
        assert_eq!(queue.try_pop().await.unwrap().unwrap(), "a");
        assert_eq!(queue.pop().await.unwrap(), "b");
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.pop().await.unwrap() }
        });
        fixture.until_children(&format!("{path}/q-__fifo__/line"), 1).await;
        other.push("c").await.unwrap();
        assert_eq!(waiting.await.unwrap(), "c");
        assert_eq!(other.len().await.unwrap(), 0);
        // Left in the background.
        fixture.until_children(&format!("{path}/q-__fifo__/line"), 0).await;
    })
    .await;
}

/// The session ends while nobody knows what became of the removal, and the item is gone: the caller is told which.
#[tokio::test]
async fn a_pop_that_cannot_be_known_says_which_item_it_is_about() {
    let fixture = Fixture::new("indeterminate pop").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
    let (ours, producer) = (queue(&zk), queue(&connect(&fixture).await));
    for item in ["a", "b", "c"] {
        push(&producer, item).await;
    }
    assert_eq!(pop(&ours).await, "a");
    let session = session_of(&zk).await;
    for (injection, expected) in [(Injection::SilenceReply, None), (Injection::SilenceBefore, Some("c"))] {
        let session = if expected.is_some() {
            session_of(&zk).await
        } else {
            session.clone()
        };
        let fault = proxy.inject(When::request(Op::Multi).path("qn-"), injection);
        let popping = tokio::spawn({
            let ours = ours.clone();
            async move { ours.pop().await }
        });
        fault.fired().await;
        fixture.expire(&session).await;
        proxy.cut();
        proxy.heal();
        let outcome = within(PATIENCE, "an outcome", popping).await.unwrap();
        match expected {
            None => {
                let path = format!("{PATH}/qn-0000000001");
                let item = Bytes::from("b");
                assert_eq!(outcome, Err(FifoPopError::Indeterminate { path, item }));
            }
            // It was not removed, so nothing is in doubt: it is taken in the next session.
            Some(item) => assert_eq!(outcome.unwrap(), item),
        }
    }
    clean(&fixture, [ours, producer]).await;
}

#[tokio::test]
async fn a_push_that_cannot_be_known_is_indeterminate() {
    let fixture = Fixture::new("indeterminate push").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
    let queue = queue(&zk);
    push(&queue, "a").await;
    for (injection, expected) in [
        (Injection::SilenceReply, vec!["a", "b"]),
        (Injection::SilenceBefore, vec![]),
    ] {
        let session = session_of(&zk).await;
        let fault = proxy.inject(When::request(Op::Multi), injection);
        let pushing = tokio::spawn({
            let queue = queue.clone();
            async move { queue.push("b").await }
        });
        fault.fired().await;
        fixture.expire(&session).await;
        proxy.cut();
        proxy.heal();
        let outcome = within(PATIENCE, "an outcome", pushing).await.unwrap();
        assert_eq!(outcome, Err(FifoPushError::Indeterminate), "{injection:?}");
        assert_eq!(drain(&queue).await, expected, "{injection:?}");
    }
    clean(&fixture, [queue]).await;
}

/// Curator's issue 308: `take` hangs when the server reaps the queue's container meanwhile.
#[tokio::test]
async fn curator_308_a_consumer_waits_on_when_the_queues_directory_is_removed() {
    let fixture = Fixture::new("reaped").await;
    let (consumer, producer) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    push(&producer, "a").await;
    assert_eq!(pop(&consumer).await, "a");
    for round in 0..3 {
        let waiting = wait_in_line(&fixture, &consumer, 1).await;
        if round > 0 {
            // The server may have reaped it before us.
            let deleted = fixture.raw().delete(PATH, None).await;
            assert!(matches!(deleted, Ok(()) | Err(zk::Error::NoNode)), "{deleted:?}");
        }
        push(&producer, "b").await;
        assert_eq!(popped(waiting).await, "b", "round {round}");
    }
    clean(&fixture, [consumer, producer]).await;
}

/// A directory that is made anew numbers its items from the beginning: what was listed before says nothing of them.
#[tokio::test]
async fn what_was_listed_before_the_directory_was_made_anew_does_not_jump_the_queue() {
    let fixture = Fixture::new("anew").await;
    let (ours, other) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    for item in ["a", "b", "c"] {
        push(&other, item).await;
    }
    assert_eq!(pop(&ours).await, "a", "and lists b and c");
    assert_eq!(drain(&other).await, ["b", "c"]);
    let deleted = fixture.raw().delete(PATH, None).await;
    assert!(matches!(deleted, Ok(()) | Err(zk::Error::NoNode)), "{deleted:?}");
    for item in ["1", "2", "3"] {
        push(&other, item).await;
    }
    assert_eq!(ours.peek().await.unwrap().unwrap(), "1");
    assert_eq!(drain(&ours).await, ["1", "2", "3"]);
    clean(&fixture, [ours, other]).await;
}

/// Curator's issue 623: after a long disconnect the watch is not set again, and the queue stops.
#[tokio::test]
async fn curator_623_a_consumer_hears_of_an_item_that_came_while_it_was_cut_off() {
    let fixture = Fixture::new("long cut").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
    let (consumer, producer) = (queue(&zk), queue(&connect(&fixture).await));
    for item in ["a", "b"] {
        let waiting = wait_in_line(&fixture, &consumer, 1).await;
        proxy.refuse().await;
        push(&producer, item).await;
        proxy.accept().await;
        assert_eq!(popped(waiting).await, item);
        fixture.until_children(LINE, 0).await;
    }
    let waiting = wait_in_line(&fixture, &consumer, 1).await;
    expire_unseen(&fixture, &proxy, &zk).await;
    push(&producer, "c").await;
    assert_eq!(popped(waiting).await, "c");
    clean(&fixture, [consumer, producer]).await;
}

#[tokio::test]
async fn a_waiting_consumer_goes_on_in_the_next_session_and_the_next_in_line_takes_its_place() {
    let fixture = Fixture::new("expired").await;
    let zk = connect(&fixture).await;
    let (first, second) = (queue(&zk), queue(&connect(&fixture).await));
    let producer = queue(&connect(&fixture).await);
    let waiting_first = wait_in_line(&fixture, &first, 1).await;
    let waiting_second = wait_in_line(&fixture, &second, 2).await;
    let before = expire(&fixture, &zk).await;
    eventually(PATIENCE, "in line again", || async {
        let line = fixture.ephemerals().await;
        let line: Vec<_> = line.iter().filter(|(path, _)| path.starts_with(LINE)).collect();
        line.len() == 2 && line.iter().all(|(_, owner)| **owner != before)
    })
    .await;
    push(&producer, "a").await;
    assert_eq!(popped(waiting_second).await, "a");
    push(&producer, "b").await;
    assert_eq!(popped(waiting_first).await, "b");
    clean(&fixture, [first, second, producer]).await;
}

/// An operator removes what is ours: a consumer in line, and the ledger by which lost replies are told.
#[tokio::test]
async fn nodes_of_ours_that_an_operator_removes_are_made_anew() {
    let fixture = Fixture::new("operator").await;
    let (consumer, producer) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    push(&producer, "a").await;
    assert_eq!(pop(&consumer).await, "a");
    let waiting = wait_in_line(&fixture, &consumer, 1).await;
    for (directory, count) in [(LINE, 1), (LEDGERS, 2)] {
        let ours = fixture.children(directory).await;
        assert_eq!(ours.len(), count, "{ours:?}");
        for name in ours {
            fixture
                .raw()
                .delete(&format!("{directory}/{name}"), None)
                .await
                .unwrap();
        }
    }
    fixture.until_children(LINE, 1).await;
    push(&producer, "b").await;
    assert_eq!(popped(waiting).await, "b");
    clean(&fixture, [consumer, producer]).await;
}

/// Dropped after any number of polls, a pop leaves no node and loses no item, and the order stays.
#[tokio::test]
async fn a_pop_that_is_dropped_anywhere_loses_nothing() {
    let fixture = Fixture::new("dropped").await;
    let (ours, other) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    // Before the item is there, and after.
    for waits in [false, true] {
        for polls in 1..40 {
            let item = format!("{waits}-{polls}");
            let mut popping = Box::pin(ours.pop());
            if !waits {
                push(&other, &item).await;
            }
            let polled = async {
                let (polled, ()) = tokio::join!(poll_times(popping.as_mut(), polls), async {
                    if waits {
                        push(&other, &item).await;
                    }
                });
                polled
            };
            let done = tokio::time::timeout(Duration::from_millis(300), polled).await;
            let done = done.ok().flatten();
            drop(popping);
            let got = match done {
                Some(got) => got.unwrap(),
                None => within(PATIENCE, "the item is not lost", ours.pop()).await.unwrap(),
            };
            assert_eq!(text(got), item);
            fixture.until_children(LINE, 0).await;
            fixture.until_children(PATH, 0).await;
        }
    }
    clean(&fixture, [ours, other]).await;
}

/// An item that was being removed for a pop that was dropped goes to one that waits.
#[tokio::test]
async fn an_item_taken_for_a_dropped_pop_goes_to_another_one_of_the_handle() {
    let fixture = Fixture::new("kept").await;
    let (proxy, servers) = fixture.proxied().await;
    let ours = queue(&connect_to(&servers, LONG).await);
    for item in ["a", "b"] {
        push(&ours, item).await;
    }
    assert_eq!(pop(&ours).await, "a");
    let fault = proxy.inject(When::request(Op::Multi).path("qn-"), Injection::SilenceReply);
    let popping = |queue: FifoQueue| tokio::spawn(async move { queue.pop().await });
    let dropped = popping(ours.clone());
    fault.fired().await;
    dropped.abort();
    assert!(within(PATIENCE, "dropped", dropped).await.is_err());
    let other = popping(ours.clone());
    proxy.heal();
    assert_eq!(popped(other).await, "b");
    clean(&fixture, [ours]).await;
}

/// The removal was applied, its caller has given up, and the session ends before anybody knows: the next pop is told.
#[tokio::test]
async fn an_item_in_doubt_whose_pop_has_given_up_goes_to_the_next_pop() {
    let fixture = Fixture::new("doubt kept").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, LONG).await;
    let ours = queue(&zk);
    for item in ["a", "b", "c"] {
        push(&ours, item).await;
    }
    assert_eq!(pop(&ours).await, "a");
    let session = session_of(&zk).await;
    let fault = proxy.inject(When::request(Op::Multi).path("qn-"), Injection::SilenceReply);
    // On a busy machine a pop may be out of time before it has asked for the removal.
    while !fault.has_fired() {
        let after = Duration::from_millis(300);
        let elapsed = ours.pop_timeout(after).await;
        assert_eq!(elapsed, Err(FifoPopTimeoutError::Elapsed { after }));
    }
    fixture.expire(&session).await;
    proxy.cut();
    proxy.heal();
    let mut outcomes = Vec::new();
    while outcomes.len() < 2 {
        outcomes.push(within(PATIENCE, "an outcome", ours.pop()).await);
    }
    let path = format!("{PATH}/qn-0000000001");
    let item = Bytes::from("b");
    assert!(
        outcomes.contains(&Err(FifoPopError::Indeterminate { path, item })),
        "{outcomes:?}"
    );
    assert!(outcomes.contains(&Ok(Bytes::from("c"))), "{outcomes:?}");
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_push_that_is_dropped_anywhere_is_in_the_queue_once_or_not_and_leaves_nothing_else() {
    let fixture = Fixture::new("dropped push").await;
    let ours = queue(&connect(&fixture).await);
    for polls in 1..12 {
        let mut pushing = Box::pin(ours.push("a"));
        let done = within(PATIENCE, "polled", poll_times(pushing.as_mut(), polls)).await;
        drop(pushing);
        // Behind whatever it has sent.
        push(&ours, "z").await;
        let items = drain(&ours).await;
        let expected: &[&[&str]] = if done.is_some() {
            &[&["a", "z"]]
        } else {
            &[&["z"], &["a", "z"]]
        };
        assert!(
            expected.contains(&items.iter().map(String::as_str).collect::<Vec<_>>().as_slice()),
            "{items:?}"
        );
    }
    // That of the handle.
    eventually(PATIENCE, "one ledger is left", || async {
        fixture.ephemerals().await.len() <= 1
    })
    .await;
    clean(&fixture, [ours]).await;
}

/// Each item exactly once, while links are cut, replies lost and sessions taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_producers_and_consumers_lose_nothing_and_double_nothing() {
    const ITEMS: usize = 300;
    let fixture = Arc::new(Fixture::new("many").await);
    let delivered = Arc::new(std::sync::Mutex::new(Vec::new()));
    let in_doubt = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let pushing = Arc::new(AtomicUsize::new(3));
    let mut tasks = Vec::new();
    let mut links = Vec::new();
    for producer in 0..3 {
        let (proxy, servers) = fixture.proxied().await;
        let queue = queue(&connect_to(&servers, LONG).await);
        let (in_doubt, pushing) = (Arc::clone(&in_doubt), Arc::clone(&pushing));
        links.push(proxy);
        tasks.push(tokio::spawn(async move {
            for number in 0..ITEMS / 3 {
                let item = format!("{producer}-{number:05}");
                match queue.push(item.clone()).await {
                    Ok(()) => {}
                    Err(FifoPushError::Indeterminate) => _ = in_doubt.lock().unwrap().insert(item),
                    Err(err) => panic!("{item}: {err}"),
                }
            }
            pushing.fetch_sub(1, Ordering::SeqCst);
        }));
    }
    for _ in 0..4 {
        let (proxy, servers) = fixture.proxied().await;
        let queue = queue(&connect_to(&servers, LONG).await);
        let (in_doubt, pushing) = (Arc::clone(&in_doubt), Arc::clone(&pushing));
        let delivered = Arc::clone(&delivered);
        links.push(proxy);
        tasks.push(tokio::spawn(async move {
            loop {
                match queue.pop_timeout(Duration::from_millis(500)).await {
                    Ok(item) => delivered.lock().unwrap().push(text(item)),
                    Err(FifoPopTimeoutError::Pop(FifoPopError::Indeterminate { item, .. })) => {
                        in_doubt.lock().unwrap().insert(text(item));
                    }
                    Err(FifoPopTimeoutError::Elapsed { .. }) => {
                        if pushing.load(Ordering::SeqCst) == 0 && queue.is_empty().await.unwrap() {
                            return;
                        }
                    }
                    Err(err) => panic!("{err}"),
                }
            }
        }));
    }
    let links = Arc::new(links);
    let trouble = Arc::clone(&links);
    let trouble = tokio::spawn(async move {
        let links = trouble;
        for round in 0_usize.. {
            let link = &links[round % links.len()];
            let fault = link.inject(
                When::request(Op::Multi),
                [Injection::LoseReply, Injection::CutBefore][round / 7 % 2],
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
            fault.disarm();
        }
    });
    for task in tasks {
        within(PATIENCE * 4, "all pushed and popped", task).await.unwrap();
    }
    trouble.abort();
    let delivered = delivered.lock().unwrap().clone();
    let once: BTreeSet<_> = delivered.iter().cloned().collect();
    assert_eq!(once.len(), delivered.len(), "delivered twice");
    let all = (0..3).flat_map(|producer| (0..ITEMS / 3).map(move |number| format!("{producer}-{number:05}")));
    let lost: Vec<_> = all.filter(|item| !once.contains(item)).collect();
    let in_doubt = in_doubt.lock().unwrap().clone();
    assert!(lost.iter().all(|item| in_doubt.contains(item)), "lost: {lost:?}");
    // No session has ended, so that nothing may be in doubt at all.
    assert!(in_doubt.is_empty(), "{in_doubt:?}");
    fixture.assert_no_nodes_left(&[PATH, LINE, LEDGERS]).await;
}

/// The counter of a directory is an `int`, and servers stop at its last value.
#[tokio::test]
async fn a_queue_keeps_its_order_up_to_the_end_of_its_numbers_and_says_so_there() {
    let fixture = Fixture::with_embedded_server("overflow").await;
    let (ours, other) = (queue(&connect(&fixture).await), queue(&connect(&fixture).await));
    push(&ours, "first").await;
    let dir = format!("{}{PATH}", fixture.chroot());
    assert!(faults(&fixture).set_sequence(&dir, i32::MAX - 2));
    for item in ["a", "b", "c"] {
        push(&ours, item).await;
    }
    let refused = ours.push("d").await;
    assert!(
        matches!(&refused, Err(FifoPushError::Error(Error::Layout { path, .. })) if path == PATH),
        "{refused:?}"
    );
    assert_eq!(drain(&other).await, ["first", "a", "b", "c"]);
    // Whoever is after the last number alone can use it again.
    push(&ours, "e").await;
    assert_eq!(drain(&ours).await, ["e"]);
    // What older servers, and newer ones with several creates in flight, write after the last number.
    for (name, data) in [
        ("qn-2147483646", "1"),
        ("qn-2147483647", "2"),
        ("qn--2147483648", "3"),
        ("qn--2147483647", "4"),
    ] {
        let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
        let path = format!("{PATH}/{name}");
        fixture.raw().create(&path, data.as_bytes(), &options).await.unwrap();
    }
    assert_eq!(drain(&other).await, ["1", "2", "3", "4"]);
    clean(&fixture, [ours, other]).await;
}

#[tokio::test]
async fn an_item_that_is_too_large_is_refused_with_the_limit_and_one_within_it_passes() {
    let fixture = Fixture::new("large").await;
    let zk = connect(&fixture).await;
    let queue = queue(&zk);
    let session = session_id(&zk).await;
    let refused = queue.push(vec![0; 2_000_000]).await;
    let Err(FifoPushError::Error(Error::TooLarge { path, limit, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(path, PATH);
    assert!(queue.push(vec![0; limit + 1]).await.is_err());
    queue.push(vec![7; limit]).await.unwrap();
    assert_eq!(queue.len().await.unwrap(), 1);
    assert_eq!(pop_bytes(&queue).await, vec![7; limit]);
    assert_eq!(session_id(&zk).await, session, "no connection was cut for it");
    clean(&fixture, [queue]).await;
}

async fn pop_bytes(queue: &FifoQueue) -> Bytes {
    within(PATIENCE, "an item", queue.pop()).await.unwrap()
}

#[tokio::test]
async fn bad_paths_and_items_that_cannot_be_taken_are_errors_that_name_them() {
    let fixture = Fixture::new("bad").await;
    let zk = connect(&fixture).await;
    for path in ["", "a", "/", "/a/", "/a//b", "/🔒"] {
        let refused = FifoQueue::new(&zk, path).unwrap_err();
        assert!(matches!(refused, Error::InvalidPath { .. }), "{path:?}: {refused}");
    }
    let queue = queue(&zk);
    push(&queue, "a").await;
    push(&queue, "b").await;
    let (first, below) = (format!("{PATH}/qn-0000000000"), format!("{PATH}/qn-0000000000/x"));
    create(&fixture, &below, zk::CreateMode::Persistent).await;
    let refused = within(PATIENCE, "an error", queue.pop()).await;
    assert!(
        matches!(&refused, Err(FifoPopError::Error(Error::Layout { path, .. })) if *path == first),
        "{refused:?}"
    );
    fixture.raw().delete(&below, None).await.unwrap();
    let nobody = [zk::Acl::new(zk::Permission::DELETE, zk::AuthId::anyone())];
    fixture.raw().set_acl(&first, &nobody, None).await.unwrap();
    let refused = within(PATIENCE, "an error", queue.try_pop()).await;
    assert!(
        matches!(&refused, Err(FifoPopError::Error(Error::Denied { path })) if *path == first),
        "{refused:?}"
    );
    assert_eq!(queue.len().await.unwrap(), 2, "nothing is lost");
    fixture.raw().delete(&first, None).await.unwrap();
    assert_eq!(drain(&queue).await, ["b"]);
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn a_closed_coordinator_ends_pops_that_wait() {
    let fixture = Fixture::new("closed").await;
    let zk = connect(&fixture).await;
    let queue = queue(&zk);
    let waiting = wait_in_line(&fixture, &queue, 1).await;
    zk.close().await;
    let outcome = within(PATIENCE, "ends", waiting).await.unwrap();
    assert_eq!(outcome, Err(FifoPopError::Error(Error::Closed)));
    assert_eq!(queue.push("a").await, Err(FifoPushError::Error(Error::Closed)));
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn a_push_is_one_request_and_a_pop_two_and_a_backlog_is_listed_once() {
    const ITEMS: usize = 30;
    let fixture = Fixture::new("budget").await;
    let counted = Counted::connect(&fixture).await;
    let queue = queue(&counted.zk);
    push(&queue, "first").await;
    counted.requests(3).await;
    for _ in 1..ITEMS {
        push(&queue, "item").await;
    }
    let counts = counted.requests(ITEMS - 1).await;
    assert_eq!(
        (counts.of(Op::Multi), counts.total()),
        (ITEMS - 1, ITEMS - 1),
        "{counts}"
    );
    for _ in 0..ITEMS {
        pop(&queue).await;
    }
    let counts = counted.requests(2 * ITEMS + 1).await;
    assert_eq!(
        (
            counts.of(Op::GetData),
            counts.of(Op::Multi),
            counts.lists(),
            counts.total()
        ),
        (ITEMS, ITEMS, 1, 2 * ITEMS + 1),
        "{counts}"
    );
    assert_eq!(queue.try_pop().await.unwrap(), None);
    let counts = counted.requests(1).await;
    assert_eq!((counts.lists(), counts.total()), (1, 1), "{counts}");
    clean(&fixture, [queue]).await;
}

#[tokio::test]
async fn consumers_that_wait_cost_nothing_and_an_item_wakes_one() {
    let fixture = Fixture::new("herd").await;
    // Not reaped meanwhile.
    for directory in ["/queues", PATH, "/queues/mails-__fifo__", LINE] {
        make_dir(&fixture, directory).await;
    }
    let producer = queue(&connect(&fixture).await);
    let (mut counted, mut queues, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for place in 1..=4 {
        let consumer = Counted::connect(&fixture).await;
        let queue = queue(&consumer.zk);
        waiting.push(wait_in_line(&fixture, &queue, place).await);
        // A list; a place in line; the watches, on the queue or the one ahead, and on the own node.
        consumer.requests(5).await;
        counted.push(consumer);
        queues.push(queue);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    for consumer in &counted {
        let counts = consumer.requests(0).await;
        assert_eq!(counts.total(), 0, "{counts}");
    }
    push(&producer, "a").await;
    assert_eq!(popped(waiting.remove(0)).await, "a");
    fixture.until_children(LINE, 3).await;
    counted[1].requests(2).await;
    for consumer in &counted[2..] {
        let counts = consumer.requests(0).await;
        assert_eq!(counts.total(), 0, "{counts}");
    }
    for item in ["b", "c", "d"] {
        push(&producer, item).await;
    }
    for waiting in waiting {
        popped(waiting).await;
    }
    clean(&fixture, queues.into_iter().chain([producer])).await;
}
