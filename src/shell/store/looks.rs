//! First looks at sources as rows.
//!
//! *Invariant:* a row that is read back is the row that was written; one that is damaged is left out.

use rusqlite::{Connection, Row, params};

use crate::model::checkpoint::FirstLook;

use super::checksum::Checksum;

/// Inserts looks, or replaces those at the same source for the same stream.
pub(super) fn write_looks<'a>(
    connection: &Connection,
    looks: impl IntoIterator<Item = &'a FirstLook>,
) -> rusqlite::Result<()> {
    let mut insert = connection.prepare("INSERT OR REPLACE INTO looks VALUES (?1, ?2, ?3, ?4)")?;
    for look in looks {
        insert.execute(params![look.stream, look.source, look.nanos, checksum(look)])?;
    }
    Ok(())
}

/// All looks by stream and source, without the damaged ones, each of which has a warning.
pub(super) fn read_looks(connection: &Connection) -> rusqlite::Result<Vec<FirstLook>> {
    let mut select = connection
        .prepare("SELECT stream, source, first_nanos, checksum FROM looks ORDER BY stream, source")?;
    let mut rows = select.query([])?;
    let mut looks = Vec::new();
    while let Some(row) = rows.next()? {
        match read_look(row) {
            Ok((look, stored)) if checksum(&look) == stored => looks.push(look),
            _ => tracing::warn!(
                "what says since when a source is looked at is damaged and dropped: what came and was rotated away since \
                 may not be found"
            ),
        }
    }
    Ok(looks)
}

fn read_look(row: &Row<'_>) -> rusqlite::Result<(FirstLook, i64)> {
    Ok((FirstLook { stream: row.get(0)?, source: row.get(1)?, nanos: row.get(2)? }, row.get(3)?))
}

fn checksum(look: &FirstLook) -> i64 {
    Checksum::default()
        .bytes(look.stream.as_bytes())
        .bytes(look.source.as_bytes())
        .number(look.nanos.cast_unsigned())
        .finish()
}
