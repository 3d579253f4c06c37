//! The server that a bench measures: the one that `ZOOKEEPER_CONNECT` names, or a real one of its own whose transactions
//! wait for the disk as in production.

use zookeeper_testkit::{RealServer, ServerOptions};

pub(crate) struct BenchServer {
    cluster: String,
    own: Option<RealServer>,
}

impl BenchServer {
    /// Starts one with these options where none is named, and prints which it is.
    pub(crate) async fn find_or_start(options: ServerOptions) -> Self {
        let given = std::env::var("ZOOKEEPER_CONNECT").ok();
        let server = match given.filter(|given| !given.is_empty()) {
            Some(cluster) => Self { cluster, own: None },
            None => {
                let own = options.force_sync(true).start().await;
                Self {
                    cluster: own.connect_string(),
                    own: Some(own),
                }
            }
        };
        let started = if server.own.is_some() {
            ", started for this, with fsync"
        } else {
            ""
        };
        println!("server: {}{started}", server.cluster);
        server
    }

    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The server, if it is its own.
    #[allow(dead_code, reason = "one bench looks into its server")]
    pub(crate) fn own(&self) -> Option<&RealServer> {
        self.own.as_ref()
    }
}
