//! The director: starts the processes, kills one leader, stops another past its session, and revives it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::{Failure, signal};

const PROCESSES: usize = 4;
/// How long a leader leads before something happens to it.
const QUIET: Duration = Duration::from_secs(3);
/// Longer than a take-over may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The processes. Dropping them kills those that are left.
#[derive(Debug)]
pub(crate) struct Cast {
    clock: Clock,
    processes: HashMap<String, Process>,
    said: Receiver<(String, String)>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    orders: Option<ChildStdin>,
}

impl Cast {
    pub(crate) fn start(clock: Clock, cluster: &str, ledger: &Path) -> Result<Self, Failure> {
        let (tell, said) = mpsc::channel();
        let mut processes = HashMap::new();
        for number in 1..=PROCESSES {
            let name = format!("scheduler-{number}");
            let process = Process::start(&name, clock, cluster, ledger, &tell)?;
            processes.insert(name, process);
        }
        Ok(Self { clock, processes, said })
    }

    /// Plays it all, and returns when a leader has seen the last job run.
    pub(crate) fn play(&mut self) -> Result<(), Failure> {
        let first = self.until("leads")?;
        thread::sleep(QUIET);
        self.note(&first, "is killed (SIGKILL)");
        self.process(&first)?.child.kill()?;

        let second = self.until("leads")?;
        thread::sleep(QUIET);
        let orders = self.process(&second)?.orders.as_mut();
        writeln!(orders.ok_or("no orders")?, "stall")?;
        self.until("stalls")?;
        self.note(
            &second,
            "is stopped (SIGSTOP), between its look at the guard and the record",
        );

        self.until("leads")?;
        self.note(&second, "is continued (SIGCONT)");
        let pid = self.process(&second)?.child.id();
        signal::send("CONT", pid)?;
        self.until("revived Refused")?;
        self.note(&second, "is refused: its term is over");
        self.until("done").map(drop)
    }

    /// Tells all to end, and waits for them.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        for process in self.processes.values_mut() {
            drop(process.orders.take());
        }
        for process in self.processes.values_mut() {
            process.child.wait()?;
        }
        Ok(())
    }

    /// Waits until a process says something, and tells which.
    fn until(&self, beginning: &str) -> Result<String, Failure> {
        loop {
            let (name, line) = self
                .said
                .recv_timeout(PATIENCE)
                .map_err(|_| format!("nobody said {beginning:?} for {PATIENCE:?}"))?;
            self.note(&name, &line);
            if line.starts_with(beginning) {
                return Ok(name);
            }
        }
    }

    fn note(&self, name: &str, what: &str) {
        println!("{:6.2} s  {name} {what}", self.clock.elapsed().as_secs_f64());
    }

    fn process(&mut self, name: &str) -> Result<&mut Process, Failure> {
        Ok(self.processes.get_mut(name).ok_or("no such process")?)
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        for process in self.processes.values_mut() {
            // Where it has ended, there is nothing to kill.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

impl Process {
    fn start(
        name: &str,
        clock: Clock,
        cluster: &str,
        ledger: &Path,
        tell: &Sender<(String, String)>,
    ) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--process", name, cluster, &clock.to_text()])
            .arg(ledger)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let (name, tell) = (name.to_owned(), tell.clone());
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send((name.clone(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, orders })
    }
}
