//! The signals that end a run before its time.

use std::{io, process};

use thiserror::Error;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::BoxError;
use crate::print::complain;

/// The signal that came.
#[derive(Clone, Copy, Debug, Error)]
pub(super) enum Interrupted {
    /// SIGINT, as of Ctrl-C.
    #[error("interrupted")]
    Interrupt,
    /// SIGTERM, as of `kill`, `timeout` and `docker stop`.
    #[error("terminated")]
    Terminate,
    /// SIGHUP: the terminal is gone.
    #[error("hung up")]
    HangUp,
}

impl Interrupted {
    /// What a shell reports of a program that the signal has ended.
    pub(super) fn status(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
            Self::HangUp => 129,
        }
    }
}

/// Hears the first signal. While the run is cleared up, Ctrl-C once more ends the program at once.
#[derive(Debug)]
pub(super) struct Interrupts(oneshot::Receiver<Interrupted>);

impl Interrupts {
    /// From now on no signal ends the program by itself.
    pub(super) fn listen() -> io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let (tell, first) = oneshot::channel();
        // A task of its own: what is dropped after the first signal may block the thread.
        tokio::spawn(async move {
            let interrupted = select! {
                _ = interrupt.recv() => Interrupted::Interrupt,
                _ = terminate.recv() => Interrupted::Terminate,
                _ = hang_up.recv() => Interrupted::HangUp,
            };
            // The receiver is gone while the run is cleared up.
            let _ = tell.send(interrupted);
            // SIGTERM does not count: `timeout` sends it twice.
            interrupt.recv().await;
            complain!("ended at once: a node in the ensemble and a temporary directory may be left");
            process::exit(Interrupted::Interrupt.status().into());
        });
        Ok(Self(first))
    }

    /// Fails at the first signal. Do not ask again after that.
    pub(super) async fn first<T>(&mut self) -> Result<T, BoxError> {
        Err((&mut self.0).await?.into())
    }
}
