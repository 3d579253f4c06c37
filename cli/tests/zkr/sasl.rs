//! `--sasl`, on a server that has no SASL, and on a real one that has.

use zookeeper_testkit::{Backend, Fixture, ServerOptions, within};

use crate::harness::{Done, PATIENCE, Scratch, zkr, zkr_at};

#[tokio::test]
async fn sasl_that_cannot_be_is_refused_with_a_reason() {
    let fixture = Fixture::with_embedded_server("sasl_that_cannot_be_is_refused_with_a_reason").await;
    let refused = zkr(&fixture, &["--sasl", "alice:secret", "ls", "/"]).await;
    if cfg!(feature = "sasl") {
        assert_eq!(refused.status, 77, "{refused:?}");
        let wrong = zkr(&fixture, &["--sasl", "alice", "ls", "/"]).await;
        assert_eq!(wrong.status, 64, "{wrong:?}");
        assert!(wrong.err.contains("USER:PASSWORD"), "{wrong:?}");
    } else {
        assert_eq!(refused.status, 64, "{refused:?}");
        assert!(refused.err.contains("--features sasl"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_user_of_sasl_holds_a_lock() {
    if !cfg!(feature = "sasl") || Backend::from_env() != Backend::Real {
        println!("not run: needs a zkr with SASL, and ZK_TEST_SERVER=real");
        return;
    }
    let scratch = Scratch::new();
    let users = scratch.file("users");
    let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
    std::fs::write(
        &users,
        format!("Server {{ {module} required user_alice=\"secret\"; }};\n"),
    )
    .expect("writable");
    let secret = scratch.file("secret");
    std::fs::write(&secret, "alice:secret\n").expect("writable");
    let server = ServerOptions::new()
        .property("java.security.auth.login.config", &users.display().to_string())
        .property(
            "zookeeper.authProvider.1",
            "org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
        )
        .config("sessionRequireClientSASLAuth", "true")
        .start()
        .await;
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
