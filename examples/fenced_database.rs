//! A database that refuses a stale writer: the token of a lock is kept beside the row. `cargo run --example fenced_database`
//!
//! A process can stall after its last look at the guard, until another one holds the lock. No lock can prevent that; the
//! database can: it takes no token that is older than the newest it has seen.

use rusqlite::Connection;
use zookeeper_embedded::Ensemble;
use zookeeper_recipes::{FairLock, FencingToken};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    let lock = FairLock::new(&zk, "/examples/fenced/account-17")?;
    let database = Connection::open_in_memory()?;
    database.execute_batch(
        "CREATE TABLE account (id INTEGER PRIMARY KEY, cents INTEGER, token INTEGER);
         INSERT INTO account VALUES (17, 0, 0);",
    )?;

    // The first holder stalls before it writes, and another one is granted the lock.
    let stalled = lock.acquire().await?;
    let old = stalled.token();
    stalled.release().await?;

    let guard = lock.acquire().await?;
    println!(
        "token {}: {}",
        guard.token(),
        outcome(write(&database, 500, guard.token())?)
    );
    // The stalled process goes on, and believes that it still holds the lock.
    println!("token {old}: {}", outcome(write(&database, 100, old)?));
    guard.release().await?;

    let cents: i64 = database.query_row("SELECT cents FROM account WHERE id = 17", [], |row| row.get(0))?;
    println!("balance: {cents} cents");
    zk.close().await;
    Ok(())
}

/// Returns false if a newer holder has written already.
fn write(database: &Connection, cents: i64, token: FencingToken) -> Result<bool> {
    let rows = database.execute(
        "UPDATE account SET cents = ?1, token = ?2 WHERE id = 17 AND token <= ?2",
        (cents, token.as_i64()),
    )?;
    Ok(rows == 1)
}

fn outcome(is_written: bool) -> &'static str {
    if is_written {
        "written"
    } else {
        "refused, a newer holder has written"
    }
}
