//! The names in the lock's directory: Curator's, kazoo's, and both in one line.

use zookeeper_recipes::{Coordinator, FairLock, FairLockGuard, Layout, NodePath, TryAcquireError};
use zookeeper_testkit::{Fixture, eventually};

use crate::support::{PATIENCE, acquire, connect, granted, join_line, lock, start, start_each};

fn kazoo_lock(zk: &Coordinator, path: &str) -> FairLock {
    FairLock::builder(zk, path).layout(Layout::Kazoo).build().unwrap()
}

/// Whether `name` is `prefix`, then a guid of this shape, then `tag` and ten digits.
fn has_layout(name: &str, prefix: &str, groups: &[usize], tag: &str) -> bool {
    let Some((guid, sequence)) = name.strip_prefix(prefix).and_then(|rest| rest.split_once(tag)) else {
        return false;
    };
    let lengths: Vec<usize> = guid.split('-').map(str::len).collect();
    let hex = guid.chars().all(|c| c == '-' || matches!(c, '0'..='9' | 'a'..='f'));
    lengths == groups && hex && sequence.len() == 10 && sequence.bytes().all(|b| b.is_ascii_digit())
}

#[tokio::test]
async fn each_layout_writes_the_names_of_its_client() {
    let (fixture, zk) = start("names").await;
    let curator = acquire(&lock(&zk, "/curator/l")).await;
    let kazoo = acquire(&kazoo_lock(&zk, "/kazoo/l")).await;
    let name = |guard: &FairLockGuard| guard.path().rsplit('/').next().unwrap().to_owned();
    assert!(
        has_layout(&name(&curator), "_c_", &[8, 4, 4, 4, 12], "-lock-"),
        "{}",
        name(&curator)
    );
    assert!(has_layout(&name(&kazoo), "", &[32], "__lock__"), "{}", name(&kazoo));

    kazoo.release().await.unwrap();
    curator.release().await.unwrap();
    eventually(
        PATIENCE,
        "Curator's directories, which are containers, are removed",
        || async { fixture.children("/").await == ["kazoo"] },
    )
    .await;
    assert_eq!(
        fixture.children("/kazoo").await,
        ["l"],
        "kazoo's directories are persistent"
    );
    fixture.assert_no_nodes_left(&["/kazoo/l"]).await;
}

#[tokio::test]
async fn an_unused_lock_leaves_no_directory() {
    let fixture = Fixture::new("container").await;
    let lock = lock(&connect(&fixture).await, "/deep/down/l");
    acquire(&lock).await.release().await.unwrap();
    eventually(PATIENCE, "empty containers are removed", || async {
        fixture.tree().await.is_empty()
    })
    .await;
    acquire(&lock).await.release().await.unwrap();
    fixture.assert_no_nodes_left(&["/deep/down/l"]).await;
}

#[tokio::test]
async fn contenders_of_both_layouts_stand_in_one_line() {
    let (fixture, [zk, other]) = start_each("mixed").await;
    let curator = lock(&zk, "/l");
    let kazoo = kazoo_lock(&other, "/l");
    let line = [&curator, &kazoo, &kazoo, &curator, &kazoo];
    let mut pending = Vec::new();
    for (place, contender) in line.into_iter().enumerate() {
        pending.push(join_line(&fixture, contender, place + 1).await);
    }
    let contenders = curator.contenders().await.unwrap();
    assert_eq!(kazoo.contenders().await.unwrap(), contenders);
    let is_kazoo: Vec<bool> = contenders.iter().map(|c| c.path.contains("__lock__")).collect();
    assert_eq!(is_kazoo, [false, true, true, false, true]);
    assert_eq!(kazoo.try_acquire().await.unwrap_err(), TryAcquireError::Contended);

    let mut pending = pending.into_iter();
    let mut tokens = Vec::new();
    while let Some(first) = pending.next() {
        let guard = granted(first).await;
        assert!(pending.as_slice().iter().all(|waiter| !waiter.is_finished()));
        tokens.push(guard.token());
        guard.release().await.unwrap();
    }
    assert_eq!(tokens, contenders.iter().map(|c| c.token).collect::<Vec<_>>());
    fixture.assert_no_nodes_left(&["/l"]).await;
}

#[test]
fn layouts_are_read_as_they_are_shown() {
    use zookeeper_recipes::{ContenderLayout, ElectionLayout, Layout};

    for layout in [Layout::Curator, Layout::Kazoo] {
        assert_eq!(layout.to_string().parse(), Ok(layout));
    }
    for layout in [ElectionLayout::LeaderLatch, ElectionLayout::LeaderSelector] {
        assert_eq!(layout.to_string().parse(), Ok(layout));
    }
    for layout in [
        ContenderLayout::Ours,
        ContenderLayout::ZooKeeper,
        ContenderLayout::Other,
    ] {
        assert_eq!(layout.to_string().parse(), Ok(layout));
    }
    let unknown = "latch".parse::<ElectionLayout>().unwrap_err().to_string();
    assert_eq!(
        unknown,
        "unknown layout \"latch\"; use one of leader-latch, leader-selector"
    );
}

/// An id with a slash is one lock, and not one below another.
#[tokio::test]
async fn any_text_names_one_node() {
    let (fixture, zk) = start("segments").await;
    let files = NodePath::new("/files").unwrap();
    // Held together, since the directory of a lock goes when it is no longer used.
    let mut guards = Vec::new();
    for name in ["a/b", "..", "", "100%", "\u{1f512}\u{0}", "name"] {
        let path = files.join(name).unwrap();
        guards.push(acquire(&lock(&zk, &path)).await);
    }
    for guard in &guards {
        assert_eq!(guard.path().matches('/').count(), 3, "{}", guard.path());
    }
    let names = fixture.children("/files").await;
    let named: Vec<_> = names.iter().map(|name| NodePath::unescape(name).unwrap()).collect();
    assert_eq!(named.len(), 6, "{names:?}");
    assert!(
        named.contains(&"a/b".to_owned()) && named.contains(&String::new()),
        "{named:?}"
    );
    drop(guards);
    fixture.assert_no_nodes_left(&[]).await;
}
