//! The signals that `zkr` gets while it waits and while a command runs.

use std::io;

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Streams of the signals that are handled.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
}

/// Ask to end.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];
/// Are meant for the command alone.
const FORWARDED: [Signal; 4] = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGCONT];

impl Signals {
    pub(crate) fn ending() -> io::Result<Self> {
        Self::of(&ENDING)
    }

    pub(crate) fn forwarded() -> io::Result<Self> {
        Self::of(&FORWARDED)
    }

    fn of(signals: &[Signal]) -> io::Result<Self> {
        let stream = |&signal: &Signal| Ok((signal, unix::signal(SignalKind::from_raw(signal as i32))?));
        let streams = signals.iter().map(stream).collect::<io::Result<_>>()?;
        Ok(Self { streams })
    }

    /// The next signal.
    pub(crate) async fn recv(&mut self) -> Signal {
        let all = self.streams.iter_mut().map(|(signal, stream)| {
            Box::pin(async move {
                if stream.recv().await.is_none() {
                    std::future::pending::<()>().await;
                }
                *signal
            })
        });
        futures::future::select_all(all).await.0
    }
}

/// Ends this process as the signal would have ended it: a shell's loop ends at SIGINT and SIGQUIT only so. Returns
/// where it does not.
pub(crate) fn die_of(signal: i32) -> u8 {
    if signal == Signal::SIGINT as i32 || signal == Signal::SIGQUIT as i32 {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}
