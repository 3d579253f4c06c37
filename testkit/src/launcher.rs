//! How a server process is run: a shell that obeys one word a line and ends the server when its input ends.
//!
//! The kernel closes that input when the test process ends in whatever way, so no server outlives its test, also not
//! one in a static that is never dropped, and no signal needs `unsafe` or the `kill` program.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use crate::lock;

/// Runs the JVM in `$2...`, with its log and data in the directory `$1`.
const JVM: &str = r#"
trap '' HUP INT TERM
dir=$1; shift
while read -r word; do
    case $word in
    start) "$@" >>"$dir/server.log" 2>&1 </dev/null & server=$! ;;
    freeze) kill -STOP "$server" ;;
    thaw) kill -CONT "$server" ;;
    kill) kill -KILL "$server"; wait "$server"; server=; true ;;
    alive) [ -n "$server" ] && kill -0 "$server" ;;
    memory) grep VmRSS "/proc/$server/status" >"$dir/memory" ;;
    log) ;;
    esac && echo ok || echo failed
done
[ -z "$server" ] || { kill -KILL "$server"; wait "$server"; }
rm -rf "$dir"
"#;

/// Runs the container `$2` with the arguments `$3...` of `docker run`. Its log is copied to the directory `$1`.
const DOCKER: &str = r#"
trap '' HUP INT TERM
dir=$1; name=$2; shift 2
exec 2>>"$dir/server.log"
while read -r word; do
    case $word in
    start) if [ -n "$made" ]; then docker start "$name"; else made=1; docker run -d --name "$name" "$@"; fi ;;
    freeze) docker pause "$name" ;;
    thaw) docker unpause "$name" ;;
    kill) docker kill "$name" || { docker unpause "$name"; docker kill "$name"; }; true ;;
    alive) [ "$(docker inspect -f '{{.State.Running}}' "$name")" = true ] ;;
    memory) false ;;
    log) docker logs --tail 50 "$name" >>"$dir/server.log" 2>&1 ;;
    esac >/dev/null && echo ok || echo failed
done
docker rm -f -v "$name" >/dev/null
rm -rf "$dir"
"#;

/// One server's shell. Dropping it ends the server and removes its directory.
#[derive(Debug)]
pub(crate) struct Launcher {
    dir: PathBuf,
    shell: Mutex<Shell>,
}

#[derive(Debug)]
struct Shell {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

/// What a [`Launcher`] is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word {
    Start,
    Freeze,
    Thaw,
    Kill,
    Alive,
    Memory,
    Log,
}

impl Launcher {
    /// A shell that will run `command` (a JVM) with `dir` for log and data.
    pub(crate) fn jvm(dir: &Path, command: &[String]) -> Self {
        Self::spawn(JVM, dir, command)
    }

    /// A shell that will run a container with these arguments of `docker run`.
    pub(crate) fn docker(dir: &Path, run: &[String]) -> Self {
        let name = format!("zookeeper-testkit-{}", uuid::Uuid::new_v4());
        let arguments: Vec<String> = std::iter::once(name).chain(run.iter().cloned()).collect();
        Self::spawn(DOCKER, dir, &arguments)
    }

    fn spawn(script: &str, dir: &Path, arguments: &[String]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(dir)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // An interrupt from the terminal is for the tests. The shell then cleans up at the end of its input.
            .process_group(0)
            .spawn()
            .expect("the testkit runs its servers from `sh`");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self {
            dir: dir.to_owned(),
            shell: Mutex::new(Shell { child, stdin, stdout }),
        }
    }

    /// Whether `word` was obeyed. Returns when it has been.
    pub(crate) fn tell(&self, word: Word) -> bool {
        let word = match word {
            Word::Start => "start\n",
            Word::Freeze => "freeze\n",
            Word::Thaw => "thaw\n",
            Word::Kill => "kill\n",
            Word::Alive => "alive\n",
            Word::Memory => "memory\n",
            Word::Log => "log\n",
        };
        let mut shell = lock(&self.shell);
        let sent = shell
            .stdin
            .as_mut()
            .is_some_and(|stdin| stdin.write_all(word.as_bytes()).is_ok());
        let mut answer = String::new();
        sent && shell.stdout.read_line(&mut answer).is_ok() && answer == "ok\n"
    }

    /// What `/proc` says of the server's memory, in bytes.
    pub(crate) fn resident_memory(&self) -> Option<u64> {
        let line = self
            .tell(Word::Memory)
            .then(|| std::fs::read_to_string(self.dir.join("memory")).ok())??;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    }

    /// The end of the server's log, for a message.
    pub(crate) fn log_tail(&self) -> String {
        self.tell(Word::Log);
        let log = std::fs::read_to_string(self.dir.join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        let mut shell = lock(&self.shell);
        shell.stdin = None;
        // Waited for, so that the port is free and the directory gone. It ends at once: the server is killed.
        let _ = shell.child.wait();
    }
}
