//! Connecting with what cannot work: an error that says why, within the session timeout.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{ConnectError, ConnectOptions, Error, FencedWriteError, connect};
use zookeeper_testkit::{Fixture, within};

use crate::support::{LONG, PATIENCE, acquire, connect as connect_fixture, create, lock};

const SHORT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_malformed_connect_string_is_shown() {
    for cluster in [
        "",
        ",",
        "/chroot",
        "host:notaport",
        "host:99999",
        "host:-1",
        "host:2181,",
        "host:2181,:2181",
        "host:2181/a//b",
        "host:2181/a/",
        "host:2181/./a",
    ] {
        let error = within(PATIENCE, cluster, connect(cluster)).await.unwrap_err();
        assert!(
            matches!(&error, ConnectError::ConnectString { cluster: named, .. } if named == cluster),
            "{cluster:?}: {error:?}"
        );
        assert!(error.to_string().contains("host:port"), "{error}");
    }
}

async fn unreachable(cluster: &str) {
    let started = Instant::now();
    let connecting = ConnectOptions::new().session_timeout(SHORT).connect(cluster);
    let error = within(PATIENCE, cluster, connecting).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Unreachable { cluster: named, after: SHORT, .. } if named == cluster),
        "{cluster}: {error:?}"
    );
    println!("{cluster}: {error}, after {:?}", started.elapsed());
}

#[tokio::test]
async fn where_nothing_listens_connecting_fails_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    unreachable(&nobody).await;
    unreachable(&format!("{nobody},{nobody}/chroot")).await;
    let unknown = within(PATIENCE, "an error", connect("no-such-host.invalid:2181")).await;
    assert!(
        matches!(&unknown, Err(ConnectError::UnknownHost { host, .. }) if host == "no-such-host.invalid"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_silent_or_senseless_server_is_unreachable() {
    for greeting in [
        None,
        Some(&b""[..]),
        Some(
            b"HTTP/1.1 400 Bad Request

",
        ),
        Some(&[0xff; 64]),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cluster = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                match greeting {
                    Some(greeting) => _ = stream.write_all(greeting).await,
                    None => silent.push(stream),
                }
            }
        });
        unreachable(&cluster).await;
        serving.abort();
    }
}

#[tokio::test]
async fn a_missing_chroot_is_an_error_naming_it() {
    let fixture = Fixture::new("no chroot").await;
    let cluster = format!("{}/not/there", fixture.connect_string());
    let error = within(PATIENCE, "an error", connect(&cluster)).await.unwrap_err();
    assert_eq!(
        error,
        ConnectError::NoChroot {
            cluster: cluster.clone()
        }
    );
    assert!(error.to_string().contains(&cluster), "{error}");
}

#[tokio::test]
async fn a_chroot_removed_later_fails_every_call() {
    let fixture = Fixture::new("chroot removed").await;
    create(&fixture, "/chroot", zk::CreateMode::Persistent).await;
    let zk = connect(&format!("{}/chroot", fixture.connect_string())).await.unwrap();
    fixture.raw().delete("/chroot", None).await.unwrap();
    let error = within(PATIENCE, "an error", lock(&zk, "/a/l").acquire())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Layout { path, reason } if path == "/a/l" && reason.contains("chroot")),
        "{error}"
    );
    create(&fixture, "/chroot", zk::CreateMode::Persistent).await;
    acquire(&lock(&zk, "/a/l")).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[]).await;
}

#[tokio::test]
async fn options_out_of_bounds_are_refused_unsent() {
    let options = [
        ConnectOptions::new().session_timeout(Duration::ZERO),
        ConnectOptions::new().session_timeout(Duration::from_secs(1_000_000)),
        ConnectOptions::new().acls([]),
        ConnectOptions::new().identity(vec![b'x'; 64 * 1024 + 1]),
    ];
    for options in options {
        // Nobody is there.
        let error = within(PATIENCE, "an error", options.connect("127.0.0.1:1"))
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Options { .. }), "{error:?}");
    }
    let fixture = Fixture::new("margin").await;
    let options = ConnectOptions::new().session_timeout(LONG).lease_margin(LONG / 2);
    let error = options.connect(&fixture.connect_string()).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Options { reason } if reason.contains("margin")),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_largest_identity_is_written_and_read_back() {
    let fixture = Fixture::new("large identity").await;
    let identity = vec![b'x'; 64 * 1024];
    let options = ConnectOptions::new().session_timeout(LONG).identity(identity.clone());
    let lock = lock(&options.connect(&fixture.connect_string()).await.unwrap(), "/l");
    let guard = acquire(&lock).await;
    assert_eq!(lock.contenders().await.unwrap()[0].identity, identity);
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// A server cuts the connection at a request that is too large: without a check, again and again.
#[tokio::test]
async fn an_oversized_fenced_write_costs_no_hold() {
    let fixture = Fixture::new("large write").await;
    let zk = connect_fixture(&fixture).await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let mut write = guard.fenced();
    write.add_create("/large", &vec![0; 2 << 20], zk::CreateMode::Persistent);
    let error = within(PATIENCE, "an error", write.commit()).await.unwrap_err();
    assert!(
        matches!(&error, FencedWriteError::Error(Error::TooLarge { path, size, .. }) if path == "/large" && *size > 2 << 20),
        "{error:?}"
    );
    assert!(guard.is_held());
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[test]
fn connecting_needs_no_runtime_of_the_caller() {
    let error = futures::executor::block_on(connect("no host at all")).unwrap_err();
    assert!(matches!(error, ConnectError::ConnectString { .. }), "{error}");
    let refused = ConnectOptions::new().session_timeout(Duration::from_millis(200));
    let error = futures::executor::block_on(refused.connect("127.0.0.1:1")).unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}
