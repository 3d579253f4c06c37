//! The bank's journal: a file that every process appends to. It keeps out nothing by itself; the relay does.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use demos::BoxError;
use demos::payment::Payment;

#[derive(Clone, Debug)]
pub(crate) struct Journal {
    path: PathBuf,
}

/// A payment that is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) batch: usize,
    pub(crate) id: String,
    pub(crate) cents: i64,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> Result<Self, BoxError> {
        OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { path: path.to_owned() })
    }

    pub(crate) fn add(&self, batch: usize, payment: &Payment) -> Result<(), BoxError> {
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        let line = format!("{batch},{},{}\n", payment.id, payment.cents);
        Ok(file.write_all(line.as_bytes())?)
    }

    pub(crate) fn entries(&self) -> Result<Vec<Entry>, BoxError> {
        let text = fs::read_to_string(&self.path)?;
        let entries = text.lines().map(|line| {
            let broken = || format!("{}: {line:?} is no entry", self.path.display());
            let fields: Vec<&str> = line.split(',').collect();
            let [batch, id, cents] = fields[..] else {
                return Err(broken().into());
            };
            Ok(Entry {
                batch: batch.parse().map_err(|_| broken())?,
                id: id.to_owned(),
                cents: cents.parse().map_err(|_| broken())?,
            })
        });
        entries.collect()
    }

    /// Strikes out what was entered for `batch` and later ones. Returns how many entries that were.
    pub(crate) fn strike(&self, batch: usize) -> Result<usize, BoxError> {
        let entries = self.entries()?;
        let kept: String = entries
            .iter()
            .filter(|entry| entry.batch < batch)
            .map(|entry| format!("{},{},{}\n", entry.batch, entry.id, entry.cents))
            .collect();
        let struck = entries.len() - kept.lines().count();
        let beside = self.path.with_extension("new");
        fs::write(&beside, kept)?;
        fs::rename(&beside, &self.path)?;
        Ok(struck)
    }
}
