//! The fair lock as its contract has it, while nothing goes wrong.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zookeeper_recipes::zookeeper_client::{self as zk};
use zookeeper_recipes::{ConnectOptions, LossReason, TryAcquireError};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::{
    LONG, PATIENCE, acquire, connect, connect_to, elapsed, granted, join_line, lock, session_id, start, start_each,
};

#[tokio::test]
async fn a_lock_is_held_from_acquire_to_release() {
    let (fixture, zk) = start("held").await;
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
async fn a_dropped_guard_hands_over_the_lock() {
    let (fixture, [zk, other]) = start_each("dropped guard").await;
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
async fn grants_follow_the_line_and_tokens_grow() {
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
async fn tokens_grow_though_the_sequence_restarts() {
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
async fn try_acquire_never_waits() {
    let (fixture, [zk, other]) = start_each("try").await;
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
async fn of_many_tries_at_most_one_succeeds() {
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
async fn a_timed_out_acquire_has_removed_its_node() {
    let fixture = Fixture::new("timeout").await;
    // A slow link: what is only on its way to be removed is still there for a while.
    let (proxy, servers) = fixture.proxied().await;
    let (zk, other) = (connect(&fixture).await, connect_to(&servers, LONG).await);
    let guard = acquire(&lock(&zk, "/l")).await;
    let waiter = lock(&other, "/l");
    let limit = Duration::from_millis(600);

    proxy.delay(Duration::from_millis(100));
    let started = Instant::now();
    let result = within(PATIENCE, "the time is up", waiter.acquire_timeout(limit)).await;
    assert_eq!(elapsed(result), Some(limit));
    assert_eq!(
        fixture.ephemerals().await.into_keys().collect::<Vec<_>>(),
        [guard.path()]
    );
    assert!(started.elapsed() >= limit);
    assert_eq!(proxy.requests().creates(), 1, "it stood in line");

    proxy.delay(Duration::ZERO);
    guard.release().await.unwrap();
    let guard = within(PATIENCE, "a free lock is taken", waiter.acquire_timeout(LONG)).await;
    guard.unwrap().release().await.unwrap();
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_timeout_during_the_grant_is_either() {
    let (fixture, [zk, other]) = start_each("timeout race").await;
    let (holder, waiter) = (lock(&zk, "/l"), lock(&other, "/l"));
    let (mut granted, mut timed_out) = (0, 0);
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
                timed_out += 1;
                assert_eq!(elapsed(Err::<(), _>(err)), Some(limit));
            }
        }
        fixture.until_children("/l", 0).await;
    }
    println!("{granted} granted, {timed_out} timed out");
    assert!(timed_out > 0);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn contenders_are_listed_in_order_with_details() {
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
