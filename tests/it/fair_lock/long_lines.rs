//! Lines of 64 contenders and more: the mark of the head, and lists that many contenders of one process share.

use std::time::{Duration, Instant};

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{ConnectOptions, Coordinator, Error, FairLockGuard, RwLock};
use zookeeper_testkit::{Fixture, Op, eventually, within};

use crate::support::cost::{Counted, make_dir};
use crate::support::{
    LONG, PATIENCE, Pending, acquire, assert_waits, connect, connect_each, granted, join_line, lock, stand_in_line,
    start_each, start_proxied,
};

/// Enough for a line to be long while a few hand-offs are looked at.
const LONG_LINE: usize = 80;

/// A lock that is held, and a long line behind it, of the two sessions by turns.
async fn long_line(fixture: &Fixture, [one, two]: [&Coordinator; 2]) -> (FairLockGuard, Vec<Pending<FairLockGuard>>) {
    let guard = acquire(&lock(one, "/l")).await;
    let mut waiters = Vec::new();
    for place in 2..=LONG_LINE {
        let zk = if place.is_multiple_of(2) { two } else { one };
        waiters.push(join_line(fixture, &lock(zk, "/l"), place).await);
    }
    (guard, waiters)
}

/// Lets the lock go through so many hands.
async fn hand_on(mut guard: FairLockGuard, waiters: &mut Vec<Pending<FairLockGuard>>, times: usize) -> FairLockGuard {
    for waiter in waiters.drain(..times) {
        guard.release().await.unwrap();
        guard = granted(waiter).await;
    }
    guard
}

async fn end(fixture: &Fixture, guard: FairLockGuard, waiters: Vec<Pending<FairLockGuard>>) {
    guard.release().await.unwrap();
    leave(waiters);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// Some may have been granted meanwhile: their guards are dropped with the tasks.
fn leave<T>(waiters: Vec<Pending<T>>) {
    for waiter in waiters {
        waiter.abort();
    }
}

async fn data(fixture: &Fixture) -> Vec<u8> {
    fixture.raw().get_data("/l").await.unwrap().0
}

fn mark_of(guard: &FairLockGuard) -> Vec<u8> {
    format!("zkr-head {}", guard.path().rsplit('/').next().unwrap()).into_bytes()
}

async fn until_marked(fixture: &Fixture, guard: &FairLockGuard) {
    eventually(PATIENCE, "the holder is marked", || async {
        data(fixture).await == mark_of(guard)
    })
    .await;
}

#[tokio::test]
async fn a_hand_off_keeps_to_its_budget() {
    let fixture = Fixture::new("mark").await;
    let (one, two) = (Counted::connect(&fixture).await, Counted::connect(&fixture).await);
    let (guard, mut waiters) = long_line(&fixture, [&one.zk, &two.zk]).await;
    let mut guard = hand_on(guard, &mut waiters, 2).await;
    for turn in 0..6 {
        until_marked(&fixture, &guard).await;
        let (from, to) = if turn % 2 == 0 { (&one, &two) } else { (&two, &one) };
        one.requests(0).await;
        two.requests(0).await;
        guard = hand_on(guard, &mut waiters, 1).await;
        let counts = to.requests(2).await.without_heartbeats();
        let seen = (counts.of(Op::MultiRead), counts.of(Op::SetData), counts.total());
        assert_eq!(seen, (1, 1, 2), "{counts}");
        let counts = from.requests(1).await.without_heartbeats();
        assert_eq!((counts.of(Op::Delete), counts.total()), (1, 1), "{counts}");
    }
    end(&fixture, guard, waiters).await;
}

/// What the mark would tell is known within a process: a read of the own node is enough, and nothing is written.
#[tokio::test]
async fn hand_offs_within_a_process_leave_no_mark() {
    let fixture = Fixture::new("local").await;
    let counted = Counted::connect(&fixture).await;
    let (guard, mut waiters) = long_line(&fixture, [&counted.zk, &counted.zk]).await;
    let mut guard = hand_on(guard, &mut waiters, 2).await;
    counted.requests(0).await;
    for _ in 0..5 {
        guard = hand_on(guard, &mut waiters, 1).await;
        let counts = counted.requests(2).await.without_heartbeats();
        let seen = (counts.of(Op::Delete), counts.of(Op::Exists), counts.total());
        assert_eq!(seen, (1, 1, 2), "{counts}");
    }
    assert_eq!(data(&fixture).await, b"");
    end(&fixture, guard, waiters).await;
}

#[tokio::test]
async fn a_mark_never_replaces_foreign_data() {
    let fixture = Fixture::new("foreign").await;
    make_dir(&fixture, "/l").await;
    fixture.raw().set_data("/l", b"5", None).await.unwrap();
    let [one, two] = connect_each(&fixture).await;
    let (guard, mut waiters) = long_line(&fixture, [&one, &two]).await;
    let guard = hand_on(guard, &mut waiters, 5).await;
    assert_eq!(data(&fixture).await, b"5");
    end(&fixture, guard, waiters).await;
}

#[tokio::test]
async fn a_mark_loses_against_a_later_write() {
    let fixture = Fixture::new("version").await;
    let counted = Counted::connect(&fixture).await;
    let other = connect(&fixture).await;
    let (guard, mut waiters) = long_line(&fixture, [&other, &counted.zk]).await;
    let guard = hand_on(guard, &mut waiters, 2).await;
    until_marked(&fixture, &guard).await;
    counted.requests(0).await;
    counted.proxy.delay_requests(Duration::from_millis(500));
    let guard = hand_on(guard, &mut waiters, 1).await;
    // The mark is on its way.
    fixture.raw().set_data("/l", b"5", None).await.unwrap();
    counted.proxy.delay_requests(Duration::ZERO);
    let marks = || counted.proxy.requests().of(Op::SetData);
    eventually(PATIENCE, "the mark was sent", || async { marks() == 1 }).await;
    counted.requests(0).await;
    assert_eq!(data(&fixture).await, b"5");
    end(&fixture, guard, waiters).await;
}

#[tokio::test]
async fn a_changed_node_ahead_is_not_gone() {
    let (fixture, [one, two]) = start_each("changed").await;
    let (guard, mut waiters) = long_line(&fixture, [&one, &two]).await;
    let guard = hand_on(guard, &mut waiters, 2).await;
    until_marked(&fixture, &guard).await;
    let holder = &lock(&two, "/l").contenders().await.unwrap()[0];
    assert!(lock(&two, "/l").request_revocation(holder, "make way").await.unwrap());
    assert_waits(&waiters[0]).await;
    assert!(guard.is_held());
    end(&fixture, guard, waiters).await;
}

#[tokio::test]
async fn writers_that_may_be_downgraded_leave_no_mark() {
    let fixture = Fixture::new("rw").await;
    let sessions: [Coordinator; 2] = connect_each(&fixture).await;
    let [one, two] = sessions.each_ref().map(|zk| RwLock::new(zk, "/l").unwrap());
    let mut guard = one.write().await.unwrap();
    let mut waiters = Vec::new();
    for place in 2..=LONG_LINE {
        let lock = if place % 2 == 0 { two.clone() } else { one.clone() };
        waiters.push(stand_in_line(&fixture, "/l", place, async move { lock.write().await }).await);
    }
    for waiter in waiters.drain(..4) {
        guard.release().await.unwrap();
        guard = granted(waiter).await;
    }
    let reader = guard.downgrade().await.unwrap();
    assert_waits(&waiters[0]).await;
    assert_eq!(data(&fixture).await, b"");
    reader.release().await.unwrap();
    leave(waiters);
    fixture.assert_no_nodes_left(&["/l"]).await;
}

/// Without the right to write the directory's data, or to read it, a line is handed on with lists.
#[tokio::test]
async fn without_marks_lists_hand_on_the_lock() {
    let fixture = Fixture::new("no write").await;
    let rights = zk::Permission::CREATE | zk::Permission::READ | zk::Permission::DELETE;
    let acls = [zk::Acl::new(rights, zk::AuthId::anyone())];
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::new(&acls));
    fixture.raw().create("/l", b"", &options).await.unwrap();
    let (one, two) = (Counted::connect(&fixture).await, Counted::connect(&fixture).await);
    let (guard, mut waiters) = long_line(&fixture, [&one.zk, &two.zk]).await;
    let guard = hand_on(guard, &mut waiters, 12).await;
    let marks = one.proxy.requests().of(Op::SetData) + two.proxy.requests().of(Op::SetData);
    let reads = one.proxy.requests().of(Op::MultiRead) + two.proxy.requests().of(Op::MultiRead);
    assert!(marks <= 2, "{marks} marks were tried");
    assert!(reads <= 6, "{reads} looks for a mark");
    assert_eq!(data(&fixture).await, b"");
    end(&fixture, guard, waiters).await;
}

/// They join at the same time, and one list tells many of them where they stand.
#[tokio::test]
async fn a_thousand_waiters_share_lists_in_order() {
    const WAITERS: usize = 1_000;
    let (fixture, proxy, zk) = start_proxied("k", LONG).await;
    let guard = acquire(&lock(&zk, "/l")).await;
    proxy.reset_counts();
    let (sender, mut tokens) = tokio::sync::mpsc::unbounded_channel();
    let began = Instant::now();
    for _ in 0..WAITERS {
        let (lock, sender) = (lock(&zk, "/l"), sender.clone());
        tokio::spawn(async move {
            let guard = lock.acquire().await.unwrap();
            sender.send(guard.token()).unwrap();
            guard.release().await.unwrap();
        });
    }
    fixture.until_children("/l", WAITERS + 1).await;
    let watches = || proxy.requests().of(Op::Exists);
    eventually(PATIENCE, "all wait", || async { watches() >= 2 * WAITERS }).await;
    let lists = proxy.requests().lists();
    assert!(lists <= WAITERS / 10, "{lists} lists, in {:?}", began.elapsed());
    assert!(guard.is_held());
    guard.release().await.unwrap();
    let mut last = None;
    for _ in 0..WAITERS {
        let token = within(PATIENCE, "granted", tokens.recv()).await.unwrap();
        assert!(last.is_none_or(|last| last < token), "out of order");
        last = Some(token);
    }
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_full_line_refuses_a_further_contender() {
    let fixture = Fixture::new("full").await;
    let options = ConnectOptions::new().session_timeout(LONG).line_limit(3);
    let zk = options.connect(&fixture.connect_string()).await.unwrap();
    let guard = acquire(&lock(&zk, "/l")).await;
    let mut waiters = Vec::new();
    for place in 2..=3 {
        waiters.push(join_line(&fixture, &lock(&zk, "/l"), place).await);
    }
    let refused = within(PATIENCE, "refused", lock(&zk, "/l").acquire()).await;
    let full = Error::LineFull {
        path: "/l".to_owned(),
        contenders: 3,
        limit: 3,
    };
    assert_eq!(refused.unwrap_err(), full);
    fixture.until_children("/l", 3).await;
    let guard = hand_on(guard, &mut waiters, 1).await;
    waiters.push(join_line(&fixture, &lock(&zk, "/l"), 3).await);
    end(&fixture, hand_on(guard, &mut waiters, 2).await, waiters).await;
}
