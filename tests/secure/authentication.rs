//! Servers with their own idea of credentials and rights.

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{ConnectError, FairLock};
use zookeeper_testkit::{ServerOptions, within};

use crate::{PATIENCE, attempt, lock_once, options};

#[tokio::test]
async fn where_digest_is_enforced_none_is_refused() {
    let server = ServerOptions::new()
        .config("enforce.auth.enabled", "true")
        .config("enforce.auth.schemes", "digest")
        .start()
        .await;
    let cluster = server.connect_string();
    let case = "enforce.auth by digest, credentials";
    let zk = attempt(case, options().auth("digest", "alice:secret"), &cluster).await;
    lock_once(case, zk.unwrap()).await;
    let case = "enforce.auth by digest, none";
    let error = attempt(case, options(), &cluster).await.unwrap_err();
    assert_eq!(error, ConnectError::AuthFailed, "{case}");
}

/// Nothing is denied, whatever the ACLs say.
#[tokio::test]
async fn where_acls_are_skipped_everybody_may() {
    let server = ServerOptions::new().property("zookeeper.skipACL", "yes").start().await;
    let cluster = server.connect_string();
    let closed = options()
        .auth("digest", "alice:secret")
        .acls(zk::Acls::creator_all().to_vec());
    let ours = attempt("skipACL, owner", closed, &cluster).await.unwrap();
    let guard = FairLock::new(&ours, "/closed/lock").unwrap().acquire().await.unwrap();
    let stranger = attempt("skipACL, stranger", options(), &cluster).await.unwrap();
    let lock = FairLock::new(&stranger, "/closed/lock").unwrap();
    guard.release().await.unwrap();
    let theirs = within(PATIENCE, "a lock", lock.acquire()).await.unwrap();
    theirs.release().await.unwrap();
}
