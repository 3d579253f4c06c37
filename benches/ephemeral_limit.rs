//! A session that owns too many ephemeral nodes, and the server that cannot start any more once it has ended
//! (ZOOKEEPER-4306): `scripts/ephemeral-limit.sh`.
//!
//! The end of a session is one transaction that names all its ephemeral nodes. Beyond `jute.maxbuffer` the server writes
//! it and cannot read it back. Both sides ask for as many nodes with paths of 70 bytes in one session: locks of one
//! coordinator, and the bare client. Then their process is killed, the session expires, and the server is restarted.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::{ConnectOptions, FairLock};
use zookeeper_testkit::{RealServer, four_letter};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const NODES: usize = 36_000;
const TRIAL: usize = 500;
const AT_A_TIME: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a server may take to serve again. One that can needs a second or two.
const START: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1..).unwrap_or_default() {
        [child, cluster, nodes] if child == "locks" => own_locks(cluster, nodes.parse()?).await?,
        [child, cluster, nodes] if child == "bare" => own_bare(cluster, nodes.parse()?).await?,
        others => {
            // Anything but `cargo bench` only wants to see that it runs.
            let nodes = match others.iter().any(|argument| argument == "--bench") {
                true => NODES,
                false => TRIAL,
            };
            return compare(nodes).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn compare(nodes: usize) -> Result<ExitCode, Failure> {
    println!("{nodes} ephemeral nodes with paths of 70 bytes asked for in one session");
    let ours = side("locks", "locks of one coordinator", nodes).await?;
    let bare = side("bare", "the bare client", nodes).await?;
    println!(
        "with the bound the server starts again: {}; without one: {}",
        if ours { "yes" } else { "NO" },
        if bare { "yes" } else { "no" },
    );
    Ok(if ours { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the server serves again after the process of this side was killed.
async fn side(child: &str, name: &str, nodes: usize) -> Result<bool, Failure> {
    let server = RealServer::options().heap_mib(1_024).start().await;
    let (mut process, said) = start(child, &server.connect_string(), nodes)?;
    println!("{name}: {said}");
    println!(
        "{name}: the server counts {} ephemeral nodes",
        ephemerals(&server).await
    );
    process.kill()?;
    process.wait()?;

    let killed = Instant::now();
    while ephemerals(&server).await != "0" {
        if killed.elapsed() > 3 * TIMEOUT {
            return Err("the session of the killed process does not expire".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{name}: process killed, session expired; restarting the server");
    server.kill().await;
    server.relaunch().await;
    let restarted = Instant::now();
    loop {
        if let Some(mode) = four_letter::mode(server.addr()).await {
            println!(
                "{name}: the server serves again after {:.1?} ({mode})",
                restarted.elapsed()
            );
            return Ok(true);
        }
        if restarted.elapsed() > START {
            println!("{name}: the server does not serve again within {START:?}");
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Starts this program again as one side, and waits for the line that it says.
fn start(side: &str, cluster: &str, nodes: usize) -> Result<(Child, String), Failure> {
    let mut process = Command::new(std::env::current_exe()?)
        .args([side, cluster, &nodes.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    let output = process.stdout.take().ok_or("no output")?;
    BufReader::new(output).read_line(&mut said)?;
    match said.trim_end() {
        "" => Err(format!("the process of {side} ended: {}", process.wait()?).into()),
        said => Ok((process, said.to_owned())),
    }
}

async fn ephemerals(server: &RealServer) -> String {
    let metrics = four_letter::mntr(server.addr()).await.unwrap_or_default();
    metrics.get("zk_ephemerals_count").cloned().unwrap_or_default()
}

/// Holds as many locks of one coordinator as it may, until it is killed.
async fn own_locks(cluster: &str, nodes: usize) -> Result<(), Failure> {
    let zk = ConnectOptions::new().session_timeout(TIMEOUT).connect(cluster).await?;
    let locks = stream::iter(0..nodes).map(|number| {
        let zk = zk.clone();
        // With the name of a contender behind it, 70 bytes.
        async move { FairLock::new(&zk, &format!("/locks/l-{number:05}"))?.acquire().await }
    });
    let taken: Vec<_> = locks.buffer_unordered(AT_A_TIME).collect().await;
    let held = taken.iter().filter(|lock| lock.is_ok()).count();
    let refusal = taken.iter().find_map(|lock| lock.as_ref().err());
    let refusal = refusal.map_or("none refused".to_owned(), |error| {
        format!("the others refused: {error}")
    });
    say(&format!("{held} held, {refusal}"));
    std::future::pending::<()>().await;
    drop(taken);
    Ok(())
}

/// Creates all of them, until it is killed.
async fn own_bare(cluster: &str, nodes: usize) -> Result<(), Failure> {
    let connector = Client::connector().with_session_timeout(TIMEOUT);
    let client = connector.connect(cluster).await?;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.create("/bare", b"", &persistent).await?;
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let creates = stream::iter(0..nodes).map(|number| {
        let (client, ephemeral) = (&client, &ephemeral);
        async move { client.create(&format!("/bare/{number:064}"), b"", ephemeral).await }
    });
    let created: Vec<_> = creates.buffer_unordered(AT_A_TIME).collect().await;
    say(&format!(
        "{} created",
        created.iter().filter(|create| create.is_ok()).count()
    ));
    std::future::pending::<()>().await;
    Ok(())
}

/// One line, which the parent waits for.
fn say(line: &str) {
    println!("{}", line.replace('\n', " "));
    // A parent that is gone does not listen.
    let _ = std::io::stdout().flush();
}
