//! The database's shape: its versions, and what a file must look like to be taken for ours.
//!
//! *Invariant:* versions only go up. A file of a newer one is recognised by its first bytes, before SQLite,
//! which would leave a log and shared memory beside it, has seen it.

use rusqlite::{Connection, TransactionBehavior};

use super::error::{Fault, StoreError, judge};
use super::place::Place;

/// Marks the file as ours, for `file` and for ourselves: "stdp".
const APPLICATION_ID: i32 = 0x7374_6470;

/// Each brings a database of version *n* (its place here) to version *n + 1*. Appended to, never changed.
const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5, V6, V7, V8];

/// The version that this program writes.
pub(super) const KNOWN: i32 = 8;

const _: () = assert!(MIGRATIONS.len() == KNOWN as usize, "a version for each migration");

/// Unsigned 64-bit numbers are stored by their bits: SQLite has signed ones only. 128-bit hashes are 16 bytes,
/// the highest first. Paths are blobs, as Unix has them; the views show them as text.
const V1: &str = "
CREATE TABLE meta (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    next_incarnation  INTEGER NOT NULL, -- greater than every number that was ever stored
    started           INTEGER NOT NULL, -- 1 from the first commit on
    dead_letter_bytes INTEGER NOT NULL, -- all data of dead_letters
    checksum          INTEGER NOT NULL  -- xxh3-64 of all other columns
) STRICT;
CREATE TABLE checkpoints (
    incarnation      INTEGER PRIMARY KEY,
    stream           TEXT NOT NULL,
    path             BLOB NOT NULL,
    device           INTEGER NOT NULL,
    inode            INTEGER NOT NULL,
    birth_nanos      INTEGER,
    fingerprint_len  INTEGER NOT NULL,
    fingerprint_hash BLOB NOT NULL,
    offset           INTEGER NOT NULL,
    window_len       INTEGER NOT NULL,
    window_hash      BLOB NOT NULL,
    updated_ms       INTEGER NOT NULL,  -- milliseconds since 1970
    checksum         INTEGER NOT NULL   -- xxh3-64 of all other columns: SQLite itself has none
) STRICT;
CREATE TABLE dead_letters (
    id      INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,           -- milliseconds since 1970
    stream  TEXT NOT NULL,
    source  TEXT NOT NULL,
    path    BLOB NOT NULL,
    offset  INTEGER NOT NULL,
    code    TEXT NOT NULL,
    message TEXT NOT NULL,
    data    BLOB NOT NULL
) STRICT;
CREATE VIEW checkpoints_readable AS
    SELECT incarnation, stream, CAST(path AS TEXT) AS path, offset,
           datetime(updated_ms / 1000, 'unixepoch') AS updated,
           device, inode, datetime(birth_nanos / 1000000000, 'unixepoch') AS born
    FROM checkpoints;
CREATE VIEW dead_letters_readable AS
    SELECT id, datetime(time_ms / 1000, 'unixepoch') AS time, stream, source,
           CAST(path AS TEXT) AS path, offset, code, message, length(data) AS bytes
    FROM dead_letters;
";

/// Which file an incarnation began in, where a copy of it went on: the ids of its records are of that one.
const V2: &str = "
ALTER TABLE checkpoints ADD COLUMN origin_device INTEGER; -- NULL: device and inode are those
ALTER TABLE checkpoints ADD COLUMN origin_inode INTEGER;
";

/// Where the file is behind links, or once more `path` where no source matched that; when it was seen: a generation that came and was rotated away meanwhile is younger; and
/// what a source that starts at the end leaves out.
const V3: &str = "
ALTER TABLE checkpoints ADD COLUMN target BLOB;              -- NULL: path is no link, nor behind one
ALTER TABLE checkpoints ADD COLUMN first_seen_nanos INTEGER; -- nanoseconds since 1970
ALTER TABLE checkpoints ADD COLUMN last_seen_nanos INTEGER;
ALTER TABLE checkpoints ADD COLUMN owner INTEGER;            -- user ID
ALTER TABLE checkpoints ADD COLUMN skipped_bytes INTEGER;    -- NULL: none
";

/// What is settled beyond the frontier, and a digest of what comes before it. Each may be left out: a row without them
/// says less, and nothing wrong. So their checksum is another than the row's: damage to them costs no position.
const V4: &str = "
ALTER TABLE checkpoints ADD COLUMN settled BLOB;             -- a window (length, 2 bytes; hash), then start and end of each range (8 bytes each, lowest first)
ALTER TABLE checkpoints ADD COLUMN proof BLOB;               -- bytes covered (8 bytes, lowest first), digest (16 bytes)
ALTER TABLE checkpoints ADD COLUMN extras_checksum INTEGER;  -- xxh3-64 of checksum, settled and proof; NULL: neither
";

/// What it takes to make records of a dead letter that none was made of. Where the text is damaged, its data is sent as it is.
const V5: &str = "
ALTER TABLE dead_letters ADD COLUMN target BLOB; -- NULL: path is no link, nor behind one
ALTER TABLE dead_letters ADD COLUMN unmade TEXT; -- NULL: data is a record
";

/// RecordIds with the bytes that they stand for.
const V6: &str = "
CREATE TABLE audit (
    id              INTEGER PRIMARY KEY, -- upwards in the order of commits
    time_ms         INTEGER NOT NULL,    -- the last acknowledgement, in milliseconds since 1970
    stream          TEXT NOT NULL,
    delivery_stream TEXT NOT NULL,       -- the stream as the service names it
    path            BLOB NOT NULL,       -- under which the bytes were read
    target          BLOB,                -- NULL: path is no link, nor behind one
    device          INTEGER NOT NULL,
    inode           INTEGER NOT NULL,
    birth_nanos     INTEGER,
    origin_device   INTEGER NOT NULL,
    origin_inode    INTEGER NOT NULL,
    incarnation     INTEGER NOT NULL,
    count           INTEGER NOT NULL,    -- of RecordIds
    checksum        INTEGER NOT NULL,    -- xxh3-64 of what identifies the file, and of records
    records         BLOB NOT NULL        -- RecordIds, spans and times, as rules/audit.rs writes them
) STRICT;
CREATE VIEW audit_readable AS
    SELECT id, datetime(time_ms / 1000, 'unixepoch') AS last_acknowledged, stream, delivery_stream,
           CAST(path AS TEXT) AS path, incarnation, count AS record_ids, length(records) AS bytes
    FROM audit;
";

/// Since when the names of sources are looked at. A row that is missing or damaged says that nobody knows.
const V7: &str = "
CREATE TABLE looks (
    stream      TEXT NOT NULL,    -- as the configuration names it
    source      TEXT NOT NULL,
    first_nanos INTEGER NOT NULL, -- the first look at the source, in nanoseconds since 1970
    checksum    INTEGER NOT NULL, -- xxh3-64 of all other columns
    PRIMARY KEY (stream, source)
) STRICT;
";

/// What refusals have left of the rates of delivery streams. No row, or a damaged one: nothing is known.
const V8: &str = "
CREATE TABLE parts (
    stream          TEXT NOT NULL,    -- as the configuration names it
    delivery_stream TEXT NOT NULL,    -- the stream as the service names it
    region          TEXT NOT NULL,    -- empty: the region of the process
    millionths      INTEGER NOT NULL, -- of the rate
    time_ms         INTEGER NOT NULL, -- milliseconds since 1970
    checksum        INTEGER NOT NULL, -- xxh3-64 of all other columns
    PRIMARY KEY (stream, delivery_stream, region)
) STRICT;
";

/// What lies under the database's name, judged without opening it as a database.
#[derive(Debug)]
pub(super) enum Look {
    /// No database, nor any trace that there has been one.
    Nothing,
    /// No database, but traces that there has been one.
    Missing,
    /// A file that is no database of ours, and why.
    Damaged(String),
    /// A file that may be a database of ours.
    Plausible,
}

/// Looks at the first bytes; a newer standpipe's are an error (<https://www.sqlite.org/fileformat2.html>, "The Database Header").
pub(super) fn look(place: &Place) -> Result<Look, StoreError> {
    let Some(metadata) = place.metadata()? else {
        return Ok(if place.has_a_past()? { Look::Missing } else { Look::Nothing });
    };
    if !metadata.is_file() {
        return Ok(Look::Damaged("not a regular file".to_owned()));
    }
    let head = place.head(HEADER_BYTES as u64)?;
    let header = match Header::of(&head) {
        Ok(header) => header,
        Err(why) => return Ok(Look::Damaged(why.to_owned())),
    };
    if header.version > KNOWN {
        let path = place.database();
        return Err(StoreError::Newer { path, found: header.version, known: KNOWN });
    }
    if let Some(odd) = place.odd_file_beside()? {
        return Ok(Look::Damaged(format!("{} is not a regular file", odd.display())));
    }
    Ok(Look::Plausible)
}

const HEADER_BYTES: usize = 100;

#[derive(Debug, PartialEq, Eq)]
struct Header {
    version: i32,
}

impl Header {
    fn of(head: &[u8]) -> Result<Self, &'static str> {
        let head: &[u8; HEADER_BYTES] = head.try_into().map_err(|_| "shorter than a header")?;
        if !head.starts_with(b"SQLite format 3\0") {
            return Err("no SQLite database");
        }
        // Format versions of writer and reader: 1 rollback journal, 2 write-ahead log. SQLite would take another
        // one of the writer's for a read-only file, which looks like trouble around the file.
        if !head[18..20].iter().all(|format| matches!(format, 1 | 2)) {
            return Err("an unknown file format");
        }
        let number = |at: usize| i32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if number(68) != APPLICATION_ID {
            return Err("another application's database");
        }
        match number(60) {
            version if version >= 1 => Ok(Self { version }),
            _ => Err("no schema version"),
        }
    }
}

/// Brings an empty database to the newest version.
pub(super) fn shape(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    migrate_from(connection, 0)
}

/// Checks that a database is whole and brings it up to date.
///
/// `quick_check` reads every page, but compares no index with its table: there is none.
pub(super) fn verify(connection: &mut Connection, place: &Place) -> Result<(), Fault> {
    let path = place.database();
    let version: i32 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(judge(&path))?;
    // A crash right after a newer one's migration may have left its version in the log only.
    if version > KNOWN {
        return Err(Fault::Other(StoreError::Newer { path, found: version, known: KNOWN }));
    }
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(judge(&path))?;
    if verdict != "ok" {
        return Err(Fault::Content(verdict));
    }
    match usize::try_from(version) {
        Ok(version) if version >= 1 => migrate_from(connection, version).map_err(judge(&path)),
        _ => Err(Fault::Content("no schema version".to_owned())),
    }
}

fn migrate_from(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    for (to, migration) in (1_i32..).zip(MIGRATIONS).skip(version) {
        // Shape and version change together, so that a crash leaves one version or the other.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", to)?;
        transaction.commit()?;
    }
    if version < MIGRATIONS.len() {
        // Puts the version where an older program looks for it: into the first bytes of the file.
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    }
    Ok(())
}
