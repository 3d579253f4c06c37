//! An HTTP service that settles payments under their account's lock, and shuts down in order.
//! `cargo run -p demos --bin http_payment`, then `curl -X POST http://HOST:PORT/accounts/17/settle/10`, then Ctrl-C.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Router, http::StatusCode, routing::post};
use tokio::net::TcpListener;
use tokio::signal::unix::SignalKind;
use tokio::{select, signal, time};
use zookeeper_embedded::Ensemble;
use zookeeper_recipes::{Coordinator, FairLock, FencingToken};

#[tokio::main]
async fn main() -> Result<(), demos::BoxError> {
    let ensemble = Ensemble::from_env().await?;
    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    let router = Router::new().route("/accounts/{account}/settle/{amount}", post(pay));
    let router = router.with_state((zk.clone(), Arc::<Ledger>::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let mut terminate = signal::unix::signal(SignalKind::terminate())?;
    let shutdown = async move {
        select! { _ = signal::ctrl_c() => (), _ = terminate.recv() => () }
    };
    // First the requests: no new one is taken, and each one that has begun is answered.
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await?;
    // Then the session: no other process has to wait for its timeout.
    zk.close().await;
    println!("closed");
    Ok(())
}

/// If the caller hangs up, this future is dropped, and the lock is released in the background.
async fn pay(
    State((zk, ledger)): State<(Coordinator, Arc<Ledger>)>,
    Path((account, amount)): Path<(u64, i64)>,
) -> Result<String, (StatusCode, String)> {
    let lock = FairLock::new(&zk, &format!("/accounts/{account}"));
    let lock = lock.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let guard = lock.acquire_timeout(Duration::from_secs(2)).await;
    let guard = guard.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    // Dropped at the moment at which the lock is lost: the caller hears that the outcome is not certain.
    let work = ledger.settle(account, amount, guard.token());
    let settled = guard.run_until_lost(work).await;
    // What is settled is settled, whatever comes of the release.
    let _ = guard.release().await;
    let settled = settled.map_err(|lost| (StatusCode::INTERNAL_SERVER_ERROR, lost.to_string()))?;
    settled.map_err(|error| (StatusCode::CONFLICT, error.to_owned()))
}

/// Stands for a database: of each account the last token and the balance.
#[derive(Default)]
struct Ledger(Mutex<HashMap<u64, (FencingToken, i64)>>);

impl Ledger {
    async fn settle(&self, account: u64, amount: i64, token: FencingToken) -> Result<String, &'static str> {
        time::sleep(Duration::from_millis(300)).await;
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, balance) = accounts.entry(account).or_insert((token, 0));
        if *last > token {
            return Err("a later holder of the lock has written");
        }
        (*last, *balance) = (token, *balance + amount);
        Ok(format!("balance {balance}, token {token}\n"))
    }
}
