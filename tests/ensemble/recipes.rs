//! The recipes under test: for each, what one contender does once. It takes a place, in one of the ways there are,
//! believes in it, and gives it back.

use futures::future::{BoxFuture, FutureExt};
use zookeeper_recipes::{FairLock, MultiLock, RwLock};
use zookeeper_testkit::Mode;

use crate::workload::{Contender, text};

pub(crate) type Recipe = fn(Contender) -> BoxFuture<'static, Result<(), String>>;

pub(crate) const RECIPES: &[Recipe] = &[
    |contender| lock(contender).boxed(),
    |contender| multi_lock(contender).boxed(),
    |contender| read_write_lock(contender).boxed(),
];

/// Where their places are.
pub(crate) const DIRECTORIES: &[&str] = &["/locks", "/rwlocks"];

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
