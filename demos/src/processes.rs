//! The processes of a demo, which starts itself with other arguments. The director kills them, and they die with it.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;
use std::{env, io, thread};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time;

use crate::BoxError;
use crate::log::Log;

/// No process is waited for longer to say something.
const PATIENCE: Duration = Duration::from_secs(60);

const SIGKILL: i32 = 9;

/// The processes. Dropping them kills those that are left.
#[derive(Debug)]
pub struct Processes {
    log: Log,
    processes: HashMap<String, Process>,
    tell: UnboundedSender<Event>,
    events: UnboundedReceiver<Event>,
}

#[derive(Debug)]
struct Process {
    id: u32,
    child: Child,
    /// Tells the process what to do, and by its end that it is to end: `commands`.
    commands: Option<ChildStdin>,
    /// Whether it has closed its output.
    is_ending: bool,
}

#[derive(Debug)]
enum Event {
    Said { name: String, id: u32, line: String },
    ClosedOutput { name: String, id: u32 },
}

/// What starts this program once more.
pub fn myself() -> io::Result<Command> {
    Ok(Command::new(env::current_exe()?))
}

impl Processes {
    pub fn new(log: Log) -> Self {
        let (tell, events) = unbounded_channel();
        Self {
            log,
            processes: HashMap::new(),
            tell,
            events,
        }
    }

    pub fn start(&mut self, name: &str, command: &mut Command) -> Result<(), BoxError> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the director.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let id = child.id().ok_or_else(|| format!("{name} ended before it began"))?;
        let output = child.stdout.take().ok_or_else(|| format!("{name} has no output"))?;
        tokio::spawn(hear(output, name.to_owned(), id, self.tell.clone()));
        let process = Process {
            id,
            commands: child.stdin.take(),
            child,
            is_ending: false,
        };
        self.processes.insert(name.to_owned(), process);
        Ok(())
    }

    /// The next line that a process prints, and its name; `None` when all have ended. One that fails is an error.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<(String, String)>, BoxError> {
        loop {
            if let Some((name, process)) = self.processes.iter_mut().find(|(_, process)| process.is_ending) {
                let status = process.child.wait().await?;
                let name = name.clone();
                self.processes.remove(&name);
                if !status.success() {
                    return Err(format!("{name}: {status}").into());
                }
            } else if self.processes.is_empty() {
                return Ok(None);
            } else {
                match self.events.recv().await {
                    Some(Event::Said { name, id, line }) => {
                        if self.find(&name, id).is_some() {
                            return Ok(Some((name, line)));
                        }
                    }
                    Some(Event::ClosedOutput { name, id }) => {
                        if let Some(process) = self.find(&name, id) {
                            process.is_ending = true;
                        }
                    }
                    None => return Ok(None),
                }
            }
        }
    }

    /// Waits for a line with this beginning, and returns the name of the process that printed it. All lines are noted.
    pub async fn until(&mut self, beginning: &str) -> Result<String, BoxError> {
        loop {
            let said = time::timeout(PATIENCE, self.next())
                .await
                .map_err(|_| format!("no process said {beginning:?} for {PATIENCE:?}"))??;
            let (name, line) = said.ok_or_else(|| format!("all ended, and none said {beginning:?}"))?;
            self.log.note(&name, &line);
            if line.starts_with(beginning) {
                return Ok(name);
            }
        }
    }

    /// Sends a command to a process.
    pub async fn send(&mut self, name: &str, command: &str) -> Result<(), BoxError> {
        let commands = self.process(name)?.commands.as_mut();
        let commands = commands.ok_or_else(|| format!("{name} takes no commands"))?;
        let given = commands.write_all(format!("{command}\n").as_bytes()).await;
        Ok(given.map_err(|error| format!("{name} does not take the command {command:?}: {error}"))?)
    }

    pub async fn send_all(&mut self, command: &str) -> Result<(), BoxError> {
        let names: Vec<String> = self.processes.keys().cloned().collect();
        for name in names {
            self.send(&name, command).await?;
        }
        Ok(())
    }

    /// Kills a process, by SIGKILL, and returns when it is dead: nothing more is heard of it then, also not what it has
    /// said before. One that has ended otherwise is an error.
    pub async fn kill(&mut self, name: &str) -> Result<(), BoxError> {
        self.process(name)?.child.start_kill()?;
        let status = self.process(name)?.child.wait().await?;
        self.processes.remove(name);
        if status.signal() != Some(SIGKILL) {
            return Err(format!("{name} was not killed, but ended by itself: {status}").into());
        }
        Ok(())
    }

    /// The id of a process, to send it signals.
    pub fn id(&mut self, name: &str) -> Result<u32, BoxError> {
        Ok(self.process(name)?.id)
    }

    /// Tells all that are left to end, and waits for them. What they say is noted.
    pub async fn end(mut self) -> Result<(), BoxError> {
        for process in self.processes.values_mut() {
            process.commands = None;
        }
        while let Some((name, line)) = self.next().await? {
            self.log.note(&name, &line);
        }
        Ok(())
    }

    fn process(&mut self, name: &str) -> Result<&mut Process, BoxError> {
        let process = self.processes.get_mut(name);
        Ok(process.ok_or_else(|| format!("there is no process {name}"))?)
    }

    /// The process with this name, unless it is another one that has the name by now.
    fn find(&mut self, name: &str, id: u32) -> Option<&mut Process> {
        self.processes.get_mut(name).filter(|process| process.id == id)
    }
}

/// When it returns, the process is dead.
impl Drop for Process {
    fn drop(&mut self) {
        // Where it has ended, there is nothing to kill.
        let _ = self.child.start_kill();
        while let Ok(None) = self.child.try_wait() {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

async fn hear(output: ChildStdout, name: String, id: u32, tell: UnboundedSender<Event>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let name = name.clone();
        // An error means that the listener is gone.
        let _ = tell.send(Event::Said { name, id, line });
    }
    let _ = tell.send(Event::ClosedOutput { name, id });
}
