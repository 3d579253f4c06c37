//! A session owns at most 786,432 bytes of ephemeral paths, chroot and four bytes each included: the transaction that
//! ends a session names them all, and a server cannot read one back that is larger than its limit (ZOOKEEPER-4306).

use zookeeper_recipes::{ConnectOptions, Coordinator, Error, Group, JoinError, Membership};
use zookeeper_testkit::{Fixture, within};

use crate::support::{PATIENCE, session_id};

const LIMIT: usize = 786_432;
/// So much of it is for nodes that live for a moment.
const UNRESERVED: usize = LIMIT / 16;

/// A coordinator that has one session, and no further ones.
async fn start(name: &str) -> (Fixture, Coordinator) {
    let fixture = Fixture::new(name).await;
    let servers = fixture.connect_string();
    let connecting = ConnectOptions::new().max_sessions(1).connect(&servers);
    let zk = within(PATIENCE, "a session", connecting).await.unwrap();
    (fixture, zk)
}

/// Joins one member after the other, up to so many, until one is refused.
async fn take(zk: &Coordinator, members: usize, padding: usize) -> (Vec<Membership>, Option<JoinError>) {
    let group = Group::new(zk, &format!("/{}", "p".repeat(padding))).unwrap();
    let mut guards = Vec::new();
    for number in 0..members {
        match group.join(&format!("{}{number:06}", "m".repeat(50)), "").await {
            Ok(guard) => guards.push(guard),
            Err(refusal) => return (guards, Some(refusal)),
        }
    }
    (guards, None)
}

async fn owned_bytes(fixture: &Fixture, session: i64) -> usize {
    let ephemerals = fixture.ephemerals().await;
    let of_the_session = ephemerals.iter().filter(|(_, owner)| **owner == session);
    of_the_session
        .map(|(path, _)| fixture.chroot().len() + path.len() + 4)
        .sum()
}

/// Paths of some 800 bytes, so that a thousand are too many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_ephemeral_too_many_is_refused() {
    let (fixture, zk) = start("ephemeral bytes").await;
    let session = session_id(&zk).await;
    let (mut guards, refusal) = take(&zk, 1_100, 700).await;
    let refusal = refusal.expect("they are too many");
    assert!(
        matches!(refusal, JoinError::Error(Error::SessionsFull { .. })),
        "{refusal:?}"
    );
    assert!(refusal.to_string().contains("max_sessions"), "{refusal}");
    let owned = owned_bytes(&fixture, session).await;
    assert!(owned <= LIMIT - UNRESERVED, "{owned} bytes");
    assert!(owned > LIMIT - UNRESERVED - 2_000, "{owned} bytes: refused too early");

    // What is left makes room.
    guards.pop().unwrap().leave().await;
    let (again, refused) = take(&zk, 1, 600).await;
    assert!(refused.is_none(), "there is room again: {refused:?}");
    drop((again, guards));
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}

/// Creates in flight count: all are sent at once, and no more get through than may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn creates_in_flight_count_as_owned() {
    let (fixture, zk) = start("ephemeral bytes at once").await;
    let session = session_id(&zk).await;
    let locks = (0..1_100).map(|number| {
        let group = Group::new(&zk, &format!("/{}", "q".repeat(700))).unwrap();
        async move { group.join(&format!("{}{number:06}", "m".repeat(50)), "").await }
    });
    let taken = within(4 * PATIENCE, "an answer to each", futures::future::join_all(locks)).await;
    let refused = taken.iter().filter(|taken| taken.is_err()).count();
    assert!(refused > 0 && refused < 1_100, "{refused} refused");
    let owned = owned_bytes(&fixture, session).await;
    assert!(owned <= LIMIT, "{owned} bytes");
    drop(taken);
    within(PATIENCE, "closed", zk.close()).await;
    fixture.assert_no_nodes_left(&[]).await;
}
