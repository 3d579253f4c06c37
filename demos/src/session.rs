//! How the demos connect.

use std::time::Duration;

use zookeeper_recipes::{ConnectError, ConnectOptions, Coordinator};

/// How long a crashed holder blocks the others. Short, to be seen in a demo; 10 s is the default.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);

/// Opens a session. An operator finds `name` in the data of the nodes that it contends with.
pub async fn connect(name: &str, cluster: &str) -> Result<Coordinator, ConnectError> {
    options(name).connect(cluster).await
}

pub fn options(name: &str) -> ConnectOptions {
    ConnectOptions::new()
        .session_timeout(SESSION_TIMEOUT)
        .identity(name.to_owned())
}
