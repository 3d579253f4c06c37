//! What a guard is good for: fencing, work that ends with the loss, and a hold that needs no other handle.

use std::future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use zookeeper_recipes::zookeeper_client::{self as zk, MultiWriteResult};
use zookeeper_recipes::{FencedWriteError, LossReason, Lost, ReleaseError, RunError, TryAcquireError};
use zookeeper_testkit::{Fixture, within};

use crate::support::{PATIENCE, acquire, connect, connect_to, faults, lock, session_id, start, start_each};

const PERSISTENT: zk::CreateMode = zk::CreateMode::Persistent;

#[tokio::test]
async fn a_guard_outlives_all_other_handles() {
    let fixture = Fixture::new("last handle").await;
    let timeout = Duration::from_secs(2);
    let zk = connect_to(&fixture.connect_string(), timeout).await;
    let guard = acquire(&lock(&zk, "/l")).await;
    drop(zk);

    // Held for longer than the session would last if nobody looked after it.
    let held = guard.run_until_lost(tokio::time::sleep(2 * timeout)).await;
    assert_eq!(held, Ok(()));
    let mut write = guard.fenced();
    write.add_create("/written", b"", PERSISTENT);
    write.commit().await.unwrap();
    guard.release().await.unwrap();
    assert!(exists(&fixture, "/written").await);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn run_until_lost_prefers_the_loss() {
    let (fixture, zk) = start("biased").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    assert_eq!(guard.run_until_lost(future::ready(7)).await, Ok(7));
    let lost = guard.lost();
    fixture.raw().delete(guard.path(), None).await.unwrap();
    within(PATIENCE, "the loss is noticed", lost).await;
    let reason = LossReason::NodeRemoved;
    assert_eq!(guard.run_until_lost(future::ready(7)).await, Err(Lost { reason }));
    drop(guard);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

async fn exists(fixture: &Fixture, path: &str) -> bool {
    fixture.raw().check_stat(path).await.unwrap().is_some()
}

#[tokio::test]
async fn fenced_writes_commit_as_a_whole_while_held() {
    let (fixture, zk) = start("fenced").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let mut write = guard.fenced();
    write
        .add_create("/a", b"one", PERSISTENT)
        .add_create("/b", b"", PERSISTENT)
        .add_set_data("/a", b"two", Some(0))
        .add_check_version("/a", 1)
        .add_delete("/b", None);
    let results = write.commit().await.unwrap();
    assert!(
        matches!(
            &results[..],
            [
                MultiWriteResult::Create { .. },
                MultiWriteResult::Create { .. },
                MultiWriteResult::SetData { .. },
                MultiWriteResult::Check,
                MultiWriteResult::Delete
            ]
        ),
        "{results:?}"
    );
    assert_eq!(fixture.raw().get_data("/a").await.unwrap().0, b"two");

    let mut write = guard.fenced();
    write
        .add_create("/c", b"", PERSISTENT)
        .add_set_data("/a", b"three", Some(0));
    let refused = write.commit().await.unwrap_err();
    let source = zk::Error::BadVersion;
    assert_eq!(refused, FencedWriteError::Refused { index: 1, source });
    assert_eq!(
        fixture.children("/").await,
        ["a", "l"],
        "nothing of a refused write is written"
    );
    assert!(guard.is_held());
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn fenced_writes_are_refused_after_the_loss() {
    let (fixture, zk) = start("fenced late").await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let reason = LossReason::NodeRemoved;
    fixture.raw().delete(guard.path(), None).await.unwrap();
    // At once, when the guard may not know yet, and later, when it does.
    for _ in 0..2 {
        let mut write = guard.fenced();
        write.add_create("/late", b"", PERSISTENT);
        assert_eq!(
            write.commit().await.unwrap_err(),
            FencedWriteError::Lost(Lost { reason })
        );
        within(PATIENCE, "the loss is noticed", guard.lost()).await;
    }
    assert!(!exists(&fixture, "/late").await);
    assert_eq!(guard.release().await.unwrap_err(), ReleaseError::Lost(Lost { reason }));
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// The ensemble decides, not the guard: here the guard cannot have noticed the loss.
#[tokio::test]
async fn fenced_writes_of_a_deceived_guard_are_refused() {
    let fixture = Fixture::with_embedded_server("fenced unaware").await;
    let zk = connect(&fixture).await;
    let session = session_id(&zk).await;
    let late = faults(&fixture).delay_watch_events(session, Duration::from_secs(1));
    // A machine may be so slow that the event is there before the write; then once more.
    let refused = loop {
        let guard = acquire(&lock(&zk, "/l")).await;
        // Behind the watch on the own node, which is set beside the acquire.
        zk.client().await.unwrap().check_stat("/").await.unwrap();
        fixture.raw().delete(guard.path(), None).await.unwrap();
        let mut write = guard.fenced();
        write.add_create("/late", b"", PERSISTENT);
        if guard.is_held() {
            let refused = write.commit().await.unwrap_err();
            assert!(!guard.is_held());
            break refused;
        }
    };
    let reason = LossReason::NodeRemoved;
    assert_eq!(refused, FencedWriteError::Lost(Lost { reason }));
    assert!(!exists(&fixture, "/late").await);
    late.off();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn run_returns_the_output_and_releases() {
    let (fixture, [zk, other]) = start_each("run").await;
    let (mine, theirs) = (lock(&zk, "/l"), lock(&other, "/l"));
    let work = mine.run(|token| async move {
        let contended = theirs.try_acquire().await.unwrap_err();
        (token, contended, theirs.contenders().await.unwrap())
    });
    let (token, contended, contenders) = within(PATIENCE, "the work is done", work).await.unwrap();
    assert_eq!(contended, TryAcquireError::Contended);
    assert_eq!(
        contenders.iter().map(|c| (c.token, c.is_holder)).collect::<Vec<_>>(),
        [(token, true)]
    );
    assert!(
        fixture.children("/l").await.is_empty(),
        "run returns when the lock is released"
    );
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// Looks, when it is dropped, whether the node of the lock is still there.
struct Work {
    server: Arc<Fixture>,
    dir: &'static str,
    dropped_with_node: Arc<Mutex<Option<bool>>>,
}

impl Drop for Work {
    fn drop(&mut self) {
        let server = self.server.server().embedded().expect("it is embedded");
        let dir = format!("{}{}", self.server.chroot(), self.dir);
        let nodes = server.nodes(&dir);
        *self.dropped_with_node.lock().unwrap() = Some(nodes.iter().any(|node| *node != dir));
    }
}

/// Whatever ends `run`, the work is done or dropped before another contender can have the lock.
#[tokio::test]
async fn run_drops_its_work_before_its_node() {
    let fixture = Arc::new(Fixture::with_embedded_server("run drops first").await);
    let zk = connect_to(&fixture.connect_string(), Duration::from_secs(2)).await;
    let lock = lock(&zk, "/l");
    let dropped = Arc::new(Mutex::new(None));
    let work = || Work {
        server: Arc::clone(&fixture),
        dir: "/l",
        dropped_with_node: Arc::clone(&dropped),
    };

    let done = work();
    lock.run(|_| async move { drop(done) }).await.unwrap();
    assert_eq!(dropped.lock().unwrap().take(), Some(true), "done");

    let (cancelled, started) = (work(), Arc::new(tokio::sync::Notify::new()));
    let running = lock.run(|_| async {
        let _work = cancelled;
        started.notify_one();
        future::pending::<()>().await;
    });
    tokio::select! {
        result = running => panic!("the work never ends, but {result:?}"),
        () = started.notified() => {}
    }
    assert_eq!(dropped.lock().unwrap().take(), Some(true), "cancelled");
    fixture.until_children("/l", 0).await;

    // A loss while the node is still there: the server is silent, and the lease lapses.
    let (lost, frozen) = (work(), Arc::clone(&fixture));
    let running = lock.run(|_| async move {
        let _work = lost;
        frozen.server().freeze().await;
        future::pending::<()>().await;
    });
    let result = within(PATIENCE, "the lease lapses", running).await;
    let reason = LossReason::LeaseLapsed;
    assert_eq!(result.unwrap_err(), RunError::Lost(Lost { reason }));
    assert_eq!(dropped.lock().unwrap().take(), Some(true), "lost");
    fixture.server().thaw().await;
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn run_drops_the_work_at_the_loss() {
    let (fixture, zk) = start("run lost").await;
    let lock = lock(&zk, "/l");
    let (dropped, is_dropped) = tokio::sync::oneshot::channel::<()>();
    let raw = fixture.raw().clone();
    let observer = lock.clone();
    let running = lock.run(|_| async move {
        let _dropped = dropped;
        let node = observer.contenders().await.unwrap().remove(0).path;
        raw.delete(&node, None).await.unwrap();
        future::pending::<()>().await;
    });
    let reason = LossReason::NodeRemoved;
    let result = within(PATIENCE, "the loss ends run", running).await;
    assert_eq!(result.unwrap_err(), RunError::Lost(Lost { reason }));
    assert!(is_dropped.await.is_err());
    fixture.assert_no_nodes_left(&["/l"]).await;
}
