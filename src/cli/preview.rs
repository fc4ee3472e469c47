//! `standpipe preview`: the records that a configuration would make of the beginning of a file.
//!
//! Knows how they are shown. Sends nothing, and neither opens nor makes a state directory: what was delivered before is
//! not asked.

use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use clap::Args;

use crate::config::{Config, Overrides};
use crate::engine::port::{FileFault, Observed, Opened};
use crate::engine::preview::{self, Becomes, Beginning, Preview};
use crate::model::limits::{BILLING_STEP_BYTES, billed_bytes};
use crate::model::offset::Offset;
use crate::model::route::Destined;
use crate::model::settings::{Compression, SourceId, StreamId};
use crate::model::text::{exact, plain, plain_path};
use crate::rules::compression::compression;
use crate::rules::rotation::family::rotated_from;
use crate::rules::rotation::uncompressed;
use crate::shell::files::{self, Compressed, SourceFiles, Surveyed};

use super::run::{source_files, surveys};
use super::{DONE, FAILED, configure, named};

/// How much is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

/// The most that is read of one file, in bytes: as long as a line may be.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Prints the records that the configuration makes of the first lines of a file; sends nothing
///
/// One record a line, with its size, the lines of the file that it holds, and the steps of 5 KiB that it is billed as. What
/// is not printable is escaped. No state directory is opened: in `id`s of JSON records the generation is 0.
#[derive(Args, Clone, Debug)]
pub(super) struct PreviewArgs {
    /// Configuration file [default: $STANDPIPE_CONFIG, else /etc/standpipe/standpipe.toml]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file that a source matches [default: the first file of each source]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// How many lines of the file
    #[arg(long, value_name = "N", default_value = "10")]
    lines: NonZeroUsize,
}

pub(super) fn preview(args: &PreviewArgs) -> u8 {
    let config = match configure(args.config.as_ref(), &Overrides::default()) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let sources = source_files(&config);
    let surveys = surveys(&sources);
    let config = named::with_streams(&config, &surveys);
    let path = args.path.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
    let mut out = BufWriter::new(io::stdout().lock());
    let mut code = DONE;
    let mut is_matched = false;
    for (source, surveyed) in surveys.iter().enumerate() {
        let Some(file) = chosen(surveyed, path.as_deref()) else {
            if path.is_none() {
                code = FAILED;
                let name = &config.sources[source].name;
                complain!("source {name}: no file matches; correct its paths, or wait for a file");
            }
            continue;
        };
        is_matched = true;
        // Nobody may be reading; what cannot be read is told.
        match show(&mut out, (&config, &sources[source]), &surveyed.observation.source, file, args.lines) {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                code = FAILED;
                complain!("{}: {}", plain_path(&file.path), fault);
            }
            Err(_) => return code,
        }
    }
    let _ = out.flush();
    match path {
        Some(path) if !is_matched => {
            complain!("{}: {}", plain_path(&path), why_not(&path, &sources, &surveys));
            FAILED
        }
        Some(_) | None => code,
    }
}

/// The file at `path`, or the first, of those that a source matches.
fn chosen<'a>(surveyed: &'a Surveyed, path: Option<&Path>) -> Option<&'a Observed> {
    let matched = surveyed.observation.files.iter().filter(|file| file.is_matched);
    matched
        .filter(|file| path.is_none_or(|path| *file.path == *path))
        .min_by(|one, other| one.path.cmp(&other.path))
}

/// Why no source reads the file at `path`, and what to do.
fn why_not(path: &Path, sources: &[SourceFiles], surveys: &[Surveyed]) -> String {
    let mut problems = surveys.iter().flat_map(|surveyed| &surveyed.problems.named);
    if let Some(problem) = problems.find(|problem| problem.path == path) {
        return format!("not read: {}", problem.reason);
    }
    let matches = |files: &&SourceFiles| files.patterns.iter().any(|pattern| pattern.matches(path));
    match sources.iter().find(matches) {
        Some(files) if files.exclude.matches(path) => "is left out by `exclude`; correct it".to_owned(),
        Some(_) => "is not there, or no regular file; name one that `standpipe check` lists".to_owned(),
        None => {
            "no source matches it; name a file that `standpipe check` lists, or add it to `paths`".to_owned()
        }
    }
}

/// Shows what becomes of the first lines of one file. The inner result is the file's.
#[expect(clippy::disallowed_methods, reason = "JSON records say when they were read")]
fn show(
    out: &mut impl Write,
    (config, of_source): (&Config, &SourceFiles),
    source: &SourceId,
    file: &Observed,
    lines: NonZeroUsize,
) -> io::Result<Result<(), FileFault>> {
    let settings = &config.settings.sources[source.0];
    let StreamId(place) = match settings.route.of(file.real_path(), &file.path) {
        Destined::To(stream) => stream,
        Destined::Unopened(name) => {
            return Ok(Err(FileFault::Unreadable(format!("its stream {name} is not open"))));
        }
        Destined::Nowhere(why) => return Ok(Err(FileFault::Unreadable(why))),
    };
    let (stream, stream_settings) = (&config.streams[place], &config.settings.streams[place]);
    let (content, head) = match open(of_source, file) {
        Ok(opened) => opened,
        Err(fault) => return Ok(Err(fault)),
    };
    writeln!(
        out,
        "{}: source {} to stream {} (delivery stream {})",
        plain_path(&file.path),
        plain(&*settings.name),
        stream.name,
        stream.delivery_stream
    )?;
    if let Some(format) = compression(&head.head) {
        writeln!(out, "  is skipped: it is compressed ({format}), and a log is text")?;
        return Ok(Ok(()));
    }
    if let Content::Archived(_) = content {
        writeln!(
            out,
            "  a rotated file, decompressed: what was not delivered of it before it was compressed is read, and nothing \
             of a file that nobody knows"
        )?;
    }
    let (bytes, is_cut) = match first_lines(&content, lines) {
        Ok(read) => read,
        Err(fault) => return Ok(Err(fault)),
    };
    let unix_time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let (path, target) = (&*file.path, file.target.as_deref());
    let beginning = Beginning { path, target, identity: head.identity, bytes, unix_time };
    let shaped = preview::preview(settings, stream_settings, &beginning);
    write_pieces(out, &shaped, &beginning.bytes, stream_settings.packing.compression())?;
    write_counts(out, &shaped, &beginning.bytes)?;
    if is_cut {
        writeln!(out, "  only {MAX_BYTES} bytes of the file were looked at")?;
    }
    Ok(Ok(()))
}

/// What a file holds, as it is read.
enum Content {
    Plain(std::fs::File),
    /// A rotator compressed it.
    Archived(Box<Compressed>),
}

impl Content {
    fn read(&self, at: Offset) -> Result<Bytes, FileFault> {
        match self {
            Self::Plain(file) => files::read(file, at, READ_BYTES),
            Self::Archived(file) => file.read(at, READ_BYTES),
        }
    }
}

/// Opens a file as the daemon does: as what was compressed, where its name says that a rotator did that.
fn open(of_source: &SourceFiles, file: &Observed) -> Result<(Content, Opened), FileFault> {
    let (opened, head) = files::open(&file.path, of_source.reach())?;
    let real = file.real_path();
    let names = of_source.names();
    let is_taken =
        |name: &PathBuf| name.file_name().is_some_and(|name| names.takes(&file.path.with_file_name(name)));
    let is_archive = uncompressed(real).is_some() && rotated_from(real).iter().any(is_taken);
    if is_archive && compression(&head.head) == Some("gzip") {
        let (archived, head) = files::open_compressed(&file.path, of_source.reach())?;
        return Ok((Content::Archived(Box::new(archived)), head));
    }
    Ok((Content::Plain(opened), head))
}

/// The first `lines` of a file, and whether that was too much.
fn first_lines(file: &Content, lines: NonZeroUsize) -> Result<(Bytes, bool), FileFault> {
    let (mut all, mut found) = (BytesMut::new(), 0);
    while all.len() < MAX_BYTES {
        let read = file.read(Offset::new(all.len() as u64))?;
        let missing = lines.get() - found;
        let last = memchr::memchr_iter(b'\n', &read).nth(missing - 1);
        found += memchr::memchr_iter(b'\n', &read).count().min(missing);
        all.extend_from_slice(&read[..last.map_or(read.len(), |last| last + 1)]);
        if last.is_some() || read.len() < READ_BYTES {
            return Ok((all.freeze(), false));
        }
    }
    Ok((all.freeze(), true))
}

/// What becomes of each span, one a line.
fn write_pieces(
    out: &mut impl Write,
    shaped: &Preview,
    bytes: &Bytes,
    compression: Compression,
) -> io::Result<()> {
    for (span, becomes) in &shaped.pieces {
        let at = |offset: Offset| usize::try_from(offset.bytes()).unwrap_or(bytes.len()).min(bytes.len());
        let stands_for = &bytes[at(span.start())..at(span.end())];
        let lines = match memchr::memchr_iter(b'\n', stands_for).count() {
            0 => "part of a line".to_owned(),
            1 => "1 line".to_owned(),
            lines => format!("{lines} lines"),
        };
        match becomes {
            Becomes::Record(data) => {
                write!(out, "  {} bytes, {lines}, {} x 5 KiB", data.len(), units(data.len()))?;
                match compression {
                    Compression::None => writeln!(out, ": {}", exact(data))?,
                    Compression::Gzip => {
                        let text = files::decompressed(data)?;
                        writeln!(out, ", gzip of {} bytes: {}", text.len(), exact(&text))?;
                    }
                }
            }
            Becomes::NotSent => {
                writeln!(out, "  not sent, {} bytes, {lines}: {}", stands_for.len(), exact(stands_for))?;
            }
            Becomes::DeadLetter(data) => {
                writeln!(out, "  dead letter, {} bytes, {lines}: {}", data.len(), exact(data))?;
            }
        }
    }
    Ok(())
}

/// What all of it comes to, and why something is not sent.
fn write_counts(out: &mut impl Write, shaped: &Preview, bytes: &Bytes) -> io::Result<()> {
    let records = shaped.pieces.iter().filter_map(|(_, becomes)| match becomes {
        Becomes::Record(data) => Some(data.len()),
        Becomes::NotSent | Becomes::DeadLetter(_) => None,
    });
    let (count, size, billed) =
        records.fold((0, 0, 0), |(count, size, billed), len| (count + 1, size + len, billed + units(len)));
    let lines = memchr::memchr_iter(b'\n', bytes).count();
    writeln!(
        out,
        "  {lines} lines, {} bytes: {count} records, {size} bytes, billed as {billed} x 5 KiB",
        bytes.len()
    )?;
    let counts = &shaped.counts;
    let reasons = [
        (counts.dropped_lines, "lines dropped by keep_lines or drop_lines"),
        (counts.empty_lines, "empty lines, of which nothing is sent"),
        (counts.nul_bytes, "NUL bytes skipped at the beginning"),
        (
            counts.abandoned_bytes.values().sum(),
            "bytes of lines that are too long lost by oversize = \"truncate\"",
        ),
        (counts.oversize.dead_lettered, "lines that are too long put aside by oversize = \"dead_letter\""),
        (
            counts.unmerged_lines.values().sum(),
            "lines that are JSON objects, and are quoted instead of merged",
        ),
        (counts.unparsed_lines, "lines that do not look as `parse` says, and are sent as they are"),
        ((bytes.len() - shaped.bytes) as u64, "bytes at the end that wait for the rest of their line"),
    ];
    for (count, what) in reasons.into_iter().filter(|(count, _)| *count > 0) {
        writeln!(out, "  {what}: {count}")?;
    }
    Ok(())
}

fn units(len: usize) -> u64 {
    billed_bytes(len) / BILLING_STEP_BYTES
}
