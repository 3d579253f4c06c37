//! Live and ready are told apart, and a standby is healthy.

use std::future::pending;
use std::ops::ControlFlow;
use std::time::Duration;

use zookeeper_recipes::queue::{FifoQueue, WorkQueue};
use zookeeper_recipes::{Coordinator, Health, LeaderElection, Schedule, Timetable};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::support::{LONG, PATIENCE, acquire, connect, lock, start, start_proxied};

async fn until(what: &str, health: impl Fn() -> Health, is_reached: impl Fn(&Health) -> bool) {
    eventually(PATIENCE, what, || async { is_reached(&health()) }).await;
    println!("{}", health());
}

fn assert_ready(health: &Health, line: &str) {
    assert!(health.is_live && health.is_ready, "{health}");
    assert_eq!(health.to_string(), line);
}

#[tokio::test]
async fn a_coordinator_is_ready_while_connected() {
    let (fixture, proxy, zk) = start_proxied("health", LONG).await;
    let guard = acquire(&lock(&zk, "/l")).await;
    assert_ready(&zk.health(), "coordinator: ready; connected, 1 hold, 0 waiters");

    proxy.refuse().await;
    let health = || zk.health();
    until("disconnected", health, |health| !health.is_ready).await;
    assert!(zk.health().is_live, "a restart would not help");
    assert!(zk.health().message.starts_with("no server answers since "));
    proxy.accept().await;
    until("connected again", health, |health| health.is_ready).await;

    guard.release().await.unwrap();
    let clone = zk.clone();
    zk.close().await;
    let health = clone.health();
    assert!(!health.is_live && !health.is_ready, "{health}");
    assert!(health.to_string().starts_with("coordinator: dead; "), "{health}");
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[tokio::test]
async fn a_leader_is_ready_once_it_says_so() {
    let fixture = Fixture::new("health of elections").await;
    let builder = |zk: &Coordinator| LeaderElection::builder(zk, "/e").ready_within(PATIENCE);
    let (ours, others) = (connect(&fixture).await, connect(&fixture).await);
    let (first, second) = (builder(&ours).build().unwrap(), builder(&others).build().unwrap());
    let idle = first.health();
    assert!(idle.is_live && !idle.is_ready, "{idle}");
    assert_eq!(idle.to_string(), "election /e: not ready; does not stand for election");

    let leadership = within(PATIENCE, "elected", first.campaign("a")).await.unwrap();
    let elected = first.health();
    assert!(elected.is_live && !elected.is_ready, "{elected}");
    leadership.ready().await.unwrap();
    let term = leadership.token();
    assert_ready(
        &first.health(),
        &format!("election /e: ready; leads, term {term}, ready"),
    );

    let standby = tokio::spawn({
        let second = second.clone();
        async move { second.campaign("b").await }
    });
    fixture.until_children("/e", 2).await;
    assert_ready(&second.health(), "election /e: ready; stands by");
    leadership.resign().await.unwrap();
    let next = within(PATIENCE, "elected", standby).await.unwrap().unwrap();
    assert!(!second.health().is_ready, "{}", second.health());
    next.resign().await.unwrap();
    assert!(!second.health().is_ready, "{}", second.health());
    fixture.assert_no_nodes_left(&["/e"]).await;
}

#[tokio::test]
async fn a_failing_leader_is_unready_while_backing_off() {
    let (fixture, zk) = start("health of a failing leader").await;
    let election = LeaderElection::builder(&zk, "/e").backoff(LONG, LONG).build().unwrap();
    let running = tokio::spawn({
        let election = election.clone();
        async move { election.run("a", |_| async { ControlFlow::<()>::Continue(()) }).await }
    });
    let failed = |health: &Health| {
        health
            .message
            .starts_with("1 leader failed in sequence; stands again in ")
    };
    until("it backs off", || election.health(), failed).await;
    assert!(election.health().is_live && !election.health().is_ready);
    running.abort();
    fixture.assert_no_nodes_left(&["/e"]).await;
}

#[tokio::test]
async fn a_schedule_tells_what_it_does() {
    let (fixture, zk) = start("health of schedules").await;
    let timetable = Timetable::every(Duration::from_millis(50)).unwrap();
    let schedule = Schedule::new(&zk, "/jobs/a", timetable).unwrap();
    assert_ready(&schedule.health(), "schedule /jobs/a: ready; stands by");
    let election = LeaderElection::new(&zk, "/e").unwrap();
    let leadership = within(PATIENCE, "elected", election.campaign("")).await.unwrap();
    let running = tokio::spawn({
        let schedule = schedule.clone();
        async move { schedule.run(&leadership, |_| pending()).await }
    });
    let runs = |health: &Health| health.is_ready && health.message.starts_with("runs the job for ");
    until("it runs", || schedule.health(), runs).await;
    running.abort();
    until(
        "stands by",
        || schedule.health(),
        |health| health.message == "stands by",
    )
    .await;
    fixture.assert_no_nodes_left(&["/e"]).await;
}

#[tokio::test]
async fn a_queue_is_live_until_it_is_closed() {
    let (_fixture, zk) = start("health of queues").await;
    let queue = WorkQueue::new(&zk, "/q").unwrap();
    assert_ready(&queue.health(), "queue /q: ready; 0 settled items to be written");
    queue.push("a").await.unwrap();
    within(PATIENCE, "an item", queue.pop())
        .await
        .unwrap()
        .ack()
        .await
        .unwrap();
    let fifo = FifoQueue::new(&zk, "/f").unwrap();
    assert_ready(&fifo.health(), "queue /f: ready; 0 popped items to be handed out");
    fifo.close().await;
    assert!(!fifo.health().is_live, "{}", fifo.health());
    queue.close().await;
    let closed = queue.health();
    assert!(!closed.is_live && !closed.is_ready, "{closed}");
    assert!(zk.health().is_ready, "only this queue is closed");
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn health_is_read_by_machines() {
    let (_fixture, zk) = start("health as values").await;
    let health = zk.health();
    let json = serde_json::to_value(&health).unwrap();
    assert_eq!(json["is_live"], true);
    assert_eq!(json["subject"], "coordinator");
    assert_eq!(serde_json::from_value::<Health>(json).unwrap(), health);
}
