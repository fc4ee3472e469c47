//! Incarnations that are looked for in copies.
//!
//! Knows which are looked for, and what would show a copy. Does not look.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::checkpoint::Checkpoint;
use crate::model::identity::{Fingerprint, Identity, Incarnation, Seen};
use crate::model::offset::Offset;
use crate::model::settings::{SourceId, StreamId};
use crate::model::time::Instant;
use crate::rules::history::History;
use crate::rules::rotation::family::is_since;

use super::{Afterwards, Life, Lives, Subject};
use crate::engine::few::Few;
use crate::engine::report::Loss;

/// A search for copies of one incarnation.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct CopySearch {
    /// The source that goes on with a copy.
    pub(in crate::engine) source: SourceId,
    pub(in crate::engine) stream: StreamId,
    /// What was seen beyond the position, in bytes, and why it is lost when no copy is found.
    pub(in crate::engine) unread: u64,
    pub(in crate::engine) why: Loss,
    pub(in crate::engine) since: Instant,
    /// Whether the directory was looked into since.
    pub(in crate::engine) looked: bool,
    /// What becomes of the checkpoint when no copy is found.
    pub(in crate::engine) afterwards: Afterwards,
}

/// What is known of an incarnation that is looked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Sought<'a> {
    pub(in crate::engine) incarnation: Incarnation,
    pub(in crate::engine) search: &'a CopySearch,
    /// The real path that its file had.
    pub(in crate::engine) path: &'a Arc<Path>,
    pub(in crate::engine) identity: Identity,
    pub(in crate::engine) fingerprint: Fingerprint,
    pub(in crate::engine) position: Offset,
    pub(in crate::engine) seen: Option<Seen>,
}

impl Sought<'_> {
    /// Whether a file of that real path is young enough for a copy. Of an incarnation of which nothing was read, no content
    /// tells: the copy was made since it was looked at, and under another name. What has its own name took its place.
    pub(in crate::engine) fn may_be_copied(&self, file: Identity, path: &Path) -> bool {
        self.position > Offset::ZERO || (self.is_older_than(file) && **self.path != *path)
    }

    /// Whether a file was made since the content was found last.
    pub(in crate::engine) fn is_older_than(&self, file: Identity) -> bool {
        let since = self.seen.map(|seen| seen.last_nanos);
        file.birth_nanos.zip(since).is_some_and(|(birth, since)| is_since(birth, since))
    }
}

/// What is known of an incarnation, whatever it is.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Known<'a> {
    pub(in crate::engine) incarnation: Incarnation,
    /// The real path that its file has or had.
    pub(in crate::engine) path: &'a Arc<Path>,
    pub(in crate::engine) identity: Identity,
    pub(in crate::engine) fingerprint: Fingerprint,
    pub(in crate::engine) position: Offset,
    pub(in crate::engine) seen: Option<Seen>,
}

impl Life {
    pub(super) fn known(&self) -> Known<'_> {
        match (self.state(), self.stored()) {
            (Some(state), _) => Known {
                incarnation: state.incarnation(),
                path: state.whose().real_path(),
                identity: state.whose().identity,
                fingerprint: state.head().fingerprint(),
                position: state.position(),
                seen: Some(state.whose().seen),
            },
            (None, Some(stored)) => Known {
                incarnation: stored.incarnation,
                path: stored.real_path(),
                identity: stored.identity,
                fingerprint: stored.fingerprint,
                position: stored.offset,
                seen: stored.seen,
            },
            (None, None) => unreachable!("an incarnation has a state or a checkpoint"),
        }
    }

    pub(super) fn stream_name(&self) -> &str {
        let of_state = self.state().map(|state| &*state.whose().stream_name);
        of_state.or_else(|| self.stored().map(|stored| &*stored.stream)).unwrap_or_default()
    }
}

impl Lives {
    /// Copies of one that parted, or is stored, are looked for from now on.
    pub(in crate::engine) fn seek_copies(&mut self, incarnation: Incarnation, search: CopySearch) {
        let subject = match self.take(incarnation) {
            Some(Life::Parted { state, .. }) => Subject::OnItsWay(state),
            Some(Life::Stored(checkpoint)) => Subject::Stored(checkpoint),
            Some(Life::SoughtInCopies { subject, .. }) => subject,
            other => panic!("copies of {incarnation:?} cannot be looked for: {other:?}"),
        };
        self.put(incarnation, Life::SoughtInCopies { search: Box::new(search), subject });
    }

    /// The name of the stream that an incarnation is read for; empty where it is not known.
    pub(in crate::engine) fn stream_name(&self, incarnation: Incarnation) -> &str {
        self.by_incarnation.get(&incarnation).map(Life::stream_name).unwrap_or_default()
    }

    /// No copy of it is looked for any more. Returns what was known, and whether the database is to forget it.
    pub(in crate::engine) fn stop_seeking(&mut self, incarnation: Incarnation) -> Option<(CopySearch, bool)> {
        if !self.is_sought(incarnation) {
            return None;
        }
        let Some(Life::SoughtInCopies { search, subject }) = self.take(incarnation) else {
            unreachable!("just seen");
        };
        let mut is_forgotten = false;
        match (subject, search.afterwards) {
            (Subject::OnItsWay(state), afterwards) => {
                self.put(incarnation, Life::Parted { state, afterwards });
            }
            (Subject::Stored(checkpoint), Afterwards::Kept) => {
                self.put(incarnation, Life::Stored(checkpoint));
            }
            (Subject::Stored(_), Afterwards::Forgotten | Afterwards::Withdrawn) => is_forgotten = true,
        }
        Some((*search, is_forgotten))
    }

    pub(in crate::engine) fn is_sought(&self, incarnation: Incarnation) -> bool {
        self.sought.contains(&incarnation)
    }

    /// Whether copies of any are looked for.
    pub(in crate::engine) fn seeks(&self) -> bool {
        !self.sought.is_empty()
    }

    pub(in crate::engine) fn sought(&self, incarnation: Incarnation) -> Option<Sought<'_>> {
        let life = self.by_incarnation.get(&incarnation)?;
        let Life::SoughtInCopies { search, .. } = life else { return None };
        let Known { incarnation, path, identity, fingerprint, position, seen } = life.known();
        Some(Sought { incarnation, search, path, identity, fingerprint, position, seen })
    }

    /// Incarnations that are looked for and whose files had one of `names`, or a name that a rotator made of one of `family`.
    pub(in crate::engine) fn sought_at(
        &self,
        names: &[PathBuf],
        family: &[Arc<Path>],
    ) -> impl Iterator<Item = Sought<'_>> {
        let at = |name: &Path| self.by_path.get(name).into_iter().flat_map(Few::as_slice).copied();
        let of_names = names.iter().flat_map(|name| at(name).filter(|found| self.is_at(*found, name)));
        let of_family = family.iter().flat_map(|name| at(name));
        let each: BTreeSet<_> = of_names.chain(of_family).collect();
        each.into_iter().filter_map(|incarnation| self.sought(incarnation))
    }

    fn is_at(&self, incarnation: Incarnation, name: &Path) -> bool {
        self.by_incarnation.get(&incarnation).is_some_and(|life| **life.known().path == *name)
    }

    /// Checkpoints of files that had this name when they were saved.
    pub(in crate::engine) fn stored_at<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Checkpoint> {
        let of_path = self.by_path.get(path).into_iter().flat_map(Few::as_slice);
        let stored = of_path.filter_map(|incarnation| self.by_incarnation[incarnation].claimable());
        stored.filter(move |stored| **stored.real_path() == *path)
    }

    /// Checkpoints of files that had one of these names when they were saved, or one that a rotator may have made of it.
    pub(in crate::engine) fn stored_among(&self, names: &[PathBuf]) -> impl Iterator<Item = &Checkpoint> {
        let named = names.iter().filter_map(|name| self.by_path.get(name)).flat_map(Few::as_slice);
        named.filter_map(|incarnation| self.by_incarnation[incarnation].claimable())
    }

    /// Checkpoints in one stream of files with this inode, on whatever device.
    pub(in crate::engine) fn stored_by_inode(
        &self,
        inode: u64,
        stream: &str,
    ) -> impl Iterator<Item = &Checkpoint> {
        let stored = self.of_inode(inode);
        let stored = stored.filter_map(|incarnation| self.by_incarnation[&incarnation].claimable());
        stored.filter(move |stored| *stored.stream == *stream)
    }

    /// All that are looked for.
    pub(in crate::engine) fn all_sought(&self) -> Vec<Incarnation> {
        self.sought.iter().copied().collect()
    }

    /// A source goes on with a copy of one that is looked for; it has not looked yet.
    pub(in crate::engine) fn hand_search_to(
        &mut self,
        incarnation: Incarnation,
        source: SourceId,
        now: Instant,
    ) {
        if let Some(Life::SoughtInCopies { search, .. }) = self.by_incarnation.get_mut(&incarnation) {
            (search.source, search.looked, search.since) = (source, false, now);
        }
    }

    /// The directory of one that is looked for was looked into.
    pub(in crate::engine) fn note_looked(&mut self, incarnation: Incarnation) {
        if let Some(Life::SoughtInCopies { search, .. }) = self.by_incarnation.get_mut(&incarnation) {
            search.looked = true;
        }
    }

    /// The bytes that must come before the position of one, in any copy of its file.
    pub(in crate::engine) fn history(&self, incarnation: Incarnation) -> Option<History> {
        let life = self.by_incarnation.get(&incarnation)?;
        let resumed = |stored: &Checkpoint| History::resumed(stored.offset, stored.window, stored.digest());
        life.state().map(|state| state.history().clone()).or_else(|| life.stored().map(resumed))
    }

    /// The checkpoint of one of which nothing is under way.
    pub(in crate::engine) fn stored_checkpoint(&self, incarnation: Incarnation) -> Option<&Checkpoint> {
        self.by_incarnation.get(&incarnation)?.stored()
    }

    /// Whether a checkpoint is all that there is of it, and no copy is looked for.
    pub(in crate::engine) fn is_stored(&self, incarnation: Incarnation) -> bool {
        matches!(self.by_incarnation.get(&incarnation), Some(Life::Stored(_)))
    }

    /// The real path that its file had, and how far it is read.
    ///
    /// # Panics
    /// When it is over.
    pub(in crate::engine) fn place(&self, incarnation: Incarnation) -> (Arc<Path>, Offset) {
        let known = self.by_incarnation.get(&incarnation).map(Life::known);
        let known = known.expect("an incarnation is kept while a file is compared with it");
        (Arc::clone(known.path), known.position)
    }

    /// What is older than this is not a missed generation of the family; returns whether that is news.
    pub(in crate::engine) fn note_first_seen(&mut self, incarnation: Incarnation, first_nanos: i64) -> bool {
        let Some(life) = self.by_incarnation.get_mut(&incarnation) else { return false };
        match life {
            Life::Stored(stored) | Life::SoughtInCopies { subject: Subject::Stored(stored), .. } => {
                let is_news = stored.seen.is_some_and(|seen| seen.first_nanos < first_nanos);
                if is_news && let Some(seen) = &mut stored.seen {
                    seen.first_nanos = first_nanos;
                }
                is_news
            }
            Life::Attached { state, .. }
            | Life::Parted { state, .. }
            | Life::SoughtInCopies { subject: Subject::OnItsWay(state), .. } => {
                state.note_first_seen(first_nanos)
            }
        }
    }

    /// A file of which nothing was read is gone: its content was seen then.
    pub(in crate::engine) fn note_seen_of(&mut self, incarnation: Incarnation, seen: Seen) {
        if let Some(Life::Stored(stored)) = self.by_incarnation.get_mut(&incarnation) {
            stored.seen = Some(seen);
        }
    }

    /// What was seen beyond the position is not looked for any more; returns whether there is such an incarnation.
    pub(in crate::engine) fn forget_extent(&mut self, incarnation: Incarnation) -> bool {
        match self.by_incarnation.get_mut(&incarnation) {
            None => return false,
            Some(Life::Stored(stored) | Life::SoughtInCopies { subject: Subject::Stored(stored), .. }) => {
                stored.seen_bytes = 0;
            }
            Some(
                Life::Attached { state, .. }
                | Life::Parted { state, .. }
                | Life::SoughtInCopies { subject: Subject::OnItsWay(state), .. },
            ) => state.forget_seen(),
        }
        true
    }
}
