//! SASL with DIGEST-MD5: right, wrong and no credentials.

use std::fs;
use std::path::PathBuf;

use zookeeper_recipes::zookeeper_client as zk;
use zookeeper_recipes::zookeeper_client::SaslOptions;
use zookeeper_recipes::{ConnectError, ConnectOptions, Error, FairLock};
use zookeeper_testkit::{RealServer, ServerOptions, within};

use crate::{PATIENCE, attempt, lock_once, options};

/// A server with the user `alice`, and the file that says so.
struct SaslServer {
    server: RealServer,
    users: PathBuf,
}

impl SaslServer {
    async fn start(required: &[(&str, &str)]) -> Self {
        let users = std::env::temp_dir().join(format!("zookeeper-secure-{}.jaas", uuid::Uuid::new_v4()));
        let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
        fs::write(
            &users,
            format!("Server {{ {module} required user_alice=\"secret\"; }};\n"),
        )
        .unwrap();
        let base = ServerOptions::new()
            .property("java.security.auth.login.config", &users.display().to_string())
            .property(
                "zookeeper.authProvider.1",
                "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
            );
        let all = required.iter().fold(base, |all, (key, value)| all.config(key, value));
        let server = all.start().await;
        Self { server, users }
    }

    fn cluster(&self) -> String {
        self.server.connect_string()
    }
}

impl Drop for SaslServer {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.users);
    }
}

fn as_user(user: &'static str, password: &'static str) -> ConnectOptions {
    options().sasl(SaslOptions::digest_md5(user, password))
}

async fn refused(case: &str, options: ConnectOptions, cluster: &str) {
    let error = attempt(case, options, cluster).await.unwrap_err();
    assert_eq!(error, ConnectError::AuthFailed, "{case}");
    assert!(error.to_string().contains("ConnectOptions::sasl"), "{case}: {error}");
}

#[tokio::test]
async fn a_lock_is_held_by_a_user_of_sasl() {
    let server = SaslServer::start(&[]).await;
    let case = "SASL, right password";
    let zk = attempt(case, as_user("alice", "secret"), &server.cluster()).await;
    lock_once(case, zk.unwrap()).await;
    refused("SASL, wrong password", as_user("alice", "wrong"), &server.cluster()).await;
    let case = "SASL offered, not used";
    let zk = attempt(case, options(), &server.cluster()).await;
    lock_once(case, zk.unwrap()).await;
}

/// Java servers answer SASL as if all were well when they have no users. The ACLs then decide.
#[tokio::test]
async fn a_server_without_sasl_gives_no_identity() {
    let server = ServerOptions::new().start().await;
    let case = "SASL to a server without it";
    let zk = attempt(case, as_user("alice", "secret"), &server.connect_string()).await;
    lock_once(case, zk.unwrap()).await;
}

/// The server answers an unknown user as if all were well: it has a session, and no rights.
#[tokio::test]
async fn what_a_sasl_user_creates_is_closed_to_others() {
    let server = SaslServer::start(&[]).await;
    let acl = zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("sasl", "alice"));
    let ours = as_user("alice", "secret").acls([acl]).connect(&server.cluster()).await;
    let guard = FairLock::new(&ours.unwrap(), "/mine").unwrap().acquire().await.unwrap();
    for (case, other) in [
        ("SASL, a stranger", options()),
        ("SASL, unknown user", as_user("mallory", "secret")),
    ] {
        let other = attempt(case, other, &server.cluster()).await.unwrap();
        let lock = FairLock::new(&other, "/mine").unwrap();
        let failed = within(PATIENCE, "an error", lock.acquire()).await.unwrap_err();
        println!("{case}: a lock: {failed}");
        let path = "/mine".to_owned();
        assert_eq!(failed, Error::Denied { path });
    }
    guard.release().await.unwrap();
}

#[tokio::test]
async fn where_sasl_is_required_none_and_wrong_are_refused() {
    for (name, required) in [
        (
            "sessionRequireClientSASLAuth",
            &[("sessionRequireClientSASLAuth", "true")][..],
        ),
        (
            "enforce.auth by sasl",
            &[("enforce.auth.enabled", "true"), ("enforce.auth.schemes", "sasl")],
        ),
    ] {
        let server = SaslServer::start(required).await;
        let cluster = server.cluster();
        let right = format!("{name}, right password");
        let zk = attempt(&right, as_user("alice", "secret"), &cluster).await;
        lock_once(&right, zk.unwrap()).await;
        refused(&format!("{name}, no credentials"), options(), &cluster).await;
        refused(&format!("{name}, wrong password"), as_user("alice", "wrong"), &cluster).await;
    }
}
