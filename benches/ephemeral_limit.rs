//! A process with very many ephemeral nodes, its end, and a server that cannot start any more after it (ZOOKEEPER-4306):
//! `scripts/ephemeral-limit.sh`.
//!
//! The end of a session is one transaction that names all its ephemeral nodes. Beyond `jute.maxbuffer` the server writes
//! it and cannot read it back. Locks of one coordinator, with paths of 70 bytes, are held by one process, which ends by a
//! close, by an expiry and by SIGKILL, on one server and on an ensemble of three. Then all servers are killed and started
//! again. The bare client does the same in one session.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use zookeeper_client::{Acls, Client, CreateMode};
use zookeeper_recipes::{ConnectOptions, FairLock};
use zookeeper_testkit::{RealEnsemble, RealServer, four_letter};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const NODES: usize = 20_000;
const BARE_NODES: usize = 36_000;
const TRIAL: usize = 500;
const AT_A_TIME: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a server may take to serve again. One that can needs a second or two.
const START: Duration = Duration::from_secs(30);

/// How the process of the locks ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Close,
    Expiry,
    Kill,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1..).unwrap_or_default() {
        [child, cluster, nodes] if child == "locks" => own_locks(cluster, nodes.parse()?).await?,
        [child, cluster, nodes] if child == "bare" => own_bare(cluster, nodes.parse()?).await?,
        others => {
            // Anything but `cargo bench` only wants to see that it runs.
            let is_bench = others.iter().any(|argument| argument == "--bench");
            return match is_bench {
                true => compare(NODES, BARE_NODES).await,
                false => compare(TRIAL, TRIAL).await,
            };
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn compare(nodes: usize, bare_nodes: usize) -> Result<ExitCode, Failure> {
    let mut serves = true;
    for end in [End::Close, End::Expiry, End::Kill] {
        let server = RealServer::options().heap_mib(1_024).start().await;
        serves &= ours(&[&server], nodes, end).await?;
        drop(server);
        let ensemble = RealEnsemble::start_with(3, RealServer::options().heap_mib(1_024)).await;
        let servers: Vec<_> = ensemble.servers().iter().collect();
        serves &= ours(&servers, nodes, end).await?;
    }
    let server = RealServer::options().heap_mib(1_024).start().await;
    let bare = bare(&server, bare_nodes).await?;
    println!(
        "with the bound the servers start again: {}; without one: {}",
        if serves { "yes" } else { "NO" },
        if bare { "yes" } else { "no" },
    );
    Ok(if serves { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the servers serve again after the process of the locks has ended, and they were killed.
async fn ours(servers: &[&RealServer], nodes: usize, end: End) -> Result<bool, Failure> {
    let name = format!(
        "{} of locks, {} server(s)",
        format!("{end:?}").to_lowercase(),
        servers.len()
    );
    let addresses: Vec<String> = servers.iter().map(|server| server.connect_string()).collect();
    let (mut process, said) = start("locks", &addresses.join(","), nodes)?;
    println!("{name}: {said}");
    match end {
        End::Close => {
            writeln!(process.stdin.take().ok_or("no input")?, "close")?;
            process.wait()?;
        }
        End::Expiry => {
            signal(&process, "STOP")?;
            forgotten(servers).await?;
            process.kill()?;
            process.wait()?;
        }
        End::Kill => {
            process.kill()?;
            process.wait()?;
        }
    }
    forgotten(servers).await?;
    restarted(&name, servers).await
}

async fn bare(server: &RealServer, nodes: usize) -> Result<bool, Failure> {
    let name = "kill of the bare client, 1 server(s)";
    let (mut process, said) = start("bare", &server.connect_string(), nodes)?;
    println!("{name}: {said}");
    process.kill()?;
    process.wait()?;
    forgotten(&[server]).await?;
    restarted(name, &[server]).await
}

/// Waits until no ephemeral node is left.
async fn forgotten(servers: &[&RealServer]) -> Result<(), Failure> {
    let began = Instant::now();
    for server in servers {
        while ephemerals(server).await != "0" {
            if began.elapsed() > 3 * TIMEOUT {
                return Err("the sessions of the process do not end".into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// Kills all servers and starts them again; says whether they serve.
async fn restarted(name: &str, servers: &[&RealServer]) -> Result<bool, Failure> {
    for server in servers {
        server.kill().await;
    }
    for server in servers {
        server.relaunch().await;
    }
    let began = Instant::now();
    for server in servers {
        while four_letter::mode(server.addr()).await.is_none() {
            if began.elapsed() > START {
                println!("{name}: a server does not serve again within {START:?}");
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    println!("{name}: serves again after {:.1?}", began.elapsed());
    Ok(true)
}

fn signal(process: &Child, signal: &str) -> Result<(), Failure> {
    let command = format!("kill -{signal} {}", process.id());
    match Command::new("sh").args(["-c", &command]).status()?.success() {
        true => Ok(()),
        false => Err(command.into()),
    }
}

/// Starts this program again as one side, and waits for the line that it says.
fn start(side: &str, cluster: &str, nodes: usize) -> Result<(Child, String), Failure> {
    let mut process = Command::new(std::env::current_exe()?)
        .args([side, cluster, &nodes.to_string()])
        .stdin(Stdio::piped())
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

/// Holds as many locks of one coordinator as it may, until it is told to close or is killed.
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
    let sessions = zk.stats().sessions.len();
    say(&format!("{held} held in {sessions} sessions, {refusal}"));
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    drop(taken);
    zk.close().await;
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
