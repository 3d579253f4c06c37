//! A server with a lowered `jute.maxbuffer`: at a longer request it closes the connection.

use zookeeper_recipes::queue::WorkQueue;
use zookeeper_recipes::{Error, FairLock, SharedValue, SharedValueError};
use zookeeper_testkit::{RealServer, ServerOptions, within};

use crate::{PATIENCE, attempt, lock_once, options};

/// A quarter of what the crate expects.
const LIMIT: usize = 256 * 1024;

async fn server() -> RealServer {
    ServerOptions::new().request_limit(LIMIT).start().await
}

#[tokio::test]
async fn a_lowered_limit_that_the_options_know_costs_nothing() {
    let server = server().await;
    let known = options().request_limit(LIMIT - 8 * 1024);
    let zk = attempt("jute.maxbuffer lowered, known", known, &server.connect_string())
        .await
        .unwrap();
    let held = FairLock::new(&zk, "/held").unwrap().acquire().await.unwrap();
    let value = SharedValue::new(&zk, "/value").unwrap();
    let refused = within(PATIENCE, "an error", value.set(vec![0; LIMIT]))
        .await
        .unwrap_err();
    println!("jute.maxbuffer lowered, known: {refused}");
    assert!(matches!(&refused, SharedValueError::Error(Error::TooLarge { path, .. }) if path == "/value"));
    within(PATIENCE, "written", value.set(vec![0; LIMIT / 2]))
        .await
        .unwrap();
    // Batches of a queue are cut to what fits.
    let queue = WorkQueue::new(&zk, "/queue").unwrap();
    for _ in 0..8 {
        within(PATIENCE, "pushed", queue.push(vec![0; LIMIT / 4]))
            .await
            .unwrap();
    }
    for _ in 0..8 {
        let delivery = within(PATIENCE, "popped", queue.pop()).await.unwrap();
        within(PATIENCE, "acknowledged", delivery.ack()).await.unwrap();
    }
    queue.close().await;
    assert!(held.is_held());
    held.release().await.unwrap();
    lock_once("jute.maxbuffer lowered, known", zk).await;
}

#[tokio::test]
async fn a_lowered_limit_that_nobody_told_is_an_error_not_a_storm() {
    let server = server().await;
    let case = "jute.maxbuffer lowered, not known";
    let zk = attempt(case, options(), &server.connect_string()).await.unwrap();
    let value = SharedValue::new(&zk, "/value").unwrap();
    let failed = within(PATIENCE, "an error", value.set(vec![0; 2 * LIMIT]))
        .await
        .unwrap_err();
    println!("{case}: {failed}");
    assert!(
        matches!(&failed, SharedValueError::Error(Error::ConnectionBreaks { path, .. }) if path == "/value"),
        "{failed:?}"
    );
    assert!(failed.to_string().contains("ConnectOptions::request_limit"));
    lock_once(case, zk).await;
}
