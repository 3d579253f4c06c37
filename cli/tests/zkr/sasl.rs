//! `--sasl`, on a server that has no SASL, and on a real one that has: `scripts/secure-servers.sh` runs these.

use zookeeper_testkit::Fixture;
#[cfg(feature = "sasl")]
use zookeeper_testkit::{RealServer, ServerOptions, within};

use crate::harness::zkr;
#[cfg(feature = "sasl")]
use crate::harness::{Done, PATIENCE, Scratch, zkr_at};

#[cfg(not(feature = "sasl"))]
#[tokio::test]
async fn a_build_without_sasl_refuses_it() {
    let fixture = Fixture::with_embedded_server("a_build_without_sasl_refuses_it").await;
    let refused = zkr(&fixture, &["--sasl", "alice:secret", "ls", "/"]).await;
    assert_eq!(refused.status, 64, "{refused:?}");
    assert!(refused.err.contains("--features sasl"), "{refused:?}");
}

#[cfg(feature = "sasl")]
#[tokio::test]
async fn sasl_that_cannot_be_is_refused() {
    let fixture = Fixture::with_embedded_server("sasl_that_cannot_be_is_refused").await;
    let refused = zkr(&fixture, &["--sasl", "alice:secret", "ls", "/"]).await;
    assert_eq!(refused.status, 77, "{refused:?}");
    let wrong = zkr(&fixture, &["--sasl", "alice", "ls", "/"]).await;
    assert_eq!(wrong.status, 64, "{wrong:?}");
    assert!(wrong.err.contains("USER:PASSWORD"), "{wrong:?}");
}

/// A server that takes nobody but Alice.
#[cfg(feature = "sasl")]
async fn server_of_alice(scratch: &Scratch) -> RealServer {
    let users = scratch.file("users");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
    let text = format!("Server {{ {module} required user_alice=\"secret\"; }};\n");
    std::fs::write(&users, text).expect("writable");
    let provider = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider";
    ServerOptions::new()
        .property("java.security.auth.login.config", &users.display().to_string())
        .property("zookeeper.authProvider.1", provider)
        .config("sessionRequireClientSASLAuth", "true")
        .start()
        .await
}

#[cfg(feature = "sasl")]
#[tokio::test]
async fn only_a_user_of_sasl_holds_a_lock() {
    let scratch = Scratch::new();
    let server = server_of_alice(&scratch).await;
    let secret = scratch.file("secret");
    std::fs::write(&secret, "alice:secret\n").expect("writable");
    let from_file = format!("@{}", secret.display());
    for (sasl, status) in [("alice:secret", 0), (from_file.as_str(), 0), ("alice:wrong", 77)] {
        let arguments = ["--sasl", sasl, "lock", "/l", "--", "true"];
        let output = zkr_at(&server.connect_string(), &arguments).output();
        let done: Done = within(PATIENCE, sasl, output).await.expect("zkr was built").into();
        assert_eq!(done.status, status, "{sasl}: {done:?}");
    }
    let none = zkr_at(&server.connect_string(), &["ls", "/"]).output();
    let none: Done = within(PATIENCE, "no credentials", none)
        .await
        .expect("zkr was built")
        .into();
    assert_eq!(none.status, 77, "{none:?}");
}

#[cfg(feature = "sasl")]
#[tokio::test]
async fn a_password_of_sasl_is_not_inherited() {
    let scratch = Scratch::new();
    let server = server_of_alice(&scratch).await;
    let show = ["--", "sh", "-c", "echo got:$ZOOKEEPER_SASL"];
    for (extra, got) in [(&[][..], "got:\n"), (&["--pass-auth"][..], "got:alice:secret\n")] {
        let arguments = [&["lock", "/l"][..], extra, &show].concat();
        let mut command = zkr_at(&server.connect_string(), &arguments);
        let output = command.env("ZOOKEEPER_SASL", "alice:secret").output();
        let done: Done = within(PATIENCE, "a command", output)
            .await
            .expect("zkr was built")
            .into();
        assert_eq!((done.status, done.out.as_str()), (0, got), "{done:?}");
    }
}
