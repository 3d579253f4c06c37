//! Nodes that vanish, and sessions that expire.

use zookeeper_testkit::{eventually, within};

use super::{DIR, join_reader, join_writer, read, rw, write};
use crate::support::sessions::{assert_expired, expire};
use crate::support::{PATIENCE, granted, session_id, start_each};

/// CUR-307: Curator fails with an index error when its own node has vanished from the list.
#[tokio::test]
async fn cur_307_a_vanished_waiter_joins_again() {
    let (fixture, [one, two]) = start_each("CUR-307").await;
    let writer = write(&rw(&one)).await;
    let reader = join_reader(&fixture, &two, 2).await;
    let next = join_writer(&fixture, &two, 3).await;
    for contender in rw(&one).contenders().await.unwrap().into_iter().skip(1) {
        fixture.raw().delete(&contender.path, None).await.unwrap();
        let gone = || async {
            rw(&one)
                .contenders()
                .await
                .unwrap()
                .iter()
                .all(|other| other.path != contender.path)
        };
        eventually(PATIENCE, "it is gone", gone).await;
        fixture.until_children(DIR, 3).await;
    }
    writer.release().await.unwrap();
    granted(reader).await.release().await.unwrap();
    granted(next).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn expired_waiters_join_again_and_holders_learn() {
    let (fixture, [one, two, three]) = start_each("expiry").await;
    let holder = read(&rw(&one)).await;
    let waiting = join_writer(&fixture, &two, 2).await;
    let behind = join_writer(&fixture, &three, 3).await;
    let before = session_id(&two).await;
    expire(&fixture, &two).await;
    let rejoined = || async {
        let line = rw(&one).contenders().await.unwrap();
        line.len() == 3 && line[2].session_id != before
    };
    eventually(PATIENCE, "it stands at the tail", rejoined).await;

    expire(&fixture, &one).await;
    assert_expired(within(PATIENCE, "told", holder.lost()).await);
    assert!(!holder.is_held());
    granted(behind).await.release().await.unwrap();
    granted(waiting).await.release().await.unwrap();
    drop(holder);
    fixture.assert_no_nodes_left(&[DIR]).await;
}
