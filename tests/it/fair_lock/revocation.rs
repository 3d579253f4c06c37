//! Asking a holder to make way.

use std::sync::Arc;

use bytes::Bytes;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Coordinator, Error, LossReason, Lost, MultiLock, RunError, RwLock};
use zookeeper_testkit::{Fixture, Injection, Op, When, within};

use crate::support::asking::{CURATORS, asked, by, connect_as};
use crate::support::cost::{Counted, make_dir};
use crate::support::{LONG, PATIENCE, acquire, connect, connect_to, granted, join_line, lock, start, start_each};

#[tokio::test]
async fn the_holder_decides_on_a_request_itself() {
    let fixture = Fixture::new("asked").await;
    let (zk, other) = (
        connect_as(&fixture, "the holder").await,
        connect_as(&fixture, "the asker").await,
    );
    let guard = acquire(&lock(&zk, "/l")).await;
    let waiter = join_line(&fixture, &lock(&other, "/l"), 2).await;
    let line = lock(&other, "/l").contenders().await.unwrap();
    let looking = async {
        let first = asked(&guard).await;
        assert_eq!(first, by("the asker", "a payment of the first class"));
    };
    let (_, told) = tokio::join!(looking, async {
        lock(&other, "/l")
            .request_revocation(&line[0], "a payment of the first class")
            .await
    });
    assert_eq!(told, Ok(true));
    // Nothing happens by itself, and who looks again sees it again.
    assert!(guard.is_held() && !waiter.is_finished());
    assert_eq!(asked(&guard).await, by("the asker", "a payment of the first class"));
    let after = lock(&other, "/l").contenders().await.unwrap();
    assert_eq!(
        after[0].identity, "the holder",
        "the holder is still to be known by its identity"
    );

    guard.release().await.unwrap();
    granted(waiter).await.release().await.unwrap();
    let told = lock(&other, "/l").request_revocation(&line[0], "too late").await;
    assert_eq!(told, Ok(false), "it has left");
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_later_request_replaces_an_earlier_one() {
    let fixture = Fixture::new("replaced").await;
    let (zk, other) = (
        connect_as(&fixture, "the holder").await,
        connect_as(&fixture, "the asker").await,
    );
    let guard = acquire(&lock(&zk, "/l")).await;
    let line = lock(&other, "/l").contenders().await.unwrap();
    for reason in ["one", "two", "two", ""] {
        lock(&other, "/l").request_revocation(&line[0], reason).await.unwrap();
    }
    let unchanged = lock(&other, "/l").contenders().await.unwrap();
    assert_eq!(unchanged[0].identity, "the holder");
    let who = Some(Bytes::from_static(b"the asker"));
    zookeeper_testkit::eventually(PATIENCE, "the last one is seen", || async {
        asked(&guard).await == (who.clone(), None)
    })
    .await;
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// What Curator's `Revoker.attemptRevoke` writes.
#[tokio::test]
async fn curators_request_is_understood() {
    let (fixture, zk) = start("from Curator").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    fixture.raw().set_data(guard.path(), CURATORS, None).await.unwrap();
    assert_eq!(asked(&guard).await, (None, None));
    assert!(guard.is_held());
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// Curator compares the whole data with `__REVOKE__`.
#[tokio::test]
async fn a_holder_of_curator_is_asked_its_way() {
    let (fixture, zk) = start("to Curator").await;
    acquire(&lock(&zk, "/l")).await.release().await.unwrap();
    let options = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_all());
    let prefix = "/l/_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-lock-";
    let (_, sequence) = fixture.raw().create(prefix, b"127.0.0.1", &options).await.unwrap();
    let path = format!("{prefix}{sequence}");
    let line = lock(&zk, "/l").contenders().await.unwrap();
    assert_eq!((&*line[0].path, &*line[0].identity), (&*path, &b"127.0.0.1"[..]));
    let told = lock(&zk, "/l")
        .request_revocation(&line[0], "why Curator cannot hear")
        .await;
    assert_eq!(told, Ok(true));
    assert_eq!(fixture.raw().get_data(&path).await.unwrap().0, CURATORS);
    fixture.raw().delete(&path, None).await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_request_before_the_look_is_not_missed() {
    let fixture = Fixture::new("before").await;
    let (zk, other) = (connect(&fixture).await, connect_as(&fixture, "the asker").await);
    let first = acquire(&lock(&other, "/l")).await;
    let waiter = join_line(&fixture, &lock(&zk, "/l"), 2).await;
    let line = lock(&other, "/l").contenders().await.unwrap();
    lock(&other, "/l")
        .request_revocation(&line[1], "asked in line")
        .await
        .unwrap();
    first.release().await.unwrap();
    let guard = granted(waiter).await;
    assert_eq!(asked(&guard).await, by("the asker", "asked in line"));
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_request_during_a_cut_is_not_missed() {
    let fixture = Fixture::new("away").await;
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (
        connect_to(&servers, LONG).await,
        connect_as(&fixture, "the asker").await,
    );
    let guard = acquire(&lock(&zk, "/l")).await;
    proxy.refuse().await;
    let line = lock(&other, "/l").contenders().await.unwrap();
    lock(&other, "/l").request_revocation(&line[0], "now").await.unwrap();
    proxy.accept().await;
    assert_eq!(asked(&guard).await, by("the asker", "now"));
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn other_data_in_the_node_is_no_request() {
    let (fixture, zk) = start("other data").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let looking = guard.revocation();
    let asking = async {
        for data in [&b"__REVOKE"[..], b"", b"__REVOKE__D", b"hello"] {
            fixture.raw().set_data(guard.path(), data, None).await.unwrap();
        }
        // All of it has been seen when the holder has had an answer on a read of its own after that.
        zk.client().await.unwrap().get_data(guard.path()).await.unwrap();
        fixture.raw().delete(guard.path(), None).await.unwrap();
    };
    let (revocation, ()) = tokio::join!(within(PATIENCE, "the end", looking), asking);
    let reason = LossReason::NodeRemoved;
    assert_eq!(revocation, Err(Lost { reason }));
    drop(guard);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_request_whose_reply_is_lost_is_resolved() {
    let fixture = Fixture::new("lost reply").await;
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        let (proxy, servers) = fixture.proxied().await;
        let (zk, other) = (connect(&fixture).await, connect_to(&servers, LONG).await);
        let guard = acquire(&lock(&zk, "/l")).await;
        let line = lock(&other, "/l").contenders().await.unwrap();
        let fault = proxy.inject(When::request(Op::SetData), injection);
        let told = within(PATIENCE, "told", async {
            lock(&other, "/l").request_revocation(&line[0], "once").await
        });
        assert_eq!(told.await, Ok(true));
        fault.fired().await;
        assert_eq!(asked(&guard).await.1.as_deref(), Some("once"));
        let (_, stat) = fixture.raw().get_data(guard.path()).await.unwrap();
        assert_eq!(stat.version, 1, "{injection:?}: written once");
        guard.release().await.unwrap();
        fixture.assert_no_nodes_left(&["/l"]).await;
    }
}

#[tokio::test]
async fn readers_writers_and_multi_locks_are_asked_too() {
    let fixture = Fixture::new("others").await;
    let (zk, other) = (connect(&fixture).await, connect_as(&fixture, "the asker").await);
    let rw = |zk: &Coordinator| RwLock::new(zk, "/rw").unwrap();
    let readers = [rw(&zk).read().await.unwrap(), rw(&zk).read().await.unwrap()];
    for holder in rw(&other).contenders().await.unwrap() {
        assert_eq!(rw(&other).request_revocation(&holder, "a write is due").await, Ok(true));
    }
    for reader in readers {
        assert_eq!(asked(&reader).await, by("the asker", "a write is due"));
        reader.release().await.unwrap();
    }
    let writer = rw(&zk).write().await.unwrap();
    let line = rw(&other).contenders().await.unwrap();
    rw(&other).request_revocation(&line[0], "reads are due").await.unwrap();
    assert_eq!(asked(&writer).await, by("the asker", "reads are due"));
    writer.downgrade().await.unwrap().release().await.unwrap();

    let both = MultiLock::new(&zk, ["/l", "/m"]).unwrap().acquire().await.unwrap();
    let line = lock(&other, "/m").contenders().await.unwrap();
    lock(&other, "/m")
        .request_revocation(&line[0], "one of them")
        .await
        .unwrap();
    assert_eq!(asked(&both).await, by("the asker", "one of them"));
    both.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/rw", "/l", "/m"]).await;
}

/// One watch is set again, as for any change of the node; only who looks reads.
#[tokio::test]
async fn a_request_keeps_to_its_budget() {
    let fixture = Fixture::new("cost").await;
    make_dir(&fixture, "/l").await;
    let (holder, asker) = (Counted::connect(&fixture).await, Counted::connect(&fixture).await);
    let guard = acquire(&lock(&holder.zk, "/l")).await;
    let line = lock(&asker.zk, "/l").contenders().await.unwrap();
    holder.requests(3).await;
    asker.requests(2).await;

    lock(&asker.zk, "/l")
        .request_revocation(&line[0], "cost")
        .await
        .unwrap();
    let counts = asker.requests(2).await;
    assert_eq!(
        (counts.of(Op::GetData), counts.of(Op::SetData), counts.total()),
        (1, 1, 2),
        "{counts}"
    );
    let counts = holder.requests(1).await;
    assert_eq!((counts.of(Op::Exists), counts.total()), (1, 1), "{counts}");
    asked(&guard).await;
    let counts = holder.requests(1).await;
    assert_eq!((counts.of(Op::GetData), counts.total()), (1, 1), "{counts}");
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn revocable_work_ends_on_request_and_releases() {
    let (fixture, [zk, other]) = start_each("revocable").await;
    let (started, running) = tokio::sync::oneshot::channel();
    let dropped = Arc::new(());
    let work = tokio::spawn({
        let (lock, held) = (lock(&zk, "/l"), Arc::clone(&dropped));
        async move {
            let work = |_| async move {
                let _held = held;
                started.send(()).unwrap();
                std::future::pending::<()>().await;
            };
            lock.run_revocable(work).await
        }
    });
    within(PATIENCE, "it runs", running).await.unwrap();
    let waiter = join_line(&fixture, &lock(&other, "/l"), 2).await;
    let line = lock(&other, "/l").contenders().await.unwrap();
    lock(&other, "/l").request_revocation(&line[0], "now").await.unwrap();
    let outcome = within(PATIENCE, "it makes way", work).await.unwrap();
    let reason = LossReason::Revoked;
    assert_eq!(outcome, Err(RunError::Lost(Lost { reason })));
    assert_eq!(Arc::strong_count(&dropped), 1, "the work is gone");
    granted(waiter).await.release().await.unwrap();

    let done = lock(&zk, "/l")
        .run_revocable(|token| async move { token })
        .await
        .unwrap();
    assert!(done > line[0].token);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn asking_without_write_rights_is_an_error() {
    let (fixture, zk) = start("denied").await;
    acquire(&lock(&zk, "/l")).await.release().await.unwrap();
    let options = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_read());
    let (_, sequence) = fixture.raw().create("/l/lock-", b"x", &options).await.unwrap();
    let path = format!("/l/lock-{sequence}");
    let line = lock(&zk, "/l").contenders().await.unwrap();
    let told = lock(&zk, "/l").request_revocation(&line[0], "please").await;
    assert_eq!(told, Err(Error::Denied { path: path.clone() }));
    fixture.raw().delete(&path, None).await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}
