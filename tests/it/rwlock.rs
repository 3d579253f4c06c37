//! The read-write lock: who shares, who waits for whom, and how a writer becomes a reader.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{
    AcquireTimeoutError, Coordinator, DowngradeError, Error, Layout, LossReason, Lost, RwLock, RwLockReadGuard,
    RwLockWriteGuard, TryAcquireError,
};
use zookeeper_testkit::{Fixture, History, Injection, Mode, Op, When, within};

use crate::cancellation::poll_times;
use crate::sessions::assert_expired;
use crate::support::{PATIENCE, connect, connect_to, session_id};

const DIR: &str = "/rw";

fn rw(zk: &Coordinator) -> RwLock {
    RwLock::new(zk, DIR).unwrap()
}

async fn read(lock: &RwLock) -> RwLockReadGuard {
    within(PATIENCE, "read", lock.read()).await.unwrap()
}

async fn write(lock: &RwLock) -> RwLockWriteGuard {
    within(PATIENCE, "write", lock.write()).await.unwrap()
}

type Pending<G> = JoinHandle<Result<G, Error>>;

/// Begins to read in a task, and returns when the contender stands in line as number `place`.
async fn join_reader(fixture: &Fixture, zk: &Coordinator, place: usize) -> Pending<RwLockReadGuard> {
    let lock = rw(zk);
    let pending = tokio::spawn(async move { lock.read().await });
    fixture.until_children(DIR, place).await;
    pending
}

async fn join_writer(fixture: &Fixture, zk: &Coordinator, place: usize) -> Pending<RwLockWriteGuard> {
    let lock = rw(zk);
    let pending = tokio::spawn(async move { lock.write().await });
    fixture.until_children(DIR, place).await;
    pending
}

async fn granted<G>(pending: Pending<G>) -> G {
    within(PATIENCE, "granted", pending).await.unwrap().unwrap()
}

/// Everybody who would be granted by now has been: a contender that joined later on the same session has had its answer.
async fn assert_waits<G>(fixture: &Fixture, zk: &Coordinator, pending: &Pending<G>) {
    for _ in 0..3 {
        fixture.raw().sync("/").await.unwrap();
        zk.client().await.unwrap().check_stat("/").await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!pending.is_finished(), "granted too early");
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn readers_share_and_a_writer_has_it_alone() {
    let fixture = Fixture::new("share").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let readers = [read(&rw(&one)).await, read(&rw(&two)).await, read(&rw(&one)).await];
    assert!(readers.iter().all(|reader| reader.is_held()));
    let writer = join_writer(&fixture, &two, 4).await;
    for reader in readers {
        assert_waits(&fixture, &two, &writer).await;
        reader.release().await.unwrap();
    }
    let writer = granted(writer).await;
    let other = join_writer(&fixture, &one, 2).await;
    let reader = join_reader(&fixture, &two, 3).await;
    assert_waits(&fixture, &one, &other).await;
    assert_waits(&fixture, &two, &reader).await;
    drop(writer);
    granted(other).await.release().await.unwrap();
    granted(reader).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// Writers do not starve: the lock is read, and yet a reader that comes after a writer has to let it pass.
#[tokio::test]
async fn a_reader_behind_a_waiting_writer_waits() {
    let fixture = Fixture::new("no starvation").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let first = read(&rw(&one)).await;
    let writer = join_writer(&fixture, &two, 2).await;
    let later = join_reader(&fixture, &one, 3).await;
    assert_waits(&fixture, &one, &later).await;
    first.release().await.unwrap();
    let writer = granted(writer).await;
    assert_waits(&fixture, &one, &later).await;
    writer.release().await.unwrap();
    granted(later).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn a_reader_goes_on_when_the_writer_ahead_gives_up() {
    let fixture = Fixture::new("writer gives up").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let first = read(&rw(&one)).await;
    let writer = join_writer(&fixture, &two, 2).await;
    let later = join_reader(&fixture, &one, 3).await;
    writer.abort();
    let later = granted(later).await;
    assert!(first.is_held() && later.is_held());
    drop((first, later));
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn try_forms_see_those_who_hold_and_those_who_wait() {
    let fixture = Fixture::new("try").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, other) = (rw(&one), rw(&two));
    let reader = mine.try_read().await.unwrap();
    let second = other.try_read().await.unwrap();
    assert_eq!(other.try_write().await.unwrap_err(), TryAcquireError::Contended);
    second.release().await.unwrap();
    let writer = join_writer(&fixture, &two, 2).await;
    assert_eq!(mine.try_read().await.unwrap_err(), TryAcquireError::Contended);
    reader.release().await.unwrap();
    let writer = granted(writer).await;
    assert_eq!(mine.try_read().await.unwrap_err(), TryAcquireError::Contended);
    assert_eq!(mine.try_write().await.unwrap_err(), TryAcquireError::Contended);
    writer.release().await.unwrap();
    mine.try_write().await.unwrap().release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn on_a_timeout_no_node_is_left() {
    let fixture = Fixture::new("timeouts").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, other) = (rw(&one), rw(&two));
    let after = Duration::from_millis(200);
    let writer = write(&other).await;
    for _ in 0..2 {
        let elapsed = AcquireTimeoutError::Elapsed { after };
        assert_eq!(mine.read_timeout(after).await.unwrap_err(), elapsed);
        assert_eq!(mine.write_timeout(after).await.unwrap_err(), elapsed);
        assert_eq!(fixture.children(DIR).await, [name(writer.path())]);
    }
    writer.release().await.unwrap();
    mine.write_timeout(PATIENCE).await.unwrap().release().await.unwrap();
    mine.read_timeout(PATIENCE).await.unwrap().release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn the_names_are_those_of_curator_or_of_kazoo() {
    let fixture = Fixture::new("names").await;
    let zk = connect(&fixture).await;
    for (layout, reads, writes) in [
        (Layout::Curator, "-__READ__", "-__WRIT__"),
        (Layout::Kazoo, "__rlock__", "__lock__"),
    ] {
        let lock = rw(&zk).layout(layout);
        let reader = read(&lock).await;
        assert!(reader.path().contains(reads), "{}", reader.path());
        reader.release().await.unwrap();
        let writer = write(&lock).await;
        assert!(writer.path().contains(writes), "{}", writer.path());
        let reader = writer.downgrade().await.unwrap();
        assert!(reader.path().contains(reads), "{}", reader.path());
        reader.release().await.unwrap();
    }
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// Contenders of Curator and kazoo, as their names and kinds of nodes have it, block ours where they should.
#[tokio::test]
async fn contenders_of_others_stand_in_the_same_line() {
    let fixture = Fixture::new("others").await;
    let zk = connect(&fixture).await;
    read(&rw(&zk)).await.release().await.unwrap();
    let options = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_all());
    for (prefix, is_reader) in [
        ("_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-__READ__", true),
        ("_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-__WRIT__", false),
        ("2c3b1a4e9f4b4a578a587a1d2c9b0e11__rlock__", true),
        ("2c3b1a4e9f4b4a578a587a1d2c9b0e11__lock__", false),
    ] {
        let path = format!("{DIR}/{prefix}");
        let (_, sequence) = fixture.raw().create(&path, b"127.0.0.1", &options).await.unwrap();
        let reader = rw(&zk).try_read().await;
        assert_eq!(reader.is_ok(), is_reader, "{prefix}");
        drop(reader);
        assert_eq!(
            rw(&zk).try_write().await.unwrap_err(),
            TryAcquireError::Contended,
            "{prefix}"
        );
        fixture.raw().delete(&format!("{path}{sequence}"), None).await.unwrap();
        fixture.until_children(DIR, 0).await;
    }
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// CUR-621: the reader of a downgraded writer stood behind a writer that waited, which then was granted beside it.
#[tokio::test]
async fn cur_621_a_downgraded_writer_keeps_its_place_ahead_of_waiting_writers() {
    let fixture = Fixture::new("CUR-621").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
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
    let fixture = Fixture::new("downgrade frees").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
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
async fn a_downgrade_of_a_lost_lock_is_an_error_and_leaves_nothing() {
    let fixture = Fixture::new("downgrade, lost").await;
    let zk = connect(&fixture).await;
    let writer = write(&rw(&zk)).await;
    fixture.raw().delete(writer.path(), None).await.unwrap();
    let reason = LossReason::NodeRemoved;
    let error = writer.downgrade().await.unwrap_err();
    assert_eq!(error, DowngradeError::Lost(Lost { reason }));

    let writer = write(&rw(&zk)).await;
    let session = zk.client().await.unwrap().session().clone();
    fixture.expire(&session).await;
    let error = within(PATIENCE, "told", writer.downgrade()).await.unwrap_err();
    assert!(matches!(error, DowngradeError::Lost(_)), "{error:?}");
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn a_downgraded_reader_is_told_when_its_node_is_removed() {
    let fixture = Fixture::new("downgraded, removed").await;
    let zk = connect(&fixture).await;
    let reader = write(&rw(&zk)).await.downgrade().await.unwrap();
    fixture.raw().delete(reader.path(), None).await.unwrap();
    let reason = within(PATIENCE, "told", reader.lost()).await;
    assert_eq!(reason, LossReason::NodeRemoved);
    drop(reader);
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// CUR-307: Curator fails with an index error when its own node has vanished from the list.
#[tokio::test]
async fn cur_307_a_waiter_whose_own_node_vanished_joins_again() {
    let fixture = Fixture::new("CUR-307").await;
    let (one, two) = (connect(&fixture).await, connect(&fixture).await);
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
        zookeeper_testkit::eventually(PATIENCE, "it is gone", gone).await;
        fixture.until_children(DIR, 3).await;
    }
    writer.release().await.unwrap();
    granted(reader).await.release().await.unwrap();
    granted(next).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn whoever_loses_its_session_waiting_joins_again_and_holding_is_told() {
    let fixture = Fixture::new("expiry").await;
    let (one, two, three) = (
        connect(&fixture).await,
        connect(&fixture).await,
        connect(&fixture).await,
    );
    let holder = read(&rw(&one)).await;
    let waiting = join_writer(&fixture, &two, 2).await;
    let behind = join_writer(&fixture, &three, 3).await;
    let before = session_id(&two).await;
    let session = two.client().await.unwrap().session().clone();
    fixture.expire(&session).await;
    let rejoined = || async {
        let line = rw(&one).contenders().await.unwrap();
        line.len() == 3 && line[2].session_id != before
    };
    zookeeper_testkit::eventually(PATIENCE, "it stands at the tail", rejoined).await;

    let session = one.client().await.unwrap().session().clone();
    fixture.expire(&session).await;
    assert_expired(within(PATIENCE, "told", holder.lost()).await);
    assert!(!holder.is_held());
    granted(behind).await.release().await.unwrap();
    granted(waiting).await.release().await.unwrap();
    drop(holder);
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn the_replies_of_a_reader_and_a_writer_may_be_lost() {
    let fixture = Fixture::new("lost replies").await;
    for injection in [Injection::LoseReply, Injection::CutBefore] {
        for tag in ["__READ__", "__WRIT__"] {
            let (proxy, servers) = fixture.proxied().await;
            let zk = connect_to(&servers, PATIENCE).await;
            let fault = proxy.inject(When::create().path(tag), injection);
            let lock = rw(&zk);
            let held = async {
                match tag {
                    "__READ__" => Ok::<_, Error>((Some(lock.read().await?), None)),
                    _ => Ok((None, Some(lock.write().await?))),
                }
            };
            let held = within(PATIENCE, "granted", held).await.unwrap();
            fault.fired().await;
            assert_eq!(fixture.children(DIR).await.len(), 1, "{injection:?} {tag}");
            drop(held);
            fixture.assert_no_nodes_left(&[DIR]).await;
        }
    }
}

/// Sessions that read, write and go from writing to reading as they like, and give up now and then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_writers_are_never_together() {
    let fixture = Fixture::new("history").await;
    let history = History::new();
    let mut workers = Vec::new();
    for worker in 0..6_u64 {
        let (zk, history) = (connect(&fixture).await, history.clone());
        workers.push(tokio::spawn(async move {
            let lock = rw(&zk);
            for round in 0..25_u64 {
                let choice = (worker * 7 + round * 13) % 10;
                let limit = Duration::from_millis(if choice == 9 { 5 } else { 60_000 });
                if choice < 5 {
                    let guard = lock.read_timeout(limit).await.unwrap();
                    let held = history.record_grant(DIR, worker, Mode::Shared, guard.token().as_i64());
                    tokio::task::yield_now().await;
                    held.end();
                    guard.release().await.unwrap();
                } else if let Ok(guard) = lock.write_timeout(limit).await {
                    let token = guard.token().as_i64();
                    let held = history.record_grant(DIR, worker, Mode::Exclusive, token);
                    tokio::task::yield_now().await;
                    held.end();
                    if choice >= 7 {
                        let guard = guard.downgrade().await.unwrap();
                        assert_eq!(guard.token().as_i64(), token);
                        let held = history.record_grant(DIR, worker, Mode::Shared, token);
                        tokio::task::yield_now().await;
                        held.end();
                        guard.release().await.unwrap();
                    } else {
                        guard.release().await.unwrap();
                    }
                }
            }
        }));
    }
    for worker in workers {
        within(PATIENCE * 4, "all rounds", worker).await.unwrap();
    }
    let summary = history.assert_sound();
    println!("{summary}");
    assert!(summary.grants >= 6 * 20 && summary.most_at_once > 1, "{summary}");
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// Holders are struck in their turn; nobody is left waiting, and nobody is granted beside another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_line_goes_on_while_sessions_expire_and_nodes_are_deleted() {
    let fixture = Fixture::new("struck").await;
    let history = History::new();
    let fixture = Arc::new(fixture);
    let mut workers = Vec::new();
    for worker in 0..4_u64 {
        let (fixture, history) = (Arc::clone(&fixture), history.clone());
        workers.push(tokio::spawn(async move {
            let zk = connect(&fixture).await;
            for round in 0..8_u64 {
                let lock = rw(&zk);
                let (mode, hold): (_, Box<dyn std::ops::Deref<Target = zookeeper_recipes::Hold> + Send>) =
                    if (worker + round) % 3 == 0 {
                        (Mode::Exclusive, Box::new(lock.write().await.unwrap()))
                    } else {
                        (Mode::Shared, Box::new(lock.read().await.unwrap()))
                    };
                let held = history.record_grant(DIR, format!("{worker}.{round}"), mode, hold.token().as_i64());
                match round % 4 {
                    // A delete and an expiry by another client cannot be known before they happen.
                    1 => {
                        held.end();
                        fixture.expire(&zk.client().await.unwrap().session().clone()).await;
                        within(PATIENCE, "told", hold.lost()).await;
                    }
                    3 => {
                        held.end();
                        fixture.raw().delete(hold.path(), None).await.unwrap();
                        within(PATIENCE, "told", hold.lost()).await;
                    }
                    _ => held.end(),
                }
                drop(hold);
            }
        }));
    }
    for worker in workers {
        within(PATIENCE * 4, "all rounds", worker).await.unwrap();
    }
    let summary = history.assert_sound();
    assert_eq!(summary.grants, 32, "{summary}");
    fixture.assert_no_nodes_left(&[DIR]).await;
}

type Attempt = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Drops `attempt` after every number of polls, with a reader ahead, and shows that whoever is behind has its turn.
async fn walk(name: &str, attempt: impl Fn(RwLock) -> Attempt) {
    let fixture = Fixture::new(name).await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let id = session_id(&zk).await;
    let mut rounds = 0;
    for blocked in [false, true] {
        for polls in 0.. {
            rounds += 1;
            let holder = match blocked {
                true => Some(write(&rw(&other)).await),
                false => None,
            };
            let mut attempt = attempt(rw(&zk));
            let polled = poll_times(attempt.as_mut(), polls);
            // Whoever waits for the holder waits for ever.
            let done = match blocked {
                true => tokio::time::timeout(Duration::from_millis(200), polled)
                    .await
                    .unwrap_or(Some(())),
                false => within(PATIENCE, "polled", polled).await,
            };
            drop(attempt);
            drop(holder);
            write(&rw(&other)).await.release().await.unwrap();
            fixture.until_children(DIR, 0).await;
            if done.is_some() {
                break;
            }
        }
    }
    assert!(rounds > 4, "it was never dropped half-way");
    assert_eq!(session_id(&zk).await, id, "the session outlives what was cancelled");
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn a_read_dropped_at_any_await_point_leaves_nothing() {
    walk("read", |lock| Box::pin(async move { drop(lock.read().await.unwrap()) })).await;
}

#[tokio::test]
async fn a_write_dropped_at_any_await_point_leaves_nothing() {
    walk("write", |lock| {
        Box::pin(async move { drop(lock.write().await.unwrap()) })
    })
    .await;
}

#[tokio::test]
async fn a_downgrade_dropped_at_any_await_point_leaves_nothing() {
    walk("downgrade", |lock| {
        Box::pin(async move {
            let reader = lock.write().await.unwrap().downgrade().await.unwrap();
            reader.release().await.unwrap();
        })
    })
    .await;
}

#[tokio::test]
async fn a_read_timeout_dropped_at_any_await_point_leaves_nothing() {
    walk("read_timeout", |lock| {
        Box::pin(async move { drop(lock.read_timeout(PATIENCE).await.unwrap()) })
    })
    .await;
}

/// Half a transaction would show as a moment without any node, or as two: it is one request.
#[tokio::test]
async fn a_downgrade_is_one_transaction() {
    let fixture = Fixture::new("one transaction").await;
    let (proxy, servers) = fixture.proxied().await;
    let zk = connect_to(&servers, PATIENCE).await;
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
