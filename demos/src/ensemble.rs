//! The ensemble that a demo runs on: the one that `ZOOKEEPER_CONNECT` names, or else a server inside the demo.

use std::env::{self, VarError};
use std::{fmt, io};

use zookeeper_embedded::Server;

/// Print it in the first line: it says which ensemble this is.
#[derive(Debug)]
pub(crate) struct Ensemble {
    connect_string: String,
    /// Serves until it is dropped.
    embedded: Option<Server>,
}

impl Ensemble {
    pub(crate) async fn from_env() -> io::Result<Self> {
        match env::var("ZOOKEEPER_CONNECT") {
            Ok(connect_string) if !connect_string.is_empty() => Ok(Self {
                connect_string,
                embedded: None,
            }),
            Ok(_) | Err(VarError::NotPresent) => {
                let server = Server::start().await?;
                Ok(Self {
                    connect_string: server.connect_string(),
                    embedded: Some(server),
                })
            }
            Err(error) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("ZOOKEEPER_CONNECT: {error}"),
            )),
        }
    }

    pub(crate) fn connect_string(&self) -> &str {
        &self.connect_string
    }
}

impl fmt::Display for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.embedded {
            Some(_) => write!(
                f,
                "ensemble: a ZooKeeper embedded in this process, at {} (set ZOOKEEPER_CONNECT to use your own)",
                self.connect_string
            ),
            None => write!(f, "ensemble: {} (from ZOOKEEPER_CONNECT)", self.connect_string),
        }
    }
}
