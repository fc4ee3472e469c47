//! Rows and the nouns that they stand for.
//!
//! *Invariant:* a row of `meta` or `checkpoints` that is read back is the row that was written, or is reported
//! as damaged: SQLite notices damage to its own structure, not to what it stores.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use crate::model::checkpoint::{Checkpoint, DeadLetter};
use crate::model::identity::{Fingerprint, Identity, Incarnation, Origin, Seen, Window};
use crate::model::offset::Offset;
use crate::model::settled::Settled;

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
        seen_bytes: 0,
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
        seen_bytes: _,
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

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.cast_unsigned())
}

pub(super) fn path(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<Path>> {
    let bytes = row.get_ref(column)?.as_blob()?;
    Ok(Arc::from(Path::new(OsStr::from_bytes(bytes))))
}

/// Text, with what is no UTF-8 replaced: one flipped bit must not hide a dead letter from its reader.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Arc<str>> {
    let bytes = row.get_ref(column)?.as_bytes()?;
    Ok(Arc::from(String::from_utf8_lossy(bytes)))
}
