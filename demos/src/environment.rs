//! What a run of a demo has for itself.

use std::path::PathBuf;

use zookeeper_embedded::Ensemble;

use crate::BoxError;
use crate::chroot::Chroot;
use crate::print::say;
use crate::scratch::ScratchDir;

/// Dropped from top to bottom.
#[derive(Debug)]
pub struct Environment {
    chroot: Chroot,
    scratch: ScratchDir,
    /// Where it is embedded, it serves until here.
    ensemble: Ensemble,
}

impl Environment {
    /// Connects, and says in the first line of the output to which ensemble.
    ///
    /// Dropping the future leaves nothing.
    pub(super) async fn open(name: &str) -> Result<Self, BoxError> {
        let ensemble = Ensemble::from_env().await?;
        say!("{ensemble}");
        let chroot = Chroot::connect(ensemble.connect_string(), name).await?;
        Ok(Self {
            chroot,
            scratch: ScratchDir::create()?,
            ensemble,
        })
    }

    /// Makes it ready for use. From here on [`Environment::clear`] has to be called, whatever becomes of this future.
    pub(super) async fn prepare(&self) -> Result<(), BoxError> {
        self.chroot.create().await
    }

    /// What to connect to: `/` there is a node of this run alone.
    pub fn cluster(&self) -> &str {
        self.chroot.cluster()
    }

    /// A file that is gone after the run.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Removes all that the run has left.
    pub(super) async fn clear(self) -> Result<(), BoxError> {
        // First what needs no server.
        drop(self.scratch);
        if self.ensemble.server().is_some() {
            // It ends with this process, and all that is in it.
            return Ok(());
        }
        self.chroot.remove().await
    }
}
