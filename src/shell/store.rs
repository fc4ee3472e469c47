//! The state database: how far each file is settled, and the records that the service will never take.
//!
//! Knows how to make one [`Save`] durable, whole or not at all, and how to read the last one back after a
//! crash or a power loss at any instant. Does not know what may be saved: that a checkpoint passes no
//! unsettled byte is the ledger's law. The daemon calls it from a blocking thread; the subcommands use a
//! [`Reader`], or a [`Store`] of their own when no daemon runs.
//!
//! *Invariant:* what [`Store::commit`] has said `Ok` to is found by the next [`Store::open`], unless somebody
//! removed or damaged the files since; then the affected files are missing from what is loaded, and never at
//! an offset that was not saved for them.
//!
//! Rooms: `place` (files, modes, fsyncs), `lock`, `schema` (versions, header), `rows` (nouns), `letters`, `looks`, `parts`, `audit`
//! (RecordIds), `extras` (what a row may be without), `checksum`, `database` (one connection), `reader`.

mod audit;
mod checksum;
mod database;
mod error;
mod extras;
mod guard;
mod letters;
mod lock;
mod looks;
mod parts;
mod place;
mod reader;
mod rows;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::checkpoint::{Checkpoint, FirstLook, KnownPart, Save};
use crate::model::identity::Incarnation;

use database::{Change, Database};
use lock::Lock;
use place::Place;
use rows::Meta;

pub use audit::{AuditedStream, StoredBlock, WantedBlocks};
pub use error::StoreError;
pub use reader::Reader;
pub use rows::{DeadLetterId, StoredCheckpoint, StoredDeadLetter};

/// The state directory, held for this process alone.
///
/// A store heals by itself. After a commit that failed, the connection is given up and the next commit opens a fresh
/// one: an fsync that has failed is never trusted again on the same descriptor. If by then the directory, the
/// database or the lock is gone or unreadable, each is made anew, and everything that was durable before goes
/// into the same transaction; that is why all checkpoints are kept in memory here (about 300 bytes a file).
/// Dead letters are not: those in a database that was removed are lost with it.
#[derive(Debug)]
pub struct Store {
    // Declared, and so dropped, before the lock: its closing writes the log back.
    database: Option<Database>,
    lock: Lock,
    dir: PathBuf,
    /// What has been committed, for a database that must be made anew.
    durable: HashMap<Incarnation, Box<Checkpoint>>,
    /// Likewise.
    looks: Vec<FirstLook>,
    meta: Meta,
    owed: Owed,
    /// The last number that was given to a dead letter. None is given twice in one process: a letter that is deleted late
    /// is the one that was meant.
    last_letter: DeadLetterId,
    /// Whether an fsync has failed, so that what is in the files may not be on the disk.
    unsynced: bool,
}

/// What the daemon starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// All checkpoints, in the order of their incarnations.
    pub checkpoints: Vec<Checkpoint>,
    /// When each source was looked at for the first time.
    pub looks: Vec<FirstLook>,
    /// What refusals had left of rates a while ago at most.
    pub parts: Vec<KnownPart>,
    /// The first number that may be given to a new incarnation: no number that was ever saved is given again, nor one
    /// that an earlier process had [reserved](Store::reserve). A number that was given, and neither saved nor reserved,
    /// may be given again.
    pub next_incarnation: u64,
    /// The first number that is not [reserved](Store::reserve).
    pub reserved: u64,
    /// Whether there has never been a commit. Only then may `start_at = "end"` be obeyed: after a database that
    /// could not be read it is false, and every file starts at its beginning.
    pub first_start: bool,
    /// Where a database went that could not be read.
    pub moved_aside: Option<PathBuf>,
    /// All data of all dead letters, in bytes.
    pub dead_letter_bytes: u64,
    /// What the dead letters of each stream take on disk, in bytes.
    pub dead_letter_disk_bytes: BTreeMap<Arc<str>, u64>,
}

/// What deleted dead letters free of the room of each stream, in bytes on disk.
pub type Freed = BTreeMap<Arc<str>, u64>;

/// A page of dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Only those of this stream.
    pub stream: Option<Arc<str>>,
    /// Only those behind this one; the default is before all.
    pub after: DeadLetterId,
    /// Only those up to this one; `None`: up to the last that there is now.
    pub until: Option<DeadLetterId>,
}

/// What a page of a purge has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgedPage {
    pub count: usize,
    /// Data that was deleted, in bytes.
    pub bytes: u64,
    pub freed: Freed,
    /// The next page, if there is one.
    pub next: Option<Wanted>,
}

/// Some dead letters, with their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LettersPage {
    pub letters: Vec<StoredDeadLetter>,
    /// The last letter that was there when the first page was read.
    pub until: DeadLetterId,
    /// The next page, if there is one.
    pub next: Option<Wanted>,
}

/// What the database lacks of what was durable, and has of what never was, or is no longer wanted.
#[derive(Debug, Default)]
struct Owed {
    restored: Vec<Checkpoint>,
    looks: Vec<FirstLook>,
    dropped: Vec<Incarnation>,
}

impl Store {
    /// Takes the lock of `dir`, which is made if need be, and reads the database in it.
    ///
    /// A database that cannot be read is moved aside, with an error in the log, and a fresh one is made; a
    /// damaged row is left out, with a warning.
    ///
    /// # Errors
    /// [`StoreError::Held`] at once when another process has the lock; [`StoreError::Newer`] with the files as
    /// they were; the others when the directory cannot be read or written.
    pub fn open(dir: &Path) -> Result<(Self, Loaded), StoreError> {
        place::make_dir(dir)?;
        guard::refuse_exposed(dir)?;
        let mut lock = Lock::acquire(dir)?;
        let place = Place::find(dir)?;
        let look = schema::look(&place)?;
        lock.sign();
        let (database, contents, moved_aside) = Database::open(&place, look, None)?;
        let meta = contents.meta;
        if !meta.started {
            tracing::info!(dir = %dir.display(), "first start: no state yet");
        }
        let durable = contents.checkpoints.iter().map(|it| (it.incarnation, Box::new(it.clone()))).collect();
        let loaded = Loaded {
            checkpoints: contents.checkpoints,
            looks: contents.looks.clone(),
            parts: contents.parts,
            next_incarnation: meta.next_incarnation,
            reserved: meta.next_incarnation,
            first_start: !meta.started,
            moved_aside,
            dead_letter_bytes: meta.dead_letter_bytes,
            dead_letter_disk_bytes: contents.dead_letter_disk_bytes,
        };
        let store = Self {
            database: Some(database),
            lock,
            dir: dir.to_owned(),
            durable,
            looks: contents.looks,
            meta,
            owed: Owed { dropped: contents.dropped, ..Owed::default() },
            last_letter: contents.last_letter,
            unsynced: false,
        };
        Ok((store, loaded))
    }

    /// Makes `save` durable, all or nothing, in one transaction. It costs what has changed, not what exists.
    ///
    /// # Errors
    /// Nothing of `save` may be taken for durable. It is to be given again, itself or what has become of it
    /// since: a commit that failed at its very end may be in the database nevertheless, and then its dead
    /// letters are there twice.
    pub fn commit(&mut self, save: &Save) -> Result<(), StoreError> {
        self.change(save, &[]).map(drop)
    }

    /// Reserves numbers for incarnations of which nothing can be saved later. Returns the first number that is not
    /// reserved: [`Loaded::next_incarnation`] when the state cannot be written now.
    pub fn reserve(&mut self) -> u64 {
        let Some(mut database) = self.database.take() else { return self.meta.next_incarnation };
        match database.reserve(self.meta) {
            Ok(meta) => (self.database, self.meta) = (Some(database), meta),
            Err(error) => {
                self.unsynced |= error.is_failed_sync();
                tracing::warn!(%error, "the state cannot be written");
                database.abandon();
            }
        }
        self.meta.next_incarnation
    }

    /// Deletes dead letters, by which they are lost unless they have been sent again. Returns what that frees of the room
    /// of each stream, in bytes on disk.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn delete_dead_letters(&mut self, ids: &[DeadLetterId]) -> Result<Freed, StoreError> {
        self.change(&Save::default(), ids)
    }

    /// Deletes a page of dead letters, and tells where the next one begins; behind the last, what that frees is given back
    /// to the file system where it is worth the work.
    ///
    /// # Errors
    /// As [`commit`](Self::commit). What a failed copy of the database does not give back is used for other rows.
    pub fn purge(&mut self, wanted: &Wanted) -> Result<PurgedPage, StoreError> {
        let bytes = self.meta.dead_letter_bytes;
        let (ids, _, next) = self.database()?.dead_letter_ids(wanted)?;
        let freed = if ids.is_empty() { Freed::new() } else { self.delete_dead_letters(&ids)? };
        if next.is_none()
            && let Err(error) = self.shrink()
        {
            tracing::warn!(%error, "the state database stays as large as it is");
        }
        Ok(PurgedPage { count: ids.len(), bytes: bytes - self.meta.dead_letter_bytes, freed, next })
    }

    /// What the dead letters of each stream take on disk, in bytes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn dead_letter_disk_bytes(&mut self) -> Result<BTreeMap<Arc<str>, u64>, StoreError> {
        self.database()?.dead_letter_disk_bytes()
    }

    /// A page of dead letters.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn dead_letters(&mut self, wanted: &Wanted) -> Result<LettersPage, StoreError> {
        self.database()?.dead_letters(wanted)
    }

    /// The open database; a fresh connection where the last one was given up.
    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            // A commit that changes nothing owed opens one, and makes good what it lacks.
            self.change(&Save::default(), &[])?;
        }
        self.database.as_ref().ok_or_else(|| self.gone())
    }

    /// Gives back to the file system what deleted dead letters have left in the database, where that is worth the work.
    ///
    /// # Errors
    /// When the database cannot be copied, for example because the disk is full. What is durable stays so.
    pub fn shrink(&mut self) -> Result<(), StoreError> {
        let Some(mut database) = self.database.take() else { return Ok(()) };
        match database.shrink() {
            Ok(()) => {
                self.database = Some(database);
                Ok(())
            }
            Err(error) => {
                self.unsynced |= error.is_failed_sync();
                database.abandon();
                Err(error)
            }
        }
    }

    /// The first number that may be given to a new incarnation.
    pub const fn next_incarnation(&self) -> u64 {
        self.meta.next_incarnation
    }

    /// All data of all dead letters that are durable, in bytes.
    pub const fn dead_letter_bytes(&self) -> u64 {
        self.meta.dead_letter_bytes
    }

    fn change(&mut self, save: &Save, removed: &[DeadLetterId]) -> Result<Freed, StoreError> {
        let mut database = match self.database.take() {
            Some(database) => database,
            None => self.reopen().inspect_err(|error| self.unsynced |= error.is_failed_sync())?,
        };
        let (Owed { restored, looks, dropped }, last_letter) = (&self.owed, self.last_letter);
        let change = Change { dropped, restored, looks, save, removed, last_letter };
        self.last_letter.0 += i64::try_from(save.dead_letters.len()).expect("letters fit into memory");
        // A lock that has lost its name keeps nobody out: its owner may be writing too.
        let held = if self.lock.is_in_place() { Ok(()) } else { Err(self.gone()) };
        match held.and_then(|()| database.commit(change, self.meta)) {
            Ok((meta, freed)) => {
                self.database = Some(database);
                self.meta = meta;
                self.owed = Owed::default();
                self.remember(save);
                Ok(freed)
            }
            Err(error) => {
                self.unsynced |= error.is_failed_sync();
                database.abandon();
                Err(error)
            }
        }
    }

    /// Opens a fresh connection, to fresh files where they are gone, and notes what they lack.
    fn reopen(&mut self) -> Result<Database, StoreError> {
        place::make_dir(&self.dir)?;
        if !self.lock.is_in_place() {
            self.lock = Lock::acquire(&self.dir)?;
            self.lock.sign();
        }
        let place = Place::find(&self.dir)?;
        if self.unsynced {
            place.write_again()?;
            self.unsynced = false;
        }
        let look = schema::look(&place)?;
        let floor = Some(self.meta.next_incarnation);
        let (database, contents, _moved_aside) = Database::open(&place, look, floor)?;
        self.meta = Meta {
            next_incarnation: self.meta.next_incarnation.max(contents.meta.next_incarnation),
            ..contents.meta
        };
        self.last_letter = self.last_letter.max(contents.last_letter);
        let found: HashMap<_, _> = contents.checkpoints.iter().map(|it| (it.incarnation, it)).collect();
        let durable = self.durable.values().map(|it| &**it);
        let lacks = |it: &&Checkpoint| found.get(&it.incarnation) != Some(it);
        self.owed = Owed {
            restored: durable.filter(lacks).cloned().collect(),
            looks: self.looks.iter().filter(|look| !contents.looks.contains(look)).cloned().collect(),
            dropped: contents.dropped,
        };
        Ok(database)
    }

    fn remember(&mut self, save: &Save) {
        for checkpoint in &save.checkpoints {
            self.durable.insert(checkpoint.incarnation, Box::new(checkpoint.clone()));
        }
        for incarnation in &save.forgotten {
            self.durable.remove(incarnation);
        }
        self.looks.extend(save.looks.iter().cloned());
    }

    fn gone(&self) -> StoreError {
        StoreError::Gone { path: self.dir.join("lock") }
    }
}
