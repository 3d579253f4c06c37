//! A process that runs the recipes of Curator or kazoo as it is told: `interop/java` and `interop/python`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use zookeeper_testkit::{Fixture, within};

use crate::support::{LONG, Nanos, PATIENCE};

/// A process of another implementation. Dropping the last handle, its actors included, kills it.
#[derive(Clone)]
pub(crate) struct Peer {
    process: Arc<Process>,
}

struct Process {
    name: &'static str,
    child: Mutex<Child>,
    stdin: Mutex<ChildStdin>,
    pending: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>,
    numbers: AtomicU64,
}

/// What a peer answered, and when on the clock of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) at: Nanos,
    /// The text, or of a failure what the peer threw.
    pub(crate) outcome: Result<String, String>,
}

impl Peer {
    /// Java's Curator.
    pub(crate) fn curator() -> Self {
        let mut command = Command::new("java");
        command.args(["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp"]);
        command.arg(installed("INTEROP_CLASSPATH")).arg("Peer");
        Self::spawn("Curator", command)
    }

    /// Python's kazoo.
    pub(crate) fn kazoo() -> Self {
        let mut command = Command::new(installed("INTEROP_PYTHON"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/interop/python/kazoo_peer.py"));
        Self::spawn("kazoo", command)
    }

    fn spawn(name: &'static str, mut command: Command) -> Self {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|err| panic!("no {name}: {err}; `scripts/interop-test.sh` installs it"));
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let pending: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>> = Arc::default();
        let answered = Arc::clone(&pending);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let (number, answer) = parse(&line).unwrap_or_else(|| panic!("{name} says {line:?}"));
                if let Some(asked) = lock(&answered).remove(&number) {
                    let _ = asked.send(answer);
                }
            }
            // Whoever still waits is told that nothing comes.
            lock(&answered).clear();
        });
        let process = Arc::new(Process {
            name,
            child: Mutex::new(child),
            stdin: Mutex::new(stdin),
            pending,
            numbers: AtomicU64::new(0),
        });
        Self { process }
    }

    /// One more contender: a session of its own with a recipe at `path`, as `open` in `interop/java/Peer.java` has it.
    pub(crate) async fn actor(&self, fixture: &Fixture, recipe: &str, path: &str) -> Actor {
        self.actor_with(&fixture.connect_string(), LONG, recipe, path, &[])
            .await
    }

    /// As [`actor`](Self::actor), on `servers` with a session `timeout` and `options` of the recipe.
    pub(crate) async fn actor_with(
        &self,
        servers: &str,
        timeout: Duration,
        recipe: &str,
        path: &str,
        options: &[&str],
    ) -> Actor {
        let name = format!("actor-{}", self.process.numbers.fetch_add(1, Ordering::Relaxed));
        let actor = Actor {
            peer: self.clone(),
            name,
        };
        let open = format!(
            "open {recipe} {servers} {} {path} {}",
            timeout.as_millis(),
            options.join(" ")
        );
        actor.ask(open.trim_end()).await;
        actor
    }

    /// Kills the process (SIGKILL), so that its sessions end when their timeouts are up.
    pub(crate) fn kill(&self) {
        let mut child = lock(&self.process.child);
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// One contender in a peer.
#[derive(Clone)]
pub(crate) struct Actor {
    peer: Peer,
    name: String,
}

impl Actor {
    /// Tells it to do something; it does so after what it was told before. The answer may be awaited or not.
    pub(crate) fn tell(&self, command: &str) -> Told {
        let process = &self.peer.process;
        let number = process.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&process.pending).insert(number, sender);
        let line = format!("{number} {} {command}\n", self.name);
        let written = lock(&process.stdin).write_all(line.as_bytes());
        if written.is_err() {
            lock(&process.pending).remove(&number);
        }
        Told {
            what: format!("{}: {command}", process.name),
            answer,
        }
    }

    /// Tells it to do something, and waits until it is done. The answer's text.
    pub(crate) async fn ask(&self, command: &str) -> String {
        self.tell(command).done().await
    }

    /// Ends its session as the ensemble would, at once. Its recipe goes on in another one, if it does that.
    pub(crate) async fn expire(&self) {
        self.ask("expire").await;
    }
}

/// A command under way.
pub(crate) struct Told {
    what: String,
    answer: oneshot::Receiver<Answer>,
}

impl Told {
    /// Waits until it is done. The answer's text; panics if it failed.
    pub(crate) async fn done(self) -> String {
        let what = self.what.clone();
        let outcome = self.answer().await.map(|answer| answer.outcome);
        match outcome {
            Some(Ok(text)) => text,
            Some(Err(failure)) => panic!("{what}: {failure}"),
            None => panic!("{what}: the peer ended"),
        }
    }

    /// Waits for the answer, however it is; `None` if the peer ended.
    pub(crate) async fn answer(self) -> Option<Answer> {
        within(PATIENCE, self.what, self.answer).await.ok()
    }

    /// Whether there is no answer yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.answer.is_empty() && !self.answer.is_terminated()
    }
}

/// What `scripts/interop-test.sh` has installed.
fn installed(variable: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set; `scripts/interop-test.sh` runs this"))
}

/// `<number> <nanoseconds> ok|failed <text>`.
fn parse(line: &str) -> Option<(u64, Answer)> {
    let mut words = line.splitn(4, ' ');
    let number = words.next()?.parse().ok()?;
    let at = Nanos(words.next()?.parse().ok()?);
    let outcome = words.next()?;
    let text = words.next().unwrap_or_default().to_owned();
    let outcome = match outcome {
        "ok" => Ok(text),
        "failed" => Err(text),
        _ => return None,
    };
    Some((number, Answer { at, outcome }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
