//! A fixture isolates tests from one another, sees what is there, and goes red when something is left.

use std::time::Duration;

use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, SessionState};
use zookeeper_testkit::{Fixture, eventually, eventually_some, within};

const NODE: CreateOptions<'static> = CreateMode::Persistent.with_acls(Acls::anyone_all());
const EPHEMERAL: CreateOptions<'static> = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
const SHORT: Duration = Duration::from_millis(300);

/// The message that `work` panics with.
async fn panic_of(work: impl Future<Output = ()> + Send + 'static) -> String {
    let panic = tokio::spawn(work).await.expect_err("this had to panic").into_panic();
    panic
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| "a panic without text".to_owned())
}

#[tokio::test]
async fn each_fixture_has_a_chroot_of_its_own() {
    let (one, two) = (Fixture::new("one").await, Fixture::new("two").await);
    one.raw().create("/a", b"", &NODE).await.unwrap();
    one.raw().create("/a/b", b"", &EPHEMERAL).await.unwrap();
    assert_eq!(one.tree().await.keys().collect::<Vec<_>>(), ["/a", "/a/b"]);
    assert_eq!(one.ephemerals().await.keys().collect::<Vec<_>>(), ["/a/b"]);
    assert!(two.tree().await.is_empty());
    let client = Client::connect(&one.connect_string()).await.unwrap();
    assert_eq!(client.list_children("/").await.unwrap(), ["a"]);
    assert_eq!(one.connect().await.list_children("/").await.unwrap(), ["a"]);
}

#[tokio::test]
async fn an_expired_session_is_gone_when_expire_returns() {
    let fixture = Fixture::new("expire").await;
    for _ in 0..5 {
        let client = fixture.connect().await;
        client.create("/mine", b"", &EPHEMERAL).await.unwrap();
        let mut states = client.state_watcher();
        fixture.expire(client.session()).await;
        assert!(fixture.ephemerals().await.is_empty());
        loop {
            match states.changed().await {
                SessionState::Expired => break,
                SessionState::Closed => panic!("closed instead of expired"),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_fixture_outlives_the_runtime_that_made_it() {
    let fixture = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(Fixture::new("other runtime"))
    });
    let fixture = fixture.join().unwrap();
    fixture.raw().create("/a", b"", &NODE).await.unwrap();
    let (proxy, servers) = fixture.proxied().await;
    assert_eq!(
        Client::connect(&servers)
            .await
            .unwrap()
            .list_children("/")
            .await
            .unwrap(),
        ["a"]
    );
    assert_eq!(proxy.requests().lists(), 1);
}

#[tokio::test]
async fn what_is_left_behind_is_named() {
    let fixture = Fixture::new("left behind").await;
    fixture.raw().create("/locks", b"", &NODE).await.unwrap();
    fixture.assert_no_nodes_left(&["/locks", "/never-made"]).await;

    fixture.raw().create("/locks/lock-7", b"", &EPHEMERAL).await.unwrap();
    let fixture = std::sync::Arc::new(fixture);
    let look = |dirs: &'static [&'static str]| {
        let fixture = std::sync::Arc::clone(&fixture);
        async move { fixture.assert_no_nodes_left_within(SHORT, dirs).await }
    };
    let message = panic_of(look(&[])).await;
    assert!(
        message.contains("/locks/lock-7") && message.contains("left behind"),
        "{message}"
    );

    fixture.raw().delete("/locks/lock-7", None).await.unwrap();
    fixture.raw().create("/locks/claim", b"", &NODE).await.unwrap();
    look(&[]).await;
    let message = panic_of(look(&["/locks"])).await;
    assert!(
        message.contains("/locks/claim") && message.contains("not ephemeral"),
        "{message}"
    );

    // What goes in time is not left behind.
    let other = std::sync::Arc::clone(&fixture);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        other.raw().delete("/locks/claim", None).await.unwrap();
    });
    fixture.assert_no_nodes_left(&["/locks"]).await;
}

#[tokio::test]
async fn waiting_in_vain_says_what_for_and_where() {
    let message = panic_of(async { eventually(SHORT, "pigs fly", || async { false }).await }).await;
    assert!(
        message.contains("pigs fly") && message.contains("fixture.rs"),
        "{message}"
    );
    let message = panic_of(async { within(SHORT, "the end of time", std::future::pending()).await }).await;
    assert!(
        message.contains("the end of time") && message.contains("fixture.rs"),
        "{message}"
    );
    let mut tries = 0;
    let value = eventually_some(SHORT, "the third try", || {
        tries += 1;
        let tries = tries;
        async move { (tries == 3).then_some(tries) }
    });
    assert_eq!(value.await, 3);
}

#[tokio::test(start_paused = true)]
async fn waits_run_by_the_real_clock() {
    let fixture = Fixture::new("paused").await;
    let started = std::time::Instant::now();
    let other = fixture.raw().clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(other.create("/late", b"", &NODE)).unwrap();
    });
    fixture.until_children("/", 1).await;
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_server_of_ones_own_can_be_killed() {
    let fixture = Fixture::with_own_server("own server").await;
    fixture.raw().create("/a", b"", &NODE).await.unwrap();
    fixture.server().kill().await;
    fixture.server().restart().await;
    assert_eq!(fixture.children("/").await, ["a"]);

    fixture.server().freeze().await;
    let children = fixture.children("/");
    tokio::pin!(children);
    assert!(tokio::time::timeout(SHORT, &mut children).await.is_err());
    fixture.server().thaw().await;
    assert_eq!(
        within(Duration::from_secs(10), "an answer after the thaw", children).await,
        ["a"]
    );
    fixture.server().freeze().await;
    fixture.server().restart().await;
    assert_eq!(fixture.children("/").await, ["a"]);
}
