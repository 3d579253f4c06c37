//! A request at which connections break again and again: a server closes the connection at one that is longer than its
//! `jute.maxbuffer`, and says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future;
use zookeeper_embedded::Op as EmbeddedOp;
use zookeeper_recipes::{Coordinator, SharedValue, SharedValueError};
use zookeeper_testkit::{Counts, Fixture, Op, ServerOptions, eventually, within};

use super::{connections, without_storm};
use crate::support::cost::Counted;
use crate::support::{PATIENCE, SILENCE, acquire, faults, lock, session_id};

const LIMIT: usize = 65_536;
const SIZE: usize = 100_000;
/// At so many a request is given up.
const BROKEN: usize = 5;

async fn limited(name: &str) -> Fixture {
    Fixture::with_own_server_options(name, ServerOptions::new().request_limit(LIMIT)).await
}

fn value(zk: &Coordinator) -> SharedValue {
    SharedValue::new(zk, "/value").unwrap()
}

async fn get(value: &SharedValue) -> Option<Bytes> {
    let read = within(PATIENCE, "a read is answered", value.get()).await;
    read.unwrap().map(|versioned| versioned.value)
}

/// The writes of the value. What is sent to find out their fate names other nodes.
fn writes(counts: &Counts) -> usize {
    let is_write = |op| op == Op::Multi || op == Op::SetData;
    let writes = counts.matching(|request| is_write(request.op) && request.paths.iter().any(|path| path == "/value"));
    writes.total()
}

/// The error says what was sent, and what to do.
fn assert_explains(error: &SharedValueError, size: usize) {
    let message = error.to_string();
    assert_ne!(*error, SharedValueError::Changed);
    assert!(message.contains("/value"), "which path? {message}");
    assert!(message.contains("jute.maxbuffer"), "what to do? {message}");
    // The data, or all that was sent with it.
    let mut numbers = message
        .split(|c: char| !c.is_ascii_digit())
        .flat_map(str::parse::<usize>);
    assert!(
        numbers.any(|number| (size..size + 2_000).contains(&number)),
        "which size? {message}"
    );
}

#[tokio::test]
async fn a_request_too_large_fails_after_five_connections() {
    let fixture = limited("too large").await;
    let counted = Counted::connect(&fixture).await;
    let session = session_id(&counted.zk).await;
    let value = value(&counted.zk);
    value.set("before").await.unwrap();
    fixture.until_children("/value", 0).await;
    counted.proxy.reset_counts();

    let error = without_storm(&counted.proxy, connections, value.set(vec![7; SIZE]))
        .await
        .unwrap_err();
    assert_eq!(get(&value).await.as_deref(), Some(&b"before"[..]));
    // All connections that there are for this request, and so no second has more of them.
    let (counts, accepted) = (counted.proxy.requests(), counted.proxy.accepted());
    assert_eq!((writes(&counts), accepted.len()), (BROKEN, BROKEN), "{counts}");
    assert_explains(&error, SIZE);

    value.set("after").await.unwrap();
    assert_eq!(get(&value).await.as_deref(), Some(&b"after"[..]));
    acquire(&lock(&counted.zk, "/l")).await.release().await.unwrap();
    assert_eq!(session_id(&counted.zk).await, session, "the session is still the same");
    fixture.assert_no_nodes_left(&["/value", "/l"]).await;
}

/// What was counted for one call says nothing of the next.
#[tokio::test]
async fn each_call_has_five_connections_of_its_own() {
    let fixture = limited("repeated").await;
    let counted = Counted::connect(&fixture).await;
    let value = value(&counted.zk);
    for _ in 0..3 {
        counted.proxy.reset_counts();
        let error = without_storm(&counted.proxy, connections, value.set(vec![7; SIZE]))
            .await
            .unwrap_err();
        assert_explains(&error, SIZE);
        assert_eq!(get(&value).await, None);
        assert_eq!(counted.proxy.accepted().len(), BROKEN);
    }
    fixture.assert_no_nodes_left(&["/value"]).await;
}

/// A broken connection counts for one request, the oldest that is unanswered, and so the others are tried again.
#[tokio::test]
async fn several_requests_too_large_fail_each() {
    const AT_ONCE: usize = 4;
    let fixture = limited("several").await;
    let counted = Counted::connect(&fixture).await;
    let values = [1, 2, 3, 4].map(|number| SharedValue::new(&counted.zk, &format!("/value-{number}")).unwrap());
    let sets = values.each_ref().map(|value| value.set(vec![7; SIZE]));
    let set = without_storm(&counted.proxy, connections, future::join_all(sets)).await;
    for (value, set) in values.iter().zip(set) {
        let message = set.unwrap_err().to_string();
        assert!(message.contains(value.path()), "{message}");
        assert_eq!(get(value).await, None);
    }
    // More than five each where a connection broke at what only asks for the fate of one of them.
    let accepted = counted.proxy.accepted().len();
    assert!(
        (BROKEN..=2 * AT_ONCE * BROKEN).contains(&accepted),
        "{accepted} connections"
    );
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn a_request_that_is_always_cut_fails_alone() {
    let fixture = Fixture::with_embedded_server("cut").await;
    let counted = Counted::connect_with(&fixture, Duration::from_secs(10)).await;
    let hold = acquire(&lock(&counted.zk, "/held")).await;
    let path = format!("{}/value", fixture.chroot());
    let rule = faults(&fixture)
        .on([EmbeddedOp::Multi])
        .path(path)
        .always()
        .drop_before_apply();
    let (value, beside) = (value(&counted.zk), lock(&counted.zk, "/beside"));
    let done = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            while !done.load(Ordering::Relaxed) {
                acquire(&beside).await.release().await.unwrap();
            }
        }
    });
    counted.proxy.reset_counts();
    let error = without_storm(&counted.proxy, connections, value.set(vec![7; SIZE]))
        .await
        .unwrap_err();
    assert_explains(&error, SIZE);
    done.store(true, Ordering::Relaxed);
    within(PATIENCE, "the others go on", others).await.unwrap();
    // One more where the connection broke before a reply to the others had come.
    let accepted = counted.proxy.accepted().len();
    assert!((BROKEN..=2 * BROKEN).contains(&accepted), "{accepted} connections");
    assert_eq!(rule.hits(), accepted);
    assert!(hold.is_held());
    rule.remove();
    value.set("after").await.unwrap();
    hold.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/value", "/held", "/beside"]).await;
}

#[tokio::test]
async fn four_broken_connections_are_waited_out() {
    let fixture = Fixture::with_embedded_server("four").await;
    let counted = Counted::connect(&fixture).await;
    let path = format!("{}/value", fixture.chroot());
    let rule = faults(&fixture)
        .on([EmbeddedOp::Multi])
        .path(path)
        .times(BROKEN - 1)
        .drop_before_apply();
    let value = value(&counted.zk);
    without_storm(&counted.proxy, connections, value.set("written"))
        .await
        .unwrap();
    assert_eq!(get(&value).await.as_deref(), Some(&b"written"[..]));
    assert_eq!((rule.hits(), counted.proxy.accepted().len()), (BROKEN - 1, BROKEN - 1));
    fixture.assert_no_nodes_left(&["/value"]).await;
}

#[tokio::test]
async fn a_dropped_call_ends_the_reconnects() {
    let fixture = limited("dropped").await;
    let counted = Counted::connect(&fixture).await;
    let value = value(&counted.zk);
    let set = tokio::spawn({
        let value = value.clone();
        async move { value.set(vec![7; SIZE]).await }
    });
    eventually(PATIENCE, "a connection breaks", || async {
        !counted.proxy.accepted().is_empty()
    })
    .await;
    set.abort();
    let _ = set.await;
    // Behind what is already on its way.
    assert_eq!(get(&value).await, None);
    counted.proxy.reset_counts();
    tokio::time::sleep(SILENCE).await;
    assert_eq!(get(&value).await, None);
    let (counts, accepted) = (counted.proxy.requests(), counted.proxy.accepted());
    assert_eq!((writes(&counts), accepted.len()), (0, 0), "{counts}");
    value.set("after").await.unwrap();
    fixture.assert_no_nodes_left(&["/value"]).await;
}
