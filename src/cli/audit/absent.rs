//! Why there is no RecordId for what was asked for.
//!
//! Knows positions, dead letters and settings. Says only what these show, and otherwise what may be.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::Config;
use crate::model::audit::KEEP_DAYS;
use crate::model::checkpoint::{Checkpoint, DeadLetter};
use crate::model::identity::Incarnation;
use crate::model::offset::Offset;
use crate::model::settings::Audit;
use crate::shell::store::{AuditedStream, DeadLetterId, Reader, StoreError};

use super::wanted::WantedFile;
use super::{Found, incarnations};
use crate::cli::state::time;

/// Dead letters are read by pages of so many.
const PAGE: usize = 100;

/// Why a RecordId is not known.
pub(super) fn record_id(id: &str, kept: &[AuditedStream]) -> String {
    if kept.is_empty() {
        return format!(
            "{id}: no RecordId is kept in this state: no stream has audit = true, or none had so far"
        );
    }
    let kept: Vec<_> =
        kept.iter().map(|kept| format!("{} (since {})", kept.stream, time(kept.oldest_ms))).collect();
    format!(
        "{id}: this RecordId is not kept; kept are those of the streams {}. The record may be of another stream, older \
         than {KEEP_DAYS} days or than audit_bytes has room for, not durable yet, or a dead letter that was sent again. A \
         file would be named with a `/`",
        kept.join(", ")
    )
}

/// Why no RecordId is known for a file, or for a byte of it: a sentence for each stream that it goes to.
pub(super) fn bytes(
    reader: &Reader,
    file: &WantedFile,
    all: &[Found],
    checkpoints: &BTreeMap<Incarnation, Checkpoint>,
    config: Option<&Config>,
) -> Result<Vec<String>, StoreError> {
    let mine: Vec<_> = file.incarnations.iter().filter_map(|it| checkpoints.get(it)).collect();
    let kept = reader.audited_streams()?;
    if mine.is_empty() {
        let known = incarnations(all);
        return Ok(vec![match (file.exists, known.is_empty()) {
            (false, true) => {
                "no such file, nor is one known that had this name; and no such RecordId is kept".to_owned()
            }
            (true, true) => "not followed: no position is known of this file, and no RecordId".to_owned(),
            (_, false) => "no record that is kept holds this byte, and no position is known of this file any more: it was \
                           forgotten, or the line left out"
                .to_owned(),
        }]);
    }
    let mut why = Vec::new();
    for checkpoint in mine {
        let stream = &*checkpoint.stream;
        let of_stream: Vec<_> =
            all.iter().filter(|found| found.file.incarnation == checkpoint.incarnation).collect();
        let reason = match file.offset.filter(|at| !is_settled(checkpoint, *at)) {
            Some(_) => format!(
                "this byte is not acknowledged, or that is not durable yet: everything before offset {} is",
                checkpoint.offset
            ),
            None if is_off(config, stream) => "audit is off: no RecordId is kept of this stream".to_owned(),
            None if !kept.iter().any(|kept| &*kept.stream == stream) => {
                "no RecordId is kept of this stream: audit is off, or was when this was acknowledged"
                    .to_owned()
            }
            None => in_audited_stream(reader, (file, checkpoint), &of_stream)?,
        };
        why.push(format!("{stream}: {reason}"));
    }
    Ok(why)
}

/// Whether every byte up to and with the one at `at` is settled, or it lies in a range that is.
fn is_settled(checkpoint: &Checkpoint, at: Offset) -> bool {
    let mut ranges = checkpoint.settled.ranges().iter();
    at < checkpoint.offset || ranges.any(|range| range.start() <= at && at < range.end())
}

fn is_off(config: Option<&Config>, stream: &str) -> bool {
    let settings = config.map(|config| &config.settings.streams);
    settings.is_some_and(|all| all.iter().any(|it| &*it.name == stream && it.audit == Audit::Off))
}

/// Why no record is known where others of the stream are.
fn in_audited_stream(
    reader: &Reader,
    (file, checkpoint): (&WantedFile, &Checkpoint),
    of_stream: &[&Found],
) -> Result<String, StoreError> {
    let old = format!("older than {KEEP_DAYS} days, or than audit_bytes has room for");
    let Some(at) = file.offset else {
        return Ok(match checkpoint.offset == Offset::ZERO && checkpoint.settled.is_empty() {
            true => "nothing of this file is acknowledged yet".to_owned(),
            false => format!(
                "no RecordId is kept of this file: it was acknowledged before audit was on, or that is {old}; or all of its \
                 lines were left out, or are dead letters"
            ),
        });
    };
    if at.bytes() < checkpoint.skipped_bytes {
        return Ok(
            "this byte was there at the first start and is not shipped, because of start_at = \"end\""
                .to_owned(),
        );
    }
    // What lies between the records before and behind.
    let from = of_stream.iter().map(|found| found.bytes.end()).filter(|end| *end <= at).max();
    let letter = letter_at(reader, &file.path, checkpoint, (from.unwrap_or(Offset::ZERO), at))?;
    if let Some(DeadLetter { offset, code, .. }) = letter {
        return Ok(format!(
            "this byte is in a dead letter: the line at offset {offset} was refused, or made no record ({code}); \
             `standpipe dead-letters list` shows it"
        ));
    }
    let left_out = of_stream
        .iter()
        .any(|found| found.record.left_out.iter().any(|gap| gap.start() <= at && at < gap.end()));
    Ok(match from {
        _ if left_out => {
            "this byte is settled and in no record: keep_lines or drop_lines left the line out".to_owned()
        }
        None => format!(
            "no RecordId is kept of what comes before here: it was acknowledged before audit was on, or that is {old}; or the \
             line was left out, or was a dead letter"
        ),
        Some(_) => format!(
            "this byte is settled, and no RecordId is kept of it: keep_lines or drop_lines left the line out, it is empty or \
             was too long, or it was a dead letter that was sent again or purged; or its acknowledgement is {old}"
        ),
    })
}

/// The dead letter whose line begins last in a part of a file that no record holds.
fn letter_at(
    reader: &Reader,
    path: &Path,
    checkpoint: &Checkpoint,
    (from, at): (Offset, Offset),
) -> Result<Option<DeadLetter>, StoreError> {
    let is_meant = |letter: &DeadLetter| {
        let names = [Some(&letter.path), letter.target.as_ref()];
        let own = [Some(&checkpoint.path), checkpoint.target.as_ref()];
        let has_name =
            |name: &std::sync::Arc<Path>| **name == *path || own.iter().flatten().any(|own| *own == name);
        // What was compressed is shorter than what it stands for.
        let is_compressed = letter.data.starts_with(&[0x1f, 0x8b]);
        let reaches_there = is_compressed || at.since(letter.offset) <= letter.data.len() as u64;
        letter.stream == checkpoint.stream
            && (from..=at).contains(&letter.offset)
            && reaches_there
            && names.into_iter().flatten().any(has_name)
    };
    let (mut after, mut found): (DeadLetterId, Option<DeadLetter>) = (DeadLetterId::default(), None);
    loop {
        let page = reader.dead_letters(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = last.id;
        let letters = page.into_iter().map(|stored| stored.letter).filter(is_meant);
        found = found.into_iter().chain(letters).max_by_key(|letter| letter.offset);
    }
}
