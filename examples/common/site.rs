//! What a run of an example has for itself.

use std::path::PathBuf;

use super::Failure;
use super::chroot::Chroot;
use super::ensemble::Ensemble;
use super::scratch::ScratchDir;

/// Dropped from top to bottom.
#[derive(Debug)]
pub(crate) struct Site {
    chroot: Chroot,
    scratch: ScratchDir,
    /// Where it is embedded, it serves until here.
    _ensemble: Ensemble,
}

impl Site {
    /// Says in the first line of the output which ensemble it is.
    pub(super) async fn prepare(name: &str) -> Result<Self, Failure> {
        let ensemble = Ensemble::from_env().await?;
        println!("{ensemble}");
        let scratch = ScratchDir::create()?;
        Ok(Self {
            chroot: Chroot::create(ensemble.connect_string(), name).await?,
            scratch,
            _ensemble: ensemble,
        })
    }

    /// What to connect to: `/` there is a node of this run alone.
    pub(crate) fn cluster(&self) -> &str {
        self.chroot.cluster()
    }

    /// A file that is gone after the run.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Removes all that the run has left.
    pub(super) async fn clear(self) -> Result<(), Failure> {
        self.chroot.remove().await
    }
}
