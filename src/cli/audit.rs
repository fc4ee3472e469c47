//! `standpipe audit`: which bytes of which file a RecordId holds, and which RecordIds hold a file's bytes.
//!
//! Knows what the state database keeps of streams with `audit = true`, and says of what it does not keep why that may be. It
//! asks no daemon, so the answer holds whether or not one runs.
//!
//! *Invariant:* what is shown was acknowledged, and is durable.

mod absent;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::model::audit::AuditedFile;
use crate::model::checkpoint::Checkpoint;
use crate::model::identity::Incarnation;
use crate::model::offset::{Offset, Span};
use crate::model::text::{plain, plain_json, plain_path};
use crate::rules::audit::Kept;
use crate::shell::store::{Reader, StoreError, StoredBlock, WantedBlocks};

use self::wanted::{Wanted, WantedFile};
use super::state::{StateArgs, refuse, time};
use super::{DONE, FAILED, USAGE};

/// Says which bytes of which file a RecordId holds, or which RecordIds hold a file's bytes
///
/// Of streams with `audit = true`, the RecordIds of what the service took in the last seven days are kept, each with the
/// bytes of the file that the record was made of. May run beside a daemon, and without one. A file that was rotated is found
/// by the name that it has now, and by the name under which it was read. Lines that are in no record (left out by
/// `drop_lines`, dead letters) have no RecordId, and the command says so.
///
/// Exits 0 when something was found, 1 when not, with the reasons that there may be.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:
  standpipe audit 49610bb0c6c2a1f6d1f3    the file and the bytes of this record
  standpipe audit /var/log/app/app.log    every RecordId of this file
  standpipe audit /var/log/app/app.log:7  the RecordIds of the line that holds the byte at offset 7
  standpipe audit --json app.log.1 | jq -r .record_id")]
pub(super) struct AuditArgs {
    /// A RecordId as the service gave it; or a file, with the offset of one of its bytes
    #[arg(value_name = "RECORD-ID | PATH[:OFFSET]")]
    wanted: String,
    /// As JSON: an object on a line of its own for each record
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    state: StateArgs,
}

/// A record with the file that it is of.
#[derive(Clone, Debug)]
struct Found {
    file: Arc<AuditedFile>,
    record: Kept,
    /// The bytes that the record stands for, by itself or with others.
    bytes: Span,
    /// How many records together stand for these bytes.
    of: usize,
}

pub(super) fn audit(args: &AuditArgs) -> u8 {
    let looked = args.state.read().and_then(|reader| look(args, &reader));
    looked.map_or_else(|code| code, |()| DONE)
}

fn look(args: &AuditArgs, reader: &Reader) -> Result<(), u8> {
    let told = |error: StoreError| refuse(&error);
    let stored = reader.checkpoints().map_err(told)?;
    let checkpoints: BTreeMap<Incarnation, Checkpoint> =
        stored.into_iter().map(|stored| (stored.checkpoint.incarnation, stored.checkpoint)).collect();
    let show = |found: &[Found]| show(found, &checkpoints, args.json);
    if wanted::may_be_a_record_id(&args.wanted) {
        let found = by_record_id(reader, &args.wanted).map_err(told)?;
        if !found.is_empty() {
            show(&found);
            return Ok(());
        }
    }
    let wanted = Wanted::of(&args.wanted, reader, &checkpoints).map_err(|error| match error {
        wanted::Unclear::Offset(why) => {
            complain!("{why}");
            USAGE
        }
        wanted::Unclear::Store(error) => refuse(&error),
    })?;
    match wanted {
        Wanted::RecordId => {
            let kept = reader.audited_streams().map_err(told)?;
            complain!("{}", absent::record_id(&args.wanted, &kept));
            Err(FAILED)
        }
        Wanted::File(file) => {
            let all = by_file(reader, &file).map_err(told)?;
            let found: Vec<_> = match file.offset {
                None => all.iter().collect(),
                Some(at) => all.iter().filter(|found| found.holds(at)).collect(),
            };
            if found.is_empty() {
                let config = args.state.configured();
                let why = absent::bytes(reader, &file, &all, &checkpoints, config.as_ref()).map_err(told)?;
                why.iter().for_each(|why| complain!("{}: {why}", plain_path(&file.path)));
                return Err(FAILED);
            }
            show(&found.into_iter().cloned().collect::<Vec<_>>());
            Ok(())
        }
    }
}

impl Found {
    /// Whether the record holds a byte of the file, by itself or with others.
    fn holds(&self, at: Offset) -> bool {
        let is_in = |span: &Span| span.start() <= at && at < span.end();
        is_in(&self.bytes) && !self.record.left_out.iter().any(is_in)
    }
}

/// The records that the service calls so: one, unless a service gives a name twice.
fn by_record_id(reader: &Reader, id: &str) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    reader.audit(&WantedBlocks::All, |block| {
        if block.records.iter().any(|record| record.id == id) {
            found.extend(together(block).into_iter().filter(|found| found.record.id == id));
        }
        true
    })?;
    Ok(found)
}

/// All records of a file, in its order.
fn by_file(reader: &Reader, file: &WantedFile) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    if file.incarnations.is_empty() {
        return Ok(found);
    }
    reader.audit(&WantedBlocks::Of(file.incarnations.clone()), |block| {
        found.extend(together(block));
        true
    })?;
    // Pieces of one message stay in their order.
    found.sort_by_key(|found| (found.file.incarnation, found.bytes.start(), found.bytes.end()));
    Ok(found)
}

/// The records of a block with the bytes that they stand for: one without bytes stands with others for the next that has
/// some.
fn together(StoredBlock { file, records }: StoredBlock) -> Vec<Found> {
    let file = Arc::new(file);
    let mut found: Vec<Found> = Vec::with_capacity(records.len());
    let mut pieces: Vec<Kept> = Vec::new();
    for record in records {
        let span = record.span;
        if pieces.last().is_some_and(|piece| piece.span.start() != span.start()) {
            // What settles them was delivered before, or is a dead letter.
            flush(&mut pieces, &file, None, &mut found);
        }
        pieces.push(record);
        if !span.is_empty() {
            flush(&mut pieces, &file, Some(span), &mut found);
        }
    }
    flush(&mut pieces, &file, None, &mut found);
    found
}

fn flush(pieces: &mut Vec<Kept>, file: &Arc<AuditedFile>, bytes: Option<Span>, found: &mut Vec<Found>) {
    let of = pieces.len();
    found.extend(pieces.drain(..).map(|record| Found {
        file: Arc::clone(file),
        bytes: bytes.unwrap_or(record.span),
        record,
        of,
    }));
}

/// Prints records: of each file a heading, and a line for each of its records.
fn show(found: &[Found], checkpoints: &BTreeMap<Incarnation, Checkpoint>, json: bool) {
    // Nobody may be reading.
    let _ = write(&mut io::BufWriter::new(io::stdout().lock()), found, checkpoints, json);
}

fn write(
    out: &mut impl io::Write,
    found: &[Found],
    checkpoints: &BTreeMap<Incarnation, Checkpoint>,
    json: bool,
) -> io::Result<()> {
    let mut shown: Option<&AuditedFile> = None;
    for found in found {
        let now = checkpoints.get(&found.file.incarnation).map(|checkpoint| &checkpoint.path);
        let now = now.filter(|now| **now != found.file.path);
        if json {
            writeln!(out, "{}", as_json(found, now.map(|path| path.to_string_lossy())))?;
            continue;
        }
        let file = &*found.file;
        if shown.is_none_or(|shown| shown != file) {
            write!(out, "{}", plain_path(&file.path))?;
            if let Some(now) = now {
                write!(out, " (now {})", plain_path(now))?;
            }
            let (stream, service) = (plain(&*file.stream), plain(&*file.delivery_stream));
            writeln!(out, ": stream {stream}, delivery stream {service}, id {}", id(file))?;
            shown = Some(file);
        }
        let Found { record, bytes, .. } = found;
        write!(
            out,
            "  bytes {}-{}  {}  {}",
            bytes.start(),
            bytes.end(),
            time(record.unix_ms),
            plain(&record.id)
        )?;
        if found.of > 1 {
            write!(out, "  ({} records hold these bytes together)", found.of)?;
        }
        if !record.left_out.is_empty() {
            let gaps: Vec<_> =
                record.left_out.iter().map(|gap| format!("{}-{}", gap.start(), gap.end())).collect();
            write!(out, "  (without {})", gaps.join(", "))?;
        }
        writeln!(out)?;
    }
    out.flush()
}

/// What `format = "json"` writes before the offset.
fn id(file: &AuditedFile) -> String {
    format!("{:x}-{:x}-{:x}", file.origin.device, file.origin.inode, file.incarnation.0)
}

/// The parts of the file that a record holds.
fn held(found: &Found) -> Vec<[u64; 2]> {
    let (mut parts, mut from) = (Vec::new(), found.bytes.start());
    for gap in &found.record.left_out {
        parts.push([from.bytes(), gap.start().bytes()]);
        from = gap.end();
    }
    parts.push([from.bytes(), found.bytes.end().bytes()]);
    parts.retain(|[start, end]| start < end);
    parts
}

fn as_json(found: &Found, now: Option<impl AsRef<str>>) -> String {
    let Found { file, record, .. } = found;
    let mut object = json!({
        "record_id": record.id,
        "stream": &*file.stream,
        "delivery_stream": &*file.delivery_stream,
        "path": file.path.to_string_lossy(),
        "device": file.identity.device,
        "inode": file.identity.inode,
        "id": id(file),
        "bytes": held(found),
        "records": found.of,
        "acknowledged": time(record.unix_ms),
    });
    if let Some(now) = now {
        object["path_now"] = now.as_ref().into();
    }
    plain_json(object.to_string())
}

/// The incarnations of the records.
fn incarnations(found: &[Found]) -> BTreeSet<Incarnation> {
    found.iter().map(|found| found.file.incarnation).collect()
}

#[cfg(test)]
mod tests;
