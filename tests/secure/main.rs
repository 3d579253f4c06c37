//! Real servers that ask for more than an address: TLS, SASL, credentials, and servers that refuse. Each case ends with a
//! lock that was held, or within its bound with an error that says what to do. `scripts/secure-servers.sh` runs them.

#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

mod authentication;
mod certificates;
mod limits;
mod read_only;
mod sasl;
mod tls;

use std::time::{Duration, Instant};

use zookeeper_recipes::{ConnectError, ConnectOptions, Coordinator, FairLock};
use zookeeper_testkit::within;

/// How long anything that has to happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The session timeout, and so the bound of a connect.
const SESSION: Duration = Duration::from_secs(4);

fn options() -> ConnectOptions {
    ConnectOptions::new().session_timeout(SESSION)
}

/// Connects, and prints how that ended and when: the rows of the table in docs/connecting.md.
async fn attempt(case: &str, options: ConnectOptions, cluster: &str) -> Result<Coordinator, ConnectError> {
    let began = Instant::now();
    let outcome = within(PATIENCE, case, options.connect(cluster)).await;
    let shown = match &outcome {
        Ok(_) => "a session".to_owned(),
        Err(error) => error.to_string(),
    };
    println!("{case}: after {} ms: {shown}", began.elapsed().as_millis());
    // The passes over the servers end with the session timeout, and one that has begun then goes on a little.
    assert!(began.elapsed() < SESSION * 3 / 2, "{case}: {:?}", began.elapsed());
    outcome
}

/// Takes a lock, gives it back, and ends the session.
async fn lock_once(case: &str, zk: Coordinator) {
    let work = async {
        let guard = FairLock::new(&zk, "/secure/lock").unwrap().acquire().await.unwrap();
        assert!(guard.is_held());
        guard.release().await.unwrap();
        zk.close().await;
    };
    within(PATIENCE, format!("{case}: a lock"), work).await;
}
