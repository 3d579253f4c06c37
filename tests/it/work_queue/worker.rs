//! The worker loop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use zookeeper_recipes::queue::{Completion, Job};
use zookeeper_testkit::{eventually, within};

use super::{clean, drain, queue, start_built, start_queue, start_queues};
use crate::support::{LONG, PATIENCE, connect, start_proxied};

#[tokio::test]
async fn a_worker_settles_what_its_handlers_say() {
    let (fixture, ours) = start_built("worker", |queue| queue.max_attempts(2)).await;
    let ids = ours
        .push_all(["done", "result", "fails", "panics", "rejected", "again"])
        .await
        .unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = ours.worker().concurrency(3).shutdown(async { drop(stopped.await) });
    let running = tokio::spawn(worker.run(|job: Job| async move {
        match &job.payload()[..] {
            b"done" => Ok(Completion::Done),
            b"result" => Ok(Completion::Result("42".into())),
            b"fails" => Err("it does not work"),
            b"panics" => panic!("on purpose"),
            b"rejected" => Ok(Completion::Reject("nonsense".to_owned())),
            _ if job.attempt() == 1 => Ok(Completion::RetryAfter(Duration::from_millis(1))),
            _ => Ok(Completion::Done),
        }
    }));
    assert_eq!(within(PATIENCE, "a result", ours.result(&ids[1])).await.unwrap(), "42");
    eventually(PATIENCE, "all have ended", || async {
        let stats = ours.stats().await.unwrap();
        stats.ready + stats.delayed + stats.claimed == 0
    })
    .await;
    stop.send(()).unwrap();
    let summary = within(PATIENCE, "the worker ends", running).await.unwrap().unwrap();
    let counts = (
        summary.done,
        summary.failed,
        summary.panicked,
        summary.rejected,
        summary.lost,
    );
    assert_eq!(counts, (3, 3, 2, 1, 0));
    let mut dead: Vec<(String, String)> = ours
        .dead_letters()
        .await
        .unwrap()
        .into_iter()
        .map(|letter| {
            (
                String::from_utf8(letter.payload.to_vec()).unwrap(),
                letter.history[0].reason.clone(),
            )
        })
        .collect();
    dead.sort_unstable();
    let expected = [
        ("fails", "it does not work"),
        ("panics", "its handler panicked"),
        ("rejected", "nonsense"),
    ];
    assert_eq!(
        dead,
        expected.map(|(item, reason)| (item.to_owned(), reason.to_owned()))
    );
    ours.purge_all().await.unwrap();
    clean(&fixture, [ours]).await;
}

#[tokio::test]
async fn a_worker_never_exceeds_its_concurrency() {
    const ITEMS: usize = 200;
    let (fixture, ours) = start_queue("concurrency").await;
    ours.push_all((0..ITEMS).map(|number| number.to_string()))
        .await
        .unwrap();
    let (open, most, done) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let worker = ours.worker().concurrency(8).prefetch(32).shutdown({
        let done = Arc::clone(&done);
        async move {
            while done.load(Ordering::Relaxed) < ITEMS {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let (opened, at_most, finished) = (Arc::clone(&open), Arc::clone(&most), Arc::clone(&done));
    let summary = worker.run(move |_: Job| {
        let (open, most, done) = (Arc::clone(&opened), Arc::clone(&at_most), Arc::clone(&finished));
        async move {
            most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(2)).await;
            open.fetch_sub(1, Ordering::Relaxed);
            done.fetch_add(1, Ordering::Relaxed);
            Ok::<_, String>(())
        }
    });
    let summary = within(PATIENCE, "the worker ends", summary).await.unwrap();
    assert_eq!(summary.done, ITEMS);
    let most = most.load(Ordering::Relaxed);
    assert!((2..=8).contains(&most), "{most} at once");
    clean(&fixture, [ours]).await;
}

/// Full of work, with a hanging handler: what was done is acknowledged, the rest is there untried or tried once.
#[tokio::test]
async fn a_shutdown_ends_in_time_with_all_counted() {
    const ITEMS: usize = 60;
    let (fixture, [ours, theirs]) = start_queues("shutdown").await;
    ours.push_all((0..ITEMS).map(|number| format!("{number:02}")))
        .await
        .unwrap();
    let worked = Arc::new(Mutex::new(Vec::new()));
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = ours
        .worker()
        .concurrency(4)
        .prefetch(30)
        .drain(Duration::from_millis(500));
    let running = tokio::spawn(worker.shutdown(async { drop(stopped.await) }).run({
        let worked = Arc::clone(&worked);
        move |job: Job| {
            let worked = Arc::clone(&worked);
            async move {
                let item = String::from_utf8(job.payload().to_vec()).unwrap();
                if item == "05" {
                    std::future::pending::<()>().await;
                }
                worked.lock().unwrap().push(item);
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok::<_, String>(())
            }
        }
    }));
    eventually(PATIENCE, "some are done", || async {
        worked.lock().unwrap().len() > 12
    })
    .await;
    let begun = Instant::now();
    stop.send(()).unwrap();
    let summary = within(PATIENCE, "the worker ends", running).await.unwrap().unwrap();
    assert!(begun.elapsed() < PATIENCE / 2);
    assert_eq!(summary.aborted, 1);
    let done = worked.lock().unwrap().clone();
    assert_eq!(summary.done, done.len());
    let mut all = drain(&theirs).await;
    assert_eq!(all.len(), ITEMS - done.len());
    all.extend(done);
    all.sort_unstable();
    assert_eq!(all, (0..ITEMS).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    clean(&fixture, [ours, theirs]).await;
}

/// The server is silent: the shutdown is bounded all the same, and the items are another's once the session is over.
#[tokio::test]
async fn a_shutdown_behind_a_silent_link_is_bounded() {
    let (fixture, proxy, zk) = start_proxied("silent shutdown", LONG).await;
    let (ours, theirs) = (queue(&zk), queue(&connect(&fixture).await));
    ours.push_all(["a", "b"]).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (begun, has_begun) = oneshot::channel::<()>();
    let begun = Arc::new(Mutex::new(Some(begun)));
    let worker = ours
        .worker()
        .drain(Duration::from_millis(300))
        .shutdown(async { drop(stopped.await) });
    let running = tokio::spawn(worker.run(move |_: Job| {
        let begun = Arc::clone(&begun);
        async move {
            if let Some(begun) = begun.lock().unwrap().take() {
                begun.send(()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, String>(())
        }
    }));
    has_begun.await.unwrap();
    proxy.black_hole();
    stop.send(()).unwrap();
    let summary = within(PATIENCE, "the worker ends", running).await.unwrap().unwrap();
    assert_eq!(summary.done, 0);
    drop(ours);
    fixture.expire(&crate::support::sessions::session_of(&zk).await).await;
    proxy.cut();
    proxy.heal();
    assert_eq!(drain(&theirs).await.len(), 2);
    clean(&fixture, [theirs]).await;
}

#[tokio::test]
async fn a_rate_limit_spreads_the_work() {
    let (fixture, ours) = start_queue("rate").await;
    ours.push_all((0..6).map(|number| number.to_string())).await.unwrap();
    let begun = Arc::new(Mutex::new(Vec::new()));
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = ours
        .worker()
        .concurrency(6)
        .rate(20.0)
        .shutdown(async { drop(stopped.await) });
    let running = tokio::spawn(worker.run({
        let begun = Arc::clone(&begun);
        move |_: Job| {
            begun.lock().unwrap().push(Instant::now());
            async { Ok::<_, String>(()) }
        }
    }));
    eventually(PATIENCE, "all are begun", || async { begun.lock().unwrap().len() == 6 }).await;
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    let begun = begun.lock().unwrap().clone();
    assert!(
        begun[5] - begun[0] >= Duration::from_millis(240),
        "{:?}",
        begun[5] - begun[0]
    );
    clean(&fixture, [ours]).await;
}
