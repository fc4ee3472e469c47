//! RecordIds as rows: a row holds those of one file in one save.
//!
//! Nothing is indexed: rows are written with each checkpoint and looked for by a person now and then. What a RecordId
//! search reads is bounded by `audit_bytes`.
//!
//! *Invariant:* what is pruned is older than a week, or the oldest of a stream that has more than it may.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use crate::model::audit::{AuditBlock, AuditedFile, KEEP_DAYS};
use crate::model::identity::{Identity, Incarnation, Origin};
use crate::rules::audit::{Kept, decode, encode};

use super::checksum::Checksum;
use super::rows::{path, text, unsigned};

/// How long RecordIds are kept, in milliseconds.
const KEEP_MS: i64 = KEEP_DAYS as i64 * 24 * 60 * 60 * 1000;

/// How often rows that are too old are looked for, in milliseconds: every row is looked at.
const PRUNE_EVERY_MS: i64 = Duration::from_secs(60 * 60).as_millis() as i64;

/// The part of its room that a stream is freed of when that is full: the oldest rows are looked for seldom.
const PRUNED_PART: u64 = 16;

/// What a row takes besides what it says: numbers, lengths, its place in the tree, in bytes.
const ROW_BYTES: u64 = 100;

/// What a row says, in bytes.
const CONTENT_BYTES: &str = "octet_length(records) + octet_length(path) + coalesce(octet_length(target), 0) \
                             + octet_length(stream) + octet_length(delivery_stream)";

/// How much there is, for whoever writes more.
#[derive(Debug)]
pub(super) struct Room {
    /// What the rows of each stream take, in bytes.
    taken: BTreeMap<Arc<str>, u64>,
    /// When rows that are too old were looked for last, in milliseconds since 1970.
    pruned_ms: i64,
}

/// RecordIds as they are stored: of one file, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    pub file: AuditedFile,
    pub records: Vec<Kept>,
}

/// The rows of which a search reads the RecordIds.
#[derive(Clone, Debug)]
pub enum WantedBlocks {
    All,
    /// Those of these incarnations.
    Of(BTreeSet<Incarnation>),
}

/// A stream of which RecordIds are kept, and since when, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditedStream {
    pub stream: Arc<str>,
    pub oldest_ms: i64,
}

impl Room {
    /// What is there now.
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut select = connection.prepare(&format!("SELECT stream, {CONTENT_BYTES} FROM audit"))?;
        let mut taken = BTreeMap::new();
        for row in select.query_map([], |row| Ok((text(row, 0)?, unsigned(row, 1)?)))? {
            let (stream, bytes) = row?;
            *taken.entry(stream).or_default() += bytes + ROW_BYTES;
        }
        Ok(Self { taken, pruned_ms: 0 })
    }

    /// Inserts rows, and deletes as many as are too old or too many. What fails leaves wrong figures: the whole is read
    /// again with the next connection.
    pub(super) fn write(
        &mut self,
        connection: &Connection,
        blocks: &[Arc<AuditBlock>],
        now_ms: i64,
    ) -> rusqlite::Result<()> {
        self.insert(connection, blocks)?;
        for block in blocks {
            let taken = self.taken.get(&block.file.stream).copied().unwrap_or_default();
            if taken > block.max_bytes {
                self.prune_stream(connection, &block.file.stream, block.max_bytes)?;
            }
        }
        // A clock that was set back is no reason to wait.
        if !self.taken.is_empty() && now_ms.abs_diff(self.pruned_ms) >= PRUNE_EVERY_MS.unsigned_abs() {
            self.pruned_ms = now_ms;
            let mut old = connection.prepare("SELECT id FROM audit WHERE time_ms < ?1")?;
            let ids = old.query_map([now_ms - KEEP_MS], |row| row.get(0))?;
            let ids = ids.collect::<rusqlite::Result<Vec<i64>>>()?;
            self.delete(connection, &ids)?;
        }
        Ok(())
    }

    fn insert(&mut self, connection: &Connection, blocks: &[Arc<AuditBlock>]) -> rusqlite::Result<()> {
        if blocks.is_empty() {
            return Ok(());
        }
        let mut insert = connection.prepare(
            "INSERT INTO audit (time_ms, stream, delivery_stream, path, target, device, inode, birth_nanos,
                                origin_device, origin_inode, incarnation, count, checksum, records)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        for block in blocks {
            let (file, records) = (&block.file, encode(&block.records));
            let target = file.target.as_ref().map(|target| target.as_os_str().as_bytes());
            insert.execute(params![
                block.records.iter().map(|record| record.id.unix_ms()).max().unwrap_or_default(),
                file.stream,
                file.delivery_stream,
                file.path.as_os_str().as_bytes(),
                target,
                file.identity.device.cast_signed(),
                file.identity.inode.cast_signed(),
                file.identity.birth_nanos,
                file.origin.device.cast_signed(),
                file.origin.inode.cast_signed(),
                file.incarnation.0.cast_signed(),
                i64::try_from(block.records.len()).unwrap_or(i64::MAX),
                checksum(file, &records),
                records,
            ])?;
            let content = records.len()
                + file.path.as_os_str().len()
                + target.map_or(0, <[u8]>::len)
                + file.stream.len()
                + file.delivery_stream.len();
            *self.taken.entry(Arc::clone(&file.stream)).or_default() += content as u64 + ROW_BYTES;
        }
        Ok(())
    }

    /// Deletes the oldest rows of a stream until it has some room again.
    fn prune_stream(
        &mut self,
        connection: &Connection,
        stream: &Arc<str>,
        max_bytes: u64,
    ) -> rusqlite::Result<()> {
        let mut left = self.taken.get(stream).copied().unwrap_or_default();
        let wanted = max_bytes - max_bytes / PRUNED_PART;
        let mut oldest = connection
            .prepare(&format!("SELECT id, {CONTENT_BYTES} FROM audit WHERE stream = ?1 ORDER BY id"))?;
        let mut rows = oldest.query([stream])?;
        let mut ids = Vec::new();
        while left > wanted
            && let Some(row) = rows.next()?
        {
            ids.push(row.get(0)?);
            left = left.saturating_sub(unsigned(row, 1)? + ROW_BYTES);
        }
        drop(rows);
        self.delete(connection, &ids)
    }

    fn delete(&mut self, connection: &Connection, ids: &[i64]) -> rusqlite::Result<()> {
        let mut delete = connection
            .prepare(&format!("DELETE FROM audit WHERE id = ?1 RETURNING stream, {CONTENT_BYTES}"))?;
        for id in ids {
            let deleted = delete.query_map([id], |row| Ok((text(row, 0)?, unsigned(row, 1)?)))?;
            for deleted in deleted {
                let (stream, bytes) = deleted?;
                if let Some(taken) = self.taken.get_mut(&stream) {
                    *taken = taken.saturating_sub(bytes + ROW_BYTES);
                }
            }
        }
        self.taken.retain(|_, taken| *taken > 0);
        Ok(())
    }
}

/// Of everything that a row says.
fn checksum(file: &AuditedFile, records: &[u8]) -> i64 {
    let target = file.target.as_ref().map_or(&b""[..], |target| target.as_os_str().as_bytes());
    Checksum::default()
        .bytes(file.stream.as_bytes())
        .bytes(file.delivery_stream.as_bytes())
        .bytes(file.path.as_os_str().as_bytes())
        .bytes(target)
        .number(file.identity.device)
        .number(file.identity.inode)
        .number(file.identity.birth_nanos.unwrap_or_default().cast_unsigned())
        .number(file.origin.device)
        .number(file.origin.inode)
        .number(file.incarnation.0)
        .bytes(records)
        .finish()
}

/// Whether the database is of a version that keeps RecordIds.
fn has_audit(connection: &Connection) -> rusqlite::Result<bool> {
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok(version >= 6)
}

/// Hands the rows that are wanted to `each`, oldest first, until it says that it is enough. Damaged rows are passed over.
pub(super) fn read_blocks(
    connection: &Connection,
    wanted: &WantedBlocks,
    mut each: impl FnMut(StoredBlock) -> bool,
) -> rusqlite::Result<()> {
    if !has_audit(connection)? {
        return Ok(());
    }
    let incarnations: Vec<Option<i64>> = match wanted {
        WantedBlocks::All => vec![None],
        WantedBlocks::Of(incarnations) => incarnations.iter().map(|it| Some(it.0.cast_signed())).collect(),
    };
    let mut select = connection.prepare(
        "SELECT stream, delivery_stream, path, target, device, inode, birth_nanos, origin_device, origin_inode,
                incarnation, checksum, records FROM audit WHERE ?1 IS NULL OR incarnation = ?1 ORDER BY id",
    )?;
    for incarnation in incarnations {
        let mut rows = select.query([incarnation])?;
        while let Some(row) = rows.next()? {
            if let Some(block) = block(row)?
                && !each(block)
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn block(row: &Row<'_>) -> rusqlite::Result<Option<StoredBlock>> {
    let records = row.get_ref(11)?.as_blob().unwrap_or_default();
    let file = AuditedFile {
        stream: text(row, 0)?,
        delivery_stream: text(row, 1)?,
        path: path(row, 2)?,
        target: match row.get_ref(3)? {
            ValueRef::Null => None,
            _ => Some(path(row, 3)?),
        },
        identity: Identity { device: unsigned(row, 4)?, inode: unsigned(row, 5)?, birth_nanos: row.get(6)? },
        origin: Origin { device: unsigned(row, 7)?, inode: unsigned(row, 8)? },
        incarnation: Incarnation(unsigned(row, 9)?),
    };
    if row.get::<_, i64>(10)? != checksum(&file, records) {
        return Ok(None);
    }
    Ok(decode(records).map(|records| StoredBlock { file, records }))
}

/// The incarnations whose rows say that their bytes were read under a name, or from a file.
pub(super) fn incarnations_of(
    connection: &Connection,
    name: &Path,
    file: Option<Identity>,
) -> rusqlite::Result<BTreeSet<Incarnation>> {
    if !has_audit(connection)? {
        return Ok(BTreeSet::new());
    }
    let mut select = connection.prepare(
        "SELECT DISTINCT incarnation FROM audit
         WHERE path = ?1 OR target = ?1 OR (device = ?2 AND inode = ?3 AND birth_nanos IS ?4)",
    )?;
    let (device, inode) =
        (file.map(|file| file.device.cast_signed()), file.map(|file| file.inode.cast_signed()));
    let birth_nanos = file.and_then(|file| file.birth_nanos);
    let name = name.as_os_str().as_bytes();
    let found = select.query_map(params![name, device, inode, birth_nanos], |row| unsigned(row, 0))?;
    found.map(|number| number.map(Incarnation)).collect()
}

/// The streams of which RecordIds are kept.
pub(super) fn audited_streams(connection: &Connection) -> rusqlite::Result<Vec<AuditedStream>> {
    if !has_audit(connection)? {
        return Ok(Vec::new());
    }
    let mut select =
        connection.prepare("SELECT stream, min(time_ms) FROM audit GROUP BY stream ORDER BY stream")?;
    let streams =
        select.query_map([], |row| Ok(AuditedStream { stream: text(row, 0)?, oldest_ms: row.get(1)? }))?;
    streams.collect()
}
