//! The first session: opened below a chroot that exists, or is made.

use std::time::Duration;

use tokio::time;
use tracing::warn;
use zookeeper_client as zk;

use super::cluster::Cluster;
use super::config::SessionConfig;
use super::moment::Moment;
use super::options::{ConnectError, ConnectOptions};
use super::supervisor;

/// The pause before a chroot is looked at again.
const PAUSE: Duration = Duration::from_millis(100);

/// Opens a session, and looks whether its chroot is there.
///
/// # Errors
/// What another attempt would not mend, and a chroot that is not there.
pub(super) async fn open_checked(
    options: &ConnectOptions,
    cluster: &Cluster,
    config: Option<&SessionConfig>,
) -> Result<(zk::Client, Moment), ConnectError> {
    let failed = |error| ConnectError::from_client(cluster, options, error);
    loop {
        let (client, opened) = supervisor::open(options, cluster, config).await.map_err(failed)?;
        if client.path() == "/" {
            return Ok((client, opened));
        }
        match client.check_stat("/").await {
            Ok(Some(_)) => return Ok((client, opened)),
            Ok(None) if options.create_chroot => match create(options, &client).await {
                Ok(()) => return Ok((client, opened)),
                Err(error) if is_transient(&error) => warn!(%error, "the chroot could not be made; trying again"),
                Err(source) => {
                    let cluster = cluster.to_string();
                    return Err(ConnectError::CreateChroot { cluster, source });
                }
            },
            Ok(None) => {
                let cluster = cluster.to_string();
                return Err(ConnectError::NoChroot { cluster });
            }
            // The connection broke: in another session.
            Err(error) => warn!(%error, "the chroot could not be looked at; trying again"),
        }
        time::sleep(PAUSE).await;
    }
}

fn is_transient(error: &zk::Error) -> bool {
    matches!(
        error,
        zk::Error::ConnectionLoss | zk::Error::Timeout | zk::Error::SessionExpired | zk::Error::Throttled
    )
}

/// Creates the chroot and what is missing above it, as persistent nodes.
async fn create(options: &ConnectOptions, client: &zk::Client) -> Result<(), zk::Error> {
    let path = client.path().to_owned();
    // It is absolute, so that the root is one for it.
    let Ok(root) = client.clone().chroot("/") else {
        return Err(zk::Error::BadArguments(&"the chroot cannot be left"));
    };
    let mode = zk::CreateMode::Persistent.with_acls(zk::Acls::new(&options.acls));
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    for end in ends {
        match root.create(&path[..end], b"", &mode).await {
            Ok(_) | Err(zk::Error::NodeExists) => {}
            // One above that exists and is not ours to write to.
            Err(zk::Error::NoAuth) if root.check_stat(&path[..end]).await?.is_some() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
