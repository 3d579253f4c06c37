//! A relay: strictly ordered steps, each with the result of the one before. `cargo run --example relay`

use zookeeper_embedded::Ensemble;
use zookeeper_recipes::Relay;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let mut processes = Vec::new();
    for name in ["anna", "ben"] {
        let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
        processes.push(tokio::spawn(async move {
            let book = Relay::new(&zk, "/examples/relay")?;
            for _ in 0..3 {
                let turn = book.join().await?;
                if turn.predecessor_lost() {
                    println!("{name} looks for the traces of an unfinished step");
                }
                let balance: i64 = match turn.previous() {
                    Some(balance) => String::from_utf8_lossy(balance).parse()?,
                    None => 0,
                };
                println!("{name} has turn {}: the balance was {balance}", turn.step());
                // Stored in the transaction that gives the turn up.
                turn.complete((balance + 100).to_string()).await?;
            }
            zk.close().await;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }));
    }
    for process in processes {
        process.await??;
    }

    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    let book = Relay::new(&zk, "/examples/relay")?;
    let balance = book.latest().await?.unwrap_or_default();
    println!("after six turns the balance is {}", String::from_utf8_lossy(&balance));
    book.remove().await?;
    zk.close().await;
    Ok(())
}
