//! Access control: what an ACL refuses is an error that says so, and leaves nothing.

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{ConnectError, ConnectOptions, Coordinator, Error, ReleaseError, TryAcquireError};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::warnings::Warnings;
use crate::support::{LONG, PATIENCE, acquire, connect, connect_here, lock};

const ROOT: (&str, &str) = ("digest", "root:secret");

/// What servers make of [`ROOT`]: the user, and the hash of both.
const ROOT_ID: &str = "root:J1scEM42CKaLPP5+ElgpgGsuONg=";

/// A directory where the user `root` has all rights and everybody else has `rights`.
async fn guarded(fixture: &Fixture, path: &str, rights: zk::Permission) {
    fixture.raw().auth(ROOT.0, ROOT.1.as_bytes()).await.unwrap();
    let root = zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("digest", ROOT_ID));
    let mut acls = vec![root];
    if rights != zk::Permission::NONE {
        acls.push(zk::Acl::new(rights, zk::AuthId::anyone()));
    }
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::new(&acls));
    fixture.raw().create(path, b"", &options).await.unwrap();
}

async fn connect_as(fixture: &Fixture, (scheme, credential): (&str, &str)) -> Coordinator {
    let options = ConnectOptions::new().session_timeout(LONG).auth(scheme, credential);
    within(PATIENCE, "a session", options.connect(&fixture.connect_string()))
        .await
        .unwrap()
}

fn denied(path: &str) -> Error {
    Error::Denied { path: path.to_owned() }
}

#[tokio::test]
async fn a_guarded_directory_opens_to_the_right_credentials() {
    let fixture = Fixture::new("denied").await;
    guarded(&fixture, "/p", zk::Permission::NONE).await;
    let zk = connect(&fixture).await;
    let wrong = connect_as(&fixture, ("digest", "root:wrong")).await;
    for (zk, path) in [(&zk, "/p"), (&zk, "/p/l"), (&zk, "/p/far/l"), (&wrong, "/p")] {
        let lock = lock(zk, path);
        let all = async {
            assert_eq!(lock.acquire().await.unwrap_err(), denied(path));
            assert_eq!(lock.acquire_timeout(LONG).await.unwrap_err(), denied(path).into());
            assert_eq!(
                lock.try_acquire().await.unwrap_err(),
                TryAcquireError::Error(denied(path))
            );
            if path == "/p" {
                assert_eq!(lock.contenders().await.unwrap_err(), denied(path));
            }
        };
        within(PATIENCE, "an error", all).await;
    }
    let right = connect_as(&fixture, ROOT).await;
    acquire(&lock(&right, "/p")).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/p"]).await;
}

#[tokio::test]
async fn where_we_may_only_look_nothing_is_acquired() {
    let fixture = Fixture::new("read only").await;
    guarded(&fixture, "/p", zk::Permission::READ).await;
    let lock = lock(&connect(&fixture).await, "/p");
    assert_eq!(
        within(PATIENCE, "an error", lock.acquire()).await.unwrap_err(),
        denied("/p")
    );
    let tried = within(PATIENCE, "an error", lock.try_acquire()).await;
    assert_eq!(tried.unwrap_err(), TryAcquireError::Error(denied("/p")));
    assert!(lock.contenders().await.unwrap().is_empty());
    fixture.assert_no_nodes_left(&["/p"]).await;
}

#[tokio::test]
async fn without_read_rights_the_node_is_taken_back() {
    let fixture = Fixture::new("write only").await;
    guarded(&fixture, "/p", zk::Permission::CREATE | zk::Permission::DELETE).await;
    let lock = lock(&connect(&fixture).await, "/p");
    for _ in 0..5 {
        assert_eq!(
            within(PATIENCE, "an error", lock.acquire()).await.unwrap_err(),
            denied("/p")
        );
    }
    fixture.assert_no_nodes_left(&["/p"]).await;
}

#[tokio::test]
async fn without_delete_rights_the_session_takes_the_node() {
    let fixture = Fixture::new("no delete").await;
    guarded(&fixture, "/p", zk::Permission::CREATE | zk::Permission::READ).await;
    let warnings = Warnings::capture();
    let zk = connect_here(&fixture.connect_string(), LONG).await;
    let guard = acquire(&lock(&zk, "/p")).await;
    let path = guard.path().to_owned();
    let error = within(PATIENCE, "an error", guard.release()).await.unwrap_err();
    assert_eq!(error, ReleaseError::Error(denied(&path)));
    eventually(PATIENCE, "it is warned of the node that stays", || async {
        warnings
            .about(&path)
            .iter()
            .any(|warning| warning.contains("until their session ends"))
    })
    .await;
    fixture.until_children("/p", 0).await;
    let refused = within(PATIENCE, "an error", lock(&zk, "/p").acquire()).await;
    assert_eq!(refused.unwrap_err(), denied("/p"));
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&["/p"]).await;
}

#[tokio::test]
async fn nodes_have_the_acl_of_the_options() {
    let fixture = Fixture::new("own acl").await;
    fixture.raw().auth(ROOT.0, ROOT.1.as_bytes()).await.unwrap();
    let options = ConnectOptions::new()
        .session_timeout(LONG)
        .auth(ROOT.0, ROOT.1)
        .acls(zk::Acls::creator_all().to_vec());
    let ours = options.connect(&fixture.connect_string()).await.unwrap();
    let guard = acquire(&lock(&ours, "/mine/l")).await;
    for path in ["/mine", "/mine/l", guard.path()] {
        let (acls, _) = fixture.raw().get_acl(path).await.unwrap();
        let ids: Vec<_> = acls.iter().map(|acl| (acl.permission(), acl.id())).collect();
        assert_eq!(ids, [(zk::Permission::ALL, ROOT_ID)], "{path}");
    }
    let stranger = connect(&fixture).await;
    let failed = within(PATIENCE, "an error", lock(&stranger, "/mine/l").acquire()).await;
    assert_eq!(failed.unwrap_err(), denied("/mine/l"));
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/mine/l"]).await;
}

#[tokio::test]
async fn an_unknown_scheme_is_refused_at_once() {
    let fixture = Fixture::new("auth").await;
    let options = ConnectOptions::new().session_timeout(LONG).auth("no-such-scheme", "x");
    let error = within(PATIENCE, "an error", options.connect(&fixture.connect_string())).await;
    let error = error.unwrap_err();
    assert_eq!(error, ConnectError::AuthFailed);
}
