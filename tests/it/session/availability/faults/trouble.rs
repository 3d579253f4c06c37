//! An operator who deletes nodes, links that break or fall silent, sessions and servers that are killed.

use std::sync::Arc;
use std::time::Duration;

use futures::future;
use zookeeper_testkit::Fixture;

use super::{TIMEOUT, Victim};
use crate::support::sessions::session_of;

pub(super) struct Trouble {
    fixture: Arc<Fixture>,
    random: fastrand::Rng,
}

impl Trouble {
    pub(super) fn new(fixture: Arc<Fixture>, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { fixture, random }
    }

    /// One fault, and a moment in which the recipes go on.
    pub(super) async fn strike(&mut self, victims: &[Victim]) {
        let struck = self.some_of(victims);
        match self.random.u8(..20) {
            0..4 => self.delete(4).await,
            4..7 => struck.iter().for_each(|victim| victim.proxy.cut()),
            7..14 => self.delete_behind_a_cut(&struck).await,
            14..16 => self.silence(&struck).await,
            16..19 => self.expire(&struck).await,
            _ => self.fixture.server().restart().await,
        }
        self.moment(200).await;
    }

    fn some_of<'a>(&mut self, victims: &'a [Victim]) -> Vec<&'a Victim> {
        let mut struck: Vec<&Victim> = victims.iter().collect();
        self.random.shuffle(&mut struck);
        struck.truncate(self.random.usize(1..victims.len()));
        struck
    }

    /// An operator deletes one in so many of the contenders, claims and members.
    async fn delete(&mut self, one_in: u8) {
        let paths = self.fixture.ephemerals().await.into_keys();
        let chosen: Vec<String> = paths.filter(|_| self.random.u8(..one_in) == 0).collect();
        // Their owners may be faster.
        future::join_all(chosen.iter().map(|path| self.fixture.raw().delete(path, None))).await;
    }

    async fn delete_behind_a_cut(&mut self, struck: &[&Victim]) {
        future::join_all(struck.iter().map(|victim| victim.proxy.refuse())).await;
        self.moment(50).await;
        let one_in = self.random.u8(1..3);
        self.delete(one_in).await;
        future::join_all(struck.iter().map(|victim| victim.proxy.accept())).await;
    }

    async fn expire(&mut self, struck: &[&Victim]) {
        let expired = struck.iter().take(4).map(async |victim| {
            // A coordinator that is between two sessions says which is the next.
            let session = session_of(&victim.zk);
            if let Ok(session) = tokio::time::timeout(TIMEOUT, session).await {
                self.fixture.expire(&session).await;
            }
        });
        future::join_all(expired).await;
    }

    async fn silence(&mut self, struck: &[&Victim]) {
        struck.iter().for_each(|victim| victim.proxy.black_hole());
        self.moment(TIMEOUT.as_millis() as u64).await;
        struck.iter().for_each(|victim| victim.proxy.heal());
    }

    async fn moment(&mut self, millis: u64) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(..millis))).await;
    }
}
