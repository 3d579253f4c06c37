//! A writer that becomes a reader.

use zookeeper_recipes::{DowngradeError, LossReason, Lost};
use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use super::{DIR, assert_waits, join_reader, join_writer, name, rw, write};
use crate::support::sessions::expire;
use crate::support::{PATIENCE, connect, connect_to, granted, session_id, start, start_each, start_proxied};

/// CUR-621: the reader of a downgraded writer stood behind a writer that waited, which then was granted beside it.
#[tokio::test]
async fn cur_621_a_downgraded_writer_keeps_its_place() {
    let (fixture, [one, two]) = start_each("CUR-621").await;
    let writer = write(&rw(&one)).await;
    let (token, path, signal) = (writer.token(), writer.path().to_owned(), writer.lost());
    let next = join_writer(&fixture, &two, 2).await;
    let later = join_reader(&fixture, &one, 3).await;

    let reader = within(PATIENCE, "downgraded", writer.downgrade()).await.unwrap();
    assert!(reader.is_held() && reader.lost().reason().is_none());
    assert_eq!(signal.await, LossReason::Released);
    let number = path.split("__WRIT__").nth(1).unwrap();
    assert!(
        reader.path().ends_with(&format!("-__READ__{number}")),
        "{path}: {}",
        reader.path()
    );
    assert_eq!(reader.token(), token, "no newer than those of the writers that wait");
    let stat = fixture.tree().await[reader.path()];
    assert_eq!(stat.ephemeral_owner, session_id(&one).await);
    assert_waits(&fixture, &two, &next).await;
    assert_waits(&fixture, &one, &later).await;
    reader.release().await.unwrap();
    let next = granted(next).await;
    assert!(next.token() > token);
    assert_waits(&fixture, &one, &later).await;
    next.release().await.unwrap();
    granted(later).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn a_downgrade_frees_the_readers_behind() {
    let (fixture, [one, two]) = start_each("downgrade frees").await;
    let writer = write(&rw(&one)).await;
    let waiting = [
        join_reader(&fixture, &two, 2).await,
        join_reader(&fixture, &two, 3).await,
    ];
    let reader = writer.downgrade().await.unwrap();
    for waiting in waiting {
        let waiting = granted(waiting).await;
        assert!(waiting.is_held() && reader.is_held());
        waiting.release().await.unwrap();
    }
    let next = join_writer(&fixture, &two, 2).await;
    assert_waits(&fixture, &two, &next).await;
    reader.release().await.unwrap();
    granted(next).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// The transaction is applied and its reply lost, or neither: the reader is there once, and nothing else.
#[tokio::test]
async fn a_downgrade_whose_reply_is_lost_is_resolved() {
    let fixture = Fixture::new("downgrade, lost reply").await;
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        let (proxy, servers) = fixture.proxied().await;
        let zk = connect_to(&servers, PATIENCE).await;
        let other = connect(&fixture).await;
        let writer = write(&rw(&zk)).await;
        let next = join_writer(&fixture, &other, 2).await;
        // Not a heartbeat: those have no path in the lock's directory.
        let fault = proxy.inject(When::request(Op::Multi).path("__READ__"), injection);
        let reader = within(PATIENCE, "downgraded", writer.downgrade()).await.unwrap();
        fault.fired().await;
        assert!(reader.is_held());
        let children = fixture.children(DIR).await;
        assert_eq!(children.len(), 2, "{injection:?}: {children:?}");
        assert!(children.contains(&name(reader.path()).to_owned()));
        assert_waits(&fixture, &other, &next).await;
        reader.release().await.unwrap();
        granted(next).await.release().await.unwrap();
        fixture.assert_no_nodes_left(&[DIR]).await;
    }
}

#[tokio::test]
async fn downgrading_a_lost_lock_is_an_error() {
    let (fixture, zk) = start("downgrade, lost").await;
    let writer = write(&rw(&zk)).await;
    fixture.raw().delete(writer.path(), None).await.unwrap();
    let reason = LossReason::NodeRemoved;
    let error = writer.downgrade().await.unwrap_err();
    assert_eq!(error, DowngradeError::Lost(Lost { reason }));

    let writer = write(&rw(&zk)).await;
    expire(&fixture, &zk).await;
    let error = within(PATIENCE, "told", writer.downgrade()).await.unwrap_err();
    assert!(matches!(error, DowngradeError::Lost(_)), "{error:?}");
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn a_downgraded_reader_learns_of_its_removal() {
    let (fixture, zk) = start("downgraded, removed").await;
    let reader = write(&rw(&zk)).await.downgrade().await.unwrap();
    fixture.raw().delete(reader.path(), None).await.unwrap();
    let reason = within(PATIENCE, "told", reader.lost()).await;
    assert_eq!(reason, LossReason::NodeRemoved);
    drop(reader);
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// Half a transaction would show as a moment without any node, or as two: it is one request.
#[tokio::test]
async fn a_downgrade_is_one_transaction() {
    let (fixture, proxy, zk) = start_proxied("one transaction", PATIENCE).await;
    let writer = write(&rw(&zk)).await;
    proxy.reset_counts();
    let reader = writer.downgrade().await.unwrap();
    let counts = proxy.requests().without_heartbeats();
    let writes = counts.matching(|request| request.op == Op::Multi || request.op == Op::Delete);
    assert_eq!(writes.total(), 1, "{counts}");
    let inner = &writes.requests()[0].inner;
    assert!(
        inner.len() == 2 && inner[0].is_create() && inner[1] == Op::Delete,
        "{counts}"
    );
    reader.release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}
