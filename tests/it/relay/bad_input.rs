//! What is no relay, what is removed, and what is too large.

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{CompleteError, Error, Relay, ReleaseError};
use zookeeper_testkit::within;

use super::{LINE, RESULT, TURN, complete, finish, join, relay, start_relays, told};
use crate::support::{PATIENCE, create, session_id, start};

/// One that has begun anew while it was removed stays whole: at no moment is there a record without its result.
#[tokio::test]
async fn a_partial_relay_is_removed_as_a_whole() {
    let (fixture, [ours, others]) = start_relays("whole").await;
    for gone in [&[][..], &[TURN], &[RESULT], &[TURN, RESULT]] {
        complete(join(&ours).await, "a").await;
        for path in gone {
            fixture.raw().delete(path, None).await.unwrap();
        }
        others.remove().await.unwrap();
        for path in [TURN, RESULT] {
            assert!(fixture.raw().check_stat(path).await.unwrap().is_none(), "{gone:?}");
        }
        others.remove().await.unwrap();
    }
    for step in 0..20 {
        // At any moment of the other one's turn.
        let (turn, removed) = tokio::join!(join(&ours), others.remove());
        removed.unwrap();
        match within(PATIENCE, "an outcome", turn.complete("a")).await {
            Ok(()) => {}
            Err(error) => assert!(
                matches!(error, CompleteError::Error(Error::Layout { .. })),
                "{step}: {error}"
            ),
        }
        let turn = join(&ours).await;
        assert_eq!(turn.previous().is_some(), turn.step() > 0);
        drop(turn);
    }
    finish(&fixture, &ours).await;
}

#[tokio::test]
async fn errors_name_the_path() {
    let (fixture, zk) = start("bad").await;
    for path in ["", "a", "/", "/a/", "/a//b", "/🔒"] {
        let refused = Relay::new(&zk, path).unwrap_err();
        assert!(matches!(refused, Error::InvalidPath { .. }), "{path:?}: {refused}");
    }
    let relay = relay(&zk);
    complete(join(&relay).await, "a").await;

    let turn = join(&relay).await;
    let session = session_id(&zk).await;
    let refused = turn.complete(vec![0; 2_000_000]).await;
    assert!(
        matches!(&refused, Err(CompleteError::Error(Error::TooLarge { path, .. })) if path == RESULT),
        "{refused:?}"
    );
    assert_eq!(session_id(&zk).await, session, "no connection was cut for it");
    let turn = join(&relay).await;
    assert_eq!(told(&turn), (Some(&b"a"[..]), true, 1));
    turn.complete(vec![7; 1_000_000]).await.unwrap();

    // Somebody else writes into it: no turn that is on is completed, and none begins.
    let turn = join(&relay).await;
    fixture.raw().set_data(TURN, b"127.0.0.1", None).await.unwrap();
    let refused = turn.complete("b").await;
    assert!(
        matches!(&refused, Err(CompleteError::Error(Error::Layout { path, .. })) if path == TURN),
        "{refused:?}"
    );
    fixture.until_children(LINE, 0).await;
    for refused in [relay.join().await.err(), relay.latest().await.err()] {
        assert!(
            matches!(&refused, Some(Error::Layout { path, .. }) if path == TURN),
            "{refused:?}"
        );
    }
    fixture.until_children(LINE, 0).await;

    // Removed, it begins anew; a turn that was on is not completed.
    relay.remove().await.unwrap();
    let turn = join(&relay).await;
    assert_eq!(told(&turn), (None, false, 0));
    relay.remove().await.unwrap();
    let refused = turn.complete("c").await;
    assert!(
        matches!(refused, Err(CompleteError::Error(Error::Layout { .. }))),
        "{refused:?}"
    );
    fixture.until_children(LINE, 0).await;
    create(&fixture, RESULT, zk::CreateMode::Persistent).await;
    let turn = join(&relay).await;
    assert_eq!(told(&turn), (None, false, 0), "without a record, a result is nobody's");
    let again = turn.release().await;
    assert_eq!(again, Ok::<(), ReleaseError>(()));
    finish(&fixture, &relay).await;
}
