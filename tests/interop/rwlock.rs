//! `RwLock` in one line with Curator's `InterProcessReadWriteLock` and with kazoo's `ReadLock` and `WriteLock`.

use zookeeper_client::{Acls, CreateMode};
use zookeeper_recipes::{Coordinator, Layout, RwLock};
use zookeeper_testkit::{Fixture, within};

use crate::line::{Contender, is_served_in_turns, still_waits, survives_the_end_of_sessions, waits_on};
use crate::peer::{Actor, Peer};
use crate::support::{PATIENCE, SHORT, connect, connect_mortal};

const PATH: &str = "/rw";

/// The regular expressions by which kazoo sees writers and readers with Curator's names, and ours.
const SEES_WRITERS: &[&str] = &["__WRIT__"];
const SEES_ALL: &[&str] = &["__READ__", "__WRIT__"];

fn lock(zk: &Coordinator, layout: Layout) -> RwLock {
    RwLock::builder(zk, PATH).layout(layout).build().expect("a valid path")
}

async fn our_reader(fixture: &Fixture, layout: Layout) -> Contender {
    let zk = connect(fixture).await;
    let lock = lock(&zk, layout);
    Contender::ours(&zk, async move { lock.read().await })
}

fn writer_of(zk: &Coordinator, layout: Layout) -> Contender {
    let lock = lock(zk, layout);
    Contender::ours(zk, async move { lock.write().await })
}

async fn our_writer(fixture: &Fixture, layout: Layout) -> Contender {
    writer_of(&connect(fixture).await, layout)
}

fn curators_reader(actor: &Actor) -> Contender {
    Contender::theirs(actor, "read", "release-read")
}

fn curators_writer(actor: &Actor) -> Contender {
    Contender::theirs(actor, "write", "release-write")
}

fn kazoos(actor: &Actor) -> Contender {
    Contender::theirs(actor, "acquire", "release")
}

#[tokio::test]
async fn readers_and_writers_of_curator_and_ours_are_one_line() {
    let fixture = Fixture::new("readers_and_writers_of_curator_and_ours").await;
    let curator = Peer::curator();
    let mut java = Vec::new();
    for _ in 0..7 {
        java.push(curator.actor(&fixture, "rwlock", PATH).await);
    }
    let ours = Layout::Curator;
    let turns = vec![
        vec![curators_writer(&java[0])],
        vec![our_reader(&fixture, ours).await, curators_reader(&java[1])],
        vec![our_writer(&fixture, ours).await],
        vec![
            curators_reader(&java[2]),
            our_reader(&fixture, ours).await,
            curators_reader(&java[3]),
        ],
        vec![curators_writer(&java[4])],
        vec![our_writer(&fixture, ours).await],
        // Readers of one kind alone, who keep a writer of the other out.
        vec![our_reader(&fixture, ours).await],
        vec![curators_writer(&java[5])],
        vec![curators_reader(&java[6])],
        vec![our_writer(&fixture, ours).await],
    ];
    is_served_in_turns(&fixture, PATH, turns).await;
}

#[tokio::test]
async fn readers_and_writers_of_kazoo_and_ours_are_one_line() {
    let fixture = Fixture::new("readers_and_writers_of_kazoo_and_ours").await;
    let kazoo = Peer::kazoo();
    let servers = fixture.connect_string();
    let none: &[&str] = &[];
    for (layout, of_readers, of_writers) in [(Layout::Kazoo, none, none), (Layout::Curator, SEES_WRITERS, SEES_ALL)] {
        let reader = || kazoo.actor_with(&servers, SHORT, "read-lock", PATH, of_readers);
        let writer = || kazoo.actor_with(&servers, SHORT, "write-lock", PATH, of_writers);
        let turns = vec![
            vec![our_writer(&fixture, layout).await],
            vec![kazoos(&reader().await), our_reader(&fixture, layout).await],
            vec![kazoos(&writer().await)],
            vec![our_reader(&fixture, layout).await, kazoos(&reader().await)],
            vec![our_writer(&fixture, layout).await],
            vec![kazoos(&writer().await)],
            // Readers of one kind alone, who keep a writer of the other out.
            vec![our_reader(&fixture, layout).await],
            vec![kazoos(&writer().await)],
            vec![kazoos(&reader().await)],
            vec![our_writer(&fixture, layout).await],
        ];
        is_served_in_turns(&fixture, PATH, turns).await;
    }
}

/// As with the exclusive lock: kazoo and Curator cannot share a read-write lock, and ours writes kazoo's names only where
/// there is no Curator.
#[tokio::test]
async fn stock_curator_does_not_see_kazoo_names() {
    let fixture = Fixture::new("stock_curator_does_not_see_kazoo_names_of_a_read_write_lock").await;
    let zk = connect(&fixture).await;
    let java = Peer::curator().actor(&fixture, "rwlock", PATH).await;
    let guard = lock(&zk, Layout::Kazoo).write().await.expect("granted");
    assert_ne!(java.ask("write 5000").await, "timeout", "two writers");
    assert!(guard.is_held());
    assert!(lock(&zk, Layout::Kazoo).try_read().await.is_err(), "ours sees both");
}

#[tokio::test]
async fn the_end_of_a_session_on_either_side_of_the_line_frees_the_next() {
    let fixture = Fixture::new("the_end_of_a_session_on_either_side_of_the_rw_line").await;
    let (curator, kazoo) = (Peer::curator(), Peer::kazoo());
    let servers = fixture.connect_string();
    for layout in [Layout::Curator, Layout::Kazoo] {
        let (zk_1, zk_2) = (connect_mortal(&fixture).await, connect_mortal(&fixture).await);
        let theirs = async || match layout {
            Layout::Kazoo => kazoos(&kazoo.actor_with(&servers, SHORT, "write-lock", PATH, &[]).await),
            _ => curators_writer(&curator.actor_with(&servers, SHORT, "rwlock", PATH, &[]).await),
        };
        let line = [
            theirs().await,
            writer_of(&zk_1, layout),
            theirs().await,
            writer_of(&zk_2, layout),
        ];
        survives_the_end_of_sessions(&fixture, PATH, line).await;
    }
}

#[tokio::test]
async fn our_downgrade_lets_curators_readers_in_and_keeps_its_writers_out() {
    let fixture = Fixture::new("our_downgrade_lets_curators_readers_in").await;
    let zk = connect(&fixture).await;
    let curator = Peer::curator();
    let (reader, writer) = (
        curator.actor(&fixture, "rwlock", PATH).await,
        curator.actor(&fixture, "rwlock", PATH).await,
    );
    let ours = lock(&zk, Layout::Curator).write().await.expect("granted");
    let reads = reader.tell("read");
    fixture.until_children(PATH, 2).await;
    let writes = writer.tell("write");
    fixture.until_children(PATH, 3).await;
    assert!(still_waits(&reads).await);

    let ours = ours.downgrade().await.expect("held until now");
    reads.done().await;
    reader.ask("release-read").await;
    assert!(still_waits(&writes).await, "a reader of ours is there");
    ours.release().await.expect("held until now");
    writes.done().await;
    writer.ask("release-write").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

#[tokio::test]
async fn curators_downgrade_lets_our_readers_in_and_keeps_later_writers_of_ours_out() {
    let fixture = Fixture::new("curators_downgrade_lets_our_readers_in").await;
    let zk = connect(&fixture).await;
    let java = Peer::curator().actor(&fixture, "rwlock", PATH).await;
    java.ask("write").await;
    java.ask("read").await;
    assert!(lock(&zk, Layout::Curator).try_read().await.is_err(), "it still writes");
    java.ask("release-write").await;
    let reading = lock(&zk, Layout::Curator).try_read().await.expect("it reads");
    reading.release().await.expect("held until now");
    let writing = tokio::spawn({
        let lock = lock(&zk, Layout::Curator);
        async move { lock.write().await }
    });
    fixture.until_children(PATH, 2).await;
    assert!(lock(&zk, Layout::Curator).try_write().await.is_err());
    assert!(waits_on(&writing).await, "it still reads");
    java.ask("release-read").await;
    let guard = within(PATIENCE, "ours writes", writing)
        .await
        .expect("no panic")
        .expect("granted");
    guard.release().await.expect("held until now");
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// CURATOR-621: before 5.5.0 the reader that a writer becomes stands behind the writers that waited, and does not know
/// it. The next writer, here ours, is granted beside it. Nobody but Curator can mend that: upgrade it to 5.5.
#[tokio::test]
async fn curators_downgrade_before_5_5_is_not_protected_from_writers_that_waited() {
    let fixture = Fixture::new("curators_downgrade_before_5_5").await;
    let zk = connect(&fixture).await;
    let java = Peer::curator().actor(&fixture, "rwlock", PATH).await;
    java.ask("write").await;
    let writing = tokio::spawn({
        let lock = lock(&zk, Layout::Curator);
        async move { lock.write().await }
    });
    fixture.until_children(PATH, 2).await;
    java.ask("read").await;
    let standing = fixture.children(PATH).await;
    let sequence = |tag: &str| {
        let name = standing
            .iter()
            .find(|name| name.contains(tag))
            .expect("it stands there");
        name[name.len() - 10..].to_owned()
    };
    let downgraded = sequence("__READ__");
    let ours_waits_ahead = standing
        .iter()
        .any(|name| name.contains("__WRIT__") && name[name.len() - 10..] < *downgraded);
    assert!(
        ours_waits_ahead,
        "{standing:?}: from 5.5 on the reader has the writer's number"
    );
    java.ask("release-write").await;
    let guard = within(PATIENCE, "ours writes", writing)
        .await
        .expect("no panic")
        .expect("granted");
    assert!(
        fixture
            .children(PATH)
            .await
            .iter()
            .any(|name| name.contains("__READ__")),
        "and Curator reads"
    );
    guard.release().await.expect("held until now");
    java.ask("release-read").await;
    fixture.assert_no_nodes_left(&[PATH]).await;
}

/// What Curator 5.5 and newer write on a downgrade (`InterProcessReadWriteLock.ReadLock`), written by hand: Debian has
/// Curator 5.4.
#[tokio::test]
async fn a_downgrade_as_curator_5_5_writes_it_keeps_waiting_writers_out() {
    let fixture = Fixture::new("a_downgrade_as_curator_5_5_writes_it").await;
    let zk = connect(&fixture).await;
    let java = Peer::curator().actor(&fixture, "rwlock", PATH).await;
    java.ask("write").await;
    let writer = fixture.children(PATH).await.remove(0);
    let reader = format!(
        "{PATH}/_c_{}-__READ__{}",
        "7d4e5b0c-2f51-4d1d-9d4a-0d7f5c1b2a33",
        &writer[writer.len() - 10..]
    );
    let writing = tokio::spawn({
        let lock = lock(&zk, Layout::Curator);
        async move { lock.write().await }
    });
    fixture.until_children(PATH, 2).await;
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let created = fixture.raw().create(&reader, b"127.0.0.1", &options).await;
    created.expect("a downgraded reader");
    java.ask("release-write").await;
    // Readers are let in, so the end of the writer was seen; ours, which waited, was not.
    fixture.until_children(PATH, 2).await;
    assert!(lock(&zk, Layout::Curator).try_write().await.is_err());
    assert!(waits_on(&writing).await, "it still reads");
    fixture.raw().delete(&reader, None).await.expect("the reader goes");
    let guard = within(PATIENCE, "ours writes", writing)
        .await
        .expect("no panic")
        .expect("granted");
    guard.release().await.expect("held until now");
    fixture.assert_no_nodes_left(&[PATH]).await;
}
