//! The state as the subcommands read it, also beside a running daemon.
//!
//! A reader takes no lock, writes no row, repairs nothing, and keeps no transaction open between calls: the log could
//! not be written back past one. It does not know what is in memory only: what it shows is durable.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::model::identity::{Identity, Incarnation};

use super::audit::{self, AuditedStream, StoredBlock, WantedBlocks};
use super::database::connect;
use super::error::{Fault, StoreError, io_at, judge};
use super::letters;
use super::place::Place;
use super::rows::{self, DeadLetterId, Meta, StoredCheckpoint, StoredDeadLetter};
use super::schema::{self, Look};

/// A look at a state directory.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl Reader {
    /// # Errors
    /// [`StoreError::Newer`]; [`StoreError::Damaged`], which stays where it is for the daemon to move aside;
    /// [`StoreError::Io`] with `NotFound` when no daemon has been there.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let place = Place::find(dir)?;
        let path = place.database();
        match schema::look(&place)? {
            Look::Plausible => {}
            Look::Nothing | Look::Missing => return Err(io_at(&path)(std::io::ErrorKind::NotFound.into())),
            Look::Damaged(why) => return Err(StoreError::Damaged { path, why }),
        }
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(told(&path))?;
        Ok(Self { connection, path })
    }

    /// All checkpoints by incarnation, without the damaged ones.
    pub fn checkpoints(&self) -> Result<Vec<StoredCheckpoint>, StoreError> {
        let (sound, _damaged) = rows::read_checkpoints(&self.connection).map_err(told(&self.path))?;
        Ok(sound)
    }

    /// Up to `limit` dead letters behind `after`, oldest first; the default id is before all.
    ///
    /// By pages, because there may be hundreds of MiB of them, and their reader as slow as a pipe.
    pub fn dead_letters(
        &self,
        after: DeadLetterId,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        letters::read_dead_letters(&self.connection, after, limit).map_err(told(&self.path))
    }

    /// Hands RecordIds of the wanted rows to `each`, oldest first, until it says `false`.
    pub fn audit(
        &self,
        wanted: &WantedBlocks,
        each: impl FnMut(StoredBlock) -> bool,
    ) -> Result<(), StoreError> {
        audit::read_blocks(&self.connection, wanted, each).map_err(told(&self.path))
    }

    /// The incarnations of which RecordIds are kept, and whose bytes were read under a name, or from a file.
    pub fn audited(&self, name: &Path, file: Option<Identity>) -> Result<BTreeSet<Incarnation>, StoreError> {
        audit::incarnations_of(&self.connection, name, file).map_err(told(&self.path))
    }

    /// The streams of which RecordIds are kept.
    pub fn audited_streams(&self) -> Result<Vec<AuditedStream>, StoreError> {
        audit::audited_streams(&self.connection).map_err(told(&self.path))
    }

    /// All data of all dead letters, in bytes; one row is read for it.
    pub fn dead_letter_bytes(&self) -> Result<u64, StoreError> {
        let meta = Meta::read(&self.connection).map_err(told(&self.path))?;
        let meta = meta.ok_or_else(|| StoreError::Damaged {
            path: self.path.clone(),
            why: "the row of meta is damaged".to_owned(),
        })?;
        Ok(meta.dead_letter_bytes)
    }
}

fn told(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + '_ {
    move |error| match judge(path)(error) {
        Fault::Content(why) => StoreError::Damaged { path: path.to_owned(), why },
        Fault::Other(error) => error,
    }
}
