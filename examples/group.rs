//! Group membership: a gateway sends to the members that are there. `cargo run --example group`

use zookeeper_embedded::Ensemble;
use zookeeper_recipes::{Group, JoinError};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let ensemble = Ensemble::from_env().await?;
    let gateway = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    let mut members = Group::new(&gateway, "/examples/group")?.observe().await?;

    let zk = zookeeper_recipes::connect(ensemble.connect_string()).await?;
    let group = Group::new(&zk, "/examples/group")?;
    let web = group.join("web-1", "10.0.0.1:8080").await?;
    let second = group.join("web-2", "10.0.0.2:8080").await?;
    // An id is taken by one member at a time.
    if let Err(error @ JoinError::Taken { .. }) = group.join("web-2", "10.0.0.3:8080").await {
        println!("{error}");
    }

    let there = members.wait_for(|members| members.len() == 2).await.unwrap_or_default();
    for member in there {
        println!(
            "the gateway sends to {} at {}",
            member.id,
            String::from_utf8_lossy(&member.data)
        );
    }

    second.leave().await;
    let there = members.wait_for(|members| members.len() == 1).await.unwrap_or_default();
    println!("{} of 2 are left", there.len());

    // A member that crashes is gone with its session; this one leaves by itself.
    web.leave().await;
    zk.close().await;
    gateway.close().await;
    Ok(())
}
