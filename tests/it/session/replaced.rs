//! A server that puts another session in the place of ours on a reconnect and does not say so.

use std::time::Duration;

use zookeeper_embedded::Op as EmbeddedOp;
use zookeeper_recipes::{LossReason, SharedCounter, SharedCounterError};
use zookeeper_testkit::{Fixture, Injection, Op, When, eventually, within};

use crate::support::cost::make_dir;
use crate::support::{
    LONG, PATIENCE, acquire, connect, connect_to, faults, granted, join_line, lock, loss, session_id,
};

#[tokio::test]
async fn a_holder_learns_of_its_replaced_session() {
    let fixture = Fixture::with_embedded_server("replaced holder").await;
    let timeout = Duration::from_secs(4);
    let zk = connect_to(&fixture.connect_string(), timeout).await;
    let other = connect(&fixture).await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let waiter = join_line(&fixture, &lock(&other, "/l"), 2).await;

    faults(&fixture).adopt_new_sessions(true);
    faults(&fixture).cut(session_id(&zk).await);
    let reason = loss(&guard).await;
    assert_eq!(reason, LossReason::SessionExpired);
    assert!(!guard.is_held());
    faults(&fixture).adopt_new_sessions(false);

    // The next is granted, and the coordinator goes on in a session that is its own.
    let next = granted(waiter).await;
    let ours = join_line(&fixture, &lock(&zk, "/l"), 2).await;
    next.release().await.unwrap();
    granted(ours).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_waiter_joins_again_in_another_session() {
    // Whether the holder leaves before or after the replaced session has expired.
    for leaves_at_once in [true, false] {
        let fixture = Fixture::with_embedded_server("replaced waiter").await;
        let zk = connect_to(&fixture.connect_string(), Duration::from_secs(2)).await;
        let holder = acquire(&lock(&connect(&fixture).await, "/l")).await;
        let waiter = join_line(&fixture, &lock(&zk, "/l"), 2).await;
        let before = session_id(&zk).await;
        let place = fixture
            .ephemerals()
            .await
            .into_iter()
            .find(|(_, owner)| *owner == before)
            .unwrap()
            .0;

        faults(&fixture).adopt_new_sessions(true);
        faults(&fixture).cut(before);
        let server = fixture.server().embedded().unwrap();
        eventually(PATIENCE, "it is back, in another session", || async {
            server.requests().op(EmbeddedOp::Connect).session(before).len() == 1
        })
        .await;
        faults(&fixture).adopt_new_sessions(false);
        if !leaves_at_once {
            eventually(PATIENCE, "it joined again", || async {
                let nodes = fixture.ephemerals().await;
                nodes.len() == 2 && !nodes.contains_key(&place)
            })
            .await;
        }
        assert!(!waiter.is_finished());
        holder.release().await.unwrap();
        let guard = granted(waiter).await;
        assert_ne!(
            guard.path(),
            place,
            "the place of a session that is not ours is not ours"
        );
        assert!(fixture.ephemerals().await[guard.path()] != before);
        guard.release().await.unwrap();
        fixture.assert_no_nodes_left(&["/l"]).await;
    }
}

/// What tells that a write was applied is gone with the session in which it was sent.
#[tokio::test]
async fn an_addition_before_the_replacement_counts_once() {
    for (number, injection) in [(1, Injection::LoseReply), (0, Injection::CutBefore)] {
        for is_there in [true, false] {
            let fixture = Fixture::with_embedded_server("replaced counter").await;
            make_dir(&fixture, "/counts").await;
            let (proxy, servers) = fixture.proxied().await;
            let zk = connect_to(&servers, LONG).await;
            let counter = SharedCounter::new(&zk, "/counts/a").unwrap();
            if is_there {
                counter.set(0).await.unwrap();
            }
            let session = zk.client().await.unwrap().session().clone();
            let before = session_id(&zk).await;
            let fault = proxy.inject(When::request(Op::Multi).path("/counts/a"), injection);
            let replace = async {
                fault.fired().await;
                proxy.refuse().await;
                fixture.expire(&session).await;
                faults(&fixture).adopt_new_sessions(true);
                proxy.accept().await;
            };
            let added = async { tokio::join!(counter.fetch_add(1), replace).0 };
            let added = within(PATIENCE, "an answer", added).await;
            // The next session finds the counter changed, by us or by somebody else; or as it was.
            let expected = match number {
                1 => Err(SharedCounterError::Indeterminate),
                _ => Ok(0),
            };
            assert_eq!(added, expected, "{injection:?}, {is_there}");
            faults(&fixture).adopt_new_sessions(false);
            let other = SharedCounter::new(&connect(&fixture).await, "/counts/a").unwrap();
            assert_eq!(other.get().await.unwrap(), 1, "{injection:?}, {is_there}");
            assert_ne!(session_id(&zk).await, before, "that session is given up");
            fixture.assert_no_nodes_left(&["/counts/a"]).await;
        }
    }
}
