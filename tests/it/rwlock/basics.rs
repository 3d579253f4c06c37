//! Who shares, and who waits for whom.

use std::time::Duration;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{Layout, RwLock, TryAcquireError};

use super::{DIR, assert_waits, join_reader, join_writer, name, read, rw, write};
use crate::support::cost::make_dir;
use crate::support::{PATIENCE, elapsed, granted, start, start_each};

#[tokio::test]
async fn readers_share_and_a_writer_has_it_alone() {
    let (fixture, [one, two]) = start_each("share").await;
    let readers = [read(&rw(&one)).await, read(&rw(&two)).await, read(&rw(&one)).await];
    assert!(readers.iter().all(|reader| reader.is_held()));
    let writer = join_writer(&fixture, &two, 4).await;
    for reader in readers {
        assert_waits(&fixture, &two, &writer).await;
        reader.release().await.unwrap();
    }
    let writer = granted(writer).await;
    let other = join_writer(&fixture, &one, 2).await;
    let reader = join_reader(&fixture, &two, 3).await;
    assert_waits(&fixture, &one, &other).await;
    assert_waits(&fixture, &two, &reader).await;
    drop(writer);
    granted(other).await.release().await.unwrap();
    granted(reader).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// Writers do not starve: the lock is read, and yet a reader that comes after a writer has to let it pass.
#[tokio::test]
async fn a_reader_behind_a_waiting_writer_waits() {
    let (fixture, [one, two]) = start_each("no starvation").await;
    let first = read(&rw(&one)).await;
    let writer = join_writer(&fixture, &two, 2).await;
    let later = join_reader(&fixture, &one, 3).await;
    assert_waits(&fixture, &one, &later).await;
    first.release().await.unwrap();
    let writer = granted(writer).await;
    assert_waits(&fixture, &one, &later).await;
    writer.release().await.unwrap();
    granted(later).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn readers_pass_a_writer_that_gives_up() {
    let (fixture, [one, two]) = start_each("writer gives up").await;
    let first = read(&rw(&one)).await;
    let writer = join_writer(&fixture, &two, 2).await;
    let later = join_reader(&fixture, &one, 3).await;
    writer.abort();
    let later = granted(later).await;
    assert!(first.is_held() && later.is_held());
    drop((first, later));
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn try_forms_see_holders_and_waiters() {
    let (fixture, [one, two]) = start_each("try").await;
    let (mine, other) = (rw(&one), rw(&two));
    let reader = mine.try_read().await.unwrap();
    let second = other.try_read().await.unwrap();
    assert_eq!(other.try_write().await.unwrap_err(), TryAcquireError::Contended);
    second.release().await.unwrap();
    let writer = join_writer(&fixture, &two, 2).await;
    assert_eq!(mine.try_read().await.unwrap_err(), TryAcquireError::Contended);
    reader.release().await.unwrap();
    let writer = granted(writer).await;
    assert_eq!(mine.try_read().await.unwrap_err(), TryAcquireError::Contended);
    assert_eq!(mine.try_write().await.unwrap_err(), TryAcquireError::Contended);
    writer.release().await.unwrap();
    mine.try_write().await.unwrap().release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn on_a_timeout_no_node_is_left() {
    let (fixture, [one, two]) = start_each("timeouts").await;
    let (mine, other) = (rw(&one), rw(&two));
    let after = Duration::from_millis(200);
    let writer = write(&other).await;
    for _ in 0..2 {
        assert_eq!(elapsed(mine.read_timeout(after).await), Some(after));
        assert_eq!(elapsed(mine.write_timeout(after).await), Some(after));
        assert_eq!(fixture.children(DIR).await, [name(writer.path())]);
    }
    writer.release().await.unwrap();
    mine.write_timeout(PATIENCE).await.unwrap().release().await.unwrap();
    mine.read_timeout(PATIENCE).await.unwrap().release().await.unwrap();
    fixture.assert_no_nodes_left(&[DIR]).await;
}

#[tokio::test]
async fn names_are_those_of_curator_or_kazoo() {
    let (fixture, zk) = start("names").await;
    for (layout, reads, writes) in [
        (Layout::Curator, "-__READ__", "-__WRIT__"),
        (Layout::Kazoo, "__rlock__", "__lock__"),
    ] {
        let lock = RwLock::builder(&zk, DIR).layout(layout).build().unwrap();
        let reader = read(&lock).await;
        assert!(reader.path().contains(reads), "{}", reader.path());
        reader.release().await.unwrap();
        let writer = write(&lock).await;
        assert!(writer.path().contains(writes), "{}", writer.path());
        let reader = writer.downgrade().await.unwrap();
        assert!(reader.path().contains(reads), "{}", reader.path());
        reader.release().await.unwrap();
    }
    fixture.assert_no_nodes_left(&[DIR]).await;
}

/// Contenders of Curator and kazoo, as their names and kinds of nodes have it, block ours where they should.
#[tokio::test]
async fn contenders_of_others_stand_in_the_same_line() {
    let (fixture, zk) = start("others").await;
    make_dir(&fixture, DIR).await;
    let options = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_all());
    for (prefix, is_reader) in [
        ("_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-__READ__", true),
        ("_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-__WRIT__", false),
        ("2c3b1a4e9f4b4a578a587a1d2c9b0e11__rlock__", true),
        ("2c3b1a4e9f4b4a578a587a1d2c9b0e11__lock__", false),
    ] {
        let path = format!("{DIR}/{prefix}");
        let (_, sequence) = fixture.raw().create(&path, b"127.0.0.1", &options).await.unwrap();
        let reader = rw(&zk).try_read().await;
        assert_eq!(reader.is_ok(), is_reader, "{prefix}");
        drop(reader);
        assert_eq!(
            rw(&zk).try_write().await.unwrap_err(),
            TryAcquireError::Contended,
            "{prefix}"
        );
        fixture.raw().delete(&format!("{path}{sequence}"), None).await.unwrap();
        fixture.until_children(DIR, 0).await;
    }
    fixture.assert_no_nodes_left(&[DIR]).await;
}
