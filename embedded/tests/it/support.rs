//! What the tests share.

use std::time::Duration;

use zookeeper_client::{Acls, Client, CreateMode, CreateOptions};
use zookeeper_embedded::Server;

/// The shortest ticks that a busy machine keeps up with.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// Nothing in these tests takes that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn quick_server() -> Server {
    Server::builder()
        .tick_time(TICK)
        .max_session_timeout(Duration::from_secs(30))
        .container_check_interval(TICK)
        .start()
        .await
        .unwrap()
}

pub(crate) async fn connect(server: &Server) -> Client {
    connect_for(server, Duration::from_secs(10)).await
}

pub(crate) async fn connect_for(server: &Server, session_timeout: Duration) -> Client {
    Client::connector()
        .with_session_timeout(session_timeout)
        .connect(&server.connect_string())
        .await
        .unwrap()
}

pub(crate) fn options(mode: CreateMode) -> CreateOptions<'static> {
    mode.with_acls(Acls::anyone_all())
}

pub(crate) async fn create(client: &Client, path: &str, mode: CreateMode) -> String {
    let (_, sequence) = client.create(path, b"", &options(mode)).await.unwrap();
    match mode {
        CreateMode::EphemeralSequential | CreateMode::PersistentSequential => format!("{path}{sequence}"),
        _ => path.to_owned(),
    }
}

/// Waits until `condition` holds, at most [`PATIENCE`].
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}
