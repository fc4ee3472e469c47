//! Stored positions whose files no source shows: looked for once beside the names that they had.
//!
//! A file may have been renamed to a name that no source matches, while nobody watched. After a start, and when a source
//! comes back, its directory is looked into once; what is not there may be in a copy, or compressed. A file whose name no
//! source reads any more was left out by the operator: it is told, and not gone on with.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::model::hidden::Hidden;
use crate::model::identity::Identity;
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::rotation::{same_file, uncompressed};

use super::Engine;
use super::files::file::Name;
use super::lives::{Afterwards, Unread};
use super::port::Observed;
use super::report::Report;

/// A stored position in a file that no source shows.
struct Missing {
    identity: Identity,
    /// The name in the directory that held the file.
    path: Arc<Path>,
    position: Offset,
    /// The name by which a source read the file, if no source does so any more.
    left_out: Option<Arc<Path>>,
    /// Whether that was told when it was let go of.
    is_told: bool,
}

impl Engine {
    pub(super) fn look_beside<'a>(
        &mut self,
        source: SourceId,
        shown: impl Iterator<Item = &'a Observed>,
        hidden: &Hidden,
        now: Instant,
    ) {
        let looked = self.surveys.looked_into(source, hidden);
        if !looked.is_empty() {
            self.match_stored(source, &looked, shown, now);
        }
        let streams = self
            .surveys
            .take_look_beside(|source, stream| self.settings.sources[source.0].route.leads_to(stream));
        for (stream, source) in streams {
            let missing = self.missing(stream);
            let directories = missing.iter().filter_map(|missing| missing.path.parent().map(Arc::from));
            self.surveys.look_into(source, directories.collect());
        }
    }

    /// Positions of a stream in files that no source shows.
    fn missing(&self, stream: StreamId) -> Vec<Missing> {
        let name = self.stream_name(stream);
        let mut followed: HashMap<u64, Vec<Identity>> = HashMap::new();
        for (_, file) in self.files.iter().filter(|(_, file)| file.stream == stream) {
            followed.entry(file.identity.inode).or_default().push(file.identity);
        }
        let is_followed = |identity: Identity| {
            let of_inode = followed.get(&identity.inode);
            of_inode.is_some_and(|files| files.iter().any(|file| same_file(identity, *file)))
        };
        // Of a source that is not configured, only what another reads by the same name.
        let is_wanted = |unread: &Unread<'_>| {
            let is_there = |source| !self.surveys.is_retired(source);
            unread.let_go_with.is_none_or(is_there)
                || unread.matched_path.is_some_and(|path| {
                    !self.is_left_out(stream, path) || !self.is_left_out(stream, unread.real_path)
                })
        };
        let unread = self.lives.unread();
        let missing = unread
            .filter(|unread| *unread.stream == *name && !is_followed(unread.identity) && is_wanted(unread));
        let missing = missing.map(|unread| Missing {
            identity: unread.identity,
            path: Arc::clone(unread.real_path),
            position: unread.position,
            left_out: unread
                .matched_path
                .filter(|path| self.is_left_out(stream, path) && self.is_left_out(stream, unread.real_path))
                .cloned(),
            is_told: unread.let_go_with.is_some(),
        });
        missing.collect()
    }

    fn match_stored<'a>(
        &mut self,
        source: SourceId,
        looked: &BTreeSet<Arc<Path>>,
        shown: impl Iterator<Item = &'a Observed>,
        now: Instant,
    ) {
        let mut by_inode: HashMap<u64, Vec<&Observed>> = HashMap::new();
        for observed in shown {
            by_inode.entry(observed.identity.inode).or_default().push(observed);
        }
        let streams = self.streams_of(source);
        let missing = streams.into_iter().flat_map(|stream| {
            let missing = self.missing(stream);
            missing.into_iter().map(move |missing| (stream, missing)).collect::<Vec<_>>()
        });
        let missing: Vec<_> = missing.collect();
        for (stream, Missing { identity, path, position, left_out, is_told }) in missing {
            if path.parent().is_some_and(|directory: &Path| !looked.contains(directory)) {
                continue;
            }
            let of_inode = by_inode.get(&identity.inode).into_iter().flatten();
            let found = of_inode.into_iter().find(|observed| same_file(identity, observed.identity));
            match found {
                // A file that the operator left out is searched nowhere else, and its position stays.
                None if left_out.is_some() => {}
                Some(_) if left_out.is_some() && is_told => {}
                None => self.on_missing((source, stream), identity, now),
                Some(observed) if left_out.is_some() => {
                    let (at, unread) = (position.bytes(), observed.size.saturating_sub(position.bytes()));
                    self.report(Report::LeftOut { stream, path: Arc::clone(&observed.path), at, unread });
                }
                Some(observed)
                    if !observed.is_matched && self.files.of(stream, observed.identity).is_none() =>
                {
                    let id = self.follow((source, stream), observed, Name::Lost, now);
                    self.files.known_mut(id).kind.decompressed = uncompressed(&observed.path).is_some();
                }
                Some(_) => {}
            }
        }
    }

    /// Of files that are under no name, copies may be left, or what a rotator compressed.
    fn on_missing(&mut self, (source, stream): (SourceId, StreamId), file: Identity, now: Instant) {
        if let Some(parted) =
            self.lives.parted_of(file, stream).filter(|parted| !self.lives.is_sought(*parted))
        {
            self.search_copies(parted, source, 0, Afterwards::Kept, now);
        }
        let stored = self.lives.stored_of(file, self.stream_name(stream));
        let stored: Vec<_> = stored.map(|stored| (stored.incarnation, stored.unread_bytes())).collect();
        for (stored, unread) in stored {
            match unread {
                0 => self.search_copies(stored, source, 0, Afterwards::Kept, now),
                unread => self.search_removed(stored, source, unread, now),
            }
        }
    }
}
