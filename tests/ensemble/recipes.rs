//! The recipes under test: for each, what one contender does once. It takes a place, in one of the ways there are,
//! believes in it, and gives it back.

use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use zookeeper_recipes::queue::{
    AckError, Delivery, FifoPopError, FifoPopTimeoutError, FifoPushError, FifoQueue, NewItem, PushError, PushOptions,
    WorkQueue,
};
use zookeeper_recipes::{
    CompleteError, DoubleBarrier, FairLock, LeaderElection, LeaveTimeoutError, MultiLock, Relay, ReleaseError, RwLock,
    Semaphore, Turn,
};
use zookeeper_testkit::Mode;

use crate::audit::{MAX_ATTEMPTS, NO_RESULT, parse_result};
use crate::books::Event;
use crate::workload::{Contender, Tried, taken, text};

pub(crate) type Recipe = fn(Contender) -> BoxFuture<'static, Result<(), String>>;

pub(crate) const RECIPES: &[Recipe] = &[
    |contender| lock(contender).boxed(),
    |contender| multi_lock(contender).boxed(),
    |contender| read_write_lock(contender).boxed(),
    |contender| election(contender).boxed(),
    |contender| semaphore(contender).boxed(),
    |contender| double_barrier(contender).boxed(),
    |contender| work_queue(contender).boxed(),
    |contender| fifo_queue(contender).boxed(),
    |contender| relay(contender).boxed(),
];

/// Those of them with books: where more than holds is at stake.
pub(crate) const BOOKED: &[Recipe] = RECIPES.split_at(RECIPES.len() - 3).1;

/// The work queue alone.
pub(crate) const WORK: &[Recipe] = &[|contender| work_queue(contender).boxed()];

/// Where the places are that one at a time may write, and the part of them that is empty in the end.
pub(crate) const DIRECTORIES: &[(&str, &str)] =
    &[("/locks", ""), ("/rwlocks", ""), ("/elections", ""), (RELAYS, "/line")];

pub(crate) const WORK_QUEUES: &str = "/work";
pub(crate) const FIFO_QUEUES: &str = "/fifo";
pub(crate) const RELAYS: &str = "/relays";

async fn lock(mut contender: Contender) -> Result<(), String> {
    let path = contender.place("/locks");
    let lock = FairLock::new(&contender.zk, &path).map_err(text)?;
    let limit = contender.limit();
    let (tried, limited) = (lock.try_acquire(), lock.acquire_timeout(limit));
    let Some(guard) = contender.take(limit, tried, limited, lock.acquire()).await? else {
        return Ok(());
    };
    contender.believe(&[&path], Mode::Exclusive, &guard).await;
    contender.write_fenced(&path, &guard).await?;
    contender.give_back(guard.release()).await
}

/// Two places of [`lock`] at once.
async fn multi_lock(mut contender: Contender) -> Result<(), String> {
    let first = contender.place("/locks");
    let mut second = contender.place("/locks");
    while second == first {
        second = contender.place("/locks");
    }
    let paths = [first, second];
    let lock = MultiLock::new(&contender.zk, &paths).map_err(text)?;
    let limit = contender.limit();
    let (tried, limited) = (lock.try_acquire(), lock.acquire_timeout(limit));
    let Some(guard) = contender.take(limit, tried, limited, lock.acquire()).await? else {
        return Ok(());
    };
    contender
        .believe(&[&paths[0], &paths[1]], Mode::Exclusive, &guard)
        .await;
    contender.write_fenced(&paths[0], &guard).await?;
    contender.give_back(guard.release()).await
}

async fn read_write_lock(mut contender: Contender) -> Result<(), String> {
    let path = contender.place("/rwlocks");
    let lock = RwLock::new(&contender.zk, &path).map_err(text)?;
    let limit = contender.limit();
    if contender.random.bool() {
        let (tried, limited) = (lock.try_read(), lock.read_timeout(limit));
        let Some(guard) = contender.take(limit, tried, limited, lock.read()).await? else {
            return Ok(());
        };
        contender.believe(&[&path], Mode::Shared, &guard).await;
        return contender.give_back(guard.release()).await;
    }
    let (tried, limited) = (lock.try_write(), lock.write_timeout(limit));
    let Some(guard) = contender.take(limit, tried, limited, lock.write()).await? else {
        return Ok(());
    };
    contender.believe(&[&path], Mode::Exclusive, &guard).await;
    contender.write_fenced(&path, &guard).await?;
    contender.give_back(guard.release()).await
}

async fn election(mut contender: Contender) -> Result<(), String> {
    let path = contender.place("/elections");
    let election = LeaderElection::new(&contender.zk, &path).map_err(text)?;
    let limit = contender.limit();
    let (tried, limited) = (
        election.try_campaign("tried"),
        election.campaign_timeout("limited", limit),
    );
    let elected = contender.take(limit, tried, limited, election.campaign("waited"));
    let Some(leadership) = elected.await? else {
        return Ok(());
    };
    contender.believe(&[&path], Mode::Exclusive, &leadership).await;
    contender.write_fenced(&path, &leadership).await?;
    contender.give_back(leadership.resign()).await
}

/// One to all of three permits.
async fn semaphore(mut contender: Contender) -> Result<(), String> {
    const PERMITS: u32 = 3;
    let path = contender.meeting_place("/semaphores");
    let semaphore = Semaphore::new(&contender.zk, &path, PERMITS).map_err(text)?;
    let (limit, wanted) = (contender.limit(), contender.random.u32(1..=PERMITS));
    let (tried, limited) = (
        semaphore.try_acquire_many(wanted),
        semaphore.acquire_many_timeout(wanted, limit),
    );
    let waited = semaphore.acquire_many(wanted);
    let Some(permit) = contender.take(limit, tried, limited, waited).await? else {
        return Ok(());
    };
    let mode = Mode::Permits {
        taken: permit.permits(),
        limit: PERMITS,
    };
    contender.believe(&[&path], mode, &permit).await;
    contender.give_back(permit.release()).await
}

/// For two. Nobody is owed a second one, so nobody waits for ever.
async fn double_barrier(mut contender: Contender) -> Result<(), String> {
    let path = contender.meeting_place("/barriers");
    let barrier = DoubleBarrier::new(&contender.zk, &path, 2).map_err(text)?;
    let limit = contender.limit();
    let Some(inside) = taken(barrier.enter_timeout(limit).await)? else {
        return Ok(());
    };
    contender.believe(&[&path], Mode::Shared, &inside).await;
    if contender.random.bool() {
        return Ok(());
    }
    match inside.leave_timeout(limit).await {
        Err(LeaveTimeoutError::Error(ReleaseError::Error(error))) => Err(text(error)),
        _ => Ok(()),
    }
}

/// Pushes items, and takes at most as many, so that there is one for everybody who waits.
async fn work_queue(mut contender: Contender) -> Result<(), String> {
    let path = contender.meeting_place(WORK_QUEUES);
    let queue = contender.queue(&path, |queues| &mut queues.work, work_queue_at)?;
    let count = contender.random.usize(1..=3);
    let items: Vec<String> = (0..count).map(|_| contender.name_item()).collect();
    for item in &items {
        contender.note(&path, Event::Pushing, item, 0);
    }
    if contender.random.bool() {
        push_once_with_keys(&mut contender, &queue, &items).await?;
    } else {
        match queue.push_all(items.clone()).await {
            Ok(_) => {}
            Err(PushError::Indeterminate { .. }) => return Ok(()),
            Err(error) => return Err(text(error)),
        }
    }
    for item in &items {
        contender.note(&path, Event::Pushed, item, 0);
    }

    let limit = contender.limit();
    let tried = async {
        let delivery = queue.try_pop().await.map_err(Tried::Error)?;
        delivery.map(|delivery| vec![delivery]).ok_or(Tried::Nothing)
    };
    let limited = async { queue.pop_timeout(limit).await.map(|delivery| vec![delivery]) };
    let Some(deliveries) = contender.take(limit, tried, limited, queue.pop_batch(count)).await? else {
        return Ok(());
    };
    let items: Vec<String> = deliveries.iter().map(|item| text_of(item.payload())).collect();
    for (delivery, item) in deliveries.iter().zip(&items) {
        contender.note(&path, Event::Delivered, item, delivery.token().as_i64());
    }
    if let Some(delivery) = deliveries.first() {
        let paths: Vec<String> = items.iter().map(|item| format!("{path}/{item}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        contender.believe(&paths, Mode::Exclusive, delivery).await;
    }
    for (delivery, item) in deliveries.into_iter().zip(&items) {
        settle(&mut contender, &path, delivery, item).await?;
    }
    Ok(())
}

pub(crate) fn work_queue_at(contender: &Contender, path: &str) -> Result<WorkQueue, String> {
    let queue = WorkQueue::builder(&contender.zk, path).max_attempts(MAX_ATTEMPTS);
    queue.build().map_err(text)
}

/// Pushes each item, some of them once more, which changes nothing.
async fn push_once_with_keys(contender: &mut Contender, queue: &WorkQueue, items: &[String]) -> Result<(), String> {
    for item in items {
        let push = || queue.push(NewItem::new(item.clone()).with(PushOptions::new().key(item)));
        let id = push().await.map_err(text)?;
        if contender.random.u8(..4) == 0 {
            let again = push().await.map_err(text)?;
            if again != id {
                return Err(format!("{item} was pushed twice with one key, as {id} and {again}"));
            }
        }
    }
    Ok(())
}

async fn settle(contender: &mut Contender, path: &str, delivery: Delivery, item: &str) -> Result<(), String> {
    let token = delivery.token().as_i64();
    let way = if contender.is_patient() {
        9
    } else {
        contender.random.u8(..10)
    };
    let given_back = match way {
        0 => {
            drop(delivery);
            Ok(())
        }
        1 => delivery.nack().await,
        2 => delivery.nack_after(Duration::from_millis(200)).await,
        _ => return acknowledge(contender, path, delivery, item).await,
    };
    // Whether it was given back or lost, this delivery has not done it.
    contender.note(path, Event::NotAcked, item, token);
    match given_back {
        Ok(()) | Err(AckError::Indeterminate | AckError::Lost(_)) => Ok(()),
        Err(error) => Err(text(error)),
    }
}

/// With a result that tells who did it.
pub(crate) async fn acknowledge(
    contender: &Contender,
    path: &str,
    delivery: Delivery,
    item: &str,
) -> Result<(), String> {
    let token = delivery.token().as_i64();
    let event = match delivery.ack_with(format!("{item} {token}")).await {
        Ok(()) => Event::Acked,
        Err(AckError::Indeterminate) => Event::AckDoubted,
        Err(AckError::Lost(_)) => Event::NotAcked,
        Err(error) => return Err(text(error)),
    };
    contender.note(path, event, item, token);
    Ok(())
}

/// Pushes an item, and takes at most one.
async fn fifo_queue(mut contender: Contender) -> Result<(), String> {
    let path = contender.meeting_place(FIFO_QUEUES);
    let queue = contender.queue(
        &path,
        |queues| &mut queues.fifo,
        |contender, path| FifoQueue::new(&contender.zk, path).map_err(text),
    )?;
    let item = contender.name_item();
    contender.note(&path, Event::Pushing, &item, 0);
    match queue.push(item.clone()).await {
        Ok(()) => contender.note(&path, Event::Pushed, &item, 0),
        Err(FifoPushError::Indeterminate) => return Ok(()),
        Err(error) => return Err(text(error)),
    }

    let (limit, way) = (contender.limit(), contender.random.u8(..10));
    contender.note(&path, Event::Popping, "-", 0);
    let popped = match way {
        _ if contender.is_patient() => queue.pop().await.map(Some),
        // What is removed for a pop that is dropped, or out of time, stays with the queue: a process that is killed would
        // lose it, and nobody would know that it had it.
        0 if !contender.is_mortal() => match tokio::time::timeout(limit, queue.pop()).await {
            Ok(popped) => popped.map(Some),
            Err(_) => return contender.noted(&path, Event::PopDropped),
        },
        1 | 2 if !contender.is_mortal() => match queue.pop_timeout(limit).await {
            Ok(popped) => Ok(Some(popped)),
            Err(FifoPopTimeoutError::Elapsed { .. }) => return contender.noted(&path, Event::PopDropped),
            Err(FifoPopTimeoutError::Error(error)) => Err(error),
            Err(error) => return Err(text(error)),
        },
        0..5 => queue.try_pop().await,
        _ => queue.pop().await.map(Some),
    };
    contender.note_pop(&path, popped)
}

impl Contender {
    /// Notes what came of a pop from a FIFO queue.
    pub(crate) fn note_pop(
        &self,
        path: &str,
        popped: Result<Option<impl AsRef<[u8]>>, FifoPopError>,
    ) -> Result<(), String> {
        match popped {
            Ok(Some(item)) => self.note(path, Event::Popped, &text_of(item), 0),
            Ok(None) => self.note(path, Event::NotPopped, "-", 0),
            Err(FifoPopError::Indeterminate { item, .. }) => self.note(path, Event::PopDoubted, &text_of(item), 0),
            Err(error) => return Err(text(error)),
        }
        Ok(())
    }

    fn noted(&self, path: &str, event: Event) -> Result<(), String> {
        self.note(path, event, "-", 0);
        Ok(())
    }
}

/// Each result is how many turns were completed with it, and the token of its turn.
async fn relay(mut contender: Contender) -> Result<(), String> {
    let path = contender.place(RELAYS);
    let relay = Relay::new(&contender.zk, &path).map_err(text)?;
    let limit = contender.limit();
    let (tried, limited) = (relay.try_join(), relay.join_timeout(limit));
    let Some(turn) = contender.take(limit, tried, limited, relay.join()).await? else {
        return Ok(());
    };
    begin(&contender, &path, &turn)?;
    let token = turn.token().as_i64();
    contender.believe(&[&path], Mode::Exclusive, &turn).await;
    contender.write_fenced(&path, &turn).await?;
    if contender.random.u8(..4) == 0 {
        contender.note(&path, Event::NotCompleted, "-", token);
        return contender.give_back(turn.release()).await;
    }
    let result = format!("{}:{token}", turn.step() + 1);
    let event = match turn.complete(result.clone()).await {
        Ok(()) => Event::Completed,
        Err(CompleteError::Lost(_)) => Event::NotCompleted,
        Err(CompleteError::Indeterminate) => Event::CompletionDoubted,
        Err(error) => return Err(text(error)),
    };
    contender.note(&path, event, &result, token);
    Ok(())
}

/// Notes what a turn was given.
pub(crate) fn begin(contender: &Contender, path: &str, turn: &Turn) -> Result<(), String> {
    let given = turn.previous().map_or_else(|| NO_RESULT.to_owned(), text_of);
    let event = match turn.predecessor_lost() {
        true => Event::BeganAfterLoss,
        false => Event::Began,
    };
    contender.note(path, event, &given, turn.token().as_i64());
    match parse_result(&given) {
        Some((step, _)) if step == turn.step() => Ok(()),
        _ => Err(format!("{path}: {given} was given in step {}", turn.step())),
    }
}

fn text_of(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).into_owned()
}
