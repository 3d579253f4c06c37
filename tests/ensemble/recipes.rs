//! The recipes under test: for each, what one contender does once. It takes a place, in one of the ways there are,
//! believes in it, and gives it back.

use futures::future::{BoxFuture, FutureExt};
use zookeeper_recipes::{DoubleBarrier, FairLock, LeaderElection, LeaveTimeoutError, MultiLock, RwLock, Semaphore};
use zookeeper_testkit::Mode;

use crate::workload::{Contender, taken, text};

pub(crate) type Recipe = fn(Contender) -> BoxFuture<'static, Result<(), String>>;

pub(crate) const RECIPES: &[Recipe] = &[
    |contender| lock(contender).boxed(),
    |contender| multi_lock(contender).boxed(),
    |contender| read_write_lock(contender).boxed(),
    |contender| election(contender).boxed(),
    |contender| semaphore(contender).boxed(),
    |contender| double_barrier(contender).boxed(),
];

/// Where the places are that one at a time may write, and that are empty in the end.
pub(crate) const DIRECTORIES: &[&str] = &["/locks", "/rwlocks", "/elections"];

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
        Err(LeaveTimeoutError::Error(error)) => Err(text(error)),
        _ => Ok(()),
    }
}
