//! [`FifoQueue`]: items in order, each delivered at most once, on Curator's znodes.

use crate::error::Error;
use crate::session::Coordinator;
use crate::znode::NodePath;

/// A queue of bytes on the znodes of Curator's `SimpleDistributedQueue`: each item is delivered **at most once**.
#[derive(Clone, Debug)]
pub struct FifoQueue {
    _zk: Coordinator,
    path: NodePath,
}

impl FifoQueue {
    /// A queue at `path`, below the chroot. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::InvalidPath`].
    pub fn new(zk: &Coordinator, path: &str) -> Result<Self, Error> {
        Ok(Self {
            _zk: zk.clone(),
            path: NodePath::new(path)?,
        })
    }

    /// The path of the queue, from the chroot.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }
}
