//! Rows and the nouns that they stand for.
//!
//! *Invariant:* a row of `meta` or `checkpoints` that is read back is the row that was written, or is reported
//! as damaged: SQLite notices damage to its own structure, not to what it stores.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use crate::model::checkpoint::{Checkpoint, DeadLetter};
use crate::model::identity::{Fingerprint, Identity, Incarnation, Origin, Seen, Window};
use crate::model::offset::Offset;
use crate::model::settled::Settled;
use crate::rules::dead_letters::disk_bytes;

use super::Wanted;
use super::checksum::Checksum;
use super::extras::Extras;

/// A checkpoint as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// The checkpoint as it was saved.
    pub checkpoint: Checkpoint,
    /// When the checkpoint was last saved, in milliseconds since 1970.
    pub updated_ms: i64,
}

/// Names one dead letter; later ones have higher numbers, as long as it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(pub i64);

/// A dead letter as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The ID under which the dead letter is deleted.
    pub id: DeadLetterId,
    /// When the dead letter was saved, in milliseconds since 1970.
    pub time_ms: i64,
    /// The record and why the service refused it.
    pub letter: DeadLetter,
}

/// What is said of the state as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// Greater than every number that was ever stored.
    pub(super) next_incarnation: u64,
    /// Whether there has been a commit, here or in a database that this one replaces.
    pub(super) started: bool,
    pub(super) dead_letter_bytes: u64,
}

impl Meta {
    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute(
            "INSERT OR REPLACE INTO meta VALUES (1, ?1, ?2, ?3, ?4)",
            params![
                self.next_incarnation.cast_signed(),
                self.started,
                self.dead_letter_bytes.cast_signed(),
                self.checksum(),
            ],
        )?;
        Ok(())
    }

    /// Reads the one row of `meta`; `None` when it is damaged. No row at all is an error.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Option<Self>> {
        connection.query_row(
            "SELECT next_incarnation, started, dead_letter_bytes, checksum FROM meta WHERE id = 1",
            [],
            |row| {
                let meta = Self {
                    next_incarnation: unsigned(row, 0)?,
                    started: row.get(1)?,
                    dead_letter_bytes: unsigned(row, 2)?,
                };
                Ok((row.get::<_, i64>(3)? == meta.checksum()).then_some(meta))
            },
        )
    }

    fn checksum(self) -> i64 {
        Checksum::default()
            .number(self.next_incarnation)
            .number(u64::from(self.started))
            .number(self.dead_letter_bytes)
            .finish()
    }
}

/// Inserts checkpoints, or replaces those with the same incarnation.
pub(super) fn write_checkpoints<'a>(
    connection: &Connection,
    checkpoints: impl IntoIterator<Item = &'a Checkpoint>,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare(
        "INSERT OR REPLACE INTO checkpoints VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
         ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
    )?;
    for checkpoint in checkpoints {
        let (extras, checksum) = (Extras::of(checkpoint), checksum(checkpoint, now_ms));
        insert.execute(params![
            checkpoint.incarnation.0.cast_signed(),
            checkpoint.stream,
            checkpoint.path.as_os_str().as_bytes(),
            checkpoint.identity.device.cast_signed(),
            checkpoint.identity.inode.cast_signed(),
            checkpoint.identity.birth_nanos,
            checkpoint.fingerprint.len(),
            checkpoint.fingerprint.hash().to_be_bytes(),
            checkpoint.offset.bytes().cast_signed(),
            checkpoint.window.len(),
            checkpoint.window.hash().to_be_bytes(),
            now_ms,
            checksum,
            moved_from(checkpoint).map(|origin| origin.device.cast_signed()),
            moved_from(checkpoint).map(|origin| origin.inode.cast_signed()),
            checkpoint.target.as_ref().map(|target| target.as_os_str().as_bytes()),
            checkpoint.seen.map(|seen| seen.first_nanos),
            checkpoint.seen.map(|seen| seen.last_nanos),
            checkpoint.seen.map(|seen| seen.owner),
            (checkpoint.skipped_bytes > 0).then_some(checkpoint.skipped_bytes.cast_signed()),
            extras.settled,
            extras.proof,
            extras.checksum(checksum),
        ])?;
    }
    Ok(())
}

pub(super) fn delete_checkpoints(
    connection: &Connection,
    incarnations: impl IntoIterator<Item = Incarnation>,
) -> rusqlite::Result<()> {
    let mut delete = connection.prepare("DELETE FROM checkpoints WHERE incarnation = ?1")?;
    for incarnation in incarnations {
        delete.execute([incarnation.0.cast_signed()])?;
    }
    Ok(())
}

/// All checkpoints by incarnation, and the numbers of the damaged ones, each with a warning.
pub(super) fn read_checkpoints(
    connection: &Connection,
) -> rusqlite::Result<(Vec<StoredCheckpoint>, Vec<Incarnation>)> {
    // The daemon may be an older program than the one that looks, and its database what that made of it.
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let origin = if version >= 2 { "origin_device, origin_inode" } else { "NULL, NULL" };
    let later = match version {
        3.. => "target, first_seen_nanos, last_seen_nanos, owner, skipped_bytes",
        _ => "NULL, NULL, NULL, NULL, NULL",
    };
    let extras = if version >= 4 { "settled, proof, extras_checksum" } else { "NULL, NULL, NULL" };
    let mut select = connection.prepare(&format!(
        "SELECT incarnation, stream, path, device, inode, birth_nanos, fingerprint_len, fingerprint_hash,
                offset, window_len, window_hash, updated_ms, checksum, {origin}, {later}, {extras}
         FROM checkpoints ORDER BY incarnation",
    ))?;
    let mut rows = select.query([])?;
    let (mut sound, mut damaged) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        match read_checkpoint(row) {
            Ok(stored) => sound.push(stored),
            Err(why) => {
                let incarnation = Incarnation(unsigned(row, 0)?);
                tracing::warn!(
                    incarnation = incarnation.0,
                    why,
                    "a damaged checkpoint is dropped: its file starts at its beginning"
                );
                damaged.push(incarnation);
            }
        }
    }
    Ok((sound, damaged))
}

fn read_checkpoint(row: &Row<'_>) -> Result<StoredCheckpoint, String> {
    let (mut stored, checksum_stored) = decode_checkpoint(row).map_err(|error| error.to_string())?;
    if checksum(&stored.checkpoint, stored.updated_ms) != checksum_stored {
        return Err("the checksum does not match".to_owned());
    }
    match Extras::read(row, [20, 21, 22], checksum_stored) {
        Some(extras) => extras.give_to(&mut stored.checkpoint),
        None => tracing::warn!(
            incarnation = stored.checkpoint.incarnation.0,
            "what a checkpoint holds beside its position is damaged and dropped: lines beyond the position come again"
        ),
    }
    Ok(stored)
}

fn decode_checkpoint(row: &Row<'_>) -> rusqlite::Result<(StoredCheckpoint, i64)> {
    let hash = |column: usize| row.get(column).map(u128::from_be_bytes);
    let identity = Identity { device: unsigned(row, 3)?, inode: unsigned(row, 4)?, birth_nanos: row.get(5)? };
    let origin = (row.get::<_, Option<i64>>(13)?, row.get::<_, Option<i64>>(14)?);
    let seen = match (row.get(16)?, row.get(17)?, row.get(18)?) {
        (Some(first_nanos), Some(last_nanos), Some(owner)) => Some(Seen { first_nanos, last_nanos, owner }),
        _ => None,
    };
    let checkpoint = Checkpoint {
        incarnation: Incarnation(unsigned(row, 0)?),
        stream: row.get(1)?,
        path: path(row, 2)?,
        target: match row.get_ref(15)? {
            ValueRef::Null => None,
            _ => Some(path(row, 15)?),
        },
        identity,
        seen,
        origin: match origin {
            (Some(device), Some(inode)) => {
                Origin { device: device.cast_unsigned(), inode: inode.cast_unsigned() }
            }
            (None, _) | (_, None) => identity.into(),
        },
        skipped_bytes: row.get::<_, Option<i64>>(19)?.unwrap_or_default().cast_unsigned(),
        fingerprint: Fingerprint::from_parts(row.get(6)?, hash(7)?),
        offset: Offset::new(unsigned(row, 8)?),
        window: Window::from_parts(row.get(9)?, hash(10)?),
        settled: Settled::default(),
        proof: None,
    };
    let updated_ms = row.get(11)?;
    Ok((StoredCheckpoint { checkpoint, updated_ms }, row.get(12)?))
}

fn checksum(checkpoint: &Checkpoint, updated_ms: i64) -> i64 {
    let Checkpoint {
        incarnation,
        stream,
        path,
        target,
        identity,
        origin: _,
        seen,
        skipped_bytes,
        fingerprint,
        offset,
        window,
        settled: _,
        proof: _,
    } = checkpoint;
    let checksum = Checksum::default()
        .number(incarnation.0)
        .bytes(stream.as_bytes())
        .bytes(path.as_os_str().as_bytes())
        .number(identity.device)
        .number(identity.inode)
        .number(u64::from(identity.birth_nanos.is_some()))
        .number(identity.birth_nanos.unwrap_or_default().cast_unsigned())
        .number(u64::from(fingerprint.len()))
        .bytes(&fingerprint.hash().to_be_bytes())
        .number(offset.bytes())
        .number(u64::from(window.len()))
        .bytes(&window.hash().to_be_bytes())
        .number(updated_ms.cast_unsigned());
    // What later versions brought counts where it is there: the rows of earlier ones are still right.
    let checksum = match moved_from(checkpoint) {
        Some(origin) => checksum.number(origin.device).number(origin.inode),
        None => checksum,
    };
    let checksum = match target {
        Some(target) => checksum.bytes(b"target").bytes(target.as_os_str().as_bytes()),
        None => checksum,
    };
    let checksum = match seen {
        Some(Seen { first_nanos, last_nanos, owner }) => {
            let checksum = checksum.bytes(b"seen").number(first_nanos.cast_unsigned());
            checksum.number(last_nanos.cast_unsigned()).number(u64::from(*owner))
        }
        None => checksum,
    };
    if *skipped_bytes > 0 {
        checksum.bytes(b"skipped").number(*skipped_bytes).finish()
    } else {
        checksum.finish()
    }
}

/// The origin, where it is another file.
fn moved_from(checkpoint: &Checkpoint) -> Option<Origin> {
    Some(checkpoint.origin).filter(|origin| *origin != Origin::from(checkpoint.identity))
}

pub(super) fn write_dead_letters(
    connection: &Connection,
    letters: &[DeadLetter],
    now_ms: i64,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare(
        "INSERT INTO dead_letters (time_ms, stream, source, path, offset, code, message, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for letter in letters {
        insert.execute(params![
            now_ms,
            letter.stream,
            letter.source,
            letter.path.as_os_str().as_bytes(),
            letter.offset.bytes().cast_signed(),
            letter.code,
            letter.message,
            letter.data.as_ref(),
        ])?;
    }
    Ok(())
}

/// All data and texts of one letter, in bytes.
const CONTENT_BYTES: &str = "octet_length(data) + octet_length(stream) + octet_length(source) + octet_length(path) \
                             + octet_length(code) + octet_length(message)";

/// Deletes dead letters; tells how many bytes of data they held, and what they took on disk for each stream.
pub(super) fn delete_dead_letters(
    connection: &Connection,
    ids: &[DeadLetterId],
) -> rusqlite::Result<(u64, BTreeMap<Arc<str>, u64>)> {
    let mut delete = connection.prepare(&format!(
        "DELETE FROM dead_letters WHERE id = ?1 RETURNING length(data), stream, {CONTENT_BYTES}"
    ))?;
    let (mut bytes, mut freed) = (0, BTreeMap::new());
    for id in ids {
        let deleted = delete
            .query_map([id.0], |row| Ok((unsigned(row, 0)?, text(row, 1)?, disk_bytes(unsigned(row, 2)?))))?;
        for deleted in deleted {
            let (data, stream, disk) = deleted?;
            bytes += data;
            *freed.entry(stream).or_default() += disk;
        }
    }
    Ok((bytes, freed))
}

/// What the dead letters of each stream take on disk, in bytes. No data is read for it.
pub(super) fn dead_letter_disk_bytes(connection: &Connection) -> rusqlite::Result<BTreeMap<Arc<str>, u64>> {
    let mut select = connection.prepare(&format!("SELECT stream, {CONTENT_BYTES} FROM dead_letters"))?;
    let mut taken = BTreeMap::new();
    for letter in select.query_map([], |row| Ok((text(row, 0)?, disk_bytes(unsigned(row, 1)?))))? {
        let (stream, disk) = letter?;
        *taken.entry(stream).or_default() += disk;
    }
    Ok(taken)
}

/// The most dead letters of a page, and the most data of them in bytes: a save waits for one page at the most.
const PAGE_LETTERS: usize = 256;
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// The dead letters of a page, oldest first, at least one where there is one; and the page behind it, if there is one.
pub(super) fn dead_letter_ids(
    connection: &Connection,
    wanted: &Wanted,
) -> rusqlite::Result<(Vec<DeadLetterId>, Option<Wanted>)> {
    let last = || connection.query_row("SELECT coalesce(max(id), 0) FROM dead_letters", [], |row| row.get(0));
    let until = match wanted.until {
        Some(until) => until,
        None => DeadLetterId(last()?),
    };
    let mut select = connection.prepare(
        "SELECT id, octet_length(data) FROM dead_letters
         WHERE id > ?1 AND id <= ?2 AND (?3 IS NULL OR stream = ?3) ORDER BY id",
    )?;
    let mut rows = select.query(params![wanted.after.0, until.0, wanted.stream])?;
    let (mut ids, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        bytes += unsigned(row, 1)?;
        if let Some(after) = ids.last().copied()
            && (ids.len() >= PAGE_LETTERS || bytes > PAGE_BYTES)
        {
            let next = Wanted { after, until: Some(until), stream: wanted.stream.clone() };
            return Ok((ids, Some(next)));
        }
        ids.push(DeadLetterId(row.get(0)?));
    }
    Ok((ids, None))
}

/// The dead letters with these numbers, as far as they are there.
pub(super) fn read_some_dead_letters(
    connection: &Connection,
    ids: &[DeadLetterId],
) -> rusqlite::Result<Vec<StoredDeadLetter>> {
    let mut select = connection.prepare(&format!("{SELECT_DEAD_LETTERS} WHERE id = ?1"))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        for letter in select.query_map([id.0], dead_letter)? {
            found.push(letter?);
        }
    }
    Ok(found)
}

const SELECT_DEAD_LETTERS: &str =
    "SELECT id, time_ms, stream, source, path, offset, code, message, data FROM dead_letters";

/// A row as [`SELECT_DEAD_LETTERS`] shows it.
fn dead_letter(row: &Row<'_>) -> rusqlite::Result<StoredDeadLetter> {
    Ok(StoredDeadLetter {
        id: DeadLetterId(row.get(0)?),
        time_ms: row.get(1)?,
        letter: DeadLetter {
            stream: text(row, 2)?,
            source: text(row, 3)?,
            path: path(row, 4)?,
            offset: Offset::new(unsigned(row, 5)?),
            code: text(row, 6)?,
            message: text(row, 7)?,
            data: Bytes::from(row.get::<_, Vec<u8>>(8)?),
        },
    })
}

/// Up to `limit` dead letters behind `after`, oldest first; a damaged one is shown as far as it can be read.
pub(super) fn read_dead_letters(
    connection: &Connection,
    after: DeadLetterId,
    limit: usize,
) -> rusqlite::Result<Vec<StoredDeadLetter>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare(&format!("{SELECT_DEAD_LETTERS} WHERE id > ?1 ORDER BY id LIMIT ?2"))?
        .query_map([after.0, limit], dead_letter)?
        .collect()
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

fn path(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<Path>> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Ok(Arc::from(Path::new(OsStr::from_bytes(bytes))))
}

/// Text, with what is no UTF-8 replaced: one flipped bit must not hide a dead letter from its reader.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    let bytes = row.get_ref(column)?.as_bytes()?;
    Ok(Arc::from(String::from_utf8_lossy(bytes)))
}
