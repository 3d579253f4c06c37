//! Serves the metrics of a small service to Prometheus, through the crate `metrics-exporter-prometheus`.
//!
//! ```text
//! cargo run -p demos --bin metrics               # prints where; http://127.0.0.1:40123/metrics
//! cargo run -p demos --bin metrics 127.0.0.1:9100
//! ```
//!
//! The service settles accounts under locks, follows a queue and leads an election, until it is interrupted. What it
//! records is in `docs/metrics.md`. `ZOOKEEPER_CONNECT` names the ensemble; without it, a server starts in this process.

use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use zookeeper_embedded::Server;
use zookeeper_recipes::queue::WorkQueue;
use zookeeper_recipes::{Coordinator, FairLock, LeaderElection};

use demos::BoxError;
use demos::print::say;

/// Seconds: those of OpenTelemetry, and what a lock may take.
const BUCKETS: [f64; 18] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 300.0, 3600.0,
];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned());
    let exporter = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("duration".to_owned()), &BUCKETS)?
        .install_recorder()?;
    zookeeper_recipes::metrics::describe();

    let (_server, cluster) = match std::env::var("ZOOKEEPER_CONNECT") {
        Ok(cluster) if !cluster.is_empty() => (None, cluster),
        _ => {
            let server = Server::start().await?;
            let cluster = server.connect_string();
            (Some(server), cluster)
        }
    };
    let zk = zookeeper_recipes::connect(&cluster).await?;
    let listener = TcpListener::bind(listen).await?;
    say!("http://{}/metrics", listener.local_addr()?);
    let settlement = zk.named("settlement");
    let ended = tokio::select! {
        ended = serve(&listener, &exporter) => ended,
        ended = work(&settlement) => ended,
        ended = tokio::signal::ctrl_c() => Ok(ended?),
    };
    zk.close().await;
    ended
}

/// Answers each request with all metrics, whatever it asks for.
async fn serve(listener: &TcpListener, exporter: &PrometheusHandle) -> Result<(), BoxError> {
    loop {
        let (stream, _) = listener.accept().await?;
        // A scraper that is gone is no fault of ours.
        let _ = answer(stream, &exporter.render()).await;
        exporter.run_upkeep();
    }
}

async fn answer(stream: TcpStream, text: &str) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await
}

/// Leads, and settles one account after the other.
async fn work(zk: &Coordinator) -> Result<(), BoxError> {
    let leadership = LeaderElection::new(zk, "/demo-metrics/leader")?
        .campaign("service-1")
        .await?;
    leadership.ready().await?;
    let queue = WorkQueue::new(zk, "/demo-metrics/orders")?;
    for account in (0..16).cycle() {
        queue.push(account.to_string()).await?;
        let order = queue.pop().await?;
        let lock = FairLock::new(zk, &format!("/demo-metrics/accounts/{account}"))?;
        lock.run(|_token| sleep(Duration::from_millis(2))).await?;
        order.ack().await?;
        queue.stats().await?;
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
