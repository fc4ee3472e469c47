//! Files that a source matches and that are not begun.
//!
//! Knows what is unwanted of a file of which nothing is known. A file that is followed already, or of which a position is
//! stored, is never unwanted: what it gets belongs to what was shipped.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::model::hidden::Hidden;
use crate::model::identity::Identity;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::compression::compression;
use crate::rules::rotation::originals;

use super::Engine;
use super::archives::Archives;
use super::files::file::Name;
use super::parting::Parting;
use super::port::{FileId, Observation, Observed};
use super::report::Report;
use super::routing::Routing;

/// A file that is compressed.
#[derive(Debug)]
pub(super) struct Compressed {
    /// With what.
    format: &'static str,
    path: Arc<Path>,
    size: u64,
    /// When it was last written; `None` until it was seen again.
    modified: Option<Option<Duration>>,
}

/// What sources match and is not read.
#[derive(Debug, Default)]
pub(super) struct Unwanted {
    /// Files that are not read, and why: told once.
    pub(super) told: BTreeMap<(SourceId, Arc<Path>), String>,
    /// Files that are compressed, and how each was when it was seen last.
    compressed: BTreeMap<(SourceId, Identity), Compressed>,
    /// Compressed files that are told apart by what they hold.
    pub(super) archives: Archives,
    /// Files whose streams are not open.
    pub(super) routing: Routing,
}

impl Unwanted {
    /// Whether files are known to be compressed that a source showed.
    pub(super) fn any_compressed(&self, source: SourceId) -> bool {
        self.compressed.keys().any(|(of, _)| *of == source)
    }
}

impl Engine {
    /// Whether a file of which nothing is known was last written too long ago to be begun.
    pub(super) fn is_too_old(&self, source: SourceId, observed: &Observed, unix_time: Duration) -> bool {
        let Some(limit) = self.settings.sources[source.0].ignore_older else { return false };
        let is_old = observed.modified.is_some_and(|modified| unix_time.saturating_sub(modified) > limit);
        is_old && !self.is_known(source, observed)
    }

    /// Lets go of a file that begins like a compressed one; whether it does. What a rotator made of a file that is known is
    /// opened as its copy, if that is looked for; any other is told once.
    pub(super) fn refuse_compressed(&mut self, id: FileId, head: &[u8], now: Instant) -> bool {
        let Some(format) = compression(head) else { return false };
        let file = self.files.known(id);
        if file.kind.decompressed {
            return false;
        }
        let (source, stream, identity) = (file.source, file.stream, file.identity);
        let (path, size) = (Arc::clone(&file.path), file.size);
        self.part(id, Parting::Refused, now);
        self.forget_marks(identity, stream, now);
        if self.lives.sought_at(&originals(&path), &[]).next().is_some() {
            self.surveys.seek_beside(source, &path);
        }
        // Without a birth time the next file may look like this one.
        if identity.birth_nanos.is_some() {
            let compressed = Compressed { format, path: Arc::clone(&path), size, modified: None };
            self.unwanted.compressed.insert((source, identity), compressed);
        }
        self.skip_compressed((source, stream), (path, identity), format);
        true
    }

    /// Whether a file that is seen is known to be compressed, and was not written since that was seen.
    pub(super) fn is_compressed(&mut self, source: SourceId, observed: &Observed) -> bool {
        let key = (source, observed.identity);
        let Some(known) = self.unwanted.compressed.get_mut(&key) else { return false };
        let modified = *known.modified.get_or_insert(observed.modified);
        if (known.size, modified) != (observed.size, observed.modified) {
            self.unwanted.compressed.remove(&key);
            return false;
        }
        if known.path != observed.path {
            known.path = Arc::clone(&observed.path);
            let format = known.format;
            if let Some(stream) = self.stream_of(source, observed) {
                self.skip_compressed(
                    (source, stream),
                    (Arc::clone(&observed.path), observed.identity),
                    format,
                );
            }
        }
        true
    }

    fn skip_compressed(
        &mut self,
        (source, stream): (SourceId, StreamId),
        (path, identity): (Arc<Path>, Identity),
        format: &str,
    ) {
        if !self.is_unknown_inside(source, identity) && self.is_member(stream, &path) {
            return;
        }
        let why = format!(
            "compressed ({format}), and of no file that is known: exclude it, or ship what was compressed"
        );
        self.skip(source, path, why);
    }

    /// A file that another source of the stream has is read once, and stays with it.
    pub(super) fn skip_shared(&mut self, source: SourceId, owner: SourceId, path: &Arc<Path>) {
        let owner = &self.settings.sources[owner.0].name;
        let why = format!("read already for the source `{owner}`, into the same stream: leave it out of one");
        self.skip(source, Arc::clone(path), why);
    }

    /// A file is not read: told once.
    pub(super) fn skip(&mut self, source: SourceId, path: Arc<Path>, why: String) {
        let before = self.unwanted.told.insert((source, Arc::clone(&path)), why.clone());
        if before.as_ref() != Some(&why) {
            self.report(Report::Skipped { source, path, why });
        }
    }

    /// Whether a rotator may have made the file of one that is known and that is under no name of its source any more, by
    /// the names of both.
    fn is_member(&self, stream: StreamId, path: &Path) -> bool {
        let names = originals(path);
        let is_of_family = |other: &Path| {
            names.iter().any(|name| **name == *other)
                || originals(other).iter().any(|from| names.contains(from))
        };
        let of_stream = self.stream_name(stream);
        let is_followed = |identity| self.files.of(stream, identity).is_some();
        let mut stored = self.lives.stored_among(&names).filter(|stored| *stored.stream == **of_stream);
        let mut lost = self
            .files
            .iter()
            .filter(|(_, file)| file.stream == stream && file.name == Name::Lost && !file.kind.decompressed);
        stored.any(|stored| !is_followed(stored.identity))
            || lost.any(|(_, file)| is_of_family(file.real_path()))
            || self.lives.sought_at(&names, &[]).any(|sought| sought.search.stream == stream)
    }

    /// What was told of files that a source shows no more, and that are not followed, is forgotten.
    pub(super) fn forget_told(&mut self, observation: &Observation) {
        let source = observation.source;
        if !self.unwanted.told.keys().any(|(of, _)| *of == source) {
            return;
        }
        let files = &self.files;
        let of_source = self.unwanted.told.keys().filter(|(of, _)| *of == source);
        let mut gone: HashSet<_> =
            of_source.map(|(_, path)| Arc::clone(path)).filter(|path| files.at(path).is_empty()).collect();
        for file in &observation.files {
            gone.remove(&file.path);
        }
        self.unwanted.told.retain(|(of, path), _| *of != source || !gone.contains(path));
    }

    /// Compressed files that the source shows no more are forgotten.
    pub(super) fn forget_compressed(
        &mut self,
        source: SourceId,
        is_seen: impl Fn(&Identity) -> bool,
        hidden: &Hidden,
    ) {
        self.unwanted
            .compressed
            .retain(|(of, identity), known| *of != source || is_seen(identity) || hidden.holds(&known.path));
    }

    /// Whether a file has a life in the stream of a source.
    pub(super) fn is_known(&self, source: SourceId, observed: &Observed) -> bool {
        if self.followed(source, observed).is_some() {
            return true;
        }
        let Some(stream) = self.stream_of(source, observed) else { return false };
        let file = observed.identity;
        self.lives.parted_of(file, stream).is_some()
            || self.lives.stored_of(file, self.stream_name(stream)).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Memory;
    use crate::engine::port::{Effect, Event, FileFault, Observation, Opened};
    use crate::engine::samples::{at, checkpoint, identity, path, settings, whose};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Which of the files are opened that were last written so many days before the look; of the third a position is
    /// known.
    fn opened(days: [Option<u32>; 3]) -> Vec<usize> {
        let mut settings = settings(1);
        settings.sources[0].ignore_older = Some(7 * DAY);
        let memory = Memory {
            checkpoints: vec![checkpoint(0, whose(0, 2), 5)],
            next_incarnation: 1,
            ..Memory::default()
        };
        let mut engine = Engine::try_new(settings, memory, 0, at(0)).expect("delays in order");
        engine.handle(Event::Tick, at(0));
        let unix_time = 20_000 * DAY;
        let names = ["0.log", "1.log", "2.log"];
        let observed = |(inode, days): (usize, &Option<u32>)| Observed {
            path: path(names[inode]),
            target: None,
            identity: identity(inode as u64),
            size: 9,
            modified: days.map(|days| unix_time - days * DAY),
            owner: 0,
            is_matched: true,
            rotated_from: Vec::new(),
            is_told: false,
        };
        let files = days.iter().enumerate().map(observed).collect();
        let observation = Observation {
            source: SourceId(0),
            unix_time,
            files,
            hidden: crate::model::hidden::Hidden::default(),
            held: Vec::new(),
        };
        engine.handle(Event::Observed(observation), at(0));
        engine.handle(Event::Saved(Ok(())), at(0));
        let effects = std::iter::from_fn(|| engine.poll_effect());
        let opened = effects.filter_map(|effect| match effect {
            Effect::Open(open) => names.iter().position(|name| *open.path == *path(name)),
            _ => None,
        });
        opened.collect()
    }

    #[test]
    fn a_file_that_was_last_written_too_long_ago_is_begun_only_when_it_is_known() {
        assert_eq!(opened([Some(6), Some(8), Some(8)]), [0, 2]);
        assert_eq!(opened([Some(7), None, None]), [0, 1, 2], "at the limit, and where nobody says");
    }

    /// A source whose pattern matches everything, with one file and then what a rotator compressed.
    struct Looks {
        engine: Engine,
        seconds: u64,
        opened: Vec<std::path::PathBuf>,
        /// What is read of each file that is open.
        open: BTreeMap<FileId, (std::path::PathBuf, bool)>,
        reports: Vec<Report>,
    }

    /// What a compressed file begins with here; what was compressed comes behind.
    const GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\n\0\0\0\n";

    /// Another file for each inode.
    fn born(inode: u64) -> Identity {
        Identity { birth_nanos: i64::try_from(inode).ok(), ..identity(inode) }
    }

    impl Looks {
        fn new() -> Self {
            let engine = Engine::try_new(settings(1), Memory::default(), 0, at(0)).expect("delays in order");
            Self { engine, seconds: 0, opened: Vec::new(), open: BTreeMap::new(), reports: Vec::new() }
        }

        /// Looks at these files, and opens and reads whatever is asked for.
        fn look(&mut self, files: &[(&str, u64, &[u8])]) {
            self.seconds += 21;
            self.engine.handle(Event::Tick, at(self.seconds));
            let content =
                |name: &Path| files.iter().find(|(known, ..)| *path(known) == *name).expect("one of them");
            while let Some(effect) = self.engine.poll_effect() {
                let event = match effect {
                    Effect::Survey(_) => {
                        let observed = |(name, inode, content): &(&str, u64, &[u8])| Observed {
                            path: path(name),
                            target: None,
                            identity: born(*inode),
                            size: content.len() as u64,
                            modified: None,
                            owner: 0,
                            is_matched: true,
                            rotated_from: Vec::new(),
                            is_told: false,
                        };
                        Event::Observed(Observation {
                            source: SourceId(0),
                            unix_time: Duration::ZERO,
                            files: files.iter().map(observed).collect(),
                            hidden: crate::model::hidden::Hidden::default(),
                            held: Vec::new(),
                        })
                    }
                    Effect::Open(open) => {
                        let (_, inode, content) = content(&open.path);
                        let compressed = content.strip_prefix(GZIP).filter(|inside| !inside.is_empty());
                        let content = if open.decompressed { compressed } else { Some(*content) };
                        self.open.insert(open.file, (open.path.to_path_buf(), open.decompressed));
                        if !open.decompressed {
                            self.opened.push(open.path.to_path_buf());
                        }
                        let result = content.map(|content| {
                            let (size, head) = (content.len() as u64, bytes::Bytes::copy_from_slice(content));
                            Opened { identity: born(*inode), size, head, held: None, place: None }
                        });
                        let result = result.ok_or(FileFault::Unreadable("no gzip".to_owned()));
                        Event::Opened { file: open.file, result }
                    }
                    Effect::Read(read) => {
                        let (name, decompressed) = &self.open[&read.file];
                        let found = files.iter().find(|(known, ..)| *path(known) == *name);
                        let content = found.map_or(&b""[..], |(_, _, content)| content);
                        let content = if *decompressed { &content[GZIP.len()..] } else { content };
                        let from = usize::try_from(read.at.bytes()).expect("small").min(content.len());
                        let result = Ok(bytes::Bytes::copy_from_slice(&content[from..]));
                        Event::Bytes {
                            file: read.file,
                            result,
                            unix_time: Duration::ZERO,
                            modified: None,
                            room: 0,
                            begins: true,
                        }
                    }
                    Effect::Save(_) => Event::Saved(Ok(())),
                    Effect::Put(put) => {
                        assert!(
                            put.records.iter().all(|record| !record.starts_with(&GZIP[..2])),
                            "binary is shipped"
                        );
                        continue;
                    }
                    Effect::Report(report) => {
                        self.reports.push(report);
                        continue;
                    }
                    Effect::Compare(_)
                    | Effect::Close(_)
                    | Effect::Moved { .. }
                    | Effect::Want(_)
                    | Effect::Replayed { .. } => continue,
                };
                self.engine.handle(event, at(self.seconds));
                self.engine.check_laws();
            }
        }

        fn skipped(&self) -> usize {
            self.reports.iter().filter(|report| matches!(report, Report::Skipped { .. })).count()
        }

        fn unread(&mut self) -> usize {
            self.engine.status(at(self.seconds)).unreadable.count()
        }
    }

    #[test]
    fn a_compressed_file_is_skipped_and_told_once_also_when_it_was_empty_at_first() {
        let mut looks = Looks::new();
        let empty: &[u8] = b"";
        looks.look(&[("a.gz", 1, empty)]);
        for _ in 0..3 {
            looks.look(&[("a.gz", 1, GZIP)]);
        }
        assert_eq!((looks.skipped(), looks.unread()), (1, 1));
        assert!(looks.opened.len() <= 2, "it is not opened for each look: {:?}", looks.opened);
        looks.look(&[("b.gz", 1, GZIP)]);
        assert_eq!((looks.skipped(), looks.unread()), (2, 1), "by its other name");
        looks.look(&[("b.gz", 1, b"now it is text\n")]);
        assert_eq!(looks.unread(), 0, "and is read");
    }

    #[test]
    fn what_a_rotator_compressed_of_a_file_that_is_known_is_skipped_in_silence() {
        let mut looks = Looks::new();
        looks.look(&[("app.log", 1, b"line\n")]);
        looks.look(&[("app.log", 2, b"line two\n"), ("app.log.1", 1, b"line\n")]);
        let compressed = [GZIP, b"line\n"].concat();
        looks.look(&[("app.log", 2, b"line two\n"), ("app.log.1.gz", 3, &compressed)]);
        looks.look(&[("app.log", 2, b"line two\n"), ("app.log.1.gz", 3, &compressed)]);
        assert_eq!((looks.skipped(), looks.unread()), (0, 0));
    }

    #[test]
    fn what_cannot_be_told_apart_is_told_unless_a_rotator_may_have_made_it_of_what_is_gone() {
        const BZIP2: &[u8] = b"BZh91AY&SY\n";
        let mut looks = Looks::new();
        looks.look(&[("app.log", 10, b"line\n"), ("app.log.3.bz2", 4, BZIP2), ("app.log.4.gz", 3, GZIP)]);
        looks.look(&[("app.log", 10, b"line\n"), ("app.log.3.bz2", 4, BZIP2), ("app.log.4.gz", 3, GZIP)]);
        assert_eq!((looks.skipped(), looks.unread()), (2, 2), "nothing is known of them");
        looks.look(&[("app.log", 12, b"line two\n"), ("app.log.1", 10, b"line\n")]);
        looks.look(&[("app.log", 12, b"line two\n"), ("app.log.1.bz2", 13, BZIP2)]);
        assert_eq!((looks.skipped(), looks.unread()), (2, 0));
    }
}
