//! Faults to be struck at random: at servers, and at client processes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use zookeeper_testkit::{Proxy, background};

use crate::client::Process;
use crate::ensemble::{Ensemble, SESSION, SYNC_LIMIT};

/// What can happen to the servers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ServerFault {
    LeaderKilled,
    FollowerKilled,
    LeaderSilent,
    FollowerSilent,
    LeaderCutOff,
    FollowerCutOff,
    QuorumLost,
    ServerSlow,
}

impl ServerFault {
    pub(crate) const ALL: &[Self] = &[
        Self::LeaderKilled,
        Self::FollowerKilled,
        Self::LeaderSilent,
        Self::FollowerSilent,
        Self::LeaderCutOff,
        Self::FollowerCutOff,
        Self::QuorumLost,
        Self::ServerSlow,
    ];

    /// Strikes a healed ensemble, and heals it after a while that is shorter or longer than a session.
    pub(crate) async fn strike(self, ensemble: &Ensemble, links: &[&[Proxy]], random: &mut fastrand::Rng) {
        let (leader, followers) = ensemble.leader_and_followers().await;
        let follower = followers[random.usize(..followers.len())];
        let mut long = between(Duration::from_millis(200), SESSION * 8 / 5, random);
        match self {
            Self::LeaderKilled => ensemble.kill(leader).await,
            Self::FollowerKilled => ensemble.kill(follower).await,
            Self::LeaderSilent => ensemble.pause(leader).await,
            Self::FollowerSilent => ensemble.pause(follower).await,
            Self::LeaderCutOff => ensemble.cut_from_quorum(leader).await,
            Self::FollowerCutOff => {
                long = SYNC_LIMIT + between(Duration::ZERO, SESSION / 5, random);
                ensemble.cut_from_quorum(follower).await;
            }
            Self::QuorumLost => {
                ensemble.kill(leader).await;
                ensemble.kill(follower).await;
            }
            Self::ServerSlow => {
                let delay = between(Duration::from_millis(20), SESSION / 5, random);
                links.iter().for_each(|links| links[follower].delay(delay));
            }
        }
        background::sleep(long).await;
        links.iter().for_each(|links| links[follower].delay(Duration::ZERO));
        ensemble.heal().await;
    }
}

/// What can happen to one client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ClientFault {
    Silence,
    Reset,
    Refusal,
    LostReplies,
    Stopped,
    Killed,
}

impl ClientFault {
    pub(crate) const ALL: &[Self] = &[
        Self::Silence,
        Self::Reset,
        Self::Refusal,
        Self::LostReplies,
        Self::Stopped,
        Self::Killed,
    ];

    /// Strikes, and heals after a while that is shorter or longer than a session. After [`Killed`](Self::Killed) the
    /// process has to be replaced.
    pub(crate) async fn strike(self, process: &mut Process, links: &[Proxy], random: &mut fastrand::Rng) {
        let long = if random.bool() {
            between(Duration::from_millis(50), SESSION / 3, random)
        } else {
            between(SESSION, SESSION * 8 / 5, random)
        };
        match self {
            Self::Silence => links.iter().for_each(Proxy::black_hole),
            Self::LostReplies => links.iter().for_each(Proxy::black_hole_replies),
            Self::Reset => return links.iter().for_each(Proxy::cut),
            Self::Refusal => {
                for link in links {
                    link.refuse().await;
                }
            }
            Self::Stopped => process.stop(),
            Self::Killed => return process.kill(),
        }
        background::sleep(long).await;
        for link in links {
            // What was held back would reach the server after all: it is lost instead half of the time.
            if random.bool() {
                link.cut();
            }
            link.heal();
            link.accept().await;
        }
        process.resume();
    }
}

/// How often each fault has struck.
#[derive(Default)]
pub(crate) struct Struck(Mutex<BTreeMap<String, usize>>);

impl Struck {
    pub(crate) fn count(&self, fault: impl fmt::Debug) {
        let mut struck = self.0.lock().expect("no panic while it is locked");
        *struck.entry(format!("{fault:?}")).or_default() += 1;
    }

    pub(crate) fn total(&self) -> usize {
        self.0.lock().expect("no panic while it is locked").values().sum()
    }
}

impl fmt::Display for Struck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let struck = self.0.lock().expect("no panic while it is locked");
        let counts: Vec<String> = struck.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
        f.write_str(&counts.join(", "))
    }
}

pub(crate) fn between(shortest: Duration, longest: Duration, random: &mut fastrand::Rng) -> Duration {
    shortest + (longest - shortest).mul_f64(random.f64())
}
