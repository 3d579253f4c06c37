//! Availability: waits end, leases last on slow links, work ends before the next hold begins, and users learn why.

mod waits;


use zookeeper_client::{Acls, CreateMode};
use zookeeper_testkit::Fixture;

const LOCK: &str = "/lock";

/// Creates `path` as a persistent node: the server would reap a container between two rounds.
async fn directory(fixture: &Fixture, path: &str) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let created = fixture.raw().create(path, b"", &options).await;
    created.unwrap_or_else(|err| panic!("{path}: {err}"));
}
