//! Dead letters as rows: written, counted, read by pages and deleted.
//!
//! *Invariant:* a page is bounded in letters and in data, so that a commit waits for one page at the most.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use crate::model::checkpoint::DeadLetter;
use crate::model::offset::Offset;
use crate::model::said::Unmade;
use crate::rules::dead_letters::disk_bytes;

use super::Wanted;
use super::rows::{DeadLetterId, StoredDeadLetter, path, text, unsigned};

/// Inserts dead letters, numbered from the one behind `behind`.
pub(super) fn write_dead_letters(
    connection: &Connection,
    letters: &[DeadLetter],
    behind: DeadLetterId,
    now_ms: i64,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare(
        "INSERT INTO dead_letters (id, time_ms, stream, source, path, offset, code, message, data, target, unmade)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for (id, letter) in (behind.0 + 1..).zip(letters) {
        insert.execute(params![
            id,
            now_ms,
            letter.stream,
            letter.source,
            letter.path.as_os_str().as_bytes(),
            letter.offset.bytes().cast_signed(),
            letter.code,
            letter.message,
            letter.data.as_ref(),
            letter.target.as_ref().map(|target| target.as_os_str().as_bytes()),
            letter.unmade.as_ref().map(ToString::to_string),
        ])?;
    }
    Ok(())
}

/// All data and texts of one letter, in bytes.
const CONTENT_BYTES: &str = "octet_length(data) + octet_length(stream) + octet_length(source) + octet_length(path) \
                             + octet_length(code) + octet_length(message) \
                             + coalesce(octet_length(target), 0) + coalesce(octet_length(unmade), 0)";

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

/// The highest number of a dead letter that is there; the default where there is none.
pub(super) fn last_dead_letter(connection: &Connection) -> rusqlite::Result<DeadLetterId> {
    connection
        .query_row("SELECT coalesce(max(id), 0) FROM dead_letters", [], |row| row.get(0))
        .map(DeadLetterId)
}

/// The most dead letters of a page, and the most data of them in bytes: a save waits for one page at the most.
const PAGE_LETTERS: usize = 256;
const PAGE_BYTES: u64 = 4 * 1024 * 1024;

/// The letters of a page, the last letter that all pages are about, and the next page, if there is one.
pub(super) type PageOfIds = (Vec<DeadLetterId>, DeadLetterId, Option<Wanted>);

/// The dead letters of a page, oldest first, at least one where there is one; and the page behind it, if there is one.
pub(super) fn dead_letter_ids(connection: &Connection, wanted: &Wanted) -> rusqlite::Result<PageOfIds> {
    let until = match wanted.until {
        Some(until) => until,
        None => last_dead_letter(connection)?,
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
            return Ok((ids, until, Some(next)));
        }
        ids.push(DeadLetterId(row.get(0)?));
    }
    Ok((ids, until, None))
}

/// The dead letters with these numbers, as far as they are there.
pub(super) fn read_some_dead_letters(
    connection: &Connection,
    ids: &[DeadLetterId],
) -> rusqlite::Result<Vec<StoredDeadLetter>> {
    let select = select_dead_letters(connection)?;
    let mut select = connection.prepare(&format!("{select} WHERE id = ?1"))?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        for letter in select.query_map([id.0], dead_letter)? {
            found.push(letter?);
        }
    }
    Ok(found)
}

/// All rows, also of an older program's database.
fn select_dead_letters(connection: &Connection) -> rusqlite::Result<String> {
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let unmade = if version >= 5 { "target, unmade" } else { "NULL, NULL" };
    Ok(format!(
        "SELECT id, time_ms, stream, source, path, offset, code, message, data, {unmade} FROM dead_letters"
    ))
}

/// A row as [`select_dead_letters`] shows it.
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
            target: match row.get_ref(9)? {
                ValueRef::Null => None,
                _ => Some(path(row, 9)?),
            },
            unmade: match row.get_ref(10)? {
                ValueRef::Null => None,
                _ => Unmade::parse(&text(row, 10)?).map(Box::new),
            },
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
    let select = select_dead_letters(connection)?;
    connection
        .prepare(&format!("{select} WHERE id > ?1 ORDER BY id LIMIT ?2"))?
        .query_map([after.0, limit], dead_letter)?
        .collect()
}
