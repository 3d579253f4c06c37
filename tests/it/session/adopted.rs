//! ClickHouse Keeper gives a client that comes back another session without a word.

use std::time::Duration;

use zookeeper_embedded::{Scope, Server};
use zookeeper_recipes::LossReason;
use zookeeper_testkit::{eventually, within};

use crate::support::sessions::Acquiring;
use crate::support::{PATIENCE, connect_to, lock, loss, session_id};

const LOCK: &str = "/lock";

const TIMEOUT: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_holder_in_an_adopted_session_is_told() {
    let server = Server::start().await.unwrap();
    let zk = connect_to(&server.connect_string(), TIMEOUT).await;
    let old = session_id(&zk).await;
    let lock = lock(&zk, LOCK);
    let guard = lock.acquire().await.unwrap();
    server.faults().adopt_new_sessions(true);
    server.faults().cut(Scope::All);
    let reason = loss(&guard).await;
    assert_eq!(reason, LossReason::SessionExpired);
    assert!(!guard.is_held());
    let next = within(PATIENCE, "the old session is over", lock.acquire())
        .await
        .unwrap();
    assert_ne!(session_id(&zk).await, old);
    assert!(next.token() > guard.token());
    next.release().await.unwrap();
    eventually(PATIENCE, "nothing is left", || async { server.nodes(LOCK).len() <= 1 }).await;
}

#[tokio::test]
async fn a_waiter_is_not_granted_its_old_node() {
    let server = Server::start().await.unwrap();
    let holder_zk = connect_to(&server.connect_string(), TIMEOUT).await;
    let zk = connect_to(&server.connect_string(), TIMEOUT).await;
    let old = session_id(&zk).await;
    let holder = lock(&holder_zk, LOCK).acquire().await.unwrap();
    let waiting = Acquiring::start(&lock(&zk, LOCK));
    let children = || server.nodes(LOCK).len() - 1;
    eventually(PATIENCE, "the waiter stands in line", || async { children() == 2 }).await;
    server.faults().adopt_new_sessions(true);
    server.faults().cut(Scope::Session(old.into()));
    eventually(PATIENCE, "the waiter's client is back", || async {
        server.sessions().len() == 3
    })
    .await;
    server.faults().adopt_new_sessions(false);

    holder.release().await.unwrap();
    let guard = waiting.granted().await;
    assert!(guard.is_held());
    let client = zk.client().await.unwrap();
    let owner = client.check_stat(guard.path()).await.unwrap().unwrap().ephemeral_owner;
    assert_eq!(owner, client.session_id().0);
    assert_ne!(owner, old);
    drop(client);
    guard.release().await.unwrap();
    eventually(PATIENCE, "nothing is left", || async { server.nodes(LOCK).len() <= 1 }).await;
}
