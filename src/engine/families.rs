//! Families of files: since when each name is looked at, and what was found beside it.
//!
//! Knows names, by stream, and strangers. Does not know which files are followed, nor content; what is a missed
//! generation is [`family`](crate::rules::rotation::family)'s to say.
//!
//! *Invariant:* a generation whose checkpoint was forgotten is older than the first look at its family, as far as this
//! room tells: it is never taken for a missed one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::by_path::ByPath;
use super::seams::Seams;
use crate::model::checkpoint::{Checkpoint, FirstLook};
use crate::model::identity::Identity;
use crate::model::settings::SourceId;
use crate::rules::rotation::family::rotated_from;
use crate::rules::rotation::same_file;

/// What is known of one name.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Since when it is looked at, in nanoseconds since 1970.
    first_nanos: i64,
    /// The user ID that its files belong to; `None` where a checkpoint of an older version tells of them alone.
    owner: Option<u32>,
}

/// A stream, by its name or by what makes that of paths, and a source that was looked at for it.
pub(super) type Looked = (Arc<str>, Arc<str>);

/// The first look at a source.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// In nanoseconds since 1970.
    nanos: i64,
    /// Whether a process before this one took it.
    is_of_before: bool,
}

/// How long before the end of the last run a file may have come that this did not begin, in nanoseconds: it waited for a
/// descriptor, or its device was slow.
const NOT_BEGUN_NANOS: i64 = 60_000_000_000;

/// The user who may write anything anywhere.
const ROOT: u32 = 0;

/// Names that were looked at, and files beside them that are of no interest.
#[derive(Debug, Default)]
pub(super) struct Families {
    by_stream: HashMap<Arc<str>, ByPath<Known>>,
    /// When the process before this one read something for a stream last, in nanoseconds since 1970.
    last_run: HashMap<Arc<str>, i64>,
    /// Streams for which something is durable since.
    durable: HashSet<Arc<str>>,
    /// Since when names that no file had yet are looked at, in nanoseconds since 1970.
    sources: BTreeMap<SourceId, i64>,
    /// First looks that are durable, or will be.
    looks: HashMap<Looked, Look>,
    /// Files beside those of a source that are no generations of them; whether a second look has said so, too.
    strangers: BTreeMap<SourceId, BTreeMap<Identity, bool>>,
    /// Files that had a name of a source, and could not be opened.
    refused: BTreeSet<(SourceId, Identity)>,
    /// Files beside those of a source, by the last look, of which something is stored and that are not followed.
    /// In the order of their inodes.
    unclaimed: BTreeMap<SourceId, Vec<Identity>>,
    seams: Seams,
}

impl Families {
    /// What stored checkpoints tell: their files had their names, or those that they were rotated from.
    pub(super) fn of_memory(checkpoints: &[Checkpoint], looks: Vec<FirstLook>) -> Self {
        let mut families = Self::default();
        for FirstLook { stream, source, nanos } in looks {
            families.looks.insert((stream, source), Look { nanos, is_of_before: true });
        }
        for checkpoint in checkpoints {
            if let Some(seen) = checkpoint.seen {
                let last = families.last_run.entry(Arc::clone(&checkpoint.stream)).or_insert(i64::MIN);
                *last = (*last).max(seen.last_nanos);
            }
            let first = checkpoint.seen.map(|seen| seen.first_nanos).or(checkpoint.identity.birth_nanos);
            let Some(first) = first else { continue };
            for name in names_of(checkpoint.real_path()) {
                families.note(&checkpoint.stream, name, first, checkpoint.seen.map(|seen| seen.owner));
            }
        }
        families
    }

    /// Which files follow others directly.
    pub(super) fn seams(&self) -> &Seams {
        &self.seams
    }

    pub(super) fn seams_mut(&mut self) -> &mut Seams {
        &mut self.seams
    }

    /// A file is followed, or stored, that has or had this name.
    pub(super) fn note(&mut self, stream: &Arc<str>, name: Arc<Path>, first_nanos: i64, owner: Option<u32>) {
        let names = self.by_stream.entry(Arc::clone(stream)).or_default();
        let known = names.get_or_insert(name, Known { first_nanos, owner });
        known.first_nanos = known.first_nanos.min(first_nanos);
        known.owner = owner.or(known.owner);
    }

    /// Something of a stream is durable.
    pub(super) fn note_durable(&mut self, stream: &str) {
        if !self.durable.contains(stream) {
            self.durable.insert(stream.into());
        }
    }

    /// Whether a start after a crash would take a file that was found now for a missed generation, whatever a rotator calls it
    /// by then, and though nothing durable tells of it: something ran for its stream, and it is younger than what that may
    /// have begun, and than the first look at its source.
    pub(super) fn would_find(
        &self,
        (stream, looked): (&str, &Looked),
        file: Identity,
        found_nanos: i64,
    ) -> bool {
        let has_run = self.durable.contains(stream) || self.last_run.contains_key(stream);
        let first = self.looks.get(looked).map_or(i64::MIN, |look| look.nanos);
        let since = found_nanos.saturating_sub(NOT_BEGUN_NANOS / 2).max(first);
        has_run && file.birth_nanos.is_some_and(|birth| birth > since)
    }

    /// A source is looked at for a stream; tells whether that is the first look ever, which is to be durable.
    pub(super) fn note_first_look(&mut self, looked: Looked, nanos: i64) -> bool {
        let is_first = !self.looks.contains_key(&looked);
        self.looks.entry(looked).or_insert(Look { nanos, is_of_before: false });
        is_first
    }

    /// A survey of a source is answered. From the first on, what comes under its names is known to be new.
    pub(super) fn note_look(&mut self, source: SourceId, unix_nanos: i64) {
        self.sources.entry(source).or_insert(unix_nanos);
    }

    /// A source is called otherwise from now on, or is another: its stream is looked at since that of `before` was.
    pub(super) fn goes_on_as(&mut self, before: SourceId, source: SourceId) {
        if let Some(since) = self.sources.get(&before).copied() {
            let known = self.sources.entry(source).or_insert(since);
            *known = (*known).min(since);
        }
    }

    /// A file of a source could not be opened: it is still the source's, whatever its name is then.
    pub(super) fn note_refused(&mut self, source: SourceId, file: Identity) {
        self.refused.insert((source, file));
    }

    /// Whether a file could not be opened, and was not since.
    pub(super) fn is_refused(&self, source: SourceId, file: Identity) -> bool {
        self.refused.contains(&(source, file))
    }

    pub(super) fn forget_refused(&mut self, source: SourceId, file: Identity) {
        self.refused.remove(&(source, file));
    }

    /// Since when names of a source are looked at that no file had yet, for any of `streams`: an earlier process that looked
    /// at it, or read for one of them, has seen what was there before.
    pub(super) fn since_nanos(
        &self,
        source: SourceId,
        looked: &Looked,
        streams: impl Fn(&str) -> bool,
    ) -> Option<i64> {
        let by_this_process = *self.sources.get(&source)?;
        let last_runs = self.last_run.iter().filter(|(name, _)| streams(name)).map(|(_, last)| *last);
        let last_run = last_runs.max().map(|last| last.saturating_sub(NOT_BEGUN_NANOS));
        let first_look = self.looks.get(looked).filter(|look| look.is_of_before).map(|look| look.nanos);
        Some(last_run.max(first_look).unwrap_or(by_this_process))
    }

    /// A checkpoint is forgotten: what is older than its file is not known any more, whether the name was known before or not.
    pub(super) fn forget(&mut self, stream: &Arc<str>, path: &Arc<Path>, birth_nanos: i64) {
        let names = self.by_stream.entry(Arc::clone(stream)).or_default();
        let first_nanos = after(birth_nanos);
        for name in names_of(path) {
            let known = names.get_or_insert(name, Known { first_nanos, owner: None });
            known.first_nanos = known.first_nanos.max(first_nanos);
        }
    }

    /// Since when the earliest of these names is looked at for a stream.
    pub(super) fn first_seen_nanos<'a>(
        &self,
        stream: &str,
        names: impl IntoIterator<Item = &'a Arc<Path>>,
    ) -> Option<i64> {
        let known = self.by_stream.get(stream)?;
        names.into_iter().filter_map(|name| known.get(name)).map(|known| known.first_nanos).min()
    }

    /// Whether a file of this owner may be a generation, or a copy, of one that had one of these names: it belongs to the
    /// same user, or to root.
    pub(super) fn may_be_of<'a>(
        &self,
        stream: &str,
        names: impl IntoIterator<Item = &'a Arc<Path>>,
        owner: u32,
    ) -> bool {
        let known = self.by_stream.get(stream);
        let mut owners = names.into_iter().filter_map(|name| known?.get(name)?.owner).peekable();
        owner == ROOT || owners.peek().is_none() || owners.any(|known| known == owner)
    }

    /// A file beside those of a source is a copy of what is known.
    pub(super) fn note_stranger(&mut self, source: SourceId, file: Identity) {
        self.strangers.entry(source).or_default().insert(file, true);
    }

    /// A look says that a file beside those of a source is no generation of them. While names change, one look can be
    /// wrong: the name that it had was looked at before, its own after. Two looks are believed.
    pub(super) fn note_not_missed(&mut self, source: SourceId, file: Identity) {
        let strangers = self.strangers.entry(source).or_default();
        let is_again = strangers.contains_key(&file);
        strangers.insert(file, is_again);
    }

    /// A look shows files beside those of a source of which something is stored, and that are not followed.
    pub(super) fn note_unclaimed(&mut self, source: SourceId, mut files: Vec<Identity>) {
        files.sort_unstable_by_key(|file| file.inode);
        self.unclaimed.insert(source, files);
    }

    /// Whether a file lay beside those of some source when that was looked at last, and was not followed.
    pub(super) fn is_unclaimed(&self, file: Identity) -> bool {
        let of_inode = |files: &Vec<Identity>| {
            let from = files.partition_point(|unclaimed| unclaimed.inode < file.inode);
            let mut of_inode = files[from..].iter().take_while(|unclaimed| unclaimed.inode == file.inode);
            of_inode.any(|unclaimed| same_file(file, *unclaimed))
        };
        self.unclaimed.values().any(of_inode)
    }

    pub(super) fn is_stranger(&self, source: SourceId, file: Identity) -> bool {
        self.strangers.get(&source).is_some_and(|strangers| strangers.get(&file) == Some(&true))
    }

    /// Of so many of those of a source, from this one on, only these are there; tells how many that were, and the next one.
    pub(super) fn keep_only(
        &mut self,
        source: SourceId,
        (from, most): (Identity, usize),
        is_there: impl Fn(&Identity) -> bool,
    ) -> (usize, Option<Identity>) {
        let strangers = self.strangers.get(&source).into_iter().flat_map(|strangers| strangers.range(from..));
        let refused = self.refused.range((source, from)..).take_while(|(of, _)| *of == source);
        let strangers = strangers.map(|(file, _)| *file).take(most.saturating_add(1));
        let mut some: Vec<_> =
            strangers.chain(refused.map(|(_, file)| *file).take(most.saturating_add(1))).collect();
        some.sort_unstable();
        some.dedup();
        let next = some.get(most).copied();
        some.truncate(most);
        for file in some.iter().filter(|file| !is_there(file)) {
            self.refused.remove(&(source, *file));
            if let Some(strangers) = self.strangers.get_mut(&source) {
                strangers.remove(file);
            }
        }
        (some.len(), next)
    }
}

/// A time that is later than a birth time, whatever clock that was told by, in nanoseconds.
pub(super) fn after(birth_nanos: i64) -> i64 {
    birth_nanos.saturating_add(2_000_000_000)
}

/// A name, and those that a rotator may have made it of.
fn names_of(path: &Arc<Path>) -> impl Iterator<Item = Arc<Path>> {
    std::iter::once(Arc::clone(path)).chain(rotated_from(path).into_iter().map(Arc::from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::samples::{checkpoint, identity, path, stream_name, whose};
    use crate::model::identity::Seen;

    fn stored(inode: u64, name: &str, first_nanos: i64) -> Checkpoint {
        let mut stored = checkpoint(inode, whose(0, inode), 10);
        stored.path = path(name);
        stored.seen = Some(Seen { first_nanos, last_nanos: first_nanos, owner: 33 });
        stored
    }

    #[test]
    fn a_family_is_known_since_the_first_look_at_any_generation() {
        let families =
            Families::of_memory(&[stored(1, "app.log.2", 100), stored(2, "app.log", 300)], Vec::new());
        let stream = stream_name(0);
        assert_eq!(families.first_seen_nanos(&stream, [&path("app.log")]), Some(100));
        assert_eq!(families.first_seen_nanos(&stream, [&path("other.log")]), None);
        assert_eq!(families.first_seen_nanos("other", [&path("app.log")]), None);
    }

    #[test]
    fn what_was_forgotten_is_older_than_its_family() {
        let mut families = Families::of_memory(&[stored(1, "app.log.2", 100)], Vec::new());
        let stream = stream_name(0);
        families.forget(&stream, &path("app.log.2"), 5_000_000_000);
        assert!(families.first_seen_nanos(&stream, [&path("app.log")]) > Some(5_000_000_000));
        families.forget(&stream, &path("brief.log.1"), 5_000_000_000);
        assert!(families.first_seen_nanos(&stream, [&path("brief.log")]) > Some(5_000_000_000));
    }

    #[test]
    fn a_name_that_no_file_had_is_looked_at_since_the_last_run_or_the_first_look() {
        let mut families = Families::of_memory(&[stored(1, "app.log", NOT_BEGUN_NANOS + 100)], Vec::new());
        families.note_look(SourceId(0), 500);
        families.note_look(SourceId(0), 900);
        let since = |families: &Families, source, stream| {
            let (stream, name) = (stream_name(stream), "source".into());
            families.since_nanos(SourceId(source), &(Arc::clone(&stream), name), |name| *name == *stream)
        };
        assert_eq!(since(&families, 0, 0), Some(100), "something ran until then");
        assert_eq!(since(&families, 0, 1), Some(500), "and nothing for another stream");
        families.goes_on_as(SourceId(0), SourceId(2));
        assert_eq!(since(&families, 2, 1), Some(500), "called otherwise");
        assert_eq!(since(&families, 1, 0), None, "nobody looked");
    }

    #[test]
    fn what_came_since_the_first_look_of_an_earlier_process_is_new_though_that_found_nothing() {
        let (stream, source) = (stream_name(0), Arc::from("source"));
        let look = |nanos| FirstLook { stream: Arc::clone(&stream), source: Arc::clone(&source), nanos };
        let looked = (Arc::clone(&stream), Arc::clone(&source));
        let since = |families: &Families| families.since_nanos(SourceId(0), &looked, |name| *name == *stream);
        let mut families = Families::of_memory(&[], vec![look(200)]);
        families.note_look(SourceId(0), 900);
        assert!(!families.note_first_look(looked.clone(), 900), "it is known since then");
        assert_eq!(since(&families), Some(200));
        let stored = [stored(1, "other.log", NOT_BEGUN_NANOS + 300)];
        let mut families = Families::of_memory(&stored, vec![look(200)]);
        families.note_look(SourceId(0), 900);
        assert_eq!(since(&families), Some(300), "something ran until then");
        let mut families = Families::of_memory(&stored, Vec::new());
        families.note_look(SourceId(0), 900);
        assert!(families.note_first_look(looked.clone(), 900));
        assert_eq!(since(&families), Some(300), "what came before this process looked is still to be found");
        let born = |birth| Identity { birth_nanos: Some(birth), ..identity(1) };
        families.note_durable(&stream);
        assert!(!families.would_find((&stream, &looked), born(850), 950), "not by what comes after it");
        assert!(families.would_find((&stream, &looked), born(901), 950));
    }

    #[test]
    fn another_users_file_is_no_generation() {
        let stored = Families::of_memory(&[stored(1, "app.log.1", 100)], Vec::new());
        let (mut families, stream) = (Families::default(), stream_name(0));
        let name = path("app.log");
        assert!(stored.may_be_of(&stream, [&name], 33) && !stored.may_be_of(&stream, [&name], 7));
        assert!(families.may_be_of(&stream, [&name], 7), "nobody knows whose it is");
        families.note(&stream, Arc::clone(&name), 1, Some(33));
        assert!(families.may_be_of(&stream, [&name], 33) && families.may_be_of(&stream, [&name], 0));
        assert!(!families.may_be_of(&stream, [&name], 7));
    }

    #[test]
    fn a_file_that_could_not_be_opened_stays_its_sources_until_it_is() {
        let (mut families, source) = (Families::default(), SourceId(0));
        families.note_refused(source, identity(1));
        assert!(families.is_refused(source, identity(1)) && !families.is_refused(SourceId(1), identity(1)));
        families.forget_refused(source, identity(1));
        assert!(!families.is_refused(source, identity(1)));
    }

    #[test]
    fn one_look_makes_no_stranger() {
        let (mut families, source) = (Families::default(), SourceId(0));
        families.note_not_missed(source, identity(1));
        assert!(!families.is_stranger(source, identity(1)));
        families.note_not_missed(source, identity(1));
        assert!(families.is_stranger(source, identity(1)));
    }

    #[test]
    fn strangers_are_forgotten_when_they_are_gone() {
        let mut families = Families::default();
        let source = SourceId(0);
        for inode in 1..=6 {
            families.note_stranger(source, identity(inode));
            families.note_refused(source, identity(inode + 3));
            families.note_refused(SourceId(1), identity(inode));
        }
        let (mut from, mut parts) = (identity(0), Vec::new());
        loop {
            let (done, next) = families.keep_only(source, (from, 4), |file| file.inode % 2 == 1);
            parts.push(done);
            let Some(next) = next else { break };
            from = next;
        }
        assert_eq!(parts, [4, 4, 1], "nine files in all");
        for inode in 1..=9 {
            let is_odd = inode % 2 == 1;
            let file = identity(inode);
            assert_eq!(families.is_stranger(source, file), is_odd && inode <= 6, "{inode}");
            assert_eq!(families.is_refused(source, file), is_odd && inode > 3, "{inode}");
            assert_eq!(families.is_refused(SourceId(1), file), inode <= 6, "{inode}");
        }
    }
}
