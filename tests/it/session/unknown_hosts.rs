//! needs: `ConnectError::UnknownHost { host, .. }`
//!
//! A host that no resolver knows is told at once and by name, and is harmless beside one that answers.

use std::time::Duration;

use zookeeper_recipes::{ConnectError, ConnectOptions};
use zookeeper_testkit::{Fixture, within};

use crate::support::{LONG, PATIENCE, acquire, lock};

const LOCK: &str = "/lock";

/// Far below the session timeout.
const AT_ONCE: Duration = Duration::from_secs(10);
const UNKNOWN: &str = "no-such-host.invalid";

#[tokio::test]
async fn an_unknown_host_is_told_at_once() {
    for cluster in [
        format!("{UNKNOWN}:2181"),
        format!("{UNKNOWN}:2181,{UNKNOWN}:2182/chroot"),
    ] {
        let connecting = ConnectOptions::new().session_timeout(LONG).connect(&cluster);
        let error = within(AT_ONCE, format!("{cluster} is refused"), connecting)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ConnectError::UnknownHost { host, .. } if host == UNKNOWN),
            "{error:?}"
        );
        assert!(error.to_string().contains(UNKNOWN), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_host_among_others_is_harmless() {
    let fixture = Fixture::new("unknown host").await;
    let (addr, chroot) = (fixture.server().addr(), fixture.chroot());
    let cluster = format!("{UNKNOWN}:2181,{addr}{chroot}");
    let connecting = ConnectOptions::new().session_timeout(LONG).connect(&cluster);
    let zk = within(PATIENCE, "a session", connecting).await.unwrap();
    acquire(&lock(&zk, LOCK)).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[LOCK]).await;
}
