//! The ensemble of a program that is tried out.

use std::env::{self, VarError};
use std::{fmt, io};

use crate::Server;

/// The ensemble that the environment variable `ZOOKEEPER_CONNECT` names, or else a [`Server`] in this process.
///
/// For examples and first runs, which then need no server. Its `Display` says in one line which ensemble this is.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let ensemble = zookeeper_embedded::Ensemble::from_env().await?;
/// println!("{ensemble}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "its server stops when it is dropped"]
pub struct Ensemble {
    connect_string: String,
    server: Option<Server>,
}

impl Ensemble {
    /// Reads `ZOOKEEPER_CONNECT`, and starts a server if it is not set or empty.
    ///
    /// # Errors
    /// `InvalidInput` if the variable is not Unicode, and those of [`Server::start`].
    pub async fn from_env() -> io::Result<Self> {
        match env::var("ZOOKEEPER_CONNECT") {
            Ok(connect_string) if !connect_string.is_empty() => Ok(Self {
                connect_string,
                server: None,
            }),
            Ok(_) | Err(VarError::NotPresent) => {
                let server = Server::start().await?;
                Ok(Self {
                    connect_string: server.connect_string(),
                    server: Some(server),
                })
            }
            Err(error) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("ZOOKEEPER_CONNECT: {error}"),
            )),
        }
    }

    /// Returns the connect string, `host:port` of each server and the chroot.
    pub fn connect_string(&self) -> &str {
        &self.connect_string
    }

    /// Returns the server in this process; `None` if `ZOOKEEPER_CONNECT` names another.
    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }
}

impl fmt::Display for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.server {
            Some(_) => write!(f, "ensemble: embedded in this process, at {}", self.connect_string),
            None => write!(f, "ensemble: {} (from ZOOKEEPER_CONNECT)", self.connect_string),
        }
    }
}
