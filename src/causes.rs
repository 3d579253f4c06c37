//! The causes that every operation shares: what retrying would not help.

use std::time::Duration;

use zookeeper_client as zk;

/// A permanent failure: retrying the same call would not help.
///
/// Transient trouble (a lost connection, an expired session, a server that is away) is waited out and never appears
/// here; bound a call with its `_timeout` form.
///
/// # All errors
/// Every error of this crate answers three questions, whichever operation it belongs to:
/// [`is_timeout`](Self::is_timeout), [`is_lost`](Self::is_lost) and [`is_closed`](Self::is_closed).
///
/// A message says what failed and, behind a semicolon, what to do. It leaves out its
/// [`source`](std::error::Error::source): print the whole chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The coordinator was closed; connect a new one.
    #[error("the coordinator is closed; connect a new one")]
    Closed,

    /// The ensemble refused the credentials, or demands some. The coordinator is closed; connect with right ones.
    #[error(
        "the ensemble refused the credentials, or demands some; connect with right ones by ConnectOptions::auth or \
         ConnectOptions::sasl"
    )]
    AuthFailed,

    /// The ACL of a node refuses us.
    #[error("the ACL of {path} or of its parent refuses us; grant this identity all rights, or connect with another")]
    Denied {
        /// Path of the node, from the chroot.
        path: String,
    },

    /// What stands at a path is not what the recipe needs there.
    #[error("{path} cannot be used: {reason}")]
    Layout {
        /// Path of the node, from the chroot.
        path: String,
        /// What is wrong with it and what to do.
        reason: &'static str,
    },

    /// An option on which all users of a recipe have to agree differs from the stored one.
    #[error("{path} was made with {option} {agreed:?}, not {asked:?}; ask for the same, or leave it to the stored one")]
    OptionMismatch {
        /// Path of the node, from the chroot.
        path: String,
        /// The option.
        option: String,
        /// What was asked for.
        asked: String,
        /// What is stored.
        agreed: String,
    },

    /// A path that ZooKeeper does not accept.
    #[error("invalid path {path:?}: {reason}")]
    InvalidPath {
        /// The path as given.
        path: String,
        /// The rule it breaks.
        reason: &'static str,
    },

    /// A value that cannot be read from what stands in a node, or cannot be written as bytes.
    #[error("the value of {path} cannot be used: {reason}; look at it as bytes, and write another one")]
    Value {
        /// Path of the node, from the chroot.
        path: String,
        /// Why not.
        reason: String,
    },

    /// Data that a server would not take; nothing was sent.
    #[error(
        "{size} bytes are too large for {path}; a request takes at most {limit}, see ConnectOptions::request_limit"
    )]
    TooLarge {
        /// Path the data was meant for.
        path: String,
        /// Size of what was to be sent, in bytes: the data, or a whole transaction up to the operation on this path.
        size: usize,
        /// The largest size, in bytes.
        limit: usize,
    },

    /// Connections broke again and again while one request was unanswered. Where it was a write and its call does not say
    /// otherwise, it may have been applied: read back.
    #[error(
        "{connections} connections broke at a request of {size} bytes on {path}; if the server's jute.maxbuffer is \
         smaller, raise it, or lower ConnectOptions::request_limit to it"
    )]
    ConnectionBreaks {
        /// Path that the request was about.
        path: String,
        /// Size of its data, in bytes.
        size: usize,
        /// How many connections broke.
        connections: u32,
    },

    /// One session may not own more ephemeral nodes. Nothing was sent.
    ///
    /// The end of a session is one transaction that names all its ephemeral nodes. One that is too large takes the whole
    /// ensemble down, which then does not start again (ZOOKEEPER-4306).
    #[error(
        "{path}: the session owns {nodes} ephemeral nodes, whose paths take {bytes} of the {limit} bytes that an ensemble \
         survives (ZOOKEEPER-4306); release some, use shorter paths, or take fewer at once"
    )]
    TooManyEphemerals {
        /// Path that the node was meant for, or its directory.
        path: String,
        /// How many nodes the session owns.
        nodes: usize,
        /// How many bytes their paths take, the chroot and four bytes each included.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },

    /// All sessions of the coordinator are full, and it may open no more. Nothing was sent.
    #[error(
        "{path}: no room in any of {sessions} sessions for paths of {bytes} bytes, of which each takes {limit}, those of \
         waiters counted twice; raise ConnectOptions::max_sessions (now {max_sessions}) and, if they refuse connections, the \
         maxClientCnxns of the servers, or release some, or use shorter paths"
    )]
    SessionsFull {
        /// Path that was to be acquired.
        path: String,
        /// How many sessions there are.
        sessions: usize,
        /// How many there may be.
        max_sessions: usize,
        /// How many bytes the paths of the nodes would have taken.
        bytes: usize,
        /// How many bytes are placed in one session.
        limit: usize,
    },

    /// As many contenders as [`ConnectOptions::line_limit`](crate::ConnectOptions::line_limit) allows stand in the line
    /// already. The contender has left it.
    #[error(
        "{path}: {contenders} contenders stand in line, and ConnectOptions::line_limit is {limit}; try again later"
    )]
    LineFull {
        /// Path of the line, from the chroot.
        path: String,
        /// How many contenders were ahead.
        contenders: usize,
        /// The limit.
        limit: usize,
    },

    /// The ensemble answered with an error that the recipe does not expect.
    #[error("the ensemble refused a request on {path}")]
    Client {
        /// Path of the node, from the chroot.
        path: String,
        /// The answer.
        source: zk::Error,
    },
}

impl Error {
    pub(crate) fn layout(path: &str, reason: &'static str) -> Self {
        let path = path.to_owned();
        Self::Layout { path, reason }
    }

    /// Turns a server's answer about `path` into the error that it is for a user.
    pub(crate) fn from_answer(path: &str, source: zk::Error) -> Self {
        let path = path.to_owned();
        match source {
            zk::Error::NoAuth => Self::Denied { path },
            zk::Error::InvalidAcl => Self::Layout {
                path,
                reason: "the configured ACL is invalid; set another with ConnectOptions::acls",
            },
            zk::Error::NoChildrenForEphemerals => Self::Layout {
                path,
                reason: "it, or a node above it, is an ephemeral node, which has no children; choose another path",
            },
            zk::Error::NoNode => Self::Layout {
                path,
                reason: "the chroot does not exist any more; create it and connect again",
            },
            zk::Error::QuotaExceeded => Self::Layout {
                path,
                reason: "its quota is used up; raise it or clean up",
            },
            zk::Error::NotReadOnly => Self::Layout {
                path,
                reason: "the server is read-only",
            },
            source => Self::Client { path, source },
        }
    }
}

/// What an error comes down to, whichever operation it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nature {
    pub(crate) is_timeout: bool,
    pub(crate) is_lost: bool,
    pub(crate) is_closed: bool,
}

impl Nature {
    pub(crate) const OTHER: Self = Self {
        is_timeout: false,
        is_lost: false,
        is_closed: false,
    };
    pub(crate) const TIMEOUT: Self = Self {
        is_timeout: true,
        ..Self::OTHER
    };
    pub(crate) const CLOSED: Self = Self {
        is_closed: true,
        ..Self::OTHER
    };
}

/// Every public error, for those that embed it. Sealed: no path leads here.
pub trait Classify {
    /// Says what the error comes down to.
    fn nature(&self) -> Nature;
}

/// Implements [`Classify`] and the three questions that users ask. What no arm says is of no such nature.
macro_rules! classify {
    ($error:ty $(, { $param:ident })? $(, $pattern:pat => $nature:expr)* $(,)?) => {
        impl $(<$param: $crate::error::Classify>)? $crate::error::Classify for $error {
            fn nature(&self) -> $crate::error::Nature {
                #[allow(unused_imports, reason = "some errors embed none")]
                use $crate::error::{Classify as _, Nature};

                #[allow(unreachable_patterns, reason = "some errors only embed others")]
                match self {
                    $($pattern => $nature,)*
                    _ => Nature::OTHER,
                }
            }
        }

        impl $(<$param: $crate::error::Classify>)? $error {
            /// Returns true if the time for the call was up.
            pub fn is_timeout(&self) -> bool {
                $crate::error::Classify::nature(self).is_timeout
            }

            /// Returns true if a hold ended before the call was done: another contender may have the place by now.
            pub fn is_lost(&self) -> bool {
                $crate::error::Classify::nature(self).is_lost
            }

            /// Returns true if the coordinator is closed, so that every other call fails, too; connect a new one.
            pub fn is_closed(&self) -> bool {
                $crate::error::Classify::nature(self).is_closed
            }
        }
    };
}

pub(crate) use classify;

classify!(Error, Self::Closed | Self::AuthFailed => Nature::CLOSED);
classify!(TimeoutError<E>, { E }, Self::Elapsed { .. } => Nature::TIMEOUT, Self::Error(error) => error.nature());

/// Why a call with a limit has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeoutError<E = Error> {
    /// The time is up.
    #[error("{path}: not done within {} ms{}", after.as_millis(), if *connected { "" } else { "; not connected: no server answers" })]
    Elapsed {
        /// Path that the call was about, from the chroot.
        path: String,
        /// The limit that was given.
        after: Duration,
        /// Whether a server was connected when the time was up.
        connected: bool,
    },
    /// More time would not help.
    #[error(transparent)]
    Error(#[from] E),
}

/// Why a wait was given up.
pub type WaitTimeoutError = TimeoutError;
