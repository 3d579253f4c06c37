//! The fair lock as its contract has it, while nothing goes wrong.

use std::future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zookeeper_recipes::zookeeper_client::{self as zk, MultiWriteResult};
use zookeeper_recipes::{
    AcquireTimeoutError, ConnectOptions, Coordinator, Error, FairLockGuard, FencedWriteError, Layout, LossReason, Lost,
    ReleaseError, RunError, SessionState, TryAcquireError,
};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::{LONG, PATIENCE, acquire, connect, connect_to, faults, granted, join_line, lock, session_id};

const PERSISTENT: zk::CreateMode = zk::CreateMode::Persistent;

#[tokio::test]
async fn a_lock_is_held_from_acquire_to_release() {
    let fixture = Fixture::new("held").await;
    let zk = connect(&fixture).await;
    let lock = lock(&zk, "/locks/a");
    assert_eq!(lock.path(), "/locks/a");

    let guard = acquire(&lock).await;
    assert!(guard.is_held());
    assert!(guard.remaining() > Duration::ZERO && guard.remaining() <= LONG);
    assert_eq!(guard.lost().reason(), None);
    let tree = fixture.tree().await;
    let stat = tree[guard.path()];
    assert_eq!(guard.token().as_i64(), stat.czxid);
    assert_eq!(stat.ephemeral_owner, session_id(&zk).await);

    let signal = guard.lost();
    within(PATIENCE, "released", guard.release()).await.unwrap();
    assert!(
        fixture.children("/locks/a").await.is_empty(),
        "a release returns when the node is gone"
    );
    assert_eq!(signal.await, LossReason::Released);
    fixture.assert_no_nodes_left(&["/locks/a"]).await;
}

#[tokio::test]
async fn a_dropped_guard_gives_the_lock_to_the_waiter() {
    let fixture = Fixture::new("dropped guard").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let guard = acquire(&lock(&zk, "/l")).await;
    let waiter = join_line(&fixture, &lock(&other, "/l"), 2).await;
    assert!(!waiter.is_finished());

    drop(guard);
    let next = granted(waiter).await;
    assert_eq!(
        fixture.ephemerals().await.into_keys().collect::<Vec<_>>(),
        [next.path()]
    );
    drop(next);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn grants_follow_the_order_of_the_line_and_tokens_grow() {
    const WAITERS: usize = 12;
    let fixture = Fixture::new("order").await;
    let sessions = [
        connect(&fixture).await,
        connect(&fixture).await,
        connect(&fixture).await,
    ];
    let first = acquire(&lock(&sessions[0], "/l")).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for number in 0..WAITERS {
        let (lock, order) = (lock(&sessions[number % 3], "/l"), Arc::clone(&order));
        waiters.push(tokio::spawn(async move {
            let guard = lock.acquire().await.unwrap();
            order.lock().unwrap().push((number, guard.token()));
            guard.release().await.unwrap();
        }));
        fixture.until_children("/l", number + 2).await;
    }

    let mut tokens = vec![first.token()];
    first.release().await.unwrap();
    for waiter in waiters {
        within(PATIENCE, "all waiters had their turn", waiter).await.unwrap();
    }
    let (numbers, granted): (Vec<_>, Vec<_>) = order.lock().unwrap().iter().copied().unzip();
    assert_eq!(numbers, (0..WAITERS).collect::<Vec<_>>());
    tokens.extend(granted);
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn tokens_grow_also_when_the_directory_and_its_sequence_begin_anew() {
    let fixture = Fixture::new("tokens").await;
    let lock = lock(&connect(&fixture).await, "/l");
    let before = acquire(&lock).await;
    let (token, name) = (before.token(), before.path().to_owned());
    before.release().await.unwrap();
    // The server may have done so itself by now: it is a container.
    eventually(PATIENCE, "the directory is removed", || async {
        matches!(fixture.raw().delete("/l", None).await, Ok(()) | Err(zk::Error::NoNode))
    })
    .await;

    let after = acquire(&lock).await;
    let sequence = |path: &str| path.rsplit('-').next().unwrap().to_owned();
    assert_eq!(sequence(after.path()), sequence(&name), "the sequence begins anew");
    assert!(after.token() > token);
    after.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn try_acquire_takes_a_free_lock_and_never_waits() {
    let fixture = Fixture::new("try").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (mine, theirs) = (lock(&zk, "/l"), lock(&other, "/l"));
    let guard = within(PATIENCE, "a free lock is taken", mine.try_acquire())
        .await
        .unwrap();

    for contender in [&mine, &theirs] {
        let answer = within(PATIENCE, "an answer", contender.try_acquire()).await;
        assert_eq!(answer.unwrap_err(), TryAcquireError::Contended);
    }
    assert_eq!(
        fixture.children("/l").await.len(),
        1,
        "no contender is left of those who tried"
    );

    guard.release().await.unwrap();
    theirs.try_acquire().await.unwrap().release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn of_many_that_try_at_once_at_most_one_has_it_and_nothing_is_left() {
    let fixture = Fixture::new("try race").await;
    let sessions = [
        connect(&fixture).await,
        connect(&fixture).await,
        connect(&fixture).await,
    ];
    for round in 0..20 {
        let tries = (0..9).map(|number| {
            let lock = lock(&sessions[number % 3], "/l");
            tokio::spawn(async move { lock.try_acquire().await })
        });
        let mut guards = Vec::new();
        for tried in tries.collect::<Vec<_>>() {
            match within(PATIENCE, "an answer", tried).await.unwrap() {
                Ok(guard) => guards.push(guard),
                Err(err) => assert_eq!(err, TryAcquireError::Contended),
            }
        }
        assert!(guards.len() <= 1, "round {round}: {guards:?}");
        assert_eq!(fixture.children("/l").await.len(), guards.len(), "round {round}");
        for guard in guards {
            guard.release().await.unwrap();
        }
    }
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn an_acquire_that_times_out_has_removed_its_node_when_it_returns() {
    let fixture = Fixture::new("timeout").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let guard = acquire(&lock(&zk, "/l")).await;
    let waiter = lock(&other, "/l");
    let limit = Duration::from_millis(200);

    let started = Instant::now();
    let result = within(PATIENCE, "the time is up", waiter.acquire_timeout(limit)).await;
    assert_eq!(result.unwrap_err(), AcquireTimeoutError::Elapsed { after: limit });
    assert!(started.elapsed() >= limit);
    assert_eq!(
        fixture.ephemerals().await.into_keys().collect::<Vec<_>>(),
        [guard.path()]
    );

    guard.release().await.unwrap();
    let guard = within(PATIENCE, "a free lock is taken", waiter.acquire_timeout(LONG))
        .await
        .unwrap();
    guard.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn an_acquire_that_times_out_while_it_is_granted_is_either() {
    let fixture = Fixture::new("timeout race").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (holder, waiter) = (lock(&zk, "/l"), lock(&other, "/l"));
    let (mut granted, mut elapsed) = (0, 0);
    for round in 0..40 {
        let guard = acquire(&holder).await;
        let limit = Duration::from_millis(round);
        let (result, released) = tokio::join!(waiter.acquire_timeout(limit), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            guard.release().await
        });
        released.unwrap();
        match result {
            Ok(guard) => {
                granted += 1;
                guard.release().await.unwrap();
            }
            Err(err) => {
                elapsed += 1;
                assert_eq!(err, AcquireTimeoutError::Elapsed { after: limit });
            }
        }
        fixture.until_children("/l", 0).await;
    }
    println!("{granted} granted, {elapsed} timed out");
    assert!(elapsed > 0);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn run_gives_the_work_a_token_returns_its_output_and_releases() {
    let fixture = Fixture::new("run").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
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

#[tokio::test]
async fn contenders_are_listed_in_order_with_identity_token_position_and_holder() {
    let fixture = Fixture::new("contenders").await;
    let mut guards = Vec::new();
    let mut sessions = Vec::new();
    for name in ["one", "two", "three"] {
        let options = ConnectOptions::new().session_timeout(LONG).identity(name);
        let zk = options.connect(&fixture.connect_string()).await.unwrap();
        guards.push(join_line(&fixture, &lock(&zk, "/l"), guards.len() + 1).await);
        sessions.push(zk);
    }
    let observer = connect(&fixture).await;
    let contenders = lock(&observer, "/l").contenders().await.unwrap();
    let identities: Vec<&[u8]> = contenders.iter().map(|c| &c.identity[..]).collect();
    assert_eq!(identities, [&b"one"[..], b"two", b"three"]);
    assert_eq!(contenders.iter().map(|c| c.position).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(
        contenders.iter().map(|c| c.is_holder).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert!(contenders.is_sorted_by_key(|c| c.token));
    for (contender, zk) in contenders.iter().zip(&sessions) {
        assert_eq!(contender.session_id, session_id(zk).await);
    }
    for (pending, contender) in guards.into_iter().zip(&contenders) {
        let guard = granted(pending).await;
        assert_eq!(
            (guard.path(), guard.token()),
            (contender.path.as_str(), contender.token)
        );
        guard.release().await.unwrap();
    }
    assert!(lock(&observer, "/l").contenders().await.unwrap().is_empty());
    assert!(lock(&observer, "/never/made").contenders().await.unwrap().is_empty());
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// Whether `name` is `prefix`, then a guid of this shape, then `tag` and ten digits.
fn has_layout(name: &str, prefix: &str, groups: &[usize], tag: &str) -> bool {
    let Some((guid, sequence)) = name.strip_prefix(prefix).and_then(|rest| rest.split_once(tag)) else {
        return false;
    };
    let lengths: Vec<usize> = guid.split('-').map(str::len).collect();
    let hex = guid.chars().all(|c| c == '-' || matches!(c, '0'..='9' | 'a'..='f'));
    lengths == groups && hex && sequence.len() == 10 && sequence.bytes().all(|b| b.is_ascii_digit())
}

#[tokio::test]
async fn each_layout_writes_the_names_of_its_client() {
    let fixture = Fixture::new("names").await;
    let zk = connect(&fixture).await;
    let curator = acquire(&lock(&zk, "/curator/l")).await;
    let kazoo = acquire(&lock(&zk, "/kazoo/l").layout(Layout::Kazoo)).await;
    let name = |guard: &FairLockGuard| guard.path().rsplit('/').next().unwrap().to_owned();
    assert!(
        has_layout(&name(&curator), "_c_", &[8, 4, 4, 4, 12], "-lock-"),
        "{}",
        name(&curator)
    );
    assert!(has_layout(&name(&kazoo), "", &[32], "__lock__"), "{}", name(&kazoo));

    kazoo.release().await.unwrap();
    curator.release().await.unwrap();
    eventually(
        PATIENCE,
        "Curator's directories, which are containers, are removed",
        || async { fixture.children("/").await == ["kazoo"] },
    )
    .await;
    assert_eq!(
        fixture.children("/kazoo").await,
        ["l"],
        "kazoo's directories are persistent"
    );
    fixture.assert_no_nodes_left(&["/kazoo/l"]).await;
}

#[tokio::test]
async fn the_directory_of_a_lock_vanishes_when_it_is_no_longer_used() {
    let fixture = Fixture::new("container").await;
    let lock = lock(&connect(&fixture).await, "/deep/down/l");
    acquire(&lock).await.release().await.unwrap();
    eventually(PATIENCE, "empty containers are removed", || async {
        fixture.tree().await.is_empty()
    })
    .await;
    acquire(&lock).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/deep/down/l"]).await;
}

#[tokio::test]
async fn contenders_of_both_layouts_stand_in_one_line() {
    let fixture = Fixture::new("mixed").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let curator = lock(&zk, "/l");
    let kazoo = lock(&other, "/l").layout(Layout::Kazoo);
    let line = [&curator, &kazoo, &kazoo, &curator, &kazoo];
    let mut pending = Vec::new();
    for (place, contender) in line.into_iter().enumerate() {
        pending.push(join_line(&fixture, contender, place + 1).await);
    }
    let contenders = curator.contenders().await.unwrap();
    assert_eq!(kazoo.contenders().await.unwrap(), contenders);
    let is_kazoo: Vec<bool> = contenders.iter().map(|c| c.path.contains("__lock__")).collect();
    assert_eq!(is_kazoo, [false, true, true, false, true]);
    assert_eq!(kazoo.try_acquire().await.unwrap_err(), TryAcquireError::Contended);

    let mut pending = pending.into_iter();
    let mut tokens = Vec::new();
    while let Some(first) = pending.next() {
        let guard = granted(first).await;
        assert!(pending.as_slice().iter().all(|waiter| !waiter.is_finished()));
        tokens.push(guard.token());
        guard.release().await.unwrap();
    }
    assert_eq!(tokens, contenders.iter().map(|c| c.token).collect::<Vec<_>>());
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_guard_is_good_when_all_other_handles_are_dropped() {
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
async fn run_until_lost_prefers_the_loss_to_a_finished_result() {
    let fixture = Fixture::new("biased").await;
    let zk = connect(&fixture).await;
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
    let fixture = Fixture::new("fenced").await;
    let zk = connect(&fixture).await;
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
    let fixture = Fixture::new("fenced late").await;
    let zk = connect(&fixture).await;
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
async fn a_fenced_write_is_refused_though_the_guard_believes_to_hold() {
    let fixture = Fixture::with_embedded_server("fenced unaware").await;
    let zk = connect(&fixture).await;
    let guard = acquire(&lock(&zk, "/l")).await;
    let session = session_id(&zk).await;
    let faults = faults(&fixture);
    let late = faults.delay_watch_events(session, Duration::from_millis(500));
    fixture.raw().delete(guard.path(), None).await.unwrap();
    assert!(guard.is_held(), "nothing told the guard yet");
    let mut write = guard.fenced();
    write.add_create("/late", b"", PERSISTENT);
    let reason = LossReason::NodeRemoved;
    assert_eq!(
        write.commit().await.unwrap_err(),
        FencedWriteError::Lost(Lost { reason })
    );
    assert!(!guard.is_held());
    assert!(!exists(&fixture, "/late").await);
    drop(write);
    drop(guard);
    late.off();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn close_frees_everything_at_once() {
    let fixture = Fixture::new("close").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let (guard, second) = (acquire(&lock(&zk, "/l")).await, acquire(&lock(&zk, "/m")).await);
    // Clones of handles and the guards themselves keep nothing alive.
    let clone = zk.clone();
    let mut states = zk.states();
    let next = join_line(&fixture, &lock(&other, "/l"), 2).await;
    let pending = join_line(&fixture, &lock(&zk, "/l"), 3).await;
    let bounded = tokio::spawn({
        let lock = lock(&zk, "/l");
        async move { lock.acquire_timeout(LONG).await }
    });
    fixture.until_children("/l", 4).await;

    let closed = Instant::now();
    within(PATIENCE, "closed", zk.close()).await;
    assert!(closed.elapsed() < LONG / 3, "the ensemble confirmed it");
    let left: Vec<i64> = fixture.ephemerals().await.into_values().collect();
    assert_eq!(
        left,
        [session_id(&other).await],
        "only the other session's waiter is left"
    );
    for guard in [&guard, &second] {
        assert!(!guard.is_held());
        assert_eq!(guard.lost().reason(), Some(LossReason::Closed));
    }
    let next = granted(next).await;
    next.release().await.unwrap();

    let failed = within(PATIENCE, "pending calls end", pending).await.unwrap();
    assert_eq!(failed.unwrap_err(), Error::Closed);
    let failed = within(PATIENCE, "pending calls end", bounded).await.unwrap();
    assert_eq!(failed.unwrap_err(), AcquireTimeoutError::Error(Error::Closed));
    assert_eq!(
        states.wait_for(|state| *state == SessionState::Closed).await,
        Some(SessionState::Closed)
    );
    every_call_says_closed(&clone).await;
    let reason = LossReason::Closed;
    assert_eq!(guard.release().await.unwrap_err(), ReleaseError::Lost(Lost { reason }));
    drop(second);
    fixture.assert_no_nodes_left(&["/l", "/m"]).await;
}

/// A kept client keeps the session open at the server, but no node of ours.
#[tokio::test]
async fn close_frees_everything_at_once_also_when_a_client_is_kept() {
    let fixture = Fixture::new("close with client").await;
    let (zk, other) = (connect(&fixture).await, connect(&fixture).await);
    let guard = acquire(&lock(&zk, "/l")).await;
    let next = join_line(&fixture, &lock(&other, "/l"), 2).await;
    let client = zk.client().await.unwrap();

    let closing = tokio::spawn(zk.close());
    let next = granted(next).await;
    assert!(
        !closing.is_finished(),
        "it waits for the end of the session, for a while"
    );
    assert_eq!(guard.lost().reason(), Some(LossReason::Closed));
    assert!(client.check_stat("/").await.is_ok());
    drop(client);
    within(PATIENCE, "closed", closing).await.unwrap();
    next.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

async fn every_call_says_closed(zk: &Coordinator) {
    let lock = lock(zk, "/l");
    assert_eq!(lock.acquire().await.unwrap_err(), Error::Closed);
    assert_eq!(
        lock.try_acquire().await.unwrap_err(),
        TryAcquireError::Error(Error::Closed)
    );
    let bounded = lock.acquire_timeout(PATIENCE).await;
    assert_eq!(bounded.unwrap_err(), AcquireTimeoutError::Error(Error::Closed));
    let ran = lock.run(|_| async { panic!("it does not run") });
    assert_eq!(ran.await.unwrap_err(), RunError::Error(Error::Closed));
    assert_eq!(lock.contenders().await.unwrap_err(), Error::Closed);
    assert_eq!(zk.client().await.unwrap_err(), Error::Closed);
    zk.clone().close().await;
}

#[tokio::test]
async fn the_last_dropped_handle_closes_the_session() {
    let fixture = Fixture::new("last drop").await;
    let server = fixture.connect().await;
    let zk = connect(&fixture).await;
    let guard = acquire(&lock(&zk, "/l")).await;
    // A node that only the end of the session removes.
    let client = zk.client().await.unwrap();
    let ephemeral = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
    client.create("/mine", b"", &ephemeral).await.unwrap();
    drop(client);
    drop(zk);
    assert!(
        server.check_stat("/mine").await.unwrap().is_some(),
        "a guard keeps the session"
    );
    drop(guard);
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
async fn run_deletes_the_node_only_after_the_work_is_dropped() {
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
    let fixture = Fixture::new("run lost").await;
    let zk = connect(&fixture).await;
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
