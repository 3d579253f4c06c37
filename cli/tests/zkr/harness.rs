//! Starting `zkr` on a fixture and reading what it said.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::{Child, Command};
use zookeeper_testkit::{Fixture, eventually, within};

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a finished `zkr` left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let status = output.status;
        Self {
            status: status
                .code()
                .or(status.signal().map(|signal| 128 + signal))
                .unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// `zkr` with these arguments, connected to `connect`.
pub(crate) fn zkr_at(connect: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkr"));
    for variable in ["ZOOKEEPER_AUTH", "ZOOKEEPER_SASL", "ZK_LOCKS", "ZKR_LOG"] {
        command.env_remove(variable);
    }
    command
        .env("ZOOKEEPER_CONNECT", connect)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs `zkr` to its end.
pub(crate) async fn zkr(fixture: &Fixture, arguments: &[&str]) -> Done {
    let output = zkr_at(&fixture.connect_string(), arguments).output();
    let output = within(PATIENCE, format!("zkr {arguments:?}"), output).await;
    output.expect("zkr was built").into()
}

/// Runs `zkr`, which has to succeed; returns what it printed.
pub(crate) async fn zkr_ok(fixture: &Fixture, arguments: &[&str]) -> String {
    let done = zkr(fixture, arguments).await;
    assert_eq!(done.status, 0, "zkr {arguments:?}: {done:?}");
    done.out
}

/// Runs `zkr --json`, checks all that it printed against its schema and returns the last object.
pub(crate) async fn zkr_json(fixture: &Fixture, arguments: &[&str], status: i32) -> Value {
    let mut all = vec!["--json"];
    all.extend(arguments);
    let done = zkr(fixture, &all).await;
    assert_eq!(done.status, status, "zkr {all:?}: {done:?}");
    let mut last = Value::Null;
    for line in done.out.lines() {
        last = serde_json::from_str(line).unwrap_or_else(|error| panic!("zkr {all:?}: {error}: {line}"));
        crate::schema::check(&last);
    }
    last
}

/// Starts `zkr`.
pub(crate) fn start(fixture: &Fixture, arguments: &[&str]) -> Child {
    zkr_at(&fixture.connect_string(), arguments)
        .spawn()
        .expect("zkr was built")
}

/// Waits for its end.
pub(crate) async fn end(child: Child) -> Done {
    let output = within(PATIENCE, "zkr ends", child.wait_with_output()).await;
    output.expect("it can be waited for").into()
}

/// Runs a shell command on a terminal of so many columns and rows, which `script` of util-linux makes. `$zkr` is the binary.
pub(crate) fn on_terminal(fixture: &Fixture, (columns, rows): (u16, u16), command: &str) -> Child {
    let line = format!("stty cols {columns} rows {rows}; {command}");
    Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("ZOOKEEPER_CONNECT", fixture.connect_string())
        .env("zkr", env!("CARGO_BIN_EXE_zkr"))
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm")
        .env("LANG", "C.UTF-8")
        .env_remove("LC_ALL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("script of util-linux is there")
}

pub(crate) fn signal(child: &Child, name: &str) {
    kill(child.id().expect("it runs"), name);
}

pub(crate) fn kill(pid: u32, name: &str) {
    let status = std::process::Command::new("kill")
        .arg(format!("-{name}"))
        .arg(pid.to_string())
        .status();
    assert!(status.expect("there is a kill").success(), "kill -{name} {pid}");
}

pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// A directory of this test alone.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let unique = format!("zkr-test-{}-{}", std::process::id(), fastrand::u64(..));
        let directory = std::env::temp_dir().join(unique);
        std::fs::create_dir(&directory).expect("a directory can be made");
        Self(directory)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    pub(crate) async fn until_written(&self, name: &str) -> String {
        eventually(PATIENCE, format!("{name} is written"), async || {
            self.text(name).ends_with('\n')
        })
        .await;
        self.text(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
