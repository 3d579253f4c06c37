//! Connect strings are read whole before anything is sent.

use std::time::Duration;

use zookeeper_recipes::{ConnectError, ConnectOptions};
use zookeeper_testkit::{Fixture, within};

use crate::support::{LONG, PATIENCE, acquire, lock};

const LOCK: &str = "/lock";

/// Far below the session timeout: a string that is read at once costs no attempt to connect.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn blanks_around_commas_are_harmless() {
    let fixture = Fixture::new("blanks").await;
    let (down, _) = fixture.proxied().await;
    down.refuse().await;
    let (down, up) = (down.addr(), fixture.server().addr());
    let chroot = fixture.chroot();
    for cluster in [
        format!("{down}, {up}{chroot}"),
        format!("{down} ,{up}{chroot}"),
        format!(" {down} , {up} {chroot}"),
        format!("{down},\t{up}{chroot} "),
        format!("{down},\n {up}{chroot}\n"),
    ] {
        let connecting = ConnectOptions::new().session_timeout(LONG).connect(&cluster);
        let zk = within(PATIENCE, format!("{cluster:?}"), connecting).await;
        let zk = zk.unwrap_or_else(|err| panic!("{cluster:?}: {err}"));
        acquire(&lock(&zk, LOCK)).await.release().await.unwrap();
        zk.close().await;
    }
    fixture.assert_no_nodes_left(&[LOCK]).await;
}

#[tokio::test]
async fn what_is_no_host_is_refused_at_once() {
    let malformed = [
        "hello world",
        "hello world:2181",
        "zk1:2181 zk2:2181",
        "zk1:2181;zk2:2181",
        "zk1:2181?backup=zk2:2181,zk3:2181",
        "zookeeper://zk1:2181",
        "zk1:2181,zk2:21 81",
        "zk1:2181:2181",
        "zk1:+2181",
        "zk1:0",
        "zk1,,zk2",
        "user@zk1:2181",
        "zk_1\\zk2:2181",
        "[::1:2181",
        "::1]:2181",
        "zk1:2181/a//b",
        "zk1:2181,zk2:2181/a/../b",
        "zk1:2181/chroot,zk2:2181",
        " ",
        "zk1\u{0}:2181",
    ];
    for cluster in malformed {
        let connecting = ConnectOptions::new().session_timeout(LONG).connect(cluster);
        let error = within(AT_ONCE, format!("{cluster:?} is refused"), connecting).await;
        let error = error.expect_err(cluster);
        assert!(
            matches!(&error, ConnectError::ConnectString { cluster: named, .. } if named == cluster),
            "{cluster:?}: {error:?}"
        );
    }
}

/// Forms that ZooKeeper's own clients take.
#[tokio::test]
async fn addresses_of_both_kinds_are_hosts() {
    let fixture = Fixture::new("addresses").await;
    let (port, chroot) = (fixture.server().addr().port(), fixture.chroot());
    for cluster in [
        format!("localhost:{port}{chroot}"),
        format!("127.0.0.1:{port}{chroot}"),
        format!("[::1]:1,127.0.0.1:{port}{chroot}"),
    ] {
        let connecting = ConnectOptions::new().session_timeout(LONG).connect(&cluster);
        let zk = within(PATIENCE, cluster.clone(), connecting).await;
        zk.unwrap_or_else(|err| panic!("{cluster:?}: {err}")).close().await;
    }
}
