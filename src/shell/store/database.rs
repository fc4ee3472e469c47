//! One connection to the database, from a file that was checked to a commit that is durable.
//!
//! Does not know what the process has saved before: a fresh database is empty, and its owner sees to that.
//!
//! *Invariant:* a connection that failed is not used again, not even to tidy up when it closes.

#![expect(clippy::disallowed_methods, reason = "a database moved aside is named by the time")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::model::checkpoint::{Checkpoint, FirstLook, KnownPart, Save};
use crate::model::identity::{Incarnation, RESERVED_AT_ONCE};
use crate::rules::checkpoint::KEEP_UNCLAIMED;
use crate::rules::dead_letters::is_worth_shrinking;

use super::audit::Room;
use super::error::{Fault, StoreError, judge, sqlite_at};
use super::letters::{self, PageOfIds};
use super::looks;
use super::parts;
use super::place::{Files, Place};
use super::rows::{self, DeadLetterId, Meta};
use super::schema::{self, Look};
use super::{LettersPage, Wanted};

/// How long to wait for a reader that is just recovering the log; readers block writers at no other time.
const BUSY: Duration = Duration::from_secs(5);

/// What the log is cut back to when it has been longer, in bytes: SQLite's 1,000 pages between checkpoints.
const LOG_BYTES: u32 = 4 * 1024 * 1024;

/// The first incarnation of all.
const FIRST: u64 = 1;

/// An open database that was found whole.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    place: Place,
    /// The files that the connection has open.
    files: Files,
    /// What RecordIds take.
    audit: Room,
}

/// What was in it.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) looks: Vec<FirstLook>,
    pub(super) parts: Vec<KnownPart>,
    /// Rows that cannot be trusted, or that nobody has claimed for long: to be deleted.
    pub(super) dropped: Vec<Incarnation>,
    pub(super) meta: Meta,
    /// What the dead letters of each stream take on disk, in bytes.
    pub(super) dead_letter_disk_bytes: BTreeMap<Arc<str>, u64>,
    /// The highest number of a dead letter that is there.
    pub(super) last_letter: DeadLetterId,
}

/// What one change makes of the whole, and what it frees of each stream's room for dead letters, in bytes on disk.
type Changed = (Meta, BTreeMap<Arc<str>, u64>);

/// A database, what was in it, and where the one went that was in its place and could not be read.
pub(super) type Opened = (Database, Contents, Option<PathBuf>);

/// One transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    pub(super) dropped: &'a [Incarnation],
    /// Checkpoints that were durable once and are missing; what `save` says of them is newer.
    pub(super) restored: &'a [Checkpoint],
    /// Looks that were durable once and are missing.
    pub(super) looks: &'a [FirstLook],
    pub(super) save: &'a Save,
    pub(super) removed: &'a [DeadLetterId],
    /// The last number that was given to a dead letter, whether or not it was saved.
    pub(super) last_letter: DeadLetterId,
}

impl Database {
    /// Opens the database that was looked at. What cannot be read is moved aside (its new name is told), and a
    /// fresh one made, which counts as started. So does a fresh one in the middle of a process, which says with
    /// `floor` from where to number incarnations: it may be killed before its next commit.
    pub(super) fn open(place: &Place, look: Look, floor: Option<u64>) -> Result<Opened, StoreError> {
        let damage = match look {
            Look::Nothing => None,
            Look::Missing => Some("missing".to_owned()),
            Look::Damaged(why) => Some(why),
            Look::Plausible => match Self::attach_or_blame(place) {
                Ok((database, contents)) => return Ok((database, contents, None)),
                Err(Fault::Content(why)) => Some(why),
                Err(Fault::Other(error)) => return Err(error),
            },
        };
        let moved_aside = match &damage {
            None => None,
            Some(why) => set_aside(place, why)?,
        };
        create(place, floor.or_else(|| damage.map(|_| FIRST)))?;
        match Self::attach(place) {
            Ok((database, contents)) => Ok((database, contents, moved_aside)),
            Err(Fault::Content(why)) => Err(StoreError::Damaged { path: place.database(), why }),
            Err(Fault::Other(error)) => Err(error),
        }
    }

    /// Blames the content only after a second look.
    ///
    /// `quick_check` has the same words for a page that could not be read and for one that makes no sense; a
    /// cable that was loose for a moment must not cost the whole state.
    fn attach_or_blame(place: &Place) -> Result<(Self, Contents), Fault> {
        match Self::attach(place) {
            Err(Fault::Content(_)) => {
                place.read_through().map_err(Fault::Other)?;
                Self::attach(place)
            }
            opened => opened,
        }
    }

    fn attach(place: &Place) -> Result<(Self, Contents), Fault> {
        let path = place.database();
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(judge(&path))?;
        let contents = prepare(&mut connection, place)?;
        // The names may be new, made by a process that was killed before it synced the directory.
        place.sync().map_err(Fault::Other)?;
        let files = place.files().map_err(Fault::Other)?;
        let place = place.clone();
        let audit = Room::read(&connection).map_err(judge(&path))?;
        Ok((Self { connection, place, files, audit }, contents))
    }

    /// Makes one change durable, all or nothing, and tells what is said of the whole from then on.
    pub(super) fn commit(&mut self, change: Change<'_>, meta: Meta) -> Result<Changed, StoreError> {
        let path = self.place.database();
        let changed = self.write(change, meta).map_err(sqlite_at(&path))?;
        // SQLite writes on into files that have lost their names; no restart would find those.
        if self.place.files()? != self.files {
            return Err(StoreError::Gone { path });
        }
        Ok(changed)
    }

    /// Reserves numbers for incarnations, and tells what is said of the whole from then on. It is no commit: a first start
    /// is one still.
    pub(super) fn reserve(&mut self, meta: Meta) -> Result<Meta, StoreError> {
        let path = self.place.database();
        let next_incarnation = meta.next_incarnation.saturating_add(RESERVED_AT_ONCE);
        let after = Meta { next_incarnation, ..meta };
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let written = transaction.and_then(|transaction| {
            after.write(&transaction)?;
            transaction.commit()
        });
        written.map_err(sqlite_at(&path)).map(|()| after)
    }

    /// The dead letters of a page, without their data, and the page behind it, if there is one.
    pub(super) fn dead_letter_ids(&self, wanted: &Wanted) -> Result<PageOfIds, StoreError> {
        letters::dead_letter_ids(&self.connection, wanted).map_err(sqlite_at(&self.place.database()))
    }

    /// The dead letters of a page.
    pub(super) fn dead_letter_disk_bytes(&self) -> Result<BTreeMap<Arc<str>, u64>, StoreError> {
        letters::dead_letter_disk_bytes(&self.connection).map_err(sqlite_at(&self.place.database()))
    }

    pub(super) fn dead_letters(&self, wanted: &Wanted) -> Result<LettersPage, StoreError> {
        let read = || {
            let (ids, until, next) = letters::dead_letter_ids(&self.connection, wanted)?;
            let letters = letters::read_some_dead_letters(&self.connection, &ids)?;
            Ok(LettersPage { letters, until, next })
        };
        read().map_err(sqlite_at(&self.place.database()))
    }

    /// Copies the database into a smaller one, where much of it is free and little is to be copied.
    pub(super) fn shrink(&mut self) -> Result<(), StoreError> {
        let path = self.place.database();
        let number = |pragma: &str| self.connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
        let shrink = || {
            let page_bytes = number("PRAGMA page_size")?.cast_unsigned();
            let bytes = number("PRAGMA page_count")?.cast_unsigned() * page_bytes;
            let free = number("PRAGMA freelist_count")?.cast_unsigned() * page_bytes;
            if is_worth_shrinking(bytes, free) {
                // The copy is small, and needs no directory for temporary files, which a sandbox may not have.
                self.connection.pragma_update(None, "temp_store", "MEMORY")?;
                self.connection.execute_batch("VACUUM")?;
                // Only writing the log back makes the file itself shorter. A reader may keep it from that: then a later
                // checkpoint does it.
                self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            }
            Ok(())
        };
        shrink().map_err(sqlite_at(&path))
    }

    fn write(&mut self, change: Change<'_>, before: Meta) -> rusqlite::Result<Changed> {
        let now_ms = unix_ms();
        let Change { dropped, restored, looks, save, removed, last_letter } = change;
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        rows::delete_checkpoints(&transaction, dropped.iter().copied())?;
        rows::write_checkpoints(&transaction, restored, now_ms)?;
        rows::write_checkpoints(&transaction, &save.checkpoints, now_ms)?;
        rows::delete_checkpoints(&transaction, save.forgotten.iter().copied())?;
        looks::write_looks(&transaction, looks.iter().chain(&save.looks))?;
        if let Some(had) = &save.parts {
            parts::replace_parts(&transaction, had, now_ms)?;
        }
        letters::write_dead_letters(&transaction, &save.dead_letters, last_letter, now_ms)?;
        self.audit.write(&transaction, &save.audit, now_ms)?;
        let (removed_bytes, freed) = letters::delete_dead_letters(&transaction, removed)?;
        let added_bytes: u64 = save.dead_letters.iter().map(|letter| letter.data.len() as u64).sum();
        let after = Meta {
            next_incarnation: behind_all(before.next_incarnation, restored, save),
            started: true,
            dead_letter_bytes: (before.dead_letter_bytes + added_bytes).saturating_sub(removed_bytes),
        };
        // Compared with the row, not with `before`: a fresh database may say something else.
        if Meta::read(&transaction)? != Some(after) {
            after.write(&transaction)?;
        }
        transaction.commit()?;
        Ok((after, freed))
    }

    /// Closes the connection without the checkpoint that closing makes: it would go through a descriptor whose
    /// fsync may have failed, and then delete the log.
    pub(super) fn abandon(self) {
        // What fails here fails the close; there is nothing more to lose with it.
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
}

/// Opens a file that exists, not through a link.
pub(super) fn connect(path: &Path, access: OpenFlags) -> rusqlite::Result<Connection> {
    let flags = access | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    // Damage is found where a page is read, rather than where it leads.
    connection.pragma_update(None, "cell_size_check", true)?;
    // The file's views and checks call no functions that reach out of it, whoever has written them.
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Checks a database and reads it; until it is found whole, closing it leaves everything as it was found.
fn prepare(connection: &mut Connection, place: &Place) -> Result<Contents, Fault> {
    let path = place.database();
    let judged = judge(&path);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(&judged)?;
    // FULL: each commit syncs the log before it returns. NORMAL would lose the last ones in a power loss, with
    // the dead letters in them.
    connection.pragma_update(None, "synchronous", "FULL").map_err(&judged)?;
    schema::verify(connection, place)?;
    // A log: one sync a commit, and readers beside it. Where the file system has no shared memory SQLite stays
    // with its rollback journal, which is as safe. Every 1,000 pages (the default) the log is written back into
    // the database and begun again, so that it stays short as long as no reader lingers.
    connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(&judged)?;
    // A log that one large commit made long is cut, not kept.
    connection
        .query_row(&format!("PRAGMA journal_size_limit = {LOG_BYTES}"), [], |_| Ok(()))
        .map_err(&judged)?;
    let contents = read(connection).map_err(&judged)?;
    let contents = contents.ok_or_else(|| Fault::Content("the row of meta is damaged".to_owned()))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(&judged)?;
    Ok(contents)
}

/// What has not been saved for a month while others were is of files that no source claims: those that are claimed
/// are saved every day. Compared with the newest and not with the clock, for a daemon may have been off for longer.
///
/// `None` when the row of `meta` is damaged: then nobody knows whether the state had started, or which numbers
/// were used.
fn read(connection: &Connection) -> rusqlite::Result<Option<Contents>> {
    let Some(meta) = Meta::read(connection)? else {
        return Ok(None);
    };
    let (sound, mut dropped) = rows::read_checkpoints(connection)?;
    let newest = sound.iter().map(|stored| stored.updated_ms).max().unwrap_or_default().min(unix_ms());
    let keep_ms = i64::try_from(KEEP_UNCLAIMED.as_millis()).expect("a month");
    let (kept, expired): (Vec<_>, Vec<_>) =
        sound.into_iter().partition(|stored| newest.saturating_sub(stored.updated_ms) <= keep_ms);
    if !expired.is_empty() {
        let count = expired.len();
        tracing::info!(count, "positions are given up: no source has claimed their files for 30 days");
    }
    dropped.extend(expired.into_iter().map(|stored| stored.checkpoint.incarnation));
    let checkpoints = kept.into_iter().map(|stored| stored.checkpoint).collect();
    let dead_letter_disk_bytes = letters::dead_letter_disk_bytes(connection)?;
    let last_letter = letters::last_dead_letter(connection)?;
    let looks = looks::read_looks(connection)?;
    let parts = parts::read_parts(connection, unix_ms())?;
    Ok(Some(Contents { checkpoints, looks, parts, dropped, meta, dead_letter_disk_bytes, last_letter }))
}

fn set_aside(place: &Place, why: &str) -> Result<Option<PathBuf>, StoreError> {
    let aside = place.move_aside(unix_ms().cast_unsigned() / 1000)?;
    tracing::error!(
        path = %place.database().display(),
        moved_to = aside.as_ref().map(|path| tracing::field::display(path.display())),
        why,
        "the state cannot be read: a fresh one is made"
    );
    Ok(aside)
}

/// Makes a database beside, whole, and gives it its name last: a half-made one is never taken for a damaged one.
///
/// `floor` is there when there has been a state before, of which this one knows nothing.
fn create(place: &Place, floor: Option<u64>) -> Result<(), StoreError> {
    let path = place.blank()?;
    let meta = Meta {
        next_incarnation: match floor {
            None => FIRST,
            // Which numbers a lost database had given is unknown. Milliseconds since 1970 are beyond them: no
            // database gives numbers faster than one a millisecond over its life, wherever it began.
            Some(floor) => floor.max(unix_ms().cast_unsigned()),
        },
        started: floor.is_some(),
        dead_letter_bytes: 0,
    };
    fill(&path, meta).map_err(sqlite_at(&path))?;
    place.adopt(&path)
}

fn fill(path: &Path, meta: Meta) -> rusqlite::Result<()> {
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    schema::shape(&mut connection)?;
    meta.write(&connection)?;
    connection.close().map_err(|(_, error)| error)
}

/// The first number behind all that are in use.
fn behind_all(next: u64, restored: &[Checkpoint], save: &Save) -> u64 {
    let written = restored.iter().chain(&save.checkpoints).map(|checkpoint| checkpoint.incarnation);
    let used = written.chain(save.forgotten.iter().copied());
    used.map(|incarnation| incarnation.0.saturating_add(1)).fold(next.max(save.reserved), u64::max)
}

/// Milliseconds since 1970; a clock before that is taken for 1970.
pub(super) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
