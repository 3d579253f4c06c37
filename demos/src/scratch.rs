//! A directory of our own, gone when it is dropped.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use uuid::Uuid;

#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    pub fn create() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("zookeeper-recipes-{}", Uuid::new_v4()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What is left lies in the system's directory for temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}
