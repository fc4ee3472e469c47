//! Parts of rates as rows: what refusals have left of the quota of a delivery stream to which others send, too.
//!
//! *Invariant:* what is read is what a process had a while ago at most. A row that is damaged says nothing.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use crate::model::checkpoint::KnownPart;

use super::checksum::Checksum;

/// For so long it is believed that as many daemons send to a delivery stream as did. A fleet is restarted meanwhile; one that was
/// away for longer finds its parts as any does that starts.
const BELIEVED: Duration = Duration::from_mins(10);

/// Puts these in place of all that there are.
pub(super) fn replace_parts(
    connection: &Connection,
    parts: &[KnownPart],
    now_ms: i64,
) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM parts", [])?;
    let mut insert = connection.prepare("INSERT OR REPLACE INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for part in parts {
        let KnownPart { stream, delivery_stream, region, millionths } = part;
        insert.execute(params![
            stream,
            delivery_stream,
            region,
            millionths,
            now_ms,
            checksum(part, now_ms)
        ])?;
    }
    Ok(())
}

/// Those that are believed still.
pub(super) fn read_parts(connection: &Connection, now_ms: i64) -> rusqlite::Result<Vec<KnownPart>> {
    let mut select = connection.prepare(
        "SELECT stream, delivery_stream, region, millionths, time_ms, checksum FROM parts \
         ORDER BY stream, delivery_stream, region",
    )?;
    let mut rows = select.query([])?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next()? {
        let Ok((part, time_ms, stored)) = read_part(row) else { continue };
        let age_ms = now_ms.checked_sub(time_ms).and_then(|age_ms| u64::try_from(age_ms).ok());
        let is_believed = age_ms.is_some_and(|age_ms| Duration::from_millis(age_ms) <= BELIEVED);
        if is_believed && part.millionths > 0 && checksum(&part, time_ms) == stored {
            parts.push(part);
        }
    }
    Ok(parts)
}

fn read_part(row: &Row<'_>) -> rusqlite::Result<(KnownPart, i64, i64)> {
    let part = KnownPart {
        stream: row.get(0)?,
        delivery_stream: row.get(1)?,
        region: row.get(2)?,
        millionths: row.get(3)?,
    };
    Ok((part, row.get(4)?, row.get(5)?))
}

fn checksum(part: &KnownPart, time_ms: i64) -> i64 {
    Checksum::default()
        .bytes(part.stream.as_bytes())
        .bytes(part.delivery_stream.as_bytes())
        .bytes(part.region.as_bytes())
        .number(part.millionths.into())
        .number(time_ms.cast_unsigned())
        .finish()
}
