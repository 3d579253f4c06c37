//! A command that `zkr` runs under a lock, behind a follower that is cut off from its leader. `ZKR` names the binary.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use zookeeper_testkit::{Fixture, eventually, within};

use crate::ensemble::{Ensemble, SESSION};

const PATIENCE: Duration = Duration::from_secs(90);
const ROUNDS: usize = 10;

fn zkr(connect: &str, arguments: &[&str]) -> Child {
    let binary = std::env::var_os("ZKR").expect("scripts/ensemble-test.sh sets ZKR");
    Command::new(binary)
        .env("ZOOKEEPER_CONNECT", connect)
        .env_remove("ZK_LOCKS")
        .args(["-t", &format!("{}s", SESSION.as_secs())])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("zkr was built")
}

fn text(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap_or_default()
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

fn nanos(text: &str) -> u64 {
    text.trim()
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {text:?} is no moment"))
}

/// The command does not listen to SIGTERM, and writes each few milliseconds that it still runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_of_the_old_holder_is_dead_before_the_next_grant() {
    let ensemble = Ensemble::take().await;
    let mut ahead = Vec::new();
    for round in 0..ROUNDS {
        let fixture = ensemble.fixture("held_command").await;
        ahead.push(one_cut(&ensemble, &fixture, round).await);
        ensemble.heal().await;
        fixture.assert_no_nodes_left_within(PATIENCE, &["/l"]).await;
    }
    ahead.sort_unstable();
    println!("measured: the command was dead before the next grant, {ROUNDS} times of {ROUNDS}: by {ahead:?} ms");
}

/// Returns by how many milliseconds it was dead before.
async fn one_cut(ensemble: &Ensemble, fixture: &Fixture, round: usize) -> u64 {
    let directory = std::env::temp_dir().join(format!("zkr-cut-{}-{round}", std::process::id()));
    std::fs::create_dir(&directory).expect("a directory can be made");
    let at = directory.display();
    let script = format!(
        "trap '' TERM; echo $$ > {at}/pid; \
         while :; do date +%s%N > {at}/next; mv {at}/next {at}/alive; sleep 0.02; done"
    );
    let follower = ensemble.followers().await[0];
    let others: Vec<usize> = (0..3).filter(|server| *server != follower).collect();
    let connect = |servers: &[usize]| format!("{}{}", ensemble.connect_string(servers), fixture.chroot());
    let holder = zkr(&connect(&[follower]), &["lock", "/l", "--", "sh", "-c", &script]);
    eventually(PATIENCE, "the command runs", async || {
        text(&directory, "alive").ends_with('\n')
    })
    .await;
    let successor = zkr(&connect(&others), &["lock", "/l", "--", "date", "+%s%N"]);
    fixture.until_children("/l", 2).await;

    ensemble.cut_from_quorum(follower).await;
    let granted = within(PATIENCE, "the successor is granted", successor.wait_with_output()).await;
    let granted = granted.expect("it can be waited for");
    assert!(granted.status.success(), "{granted:?}");
    let pid = text(&directory, "pid");
    assert!(!is_alive(pid.trim()), "the command lives after the next grant");
    let granted = nanos(&String::from_utf8_lossy(&granted.stdout));
    let last = nanos(&text(&directory, "alive"));
    assert!(
        last < granted,
        "it worked for {} ms after the next grant",
        (last - granted) / 1_000_000
    );
    let done = within(PATIENCE, "the holder ends", holder.wait_with_output()).await;
    let done = done.expect("it can be waited for");
    assert_eq!(done.status.code(), Some(75), "{done:?}");
    std::fs::remove_dir_all(&directory).expect("it is ours");
    (granted - last) / 1_000_000
}
