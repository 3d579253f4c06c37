//! The end of a run: what is left in the queues is taken, and what the ensemble has of all items is written down.

use std::time::Duration;

use futures::future::join_all;
use zookeeper_recipes::Relay;
use zookeeper_recipes::queue::FifoQueue;
use zookeeper_testkit::{Fixture, eventually, within};

use crate::books::Event;
use crate::recipes::{FIFO_QUEUES, RELAYS, WORK_QUEUES, acknowledge, begin, work_queue_at};
use crate::workload::{Contender, Pace};

const PATIENCE: Duration = Duration::from_secs(60);

/// `last` comes after all `contenders` of `pace`.
pub(crate) async fn close(last: &Contender, pace: Pace, contenders: Vec<Contender>, fixture: &Fixture) {
    for contender in contenders {
        for (path, queue) in contender.fifo_queues() {
            empty_fifo_queue(&contender, &path, &queue).await;
        }
    }
    let meeting_places = |dir| pace.meeting_places().map(move |place| format!("{dir}/{place}"));
    join_all(meeting_places(FIFO_QUEUES).map(|path| async move {
        let queue = FifoQueue::new(&last.zk, &path).expect("valid");
        empty_fifo_queue(last, &path, &queue).await;
    }))
    .await;
    close_work_queues(last, pace, fixture).await;
    let relays = pace.places().map(|place| format!("{RELAYS}/{place}"));
    join_all(relays.map(|path| async move {
        let relay = Relay::new(&last.zk, &path).expect("valid");
        let turn = within(PATIENCE, "the last turn", relay.join()).await.expect("healed");
        begin(last, &path, &turn).unwrap_or_else(|problem| panic!("{problem}"));
        // Lost, if the machine is too slow for its session: as good as given back.
        let _ = turn.release().await;
    }))
    .await;
}

/// The part of [`close`] that is about work queues.
pub(crate) async fn close_work_queues(last: &Contender, pace: Pace, fixture: &Fixture) {
    let queues = pace.meeting_places().map(|place| format!("{WORK_QUEUES}/{place}"));
    join_all(queues.map(|path| async move {
        empty_work_queue(last, &path).await;
        note_ends(last, &path, fixture).await;
    }))
    .await;
}

async fn empty_fifo_queue(last: &Contender, path: &str, queue: &FifoQueue) {
    loop {
        last.note(path, Event::Popping, "-", 0);
        let popped = within(PATIENCE, "a pop of what is left", queue.try_pop()).await;
        let is_empty = matches!(popped, Ok(None));
        last.note_pop(path, popped)
            .unwrap_or_else(|problem| panic!("{problem}"));
        if is_empty {
            return;
        }
    }
}

async fn empty_work_queue(last: &Contender, path: &str) {
    let queue = work_queue_at(last, path).expect("valid");
    // Those whom nobody serves any more are given back by whoever takes something.
    eventually(PATIENCE, "nothing is left in the work queue", || async {
        loop {
            // A pop that is dropped gives back what it has claimed: where there is something, it is waited for.
            let limit = match queue.is_empty().await.expect("healed") {
                true => Duration::from_millis(100),
                false => PATIENCE / 4,
            };
            let Ok(batch) = tokio::time::timeout(limit, queue.pop_batch(128)).await else {
                break;
            };
            let acks = batch.expect("healed").into_iter().map(|delivery| async move {
                let item = String::from_utf8_lossy(delivery.payload()).into_owned();
                let token = delivery.token().as_i64();
                last.note(path, Event::Delivered, &item, token);
                acknowledge(last, path, delivery, &item).await
            });
            for acknowledged in join_all(acks).await {
                acknowledged.unwrap_or_else(|problem| panic!("{path}: {problem}"));
            }
        }
        let stats = queue.stats().await.expect("healed");
        stats.ready + stats.delayed + stats.claimed == 0
    })
    .await;
}

/// What became of the items of a work queue.
async fn note_ends(last: &Contender, path: &str, fixture: &Fixture) {
    let queue = work_queue_at(last, path).expect("valid");
    for dead in queue.dead_letters().await.expect("healed") {
        let item = String::from_utf8_lossy(&dead.payload).into_owned();
        assert_eq!(dead.attempts, crate::audit::MAX_ATTEMPTS, "{path}: {item} is dead");
        last.note(path, Event::Dead, &item, 0);
    }
    let results = format!("{path}/results");
    for shard in fixture.children(&results).await {
        let shard = format!("{results}/{shard}");
        let reads = fixture.children(&shard).await.into_iter().map(|id| {
            let node = format!("{shard}/{id}");
            async move { fixture.raw().get_data(&node).await.expect("results stay").0 }
        });
        for result in join_all(reads).await {
            // The format and the kind of the outcome come first.
            let result = String::from_utf8_lossy(&result[2..]).into_owned();
            let (item, token) = result.split_once(' ').expect("as it was written");
            last.note(path, Event::Done, item, token.parse().expect("as it was written"));
        }
    }
}
