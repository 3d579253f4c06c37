//! Contenders in processes of their own, which can be stopped and killed.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use zookeeper_recipes::{ConnectOptions, Coordinator, FairLock};
use zookeeper_testkit::background;

use crate::belief::Log;
use crate::ensemble::SESSION;
use crate::recipes::RECIPES;
use crate::workload::{Contender, Pace};

/// The orders of a client process, by variables of its environment.
const ROLE: &str = "ZK_CLIENT_ROLE";
const SERVERS: &str = "ZK_CLIENT_SERVERS";
const WHO: &str = "ZK_CLIENT_WHO";
const LOG: &str = "ZK_CLIENT_LOG";
const SEED: &str = "ZK_CLIENT_SEED";

/// The lock that [`Process::holder`] takes.
pub(crate) const HELD: &str = "/held";

/// What a client process does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// Contends at random with all recipes.
    Contend,
    /// Runs Jepsen's workloads.
    Jepsen,
    /// Takes the lock [`HELD`] and answers.
    Hold,
}

/// A client process. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    answers: Option<Lines<BufReader<ChildStderr>>>,
}

impl Process {
    /// One that contends at random until [`finish`](Self::finish), and writes its beliefs to `log`.
    pub(crate) fn contender(role: Role, servers: &str, who: &str, log: &Path, seed: u64) -> Self {
        let orders = [
            (ROLE, &*format!("{role:?}")),
            (SERVERS, servers),
            (WHO, who),
            (SEED, &seed.to_string()),
        ];
        Self::spawn(&orders, log, Stdio::inherit())
    }

    /// One that takes the lock [`HELD`], and then answers what it is [asked](Self::ask). Returns when it has it, with the
    /// path of its node.
    pub(crate) async fn holder(servers: &str) -> (Self, String) {
        let orders = [(ROLE, &*format!("{:?}", Role::Hold)), (SERVERS, servers)];
        let mut process = Self::spawn(&orders, Path::new("/dev/null"), Stdio::piped());
        let stderr = process.child.stderr.take().expect("stderr is piped");
        process.answers = Some(BufReader::new(stderr).lines());
        let node = process.answer().await;
        (process, node)
    }

    fn spawn(orders: &[(&str, &str)], log: &Path, stderr: Stdio) -> Self {
        let this = std::env::current_exe().expect("a test is a program");
        let child = Command::new(this)
            .args(["--exact", "client::client_process", "--ignored", "--nocapture"])
            .envs(orders.iter().copied())
            .env(LOG, log)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .expect("a program that runs can be run again");
        Self { child, answers: None }
    }

    /// Stops it (SIGSTOP): it keeps its connections and does nothing.
    pub(crate) fn stop(&self) {
        self.signal("STOP");
    }

    /// Continues it.
    pub(crate) fn resume(&self) {
        self.signal("CONT");
    }

    /// Ends it without a farewell (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Says something to a holder, also to one that is stopped.
    pub(crate) fn say(&mut self, word: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        writeln!(stdin, "{word}").expect("it listens");
    }

    /// The next answer of a holder.
    pub(crate) async fn answer(&mut self) -> String {
        let mut answers = self.answers.take().expect("it is a holder");
        let (answers, line) = background::blocking(move || {
            let line = answers.find_map(|line| line.ok()?.strip_prefix("> ").map(str::to_owned));
            (answers, line)
        })
        .await;
        self.answers = Some(answers);
        line.expect("the holder answers")
    }

    /// Asks a holder.
    pub(crate) async fn ask(&mut self, word: &str) -> String {
        self.say(word);
        self.answer().await
    }

    /// Has a contender be granted once more and end, within `patience`.
    ///
    /// # Errors
    /// What became of it instead.
    pub(crate) async fn finish(&mut self, patience: Duration) -> Result<(), String> {
        self.say("finish");
        let started = std::time::Instant::now();
        loop {
            match self.child.try_wait().expect("a child of ours") {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("ended in the end with {status}")),
                None if started.elapsed() > patience => return Err(format!("was not granted within {patience:?}")),
                None => background::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn signal(&self, signal: &str) {
        // The shell's own `kill`. The child is not reaped yet, so the id is still its own.
        let command = format!("kill -{signal} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &command]).status();
        assert!(status.is_ok_and(|status| status.success()), "{command}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the body of the client processes, which other tests start"]
fn client_process() {
    // A stopped process would not see that its input ends. (It is the thread of the test that spawns us, and it stays.)
    set_parent_process_death_signal(Some(Signal::KILL)).expect("a process may choose this");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a process has threads");
    trace();
    match variable(ROLE).as_str() {
        "Contend" => contend(&runtime),
        "Jepsen" => jepsen(&runtime),
        "Hold" => hold(&runtime),
        role => panic!("no such role: {role}"),
    }
}

/// Writes the crate's log of this process into the directory `ZK_SOAK_TRACE`, if there is one.
fn trace() {
    let Ok(directory) = std::env::var("ZK_SOAK_TRACE") else {
        return;
    };
    let who = std::env::var(WHO).unwrap_or_else(|_| "holder".to_owned());
    let path = Path::new(&directory).join(format!("{who}-{}.log", std::process::id()));
    let file = std::fs::File::create(path).expect("the directory of the logs is there");
    tracing_subscriber::fmt()
        .with_env_filter("zookeeper_recipes=debug")
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file))
        .init();
}

/// Turns to `true` when the process is to finish.
fn finishing() -> watch::Receiver<bool> {
    let (stop, stopped) = watch::channel(false);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            stop.send_replace(line == "finish");
        }
        // Whoever started us is gone.
        std::process::exit(1);
    });
    stopped
}

fn seed() -> u64 {
    variable(SEED).parse().expect("a seed is a number")
}

fn jepsen(runtime: &Runtime) {
    let stopped = finishing();
    runtime.block_on(async {
        let zk = connect().await;
        let path = variable(LOG);
        let log = Log::to_file(Path::new(&path));
        let directory = Path::new(&path).parent().expect("a log is in a directory");
        crate::jepsen::work(&zk, &variable(WHO), &log, directory, seed(), stopped).await;
        zk.close().await;
    });
}

fn contend(runtime: &Runtime) {
    let (stopped, seed) = (finishing(), seed());
    runtime.block_on(async {
        let zk = connect().await;
        let log = Log::to_file(Path::new(&variable(LOG)));
        let contend = |pace: Pace, seed| {
            let who = format!("{}-{pace:?}", variable(WHO));
            Contender::new(zk.clone(), who, log.clone(), (pace, RECIPES), seed, stopped.clone()).contend()
        };
        tokio::join!(contend(Pace::Brisk, seed), contend(Pace::Slow, !seed));
        zk.close().await;
    });
}

fn hold(runtime: &Runtime) {
    let guard = runtime.block_on(async {
        let zk = connect().await;
        let lock = FairLock::new(&zk, HELD).expect("the path is valid");
        lock.acquire().await.expect("the lock is to be had")
    });
    eprintln!("> {}", guard.path());
    for word in std::io::stdin().lines().map_while(Result::ok) {
        match word.as_str() {
            "is held?" => eprintln!("> {}", guard.is_held()),
            "why not?" => eprintln!("> {:?}", guard.lost().reason()),
            data => {
                let mut write = guard.fenced();
                write.add_set_data("/", data.as_bytes(), None);
                let answer = runtime.block_on(write.commit());
                eprintln!(
                    "> {}",
                    answer.map_or_else(|error| error.to_string(), |_| "written".to_owned())
                );
            }
        }
    }
}

/// Connects, through whatever fault strikes at that moment.
async fn connect() -> Coordinator {
    loop {
        let options = ConnectOptions::new().session_timeout(SESSION);
        match options.connect(&variable(SERVERS)).await {
            Ok(zk) => return zk,
            Err(error) => eprintln!("{}: connecting again: {error}", std::process::id()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: this is no test, but what other tests start"))
}
