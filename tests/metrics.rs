//! The feature `metrics`: what is recorded is described, in the docs, and of bounded number.

#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use zookeeper_embedded::Server;
use zookeeper_recipes::metrics::{MetricKind, TABLE, describe};
use zookeeper_recipes::queue::WorkQueue;
use zookeeper_recipes::{Coordinator, Error, FairLock, LeaderElection, RwLock, Schedule, Semaphore, Timetable};

/// Remembers all series and descriptions.
#[derive(Debug, Default)]
struct Recorded {
    series: Mutex<BTreeMap<String, BTreeSet<String>>>,
    described: Mutex<BTreeMap<String, (MetricKind, String)>>,
    counters: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

impl Recorded {
    fn register(&self, key: &Key) {
        let labels = labels_of(key);
        let mut series = self.series.lock().unwrap();
        series.entry(key.name().to_owned()).or_default().insert(labels);
    }

    fn counter(&self, key: &Key) -> Counter {
        let series = format!("{} {}", key.name(), labels_of(key));
        let mut counters = self.counters.lock().unwrap();
        Counter::from_arc(Arc::clone(counters.entry(series).or_default()))
    }

    fn describe(&self, name: &KeyName, kind: MetricKind, text: &SharedString) {
        self.described
            .lock()
            .unwrap()
            .insert(name.as_str().to_owned(), (kind, text.to_string()));
    }
}

fn labels_of(key: &Key) -> String {
    let labels = key.labels().map(|label| format!("{}={}", label.key(), label.value()));
    labels.collect::<Vec<_>>().join(",")
}

#[derive(Debug)]
struct Handle(Arc<Recorded>);

impl Recorder for Handle {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.0.describe(&name, MetricKind::Counter, &text);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.0.describe(&name, MetricKind::Gauge, &text);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, text: SharedString) {
        self.0.describe(&name, MetricKind::Histogram, &text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.register(key);
        self.0.counter(key)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.register(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.0.register(key);
        Histogram::noop()
    }
}

fn recorded() -> &'static Arc<Recorded> {
    static RECORDED: OnceLock<Arc<Recorded>> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let recorded = Arc::<Recorded>::default();
        metrics::set_global_recorder(Handle(Arc::clone(&recorded))).unwrap();
        describe();
        recorded
    })
}

#[test]
fn the_docs_and_the_descriptions_name_the_same_metrics() {
    let described = recorded().described.lock().unwrap().clone();
    let docs = include_str!("../docs/metrics.md");
    assert_eq!(described.len(), TABLE.len());
    for metric in TABLE {
        let (kind, text) = &described[metric.name];
        assert_eq!((*kind, text.as_str()), (metric.kind, metric.description));
        let row = docs.lines().find(|line| line.contains(&format!("`{}`", metric.name)));
        let row = row.unwrap_or_else(|| panic!("docs/metrics.md lacks {}", metric.name));
        let labels_in_order = metric.labels.iter().all(|label| row.contains(&format!("`{label}`")));
        assert!(row.contains(&format!("`{}`", metric.unit)) && labels_in_order, "{row}");
    }
    let rows = docs
        .lines()
        .filter(|line| line.starts_with("| `zookeeper_recipes.") || line.starts_with("| `messaging."))
        .count();
    assert_eq!(rows, TABLE.len(), "docs/metrics.md has a row for what is not recorded");
}

/// A holder that is asked to make way and does, and a waiter whose node an operator removes.
async fn one_that_makes_way(zk: &Coordinator) {
    let lock = FairLock::new(zk, "/asked").unwrap();
    let guard = lock.acquire().await.unwrap();
    let other = FairLock::new(zk, "/asked").unwrap();
    let waiting = tokio::spawn(async move { other.acquire().await });
    let waiter = loop {
        let contenders = lock.contenders().await.unwrap();
        if let [_, waiter] = contenders.as_slice() {
            break waiter.clone();
        }
        tokio::task::yield_now().await;
    };
    let client = zk.client().await.unwrap();
    client.delete(&waiter.path, None).await.unwrap();
    // Until it has joined again.
    while lock.contenders().await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    let holder = lock.contenders().await.unwrap().swap_remove(0);
    assert!(lock.request_revocation(&holder, "deploy").await.unwrap());
    guard.revocation().await.unwrap();
    // Seen again, it is counted once.
    guard.revocation().await.unwrap();
    guard.release().await.unwrap();
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

/// An item that is given back, and lost at its second attempt because an operator removes the claim.
async fn one_that_is_lost(zk: &Coordinator, queue: &WorkQueue) {
    queue.push("d").await.unwrap();
    queue.pop().await.unwrap().nack().await.unwrap();
    let delivery = queue.pop().await.unwrap();
    delivery.extend(Duration::from_secs(1)).await.unwrap();
    let client = zk.client().await.unwrap();
    client.delete(delivery.path(), None).await.unwrap();
    delivery.lost().await;
    delivery.ack().await.unwrap_err();
}

/// An election, a schedule, a queue and its worker.
async fn one_of_the_others(zk: &Coordinator) {
    let lock = FairLock::new(zk, "/named").unwrap();
    lock.acquire().await.unwrap().release().await.unwrap();
    let leadership = LeaderElection::new(zk, "/jobs").unwrap().campaign("a").await.unwrap();
    leadership.ready().await.unwrap();
    let schedule = Schedule::new(zk, "/nightly", Timetable::every(Duration::from_millis(50)).unwrap()).unwrap();
    let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
    let until = async {
        runs.recv().await;
    };
    let work = |_| {
        ran.send(()).unwrap();
        async {}
    };
    schedule.run_until(&leadership, until, work).await.unwrap();
    leadership.resign().await.unwrap();

    let queue = WorkQueue::new(zk, "/orders").unwrap();
    for payload in ["a", "b", "c"] {
        queue.push(payload).await.unwrap();
    }
    queue.pop().await.unwrap().ack().await.unwrap();
    queue.pop().await.unwrap().reject("not JSON").await.unwrap();
    let (done, worked) = tokio::sync::oneshot::channel::<()>();
    let done = Mutex::new(Some(done));
    let handler = |_| {
        done.lock().unwrap().take();
        async { Ok::<_, Error>(()) }
    };
    let shutdown = async {
        let _ = worked.await;
    };
    queue.worker().shutdown(shutdown).run(handler).await.unwrap();
    assert_eq!(queue.stats().await.unwrap().dead, 1);
    one_that_is_lost(zk, &queue).await;
    queue.close().await;
}

#[tokio::test]
async fn ten_thousand_paths_give_a_bounded_number_of_series() {
    let recorded = recorded();
    let server = Server::start().await.unwrap();
    let zk = zookeeper_recipes::connect(&server.connect_string()).await.unwrap();
    let one_of_each = async |number: usize| {
        let path = format!("/paths/{number}");
        FairLock::new(&zk, &path)
            .unwrap()
            .acquire()
            .await
            .unwrap()
            .release()
            .await
            .unwrap();
    };
    one_of_each(0).await;
    drop(RwLock::new(&zk, "/rw").unwrap().read().await.unwrap());
    drop(
        LeaderElection::new(&zk, "/leader")
            .unwrap()
            .campaign("a")
            .await
            .unwrap(),
    );
    drop(Semaphore::new(&zk, "/bank", 1).unwrap().acquire().await.unwrap());
    let held = FairLock::new(&zk, "/held").unwrap().acquire().await.unwrap();
    let contended = FairLock::new(&zk, "/held").unwrap();
    contended.try_acquire().await.unwrap_err();
    contended.acquire_timeout(Duration::from_millis(50)).await.unwrap_err();
    held.release().await.unwrap();
    one_of_the_others(&zk.named("settlement")).await;
    one_that_makes_way(&zk.named("settlement")).await;
    for numbers in (1..10_000).collect::<Vec<_>>().chunks(100) {
        futures::future::join_all(numbers.iter().map(|number| one_of_each(*number))).await;
    }
    zk.close().await;

    let series = recorded.series.lock().unwrap();
    let count: usize = series.values().map(BTreeSet::len).sum();
    assert!(count < 80, "{count} series: {series:?}");
    assert!(!format!("{series:?}").contains('/'), "a label is a path: {series:?}");
    let recipes = &series["zookeeper_recipes.hold.duration"];
    for recipe in ["lock", "rwlock", "election", "semaphore"] {
        assert!(
            recipes
                .iter()
                .any(|labels| labels.contains(&format!("recipe={recipe},"))),
            "{recipes:?}"
        );
    }
    for (metric, wanted) in [
        ("hold.duration", "recipe=lock,outcome=released"),
        ("election.changes", ""),
        ("election.leading", ""),
        ("election.ready.duration", ""),
        ("schedule.runs", "outcome=started"),
        ("schedule.lateness", ""),
        ("queue.items", "state=dead"),
        ("queue.oldest.age", ""),
        ("queue.settled", "outcome=done"),
        ("queue.settled", "outcome=rejected"),
        ("queue.attempts", ""),
        ("queue.claims.lost", "error.type=node_removed"),
        ("queue.dead_letters", ""),
        ("rejoins", "recipe=lock"),
        ("revocations", "recipe=lock,outcome=asked"),
        ("revocations", "recipe=lock,outcome=received"),
        ("revocations", "recipe=lock,outcome=granted"),
    ] {
        let wanted = format!("name=settlement,{wanted}");
        let seen = &series[&format!("zookeeper_recipes.{metric}")];
        let wanted = wanted.trim_end_matches(',');
        assert!(
            seen.iter().any(|labels| labels == wanted),
            "{metric} {wanted}: {seen:?}"
        );
    }
    let counters = recorded.counters.lock().unwrap();
    let destination = "messaging.destination.name=settlement,messaging.system=zookeeper_recipes";
    for (metric, operation) in [
        ("client.operation.duration", "push,messaging.operation.type=send"),
        ("client.operation.duration", "pop,messaging.operation.type=receive"),
        ("client.operation.duration", "ack,messaging.operation.type=settle"),
        (
            "client.operation.duration",
            "ack,messaging.operation.type=settle,error.type=lost",
        ),
        ("client.operation.duration", "nack,messaging.operation.type=settle"),
        ("client.operation.duration", "reject,messaging.operation.type=settle"),
        ("client.operation.duration", "extend,messaging.operation.type=settle"),
        ("process.duration", "handle,messaging.operation.type=process"),
        ("client.sent.messages", "push"),
        ("client.consumed.messages", "pop"),
    ] {
        let wanted = format!("{destination},messaging.operation.name={operation}");
        let seen = &series[&format!("messaging.{metric}")];
        assert!(seen.contains(&wanted), "{metric} {wanted}: {seen:?}");
    }
    for (metric, wanted) in [("sent", "push"), ("consumed", "pop")] {
        let counted = format!("messaging.client.{metric}.messages {destination},messaging.operation.name={wanted}");
        let number = counters[&counted].load(Ordering::Relaxed);
        assert_eq!(number, if metric == "sent" { 4 } else { 5 }, "{counted}");
    }
    for counted in [
        "queue.claims.lost name=settlement,error.type=node_removed",
        "queue.dead_letters name=settlement",
        "rejoins name=settlement,recipe=lock",
        "revocations name=settlement,recipe=lock,outcome=asked",
        "revocations name=settlement,recipe=lock,outcome=received",
        "revocations name=settlement,recipe=lock,outcome=granted",
    ] {
        let counter = &counters[&format!("zookeeper_recipes.{counted}")];
        assert_eq!(counter.load(Ordering::Relaxed), 1, "{counted}");
    }
    for metric in [
        "sessions",
        "proof.duration",
        "lease.remaining",
        "cleanup.backlog",
        "watched",
    ] {
        assert!(series.contains_key(&format!("zookeeper_recipes.{metric}")), "{metric}");
    }
    let outcomes = &series["zookeeper_recipes.acquire.duration"];
    for outcome in ["granted", "timeout", "contended"] {
        assert!(
            outcomes
                .iter()
                .any(|labels| labels.contains(&format!("outcome={outcome}"))),
            "{outcomes:?}"
        );
    }
    let known: BTreeSet<_> = TABLE.iter().map(|metric| metric.name).collect();
    let unknown: Vec<_> = series.keys().filter(|name| !known.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "recorded, but not in the table: {unknown:?}");
}
