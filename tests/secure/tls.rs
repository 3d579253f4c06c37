//! TLS: what the server shows, and what it asks to be shown.

use zookeeper_recipes::zookeeper_client::TlsOptions;
use zookeeper_recipes::{ConnectError, ConnectOptions};
use zookeeper_testkit::{RealServer, ServerOptions, free_port};

use crate::certificates::{Authority, Certificate, Valid};
use crate::{attempt, lock_once, options};

/// A server that takes TLS on one port and none on another.
struct TlsServer {
    server: RealServer,
    secure: String,
}

impl TlsServer {
    /// `client_auth` is `none` or `need`.
    async fn start(authority: &Authority, valid: Valid, client_auth: &str) -> Self {
        let port = free_port();
        let store = authority.key_store("server", valid).display().to_string();
        let trust = authority.pem_file().display().to_string();
        let server = ServerOptions::new()
            .property(
                "zookeeper.serverCnxnFactory",
                "org.apache.zookeeper.server.NettyServerCnxnFactory",
            )
            .config("secureClientPort", &port.to_string())
            .config("secureClientPortAddress", "127.0.0.1")
            .config("ssl.keyStore.location", &store)
            .config("ssl.keyStore.type", "PEM")
            .config("ssl.trustStore.location", &trust)
            .config("ssl.trustStore.type", "PEM")
            .config("ssl.clientAuth", client_auth)
            .start()
            .await;
        Self {
            server,
            secure: format!("127.0.0.1:{port}"),
        }
    }
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions::new().with_pem_ca(&authority.pem()).unwrap()
}

fn showing(authority: &Authority, shown: &Certificate) -> ConnectOptions {
    let tls = trusting(authority).with_pem_identity(&shown.certificate, &shown.key);
    options().tls(tls.unwrap())
}

/// The server is there and no session came of it: the error names TLS and what to look at.
async fn refused(case: &str, options: ConnectOptions, cluster: &str) {
    let error = attempt(case, options, cluster).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{case}: {error:?}");
    let said = error.to_string();
    assert!(said.contains("TLS") && said.contains("certificate"), "{case}: {said}");
}

#[tokio::test]
async fn a_lock_is_held_over_tls() {
    let authority = Authority::new("right");
    let server = TlsServer::start(&authority, Valid::Tomorrow, "none").await;
    let zk = attempt("TLS, right CA", options().tls(trusting(&authority)), &server.secure).await;
    lock_once("TLS, right CA", zk.unwrap()).await;
    let name = server.secure.replace("127.0.0.1", "localhost");
    let zk = attempt("TLS, by name", options().tls(trusting(&authority)), &name).await;
    lock_once("TLS, by name", zk.unwrap()).await;
}

#[tokio::test]
async fn a_wrong_authority_is_an_error_that_names_tls() {
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let server = TlsServer::start(&right, Valid::Tomorrow, "none").await;
    refused("TLS, wrong CA", options().tls(trusting(&wrong)), &server.secure).await;
}

#[tokio::test]
async fn an_expired_server_is_an_error_that_names_tls() {
    let authority = Authority::new("right");
    let server = TlsServer::start(&authority, Valid::Expired, "none").await;
    let trusting = options().tls(trusting(&authority));
    refused("TLS, the server's certificate expired", trusting, &server.secure).await;
}

#[tokio::test]
async fn a_client_certificate_that_is_asked_for_decides() {
    let (right, wrong) = (Authority::new("right"), Authority::new("wrong"));
    let server = TlsServer::start(&right, Valid::Tomorrow, "need").await;
    let ours = right.sign("client", Valid::Tomorrow);
    let zk = attempt("TLS, client certificate", showing(&right, &ours), &server.secure).await;
    lock_once("TLS, client certificate", zk.unwrap()).await;
    let none = options().tls(trusting(&right));
    refused("TLS, client certificate missing", none, &server.secure).await;
    let expired = right.sign("expired", Valid::Expired);
    let expired = showing(&right, &expired);
    refused("TLS, client certificate expired", expired, &server.secure).await;
    let foreign = wrong.sign("foreign", Valid::Tomorrow);
    let foreign = showing(&right, &foreign);
    refused("TLS, client certificate of another CA", foreign, &server.secure).await;
}

#[tokio::test]
async fn tls_on_one_side_alone_is_an_error() {
    let authority = Authority::new("right");
    let server = TlsServer::start(&authority, Valid::Tomorrow, "none").await;
    let to_plain = options().tls(trusting(&authority));
    refused("TLS to a plain port", to_plain, &server.server.connect_string()).await;
    let error = attempt("no TLS to a TLS port", options(), &server.secure)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("TLS"), "{error}");
}
