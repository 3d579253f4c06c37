//! What follows from the session timeout alone: the margin, the pace of proofs, and how often the client pings.

use std::time::Duration;

use super::LeaseClock;

/// The margin that a lease counts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Margin {
    pub(crate) length: Duration,
    /// Whether more was asked for than a lease can bear; worth a warning.
    pub(crate) is_clamped: bool,
}

impl LeaseClock {
    /// The margin used when none is configured: half of the largest tick that a server allows, and 1 %.
    pub(crate) fn default_margin(timeout: Duration) -> Duration {
        timeout / 4 + timeout / 100
    }

    /// The largest margin with which a hold on a slow link can still be prolonged: 30 %.
    pub(crate) fn largest_margin(timeout: Duration) -> Duration {
        timeout * 3 / 10
    }

    /// The margin for a session with `timeout`: what was `asked` for, from 1 % to the largest, or the default.
    pub(crate) fn margin(asked: Option<Duration>, timeout: Duration) -> Margin {
        let asked = asked.unwrap_or_else(|| Self::default_margin(timeout));
        let length = asked.clamp(timeout / 100, Self::largest_margin(timeout));
        Margin {
            length,
            is_clamped: asked != length,
        }
    }

    /// How long after the latest proof a heartbeat is due at the latest.
    pub(crate) fn heartbeat_interval(timeout: Duration) -> Duration {
        timeout / 5
    }

    /// How often the supervisor notes that this process runs.
    pub(crate) fn alive_interval(timeout: Duration) -> Duration {
        timeout / 40
    }

    /// The connection timeout to configure for a client that asks for the session timeout `requested`.
    ///
    /// A zookeeper-client pings more often with a shorter one, and leaves a dead server sooner.
    pub(crate) fn connection_timeout(requested: Duration) -> Duration {
        requested * 3 / 10
    }

    /// The longest time between two packets of a connected zookeeper-client whose process runs, where `timeout` is
    /// what the ensemble granted and `connection` is the connection timeout that was configured.
    ///
    /// The client looks every eighth of its connection timeout (at least 1 ms), and pings when it sent nothing for
    /// three of these. It takes 2/5 of the granted timeout where more than 3/5, or nothing, was configured.
    pub(crate) fn client_silence(connection: Duration, timeout: Duration) -> Duration {
        let connection = if connection.is_zero() || connection > timeout * 3 / 5 {
            timeout * 2 / 5
        } else {
            connection
        };
        4 * (connection / 8).max(Duration::from_millis(1))
    }
}
