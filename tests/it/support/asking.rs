//! Contenders that ask a holder to make way.

use bytes::Bytes;
use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::{ConnectOptions, Coordinator, Error, Revocation};
use zookeeper_testkit::{Fixture, within};

use crate::support::{LONG, PATIENCE};

pub(crate) const CURATORS: &[u8] = b"__REVOKE__";

pub(crate) async fn connect_as(fixture: &Fixture, identity: &'static str) -> Coordinator {
    let options = ConnectOptions::new().session_timeout(LONG).identity(identity);
    options.connect(&fixture.connect_string()).await.unwrap()
}

fn parts(revocation: Revocation) -> (Option<Bytes>, Option<String>) {
    (revocation.requester, revocation.reason)
}

pub(crate) async fn asked(hold: &zookeeper_recipes::Hold) -> (Option<Bytes>, Option<String>) {
    parts(within(PATIENCE, "asked", hold.revocation()).await.unwrap())
}

pub(crate) fn by(who: &'static str, why: &str) -> (Option<Bytes>, Option<String>) {
    (Some(Bytes::from_static(who.as_bytes())), Some(why.to_owned()))
}

/// A node like one of Curator's, whose guid is of version 4.
pub(crate) async fn curators(fixture: &Fixture, dir: &str, kind: &str, data: &[u8]) -> String {
    let options = zk::CreateMode::EphemeralSequential.with_acls(zk::Acls::anyone_all());
    let prefix = format!("{dir}/_c_2c3b1a4e-9f4b-4a57-8a58-7a1d2c9b0e11-{kind}-");
    let (_, sequence) = fixture.raw().create(&prefix, data, &options).await.unwrap();
    format!("{prefix}{sequence}")
}

/// Asking would do nothing but overwrite what the others know it by.
pub(crate) fn is_refused(told: &Result<bool, Error>, node: &str) -> bool {
    matches!(told, Err(Error::Layout { path, .. }) if path == node)
}
