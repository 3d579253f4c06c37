//! The server's thread: its own runtime, so that the server outlives the one that started it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::core::{Core, CoreGuard, Settings};
use crate::net;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 4096;

/// A running server. Ends with this value.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
    thread: Option<JoinHandle<()>>,
    /// Closed by the thread when it ends.
    ended: oneshot::Receiver<()>,
}

impl Running {
    /// Ends the thread and waits for its end.
    pub(crate) async fn end(&mut self) {
        self.shared.stop.notify_one();
        let _ = (&mut self.ended).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.notify_one();
        // The thread never waits for anything but its sockets and ends at once.
        if let Some(thread) = self.thread.take() {
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Starts a server on the first of these addresses that can be had.
pub(crate) async fn spawn(
    addresses: Vec<SocketAddr>,
    settings: Settings,
    container_check_interval: Duration,
) -> io::Result<Running> {
    let (ready, started) = oneshot::channel();
    let (ending, ended) = oneshot::channel::<()>();
    let main = move || {
        let result = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match result {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        runtime.block_on(async {
            let (commands, inbox) = mpsc::unbounded_channel();
            let bound = bind(&addresses).and_then(|listener| Ok((listener.local_addr()?, listener)));
            let (address, listener) = match bound {
                Ok(bound) => bound,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let shared = Arc::new(Shared {
                core: Mutex::new(Core::new(settings, address.port(), seed(address))),
                thaw: Notify::new(),
                stop: Notify::new(),
                commands,
            });
            // The caller that asked for the server may have stopped waiting for it.
            if ready.send(Ok((shared.clone(), address))).is_ok() {
                run(shared, address, listener, inbox, container_check_interval).await;
            }
        });
        drop(runtime);
        drop(ending);
    };
    let thread = std::thread::Builder::new().name("zookeeper".to_owned()).spawn(main)?;
    let (shared, address) = started
        .await
        .map_err(|_| io::Error::other("the server's thread ended"))??;
    Ok(Running {
        shared,
        address,
        thread: Some(thread),
        ended,
    })
}

/// What the server's thread and the handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    core: Mutex<Core>,
    thaw: Notify,
    stop: Notify,
    commands: mpsc::UnboundedSender<Listen>,
}

/// Asks the server's thread to listen or not to listen.
#[derive(Debug)]
struct Listen {
    on: bool,
    done: oneshot::Sender<io::Result<()>>,
}

impl Shared {
    pub(crate) fn core(&self) -> CoreGuard<'_, Core> {
        // A predicate of the user may have panicked under the lock, before anything was changed.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the server is not frozen.
    pub(crate) async fn while_frozen(&self) {
        loop {
            let thaw = self.thaw.notified();
            tokio::pin!(thaw);
            // Counts as waiting before the flag is read: a thaw in between is not missed.
            thaw.as_mut().enable();
            if !self.core().is_frozen() {
                return;
            }
            thaw.await;
        }
    }

    pub(crate) fn thawed(&self) {
        self.thaw.notify_waiters();
    }

    pub(crate) async fn listen(&self, on: bool) -> io::Result<()> {
        let (done, result) = oneshot::channel();
        let gone = || io::Error::new(io::ErrorKind::NotConnected, "the server is shut down");
        self.commands.send(Listen { on, done }).map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }
}

async fn run(
    shared: Arc<Shared>,
    address: SocketAddr,
    listener: TcpListener,
    mut inbox: mpsc::UnboundedReceiver<Listen>,
    container_check_interval: Duration,
) {
    let mut accepting = Some(tokio::spawn(net::accept(listener, shared.clone())));
    tokio::spawn(expire(shared.clone()));
    tokio::spawn(reap(shared.clone(), container_check_interval));
    loop {
        let Listen { on, done } = tokio::select! {
            command = inbox.recv() => match command {
                Some(command) => command,
                None => return,
            },
            () = shared.stop.notified() => return,
        };
        let result = match (on, accepting.take()) {
            (true, Some(task)) => {
                accepting = Some(task);
                Ok(())
            }
            (false, Some(task)) => {
                task.abort();
                // The port is free once the task is gone.
                let _ = task.await;
                Ok(())
            }
            (false, None) => Ok(()),
            (true, None) => bind(&[address]).map(|listener| {
                accepting = Some(tokio::spawn(net::accept(listener, shared.clone())));
            }),
        };
        let _ = done.send(result);
    }
}

/// Listens on the first address that can be had, for the runtime whose context this is called in.
fn bind(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let listen = |address: SocketAddr| {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // Elsewhere this would let two servers share a port.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
    for address in addresses {
        match listen(*address) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn expire(shared: Arc<Shared>) {
    loop {
        let pause = shared.core().until_next_tick();
        tokio::time::sleep(pause).await;
        shared.core().expire_due();
    }
}

async fn reap(shared: Arc<Shared>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        shared.core().reap();
    }
}

/// Keeps the session ids of servers apart, in this process and in others.
fn seed(address: SocketAddr) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_micros();
    i64::try_from(now & 0xff_ffff_ffff).unwrap_or(0) ^ (i64::from(address.port()) << 24)
}
